"""Turns to have one of a few things, in one event loop."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """So many turns at once for the tasks of an event loop, first come, first served.

    An asyncio.Semaphore would need a wait_for around it, which makes a task for each wait.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[asyncio.Future[bool]] = deque()

    async def take(self, left: float) -> bool:
        """Wait for a turn, for so many seconds; tell whether it came."""
        if self._free:
            self._free -= 1
            return True
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(turn)
        timer = loop.call_later(left, _settle, turn, False)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.result():  # it came in the same moment
                self.give()
            raise
        finally:
            timer.cancel()

    def give(self) -> None:
        """Pass a turn on to the next who waits."""
        while self._waiting:
            if _settle(self._waiting.popleft(), True):
                return
        self._free += 1


def _settle(turn: asyncio.Future[bool], came: bool) -> bool:
    if turn.done():
        return False
    turn.set_result(came)
    return True
