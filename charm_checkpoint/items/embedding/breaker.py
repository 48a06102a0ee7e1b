"""When not to ask a model at all: it has failed several times in a row."""

from __future__ import annotations

import threading
from collections.abc import Callable

from charm_checkpoint.runtime.clock import monotonic


class Breaker:
    """Lets calls through until ``failures`` of them failed in a row; then none for ``pause`` seconds, and then one.

    That one decides: if it works, all may go again, and if it fails the pause begins anew.
    """

    def __init__(self, failures: int = 5, pause: float = 30.0, clock: Callable[[], float] = monotonic) -> None:
        self._limit = failures
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._until = 0.0

    def may_call(self) -> bool:
        """Tell whether a call may be made; who is told so makes one, and says how it went."""
        with self._lock:
            if self._failed < self._limit:
                return True
            now = self._clock()
            if now < self._until:
                return False
            # For this caller alone: others wait for its outcome, or for another pause if it never comes.
            self._until = now + self._pause
            return True

    def succeeded(self) -> None:
        """Note that a call worked."""
        with self._lock:
            self._failed = 0

    def failed(self) -> None:
        """Note that a call failed."""
        with self._lock:
            self._failed += 1
            self._until = self._clock() + self._pause
