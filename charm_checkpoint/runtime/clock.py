"""The clocks that deadlines go by.

A test that freezes the time with freezegun replaces what ``time.monotonic`` is, in every module: a call that waits for
a lock would then never be over. The system's own clock goes on.
"""

from __future__ import annotations

import time

_HELD = (time.monotonic, time.time_ns)  # in a tuple, where nobody replaces them


def monotonic() -> float:
    """Return seconds that never stand still or go back; only their differences mean anything."""
    return time.clock_gettime(time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else _HELD[0]()


def wall_ns() -> int:
    """Return the system's date, which is also that of its files, in nanoseconds since 1970."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME) if hasattr(time, "clock_gettime_ns") else _HELD[1]()
