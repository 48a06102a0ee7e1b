"""Items in Redis: each space is one slot of a cluster, and what is done in it one script call.

Spaces are found by a list beside them, see item_list.py; what goes through all of them is in item_surveys.py.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from charm_checkpoint.contract_items import (
    INLINE_VECTORS,
    NOTHING_KNOWN,
    BatchReply,
    EntriesReply,
    Entry,
    ItemBatch,
    ItemKey,
    ItemRow,
    SpaceEntries,
)
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.stores.redis.item_list import AT_ONCE
from charm_checkpoint.stores.redis.item_rows import (
    ROWS,
    STATE,
    VALUES,
    VECTORS,
    ItemNames,
    packed_change,
    read_entry,
    read_row,
    unpacked,
)
from charm_checkpoint.stores.redis.item_surveys import RedisItemSurveys, asked
from charm_checkpoint.stores.redis.layout import ITEMS, Layout
from charm_checkpoint.stores.redis.rows import Arg, Call, Command

AHEAD = 4 << 20
"""Bytes of changes in one call; what is more is sent ahead, in parts of a quarter of it."""
REPLY_BYTES = 8 << 20
"""Bytes of what one exchange is to bring; a single item may be more."""
FEW = 8
"""Spaces that are asked for their entries at once; of more it is asked first whether they have changed."""
ATTEMPTS = 10
"""How often a batch is tried again because what came before it was taken back."""


@dataclass
class Share:
    """What a batch does in one space; ``reads`` and ``changes`` are numbers in the batch."""

    path: bytes
    reads: list[int] = field(default_factory=list)
    touches: list[bytes] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)
    packed: list[bytes] = field(default_factory=list)
    puts: bool = False
    expecting: bool = False
    token: bytes = field(default_factory=lambda: os.urandom(8))
    intent: bytes = b""
    listing: bytes = field(default_factory=lambda: os.urandom(8))
    stage: bytes = b""
    reply: Any = None

    @property
    def size(self) -> int:
        """Return the bytes of its changes."""
        return sum(map(len, self.packed))


@dataclass
class SpaceReading:
    """What has come so far of a space's entries: ``since`` is up to where, ``seen`` what was known before."""

    path: bytes
    since: int | None
    seen: int | None
    stamp: int | None = None
    entries: dict[bytes, Entry] = field(default_factory=dict)
    keys: Collection[bytes] | None = None
    is_whole: bool = False
    goes_on: bool = True

    def take(self, reply: Sequence[Any]) -> None:
        """Take in what item_entries.lua told."""
        stamp, upto, with_vectors, sizes, data, *keys = reply
        if stamp == b"":
            self.stamp, self.goes_on = None, False
            return
        first = self.stamp is None
        self.stamp = int(stamp)
        if first and (self.since is None or self.since > self.stamp):
            self.is_whole, self.entries = True, {}
        pieces = unpacked(sizes, data)
        step = 4 if with_vectors else 3
        vectors = [piece or b"" for piece in pieces[3::4]] if with_vectors else repeat(None)
        for key, row, entry, some in zip(pieces[::step], pieces[1::step], pieces[2::step], vectors, strict=False):
            if key is not None and row is not None:  # or that item is damaged, which the others are not the worse for
                self.entries[key] = read_entry(key, row, entry, some)
        if self.is_whole and first:
            self.seen = self.stamp
        self.since, self.goes_on = int(upto), upto != stamp
        self.keys = [key or b"" for key in unpacked(*keys)] if keys else None

    def told(self) -> SpaceEntries:
        """Return what there is to be said of the space."""
        assert self.stamp is not None
        entries, keys = list(self.entries.values()), self.keys
        if keys is not None:
            left = frozenset(keys)
            entries = [entry for entry in entries if entry.key in left]
        elif self.is_whole:
            keys = [entry.key for entry in entries]
        return SpaceEntries(self.path, self.stamp, entries, keys)


