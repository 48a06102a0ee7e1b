"""Postgres: plans are in procedures.py; here is the driver.

Each operation is one statement in autocommit on a pooled connection, which is held for that long
and no longer. Nothing is prepared and no session state is used, so any pooler may stand between;
the plans of the functions that do the work are kept by the server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo
from psycopg.rows import tuple_row

from charm_checkpoint.backends import pg_schema
from charm_checkpoint.backends.patience import Attempt, Failure, Pause, patiently
from charm_checkpoint.backends.pg_errors import NOT_DONE, is_lost, may_pass, translate
from charm_checkpoint.backends.pg_pools import (
    Pools,
    PoolSettings,
)
from charm_checkpoint.backends.pg_wire import exchange
from charm_checkpoint.backends.procedures import Call, Install, ProcedureBackend, Version
from charm_checkpoint.config import Location, Option, duration, text, whole
from charm_checkpoint.errors import ConfigError, StoreUnavailable
from charm_checkpoint.plan import MakePlan, Plan, arun, run
from charm_checkpoint.store import Store

T = TypeVar("T")

TENANT_BYTES = 1000
"""A tenant's name stands in an index, which has no room for a longer one."""

OPENING = 5.0
"""Seconds to wait for a server at first use: a wrong address should be told soon."""

KEEPALIVES = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "connect_timeout": "10"}
"""What libpq is told unless the URL says otherwise: a dead peer is noticed within a minute."""


def callback(value: object) -> Any:
    """Return an object as it is; text cannot stand for one."""
    if value is None or callable(value):
        return value
    raise ConfigError("is given in code, as a function, not as text")


def pool(value: object) -> Any:
    """Return a pool as it is."""
    if value is None or hasattr(value, "getconn"):
        return value
    raise ConfigError("is given in code, as an object of psycopg_pool")


OWN = (
    Option("schema", text, pg_schema.SCHEMA, "the Postgres schema that holds the tables; created if missing"),
    Option("tenant", text, "", "whose threads these are; tenants do not see each other's"),
    Option("timeout", duration, 30.0, "how long a call may take, waiting and trying again included"),
    Option("pool_size", whole, 10, "connections at most, for blocking calls and for each event loop"),
    Option("max_lifetime", duration, 3600.0, "how old a connection may become"),
    Option("max_idle", duration, 600.0, "how long a connection may be idle before it is closed"),
    Option("password", callback, None, "a function that returns the password, asked for each new connection"),
    Option("connect", callback, None, "a function that returns a new psycopg.Connection"),
    Option("async_connect", callback, None, "a coroutine function that returns a new psycopg.AsyncConnection"),
    Option("pool", pool, None, "your own psycopg_pool.ConnectionPool; it stays open"),
    Option("async_pool", pool, None, "your own psycopg_pool.AsyncConnectionPool; it stays open"),
)


@cache
def libpq_options() -> tuple[Option, ...]:
    """Return the options that a URL may hand to libpq, such as ``sslmode``."""
    own = {option.name for option in OWN}
    names = [found.keyword.decode() for found in Conninfo.get_defaults()]
    return tuple(Option(name, str, None, "handed to libpq as it is") for name in names if name not in own)


