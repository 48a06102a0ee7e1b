"""The leaves of one list or dict: found again from what is remembered of earlier ones, or made."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from operator import add
from typing import Any, Protocol

import ormsgpack

from charm_checkpoint.errors import DataError
from charm_checkpoint.values.elements import BATCH, LEAF_BYTES, MOST_AT_ONCE, NUMBERS, Elements, Ends
from charm_checkpoint.values.known_chunks import KnownLeaves, Large, LeafFingerprint, Tree

LARGE = 1024
"""Encoded elements above this many bytes are chunks of their own in a sealed leaf."""
SPLIT = 4096
"""Elements that are lists or dicts and above this many bytes are split in their turn."""
VECTOR = 1 << 16
"""Elements that are lists of numbers, up to this many bytes, are kept in one piece."""


class ChunkSink(Protocol):
    """Takes the parts of a list or dict as chunks, to be stored."""

    def has(self, address: bytes, leaf: LeafFingerprint) -> bool:
        """Tell whether the store is known to hold a leaf, which then is not sent."""
        ...

    def weight(self, leaf: bytes, large: Sequence[bytes]) -> tuple[int, int]:
        """Return what a leaf stored just now weighs with all it reaches, and about how much of that is stored."""
        ...

    def leaf(self, body: bytes, refs: Sequence[bytes]) -> bytes:
        """Store a leaf."""
        ...

    def blob(self, packed: bytes) -> bytes:
        """Store an encoded value that is not split by elements."""
        ...

    def split(self, value: Any, prior: bytes | None) -> bytes | None:
        """Store a list or dict by its elements; None if it turns out to be too small for that."""
        ...


class Leaves:
    """The leaves of some elements, found again or made; ``start`` is where those that are not in a leaf yet begin."""

    def __init__(self, sink: ChunkSink, known: KnownLeaves, elements: Elements, tree: Tree, splits: bool) -> None:
        self._sink = sink
        self._known = known
        self._elements = elements
        self._splits = splits
        self._matcher = LeafMatcher(known, tree.leaves)
        self._priors = dict(tree.open)
        self._nested: dict[int, bytes | None] = {}
        self._vectors: set[int] = set()
        self.start = 0

    def sealed(self) -> list[bytes]:
        """Return the addresses of the sealed leaves."""
        return self._leaves(is_open=False)

    def small(self) -> list[bytes]:
        """Return the addresses of the small leaves behind the sealed ones."""
        return self._leaves(is_open=True)

    def _leaves(self, is_open: bool) -> list[bytes]:
        leaves: list[bytes] = []
        while self.start < len(self._elements):
            leaf = self._same(is_open)
            if leaf is None:
                end = self._end(self._elements.ends(self.start)[is_open])
                if end is None:
                    break
                leaf = self._made(end, is_open)
            leaves.append(leaf)
        return leaves

    def _end(self, ends: Ends) -> int | None:
        """Return where the leaf from ``start`` on ends, None if it is still open."""
        if ends.sized:
            return self._sized_end(ends)
        last = min(self.start + ends.longest, len(self._elements))
        for begin in range(self.start + ends.shortest - 1, last, MOST_AT_ONCE):
            position = self._first(range(begin, min(begin + MOST_AT_ONCE, last)), ends.mask)
            if position is not None:
                return position + 1
        return last if last - self.start == ends.longest else None

    def _first(self, positions: range, mask: int) -> int | None:
        """Return the first of some elements with which a leaf may end."""
        elements = self._elements
        if elements.keys is None and elements.are_numbers(positions.start, positions.stop):
            return elements.first_number(positions, mask)
        return next((position for position in positions if not self._hash(position) & mask), None)

    def _sized_end(self, ends: Ends) -> int | None:
        start, total = self.start, 0
        for first, last in _blocks(start, len(self._elements)):
            hashes, sizes = self._measured(first, last)
            for n in [n for n, hashed in enumerate(hashes) if not hashed & ends.mask]:
                if first + n + 1 - start >= ends.shortest and ends.are_at(hashes[n], sizes[n]):
                    return first + n + 1
            total += sum(sizes)
            if last - start >= ends.longest and total >= 4 * LEAF_BYTES and last < len(self._elements):
                return last
        return None

    def _measured(self, first: int, last: int) -> tuple[list[int], list[int]]:
        """Return the hashes and the sizes of some elements."""
        elements, positions = self._elements, range(first, last)
        if not self._priors:
            packed = elements.pack(positions)
            sizes = list(map(len, packed))
            if max(sizes) <= LARGE and elements.keys is None:
                return list(map(zlib.crc32, packed)), sizes
            if max(sizes) <= LARGE:
                keys = elements.pack_keys(positions)
                return list(map(zlib.crc32, keys)), list(map(add, sizes, map(len, keys)))
        return list(map(self._hash, positions)), list(map(self._size, positions))

    # ------------------------------------------------------------------ elements

    def name(self, position: int) -> int:
        """Return by what an element that is a tree is found again: see `Large`."""
        return position if self._elements.keys is None else self._elements.key_hash(position)

    def nested(self, position: int) -> bytes | None:
        """Return where an element went that is split in its turn, None if it is not."""
        if position not in self._nested:
            self._nested[position] = self._split(position)
        return self._nested[position]

    def _split(self, position: int) -> bytes | None:
        value = self._elements.values[position]
        if not self._splits or not issubclass(type(value), (list, dict)):
            return None
        prior = self._priors.get(self.name(position)) if self._priors else None
        if prior is None and (len(self._elements.packed(position)) <= SPLIT or self._is_vector(position, value)):
            return None
        try:
            return self._sink.split(value, prior)
        except DataError as error:
            raise error.at(self._elements.step(position)) from error.__cause__

    def _is_vector(self, position: int, value: Any) -> bool:
        """Tell whether an element is a list of not too many numbers, which are replaced together."""
        if type(value) is not list or len(self._elements.packed(position)) > VECTOR:
            return False
        if not NUMBERS.issuperset(map(type, value.copy())):
            return False
        self._vectors.add(position)
        return True

    def _hash(self, position: int) -> int:
        """Return the hash that says whether a leaf ends here; that of a list's element is its content's."""
        elements = self._elements
        if elements.keys is not None:
            return elements.key_hash(position)
        if issubclass(type(elements.values[position]), (list, dict)):
            ref = self.nested(position)
            if ref is not None:
                return zlib.crc32(ref)
        return elements.value_hash(position)

    def _size(self, position: int) -> int:
        value = LARGE if self.nested(position) is not None else len(self._elements.packed(position))
        return value if self._elements.keys is None else value + len(self._elements.packed_key(position))

    # -------------------------------------------------------------------- leaves

    def _same(self, is_open: bool) -> bytes | None:
        """Return the earlier leaf that the elements from ``start`` on still are, if any."""
        for leaf, fingerprint in self._matcher.candidates(self._hash, self.start, is_open):
            fits = self.start + fingerprint.size <= len(self._elements)
            if fits and self._is(fingerprint) and self._sink.has(leaf, fingerprint):
                self._matcher.follow(leaf)
                self.start += fingerprint.size
                return leaf
        return None

    def _is(self, leaf: LeafFingerprint) -> bool:
        """Tell whether the elements from ``start`` on are those of a leaf."""
        elements, start = self._elements, self.start
        every = range(start, start + leaf.size)
        positions: Sequence[int] = every
        for item in leaf.large:
            if item.fingerprint is None:
                self._priors[start + item.position if elements.keys is None else item.name] = item.ref
        if not elements.has_keys(every.start, every.stop, leaf.keys):
            return False
        if leaf.large:
            apart = {start + item.position for item in leaf.large}
            positions = [position for position in positions if position not in apart]
        return elements.has(positions, leaf.small) and all(
            self._is_large(item, start + item.position) for item in leaf.large
        )

    def _is_large(self, item: Large, position: int) -> bool:
        if item.fingerprint is None:
            return self.nested(position) == item.ref
        return self._elements.is_one(position, item.fingerprint)

    def _made(self, end: int, is_open: bool) -> bytes:
        """Make the leaf from ``start`` to ``end``."""
        elements, start = self._elements, self.start
        encoded_keys, keys = elements.encoded_keys(start, end)
        if elements.keys is None and elements.are_numbers(start, end):
            large: list[Large] = []
            encoded, small = elements.encoded_numbers(start, end)
        else:
            large = self._apart(range(start, end))
            apart = {start + item.position for item in large}
            encoded, small = elements.encoded([position for position in range(start, end) if position not in apart])
        body = ormsgpack.packb([encoded_keys, [item.position for item in large], encoded])
        refs = [item.ref for item in large]
        leaf = self._sink.leaf(body, refs)
        weight = self._sink.weight(leaf, refs)
        first = self._hash(start)
        self._known.put(leaf, LeafFingerprint(end - start, first, keys, small, tuple(large), is_open, *weight))
        self.start = end
        return leaf

    def _apart(self, positions: range) -> list[Large]:
        """Return the large ones of some elements, stored."""
        if not any(map(self._nested.get, positions)) and max(map(len, self._elements.pack(positions))) <= LARGE:
            return []
        return [self._large(position) for position in positions if self._is_apart(position)]

    def _is_apart(self, position: int) -> bool:
        return self._nested.get(position) is not None or len(self._elements.packed(position)) > LARGE

    def _large(self, position: int) -> Large:
        nested, within = self.nested(position), position - self.start
        if nested is not None:
            return Large(within, self.name(position), nested, None)
        fingerprint = self._elements.one(position, position in self._vectors)
        return Large(within, 0, self._sink.blob(self._elements.packed(position)), fingerprint)


def _blocks(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield ranges in order, each twice as long as the one before, up to a bound."""
    size = BATCH
    while start < stop:
        yield start, min(start + size, stop)
        start += size
        size = min(2 * size, MOST_AT_ONCE)


