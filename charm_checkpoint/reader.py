"""Fetching what a value is made of: plans over a backend's chunks, with a bounded cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from charm_checkpoint.cache import Cache
from charm_checkpoint.contract import Backend, Chunk
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.revive import Plain, plain

T = TypeVar("T")

ATTEMPTS = 4
"""How often a read starts again because a chunk it was told of was gone."""
HINTS = 256
"""Addresses told to a store, so that it does not send what is here."""
THREADS = 4096
"""Namespaces whose latest chunks are remembered for that."""


class ChunkMissing(StoreCorrupt):
    """A chunk that is named is not there."""


def unswept(attempt: Callable[[], Plan[T]]) -> Plan[T]:
    """Read again when a chunk is missing: a sweep may have come between two reads of a plan."""
    for _ in range(ATTEMPTS - 1):
        try:
            return (yield from attempt())
        except ChunkMissing:
            continue
    return (yield from attempt())


class ChunkReader:
    """Gathers chunks and all they name; what was read before comes from ``cache_bytes`` of memory."""

    def __init__(self, backend: Backend, cache_bytes: int) -> None:
        self._backend = backend
        self._cache: Cache[bytes, Plain] = Cache(cache_bytes)
        self._tops: Cache[tuple[str, str | None], tuple[bytes, ...]] = Cache(THREADS)

    def known(self, thread: str, ns: str | None) -> tuple[bytes, ...]:
        """Return addresses, few, that are at hand with all they reach as of the last `note`."""
        return self._tops.get((thread, ns)) or ()

    def note(self, thread: str, ns: str | None, roots: Iterable[bytes], have: Mapping[bytes, Plain]) -> None:
        """Remember what was gathered last for a namespace, or with None for the message list.

        The roots' own refs are told too: of a list that grew, the root is new and they are not.
        """
        tops = list(dict.fromkeys(name for root in roots for name in (root, *have[root].refs)))
        self._tops.put((thread, ns), tuple(tops[:HINTS]))

    def gather(
        self, thread: str, roots: Iterable[bytes], given: Mapping[bytes, Chunk], messages: bool = False
    ) -> Plan[dict[bytes, Plain]]:
        """Return every chunk reached from ``roots``; ``given`` are at hand already.

        Raises `ChunkMissing`.
        """
        have: dict[bytes, Plain] = {}
        frontier = list(roots)
        while frontier:
            missing = []
            for name in frontier:
                if name not in have:
                    found = self._at_hand(name, given)
                    if found is None:
                        missing.append(name)
                    else:
                        have[name] = found
            if missing:
                chunks = yield from self._backend.chunks(thread, missing, messages)
                have.update((name, self._keep(chunk)) for name, chunk in chunks.items())
                for name in missing:
                    if name not in have:
                        raise ChunkMissing(f"Chunk {name.hex()} is missing.")
            frontier = [ref for name in frontier for ref in have[name].refs if ref not in have]
        return have

    def _at_hand(self, name: bytes, given: Mapping[bytes, Chunk]) -> Plain | None:
        found = self._cache.get(name)
        if found is None and name in given:
            found = self._keep(given[name])
        return found

    def _keep(self, chunk: Chunk) -> Plain:
        found = plain(chunk)
        self._cache.put(chunk.address, found, len(found.body) + 200)
        return found
