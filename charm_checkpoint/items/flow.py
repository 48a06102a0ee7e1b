"""Flows: what is made of several transactions, and of work between them, written once for blocking and async calls.

A flow is a generator, as a plan is (see plan.py), of larger steps: a plan to run as one transaction, or work that is
done outside of any, such as asking a model for vectors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from charm_checkpoint.plan import MakePlan
from charm_checkpoint.plan import arun as arun_steps
from charm_checkpoint.plan import run as run_steps
from charm_checkpoint.store import Store

T = TypeVar("T")

Flow: TypeAlias = Generator[Any, Any, T]
"""Yields `Run` and `Work`, is sent their results, returns a ``T``."""


class Run(NamedTuple):
    """Run a plan as one transaction; ``write`` False promises that it changes nothing."""

    make: MakePlan[Any]
    write: bool = False


class Work(NamedTuple):
    """Do something outside of transactions: ``work`` in a blocking call, ``awork`` in an async one."""

    work: Callable[[], Any]
    awork: Callable[[], Awaitable[Any]]


def run_flow(store: Store, flow: Flow[T]) -> T:
    """Drive a flow to its result, blocking."""

    def execute(step: Run | Work) -> Any:
        return step.work() if isinstance(step, Work) else store.run(step.make, write=step.write)

    return run_steps(flow, execute)


async def arun_flow(store: Store, flow: Flow[T]) -> T:
    """Drive a flow as `run_flow` does, without blocking the event loop."""

    async def execute(step: Run | Work) -> Any:
        return await (step.awork() if isinstance(step, Work) else store.arun(step.make, write=step.write))

    return await arun_steps(flow, execute)


def off_the_loop(work: Callable[[], Any]) -> Work:
    """Do what is slow, but waits for no event loop: in a blocking call here, in an async one in a thread."""
    return Work(work, partial(asyncio.to_thread, work))
