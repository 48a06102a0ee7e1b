"""Connections to Postgres: some for blocking calls, and some for each event loop.

psycopg_pool is not used for these, though a user's own of its pools may be: it connects in
background tasks, which hide why a connection failed, come back a second or more later, and keep
an event loop from ending that is closed while one of them connects. Here whoever needs a
connection opens it, and no thread or task is left behind.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock, Semaphore
from typing import Any, NamedTuple, TypeAlias, TypeVar

import psycopg
from psycopg import waiting
from psycopg.conninfo import conninfo_to_dict, timeout_from_conninfo
from psycopg.pq import TransactionStatus

from charm_checkpoint.backends.turns import Turns
from charm_checkpoint.errors import StoreClosed, StoreUnavailable

Connection: TypeAlias = "psycopg.Connection[Any]"
AsyncConnection: TypeAlias = "psycopg.AsyncConnection[Any]"

C = TypeVar("C", Connection, AsyncConnection)

WAKE = 0.1
"""Seconds between looks at the clock while waiting for the server."""

TESTED_AFTER = 30.0
"""Seconds of rest after which a connection is tested before it is used."""

_inherited: list[Any] = []
"""Connections of a forked parent's: not to be used here, nor closed, which would end its sessions."""

_all: weakref.WeakSet[Pools] = weakref.WeakSet()


@dataclass(frozen=True)
class PoolSettings:
    """How to connect, and how many connections to have.

    ``password`` is asked for each new connection. ``connect`` and ``async_connect`` return a new
    connection; ``pool`` and ``async_pool`` are the user's own, and stay open.
    """

    conninfo: str
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
        fresh = {} if self.password is None else {"password": self.password()}
        return {"autocommit": True, "prepare_threshold": None, "connect_timeout": self._patience(left), **fresh}

    def _patience(self, left: float) -> int:
        # libpq takes whole seconds, and less than two for two.
        return min(timeout_from_conninfo(conninfo_to_dict(self.conninfo)), max(2, math.ceil(left)))


class Timed(psycopg.Connection[Any]):
    """A connection whose calls end by ``deadline``, whatever the network does."""

    deadline: float | None = None

    def wait(self, gen: Any, interval: float = WAKE, *args: Any, **kwargs: Any) -> Any:
        """Wait for an operation; see psycopg's own, which lets an interrupt wait ten seconds for the server."""
        return waiting.wait(_until(gen, self), self.pgconn.socket, interval)


class AsyncTimed(psycopg.AsyncConnection[Any]):
    """A connection whose calls end by ``deadline``, whatever the network does."""

    deadline: float | None = None

    async def wait(self, gen: Any, interval: float = WAKE, *args: Any, **kwargs: Any) -> Any:
        """Wait for an operation; see psycopg's own, which lets a cancellation wait ten seconds for the server."""
        return await waiting.wait_async(_until(gen, self), self.pgconn.socket, interval)


