"""LangGraph's store of long-term memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal

from langgraph.store.base import NOT_PROVIDED, BaseStore, NotProvided, Op, PutOp, Result, SearchOp, TTLConfig

from charm_checkpoint.contract_items import ItemRow
from charm_checkpoint.errors import DataError
from charm_checkpoint.items.addresses import item_of, refuse_reserved
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import FoundItem, StoredItem, stored_item
from charm_checkpoint.items.store.batches import new_item
from charm_checkpoint.items.store.extensions import Extensions
from charm_checkpoint.items.store.indexing import Indexing
from charm_checkpoint.items.store.lifetimes import Lifetimes
from charm_checkpoint.items.store.parts import backend_of
from charm_checkpoint.items.store.scopes import Scopes
from charm_checkpoint.items.store.searches import Search, refreshable
from charm_checkpoint.items.store.sweeping import Sweeping
from charm_checkpoint.runtime.handle import Handle
from charm_checkpoint.store import Store


class CharmStore(Sweeping, Extensions, Handle, BaseStore):
    """Long-term memory in a store; one object for any thread and event loop, blocking or async.

    `charm_checkpoint.Memory.get_langgraph_store` makes it. Every method has an async twin with an ``a`` in front.

    Reads of a batch see what was there before it; of several puts of an item in it the last one counts. All searches
    order by score if there is a query, then by `updated_at`, latest first, then by namespace and key: so pages by
    ``offset`` are exactly the matches. A query orders and never leaves out. A ``filter`` is as in
    `charm_checkpoint.saver.filters`. What is expired is gone at once, also before it is swept.

    Raises `StoreError` and its kin, ``ValueError`` for what an operation may not say, `DataError` for a value or a key
    that cannot be stored.
    """

    supports_ttl = True

    def __init__(
        self,
        store: Store,
        *,
        ttl: TTLConfig | Mapping[str, Any] | None = None,
        indexing: Indexing | None = None,
        scopes: Scopes | None = None,
    ) -> None:
        backend_of(store)  # first of all: it says what else is no store
        self._assemble(store, Lifetimes(ttl), indexing or Indexing(), scopes or Scopes(store.budget))
        self.index_config = self._indexing.config
        self.ttl_config = TTLConfig(**dict(ttl)) if ttl is not None else None  # type: ignore[typeddict-item]

    def setup(self) -> None:
        """Create or migrate the schema now instead of at first use."""
        self._store.setup()

    async def asetup(self) -> None:
        """Create or migrate the schema now instead of at first use."""
        await self._store.asetup()

    # ------------------------------------------------------------------------------------------------------ batches

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do LangGraph's operations: all of them, or those of a namespace, in one transaction."""
        return self._run(self._batches.run(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do LangGraph's operations; see `batch`."""
        return await self._arun(self._batches.run(ops))

    # -------------------------------------------------------------------------------------------------------- items

    def get(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> StoredItem | None:
        """Return an item, None if it is not there; its end, if it has one, is put off as ``refresh_ttl`` says."""
        item = item_of(namespace, key)
        row = self._store.run(partial(self._items.fetch, (item,)), write=False).get(item)
        if row is None:
            return None
        if row.expires is not None and not self._run(self._lives(row, refresh_ttl)):
            return None
        return stored_item(row)

    async def aget(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> StoredItem | None:
        """Return an item, None if it is not there; see `get`."""
        item = item_of(namespace, key)
        row = (await self._store.arun(partial(self._items.fetch, (item,)), write=False)).get(item)
        if row is None:
            return None
        if row.expires is not None and not await self._arun(self._lives(row, refresh_ttl)):
            return None
        return stored_item(row)

    def _lives(self, row: ItemRow, refresh: bool | None) -> Flow[bool]:
        """Tell whether an item is not expired; put off its end if that is wanted."""
        if row.is_expired(self._batches.reading_at()):
            return False
        if self._lifetimes.refresh if refresh is None else refresh:
            yield from self._batches.touch(refreshable([row]))
        return True

    def put(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | None | NotProvided = NOT_PROVIDED,
        if_revision: int | None = None,
    ) -> None:
        """Store an item, in place of the one that may be there; a ``value`` of None deletes it.

        ``if_revision``: only if the item is at this revision, 0 if there is to be none; else `ItemConflict` is raised.
        """
        self._run(self._put(namespace, key, value, index, ttl, if_revision))

    async def aput(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | None | NotProvided = NOT_PROVIDED,
        if_revision: int | None = None,
    ) -> None:
        """Store an item; see `put`."""
        await self._arun(self._put(namespace, key, value, index, ttl, if_revision))

    def _put(
        self, namespace: tuple[str, ...], key: str, value: Any, index: Any, ttl: Any, if_revision: int | None
    ) -> Flow[int]:
        refuse_reserved(namespace)
        lifetime = self._lifetimes.default if ttl is NOT_PROVIDED else ttl
        new = new_item(PutOp(namespace, key, value, index, lifetime))
        return self._changer.put(new._replace(expect=_revision(if_revision)))

    def delete(self, namespace: tuple[str, ...], key: str, *, if_revision: int | None = None) -> None:
        """Delete an item; with ``if_revision`` only if it is at that, else `ItemConflict` is raised."""
        self._run(self._delete(namespace, key, if_revision))

    async def adelete(self, namespace: tuple[str, ...], key: str, *, if_revision: int | None = None) -> None:
        """Delete an item; see `delete`."""
        await self._arun(self._delete(namespace, key, if_revision))

    def _delete(self, namespace: tuple[str, ...], key: str, if_revision: int | None) -> Flow[int]:
        new = new_item(PutOp(namespace, key, None))
        return self._changer.put(new._replace(expect=_revision(if_revision)))

    # ----------------------------------------------------------------------------------------------------- searches

    def search(  # type: ignore[override] # the items are LangGraph's
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
        explain: bool = False,
    ) -> list[FoundItem]:
        """Find the items below a prefix that match ``filter``, those first that ``query`` says most about.

        ``explain`` has each tell by its `FoundItem.parts` what its score is made of.
        """
        return self._run(self._search(namespace_prefix, query, filter, limit, offset, refresh_ttl, explain))

    async def asearch(  # type: ignore[override]
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
        explain: bool = False,
    ) -> list[FoundItem]:
        """Find the items below a prefix that match; see `search`."""
        return await self._arun(self._search(namespace_prefix, query, filter, limit, offset, refresh_ttl, explain))

    def _search(
        self,
        prefix: tuple[str, ...],
        query: str | None,
        filter: dict[str, Any] | None,
        limit: int,
        offset: int,
        refresh: bool | None,
        explain: bool,
    ) -> Flow[list[FoundItem]]:
        wanted = self._lifetimes.refresh if refresh is None else refresh
        search = Search.of(SearchOp(prefix, filter, limit, offset, query, wanted), explain)
        found = yield from self._batches.search(search, self._batches.reading_at())
        if wanted:
            yield from self._batches.touch(refreshable([match.row for match in found]))
        return [match.item for match in found]


def _revision(given: Any) -> int | None:
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 0):
        raise DataError(
            f"a revision is the number that an item has, or 0 for none, not {given!r}", path=("if_revision",)
        )
    return given
