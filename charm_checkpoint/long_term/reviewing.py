"""Looking at memories that others wrote, before a model does."""

from __future__ import annotations

from charm_checkpoint.errors import ItemConflict
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term.parts import LongTermParts
from charm_checkpoint.long_term.records import MemoryEntry, Value, entry_of, needs_review, value_digest


class Reviewing(LongTermParts):
    """Shows what is to be looked at, and takes approvals."""

    def review(self, scope: str | None = None) -> list[MemoryEntry]:
        """Return the memories that no model is shown before somebody approved them, by `approve`, or forgot them."""
        return self._run(self._review(scope))

    async def areview(self, scope: str | None = None) -> list[MemoryEntry]:
        """Return the memories that need a review; see `review`."""
        return await self._arun(self._review(scope))

    def _review(self, scope: str | None) -> Flow[list[MemoryEntry]]:
        found = []
        for place in self._scopes(scope):
            items = yield from place.search(None, {"review": True, "status": {"$ne": "archived"}}, None)
            found += [entry_of(item.value, place.name) for item in items if needs_review(item.value)]
        return found

    def approve(self, title: str, scope: str | None = None, *, digest: str | None = None) -> MemoryEntry:
        """Approve a memory as it is now; return it. A later change of it needs another approval.

        With ``digest``, that of the `MemoryEntry` somebody looked at, only if it is still the same, else `ItemConflict`
        is raised. Raises `MemoryNotFound` and `AmbiguousMemory` as well.
        """
        return self._run(self._approve(title, scope, digest))

    async def aapprove(self, title: str, scope: str | None = None, *, digest: str | None = None) -> MemoryEntry:
        """Approve a memory as it is now; see `approve`."""
        return await self._arun(self._approve(title, scope, digest))

    def _approve(self, title: str, scope: str | None, digest: str | None) -> Flow[MemoryEntry]:
        place, seen = yield from self._the_one(title, scope)
        wanted = value_digest(seen) if digest is None else digest

        def approved(value: Value | None) -> Value | None:
            if value is None or value_digest(value) != wanted:
                raise ItemConflict(
                    f"the memory {title!r} in {place.name} was changed since it was looked at; look at it again"
                )
            held = value["reason"] if value["status"] == "quarantined" else None
            return {**value, "approved": wanted, "reason": held}

        made = yield from place.change(title, approved)
        assert made is not None
        return entry_of(made, place.name)
