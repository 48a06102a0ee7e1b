"""Lists read from their end, a page at a time: no chunk is read but those that hold what is asked for.

A list's elements are in leaves, and leaves in groups, of which its manifest names the last ones (see the encoder's
drawing). How many elements a leaf has is not written down above it, so a page is found from the end, and goes on from
the place where the one after it began: the way down to its leaf, and how many of the leaf's elements are before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.inspection.building import Builder, opened_manifest
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.encoder import DELTA, DICT, GROUP, MANIFEST

AHEAD = 4
"""Leaves, or groups of them, that are read at once."""


class Slice(NamedTuple):
    """The last elements of a list, or of what is before a place.

    ``before`` is the place where they begin, None at the beginning of the list; ``is_whole``: they are all.
    """

    values: list[Any]
    before: Place | None

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is before them."""
        return self.before is None


class Place(NamedTuple):
    """A place in a list: ``way`` are the numbers of the groups and the leaf, none of them for what is open at the end.

    ``kept`` elements of the leaf are before it, None all of them; ``behind`` elements of the list are behind it.
    """

    way: tuple[int, ...]
    kept: int | None = None
    behind: int = 0


def place_in(parts: Any) -> Place:
    """Return a place from what a cursor holds; raises `ConfigError` for anything else."""
    if (
        type(parts) is list
        and len(parts) == 3
        and type(parts[0]) is list
        and all(type(number) is int and number >= 0 for number in (*parts[0], parts[1] or 0, parts[2]))
    ):
        return Place(tuple(parts[0]), *parts[1:])
    raise ConfigError("the cursor names no place in a list: pass on what an earlier page had as its cursor.")


def list_slice(shelf: Shelf, builder: Builder, name: bytes, last: int, before: Place | None) -> Plan[Slice | None]:
    """Return the last elements of the list in a chunk, at most ``last``; None if it is no list in leaves."""
    yield from shelf.fetch([name])
    chunk = builder.chunk(name)
    if chunk is None or chunk.kind != MANIFEST:
        return None
    container, sealed, tail, tail_refs = opened_manifest(chunk)
    if container & ~DELTA == DICT:
        return None
    pages = _Backwards(shelf, builder, sealed)
    if before is None or not before.way:
        yield from shelf.reach(tail_refs)
        opened: list[Any] = []
        builder.tail(tail, tail_refs, None, opened)
        pages.add(opened if before is None else opened[: before.kept], Place(()), last)
    else:
        yield from pages.go_to(before, last)
    yield from pages.fill(last)
    return pages.found(0 if before is None else before.behind)


class _Backwards:
    """Goes through the leaves of a list from the last to the first."""

    def __init__(self, shelf: Shelf, builder: Builder, sealed: Sequence[bytes]) -> None:
        self._shelf = shelf
        self._builder = builder
        self._stack: list[tuple[Sequence[bytes], int]] = [(sealed, len(sealed) - 1)]
        self._values: list[Any] = []
        self._before: Place | None = None
        self._way: tuple[int, ...] = ()

    def add(self, elements: list[Any], place: Place, last: int) -> None:
        """Put elements in front of those found, as many as are wanted."""
        wanted = last - len(self._values)
        left = max(len(elements) - wanted, 0)
        self._way = place.way
        self._values = elements[left:] + self._values
        self._before = place._replace(kept=left) if left else None

    def go_to(self, place: Place, last: int) -> Plan[None]:
        """Go down to a place, and take what is wanted of its leaf."""
        entries = self._stack.pop()[0]
        for number in place.way:
            if number >= len(entries):
                raise ConfigError("the cursor is of another list: pass on what an earlier page of this one had.")
            self._stack.append((entries, number - 1))
            yield from self._shelf.fetch([entries[number]])
            leaf, entries = entries[number], self._shelf.refs(entries[number])
        elements = yield from self._elements(leaf)
        self.add(elements[: place.kept], place, last)

    def fill(self, last: int) -> Plan[None]:
        """Take leaves until there are as many elements as are wanted."""
        while len(self._values) < last and self._stack and self._before is None:
            entries, number = self._stack.pop()
            if number < 0:
                continue
            self._stack.append((entries, number - 1))
            yield from self._shelf.fetch(entries[max(0, number + 1 - AHEAD) : number + 1])
            chunk = self._builder.chunk(entries[number])
            if chunk is not None and chunk.kind == GROUP:
                self._stack.append((chunk.refs, len(chunk.refs) - 1))
                continue
            way = tuple(at + 1 for _, at in self._stack)
            self.add((yield from self._elements(entries[number])), Place(way), last)

    def _elements(self, leaf: bytes) -> Plan[list[Any]]:
        yield from self._shelf.reach([leaf])
        values: list[Any] = []
        self._builder.leaf(leaf, None, values)
        return values

    def found(self, behind: int) -> Slice:
        """Return what was found, and where it begins; so many elements are ``behind`` it."""
        is_rest = any(at >= 0 for _, at in self._stack)
        place = self._before or (Place(self._way, 0) if is_rest else None)
        return Slice(self._values, place and place._replace(behind=behind + len(self._values)))
