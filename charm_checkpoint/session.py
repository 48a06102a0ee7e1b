"""Work of several transactions, written once: a generator of steps, each a plan, which is driven blocking or async."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from charm_checkpoint.plan import MakePlan, arun, run
from charm_checkpoint.store import Store

T = TypeVar("T")


class Step(NamedTuple):
    """A plan to run as one transaction, and whose it is; ``bare``: the schema is not made before, nor looked at."""

    make: MakePlan[Any]
    thread: str | None = None
    write: bool = False
    bare: bool = False


Session: TypeAlias = Generator[Step, Any, T]
"""Yields steps, is sent their results, and returns a ``T``. Between two steps nothing is held open."""


def drive(store: Store, session: Session[T]) -> T:
    """Run a session's steps, blocking; an error of a step is raised where it was yielded."""

    def execute(step: Step) -> Any:
        if step.bare:
            return store.driver.run(step.make, write=step.write)
        return store.run(step.make, write=step.write, thread=step.thread)

    return run(session, execute)


async def adrive(store: Store, session: Session[T]) -> T:
    """Run a session as `drive` does, without blocking the event loop."""

    async def execute(step: Step) -> Any:
        if step.bare:
            return await store.driver.arun(step.make, write=step.write)
        return await store.arun(step.make, write=step.write, thread=step.thread)

    return await arun(session, execute)
