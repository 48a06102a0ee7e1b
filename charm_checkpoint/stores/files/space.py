"""What the log of a space comes to: its items, and where their values, entries and vectors are in the file; pure.

The kinds of frames, by their heads; those of threads are in contents.py:

    SPACE     format, path, first, stamp, removed, hosts        the first of every log
    ITEMS     host, base, rows                                  a batch; blobs: value, entry, vectors of each put

A row of ITEMS is a removal, a touch or a put, told apart by their lengths:

    key, stamp
    key, stamp, expires
    key, stamp, updated, created, ttl, expires, tags, size of value, size of entry, size of vectors

Times are written as differences, which are small: a stamp less ``base``, ``updated`` less the stamp, ``created`` and
``expires`` less ``updated``.

``first`` is the stamp of the first change since the space was made, ``removed`` that of the last removal, or
``first``. ``hosts`` tells for each host the last stamp that it wrote. As each item tells which host changed it last,
and by which stamp, of two versions of a space it can be told what each of them has not seen of the other, removals
included: see `missing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import takewhile
from typing import Any, BinaryIO, NamedTuple

from charm_checkpoint.contract_items import ItemRow
from charm_checkpoint.errors import NewerFormat, corrupt
from charm_checkpoint.stores.files.log import FIRST, Entry, Frame, Tail
from charm_checkpoint.stores.files.shapes import ITEMS, SPACE, in_range, take_in

FORMAT = 1

ITEM, KEY = 480, 140
"""Bytes of memory that an item takes beside its key and tags; that its key takes in a dict."""
ROW = 40
"""Bytes in a log that an item takes beside its key, tags and blobs, about."""
BATCH_BYTES = 1 << 20
"""Items carried over in one frame."""
GAP, READ = 1 << 14, 1 << 22
"""Up to so many bytes between two that are wanted are read along; so many are read at once."""

Row = list[Any]


class Item(NamedTuple):
    """An item in a log: what is known of it, where its blobs begin, and their sizes."""

    stamp: int
    host: bytes
    updated: int
    created: int
    ttl: int | None
    expires: int | None
    tags: bytes
    at: int
    value: int
    entry: int
    vectors: int

    @property
    def size(self) -> int:
        """Return how many bytes its blobs have."""
        return self.value + self.entry + self.vectors

    def is_expired(self, now: int) -> bool:
        """Tell whether it is over."""
        return self.expires is not None and self.expires <= now

    def row(self, path: bytes, key: bytes, value: bytes) -> ItemRow:
        """Return it as a record."""
        return ItemRow(path, key, value, self.created, self.updated, self.ttl, self.expires)


@dataclass
class Space:
    """All there is to know of a log but its blobs; the items by key, in the order of their stamps.

    ``path`` is None if there is nothing sound in it. ``end``, ``digest``, ``tail`` and ``file`` are as in
    `charm_checkpoint.stores.files.contents.Contents`; ``before`` is where the last sound frame begins. ``live`` is
    about how many bytes the items take in the log, ``weight`` how many of memory. ``is_in_order``: each
    item's ``updated`` is its stamp, so that they are in the order of listings. From one version to the next of the
    same ``generation``, only changes were added.
    """

    path: bytes | None = None
    first: int = 0
    stamp: int = 0
    removed: int = 0
    hosts: dict[bytes, int] = field(default_factory=dict)
    items: dict[bytes, Item] = field(default_factory=dict)
    before: int = 0
    end: int = 0
    digest: bytes = FIRST
    tail: Tail = "whole"
    live: int = 0
    weight: int = 900
    last: int = 0
    generation: int = 0
    is_sorted: bool = True
    is_in_order: bool = True
    file: BinaryIO | None = None

    # ---------------------------------------------------------------- reading frames

    def apply(self, frame: Frame) -> None:
        """Take in the next frame."""
        take_in(self, frame, KINDS)
        self.before, self.end, self.digest = self.end, frame.end, frame.digest

    def _start(self, at: int, format: int, *fields: Any) -> None:
        read = FORMATS.get(format)
        if read is None:
            raise NewerFormat.of("Items were stored in format", format)
        read(self, *fields)

    def _first_format(self, path: bytes, first: int, stamp: int, removed: int, hosts: Iterable[Any]) -> None:
        self.path, self.first, self.stamp, self.removed, self.hosts = path, first, stamp, removed, dict(hosts)

    def _items(self, at: int, host: bytes, base: int, rows: Iterable[Row]) -> None:
        for key, stamp, *rest in rows:
            stamp += base
            old = self.items.pop(key, None)
            if old is not None:
                self._weigh(key, old, -1)
            if not rest:
                self.removed = max(self.removed, stamp)
            elif len(rest) > 1:
                self.is_in_order = self.is_in_order and rest[0] == 0
                item = _put(stamp, host, at, *rest)
                at += item.size
                self._add(key, item)
            elif old is not None:
                self.is_in_order = False
                self._add(key, old._replace(stamp=stamp, host=host, expires=old.updated + rest[0]))
            self.is_sorted = self.is_sorted and stamp > self.last
            self.last = stamp
            self.stamp = max(self.stamp, stamp)
        if rows:
            self.hosts[host] = max(self.hosts.get(host, 0), self.last)

    def _add(self, key: bytes, item: Item) -> None:
        self.items[key] = item
        self._weigh(key, item, 1)

    def _weigh(self, key: bytes, item: Item, sign: int) -> None:
        own = len(key) + len(item.tags)
        self.live += sign * (own + item.size + ROW)
        self.weight += sign * (own + ITEM + KEY)

    def sort(self) -> None:
        """Have the items in the order of their stamps again, if frames that were carried over were not."""
        if not self.is_sorted:
            self.items = dict(sorted(self.items.items(), key=lambda pair: pair[1].stamp))
            self.is_sorted, self.last = True, self.stamp

    # ---------------------------------------------------------------- asking

    def lacks(self, other: Mapping[bytes, int]) -> bool:
        """Tell whether something that a host wrote is not in this version; ``other`` are the hosts of another one."""
        return any(self.hosts.get(host, 0) < stamp for host, stamp in other.items())

    def goes_on_from(self, known: Space) -> bool:
        """Tell whether this is a version that was known, and changes after it."""
        return (
            self.first == known.first
            and (self.removed > known.stamp or known.items.keys() <= self.items.keys())
            and all(
                key in known.items and item[:2] == known.items[key][:2]
                for key, item in self.items.items()
                if item.stamp <= known.stamp
            )
        )

    def there(self, key: bytes, now: int) -> Item | None:
        """Return an item, None if it is not there or expired."""
        item = self.items.get(key)
        return None if item is None or item.is_expired(now) else item

    def since(self, stamp: int) -> list[tuple[bytes, Item]]:
        """Return the items that were changed after a stamp."""
        return list(takewhile(lambda pair: pair[1].stamp > stamp, reversed(self.items.items())))

    def read(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return bytes of the log, which must be open, by offsets and sizes; what is close together is read at once."""
        found = [b""] * len(spans)
        order = sorted((span, number) for number, span in enumerate(spans) if span[1])
        if not order:
            return found
        if any(not 0 <= size <= self.end - offset for (offset, size), _ in order):
            raise corrupt("A frame of a log of items tells of more than it holds")
        assert self.file is not None
        first = 0
        while first < len(order):
            (start, size), _ = order[first]
            end, beyond = start + size, first + 1
            while beyond < len(order):
                at, more = order[beyond][0]
                if at > end + GAP or at + more - start > READ:
                    break
                end, beyond = max(end, at + more), beyond + 1
            self.file.seek(start)
            data = self.file.read(end - start)
            for (at, more), number in order[first:beyond]:
                found[number] = data[at - start : at - start + more]
            first = beyond
        return found

    # ---------------------------------------------------------------- changing

    def copy(self) -> Space:
        """Return a copy to change or to keep."""
        return replace(self, items=dict(self.items), hosts=dict(self.hosts))

    def entries(self) -> Iterator[Entry]:
        """Return frames that come to all this: a host's items together."""
        yield start_entry(self)
        for host in self.hosts:
            yield from self._entries_of(host, [pair for pair in self.items.items() if pair[1].host == host])

    def _entries_of(self, host: bytes, pairs: Sequence[tuple[bytes, Item]]) -> Iterator[Entry]:
        start = size = 0
        for number, (_, item) in enumerate(pairs, 1):
            size += item.size
            if size >= BATCH_BYTES or number == len(pairs):
                some = pairs[start:number]
                blobs = self.read([(item.at, item.size) for _, item in some])
                yield items_entry(host, [put_row(key, item) for key, item in some], blobs)
                start, size = number, 0


