"""What a memory hands out of long-term memory: for the same settings the same object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any, Literal, TypeVar

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.items.caches.langchain import CharmLLMCache
from charm_checkpoint.items.caches.langgraph import CharmCache
from charm_checkpoint.items.embedding.embedders import embedder_of
from charm_checkpoint.items.embedding.embedding import Embedding, check_options
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.items.store.indexing import Indexing, IndexSettings, index_settings
from charm_checkpoint.items.store.lifetimes import Lifetimes
from charm_checkpoint.items.store.parts import backend_of
from charm_checkpoint.items.store.scopes import Scopes
from charm_checkpoint.runtime import forks
from charm_checkpoint.store import Store

T = TypeVar("T")

OnEmbedError = Literal["wait", "raise"]


class HandedOut:
    """The stores of items and the caches of one store, made once for each of their settings."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._scopes = Scopes(store.budget)
        self._made: list[tuple[Any, Any]] = []

    def items(
        self,
        index: Mapping[str, Any] | Literal[False] | None,
        ttl: Mapping[str, Any] | None,
        on_embed_error: OnEmbedError,
        embed_options: Mapping[str, Any],
    ) -> CharmStore:
        """Return the store of items with these settings."""
        if on_embed_error not in ("wait", "raise"):
            raise ConfigError(f"on_embed_error is 'wait' or 'raise', not {on_embed_error!r}")
        check_options(embed_options, ("index", "ttl", "on_embed_error"))
        settings = None if index is False else index_settings(index)
        Lifetimes(ttl)  # says what is wrong with it
        options = {**embed_options, "on_error": on_embed_error}

        def make() -> CharmStore:
            indexing = Indexing(()) if settings is None else self._indexing(settings, options)
            indexing.config = dict(index) if index else None
            return CharmStore(self._store, ttl=ttl, indexing=indexing, scopes=self._scopes)

        return self._once(("items", index if index is False else dict(index or {}), dict(ttl or {}), options), make)

    def _indexing(self, settings: IndexSettings, options: Mapping[str, Any]) -> Indexing:
        if settings.embed is None:
            return Indexing(settings.fields, settings.how)

        def make() -> Embedding:
            embedder = embedder_of(settings.embed, settings.dims)
            return Embedding(embedder, backend_of(self._store), budget=self._store.budget, **options)

        embedding = self._once(("embedding", settings.embed, settings.dims, options), make)
        return Indexing(settings.fields, settings.how, embedding)

    def cache(self, options: Mapping[str, Any]) -> CharmCache:
        """Return LangGraph's cache with these options."""
        return self._once(("cache", dict(options)), lambda: CharmCache(self._store, **options))

    def llm_cache(self, options: Mapping[str, Any]) -> CharmLLMCache:
        """Return LangChain's cache with these options."""
        return self._once(("llm_cache", dict(options)), lambda: CharmLLMCache(self._store, **options))

    def _once(self, settings: Any, make: Callable[[], T]) -> T:
        for known, thing in self._made:
            if _same(known, settings):
                found: T = thing
                return found
        made = make()
        with forks.lock(__name__):
            for known, thing in self._made:  # another thread was faster
                if _same(known, settings):
                    other: T = thing
                    return other
            self._made.append((settings, made))
        return made


def _same(one: Any, other: Any) -> bool:
    """Tell whether settings are the same; of a model's object only itself is, whatever it compares equal to."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    plain = one is None or isinstance(one, (str, int, float, bytes, MethodType))
    return one is other or (plain and bool(one == other))