class RedisItems(RedisItemSurveys):
    """The items of one prefix and tenant. A batch is one transaction for each of its spaces."""

    def __init__(self, names: ItemNames, layout: Layout, budget: Budget) -> None:
        super().__init__(names, budget)
        self._layout = layout

    # ------------------------------------------------------------------- change

    def change(self, batch: ItemBatch) -> Plan[BatchReply]:
        """Do a batch; see `ItemBackend.change`."""
        shares = _shares(batch)
        if any(share.puts for share in shares):
            yield from self._layout.need(ITEMS)
        for some in _in_parts(shares):
            yield from self._do(batch, some)
        rows: list[ItemRow | None] = [None] * len(batch.reads)
        updated = [0] * len(batch.changes)
        emptied, due = [], []
        for share in shares:
            outcome, flat, stamps, token = share.reply
            for number, row, value in zip(share.reads, flat[::2], flat[1::2], strict=True):
                rows[number] = None if row is None else read_row(batch.reads[number], row, value or b"")
            for number, stamp in zip(share.changes, stamps, strict=False):
                updated[number] = int(stamp)
            if token:
                emptied.append((share.path, token))
            elif outcome == b"stored" and share.puts and self._list.is_due(share.path):
                due.append(share.path)
        yield from self._list.strike(emptied)
        yield from self._list.see_to(due)
        if any(share.reply[0] == b"changed" for share in shares):
            return BatchReply("changed", rows)
        return BatchReply("stored", rows, updated)

    def _do(self, batch: ItemBatch, shares: Sequence[Share]) -> Plan[None]:
        """Do what a batch does in these spaces, listing those that are to get their first item."""
        left = shares
        for _ in range(ATTEMPTS):
            for share in left:
                if not share.stage and share.size > AHEAD:
                    yield from self._send_ahead(share)
            replies = yield from asked([self._call(batch, share) for share in left])
            again: list[Share] = []
            for share, reply in zip(left, replies, strict=True):
                outcome, _, _, intent = reply
                if outcome == b"unstaged":
                    share.stage = b""
                    again.append(share)
                elif outcome == b"unlisted":
                    share.intent, share.listing = intent, os.urandom(8)
                    again.append(share)
                else:
                    share.reply = reply
                    if share.stage and outcome != b"stored":
                        yield Command(("UNLINK", share.stage))
            if not again:
                return
            fresh = [share for share in again if share.intent]
            if fresh:
                token = os.urandom(8)
                yield from self._list.enter([share.path for share in fresh], token)
                for share in fresh:
                    share.listing = token
            left = again
        raise StoreUnavailable(
            f"{len(left)} namespaces of a batch kept being taken out of the list of those that hold items, or what was "
            "sent ahead got lost; nothing was written in these, try again."
        )

    def _call(self, batch: ItemBatch, share: Share) -> Call:
        keys = self._names.keys(share.path)
        if not (share.touches or share.packed):
            reads: list[Arg] = [batch.now, *(batch.reads[number].key for number in share.reads)]
            return Call("item_read", (keys[ROWS], keys[VALUES]), reads)
        staged = len(share.packed) if share.stage else 0
        args: list[Arg] = [
            batch.now, share.token, share.intent, share.listing, int(share.puts), int(share.expecting),
            len(share.reads), len(share.touches), staged, *(batch.reads[number].key for number in share.reads),
            *share.touches,
        ]  # fmt: skip
        if share.stage:
            return Call("item_change", (*keys, share.stage), args, write=True)
        return Call("item_change", keys, (*args, *share.packed), write=True)

    def _send_ahead(self, share: Share) -> Plan[None]:
        """Put changes down for the call that follows."""
        share.stage = self._names.stage(share.path, os.urandom(6).hex().encode())
        batch: list[bytes] = []
        size = 0
        for at, packed in enumerate(share.packed, 1):
            batch.append(packed)
            size += len(packed)
            if size > AHEAD // 4 or len(batch) == 1000 or at == len(share.packed):
                yield Call("stage", (share.stage,), (b"", *batch))
                batch, size = [], 0

    # ------------------------------------------------------------------ entries

    def entries(
        self, prefix: bytes, known: Mapping[bytes, int] = NOTHING_KNOWN, mark: Any = None
    ) -> Plan[EntriesReply]:
        """Return what has changed below a prefix; see `ItemBackend.entries`.

        One exchange with each server if no space came that was not known, else two, and more where much is to be told.
        """
        first = [SpaceReading(path, stamp, stamp) for path, stamp in known.items() if path.startswith(prefix)]
        if not first:
            first = [SpaceReading(prefix, None, None)]
        if len(first) > FEW:
            page = yield from self._check(first, prefix)
        else:
            page, *replies = yield from asked([self._list.first(prefix), *self._entries_calls(first)])
            for reading, reply in zip(first, replies, strict=True):
                reading.take(reply)
        listed = yield from self._list.rest(prefix, page)
        there = {reading.path for reading in first}
        readings = first + [SpaceReading(path, None, None) for path in listed if path not in there]
        yield from self._read(readings[len(first) :])
        while left := [reading for reading in readings if reading.goes_on]:
            yield from self._read(left)
        listed_set = frozenset(listed)
        yield from self._list.strike_vacant([s.path for s in readings if s.stamp is None and s.path in listed_set])
        yield from self._list.see_to([s.path for s in first if s.stamp is not None and s.path not in listed_set])
        told = [reading.told() for reading in readings if reading.stamp is not None]
        return EntriesReply((yield from self._with_vectors(told)))

    def _check(self, readings: Sequence[SpaceReading], prefix: bytes) -> Plan[Sequence[bytes]]:
        """See which of many spaces have changed, and read those; return the first page of the list of spaces."""
        state = [self._names.keys(reading.path)[STATE] for reading in readings]
        page, *stamps = yield from asked([self._list.first(prefix), *(Command(("HGET", key, "s")) for key in state)])
        changed = []
        for reading, stamp in zip(readings, stamps, strict=True):
            if stamp is None or int(stamp) != reading.since:
                changed.append(reading)
            else:
                reading.stamp, reading.goes_on = reading.since, False
        yield from self._read(changed)
        return page  # type: ignore[no-any-return]

    def _read(self, readings: Sequence[SpaceReading]) -> Plan[None]:
        for at in range(0, len(readings), AT_ONCE):
            some = readings[at : at + AT_ONCE]
            for reading, reply in zip(some, (yield from asked(self._entries_calls(some))), strict=True):
                reading.take(reply)

    def _with_vectors(self, spaces: Sequence[SpaceEntries]) -> Plan[Sequence[SpaceEntries]]:
        """See that a reply of few entries has all their vectors, also where one space has most of them."""
        missing = [ItemKey(s.space, entry.key) for s in spaces for entry in s.entries if entry.vectors is None]
        if not missing or sum(len(space.entries) for space in spaces) > INLINE_VECTORS:
            return spaces
        rows = yield from self.fetch(missing, vectors=True)

        def complete(space: bytes, entry: Entry) -> Entry:
            row = rows.get(ItemKey(space, entry.key))
            # Of one that has changed since, the vectors do not belong to this entry.
            return entry if row is None or row.updated != entry.updated else entry._replace(vectors=row.value)

        return [s._replace(entries=[complete(s.space, entry) for entry in s.entries]) for s in spaces]

    def _entries_calls(self, readings: Sequence[SpaceReading]) -> list[Call]:
        # How many entries there are, nobody knows yet.
        inline = min(INLINE_VECTORS, 4 * INLINE_VECTORS // len(readings))
        limit = max(1000, REPLY_BYTES // len(readings))
        return [
            Call(
                "item_entries",
                self._names.keys(reading.path)[: VECTORS + 1],
                (_number(reading.since), _number(reading.seen), inline, limit),
            )
            for reading in readings
        ]

    # -------------------------------------------------------------------- fetch

    def fetch(self, items: Sequence[ItemKey], vectors: bool = False) -> Plan[Mapping[ItemKey, ItemRow]]:
        """Return items; see `ItemBackend.fetch`."""
        left: dict[bytes, list[ItemKey]] = {}
        for item in dict.fromkeys(items):
            left.setdefault(item.space, []).append(item)
        found: dict[ItemKey, ItemRow] = {}
        while left:
            some = list(left)[:AT_ONCE]
            calls = [self._fetch_call(path, left[path], vectors, REPLY_BYTES // len(some)) for path in some]
            for path, reply in zip(some, (yield from asked(calls)), strict=True):
                flat = unpacked(*reply)
                for item, row, value in zip(left[path], flat[::2], flat[1::2], strict=False):
                    if row is not None:
                        found[item] = read_row(item, row, value or b"")
                left[path] = left[path][len(flat) // 2 :]
                if not left[path]:
                    del left[path]
        return found

    def _fetch_call(self, path: bytes, items: Sequence[ItemKey], vectors: bool, limit: int) -> Call:
        keys = self._names.keys(path)
        args: list[Arg] = [limit, *(item.key for item in items)]
        return Call("item_fetch", (keys[ROWS], keys[VECTORS if vectors else VALUES]), args)


def _shares(batch: ItemBatch) -> list[Share]:
    """Tell apart what a batch does in each of its spaces."""
    shares: dict[bytes, Share] = {}

    def share_of(path: bytes) -> Share:
        return shares.get(path) or shares.setdefault(path, Share(path))

    for number, item in enumerate(batch.reads):
        share_of(item.space).reads.append(number)
    for item in batch.touches:
        share_of(item.space).touches.append(item.key)
    for number, change in enumerate(batch.changes):
        share = share_of(change.space)
        share.changes.append(number)
        share.packed.append(packed_change(change))
        share.puts |= change.value is not None
        share.expecting |= change.expect is not None
    return list(shares.values())


def _in_parts(shares: Iterable[Share]) -> Iterable[list[Share]]:
    """Yield as many spaces at a time as one exchange is to be about."""
    some: list[Share] = []
    size = 0
    for share in shares:
        some.append(share)
        size += share.size
        if len(some) == AT_ONCE or size > AHEAD:
            yield some
            some, size = [], 0
    if some:
        yield some


def _number(value: int | None) -> Arg:
    return b"" if value is None else value
