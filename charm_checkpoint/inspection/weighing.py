"""How many bytes values take, by their chunks: no value is decoded, no class is looked for, and no body is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import ormsgpack

from charm_checkpoint.contract import Backend, Chunk
from charm_checkpoint.errors import PathPart, StoreCorrupt
from charm_checkpoint.inspection.building import opened_manifest
from charm_checkpoint.inspection.plain_values import as_plain
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.decoder import DecodedChunk, decode_chunk, split
from charm_checkpoint.values.encoder import DELTA, DICT, GROUP, LEAF, MANIFEST
from charm_checkpoint.values.serde.framing import elements

Path = tuple[PathPart, ...]

BATCH = 500
"""Chunks that are read at a time."""
WORTH = 128
"""Encoded bytes from which on an element may be among the largest."""
_COLUMNS = b"\x03"


class Large(NamedTuple):
    """An element of a leaf or a tail that may be among the largest: where, by which key, how large, or its chunk."""

    at: int
    key: Any
    size: int
    ref: bytes | None


class Held(NamedTuple):
    """Where a value is: in a chunk of its own, or at a position among the elements that stand in one."""

    chunk: bytes = b""
    at: int | None = None


class Weight(NamedTuple):
    """What is remembered of a chunk: the bytes stored, what it names, how many elements it has, and the large ones."""

    stored: int
    refs: tuple[bytes, ...] = ()
    kind: bytes = b""
    size: int = 0
    members: int = 0
    large: tuple[Large, ...] = ()
    sealed: int = 0


class Weights:
    """Weighs chunks of one thread, a batch at a time."""

    def __init__(self, backend: Backend, thread: str, messages: bool = False) -> None:
        self._backend = backend
        self._thread = thread
        self._messages = messages
        self.have: dict[bytes, Weight] = {}
        self.damaged = 0

    def take(self, chunks: Mapping[bytes, Chunk]) -> None:
        """Weigh chunks that were read along with something else."""
        for name, chunk in chunks.items():
            self.have[name] = self._weighed(chunk)

    def reach(self, names: Iterable[bytes]) -> Plan[None]:
        """Weigh chunks and all they name that were not weighed yet."""
        waiting = dict.fromkeys(self._unknown(names))
        while waiting:
            batch = list(islice(waiting, BATCH))
            found = yield from self._backend.chunks(self._thread, batch, self._messages)
            for name in batch:
                self.have[name] = self._weighed(found.get(name))
                del waiting[name]
            waiting.update(dict.fromkeys(self._unknown(ref for name in batch for ref in self.have[name].refs)))

    def _unknown(self, names: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what was not weighed yet of chunks and all they name."""
        seen: set[bytes] = set()
        stack = list(names)
        while stack:
            name = stack.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.have:
                stack += self.have[name].refs
            else:
                yield name

    def _weighed(self, chunk: Chunk | None) -> Weight:
        if chunk is None:
            self.damaged += 1
            return Weight(0)
        try:
            return weighed(chunk)
        except (StoreCorrupt, ValueError, TypeError, LookupError):
            self.damaged += 1
            return Weight(len(chunk.data), split(chunk.refs))

    def under(self, names: Iterable[bytes], without: frozenset[bytes] | set[bytes] = frozenset()) -> set[bytes]:
        """Return what is reached from some chunks, but for what is known to be reached from others."""
        seen: set[bytes] = set()
        stack = [name for name in names if name not in without]
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                stack += [ref for ref in self.have.get(name, _NONE).refs if ref not in seen and ref not in without]
        return seen

    def stored(self, names: Iterable[bytes]) -> int:
        """Return the bytes that are stored of chunks."""
        return sum(self.have.get(name, _NONE).stored for name in names)

    def leaves(self, path: Path, name: bytes) -> Iterator[tuple[Path, int, Held]]:
        """Yield the large elements in a chunk, and in these: path, encoded bytes, and where it is held."""
        weight = self.have.get(name, _NONE)
        if weight.kind != MANIFEST:
            yield path, self.encoded(name), Held(name)
            return
        at = 0
        for part in [*(leaf for ref in weight.refs[: weight.sealed] for leaf in self._leaves(ref)), name]:
            held = self.have.get(part, _NONE)
            for large in held.large:
                step = as_step(large.key) if large.key is not None else at + large.at
                if large.ref is None:
                    yield (*path, step), large.size, Held(part, large.at)
                    continue
                if self.have.get(large.ref, _NONE).kind == MANIFEST:  # the whole, before its parts
                    yield (*path, step), self.encoded(large.ref), Held(large.ref)
                yield from self.leaves((*path, step), large.ref)
            at += held.members

    def most_of(self, where: Held, size: int) -> Path:
        """Return the way to the large element that makes up most of a list or dict in leaves; none if none does."""
        if where.at is not None or self.have.get(where.chunk, _NONE).kind != MANIFEST:
            return ()
        inside = [(path, held) for path, held, _ in self.leaves((), where.chunk) if 2 * held >= size]
        return max(inside, key=lambda each: len(each[0]), default=((), 0))[0]

    def _leaves(self, name: bytes) -> Iterator[bytes]:
        weight = self.have.get(name, _NONE)
        if weight.kind != GROUP:
            yield name
            return
        for ref in weight.refs:
            yield from self._leaves(ref)

    def encoded(self, name: bytes) -> int:
        """Return the bytes that a value in chunks is encoded as."""
        return self.size(self.under([name]))

    def size(self, names: Iterable[bytes]) -> int:
        """Return the bytes of chunks when they are opened."""
        return sum(self.have.get(each, _NONE).size for each in names)


