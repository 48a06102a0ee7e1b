"""SQLite: the embedded default. Plans are in sql.py; here is the driver.

Write-ahead logging lets readers go on while somebody writes. One writer at a time is SQLite's
own rule; threads of one process queue for it in fairness, processes by retrying. Blocking
calls use a connection of a small pool. Async calls hop, a whole plan at a time, to one of two
threads of the store's own: one for writes, one for reads, so that a read never stands behind a
write that waits for another process.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from charm_checkpoint.backends.sql import SqlBackend
from charm_checkpoint.backends.sql_steps import Sql
from charm_checkpoint.config import Location, Option, choice, duration, text
from charm_checkpoint.contract import Abilities
from charm_checkpoint.errors import (
    CharmError,
    ConfigError,
    ReadOnlyStore,
    SchemaMismatch,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from charm_checkpoint.plan import MakePlan, run
from charm_checkpoint.store import Store

T = TypeVar("T")

OLDEST = (3, 37, 0)
"""The first SQLite with STRICT tables."""

_drivers: weakref.WeakSet[SqliteDriver] = weakref.WeakSet()
_inherited: list[list[sqlite3.Connection]] = []

OPTIONS = (
    Option(
        "synchronous",
        choice("full", "normal"),
        "full",
        "full: every commit is on disk; normal: power loss may undo the last ones",
    ),
    Option("timeout", duration, 30.0, "how long to wait for another writer"),
    Option(
        "mode", choice("rwc", "rw", "ro"), "rwc", "rwc: create the file if missing; rw: it must exist; ro: read only"
    ),
    Option("tenant", text, "", "whose threads these are; tenants do not see each other's"),
)
"""What a URL's query, a config or keywords may say about a SQLite store."""


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a SQLite file, or ``:memory:``, which lives as long as the store object."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: charm_checkpoint needs 3.37 or newer.")
    in_memory = location.path == ":memory:"
    abilities = Abilities(durable=not in_memory, processes=not in_memory)
    driver = SqliteDriver(location.path, **{name: options[name] for name in ("synchronous", "timeout", "mode")})
    return Store(SqlBackend(options["tenant"], abilities), driver)


