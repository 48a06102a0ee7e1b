"""The memories of a scope a page at a time, however many there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from charm_checkpoint.items.flow import Flow, Work
from charm_checkpoint.items.results import FoundItem
from charm_checkpoint.long_term.scope import Scope

PAGE: Final = 500
"""How many memories are looked at in one step."""


class Pages:
    """The memories of a scope that match a filter, those changed last first; what is changed meanwhile may not come."""

    def __init__(self, scope: Scope, filter: Mapping[str, Any], size: int = PAGE) -> None:
        self._scope = scope
        self._filter = dict(filter)
        self._size = size
        self._items: Iterator[FoundItem] | None = None
        self._aitems: AsyncIterator[FoundItem] | None = None
        self.more = True

    def next(self) -> Flow[list[FoundItem]]:
        """Return the next page."""
        if self._items is None and self._aitems is None:
            yield from self._scope.refresh()
        page: list[FoundItem] = yield Work(self._next, self._anext)
        self.more = len(page) == self._size
        return page

    def _next(self) -> list[FoundItem]:
        if self._items is None:
            self._items = self._scope.store.items(self._scope.notes, filter=self._filter)
        return list(islice(self._items, self._size))

    async def _anext(self) -> list[FoundItem]:
        if self._aitems is None:
            self._aitems = self._scope.store.aitems(self._scope.notes, filter=self._filter)
        page: list[FoundItem] = []
        async for item in self._aitems:
            page.append(item)
            if len(page) == self._size:
                break
        return page
