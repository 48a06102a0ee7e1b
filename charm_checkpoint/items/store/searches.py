"""Searches: a checked `SearchOp`, and the plans and flows that find what it asks for.

A search without a query lists what matches its filter, latest first. With one it ranks all that is below the prefix,
and then leaves out what does not match: so what is found is ordered, and scored, as it is without a filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from langgraph.store.base import SearchOp

from charm_checkpoint.contract_items import (
    NOTHING_KNOWN,
    EntriesReply,
    ItemBackend,
    ItemKey,
    ItemQuery,
    ItemRow,
)
from charm_checkpoint.errors import ReadOnlyStore
from charm_checkpoint.items.addresses import space_of
from charm_checkpoint.items.flow import Flow, Run, off_the_loop
from charm_checkpoint.items.ranking.index import ScopeIndex
from charm_checkpoint.items.ranking.questions import Parts, Question, Ranked
from charm_checkpoint.items.results import FoundItem, found_item, read_value
from charm_checkpoint.items.store.changes import Changer
from charm_checkpoint.items.store.indexing import Indexing
from charm_checkpoint.items.store.kept_indexes import KeptIndexes
from charm_checkpoint.items.store.listing import sliced
from charm_checkpoint.items.store.scopes import Scopes
from charm_checkpoint.items.store.sealed_items import SealedItems
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.filters import Filter

AT_ONCE: Final = 1000
"""Rows that are asked for in one go, at most."""
_MORE = 4
_AT_LEAST = 100
"""Rows that are looked through at a time where some of them may not match."""
REINDEXED: Final = 64
"""Items that wait for vectors and get them by the way, in one call."""
_MANY = 2000
"""An index of so many items is ranked, and so many entries are taken, where no event loop waits for it."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched: ``now`` is the time by which items are expired, 0 for those too that are."""

    prefix: bytes
    filter: Filter
    slice: slice
    query: str | None
    refresh: bool
    explain: bool = False

    @classmethod
    def of(cls, op: SearchOp, explain: bool = False) -> Search:
        """Check what LangGraph asks for; raises ValueError."""
        if op.query is not None and not isinstance(op.query, str):
            raise ValueError(f"a query is text, not {type(op.query).__name__}")
        return cls(
            space_of(op.namespace_prefix), Filter(op.filter), sliced(op.limit, op.offset), op.query or None,
            op.refresh_ttl, explain,
        )  # fmt: skip


class Match(NamedTuple):
    """What was found, as it is returned and as it is stored."""

    item: FoundItem
    row: ItemRow


# ------------------------------------------------------------------------------------------------------ without a query


def listed(items: ItemBackend, search: Search, now: int) -> Plan[list[Match]]:
    """Return what a search without a query finds."""
    start, stop = search.slice.start, search.slice.stop
    if start == stop:
        return []
    skip = 0 if search.filter else start
    found: list[Match] = []
    after: tuple[int, bytes, bytes] | None = None
    # Of those with the tags that a filter has, nearly all match.
    least = 0 if not search.filter else stop + _MORE if search.filter.tags or search.filter.nested else _AT_LEAST
    while len(found) < stop - skip:
        size = min(AT_ONCE, max(stop - skip - len(found), least))
        rows, after = yield from page(items, search, now, size, skip if after is None else 0, after)
        found += islice(matching(search, rows), stop - skip - len(found))
        if after is None:
            break
        least = min(AT_ONCE, max(least, _AT_LEAST) * 2)
    return found[start - skip : stop - skip]


def page(
    items: ItemBackend, search: Search, now: int, size: int, skip: int, after: Any, oldest_first: bool = False
) -> Plan[tuple[Sequence[ItemRow], Any]]:
    """Return the next rows that may match, and behind which to go on; None if there are no more."""
    query = ItemQuery(
        search.prefix, now, size, search.filter.tags, search.filter.nested, skip, after, oldest_first=oldest_first
    )
    rows = yield from items.page(query)
    return rows, (rows[-1].updated, rows[-1].space, rows[-1].key) if len(rows) == size else None


def matching(search: Search, rows: Sequence[ItemRow]) -> Iterator[Match]:
    """Yield the rows that match the filter."""
    for row in rows:
        value = read_value(row)
        if not search.filter or search.filter.matches(value):
            yield Match(found_item(row, value), row)


# --------------------------------------------------------------------------------------------------------- with a query