OPTIONS = (*OWN, *libpq_options())
"""What a URL's query, a config or keywords may say about a Postgres store."""


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a Postgres database; it is connected to when it is needed."""
    schema = pg_schema.check_name(options["schema"])
    if len(options["tenant"].encode("utf-8", "surrogatepass")) > TENANT_BYTES:
        raise ConfigError(f"tenant: its name is longer than {TENANT_BYTES} bytes")
    if not options["pool_size"]:
        raise ConfigError("pool_size: it is at least 1")
    settings = PoolSettings(
        _conninfo(location, options),
        size=options["pool_size"],
        **{name: options[name] for name in ("timeout", "max_lifetime", "max_idle", "password", "connect")},
        **{name: options[name] for name in ("async_connect", "pool", "async_pool")},
    )
    return Store(ProcedureBackend(options["tenant"]), PostgresDriver(settings, schema, _place(location)))


def _conninfo(location: Location, options: Mapping[str, Any]) -> str:
    given = {option.name: options[option.name] for option in libpq_options() if options[option.name] is not None}
    url = location.driver_url(scheme="postgresql", drop=location.query)
    try:
        return make_conninfo(url, **{**KEEPALIVES, **given})
    except psycopg.Error as error:
        raise ConfigError(f"{location}: {translate('libpq', error)}") from None


def _place(location: Location) -> str:
    hosts = ",".join(f"{name or 'localhost'}:{port or 5432}" for name, port in location.hosts) or "localhost"
    return f"Postgres at {hosts}/{location.database}"


class PostgresDriver:
    """Runs plans on pooled connections, natively in both halves."""

    def __init__(self, settings: PoolSettings, schema: str, place: str) -> None:
        self.schema = schema
        self.place = place
        self._timeout = settings.timeout
        self._pools = Pools(settings)

    # ----------------------------------------------------------------- running

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan, blocking; each of its operations is a transaction."""
        return run(make(), self._execute)

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan without blocking the event loop."""
        if isinstance(asyncio.get_running_loop(), getattr(asyncio, "ProactorEventLoop", ())):
            # psycopg cannot wait in the event loop that is Windows' default.
            return await asyncio.to_thread(self.run, make, write=write)
        return await arun(make(), self._aexecute)

    def _execute(self, operation: Any) -> Any:
        return run(self._tries(operation), self._step)

    async def _aexecute(self, operation: Any) -> Any:
        return await arun(self._tries(operation), self._astep)

    def _tries(self, operation: Any) -> Plan[Any]:
        timeout = min(self._timeout, OPENING) if isinstance(operation, Version) else self._timeout
        return patiently(operation, timeout, self._judge)

    def _judge(self, operation: Any, error: Exception) -> Failure:
        if not isinstance(error, psycopg.Error):
            raise error
        found, lost = translate(self.place, error), is_lost(error)
        again = not isinstance(operation, Call) or operation.again
        if lost and not again:
            found = StoreUnavailable(f"{found}; it may have been done or not: look before you try again")
        return Failure(found, retry=error.sqlstate in NOT_DONE or (lost and again and may_pass(error)))

    # ---------------------------------------------------------------- blocking

    def _step(self, step: Attempt | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        with self._pools.lend(step.left, _is_once(step)) as connection:
            if isinstance(step.operation, Call):
                reply = connection.wait(exchange(connection, self.schema, *step.operation[:2]))
            else:
                reply = self._query(connection, step.operation)
            if not connection.autocommit:
                connection.commit()
            return reply

    def _query(self, connection: psycopg.Connection[Any], operation: Any) -> Any:
        with psycopg.RawCursor(connection, row_factory=tuple_row) as cursor:

            def execute(query: Query) -> list[Any]:
                cursor.execute(query.text, query.args, prepare=False, binary=query.args is not None)
                return cursor.fetchall() if cursor.description else []

            return run(queries(self.schema, operation), execute)

    # ------------------------------------------------------------------- async

    async def _astep(self, step: Attempt | Pause) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        async with self._pools.alend(step.left, _is_once(step)) as connection:
            if isinstance(step.operation, Call):
                reply = await connection.wait(exchange(connection, self.schema, *step.operation[:2]))
            else:
                reply = await self._aquery(connection, step.operation)
            if not connection.autocommit:
                await connection.commit()
            return reply

    async def _aquery(self, connection: psycopg.AsyncConnection[Any], operation: Any) -> Any:
        async with psycopg.AsyncRawCursor(connection, row_factory=tuple_row) as cursor:

            async def execute(query: Query) -> list[Any]:
                await cursor.execute(query.text, query.args, prepare=False, binary=query.args is not None)
                return await cursor.fetchall() if cursor.description else []

            return await arun(queries(self.schema, operation), execute)

    # ----------------------------------------------------------------- closing

    def leased(self) -> int:
        """Return how many connections are at work; a store at rest has none."""
        return self._pools.leased()

    def close(self) -> None:
        """Close the connections; a user's own pool stays open."""
        self._pools.close()

    async def aclose(self) -> None:
        """Close the connections of every event loop."""
        self._pools.close()


def _is_once(step: Attempt) -> bool:
    return isinstance(step.operation, Call) and not step.operation.again


class Query(NamedTuple):
    """A statement for one connection; without ``args`` it may be several."""

    text: bytes
    args: tuple[Any, ...] | None = None


def queries(schema: str, operation: Version | Install) -> Plan[Any]:
    """Do what is not a call on one connection."""
    if isinstance(operation, Version):
        return (yield from _version(schema))
    return (yield from _install(schema))


def _version(schema: str) -> Plan[int]:
    [[server, mark, names]] = yield Query(_LOOK, (schema, list(pg_schema.TABLES)))
    pg_schema.judge(schema, server, mark, names)
    if mark != pg_schema.MARK:
        return 0
    [[version]] = yield Query(f'SELECT max(version) FROM "{schema}".migration'.encode())
    return version or 0


_LOOK = b"""
    SELECT current_setting('server_version_num')::integer,
        (SELECT obj_description(c.oid, 'pg_class') FROM pg_class c
            WHERE c.relnamespace = n.oid AND c.relname = 'migration' AND c.relkind = 'r'),
        ARRAY(SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = ANY ($2::text[]))
    FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = $1::text"""


def _install(schema: str) -> Plan[None]:
    """Create or migrate in one transaction, unless somebody else just did."""
    yield Query(b"BEGIN")
    yield Query(f"SELECT pg_advisory_xact_lock({pg_schema.LOCK})".encode())
    version = yield from _version(schema)
    [[missing]] = yield Query(b"SELECT NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1::text)", (schema,))
    if missing:
        yield Query(f'CREATE SCHEMA "{schema}"'.encode())
    for step in pg_schema.statements(schema, version):
        yield Query(step.encode())
    yield Query(b"COMMIT")
