"""No store: nothing is kept, said out loud. For stateless services, privacy and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from charm_checkpoint.config.options import Location, Option
from charm_checkpoint.contract_items import (
    NOTHING_KNOWN,
    BatchReply,
    EntriesReply,
    ItemBatch,
    ItemKey,
    ItemRow,
)
from charm_checkpoint.plan import Plan
from charm_checkpoint.store import Store
from charm_checkpoint.stores.ram import RamBackend, RamDriver
from charm_checkpoint.stores.shared.item_plans import ItemPlans

OPTIONS: tuple[Option, ...] = ()


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a store that has no messages and hands out no checkpointer."""
    return Store(RamBackend(), RamDriver(), NoMessages(), items=NoItems(), keeps_checkpoints=False)


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


class NoItems(ItemPlans):
    """Long-term memory that accepts what it is given, and forgets it."""

    def change(self, batch: ItemBatch) -> Plan[BatchReply]:
        """Say that all is stored; what is to be there already is not."""
        yield from ()
        rows = [None] * len(batch.reads)
        if any(change.expect for change in batch.changes):
            return BatchReply("changed", rows)
        updated = [0 if change.value is None else change.updated or batch.now for change in batch.changes]
        return BatchReply("stored", rows, updated)

    def entries(
        self, prefix: bytes, known: Mapping[bytes, int] = NOTHING_KNOWN, mark: Any = None
    ) -> Plan[EntriesReply]:
        """Return no entries."""
        yield from ()
        return EntriesReply()

    def fetch(self, items: Sequence[ItemKey], vectors: bool = False) -> Plan[Mapping[ItemKey, ItemRow]]:
        """Return no items."""
        yield from ()
        return {}
