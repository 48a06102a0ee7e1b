"""No store: nothing is kept, said out loud. For stateless services, privacy and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charm_checkpoint.config.options import Location, Option
from charm_checkpoint.plan import Plan
from charm_checkpoint.store import Store
from charm_checkpoint.stores.ram import RamBackend, RamDriver

OPTIONS: tuple[Option, ...] = ()


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a store that has no messages and hands out no checkpointer."""
    return Store(RamBackend(), RamDriver(), NoMessages(), keeps_checkpoints=False)


class NoMessages:
    """Message history that drops what it is given."""

    def load(self, thread: str) -> Plan[list[dict[str, Any]]]:
        """Return no messages."""
        yield from ()
        return []

    def save(self, thread: str, messages: list[dict[str, Any]]) -> Plan[bool]:
        """Drop the messages."""
        yield from ()
        return False

    def append(self, thread: str, messages: list[dict[str, Any]]) -> Plan[bool]:
        """Drop the messages."""
        yield from ()
        return False

    def fold(self, thread: str) -> Plan[None]:
        """Do nothing: there are none."""
        yield from ()

    def delete(self, thread: str) -> Plan[None]:
        """Do nothing: there are none."""
        yield from ()

    def forget(self, thread: str) -> Plan[None]:
        """Do nothing: there are none."""
        yield from ()
