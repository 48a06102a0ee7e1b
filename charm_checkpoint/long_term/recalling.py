"""Finding memories, reading and listing them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from charm_checkpoint.errors import DataError, ReadOnlyStore
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import FoundItem
from charm_checkpoint.long_term import records
from charm_checkpoint.long_term.parts import LongTermParts
from charm_checkpoint.long_term.records import MemoryEntry, Moment, entry_of, needs_review, with_use
from charm_checkpoint.long_term.revalidation import still_true
from charm_checkpoint.long_term.scope import Scope

Names: TypeAlias = str | Iterable[str] | None

_Entries: TypeAlias = list[MemoryEntry]  # inside the class, `list` is its method

_PAGE: Final = 4
"""How many times what is wanted is asked for at once, where some of it may not be shown."""


class Recalling(LongTermParts):
    """Finds memories."""

    def recall(
        self,
        query: str | None,
        limit: int | None = 5,
        kinds: Names = None,
        scopes: Names = None,
        session: str | None = None,
        since: Moment = None,
        until: Moment = None,
        min_score: float | None = None,
        explain: bool = False,
        *,
        category: str | None = None,
        unreviewed: bool = False,
        count_use: bool = True,
    ) -> list[MemoryEntry]:
        """Return the memories that say most about ``query``, the best first, of those that score ``min_score``.

        Without it that is `Settings.min_score`. Only active ones, and of what is imported or shared only what was
        approved, but with ``unreviewed``. All that narrows them down does so before the ``limit``. ``since`` and
        ``until``, both included, are of when they were written first. Without a query, which is None, blank or ``*``,
        those changed last come first. ``explain`` has each tell by its ``parts`` what its score is made of. That they
        were used is noted, unless ``count_use`` is False.
        """
        asked = self._asked(kinds, ("active",), None, category, session, since, until)
        return self._run(self._recall(query, limit, scopes, asked, min_score, explain, unreviewed, count_use))

    async def arecall(
        self,
        query: str | None,
        limit: int | None = 5,
        kinds: Names = None,
        scopes: Names = None,
        session: str | None = None,
        since: Moment = None,
        until: Moment = None,
        min_score: float | None = None,
        explain: bool = False,
        *,
        category: str | None = None,
        unreviewed: bool = False,
        count_use: bool = True,
    ) -> list[MemoryEntry]:
        """Return the memories that say most about a query; see `recall`."""
        asked = self._asked(kinds, ("active",), None, category, session, since, until)
        return await self._arun(self._recall(query, limit, scopes, asked, min_score, explain, unreviewed, count_use))

    def _recall(
        self,
        query: str | None,
        limit: int | None,
        scopes: Names,
        asked: dict[str, Any],
        min_score: float | None,
        explain: bool,
        unreviewed: bool,
        count_use: bool,
    ) -> Flow[list[MemoryEntry]]:
        records.checked_limit(limit)
        least = records.checked_score(self.settings.min_score if min_score is None else min_score)
        if query is not None and not isinstance(query, str):
            raise DataError(f"it is text, or None, not {type(query).__name__}", path=("query",))
        text = None if query is None or query.strip() in ("", "*") else query
        # What was quarantined because a file was changed is asked for as well: it may hold again by now.
        asked = {**asked, "status": {"$in": ["active", "quarantined"]}}
        size = limit
        while True:
            found: list[tuple[Scope, FoundItem]] = []
            for scope in self._scopes(scopes):
                best = yield from self._best(scope, text, asked, size, least, explain, unreviewed)
                found += [(scope, item) for item in best]
            # Stable: what is equal stays in the order of the scopes, and there in that of the store.
            found.sort(key=lambda pair: (-(pair[1].score or 0.0), -pair[1].revision))
            entries = [entry_of(item.value, scope.name, None, item.score, item.parts) for scope, item in found[:size]]
            true = yield from still_true(self, entries)
            if limit is None or size is None or len(true) >= limit or len(entries) < size:
                break
            size *= _PAGE
        return (yield from self._noted(true[:limit])) if count_use else true[:limit]

    def _best(
        self,
        scope: Scope,
        query: str | None,
        asked: dict[str, Any],
        limit: int | None,
        least: float,
        explain: bool,
        unreviewed: bool,
    ) -> Flow[list[FoundItem]]:
        """Return the best of a scope. Whether one was approved is no part of a filter: it is asked for more, then."""
        size = limit
        while True:
            page = yield from scope.search(query, asked, size, explain)
            good = [item for item in page if query is None or (item.score or 0.0) >= least]
            shown = [item for item in good if unreviewed or not needs_review(item.value)]
            if limit is None or size is None or len(shown) >= limit or len(good) < size:
                return shown[:limit]
            size *= _PAGE

    def _noted(self, entries: list[MemoryEntry]) -> Flow[list[MemoryEntry]]:
        """Note that memories were used; return them with how it stands now."""
        now = clock.now()
        noted = {}
        for scope in {entry.scope for entry in entries}:
            titles = [entry.title for entry in entries if entry.scope == scope]
            try:
                uses = yield from self.scopes[scope].note_use(titles, now)
            except ReadOnlyStore:
                uses = yield from self.scopes[scope].uses(titles)
            noted.update({(scope, title): use for title, use in uses.items()})
        return [with_use(entry, noted.get((entry.scope, entry.title))) for entry in entries]

    # ------------------------------------------------------------------------------------------------------- by title

    def read(self, title: str, scope: str | None = None, *, count_use: bool = True) -> MemoryEntry | None:
        """Return the memory with a title, whatever its status, None if there is none.

        Where several scopes have one, the first of project, shared, global and others counts. That it was used is
        noted, unless ``count_use`` is False.
        """
        return self._run(self._read(title, scope, count_use))

    async def aread(self, title: str, scope: str | None = None, *, count_use: bool = True) -> MemoryEntry | None:
        """Return the memory with a title; see `read`."""
        return await self._arun(self._read(title, scope, count_use))

    def _read(self, title: str, scope: str | None, count_use: bool) -> Flow[MemoryEntry | None]:
        records.checked_text(title, "title")
        for each in self._scopes(scope):
            value = yield from each.get(title)
            if value is None:
                continue
            entry = entry_of(value, each.name)
            if count_use:
                [entry] = yield from self._noted([entry])
                return entry
            return with_use(entry, (yield from each.uses([title])).get(title))
        return None

    # ------------------------------------------------------------------------------------------------------- listing

    def list(
        self,
        scopes: Names = None,
        kinds: Names = None,
        status: Names = "active",
        tag: str | None = None,
        category: str | None = None,
        session: str | None = None,
        since: Moment = None,
        until: Moment = None,
        limit: int | None = None,
        *,
        needs_review: bool | None = None,
    ) -> _Entries:
        """Return memories, scope by scope, those changed last first; with when each was used.

        ``status``, ``kinds`` and ``scopes`` are one name or several; None stands for all.
        """
        asked = self._asked(kinds, status, tag, category, session, since, until)
        return self._run(self._list(scopes, asked, limit, needs_review))

    async def alist(
        self,
        scopes: Names = None,
        kinds: Names = None,
        status: Names = "active",
        tag: str | None = None,
        category: str | None = None,
        session: str | None = None,
        since: Moment = None,
        until: Moment = None,
        limit: int | None = None,
        *,
        needs_review: bool | None = None,
    ) -> _Entries:
        """Return memories; see `list`."""
        asked = self._asked(kinds, status, tag, category, session, since, until)
        return await self._arun(self._list(scopes, asked, limit, needs_review))

    def _list(self, scopes: Names, asked: dict[str, Any], limit: int | None, review: bool | None) -> Flow[_Entries]:
        records.checked_limit(limit)
        tag = asked.pop("tag", None)
        entries: _Entries = []
        for scope in self._scopes(scopes):
            found = yield from scope.search(None, asked, None)
            uses = yield from scope.all_uses()
            for item in found:
                entry = entry_of(item.value, scope.name, uses.get(item.key))
                if (tag is None or tag in entry.tags) and review in (None, entry.needs_review):
                    entries.append(entry)
        return entries[:limit]

    def _asked(
        self, kinds: Names, status: Names, tag: str | None, category: Any, session: Any, since: Moment, until: Moment
    ) -> dict[str, Any]:
        """Return the filter of what was asked for; ``tag`` in it is looked at by who uses it."""
        asked: dict[str, Any] = {}
        if kinds is not None:
            asked["kind"] = {"$in": [records.checked_kind(kind) for kind in records.listed(kinds, "kinds")]}
        if status is not None:
            asked["status"] = {"$in": [records.checked_status(each) for each in records.listed(status, "status")]}
        if category is not None:
            asked["category"] = {"$eq": records.optional_text(category, "category")}
        if session is not None:
            asked["session"] = {"$eq": records.optional_text(session, "session")}
        begin, end = records.stamp(since, "since"), records.stamp(until, "until", end=True)
        if begin is not None or end is not None:
            asked["created"] = {
                **({} if begin is None else {"$gte": begin}),
                **({} if end is None else {"$lte": end}),
            }
        if begin is not None and end is not None and begin > end:
            raise DataError(f"since ({since}) is after until ({until})", path=("since",))
        if tag is not None:
            asked["tag"] = records.checked_text(tag, "tag")
        return asked
