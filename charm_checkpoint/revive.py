"""Content-addressed chunks back to values; pure. The way there is in codec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import ormsgpack

from charm_checkpoint.codec import BLOB, DELTA, DICT, GROUP, LEAF, MANIFEST, PIECES, RAW, Entry, address
from charm_checkpoint.collector import paused
from charm_checkpoint.contract import ADDRESS_SIZE, Chunk
from charm_checkpoint.errors import DataError, PathPart, StoreCorrupt
from charm_checkpoint.packing import unpack
from charm_checkpoint.serde import Serializer

MANY = 4
"""Leaves of a value from which on the garbage collector is paused while they are revived."""


class Plain(NamedTuple):
    """A chunk unpacked: its kind, body and the addresses it names."""

    kind: bytes
    body: bytes
    refs: tuple[bytes, ...]


def split(refs: bytes) -> tuple[bytes, ...]:
    """Cut addresses that stand end to end."""
    return tuple(refs[start : start + ADDRESS_SIZE] for start in range(0, len(refs), ADDRESS_SIZE))


def plain(chunk: Chunk) -> Plain:
    """Unpack a chunk; raises `StoreCorrupt` if its content does not match its address."""
    payload = unpack(chunk.data)
    kind, body = payload[:1], payload[1:]
    if address(kind, body, chunk.refs) != chunk.address:
        raise StoreCorrupt(f"Chunk {chunk.address.hex()} holds something else than its address says.")
    return Plain(kind, body, split(chunk.refs))


class Reviver:
    """Builds values from chunks that are all at hand, in ``chunks`` by address.

    Every value is built afresh: what a caller gets is his to change.
    """

    def __init__(self, serde: Serializer, chunks: Mapping[bytes, Plain]) -> None:
        self._serde = serde
        self._chunks = chunks

    def value(self, entry: Entry) -> tuple[Any, tuple[bytes, ...]]:
        """Return a value and the addresses of its sealed leaves.

        Raises `TypeNotLoaded` with the path inside the value, `StoreCorrupt`.
        """
        if entry.inline is not None:
            return self._serde.loads(entry.inline), ()
        if entry.ref is None:
            raise StoreCorrupt("A checkpoint's record names a value but not where it is.")
        chunk = self._chunk(entry.ref)
        if chunk.kind == MANIFEST:
            return self._manifest(chunk)
        return self._whole(chunk), ()

    def _chunk(self, name: bytes) -> Plain:
        try:
            return self._chunks[name]
        except KeyError:
            raise StoreCorrupt(f"Chunk {name.hex()} is missing.") from None

    def _whole(self, chunk: Plain) -> Any:
        if chunk.kind == BLOB:
            return self._serde.loads(chunk.body)
        if chunk.kind == PIECES:
            pieces = [self._chunk(ref) for ref in chunk.refs]
            if any(piece.kind != RAW for piece in pieces):
                raise StoreCorrupt("A value's pieces are not pieces.")
            return self._serde.loads(b"".join(piece.body for piece in pieces))
        if chunk.kind == MANIFEST:
            return self._manifest(chunk)[0]
        raise StoreCorrupt(f"A chunk of kind {chunk.kind!r} stands where a value should.")

    def _manifest(self, chunk: Plain) -> tuple[Any, tuple[bytes, ...]]:
        container, levels, tail = ormsgpack.unpackb(chunk.body)
        sealed = sum(levels)
        leaves = tuple(leaf for ref in chunk.refs[:sealed] for leaf in self._under(ref))
        is_dict = container & ~DELTA == DICT
        keys: list[Any] | None = [] if is_dict else None
        values: list[Any] = []
        with paused() if len(leaves) > MANY else nullcontext():
            for leaf in leaves:
                self._leaf(self._chunk(leaf), keys, values)
            self._tail(tail, iter(chunk.refs[sealed:]), keys, values)
        value: Any = values if keys is None else dict(zip(keys, values, strict=True))
        return (_delta(value) if container >= DELTA else value), leaves

    def _under(self, name: bytes) -> Iterator[bytes]:
        chunk = self._chunk(name)
        if chunk.kind == GROUP:
            for ref in chunk.refs:
                yield from self._under(ref)
        elif chunk.kind == LEAF:
            yield name
        else:
            raise StoreCorrupt(f"A chunk of kind {chunk.kind!r} stands where a leaf should.")

    def _leaf(self, chunk: Plain, keys: list[Any] | None, values: list[Any]) -> None:
        packed_keys, large, packed = ormsgpack.unpackb(chunk.body)
        start = len(values)
        if keys is not None:
            keys.extend(self._serde.loads_many(packed_keys))
        try:
            values.extend(self._serde.loads_many(packed))
        except DataError as error:
            position, *rest = error.path or (0,)
            raise _placed(error, keys, start + _skip(int(position), large), rest) from None
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
                raise _placed(error, keys, position, error.path) from None

    def _element(self, ref: bytes, keys: list[Any] | None, position: int) -> Any:
        try:
            return self._whole(self._chunk(ref))
        except DataError as error:
            raise _placed(error, keys, position, error.path) from None


def _delta(value: Any) -> Any:
    from langgraph.checkpoint.serde.types import _DeltaSnapshot

    return _DeltaSnapshot(value)


def _skip(position: int, large: Sequence[int]) -> int:
    """Return where the small element at ``position`` stands once the large ones are put back."""
    for place in large:
        if place <= position:
            position += 1
    return position


def _placed(error: DataError, keys: list[Any] | None, position: int, rest: Sequence[PathPart]) -> DataError:
    step = position if keys is None else keys[position]
    error.path = (step if type(step) in (str, int) else repr(step), *rest)
    return error
