"""Writing a memory down, and moving it to another scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from charm_checkpoint.errors import (
    ConfigError,
    DataError,
    ForgottenMemory,
    ItemConflict,
    MemoryExists,
    MemoryNotFound,
    ProtectedMemory,
    SuspiciousMemory,
)
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow, off_the_loop
from charm_checkpoint.long_term import records
from charm_checkpoint.long_term.citations import CitationLike, cite, listed
from charm_checkpoint.long_term.parts import LongTermParts
from charm_checkpoint.long_term.records import IMPORTED, MANUAL, Citation, MemoryEntry, Value, entry_of, new_value
from charm_checkpoint.long_term.scope import ATTEMPTS, Changed, Scope, unchanged
from charm_checkpoint.long_term.suspicion import held_for, suspicions
from charm_checkpoint.long_term.tombstones import lift, tombstone


class Remembering(LongTermParts):
    """Writes memories down."""

    def remember(
        self,
        kind: str,
        title: str,
        body: str,
        scope: str = "project",
        tags: Iterable[str] | str | None = None,
        citations: CitationLike | Iterable[CitationLike] | None = None,
        source: str = MANUAL,
        importance: float | None = None,
        category: str | None = None,
        session: str | None = None,
    ) -> MemoryEntry:
        """Write a memory down, in place of the one with this title in this scope; return it.

        A title is any text, and exact. What is None stays as it was of the memory that is replaced; ``()`` takes tags
        or citations away. Citations are paths of files of the project, or `Citation`, as is ``"setup.py:3-9"``: their
        SHA-256 is taken now, also of those that stay. ``importance`` is from 0 to 1.

        Raises `DataError` for what is no memory, `ConfigError` for a scope that there is none of; `ProtectedMemory` if
        a ``source`` that is not "manual" would replace what is, `ForgottenMemory` if it would write what was
        forgotten, `SuspiciousMemory` for what looks like an attack, where `Settings.on_suspicious` is "refuse".
        """
        new = self._checked(kind, title, body, tags, citations, source, importance, category, session)
        return self._run(self._remember(self.scope(scope), new))

    async def aremember(
        self,
        kind: str,
        title: str,
        body: str,
        scope: str = "project",
        tags: Iterable[str] | str | None = None,
        citations: CitationLike | Iterable[CitationLike] | None = None,
        source: str = MANUAL,
        importance: float | None = None,
        category: str | None = None,
        session: str | None = None,
    ) -> MemoryEntry:
        """Write a memory down; see `remember`."""
        new = self._checked(kind, title, body, tags, citations, source, importance, category, session)
        return await self._arun(self._remember(self.scope(scope), new))

    def _checked(
        self,
        kind: str,
        title: str,
        body: str,
        tags: Any,
        citations: Any,
        source: str,
        importance: Any,
        category: str | None,
        session: str | None,
    ) -> dict[str, Any]:
        """Return what was given, checked; without what says nothing, but for the citations."""
        new = {
            "kind": records.checked_kind(kind),
            "title": records.checked_text(title, "title"),
            "body": records.checked_text(body, "body"),
            "source": records.checked_text(source, "source"),
            "tags": None if tags is None else records.checked_tags(_listed(tags)),
            "importance": records.checked_importance(importance),
            "category": records.optional_text(category, "category"),
            "session": records.optional_text(session, "session"),
        }
        return {**{name: value for name, value in new.items() if value is not None}, "citations": citations}

    def _remember(self, scope: Scope, new: dict[str, Any]) -> Flow[MemoryEntry]:
        title, automatic = new["title"], new["source"] != MANUAL
        held = self._suspicious(new)
        stone = yield from tombstone(scope, title)
        if automatic and stone is not None and (yield from scope.get(title)) is None:
            raise _forgotten(scope, new)
        citations = new["citations"]
        if citations is None:
            before = yield from scope.get(title)
            kept = map(Citation.from_dict, before["citations"]) if before else ()
            cited = yield from self._cited(scope, kept, anew=True)
        else:
            cited = yield from self._cited(scope, citations)
        made = {**new, "citations": [each.to_dict() for each in cited]}

        def written(old: Value | None) -> Value:
            if automatic and old is not None and old["source"] == MANUAL:
                raise ProtectedMemory(
                    f"the memory {title!r} in {scope.name} was written by a person, and {new['source']!r} may not "
                    "replace it: choose another title, or have it changed with source='manual'"
                )
            return _renewed(old, made, held, scope.reviews, clock.now())

        value = yield from scope.change(title, written)
        assert value is not None  # what was written is there
        if not automatic:
            yield from lift(scope, title, stone)
        elif (yield from tombstone(scope, title)) not in (None, stone):  # somebody forgot it this moment
            with suppress(Changed):
                yield from scope.remove(title, unchanged(value))
            raise _forgotten(scope, new)
        return entry_of(value, scope.name)

    def _suspicious(self, new: Mapping[str, Any]) -> str | None:
        """Return why a memory is to be held for review, None if it is not."""
        if self.settings.on_suspicious == "store":
            return None
        reasons = suspicions(new["title"], new["body"], new.get("tags", ()))
        if reasons and self.settings.on_suspicious == "refuse":
            raise SuspiciousMemory(
                f"the memory {new['title']!r} looks like an attack ({'; '.join(reasons)}), and was not written"
            )
        return held_for(reasons)

    def _cited(
        self, scope: Scope, citations: CitationLike | Iterable[CitationLike], anew: bool = False
    ) -> Flow[list[Citation]]:
        """Return citations with the hashes of what is there now; ``anew``: those given are of what was there."""
        given = listed(citations)
        if not given:
            return []
        if not scope.cites and not anew:
            raise DataError(
                f"memories in {scope.name} belong to no project, and so cite no files of it", path=("citations",)
            )
        made: list[Citation] = yield off_the_loop(
            partial(cite, self.project, given, anew=anew, anywhere=not scope.cites)
        )
        return made

    # ---------------------------------------------------------------------------------------------------- promoting

    def promote(
        self, title: str, to_scope: str, from_scope: str | None = None, *, overwrite: bool = False
    ) -> MemoryEntry:
        """Move a memory to another scope; return it.

        In a scope that belongs to no project it cites nothing any more. Raises `MemoryNotFound`, `AmbiguousMemory`, and
        `MemoryExists` if that scope has one with this title, which is replaced with ``overwrite``.
        """
        return self._run(self._promote(title, to_scope, from_scope, overwrite))

    async def apromote(
        self, title: str, to_scope: str, from_scope: str | None = None, *, overwrite: bool = False
    ) -> MemoryEntry:
        """Move a memory to another scope; see `promote`."""
        return await self._arun(self._promote(title, to_scope, from_scope, overwrite))

    def _promote(self, title: str, to_scope: str, from_scope: str | None, overwrite: bool) -> Flow[MemoryEntry]:
        target = self.scope(to_scope)
        others = [name for name in self.scopes if name != target.name]
        place = others if from_scope is None else from_scope
        found = yield from self._found(title, place)
        if not found and from_scope is None:
            found = yield from self._found(title, target.name)
        scope, value = found[0] if len(found) == 1 else (yield from self._the_one(title, place))
        if scope is target:
            raise ConfigError(f"the memory {title!r} is in {target.name} already")
        made: Value | None = None
        for _ in range(ATTEMPTS):
            made = yield from target.change(title, partial(_moved, value, target, overwrite, made))
            assert made is not None
            try:
                gone = yield from scope.remove(title, unchanged(value))
            except Changed as changed:  # somebody wrote it anew meanwhile, and that is what is moved
                value = changed.value
                continue
            if gone is None and (yield from tombstone(scope, title)) is not None:
                with suppress(Changed):
                    yield from target.remove(title, unchanged(made))
                raise MemoryNotFound(f"the memory {title!r} in {scope.name} was forgotten meanwhile; undo() has it")
            yield from scope.forget_uses([title])
            return entry_of(made, target.name)
        raise ItemConflict(f"others changed the memory {title!r} again and again; it is in both scopes now")


def _moved(value: Value, target: Scope, overwrite: bool, mine: Value | None, old: Value | None) -> Value:
    """Return a memory as it is to be in another scope, where ``mine`` was put of it before and ``old`` is now."""
    moved = {**value, "citations": value["citations"] if target.cites else [], "updated": clock.now()}
    # Who was killed while it moved one has left it in both scopes.
    if old is not None and not overwrite and old != mine and old != {**moved, "updated": old["updated"]}:
        raise MemoryExists(
            f"{target.name} has a memory {value['title']!r} already; forget one of them, or replace it: overwrite=True"
        )
    return moved


def _forgotten(scope: Scope, new: Mapping[str, Any]) -> ForgottenMemory:
    return ForgottenMemory(
        f"the memory {new['title']!r} in {scope.name} was forgotten, and {new['source']!r} is not to write it again: "
        "undo() brings it back, and a person may write it"
    )


def _renewed(old: Value | None, made: Mapping[str, Any], held: str | None, reviews: bool, now: int) -> Value:
    """Return the value of a memory that is written anew: it is active again, and stamped now.

    What is written here is approved by that, also where others' are reviewed, but for what is imported or held.
    """
    value = new_value(made["title"], made["kind"], made["body"], made["source"], now)
    if old is not None:
        kept = ["created", "importance", "category", "session"]
        if not records.needs_review(old):  # else who writes it anew would approve tags that nobody looked at
            kept.append("tags")
        value.update({name: old[name] for name in kept})
    value.update(made)
    value["validated"] = now if value["citations"] else None
    value["reason"] = held
    doubtful = held is not None or value["source"] == IMPORTED
    value["review"] = doubtful or reviews
    value["approved"] = records.value_digest(value) if reviews and not doubtful else None
    return value


def _listed(tags: Any) -> Any:
    """Return what can be walked only once as a list."""
    return (
        tags if isinstance(tags, (str, list, tuple, set, frozenset)) or not isinstance(tags, Iterable) else list(tags)
    )
