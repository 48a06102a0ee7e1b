"""LangChain's cache of what models answer, for `set_llm_cache` and the ``cache`` of a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.outputs import Generation

from charm_checkpoint.contract_items import ItemKey
from charm_checkpoint.items.bounded import framed
from charm_checkpoint.items.caches.entries import LEASE, MAX_BYTES, MAX_ENTRIES, CacheOptions, Entries
from charm_checkpoint.items.flow import Flow, arun_flow, run_flow
from charm_checkpoint.store import Store


class CharmLLMCache(BaseCache):
    """A cache for ``set_llm_cache(...)``, in a store; any thread and event loop may use it.

    Answers come back exactly, with their metadata and usage. The prompt is not kept, but a hash of it and of the
    model's settings. The options are those of `CharmCache`; ``ttl`` is how long an answer lasts, in seconds.
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
        self._entries = Entries(store, "llm", serde, options, _is_answer)

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Return what a model answered, if it is cached."""
        return run_flow(self._store, self._lookup(prompt, llm_string))

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Return what a model answered, if it is cached."""
        return await arun_flow(self._store, self._lookup(prompt, llm_string))

    def _lookup(self, prompt: str, llm_string: str) -> Flow[list[Generation] | None]:
        place = self._place(prompt, llm_string)
        found = yield from self._entries.get([place])
        return found.get(place)

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Cache what a model answered."""
        run_flow(self._store, self._update(prompt, llm_string, return_val))

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Cache what a model answered."""
        await arun_flow(self._store, self._update(prompt, llm_string, return_val))

    def _update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> Flow[None]:
        yield from self._entries.put({self._place(prompt, llm_string): (list(return_val), None)})

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers."""
        run_flow(self._store, self._entries.clear())

    async def aclear(self, **kwargs: Any) -> None:
        """Forget all answers."""
        await arun_flow(self._store, self._entries.clear())

    def _place(self, prompt: str, llm_string: str) -> ItemKey:
        whole = framed(prompt.encode("utf-8", "surrogatepass"), llm_string.encode("utf-8", "surrogatepass"))
        return self._entries.place((), hashlib.blake2b(whole, digest_size=20).hexdigest())


def _is_answer(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, Generation) for each in value)