class Searcher:
    """Finds by query, in the words and vectors that were made of items when they were put."""

    def __init__(self, items: SealedItems, indexing: Indexing, scopes: Scopes, changer: Changer) -> None:
        self._items = items
        self._indexing = indexing
        self._scopes = scopes
        self._changer = changer
        self._kept = KeptIndexes(items.bare)
        self._embedded: WeakKeyDictionary[ScopeIndex, Mapping[bytes, int]] = WeakKeyDictionary()

    def ranked(self, search: Search, now: int) -> Flow[list[Match]]:
        """Return what a search finds, best first."""
        start, stop = search.slice.start, search.slice.stop
        if start == stop:
            return []
        ranking = yield from self.ranking(search, now)
        matches: list[Match] = yield Run(partial(self._best, ranking, search, now))
        return matches

    def ranking(self, search: Search, now: int) -> Flow[Sequence[Ranked]]:
        """Return all that is below the prefix, best first."""
        question = yield from self._indexing.question(search.query or "")
        scope = yield from self._scope_for(question, search.prefix)
        if question.vector is not None and (yield from self._embed_some(scope, now)):
            scope = yield from self._scope_for(question, search.prefix)
        wanted = scope.wanted_vectors(question, now)
        if wanted:
            scope.take_vectors((yield Run(partial(self._items.fetch, wanted, vectors=True))))
        return (yield from _ranked(scope, question, now))

    def scope(self, prefix: bytes, words: bool = True) -> Flow[ScopeIndex]:
        """Return the index of what is below a prefix, brought up to date, with words or without."""
        scope = self._scopes.of(prefix, words)
        if not scope.is_new:
            return (yield from self._up_to_date(prefix, scope))
        reply = yield from self._kept.few_entries(prefix)
        if reply is not None:
            settled = yield from self._take(prefix, scope, reply, NOTHING_KNOWN)
            return scope if settled else (yield from self._up_to_date(prefix, scope))
        kept = yield from self._kept.open(prefix, words)
        if kept is not None:
            self._scopes.keep(prefix, kept, 0)
            yield from self._up_to_date(prefix, kept)
            if not self._kept.is_behind(kept):
                return kept
        yield from self._up_to_date(prefix, scope)
        if (yield from self._kept.keep(prefix, scope)) and self._scopes.is_heavy(scope):
            kept = yield from self._kept.open(prefix, words)
            if kept is not None:
                self._scopes.keep(prefix, kept, 0)
                return (yield from self._up_to_date(prefix, kept))
        return scope

    def _up_to_date(self, prefix: bytes, scope: ScopeIndex) -> Flow[ScopeIndex]:
        while True:
            known = scope.known
            reply = yield Run(partial(self._items.entries, prefix, known, scope.mark))
            if (yield from self._take(prefix, scope, reply, known)):
                return scope

    def _take(self, prefix: bytes, scope: ScopeIndex, reply: EntriesReply, known: Mapping[bytes, int]) -> Flow[bool]:
        take = partial(self._scopes.take, prefix, scope, reply, known)
        if sum(len(space.entries) for space in reply.spaces) < _MANY:
            return take()
        settled: bool = yield off_the_loop(take)
        return settled

    def _scope_for(self, question: Question, prefix: bytes) -> Flow[ScopeIndex]:
        """Return the index of what is below a prefix, with all at hand that a question needs of it but vectors."""
        while True:
            scope = yield from self.scope(prefix, question.how != "vector")
            before = scope.weight
            if (yield from self._kept.complete(prefix, scope, question)):
                if scope.weight != before:
                    self._scopes.keep(prefix, scope, before)
                return scope
            self._scopes.drop(prefix, scope)

    def forget(self, prefix: bytes) -> Flow[None]:
        """Remove what the store keeps of the indexes of items below a prefix."""
        yield from self._kept.forget(prefix)

    def _embed_some(self, scope: ScopeIndex, now: int) -> Flow[int]:
        """Embed some of the items that wait for it, unless nothing has changed since this was tried; count them."""
        embedding, known = self._indexing.embedding, scope.known
        if embedding is None or not embedding.identity or self._embedded.get(scope) is known:
            return 0
        self._embedded[scope] = known
        # Of another model's vectors another program may make use: those are left until `reindex`.
        waiting = scope.unembedded(embedding.identity, now, others=False)[:REINDEXED]
        try:
            return (yield from self._changer.reindex(waiting)) if waiting else 0
        except ReadOnlyStore:
            return 0  # they are found by their words, until a program that may write comes by

    def _best(self, ranking: Sequence[Ranked], search: Search, now: int) -> Plan[list[Match]]:
        start, stop = search.slice.start, search.slice.stop
        # Without a filter, all that is ranked is found, unless it was removed in between.
        at, skip = (0, 0) if search.filter else (start, start)
        found: list[Match] = []
        while len(found) < stop - skip and at < len(ranking):
            size = stop - skip - len(found)
            if search.filter:
                size = max(size * 2, _AT_LEAST, at)
            some = ranking[at : at + min(size, AT_ONCE)]
            found += islice((yield from self.fetched(some, search, now)), stop - skip - len(found))
            at += len(some)
        return found[start - skip : stop - skip]

    def fetched(self, ranked: Sequence[Ranked], search: Search, now: int) -> Plan[Iterator[Match]]:
        """Return of these items those that are there and match, in the same order."""
        return _found(ranked, (yield from self._items.fetch([each.item for each in ranked])), search, now)


def _found(ranked: Sequence[Ranked], rows: Mapping[ItemKey, ItemRow], search: Search, now: int) -> Iterator[Match]:
    for each in ranked:
        row = rows.get(each.item)
        if row is None or row.is_expired(now):
            continue
        value = read_value(row)
        if not search.filter or search.filter.matches(value):
            parts = _shown(each.parts) if search.explain else None
            yield Match(found_item(row, value, each.score, parts), row)


def _ranked(scope: ScopeIndex, question: Question, now: int) -> Flow[Sequence[Ranked]]:
    rank = partial(scope.rank, question, now)
    if len(scope) < _MANY:
        return rank()
    ranking: Sequence[Ranked] = yield off_the_loop(rank)
    return ranking


def refreshable(rows: Sequence[ItemRow | None]) -> list[ItemKey]:
    """Return which of these items have an end that can be put off."""
    return [row.item for row in rows if row is not None and row.ttl is not None]


def _shown(parts: Parts) -> dict[str, float]:
    return {name: part for name, part in parts._asdict().items() if part is not None}
