"""Items on Postgres and Supabase: each method is one call of a function of the schema, as in backend.py.

The functions are in sql/items_writing.sql and sql/items_reading.sql. Spaces and keys are found by hashes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b, sha256
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

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
from charm_checkpoint.stores.postgres_schema.backend import ROOM, Call
from charm_checkpoint.stores.shared.item_plans import ItemPlans
from charm_checkpoint.stores.shared.names import text_bytes

HEAD = 200
"""Bytes at the beginning of a space's path that the index has."""

MANY = 1000
"""So many known spaces are not sent before it is known that something has changed."""

READS = 4096
"""Items asked for in one call."""

LARGEST = 1 << 30
"""The server counts no further; no space holds as many items."""

_COUNT = 8
"""Bytes at the beginning of a mark that tell how many spaces there are."""

_PUT, _DELETE, _DELETE_EXPIRED = 0, 1, 2


@lru_cache(4096)
def _hash(name: bytes) -> bytes:
    """Return the 16 bytes by which a space or a key is found."""
    return blake2b(name, digest_size=16).digest()


class Mark(NamedTuple):
    """What tells a state of the spaces below a prefix from others: all of them, and which space of its path each is."""

    all: bytes | None
    born: Mapping[bytes, int]


class PostgresItems(ItemPlans):
    """The backend of items, for one tenant."""

    def __init__(self, tenant: str = "") -> None:
        self.tenant = tenant
        self._tenant = text_bytes(tenant)
        self._place = sha256(self._tenant).digest()[:16]

    def _below(self, prefix: bytes, *more: Any) -> tuple[Any, ...]:
        """Return what finds the spaces below a prefix: from where to where the index has them, and the exact test."""
        head = prefix[:HEAD]
        return self._tenant, prefix, self._place + head, self._place + head.ljust(HEAD, b"\xff"), *more

    # ---------------------------------------------------------------- changing

    def change(self, batch: ItemBatch) -> Plan[BatchReply]:
        """Do a batch, all of it in one transaction; see `ItemBackend.change`."""
        if not batch.changes and set(batch.touches) <= set(batch.reads):
            found = yield from self._read(batch.now, batch.reads, batch.touches)
            return BatchReply("stored", found)
        [[outcome, replies, *columns]] = yield self._changing(batch)
        rows = _rows(batch.reads, columns)
        return BatchReply(outcome, rows, replies or ())

    def _read(self, now: int, items: Sequence[ItemKey], touches: Sequence[ItemKey]) -> Plan[list[ItemRow | None]]:
        if not items:
            return []
        touched = dict.fromkeys(touches)
        # An item that is asked for twice is put off once.
        flags = [int(touched.pop(item, 0) is None) for item in items]
        [[*columns, _]] = yield Call("item_read", (self._tenant, now, *_hashes(items), flags, False, None))
        return _rows(items, columns)

    def _changing(self, batch: ItemBatch) -> Call:
        changes = batch.changes
        touches = tuple(dict.fromkeys(batch.touches))
        made = sorted({change.space for change in changes if change.value is not None}, key=_hash)
        held = {change.space for change in changes} | {item.space for item in touches}
        spaces = dict.fromkeys([*made, *sorted(held, key=_hash), *(item.space for item in batch.reads)])
        places = {space: place for place, space in enumerate(spaces, 1)}
        args = (
            self._tenant, batch.now, [_hash(space) for space in spaces],
            [space if place <= len(made) else b"" for space, place in places.items()], len(made), len(held),
            [places[item.space] for item in batch.reads], [_hash(item.key) for item in batch.reads],
            [places[item.space] for item in touches], [_hash(item.key) for item in touches],
            [places[change.space] for change in changes], *_columns(changes),
        )  # fmt: skip
        is_conditional = any(change.expect is not None for change in changes)
        # What is read of an item before it is changed cannot be read again afterwards.
        again = set(batch.reads).isdisjoint(change.item for change in changes)
        return Call("item_change", (*args, os.urandom(8) if is_conditional else None, False), again)

    def expire(self, now: int, size: int) -> Plan[int]:
        """Remove expired items; see `ItemBackend.expire`."""
        [[items]] = yield Call("item_expire", (self._tenant, now, min(size, LARGEST)))
        return int(items)

    def erase(self, prefix: bytes) -> Plan[int]:
        """Remove all items below a prefix; see `ItemBackend.erase`."""
        [[items]] = yield Call("item_erase", self._below(prefix))
        return int(items)

    # ----------------------------------------------------------------- reading

    def entries(
        self, prefix: bytes, known: Mapping[bytes, int] = NOTHING_KNOWN, mark: Any = None
    ) -> Plan[EntriesReply]:
        """Return what has changed below a prefix; see `ItemBackend.entries`."""
        place = self._below(prefix)
        seen, born = mark or Mark(None, {})
        if seen is not None and len(known) > MANY:
            [[found, *_]] = yield Call("item_entries", (*place, [], [], [], seen, -1, None))
            if found == seen:
                return EntriesReply(mark=mark, same=True)
            seen = None
        told = [_hash(space) for space in known], list(known.values()), [born.get(space) for space in known]
        [[found, *_], *rows] = yield Call("item_entries", (*place, *told, seen, INLINE_VECTORS, None))
        if seen is not None and found == seen:
            return EntriesReply(mark=mark, same=True)
        return _reply(found, rows)

    def few_entries(self, prefix: bytes, most: int) -> Plan[EntriesReply | None]:
        """Return all entries if they are few; see `KeepsIndexes.few_entries`."""
        args = (*self._below(prefix), [], [], [], None, INLINE_VECTORS, most)
        [[found, *_], *rows] = yield Call("item_entries", args)
        if not rows and int.from_bytes(found[:_COUNT], "big"):
            return None
        return _reply(found, rows)

    def mark_bytes(self, mark: Mark) -> bytes:
        """Return a mark as bytes; see `KeepsIndexes.mark_bytes`."""
        paths = list(mark.born)
        head = struct.pack(
            f"<II{len(paths)}I{len(paths)}q", len(mark.all or b""), len(paths), *map(len, paths), *mark.born.values()
        )
        return head + (mark.all or b"") + b"".join(paths)

    def mark_of(self, data: bytes) -> Mark:
        """Return a mark of bytes; see `KeepsIndexes.mark_of`."""
        size, count = struct.unpack_from("<II", data)
        lengths = struct.unpack_from(f"<{count}I", data, 8)
        born = struct.unpack_from(f"<{count}q", data, 8 + 4 * count)
        at = 8 + 12 * count
        ends = list(accumulate(lengths, initial=at + size))
        paths = [data[start:end] for start, end in pairwise(ends)]
        return Mark(data[at : at + size] or None, dict(zip(paths, born, strict=True)))

    def fetch(self, items: Sequence[ItemKey], vectors: bool = False) -> Plan[Mapping[ItemKey, ItemRow]]:
        """Return items; see `ItemBackend.fetch`."""
        found: dict[ItemKey, ItemRow] = {}
        left = list(dict.fromkeys(items))
        while left:
            batch, left = left[:READS], left[READS:]
            args = (self._tenant, None, *_hashes(batch), None, vectors, ROOM)
            [[places, *columns, is_complete]] = yield Call("item_read", args)
            rows = _rows(batch, [places, *columns])
            found.update({row.item: row for row in rows if row is not None})
            if is_complete is False:
                left = [*batch[places[-1] :], *left]
        return found

    def page(self, query: ItemQuery) -> Plan[Sequence[ItemRow]]:
        """Return the next items of a listing; see `ItemBackend.page`."""
        place = self._below(query.prefix, query.now)
        wanted = (list(query.tags), list(query.nested))
        rows: list[ItemRow] = []
        skip, after = query.skip, query.after or (None, None, None)
        size = min(query.size, LARGEST)
        while len(rows) < size and skip < LARGEST:
            updated, space, key = after
            args = (*place, size - len(rows), *wanted, skip, updated, space, key, query.oldest_first, ROOM)
            found = yield Call("item_page", args)
            rows += [ItemRow(*row[:-1]) for row in found]
            if not found or found[0][-1]:
                break
            skip, after = 0, (rows[-1].updated, rows[-1].space, rows[-1].key)
        return rows

    def spaces(self, prefix: bytes, now: int) -> Plan[Sequence[bytes]]:
        """Return the spaces below a prefix; see `ItemBackend.spaces`."""
        [[paths]] = yield Call("item_spaces", self._below(prefix, now))
        return list(paths)

    def count(self, prefix: bytes, now: int) -> Plan[int]:
        """Count the items below a prefix; see `ItemBackend.count`."""
        [[items]] = yield Call("item_count", self._below(prefix, now))
        return int(items)

    def usage(self, prefix: bytes = b"") -> Plan[ItemUsage]:
        """Count what the items below a prefix hold; see `ItemBackend.usage`."""
        [counts] = yield Call("item_usage", self._below(prefix))
        return ItemUsage(*counts)


