"""Postgres: plans are in postgres_schema/backend.py; here is the driver.

Each operation is one statement in autocommit on a pooled connection, which is held for that long
and no longer. Nothing is prepared and no session state is used, so any pooler may stand between;
the plans of the functions that do the work are kept by the server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo, TransactionStatus
from psycopg.rows import tuple_row

from charm_checkpoint.config.foreign_options import ForeignOption
from charm_checkpoint.config.masking import Secret
from charm_checkpoint.config.options import Location, Option, call_timeout, duration, non_negative_int, secret, text
from charm_checkpoint.errors import ConfigError, StoreUnavailable
from charm_checkpoint.plan import MakePlan, Plan, arun, run
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.runtime.event_loops import is_interpreter_ending
from charm_checkpoint.store import Store
from charm_checkpoint.stores.postgres.connections import PgPools, PoolSettings
from charm_checkpoint.stores.postgres.errors import is_connecting, is_lost, is_scarce, lacks_folder, may_pass, translate
from charm_checkpoint.stores.postgres.setup import Place, Query, queries
from charm_checkpoint.stores.postgres.wire import exchange
from charm_checkpoint.stores.postgres_schema import schema as pg_schema
from charm_checkpoint.stores.postgres_schema.backend import Call, PostgresBackend, Several, Version, is_once, repeated
from charm_checkpoint.stores.postgres_schema.items import PostgresItems
from charm_checkpoint.stores.postgres_schema.sqlstates import NOT_DONE
from charm_checkpoint.stores.shared.retry import Attempt, Failure, Pause, with_retries
from charm_checkpoint.telemetry.operation import note

T = TypeVar("T")

log = logging.getLogger("charm_checkpoint")

SHARED = (
    "%s: the schema 'public' is everybody's: other programs have their tables there, and roles that may create in it "
    "can get in the way. A schema of its own is safer, as in ?schema=charm_checkpoint"
)
"""What is logged of the schema that databases have from the beginning."""

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


password = secret("a password")

OWN = (
    Option("schema", text, pg_schema.SCHEMA, "the Postgres schema that holds the tables; created if missing"),
    Option("owner", text, "", "the role that may own the schema, or several with commas; default the database's owner"),
    Option("tenant", text, "", "whose threads these are; tenants do not see each other's"),
    Option(
        "timeout",
        call_timeout("30s"),
        30.0,
        "how long a call may take, waiting and trying again included",
    ),
    Option(
        "max_connections",
        non_negative_int,
        10,
        "connections at most, for blocking calls and for each event loop",
        former=("pool_size",),
    ),
    Option("max_lifetime", duration, 3600.0, "how old a connection may become"),
    Option("max_idle", duration, 600.0, "how long a connection may be idle before it is closed"),
    Option("password", password, None, "the password, or a function that returns it, asked for each new connection"),
    Option(
        "connect", callback, None, "a function that returns a new psycopg.Connection; to go", instead="pool or password"
    ),
    Option(
        "async_connect",
        callback,
        None,
        "a coroutine function that returns a new psycopg.AsyncConnection; to go",
        instead="async_pool or password",
    ),
    Option("pool", pool, None, "your own psycopg_pool.ConnectionPool; it stays open"),
    Option("async_pool", pool, None, "your own psycopg_pool.AsyncConnectionPool; it stays open"),
)


@cache
def libpq_options() -> tuple[Option, ...]:
    """Return the options that a URL may hand to libpq, such as ``sslmode``."""
    own = {option.name for option in OWN}
    names = [found.keyword.decode() for found in Conninfo.get_defaults()]
    return tuple(Option(name, str, None, "handed to libpq as it is", listed=False) for name in names if name not in own)


OPTIONS = (*OWN, *libpq_options())
"""What a URL's query, a config or keywords may say about a Postgres store."""

_TLS = {"true": "require", "1": "require", "on": "require", "no-verify": "require", "false": "disable", "0": "disable"}

_SAYS_NOTHING = ForeignOption()