class SqliteDriver:
    """Owns the connections to one file, and opens them when they are needed."""

    def __init__(self, path: str, *, synchronous: str = "full", timeout: float = 30.0, mode: str = "rwc") -> None:
        self.path = path if path == ":memory:" else str(Path(path).expanduser().absolute())
        self._synchronous = synchronous
        self._timeout = timeout
        self._mode = mode
        self._closed = False
        self._reset()
        _drivers.add(self)

    def _reset(self) -> None:
        self._all: list[sqlite3.Connection] = []
        self._readers: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        self._turn = threading.Lock()
        self._opening = threading.Lock()
        self._hops: dict[bool, ThreadPoolExecutor] = {}
        self._finalizer = weakref.finalize(self, _close_all, self._all)

    def _forget(self) -> None:
        """Start afresh in a forked child: SQLite's connections must not cross a fork, not even to be closed."""
        _inherited.append(list(self._all))
        self._finalizer.detach()
        self._reset()

    # ----------------------------------------------------------------- running

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan as one transaction, blocking."""
        with _mapped(self.path), self._lease(write) as connection:
            return self._transact(connection, make, write)

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan in the store's own thread for its kind."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._hop(write), lambda: self.run(make, write=write))

    def _hop(self, write: bool) -> ThreadPoolExecutor:
        if self._closed:
            raise StoreClosed()
        hop = self._hops.get(write)
        if hop is None:
            with self._opening:
                hop = self._hops.setdefault(
                    write, ThreadPoolExecutor(1, "charm-sqlite-write" if write else "charm-sqlite-read")
                )
        return hop

    def _transact(self, connection: sqlite3.Connection, make: MakePlan[T], write: bool) -> T:
        """Run a plan; the transaction begins with its first operation, so work before that holds no lock."""

        def execute(operation: Sql) -> list[Any]:
            if not connection.in_transaction:
                self._begin(connection, write)
            if operation.many:
                return connection.executemany(operation.text, operation.params).fetchall()
            return connection.execute(operation.text, operation.params).fetchall()

        try:
            result = run(make(), execute)
            if connection.in_transaction:
                connection.execute("COMMIT")
            return result
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _begin(self, connection: sqlite3.Connection, write: bool) -> None:
        self._patiently(lambda: connection.execute("BEGIN IMMEDIATE" if write else "BEGIN"))

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Try again while another process holds the lock, with growing, jittered pauses."""
        deadline = time.monotonic() + self._timeout
        pause = 0.0005
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.05)

    # ------------------------------------------------------------- connections

    @contextmanager
    def _lease(self, write: bool) -> Iterator[sqlite3.Connection]:
        if write or self.path == ":memory:":
            with self._writers_turn() as connection:
                yield connection
            return
        connection = self._take_reader()
        try:
            yield connection
        finally:
            self._readers.append(connection)
            if self._closed:
                self.close()

    @contextmanager
    def _writers_turn(self) -> Iterator[sqlite3.Connection]:
        if not self._turn.acquire(timeout=self._timeout):
            raise StoreUnavailable(f"{self.path} was busy with this process's other writes for {self._timeout:g} s.")
        try:
            if self._closed:
                raise StoreClosed()
            if self._writer is None:
                self._writer = self._open()
            yield self._writer
        finally:
            self._turn.release()

    def _take_reader(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreClosed()
        try:
            return self._readers.pop()
        except IndexError:
            return self._open()

    def _open(self) -> sqlite3.Connection:
        connection = self._connect(f"mode={self._mode}")
        try:
            self._patiently(lambda: self._configure(connection))
        except sqlite3.OperationalError as error:
            connection.close()
            if self._mode != "ro" or not self._is_settled() or _is_busy(error):
                raise
            # A read-only folder has no room for the files that readers of a log share; with no
            # log beside it, the file is whole and can be read as it is.
            connection = self._connect("mode=ro&immutable=1")
        with self._opening:
            self._all.append(connection)
        return connection

    def _connect(self, query: str) -> sqlite3.Connection:
        uri = ":memory:" if self.path == ":memory:" else f"file:{quote(self.path)}?{query}"
        return sqlite3.connect(
            uri, uri=True, timeout=min(self._timeout, 5.0), isolation_level=None, check_same_thread=False
        )

    def _is_settled(self) -> bool:
        log = Path(self.path + "-wal")
        return not log.exists() or log.stat().st_size == 0

    def _configure(self, connection: sqlite3.Connection) -> None:
        [[journal]] = connection.execute("PRAGMA journal_mode").fetchall()
        if self._mode != "ro" and journal not in ("wal", "memory"):
            # Room that deleting frees is given back to the disk, see `SqlBackend._sweep`; this
            # works only before the first table.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA journal_size_limit = 16777216")

    # ----------------------------------------------------------------- closing

    def close(self) -> None:
        """Close the connections; those at work are closed when they are done."""
        self._closed = True
        for hop in self._hops.values():
            hop.shutdown(wait=threading.current_thread() not in hop._threads)
        with self._opening:
            idle, self._readers = self._readers, []
            for connection in idle:
                self._all.remove(connection)
                connection.close()
        with self._turn:
            if self._writer is not None:
                self._all.remove(self._writer)
                self._writer.close()
                self._writer = None

    async def aclose(self) -> None:
        """Close the connections, without blocking the event loop."""
        await asyncio.to_thread(self.close)


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


def _after_fork() -> None:
    for driver in list(_drivers):
        driver._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _is_busy(error: sqlite3.Error) -> bool:
    return "locked" in str(error) or "busy" in str(error)


@contextmanager
def _mapped(path: str) -> Iterator[None]:
    """Turn the driver's errors into ours; the only place that does."""
    try:
        yield
    except CharmError:
        raise
    except sqlite3.Error as error:
        raise _translate(path, error) from error


def _translate(path: str, error: sqlite3.Error) -> StoreError:
    """Tell apart by message: Python 3.10 has no error codes."""
    said = str(error)
    if _is_busy(error):
        return StoreUnavailable(f"{path} stayed locked by another process; nothing was written: {said}")
    if "readonly" in said:
        return ReadOnlyStore(f"{path} cannot be written: {said}")
    if "full" in said or "disk I/O" in said:
        return StoreUnavailable(f"{path}: {said}; nothing was written, free some room and try again")
    if "unable to open" in said:
        return StoreUnavailable(
            f"{path} cannot be opened: {said}; does the folder exist, and may this user write to it?"
        )
    if "malformed" in said or "not a database" in said:
        return StoreCorrupt(f"{path} is not a sound SQLite database: {said}")
    if "no such table" in said:
        return SchemaMismatch(f"{path} has no tables of charm_checkpoint yet; run setup() first: {said}")
    return StoreError(f"{path}: {said}")
