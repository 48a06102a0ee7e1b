"""Driving a session so that it leaves room to others: after each transaction that writes comes a pause as long as it.

Where writers take turns, as in one SQLite file, whoever takes the next turn at once leaves those who wait behind.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, TypeVar

from charm_checkpoint.checking.session import Session, Step
from charm_checkpoint.plan import arun, run
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.store import Store

T = TypeVar("T")

LONGEST: Final = 0.05
"""Seconds of a pause, at most."""


def execute(store: Store, step: Step) -> Any:
    """Run one step, blocking, and pause after it if it writes."""
    began = monotonic()
    reply = store.run(step.make, write=step.write, thread=step.thread)
    if step.write:
        time.sleep(min(monotonic() - began, LONGEST))
    return reply


async def aexecute(store: Store, step: Step) -> Any:
    """Run one step as `execute` does, without blocking the event loop."""
    began = monotonic()
    reply = await store.arun(step.make, write=step.write, thread=step.thread)
    if step.write:
        await asyncio.sleep(min(monotonic() - began, LONGEST))
    return reply


def drive(store: Store, session: Session[T]) -> T:
    """Run a session's steps, blocking."""
    return run(session, lambda step: execute(store, step))


async def adrive(store: Store, session: Session[T]) -> T:
    """Run a session's steps, without blocking the event loop."""
    return await arun(session, lambda step: aexecute(store, step))
