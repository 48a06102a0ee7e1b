"""Fetching what a value is made of: plans over a backend's chunks, with a bounded cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from charm_checkpoint.cache import Cache
from charm_checkpoint.contract import Backend, Chunk
from charm_checkpoint.plan import Plan
from charm_checkpoint.revive import Plain, plain


class ChunkReader:
    """Gathers chunks and all they name; what was read before comes from ``cache_bytes`` of memory."""

    def __init__(self, backend: Backend, cache_bytes: int) -> None:
        self._backend = backend
        self._cache: Cache[bytes, Plain] = Cache(cache_bytes)

    def gather(
        self, thread: str, roots: Iterable[bytes], given: Mapping[bytes, Chunk], messages: bool = False
    ) -> Plan[dict[bytes, Plain]]:
        """Return every chunk reached from ``roots``; ``given`` are at hand already.

        A chunk that is missing is left out: whoever needs it finds out, and knows for what.
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
            frontier = [ref for name in frontier if name in have for ref in have[name].refs if ref not in have]
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
