"""What differs between two values in chunks: what has the same address is the same, and is neither read nor decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ormsgpack

from charm_checkpoint.errors import PathPart, StoreCorrupt, format_path
from charm_checkpoint.inspection.building import Builder, opened_manifest
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.differences import Change
from charm_checkpoint.inspection.plain_diff import Run, aligned, differences, key_of, replaced
from charm_checkpoint.inspection.plain_values import Notes, as_plain, free_name
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.decoder import DecodedChunk
from charm_checkpoint.values.encoder import BLOB, DELTA, DICT, GROUP, LEAF, MANIFEST
from charm_checkpoint.values.leaves import LARGE
from charm_checkpoint.values.serde.framing import elements

Path = tuple[PathPart, ...]

COUNTED = 256
"""Chunks that are read only to tell at which position of a list something stands; else it is counted from the end."""


class Side(NamedTuple):
    """One of two states: its chunks, and what builds values from them."""

    shelf: Shelf
    builder: Builder


class Item(NamedTuple):
    """An element of a list or dict: ``ref`` is where it is if it has a chunk of its own; ``key`` tells its content."""

    key: str
    ref: bytes | None
    value: Any


class TreeDiff:
    """Compares values in chunks; ``notes`` gathers what could not be compared as it was."""

    def __init__(self, a: Side, b: Side, notes: Notes) -> None:
        self._a = a
        self._b = b
        self._notes = notes
        self.changes: list[Change] = []
        self.left, self.right = a.shelf, b.shelf

    def compare(self, a: bytes, b: bytes, path: Path) -> Plan[None]:
        """Compare the values at two addresses."""
        if a == b:
            return
        yield from self._a.shelf.fetch([a])
        yield from self._b.shelf.fetch([b])
        one, other = self._a.builder.chunk(a), self._b.builder.chunk(b)
        if one is not None and other is not None and one.kind == other.kind == MANIFEST:
            kinds = [opened_manifest(chunk)[0] & ~DELTA for chunk in (one, other)]
            if kinds[0] == kinds[1]:
                compare = self._dicts if kinds[0] == DICT else self._lists
                yield from compare(one, other, path)
                return
        old = yield from self._whole(self._a, a, path)
        new = yield from self._whole(self._b, b, path)
        self.changes += differences(old, new, path)

    def _whole(self, side: Side, name: bytes, path: Path) -> Plan[Any]:
        yield from side.shelf.reach([name])
        return as_plain(side.builder.value(name), path, self._notes.tell)

    # ------------------------------------------------------------------ leaves

    def _tokens(self, one: DecodedChunk, other: DecodedChunk) -> Plan[tuple[list[bytes], list[bytes]]]:
        """Return what two manifests are made of: groups that both have are left as they are, others are opened."""
        a, b = list(opened_manifest(one)[1]), list(opened_manifest(other)[1])
        while True:
            shared = set(a) & set(b)
            left = yield from self._opened(self._a, a, shared)
            right = yield from self._opened(self._b, b, shared)
            if left == a and right == b:
                return a, b
            a, b = left, right

    def _opened(self, side: Side, names: list[bytes], shared: set[bytes]) -> Plan[list[bytes]]:
        own = [name for name in names if name not in shared]
        yield from side.shelf.fetch(own)
        found: list[bytes] = []
        for name in names:
            chunk = None if name in shared else side.builder.chunk(name)
            found += chunk.refs if chunk is not None and chunk.kind == GROUP else [name]
        return found

    def _items(self, side: Side, leaves: Sequence[bytes], keys: list[Any] | None, path: Path) -> Plan[list[Item]]:
        """Return the elements of some leaves."""
        yield from side.shelf.fetch(leaves)
        found: list[Item] = []
        for leaf in leaves:
            large = self._large(side, leaf)
            own: list[Any] | None = None if keys is None else []
            values: list[Any] = []
            side.builder.leaf(leaf, own, values, apart=False)
            found += [self._item(side, large.get(at), value, path) for at, value in enumerate(values)]
            if keys is not None:
                keys += own or ()
        return found

    def _large(self, side: Side, leaf: bytes) -> dict[int, bytes]:
        chunk = side.builder.chunk(leaf)
        if chunk is None or chunk.kind != LEAF:
            return {}
        return dict(zip(ormsgpack.unpackb(chunk.body)[1], chunk.refs, strict=False))

    def _item(self, side: Side, ref: bytes | None, value: Any, path: Path) -> Item:
        if ref is not None:
            chunk = side.builder.chunk(ref)
            if chunk is None or chunk.kind != BLOB or len(chunk.body) - 1 > LARGE:
                return Item(ref.hex(), ref, None)
            value = side.builder.value(ref)
        plain = as_plain(value, path, self._notes.tell)
        return Item(key_of(plain), None, plain)

    def _tail(self, side: Side, manifest: DecodedChunk, keys: list[Any] | None, path: Path) -> Plan[list[Item]]:
        """Return the elements that stand open at the end."""
        _, _, tail, refs = opened_manifest(manifest)
        yield from side.shelf.fetch(refs)
        found, names, stream = [], iter(refs), iter(tail)
        for packed in stream:
            if keys is not None:
                keys.append(side.builder.inline(packed))
                packed = next(stream)
            ref = next(names) if packed is None else None
            value = None if packed is None else side.builder.inline(packed)
            found.append(self._item(side, ref, value, path))
        return found

    def _plain_each(self, side: Side, items: Sequence[Item], path: Path) -> Plan[list[Any]]:
        found = []
        for item in items:
            found += [(yield from self._plain(side, item, path))]
        return found

    def _plain(self, side: Side, item: Item, path: Path) -> Plan[Any]:
        return item.value if item.ref is None else (yield from self._whole(side, item.ref, path))

    # ------------------------------------------------------------------ lists and dicts

    def _lists(self, one: DecodedChunk, other: DecodedChunk, path: Path) -> Plan[None]:
        a, b = yield from self._tokens(one, other)
        runs = [(a[run.a : run.a_end], b[run.b : run.b_end], run) for run in aligned(a, b)]
        ends = len(a), len(b)
        if not runs or (runs[-1][2].a_end, runs[-1][2].b_end) != ends:
            runs.append(([], [], Run(ends[0], ends[0], ends[1], ends[1])))
        for left, right, run in runs:
            olds = yield from self._items(self._a, left, None, path)
            news = yield from self._items(self._b, right, None, path)
            if (run.a_end, run.b_end) == ends:
                olds += yield from self._tail(self._a, one, None, path)
                news += yield from self._tail(self._b, other, None, path)
            if olds or news:
                is_last = (run.a_end, run.b_end) == ends
                at_a = yield from self._position(self._a, a, run.a, len(olds) if is_last else None)
                at_b = yield from self._position(self._b, b, run.b, len(news) if is_last else None)
                yield from self._elements(olds, news, path, at_a, at_b)

    def _position(self, side: Side, tokens: Sequence[bytes], index: int, to_end: int | None) -> Plan[int]:
        """Return where the elements from a token on begin: counted from the end if there is too much before them."""
        count, left = 0, COUNTED
        stack = list(tokens[:index])
        while stack:
            yield from side.shelf.fetch(stack)
            left -= len(stack)
            below: list[bytes] = []
            for name in stack:
                chunk = side.builder.chunk(name)
                if chunk is not None and chunk.kind == GROUP:
                    below += chunk.refs
                else:
                    count += leaf_count(chunk)
            if left - len(below) < 0 and to_end is not None:
                return -to_end
            stack = below
        return count

    def _elements(self, olds: list[Item], news: list[Item], path: Path, at_a: int, at_b: int) -> Plan[None]:
        for run in aligned([item.key for item in olds], [item.key for item in news]):
            pairs = min(run.a_end - run.a, run.b_end - run.b)
            done = 0
            while done < pairs and olds[run.a + done].ref and news[run.b + done].ref:
                where = (*path, at_a + run.a + done)
                yield from self.compare(olds[run.a + done].ref or b"", news[run.b + done].ref or b"", where)
                done += 1
            a, b = run.a + done, run.b + done
            old = yield from self._plain_each(self._a, olds[a : run.a_end], path)
            new = yield from self._plain_each(self._b, news[b : run.b_end], path)
            self.changes += replaced(old, new, path, at_a + a, at_b + b)

    def _dicts(self, one: DecodedChunk, other: DecodedChunk, path: Path) -> Plan[None]:
        a, b = yield from self._tokens(one, other)
        shared = set(a) & set(b)
        olds = yield from self._entries(self._a, one, [name for name in a if name not in shared], path)
        news = yield from self._entries(self._b, other, [name for name in b if name not in shared], path)
        for key in dict.fromkeys((*olds, *news)):
            where = (*path, key)
            old, new = olds.get(key), news.get(key)
            if new is not None and old is None:
                added = yield from self._plain(self._b, new, where)
                self.changes.append(Change(format_path(where), "added", new=added))
            elif old is not None and new is None:
                removed = yield from self._plain(self._a, old, where)
                self.changes.append(Change(format_path(where), "removed", old=removed))
            elif old is not None and new is not None and old.key != new.key:
                yield from self._entry(old, new, where)

    def _entry(self, old: Item, new: Item, where: Path) -> Plan[None]:
        if old.ref is not None and new.ref is not None:
            yield from self.compare(old.ref, new.ref, where)
            return
        one = yield from self._plain(self._a, old, where)
        other = yield from self._plain(self._b, new, where)
        self.changes += differences(one, other, where)

    def _entries(self, side: Side, manifest: DecodedChunk, leaves: list[bytes], path: Path) -> Plan[dict[str, Item]]:
        keys: list[Any] = []
        items = yield from self._items(side, leaves, keys, path)
        items += yield from self._tail(side, manifest, keys, path)
        found: dict[str, Item] = {}
        for key, item in zip(keys, items, strict=True):
            found[free_name(key, found)] = item
        return found


def leaf_count(chunk: DecodedChunk | None) -> int:
    """Return how many elements a leaf has; 1 of what cannot be read, as that is shown as one."""
    if chunk is None or chunk.kind != LEAF:
        return 1
    try:
        _, large, packed = ormsgpack.unpackb(chunk.body)
        parts = elements(packed[1:])
        in_columns = packed[:1] == b"\x03"
        return len(large) + (len(ormsgpack.unpackb(parts[1])) if in_columns else len(parts))
    except (ValueError, TypeError, IndexError, StoreCorrupt):
        return 1
