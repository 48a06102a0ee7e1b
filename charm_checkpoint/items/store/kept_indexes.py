"""Indexes of large namespaces, kept in the store as items, so that a program that begins need not read all entries.

An index is written by whoever had to make it from the entries of all items: in parts, under a number of its own, and
then its head, which names that number. What is changed after that costs those who change it nothing: who reads an index
asks the store for what has changed since. Where that is much, the index is made and written anew.

Readers and writers do without locks. A part that is not there, or damaged, only means that the index is made anew.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from charm_checkpoint.contract_items import (
    EntriesReply,
    ItemBackend,
    ItemBatch,
    ItemChange,
    ItemKey,
    ItemRow,
    KeepsIndexes,
)
from charm_checkpoint.items import clock
from charm_checkpoint.items.bounded import NOT_NOW, Warner, seal, unseal
from charm_checkpoint.items.flow import Flow, Run, off_the_loop
from charm_checkpoint.items.namespaces import INDEXES
from charm_checkpoint.items.ranking.index import ScopeIndex
from charm_checkpoint.items.ranking.kept import bucket_of, find_terms, read_table
from charm_checkpoint.items.ranking.postings import Held
from charm_checkpoint.items.ranking.questions import Question
from charm_checkpoint.plan import Plan

MANY: Final = 12_000
"""An index of more items is kept in the store, where it takes some 350 bytes an item.

