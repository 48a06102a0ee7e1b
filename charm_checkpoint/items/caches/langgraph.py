"""LangGraph's cache of what nodes return, for `CachePolicy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.cache.base import BaseCache, FullKey, Namespace

from charm_checkpoint.items.caches.entries import LEASE, MAX_BYTES, MAX_ENTRIES, CacheOptions, Entries
from charm_checkpoint.items.flow import Flow, arun_flow, run_flow
from charm_checkpoint.store import Store


class CharmCache(BaseCache[Any]):
    """A cache for ``graph.compile(cache=...)``, in a store; any thread and event loop may use it.

    ``ttl``: seconds that entries last whose `CachePolicy` says nothing of it; None: until there is no room.
    ``max_entries`` and ``max_bytes``: the oldest go when there are more. ``single_flight``: of several runs that want
    the same at once, in whatever process, one computes; it has ``lease`` seconds for that, then another takes over.
    ``name`` tells caches apart that share a store. ``serde`` is a `Serializer`, to restrict what is restored.
    """

    def __init__(
        self,
        store: Store,
        *,
        serde: Any = None,
        ttl: float | None = None,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        single_flight: bool = False,
        lease: float = LEASE,
        name: str = "",
    ) -> None:
        options = CacheOptions(ttl, max_entries, max_bytes, single_flight, lease, name)
        self._store = store
        self._entries = Entries(store, "langgraph", serde, options)
        super().__init__(serde=self._entries.serde)

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """Return the values that are cached of these keys."""
        return run_flow(self._store, self._get(keys))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """Return the values that are cached of these keys."""
        return await arun_flow(self._store, self._get(keys))

    def _get(self, keys: Sequence[FullKey]) -> Flow[dict[FullKey, Any]]:
        places = {self._entries.place(*key): key for key in keys}
        found = yield from self._entries.get(list(places))
        return {places[place]: value for place, value in found.items()}

    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Cache values, each with the seconds that it lasts."""
        run_flow(self._store, self._set(pairs))

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Cache values, each with the seconds that it lasts."""
        await arun_flow(self._store, self._set(pairs))

    def _set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> Flow[None]:
        yield from self._entries.put({self._entries.place(*key): given for key, given in pairs.items()})

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget what is cached, of some namespaces or of all."""
        run_flow(self._store, self._entries.clear(namespaces))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget what is cached, of some namespaces or of all."""
        await arun_flow(self._store, self._entries.clear(namespaces))
