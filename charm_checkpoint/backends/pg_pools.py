"""Connections to Postgres: a pool for blocking calls, and one for each event loop.

psycopg_pool owns the connections. Here is what it leaves open: which loop has which pool, what
becomes of a pool whose loop is over or whose process was forked, and calls that must end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeAlias

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from charm_checkpoint.errors import StoreClosed

Connection: TypeAlias = "psycopg.Connection[Any]"
AsyncConnection: TypeAlias = "psycopg.AsyncConnection[Any]"
Pool: TypeAlias = "ConnectionPool[Any]"
AsyncPool: TypeAlias = "AsyncConnectionPool[Any]"

IDLE = 30.0
"""Seconds after which a connection is tested before it is used."""

CHECK = 5.0
"""Seconds that a test may take."""

_inherited: list[Any] = []
"""Pools of a forked parent's: not to be used here, nor closed, which would end the parent's sessions."""

_all: weakref.WeakSet[Pools] = weakref.WeakSet()


@dataclass(frozen=True)
class PoolSettings:
    """How to connect, and how many connections to keep.

    ``password`` is asked for each new connection. ``connect`` and ``async_connect`` return a new
    connection; ``pool`` and ``async_pool`` are the user's own, and stay open.
    """

    conninfo: str
    min_size: int = 0
    max_size: int = 10
    timeout: float = 30.0
    max_lifetime: float = 3600.0
    max_idle: float = 600.0
    password: Callable[[], str] | None = field(default=None, repr=False)
    connect: Callable[[], Connection] | None = None
    async_connect: Callable[[], Any] | None = None
    pool: Pool | None = None
    async_pool: AsyncPool | None = None

    def login(self) -> dict[str, Any]:
        """Return what each new connection is made with."""
        fresh = {} if self.password is None else {"password": self.password()}
        return {"autocommit": True, "prepare_threshold": None, **fresh}


class Timed(psycopg.Connection[Any]):
    """A connection whose calls end by ``deadline``, whatever the network does."""

    deadline: float | None = None

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for an operation; see psycopg's own."""
        return super().wait(_until(gen, self.deadline), *args, **kwargs)


class AsyncTimed(psycopg.AsyncConnection[Any]):
    """A connection whose calls end by ``deadline``, whatever the network does."""

    deadline: float | None = None

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for an operation; see psycopg's own."""
        return await super().wait(_until(gen, self.deadline), *args, **kwargs)


