"""What all methods of a store of items rest on: its flows, and how they are run, blocking and async."""

from __future__ import annotations

from typing import TypeVar

from charm_checkpoint.contract_items import ItemBackend
from charm_checkpoint.errors import ConfigError, StoreError
from charm_checkpoint.items.flow import Flow, arun_flow, run_flow
from charm_checkpoint.items.store.batches import Batches
from charm_checkpoint.items.store.changes import Changer
from charm_checkpoint.items.store.indexing import Indexing
from charm_checkpoint.items.store.lifetimes import Lifetimes
from charm_checkpoint.items.store.reads import Reader
from charm_checkpoint.items.store.scopes import Scopes
from charm_checkpoint.items.store.sealed_items import SealedItems
from charm_checkpoint.items.store.searches import Searcher
from charm_checkpoint.items.store.sweeper import Sweeper
from charm_checkpoint.store import Store

T = TypeVar("T")


def backend_of(store: Store) -> ItemBackend:
    """Return a store's long-term memory; raises `StoreError` where it has none."""
    if not isinstance(store, Store):
        raise ConfigError(
            f"a store of items needs an open store and not a {type(store).__name__}: use "
            "open_memory(url).get_langgraph_store()"
        )
    if store.items is None:
        raise StoreError(
            f"This store keeps no long-term memory: its {type(store.backend).__name__} was opened without items. Those "
            "that come with charm-checkpoint all do; see the page on writing a store for your own."
        )
    return store.items


class StoreParts:
    """The parts of a store of items."""

    _store: Store
    _items: SealedItems
    _lifetimes: Lifetimes
    _indexing: Indexing
    _searcher: Searcher
    _changer: Changer
    _batches: Batches
    _reader: Reader
    _sweeper: Sweeper

    def _assemble(self, store: Store, lifetimes: Lifetimes, indexing: Indexing, scopes: Scopes) -> None:
        self._store = store
        self._items = SealedItems(backend_of(store))
        self._lifetimes = lifetimes
        self._indexing = indexing
        self._changer = Changer(self._items, indexing)
        self._searcher = Searcher(self._items, indexing, scopes, self._changer)
        self._batches = Batches(self._items, lifetimes, self._searcher, self._changer)
        self._reader = Reader(self._items, self._batches, self._searcher)
        self._sweeper = Sweeper(lifetimes.sweep_minutes)
        store.at_close(self._sweeper.close)

    def _run(self, flow: Flow[T]) -> T:
        return run_flow(self._store, flow)

    async def _arun(self, flow: Flow[T]) -> T:
        return await arun_flow(self._store, flow)
