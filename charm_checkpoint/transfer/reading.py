"""Threads as they are read to be carried elsewhere: earliest commit first, a page at a time, nothing held open."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

from charm_checkpoint.contract import (
    Chunk,
    MessagesRow,
    Page,
    Query,
    StoredCheckpoint,
    ThreadState,
)
from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.saver.threads import state_of
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.hops import Hop, Moving
from charm_checkpoint.transfer.records import CheckpointRecord, Key, Lack, Mark, MessageRecord, Openers, mark_of
from charm_checkpoint.transfer.report import Place
from charm_checkpoint.transfer.walking import Walker

FIRST, MOST = 16, 128
"""Checkpoints in the first page, and in any: pages of large ones become shorter."""
HEAVY = 2 << 20
"""Bytes of records in a page from which on the next is shorter."""
APART = "charm_checkpoint:parts"
"""A namespace that holds chunks which were sent ahead of their checkpoint."""

DAMAGED = (StoreCorrupt, DataError)
"""What is raised where something stored cannot be read."""


class Changed(Exception):
    """A checkpoint is no longer what it was when it was looked at."""


class PageRef(NamedTuple):
    """How to read a page again, and what it held; ``page`` is that itself, where it is all and little."""

    after: Any
    size: int
    keys: Collection[Key]
    page: Page | None = None


class ThreadIndex(NamedTuple):
    """A thread's checkpoints in commit order, told from others; ``pages`` are latest first."""

    state: ThreadState
    marks: list[Mark]
    pages: list[PageRef]
    damaged: list[Place]

    @property
    def is_of_one_moment(self) -> bool:
        """Tell whether all of it was read at once, and is at hand."""
        return [ref.page is not None for ref in self.pages] == [True]


class Sink(Protocol):
    """Takes what is read of a thread's checkpoints."""

    def chunks(self, part: list[Chunk]) -> Moving[None]:
        """Take chunks ahead of the checkpoint that names them."""
        ...

    def checkpoint(self, record: CheckpointRecord, chunks: list[Chunk]) -> Moving[None]:
        """Take a checkpoint with the chunks it names that were not taken before."""
        ...


