"""Whether what memories rest on is still so: those that lost it are quarantined, and taken back when it holds again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, NamedTuple

from charm_checkpoint.errors import DataError, ItemConflict, StoreClosed, StoreCorrupt, StoreError
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow, off_the_loop
from charm_checkpoint.long_term.citations import Check, Files, Place
from charm_checkpoint.long_term.hash_shelf import HashShelf
from charm_checkpoint.long_term.paging import PAGE, Pages
from charm_checkpoint.long_term.parts import LongTermParts, not_found
from charm_checkpoint.long_term.records import Citation, MemoryEntry, Value, entry_of
from charm_checkpoint.long_term.scope import Scope

log = logging.getLogger("charm_checkpoint")

DRIFT: Final = "citations: "
"""What the reason begins with of a memory that was quarantined here, and may be taken back here."""

STAMPED_EVERY: Final = 86_400_000_000
"""Microseconds for which a memory that goes on to hold is not stamped again: so most checks write nothing."""

_ATTEMPTS: Final = 3
_SHOWN: Final = 5
BROKEN: Final = (DataError, StoreCorrupt, ItemConflict, OSError)
"""What may be wrong with one memory, and says nothing of the others."""


@dataclass(frozen=True)
class Revalidated:
    """What was found of one memory; ``reason`` says why it is quarantined, or what is wrong with it."""

    title: str
    scope: str
    status: str
    reason: str | None = None
    checks: tuple[Check, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        checks = [{**check.citation.to_dict(), "holds": check.holds, "why": check.why or None} for check in self.checks]
        return {**vars(self), "checks": checks}


@dataclass(frozen=True)
class Revalidation:
    """What a revalidation found.

    ``clean`` hold, or cite nothing. ``quarantined`` and ``recovered`` were, now; ``failing`` are quarantined as they
    were. ``held`` are quarantined for other reasons, and ``archived`` archived: they are left so. ``unchecked`` cite
    files of a project that has no folder here; ``broken`` could not be read or changed.
    """

    clean: tuple[Revalidated, ...] = ()
    quarantined: tuple[Revalidated, ...] = ()
    recovered: tuple[Revalidated, ...] = ()
    failing: tuple[Revalidated, ...] = ()
    held: tuple[Revalidated, ...] = ()
    archived: tuple[Revalidated, ...] = ()
    unchecked: tuple[Revalidated, ...] = ()
    broken: tuple[Revalidated, ...] = ()

    @property
    def ok(self) -> bool:
        """Tell whether no memory is failing or broken, or was quarantined."""
        return not (self.quarantined or self.failing or self.broken)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {name: [each.to_dict() for each in some] for name, some in vars(self).items()}


@dataclass
class Report:
    """A `Revalidation` that is being made."""

    found: dict[str, list[Revalidated]] = field(default_factory=dict)

    def add(self, name: str, one: Revalidated) -> None:
        """Note what was found of a memory."""
        self.found.setdefault(name, []).append(one)

    def count(self, name: str) -> int:
        """Return of how many something was found."""
        return len(self.found.get(name, ()))

    def done(self) -> Revalidation:
        """Return the revalidation."""
        return Revalidation(**{name: tuple(some) for name, some in self.found.items()})


def is_drift(reason: str | None) -> bool:
    """Tell whether a memory is quarantined because of what it cites, and by nobody's hand."""
    return reason is not None and reason.startswith(DRIFT)


def place_of(scope: Scope, parts: LongTermParts) -> Place:
    """Return where the files are that memories of a scope cite."""
    return Place(parts.project.root) if scope.cites else Place(None, anywhere=True)


# -------------------------------------------------------------------------------------------------- what becomes of it


def wanted(value: Mapping[str, Any], checks: Sequence[Check], now: int, vouched: bool = False) -> Value:
    """Return what is to be changed of a memory; nothing, if it is as it should be; pure.

    ``vouched``: somebody asked for this one, so it is stamped although it cites nothing, or was stamped a while ago.
    """
    failing = [check for check in checks if check.holds is False]
    holds = all(check.holds for check in checks)
    status, ours = value["status"], is_drift(value["reason"])
    if failing and (status == "active" or (status == "quarantined" and ours)):
        reason = _reason(failing)
        same = status == "quarantined" and value["reason"] == reason
        return {} if same else {"status": "quarantined", "reason": reason}
    if holds and status == "quarantined" and ours:
        return {"status": "active", "reason": None, "validated": now}
    if holds and status == "active":
        last = value["validated"]
        due = last is None or not last <= now < last + STAMPED_EVERY
        return {"validated": now} if vouched or (checks and due) else {}
    return {}