def name_of(path: bytes) -> str:
    """Return the name of a space's folder, which tells nothing of its path."""
    return blake2b(path, digest_size=16).hexdigest()


def missing(ours: Space, theirs: Space) -> tuple[dict[bytes, Item], list[bytes], list[bytes]]:
    """Compare two versions of a space that went on apart.

    Return the items of theirs that ours lacks, the keys of ours that they had seen and removed, and the keys of items
    that were changed on both sides, of which the one put last stays.
    """
    taken: dict[bytes, Item] = {}
    both: list[bytes] = []
    for key, item in theirs.items.items():
        mine = ours.items.get(key)
        if ours.hosts.get(item.host, 0) >= item.stamp:
            continue  # it was seen here, and is there or was changed or removed since
        if mine is not None and theirs.hosts.get(mine.host, 0) < mine.stamp:
            both.append(key)
            if (mine.updated, mine.stamp, mine.host) > (item.updated, item.stamp, item.host):
                continue
        taken[key] = item
    gone = [
        key
        for key, item in ours.items.items()
        if key not in theirs.items and theirs.hosts.get(item.host, 0) >= item.stamp
    ]
    return taken, gone, both


def _put(stamp: int, host: bytes, at: int, *fields: Any) -> Item:
    updated, created, ttl, expires, tags, value, entry, vectors = fields
    updated += stamp
    created += updated
    expires = None if expires is None else expires + updated
    in_range(stamp, updated, created, expires)
    return Item(stamp, host, updated, created, ttl, expires, tags, at, value, entry, vectors)


def put_row(key: bytes, item: Item) -> Row:
    """Return the row of an item that is put; its stamp is yet to be made a difference: see `items_entry`."""
    expires = None if item.expires is None else item.expires - item.updated
    return [
        key, item.stamp, item.updated - item.stamp, item.created - item.updated, item.ttl, expires, item.tags,
        item.value, item.entry, item.vectors,
    ]  # fmt: skip


def items_entry(host: bytes, rows: Sequence[Row], blobs: Sequence[bytes]) -> Entry:
    """Return the frame of a batch; its rows have their stamps as they are."""
    base = rows[0][1]
    return Entry([ITEMS, host, base, [[key, stamp - base, *rest] for key, stamp, *rest in rows]], blobs)


def start_entry(space: Space) -> Entry:
    """Return the first frame of a log of this state."""
    fields = [space.path, space.first, space.stamp, space.removed, list(space.hosts.items())]
    return Entry([SPACE, FORMAT, *fields])


FORMATS: dict[int, Callable[..., None]] = {1: Space._first_format}
"""How to take in what a log of items of each format begins with."""

KINDS: Mapping[int, Callable[..., None]] = {SPACE: Space._start, ITEMS: Space._items}
"""How to take in each kind of frame."""
