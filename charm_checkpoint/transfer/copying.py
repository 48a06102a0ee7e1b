"""A copy from one store to another, thread by thread.

A thread that the target has not is put together under another name, read back, compared, and then given its own name in
one piece: a copy that is killed leaves nothing that could be taken for the thread. Its messages come before that. One
that the target holds as it was earlier gets what it has since: each state in between was the source's, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

from charm_checkpoint.contract import ThreadRow, ThreadState, WriteResult, tenant_of
from charm_checkpoint.errors import ThreadExists
from charm_checkpoint.saver.threads import COPYING, is_staging
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.following import ATTEMPTS, Moved, follow, keys
from charm_checkpoint.transfer.hops import Hop, Moving, tidily
from charm_checkpoint.transfer.messages import copy_messages
from charm_checkpoint.transfer.reading import DAMAGED, Changed, Outline, Reader, Rows
from charm_checkpoint.transfer.records import Key, Lack, Mark, lacking
from charm_checkpoint.transfer.report import MoveProgress, Place, Tally
from charm_checkpoint.transfer.sinks import Counter, Nowhere, Told
from charm_checkpoint.transfer.walking import Walker
from charm_checkpoint.transfer.writing import Disturbed, ThreadWriter


@dataclass(frozen=True)
class Wanted:
    """What is to be copied, and how."""

    threads: Collection[str] | None = None
    messages: bool = True
    items: bool = True
    skip_existing: bool = False
    dry_run: bool = False
    verify: bool = True
    on_progress: Callable[[MoveProgress], None] | None = None


class _Mismatch(Exception):
    """What was read back is not what was sent."""


class ThreadCopy:
    """A copy of threads under way. ``blank`` says that the target is known to hold nothing yet, and is not asked."""

    def __init__(
        self, source: Store, target: Store, origin: str, wanted: Wanted, tally: Tally, *, blank: bool = False
    ) -> None:
        self._from = Reader(source)
        self._to = Reader(target)
        self._source, self._target = source, target
        self._wanted = wanted
        self._tally = tally
        self._blank = blank
        named = repr((origin, tenant_of(source.backend)))
        self._staging = COPYING + blake2b(named.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        self._done = 0
        self._cleared: ThreadState | None = None  # nothing is under the other name since
        self._is_used = False

    def read_from(self, source: Store) -> None:
        """Go on with the threads of another source."""
        self._source, self._from = source, Reader(source)

    def all(self) -> Moving[None]:
        """Copy all threads that are wanted."""
        yield from tidily(self._all(), self._target, self.give_up)

    def _all(self) -> Moving[None]:
        rows = Rows(self._source, self._wanted.threads)
        for part in rows.parts():
            for row in (yield from part):
                if not is_staging(row.thread):
                    yield from self.take(row)
        for name in rows.missing():
            self._tally.damaged.append(Place("the source has no such thread", name))
        if self._done:  # else nothing is in the target that was not there before, which may be no store yet
            yield from self.finish()

    def take(self, row: ThreadRow) -> Moving[None]:
        """Copy one thread, or say in the report why not."""
        if row.damage is not None or row.thread is None:
            self._tally.damaged.append(Place(row.damage or "it has no name", row.thread))
            return
        try:
            changed = yield from self._take(row, row.thread)
            self._tally.threads += changed
            self._tally.unchanged += not changed
        except ThreadExists as error:
            if self._wanted.skip_existing:
                self._tally.skipped.append(row.thread)
            else:
                self._tally.refused.append(Place(str(error), row.thread))
        except (Disturbed, Moved, Changed) as error:
            self._tally.moving.append(Place(str(error) or str(Moved()), row.thread))
        except (*DAMAGED, _Mismatch) as error:
            self._tally.damaged.append(Place(str(error), row.thread))
        self._done += 1
        self._tell(row.thread)

    def _take(self, row: ThreadRow, thread: str) -> Moving[bool]:
        changed = False
        if self._wanted.messages and row.has_messages:
            changed = yield from self._messages(thread)
        if self._source.keeps_checkpoints and (row.checkpoints or row.head is not None):
            changed |= yield from self._checkpoints(row, thread)
        pin = getattr(self._target.backend, "pin", None)  # a store that somebody wrote for an earlier version has none
        if row.pinned and pin is not None and not self._wanted.dry_run:
            yield Hop(self._target, partial(pin, thread, True), thread, write=True)
        return changed

    def _messages(self, thread: str) -> Moving[bool]:
        try:
            return (yield from copy_messages(self._from, self._to, thread, self._wanted, self._tally, self._blank))
        except DAMAGED as error:
            self._tally.damaged.append(Place(f"its messages: {error}", thread))
            return False

    # -------------------------------------------------------------------------------------------------- checkpoints

    def _checkpoints(self, row: ThreadRow, thread: str) -> Moving[bool]:
        outline = yield from self._from.outline(thread)
        held = [] if self._blank else (yield from self._to.outline(thread, counted=False)).marks
        self._tally.damaged += outline.damaged
        if held:
            return (yield from self._add(row, thread, outline, held))
        if not outline.marks:
            return False
        if self._wanted.dry_run:
            yield from self._look_through(thread, outline, lacking([], outline.marks) or {})
        else:
            yield from self._make(row, thread, outline)
        return True

    def _make(self, row: ThreadRow, thread: str, outline: Outline) -> Moving[None]:
        """Put a thread together under another name, and give it its own."""
        told = len(self._tally.damaged)
        for _ in range(ATTEMPTS):
            del self._tally.damaged[told:]
            writer, marks = yield from self._stage(row, thread, outline)
            if marks is not None:
                break
            outline = yield from self._from.outline(thread)  # it was pruned meanwhile, or deleted
        else:
            raise Moved()
        if not marks:
            return
        if self._wanted.verify:
            yield from self._verify(self._staging, marks, whole=True)
        yield from self._rename(thread, marks)
        self._count(writer)
        yield from self._clear()

    def _stage(self, row: ThreadRow, thread: str, outline: Outline) -> Moving[tuple[ThreadWriter, list[Mark] | None]]:
        """Put a thread together; return what is there then, None if that is no longer what is to be."""
        state, self._cleared = self._cleared or (yield from self._clear()), None
        writer = ThreadWriter(self._target, self._staging, row, state, {}, staged=True)
        sink = Told(writer, partial(self._tell, thread))
        marks = yield from follow(self._from, thread, outline, sink, self._tally.damaged)
        yield from writer.finish()
        return writer, marks

    def _rename(self, thread: str, marks: list[Mark]) -> Moving[None]:
        plan = partial(self._target.backend.copy_thread, self._staging, thread)
        reply: WriteResult = yield Hop(self._target, plan, thread, write=True)
        if reply.outcome == "conflict":
            raise _taken()
        yield from self._verify(thread, marks, whole=False)

    def _verify(self, name: str, marks: list[Mark], *, whole: bool) -> Moving[None]:
        """Read back what was put, and compare it; ``whole``: with every chunk. An agent may have gone on from it."""
        found = yield from self._to.outline(name, Walker(self._target, name) if whole else None, counted=False)
        if found.damaged or lacking(marks, found.marks) is None:
            said = str(found.damaged[0]) if found.damaged else _first_difference(found.marks, marks)
            raise _Mismatch(f"what was read back from the target is not what was sent: {said}")

    def _clear(self) -> Moving[ThreadState]:
        """Delete what is under the other name."""
        self._is_used = True
        plan = partial(self._target.backend.delete_thread, self._staging)
        state: ThreadState = yield Hop(self._target, plan, self._staging, write=True)
        self._cleared = state
        return state

    def finish(self) -> Moving[None]:
        """Leave no trace of the other name, in stores that can."""
        if self._wanted.dry_run:
            return
        erase = getattr(self._target.backend, "erase_thread", None)
        if erase is None:
            yield from self._clear()
        else:
            yield Hop(self._target, partial(erase, self._staging, 0), self._staging, write=True)

    def give_up(self) -> Moving[None]:
        """Do what `finish` does, if the other name was used at all."""
        if self._is_used:
            yield from self.finish()

    # --------------------------------------------------------------------------------- a thread that is there already

    def _add(self, row: ThreadRow, thread: str, outline: Outline, held: list[Mark]) -> Moving[bool]:
        """Add what a thread has got since it was copied; tell whether that is anything."""
        before = self._tally.checkpoints + self._tally.writes
        broken = yield from self._unreadable(thread, outline, held)
        for _ in range(ATTEMPTS):
            marks = [mark for mark in outline.marks if mark.key not in broken]
            lacks = lacking(held, marks)
            if lacks is None:
                raise _taken()
            if lacks and self._wanted.dry_run:
                yield from self._look_through(thread, outline, lacks)
                return True
            if lacks:
                broken |= yield from self._append(row, thread, outline, lacks, held)
                held = [mark for mark in marks if mark.key not in broken]
            if (yield from self._from.state(thread)) == outline.state:
                if lacks and self._wanted.verify:
                    yield from self._verify_added(thread, held, lacks)
                return self._tally.checkpoints + self._tally.writes > before
            outline = yield from self._from.outline(thread)
        raise Moved()

    def _unreadable(self, thread: str, outline: Outline, held: list[Mark]) -> Moving[set[Key]]:
        """Return the source's checkpoints that the target has not because they cannot be read."""
        have = {mark.key for mark in held}
        last = max((at for at, mark in enumerate(outline.marks) if mark.key in have), default=0)
        absent = {mark.key: Lack(mark, True) for mark in outline.marks[:last] if mark.key not in have}
        if not absent:
            return set()
        damaged = yield from self._from.give(thread, outline, absent, Walker(self._source, thread), Nowhere())
        self._tally.damaged += damaged
        return keys(damaged)

    def _append(
        self, row: ThreadRow, thread: str, outline: Outline, lacks: Mapping[Key, Lack], held: list[Mark]
    ) -> Moving[set[Key]]:
        """Put what is lacking behind what is there; return what of it cannot be read."""
        state = yield from self._to.state(thread)
        heads = {mark.ns: mark.id for mark in held}
        writer = ThreadWriter(self._target, thread, row, state, heads, staged=False)
        sink = Told(writer, partial(self._tell, thread))
        damaged = yield from self._from.give(thread, outline, lacks, Walker(self._source, thread), sink)
        yield from writer.finish()
        self._count(writer)
        self._tally.damaged += damaged
        return keys(damaged)

    def _verify_added(self, thread: str, marks: list[Mark], lacks: Mapping[Key, Lack]) -> Moving[None]:
        yield from self._verify(thread, marks, whole=False)
        found = yield from self._to.outline(thread, counted=False)
        damaged = yield from self._to.give(thread, found, lacks, Walker(self._target, thread), Nowhere())
        if damaged:
            raise _Mismatch(f"what was read back from the target is not what was sent: {damaged[0]}")

    def _look_through(self, thread: str, outline: Outline, lacks: Mapping[Key, Lack]) -> Moving[None]:
        """Count what would be copied, reading all of it."""
        counter = Counter(self._tally)
        damaged = yield from self._from.give(thread, outline, lacks, Walker(self._source, thread), counter)
        self._tally.damaged += damaged

    # --------------------------------------------------------------------------------------------------------- telling

    def _count(self, writer: ThreadWriter) -> None:
        self._tally.checkpoints += writer.checkpoints
        self._tally.writes += writer.writes
        self._tally.chunks += writer.chunk_count
        self._tally.bytes += writer.size

    def _tell(self, thread: str, checkpoints: int = 0) -> None:
        if self._wanted.on_progress is not None:
            total = None if self._wanted.threads is None else len(self._wanted.threads)
            self._wanted.on_progress(MoveProgress("threads", self._done, total, thread, checkpoints))


def _taken() -> ThreadExists:
    return ThreadExists(
        "the target holds other checkpoints under its name than the source; delete it there first, or leave it out"
    )


def _first_difference(found: list[Mark], sent: list[Mark]) -> str:
    for mine, theirs in zip(found, sent, strict=False):
        if mine != theirs:
            return f"checkpoint {theirs.id} in namespace {theirs.ns!r} differs"
    return f"{len(found)} checkpoints, and not {len(sent)}"