def _until(gen: Generator[Any, Any, Any], connection: Timed | AsyncTimed) -> Generator[Any, Any, Any]:
    """Drive psycopg's generator, which is told now and then that nothing came, but not for ever."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and connection.deadline is not None and time.monotonic() > connection.deadline:
                connection.pgconn.finish()
                raise psycopg.OperationalError("no answer came in time")
            wanted = gen.send(ready)
    except StopIteration as stop:
        return stop.value


class Shelf:
    """Connections at rest. What was used last is taken first, so that those not needed grow old."""

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self._resting: deque[Any] = deque()

    def take(self) -> Any:
        """Return a connection, None if there is none fit to be used."""
        self._drop_old()
        while True:
            try:
                connection = self._resting.pop()
            except IndexError:
                return None
            if not connection.closed and not self._is_old(connection):
                return connection
            connection.pgconn.finish()

    def put(self, connection: Any) -> None:
        """Keep a connection for the next, or close it if it is not fit for that."""
        connection.used_at = time.monotonic()
        if connection.closed:
            # Whatever cut it may have cut them all: rather connect anew than find that out one by one.
            close_all(self.clear())
            return
        if self._is_old(connection) or connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.pgconn.finish()
        else:
            self._resting.append(connection)
            self._drop_old()

    def _is_old(self, connection: Any) -> bool:
        return time.monotonic() - float(connection.made_at) > self._settings.max_lifetime

    def _drop_old(self) -> None:
        while self._resting:
            oldest = self._resting[0]
            if time.monotonic() - oldest.used_at <= self._settings.max_idle:
                return
            try:
                self._resting.remove(oldest)
            except ValueError:  # another thread was faster
                return
            oldest.pgconn.finish()

    def clear(self) -> list[Any]:
        """Return all, and keep none."""
        every = []
        while self._resting:
            every.append(self._resting.pop())
        return every


class Here(NamedTuple):
    """What an event loop has: connections at rest, turns to have one, and what closes them at its end."""

    shelf: Shelf
    turns: Turns
    end: AsyncGenerator[None, None]


class Pools:
    """The connections of one store."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self._renew()
        _all.add(self)

    def _renew(self) -> None:
        self._lock = Lock()
        self._closed = False
        self._turns = Semaphore(self.settings.size)
        self._shelf = Shelf(self.settings)
        self._loops: dict[asyncio.AbstractEventLoop, Here] = {}
        self._out: set[int] = set()
        self._end = weakref.finalize(self, _end, self._shelf, self._loops)

    def start_over(self) -> None:
        """Make ready for a forked child, which has no business with the parent's sockets."""
        self._end.detach()
        _inherited.extend([self._shelf, *self._loops.values()])
        self._renew()

    def leased(self) -> int:
        """Return how many connections are at work."""
        return len(self._out)

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed()

    # ---------------------------------------------------------------- blocking

    @contextmanager
    def lend(self, left: float, sure: bool = False) -> Iterator[Connection]:
        """Lend a connection for a blocking call, to be had and done with in so many seconds.

        ``sure`` has it tested in any case, for a call that cannot be made again.
        """
        deadline = time.monotonic() + left
        if self.settings.pool is not None:
            with self.settings.pool.connection(timeout=left) as connection:
                yield connection
            return
        self._check()
        if not self._turns.acquire(timeout=left):
            raise self._crowded()
        try:
            connection = self._take(deadline, sure)
            try:
                self._out.add(id(connection))
                yield connection
            finally:
                self._put_back(connection, self._shelf)
        finally:
            self._turns.release()

    def _take(self, deadline: float, sure: bool) -> Connection:
        while True:
            connection: Connection | None = self._shelf.take()
            if connection is None:
                connection = self.settings.connect() if self.settings.connect else self._open(deadline)
                return _begun(connection, deadline)
            if not (_is_rested(connection, deadline) or sure):
                return connection
            with _is_tested(connection) as works:
                connection.execute("")
                works.append(True)
            if works:
                return connection

    def _open(self, deadline: float) -> Connection:
        return Timed.connect(self.settings.conninfo, **self.settings.login(deadline - time.monotonic()))

    # ------------------------------------------------------------------- async

    @asynccontextmanager
    async def alend(self, left: float, sure: bool = False) -> AsyncIterator[AsyncConnection]:
        """Lend a connection for an async call, as `lend` does."""
        deadline = time.monotonic() + left
        if self.settings.async_pool is not None:
            async with self.settings.async_pool.connection(timeout=left) as connection:
                yield connection
            return
        here = await self._here()
        if not await here.turns.take(left):
            raise self._crowded()
        try:
            connection = await self._atake(here.shelf, deadline, sure)
            try:
                self._out.add(id(connection))
                yield connection
            finally:
                self._put_back(connection, here.shelf)
        finally:
            here.turns.give()

    async def _here(self) -> Here:
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None or self._closed:
            found = self._arrive(loop)
            await anext(found.end)
        return found

    def _arrive(self, loop: asyncio.AbstractEventLoop) -> Here:
        with self._lock:
            self._check()
            for ended in [loop for loop in self._loops if loop.is_closed()]:
                _leave(self._loops.pop(ended))
            shelf = Shelf(self.settings)
            found = self._loops[loop] = Here(shelf, Turns(self.settings.size), _close_at_end(shelf))
            return found

    async def _atake(self, shelf: Shelf, deadline: float, sure: bool) -> AsyncConnection:
        while True:
            connection: AsyncConnection | None = shelf.take()
            if connection is None:
                opening = self.settings.async_connect() if self.settings.async_connect else self._aopen(deadline)
                return _begun(await opening, deadline)
            if not (_is_rested(connection, deadline) or sure):
                return connection
            with _is_tested(connection) as works:
                await connection.execute("")
                works.append(True)
            if works:
                return connection

    async def _aopen(self, deadline: float) -> AsyncConnection:
        # A function that asks somebody for the password may take its time.
        login = await asyncio.to_thread(self.settings.login, deadline - time.monotonic())
        return await AsyncTimed.connect(self.settings.conninfo, **login)

    # ----------------------------------------------------------------- closing

    def _put_back(self, connection: Any, shelf: Shelf) -> None:
        self._out.discard(id(connection))
        shelf.put(connection)
        if self._closed:
            close_all(shelf.clear())

    def _crowded(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"all {self.settings.size} connections were at work for {self.settings.timeout:g} s; nothing was written. "
            "Raise pool_size, or timeout"
        )

    def close(self) -> None:
        """Close what rests, of every event loop; what is at work is closed when it is done."""
        with self._lock:
            self._closed = True
            _end(self._shelf, self._loops)


def _begun(connection: C, deadline: float) -> C:
    noted: Any = connection
    noted.made_at = noted.used_at = time.monotonic()
    noted.deadline = deadline
    return connection


def _is_rested(connection: Any, deadline: float) -> bool:
    connection.deadline = deadline
    return time.monotonic() - float(connection.used_at) > TESTED_AFTER


@contextmanager
def _is_tested(connection: Any) -> Iterator[list[bool]]:
    """Close a connection unless the block says that it works."""
    works: list[bool] = []
    try:
        yield works
    except psycopg.Error:
        works.clear()
    finally:
        if not works:
            connection.pgconn.finish()


def close_all(connections: Iterable[Any]) -> None:
    """Close connections at rest: nobody waits for them, so their event loop need not know."""
    for connection in connections:
        connection.pgconn.finish()


async def _close_at_end(shelf: Shelf) -> AsyncGenerator[None, None]:
    """Close what rests when the event loop ends: it then closes the async generators that began in it."""
    try:
        yield
    finally:
        close_all(shelf.clear())


def _leave(here: Here) -> None:
    """Close what an event loop has, from wherever that may be."""
    # It does not wait for anything, so one step takes it to its end; an event loop is not needed.
    with suppress(StopIteration):
        here.end.aclose().__await__().__next__()
    close_all(here.shelf.clear())


def _end(shelf: Shelf, loops: dict[Any, Here]) -> None:
    close_all(shelf.clear())
    for here in loops.values():
        _leave(here)


def _after_fork() -> None:
    for pools in list(_all):
        pools.start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
