"""Values to content-addressed chunks; pure. `revive` has the way back.

State is mostly a list or dict that changes a little from one checkpoint to the next. Its
elements are grouped into *leaves* whose ends are decided by the elements themselves, so an
edit moves no leaf but its own. Leaves are grouped the same way, and those groups again. What
has come after the last end at each level is open:

    manifest ─ group ─ leaf ─ small elements, packed
            │       └─ leaf ─ ...  ─ large element (a chunk, pieces, or a manifest of its own)
            ├─ leaf              open: no group's end has come yet
            └─ element           open: no leaf's end has come yet

An append writes the new element, a manifest, and now and then a leaf that seals the open
elements before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import ormsgpack

from charm_checkpoint.cache import Cache
from charm_checkpoint.contract import ADDRESS_SIZE, Chunk
from charm_checkpoint.errors import DataError, PathPart
from charm_checkpoint.packing import pack
from charm_checkpoint.serde import Serializer

INLINE = 512
"""Largest encoded value, in bytes, that stays in its checkpoint's record."""
WHOLE = 1024
"""Largest encoded list or dict, in bytes, that is kept in one piece."""
LARGE = 1024
"""Encoded elements above this many bytes are chunks of their own in a sealed leaf."""
TINY = 64
"""Encoded elements up to this many bytes stay in the manifest while they are open."""
SPLIT = 4096
"""Elements that are lists or dicts and above this many bytes are split in their turn."""
PIECE = 1 << 20
"""Bytes above which a value that cannot be split by elements is cut into pieces of this size."""

BOUNDARY = 0b1111
"""An element ends its leaf when these bits of its hash are 0: once in 16."""
SHORTEST, LONGEST = 4, 128
"""Bounds on the members of a leaf or group, for lists whose elements are all alike."""

BLOB, PIECES, RAW, LEAF, GROUP, MANIFEST = (bytes((code,)) for code in range(1, 7))
"""Kinds of chunks; the first byte of a chunk's payload. Part of the storage format."""

LIST, DICT, DELTA = 0, 1, 2
"""What a manifest holds; DELTA is added for a value inside LangGraph's ``_DeltaSnapshot``."""


SMALL_TEXT = INLINE // 4
"""Text up to this many characters is inline whatever they are."""


def is_small(value: Any) -> bool:
    """Tell, without encoding it, that a plain value goes inline."""
    kind = type(value)
    return kind in _SMALL or (kind is str and len(value) <= SMALL_TEXT)


_SMALL = frozenset((type(None), bool, int, float))


class Entry(NamedTuple):
    """Where a value went: ``inline`` bytes, or the ``ref`` of a chunk.

    ``leaves`` are the addresses of its sealed leaves, in order.
    """

    inline: bytes | None
    ref: bytes | None = None
    leaves: tuple[bytes, ...] = ()


class Mark(NamedTuple):
    """How to know a leaf again by its elements: their number, the first's hash, a fingerprint of all."""

    size: int
    first: int
    digest: int


@dataclass(frozen=True, slots=True)
class _Run:
    """The elements of a list or dict side by side; ``keys`` is None for a list."""

    keys: Sequence[Any] | None
    values: Sequence[Any]
    serde: Serializer
    _encoded: dict[int, bytes] = field(default_factory=dict)

    def encoded(self, position: int) -> bytes:
        """Return an element's value encoded, worked out once."""
        encoded = self._encoded.get(position)
        if encoded is None:
            try:
                encoded = self._encoded[position] = self.serde.dumps(self.values[position])
            except DataError as error:
                raise error.at(self.step(position)) from None
        return encoded

    def identity(self, position: int) -> bytes:
        """Return the bytes that decide where leaves end: a dict's key, a list's element."""
        return self.encoded(position) if self.keys is None else self.serde.dumps(self.keys[position])

    def packed(self, start: int, end: int) -> tuple[bytes | None, bytes]:
        """Return a slice's keys and values, each encoded in one go."""
        keys = None if self.keys is None else self.serde.dumps_many(self.keys[start:end])
        try:
            return keys, self.serde.dumps_many(self.values[start:end])
        except DataError as error:
            raise self._shifted(error, start) from None

    def fingerprint(self, start: int, end: int) -> int:
        """Return a number that a slice shares only with slices that pack to the same bytes."""
        keys = None if self.keys is None else self.serde.fingerprint(self.keys[start:end])
        try:
            return hash((keys, self.serde.fingerprint(self.values[start:end])))
        except DataError as error:
            raise self._shifted(error, start) from None

    def _shifted(self, error: DataError, start: int) -> DataError:
        """Turn a path that starts in a slice into one that starts in the whole."""
        position, *rest = error.path or (0,)
        error.path = (self.step(start + int(position)), *rest)
        return error

    def step(self, position: int) -> PathPart:
        """Return the step of a path that leads to an element."""
        key = position if self.keys is None else self.keys[position]
        return key if type(key) in (str, int) else repr(key)


