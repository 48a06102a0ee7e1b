"""Work between stores, written once: a generator of hops, each a plan in one of them, driven blocking or async."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias, TypeVar

from charm_checkpoint.errors import StoreError
from charm_checkpoint.plan import MakePlan, arun, run
from charm_checkpoint.store import Store

T = TypeVar("T")


class Hop(NamedTuple):
    """A plan to run as one transaction of one store, and whose it is."""

    store: Store
    make: MakePlan[Any]
    thread: str | None = None
    write: bool = False


Moving: TypeAlias = Generator[Any, Any, T]
"""Yields hops, and `charm_checkpoint.plan.Compute`, is sent their results, and returns a ``T``."""


def tidily(moving: Moving[T], target: Store, give_up: Callable[[], Moving[None]]) -> Moving[T]:
    """Do what ``moving`` does; if it fails, and not because ``target`` did, do also what ``give_up`` returns."""
    failed = None
    try:
        hop = next(moving)
        while True:
            try:
                reply, failed = (yield hop), None
            except GeneratorExit:
                raise
            except BaseException as error:
                failed = hop
                hop = moving.throw(error)
            else:
                hop = moving.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
    except GeneratorExit:
        moving.close()
        raise
    except BaseException as error:
        if not (isinstance(failed, Hop) and failed.store is target and isinstance(error, StoreError)):
            with suppress(StoreError):
                yield from give_up()
        raise


def drive(moving: Moving[T]) -> T:
    """Make hops one after another, blocking; an error of one is raised where it was yielded."""
    return run(moving, lambda hop: hop.store.run(hop.make, write=hop.write, thread=hop.thread))


async def adrive(moving: Moving[T]) -> T:
    """Make hops as `drive` does, without blocking the event loop."""
    return await arun(moving, lambda hop: hop.store.arun(hop.make, write=hop.write, thread=hop.thread))