def _reason(failing: Sequence[Check]) -> str:
    more = f" and {len(failing) - _SHOWN} more" if len(failing) > _SHOWN else ""
    return DRIFT + ", ".join(map(str, failing[:_SHOWN])) + more


def _outcome(before: str, value: Mapping[str, Any], checks: Sequence[Check]) -> str:
    after = str(value["status"])
    if after != before:
        return {"quarantined": "quarantined", "active": "recovered"}.get(after, after)
    if after == "archived":
        return "archived"
    if after == "quarantined" and not is_drift(value["reason"]):
        return "held"
    if any(check.holds is None for check in checks):
        return "unchecked"
    return "failing" if after == "quarantined" else "clean"


class Looked(NamedTuple):
    """A memory, and what was found of it; ``broken`` says why nothing was."""

    title: str
    value: Value
    checks: tuple[Check, ...] = ()
    broken: str = ""


def _look(scope: str, place: Place, values: Iterable[tuple[str, Value]]) -> list[Looked]:
    files = Files(place)
    return [_looked(scope, files, title, value) for title, value in values]


def _looked(scope: str, files: Files, title: str, value: Value) -> Looked:
    try:
        status, reason, validated = value["status"], value["reason"], value["validated"]
        cited = [] if status == "archived" else list(map(Citation.from_dict, value["citations"]))
        if not isinstance(reason, (str, type(None))) or not isinstance(validated, (int, type(None))):
            raise TypeError(f"its reason is {reason!r}, validated {validated!r}")
    except (KeyError, TypeError, AttributeError) as error:
        return Looked(title, value, broken=f"the memory {title!r} in {scope} is damaged: {_said(error)}")
    return Looked(title, value, tuple(files.check(cited)))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class Revalidator:
    """Revalidates memories of a scope a page at a time; ``report`` tells what it found so far."""

    def __init__(self, scope: Scope, place: Place, *, size: int = PAGE, vouched: bool = False) -> None:
        self.scope = scope
        self.place = place
        self.report = Report()
        self._vouched = vouched
        self._pages = Pages(scope, {"status": {"$ne": "archived"}}, size)
        self._shelf = HashShelf(scope, place.root)
        self._begun = False

    def step(self) -> Flow[bool]:
        """Revalidate the next page; tell whether there is more."""
        if not self._begun:
            self._begun = True
            yield from self._shelf.load()
        page = yield from self._pages.next()
        yield from self.these([(item.key, item.value) for item in page])
        if not self._pages.more:
            yield from self._shelf.save()
        return self._pages.more

    def these(self, values: Sequence[tuple[str, Value]]) -> Flow[None]:
        """Revalidate these memories; one that is changed meanwhile is looked at again."""
        for attempt in range(_ATTEMPTS):
            if not values:
                return
            again = []
            found: list[Looked] = yield off_the_loop(partial(_look, self.scope.name, self.place, values))
            for looked in found:
                changed = yield from self._settle(looked, last=attempt == _ATTEMPTS - 1)
                again += [] if changed is None else [(looked.title, changed)]
            values = again

    def _settle(self, looked: Looked, last: bool) -> Flow[Value | None]:
        """Have a memory's status be what was found; return what it is now if somebody changed what it cites."""
        if looked.broken:
            self._add("broken", looked, str(looked.value.get("status")), looked.broken)
            return None
        held: list[Value | None] = [looked.value]
        after: Value | None = looked.value
        if wanted(looked.value, looked.checks, clock.now(), self._vouched):

            def change(value: Value | None) -> Value | None:
                held[:] = [value]
                if value is None or not _cites_the_same(value, looked.value):
                    return None
                made = wanted(value, looked.checks, clock.now(), self._vouched)
                return {**value, **made} if made else None

            try:
                after = yield from self.scope.change(looked.title, change)
            except BROKEN as error:
                self._add("broken", looked, looked.value["status"], str(error))
                return None
        [before] = held
        if before is None or after is None:
            return None  # it was forgotten meanwhile
        if not _cites_the_same(before, looked.value):
            if last:
                self._add("broken", looked, looked.value["status"], "others changed it again and again")
            return before
        self._add(_outcome(before["status"], after, looked.checks), looked, after["status"], after["reason"])
        return None

    def _add(self, name: str, looked: Looked, status: str, reason: str | None) -> None:
        self.report.add(name, Revalidated(looked.title, self.scope.name, status, reason, looked.checks))


