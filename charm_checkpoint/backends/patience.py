"""Trying again: a plan around one operation, for stores at the other end of a network; pure."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from charm_checkpoint.errors import CharmError
from charm_checkpoint.plan import Plan

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 2.0


class Attempt(NamedTuple):
    """Do an operation within so many seconds."""

    operation: Any
    left: float


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class Failure(NamedTuple):
    """What a driver makes of an error: what to raise, and whether to try again before that.

    ``wait`` is the least pause that the server asked for, in seconds.
    """

    error: CharmError
    retry: bool
    wait: float = 0.0


def patiently(operation: Any, timeout: float, judge: Callable[[Any, Exception], Failure]) -> Plan[Any]:
    """Attempt an operation, again and again while ``judge`` says so and time is left.

    Pauses grow, and are jittered so that many clients do not come back at once. Raises what
    ``judge`` made of the last error.
    """
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        left = max(deadline - time.monotonic(), 0.0)
        try:
            return (yield Attempt(operation, left))
        except CharmError:
            raise
        except Exception as caught:
            failure = judge(operation, caught)
            wait = max(pause * random.uniform(0.5, 1.5), failure.wait)
            # An attempt at the very end would only hide this error behind its own: that it had no time.
            if not failure.retry or deadline - time.monotonic() <= wait:
                raise failure.error from caught
        yield Pause(wait)
        pause = min(pause * 2, LONGEST_PAUSE)
