"""Content-addressed chunks back to values; pure. `encoder` has the way there."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import ormsgpack

from charm_checkpoint.contract import ADDRESS_SIZE, Chunk
from charm_checkpoint.errors import DataError, NewerFormat, PathPart, StoreCorrupt
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
from charm_checkpoint.values.packing import unpack
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.bases import as_step

MANY = 4
"""Leaves of a value from which on the garbage collector is paused while they are decoded."""


class DecodedChunk(NamedTuple):
    """A chunk unpacked: its kind, body and the addresses it names."""

    kind: bytes
    body: bytes
    refs: tuple[bytes, ...]


def split(refs: bytes) -> tuple[bytes, ...]:
    """Cut addresses that stand end to end."""
    return tuple(refs[start : start + ADDRESS_SIZE] for start in range(0, len(refs), ADDRESS_SIZE))


def decode_chunk(chunk: Chunk) -> DecodedChunk:
    """Unpack a chunk; raises `StoreCorrupt` if its content does not match its address."""
    payload = unpack(chunk.data)
    kind, body = payload[:1], payload[1:]
    if address(kind, body, chunk.refs) != chunk.address:
        raise StoreCorrupt(f"Chunk {chunk.address.hex()} holds something else than its address says.")
    return DecodedChunk(kind, body, split(chunk.refs))


class Decoder:
    """Builds values from chunks that are all at hand, in ``chunks`` by address.

    Every value is built afresh: what a caller gets is his to change.
    """

    def __init__(self, serde: Serializer, chunks: Mapping[bytes, DecodedChunk]) -> None:
        self._serde = serde
        self._chunks = chunks

    def value(self, encoded: EncodedValue) -> Any:
        """Return a value.

        Raises `TypeNotLoaded` with the path inside the value, `StoreCorrupt`.
        """
        if encoded.inline is not None:
            return self._serde.loads(encoded.inline)
        if encoded.ref is None:
            raise StoreCorrupt("A checkpoint's record names a value but not where it is.")
        return self._whole(self._chunk(encoded.ref))

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
        value: Any = values if keys is None else dict(zip(keys, values, strict=True))
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
