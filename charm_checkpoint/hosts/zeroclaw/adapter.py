"""Durable memories under the names that ZeroClaw has for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from charm_checkpoint.errors import CharmError, MemoryRefused, StoreError
from charm_checkpoint.hosts.zeroclaw.context import conversation_memory_key, memory_context
from charm_checkpoint.hosts.zeroclaw.opening import SCOPE, ConfiguredMemory
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.noise import is_noise
from charm_checkpoint.long_term.prompt_block import DEFAULT_BUDGET, Budget
from charm_checkpoint.long_term.records import MANUAL, MemoryEntry, Moment, Value

log = logging.getLogger("charm_checkpoint")

CONTEXT_POOL: Final = 20
"""How many memories are looked at for a context, some of which are skipped."""


@dataclass(frozen=True, slots=True)
class ZeroClawEntry:
    """A memory as ZeroClaw tells of it; ``timestamp`` is when it was written first."""

    id: str
    key: str
    content: str
    category: str
    timestamp: datetime
    session_id: str | None = None
    importance: float | None = None
    score: float | None = None


class ZeroClawMemory:
    """ZeroClaw's ``Memory`` on durable memories, in one of their scopes; each method has an async twin.

    A key is a title, content the body of a fact. ``memories`` may be of any store; those of `long_term_from_toml`
    tell their backend, and whether messages are to be kept.
    """

    def __init__(self, memories: LongTermMemory, scope: str = SCOPE) -> None:
        self.memories = memories
        self._scope = memories.scope(scope)
        self._told = memories.config.memory if isinstance(memories, ConfiguredMemory) else None

    def name(self) -> str:
        """Return the backend's name."""
        return self._told.kind if self._told else self._scope.name

    @property
    def auto_saves(self) -> bool:
        """Tell whether `auto_save` keeps anything."""
        return self._told.auto_save if self._told else True

    # ------------------------------------------------------------------------------------------------------ writing

    def store(
        self,
        key: str,
        content: str,
        category: str = "core",
        session_id: str | None = None,
        *,
        importance: float | None = None,
    ) -> None:
        """Keep content under a key, in place of what was there."""
        steps.run(self._store(key, content, category, session_id, importance, MANUAL))

    async def astore(
        self,
        key: str,
        content: str,
        category: str = "core",
        session_id: str | None = None,
        *,
        importance: float | None = None,
    ) -> None:
        """Keep content under a key; see `store`."""
        await steps.arun(self._store(key, content, category, session_id, importance, MANUAL))

    def _store(
        self, key: str, content: str, category: str, session: str | None, importance: float | None, source: str
    ) -> Flow[None]:
        made: MemoryEntry = yield steps.call(
            self.memories,
            "remember",
            "fact",
            key,
            content,
            self._scope.name,
            citations=(),
            source=source,
            importance=importance,
            category=category,
            session=session,
        )
        if made.session is not None and session is None:  # that of what was there, which is to go as all of it is

            def free(value: Value | None) -> Value | None:
                return None if value is None else {**value, "session": None}

            yield from self._scope.change(key, free)

    def auto_save(
        self,
        channel: str,
        sender: str,
        message_id: str,
        content: str,
        *,
        thread: str | None = None,
        session_id: str | None = None,
    ) -> str | None:
        """Keep a message of a channel, if ``auto_save`` is set; return its key, None if it was not kept.

        No turn fails of it: what goes wrong is told in the log.
        """
        key = conversation_memory_key(channel, sender, message_id, thread)
        return steps.run(self._auto_save(key, content, session_id))

    async def aauto_save(
        self,
        channel: str,
        sender: str,
        message_id: str,
        content: str,
        *,
        thread: str | None = None,
        session_id: str | None = None,
    ) -> str | None:
        """Keep a message of a channel; see `auto_save`."""
        key = conversation_memory_key(channel, sender, message_id, thread)
        return await steps.arun(self._auto_save(key, content, session_id))

    def _auto_save(self, key: str, content: str, session: str | None) -> Flow[str | None]:
        if not self.auto_saves or is_noise(content):
            return None
        try:
            yield from self._store(key, content, "conversation", session, None, "auto")
        except (MemoryRefused, StoreError) as error:
            log.warning("the message %r was not kept: %s", key, error)
            return None
        return key

    def forget(self, key: str) -> bool:
        """Delete what is under a key; tell whether there was anything."""
        return self.memories.forget(key, self._scope.name) is not None

    async def aforget(self, key: str) -> bool:
        """Delete what is under a key; see `forget`."""
        return await self.memories.aforget(key, self._scope.name) is not None

    # ------------------------------------------------------------------------------------------------------ reading

    def recall(
        self,
        query: str,
        limit: int = 5,
        session_id: str | None = None,
        since: Moment = None,
        until: Moment = None,
    ) -> list[ZeroClawEntry]:
        """Return what says most about a query, the best first; without one, which may be ``*``, what is newest."""
        found = self.memories.recall(query, limit, None, self._scope.name, session_id, since, until)
        return list(map(entry_of, found))

    async def arecall(
        self,
        query: str,
        limit: int = 5,
        session_id: str | None = None,
        since: Moment = None,
        until: Moment = None,
    ) -> list[ZeroClawEntry]:
        """Return what says most about a query; see `recall`."""
        found = await self.memories.arecall(query, limit, None, self._scope.name, session_id, since, until)
        return list(map(entry_of, found))

    def get(self, key: str) -> ZeroClawEntry | None:
        """Return what is under a key."""
        found = self.memories.read(key, self._scope.name, count_use=False)
        return None if found is None else entry_of(found)

    async def aget(self, key: str) -> ZeroClawEntry | None:
        """Return what is under a key."""
        found = await self.memories.aread(key, self._scope.name, count_use=False)
        return None if found is None else entry_of(found)

    def list(self, category: str | None = None, session_id: str | None = None) -> list[ZeroClawEntry]:
        """Return all memories that are not archived, those changed last first."""
        found = self.memories.list(self._scope.name, category=category, session=session_id)
        return [entry_of(entry) for entry in found]

    async def alist(self, category: str | None = None, session_id: str | None = None) -> _Entries:
        """Return all memories that are not archived; see `list`."""
        found = await self.memories.alist(self._scope.name, category=category, session=session_id)
        return [entry_of(entry) for entry in found]

    def count(self) -> int:
        """Return how many memories there are, whatever their status."""
        return steps.run(self._count())

    async def acount(self) -> int:
        """Return how many memories there are; see `count`."""
        return await steps.arun(self._count())

    def _count(self) -> Flow[int]:
        # By which what was changed in files is read, and a snapshot that is to be put into a new store.
        yield steps.call(self.memories, "recall", None, 0, scopes=self._scope.name)
        count: int = yield steps.call(self._scope.store, "count", self._scope.notes)
        return count

    def health_check(self) -> bool:
        """Tell whether the store can be reached; it never raises for that."""
        return steps.run(self._is_well())

    async def ahealth_check(self) -> bool:
        """Tell whether the store can be reached; see `health_check`."""
        return await steps.arun(self._is_well())

    def _is_well(self) -> Flow[bool]:
        try:
            yield steps.call(self.memories, "read", "health check", self._scope.name, count_use=False)
        except CharmError as error:
            log.warning("the memories cannot be reached: %s", error)
            return False
        return True

    # ------------------------------------------------------------------------------------------------------ context

    def context(
        self,
        message: str,
        session_id: str | None = None,
        *,
        key: str | None = None,
        budget: Budget = DEFAULT_BUDGET,
    ) -> str:
        """Return what is to stand before a message: ``[Memory context]`` and a line for each memory; "" for nothing.

        With a session, it is of what belongs to that or to none; without, of all. ``key`` is what the message itself
        was kept under; it does not come back as a memory of itself. What is used is noted. No turn fails of it.
        """
        return self.memories._run(self._context(message, session_id, key, budget))

    async def acontext(
        self,
        message: str,
        session_id: str | None = None,
        *,
        key: str | None = None,
        budget: Budget = DEFAULT_BUDGET,
    ) -> str:
        """Return what is to stand before a message; see `context`."""
        return await self.memories._arun(self._context(message, session_id, key, budget))

    def _context(self, message: str, session: str | None, key: str | None, budget: Budget) -> Flow[str]:
        if not message.strip():
            return ""
        asked: dict[str, Any] = {"status": {"$in": ["active"]}}
        if session is not None:
            asked["session"] = {"$in": [session, None]}
        pool, scope = max(CONTEXT_POOL, budget.entries), self._scope.name
        try:
            found = yield from self.memories._recall(message, pool, scope, asked, None, False, False, False)
            block, shown = memory_context(found, message, key, budget)
            yield from self.memories._noted([entry for entry in shown if entry.scope == scope])
        except StoreError as error:
            log.warning("nothing was recalled for a message: %s", error)
            return ""
        return block


def entry_of(entry: MemoryEntry) -> ZeroClawEntry:
    """Return a memory as ZeroClaw tells of it."""
    return ZeroClawEntry(
        id=f"{entry.scope}:{entry.title}",
        key=entry.title,
        content=entry.body,
        category=entry.category or "core",
        timestamp=entry.created,
        session_id=entry.session,
        importance=entry.importance,
        score=entry.score,
    )


_Entries = list[ZeroClawEntry]