class Pools:
    """The pools of one store, each opened when it is first used."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self._renew()
        _all.add(self)

    def _renew(self) -> None:
        self._lock = Lock()
        self._closed = False
        self._blocking: list[Pool] = []
        self._loops: dict[asyncio.AbstractEventLoop, tuple[AsyncPool, weakref.WeakSet[AsyncConnection]]] = {}
        self._end = weakref.finalize(self, _end, self._blocking, self._loops)

    def start_over(self) -> None:
        """Make ready for a forked child, which has no business with the parent's sockets."""
        self._end.detach()
        _inherited.extend([*self._blocking, *self._loops.values()])
        self._renew()

    # ----------------------------------------------------------------- opening

    def connect(self) -> Connection:
        """Return a new connection outside of any pool: what is wrong with it is said at once."""
        self._check()
        if self.settings.connect is not None:
            return self.settings.connect()
        return Timed.connect(self.settings.conninfo, **self.settings.login())

    async def aconnect(self) -> AsyncConnection:
        """Return a new connection outside of any pool, for this event loop."""
        self._check()
        if self.settings.async_connect is not None:
            made: AsyncConnection = await self.settings.async_connect()
            return made
        return await AsyncTimed.connect(self.settings.conninfo, **self.settings.login())

    def blocking(self) -> Pool:
        """Return the pool for blocking calls."""
        if self.settings.pool is not None:
            return self.settings.pool
        with self._lock:
            self._check()
            if not self._blocking:
                self._blocking.append(self._make_pool())
            return self._blocking[0]

    def _make_pool(self) -> Pool:
        settings, pools = self.settings, self

        class Fresh(Timed):
            @classmethod
            def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:
                return settings.connect() if settings.connect else super().connect(conninfo, **settings.login())

        pool: Pool = ConnectionPool(
            settings.conninfo, connection_class=Fresh, check=pools.test, **_sizes(settings), open=False
        )
        pool.open()
        return pool

    async def current(self) -> AsyncPool:
        """Return the pool of the running event loop."""
        if self.settings.async_pool is not None:
            return self.settings.async_pool
        loop = asyncio.get_running_loop()
        with self._lock:
            self._check()
            found = self._loops.get(loop)
            if found is None:
                self._drop_ended()
                found = self._loops[loop] = self._make_async_pool()
        if found[0].closed:
            await found[0].open()
        return found[0]

    def _make_async_pool(self) -> tuple[AsyncPool, weakref.WeakSet[AsyncConnection]]:
        settings, pools = self.settings, self
        made: weakref.WeakSet[AsyncConnection] = weakref.WeakSet()

        class Fresh(AsyncTimed):
            @classmethod
            async def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:
                if settings.async_connect is not None:
                    return await settings.async_connect()
                return await super().connect(conninfo, **settings.login())

        async def configure(connection: AsyncConnection) -> None:
            made.add(connection)

        pool: AsyncPool = AsyncConnectionPool(
            settings.conninfo, connection_class=Fresh, check=pools.atest, configure=configure,
            **_sizes(settings), open=False,
        )  # fmt: skip
        return pool, made

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed()

    def test(self, connection: Connection) -> None:
        """Test a connection that was not used for a while."""
        if _is_stale(connection):
            ConnectionPool.check_connection(connection)

    async def atest(self, connection: AsyncConnection) -> None:
        """Test a connection that was not used for a while."""
        if _is_stale(connection):
            await AsyncConnectionPool.check_connection(connection)

    # ----------------------------------------------------------------- closing

    def _drop_ended(self) -> None:
        for loop in [loop for loop in self._loops if loop.is_closed()]:
            _drop(self._loops.pop(loop)[1])

    def close(self) -> None:
        """Close every pool; those of event loops that run are closed by these."""
        for loop, (pool, made) in self._shut():
            if loop.is_closed():
                _drop(made)
            elif not loop.is_running() and not _in_a_loop():
                loop.run_until_complete(pool.close())
            elif _running_here() is loop:
                _closing.add(task := loop.create_task(pool.close()))
                task.add_done_callback(_closing.discard)
            else:
                with contextlib.suppress(RuntimeError):  # it ended just now
                    asyncio.run_coroutine_threadsafe(pool.close(), loop).result(self.settings.timeout)

    async def aclose(self) -> None:
        """Close every pool, without blocking this event loop."""
        here = asyncio.get_running_loop()
        with self._lock:
            own = self._loops.pop(here, None)
        if own is not None:
            await own[0].close()
        await asyncio.to_thread(self.close)

    def _shut(self) -> list[tuple[asyncio.AbstractEventLoop, tuple[AsyncPool, Any]]]:
        with self._lock:
            self._closed = True
            loops = list(self._loops.items())
            self._loops.clear()
            blocking, self._blocking[:] = list(self._blocking), []
        for pool in blocking:
            pool.close()
        return loops


_closing: set[asyncio.Task[None]] = set()


def _sizes(settings: PoolSettings) -> dict[str, Any]:
    return {
        "min_size": settings.min_size,
        "max_size": settings.max_size,
        "timeout": settings.timeout,
        "max_lifetime": settings.max_lifetime,
        "max_idle": settings.max_idle,
        "reconnect_timeout": settings.timeout,
    }


def mark_use(connection: Any, seconds: float) -> None:
    """Give a connection so many seconds for what it is used for now."""
    connection.used_at = time.monotonic()
    connection.deadline = connection.used_at + seconds


def _is_stale(connection: Any) -> bool:
    now = time.monotonic()
    connection.deadline = now + CHECK
    return now - getattr(connection, "used_at", now) > IDLE


def _until(gen: Generator[Any, Any, Any], deadline: float | None) -> Generator[Any, Any, Any]:
    """Drive psycopg's generator, which is told now and then that nothing came, but not for ever."""
    try:
        wanted = next(gen)
    except StopIteration as stop:
        return stop.value
    while True:
        ready = yield wanted
        if not ready and deadline is not None and time.monotonic() > deadline:
            raise psycopg.OperationalError("no answer came in time")
        try:
            wanted = gen.send(ready)
        except StopIteration as stop:
            return stop.value


def _drop(connections: weakref.WeakSet[AsyncConnection]) -> None:
    """Close the sockets of a loop that is over: nobody can await anything there."""
    for connection in list(connections):
        connection.pgconn.finish()


def _end(blocking: list[Pool], loops: dict[Any, tuple[AsyncPool, Any]]) -> None:
    for pool in blocking:
        pool.close()
    for _, made in loops.values():
        _drop(made)


def _running_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _in_a_loop() -> bool:
    return _running_here() is not None


def _after_fork() -> None:
    for pools in list(_all):
        pools.start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
