"""Items of local files; the contract is in contract_items.py.

    <folder>/.charm/items/<hash of the path>/log        a space: see space_folder.py

Each method is one plan of one call.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
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
from charm_checkpoint.stores.files.space import Item, Space
from charm_checkpoint.stores.files.spaces import READ_ONLY, Spaces
from charm_checkpoint.stores.shared.item_plans import Place, behind_last
from charm_checkpoint.stores.shared.tags import has_tags

T = TypeVar("T")


class Mark(NamedTuple):
    """What tells a state of a space from others, also from those of another history: see `Space`."""

    generation: int
    stamp: int


def call(function: Callable[..., T], *args: Any) -> Plan[T]:
    """Make the plan whose one operation is a call."""
    result: T = yield partial(function, *args)
    return result


class FilesItems:
    """The backend of items."""

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces

    @property
    def folders(self) -> Spaces:
        """The folders of its spaces, for whoever looks at these as they are."""
        return self._spaces

    # ------------------------------------------------------------------ change

    def change(self, batch: ItemBatch) -> Plan[BatchReply]:
        """Do a batch, all of it or nothing unless it is killed between two spaces; see `ItemBackend.change`."""
        return call(self._change, batch)

    def _change(self, batch: ItemBatch) -> BatchReply:
        self._spaces.look()
        if not batch.changes:
            rows = self._rows(batch)
            if not self._is_touch(batch, rows):
                return BatchReply("stored", rows)
        if not self._spaces.is_there():
            if all(change.value is None and not change.expect for change in batch.changes):
                return BatchReply("stored", [None] * len(batch.reads), [0] * len(batch.changes))
            self._spaces.make()
        try:
            return self._spaces.alone(lambda: self._write(batch))
        except OSError as error:
            if batch.changes or error.errno not in READ_ONLY:
                raise
            return BatchReply("stored", self._rows(batch))  # what can only be read is not put off

    def _is_touch(self, batch: ItemBatch, rows: Sequence[ItemRow | None]) -> bool:
        """Tell whether a batch puts off the end of an item; ``rows`` are those that it reads."""

        def has_ttl(space: Space) -> bool:
            found = (space.there(key, batch.now) for key in keys)
            return any(item is not None and item.ttl is not None for item in found)

        read = dict(zip(batch.reads, rows, strict=True))
        if any(row.ttl is not None for item in batch.touches if (row := read.get(item))):
            return True
        others = [item for item in batch.touches if item not in read]
        for path, numbers in _by_space(others).items():
            keys = [others[number].key for number in numbers]
            if self._spaces.peek(path, has_ttl):
                return True
        return False

    def _write(self, batch: ItemBatch) -> BatchReply:
        rows = self._rows(batch)
        paths = {item.space for item in batch.touches} | {change.space for change in batch.changes}
        drafts = {path: self._spaces.draft(path, batch.now) for path in sorted(paths)}
        if not all(drafts[change.space].is_expected(change) for change in batch.changes):
            return BatchReply("changed", rows)
        for item in batch.touches:
            drafts[item.space].touch(item.key)
        updated = [drafts[change.space].change(change) for change in batch.changes]
        for draft in drafts.values():
            if draft.rows:
                self._spaces.write(draft)
        return BatchReply("stored", rows, updated)

    def _rows(self, batch: ItemBatch) -> list[ItemRow | None]:
        found = self._found(batch.reads, vectors=False, now=batch.now)
        return [found.get(number) for number in range(len(batch.reads))]

    # ------------------------------------------------------------------ fetch

    def fetch(self, items: Sequence[ItemKey], vectors: bool = False) -> Plan[Mapping[ItemKey, ItemRow]]:
        """Return items; see `ItemBackend.fetch`."""
        return call(self._fetch, items, vectors)

    def _fetch(self, items: Sequence[ItemKey], vectors: bool) -> Mapping[ItemKey, ItemRow]:
        self._spaces.look()
        return {row.item: row for row in self._found(items, vectors=vectors).values()}

    def _found(self, items: Sequence[ItemKey], *, vectors: bool, now: int | None = None) -> dict[int, ItemRow]:
        """Return those of some items that are there, by their number; those that are expired at ``now`` are not."""
        rows: dict[int, ItemRow] = {}

        def view(path: bytes, numbers: Sequence[int], space: Space) -> None:
            found = [(number, space.items.get(items[number].key)) for number in numbers]
            there = [(number, item) for number, item in found if item and not (now and item.is_expired(now))]
            blobs = space.read([_span(item, vectors=vectors) for _, item in there])
            for (number, item), blob in zip(there, blobs, strict=True):
                rows[number] = item.row(path, items[number].key, blob)

        for path, numbers in _by_space(items).items():
            self._spaces.read(path, partial(view, path, numbers))
        return rows

    # ------------------------------------------------------------------ entries

    def entries(
        self, prefix: bytes, known: Mapping[bytes, int] = NOTHING_KNOWN, mark: Any = None
    ) -> Plan[EntriesReply]:
        """Return what has changed below a prefix; see `ItemBackend.entries`."""
        return call(self._entries, prefix, known, mark)

    def _entries(self, prefix: bytes, known: Mapping[bytes, int], mark: Any) -> EntriesReply:
        self._spaces.look()
        marks: dict[bytes, Mark] = mark or {}
        found = {path: self._spaces.peek(path, _mark_of) for path in self._spaces.below(prefix)}
        now = {path: own for path, own in found.items() if own is not None}
        if mark is not None and now == marks:
            return EntriesReply(mark=mark, same=True)
        since = {path: _since(known.get(path, 0), own, marks.get(path)) for path, own in now.items()}
        changed = [path for path, own in now.items() if since[path] < own.stamp]
        counts = [self._spaces.peek(path, lambda space: len(space.since(since[path]))) for path in changed]  # noqa: B023
        inline = sum(counts) <= INLINE_VECTORS
        spaces = [SpaceEntries(path, own.stamp) for path, own in now.items() if since[path] >= own.stamp]
        for path in changed:
            reply, own = self._spaces.read(path, partial(_changed, path, since[path], inline))
            if own is None:
                del now[path]  # its last item went meanwhile
            else:
                now[path] = own
                spaces.append(reply)
        return EntriesReply(spaces, now)

    # ------------------------------------------------------------------ listings

    def page(self, query: ItemQuery) -> Plan[Sequence[ItemRow]]:
        """Return the next items of a listing; see `ItemBackend.page`."""
        return call(self._page, query)

    def _page(self, query: ItemQuery) -> Sequence[ItemRow]:
        self._spaces.look()
        wanted = query.skip + query.size
        places: list[Place] = []

        def view(space: Space) -> None:
            pairs = space.items.items() if query.oldest_first else reversed(space.items.items())
            found = (
                (-item.updated, path, key)
                for key, item in pairs
                if not item.is_expired(query.now) and has_tags(item.tags, query)
            )
            later = found if query.after is None else filter(behind_last(query), found)
            places.extend(islice(later, wanted) if space.is_in_order else later)

        for path in self._spaces.below(query.prefix):
            self._spaces.peek(path, view)
        first = heapq.nlargest if query.oldest_first else heapq.nsmallest
        keys = [ItemKey(*place[1:]) for place in first(wanted, places)[query.skip :]]
        found = self._found(keys, vectors=False)
        return [found[number] for number in range(len(keys)) if number in found]

    def spaces(self, prefix: bytes, now: int) -> Plan[Sequence[bytes]]:
        """Return the spaces that hold an item; see `ItemBackend.spaces`."""
        return call(lambda: [path for path, count in self._counts(prefix, now) if count])

    def count(self, prefix: bytes, now: int) -> Plan[int]:
        """Count items; see `ItemBackend.count`."""
        return call(lambda: sum(count for _, count in self._counts(prefix, now)))

    def _counts(self, prefix: bytes, now: int) -> list[tuple[bytes, int]]:
        def view(space: Space) -> int:
            return sum(not item.is_expired(now) for item in space.items.values())

        self._spaces.look()
        return [(path, self._spaces.peek(path, view)) for path in self._spaces.below(prefix)]

    def usage(self, prefix: bytes = b"") -> Plan[ItemUsage]:
        """Count what items hold; see `ItemBackend.usage`."""
        return call(self._usage, prefix)

    def _usage(self, prefix: bytes) -> ItemUsage:
        def view(space: Space) -> tuple[int, int]:
            return len(space.items), sum(len(key) + item.size for key, item in space.items.items())

        self._spaces.look()
        found = [self._spaces.peek(path, view) for path in self._spaces.below(prefix)]
        return ItemUsage(sum(count for count, _ in found), sum(size for _, size in found))

    # ------------------------------------------------------------------ removal

    def expire(self, now: int, size: int) -> Plan[int]:
        """Remove expired items; see `ItemBackend.expire`."""
        return call(self._expire, now, size)

    def _expire(self, now: int, size: int) -> int:
        def view(space: Space) -> list[ItemKey]:
            return [ItemKey(path, key) for key, item in space.items.items() if item.is_expired(now)]

        self._spaces.look()
        over: list[ItemKey] = []
        for path in self._spaces.below(b""):
            over += self._spaces.peek(path, view)[: size - len(over)]
            if len(over) == size:
                break
        reply = self._change(ItemBatch(now, changes=[ItemChange(*item, None, expired=True) for item in over]))
        return sum(stamp > 0 for stamp in reply.updated)

    def erase(self, prefix: bytes) -> Plan[int]:
        """Remove all items below a prefix, damaged ones among them; see `ItemBackend.erase`."""
        return call(self._erase, prefix)

    def _erase(self, prefix: bytes) -> int:
        self._spaces.look()
        return self._spaces.alone(lambda: self._spaces.erase(prefix)) if self._spaces.is_there() else 0


def _by_space(items: Sequence[ItemKey]) -> dict[bytes, list[int]]:
    """Return the numbers of items by their spaces."""
    numbers: dict[bytes, list[int]] = {}
    for number, item in enumerate(items):
        numbers.setdefault(item.space, []).append(number)
    return numbers


def _span(item: Item, *, vectors: bool) -> tuple[int, int]:
    return (item.at + item.value + item.entry, item.vectors) if vectors else (item.at, item.value)


def _mark_of(space: Space) -> Mark | None:
    """Return what tells a space's state from others, None if it holds nothing."""
    return Mark(space.generation, space.stamp) if space.items else None


def _since(known: int, own: Mark, marked: Mark | None) -> int:
    """Return from which stamp on a space is to be sent: 0 is all of it."""
    is_older = marked is None or marked.generation == own.generation
    return known if is_older and known <= own.stamp else 0


def _changed(path: bytes, since: int, inline: bool, space: Space) -> tuple[SpaceEntries, Mark | None]:
    """Return what has changed in a space, and its mark."""
    pairs = space.since(since)
    sizes = [item.entry + item.vectors if inline else item.entry for _, item in pairs]
    blobs = space.read([(item.at + item.value, size) for (_, item), size in zip(pairs, sizes, strict=True)])
    entries = [
        Entry(key, item.updated, item.expires, blob[: item.entry], blob[item.entry :] if inline else None)
        for (key, item), blob in zip(pairs, blobs, strict=True)
    ]
    keys = None if since >= space.removed else list(space.items)
    return SpaceEntries(path, space.stamp, entries, keys), _mark_of(space)
