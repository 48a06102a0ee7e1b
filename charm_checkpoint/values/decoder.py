"""Content-addressed chunks back to values; pure. `encoder` has the way there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any, NamedTuple

import ormsgpack

from charm_checkpoint.contract import ADDRESS_SIZE, Chunk
from charm_checkpoint.errors import HOSTS, DataError, NewerFormat, PathPart, StoreCorrupt, corrupt
from charm_checkpoint.values.collector import paused
from charm_checkpoint.values.encoder import (
    BLOB,
    CONTAINERS,
    DELTA,
    DICT,
    GROUP,
    LEAF,
    MANIFEST,
    PIECES,
    RAW,
    EncodedValue,
    address,
)
from charm_checkpoint.values.limits import (
    BYTES,
    DEFAULTS,
    OVERHEAD,
    VISIT,
    Limits,
    count_elements,
    most_namings,
    own_weight,
    weights,
)
from charm_checkpoint.values.packing import unpack
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.bases import as_step
from charm_checkpoint.values.serde.framing import is_framed
from charm_checkpoint.values.serde.fresh_stack import is_fresh, on_a_fresh_stack
from charm_checkpoint.values.serde.keys import dict_of

MANY = 4
"""Leaves of a value from which on the garbage collector is paused while they are decoded."""


HEAVY = 4 << 20
"""Bytes from which on it is worth while to know how much of them each value takes."""


class DecodedChunk(NamedTuple):
    """A chunk unpacked: its kind, body and the addresses it names; as how many bytes it is stored."""

    kind: bytes
    body: bytes
    refs: tuple[bytes, ...]
    stored: int = 0


def split(refs: bytes) -> tuple[bytes, ...]:
    """Cut addresses that stand end to end."""
    return tuple(refs[start : start + ADDRESS_SIZE] for start in range(0, len(refs), ADDRESS_SIZE))


def decode_chunk(chunk: Chunk) -> DecodedChunk:
    """Unpack a chunk; raises `StoreCorrupt` if its content does not match its address."""
    payload = unpack(chunk.data)
    kind, body = payload[:1], payload[1:]
    if address(kind, body, chunk.refs) != chunk.address:
        raise StoreCorrupt(f"Chunk {chunk.address.hex()} holds something else than its address says.")
    return DecodedChunk(kind, body, split(chunk.refs), len(chunk.data) + OVERHEAD)


class Weighed(NamedTuple):
    """What values come to together, and, where that is not little, each chunk with all it reaches; what is stored."""

    total: int
    each: Mapping[bytes, int] | None
    stored: int


class Decoder:
    """Builds values from chunks that are all at hand, in ``chunks`` by address.

    Every value is built afresh: what a caller gets is his to change. ``named`` are the addresses of values that are
    to be built, each as often as it is: they are weighed first, and `StoreCorrupt` is raised if they come to more than
    ``limits`` has it.
    """

    def __init__(
        self,
        serde: Serializer,
        chunks: Mapping[bytes, DecodedChunk],
        named: Collection[bytes] = (),
        limits: Limits = DEFAULTS,
    ) -> None:
        self._serde = serde.reading()
        self._chunks = chunks
        self._limits = limits
        self._left: int | None = None
        self.weighed = self._weighed(named)
        limits.check_weight(self.weighed.total)

    def _weighed(self, named: Collection[bytes]) -> Weighed:
        """Weigh what is to be built, and see whether its elements are to be counted on the way."""
        have = self._chunks.values()
        size = sum([len(chunk.body) for chunk in have])
        refs = sum([len(chunk.refs) for chunk in have])
        once = size + ADDRESS_SIZE * refs + VISIT * len(have)
        extra = len(named) + refs - len(have)
        stored = sum([chunk.stored for chunk in have])
        if size < HEAVY:
            names = chain(named, chain.from_iterable([chunk.refs for chunk in have]))
            most = once * most_namings(names, extra) if extra > 0 else once
            if self._limits.is_light(most):
                return Weighed(most, None, stored)
        each = weights(named, self._chunks, own_weight)
        total = sum([each[name] for name in named])
        if self._limits.may_be_dense(total & BYTES, stored):
            held = weights(named, self._chunks, self._elements)
            self._left = self._limits.left(self._limits.max_elements - sum([held[name] for name in named]))
        return Weighed(total, each, stored)

    def value(self, encoded: EncodedValue) -> Any:
        """Return a value.

        Raises `TypeNotLoaded` with the path inside the value, `StoreCorrupt`.
        """
        if encoded.inline is not None:
            return self._serde.loads(encoded.inline)
        if encoded.ref is None:
            raise StoreCorrupt("A checkpoint's record names a value but not where it is.")
        try:
            return self._named(encoded.ref)
        except HOSTS:
            raise
        except Exception as error:
            raise corrupt("A value's chunks are damaged", error) from error

    def _named(self, name: bytes) -> Any:
        """Return the value of the chunk of this name, however deep the caller's stack is."""
        left = self._left
        try:
            return self._whole(self._chunk(name))
        except RecursionError:
            if is_fresh():
                raise
        self._left = left
        return on_a_fresh_stack(lambda: self._whole(self._chunk(name)))

    def _elements(self, chunk: DecodedChunk) -> int:
        """Count what a chunk holds by itself; what is in pieces is counted once these are together."""
        most = self._limits.max_elements
        if chunk.kind == BLOB:
            return count_elements(chunk.body[1:], most)
        if chunk.kind not in (LEAF, MANIFEST):
            return 0
        count = count_elements(chunk.body, most)
        if count > most:
            return count
        try:
            first, _, last = ormsgpack.unpackb(chunk.body)
            encoded = [first, last] if chunk.kind == LEAF else last
            held = sum([count_elements(data[1:], most) for data in encoded if data])
            return held - len(encoded) if chunk.kind == LEAF else held  # a run has a header of its own
        except (TypeError, ValueError):  # reading it will say so
            return count

    def share(self, name: bytes) -> tuple[int, int]:
        """Return what a value that was named weighs at most, and as how much that is stored, about."""
        total, each, stored = self.weighed
        return (total, stored) if each is None else (each[name], stored * (each[name] & BYTES) // (total & BYTES))

    def _chunk(self, name: bytes) -> DecodedChunk:
        try:
            return self._chunks[name]
        except KeyError:
            raise StoreCorrupt(f"Chunk {name.hex()} is missing.") from None

    def _whole(self, chunk: DecodedChunk) -> Any:
        read = WHOLE.get(chunk.kind)
        if read is None:
            raise _misplaced(chunk, "a value")
        return read(self, chunk)

    def _blob(self, chunk: DecodedChunk) -> Any:
        return self._serde.loads(chunk.body)

    def _pieces(self, chunk: DecodedChunk) -> Any:
        first, *others = [piece.body for ref in chunk.refs for piece in self._under(ref, PIECE)]
        if self._left is not None and not is_framed(first[1:], others):
            first, others = b"".join((first, *others)), []
            self._left = self._limits.spend(self._left, first[1:])
        return self._serde.loads_parts(first, others)

    def _manifest(self, chunk: DecodedChunk) -> Any:
        container, levels, tail = ormsgpack.unpackb(chunk.body)
        if container not in CONTAINERS:
            raise NewerFormat.of("A list or dict is in a container of kind", container)
        sealed = sum(levels)
        leaves = [leaf for ref in chunk.refs[:sealed] for leaf in self._under(ref, LEAVES)]
        is_dict = container & ~DELTA == DICT
        keys: list[Any] | None = [] if is_dict else None
        values: list[Any] = []
        with paused() if len(leaves) > MANY else nullcontext():
            for leaf in leaves:
                LEAVES[leaf.kind](self, leaf, keys, values)
            self._tail(tail, iter(chunk.refs[sealed:]), keys, values)
        value: Any = values if keys is None else dict_of(keys, values)
        return _delta(value) if container >= DELTA else value

    def _under(self, name: bytes, kinds: Container[bytes]) -> Iterator[DecodedChunk]:
        """Yield the chunks of some kinds that are grouped under an address, in order."""
        chunk = self._chunk(name)
        if chunk.kind == GROUP:
            for ref in chunk.refs:
                yield from self._under(ref, kinds)
        elif chunk.kind in kinds:
            yield chunk
        else:
            raise _misplaced(chunk, "a part of one")

    def _leaf(self, chunk: DecodedChunk, keys: list[Any] | None, values: list[Any]) -> None:
        packed_keys, large, packed = ormsgpack.unpackb(chunk.body)
        start = len(values)
        if keys is not None:
            keys.extend(self._serde.loads_many(packed_keys))
        try:
            values.extend(self._serde.loads_many(packed))
        except DataError as error:
            position, *rest = error.path or (0,)
            raise _placed(error, keys, start + _skip(int(position), large), rest) from error.__cause__
        for position, ref in zip(large, chunk.refs, strict=True):
            values.insert(start + position, self._element(ref, keys, start + position))

    def _tail(self, items: Sequence[Any], refs: Iterator[bytes], keys: list[Any] | None, values: list[Any]) -> None:
        stream = iter(items)
        for item in stream:
            if keys is not None:
                keys.append(self._serde.loads(item))
                item = next(stream)
            position = len(values)
            if item is None:
                values.append(self._element(next(refs), keys, position))
                continue
            try:
                values.append(self._serde.loads(item))
            except DataError as error:
                raise _placed(error, keys, position, error.path) from error.__cause__

    def _element(self, ref: bytes, keys: list[Any] | None, position: int) -> Any:
        try:
            return self._whole(self._chunk(ref))
        except DataError as error:
            raise _placed(error, keys, position, error.path) from error.__cause__


WHOLE: dict[bytes, Callable[[Decoder, DecodedChunk], Any]] = {
    BLOB: Decoder._blob,
    PIECES: Decoder._pieces,
    MANIFEST: Decoder._manifest,
}
"""How to read a chunk of each kind that stands for a value."""

LEAVES: dict[bytes, Callable[[Decoder, DecodedChunk, list[Any] | None, list[Any]], None]] = {LEAF: Decoder._leaf}
"""How to read a leaf of each kind, adding to keys and values."""

PIECE = frozenset((RAW,))
"""Kinds of chunks that hold a piece of a value's bytes."""


def _misplaced(chunk: DecodedChunk, wanted: str) -> StoreCorrupt:
    """Return the error for a chunk that stands where it should not, though it is what its address says."""
    if chunk.kind == GROUP or any(chunk.kind in kinds for kinds in (WHOLE, LEAVES, PIECE)):
        return StoreCorrupt(f"A chunk of kind {chunk.kind!r} stands where {wanted} should.")
    return NewerFormat.of("A chunk is of kind", chunk.kind)


def _delta(value: Any) -> Any:
    from langgraph.checkpoint.serde.types import _DeltaSnapshot

    return _DeltaSnapshot(value)


def _skip(position: int, large: Sequence[int]) -> int:
    """Return where the small element at ``position`` stands once the large ones are put back."""
    for taken in large:
        if taken <= position:
            position += 1
    return position


def _placed(error: DataError, keys: list[Any] | None, position: int, rest: Sequence[PathPart]) -> DataError:
    error.path = (position if keys is None else as_step(keys[position]), *rest)
    return error
