"""The plans of the SQLite store. Those that read are in reads.py, what all are made of in steps.py."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence

from charm_checkpoint.contract import (
    Capabilities,
    MessagesRow,
    NewCheckpoint,
    NewMessages,
    NewWrites,
    ThreadState,
    Waiting,
    WriteResult,
)
from charm_checkpoint.errors import SchemaMismatch, StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.shared.migrations import Migration, pending
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES, checkpoint_keys, id_bytes, id_text, text_bytes
from charm_checkpoint.stores.shared.write_rule import decide, decide_messages, is_conflict
from charm_checkpoint.stores.sqlite.schema import APPLICATION_ID, MIGRATIONS
from charm_checkpoint.stores.sqlite.steps import KEYS, SPACES, TOUCH, Sql, give_back, is_long_ago
from charm_checkpoint.stores.sqlite.threads import SqliteThreads

log = logging.getLogger("charm_checkpoint")

_INSERT = """
    INSERT INTO checkpoint (space, id, previous, conflict, parent, run, tags, roots, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_MOVE_HEAD = "UPDATE space SET head = last_insert_rowid() WHERE key = ?"
_TOUCH = """
    UPDATE thread SET seq = ?, touched_at = ?, title = coalesce(title, ?), note = coalesce(?, note) WHERE key = ?"""
_TOUCH_WRITES = "UPDATE thread SET seq = ?, touched_at = ?, writes_note = coalesce(?, writes_note) WHERE key = ?"
_COUNTERS = "SELECT key, deletes, sweeps, seq FROM thread WHERE identity = ?"
_CLEAR_NOTES = "UPDATE thread SET title = NULL, note = NULL, writes_note = NULL WHERE key = ?"
_REPLACE = "UPDATE checkpoint SET parent = ?, run = ?, tags = ?, roots = ?, body = ? WHERE key = ?"
_ADD_WRITES = "INSERT INTO write (space, id, number, body) VALUES (?, ?, ?, ?)"
_MESSAGES = """
    SELECT t.deletes, t.sweeps, coalesce(m.revision, 0), m.body, coalesce(m.roots, x''), b.body FROM thread t
    LEFT JOIN message_list m ON m.thread = t.key LEFT JOIN message_batch b ON b.thread = t.key
    WHERE t.identity = ? ORDER BY b.number"""
_LIST = """
    SELECT t.deletes, t.sweeps, coalesce(m.revision, 0), t.key FROM thread t
    LEFT JOIN message_list m ON m.thread = t.key WHERE t.identity = ?"""
_WAITING = """
    SELECT t.key, t.name, t.touched_at, coalesce(max(b.number), 0), count(b.number), coalesce(sum(length(b.body)), 0)
    FROM thread t LEFT JOIN message_batch b ON b.thread = t.key WHERE t.identity = ? GROUP BY t.key"""
# So many of a list's batches, the oldest; a negative number is all.
_TAKE = """
    DELETE FROM message_batch WHERE thread = ?1 AND number IN
    (SELECT number FROM message_batch WHERE thread = ?1 ORDER BY number LIMIT ?2)"""
# The space of thread ?2 that is to it what r.space is to thread ?1.
_COUNTERPART = """
    (SELECT theirs.key FROM space ours JOIN space theirs ON theirs.ns = ours.ns
    WHERE ours.key = r.space AND ours.thread = ?1 AND theirs.thread = ?2)"""


class SqliteBackend(SqliteThreads):
    """The backend, for one tenant."""

    def __init__(self, tenant: str, capabilities: Capabilities) -> None:
        super().__init__(tenant)
        self.capabilities = capabilities

    # ------------------------------------------------------------------- setup

    def is_current(self) -> Plan[bool]:
        """Tell whether the schema is up to date; see `Backend.is_current`."""
        return not (yield from self._pending())

    def _pending(self) -> Plan[Sequence[Migration]]:
        [[version]] = yield Sql("PRAGMA user_version")
        [[owner]] = yield Sql("PRAGMA application_id")
        tables = yield Sql("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        if tables and owner != APPLICATION_ID:
            names = ", ".join(sorted(str(name) for [name] in tables)[:5])
            raise SchemaMismatch(
                f"The file is another program's: it has the tables {names}. Give charm_checkpoint a file of its own."
            )
        return pending(MIGRATIONS, int(version))

    def setup(self) -> Plan[None]:
        """Create or migrate the schema; see `Backend.setup`."""
        waiting = yield from self._pending()
        for migration in waiting:
            for statement in migration.statements:
                yield Sql(statement)
            yield Sql("INSERT INTO migration (version, name) VALUES (?, ?)", (migration.version, migration.name))
        if waiting:
            yield Sql(f"PRAGMA user_version = {waiting[-1].version:d}")
            yield Sql(f"PRAGMA application_id = {APPLICATION_ID:d}")

    # ------------------------------------------------------------- checkpoints

    def put(self, new: NewCheckpoint) -> Plan[WriteResult]:
        """Commit a checkpoint; see `Backend.put`."""
        id, parent = id_bytes(new.id), id_bytes(new.parent)
        place = yield from self._place(new.thread, new.ns, id)
        thread, old, space, previous, head_id, stored = place
        head = new.parent if head_id == parent else id_text(head_id)
        ids = yield from self._stored_ids(place, new.id, new.parent, new.seen_deletes)
        outcome = decide(new, old, head, ids)
        if outcome != "stored":
            return WriteResult(outcome, old, head, outcome == "conflict")
        conflict = is_conflict(new, head, ids)
        if previous is None:
            thread, space = yield from self._ensure_namespace(place, new.thread, new.ns)
        if new.chunks:
            yield from self._add_chunks(thread, new.chunks)
        state = ThreadState(old.deletes, old.sweeps, old.seq + 1)
        columns = (parent, text_bytes(new.run), new.tags, new.roots, new.body)
        if stored is not None:
            yield Sql(_REPLACE, (*columns, stored))
        else:
            yield Sql(_INSERT, (space, id, previous, head_id if conflict else None, *columns))
            yield Sql(_MOVE_HEAD, (space,))
        yield Sql(_TOUCH, (state.seq, int(time.time()), new.title, new.note, thread))
        return WriteResult("stored", state, head, conflict)

    def put_writes(self, new: NewWrites) -> Plan[WriteResult]:
        """Append pending writes; see `Backend.put_writes`."""
        id = id_bytes(new.id)
        place = yield from self._place(new.thread, new.ns, id)
        thread, old, space, previous, head_id, _ = place
        head = new.id if head_id == id else id_text(head_id)
        ids = yield from self._stored_ids(place, new.id, new.id, new.seen_deletes)
        outcome = decide(new, old, head, ids)
        if outcome != "stored":
            return WriteResult(outcome, old, head)
        if previous is None:
            thread, space = yield from self._ensure_namespace(place, new.thread, new.ns)
        state = ThreadState(old.deletes, old.sweeps, old.seq + 1)
        yield Sql(_ADD_WRITES, (space, id, state.seq, new.body))
        yield Sql(_TOUCH_WRITES, (state.seq, int(time.time()), new.note, thread))
        return WriteResult("stored", state, head)

    # ---------------------------------------------------------------- removing

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[WriteResult]:
        """Remove checkpoints; see `Backend.remove`."""
        place = yield from self._place(thread, "")
        if place.thread is None:
            return WriteResult("stored", place.state)
        if expect is not None and expect != place.state.seq:
            return WriteResult("changed", place.state)
        spaces = dict((yield Sql("SELECT ns, key FROM space WHERE thread = ?", (place.thread,))))
        gone = [(spaces[ns], id_bytes(id)) for ns, id in ((text_bytes(ns), id) for ns, id in doomed) if ns in spaces]
        for table in ("checkpoint", "write"):
            yield Sql(f"DELETE FROM {table} WHERE space = ? AND id = ?", gone, many=True)
        yield from self._relink(place.thread)
        yield from self._drop_emptied(place.thread, {space for space, _ in gone})
        roots = yield Sql(f"SELECT roots FROM checkpoint WHERE key IN ({KEYS})", (place.thread,))
        yield from self._sweep(place.thread, [joined for [joined] in roots])
        state = yield from self._swept(place.thread, place.state)
        yield from give_back()
        return WriteResult("stored", state)

    def _drop_emptied(self, thread: int, spaces: Collection[int]) -> Plan[None]:
        """Drop those of these spaces that have no checkpoint left; with that of the root the thread's notes go."""
        headless = yield Sql("SELECT key, ns FROM space WHERE thread = ? AND head IS NULL", (thread,))
        emptied = [(key, ns) for key, ns in headless if key in spaces]
        for key, ns in emptied:
            yield Sql("DELETE FROM write WHERE space = ?", (key,))
            yield Sql("DELETE FROM space WHERE key = ?", (key,))
            if not ns:
                yield Sql(_CLEAR_NOTES, (thread,))

    def runs(self, run_ids: Collection[str]) -> Plan[Sequence[tuple[str, str, str]]]:
        """Return the checkpoints of runs; see `Backend.runs`."""
        found: list[tuple[str, str, str]] = []
        for run_id in run_ids:
            rows = yield Sql(
                "SELECT t.name, s.ns, c.id FROM checkpoint c JOIN space s ON s.key = c.space"
                " JOIN thread t ON t.key = s.thread WHERE c.run = ? AND t.tenant = ?",
                (text_bytes(run_id), self._tenant),
            )
            found += checkpoint_keys(rows)
        return found

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints; see `Backend.delete_thread`."""
        rows = yield Sql(_COUNTERS, (self._identity(thread, CHECKPOINTS),))
        if not rows:
            return ThreadState()
        key, *counters = rows[0]
        old = ThreadState(*counters)
        try:
            yield from self._empty(key)
        except StoreCorrupt as error:
            return (yield from self._abandon(thread, key, old, error))
        state = yield from self._swept(key, old, deletes=1)
        # The name may be personal data; the hash is enough to refuse late writes.
        yield Sql("UPDATE thread SET name = NULL WHERE key = ?", (key,))
        yield from give_back()
        return state

    def _empty(self, key: int) -> Plan[None]:
        one = (key,)
        for table in ("checkpoint", "write"):
            yield Sql(f"DELETE FROM {table} WHERE space IN ({SPACES})", one)
        for table in ("space", "chunk"):
            yield Sql(f"DELETE FROM {table} WHERE thread = ?", one)
        yield Sql(_CLEAR_NOTES, one)

    def _abandon(self, thread: str, key: int, old: ThreadState, error: StoreCorrupt) -> Plan[ThreadState]:
        """Leave what cannot be removed from a damaged file where nothing finds it, and begin the thread's row anew."""
        log.warning(
            "Thread %r is deleted, but part of it stays in the file, out of reach: %s. Copy the other threads to a new "
            "file.",
            thread,
            error,
        )
        yield Sql("UPDATE thread SET identity = randomblob(16), name = NULL WHERE key = ?", (key,))
        new = yield from self._add_thread(thread, CHECKPOINTS)
        state = yield from self._swept(new, old, deletes=1)
        yield Sql("UPDATE thread SET name = NULL WHERE key = ?", (new,))
        return state

    def copy_thread(self, source: str, target: str) -> Plan[WriteResult]:
        """Copy a thread; see `Backend.copy_thread`."""
        origin = yield from self._place(source, "")
        place = yield from self._place(target, "")
        if (yield Sql(f"{KEYS} LIMIT 1", (place.thread,))):
            return WriteResult("conflict", place.state)
        if not (yield Sql(f"{KEYS} LIMIT 1", (origin.thread,))):
            return WriteResult("stored", place.state)
        theirs, _ = yield from self._ensure_namespace(place, target, "")
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
        state = place.state._replace(seq=place.state.seq + origin.state.seq + 1)
        yield Sql(TOUCH, (state.seq, int(time.time()), theirs))
        return WriteResult("stored", state)

    # ---------------------------------------------------------------- messages

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return a message list; see `Backend.messages`."""
        rows = yield Sql(_MESSAGES, (self._identity(thread, MESSAGES),), alone=True)
        if not rows:
            return MessagesRow(ThreadState())
        deletes, sweeps, revision, body, roots, _ = rows[0]
        batches = [row[5] for row in rows if row[5] is not None]
        return MessagesRow(ThreadState(deletes, sweeps, revision), body, roots, revision, batches=batches)

    def put_messages(self, new: NewMessages) -> Plan[WriteResult]:
        """Replace a message list; see `Backend.put_messages`."""
        current, thread = yield from self._list(new.thread)
        outcome = decide_messages(new, current.state, current.revision)
        if outcome != "stored":
            return WriteResult(outcome, current.state)
        if thread is None:
            thread = yield from self._add_thread(new.thread, MESSAGES)
        yield from self._add_chunks(thread, new.chunks)
        taken = -1 if new.taken is None or new.body is None else new.taken
        yield Sql(_TAKE, (thread, taken))
        state = current.state._replace(seq=current.state.seq + 1)
        yield Sql(
            "INSERT INTO message_list (thread, revision, roots, body) VALUES (?, ?, ?, ?) ON CONFLICT (thread)"
            " DO UPDATE SET revision = excluded.revision, roots = excluded.roots, body = excluded.body",
            (thread, state.seq, new.roots, new.body),
        )
        if new.sweep or new.body is None:
            yield from self._sweep(thread, [new.roots])
            yield from give_back()
            state = state._replace(sweeps=state.sweeps + 1)
        name = None if new.body is None else text_bytes(new.thread)
        yield Sql(
            "UPDATE thread SET name = ?1, sweeps = ?2 WHERE key = ?3 AND (name IS NOT ?1 OR sweeps <> ?2)",
            (name, state.sweeps, thread),
        )
        yield from self._note_time(thread)
        return WriteResult("stored", state)

    def _list(self, thread: str) -> Plan[tuple[MessagesRow, int | None]]:
        """Return a message list's state and its thread's key."""
        rows = yield Sql(_LIST, (self._identity(thread, MESSAGES),))
        if not rows:
            return MessagesRow(ThreadState()), None
        deletes, sweeps, revision, key = rows[0]
        return MessagesRow(ThreadState(deletes, sweeps, revision), revision=revision), key

    def append_messages(self, thread: str, body: bytes) -> Plan[Waiting]:
        """Put a batch behind a message list; see `Backend.append_messages`."""
        rows = yield Sql(_WAITING, (self._identity(thread, MESSAGES),))
        if rows:
            key, name, touched_at, last, count, size = rows[0]
        else:
            key, name, touched_at = (yield from self._add_thread(thread, MESSAGES)), thread, int(time.time())
            last, count, size = 0, 0, 0
        yield Sql("INSERT INTO message_batch (thread, number, body) VALUES (?, ?, ?)", (key, last + 1, body))
        if name is None:
            yield Sql("UPDATE thread SET name = ? WHERE key = ?", (text_bytes(thread), key))
        if is_long_ago(touched_at):
            yield from self._note_time(key)
        return Waiting(count + 1, size + len(body))
