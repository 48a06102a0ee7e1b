"""Work between stores, written once: a generator of hops, each a plan in one of them, driven blocking or async.

Several works may be done at once, where stores are at the other end of a network: then the hops of all of them are
under way together. The generators themselves run one at a time, where `drive` or `adrive` was called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from charm_checkpoint.errors import StoreError
from charm_checkpoint.plan import Compute, MakePlan, arun, beside, run
from charm_checkpoint.store import Store

T = TypeVar("T")


class Hop(NamedTuple):
    """A plan to run as one transaction of one store, and whose it is."""

    store: Store
    make: MakePlan[Any]
    thread: str | None = None
    write: bool = False


Moving: TypeAlias = Generator[Any, Any, T]
"""Yields hops, `AtOnce` and `charm_checkpoint.plan.Compute`, is sent their results, and returns a ``T``."""

MakeHop: TypeAlias = Callable[[Hop], Any]


class AtOnce:
    """Works to be done at once; an error of one ends them all, and ``failed`` is then what it was yielded by."""

    def __init__(self, works: Sequence[Moving[None]]) -> None:
        self.works = works
        self._waiting: dict[Any, tuple[Moving[None], Any]] = {}
        self.failed: Any = None

    def begin(self, start: Callable[[Any], Any]) -> None:
        """Begin all works: what they yield is handed to ``start``, whose futures are what they wait for."""
        for work in self.works:
            self._resume(start, work, partial(next, work))

    def waiting(self) -> list[Any]:
        """Return the futures that works wait for; none if they are done."""
        return list(self._waiting)

    def go_on(self, start: Callable[[Any], Any], done: Iterable[Any]) -> None:
        """Go on with the works whose futures are done."""
        for future in done:
            work, operation = self._waiting.pop(future)
            error = future.exception()
            self.failed = operation if error else None
            self._resume(start, work, partial(work.throw, error) if error else partial(work.send, future.result()))

    def _resume(self, start: Callable[[Any], Any], work: Moving[None], resume: Callable[[], Any]) -> None:
        try:
            operation = resume()
        except StopIteration:
            return
        self._waiting[start(operation)] = work, operation

    def close(self) -> None:
        """End what is not done."""
        for work in self.works:
            work.close()


def tidily(moving: Moving[T], target: Store, give_up: Callable[[], Moving[None]]) -> Moving[T]:
    """Do what ``moving`` does; if it fails, and not because ``target`` did, do also what ``give_up`` returns."""
    failed: Any = None
    try:
        hop = next(moving)
        while True:
            try:
                reply, failed = (yield hop), None
            except GeneratorExit:
                raise
            except BaseException as error:
                failed = hop.failed if isinstance(hop, AtOnce) else hop
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


# ------------------------------------------------------------------------------------------------------------ blocking


def drive(moving: Moving[T], make: MakeHop | None = None) -> T:
    """Make hops one after another, blocking; an error of one is raised where it was yielded.

    With ``make`` hops are made by it, and nothing is done at once.
    """

    def execute(operation: Any) -> Any:
        if not isinstance(operation, AtOnce):
            return (make or _make)(operation)
        if make is None:
            return _at_once(operation)
        for work in operation.works:
            run(work, execute)

    return run(moving, execute)


def _make(hop: Hop) -> Any:
    return hop.store.run(hop.make, write=hop.write, thread=hop.thread)


def _at_once(works: AtOnce) -> None:
    with ThreadPoolExecutor(len(works.works), "charm-checkpoint-copy") as pool:

        def start(operation: Any) -> Any:
            call = operation.work if isinstance(operation, Compute) else lambda: _make(operation)
            return pool.submit(copy_context().run, call)

        try:
            works.begin(start)
            while waiting := works.waiting():
                works.go_on(start, wait(waiting, return_when=FIRST_COMPLETED).done)
        finally:
            for future in works.waiting():
                future.cancel()
            works.close()


# --------------------------------------------------------------------------------------------------------------- async


async def adrive(moving: Moving[T]) -> T:
    """Make hops as `drive` does, without blocking the event loop."""

    async def execute(operation: Any) -> Any:
        return await (_aat_once(operation) if isinstance(operation, AtOnce) else _amake(operation))

    return await arun(moving, execute)


async def _amake(hop: Hop) -> Any:
    return await hop.store.arun(hop.make, write=hop.write, thread=hop.thread)


async def _aat_once(works: AtOnce) -> None:
    def start(operation: Any) -> Any:
        if isinstance(operation, Compute):
            return asyncio.ensure_future(beside(operation.work))
        return asyncio.ensure_future(_amake(operation))

    try:
        works.begin(start)
        while waiting := works.waiting():
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            works.go_on(start, done)
    finally:
        for future in works.waiting():
            future.cancel()
        await asyncio.gather(*works.waiting(), return_exceptions=True)
        works.close()
