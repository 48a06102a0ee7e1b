"""A check under way, written once: a generator of steps, each a plan, which is driven blocking or async."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from charm_checkpoint.plan import MakePlan, arun, run
from charm_checkpoint.store import Store

T = TypeVar("T")


class Step(NamedTuple):
    """A plan to run as one transaction, and whose it is."""

    make: MakePlan[Any]
    thread: str | None = None
    write: bool = False


Session: TypeAlias = Generator[Step, Any, T]
"""Yields steps, is sent their results, and returns a ``T``. Between two steps nothing is held open."""


def drive(store: Store, session: Session[T]) -> T:
    """Run a session's steps, blocking; an error of a step is raised where it was yielded."""
    return run(session, lambda step: store.run(step.make, write=step.write, thread=step.thread))


async def adrive(store: Store, session: Session[T]) -> T:
    """Run a session as `drive` does, without blocking the event loop."""
    return await arun(session, lambda step: store.arun(step.make, write=step.write, thread=step.thread))