def _cites_the_same(value: Mapping[str, Any], looked: Mapping[str, Any]) -> bool:
    return bool(value.get("citations") == looked["citations"])


# --------------------------------------------------------------------------------------------------------- the methods


class Revalidating(LongTermParts):
    """Tells whether memories still hold."""

    def revalidate(self, title: str | None = None, scope: str | None = None) -> Revalidation:
        """Compare what memories cite with what is there now: the one with a title, or all of them.

        One of which something was changed or is gone is quarantined, with the reason, and no longer recalled; it is
        taken back when all of it holds again. One that was quarantined for another reason, or archived, stays so.
        Files that were not changed since are not read again. Raises `MemoryNotFound` for a title that is nowhere.
        """
        return self._run(self._revalidate(title, scope))

    async def arevalidate(self, title: str | None = None, scope: str | None = None) -> Revalidation:
        """Compare what memories cite with what is there now; see `revalidate`."""
        return await self._arun(self._revalidate(title, scope))

    def _revalidate(self, title: str | None, scope: str | None) -> Flow[Revalidation]:
        report = Report()
        scopes = self._scopes(scope)
        found = None if title is None else (yield from self._found(title, scope))
        if found is not None and not found:
            raise not_found(str(title), scopes)
        if found is not None:
            for where, value in found:
                one = Revalidator(where, place_of(where, self), vouched=True)
                one.report = report
                yield from one.these([(str(title), value)])
            return report.done()
        for where in scopes:
            every = Revalidator(where, place_of(where, self))
            every.report = report
            more = True
            while more:
                more = yield from every.step()
        return report.done()


# ------------------------------------------------------------------------------------------ before memories are shown


def still_true(parts: LongTermParts, entries: Sequence[MemoryEntry]) -> Flow[list[MemoryEntry]]:
    """Return those of some memories that may be shown: what they cite is looked at, and their status set right.

    So one whose file was changed since is not among them, and one that was quarantined for that is, if the file is
    as it was. If the store cannot be written now, what does not hold is left out all the same.
    """
    looked_at: dict[tuple[str, str], MemoryEntry | None] = {}
    for name in dict.fromkeys(entry.scope for entry in entries):
        suspects = [entry for entry in entries if entry.scope == name and _may_differ(entry)]
        if not suspects:
            continue
        where = parts.scopes[name]
        found: list[list[Check]] = yield off_the_loop(partial(_check_all, place_of(where, parts), suspects))
        wrong = [entry for entry, checks in zip(suspects, found, strict=True) if _differs(entry, checks)]
        if wrong:
            looked_at.update((yield from _set_right(parts, where, wrong)))
    fresh = [looked_at.get((entry.scope, entry.title), entry) for entry in entries]
    return [entry for entry in fresh if entry is not None and entry.status == "active"]


def _set_right(
    parts: LongTermParts, where: Scope, wrong: Sequence[MemoryEntry]
) -> Flow[dict[tuple[str, str], MemoryEntry | None]]:
    made: dict[tuple[str, str], MemoryEntry | None] = {(where.name, entry.title): None for entry in wrong}
    known = {entry.title: entry for entry in wrong}
    revalidator = Revalidator(where, place_of(where, parts))
    try:
        yield from revalidator.these((yield from _there(where, list(known))))
        after = yield from _there(where, list(known))
    except StoreClosed:
        raise
    except StoreError as error:
        log.warning("What memories cite was changed, and their status could not be: %s", error)
        return made
    broken = {each.title for each in revalidator.report.done().broken}
    for title, value in after:
        if title not in broken:
            entry, old = entry_of(value, where.name), known[title]
            made[where.name, title] = replace(entry, used=old.used, uses=old.uses, score=old.score, parts=old.parts)
    return made


def _there(where: Scope, titles: Sequence[str]) -> Flow[list[tuple[str, Value]]]:
    values = yield from where.get_many(titles)
    return [(title, value) for title, value in zip(titles, values, strict=True) if value is not None]


def _may_differ(entry: MemoryEntry) -> bool:
    if entry.status == "quarantined":
        return is_drift(entry.reason)
    return entry.status == "active" and bool(entry.citations)


def _check_all(place: Place, entries: Sequence[MemoryEntry]) -> list[list[Check]]:
    files = Files(place)
    return [files.check(entry.citations) for entry in entries]


def _differs(entry: MemoryEntry, checks: Sequence[Check]) -> bool:
    if entry.status == "active":
        return any(check.holds is False for check in checks)
    return all(check.holds for check in checks)
