"""Fetching the chunks that a value is made of, as plans; those read before are kept within the store's budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from charm_checkpoint.contract import Backend, Chunk
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import ADDRESS, ENTRY, Budget, Cache
from charm_checkpoint.telemetry.operation import note
from charm_checkpoint.values.decoder import DecodedChunk, decode_chunk
from charm_checkpoint.values.known_chunks import ReadChunks
from charm_checkpoint.values.limits import (
    DEFAULTS,
    FREE,
    LEVELS,
    OVERHEAD,
    Limits,
    too_deep,
    unpacked_bound,
)
from charm_checkpoint.values.offload import decoding
from charm_checkpoint.values.packing import unpacked_size

T = TypeVar("T")

ATTEMPTS = 4
"""How often a read starts again because what it was told of was gone."""


class Missing(StoreCorrupt):
    """What is named is not there."""


class ChunkMissing(Missing):
    """A chunk that is named is not there."""


def retry_if_swept(attempt: Callable[[], Plan[T]]) -> Plan[T]:
    """Read again when something is missing: a sweep may have come between two reads of a plan."""
    for _ in range(ATTEMPTS - 1):
        try:
            return (yield from attempt())
        except Missing:
            continue
    return (yield from attempt())


class Unpacking:
    """Counts what chunks unpack to before they are unpacked: `GROWTH` holds for all of one reading together, too."""

    __slots__ = ("_limits", "_stored", "size")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.size = self._stored = 0

    def add(self, size: int, stored: int, chunks: int) -> None:
        """Count chunks that are stored as so many bytes; raises `StoreCorrupt` for too much."""
        self.size += size
        self._stored += stored + OVERHEAD * chunks
        if self.size > FREE and self.size > min(self._limits.max_bytes, unpacked_bound(self._stored)):
            self._limits.check_weight(self.size)
            raise StoreCorrupt(
                f"Chunks of {self._stored:,} stored bytes unpack to {self.size:,}, which none are packed to: they are "
                "damaged, or made to exhaust memory."
            )


class ChunkReader:
    """Gathers chunks and all they name; what was read before is remembered within the budget."""

    def __init__(self, backend: Backend, budget: Budget, limits: Limits = DEFAULTS) -> None:
        self._backend = backend
        self._budget = budget
        self._limits = limits
        self._cache: Cache[bytes, DecodedChunk] = Cache(budget, _weight)
        self._read = ReadChunks(budget)

    def known(self, thread: str, ns: str | None) -> tuple[bytes, ...]:
        """Return addresses, few, that are at hand with all they reach as of the last `note`."""
        return self._read.tops(thread, ns)

    def note(self, thread: str, ns: str | None, roots: Iterable[bytes], have: Mapping[bytes, DecodedChunk]) -> None:
        """Remember what was gathered last for a namespace, or with None for the message list.

        The roots' own refs are told too: of a list that grew, the root is new and they are not.
        """
        self._read.keep(thread, ns, (name for root in roots for name in (root, *have[root].refs)))

    def gather(
        self, thread: str, roots: Iterable[bytes], given: Mapping[bytes, Chunk], messages: bool = False
    ) -> Plan[dict[bytes, DecodedChunk]]:
        """Return every chunk reached from ``roots``; ``given`` are at hand already.

        Each is asked for once, however often it is named. Raises `ChunkMissing`, and `StoreCorrupt` where they are
        more than they may be.
        """
        have: dict[bytes, DecodedChunk] = {}
        unpacking = Unpacking(self._limits)
        frontier = list(dict.fromkeys(roots))
        read = 0
        for _ in range(LEVELS):
            missing, at_hand = [], []
            for name in frontier:
                if name not in have:
                    found = self._cache.get(name)
                    if found is not None:
                        have[name] = found
                    elif name in given:
                        at_hand.append(given[name])
                    else:
                        missing.append(name)
            if at_hand:
                have.update((yield from self._kept(at_hand, unpacking)))
            read += len(at_hand) + len(missing)
            if missing:
                chunks = yield from self._backend.chunks(thread, missing, messages)
                have.update((yield from self._kept(list(chunks.values()), unpacking)))
                for name in missing:
                    if name not in have:
                        raise ChunkMissing(f"Chunk {name.hex()} is missing.")
            frontier = list({ref: None for name in frontier for ref in have[name].refs if ref not in have})
            if not frontier:
                note(chunks_read=read, chunks_cached=len(have) - read)
                return have
        raise too_deep()

    def _kept(self, chunks: Sequence[Chunk], unpacking: Unpacking) -> Plan[dict[bytes, DecodedChunk]]:
        """Unpack chunks, and keep them."""
        unpack = partial(_unpacked, chunks)
        size = sum([unpacked_size(chunk.data) for chunk in chunks])
        unpacking.add(size, sum([len(chunk.data) for chunk in chunks]), len(chunks))
        found = yield from decoding(unpack, size)
        # More than the budget's younger half would push out all else that is remembered, and then itself.
        if unpacking.size <= self._budget.limit // 2:
            for name, chunk in found.items():
                self._cache.put(name, chunk)
        return found


def _unpacked(chunks: Iterable[Chunk]) -> dict[bytes, DecodedChunk]:
    return {chunk.address: decode_chunk(chunk) for chunk in chunks}


def _weight(name: bytes, chunk: DecodedChunk) -> int:
    return ENTRY + 200 + len(chunk.body) + (ADDRESS + 8) * len(chunk.refs)
