"""One thread from one store to another.

One that the target has not is put together under another name, read back, compared, and then given its own name in one
piece: a copy that is killed leaves nothing that could be taken for the thread. Its messages come before that. One that
the target holds as it was earlier gets what it has since: each state in between was the source's, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from charm_checkpoint.contract import ThreadRow, ThreadState, WriteResult
from charm_checkpoint.errors import ThreadExists
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.following import ATTEMPTS, Moved, follow, keys
from charm_checkpoint.transfer.hops import Hop, Moving
from charm_checkpoint.transfer.messages import copy_messages
from charm_checkpoint.transfer.reading import DAMAGED, Reader, ThreadIndex
from charm_checkpoint.transfer.records import Key, Lack, Mark, lacking
from charm_checkpoint.transfer.report import Place, Tally
from charm_checkpoint.transfer.sinks import Counter, Nowhere, Told
from charm_checkpoint.transfer.staging import Staging
from charm_checkpoint.transfer.walking import Walker
from charm_checkpoint.transfer.writing import ThreadWriter

if TYPE_CHECKING:
    from charm_checkpoint.transfer.copying import Wanted


class Mismatch(Exception):
    """What was read back is not what was sent."""


class OneCopy:
    """A copy of one thread under way; ``tally`` counts it alone, ``tell`` is told how far it is."""

    def __init__(
        self,
        source: Store,
        target: Store,
        wanted: Wanted,
        row: ThreadRow,
        thread: str,
        staging: Staging,
        tally: Tally,
        tell: Callable[[str, int], None],
    ) -> None:
        self._source, self._target = source, target
        self._from, self._to = Reader(source), Reader(target)
        self._wanted = wanted
        self._row = row
        self._thread = thread
        self._staging = staging
        self._tally = tally
        self._tell = tell

    def copy(self, there: bool | None) -> Moving[bool]:
        """Copy it; tell whether anything of it was not there.

        ``there`` is False if the target has nothing of it, and None if it was not seen to have: should it have, that is
        raised as `ThreadExists` or `Disturbed`, and nothing is lost.
        """
        row, thread = self._row, self._thread
        changed = False
        if self._wanted.messages and row.has_messages:
            changed = yield from self._messages(there)
        if self._source.keeps_checkpoints and (row.checkpoints or row.head is not None):
            changed |= yield from self._checkpoints(there)
        pin = getattr(self._target.backend, "pin", None)  # a store that somebody wrote for an earlier version has none
        if row.pinned and pin is not None and not self._wanted.dry_run:
            yield Hop(self._target, partial(pin, thread, True), thread, write=True)
        return changed

    def _messages(self, there: bool | None) -> Moving[bool]:
        try:
            return (yield from copy_messages(self._from, self._to, self._thread, self._wanted, self._tally, there))
        except DAMAGED as error:
            self._tally.damaged.append(Place(f"its messages: {error}", self._thread))
            return False

    # -------------------------------------------------------------------------------------------------- checkpoints

    def _checkpoints(self, there: bool | None) -> Moving[bool]:
        outline = yield from self._from.outline(self._thread)
        held = (yield from self._to.outline(self._thread)).marks if there else []
        self._tally.damaged += outline.damaged
        if held:
            return (yield from self._add(outline, held))
        if not outline.marks:
            return False
        if self._wanted.dry_run:
            yield from self._look_through(outline, lacking([], outline.marks) or {})
        else:
            yield from self._make(outline)
        return True

    def _make(self, outline: ThreadIndex) -> Moving[None]:
        """Put a thread together under another name, and give it its own."""
        staging, told = self._staging, len(self._tally.damaged)
        for _ in range(ATTEMPTS):
            del self._tally.damaged[told:]
            writer, marks = yield from self._stage(outline, (yield from staging.empty()))
            if marks is not None:
                break
            outline = yield from self._from.outline(self._thread)  # it was pruned meanwhile, or deleted
        else:
            raise Moved()
        if not marks:
            return
        if self._wanted.verify:
            yield from self._verify(staging.name, marks, whole=True)
        yield from self._rename(marks)
        self._count(writer)
        yield from staging.clear()

    def _stage(self, outline: ThreadIndex, state: ThreadState) -> Moving[tuple[ThreadWriter, list[Mark] | None]]:
        """Put a thread together; return what is there then, None if that is no longer what is to be."""
        writer = ThreadWriter(self._target, self._staging.name, self._row, state, {}, staged=True)
        sink = Told(writer, partial(self._tell, self._thread))
        marks = yield from follow(self._from, self._thread, outline, sink, self._tally.damaged)
        yield from writer.finish()
        return writer, marks

    def _rename(self, marks: list[Mark]) -> Moving[None]:
        plan = partial(self._target.backend.copy_thread, self._staging.name, self._thread)
        reply: WriteResult = yield Hop(self._target, plan, self._thread, write=True)
        if reply.outcome == "conflict":
            raise _taken()
        yield from self._verify(self._thread, marks, whole=False)

    def _verify(self, name: str, marks: list[Mark], *, whole: bool) -> Moving[None]:
        """Read back what was put, and compare it; ``whole``: with every chunk. An agent may have gone on from it."""
        found = yield from self._to.outline(name, Walker(self._target, name) if whole else None)
        if found.damaged or lacking(marks, found.marks) is None:
            said = str(found.damaged[0]) if found.damaged else _first_difference(found.marks, marks)
            raise Mismatch(f"what was read back from the target is not what was sent: {said}")

    # --------------------------------------------------------------------------------- a thread that is there already

    def _add(self, outline: ThreadIndex, held: list[Mark]) -> Moving[bool]:
        """Add what a thread has got since it was copied; tell whether that is anything."""
        before = self._tally.checkpoints + self._tally.writes
        broken = yield from self._unreadable(outline, held)
        for _ in range(ATTEMPTS):
            marks = [mark for mark in outline.marks if mark.key not in broken]
            lacks = lacking(held, marks)
            if lacks is None:
                raise _taken()
            if lacks and self._wanted.dry_run:
                yield from self._look_through(outline, lacks)
                return True
            if lacks:
                broken |= yield from self._append(outline, lacks, held)
                held = [mark for mark in marks if mark.key not in broken]
            if outline.is_of_one_moment or (yield from self._from.state(self._thread)) == outline.state:
                if lacks and self._wanted.verify:
                    yield from self._verify_added(held, lacks)
                return self._tally.checkpoints + self._tally.writes > before
            outline = yield from self._from.outline(self._thread)
        raise Moved()

    def _unreadable(self, outline: ThreadIndex, held: list[Mark]) -> Moving[set[Key]]:
        """Return the source's checkpoints that the target has not because they cannot be read."""
        have = {mark.key for mark in held}
        last = max((at for at, mark in enumerate(outline.marks) if mark.key in have), default=0)
        absent = {mark.key: Lack(mark, True) for mark in outline.marks[:last] if mark.key not in have}
        if not absent:
            return set()
        damaged = yield from self._from.give(
            self._thread, outline, absent, Walker(self._source, self._thread), Nowhere()
        )
        self._tally.damaged += damaged
        return keys(damaged)

    def _append(self, outline: ThreadIndex, lacks: Mapping[Key, Lack], held: list[Mark]) -> Moving[set[Key]]:
        """Put what is lacking behind what is there; return what of it cannot be read."""
        state = yield from self._to.state(self._thread)
        heads = {mark.ns: mark.id for mark in held}
        writer = ThreadWriter(self._target, self._thread, self._row, state, heads, staged=False)
        sink = Told(writer, partial(self._tell, self._thread))
        damaged = yield from self._from.give(self._thread, outline, lacks, Walker(self._source, self._thread), sink)
        yield from writer.finish()
        self._count(writer)
        self._tally.damaged += damaged
        return keys(damaged)

    def _verify_added(self, marks: list[Mark], lacks: Mapping[Key, Lack]) -> Moving[None]:
        yield from self._verify(self._thread, marks, whole=False)
        found = yield from self._to.outline(self._thread)
        damaged = yield from self._to.give(self._thread, found, lacks, Walker(self._target, self._thread), Nowhere())
        if damaged:
            raise Mismatch(f"what was read back from the target is not what was sent: {damaged[0]}")

    def _look_through(self, outline: ThreadIndex, lacks: Mapping[Key, Lack]) -> Moving[None]:
        """Count what would be copied, reading all of it."""
        counter = Counter(self._tally)
        damaged = yield from self._from.give(self._thread, outline, lacks, Walker(self._source, self._thread), counter)
        self._tally.damaged += damaged

    # --------------------------------------------------------------------------------------------------------- telling

    def _count(self, writer: ThreadWriter) -> None:
        self._tally.checkpoints += writer.checkpoints
        self._tally.writes += writer.writes
        self._tally.chunks += writer.chunk_count
        self._tally.bytes += writer.size


def _taken() -> ThreadExists:
    return ThreadExists(
        "the target holds other checkpoints under its name than the source; delete it there first, or leave it out"
    )


def _first_difference(found: list[Mark], sent: list[Mark]) -> str:
    for mine, theirs in zip(found, sent, strict=False):
        if mine != theirs:
            return f"checkpoint {theirs.id} in namespace {theirs.ns!r} differs"
    return f"{len(found)} checkpoints, and not {len(sent)}"