To make it from their entries takes a second and more; what is smaller is not worth that room.
"""
LEAST_BEHIND: Final = 1_000
SHARE_BEHIND: Final = 16
"""It is made anew when so many items, and one of so many, were changed since: entries take time to read."""
LIFE: Final = 7 * 24 * 3600 * 1_000_000
"""Microseconds after which it is made anew in any case: keys of deleted items are in it until then."""

_LONGEST: Final = 30_000
"""Bytes of a prefix whose index is kept: the path of a space has room for it."""
_PIECE: Final = 1 << 18
_MOST_PIECES: Final = 1 << 14
_AT_ONCE: Final = 1 << 22
"""Bytes of a part of the table, and of what is written in one transaction."""
_DELETED_AT_ONCE: Final = 500
_HEAD_KEY: Final = b"head"
_HEAD = struct.Struct("<8sIII")
_NEVER: Final = 0
"""A time at which no item is expired yet."""
_UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)
"""What comes of an index that was not written by this: it is made anew."""


def space_of(prefix: bytes, words: bool) -> bytes:
    """Return the space of the index of a prefix, one with words or without."""
    return INDEXES + (b"w" if words else b"v") + prefix


class _Head(NamedTuple):
    """Which index is kept. ``number`` is by chance; there are so many parts of its table, and buckets."""

    number: bytes
    pieces: int
    buckets: int
    mark: bytes | None

    def to_bytes(self) -> bytes:
        has_mark = self.mark is not None
        return _HEAD.pack(self.number, self.pieces, self.buckets, has_mark) + (self.mark or b"")

    @classmethod
    def from_bytes(cls, data: bytes) -> _Head | None:
        """Undo `to_bytes`; None for what it did not make, and for what would be too much to read."""
        if len(data) < _HEAD.size:
            return None
        number, pieces, buckets, has_mark = _HEAD.unpack_from(data)
        if pieces > _MOST_PIECES:
            return None
        return cls(number, pieces, buckets, data[_HEAD.size :] if has_mark else None)

    def piece(self, space: bytes, place: int) -> ItemKey:
        return ItemKey(space, b"%st%d" % (self.number, place))

    def bucket(self, space: bytes, place: int) -> ItemKey:
        return ItemKey(space, b"%sb%d" % (self.number, place))


class KeptIndexes:
    """The indexes that a store keeps, if it can."""

    def __init__(self, items: ItemBackend) -> None:
        self._items = items
        self._keeper = items if isinstance(items, KeepsIndexes) else None
        self._spoilt: set[bytes] = set()
        self._writing: set[bytes] = set()
        self._warner = Warner("index of long-term memory")

    def few_entries(self, prefix: bytes) -> Flow[EntriesReply | None]:
        """Return all entries below a prefix of which nothing is known; None if its index is to be kept in the store."""
        if self._keeper is None or len(prefix) > _LONGEST:
            reply: EntriesReply = yield Run(partial(self._items.entries, prefix))
            return reply
        few: EntriesReply | None = yield Run(partial(self._keeper.few_entries, prefix, MANY))
        return few

    # ------------------------------------------------------------------------------------------------------- reading

    def open(self, prefix: bytes, words: bool) -> Flow[ScopeIndex | None]:
        """Return the index that is kept of a prefix, as it was when it was written; None if there is none."""
        space = space_of(prefix, words)
        found = yield from self._fetch([ItemKey(space, _HEAD_KEY)])
        if found is None or self._keeper is None:
            return None
        head = _Head.from_bytes(found[0])
        if head is None or head.number in self._spoilt:
            return None
        parts = yield from self._fetch([head.piece(space, place) for place in range(head.pieces)])
        if parts is None:
            return None
        try:
            mark = None if head.mark is None else self._keeper.mark_of(head.mark)
            index: ScopeIndex | None = yield off_the_loop(partial(_index_of, parts, mark, words))
        except _UNREADABLE:
            index = None
        if index is None:
            self._spoilt.add(head.number)
            return None
        index.source = head
        return index

    def complete(self, prefix: bytes, index: ScopeIndex, question: Question) -> Flow[bool]:
        """Read what a question needs of an index; tell whether it was there: if not, the index is of no use."""
        missing = index.missing_terms(question)
        if not missing:
            return True
        head: _Head = index.source
        places = sorted({bucket_of(term, head.buckets) for term in missing})
        space = space_of(prefix, index.words)
        buckets = yield from self._fetch([head.bucket(space, place) for place in places])
        if buckets is None:
            self._spoilt.add(head.number)
            return False
        try:
            yield off_the_loop(partial(_take, index, question, buckets, missing))
        except _UNREADABLE:
            self._spoilt.add(head.number)
            return False
        return True

    def _fetch(self, items: Sequence[ItemKey]) -> Flow[list[bytes] | None]:
        """Return what parts hold; None if one is not there."""
        rows: Mapping[ItemKey, ItemRow] = yield Run(partial(self._items.fetch, items))
        now, found = clock.now(), []
        for item in items:
            row = rows.get(item)
            data = None if row is None or row.is_expired(now) else unseal(row)
            if data is None:
                return None
            found.append(data)
        return found

    def is_behind(self, index: ScopeIndex) -> bool:
        """Tell whether so much has changed since an index was written that it is to be made anew."""
        return index.behind > max(LEAST_BEHIND, len(index) // SHARE_BEHIND)

    # ------------------------------------------------------------------------------------------------------- writing

    def keep(self, prefix: bytes, index: ScopeIndex) -> Flow[bool]:
        """Write an index, unless the store cannot be written now or another thread does so; tell whether it was."""
        space = space_of(prefix, index.words)
        if self._keeper is None or space in self._writing:
            return False
        self._writing.add(space)
        try:
            yield from self._write(space, index)
        except NOT_NOW as error:
            self._warner.warn("write", f"it could not be written, so every program makes it anew: {error}")
            return False
        finally:
            self._writing.discard(space)
        return True

    def _write(self, space: bytes, index: ScopeIndex) -> Flow[None]:
        # Of a store that cannot be written this raises before there was much work.
        yield from self._change([ItemChange(space, b"", None)])
        former: Sequence[bytes] = yield Run(partial(self._keys, space))
        pieces, buckets, mark = yield off_the_loop(partial(_written, index))
        packed = None if mark is None or self._keeper is None else self._keeper.mark_bytes(mark)
        head = _Head(os.urandom(8), len(pieces), len(buckets), packed)
        parts = [
            *((head.piece(space, place), piece) for place, piece in enumerate(pieces)),
            *((head.bucket(space, place), bucket) for place, bucket in enumerate(buckets)),
        ]
        for some in _batches(parts):
            yield from self._change(some)
        yield from self._change([_put(ItemKey(space, _HEAD_KEY), head.to_bytes())])
        yield from self._delete(space, [key for key in former if key != _HEAD_KEY])

    def forget(self, prefix: bytes) -> Flow[None]:
        """Remove all indexes that tell of items below a prefix."""
        if self._keeper is None:
            return
        spaces: Sequence[bytes] = yield Run(partial(self._items.spaces, INDEXES, _NEVER))
        for space in spaces:
            searched = space[len(space_of(b"", True)) :]
            if searched.startswith(prefix) or prefix.startswith(searched):
                keys: Sequence[bytes] = yield Run(partial(self._keys, space))
                yield from self._delete(space, keys)

    def _keys(self, space: bytes) -> Plan[Sequence[bytes]]:
        reply = yield from self._items.entries(space)
        return [entry.key for found in reply.spaces if found.space == space for entry in found.entries]

    def _delete(self, space: bytes, keys: Sequence[bytes]) -> Flow[None]:
        for at in range(0, len(keys), _DELETED_AT_ONCE):
            some = [ItemChange(space, key, None) for key in keys[at : at + _DELETED_AT_ONCE]]
            yield from self._change(some, _NEVER)

    def _change(self, changes: Sequence[ItemChange], now: int | None = None) -> Flow[None]:
        batch = ItemBatch(clock.now() if now is None else now, changes=changes)
        yield Run(partial(self._items.change, batch), write=True)


def _put(item: ItemKey, data: bytes) -> ItemChange:
    return ItemChange(*item, seal(item, data), ttl=LIFE)


def _batches(parts: Iterable[tuple[ItemKey, bytes]]) -> Iterator[list[ItemChange]]:
    some: list[ItemChange] = []
    size = 0
    for item, data in parts:
        some.append(_put(item, data))
        size += len(data)
        if size >= _AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _written(index: ScopeIndex) -> tuple[list[bytes], list[bytes], object]:
    table, buckets, mark = index.written()
    return [table[at : at + _PIECE] for at in range(0, len(table), _PIECE)], buckets, mark


def _index_of(parts: Sequence[bytes], mark: object, words: bool) -> ScopeIndex | None:
    table = read_table(b"".join(parts))
    return None if table is None else ScopeIndex.kept(table, mark, words)


def _take(index: ScopeIndex, question: Question, buckets: Sequence[bytes], wanted: Sequence[bytes]) -> None:
    found: dict[bytes, Held] = {}
    for bucket in buckets:
        found.update(find_terms(bucket, wanted))
    index.take_terms(question, found)
