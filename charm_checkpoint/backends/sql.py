"""The plans of the SQL stores. Their parts are in sql_steps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from charm_checkpoint.backends.names import (
    CHECKPOINTS,
    MESSAGES,
    bytes_text,
    checkpoint_row,
    id_bytes,
    id_text,
    text_bytes,
)
from charm_checkpoint.backends.schema import APPLICATION_ID, MIGRATIONS
from charm_checkpoint.backends.sql_steps import HEAD, Sql, SqlSteps
from charm_checkpoint.contract import (
    Abilities,
    Found,
    MessagesRow,
    NewCheckpoint,
    NewMessages,
    NewWrites,
    Page,
    Query,
    Reply,
    ThreadState,
    Usage,
)
from charm_checkpoint.errors import SchemaMismatch
from charm_checkpoint.migrate import Migration, pending
from charm_checkpoint.plan import Plan

_ROW = "c.key, c.id, c.parent, c.conflict, c.roots, c.body"
_OF_THREAD = "space IN (SELECT key FROM space WHERE thread = ?)"
_FIND = f"""
    SELECT w.body, t.deletes, t.sweeps, t.seq, latest.id, {_ROW}
    FROM thread t
    LEFT JOIN space s ON s.thread = t.key AND s.ns = ?
    LEFT JOIN checkpoint latest ON latest.key = {HEAD}
    LEFT JOIN checkpoint c ON """
_OF_FOUND = " LEFT JOIN write w ON w.space = s.key AND w.id = c.id WHERE t.identity = ? ORDER BY w.number"
_FIND_HEAD = _FIND + "c.key = latest.key" + _OF_FOUND
_FIND_ID = _FIND + "c.space = s.key AND c.id = ?" + _OF_FOUND
_INSERT = "INSERT INTO checkpoint (space, id, conflict, parent, run, tags, roots, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_REPLACE = "UPDATE checkpoint SET parent = ?, run = ?, tags = ?, roots = ?, body = ? WHERE key = ?"
_ADD_WRITES = """
    INSERT INTO write (space, id, number, body)
    VALUES (?, ?, (SELECT coalesce(max(number), 0) + 1 FROM write WHERE space = ? AND id = ?), ?)"""
_PAGE = f"""
    SELECT t.name, s.key AS space, s.ns, t.deletes, t.sweeps, t.seq, {_ROW} FROM checkpoint c
    JOIN space s ON s.key = c.space JOIN thread t ON t.key = s.thread
    WHERE {{where}} ORDER BY c.key DESC LIMIT ?"""
_PAGE_WRITES = """
    SELECT w.body, p.* FROM ({page}) p LEFT JOIN write w ON w.space = p.space AND w.id = p.id
    ORDER BY p.key DESC, w.number"""


class SqlBackend(SqlSteps):
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
        if (yield from self._deleted(place, new.seen_deletes, parent)):
            return Reply("deleted", place.state, id_text(place.head_id))
        if new.base_sweeps is not None and new.base_sweeps != place.state.sweeps:
            return Reply("stale", place.state, id_text(place.head_id))
        conflict = new.on_conflict != "allow" and place.head_id not in (None, parent, id) and place.stored is None
        if conflict and new.on_conflict == "raise":
            return Reply("conflict", place.state, id_text(place.head_id), conflict=True)
        thread, space = yield from self._room(place, new.thread, new.ns)
        yield from self._add_chunks(thread, new.chunks)
        columns = (parent, text_bytes(new.run), new.tags, new.roots, new.body)
        if place.stored is None:
            yield Sql(_INSERT, (space, id, place.head_id if conflict else None, *columns))
        else:
            yield Sql(_REPLACE, (*columns, place.stored))
        state = yield from self._touch(thread, place.state)
        return Reply("stored", state, id_text(place.head_id), conflict=conflict)

    def put_writes(self, new: NewWrites) -> Plan[Reply]:
        """Append pending writes; see `Backend.put_writes`."""
        id = id_bytes(new.id)
        place = yield from self._place(new.thread, new.ns, id)
        if (yield from self._deleted(place, new.seen_deletes, id)):
            return Reply("deleted", place.state, id_text(place.head_id))
        thread, space = yield from self._room(place, new.thread, new.ns)
        yield Sql(_ADD_WRITES, (space, id, space, id, new.body))
        state = yield from self._touch(thread, place.state)
        return Reply("stored", state, id_text(place.head_id))

    def find(self, thread: str, ns: str, id: str | None, known: Collection[bytes] = ()) -> Plan[Found]:
        """Return one checkpoint; see `Backend.find`."""
        name, space = self._identity(thread, CHECKPOINTS), text_bytes(ns)
        if id is None:
            rows = yield Sql(_FIND_HEAD, (space, name), alone=True)
        else:
            rows = yield Sql(_FIND_ID, (space, id_bytes(id), name), alone=True)
        if not rows:
            return Found(ThreadState())
        _, deletes, sweeps, seq, head_id, *row = rows[0]
        found = None if row[0] is None else checkpoint_row(thread, ns, row)
        head = found.id if found is not None and head_id == row[1] else id_text(head_id)
        writes = [body for body, *_ in rows] if rows[0][0] is not None else []
        return Found(ThreadState(deletes, sweeps, seq), head, found, writes)

    def ancestors(self, thread: str, ns: str, id: str, size: int) -> Plan[Sequence[Found]]:
        """Return a checkpoint and its ancestors; see `Backend.ancestors`."""
        line: list[Found] = []
        seen: set[str] = set()
        step: str | None = id
        while step is not None and step not in seen and len(line) < size:
            seen.add(step)
            found = yield from self.find(thread, ns, step)
            if found.row is None:
                break
            line.append(found)
            step = found.row.parent
        return line

    def page(
        self, query: Query, after: Any, size: int, writes: bool = True, known: Collection[bytes] = ()
    ) -> Plan[Page]:
        """Return matches, latest commit first; see `Backend.page`."""
        where, params = yield from self._where(query, after)
        text = _PAGE.format(where=where)
        text = _PAGE_WRITES.format(page=text) if writes else f"SELECT NULL, p.* FROM ({text}) p"
        rows = yield Sql(text, (*params, size + 1))
        bodies: dict[int, list[bytes]] = {}
        items: list[Found] = []
        for body, name, _, ns, deletes, sweeps, seq, *row in rows:
            if row[0] not in bodies:
                written = bodies[row[0]] = []
                found = checkpoint_row(bytes_text(name), bytes_text(ns), row)
                items.append(Found(ThreadState(deletes, sweeps, seq), None, found, written))
            if body is not None:
                bodies[row[0]].append(body)
        return Page(items[:size], list(bodies)[size - 1] if len(items) > size else None)

    def _where(self, query: Query, after: Any) -> Plan[tuple[str, list[Any]]]:
        """Return the condition of a listing and its parameters: values are always bound."""
        terms: list[tuple[str, Any]] = [("t.tenant = ?", self._tenant)]
        if query.thread is not None:
            terms.append(("t.identity = ?", self._identity(query.thread, CHECKPOINTS)))
        if query.ns is not None:
            terms.append(("s.ns = ?", text_bytes(query.ns)))
        if query.id is not None:
            terms.append(("c.id = ?", id_bytes(query.id)))
        if query.before is not None:
            bound = yield from self._bound(query.before_thread or query.thread, query.before)
            terms.append(("c.id < ?", id_bytes(query.before)) if bound is None else ("c.key < ?", bound))
        if after is not None:
            terms.append(("c.key < ?", after))
        terms += [("instr(c.tags, ?) > 0", tag) for tag in query.tags]
        return " AND ".join(term for term, _ in terms), [value for _, value in terms]

    def _bound(self, thread: str | None, id: str) -> Plan[int | None]:
        terms = "s.thread = t.key AND t.tenant = ? AND c.id = ?"
        params = [self._tenant, id_bytes(id)]
        if thread is not None:
            terms += " AND t.identity = ?"
            params.append(self._identity(thread, CHECKPOINTS))
        [[bound]] = yield Sql(
            f"SELECT max(c.key) FROM thread t, space s JOIN checkpoint c ON c.space = s.key WHERE {terms}", params
        )
        key: int | None = bound
        return key

    # ---------------------------------------------------------------- removing

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[Reply]:
        """Remove checkpoints; see `Backend.remove`."""
        place = yield from self._place(thread, "")
        if place.thread is None:
            return Reply("stored", place.state)
        if expect is not None and expect != place.state.seq:
            return Reply("changed", place.state)
        gone = [(place.thread, text_bytes(ns), id_bytes(id)) for ns, id in doomed]
        for table in ("checkpoint", "write"):
            yield Sql(
                f"DELETE FROM {table} WHERE space = (SELECT key FROM space WHERE thread = ? AND ns = ?) AND id = ?",
                gone,
                many=True,
            )
        left = "SELECT 1 FROM checkpoint WHERE space = s.key"
        emptied = f"SELECT key FROM space s WHERE thread = ? AND ns = ? AND NOT EXISTS ({left})"
        touched = [(place.thread, text_bytes(ns)) for ns in {ns for ns, _ in doomed}]
        yield Sql(f"DELETE FROM write WHERE space IN ({emptied})", touched, many=True)
        yield Sql(f"DELETE FROM space WHERE key IN ({emptied})", touched, many=True)
        roots = yield Sql(f"SELECT roots FROM checkpoint WHERE {_OF_THREAD}", (place.thread,))
        yield from self._sweep(place.thread, [joined for [joined] in roots])
        state = yield from self._touch(place.thread, place.state, sweeps=1)
        yield from self._give_back()
        return Reply("stored", state)

    def runs(self, run_ids: Collection[str]) -> Plan[Sequence[tuple[str, str, str]]]:
        """Return the checkpoints of runs; see `Backend.runs`."""
        found: list[tuple[str, str, str]] = []
        for run_id in run_ids:
            rows = yield Sql(
                "SELECT t.name, s.ns, c.id FROM checkpoint c JOIN space s ON s.key = c.space"
                " JOIN thread t ON t.key = s.thread WHERE c.run = ? AND t.tenant = ?",
                (text_bytes(run_id), self._tenant),
            )
            found += [(bytes_text(name), bytes_text(ns), id_text(id)) for name, ns, id in rows]
        return found

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints; see `Backend.delete_thread`."""
        place = yield from self._place(thread, "")
        if place.thread is None:
            return place.state
        for table in ("checkpoint", "write"):
            yield Sql(f"DELETE FROM {table} WHERE {_OF_THREAD}", (place.thread,))
        for table in ("space", "chunk"):
            yield Sql(f"DELETE FROM {table} WHERE thread = ?", (place.thread,))
        state = yield from self._touch(place.thread, place.state, sweeps=1, deletes=1)
        # The name may be personal data; the hash is enough to refuse late writes.
        yield Sql("UPDATE thread SET name = NULL WHERE key = ?", (place.thread,))
        yield from self._give_back()
        return state

    def copy_thread(self, source: str, target: str) -> Plan[Reply]:
        """Copy a thread; see `Backend.copy_thread`."""
        origin = yield from self._place(source, "")
        place = yield from self._place(target, "")
        any_of = f"SELECT 1 FROM checkpoint WHERE {_OF_THREAD} LIMIT 1"
        if (yield Sql(any_of, (place.thread,))):
            return Reply("conflict", place.state)
        if origin.thread is None or not (yield Sql(any_of, (origin.thread,))):
            return Reply("stored", place.state)
        thread, _ = yield from self._room(place, target, "")
        yield Sql(
            "INSERT OR IGNORE INTO chunk (thread, address, refs, data)"
            " SELECT ?, address, refs, data FROM chunk WHERE thread = ?",
            (thread, origin.thread),
        )
        yield Sql(
            "INSERT OR IGNORE INTO space (thread, ns) SELECT ?, ns FROM space WHERE thread = ?", (thread, origin.thread)
        )
        columns = "id, parent, run, conflict, tags, roots, body"
        yield from self._copy_rows("checkpoint", columns, columns, origin.thread, thread, "r.key")
        # The target may hold writes that came before their checkpoint: these go on counting after them.
        early = "SELECT max(number) + 1 FROM write e WHERE e.space = theirs.key AND e.id = r.id"
        numbered = f"id, r.number + coalesce(({early}), 0), body"
        yield from self._copy_rows("write", "id, number, body", numbered, origin.thread, thread, "r.number")
        state = yield from self._touch(thread, place.state)
        return Reply("stored", state)

    def _copy_rows(self, table: str, columns: str, taken: str, source: int, target: int, order: str) -> Plan[None]:
        yield Sql(
            f"INSERT INTO {table} (space, {columns}) SELECT theirs.key, {taken} FROM {table} r"
            " JOIN space ours ON ours.key = r.space AND ours.thread = ?"
            f" JOIN space theirs ON theirs.thread = ? AND theirs.ns = ours.ns ORDER BY {order}",
            (source, target),
        )

    # ---------------------------------------------------------------- messages

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return a message list; see `Backend.messages`."""
        rows = yield Sql(
            "SELECT t.deletes, t.sweeps, t.seq, m.body, m.roots, m.revision FROM thread t"
            " JOIN message m ON m.thread = t.key WHERE t.identity = ?",
            (self._identity(thread, MESSAGES),),
        )
        if not rows:
            return MessagesRow(ThreadState())
        deletes, sweeps, seq, body, roots, revision = rows[0]
        return MessagesRow(ThreadState(deletes, sweeps, seq), body, roots, revision)

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
        yield Sql(
            "INSERT INTO message (thread, revision, roots, body) VALUES (?, ?, ?, ?) ON CONFLICT (thread)"
            " DO UPDATE SET revision = excluded.revision, roots = excluded.roots, body = excluded.body",
            (thread, held.revision + 1, new.roots, new.body),
        )
        sweep = new.sweep or new.body is None
        if sweep:
            yield from self._sweep(thread, [new.roots])
            yield from self._give_back()
        name = None if new.body is None else text_bytes(new.thread)
        yield Sql("UPDATE thread SET name = ? WHERE key = ?", (name, thread))
        state = yield from self._touch(thread, held.state, sweeps=int(sweep))
        return Reply("stored", state)

    # -------------------------------------------------------------------- size

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what is stored; see `Backend.usage`."""
        where, params = "t.tenant = ? AND t.name IS NOT NULL", [self._tenant]
        if thread is not None:
            where += " AND t.identity IN (?, ?)"
            params += [self._identity(thread, kind) for kind in (CHECKPOINTS, MESSAGES)]
        of_space = "space IN (SELECT s.key FROM space s JOIN thread t ON t.key = s.thread WHERE " + where + ")"
        of_thread = "thread IN (SELECT t.key FROM thread t WHERE " + where + ")"
        of_key = "EXISTS (SELECT 1 FROM space s JOIN {} r ON r.space = s.key WHERE s.thread = t.key)"
        listed = "EXISTS (SELECT 1 FROM message m WHERE m.thread = t.key AND m.body IS NOT NULL)"
        holding = f"({of_key.format('checkpoint')} OR {of_key.format('write')} OR {listed})"
        [[threads]] = yield Sql(f"SELECT count(DISTINCT t.name) FROM thread t WHERE {where} AND {holding}", params)
        counts, total = [], 0
        for table, column, kin in (
            ("checkpoint", "body", of_space),
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
