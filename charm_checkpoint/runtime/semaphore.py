"""A semaphore that threads and the tasks of an event loop share, which no interrupt can leave taken."""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Final

from charm_checkpoint.runtime.clock import monotonic

RECHECK = 0.1
"""Seconds after which a permit that waits looks again: a call that an interrupt ended may have woken nobody."""

MANY: Final = 128
"""How many may look so often; of more, each looks more rarely, so that thousands are not busy with looking."""


class Semaphore:
    """Grants ``size`` permits at once, first come, first served.

    All who want one stand in a queue, and the first ``size`` of them have it. Nothing is counted, so no count can go
    wrong: the queue has weak references, and a `Permit` whose call was interrupted, at whatever bytecode, leaves it as
    the call's frames go, without a line of Python being run. There is no lock that an interrupt could leave taken, or
    that a signal's handler could wait for in vain.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.queue: dict[weakref.ref[Permit], None] = {}

    def __len__(self) -> int:
        """Return how many have a permit or wait for one."""
        return len(self.queue)

    def granted(self) -> list[Permit | None]:
        """Return those that are granted; None is one that is just going."""
        try:
            first = list(islice(self.queue, self.size))
        except RuntimeError:  # another thread changed it meanwhile
            first = list(self.queue)[: self.size]
        return [permit() for permit in first]

    def wake(self) -> None:
        """Wake those who are granted and may not know."""
        for permit in self.granted():
            if permit is not None and permit._wakeup is not None:
                permit._wake()

    def pause(self) -> float:
        """Return the seconds after which whoever waits looks again."""
        return RECHECK * (1 + len(self.queue) // MANY)


class Permit:
    """A place in a semaphore's queue, to be acquired and released once.

    It has left the queue when `release`, or ``leave``, which is a function of C that nothing interrupts, was called.
    """

    _wakeup: Any = None

    def __init__(self, semaphore: Semaphore) -> None:
        self._semaphore = semaphore
        self.leave = partial(semaphore.queue.pop, weakref.ref(self), None)

    def acquire(self, timeout: float) -> bool:
        """Wait to be granted, for so many seconds; tell whether it was."""
        self._join()
        if self._is_granted():
            return True
        deadline = monotonic() + timeout
        self._wakeup = wakeup = threading.Lock()
        wakeup.acquire()
        while not self._is_granted():
            rest = deadline - monotonic()
            if rest <= 0:
                self.release()
                return False
            if not wakeup.acquire(timeout=min(rest, self._semaphore.pause())):
                self._semaphore.wake()
        return True

    async def aacquire(self, timeout: float) -> bool:
        """Wait to be granted as `acquire` does, in the event loop."""
        self._join()
        loop = asyncio.get_running_loop()
        deadline = monotonic() + timeout
        while not self._is_granted():
            rest = deadline - monotonic()
            if rest <= 0:
                self.release()
                return False
            # A wait_for would make a task for each wait.
            self._wakeup = wakeup = loop.create_future()
            timer = loop.call_later(min(rest, self._semaphore.pause()), _look, self._semaphore, wakeup)
            try:
                await wakeup
            finally:
                timer.cancel()
        return True

    def _join(self) -> None:
        self._semaphore.queue[weakref.ref(self, self._semaphore.queue.pop)] = None

    def _is_granted(self) -> bool:
        return len(self._semaphore) <= self._semaphore.size or self in self._semaphore.granted()

    def release(self) -> None:
        """Leave the queue, and wake those who are granted now. May be called again, or without a permit."""
        self.leave()
        if len(self._semaphore) >= self._semaphore.size:
            self._semaphore.wake()

    def _wake(self) -> None:
        wakeup = self._wakeup
        if isinstance(wakeup, asyncio.Future):
            _settle(wakeup)
        else:
            with suppress(RuntimeError):  # it was woken already
                wakeup.release()


def _look(semaphore: Semaphore, wakeup: asyncio.Future[None]) -> None:
    """Look again, on behalf of all who wait, for each of them may look rarely. It keeps no permit in the queue."""
    _settle(wakeup)
    semaphore.wake()


def _settle(wakeup: asyncio.Future[None]) -> None:
    if not wakeup.done():
        wakeup.set_result(None)
