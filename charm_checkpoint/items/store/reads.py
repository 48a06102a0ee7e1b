"""Reads outside LangGraph's words, as flows: many items at once, counts, and iterators without a cap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from charm_checkpoint.contract_items import ItemBackend, ItemKey
from charm_checkpoint.items.flow import Flow, Run
from charm_checkpoint.items.ranking.questions import Ranked
from charm_checkpoint.items.results import StoredItem, stored_item
from charm_checkpoint.items.store.batches import Batches
from charm_checkpoint.items.store.searches import Match, Search, Searcher, matching, page, refreshable
from charm_checkpoint.plan import Plan

PAGE: Final = 200
"""Items that an iterator asks for at a time."""


class Reader:
    """Reads what LangGraph has no words for."""

    def __init__(self, items: ItemBackend, batches: Batches, searcher: Searcher) -> None:
        self._items = items
        self._batches = batches
        self._searcher = searcher

    def get_many(self, wanted: Sequence[ItemKey], refresh: bool) -> Flow[list[StoredItem | None]]:
        """Return items in the order they are asked for."""
        now = self._batches.reading_at()
        rows = yield Run(partial(self._items.fetch, list(dict.fromkeys(wanted))))
        found = {item: row for item, row in rows.items() if not row.is_expired(now)}
        if refresh:
            yield from self._batches.touch(refreshable(list(found.values())))
        return [stored_item(found[item]) if item in found else None for item in wanted]

    def count(self, search: Search) -> Flow[int]:
        """Count what matches."""
        now = self._batches.reading_at()
        count: int = yield Run(partial(self._count, search, now))
        return count

    def _count(self, search: Search, now: int) -> Plan[int]:
        if not search.filter:
            return (yield from self._items.count(search.prefix, now))
        count, after = 0, None
        while True:
            rows, after = yield from page(self._items, search, now, PAGE, 0, after)
            count += sum(1 for _ in matching(search, rows))
            if after is None:
                return count

    def walk(self, search: Search) -> Walk:
        """Return an iterator over all that matches."""
        return Walk(self._items, self._searcher, search, self._batches.reading_at())


class Walk:
    """An iterator over all that matches a search, a page at a time, each in a transaction of its own."""

    def __init__(
        self, items: ItemBackend, searcher: Searcher, search: Search, now: int, oldest_first: bool = False
    ) -> None:
        self._items = items
        self._searcher = searcher
        self._search = search
        self._now = now
        self._oldest_first = oldest_first
        self._after: Any = None
        self._ranking: Sequence[Ranked] | None = None
        self._at = 0
        self.more = True

    def next_page(self) -> Flow[Iterable[Match]]:
        """Return the next of them, maybe none; `more` then tells whether there are others."""
        if self._search.query is None:
            make = partial(
                page, self._items, self._search, self._now, PAGE, 0, self._after, oldest_first=self._oldest_first
            )
            rows, self._after = yield Run(make)
            self.more = self._after is not None
            return list(matching(self._search, rows))
        if self._ranking is None:
            self._ranking = yield from self._searcher.ranking(self._search, self._now)
        some = self._ranking[self._at : self._at + PAGE]
        self._at += PAGE
        self.more = self._at < len(self._ranking)
        found: Iterable[Match] = yield Run(partial(self._searcher.fetched, some, self._search, self._now))
        return list(found)
