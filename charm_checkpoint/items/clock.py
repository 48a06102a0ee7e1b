"""The date that items are stamped with, and expire by; a test may set another one here."""

from __future__ import annotations

import time


def now() -> int:
    """Return the date in whole microseconds since 1970."""
    return time.time_ns() // 1000
