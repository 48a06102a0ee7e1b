"""Erasing: everything of a thread, of a namespace of items, or of a tenant, with what was made from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from charm_checkpoint.contract import Backend, ErasesUnnamed, ThreadPage, Usage
from charm_checkpoint.contract_items import EntriesReply, ItemBackend, ItemBatch, ItemChange
from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.items import clock
from charm_checkpoint.items.embedding.vector_cache import VECTORS
from charm_checkpoint.items.namespaces import INDEXES, ITEMS, path_of
from charm_checkpoint.items.store.kept_indexes import space_of
from charm_checkpoint.retention.reports import EraseReport
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import History

PAGE = 200
"""Threads that are listed, and items that are deleted, in one transaction."""

INDEX_NAME = len(space_of(b"", True))
"""Bytes before what an index is of, in its space."""
ALWAYS = 0
"""A time at which no item is expired yet."""

BACKUPS = (
    "What was copied elsewhere before is not erased by this: backups, replicas that lag, logs of the server, exports."
)
NOT_REMEMBERED = "Nothing is remembered of the names, so who still writes to such a thread brings it back."
LEFT = (
    "{} threads are there still: others wrote to them meanwhile, or they are damaged. See `charm-checkpoint check`, "
    "and erase once more."
)
MODELS_ANSWERS = (
    "Caches of models' answers do not tell what was in the question, and stay: clear them, or erase the whole tenant."
)

Forget = Callable[[str], object]


LATEST = 253_402_300_799
"""The last second that a datetime can tell."""


def erased_until(now: float, remember: float) -> int:
    """Return the second until which erased threads are remembered, 0 for not at all."""
    return int(min(now + remember, LATEST)) if remember else 0


class Erasure:
    """One erasure under way; ``forget`` is told of each thread that goes."""

    def __init__(
        self,
        backend: Backend,
        items: ItemBackend | None,
        history: History | Any,
        until: int,
        forget: Forget,
        *,
        dry_run: bool,
    ) -> None:
        self._backend = backend
        self._items = items
        self._history = history
        self._until = until
        self._forget = forget
        self.report = EraseReport(dry_run=dry_run, notes=(BACKUPS,))

    # -------------------------------------------------------------------------------------------------------- threads

    def thread(self, thread: str) -> Session[EraseReport]:
        """Erase a thread."""
        yield from self._one(thread)
        self._note_memory()
        return self.report

    def _one(self, thread: str) -> Session[None]:
        messages = yield from self._messages(thread)
        if self.report.dry_run:
            usage: Usage = yield Step(partial(self._backend.usage, thread), thread)
        else:
            usage = yield Step(partial(self._backend.erase_thread, thread, self._until), thread, write=True)
            self._forget(thread)
        self._add(usage, messages)

    def _messages(self, thread: str) -> Session[int]:
        count = getattr(self._history, "count", None)  # a store's own history may have none
        with suppress(StoreCorrupt, DataError):
            if count is None:
                return len((yield Step(partial(self._history.load, thread), thread)))
            counted: int = yield Step(partial(count, thread), thread)
            return counted
        return 0

    def _add(self, usage: Usage, messages: int) -> None:
        report = self.report
        self.report = replace(
            report,
            threads=report.threads + usage.threads,
            checkpoints=report.checkpoints + usage.checkpoints,
            writes=report.writes + usage.writes,
            chunks=report.chunks + usage.chunks,
            messages=report.messages + messages,
            bytes=report.bytes + usage.payload_bytes,
            damaged=report.damaged + usage.damaged,
        )

    def _note_memory(self) -> None:
        if self._until:
            self.report = replace(self.report, remembered_until=datetime.fromtimestamp(self._until, timezone.utc))
        else:
            self.report = replace(self.report, notes=(*self.report.notes, NOT_REMEMBERED))

    # --------------------------------------------------------------------------------------------------------- tenant

    def tenant(self) -> Session[EraseReport]:
        """Erase all threads and all items, of every kind, that the tenant has."""
        names, unnamed = yield from self._listed()
        for thread in names:
            yield from self._one(thread)
        yield from self._unnamed(unnamed)
        if self._items is not None:
            yield from self._erase_items(b"")
        if not self.report.dry_run:
            yield from self._note_left(names)
        self._note_memory()
        return self.report

    def _listed(self) -> Session[tuple[list[str], int]]:
        """Return the threads that are listed, and how many are without a name."""
        names: dict[str, None] = {}
        unnamed, after = 0, None
        while True:
            page: ThreadPage = yield Step(partial(self._backend.threads, after, PAGE))
            names.update({row.thread: None for row in page.items if row.thread is not None})
            unnamed += sum(row.thread is None for row in page.items)
            after = page.next
            if after is None:
                return list(names), unnamed

    def _unnamed(self, count: int) -> Session[None]:
        backend = self._backend
        if not count:
            return
        if self.report.dry_run:
            self._add(Usage(damaged=count), 0)
        elif isinstance(backend, ErasesUnnamed):
            self._add((yield Step(partial(backend.erase_unnamed, self._until), write=True)), 0)

    def _note_left(self, erased: list[str]) -> Session[None]:
        """Say what is there still: damaged so that it is not found by its name, or written to meanwhile."""
        names, unnamed = yield from self._listed()
        left = len(set(names).intersection(erased)) + unnamed
        if left:
            self.report = replace(self.report, notes=(*self.report.notes, LEFT.format(left)))

    # ---------------------------------------------------------------------------------------------------------- items

    def namespace(self, namespace: tuple[str, ...]) -> Session[EraseReport]:
        """Erase the items of a namespace and of those below it, and what was made from them."""
        path = path_of(namespace)
        yield from self._erase_items(path)
        if not self.report.dry_run:
            yield from self._erase_made(path)
        self.report = replace(self.report, notes=(*self.report.notes, MODELS_ANSWERS))
        return self.report

    def _erase_items(self, prefix: bytes) -> Session[None]:
        items = self._items
        assert items is not None
        usage = yield Step(partial(items.usage, prefix if prefix else ITEMS))
        if not self.report.dry_run:
            yield Step(partial(items.erase, prefix), write=True)
        self.report = replace(
            self.report, items=self.report.items + usage.items, bytes=self.report.bytes + usage.payload_bytes
        )

    def _erase_made(self, path: bytes) -> Session[None]:
        """Erase the indexes that tell of the items, and vectors of texts, which may be theirs."""
        items = self._items
        assert items is not None
        spaces: Sequence[bytes] = yield Step(partial(items.spaces, INDEXES, ALWAYS))
        for space in spaces:
            searched = space[INDEX_NAME:]
            if searched.startswith(path) or path.startswith(searched):
                yield from self._empty(items, space)
        yield Step(partial(items.erase, VECTORS), write=True)

    def _empty(self, items: ItemBackend, space: bytes) -> Session[None]:
        """Delete the items of one space, and none of those below it."""
        reply: EntriesReply = yield Step(partial(items.entries, space))
        keys = [entry.key for found in reply.spaces if found.space == space for entry in found.entries]
        for start in range(0, len(keys), PAGE):
            yield Step(partial(items.change, _deletion(space, keys[start : start + PAGE])), write=True)


def _deletion(space: bytes, keys: Sequence[bytes]) -> ItemBatch:
    return ItemBatch(clock.now(), changes=[ItemChange(space, key, None) for key in keys])
