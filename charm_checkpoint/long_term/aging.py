"""What nobody uses is archived, and what is archived for long may be deleted: a page of memories at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import FoundItem, stamp_of, time_of
from charm_checkpoint.long_term import records
from charm_checkpoint.long_term.ages import (
    DAY,
    Ages,
    ages_of_environment,
    archived_since,
    checked_days,
    is_purgeable,
    is_stale,
    last_active,
)
from charm_checkpoint.long_term.paging import PAGE, Pages
from charm_checkpoint.long_term.parts import LongTermParts, ambiguous, not_found
from charm_checkpoint.long_term.records import MemoryEntry, Moment, Value, entry_of
from charm_checkpoint.long_term.revalidation import BROKEN, Revalidator, is_drift, place_of
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.steps import call


@dataclass(frozen=True)
class Aged:
    """A memory that was archived, or may be deleted; ``since`` when it was used last, or was archived."""

    title: str
    scope: str
    kind: str
    category: str | None
    since: datetime
    days: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**vars(self), "since": self.since.isoformat()}


@dataclass(frozen=True)
class Swept:
    """What a sweep did: ``archived``, how many active ones were ``kept``, and why some could not be looked at."""

    archived: tuple[Aged, ...] = ()
    kept: int = 0
    broken: Mapping[str, str] | None = None
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**vars(self), "archived": [each.to_dict() for each in self.archived], "broken": self.broken or {}}


@dataclass(frozen=True)
class Purged:
    """What a purge did: ``purged`` is gone for good, ``kept`` was used or changed since it was a candidate."""

    purged: tuple[Aged, ...] = ()
    kept: tuple[str, ...] = ()
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**vars(self), "purged": [each.to_dict() for each in self.purged], "kept": list(self.kept)}


def _aged(value: Mapping[str, Any], scope: Scope, since: int, now: int) -> Aged:
    days = round((now - since) / DAY, 3)
    return Aged(value["title"], scope.name, value["kind"], value["category"], time_of(since), days)


class Sweep:
    """Archives what is stale in a scope, a page at a time."""

    def __init__(self, scope: Scope, ages: Ages, now: int, *, size: int = PAGE, dry_run: bool = False) -> None:
        self.archived: list[Aged] = []
        self.broken: dict[str, str] = {}
        self._scope = scope
        self._ages = ages
        self._now = now
        self._dry_run = dry_run
        least = ages.least("archive")
        filter = {"status": {"$in": ["active", "quarantined"]}, "updated": {"$lt": now - round((least or 0) * DAY)}}
        self._pages = Pages(scope, filter, size)
        self._pages.more = least is not None

    def step(self) -> Flow[bool]:
        """Archive what is stale of the next page; tell whether there is more."""
        if not self._pages.more:
            return False
        page = yield from self._pages.next()
        stale = [item for item in page if self._is_stale(item, None)]
        uses = (yield from self._scope.uses([item.key for item in stale])) if stale else {}
        for item in stale:
            used = uses.get(item.key, (None, 0))[0]
            if self._is_stale(item, used):
                try:
                    yield from self._archive(item, used)
                except BROKEN as error:
                    self.broken[item.key] = str(error)
        return self._pages.more

    def _is_stale(self, item: FoundItem, used: int | None) -> bool:
        try:
            entry_of(item.value, self._scope.name)
        except StoreCorrupt as error:
            self.broken[item.key] = str(error)
            return False
        return is_stale(item.value, used, self._ages, self._now)

    def _archive(self, item: FoundItem, used: int | None) -> Flow[None]:
        made: list[Value] = []

        def archived(value: Value | None) -> Value | None:
            made.clear()
            if value is None or not is_stale(value, used, self._ages, self._now):
                return None  # somebody was faster
            made.append(value)
            return {**value, "status": "archived", "archived": self._now}

        if self._dry_run:
            made = [item.value]
        else:
            yield from self._scope.change(item.key, archived)
        self.archived += [_aged(value, self._scope, last_active(value, used), self._now) for value in made]


class Purge:
    """Finds what may be deleted of a scope, a page at a time; deletes it where that is ``wanted``."""

    def __init__(
        self, scope: Scope, ages: Ages, now: int, *, size: int = PAGE, wanted: Callable[[Value], bool] | None = None
    ) -> None:
        self.found: list[Aged] = []
        self.broken: dict[str, str] = {}
        self._scope = scope
        self._ages = ages
        self._now = now
        self._wanted = wanted
        self._pages = Pages(scope, {"status": {"$eq": "archived"}}, size)

    def step(self) -> Flow[bool]:
        """Find, and delete, what may be deleted of the next page; tell whether there is more."""
        page = yield from self._pages.next()
        for item in page:
            try:
                entry_of(item.value, self._scope.name)
                if not is_purgeable(item.value, self._ages, self._now):
                    continue
                aged = _aged(item.value, self._scope, archived_since(item.value), self._now)
                if self._wanted is None:
                    self.found.append(aged)
                elif self._wanted(item.value) and (yield from delete(self._scope, aged)):
                    self.found.append(aged)
            except BROKEN as error:
                self.broken[item.key] = str(error)
        return self._pages.more


class _Kept(Exception):
    """A memory is not archived any more, or was archived anew."""


def delete(scope: Scope, aged: Aged) -> Flow[bool]:
    """Delete a memory for good, if it is still archived as it was; tell whether it was."""

    def check(value: Value) -> None:
        if value["status"] != "archived" or archived_since(value) != stamp_of(aged.since):
            raise _Kept

    try:
        gone = yield from scope.remove(aged.title, check)
    except _Kept:
        return False
    if gone is None:
        return False
    yield from scope.forget_uses([aged.title])
    return True


class Aging(LongTermParts):
    """Archives memories that nobody uses, and deletes those that are archived for long."""

    def sweep(
        self,
        now: Moment = None,
        soft_days: float | None = None,
        scope: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Swept:
        """Archive what nobody used, validated or changed for longer than it may be: 60 days, if nothing else is set.

        It is no longer recalled, and `restore` brings it back. Quarantined memories grow old as others do.
        ``soft_days`` are for all kinds and categories, but for those that never grow old; ``now`` is the date to go by.
        With ``dry_run`` nothing is changed, and what would be is returned.
        """
        return self._run(self._sweep(now, soft_days, scope, dry_run))

    async def asweep(
        self,
        now: Moment = None,
        soft_days: float | None = None,
        scope: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Swept:
        """Archive what nobody used; see `sweep`."""
        return await self._arun(self._sweep(now, soft_days, scope, dry_run))

    def _sweep(self, now: Moment, soft_days: float | None, scope: str | None, dry_run: bool) -> Flow[Swept]:
        ages, moment = self._ages(soft_days=soft_days), _moment(now)
        archived: list[Aged] = []
        broken: dict[str, str] = {}
        kept = 0
        for where in self._scopes(scope):
            sweep = Sweep(where, ages, moment, dry_run=dry_run)
            while (yield from sweep.step()):
                pass
            archived += sweep.archived
            broken |= sweep.broken
            kept += yield from _count(where, {"status": {"$eq": "active"}})
        return Swept(tuple(archived), kept, broken, dry_run)

    def _ages(self, *, soft_days: float | None = None, hard_days: float | None = None) -> Ages:
        """Return at what age memories are archived and may be deleted: as set, or as the environment says."""
        ages = self.settings.ages if self.settings.ages is not None else ages_of_environment()
        return ages.for_all(archive=checked_days(soft_days, "soft_days"), purge=checked_days(hard_days, "hard_days"))

    # -------------------------------------------------------------------------------------------------------- restoring

    def restore(self, title: str, scope: str | None = None) -> MemoryEntry:
        """Have a memory that is archived or quarantined be active again, as if it were used now; return it.

        If what it cites does not hold, it is quarantined for that. Raises `MemoryNotFound`, and `AmbiguousMemory` if
        several scopes have one that is not active.
        """
        return self._run(self._restore(title, scope))

    async def arestore(self, title: str, scope: str | None = None) -> MemoryEntry:
        """Have a memory be active again; see `restore`."""
        return await self._arun(self._restore(title, scope))

    def _restore(self, title: str, scope: str | None) -> Flow[MemoryEntry]:
        found = yield from self._found(title, scope)
        if not found:
            raise not_found(title, self._scopes(scope))
        asleep = [(where, value) for where, value in found if value["status"] != "active"]
        if len(asleep) > 1:
            raise ambiguous(title, asleep)
        if not asleep:
            return entry_of(found[0][1], found[0][0].name)
        [(where, value)] = asleep

        def active(old: Value | None) -> Value | None:
            if old is None:
                raise not_found(title, [where])
            held = None if old["status"] == "quarantined" or is_drift(old["reason"]) else old["reason"]
            return {**old, "status": "active", "archived": None, "reason": held}

        after = yield from where.change(title, active)
        uses = yield from where.note_use([title], clock.now())
        if after is not None:
            yield from Revalidator(where, place_of(where, self)).these([(title, after)])
        value = (yield from where.get(title)) or value
        return entry_of(value, where.name, uses.get(title))

    # ---------------------------------------------------------------------------------------------------------- purging

    def purge_candidates(
        self, hard_days: float | None = None, scope: str | None = None, now: Moment = None
    ) -> tuple[Aged, ...]:
        """Return what is archived for longer than it need be kept: 180 days, if nothing else is set.

        Nothing is deleted: `purge` does that. ``hard_days`` and ``now`` are as for `sweep`.
        """
        return self._run(self._candidates(hard_days, scope, now))

    async def apurge_candidates(
        self, hard_days: float | None = None, scope: str | None = None, now: Moment = None
    ) -> tuple[Aged, ...]:
        """Return what is archived for longer than it need be kept; see `purge_candidates`."""
        return await self._arun(self._candidates(hard_days, scope, now))

    def _candidates(self, hard_days: float | None, scope: str | None, now: Moment) -> Flow[tuple[Aged, ...]]:
        ages, moment = self._ages(hard_days=hard_days), _moment(now)
        found: list[Aged] = []
        for where in self._scopes(scope):
            purge = Purge(where, ages, moment)
            while (yield from purge.step()):
                pass
            found += purge.found
        return tuple(found)

    def purge(
        self, memories: str | Aged | Iterable[str | Aged], scope: str | None = None, *, dry_run: bool = False
    ) -> Purged:
        """Delete archived memories for good: titles, or what `purge_candidates` returned.

        A candidate that was restored since is kept. Raises `DataError` for a title that is not archived, which
        `forget` deletes, `MemoryNotFound` and `AmbiguousMemory`; then nothing is deleted.
        """
        return self._run(self._purge(memories, scope, dry_run))

    async def apurge(
        self, memories: str | Aged | Iterable[str | Aged], scope: str | None = None, *, dry_run: bool = False
    ) -> Purged:
        """Delete archived memories for good; see `purge`."""
        return await self._arun(self._purge(memories, scope, dry_run))

    def _purge(self, memories: str | Aged | Iterable[str | Aged], scope: str | None, dry_run: bool) -> Flow[Purged]:
        given = [memories] if isinstance(memories, Aged) else records.listed(memories, "memories")
        wanted: list[Aged] = []
        for each in given:
            aged = each if isinstance(each, Aged) else (yield from self._archived(each, scope))
            wanted.append(aged)
        purged: list[Aged] = []
        kept: list[str] = []
        for aged in wanted:
            gone = dry_run or (yield from delete(self.scope(aged.scope), aged))
            if gone:
                purged.append(aged)
            else:
                kept.append(aged.title)
        return Purged(tuple(purged), tuple(kept), dry_run)

    def _archived(self, title: Any, scope: str | None) -> Flow[Aged]:
        records.checked_text(title, "title")
        found = yield from self._found(title, scope)
        if not found:
            raise not_found(title, self._scopes(scope))
        archived = [(where, value) for where, value in found if value["status"] == "archived"]
        if not archived:
            raise DataError(f"the memory {title!r} is not archived, so it is not purged: forget deletes it")
        if len(archived) > 1:
            raise ambiguous(title, archived)
        [(where, value)] = archived
        return _aged(value, where, archived_since(value), clock.now())


def _moment(now: Moment) -> int:
    given = records.stamp(now, "now")
    return clock.now() if given is None else given


def _count(scope: Scope, filter: Mapping[str, Any]) -> Flow[int]:
    count: int = yield call(scope.store, "count", scope.notes, filter=filter)
    return count
