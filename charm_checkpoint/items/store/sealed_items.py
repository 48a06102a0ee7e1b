"""The items of a store with their values sealed on the way in and opened on the way out; see values/sealing.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from charm_checkpoint.contract import tenant_of
from charm_checkpoint.contract_items import BatchReply, ItemBackend, ItemBatch, ItemChange, ItemKey, ItemQuery, ItemRow
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.sealing import Identities, seal


class SealedItems:
    """An `ItemBackend` whose values are sealed; ``bare`` is the store's own.

    What cannot be opened is handed on as it is: whoever decodes it raises `StoreCorrupt`, and of several items the
    others are read.
    """

    def __init__(self, bare: ItemBackend) -> None:
        self.bare = bare
        self._identities = Identities(tenant_of(bare))
        # What has no values goes by.
        self.entries, self.spaces, self.count = bare.entries, bare.spaces, bare.count
        self.expire, self.erase, self.usage = bare.expire, bare.erase, bare.usage

    def change(self, batch: ItemBatch) -> Plan[BatchReply]:
        """Do a batch; see `ItemBackend.change`."""
        if batch.changes:
            batch = ItemBatch(batch.now, batch.reads, batch.touches, list(map(self._sealed, batch.changes)))
        reply = yield from self.bare.change(batch)
        return replace(reply, rows=[row and self._opened(row) for row in reply.rows]) if reply.rows else reply

    def fetch(self, items: Sequence[ItemKey], vectors: bool = False) -> Plan[Mapping[ItemKey, ItemRow]]:
        """Return items; see `ItemBackend.fetch`."""
        rows = yield from self.bare.fetch(items, vectors)
        return rows if vectors else {item: self._opened(row) for item, row in rows.items()}

    def page(self, query: ItemQuery) -> Plan[Sequence[ItemRow]]:
        """Return the next items of a listing; see `ItemBackend.page`."""
        rows = yield from self.bare.page(query)
        return list(map(self._opened, rows))

    def _sealed(self, change: ItemChange) -> ItemChange:
        if change.value is None:
            return change
        value = seal(self._identities.item(change.space, change.key), change.value)
        return ItemChange(
            change.space, change.key, value, change.tags, change.entry, change.vectors, change.ttl, change.expect,
            change.expired, change.created, change.updated,
        )  # fmt: skip

    def _opened(self, row: ItemRow) -> ItemRow:
        space, key, data, created, updated, ttl, expires = row
        value = self._identities.opened_item(space, key, data)
        return row if value is None else ItemRow(space, key, value, created, updated, ttl, expires)
