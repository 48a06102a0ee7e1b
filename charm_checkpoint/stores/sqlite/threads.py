"""The plans of the SQLite store that look at threads as a whole: a listing, and how much there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from charm_checkpoint.contract import ThreadPage, ThreadRow, Usage
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES, thread_row
from charm_checkpoint.stores.sqlite.reads import SqliteReads
from charm_checkpoint.stores.sqlite.steps import Sql

_ITS_OWN = "space IN (SELECT key FROM space WHERE thread = p.key)"
_IS_COUNTED = "h.counted = h.seq AND h.checkpoints IS NOT NULL"
# A thread's checkpoints and its messages have rows of their own under one name. What was counted is on the row; of the
# checkpoints of others only their index is looked at, which is small and holds no body.
_THREADS = f"""
    SELECT p.name, p.at, iif({_IS_COUNTED}, h.checkpoints, (SELECT count(*) FROM checkpoint WHERE {_ITS_OWN})),
        p.list IS NOT NULL AND (EXISTS (SELECT 1 FROM message_list WHERE thread = p.list AND body IS NOT NULL)
            OR EXISTS (SELECT 1 FROM message_batch WHERE thread = p.list)),
        iif({_IS_COUNTED}, h.head, (
            SELECT c.id FROM space s JOIN checkpoint c INDEXED BY checkpoint_id ON c.space = s.key AND +c.key = s.head
            WHERE s.thread = p.key AND s.ns = x'')),
        h.title, h.note, h.writes_note, iif(h.key IS NULL, 0, iif({_IS_COUNTED}, h.size, NULL)), p.pinned,
        iif({_IS_COUNTED} AND h.checkpoints > 0, 1, EXISTS (SELECT 1 FROM write WHERE {_ITS_OWN}))
    FROM (
        SELECT t.name, max(t.touched_at) AS at, max(t.pinned) AS pinned,
            max(iif(t.kind = {CHECKPOINTS}, t.key, NULL)) AS key, max(iif(t.kind = {MESSAGES}, t.key, NULL)) AS list
        FROM thread t WHERE t.tenant = ?1 AND t.name IS NOT NULL GROUP BY t.name
        HAVING ?2 IS NULL OR (max(t.touched_at), t.name) < (?2, ?3)
        ORDER BY 2 DESC, 1 DESC LIMIT ?4
    ) p LEFT JOIN thread h ON h.key = p.key ORDER BY p.at DESC, p.name DESC"""


_THREAD = _THREADS.replace("t.name IS NOT NULL GROUP", "t.identity IN (?5, ?6) AND t.name IS NOT NULL GROUP")


class SqliteThreads(SqliteReads):
    """Listing threads and counting what they hold."""

    def threads(self, after: Any, size: int) -> Plan[ThreadPage]:
        """Return threads, those changed last first; see `Backend.threads`."""
        at, name = after or (None, None)
        rows = yield Sql(_THREADS, (self._tenant, at, name, size + 1), alone=True)
        shown = [_thread_row(row) for row in rows[:size] if _holds(row)]
        return ThreadPage(shown, (rows[size - 1][1], rows[size - 1][0]) if len(rows) > size else None)

    def thread_row(self, thread: str) -> Plan[ThreadRow | None]:
        """Return one thread's row; see `TellsThreads`."""
        names = [self._identity(thread, kind) for kind in (CHECKPOINTS, MESSAGES)]
        rows = yield Sql(_THREAD, (self._tenant, None, None, 1, *names), alone=True)
        return next((_thread_row(row) for row in rows if _holds(row)), None)

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what is stored; see `Backend.usage`."""
        where, params = "t.tenant = ?1 AND t.name IS NOT NULL", [self._tenant]
        if thread is not None:
            where += " AND t.identity IN (?2, ?3)"
            params += [self._identity(thread, kind) for kind in (CHECKPOINTS, MESSAGES)]
        of_space = f"space IN (SELECT s.key FROM space s JOIN thread t ON t.key = s.thread WHERE {where})"
        of_thread = f"thread IN (SELECT t.key FROM thread t WHERE {where})"
        its_own = "space IN (SELECT key FROM space WHERE thread = t.key)"
        holding = " OR ".join(
            f"EXISTS (SELECT 1 FROM {rows})"
            for rows in (
                "space WHERE thread = t.key AND head IS NOT NULL",
                f"write WHERE {its_own}",
                "message_list WHERE thread = t.key AND body IS NOT NULL",
                "message_batch WHERE thread = t.key",
            )
        )
        [[threads]] = yield Sql(f"SELECT count(DISTINCT t.name) FROM thread t WHERE {where} AND ({holding})", params)
        counts, total = [], 0
        for table, column, kin in (
            ("checkpoint", "body", of_space),
            ("write", "body", of_space),
            ("chunk", "data", of_thread),
            ("message_list", "body", of_thread),
            ("message_batch", "body", of_thread),
        ):
            [[count, size]] = yield Sql(
                f"SELECT count(*), coalesce(sum(length({column})), 0) FROM {table} WHERE {kin}", params
            )
            counts.append(count)
            total += size
        return Usage(threads, counts[0], counts[1], counts[2], total)


def _holds(row: Sequence[Any]) -> bool:
    """Tell whether there is a checkpoint, a message list or a pending write."""
    return bool(row[2] or row[3] or row[-1])


def _thread_row(row: Sequence[Any]) -> ThreadRow:
    name, at, checkpoints, has_messages, head, title, note, writes_note, size, pinned, _ = row
    shown = thread_row(name, at, checkpoints, has_messages, head, (title, note, writes_note))
    return shown._replace(size=size, pinned=bool(pinned))
