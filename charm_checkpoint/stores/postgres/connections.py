"""Connections to Postgres, made for stores/shared/pools.py.

psycopg_pool is not used for these, though a user's own of its pools may be: it connects in
background tasks, which hide why a connection failed, come back a second or more later, and keep
an event loop from ending that is closed while one of them connects. Here whoever needs a
connection opens it, and no thread or task is left behind.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import waiting
from psycopg.conninfo import conninfo_to_dict, timeout_from_conninfo
from psycopg.errors import FinishedPGconn
from psycopg.pq import TransactionStatus

from charm_checkpoint.config.login_hints import told_password
from charm_checkpoint.config.masking import Secret
from charm_checkpoint.config.tracebacks import chain, drop_frames, handled
from charm_checkpoint.errors import StoreError
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.runtime.lifecycle import OwnerProcess
from charm_checkpoint.stores.postgres.errors import NoAnswer
from charm_checkpoint.stores.shared.pools import PoolLimits, Pools
from charm_checkpoint.telemetry.operation import note

Connection: TypeAlias = "psycopg.Connection[Any]"
AsyncConnection: TypeAlias = "psycopg.AsyncConnection[Any]"

T = TypeVar("T")

WAKE = 0.1
"""Seconds between looks at the clock while waiting for the server."""

GRACE = 1.0
"""Seconds that a new connection is waited for while another is idle: a pooler may have no session left for it."""

TESTED_AFTER = 30.0
"""Seconds after which an idle connection is tested before it is used."""


@dataclass(frozen=True)
class PoolSettings:
    """How to connect, and how many connections to have.

    ``password`` is asked for each new connection. ``connect`` and ``async_connect`` return a new
    connection; ``pool`` and ``async_pool`` are the user's own, and stay open.
    """

    conninfo: Secret
    size: int = 10
    timeout: float = 30.0
    max_lifetime: float = 3600.0
    max_idle: float = 600.0
    password: Callable[[], str] | None = field(default=None, repr=False)
    connect: Callable[[], Connection] | None = None
    async_connect: Callable[[], Any] | None = None
    pool: Any = None
    async_pool: Any = None

    def login(self, left: float) -> dict[str, Any]:
        """Return what a new connection is made with, within so many seconds."""
        fresh = {} if self.password is None else {"password": told_password(self.password())}
        # Whatever the database or the URL says: text from the server is read as this.
        fixed = {"autocommit": True, "prepare_threshold": None, "client_encoding": "UTF8"}
        return {**fixed, "connect_timeout": self._connect_timeout(left), **fresh}

    def _connect_timeout(self, left: float) -> int:
        given = conninfo_to_dict(self.conninfo.plain())
        # Each host has its part. libpq takes whole seconds, and less than two for two.
        part = left / (str(given.get("host") or "").count(",") + 1)
        return min(timeout_from_conninfo(given), max(2, math.ceil(part)))


def hide(error: BaseException, outer: BaseException | None) -> None:
    """Take out of an error of connecting what shows the password: frames, and what psycopg keeps of the connection."""
    drop_frames(error, outer, psycopg.Error)
    for found in chain(error, outer):
        kept = getattr(found, "pgconn", None)
        if isinstance(kept, FinishedPGconn):
            kept.info, kept.password, kept.options = [], b"", b""


class DeadlineConnection(psycopg.Connection[Any]):
    """A connection whose calls end by ``deadline``, whatever the network does."""

    deadline: float | None = None
    has_spare: Callable[[], bool] | None = None

    def wait(self, gen: Any, interval: float = WAKE, *args: Any, **kwargs: Any) -> Any:
        """Wait for an operation; see psycopg's own, which lets an interrupt wait ten seconds for the server."""
        return waiting.wait(_until(gen, self), self.pgconn.socket, interval)

    def __del__(self, *args: Any) -> None:
        """Say nothing of a connection that an interrupted call dropped: it is closed as it goes."""


class AsyncDeadlineConnection(psycopg.AsyncConnection[Any]):
    """A connection whose calls end by ``deadline``, whatever the network does."""

    deadline: float | None = None
    has_spare: Callable[[], bool] | None = None

    async def wait(self, gen: Any, interval: float = WAKE, *args: Any, **kwargs: Any) -> Any:
        """Wait for an operation; see psycopg's own, which lets a cancellation wait ten seconds for the server."""
        return await waiting.wait_async(_until(gen, self), self.pgconn.socket, interval)

    def __del__(self, *args: Any) -> None:
        """Say nothing of a connection that an interrupted call dropped: it is closed as it goes."""


def _until(
    gen: Generator[Any, Any, Any], connection: DeadlineConnection | AsyncDeadlineConnection
) -> Generator[Any, Any, Any]:
    """Drive psycopg's generator, which is told now and then that nothing came, but not for ever."""
    began = monotonic() if connection.has_spare else 0.0
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready:
                _check_time(connection, began)
            wanted = gen.send(ready)
    except StopIteration as stop:
        connection.has_spare = None
        return stop.value


