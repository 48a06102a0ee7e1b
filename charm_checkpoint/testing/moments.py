"""The moments at which Python lets an interrupt in, one after another: what Ctrl-C does by chance, on purpose.

A signal's handler is run after a call has returned, where a function begins and where a loop goes
round: nowhere else. So there is a moment between ``lock.acquire()`` and the ``try`` behind it, and
none between two assignments.
"""

from __future__ import annotations

import dis
import os
import sys
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import charm_checkpoint

PACKAGE = str(Path(charm_checkpoint.__file__).parent) + os.sep
TESTING = str(Path(__file__).parent) + os.sep

FULL = float(os.environ.get("CHARM_HUNT_SECONDS", "0")) > 0
"""Whether to try every moment, which takes minutes, or some of them."""


class Moments:
    """Counts the moments of a call in the files of ``places``; at one, ``act`` is called: ``acted`` times."""

    def __init__(self, places: Collection[str] = (PACKAGE,)) -> None:
        self._places = tuple(places)
        for place in map(Path, self._places):
            if not list(place.parent.glob(f"{place.name}*")):
                raise ValueError(f"there is no file whose path begins with {place}")
        self._last: dict[int, int] = {}
        self._at = self._seen = 0
        self.acted = 0
        self._act: Callable[[], object] = lambda: None
        # Held here, as CPython 3.11 was seen to call what had been freed, once in some ten thousand tests: whatever
        # lay there then, "'traceback' object is not callable".
        self._tracers = self._trace, self._step

    def count(self, call: Callable[[], object]) -> int:
        """Return how many moments a call has."""
        self.run(call, 0, lambda: None)
        return self._seen

    def run(self, call: Callable[[], object], at: int, act: Callable[[], object]) -> None:
        """Make a call, and call ``act`` at the moment of that number, from 1, if it gets there."""
        self._at, self._act, self._seen = at, act, 0
        self._last.clear()
        before = sys.gettrace()
        sys.settrace(self._tracers[0])
        try:
            call()
        finally:
            sys.settrace(before)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(self._places) or file.startswith(TESTING):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if frame.f_lasti <= _layout(frame.f_code).start:
            self._come()
        return self._tracers[1]

    def _step(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "opcode":
            last = self._last.get(id(frame))
            self._last[id(frame)] = frame.f_lasti
            if last is not None and _layout(frame.f_code).lets_in(last, frame.f_lasti):
                self._come()
        elif event == "return":
            self._last.pop(id(frame), None)
        return self._tracers[1]

    def _come(self) -> None:
        self._seen += 1
        if self._seen == self._at:
            self.acted += 1
            self._act()


class _Layout:
    """Where in a function's code the moments are."""

    def __init__(self, code: CodeType) -> None:
        names = {step.offset: step.opname for step in dis.get_instructions(code)}
        self.start = next((offset for offset, name in names.items() if name == "RESUME"), -1)
        self._after = {offset for offset, name in names.items() if _is_followed_by_one(name)}
        table = getattr(dis, "_parse_exception_table", None)
        self._handlers = [] if table is None else [(part.start, part.end, part.target) for part in table(code)]

    def lets_in(self, last: int, now: int) -> bool:
        # The moment still belongs to the call. What is told by a trace comes a step later, which at
        # the end of a block is outside of it.
        return last in self._after and self._handler(last) == self._handler(now)

    def _handler(self, offset: int) -> int | None:
        return next((target for start, end, target in self._handlers if start <= offset < end), None)


_layout = lru_cache(None)(_Layout)


def _is_followed_by_one(name: str) -> bool:
    is_call = name.startswith("CALL") and not name.startswith("CALL_INTRINSIC")
    return is_call or name in ("JUMP_BACKWARD", "JUMP_ABSOLUTE")


def sample(count: int, wanted: int) -> Iterator[int]:
    """Yield numbers from 1 to ``count``: ``wanted`` of them, evenly; all of them in a hunt."""
    step = 1.0 if FULL else max(1.0, count / wanted)
    at = 1.0
    while at <= count:
        yield round(at)
        at += step
