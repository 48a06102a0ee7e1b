"""Threads as a listing shows them: what a thread's notes say, and the listing itself.

A note is what the saver puts on a thread's own record when it stores something, so that a listing
reads no value and needs no class of the program (see `Backend.threads`). One comes with each
checkpoint of the root graph, another with writes that say that a task waits or failed. Each names
its checkpoint, so the two may come in any order: the latter counts while its checkpoint is the head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias
from zlib import crc32

import ormsgpack

from charm_checkpoint.contract import Backend, ThreadPage, ThreadRow, ThreadState
from charm_checkpoint.plain import Plain
from charm_checkpoint.plan import Plan

Status: TypeAlias = Literal["done", "unfinished", "waits", "failed"]

COPYING = "charm_checkpoint:copy:"
"""How the names begin under which copies put threads together. One left by a killed copy goes when that is repeated."""
IMPORTING = "charm_checkpoint:import:"
"""How those of imports begin."""

PAGE = 200
"""Threads read at first: many a caller wants no more than those changed last."""
FURTHER = 16
"""How many times as many are read from then on: the SQL stores look at every thread to find the next page."""

_STATUS: tuple[Status, ...] = ("done", "unfinished", "waits", "failed")
DONE, UNFINISHED, WAITS, FAILED = range(4)
_NEVER = 253402300800
"""The second at which the year 9999 is over: the time of no change."""


_NO_ID = "charm_checkpoint:none"
"""The id of no checkpoint: asked for it, a store returns the thread's counters and no value."""


def state_of(backend: Backend, thread: str) -> Plan[ThreadState]:
    """Return what a thread's record counts: while that is the same, nothing of the thread has changed."""
    return ThreadState(*(yield from backend.find(thread, "", _NO_ID)).state)


def is_staging(thread: str | None) -> bool:
    """Tell whether a thread is one that a copy or an import puts together, which is no thread of anybody's yet."""
    return thread is not None and thread.startswith((COPYING, IMPORTING))


def removed_staging(backend: Backend, name: str) -> Plan[None]:
    """Remove what is under a name of threads that are put together, and, in stores that can, the name's own record.

    A thread that is deleted keeps its record for those who still write to it, and to these nobody does.
    """
    if getattr(backend, "erase_thread", None) is None:  # a store of another author's
        yield from backend.delete_thread(name)
    else:
        yield from backend.erase_thread(name, 0)


@dataclass(frozen=True, slots=True)
class ThreadInfo(Plain):
    """One thread in a listing.

    ``status`` tells of the last checkpoint of the root graph: ``waits`` for the answer to an
    interrupt, ``failed`` in a node, ``unfinished`` where nodes are still to run (a run is at it, was
    ended, or stopped at a breakpoint), ``done``. It is None, as ``title``, ``step`` and ``source`` are,
    where nothing was noted: before this was kept, or in a thread of messages only. ``title`` is how the
    first human message begins. ``updated_at`` is when it changed last, in UTC, a minute behind at most.

    ``damage`` says what is wrong with a thread that cannot be read; ``thread_id`` is None if that is
    not even its name.

    ``size`` is how many bytes of payload its checkpoints, writes and chunks hold, None where nobody has counted them.
    ``pinned``: it is kept whatever the retention says. ``cursor`` goes on behind it, with ``threads(after=cursor)``;
    None in a listing that has no order.
    """

    thread_id: str | None
    title: str | None = None
    status: Status | None = None
    updated_at: datetime | None = None
    checkpoints: int = 0
    has_messages: bool = False
    checkpoint_id: str | None = None
    step: int | None = None
    source: str | None = None
    damage: str | None = None
    size: int | None = None
    pinned: bool = False
    cursor: str | None = None


def mark(id: str) -> int:
    """Return what stands for a checkpoint in a note: its id may be long."""
    return crc32(id.encode("utf-8", "surrogatepass"))


def info(row: ThreadRow) -> ThreadInfo:
    """Return a thread as a user sees it."""
    status, step, source = _read(row)
    return ThreadInfo(
        row.thread,
        row.title.decode("utf-8", "replace") if type(row.title) is bytes else None,
        None if status is None else _STATUS[status],
        _time(row.touched_at),
        row.checkpoints,
        row.has_messages,
        row.head,
        step,
        source,
        row.damage,
        row.size,
        row.pinned,
    )


def _time(at: int) -> datetime | None:
    """Return the time of a second; None if nobody knows it, or it is damaged."""
    return datetime.fromtimestamp(at, timezone.utc) if 0 < at < _NEVER else None


def _read(row: ThreadRow) -> tuple[int | None, int | None, str | None]:
    """Return status, step and source: of notes that are not the head's, nothing."""
    status, step, source = (*_unpacked(row.note, row.head), None, None, None)[:3]
    for later in _unpacked(row.writes_note, row.head)[:1]:
        status = later
    return status, step, source


def _unpacked(note: bytes | None, head: str | None) -> Sequence[Any]:
    """Return what a note says of the head, none if it is another checkpoint's, or no note."""
    if note is None or head is None:
        return ()
    try:
        status, about, *rest = ormsgpack.unpackb(note)
    except (ValueError, TypeError):  # damaged: the thread is shown without
        return ()
    # A status that is not known is a newer version's, and so may the rest be.
    is_known = type(status) is int and 0 <= status < len(_STATUS)
    if not is_known or about != mark(head):
        return ()
    step, source = (*rest, None, None)[:2]
    return status, step if type(step) is int else None, source if type(source) is str else None


class ThreadListing:
    """A listing under way, a page at a time: nothing is held open between pages.

    Where threads that changed last come first, one that changes meanwhile moves to the front, where the
    listing is past. So after several pages it looks there again, for those that changed since it began. What a copy
    or an import is putting together is left out.
    """

    def __init__(self, backend: Backend, limit: int | None) -> None:
        self._backend = backend
        self._left = limit
        self._after: Any = None
        self._began: int | None = None
        self._seen: set[str] = set()
        self._again = False
        self.more = limit is None or limit > 0

    def next_page(self) -> Plan[ThreadPage]:
        """Return the plan of the next page."""
        size = PAGE if self._after is None else FURTHER * PAGE
        return self._backend.threads(self._after, size if self._left is None else min(size, self._left))

    def take(self, page: ThreadPage) -> Iterator[ThreadInfo]:
        """Return what is new in a page; ``more`` is False after the last."""
        return map(info, self.take_rows(page))

    def take_rows(self, page: ThreadPage) -> list[ThreadRow]:
        """Return what `take` does, as the store tells it."""
        several = self._after is not None
        if self._began is None and page.items:
            self._began = max([row.touched_at for row in page.items if row.touched_at < _NEVER], default=0)
        self._after = page.next
        items = page.items
        if self._again:
            items = [row for row in items if row.touched_at >= (self._began or 0)]
            if len(items) < len(page.items):
                self._after = None
        fresh = [row for row in items if self._is_fresh(row)][: self._left]
        if self._left is not None:
            self._left -= len(fresh)
        if self._after is None:
            self.more = several and not self._again
            self._again = True
        if self._left == 0:
            self.more = False
        return fresh

    def skip_rest(self) -> None:
        """Go on as if the page taken last was the last of the listing."""
        if self._after is not None:
            self._after = None
            self.more = not self._again and self._left != 0
            self._again = True

    def _is_fresh(self, row: ThreadRow) -> bool:
        if row.thread is None:
            return not self._again
        if row.thread in self._seen or is_staging(row.thread):
            return False
        self._seen.add(row.thread)
        return True
