"""Forgetting memories, and having them again."""

from __future__ import annotations

from charm_checkpoint.errors import ItemConflict, MemoryExists, MemoryNotFound
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term.parts import LongTermParts, ambiguous
from charm_checkpoint.long_term.records import MemoryEntry, Value, checked_text, entry_of
from charm_checkpoint.long_term.scope import ATTEMPTS, Changed, Scope, unchanged
from charm_checkpoint.long_term.tombstones import Stone, bury, lift, tombstone, tombstones


class Forgetting(LongTermParts):
    """Forgets memories, so that they can be had again for a while."""

    def forget(self, title: str, scope: str | None = None) -> MemoryEntry | None:
        """Delete a memory; return it, None if there is none with this title.

        For `Settings.tombstone_days` it can be had again by `undo`, and what writes by itself does not write it again.
        Raises `AmbiguousMemory` if several scopes have one and none is named; then nothing is deleted.
        """
        return self._run(self._forget(title, scope))

    async def aforget(self, title: str, scope: str | None = None) -> MemoryEntry | None:
        """Delete a memory; see `forget`."""
        return await self._arun(self._forget(title, scope))

    def _forget(self, title: str, scope: str | None) -> Flow[MemoryEntry | None]:
        found = yield from self._found(title, scope)
        if len(found) > 1:
            raise ambiguous(title, found)
        if not found:
            return None
        [(place, value)] = found
        for _ in range(ATTEMPTS):
            # The stone first: who is killed in between has forgotten nothing, rather than lost it for good.
            yield from bury(place, value, clock.now(), self.settings.tombstone_days)
            try:
                gone = yield from place.remove(title, unchanged(value))
            except Changed as changed:
                value = changed.value
                continue
            if gone is None:
                return None
            yield from self._keep_buried(place, gone)
            yield from place.forget_uses([title])
            return entry_of(gone, place.name)
        raise ItemConflict(f"others changed the memory {title!r} again and again; it was not deleted. Try once more.")

    def _keep_buried(self, place: Scope, gone: Value) -> Flow[None]:
        """Bury a memory once more, if somebody took its stone away who found it in place still."""
        title = gone["title"]
        if (yield from tombstone(place, title)) is None and (yield from place.get(title)) is None:
            yield from bury(place, gone, clock.now(), self.settings.tombstone_days)

    def undo(self, title: str | None = None, scope: str | None = None) -> MemoryEntry:
        """Bring back a memory that was forgotten, without a title the one that was forgotten last; return it.

        Raises `MemoryNotFound` if none was, or too long ago, and `MemoryExists` if there is one with this title again.
        """
        return self._run(self._undo(title, scope))

    async def aundo(self, title: str | None = None, scope: str | None = None) -> MemoryEntry:
        """Bring back a memory that was forgotten; see `undo`."""
        return await self._arun(self._undo(title, scope))

    def _undo(self, title: str | None, scope: str | None) -> Flow[MemoryEntry]:
        if title is not None:
            checked_text(title, "title")
        graves: list[tuple[Scope, Stone]] = []
        for place in self._scopes(scope):
            if title is None:
                stones = yield from tombstones(place)
            else:
                stone = yield from tombstone(place, title)
                stones = [] if stone is None else [stone]
            graves += [(place, stone) for stone in stones]
        if not graves:
            which = "no memory" if title is None else f"no memory {title!r}"
            raise MemoryNotFound(
                f"{which} was forgotten in the last {self.settings.tombstone_days:g} days, in "
                + ", ".join(place.name for place in self._scopes(scope))
            )
        if title is not None and len(graves) > 1:
            raise ambiguous(title, [(place, stone.memory) for place, stone in graves])
        place, latest = max(graves, key=lambda grave: grave[1].forgotten)
        value = latest.memory

        def restored(old: Value | None) -> Value:
            if old is not None and old != value:
                raise MemoryExists(f"{place.name} has a memory {value['title']!r} again; forget that first")
            return value

        made = yield from place.change(value["title"], restored)
        yield from lift(place, value["title"], latest)
        assert made is not None
        return entry_of(made, place.name)

    def forgotten(self, scope: str | None = None) -> list[MemoryEntry]:
        """Return the memories that `undo` brings back, those forgotten last first."""
        return self._run(self._forgotten(scope))

    async def aforgotten(self, scope: str | None = None) -> list[MemoryEntry]:
        """Return the memories that `undo` brings back; see `forgotten`."""
        return await self._arun(self._forgotten(scope))

    def _forgotten(self, scope: str | None) -> Flow[list[MemoryEntry]]:
        found = []
        for place in self._scopes(scope):
            stones = yield from tombstones(place)
            found += [(stone.forgotten, entry_of(stone.memory, place.name)) for stone in stones]
        return [entry for _, entry in sorted(found, key=lambda pair: -pair[0])]
