"""What a Postgres server says of itself: its settings, rights, connections, a pooler between."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from charm_checkpoint.checking.doctor.report import DoctorReport
from charm_checkpoint.checking.doctor.session import tell_clock, tell_tls
from charm_checkpoint.plan import Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.stores.postgres.setup import Ask

FEW = 10
"""Connections that are left, below which they may run out."""

_FACTS = """
    SELECT current_setting('server_version'), current_setting('synchronous_commit'), current_setting('fsync'),
        current_setting('full_page_writes'), pg_is_in_recovery()::text, current_setting('transaction_read_only'),
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::text,
        (current_setting('max_connections')::integer
            - current_setting('superuser_reserved_connections')::integer)::text,
        coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)::text,
        extract(epoch FROM clock_timestamp())::text, current_user::text, coalesce(inet_server_port(), 0)::text,
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)::text,
        (SELECT string_agg(r, ', ') FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) r
            WHERE NOT has_table_privilege(to_regclass('{schema}.thread'), r)),
        (to_regclass('{schema}.thread') IS NOT NULL)::text"""


TABLES = (
    "migration", "thread", "space", "checkpoint", "write", "chunk", "message", "message_batch", "thread_secret",
    "tombstone", "memory_space", "memory_item", "memory_vector",
)  # fmt: skip
_ALL = ", ".join(TABLES)
_MISSING = f"""
    SELECT string_agg(name, ', ' ORDER BY at) FROM unnest(string_to_array('{_ALL}', ', ')) WITH ORDINALITY n(name, at)
    WHERE to_regclass('{{schema}}.' || name) IS NULL"""


class PostgresDoctor:
    """Asks a server, and tells what its answers mean."""

    def __init__(self, hosts: Sequence[tuple[str, int | None]], is_near: bool) -> None:
        self._hosts = hosts
        self._is_near = is_near

    def examine(self, report: DoctorReport) -> Session[None]:
        """Tell what the server's settings promise."""
        if any(found.subject == "schema" and found.grade == "ok" for found in report.findings):
            yield from _look_for_tables(report)
        began = time.time()
        [row] = yield Step(ask, bare=True)
        ended = time.time()
        texts = [value.decode() if isinstance(value, bytes) else value for value in row]
        version, commit, fsync, pages, replica, read_only, used, most, tls, clock, user, port, root, lacks, there = (
            texts
        )
        report.facts.update(server=f"PostgreSQL {version}", synchronous_commit=commit, fsync=fsync, user=user)
        report.add("version", "ok", f"PostgreSQL {version}.")
        _tell_durability(report, commit, fsync, pages)
        if replica == "true" or read_only == "on":
            report.add("rights", "error", "the server is a replica, or read-only.", "Name the primary in the URL.")
        elif there == "true" and lacks:
            report.add("rights", "error", f"the user {user} lacks {lacks} on the tables.", "Grant these.")
        elif there == "true":
            report.add("rights", "ok", f"the user {user} may read and write the tables.")
        if root == "true":
            advice = "Row-level security does not hold for it: use a role of the program's own."
            report.add("user", "note", f"{user} is a superuser.", advice)
        _tell_connections(report, int(used), int(most))
        self._tell_pooler(report, int(port))
        tell_tls(report, tls == "true", self._is_near, "Add sslmode=verify-full to the URL.")
        tell_clock(report, float(clock), began, ended)

    def _tell_pooler(self, report: DoctorReport, port: int) -> None:
        """Tell of a pooler: the server's own port is then another one than the URL's."""
        ports = {own or 5432 for _, own in self._hosts}
        is_pooled = bool(port and self._hosts and port not in ports)
        report.facts["pooler"] = is_pooled
        if is_pooled:
            message = f"a pooler or proxy stands between: the server's own port is {port}."
            advice = "Any of transaction mode or session mode will do; statement mode will not."
            report.add("pooler", "note", message, advice)


def _look_for_tables(report: DoctorReport) -> Session[None]:
    """Tell of tables that a schema which says that it is up to date has not."""
    [[missing]] = yield Step(partial(ask, _MISSING), bare=True)
    if missing:
        names = missing.decode() if isinstance(missing, bytes) else missing
        message = f"these tables are not there: {names}. It is half of a schema, as half a backup leaves it."
        report.add("schema", "error", message, "Restore all of the schema, functions among it, from one backup.")


def ask(text: str = _FACTS) -> Plan[Any]:
    """Return the rows of a query."""
    return (yield Ask(text))


def _tell_durability(report: DoctorReport, commit: str, fsync: str, pages: str) -> None:
    if fsync != "on":
        advice = "Set fsync = on: without it a power loss may damage the whole database."
        report.add("durability", "error", f"fsync is {fsync}.", advice)
    elif pages != "on":
        report.add("durability", "warning", f"full_page_writes is {pages}.", "Set it on, unless the disk is atomic.")
    elif commit in ("off", "local"):
        advice = "Set synchronous_commit = on for this role: ALTER ROLE ... SET synchronous_commit = on."
        what = "a crash may undo the last commits" if commit == "off" else "a replica may lack the last commits"
        report.add("durability", "warning", f"synchronous_commit is {commit}: {what}.", advice)
    else:
        report.add("durability", "ok", f"fsync is on, synchronous_commit is {commit}.")


def _tell_connections(report: DoctorReport, used: int, most: int) -> None:
    left = most - used
    report.facts["connections"] = {"used": used, "most": most}
    if left < FEW:
        advice = "Lower max_connections= here or in other programs, put a pooler before it, or have it take more."
        report.add("connections", "warning", f"{left} of {most} are left.", advice)
    else:
        report.add("connections", "ok", f"{left} of {most} are left.")
