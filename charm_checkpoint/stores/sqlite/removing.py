"""How checkpoints are removed from a SQLite file while others write to it.

What goes is found out before the transactions, each of which takes out some checkpoints, or some chunks, and holds if
the thread is still as it was but for what came meanwhile, which it looks at: nobody waits for long. Chunks that nothing
reaches any more do no harm, so a removal may be cut short anywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from charm_checkpoint.contract import ThreadState, Usage, WriteResult, added
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.shared.names import CHECKPOINTS, id_bytes, text_bytes
from charm_checkpoint.stores.sqlite.garbage import Garbage
from charm_checkpoint.stores.sqlite.lines import Cut, Lines, Taken
from charm_checkpoint.stores.sqlite.room import give_back
from charm_checkpoint.stores.sqlite.steps import PAUSE, SPACES, Sql, batches, seconds
from charm_checkpoint.stores.sqlite.threads import SqliteThreads

T = TypeVar("T")

ROWS, CHUNKS = 50, 150
"""Checkpoints, and chunks, that go in one transaction: a millisecond or two."""
BLOCK = 200
"""Rows that are worked on in Python before others have their turn: half a millisecond or so."""
ATTEMPTS = 100
"""How often it is looked anew at a thread of which others remove something, too."""

_STATE = "SELECT key, deletes, sweeps, seq FROM thread WHERE identity = ?"
_LINES = f"""
    SELECT key, space, id, (SELECT seq FROM thread WHERE key = ?1) FROM checkpoint WHERE space IN ({SPACES})
    ORDER BY key"""
_HEADS = "SELECT key, head FROM space WHERE thread = ?"
_COMMIT = "SELECT key, space, parent, previous FROM checkpoint WHERE key = ? AND space = ?"
_WRITES = "SELECT count(*), coalesce(sum(length(body)), 0) FROM write WHERE space = ? AND id IN ({marks})"
_DROP_ROWS = "DELETE FROM checkpoint WHERE key IN ({marks}) RETURNING length(body)"
_DROP_CHUNKS = "DELETE FROM chunk WHERE thread = ? AND address IN ({marks}) RETURNING length(data)"
_DROP_SPACE = "DELETE FROM write WHERE space = ? RETURNING length(body)"
_CUT = """
    UPDATE thread SET seq = seq + 1, sweeps = sweeps + 1, touched_at = ?2, size = size - ?3,
        checkpoints = checkpoints - ?4,
        head = (SELECT c.id FROM space s JOIN checkpoint c ON c.key = s.head WHERE s.thread = ?1 AND s.ns = x''),
        counted = iif(counted = seq, seq + 1, NULL)
    WHERE key = ?1"""
_SWEPT = """
    UPDATE thread SET seq = seq + ?2, sweeps = sweeps + ?2, touched_at = ?3, size = size - ?4,
        counted = iif(counted = seq, seq + ?2, NULL)
    WHERE key = ?1"""
_IS_COUNTED = "SELECT counted IS seq FROM thread WHERE key = ?"
_CHUNKS = "SELECT key, address, refs FROM chunk WHERE thread = ?"
_ROOTS = f"SELECT roots FROM checkpoint WHERE space IN ({SPACES})"
_REFS = "SELECT address, refs FROM chunk WHERE thread = ? AND address IN ({marks})"
CLEAR_NOTES = "UPDATE thread SET title = NULL, note = NULL, writes_note = NULL WHERE key = ?"


class _Found(NamedTuple):
    """A thread's key and state."""

    key: int
    state: ThreadState

    def is_same(self, key: int, state: ThreadState) -> bool:
        """Tell whether nothing was removed of it since, whatever was put."""
        return (key, state[:2]) == (self.key, self.state[:2])


