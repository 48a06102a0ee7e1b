"""Driving a session so that it leaves room to others: between its steps, and within those that are done in pieces."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeVar

from charm_checkpoint.plan import arun, run
from charm_checkpoint.runtime.pacing import PaceName, Pacer
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store

T = TypeVar("T")


def pacer(store: Store, pace: PaceName = "auto") -> Pacer:
    """Return what sets the pace of one session."""
    return Pacer(lambda: store.calls, pace)


def execute(store: Store, step: Step, pacer: Pacer) -> Any:
    """Run one step, blocking, and rest after it."""
    pacer.count()
    with pacer.setting():
        reply = store.run(step.make, write=step.write, thread=step.thread)
    time.sleep(pacer.due())
    return reply


async def aexecute(store: Store, step: Step, pacer: Pacer) -> Any:
    """Run one step as `execute` does, without blocking the event loop."""
    pacer.count()
    with pacer.setting():
        reply = await store.arun(step.make, write=step.write, thread=step.thread)
    await asyncio.sleep(pacer.due())
    return reply


def drive(store: Store, session: Session[T], pace: PaceName = "auto") -> T:
    """Run a session's steps, blocking."""
    one = pacer(store, pace)
    return run(session, lambda step: execute(store, step, one))


async def adrive(store: Store, session: Session[T], pace: PaceName = "auto") -> T:
    """Run a session's steps, without blocking the event loop."""
    one = pacer(store, pace)
    return await arun(session, lambda step: aexecute(store, step, one))
