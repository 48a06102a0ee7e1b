"""Values from chunks that may be damaged: what cannot be read is `Damaged`, the rest is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ormsgpack

from charm_checkpoint.errors import HOSTS, DataError, StoreCorrupt, TypeNotLoaded, corrupt, format_path
from charm_checkpoint.inspection.chunks import Bad, Shelf
from charm_checkpoint.inspection.plain_values import Damaged
from charm_checkpoint.values.decoder import DecodedChunk
from charm_checkpoint.values.encoder import BLOB, CONTAINERS, DELTA, DICT, GROUP, LEAF, MANIFEST, PIECES, RAW
from charm_checkpoint.values.limits import Limits, count_elements
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.keys import dict_of
from charm_checkpoint.values.serde.raw import PlainSerializer

VISIT = 64
"""Bytes that each chunk counts as, beside its own, where what is built is bounded."""


class Builder:
    """Builds values from a shelf's chunks; what they come to is bounded as it is for a saver."""

    def __init__(self, serde: Serializer, shelf: Shelf, limits: Limits) -> None:
        self._serde = serde.reading()
        self._plain = PlainSerializer()
        self._shelf = shelf
        self._limits = limits
        self._size = self._stored = 0
        self._left = limits.max_elements

    def value(self, name: bytes) -> Any:
        """Return the value of a chunk."""
        return self._guarded(lambda: self._value(name))

    def inline(self, data: bytes) -> Any:
        """Return a value that stands in a record."""
        return self._guarded(lambda: self._loads(data))

    def _loads(self, data: bytes) -> Any:
        try:
            return self._serde.loads(data)
        except TypeNotLoaded:  # of what steers a run, which is never kept as it is stored, such as a Send
            return self._plain.loads(data)

    def _loads_many(self, data: bytes) -> list[Any]:
        try:
            return self._serde.loads_many(data)
        except TypeNotLoaded:
            return self._plain.loads_many(data)

    def _guarded(self, read: Callable[[], Any]) -> Any:
        try:
            return without_snapshot(_checked(read))
        except (StoreCorrupt, DataError) as error:
            return Damaged(_said(error))

    def chunk(self, name: bytes) -> DecodedChunk | None:
        """Return a chunk that can be read, else None."""
        held = self._shelf.have.get(name)
        return held if isinstance(held, DecodedChunk) else None

    def why(self, name: bytes) -> str:
        """Return why a chunk cannot be read."""
        held = self._shelf.have.get(name)
        return held.why if isinstance(held, Bad) else f"chunk {name.hex()} was not read"

    def _value(self, name: bytes) -> Any:
        chunk = self.chunk(name)
        if chunk is None:
            return Damaged(self.why(name))
        self._spend(chunk)
        if chunk.kind == BLOB:
            return self._loads(chunk.body)
        if chunk.kind == PIECES:
            return self._pieces(chunk)
        if chunk.kind == MANIFEST:
            return self._manifest(chunk)
        return Damaged(f"a chunk of kind {chunk.kind!r} stands where a value should")

    def _spend(self, chunk: DecodedChunk) -> None:
        self._size += len(chunk.body) + VISIT
        self._stored += chunk.stored
        if self._size > self._limits.max_bytes:
            raise self._limits.refused("max_bytes")
        if self._limits.may_be_dense(self._size, self._stored):
            self._left = self._limits.left(self._left - count_elements(chunk.body, self._left))

    def _pieces(self, chunk: DecodedChunk) -> Any:
        bodies = []
        for name in chunk.refs:
            for piece in self.under(name):
                held = self.chunk(piece)
                if held is None or held.kind != RAW:
                    return Damaged(self.why(piece))
                self._spend(held)
                bodies.append(held.body)
        try:
            return self._serde.loads_parts(bodies[0], bodies[1:])
        except TypeNotLoaded:
            return self._plain.loads_parts(bodies[0], bodies[1:])

    def under(self, name: bytes) -> Iterator[bytes]:
        """Yield the addresses that are grouped under one, in order; that of a group which cannot be read, too."""
        chunk = self.chunk(name)
        if chunk is None or chunk.kind != GROUP:
            yield name
            return
        self._spend(chunk)
        for ref in chunk.refs:
            yield from self.under(ref)

    def _manifest(self, chunk: DecodedChunk) -> Any:
        container, sealed, tail, tail_refs = opened_manifest(chunk)
        is_dict = container & ~DELTA == DICT
        keys: list[Any] | None = [] if is_dict else None
        values: list[Any] = []
        for name in sealed:
            for leaf in self.under(name):
                self.leaf(leaf, keys, values)
        self.tail(tail, tail_refs, keys, values)
        return values if keys is None else dict_of(keys, values)

    def leaf(self, name: bytes, keys: list[Any] | None, values: list[Any], *, apart: bool = True) -> None:
        """Add a leaf's elements; one that cannot be read is one `Damaged` element.

        ``apart`` False leaves those that have chunks of their own as None.
        """
        found_keys: list[Any] | None = None if keys is None else []
        found = self._guarded(lambda: self._leaf(name, found_keys, apart))
        if type(found) is Damaged:
            found = [Damaged(f"elements from here on cannot be read: {found.why}")]
            found_keys = None if keys is None else [f"(damaged {len(keys or ())})"]
        values += found
        if keys is not None:
            keys += found_keys or ()

    def _leaf(self, name: bytes, keys: list[Any] | None, apart: bool) -> Any:
        chunk = self.chunk(name)
        if chunk is None:
            return Damaged(self.why(name))
        if chunk.kind != LEAF:
            return Damaged(f"a chunk of kind {chunk.kind!r} stands where a part of a list should")
        self._spend(chunk)
        packed_keys, large, packed = ormsgpack.unpackb(chunk.body)
        if keys is not None:
            keys += self._serde.loads_many(packed_keys)
        values = list(self._loads_many(packed))
        for position, ref in zip(large, chunk.refs, strict=True):
            values.insert(position, self.value(ref) if apart else None)
        return values

    def tail(self, items: Sequence[Any], refs: Sequence[bytes], keys: list[Any] | None, values: list[Any]) -> None:
        """Add the elements that stand open at the end of a list or dict."""
        stream, names = iter(items), iter(refs)
        for item in stream:
            if keys is not None:
                keys.append(self.inline(item))
                item = next(stream)
            values.append(self.value(next(names)) if item is None else self.inline(item))


def without_snapshot(value: Any) -> Any:
    """Return what LangGraph wraps where a channel that is stored as changes is stored whole; anything else as it is."""
    return value.value if type(value).__name__ == "_DeltaSnapshot" else value


def _checked(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except HOSTS:
        raise
    except Exception as error:
        raise corrupt("A value's chunks are damaged", error) from error


def opened_manifest(chunk: DecodedChunk) -> tuple[int, tuple[bytes, ...], list[Any], tuple[bytes, ...]]:
    """Return what a manifest holds: its container, what is sealed, the open elements and their addresses."""
    container, levels, tail = ormsgpack.unpackb(chunk.body)
    if container not in CONTAINERS:
        raise StoreCorrupt(f"A list or dict is in a container of kind {container!r}, which is not known here.")
    sealed = sum(levels)
    return container, chunk.refs[:sealed], tail, chunk.refs[sealed:]


def _said(error: StoreCorrupt | DataError) -> str:
    path = format_path(error.path) + ": " if isinstance(error, DataError) and error.path else ""
    return f"{path}{error.reason if isinstance(error, DataError) else error}"
