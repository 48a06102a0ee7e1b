"""The plans of the SQL stores. Those that read are in sql_reads, their parts in sql_steps."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from charm_checkpoint.backends.names import CHECKPOINTS, MESSAGES, bytes_text, id_bytes, id_text, text_bytes
from charm_checkpoint.backends.schema import APPLICATION_ID, MIGRATIONS
from charm_checkpoint.backends.sql_reads import SqlReads
from charm_checkpoint.backends.sql_steps import KEYS, SPACES, TOUCH, Sql, is_long_ago
from charm_checkpoint.contract import (
    Abilities,
    MessagesRow,
    NewCheckpoint,
    NewMessages,
    NewWrites,
    Reply,
    ThreadState,
    Usage,
)
from charm_checkpoint.errors import SchemaMismatch
from charm_checkpoint.migrate import Migration, pending
from charm_checkpoint.plan import Plan

_INSERT = """
    INSERT INTO checkpoint (space, id, previous, conflict, parent, run, tags, roots, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_ENTRY = "INSERT INTO entry (space, id, checkpoint) VALUES (?, ?, last_insert_rowid())"
_MOVE_HEAD = "UPDATE entry SET checkpoint = last_insert_rowid() WHERE space = ? AND id = x'ff'"
_MOVE_ROOT_HEAD = "UPDATE entry SET checkpoint = last_insert_rowid(), seq = ? WHERE space = ? AND id = x'ff'"
_REPLACE = "UPDATE checkpoint SET parent = ?, run = ?, tags = ?, roots = ?, body = ? WHERE key = ?"
_ADD_WRITES = "INSERT INTO write (space, id, number, body) VALUES (?, ?, ?, ?)"
# The space of thread ?2 that is to it what r.space is to thread ?1.
_COUNTERPART = """
    iif(r.space = ?1, ?2, (SELECT -theirs.key FROM space ours JOIN space theirs ON theirs.ns = ours.ns
    WHERE ours.key = -r.space AND theirs.thread = ?2))"""


class SqlBackend(SqlReads):
    """The backend, for one tenant."""

    def __init__(self, tenant: str, abilities: Abilities) -> None:
        super().__init__(tenant)
        self.abilities = abilities

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

    def put(self, new: NewCheckpoint) -> Plan[Reply]:
        """Commit a checkpoint; see `Backend.put`."""
        id, parent = id_bytes(new.id), id_bytes(new.parent)
        place = yield from self._place(new.thread, new.ns, id)
        thread, old, touched_at, space, previous, head_id, stored = place
        head = new.parent if head_id == parent else id_text(head_id)
        if old.deletes != (new.seen_deletes or 0) and (yield from self._deleted(place, new.seen_deletes, parent)):
            return Reply("deleted", old, head)
        if new.base_sweeps is not None and new.base_sweeps != old.sweeps:
            return Reply("stale", old, head)
        conflict = new.on_conflict != "allow" and head_id not in (None, parent, id) and stored is None
        if conflict and new.on_conflict == "raise":
            return Reply("conflict", old, head, True)
        if previous is None:
            thread, space = yield from self._room(place, new.thread, new.ns)
        if new.chunks:
            yield from self._add_chunks(thread, new.chunks)
        state = ThreadState(old.deletes, old.sweeps, old.seq + 1)
        columns = (parent, text_bytes(new.run), new.tags, new.roots, new.body)
        if stored is not None:
            yield Sql(_REPLACE, (*columns, stored))
            yield Sql(TOUCH, (state.seq, thread))
        else:
            yield Sql(_INSERT, (space, id, previous, head_id if conflict else None, *columns))
            yield Sql(_INSERT_ENTRY, (space, id))
            if space == thread:
                yield Sql(_MOVE_ROOT_HEAD, (state.seq, space))
            else:
                yield Sql(_MOVE_HEAD, (space,))
                yield Sql(TOUCH, (state.seq, thread))
        if is_long_ago(touched_at):
            yield from self._note_time(thread)
        return Reply("stored", state, head, conflict)

    def put_writes(self, new: NewWrites) -> Plan[Reply]:
        """Append pending writes; see `Backend.put_writes`."""
        id = id_bytes(new.id)
        place = yield from self._place(new.thread, new.ns, id)
        thread, old, touched_at, space, head, head_id, _ = place
        head_text = new.id if head_id == id else id_text(head_id)
        if old.deletes != (new.seen_deletes or 0) and (yield from self._deleted(place, new.seen_deletes, id)):
            return Reply("deleted", old, head_text)
        if head is None:
            thread, space = yield from self._room(place, new.thread, new.ns)
        state = ThreadState(old.deletes, old.sweeps, old.seq + 1)
        yield Sql(_ADD_WRITES, (space, id, state.seq, new.body))
        yield Sql(TOUCH, (state.seq, thread))
        if is_long_ago(touched_at):
            yield from self._note_time(thread)
        return Reply("stored", state, head_text)

    # ---------------------------------------------------------------- removing

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[Reply]:
        """Remove checkpoints; see `Backend.remove`."""
        place = yield from self._place(thread, "")
        if place.thread is None:
            return Reply("stored", place.state)
        if expect is not None and expect != place.state.seq:
            return Reply("changed", place.state)
        named = yield Sql("SELECT ns, -key FROM space WHERE thread = ?", (place.thread,))
        spaces = {b"": place.thread, **dict(named)}
        gone = [(spaces[ns], id_bytes(id)) for ns, id in ((text_bytes(ns), id) for ns, id in doomed) if ns in spaces]
        key = "SELECT checkpoint FROM entry WHERE space = ? AND id = ?"
        yield Sql(f"DELETE FROM checkpoint WHERE key = ({key})", gone, many=True)
        for table in ("entry", "write"):
            yield Sql(f"DELETE FROM {table} WHERE space = ? AND id = ?", gone, many=True)
        yield from self._relink(place.thread)
        yield from self._drop_emptied({space for space, _ in gone})
        roots = yield Sql(f"SELECT roots FROM checkpoint WHERE key IN ({KEYS})", (place.thread,))
        yield from self._sweep(place.thread, [joined for [joined] in roots])
        state = yield from self._swept(place.thread, place.state)
        yield from self._give_back()
        return Reply("stored", state)

    def _drop_emptied(self, spaces: Collection[int]) -> Plan[None]:
        """Drop those of these spaces that have no checkpoint left; a thread's own keeps its counters."""
        emptied = []
        for space in spaces:
            rows = yield Sql("SELECT checkpoint FROM entry WHERE space = ? AND id = x'ff'", (space,))
            if rows == [(None,)]:
                emptied.append((space,))
        yield Sql("DELETE FROM write WHERE space = ?", emptied, many=True)
        yield Sql("DELETE FROM entry WHERE space = ?1 AND ?1 < 0", emptied, many=True)
        yield Sql("DELETE FROM space WHERE key = -?", emptied, many=True)

    def runs(self, run_ids: Collection[str]) -> Plan[Sequence[tuple[str, str, str]]]:
        """Return the checkpoints of runs; see `Backend.runs`."""
        found: list[tuple[str, str, str]] = []
        for run_id in run_ids:
            rows = yield Sql(
                "SELECT t.name, s.ns, c.id FROM checkpoint c LEFT JOIN space s ON s.key = -c.space"
                " JOIN thread t ON t.key = coalesce(s.thread, c.space) WHERE c.run = ? AND t.tenant = ?",
                (text_bytes(run_id), self._tenant),
            )
            found += [(bytes_text(name), bytes_text(ns or b""), id_text(id)) for name, ns, id in rows]
        return found

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints; see `Backend.delete_thread`."""
        place = yield from self._place(thread, "")
        if place.thread is None:
            return place.state
        one = (place.thread,)
        yield Sql(f"DELETE FROM checkpoint WHERE key IN ({KEYS})", one)
        for table in ("write", "entry"):
            yield Sql(f"DELETE FROM {table} WHERE space IN ({SPACES})", one)
        for table in ("space", "chunk"):
            yield Sql(f"DELETE FROM {table} WHERE thread = ?", one)
        yield Sql("INSERT INTO entry (space, id) VALUES (?, x'ff')", one)
        state = yield from self._swept(place.thread, place.state, deletes=1)
        # The name may be personal data; the hash is enough to refuse late writes.
        yield Sql("UPDATE thread SET name = NULL WHERE key = ?", one)
        yield from self._give_back()
        return state

    def copy_thread(self, source: str, target: str) -> Plan[Reply]:
        """Copy a thread; see `Backend.copy_thread`."""
        origin = yield from self._place(source, "")
        place = yield from self._place(target, "")
        if (yield Sql(f"{KEYS} LIMIT 1", (place.thread,))):
            return Reply("conflict", place.state)
        if not (yield Sql(f"{KEYS} LIMIT 1", (origin.thread,))):
            return Reply("stored", place.state)
        theirs, _ = yield from self._room(place, target, "")
        ours, pair = origin.thread, (origin.thread, theirs)
        yield Sql(
            "INSERT OR IGNORE INTO chunk (thread, address, refs, data)"
            " SELECT ?2, address, refs, data FROM chunk WHERE thread = ?1",
            pair,
        )
        yield Sql("INSERT OR IGNORE INTO space (thread, ns) SELECT ?2, ns FROM space WHERE thread = ?1", pair)
        yield Sql("INSERT OR IGNORE INTO entry (space, id) SELECT -key, x'ff' FROM space WHERE thread = ?", (theirs,))
        [[last]] = yield Sql("SELECT max(key) FROM checkpoint")
        columns = "id, parent, run, conflict, tags, roots, body"
        yield Sql(
            f"INSERT INTO checkpoint (space, {columns}) SELECT {_COUNTERPART}, {columns} FROM checkpoint r"
            f" WHERE key IN ({KEYS}) ORDER BY key",
            pair,
        )
        yield Sql(
            "INSERT INTO entry (space, id, checkpoint) SELECT space, id, key FROM checkpoint WHERE key > ?", (last,)
        )
        # The target may hold writes that came before their checkpoint: the copied ones are counted after them.
        yield Sql(
            f"INSERT INTO write (space, id, number, body) SELECT {_COUNTERPART}, id, number + ?3, body FROM write r"
            f" WHERE space IN ({SPACES})",
            (ours, theirs, place.state.seq),
        )
        yield from self._relink(theirs)
        state = place.state._replace(seq=place.state.seq + origin.state.seq + 1)
        yield Sql(TOUCH, (state.seq, theirs))
        yield from self._note_time(theirs)
        return Reply("stored", state)

    # ---------------------------------------------------------------- messages

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return a message list; see `Backend.messages`."""
        rows = yield Sql(
            "SELECT t.deletes, t.sweeps, m.revision, m.body, m.roots FROM thread t"
            " JOIN message m ON m.thread = t.key WHERE t.identity = ?",
            (self._identity(thread, MESSAGES),),
        )
        if not rows:
            return MessagesRow(ThreadState())
        deletes, sweeps, revision, body, roots = rows[0]
        return MessagesRow(ThreadState(deletes, sweeps, revision), body, roots, revision)

    def put_messages(self, new: NewMessages) -> Plan[Reply]:
        """Replace a message list; see `Backend.put_messages`."""
        held = yield from self.messages(new.thread)
        if new.expect is not None and new.expect != held.revision:
            return Reply("changed", held.state)
        if new.base_sweeps is not None and new.base_sweeps != held.state.sweeps:
            return Reply("stale", held.state)
        thread = yield from self._thread(new.thread, MESSAGES)
        if thread is None:
            thread = yield from self._add_thread(new.thread, MESSAGES)
        yield from self._add_chunks(thread, new.chunks)
        state = held.state._replace(seq=held.revision + 1)
        yield Sql(
            "INSERT INTO message (thread, revision, roots, body) VALUES (?, ?, ?, ?) ON CONFLICT (thread)"
            " DO UPDATE SET revision = excluded.revision, roots = excluded.roots, body = excluded.body",
            (thread, state.seq, new.roots, new.body),
        )
        if new.sweep or new.body is None:
            yield from self._sweep(thread, [new.roots])
            yield from self._give_back()
            state = state._replace(sweeps=state.sweeps + 1)
        name = None if new.body is None else text_bytes(new.thread)
        yield Sql(
            "UPDATE thread SET name = ?1, sweeps = ?2 WHERE key = ?3 AND (name IS NOT ?1 OR sweeps <> ?2)",
            (name, state.sweeps, thread),
        )
        yield from self._note_time(thread)
        return Reply("stored", state)

    # -------------------------------------------------------------------- size

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what is stored; see `Backend.usage`."""
        where, params = "t.tenant = ?1 AND t.name IS NOT NULL", [self._tenant]
        if thread is not None:
            where += " AND t.identity IN (?2, ?3)"
            params += [self._identity(thread, kind) for kind in (CHECKPOINTS, MESSAGES)]
        below = "space s JOIN thread t ON t.key = s.thread"
        of_space = (
            f"space IN (SELECT t.key FROM thread t WHERE {where} UNION ALL SELECT -s.key FROM {below} WHERE {where})"
        )
        of_thread = f"thread IN (SELECT t.key FROM thread t WHERE {where})"
        its_own = "space IN (SELECT t.key UNION ALL SELECT -key FROM space WHERE thread = t.key)"
        holding = " OR ".join(
            f"EXISTS (SELECT 1 FROM {rows})"
            for rows in (
                f"entry WHERE {its_own} AND id = x'ff' AND checkpoint IS NOT NULL",
                f"write WHERE {its_own}",
                "message WHERE thread = t.key AND body IS NOT NULL",
            )
        )
        [[threads]] = yield Sql(f"SELECT count(DISTINCT t.name) FROM thread t WHERE {where} AND ({holding})", params)
        counts, total = [], 0
        for table, column, kin in (
            ("checkpoint", "body", f"key IN (SELECT checkpoint FROM entry WHERE {of_space} AND id < x'ff')"),
            ("write", "body", of_space),
            ("chunk", "data", of_thread),
            ("message", "body", of_thread),
        ):
            [[count, size]] = yield Sql(
                f"SELECT count(*), coalesce(sum(length({column})), 0) FROM {table} WHERE {kin}", params
            )
            counts.append(count)
            total += size
        return Usage(threads, counts[0], counts[1], counts[2], total)
