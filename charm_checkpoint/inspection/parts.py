"""What a value is made of, part by part: parts that two versions share need no look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from charm_checkpoint.inspection.building import Builder, opened_manifest
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.plain_diff import key_of
from charm_checkpoint.inspection.plain_values import as_plain
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.encoder import DELTA, DICT, GROUP, MANIFEST

TAIL = b"tail of "
"""What stands in front of a manifest's address where its open elements are meant."""


class Element(NamedTuple):
    """An element of a list, or an entry of a dict by its ``name``; ``key`` tells what its value ``plain`` holds."""

    name: str | None
    key: str
    plain: Any


class Version(NamedTuple):
    """A value as it is stored: the parts of a list or dict, in order, or what it is if it has none."""

    parts: tuple[bytes, ...]
    is_dict: bool = False
    whole: Any = None
    is_whole: bool = False


class Parts:
    """Takes values apart; each part is read and decoded once."""

    def __init__(self, shelf: Shelf, builder: Builder) -> None:
        self._shelf = shelf
        self._builder = builder
        self._elements: dict[bytes, list[Element]] = {}

    def version(self, name: bytes) -> Plan[Version]:
        """Return the value in a chunk."""
        yield from self._shelf.fetch([name])
        chunk = self._builder.chunk(name)
        if chunk is None or chunk.kind != MANIFEST:
            yield from self._shelf.reach([name])
            return self.whole(self._builder.value(name))
        container, sealed, _, _ = opened_manifest(chunk)
        return Version((*sealed, TAIL + name), container & ~DELTA == DICT)

    def whole(self, value: Any) -> Version:
        """Return a value that is in one piece."""
        plain = as_plain(value)
        if type(plain) not in (list, dict):
            return Version((), whole=plain, is_whole=True)
        part = b"whole" + key_of(plain).encode()
        if part not in self._elements:
            items = plain.items() if type(plain) is dict else [(None, item) for item in plain]
            self._elements[part] = [Element(name, key_of(item), item) for name, item in items]
        return Version((part,), type(plain) is dict)

    def different(self, a: Version, b: Version) -> Plan[tuple[list[bytes], list[bytes]]]:
        """Return the parts that one of two versions has and the other has not; groups are opened as far as needed."""
        one, other = list(a.parts), list(b.parts)
        while True:
            left, right = Counter(one), Counter(other)
            one, other = list((left - right).elements()), list((right - left).elements())
            opened = (yield from self._opened(one)), (yield from self._opened(other))
            if opened == (one, other):
                return one, other
            one, other = opened

    def _opened(self, parts: list[bytes]) -> Plan[list[bytes]]:
        yield from self._shelf.fetch(part for part in parts if part not in self._elements and part[:8] != TAIL)
        found: list[bytes] = []
        for part in parts:
            chunk = None if part in self._elements else self._builder.chunk(part)
            found += chunk.refs if chunk is not None and chunk.kind == GROUP else [part]
        return found

    def elements(self, version: Version, parts: Sequence[bytes] | None = None) -> Plan[list[Element]]:
        """Return the elements of some parts of a version, or of all of it."""
        wanted = list(version.parts if parts is None else parts)
        while (opened := (yield from self._opened(wanted))) != wanted:
            wanted = opened
        found: list[Element] = []
        for part in wanted:
            if part not in self._elements:
                self._elements[part] = yield from self._read(part, version.is_dict)
            found += self._elements[part]
        return found

    def _read(self, part: bytes, is_dict: bool) -> Plan[list[Element]]:
        keys: list[Any] | None = [] if is_dict else None
        values: list[Any] = []
        if part[:8] == TAIL:
            chunk = self._builder.chunk(part[8:])
            if chunk is not None:
                _, _, tail, refs = opened_manifest(chunk)
                yield from self._shelf.reach(refs)
                self._builder.tail(tail, refs, keys, values)
        else:
            yield from self._shelf.reach([part])
            self._builder.leaf(part, keys, values)
        plain = [as_plain(value) for value in values]
        names = [None] * len(plain) if keys is None else [_name(key) for key in keys]
        return [Element(name, key_of(item), item) for name, item in zip(names, plain, strict=True)]


def _name(key: Any) -> str:
    return key if type(key) is str else next(iter(as_plain({key: None})))
