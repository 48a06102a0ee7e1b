"""Durable memories with the command beside them: what it knows comes after what is known here."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from charm_checkpoint.errors import CharmError
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term.lucid.bridge import LucidBridge
from charm_checkpoint.long_term.lucid.outbox import Outbox
from charm_checkpoint.long_term.lucid.output import LucidLine
from charm_checkpoint.long_term.lucid.settings import LucidSettings
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.records import MemoryEntry, Value, entry_of, needs_review, new_value
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.suspicion import suspicions

log = logging.getLogger("charm_checkpoint")

SOURCE: Final = "lucid"
"""The source, and the scope, of what the command has told."""

_ANSWERABLE: Final = frozenset({"status", "kind", "category"})
"""What may narrow a recall down for which the command is asked: it tells neither sessions nor times."""


class LucidMemory(LongTermMemory):
    """Durable memories that the external command ``lucid`` is told of, and asked where they know too little.

    The memories here are whole without it, and are what `read`, `list` and `forget` are about; the command is not told
    that one was forgotten, as it has no word for that. ``bridge`` None leaves it out.
    """

    bridge: LucidBridge | None = None

    def connect(self, settings: LucidSettings, folder: Path | None = None, outbox_scope: str = "project") -> None:
        """Have the command asked and told, as of a folder; what it is to be told waits beside a scope's memories."""
        scope = self.scope(outbox_scope)
        lease = max(settings.lease, 2 * settings.store_timeout)  # none ends while the command is being told
        outbox = Outbox(scope.store, scope.side("lucid"), settings.outbox_entries, lease)
        self.bridge = LucidBridge(settings, self.project.root or folder or Path.cwd(), outbox, self._to_be_told)

    def close(self) -> None:
        """Let the command be told what it is being told, and release what was opened."""
        if self.bridge is not None:
            self.bridge.wait(self.bridge.settings.store_timeout + 1)
        super().close()

    async def aclose(self) -> None:
        """Let the command be told what it is being told; see `close`."""
        if self.bridge is not None:
            await asyncio.to_thread(self.bridge.wait, self.bridge.settings.store_timeout + 1)
        await super().aclose()

    def _to_be_told(self, scope: str, title: str) -> Flow[Value | None]:
        value = yield from self.scope(scope).get(title)
        return None if value is None or value["status"] != "active" or needs_review(value) else value

    def _remember(self, scope: Scope, new: dict[str, Any]) -> Flow[MemoryEntry]:
        bridge = self.bridge
        if bridge is None:
            return (yield from super()._remember(scope, new))
        entry = yield from bridge.announce(scope.name, new["title"])
        try:
            made = yield from super()._remember(scope, new)
        except CharmError:
            yield from bridge.outbox.remove(entry)
            raise
        if made.needs_review:  # nobody has looked at it yet, and so it stays here
            yield from bridge.outbox.remove(entry)
        else:
            yield from bridge.confirm(entry)
        return made

    def _approve(self, title: str, scope: str | None, digest: str | None) -> Flow[MemoryEntry]:
        made = yield from super()._approve(title, scope, digest)
        if self.bridge is not None:
            yield from self.bridge.confirm((yield from self.bridge.announce(made.scope, title)))
        return made

    def _recall(
        self, query: str | None, limit: int | None, scopes: Any, asked: dict[str, Any], min_score: Any, *options: Any
    ) -> Flow[list[MemoryEntry]]:
        found = yield from super()._recall(query, limit, scopes, asked, min_score, *options)
        bridge = self.bridge
        if bridge is None or limit is None or query is None or not _can_answer(asked):
            return found
        if query.strip() in ("", "*"):
            return found
        lines = yield from bridge.recall(query, [(entry.title, entry.body) for entry in found], limit)
        least = self.settings.min_score if min_score is None else min_score
        told = [_entry(line) for line in lines if line.score >= least and self._may_be_told(line)]
        return found + list(filter(partial(_fits, asked), told))

    def _may_be_told(self, line: LucidLine) -> bool:
        """Tell whether a line does not look like an attack, for there is nowhere to hold it for review."""
        reasons: Sequence[str] = ()
        if self.settings.on_suspicious != "store":
            reasons = suspicions("", line.text, ())
        if reasons:
            log.warning("lucid: a line was left out, which looks like an attack: %s", "; ".join(reasons))
        return not reasons


def _entry(line: LucidLine) -> MemoryEntry:
    """Return a line as a memory; its title is of its text, so it is the same each time."""
    title = f"lucid:{hashlib.sha256(line.text.encode('utf-8', 'replace')).hexdigest()[:12]}"
    value = {**new_value(title, "fact", line.text, SOURCE, clock.now()), "category": line.category or None}
    return entry_of(value, SOURCE, score=min(line.score, 0.99))


def _can_answer(asked: dict[str, Any]) -> bool:
    sessions = asked.get("session", {})
    of_any = None in sessions.get("$in", ())  # what belongs to none is wanted too, as all that the command tells does
    return asked.keys() - ({"session"} if of_any else set()) <= _ANSWERABLE


def _fits(asked: dict[str, Any], entry: MemoryEntry) -> bool:
    kinds = asked.get("kind", {}).get("$in")
    category = asked.get("category", {}).get("$eq")
    return (kinds is None or entry.kind in kinds) and category in (None, entry.category)
