"""Plans: storage logic written once, run blocking or async.

A plan is a generator. It yields driver operations, receives their replies, and returns a
result; it never touches a socket, a file, a lock or an event loop. A driver runs it with
`run` or `arun`. A plan that has to be tried again is made again, so drivers take a function
that makes one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Plan: TypeAlias = Generator[Any, Any, T]
"""Yields operations of one driver's own kind, is sent their replies, returns a ``T``."""

MakePlan: TypeAlias = Callable[[], Plan[T]]


def run(plan: Plan[T], execute: Callable[[Any], Any]) -> T:
    """Drive a plan to its result, executing each operation in turn.

    A failed operation is thrown into the plan at its ``yield``; the plan is always closed.
    """
    try:
        operation = next(plan)
        while True:
            try:
                reply = execute(operation)
            except BaseException as error:
                operation = plan.throw(error)
            else:
                operation = plan.send(reply)
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
                reply = await execute(operation)
            except BaseException as error:
                operation = plan.throw(error)
            else:
                operation = plan.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        plan.close()
