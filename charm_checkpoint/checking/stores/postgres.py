"""What only Postgres can tell: its settings, rows that belong to nothing, and counts that do not agree."""

from __future__ import annotations

from typing import Any, NamedTuple

from charm_checkpoint.checking.doctor.network import is_local
from charm_checkpoint.checking.doctor.report import DoctorReport
from charm_checkpoint.checking.integrity.own import Count
from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.checking.session import Session, Step
from charm_checkpoint.checking.stores.postgres_doctor import PostgresDoctor, ask
from charm_checkpoint.errors import StoreCorrupt, StoreError, StoreUnavailable
from charm_checkpoint.plan import Plan
from charm_checkpoint.store import Store
from charm_checkpoint.stores.shared.names import CHECKPOINTS, identity, text_bytes

BACKUP = "Restore the database from a backup; or copy the threads that can be read to another store."


class Stray(NamedTuple):
    """Rows that belong to nothing: their table, what each is, and where that which they belong to would be."""

    table: str
    what: str
    lacks: str
    is_waste: bool


STRAYS = (
    Stray("space", "namespace", "SELECT FROM {schema}.thread t WHERE t.key = r.thread", False),
    Stray("checkpoint", "checkpoint", "SELECT FROM {schema}.space s WHERE s.key = r.space", False),
    Stray("write", "task's writes", "SELECT FROM {schema}.space s WHERE s.key = r.space", True),
    Stray("chunk", "chunk", "SELECT FROM {schema}.thread t WHERE t.key = r.thread", True),
    Stray("message", "message list", "SELECT FROM {schema}.thread t WHERE t.key = r.thread", False),
    Stray("message_batch", "batch of messages", "SELECT FROM {schema}.thread t WHERE t.key = r.thread", False),
    Stray("memory_item", "item", "SELECT FROM {schema}.memory_space s WHERE s.key = r.space", False),
    Stray(
        "memory_vector", "item's vectors",
        "SELECT FROM {schema}.memory_item i WHERE (i.space, i.identity) = (r.space, r.identity)", True,
    ),
)  # fmt: skip

_COUNTS = """
    SELECT s.path, s.items, count(i.space)::bigint FROM {schema}.memory_space s
    LEFT JOIN {schema}.memory_item i ON i.space = s.key WHERE s.tenant = decode('%s', 'hex')
    GROUP BY s.key, s.path, s.items HAVING s.items <> count(i.space) ORDER BY s.path LIMIT 20"""


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
        """Return rows that belong to nothing, and namespaces of items that count others than there are."""
        found: list[IntegrityFinding] = []
        for stray in STRAYS:
            found += yield from self._strays(stray, repair)
        rows = yield from self._asked(_COUNTS % text_bytes(self._tenant).hex())
        if isinstance(rows, IntegrityFinding):
            return [*found, rows]
        for path, told, there in rows:
            message = f"the namespace {_path(path)} of items counts {told:,} items, and there are {there:,}."
            found.append(IntegrityFinding("item", message, count=abs(told - there), advice=BACKUP))
        return found

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

    def _strays(self, stray: Stray, repair: bool) -> Session[list[IntegrityFinding]]:
        where = f"{{schema}}.{stray.table} r WHERE NOT EXISTS ({stray.lacks})"
        rows = yield from self._asked(f"SELECT count(*)::bigint FROM {where}")
        if isinstance(rows, IntegrityFinding):
            return [rows]
        count = int(rows[0][0])
        if not count:
            return []
        is_gone = repair and stray.is_waste
        if is_gone:
            yield from self._asked(f"DELETE FROM {where}")
        return [_told(stray, count, is_gone)]

    def _asked(self, text: str) -> Session[Any]:
        """Return the rows of a query, or what is told of it that there are none."""
        try:
            return (yield Step(lambda: ask(text), write=text.startswith("DELETE")))
        except StoreCorrupt as error:
            return IntegrityFinding("store", str(error), advice=BACKUP)
        except (StoreUnavailable, StoreError) as error:
            return IntegrityFinding("store", f"a table could not be looked at as a whole: {error}", "note")


def _hosts(place: str) -> list[tuple[str, int | None]]:
    """Return the hosts that a driver names, as in ``Postgres at a:5432,b:5433/database``."""
    named = place.removeprefix("Postgres at ").rpartition("/")[0] if place.startswith("Postgres at ") else ""
    found = [host.rpartition(":") for host in named.split(",") if host]
    return [(name, int(port) if port.isdigit() else None) for name, _, port in found]


def _told(stray: Stray, count: int, is_gone: bool) -> IntegrityFinding:
    if stray.is_waste:
        return IntegrityFinding(
            "store", f"{count:,} rows of {stray.table} belong to nothing, and take room.", "waste", count=count,
            advice="A repair removes them.", repairable=True, repaired=is_gone,
        )  # fmt: skip
    return IntegrityFinding(
        "store", f"{count:,} rows of {stray.table} (each a {stray.what}) belong to what is not there any more: a row "
        "that they stand under is lost, and nobody can tell whose they are.",
        count=count, advice=f"Nothing finds them, and they harm no other thread. {BACKUP}",
    )  # fmt: skip


def _path(path: object) -> str:
    from charm_checkpoint.items.namespaces import namespace_of

    try:
        return repr(namespace_of(bytes(path)))  # type: ignore[call-overload]
    except (ValueError, TypeError):
        return repr(path)