FOREIGN = {
    # Prisma, Supabase and Vercel tell their clients to prepare nothing, or how many connections to have.
    **dict.fromkeys(("pgbouncer", "supa", "workaround", "pool_timeout", "pool_mode", "uselibpqcompat"), _SAYS_NOTHING),
    # Of asyncpg, SQLAlchemy, JDBC, pgx and lib/pq: nothing is prepared here.
    **dict.fromkeys(
        (
            "statement_cache_size", "prepared_statement_cache_size", "prepared_statements", "prepare_threshold",
            "preparethreshold", "prepareThreshold", "prepare", "binary_parameters", "default_query_exec_mode",
        ),
        _SAYS_NOTHING,
    ),
    "connection_limit": ForeignOption("max_connections"),
    "ssl": ForeignOption("sslmode", _TLS),
    "sslaccept": ForeignOption(
        "sslmode", {"accept_invalid_certs": "require"}, "write sslmode=verify-full, and sslrootcert= if need be"
    ),
}  # fmt: skip
"""What other programs' URLs say of a Postgres database."""


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a Postgres database; it is connected to when it is needed."""
    schema = pg_schema.check_name(options["schema"])
    if len(options["tenant"].encode("utf-8", "surrogatepass")) > TENANT_BYTES:
        raise ConfigError(f"tenant: its name is longer than {TENANT_BYTES} bytes")
    if not options["max_connections"]:
        raise ConfigError("max_connections: it is at least 1")
    settings = PoolSettings(
        Secret(_conninfo(location, options)),
        size=options["max_connections"],
        **{name: options[name] for name in ("timeout", "max_lifetime", "max_idle", "password", "connect")},
        **{name: options[name] for name in ("async_connect", "pool", "async_pool")},
    )
    tenant = options["tenant"]
    driver = PostgresDriver(settings, schema, _place(location), options["owner"])
    if schema == "public":
        log.warning(SHARED, driver.place)
    return Store(PostgresBackend(tenant), driver, items=PostgresItems(tenant))


def _conninfo(location: Location, options: Mapping[str, Any]) -> str:
    given = {option.name: options[option.name] for option in libpq_options() if options[option.name] is not None}
    url = location.driver_url(scheme="postgresql", drop=location.query)
    try:
        return make_conninfo(url, **{**KEEPALIVES, **given})
    except psycopg.Error as error:
        raise ConfigError(f"{location}: {translate('libpq', error)}") from None
    except UnicodeError:  # whose own text quotes it all
        raise ConfigError(f"{location}: it holds bytes that are not UTF-8") from None


def _place(location: Location) -> str:
    hosts = ",".join(f"{name or 'localhost'}:{port or 5432}" for name, port in location.hosts) or "localhost"
    return f"Postgres at {hosts}/{location.database}"


class PostgresDriver:
    """Runs plans on pooled connections, with the driver's own blocking and async connections."""

    examiner = "charm_checkpoint.checking.stores.postgres:PostgresExaminer"
    counts_trips = True

    def __init__(self, settings: PoolSettings, schema: str, place: str, owner: str = "") -> None:
        self.schema = schema
        self.place = place
        self._where = Place(place, schema, owner)
        self._timeout = settings.timeout
        self._pools = PgPools(settings)
        self._was_connected = False  # whether there ever was a connection

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
        if isinstance(operation, Several):
            return run(operation.one_by_one(), self._execute)
        return run(self._tries(operation), self._step)

    async def _aexecute(self, operation: Any) -> Any:
        if isinstance(operation, Several):
            return await arun(operation.one_by_one(), self._aexecute)
        return await arun(self._tries(operation), self._astep)

    def _tries(self, operation: Any) -> Plan[Any]:
        timeout = min(self._timeout, OPENING) if isinstance(operation, Version) else self._timeout
        return with_retries(operation, timeout, self._classify, repeated)

    def _classify(self, operation: Any, error: Exception) -> Failure:
        if not isinstance(error, psycopg.Error):
            raise error
        found = translate(self.place, error)
        if is_scarce(error):
            found = StoreUnavailable(f"{found}; {self._counts()}")
        if is_connecting(error):
            # A folder that was there once may come back with its server.
            return Failure(found, retry=may_pass(error) and (self._was_connected or not lacks_folder(error)))
        again, lost = not isinstance(operation, Call) or operation.again, is_lost(error)
        if lost and not again:
            found = StoreUnavailable(f"{found}; it may have been done or not: look before you try again")
        return Failure(found, retry=error.sqlstate in NOT_DONE or (lost and again))

    def _left(self, connection: Any) -> Callable[[], float]:
        # A user's own connection knows no deadline.
        deadline = getattr(connection, "deadline", None) or monotonic() + self._timeout
        return lambda: float(deadline - monotonic())

    def _counts(self) -> str:
        at_work, idle = self._pools.leased(), self._pools.idle()
        return (
            f"of this store's connections, {at_work} are at work and {idle} idle. If the server or a pooler gives no "
            "more sessions, lower max_connections, here and in other processes, or have it give more"
        )

    # ---------------------------------------------------------------- blocking

    def _step(self, step: Attempt | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return self._pools.use(partial(self._do, step.operation), step.left, sure=is_once(step.operation))

    def _do(self, operation: Any, connection: psycopg.Connection[Any]) -> Any:
        self._was_connected = True
        if isinstance(operation, Call):
            note(round_trips=1)
            reply = connection.wait(exchange(connection, self.schema, *operation[:2]))
        else:
            reply = self._query(connection, operation)
        if not connection.autocommit:
            note(round_trips=_is_in_transaction(connection))
            connection.commit()
        return reply

    def _query(self, connection: psycopg.Connection[Any], operation: Any) -> Any:
        with psycopg.RawCursor(connection, row_factory=tuple_row) as cursor:

            def execute(query: Query) -> list[Any]:
                note(round_trips=_trips_of_a_query(connection))
                cursor.execute(query.text, query.args, prepare=False, binary=query.args is not None)
                return cursor.fetchall() if cursor.description else []

            return run(queries(self._where, operation, self._left(connection)), execute)

    # ------------------------------------------------------------------- async

    async def _astep(self, step: Attempt | Pause) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        try:
            return await self._pools.ause(partial(self._ado, step.operation), step.left, sure=is_once(step.operation))
        except Exception as error:
            if not is_interpreter_ending(error):
                raise
        return self._step(step)  # in the last functions of a program, nobody else needs the event loop

    async def _ado(self, operation: Any, connection: psycopg.AsyncConnection[Any]) -> Any:
        self._was_connected = True
        if isinstance(operation, Call):
            note(round_trips=1)
            reply = await connection.wait(exchange(connection, self.schema, *operation[:2]))
        else:
            reply = await self._aquery(connection, operation)
        if not connection.autocommit:
            note(round_trips=_is_in_transaction(connection))
            await connection.commit()
        return reply

    async def _aquery(self, connection: psycopg.AsyncConnection[Any], operation: Any) -> Any:
        async with psycopg.AsyncRawCursor(connection, row_factory=tuple_row) as cursor:

            async def execute(query: Query) -> list[Any]:
                note(round_trips=_trips_of_a_query(connection))
                await cursor.execute(query.text, query.args, prepare=False, binary=query.args is not None)
                return await cursor.fetchall() if cursor.description else []

            return await arun(queries(self._where, operation, self._left(connection)), execute)

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


def _is_in_transaction(connection: Any) -> bool:
    """Tell whether a connection, the user's own, has a transaction open, whose end takes a round trip."""
    return bool(connection.pgconn.transaction_status != TransactionStatus.IDLE)


def _trips_of_a_query(connection: Any) -> int:
    """Return how many round trips a query takes: psycopg begins a transaction first, if one is missing."""
    return 1 if connection.autocommit or _is_in_transaction(connection) else 2
