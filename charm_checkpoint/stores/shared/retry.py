"""Retries: a plan around one operation, for stores at the other end of a network; pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from charm_checkpoint.errors import CharmError
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.telemetry.operation import note

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
    """How a driver classifies an error: what to raise, and whether to try again before that.

    ``wait`` is the least pause that the server asked for, in seconds.
    """

    error: CharmError
    retry: bool
    wait: float = 0.0


def with_retries(
    operation: Any, timeout: float, classify: Callable[[Any, Exception], Failure], repeated: Callable[[Any], Any]
) -> Plan[Any]:
    """Attempt an operation, again and again while ``classify`` says so and time is left.

    What is attempted again is what ``repeated`` makes of it. Pauses grow, and are jittered so that many clients do
    not come back at once. Raises what ``classify`` made of the last error.
    """
    deadline = monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        left = max(deadline - monotonic(), 0.0)
        try:
            return (yield Attempt(operation, left))
        except CharmError:
            raise
        except Exception as caught:
            failure = classify(operation, caught)
            wait = max(pause * random.uniform(0.5, 1.5), failure.wait)
            # An attempt at the very end would only hide this error behind its own: that it had no time.
            if not failure.retry or deadline - monotonic() <= wait:
                raise failure.error from caught
        note(retries=1)
        yield Pause(wait)
        pause = min(pause * 2, LONGEST_PAUSE)
        operation = repeated(operation)