def address(kind: bytes, body: bytes, refs: bytes) -> bytes:
    """Return the address of a chunk: BLAKE2b-128 of its kind, refs and body."""
    digest = blake2b(kind, digest_size=ADDRESS_SIZE)
    digest.update(len(refs).to_bytes(4, "big"))
    digest.update(refs)
    digest.update(body)
    return digest.digest()


class Codec:
    """Encodes values with one serializer, and remembers the leaves it has seen."""

    def __init__(self, serde: Serializer) -> None:
        self.serde = serde
        self.marks: Cache[bytes, Mark] = Cache(200_000)


class Encoder:
    """Encodes the values of one checkpoint; ``chunks`` gathers what the store may lack.

    ``known`` are addresses that the store is known to hold: they are left out. ``complete``
    tells whether anything was.
    """

    def __init__(self, codec: Codec, known: frozenset[bytes] | set[bytes] = frozenset()) -> None:
        self._codec = codec
        self._serde = codec.serde
        self._known = known
        self.chunks: dict[bytes, Chunk] = {}
        self.complete = True

    def value(self, value: Any, prior: tuple[bytes, ...] = ()) -> Entry:
        """Encode one value; ``prior`` are the leaves it may still share, in order.

        Raises `NotSerializable` with the path inside the value.
        """
        container, inner = _container(value)
        if container is not None:
            run = self._run(inner)
            if not self._fits(run):
                return self._tree(container, run, prior)
        encoded = self._serde.dumps(value)
        return Entry(encoded) if len(encoded) <= INLINE else Entry(None, self._blob(encoded))

    # ------------------------------------------------------------------ chunks

    def _chunk(self, kind: bytes, body: bytes, refs: bytes = b"") -> bytes:
        name = address(kind, body, refs)
        if name in self._known:
            self.complete = False
        elif name not in self.chunks:
            self.chunks[name] = Chunk(name, refs, pack(kind + body))
        return name

    def _blob(self, encoded: bytes) -> bytes:
        if len(encoded) <= PIECE:
            return self._chunk(BLOB, encoded)
        pieces = (encoded[start : start + PIECE] for start in range(0, len(encoded), PIECE))
        return self._chunk(PIECES, b"", b"".join(self._chunk(RAW, piece) for piece in pieces))

    # ------------------------------------------------------------------- trees

    def _run(self, value: list[Any] | dict[Any, Any]) -> _Run:
        if isinstance(value, dict):
            return _Run(list(value), list(value.values()), self._serde)
        return _Run(None, value, self._serde)

    def _fits(self, run: _Run) -> bool:
        """Tell whether a container's elements are small enough, together, to keep it whole."""
        room = WHOLE
        if len(run.values) > room:
            return False
        for position in range(len(run.values)):
            room -= len(run.encoded(position))
            if room < 0:
                return False
        return True

    def _tree(self, container: int, run: _Run, prior: tuple[bytes, ...]) -> Entry:
        leaves, start = self._leaves(run, prior)
        tail, tail_refs = self._tail(run, start)
        levels, members = [], leaves
        while members:
            groups, rest = self._groups(members)
            levels.append(rest)
            members = groups
        levels.reverse()
        body = ormsgpack.packb([container, [len(level) for level in levels], tail])
        refs = b"".join(b"".join(level) for level in levels) + tail_refs
        return Entry(None, self._chunk(MANIFEST, body, refs), tuple(leaves))

    def _groups(self, members: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Group addresses; return the closed groups' and those still open."""
        groups: list[bytes] = []
        start = 0
        for position, member in enumerate(members, 1):
            if _ends(position - start, member[0]):
                groups.append(self._chunk(GROUP, b"", b"".join(members[start:position])))
                start = position
        return groups, members[start:]

    def _leaves(self, run: _Run, prior: tuple[bytes, ...]) -> tuple[list[bytes], int]:
        """Return the sealed leaves' addresses and where the open elements start."""
        guess = _Guess(self._codec.marks, prior)
        leaves: list[bytes] = []
        start, total = 0, len(run.values)
        while start < total:
            same = self._same(run, start, guess)
            if same is not None:
                leaf, count = same
                self.complete = False
            else:
                end = self._end(run, start)
                if end is None:
                    break
                leaf, count = self._leaf(run, start, end), end - start
            leaves.append(leaf)
            start += count
        return leaves, start

    def _same(self, run: _Run, start: int, guess: _Guess) -> tuple[bytes, int] | None:
        """Return the earlier leaf that the elements from ``start`` on still are, if any."""
        for leaf, mark in guess.candidates(run, start):
            end = start + mark.size
            if leaf in self._known and end <= len(run.values) and run.fingerprint(start, end) == mark.digest:
                guess.follow(leaf)
                return leaf, mark.size
        return None

    def _end(self, run: _Run, start: int) -> int | None:
        """Return where the leaf that starts at ``start`` ends, None if it is still open."""
        for position in range(start, len(run.values)):
            if _ends(position + 1 - start, zlib.crc32(run.identity(position))):
                return position + 1
        return None

    def _leaf(self, run: _Run, start: int, end: int) -> bytes:
        keys, packed = run.packed(start, end)
        large: dict[int, bytes] = {}
        small = packed
        if len(packed) > LARGE:
            large = {
                position - start: self._large(run.values[position], run.encoded(position))
                for position in range(start, end)
                if len(run.encoded(position)) > LARGE
            }
        if large:
            small = self._serde.dumps_many([run.values[n] for n in range(start, end) if n - start not in large])
        body = ormsgpack.packb([keys, list(large), small])
        leaf = self._chunk(LEAF, body, b"".join(large.values()))
        self._codec.marks.put(leaf, Mark(end - start, hash(run.identity(start)), run.fingerprint(start, end)))
        return leaf

    def _large(self, value: Any, encoded: bytes) -> bytes:
        if len(encoded) > SPLIT and type(value) in (list, dict):
            ref = self.value(value).ref
            if ref is not None:
                return ref
        return self._blob(encoded)

    def _tail(self, run: _Run, start: int) -> tuple[list[bytes | None], bytes]:
        """Encode the open elements: tiny ones as bytes, others as refs (None)."""
        items: list[bytes | None] = []
        refs: list[bytes] = []
        for position in range(start, len(run.values)):
            encoded = run.encoded(position)
            if run.keys is not None:
                items.append(run.identity(position))
            if len(encoded) > TINY:
                refs.append(self._large(run.values[position], encoded))
                items.append(None)
            else:
                items.append(encoded)
        return items, b"".join(refs)


class _Guess:
    """Which earlier leaf the next elements may be: the next in order, or one that starts so."""

    def __init__(self, marks: Cache[bytes, Mark], prior: tuple[bytes, ...]) -> None:
        self._marks = marks
        self._prior = prior
        self._next = 0
        self._starts: dict[int, int] | None = None

    def candidates(self, run: _Run, start: int) -> Iterator[tuple[bytes, Mark]]:
        """Yield the leaves worth comparing with the elements from ``start`` on."""
        if self._next < len(self._prior):
            yield from self._known(self._next)
        if self._prior:
            position = self._index().get(hash(run.identity(start)))
            if position is not None and position != self._next:
                yield from self._known(position)

    def _known(self, position: int) -> Iterator[tuple[bytes, Mark]]:
        leaf = self._prior[position]
        mark = self._marks.get(leaf)
        if mark is not None:
            yield leaf, mark

    def follow(self, leaf: bytes) -> None:
        """Go on after ``leaf``, which was found again."""
        if self._next >= len(self._prior) or self._prior[self._next] != leaf:
            self._next = self._prior.index(leaf)
        self._next += 1

    def _index(self) -> dict[int, int]:
        if self._starts is None:
            marks = ((n, self._marks.get(leaf)) for n, leaf in enumerate(self._prior))
            self._starts = {mark.first: n for n, mark in marks if mark is not None}
        return self._starts


def _container(value: Any) -> tuple[int | None, Any]:
    kind = type(value)
    if kind is list:
        return LIST, value
    if kind is dict:
        return DICT, value
    if kind.__name__ == "_DeltaSnapshot" and kind.__module__ == "langgraph.checkpoint.serde.types":
        container, inner = _container(value.value)
        return (None, value) if container is None or container >= DELTA else (container + DELTA, inner)
    return None, value


def _ends(count: int, mark: int) -> bool:
    return count >= LONGEST or (count >= SHORTEST and not mark & BOUNDARY)