class LeafMatcher:
    """Which earlier leaf the next elements may be: the next in order, or one that starts so."""

    def __init__(self, known: KnownLeaves, prior: tuple[bytes, ...]) -> None:
        self._known = known
        self._prior = prior
        self._next = 0
        self._starts: dict[tuple[int, bool], int] | None = None

    def candidates(
        self, hash_of: Callable[[int], int], start: int, is_open: bool
    ) -> Iterator[tuple[bytes, LeafFingerprint]]:
        """Yield the leaves worth comparing with the elements from ``start`` on."""
        if self._next < len(self._prior):
            yield from self._candidate(self._next, is_open)
        if self._prior:
            position = self._index().get((hash_of(start), is_open))
            if position is not None and position != self._next:
                yield from self._candidate(position, is_open)

    def _candidate(self, position: int, is_open: bool) -> Iterator[tuple[bytes, LeafFingerprint]]:
        leaf = self._prior[position]
        known = self._known.get(leaf)
        if isinstance(known, LeafFingerprint) and known.is_open == is_open:
            yield leaf, known

    def follow(self, leaf: bytes) -> None:
        """Go on after ``leaf``, which was found again."""
        if self._next >= len(self._prior) or self._prior[self._next] != leaf:
            self._next = self._prior.index(leaf)
        self._next += 1

    def _index(self) -> dict[tuple[int, bool], int]:
        if self._starts is None:
            leaves = ((n, self._known.get(leaf)) for n, leaf in enumerate(self._prior))
            self._starts = {(leaf.first, leaf.is_open): n for n, leaf in leaves if isinstance(leaf, LeafFingerprint)}
        return self._starts
