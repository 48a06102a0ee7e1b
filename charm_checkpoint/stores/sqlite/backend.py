"""The plans of the SQLite store. Those that read are in reads.py, what all are made of in steps.py."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

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
from charm_checkpoint.errors import SchemaMismatch
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.shared.migrations import Migration, pending
from charm_checkpoint.stores.shared.names import MESSAGES, checkpoint_keys, id_bytes, id_text, text_bytes
from charm_checkpoint.stores.shared.write_rule import decide, decide_messages, is_conflict, lacks_chunks
from charm_checkpoint.stores.sqlite.room import give_back
from charm_checkpoint.stores.sqlite.schema import APPLICATION_ID, MIGRATIONS
from charm_checkpoint.stores.sqlite.steps import Sql, is_long_ago
from charm_checkpoint.stores.sqlite.whole import SqliteWhole

_INSERT = """
    INSERT INTO checkpoint (space, id, previous, conflict, parent, run, tags, roots, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_MOVE_HEAD = "UPDATE space SET head = last_insert_rowid() WHERE key = ?"
# What is counted stays so only if it was as of the last change.
_TOUCH = """
    UPDATE thread SET seq = ?1, touched_at = ?2, title = coalesce(title, ?3), note = coalesce(?4, note),
        size = size + ?5, checkpoints = checkpoints + ?6, head = coalesce(?7, head),
        counted = iif(counted = seq, ?1, NULL)
    WHERE key = ?8"""
_TOUCH_WRITES = """
    UPDATE thread SET seq = ?1, touched_at = ?2, writes_note = coalesce(?3, writes_note), size = size + ?4,
        counted = iif(counted = seq, ?1, NULL)
    WHERE key = ?5"""
_BODY_SIZE = "SELECT length(body) FROM checkpoint WHERE key = ?"
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
_NO_LIST = "INSERT INTO message_list (thread, revision, roots) VALUES (?, ?, x'')"
# So many of a list's batches, the oldest; a negative number is all.
_TAKE = """
    DELETE FROM message_batch WHERE thread = ?1 AND number IN
    (SELECT number FROM message_batch WHERE thread = ?1 ORDER BY number LIMIT ?2)"""


class SqliteBackend(SqliteWhole):
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
        thread, old, _, space, previous, head_id, stored = place
        head = new.parent if head_id == parent else id_text(head_id)
        ids = yield from self._stored_ids(place, new.id, new.parent, new.seen_deletes)
        outcome = decide(new, old, head, ids, lacks_chunks=thread is None and lacks_chunks(new, ()))
        if outcome != "stored":
            return WriteResult(outcome, old, head, outcome == "conflict")
        conflict = is_conflict(new, head, ids)
        if previous is None:
            thread, space, old = yield from self._ensure_namespace(place, new.thread, new.ns)
        size = (yield from self._add_chunks(thread, new.chunks)) if new.chunks else 0
        state = ThreadState(old.deletes, old.sweeps, old.seq + 1)
        columns = (parent, text_bytes(new.run), new.tags, new.roots, new.body)
        if stored is not None:
            [[former]] = yield Sql(_BODY_SIZE, (stored,))
            size -= former
            yield Sql(_REPLACE, (*columns, stored))
        else:
            yield Sql(_INSERT, (space, id, previous, head_id if conflict else None, *columns))
            yield Sql(_MOVE_HEAD, (space,))
        grown = (size + len(new.body), stored is None, None if new.ns or stored is not None else id)
        yield Sql(_TOUCH, (state.seq, int(time.time()), new.title, new.note, *grown, thread))
        if not place.counted and thread is not None:
            yield from self._count_small(thread)
        return WriteResult("stored", state, head, conflict)

    def put_writes(self, new: NewWrites) -> Plan[WriteResult]:
        """Append pending writes; see `Backend.put_writes`."""
        id = id_bytes(new.id)
        place = yield from self._place(new.thread, new.ns, id)
        thread, old, _, space, previous, head_id, _ = place
        head = new.id if head_id == id else id_text(head_id)
        ids = yield from self._stored_ids(place, new.id, new.id, new.seen_deletes)
        outcome = decide(new, old, head, ids)
        if outcome != "stored":
            return WriteResult(outcome, old, head)
        if previous is None:
            thread, space, old = yield from self._ensure_namespace(place, new.thread, new.ns)
        state = ThreadState(old.deletes, old.sweeps, old.seq + 1)
        yield Sql(_ADD_WRITES, (space, id, state.seq, new.body))
        yield Sql(_TOUCH_WRITES, (state.seq, int(time.time()), new.note, len(new.body), thread))
        return WriteResult("stored", state, head)

    # ---------------------------------------------------------------- removing

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

    # ---------------------------------------------------------------- messages

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return a message list; see `Backend.messages`."""
        rows = yield Sql(_MESSAGES, (self._identity(thread, MESSAGES),), alone=True)
        if not rows:
            return (yield from self._erased_list(thread))
        deletes, sweeps, revision, body, roots, _ = rows[0]
        batches = [row[5] for row in rows if row[5] is not None]
        return MessagesRow(ThreadState(deletes, sweeps, revision), body, roots, revision, batches=batches)

    def put_messages(self, new: NewMessages) -> Plan[WriteResult]:
        """Replace a message list; see `Backend.put_messages`."""
        current, thread = yield from self._list(new.thread)
        lacking = thread is None and lacks_chunks(new, ())
        outcome = decide_messages(new, current.state, current.revision, lacks_chunks=lacking)
        if outcome != "stored":
            return WriteResult(outcome, current.state)
        if thread is None:
            thread, current = yield from self._add_list(new.thread, current)
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
            state = state._replace(sweeps=state.sweeps + 1)
        name = None if new.body is None else text_bytes(new.thread)
        yield Sql(
            "UPDATE thread SET name = ?1, sweeps = ?2 WHERE key = ?3 AND (name IS NOT ?1 OR sweeps <> ?2)",
            (name, state.sweeps, thread),
        )
        yield from self._note_time(thread)
        if new.sweep or new.body is None:
            yield from give_back()
        return WriteResult("stored", state)

    def _list(self, thread: str) -> Plan[tuple[MessagesRow, int | None]]:
        """Return a message list's state and its thread's key."""
        rows = yield Sql(_LIST, (self._identity(thread, MESSAGES),))
        if not rows:
            return (yield from self._erased_list(thread)), None
        deletes, sweeps, revision, key = rows[0]
        return MessagesRow(ThreadState(deletes, sweeps, revision), revision=revision), key

    def append_messages(self, thread: str, body: bytes) -> Plan[Waiting]:
        """Put a batch behind a message list; see `Backend.append_messages`."""
        rows = yield Sql(_WAITING, (self._identity(thread, MESSAGES),))
        if rows:
            key, name, touched_at, last, count, size = rows[0]
        else:
            key, _ = yield from self._add_list(thread, (yield from self._erased_list(thread)))
            name, touched_at, last, count, size = thread, int(time.time()), 0, 0, 0
        yield Sql("INSERT INTO message_batch (thread, number, body) VALUES (?, ?, ?)", (key, last + 1, body))
        if name is None:
            yield Sql("UPDATE thread SET name = ? WHERE key = ?", (text_bytes(thread), key))
        if is_long_ago(touched_at):
            yield from self._note_time(key)
        return Waiting(count + 1, size + len(body))

    def _erased_list(self, thread: str) -> Plan[MessagesRow]:
        """Return what a message list that is not there goes on from."""
        _, sweeps, revision = yield from self._erased(thread)
        return MessagesRow(ThreadState(0, sweeps, revision), revision=revision)

    def _add_list(self, thread: str, row: MessagesRow) -> Plan[tuple[int, MessagesRow]]:
        """Add the thread of a message list; return its key, and what it has begun with."""
        key, state = yield from self._add_thread(thread, MESSAGES, row.state)
        if row.revision:
            yield Sql(_NO_LIST, (key, row.revision))
        return key, replace(row, state=state)