_NONE = Weight(0)


def as_step(key: Any) -> PathPart:
    """Return a dict's key as a step of a path."""
    return key if type(key) is str else next(iter(as_plain({key: None})))


def weighed(chunk: Chunk) -> Weight:
    """Return what a chunk weighs."""
    held = decode_chunk(chunk)
    weight = Weight(len(chunk.data), held.refs, held.kind, len(held.body))
    if held.kind == LEAF:
        keys, large, packed = ormsgpack.unpackb(held.body)
        sizes = list(_sizes(packed))
        refs: dict[int, bytes] = dict(zip(large, held.refs, strict=True))
        for position in large:
            sizes.insert(position, 0)
        named = None if keys is None else ormsgpack.unpackb(keys[1:], ext_hook=_ext)
        return weight._replace(members=len(sizes), large=tuple(_large(sizes, named, refs)))
    return _manifest(held, weight) if held.kind == MANIFEST else weight


def _manifest(held: DecodedChunk, weight: Weight) -> Weight:
    container, sealed, tail, tail_refs = opened_manifest(held)
    keys = tail[::2] if container & ~DELTA == DICT else None
    items = tail if keys is None else tail[1::2]
    names = iter(tail_refs)
    refs = {at: next(names) for at, item in enumerate(items) if item is None}
    named = None if keys is None else [ormsgpack.unpackb(key[1:], ext_hook=_ext) for key in keys]
    large = _large([len(item or b"") for item in items], named, refs)
    return weight._replace(members=len(items), large=tuple(large), sealed=len(sealed))


def _large(sizes: Sequence[int], keys: Any, refs: dict[int, bytes]) -> Iterator[Large]:
    for at, size in enumerate(sizes):
        if size >= WORTH or at in refs:
            yield Large(at, None if keys is None else keys[at], size, refs.get(at))


def _sizes(packed: bytes) -> Iterator[int]:
    """Yield the encoded bytes of each value of a run; of models in columns, those of their fields."""
    parts = elements(packed[1:])
    yield from map(len, elements(parts[2]) if packed[:1] == _COLUMNS else parts)


def _ext(code: int, data: bytes) -> str:
    return f"({data[:40].hex()})"
