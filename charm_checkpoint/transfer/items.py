"""Items of long-term memory from one store to another, with what finds them, when they were made and when they end.

A namespace at a time: its entries tell which items there are, their values and vectors are fetched some at a time.
Indexes that searches keep, vectors remembered by their texts, and what caches hold are left: they are made anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from charm_checkpoint.contract_items import (
    BatchReply,
    EntriesReply,
    Entry,
    ItemBackend,
    ItemBatch,
    ItemChange,
    ItemKey,
    ItemRow,
)
from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.items import clock
from charm_checkpoint.items.addresses import named
from charm_checkpoint.items.namespaces import ITEMS
from charm_checkpoint.items.store.sealed_items import SealedItems
from charm_checkpoint.items.values import stored
from charm_checkpoint.saver.tags import tags
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.hops import Hop, Moving
from charm_checkpoint.transfer.report import MoveProgress, Place, Tally
from charm_checkpoint.transfer.walking import parts

if TYPE_CHECKING:
    from charm_checkpoint.transfer.copying import Wanted

AT_ONCE = 100
"""Items that are fetched, and put, at a time."""
ATTEMPTS = 4
"""How often items are looked at again that changed meanwhile."""

Give = Callable[[Sequence["ItemRecord"]], Moving[None]]


class ItemRecord(NamedTuple):
    """An item as it is carried: its row with the value out of its seal, and what finds it."""

    row: ItemRow
    tags: bytes
    entry: bytes
    vectors: bytes


class ItemReader:
    """Reads the items of one store."""

    def __init__(self, store: Store, tally: Tally) -> None:
        assert store.items is not None
        self._store = store
        self._items: ItemBackend = store.items
        self._opened = SealedItems(store.items)
        self._tally = tally

    def give(self, give: Give) -> Moving[None]:
        """Give all items to a function, those of each namespace in the order of their changes."""
        spaces: Sequence[bytes] = yield Hop(self._store, partial(self._items.spaces, ITEMS, clock.now()))
        known: dict[bytes, int] = {}
        for space in sorted(spaces, reverse=True):  # what is below a namespace comes before it
            left: set[bytes] | None = None
            for _ in range(ATTEMPTS):
                left = yield from self._give_space(space, known, give, left)
                if not left:
                    break
            for key in left or ():
                place = Place("it was changed again and again while it was copied", item=named(ItemKey(space, key)))
                self._tally.moving.append(place)

    def _give_space(
        self, space: bytes, known: dict[bytes, int], give: Give, only: Collection[bytes] | None
    ) -> Moving[set[bytes]]:
        """Give the items of a namespace; return those that changed between two looks."""
        below = {path: stamp for path, stamp in known.items() if path.startswith(space) and path != space}
        reply: EntriesReply = yield Hop(self._store, partial(self._items.entries, space, below))
        known.update((each.space, each.stamp) for each in reply.spaces)
        now = clock.now()
        entries = [
            entry
            for each in reply.spaces
            if each.space == space
            for entry in each.entries
            if (entry.expires is None or entry.expires > now) and (only is None or entry.key in only)
        ]
        entries.sort(key=lambda entry: entry.updated)
        changed: set[bytes] = set()
        for some in parts(entries, AT_ONCE):
            records = yield from self._records(space, some, changed)
            yield from give(records)
        return changed

    def _records(self, space: bytes, entries: Sequence[Entry], changed: set[bytes]) -> Moving[list[ItemRecord]]:
        keys = [ItemKey(space, entry.key) for entry in entries]
        rows: Mapping[ItemKey, ItemRow] = yield Hop(self._store, partial(self._opened.fetch, keys))
        held: Mapping[ItemKey, ItemRow] = yield Hop(self._store, partial(self._opened.fetch, keys, vectors=True))
        records = []
        for key, entry in zip(keys, entries, strict=True):
            row, vectors = rows.get(key), held.get(key)
            if row is None:
                continue  # it is gone
            if vectors is None or not row.updated == vectors.updated == entry.updated:
                changed.add(entry.key)
                continue
            try:
                records.append(ItemRecord(row, tags(stored(row.value).value), entry.entry, vectors.value))
            except (StoreCorrupt, DataError) as error:
                self._tally.damaged.append(Place(str(error), item=named(key)))
        return records


class ItemWriter:
    """Puts items into one store."""

    def __init__(self, store: Store, wanted: Wanted, tally: Tally, *, blank: bool = False) -> None:
        assert store.items is not None
        self._store = store
        self._items = SealedItems(store.items)
        self._wanted = wanted
        self._tally = tally
        self._blank = blank

    def put(self, records: Sequence[ItemRecord]) -> Moving[None]:
        """Put items of one namespace that are not there, or are there as they were earlier."""
        left = records
        for _ in range(ATTEMPTS):
            held = {} if self._blank else (yield from self._fetch(left))
            fresh = [(record, expect) for record in left for expect in self._expected(record, held)]
            if self._wanted.dry_run:
                self._tally.items += len(fresh)
                self._tally.bytes += sum(_size(record) for record, _ in fresh)
                break
            left = yield from self._put(fresh)
            if not left:
                break
        else:
            self._tally.moving += [
                Place("the target's was changed again and again meanwhile", item=named(record.row.item))
                for record in left
            ]
        if self._wanted.on_progress is not None:
            done = self._tally.items + self._tally.items_unchanged
            self._wanted.on_progress(MoveProgress("items", done, None))

    def _fetch(self, records: Iterable[ItemRecord]) -> Moving[Mapping[ItemKey, ItemRow]]:
        plan = partial(self._items.fetch, [record.row.item for record in records])
        found: Mapping[ItemKey, ItemRow] = yield Hop(self._store, plan)
        return found

    def _expected(self, record: ItemRecord, held: Mapping[ItemKey, ItemRow]) -> Sequence[int]:
        """Return the revision of what the item is to replace, 0 for nothing; none if it is not to be put."""
        row, mine = record.row, held.get(record.row.item)
        if mine is None:
            return [0]
        if mine.is_expired(clock.now()):
            return [mine.updated]
        if mine.created == row.created and (row.updated, _end(row)) > (mine.updated, _end(mine)):
            return [mine.updated]  # a copy of it as it was earlier
        if mine[:5] == row[:5]:
            self._tally.items_unchanged += 1
            return []
        if self._wanted.skip_existing:
            self._tally.items_skipped += 1
        else:
            said = "the target holds another item under its key; delete it there first, or leave it out"
            self._tally.refused.append(Place(said, item=named(row.item)))
        return []

    def _put(self, fresh: Sequence[tuple[ItemRecord, int]]) -> Moving[list[ItemRecord]]:
        """Put items, those that live alike together; return those of which others changed some meanwhile."""
        alike: dict[int | None, list[tuple[ItemRecord, int]]] = {}
        for record, expect in fresh:
            alike.setdefault(_renewed(record.row), []).append((record, expect))
        left: list[ItemRecord] = []
        for renewed, some in alike.items():
            changes = [_change(record, expect) for record, expect in some]
            # As of the time at which its life was renewed last: so it ends when it is to end.
            batch = ItemBatch(clock.now() if renewed is None else renewed, changes=changes)
            reply: BatchReply = yield Hop(self._store, partial(self._items.change, batch), write=True)
            records = [record for record, _ in some]
            if reply.outcome == "changed":
                left += records
                continue
            self._tally.items += len(records)
            self._tally.bytes += sum(map(_size, records))
            if self._wanted.verify:
                yield from self._verify(records)
        return left

    def _verify(self, records: Sequence[ItemRecord]) -> Moving[None]:
        rows = yield from self._fetch(records)
        keys = [record.row.item for record in records]
        vectors: Mapping[ItemKey, ItemRow] = yield Hop(self._store, partial(self._items.fetch, keys, vectors=True))
        for record in records:
            item = record.row.item
            held = vectors.get(item)
            if rows.get(item) != record.row or held is None or held.value != record.vectors:
                said = "what was read back from the target is not what was sent"
                self._tally.damaged.append(Place(said, item=named(item)))


def _renewed(row: ItemRow) -> int | None:
    """Return when an item's life was renewed last; None if it has no end."""
    return None if row.expires is None or row.ttl is None else row.expires - row.ttl


def _end(row: ItemRow) -> float:
    return math.inf if row.expires is None else row.expires


def _change(record: ItemRecord, expect: int) -> ItemChange:
    row = record.row
    return ItemChange(
        row.space, row.key, row.value, record.tags, record.entry, record.vectors, row.ttl, expect,
        created=row.created, updated=row.updated,
    )  # fmt: skip


def _size(record: ItemRecord) -> int:
    row = record.row
    return len(row.key) + len(row.value) + len(record.entry) + len(record.vectors)
