"""Threads for calls that may never come back: daemons, which rest for a while and are used again.

To start one takes several times as long as to wake one that rests, and longer still where all processors are busy.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from charm_checkpoint.runtime.lifecycle import PerProcess

MOST_AT_REST: Final = 4
"""Threads that wait for more work; others end with theirs."""
RESTS: Final = 2.0
"""Seconds that one waits for more."""


class _Resting:
    """A thread and how to give it work. It is in the list while it rests: who takes it out has to give it some."""

    def __init__(self, at_rest: list[_Resting]) -> None:
        self._at_rest = at_rest
        self._given: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def give(self, work: Callable[[], None]) -> None:
        self._given.put(work)

    def start(self, work: Callable[[], None]) -> None:
        self.give(work)
        threading.Thread(target=self._live, name="charm-embed", daemon=True).start()

    def _live(self) -> None:
        work: Callable[[], None] | None = self._given.get()
        while work is not None:
            work()
            del work  # or what it refers to would live until there is more
            if len(self._at_rest) >= MOST_AT_REST:
                return
            self._at_rest.append(self)
            work = self._next()

    def _next(self) -> Callable[[], None] | None:
        with suppress(Empty):
            return self._given.get(timeout=RESTS)
        try:
            self._at_rest.remove(self)
        except ValueError:  # somebody has just taken it out
            return self._given.get()
        return None


_at_rest: PerProcess[list[_Resting]] = PerProcess(list)


def in_the_background(work: Callable[[], None]) -> None:
    """Have a thread do something that raises nothing; raise RuntimeError where the interpreter is ending."""
    if sys.is_finalizing():
        raise RuntimeError("the interpreter is ending: no thread goes on")
    at_rest = _at_rest.get()
    try:
        resting = at_rest.pop()  # which rested last, so that the others end
    except IndexError:
        _Resting(at_rest).start(work)
    else:
        resting.give(work)