class Reader:
    """Reads the threads of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._openers = Openers(store)

    # ------------------------------------------------------------------------------------------------------ outlines

    def outline(self, thread: str, walker: Walker | None = None) -> Moving[ThreadIndex]:
        """Return a thread's checkpoints; with a walker all they reach is read and checked, too.

        ``state`` is that of when the first of it was read.
        """
        marks: list[Mark] = []
        pages: list[PageRef] = []
        damaged: list[Place] = []
        state = ThreadState()
        after, size = None, FIRST
        while True:
            page = yield from self._page(thread, after, size)
            if not marks and not damaged and page.items:
                state = page.items[0].state
            rows = [found.row for found in page.items if found.row is not None and found.row.ns != APART]
            is_all = after is None and page.next is None and _weight(page, chunks=True) < HEAVY
            pages.append(PageRef(after, size, [(row.ns, row.id) for row in rows], page if is_all else None))
            if walker is not None:
                yield from walker.prefetch([row.roots for row in rows], _given(page))
            for found in page.items:
                mark = yield from self._mark(found, damaged, walker)
                if mark is not None:
                    marks.append(mark)
            after, size = page.next, _following(size, page)
            if after is None:
                return ThreadIndex(state, marks[::-1], pages, damaged)

    def state(self, thread: str) -> Moving[ThreadState]:
        """Return what a thread's record counts: if it is the same, nothing of the thread has changed."""
        found: ThreadState = yield Hop(self.store, partial(state_of, self.store.backend, thread), thread)
        return found

    def _page(self, thread: str, after: Any, size: int) -> Moving[Page]:
        page: Page = yield Hop(self.store, partial(self.store.backend.page, Query(thread), after, size), thread)
        return page

    def _mark(self, found: StoredCheckpoint, damaged: list[Place], walker: Walker | None) -> Moving[Mark | None]:
        row = found.row
        if row is None or row.ns == APART:
            return None
        try:
            packed = self._openers.row(row)
            if walker is not None:
                walker.note((yield from walker.reach(row.roots)))
        except DAMAGED as error:
            damaged.append(_place(found, error))
            return None
        return mark_of(row, packed, self._writes(found, damaged))

    def _writes(self, found: StoredCheckpoint, damaged: list[Place]) -> list[bytes]:
        assert found.row is not None
        writes = []
        for body in found.writes:
            try:
                writes.append(self._openers.writes(found.row, body))
            except DAMAGED as error:
                damaged.append(_place(found, error, "what a task wrote to it: "))
        return writes

    # ----------------------------------------------------------------------------------------------------- checkpoints

    def give(
        self, thread: str, outline: ThreadIndex, lacks: Mapping[Key, Lack], walker: Walker, sink: Sink
    ) -> Moving[list[Place]]:
        """Give checkpoints to a sink, earliest first; return those that cannot be: they are damaged."""
        damaged: list[Place] = []
        for ref in reversed(outline.pages):
            wanted = [key for key in ref.keys if key in lacks]
            if not wanted:
                continue
            page = ref.page or (yield from self._page(thread, ref.after, ref.size))
            there = {(found.row.ns, found.row.id): found for found in page.items if found.row is not None}
            roots = [there[key].row.roots for key in wanted if key in there and lacks[key].whole]  # type: ignore[union-attr]
            yield from walker.prefetch(reversed(roots), _given(page))
            for key in reversed(wanted):
                found = there.get(key) or (yield from self._find(thread, *key))
                try:
                    yield from self._give(found, lacks[key], walker, sink)
                except DAMAGED as error:
                    damaged.append(_place(found, error))
        return damaged

    def _find(self, thread: str, ns: str, id: str) -> Moving[StoredCheckpoint]:
        """Return a checkpoint that is no longer on its page: others have come before it, or it is gone."""
        found: StoredCheckpoint = yield Hop(self.store, partial(self.store.backend.find, thread, ns, id), thread)
        if found.row is None:
            raise Changed
        return found

    def _give(self, found: StoredCheckpoint, lack: Lack, walker: Walker, sink: Sink) -> Moving[None]:
        row = found.row
        assert row is not None
        packed = self._openers.row(row)
        # What is damaged of them is told already, what came since it was looked at comes later.
        writes = self._writes(found, [])[: len(lack.mark.writes)]
        if mark_of(row, packed, writes) != lack.mark:
            raise Changed
        record = self._openers.record(row, packed, writes[lack.writes :], stored=not lack.whole)
        if not lack.whole:
            yield from sink.checkpoint(record, [])
            return
        reach = yield from walker.reach(row.roots)
        last = yield from walker.send(reach, sink.chunks)
        yield from sink.checkpoint(record, last)
        walker.note(reach)

    # -------------------------------------------------------------------------------------------------------- messages

    def messages(self, thread: str) -> Moving[MessageRecord]:
        """Return a thread's messages as they are stored; raises `StoreCorrupt`."""
        row: MessagesRow = yield Hop(self.store, partial(self.store.backend.messages, thread), thread)
        return self._openers.messages(thread, row)


def _given(page: Page) -> dict[bytes, Chunk]:
    given: dict[bytes, Chunk] = {}
    for found in page.items:
        if found.chunks:
            given.update(found.chunks)
    return given


def _following(size: int, page: Page) -> int:
    """Return how long the next page is to be, so that none is too heavy."""
    weight = _weight(page)
    return max(1, size // 4) if weight > HEAVY else min(MOST, size * 2) if weight < HEAVY // 4 else size


def _weight(page: Page, *, chunks: bool = False) -> int:
    weight = sum(len(found.row.body) + sum(map(len, found.writes)) for found in page.items if found.row is not None)
    return weight + sum(len(chunk.data) for chunk in _given(page).values()) if chunks else weight


def _place(found: StoredCheckpoint, error: Exception, what: str = "") -> Place:
    assert found.row is not None
    return Place(f"{what}{error}", found.row.thread, found.row.ns, found.row.id)
