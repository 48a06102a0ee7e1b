"""Chunks of one thread, read for a look: one that is damaged or missing is noted, and hides no other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from charm_checkpoint.contract import Backend, Chunk
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.chunk_reader import Unpacking
from charm_checkpoint.values.decoder import DecodedChunk, decode_chunk
from charm_checkpoint.values.limits import LEVELS, OVERHEAD, Limits, too_deep
from charm_checkpoint.values.packing import unpacked_size


class Bad(NamedTuple):
    """A chunk that cannot be read."""

    why: str
    is_missing: bool = False


Held: TypeAlias = "DecodedChunk | Bad"


class Shelf:
    """Chunks that a look has read so far, by address; ``messages`` are those of the thread's message list."""

    def __init__(self, backend: Backend, limits: Limits, thread: str, messages: bool = False) -> None:
        self._backend = backend
        self._limits = limits
        self._thread = thread
        self._messages = messages
        self.have: dict[bytes, Held] = {}

    def fetch(self, names: Iterable[bytes]) -> Plan[None]:
        """Read chunks that are not here yet."""
        wanted = [name for name in dict.fromkeys(names) if name not in self.have]
        if not wanted:
            return
        found = yield from self._backend.chunks(self._thread, wanted, self._messages)
        self.take(found.values())
        for name in wanted:
            if name not in self.have:
                self.have[name] = Bad(f"chunk {name.hex()} is missing", is_missing=True)

    def take(self, chunks: Iterable[Chunk]) -> None:
        """Take chunks that were read along with something else."""
        unpacking = Unpacking(self._limits)
        for chunk in chunks:
            try:
                unpacking.add(unpacked_size(chunk.data), len(chunk.data), 1)
                self.have[chunk.address] = decode_chunk(chunk)
            except StoreCorrupt as error:
                self.have[chunk.address] = Bad(str(error))

    def reach(self, names: Iterable[bytes]) -> Plan[None]:
        """Read chunks and all they name."""
        seen: set[bytes] = set()
        frontier = list(dict.fromkeys(names))
        for _ in range(LEVELS):
            yield from self.fetch(frontier)
            seen.update(frontier)
            frontier = list(dict.fromkeys(ref for name in frontier for ref in self.refs(name) if ref not in seen))
            if not frontier:
                return
        raise too_deep()

    def refs(self, name: bytes) -> tuple[bytes, ...]:
        """Return what a chunk names; nothing if it is not here or cannot be read."""
        held = self.have.get(name)
        return held.refs if isinstance(held, DecodedChunk) else ()

    def misses_any(self) -> bool:
        """Tell whether a chunk that was named was not there."""
        return any(isinstance(held, Bad) and held.is_missing for held in self.have.values())

    def size_of(self, names: Iterable[bytes]) -> int:
        """Return the bytes that are stored of chunks and all they name, as far as they are here; each counts once."""
        seen: set[bytes] = set()
        stack, size = list(names), 0
        while stack:
            name = stack.pop()
            held = self.have.get(name)
            if name in seen or not isinstance(held, DecodedChunk):
                continue
            seen.add(name)
            size += stored_size(held)
            stack += held.refs
        return size


def stored_size(chunk: DecodedChunk) -> int:
    """Return the bytes that a store keeps of a chunk, without what it spends on it beside."""
    return max(chunk.stored - OVERHEAD, 0)
