"""How work that nobody waits for leaves room to others: after each bounded piece of it comes a rest.

While others are felt, a rest is several times as long as the piece was, so that they seldom meet one, and that is soon
over. While nobody is, rests are short: somebody who comes has to get in at all. Drivers and plans that do long work in
pieces ask whoever set the pace: `current`, None where somebody waits for the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, TypeAlias

from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.runtime.clock import monotonic

PaceName: TypeAlias = Literal["auto", "gentle", "full"]
"""``gentle`` leaves room to others always, ``full`` never, ``auto`` while they are felt."""

GENTLE: Final = 9.0
"""How many times as long as the piece of work a rest is while others are felt."""
CALM: Final = 0.25
"""The same while nobody is."""
LONGEST: Final = 0.25
"""Seconds of a rest, at most."""
FELT_FOR: Final = 2.0
"""Seconds for which others are taken to be there after they were felt."""

_current: ContextVar[Pacer | None] = ContextVar("charm_checkpoint_pace", default=None)


class Pacer:
    """The pace of one long work; ``calls`` tells how often the store was called by anybody, this work included."""

    def __init__(self, calls: Callable[[], int], pace: PaceName = "auto") -> None:
        self._calls = calls
        self._pace = pace
        self._others = calls()
        self._own = 0
        self._version: Any = None
        self._felt = -FELT_FOR
        self._since = monotonic()

    def count(self) -> None:
        """Take note that this work calls the store."""
        self._own += 1

    def see(self, version: Any) -> None:
        """Take note of what changes when others, of other processes, write to the store."""
        if self._version not in (None, version):
            self._felt = monotonic()
        self._version = version

    def due(self) -> float:
        """Return how many seconds to rest for what was done since the last rest; the next piece begins behind it."""
        now = monotonic()
        others = self._calls() - self._own
        if others != self._others:
            self._others, self._felt = others, now
        seconds = min((now - self._since) * self._times(now), LONGEST)
        self._since = now + seconds
        return seconds

    def _times(self, now: float) -> float:
        if self._pace == "auto":
            return GENTLE if now - self._felt < FELT_FOR else CALM
        return GENTLE if self._pace == "gentle" else 0.0

    @contextmanager
    def setting(self) -> Iterator[None]:
        """Set the pace of what is done within."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


def current() -> Pacer | None:
    """Return who sets the pace here."""
    return _current.get()


def due() -> float:
    """Return how many seconds to rest before the next piece of work, 0 where nobody sets a pace."""
    pacer = _current.get()
    return 0.0 if pacer is None else pacer.due()


def resting() -> Plan[None]:
    """Rest, in a plan whose driver holds up nobody by that."""
    pacer = _current.get()
    if pacer is not None:
        yield Compute(lambda: time.sleep(pacer.due()))
