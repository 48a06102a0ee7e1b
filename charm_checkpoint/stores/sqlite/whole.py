"""The plans of the SQLite store that do something with a thread as a whole: copy, delete, erase, pin."""

from __future__ import annotations

import logging
import time

from charm_checkpoint.contract import ThreadState, Usage, WriteResult
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES
from charm_checkpoint.stores.sqlite.removing import CLEAR_NOTES, SqliteRemoving
from charm_checkpoint.stores.sqlite.room import SqliteRoom, give_back
from charm_checkpoint.stores.sqlite.steps import KEYS, SPACES, TOUCH, Erased, Sql, mark_of

log = logging.getLogger("charm_checkpoint")

_COUNTERS = "SELECT key, deletes, sweeps, seq FROM thread WHERE identity = ?"
_WHOLE = """
    SELECT t.key, t.kind, t.deletes, t.sweeps, iif(t.kind = 0, t.seq, coalesce(m.revision, 0)) FROM thread t
    LEFT JOIN message_list m ON m.thread = t.key WHERE t.identity IN (?, ?)"""
_IN_USE = "SELECT 1 FROM thread WHERE identity IN (?, ?) AND name IS NOT NULL AND (pinned OR touched_at > ?)"
_KEEP = """
    INSERT OR REPLACE INTO erased (mark, tenant, until, deletes, sweeps, seq, list_sweeps, revision)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_UNPIN = "UPDATE thread SET pinned = 0 WHERE identity IN (?, ?) AND pinned"
_HIDE = "UPDATE thread SET identity = randomblob(16), name = NULL, pinned = 0 WHERE key = ?"
# New threads begin with more sweeps than those of which nothing is kept any more: see `Backend.erase_thread`.
_BEGIN_ABOVE = "UPDATE erasure SET sweeps = max(sweeps, ?)"
_DUE = "SELECT coalesce(max(max(sweeps, list_sweeps)), 0) FROM erased WHERE until <= ? AND tenant = ?"
_HOLDS = """
    EXISTS (SELECT 1 FROM space s WHERE s.thread = t.key AND (s.head IS NOT NULL
        OR EXISTS (SELECT 1 FROM write w WHERE w.space = s.key)))
    OR EXISTS (SELECT 1 FROM message_list m WHERE m.thread = t.key AND m.body IS NOT NULL)
    OR EXISTS (SELECT 1 FROM message_batch b WHERE b.thread = t.key)"""
# The space of thread ?2 that is to it what r.space is to thread ?1.
_COUNTERPART = """
    (SELECT theirs.key FROM space ours JOIN space theirs ON theirs.ns = ours.ns
    WHERE ours.key = r.space AND ours.thread = ?1 AND theirs.thread = ?2)"""


class SqliteWhole(SqliteRemoving, SqliteRoom):
    """Copying, deleting, erasing and pinning threads."""

    def _both(self, thread: str) -> tuple[bytes, bytes]:
        """Return the identities of a thread and of its message list."""
        return self._identity(thread, CHECKPOINTS), self._identity(thread, MESSAGES)

    # ---------------------------------------------------------------- deleting

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints; see `Backend.delete_thread`."""
        rows = yield Sql(_COUNTERS, (self._identity(thread, CHECKPOINTS),))
        yield Sql(_UNPIN, self._both(thread))
        if not rows:
            return (yield from self._erased(thread)).state
        key, *counters = rows[0]
        old = ThreadState(*counters)
        try:
            yield from self._empty(key)
        except StoreCorrupt as error:
            return (yield from self._abandon(thread, key, old, error))
        state = yield from self._swept(key, old, deletes=1)
        # The name may be personal data; the hash is enough to refuse late writes.
        yield Sql("UPDATE thread SET name = NULL WHERE key = ?", (key,))
        yield from self._count(key)
        yield from give_back()
        return state

    def _empty(self, key: int) -> Plan[None]:
        one = (key,)
        for table in ("checkpoint", "write"):
            yield Sql(f"DELETE FROM {table} WHERE space IN ({SPACES})", one)
        for table in ("space", "chunk"):
            yield Sql(f"DELETE FROM {table} WHERE thread = ?", one)
        yield Sql(CLEAR_NOTES, one)

    def _abandon(self, thread: str, key: int, old: ThreadState, error: StoreCorrupt) -> Plan[ThreadState]:
        """Leave what cannot be removed from a damaged file where nothing finds it, and begin the thread's row anew."""
        _tell_left(thread, "deleted", error)
        yield Sql(_HIDE, (key,))
        new, _ = yield from self._add_thread(thread, CHECKPOINTS)
        state = yield from self._swept(new, old, deletes=1)
        yield Sql("UPDATE thread SET name = NULL, counted = seq WHERE key = ?", (new,))
        return state

    # ---------------------------------------------------------------- erasing

    def erase_thread(self, thread: str, until: int, idle_since: int | None = None) -> Plan[Usage]:
        """Remove everything of a thread, its name too; see `Backend.erase_thread`.

        What it held is overwritten in the file, and the log is emptied as soon as nobody reads in it.
        """
        if idle_since is not None and (yield Sql(_IN_USE, (*self._both(thread), idle_since))):
            return Usage()
        yield Sql("PRAGMA secure_delete = ON")
        try:
            usage = yield from self._erase(thread, until)
        except StoreCorrupt as error:
            usage = yield from self._erase_damaged(thread, until, error)
        yield Sql("PRAGMA secure_delete = FAST")  # if this is never reached, deleting takes longer, and does no harm
        # Pages that were freed before hold what was on them: nothing of that stays in the file.
        yield from give_back(spare=0)
        yield Sql("PRAGMA wal_checkpoint(TRUNCATE)", outside=True)
        return usage

    def _erase(self, thread: str, until: int) -> Plan[Usage]:
        usage = yield from self.usage(thread)
        left = yield from self._left_of(thread)
        for key, *_ in (yield Sql(_WHOLE, self._both(thread))):
            yield from self._empty(key)
            for table in ("message_list", "message_batch"):
                yield Sql(f"DELETE FROM {table} WHERE thread = ?", (key,))
            yield Sql("DELETE FROM thread WHERE key = ?", (key,))
        yield from self._keep(thread, until, left)
        return usage

    def _erase_damaged(self, thread: str, until: int, error: StoreCorrupt) -> Plan[Usage]:
        """Leave what cannot be removed from a damaged file where nothing finds it."""
        _tell_left(thread, "erased", error)
        left = yield from self._left_of(thread)
        rows = yield Sql("SELECT key FROM thread WHERE identity IN (?, ?)", self._both(thread))
        yield Sql(_HIDE, rows, many=True)
        yield from self._keep(thread, until, left)
        return Usage(damaged=1)

    def _left_of(self, thread: str) -> Plan[Erased]:
        """Return the counters that a thread goes on from once it is erased."""
        old = yield from self._erased(thread)
        for _, kind, *counters in (yield Sql(_WHOLE, self._both(thread))):
            if kind == CHECKPOINTS:
                old = old._replace(state=ThreadState(*counters))
            else:
                old = old._replace(list_sweeps=counters[1], revision=counters[2])
        state = ThreadState(old.state.deletes + 1, old.state.sweeps + 1, old.state.seq + 1)
        return Erased(state, old.list_sweeps + 1, old.revision + 1)

    def _keep(self, thread: str, until: int, left: Erased) -> Plan[None]:
        """Keep the counters of an erased thread until a time, or nothing."""
        [[secret]] = yield Sql("SELECT secret FROM erasure")
        mark = mark_of(secret, self._identity(thread, CHECKPOINTS))
        if until > 0:
            yield Sql(_KEEP, (mark, self._tenant, until, *left.state, left.list_sweeps, left.revision))
            return
        yield Sql("DELETE FROM erased WHERE mark = ?", (mark,))
        yield Sql(_BEGIN_ABOVE, (max(left.state.sweeps, left.list_sweeps),))

    def forget_erased(self, now: int) -> Plan[int]:
        """Remove what is kept of erased threads; see `Backend.forget_erased`."""
        due = (now, self._tenant)
        [[sweeps]] = yield Sql(_DUE, due)
        if sweeps:
            yield Sql(_BEGIN_ABOVE, (sweeps,))
        gone = yield Sql("DELETE FROM erased WHERE until <= ? AND tenant = ? RETURNING 1", due)
        return len(gone)

    # ---------------------------------------------------------------- pinning

    def pin(self, thread: str, pinned: bool) -> Plan[bool]:
        """Note that a thread is to be kept, or no longer; see `Backend.pin`."""
        rows = yield Sql(f"SELECT 1 FROM thread t WHERE identity IN (?, ?) AND ({_HOLDS})", self._both(thread))
        if rows:
            yield Sql("UPDATE thread SET pinned = ? WHERE identity IN (?, ?)", (int(pinned), *self._both(thread)))
        return bool(rows)

    # ---------------------------------------------------------------- copying

    def copy_thread(self, source: str, target: str) -> Plan[WriteResult]:
        """Copy a thread; see `Backend.copy_thread`."""
        origin = yield from self._place(source, "")
        place = yield from self._place(target, "")
        if (yield Sql(f"{KEYS} LIMIT 1", (place.thread,))):
            return WriteResult("conflict", place.state)
        if not (yield Sql(f"{KEYS} LIMIT 1", (origin.thread,))):
            return WriteResult("stored", place.state)
        theirs, _, begun = yield from self._ensure_namespace(place, target, "")
        pair = (origin.thread, theirs)
        yield Sql(
            "INSERT OR IGNORE INTO chunk (thread, address, refs, data)"
            " SELECT ?2, address, refs, data FROM chunk WHERE thread = ?1",
            pair,
        )
        yield Sql("INSERT OR IGNORE INTO space (thread, ns) SELECT ?2, ns FROM space WHERE thread = ?1", pair)
        owner = self._identity(target, CHECKPOINTS)
        columns = "id, parent, run, conflict, tags, roots"
        yield Sql(
            f"INSERT INTO checkpoint (space, {columns}, body) SELECT {_COUNTERPART}, {columns}, marked(body, ?3)"
            f" FROM checkpoint r WHERE key IN ({KEYS}) ORDER BY key",
            (*pair, owner),
        )
        # The target may hold writes that came before their checkpoint: the copied ones are counted after them.
        yield Sql(
            f"INSERT INTO write (space, id, number, body) SELECT {_COUNTERPART}, id, number + ?4, marked(body, ?3)"
            f" FROM write r WHERE space IN ({SPACES})",
            (*pair, owner, place.state.seq),
        )
        yield from self._relink(theirs)
        yield Sql(
            "UPDATE thread SET (title, note, writes_note) = (SELECT title, note, writes_note FROM thread"
            " WHERE key = ?1) WHERE key = ?2",
            pair,
        )
        state = begun._replace(seq=begun.seq + origin.state.seq + 1)
        yield Sql(TOUCH, (state.seq, int(time.time()), theirs))
        yield from self._count(theirs)
        return WriteResult("stored", state)


def _tell_left(thread: str, how: str, error: StoreCorrupt) -> None:
    log.warning(
        "Thread %r is %s, but part of it stays in the file, out of reach: %s. Copy the other threads to a new file.",
        thread,
        how,
        error,
    )
