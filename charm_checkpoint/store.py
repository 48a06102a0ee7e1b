"""A store, opened: its backend and driver, set up on first use."""

from __future__ import annotations

import itertools
from typing import TypeVar

from charm_checkpoint.contract import Backend, Driver
from charm_checkpoint.plan import MakePlan

T = TypeVar("T")

_numbers = itertools.count()


class Store:
    """A backend and its driver. Any thread and any event loop may use it.

    The schema is created or migrated before the first plan runs, unless `auto_setup` says not
    to. ``number`` tells the stores of a process apart.
    """

    def __init__(self, backend: Backend, driver: Driver) -> None:
        self.backend = backend
        self.driver = driver
        self.number = next(_numbers)
        self._ready = False

    def auto_setup(self, wanted: bool) -> None:
        """Say whether the first plan is to find, or make, a current schema."""
        self._ready = not wanted

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan, blocking."""
        if not self._ready:
            self.setup()
        return self.driver.run(make, write=write)

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan without blocking the event loop."""
        if not self._ready:
            await self.asetup()
        return await self.driver.arun(make, write=write)

    def setup(self) -> None:
        """Create or migrate the schema, if need be. Two threads may both do it: it is safe to repeat."""
        if not self.driver.run(self.backend.is_current, write=False):
            self.driver.run(self.backend.setup, write=True)
        self._ready = True

    async def asetup(self) -> None:
        """Create or migrate the schema, if need be, without blocking the event loop."""
        if not await self.driver.arun(self.backend.is_current, write=False):
            await self.driver.arun(self.backend.setup, write=True)
        self._ready = True

    def close(self) -> None:
        """Release every connection."""
        self.driver.close()

    async def aclose(self) -> None:
        """Release every connection, without blocking the event loop."""
        await self.driver.aclose()
