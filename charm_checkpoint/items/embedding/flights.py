"""Who is at work on what in this process, so that others wait for it instead of doing the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeAlias

from charm_checkpoint.runtime.lifecycle import PerProcess

Landed: TypeAlias = "bytes | None"


class Flight:
    """The making of one vector. It lands with it, or with None: it could not be made, and is not to be tried again."""

    def __init__(self) -> None:
        self._done: Future[Landed] = Future()
        self._done.set_running_or_notify_cancel()
        self.thread = threading.get_ident()
        self.abandoned = False

    def land(self, vector: Landed) -> None:
        """Give those who wait what they wait for."""
        if not self._done.done():
            self._done.set_result(vector)

    def abandon(self) -> None:
        """Let those who wait do it themselves: whoever was at work was interrupted."""
        if not self._done.done():
            self.abandoned = True
            self._done.set_result(None)

    def wait(self, timeout: float) -> tuple[bool, Landed]:
        """Return whether it landed in time, and with what.

        What this very thread is at work on, in another task or beneath a signal's handler, is not waited for.
        """
        if self.thread == threading.get_ident() and not self._done.done():
            return False, None
        try:
            landed = self._done.result(timeout)
        except FutureTimeout:
            return False, None
        return not self.abandoned, landed

    async def await_(self, timeout: float) -> tuple[bool, Landed]:
        """Return what `wait` does, without blocking the event loop."""
        try:
            landed = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._done)), timeout)
        except (TimeoutError, asyncio.TimeoutError):
            return False, None
        return not self.abandoned, landed


class Flights:
    """All that this process is at work on. Who claims something says how it went, whatever happens."""

    def __init__(self) -> None:
        self._under_way: PerProcess[dict[bytes, Flight]] = PerProcess(dict)

    def claim(self, keys: Iterable[bytes]) -> tuple[dict[bytes, Flight], dict[bytes, Flight]]:
        """Return the flights of keys that the caller is to see to, and of those that others see to already."""
        under_way = self._under_way.get()
        mine: dict[bytes, Flight] = {}
        others: dict[bytes, Flight] = {}
        for key in keys:
            flight = Flight()
            found = under_way.setdefault(key, flight)  # in one step
            (mine if found is flight else others)[key] = found
        return mine, others

    def land(self, mine: dict[bytes, Flight], key: bytes, vector: Landed) -> None:
        """End a flight of the caller's."""
        self._under_way.get().pop(key, None)
        mine.pop(key).land(vector)

    def abandon(self, mine: dict[bytes, Flight]) -> None:
        """End the flights that the caller has left, which happens when it was interrupted."""
        under_way = self._under_way.get()
        for key in list(mine):
            if under_way.get(key) is mine[key]:
                under_way.pop(key, None)
            mine.pop(key).abandon()
