"""Batches of LangGraph's operations: reads see what was there before, then the last put of each item is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from langgraph.store.base import GetOp, ListNamespacesOp, Op, PutOp, SearchOp

from charm_checkpoint.contract_items import ItemBackend, ItemBatch, ItemChange, ItemKey, ItemRow
from charm_checkpoint.errors import ReadOnlyStore
from charm_checkpoint.items import clock
from charm_checkpoint.items.addresses import item_of, key_of, space_to_put
from charm_checkpoint.items.flow import Flow, Run
from charm_checkpoint.items.results import stored_item
from charm_checkpoint.items.store.changes import Changer, NewItem
from charm_checkpoint.items.store.indexing import checked_index
from charm_checkpoint.items.store.lifetimes import Lifetimes, microseconds
from charm_checkpoint.items.store.listing import NamespaceListing
from charm_checkpoint.items.store.searches import Match, Search, Searcher, listed, refreshable
from charm_checkpoint.items.values import plain
from charm_checkpoint.plan import Plan


class Batch:
    """Operations that were checked, each with its number among the results."""

    def __init__(self, ops: Iterable[Op]) -> None:
        self.gets: dict[int, ItemKey] = {}
        self.searches: dict[int, Search] = {}
        self.listings: dict[int, NamespaceListing] = {}
        self.puts: dict[ItemKey, NewItem] = {}
        self.refreshed: set[ItemKey] = set()
        self.size = 0
        for number, op in enumerate(ops):
            self._take(number, op)
            self.size += 1

    def _take(self, number: int, op: Any) -> None:
        if isinstance(op, GetOp):
            item = self.gets[number] = item_of(op.namespace, op.key)
            if op.refresh_ttl:
                self.refreshed.add(item)
        elif isinstance(op, PutOp):
            new = new_item(op)
            self.puts.pop(new.item, None)
            self.puts[new.item] = new
        elif isinstance(op, SearchOp):
            self.searches[number] = Search.of(op)
        elif isinstance(op, ListNamespacesOp):
            self.listings[number] = NamespaceListing(op)
        else:
            raise ValueError(f"a batch is of LangGraph's operations, and a {type(op).__name__} is none")


def new_item(op: PutOp) -> NewItem:
    """Check a put and what is put; raises ValueError."""
    if op.value is None:
        return NewItem(item_of(op.namespace, op.key), None)
    item = ItemKey(space_to_put(op.namespace), key_of(op.key))
    return NewItem(item, plain(op.value), checked_index(op.index), microseconds(op.ttl))


class Batches:
    """Does batches."""

    def __init__(self, items: ItemBackend, lifetimes: Lifetimes, searcher: Searcher, changer: Changer) -> None:
        self._items = items
        self._lifetimes = lifetimes
        self._searcher = searcher
        self._changer = changer

    def reading_at(self) -> int:
        """Return the time by which a read leaves out what is expired; 0, at which nothing is, if it is to stay."""
        return clock.now() if self._lifetimes.omit_expired else 0

    def run(self, ops: Iterable[Op]) -> Flow[list[Any]]:
        """Do a batch; return the operations' results in their order."""
        batch = Batch(ops)
        results: list[Any] = [None] * batch.size
        now = self.reading_at()
        touches: dict[ItemKey, None] = {}
        changes = (yield from self._changer.changes(list(batch.puts.values()))) if batch.puts else []
        for number, search in batch.searches.items():
            found = yield from self.search(search, now)
            results[number] = [match.item for match in found]
            if search.refresh:
                touches.update(dict.fromkeys(refreshable([match.row for match in found])))
        # With the puts in one transaction, where gets may be.
        together = bool(changes) and self._lifetimes.omit_expired
        gets = list(dict.fromkeys(batch.gets.values()))
        if batch.listings or (gets and not together):
            rows = yield Run(partial(self._reads, batch, [] if together else gets, results, now))
            touches.update(dict.fromkeys(item for item in refreshable(list(rows.values())) if item in batch.refreshed))
        if together:
            touches.update(dict.fromkeys(item for item in gets if item in batch.refreshed))
        if changes:
            reply = yield Run(partial(self._change, gets if together else [], list(touches), changes), write=True)
            if together:
                rows = dict(zip(gets, reply.rows, strict=True))
        else:
            yield from self.touch(list(touches))
        for number, item in batch.gets.items():
            row = rows.get(item)
            results[number] = stored_item(row) if row is not None and not row.is_expired(now) else None
        return results

    def _reads(
        self, batch: Batch, gets: Sequence[ItemKey], results: list[Any], now: int
    ) -> Plan[Mapping[ItemKey, ItemRow]]:
        for number, listing in batch.listings.items():
            results[number] = listing.of((yield from self._items.spaces(listing.prefix, now)))
        return (yield from self._items.fetch(gets)) if gets else {}

    def _change(self, reads: Sequence[ItemKey], touches: Sequence[ItemKey], changes: Sequence[ItemChange]) -> Plan[Any]:
        return self._items.change(ItemBatch(clock.now(), reads, touches, changes))

    def touch(self, items: Sequence[ItemKey]) -> Flow[None]:
        """Put off the end of items, which is a part of reading them: where nothing can be written it is left out."""
        if items:
            with suppress(ReadOnlyStore):
                yield Run(partial(self._change, [], items, []), write=True)

    def search(self, search: Search, now: int) -> Flow[list[Match]]:
        """Find what is searched."""
        if search.query is not None:
            return (yield from self._searcher.ranked(search, now))
        found: list[Match] = yield Run(partial(listed, self._items, search, now))
        return found
