"""Giving room back, a bounded step at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from charm_checkpoint.contract import Backend, Space
from charm_checkpoint.retention.reports import SpaceReport
from charm_checkpoint.session import Session, Step

AT_ONCE = 16 << 20
"""Bytes that are given back in one step, so that no writer waits for long."""


def compact(backend: Backend, on_progress: Callable[[SpaceReport], object] | None = None) -> Session[SpaceReport]:
    """Compact a store until nothing is free, or a step gives nothing back any more; the last report is told, too."""
    before: Space = yield Step(backend.space)
    last = before
    while True:
        space: Space = yield Step(partial(backend.compact, AT_ONCE), write=True)
        report = SpaceReport.of(space, before)
        if on_progress is not None:
            on_progress(report)
        if not space.free or (space.free, space.taken) == (last.free, last.taken):
            break
        last = space
    if space.free == 0:
        return report
    # Of local files nobody knows what is free but who reads them all; a SQLite file that cannot give back a part is
    # made anew as a whole.
    space = yield Step(partial(backend.compact, None), write=True)
    report = SpaceReport.of(space, before)
    if on_progress is not None:
        on_progress(report)
    return report
