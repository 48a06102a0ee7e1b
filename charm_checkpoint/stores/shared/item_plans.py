"""What a store need not write for its items: made of `change`, `entries` and `fetch`, plainly.

Whatever a store can do better by itself, such as a listing by an index, it overrides.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import gt, lt
from typing import Any, TypeAlias, TypeVar

from charm_checkpoint.contract_items import (
    NOTHING_KNOWN,
    BatchReply,
    EntriesReply,
    ItemBatch,
    ItemChange,
    ItemKey,
    ItemQuery,
    ItemRow,
    ItemUsage,
)
from charm_checkpoint.plan import Plan

T = TypeVar("T")

AT_ONCE = 500
"""How many items are fetched, or removed, by one call of `fetch` or `change`."""

ALWAYS = 0
"""A time at which no item is expired yet."""

Place: TypeAlias = tuple[int, bytes, bytes]
"""What a listing is sorted by."""


def page_of(rows: Iterable[ItemRow], query: ItemQuery) -> list[ItemRow]:
    """Return the page that a query asks for, of rows that are below its prefix and have its tags."""
    is_behind = behind_last(query)
    listed = (row for row in rows if not row.is_expired(query.now) and is_behind(place(row)))
    first = heapq.nlargest if query.oldest_first else heapq.nsmallest
    return first(query.skip + query.size, listed, key=place)[query.skip :]


def place(row: ItemRow) -> Place:
    """Return what listings are sorted by: latest first."""
    return -row.updated, row.space, row.key


def behind_last(query: ItemQuery) -> Callable[[Place], bool]:
    """Return what tells whether a place is behind the last item of the page before."""
    if query.after is None:
        return lambda place: True
    updated, space, key = query.after
    return partial(gt if query.oldest_first else lt, (-updated, space, key))


class ItemPlans(ABC):
    """All of `ItemBackend` but three methods. Its `entries` and `fetch` must return expired items, too."""

    @abstractmethod
    def change(self, batch: ItemBatch) -> Plan[BatchReply]:
        """Do a batch; see `ItemBackend.change`."""

    @abstractmethod
    def entries(
        self, prefix: bytes, known: Mapping[bytes, int] = NOTHING_KNOWN, mark: Any = None
    ) -> Plan[EntriesReply]:
        """Return what has changed below a prefix; see `ItemBackend.entries`."""

    @abstractmethod
    def fetch(self, items: Sequence[ItemKey], vectors: bool = False) -> Plan[Mapping[ItemKey, ItemRow]]:
        """Return items; see `ItemBackend.fetch`."""

    def page(self, query: ItemQuery) -> Plan[Sequence[ItemRow]]:
        """Return the next items of a listing, whatever their tags; see `ItemBackend.page`."""
        found: list[ItemRow] = []
        reply = yield from self.entries(query.prefix)
        for some in _parts(page_of(_bare_rows(reply), query), AT_ONCE):
            rows = yield from self.fetch([row.item for row in some])
            found += [rows[row.item] for row in some if row.item in rows]
        return found

    def spaces(self, prefix: bytes, now: int) -> Plan[Sequence[bytes]]:
        """Return the spaces that hold an item; see `ItemBackend.spaces`."""
        reply = yield from self.entries(prefix)
        return sorted({row.space for row in _bare_rows(reply) if not row.is_expired(now)})

    def count(self, prefix: bytes, now: int) -> Plan[int]:
        """Count items; see `ItemBackend.count`."""
        reply = yield from self.entries(prefix)
        return sum(not row.is_expired(now) for row in _bare_rows(reply))

    def expire(self, now: int, size: int) -> Plan[int]:
        """Remove expired items; see `ItemBackend.expire`. One that is put off meanwhile stays."""
        reply = yield from self.entries(b"")
        over = [row.item for row in _bare_rows(reply) if row.is_expired(now)]
        return (yield from self._delete(over[:size], now, expired=True))

    def erase(self, prefix: bytes) -> Plan[int]:
        """Remove all items below a prefix; see `ItemBackend.erase`.

        A store that remembers spaces which hold no item has more to do.
        """
        reply = yield from self.entries(prefix)
        return (yield from self._delete([row.item for row in _bare_rows(reply)], ALWAYS))

    def usage(self, prefix: bytes = b"") -> Plan[ItemUsage]:
        """Count what items hold; see `ItemBackend.usage`."""
        reply = yield from self.entries(prefix)
        items = [row.item for row in _bare_rows(reply)]
        total = sum(len(entry.key) + len(entry.entry) for space in reply.spaces for entry in space.entries)
        for some in _parts(items, AT_ONCE):
            for vectors in (False, True):
                rows = yield from self.fetch(some, vectors)
                total += sum(len(row.value) for row in rows.values())
        return ItemUsage(len(items), total)

    def _delete(self, items: Sequence[ItemKey], now: int, *, expired: bool = False) -> Plan[int]:
        count = 0
        for some in _parts(items, AT_ONCE):
            changes = [ItemChange(item.space, item.key, None, expired=expired) for item in some]
            reply = yield from self.change(ItemBatch(now, changes=changes))
            count += sum(stamp > 0 for stamp in reply.updated)
        return count


def _bare_rows(reply: EntriesReply) -> Iterator[ItemRow]:
    """Yield what entries tell of items, as rows without values."""
    for space in reply.spaces:
        for entry in space.entries:
            yield ItemRow(space.space, entry.key, b"", 0, entry.updated, expires=entry.expires)


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))