class SqliteRemoving(SqliteThreads):
    """Removing checkpoints."""

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[WriteResult]:
        """Remove checkpoints; see `Backend.remove`."""
        went = Usage()
        for _ in range(ATTEMPTS):
            lines = yield from self._lines(thread, doomed)
            if lines is None:
                return WriteResult("stored", (yield from self._erased(thread)).state, removed=went)
            outcome, more = yield from self._cut_all(thread, lines, expect)
            went = added(went, more)
            if outcome == "changed":
                found = yield from self._found(thread)
                return WriteResult("changed", found.state if found else lines.state, removed=went)
            if outcome == "stored":
                state, more = yield from self._sweep_away(thread, lines)
                return WriteResult("stored", state, removed=added(went, more))
        raise StoreUnavailable(f"Others keep removing from thread {thread!r}, too; try again.")

    def _found(self, thread: str, *, outside: bool = False) -> Plan[_Found | None]:
        """Return a thread's key and state, as the first of a transaction, or outside of any."""
        rows = yield Sql(_STATE, (self._identity(thread, CHECKPOINTS),), outside=outside, soft=not outside)
        return _Found(rows[0][0], ThreadState(*rows[0][1:])) if rows else None

    def relink(self, thread: str) -> Plan[None]:
        """Make the last commit of each of a thread's namespaces its head, and link those before it."""
        found = yield from self._found(thread)
        if found is not None:
            yield from self._relink(found.key)
            yield from self._swept(found.key, found.state)
            yield from self._count(found.key)

    def recount(self, thread: str, seq: int) -> Plan[bool]:
        """Note on a thread's row how much it holds, if it is as of a commit number; tell whether it is."""
        found = yield from self._found(thread)
        if found is None or found.state.seq != seq:
            return False
        yield from self._count(found.key)
        return True

    # ------------------------------------------------------------------------------------------------- checkpoints

    def _lines(self, thread: str, doomed: Collection[tuple[str, str]]) -> Plan[Lines | None]:
        """Look at a thread's commits, outside of any transaction; None if it is not there."""
        found = yield from self._found(thread, outside=True)
        if found is None:
            return None
        lines = Lines(*found)
        spaces = dict((yield Sql("SELECT ns, key FROM space WHERE thread = ?", (found.key,), outside=True)))
        gone: set[tuple[int, bytes]] = set()
        for some in blocks(doomed):
            named = ((spaces.get(text_bytes(ns)), id) for ns, id in some)
            gone.update((space, id_bytes(id)) for space, id in named if space is not None)
            yield PAUSE
        taken: list[Taken] = []
        rows = yield Sql(_LINES, (found.key,), outside=True)
        if rows:
            lines.state = lines.state._replace(seq=rows[0][3])
        for block in blocks(rows):
            lines.add(block)
            taken += [Taken(space, id, key) for key, space, id, _ in block if (space, id) in gone]
            yield PAUSE
        loose = gone - {one[:2] for one in taken} if len(taken) < len(gone) else ()
        lines.doom([*taken, *(Taken(*one) for one in loose)], gone)
        return lines

    def _cut_all(self, thread: str, lines: Lines, expect: int | None) -> Plan[tuple[str, Usage]]:
        """Take out checkpoints, in transactions of some; ``again`` if the thread is another one meanwhile.

        Where a ``seq`` was expected, ``changed`` if it was another one when these were looked at, or if what came since
        follows a checkpoint that goes.
        """
        went, first = Usage(), True
        if expect not in (None, lines.state.seq):
            return "changed", went
        while first or lines.waiting:
            found = yield from self._found(thread)
            if found is None or not found.is_same(lines.thread, lines.state):
                return "again" if expect is None else "changed", went
            if found.state.seq != lines.state.seq and (yield from self._follows(lines)) and expect is not None:
                return "changed", went
            went = added(went, (yield from self._cut(lines, lines.take(ROWS))))
            deletes, sweeps, seq = found.state
            lines.state = ThreadState(deletes, sweeps + 1, seq + 1)
            first = False
            yield PAUSE
        return "stored", went

    def _follows(self, lines: Lines) -> Plan[bool]:
        """Take in what came meanwhile; tell whether any of it follows a checkpoint that goes.

        It is found from the heads on: a key may be given out anew, so that no key tells what is new.
        """
        new: list[Sequence[Any]] = []
        for space, key in (yield Sql(_HEADS, (lines.thread,))):
            while key is not None and not lines.knows(key):
                rows = yield Sql(_COMMIT, (key, space))
                new += rows
                key = rows[0][3] if rows else None
        lines.add(sorted(new, key=itemgetter(0)))
        return any(lines.is_doomed(space, parent) for _, space, parent, _ in new)

    def _cut(self, lines: Lines, taken: Sequence[Taken]) -> Plan[Usage]:
        """Take some checkpoints and their writes out, and namespaces that have none left, with their writes."""
        writes, size = yield from self._drop_writes(taken)
        rows = 0
        for batch in batches([one.key for one in taken if one.key is not None]):
            gone = yield Sql(_DROP_ROWS.format(marks=_marks(batch)), batch)
            rows += len(gone)
            size += sum(length for [length] in gone)
        cut = lines.cut(taken)
        yield Sql("UPDATE checkpoint SET previous = ? WHERE key = ?", [(b, k) for k, b in cut.links.items()], many=True)
        more = yield from self._set_heads(lines.thread, cut)
        went = Usage(0, rows, writes + more.writes, 0, size + more.payload_bytes)
        yield Sql(_CUT, (lines.thread, seconds(), went.payload_bytes, rows))
        return went

    def _drop_writes(self, taken: Sequence[Taken]) -> Plan[tuple[int, int]]:
        """Remove the writes of checkpoints; return how many those were, and their bytes."""
        by_space: dict[int, list[bytes]] = {}
        for one in taken:
            by_space.setdefault(one.space, []).append(one.id)
        writes, size = 0, 0
        for space, ids in by_space.items():
            for batch in batches(ids):
                [[number, length]] = yield Sql(_WRITES.format(marks=_marks(batch)), (space, *batch))
                writes, size = writes + number, size + length
        if writes:
            gone = [(one.space, one.id) for one in taken]
            yield Sql("DELETE FROM write WHERE space = ? AND id = ?", gone, many=True)
        return writes, size

    def _set_heads(self, thread: int, cut: Cut) -> Plan[Usage]:
        """Set heads; a namespace without one goes, with writes that came before their checkpoints."""
        went = Usage()
        for space, head in cut.heads.items():
            if head is not None:
                yield Sql("UPDATE space SET head = ? WHERE key = ?", (head, space))
                continue
            sizes = yield Sql(_DROP_SPACE, (space,))
            went = added(went, Usage(writes=len(sizes), payload_bytes=sum(size for [size] in sizes)))
            names = yield Sql("DELETE FROM space WHERE key = ? RETURNING ns", (space,))
            if names == [(b"",)]:
                yield Sql(CLEAR_NOTES, (thread,))
        return went

    # ------------------------------------------------------------------------------------------------------ chunks

    def _sweep_away(self, thread: str, lines: Lines) -> Plan[tuple[ThreadState, Usage]]:
        """Remove the chunks that nothing reaches, and give their room back; return the thread's state then."""
        went, key, state = Usage(), lines.thread, None
        for _ in range(ATTEMPTS):  # what is left then does no harm, and goes with the next removal
            found = yield from self._found(thread, outside=True)
            if found is None:
                return (yield from self._erased(thread)).state, went
            garbage = yield from self._garbage(found)
            state, more = yield from self._drop_all(thread, garbage, int(not lines.has_lost))
            went = added(went, more)
            if state is not None:
                break
        [[is_counted]] = (yield Sql(_IS_COUNTED, (key,), outside=True)) or [[True]]
        if not is_counted:
            yield from self._count(key, outside=True)
            yield PAUSE
        yield from give_back(soft=True)
        # What was removed is on the disk now; and the log is short again, so that no writer has to see to that.
        yield Sql("PRAGMA wal_checkpoint(PASSIVE)", outside=True)
        if state is None:
            found = yield from self._found(thread, outside=True)
            state = found.state if found else lines.state
        return state, went

    def _garbage(self, found: _Found) -> Plan[Garbage]:
        """Find out which chunks nothing reaches, outside of any transaction."""
        garbage = Garbage(found.key, found.state)
        roots = yield Sql(_ROOTS, (found.key,), outside=True)
        rows = yield Sql(_CHUNKS, (found.key,), outside=True)
        for some in blocks(rows):
            garbage.add(some)
            yield PAUSE
        garbage.begin(joined for [joined] in roots)
        while garbage.follow(BLOCK):
            yield PAUSE
        garbage.settle()
        yield PAUSE
        return garbage

    def _drop_all(self, thread: str, garbage: Garbage, swept: int) -> Plan[tuple[ThreadState | None, Usage]]:
        """Remove chunks in transactions of some; no state is returned if the thread is another one meanwhile.

        With the first of them the sweep is counted, if it was not with the checkpoints that went: who goes by what he
        knew before is told.
        """
        went = Usage()
        while True:
            found = yield from self._found(thread)
            if found is None or not found.is_same(garbage.thread, garbage.state):
                return None, went
            if found.state.seq != garbage.state.seq:
                yield from self._reach(garbage)
            sizes: list[int] = []
            for batch in batches(garbage.take(CHUNKS)):
                gone = yield Sql(_DROP_CHUNKS.format(marks=_marks(batch)), (garbage.thread, *batch))
                sizes += [size for [size] in gone]  # others may have removed some of them
            yield Sql(_SWEPT, (garbage.thread, swept, seconds(), sum(sizes)))
            went = added(went, Usage(chunks=len(sizes), payload_bytes=sum(sizes)))
            _, sweeps, seq = found.state
            garbage.state = found.state._replace(sweeps=sweeps + swept, seq=seq + swept)
            swept = 0
            yield PAUSE
            if not garbage.waiting:
                return garbage.state, went

    def _reach(self, garbage: Garbage) -> Plan[None]:
        """Take in what was put since: it may reach chunks that nothing reached."""
        rows = yield Sql(_ROOTS, (garbage.thread,))
        garbage.begin(joined for [joined] in rows)
        garbage.follow()
        while garbage.unknown:
            wanted = list(garbage.unknown)
            for batch in batches(wanted):
                garbage.learn((yield Sql(_REFS.format(marks=_marks(batch)), (garbage.thread, *batch))))
            garbage.unknown.difference_update(wanted)
            garbage.follow()


def blocks(rows: Iterable[T]) -> Iterator[list[T]]:
    """Yield some rows at a time."""
    left = iter(rows)
    while some := list(islice(left, BLOCK)):
        yield some


def _marks(batch: Sequence[object]) -> str:
    return ", ".join("?" * len(batch))