def _check_time(connection: DeadlineConnection | AsyncDeadlineConnection, began: float) -> None:
    now = monotonic()
    late = connection.deadline is not None and now > connection.deadline
    if late or (connection.has_spare and now > began + GRACE and connection.has_spare()):
        connection.pgconn.finish()
        raise (NoAnswer if late else psycopg.OperationalError)("no answer came in time")


class PgMaker:
    """Makes connections to Postgres, and ends them; see `Maker`."""

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings

    def open(self, left: float) -> Connection:
        """Return a new connection, the user's own if the user makes them."""
        outer = handled()
        try:
            if self._settings.connect:
                return self._settings.connect()
            return DeadlineConnection.connect(self._settings.conninfo.plain(), **self._settings.login(left))
        except BaseException as error:
            hide(error, outer)
            raise error

    async def aopen(self, left: float) -> AsyncConnection:
        """Return a new connection for the running event loop."""
        outer = handled()
        try:
            if self._settings.async_connect:
                connection: AsyncConnection = await self._settings.async_connect()
                return connection
            return await AsyncDeadlineConnection.connect(self._settings.conninfo.plain(), **await self._alogin(left))
        except BaseException as error:
            hide(error, outer)
            raise error

    async def _alogin(self, left: float) -> dict[str, Any]:
        if self._settings.password is None:
            return self._settings.login(left)
        # A function that asks somebody for the password may take its time.
        return await asyncio.to_thread(self._settings.login, left)

    def close(self, connection: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        """Close a connection: nobody waits for it, so its event loop need not know."""
        connection.pgconn.finish()

    def lend(self, connection: Any, deadline: float) -> None:
        """Let what a connection does next end by a deadline."""
        connection.deadline = deadline

    def convert(
        self, connection: Any, loop: asyncio.AbstractEventLoop | None
    ) -> DeadlineConnection | AsyncDeadlineConnection:
        """Return a connection as one for the other way to call; see `Sharing`. libpq's own below it serves both."""
        found = DeadlineConnection(connection.pgconn) if loop is None else AsyncDeadlineConnection(connection.pgconn)
        found._autocommit = True
        found.prepare_threshold = None
        return found

    def watch(self, connection: Any, has_spare: Callable[[], bool]) -> None:
        """Note what to do without an answer; see `Sharing`."""
        connection.has_spare = has_spare

    def is_fit(self, connection: Any, *, done: bool) -> bool:
        """Tell whether a connection has nothing under way: the client library knows."""
        return not connection.closed and connection.pgconn.transaction_status == TransactionStatus.IDLE

    def is_lost(self, connection: Any) -> bool:
        """Tell whether a connection was cut."""
        return bool(connection.closed)

    def test(self, connection: Any) -> bool:
        """Tell whether the server answers."""
        note(round_trips=1)
        try:
            connection.execute("")
        except psycopg.Error:
            return False
        return True

    async def atest(self, connection: Any) -> bool:
        """Tell whether the server answers."""
        note(round_trips=1)
        try:
            await connection.execute("")
        except psycopg.Error:
            return False
        return True


class PgPools(Pools):
    """The connections of one store, or the user's own pools."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        times = {"max_lifetime": settings.max_lifetime, "max_idle": settings.max_idle, "tested_after": TESTED_AFTER}
        maker = PgMaker(settings)
        # What the user makes need not be of these kinds.
        sharing = None if settings.connect or settings.async_connect else maker
        super().__init__(
            PoolLimits(
                maker, settings.size, "max_connections", settings.timeout, **times, silence=(NoAnswer,), sharing=sharing
            )
        )  # fmt: skip
        self._user_pools = {
            id(pool): _UserPool(pool) for pool in (settings.pool, settings.async_pool) if pool is not None
        }

    def use(self, work: Callable[[Any], T], left: float, *, sure: bool = False) -> T:
        """Call a function with a connection; see `Pools.use`."""
        if self.settings.pool is None:
            return super().use(work, left, sure=sure)
        self._check()
        self._user_pools[id(self.settings.pool)].check("pool")
        with self.settings.pool.connection(timeout=left) as connection:
            return work(connection)

    async def ause(self, work: Callable[[Any], Awaitable[T]], left: float, *, sure: bool = False) -> T:
        """Await a coroutine function with a connection; see `Pools.use`."""
        if self.settings.async_pool is None:
            return await super().ause(work, left, sure=sure)
        self._check()
        self._user_pools[id(self.settings.async_pool)].check("async_pool")
        async with self.settings.async_pool.connection(timeout=left) as connection:
            return await work(connection)


class _UserPool:
    """A pool that the user opened, and in which process, as far as that was seen."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._owner: OwnerProcess | None = None
        self._look()

    def _look(self) -> None:
        if self._owner is None and not getattr(self._pool, "closed", False):
            self._owner = OwnerProcess()

    def check(self, option: str) -> None:
        """Refuse a pool in a child that was forked when the pool was open: its threads are not there."""
        self._look()
        if self._owner is not None and not self._owner.is_current():
            raise StoreError(
                f"{option}= was opened before this process was forked, so its connections are the parent's and its "
                "threads are gone. Open it in each worker: create it with open=False and call open() there (gunicorn: "
                "post_fork; uWSGI: @postfork or lazy-apps=true), or let this store connect by itself, without "
                f"{option}="
            )
