"""What only Postgres can tell: its settings, rows that belong to nothing, and counts that do not agree."""

from __future__ import annotations

from typing import Any

from charm_checkpoint.checking.doctor.network import is_local
from charm_checkpoint.checking.doctor.report import DoctorReport
from charm_checkpoint.checking.integrity.own import Count
from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.checking.stores.listed import look_at_listed
from charm_checkpoint.checking.stores.postgres_doctor import PostgresDoctor, ask
from charm_checkpoint.checking.stores.strays import BATCH, Stray, look_at_strays, lost_list
from charm_checkpoint.errors import StoreError
from charm_checkpoint.plan import Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES, identity, text_bytes

BACKUP = "Restore the database from a backup; or copy the threads that can be read to another store."


STRAYS = (
    Stray("space", "namespace", "thread", "thread", False),
    Stray("checkpoint", "checkpoint", "space", "space", False),
    Stray("write", "task's writes", "space", "space", True),
    Stray("chunk", "chunk", "thread", "thread", True),
    Stray("message", "message list", "thread", "thread", False),
    Stray("message_batch", "batch of messages", "thread", "thread", False),
    Stray("memory_item", "item", "space", "memory_space", False),
    Stray(
        "memory_vector", "item's vectors", "space", "memory_item", False,
        "(a.space, a.identity) = (r.space, r.identity)",
    ),
)  # fmt: skip

_SCHEMA = "{schema}."

_LOST_LISTS = f"""
    SELECT t.name FROM {{schema}}.thread t
    WHERE t.tenant = decode('%s', 'hex') AND t.kind = {MESSAGES} AND t.name IS NOT NULL
    AND NOT EXISTS (SELECT FROM {{schema}}.message WHERE thread = t.key)
    AND (NOT EXISTS (SELECT FROM {{schema}}.message_batch WHERE thread = t.key)
        OR EXISTS (SELECT FROM {{schema}}.chunk WHERE thread = t.key)) LIMIT 1000"""


class PostgresExaminer:
    """Looks at a schema as a whole, as far as its user may see it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # ---------------------------------------------------------------------- doctor

    is_remote = True

    def ping(self) -> Plan[Any]:
        """Ask for nothing."""
        return ask("SELECT 1")

    def examine(self, report: DoctorReport) -> Session[None]:
        """Tell what the server's settings promise."""
        driver: Any = self._store.driver
        hosts = _hosts(driver.place)
        yield from PostgresDoctor(hosts, is_local(hosts)).examine(report)

    # ------------------------------------------------------------------- integrity

    def own_checks(self, repair: bool) -> Session[list[IntegrityFinding]]:
        """Return rows that belong to nothing."""
        found = yield from self._lost_lists()
        found += yield from self._listed()
        return found + (yield from look_at_strays(self, STRAYS, repair and not found, BACKUP))

    def _lost_lists(self) -> Session[list[IntegrityFinding]]:
        """Return the threads whose row of a message list is there, and the list is not: it stays when it is emptied."""
        tenant = text_bytes(self._tenant).hex()
        try:
            rows = yield Step(lambda: ask(_LOST_LISTS % tenant))
        except StoreError as error:
            return [IntegrityFinding("store", f"message lists could not be looked for: {error}", "note")]
        return [lost_list(name, BACKUP) for [name] in rows]

    def _listed(self) -> Session[list[IntegrityFinding]]:
        try:
            return (yield from look_at_listed(_read, _SCHEMA, BACKUP))
        except StoreError as error:
            return [IntegrityFinding("store", f"the names of threads could not be compared: {error}", "note")]

    @property
    def _tenant(self) -> str:
        return str(getattr(self._store.backend, "tenant", ""))

    def recount(self, count: Count) -> Session[bool]:
        """Count what a thread holds, and note that on its row."""
        of = "WHERE tenant = decode('%s', 'hex') AND identity = decode('%s', 'hex') AND seq = %d FOR UPDATE"
        whose = identity(text_bytes(self._tenant), CHECKPOINTS, count.thread)
        held = of % (text_bytes(self._tenant).hex(), whose.hex(), count.seq)
        text = f"SELECT {{schema}}.recount(t.key) FROM (SELECT key FROM {{schema}}.thread {held}) t"
        return bool((yield Step(lambda: ask(text), count.thread, write=True)))

    def count(self, stray: Stray) -> Session[int]:
        """Count rows that belong to nothing."""
        rows = yield Step(lambda: ask(f"SELECT count(*)::bigint FROM {_of(stray)} WHERE {stray.lacks(_SCHEMA)}"))
        return int(rows[0][0])

    def remove(self, stray: Stray, start: Any) -> Session[Any]:
        """Remove some of them, from an owner on."""
        some = (
            f"SELECT r.ctid FROM {_of(stray)} WHERE r.{stray.owner} >= {int(start)} AND {stray.lacks(_SCHEMA)} "
            f"ORDER BY r.{stray.owner} LIMIT {BATCH}"
        )
        text = f"DELETE FROM {_of(stray)} WHERE r.ctid = ANY(ARRAY({some})) RETURNING r.{stray.owner}"
        rows = yield Step(lambda: ask(text), write=True)
        return max(int(row[0]) for row in rows) if len(rows) == BATCH else None


def _read(text: str) -> Session[list[Any]]:
    found: list[Any] = yield Step(lambda: ask(text))
    return found


def _hosts(place: str) -> list[tuple[str, int | None]]:
    """Return the hosts that a driver names, as in ``Postgres at a:5432,b:5433/database``."""
    named = place.removeprefix("Postgres at ").rpartition("/")[0] if place.startswith("Postgres at ") else ""
    found = [host.rpartition(":") for host in named.split(",") if host]
    return [(name, int(port) if port.isdigit() else None) for name, _, port in found]


def _of(stray: Stray) -> str:
    return f"{_SCHEMA}{stray.table} r"
