"""The contract of items in its plainest form: long-term memory in this process's RAM.

It is the reference that other stores' items are tested against. What a batch makes of the items is worked out first,
beside them. Then one assignment decides that it holds, and only after that is it put in place, item by item: if an
interrupt comes in the midst of this, the next call does the rest. Doing a part of it twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple, TypeVar

from charm_checkpoint.contract_items import (
    INLINE_VECTORS,
    NOTHING_KNOWN,
    BatchReply,
    EntriesReply,
    Entry,
    ItemBatch,
    ItemChange,
    ItemKey,
    ItemQuery,
    ItemRow,
    ItemUsage,
    SpaceEntries,
)
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.shared.item_plans import ItemPlans, page_of
from charm_checkpoint.stores.shared.tags import has_tags

T = TypeVar("T")


def call(function: Callable[..., T], *args: Any) -> Callable[[], T]:
    """Make the operation that calls ``function``."""
    return partial(function, *args)


class Held(NamedTuple):
    """An item and what belongs to it; ``stamp`` is that of its last change."""

    stamp: int
    row: ItemRow
    tags: bytes = b""
    entry: bytes = b""
    vectors: bytes = b""


@dataclass
class Space:
    """The items of a space by key, in the order of their stamps.

    ``removed`` is the stamp of the last removal, or the first stamp of all: whoever knows an earlier one may know an
    item that is not there. ``born``: the mark from which on it is there, and not an earlier space of its path.
    """

    removed: int
    born: int
    stamp: int = 0
    items: dict[bytes, Held] = field(default_factory=dict)


@dataclass
class Draft:
    """What a batch makes of items: for each, what is to be held of it, or the stamp of its removal."""

    now: int
    stamps: dict[bytes, int]
    made: dict[ItemKey, Held | int] = field(default_factory=dict)

    def there(self, held: Held | None) -> Held | None:
        """Return what is held of an item, None if it is expired."""
        return None if held is None or held.row.is_expired(self.now) else held

    def is_expected(self, change: ItemChange, held: Held | None) -> bool:
        """Tell whether an item is as a change of it expects."""
        there = self.there(held)
        return change.expect in (None, there.row.updated if there else 0)

    def touch(self, held: Held | None) -> None:
        """Put off the end of an item, if it has one."""
        there = self.there(held)
        if there is not None and there.row.ttl is not None:
            row = there.row._replace(expires=self.now + there.row.ttl)
            self._make(row.item, there._replace(stamp=self._next_stamp(row.space), row=row))

    def change(self, change: ItemChange, held: Held | None) -> int:
        """Put an item or delete it; return what `BatchReply.updated` says of it."""
        there = self.there(held)
        if change.value is None:
            doomed = there if not change.expired else held if there is None else None
            if doomed is None:
                return 0
            stamp = self._next_stamp(change.space)
            self._make(change.item, stamp)
            return stamp
        stamp = self._next_stamp(change.space)
        updated = stamp if change.updated is None else change.updated
        created = there.row.created if there else updated
        row = ItemRow(
            *change.item,
            change.value,
            created if change.created is None else change.created,
            updated,
            change.ttl,
            None if change.ttl is None else self.now + change.ttl,
        )
        self._make(change.item, Held(stamp, row, change.tags, change.entry, change.vectors))
        return updated

    def _next_stamp(self, space: bytes) -> int:
        self.stamps[space] = max(self.now, self.stamps.get(space, 0) + 1)
        return self.stamps[space]

    def _make(self, item: ItemKey, made: Held | int) -> None:
        self.made.pop(item, None)  # in the order of the stamps, also where it was touched before
        self.made[item] = made


class RamItems(ItemPlans):
    """Items in memory. Each method is one plan of one call, but for `expire`, which `ItemPlans` makes."""

    def __init__(self) -> None:
        self._spaces: dict[bytes, Space] = {}
        self._decided: Mapping[ItemKey, Held | int] = {}
        self._mark = 0

    def change(self, batch: ItemBatch) -> Plan[BatchReply]:
        """Do a batch, all of it or nothing; see `ItemBackend.change`."""
        reply: BatchReply = yield call(self._change, batch)
        return reply

    def _change(self, batch: ItemBatch) -> BatchReply:
        self._put_in_place()
        paths = {item.space for item in batch.touches} | {change.space for change in batch.changes}
        draft = Draft(batch.now, {path: self._spaces[path].stamp for path in paths & self._spaces.keys()})
        found = [draft.there(self._held(item)) for item in batch.reads]
        rows = [held and held.row for held in found]
        if not all(draft.is_expected(change, self._held(change.item)) for change in batch.changes):
            return BatchReply("changed", rows)
        for item in batch.touches:
            draft.touch(self._held(item))
        updated = [draft.change(change, self._held(change.item)) for change in batch.changes]
        if draft.made:
            self._decided, self._mark = draft.made, self._mark + 1
            self._put_in_place()
        return BatchReply("stored", rows, updated)

    def _held(self, item: ItemKey) -> Held | None:
        space = self._spaces.get(item.space)
        return space.items.get(item.key) if space else None

    def _put_in_place(self) -> None:
        """Do what was decided, or what an interrupt has left of it."""
        decided = self._decided  # a signal handler that looks in between does all of it first, and so do we then
        for (path, key), made in decided.items():
            stamp = made if isinstance(made, int) else made.stamp
            space = self._spaces.setdefault(path, Space(removed=stamp, born=self._mark))
            space.items.pop(key, None)
            if isinstance(made, int):
                space.removed = max(space.removed, stamp)
            else:
                space.items[key] = made
            space.stamp = max(space.stamp, stamp)
        for path in {item.space for item in decided}:
            if path in self._spaces and not self._spaces[path].items:
                self._spaces.pop(path, None)
        self._decided = {}

    def entries(
        self, prefix: bytes, known: Mapping[bytes, int] = NOTHING_KNOWN, mark: Any = None
    ) -> Plan[EntriesReply]:
        """Return what has changed below a prefix; see `ItemBackend.entries`."""
        reply: EntriesReply = yield call(self._entries, prefix, known, mark)
        return reply

    def _entries(self, prefix: bytes, known: Mapping[bytes, int], mark: Any) -> EntriesReply:
        below = self._below(prefix)
        if mark == self._mark:
            return EntriesReply(mark=mark, same=True)
        since = {path: _since(known.get(path, 0), mark, space) for path, space in below}
        fresh = {
            path: list(takewhile(lambda held: held.stamp > since[path], reversed(space.items.values())))  # noqa: B023
            for path, space in below
        }
        inline = sum(map(len, fresh.values())) <= INLINE_VECTORS
        spaces = [
            SpaceEntries(
                path,
                space.stamp,
                [_entry(held, inline) for held in fresh[path]],
                None if since[path] >= space.removed else list(space.items),
            )
            for path, space in below
        ]
        return EntriesReply(spaces, self._mark)

    def fetch(self, items: Sequence[ItemKey], vectors: bool = False) -> Plan[Mapping[ItemKey, ItemRow]]:
        """Return items; see `ItemBackend.fetch`."""
        rows: Mapping[ItemKey, ItemRow] = yield call(self._fetch, items, vectors)
        return rows

    def _fetch(self, items: Sequence[ItemKey], vectors: bool) -> Mapping[ItemKey, ItemRow]:
        self._put_in_place()
        found = [held for item in items if (held := self._held(item)) is not None]
        return {held.row.item: held.row._replace(value=held.vectors) if vectors else held.row for held in found}

    def page(self, query: ItemQuery) -> Plan[Sequence[ItemRow]]:
        """Return the next items of a listing; see `ItemBackend.page`."""
        rows: Sequence[ItemRow] = yield call(self._page, query)
        return rows

    def _page(self, query: ItemQuery) -> Sequence[ItemRow]:
        return page_of((held.row for held in self._all(query.prefix) if has_tags(held.tags, query)), query)

    def spaces(self, prefix: bytes, now: int) -> Plan[Sequence[bytes]]:
        """Return the spaces that hold an item; see `ItemBackend.spaces`."""
        paths: Sequence[bytes] = yield call(self._paths, prefix, now)
        return paths

    def _paths(self, prefix: bytes, now: int) -> Sequence[bytes]:
        spaces = self._below(prefix)
        return sorted(p for p, space in spaces if not all(held.row.is_expired(now) for held in space.items.values()))

    def erase(self, prefix: bytes) -> Plan[int]:
        """Remove all items below a prefix; see `ItemBackend.erase`."""
        count: int = yield call(self._erase, prefix)
        return count

    def _erase(self, prefix: bytes) -> int:
        count = sum(len(space.items) for _, space in self._below(prefix))
        left = {path: space for path, space in self._spaces.items() if not path.startswith(prefix)}
        self._spaces, self._mark = left, self._mark + 1
        return count

    def usage(self, prefix: bytes = b"") -> Plan[ItemUsage]:
        """Count what items hold; see `ItemBackend.usage`."""
        usage: ItemUsage = yield call(self._usage, prefix)
        return usage

    def _usage(self, prefix: bytes) -> ItemUsage:
        held_parts = [(held.row.key, held.row.value, held.entry, held.vectors) for held in self._all(prefix)]
        return ItemUsage(len(held_parts), sum(len(part) for parts in held_parts for part in parts))

    def _below(self, prefix: bytes) -> list[tuple[bytes, Space]]:
        self._put_in_place()
        return [(path, space) for path, space in self._spaces.items() if path.startswith(prefix)]

    def _all(self, prefix: bytes) -> Iterator[Held]:
        return (held for _, space in self._below(prefix) for held in space.items.values())


def _since(known: int, mark: int | None, space: Space) -> int:
    """Return from which stamp on a space is to be sent: 0, all of it, if an earlier space of its path was known.

    That may be by its stamp, but where the clock was set back meanwhile the new one may have passed it.
    """
    is_another = known > space.stamp or (mark is not None and space.born > mark)
    return 0 if is_another else known


def _entry(held: Held, inline: bool) -> Entry:
    return Entry(held.row.key, held.row.updated, held.row.expires, held.entry, held.vectors if inline else None)
