"""A store, opened: its backend and driver, set up on first use."""

from __future__ import annotations

import itertools
from typing import Any, Protocol, TypeVar

from charm_checkpoint.contract import Backend, Driver
from charm_checkpoint.plan import MakePlan, Plan

T = TypeVar("T")

_numbers = itertools.count()


class History(Protocol):
    """Message history as plans, for a store that keeps messages otherwise than by `Backend.put_messages`."""

    def load(self, thread: str) -> Plan[list[dict[str, Any]]]:
        """Return a thread's messages, oldest first."""
        ...

    def save(self, thread: str, messages: list[dict[str, Any]]) -> Plan[None]:
        """Replace a thread's messages, all at once."""
        ...

    def append(self, thread: str, messages: list[dict[str, Any]]) -> Plan[None]:
        """Add messages at the end; two writers at once both get theirs in."""
        ...

    def delete(self, thread: str) -> Plan[None]:
        """Delete a thread's messages."""
        ...


class Store:
    """A backend and its driver. Any thread and any event loop may use it.

    The schema is created or migrated before the first plan runs, unless `auto_setup` says not
    to. ``number`` tells the stores of a process apart. ``history`` is the store's own way to keep
    messages, if it has one.
    """

    def __init__(
        self, backend: Backend, driver: Driver, history: History | None = None, *, keeps_checkpoints: bool = True
    ) -> None:
        self.backend = backend
        self.driver = driver
        self.history = history
        self.keeps_checkpoints = keeps_checkpoints
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