def _hashes(items: Iterable[ItemKey]) -> tuple[list[bytes], list[bytes]]:
    return [_hash(item.space) for item in items], [_hash(item.key) for item in items]


def _columns(changes: Sequence[ItemChange]) -> tuple[list[Any], ...]:
    return (
        [_hash(change.key) for change in changes],
        [_PUT if change.value is not None else _DELETE_EXPIRED if change.expired else _DELETE for change in changes],
        [change.key if change.value is not None else b"" for change in changes],
        [change.value or b"" for change in changes],
        [change.tags for change in changes],
        [change.entry for change in changes],
        [change.vectors for change in changes],
        [change.ttl for change in changes],
        [change.expect for change in changes],
        [change.created for change in changes],
        [change.updated for change in changes],
    )


def _rows(items: Sequence[ItemKey], columns: Sequence[Any]) -> list[ItemRow | None]:
    """Return what was found of items, each at its place."""
    rows: list[ItemRow | None] = [None] * len(items)
    if columns[0]:
        for place, *row in zip(*columns, strict=True):
            rows[place - 1] = ItemRow(*items[place - 1], *row)
    return rows


def _reply(found: bytes, rows: Sequence[Sequence[Any]]) -> EntriesReply:
    spaces = [_space_entries(path, stamp, *row) for _, path, stamp, _, *row in rows]
    return EntriesReply(spaces, Mark(found, {row[1]: row[3] for row in rows}))


def _space_entries(
    path: bytes, stamp: int, since: int,
    names: Any, updated: Any, expires: Any, entries: Any, vectors: Any, keys: Any,
) -> SpaceEntries:  # fmt: skip
    if not names:
        return SpaceEntries(path, stamp, (), keys)
    rows = zip(names, updated, expires, entries, vectors or [None] * len(names), strict=True)
    return SpaceEntries(path, stamp, [Entry(*row) for row in rows], names if since < 0 else keys)
