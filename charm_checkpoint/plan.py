"""Plans: storage logic written once, run blocking or async.

A plan is a generator. It yields driver operations, receives their replies, and returns a
result; it never touches a socket, a file, a lock or an event loop. A driver runs it with
`run` or `arun`, which also do what it wants worked out (`Compute`). A plan that has to be
tried again is made again, so drivers take a function that makes one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")

Plan: TypeAlias = Generator[Any, Any, T]
"""Yields operations of one driver's own kind, is sent their replies, returns a ``T``."""

MakePlan: TypeAlias = Callable[[], Plan[T]]


class Compute(NamedTuple):
    """Work something out: the one operation that drivers leave to `run` and `arun`, which does it in a thread."""

    work: Callable[[], Any]


def step(plan: Plan[Any], reply: Any = None) -> Any:
    """Send a reply to a plan, and return its next operation; what it wants worked out is done here."""
    return _settled(plan, plan.send(reply))


def _settled(plan: Plan[Any], operation: Any) -> Any:
    while isinstance(operation, Compute):
        try:
            reply = operation.work()
        except BaseException as error:
            operation = plan.throw(error)
        else:
            operation = plan.send(reply)
    return operation


def run(plan: Plan[T], execute: Callable[[Any], Any], operation: Any = None) -> T:
    """Drive a plan to its result, executing each operation in turn, from ``operation`` on if it has yielded that.

    A failed operation is thrown into the plan at its ``yield``; the plan is always closed.
    """
    try:
        if operation is None:
            operation = step(plan)
        while True:
            try:
                reply = execute(operation)
            except BaseException as error:
                operation = _settled(plan, plan.throw(error))
            else:
                operation = step(plan, reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        plan.close()


async def arun(plan: Plan[T], execute: Callable[[Any], Awaitable[Any]]) -> T:
    """Drive a plan as `run` does, awaiting each operation; cancellation reaches the plan."""
    try:
        operation = next(plan)
        while True:
            try:
                reply = await (beside(operation.work) if isinstance(operation, Compute) else execute(operation))
            except BaseException as error:
                operation = plan.throw(error)
            else:
                operation = plan.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        plan.close()


async def beside(work: Callable[[], T]) -> T:
    """Work something out in a thread of the event loop's, or here if that has ended them, as it does at exit."""
    try:
        done = asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:
        return work()
    return await done
