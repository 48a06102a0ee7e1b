"""The sweeper's methods, as the official stores have them; async ones with an ``a`` in front."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from typing import Final

from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow, Run
from charm_checkpoint.items.store.parts import StoreParts

AT_ONCE: Final = 1000
"""Expired items that are removed in one transaction."""


class Sweeping(StoreParts):
    """Removes what is expired. It is gone for every read already: this frees its room."""

    def sweep_ttl(self) -> int:
        """Remove the items that are expired; return how many there were."""
        return self._run(self._sweep())

    async def asweep_ttl(self) -> int:
        """Remove the items that are expired; see `sweep_ttl`."""
        return await self._arun(self._sweep())

    def _sweep(self) -> Flow[int]:
        now, total = clock.now(), 0
        while True:
            count: int = yield Run(partial(self._items.expire, now, AT_ONCE), write=True)
            total += count
            if count < AT_ONCE:
                return total

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:
        """Sweep now and then in a thread, if none does already; cancelling the future that is returned stops it.

        The interval is ``ttl["sweep_interval_minutes"]`` unless it is given, and 5 minutes if neither is.
        """
        return self._sweeper.start(self.sweep_ttl, sweep_interval_minutes)

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop the thread; tell whether it has stopped within so many seconds, or there was none."""
        return self._sweeper.stop(timeout)

    async def astart_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> asyncio.Task[None]:
        """Sweep now and then in a task of this event loop, if none does already; cancelling it stops it."""
        return self._sweeper.start_task(self.asweep_ttl, sweep_interval_minutes)

    async def astop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop the task; tell whether it has stopped within so many seconds, or there was none."""
        return await self._sweeper.stop_task(timeout)
