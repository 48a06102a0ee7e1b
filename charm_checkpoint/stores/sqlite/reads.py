"""The plans of the SQLite store that read checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from charm_checkpoint.contract import NESTED, TAG_SIZE, Page, Query, StoredCheckpoint, ThreadState
from charm_checkpoint.errors import placing
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.shared.names import (
    CHECKPOINTS,
    bytes_text,
    checkpoint_row,
    id_bytes,
    id_text,
    text_bytes,
)
from charm_checkpoint.stores.sqlite.steps import KEYS, Sql, SqliteSteps

_ROW = "c.key, c.id, c.parent, c.conflict, c.roots, c.body"
_FIND_HEAD = f"""
    SELECT w.body, t.deletes, t.sweeps, t.seq, c.id, {_ROW}
    FROM thread t LEFT JOIN space s ON s.thread = t.key AND s.ns = ? LEFT JOIN checkpoint c ON c.key = s.head
    LEFT JOIN write w ON w.space = s.key AND w.id = c.id WHERE t.identity = ? ORDER BY w.number"""
_FIND_ID = f"""
    SELECT w.body, t.deletes, t.sweeps, t.seq, (SELECT id FROM checkpoint WHERE key = s.head), {_ROW}
    FROM thread t LEFT JOIN space s ON s.thread = t.key AND s.ns = ?
    LEFT JOIN checkpoint c ON c.space = s.key AND c.id = ?
    LEFT JOIN write w ON w.space = s.key AND w.id = c.id WHERE t.identity = ? ORDER BY w.number"""
_STATE = """
    SELECT t.deletes, t.sweeps, t.seq, t.key, (SELECT key FROM space WHERE thread = t.key AND ns = ?1),
        (SELECT iif(count(*) = 1, max(ns), NULL) FROM (SELECT ns FROM space WHERE thread = t.key LIMIT 2))
    FROM thread t WHERE t.identity = ?2"""
# A line is followed from its latest, link by link, as far as the page goes. A link leads back: one that is damaged must
# not lead round in a circle.
_LINE = f"""
    WITH RECURSIVE line (key) AS (
        SELECT coalesce((SELECT key FROM checkpoint WHERE key = ? AND space = s.key), s.head)
        FROM space s WHERE s.key = ?
        UNION ALL SELECT l.previous FROM line JOIN checkpoint l ON l.key = line.key WHERE l.previous < l.key)
    SELECT NULL, c.space, NULL, 0, 0, 0, {_ROW} FROM line CROSS JOIN checkpoint c ON c.key = line.key
    WHERE {{where}} LIMIT ?"""
_ANY = f"""
    SELECT t.name, c.space, s.ns, t.deletes, t.sweeps, t.seq, {_ROW} FROM checkpoint c
    JOIN space s ON s.key = c.space JOIN thread t ON t.key = s.thread
    WHERE {{where}} ORDER BY c.key DESC LIMIT ?"""
_IF_NESTED = f"(substr(c.tags, 1, {TAG_SIZE}) IS NOT x'{NESTED.hex()}' OR instr(c.tags, ?) > 0)"
_PAGE_WRITES = """
    SELECT w.body, p.* FROM ({page}) p LEFT JOIN write w ON w.space = p.space AND w.id = p.id
    ORDER BY p.key DESC, w.number"""


class SqliteReads(SqliteSteps):
    """Finding checkpoints and listing them."""

    def find(self, thread: str, ns: str, id: str | None, known: Collection[bytes] = ()) -> Plan[StoredCheckpoint]:
        """Return one checkpoint; see `Backend.find`."""
        return self._find(thread, ns, id, alone=True)

    def _find(self, thread: str, ns: str, id: str | None, *, alone: bool = False) -> Plan[StoredCheckpoint]:
        name, space = self._identity(thread, CHECKPOINTS), text_bytes(ns)
        if id is None:
            rows = yield Sql(_FIND_HEAD, (space, name), False, alone)
        else:
            rows = yield Sql(_FIND_ID, (space, id_bytes(id), name), False, alone)
        if not rows:
            return StoredCheckpoint((yield from self._erased(thread)).state)
        body, deletes, sweeps, seq, head_id, *row = rows[0]
        found = None if row[0] is None else checkpoint_row(thread, ns, row)
        head = found.id if found is not None and head_id == row[1] else id_text(head_id)
        writes = [row[0] for row in rows] if body is not None else ()
        return StoredCheckpoint(ThreadState(deletes, sweeps, seq), head, found, writes)

    def ancestors(self, thread: str, ns: str, id: str, size: int) -> Plan[Sequence[StoredCheckpoint]]:
        """Return a checkpoint and its ancestors; see `Backend.ancestors`."""
        line: list[StoredCheckpoint] = []
        seen: set[str] = set()
        step: str | None = id
        while step is not None and step not in seen and len(line) < size:
            seen.add(step)
            found = yield from self._find(thread, ns, step)
            if found.row is None:
                break
            line.append(found)
            step = found.row.parent
        return line

    def page(
        self, query: Query, after: Any, size: int, writes: bool = True, known: Collection[bytes] = ()
    ) -> Plan[Page]:
        """Return matches, latest commit first; see `Backend.page`."""
        state = None
        if query.thread is None:
            text, params = yield from self._any(query, after)
        else:
            name = self._identity(query.thread, CHECKPOINTS)
            rows = yield Sql(_STATE, (text_bytes(query.ns or ""), name))
            if not rows:
                return Page(())
            *counts, thread, space, only = rows[0]
            state = ThreadState(*counts)
            if query.ns is None and only == b"":  # as of most threads: their line need not be sorted out of all
                query = replace(query, ns="")
            if query.ns is None or query.id is not None:
                text, params = yield from self._any(query, after, thread, space)
            else:
                text, params = yield from self._line(query, after, space)
        text = _PAGE_WRITES.format(page=text) if writes else f"SELECT NULL, p.* FROM ({text}) p"
        rows = yield Sql(text, (*params, size + 1))
        return _page(rows, query, state, size)

    def _line(self, query: Query, after: int | None, space: int | None) -> Plan[tuple[str, list[Any]]]:
        """Return the statement that lists one space from ``after`` on, and its parameters but the size."""
        terms, params, bound = yield from self._terms(query, after)
        where = " AND ".join(terms) or "true"
        return _LINE.format(where=where), [bound if after is None else after, space, *params]

    def _any(
        self, query: Query, after: int | None, thread: int | None = None, space: int | None = None
    ) -> Plan[tuple[str, list[Any]]]:
        """Return the statement that lists spaces together from ``after`` on, and its parameters but the size."""
        terms, params, _ = yield from self._terms(query, after)
        terms.append("t.tenant = ?")
        params.append(self._tenant)
        if query.id is not None:
            terms.append("c.id = ?")
            params.append(id_bytes(query.id))
        if thread is not None:
            keys = KEYS.replace("?1", "?")
            if query.id is not None:
                keys += " AND id = ?"
            terms.append(f"c.key IN ({keys})")
            params += [thread] if query.id is None else [thread, id_bytes(query.id)]
        if query.ns is not None:
            terms.append("s.ns = ?" if thread is None else "c.space = ?")
            params.append(text_bytes(query.ns) if thread is None else space)
        return _ANY.format(where=" AND ".join(terms)), params

    def _terms(self, query: Query, after: int | None) -> Plan[tuple[list[str], list[Any], int | None]]:
        """Return what any listing asks of a checkpoint, and ``before`` as a key. Values are always bound."""
        terms: list[tuple[str, Any]] = [("instr(c.tags, ?) > 0", tag) for tag in query.tags]
        terms += [(_IF_NESTED, tag) for tag in query.nested]
        bound = None
        if query.before is not None:
            bound = yield from self._bound(query.before_thread or query.thread, query.before)
            terms.append(("c.id < ?", id_bytes(query.before)) if bound is None else ("c.key < ?", bound))
        if after is not None:
            terms.append(("c.key <= ?", after))
        return [term for term, _ in terms], [value for _, value in terms], bound

    def _bound(self, thread: str | None, id: str) -> Plan[int | None]:
        if thread is None:
            text = "SELECT max(c.key) FROM checkpoint c JOIN space s ON s.key = c.space"
            text += " JOIN thread t ON t.key = s.thread WHERE c.id = ? AND t.tenant = ?"
            rows = yield Sql(text, (id_bytes(id), self._tenant))
        else:
            key = yield from self._thread(thread, CHECKPOINTS)
            rows = yield Sql(f"SELECT max(key) FROM ({KEYS} AND id = ?2)", (key, id_bytes(id)))
        bound: int | None = rows[0][0]
        return bound


def _page(rows: Sequence[Sequence[Any]], query: Query, state: ThreadState | None, size: int) -> Page:
    """Build a page from its rows, and one more; ``state`` is that of the query's thread."""
    bodies: dict[int, list[bytes]] = {}
    items: list[StoredCheckpoint] = []
    for body, name, _, ns, deletes, sweeps, seq, *row in rows:
        if row[0] not in bodies:
            if len(bodies) == size:
                return Page(items, row[0])
            written = bodies[row[0]] = []
            thread = bytes_text(name) if query.thread is None else query.thread
            with placing(thread):
                space = bytes_text(ns or b"") if query.ns is None else query.ns
            at = ThreadState(deletes, sweeps, seq) if state is None else state
            items.append(StoredCheckpoint(at, None, checkpoint_row(thread, space, row), written))
        if body is not None:
            bodies[row[0]].append(body)
    return Page(items)
