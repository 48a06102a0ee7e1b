"""How flows over several stores are driven, each step a call of a store's, blocking and async.

A flow here yields only `Work`, so it needs no store of its own to run on, and one flow may ask several stores.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

from charm_checkpoint.items.flow import Flow, Work
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.plan import arun as arun_steps
from charm_checkpoint.plan import run as run_steps

T = TypeVar("T")


def call(of: object, method: str, *args: Any, **options: Any) -> Work:
    """Call a method of a store's, or of memories, in a blocking flow, its async twin in an async one."""
    return Work(partial(getattr(of, method), *args, **options), partial(getattr(of, f"a{method}"), *args, **options))


def collect(store: CharmStore, *args: Any, **options: Any) -> Work:
    """Return all items that ``store.items`` yields."""

    async def collected() -> list[Any]:
        return [item async for item in store.aitems(*args, **options)]

    return Work(lambda: list(store.items(*args, **options)), collected)


def run(flow: Flow[T]) -> T:
    """Drive a flow to its result, blocking."""
    return run_steps(flow, lambda step: step.work())


async def arun(flow: Flow[T]) -> T:
    """Drive a flow as `run` does, without blocking the event loop."""
    return await arun_steps(flow, lambda step: step.awork())
