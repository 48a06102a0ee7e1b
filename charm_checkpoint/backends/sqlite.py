"""SQLite: the embedded default. Plans are in sql.py; here is the driver.

Write-ahead logging lets readers go on while somebody writes. One writer at a time is SQLite's
own rule; threads of one process queue for it, processes try again until they have it. Blocking
calls use a connection of their own. Async calls hop, a whole plan at a time, to one of two
threads of the store's own: one for writes, one for reads, so that a read never stands behind a
write that waits for another process. Even a short read is a hop: a file may be slow to answer,
and servers that watch their event loop refuse a blocking call however short.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from charm_checkpoint.backends.connections import Connections
from charm_checkpoint.backends.hop import Hop
from charm_checkpoint.backends.mounts import remote_kind
from charm_checkpoint.backends.schema import APPLICATION_ID
from charm_checkpoint.backends.sql import SqlBackend
from charm_checkpoint.backends.sql_steps import Sql
from charm_checkpoint.config import Location, Option, choice, duration, text
from charm_checkpoint.contract import Abilities
from charm_checkpoint.errors import (
    ConfigError,
    ReadOnlyStore,
    SchemaMismatch,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from charm_checkpoint.plan import MakePlan, run
from charm_checkpoint.store import Store

log = logging.getLogger(__name__)

T = TypeVar("T")

OLDEST = (3, 37, 0)
"""The first SQLite with STRICT tables."""

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
    """Runs plans on the connections to one file, which is opened when it is needed."""

    def __init__(self, path: str, *, synchronous: str = "full", timeout: float = 30.0, mode: str = "rwc") -> None:
        self.path = path if path == ":memory:" else str(Path(path).expanduser().absolute())
        self._in_memory = path == ":memory:"
        self._synchronous = synchronous
        self._timeout = timeout
        self._mode = mode
        # Beside the file that links lead to. A commit that is not awaited on disk needs no room made.
        self._closed = False
        self._looked = False
        self._connections = Connections(self._open, self.path, timeout, in_memory=self._in_memory)
        self._hops = {True: Hop("charm-sqlite-write"), False: Hop("charm-sqlite-read")}

    # ----------------------------------------------------------------- running

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan as one transaction, blocking."""
        try:
            connection = self._connections.take(write)
            try:
                return self._transact(connection, make, _WRITE) if write else self._read(connection, make)
            finally:
                self._connections.give(connection, write)
        except _RAISED as error:
            raise _translate(self.path, error) from error

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan in the store's own thread for its kind."""
        return await self._hops[write].run(lambda: self.run(make, write=write))

    def _read(self, connection: sqlite3.Connection, make: MakePlan[T]) -> T:
        """Run a plan without a transaction if it is one statement, which needs none."""
        plan = make()
        try:
            operation = next(plan)
            if operation.alone:
                plan.send(connection.execute(operation.text, operation.params).fetchall())
        except StopIteration as stop:
            result: T = stop.value
            return result
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
        finally:
            plan.close()
        # There is more to it: from the start, and all of it on one state of the store.
        return self._transact(connection, make, "BEGIN")

    def _transact(self, connection: sqlite3.Connection, make: MakePlan[T], begin: str) -> T:
        """Run a plan; the transaction begins with its first operation, so work before that holds no lock."""

        def execute(operation: Sql) -> list[Any]:
            if connection.in_transaction:
                return _execute(connection, operation)
            return self._begun(connection, begin, operation)

        return _commit(connection, lambda: run(make(), execute))

    def _begun(self, connection: sqlite3.Connection, begin: str, operation: Sql) -> list[Any]:
        try:
            return _begin(connection, begin, operation)
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            return self._patiently(lambda: _begin(connection, begin, operation))

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Try again while another process holds the lock, with growing, jittered pauses."""
        deadline = time.monotonic() + self._timeout
        pause = 0.0005
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                left = deadline - time.monotonic()
                if not _is_busy(error) or left <= 0:
                    raise
            time.sleep(min(pause * random.uniform(0.5, 1.5), left))
            pause = min(pause * 1.5, 0.05)

    # ----------------------------------------------------------------- opening

    def _open(self) -> sqlite3.Connection:
        self._tell_remote()
        connection = self._connect(f"mode={self._mode}")
        try:
            self._patiently(lambda: self._configure(connection))
            return connection
        except BaseException as error:
            connection.close()
            if self._mode != "ro" or not self._is_settled() or not _cannot_open(error):
                raise
        # A read-only folder has no room for the files that readers of a log share; with no log
        # beside it, the file is whole and can be read as it is.
        return self._connect("mode=ro&immutable=1")

    def _tell_remote(self) -> None:
        """Warn, once, of a file on a mount where write-ahead logging cannot be relied on."""
        if self._looked or self._in_memory:
            return
        self._looked = True
        kind = remote_kind(self.path)
        if kind:
            log.warning(
                "%s is on a %s mount: SQLite's locks and its log's shared memory do not work between hosts there, and "
                "its writes may be lost; put the file on a local disk, or use file://, postgresql:// or redis://",
                self.path,
                kind,
            )

    def _connect(self, query: str) -> sqlite3.Connection:
        uri = ":memory:" if self._in_memory else f"file:{quote(os.fsencode(self.path))}?{query}"
        # SQLite's own waiting is off: it sleeps for fixed times, so that two writers can miss each
        # other again and again; see `_patiently`.
        return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)

    def _is_settled(self) -> bool:
        log = Path(self.path + "-wal")
        return not log.exists() or log.stat().st_size == 0

    def _configure(self, connection: sqlite3.Connection) -> None:
        [[journal]] = connection.execute("PRAGMA journal_mode").fetchall()
        if self._mode != "ro" and journal not in ("wal", "memory") and _may_change(connection):
            # Room that deleting frees can be given back to the disk; this has to be said before
            # the first table.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA journal_size_limit = 16777216")

    # ----------------------------------------------------------------- closing

    def leased(self) -> int:
        """Return how many connections are at work; a store at rest has none."""
        return self._connections.leased()

    def close(self) -> None:
        """Close the connections; what is at work is done to its end first."""
        self._closed = True
        self._connections.shut()
        for hop in self._hops.values():
            hop.stop()
        self._connections.close()

    async def aclose(self) -> None:
        """Close the connections, without blocking the event loop."""
        await asyncio.to_thread(self.close)


_WRITE = "BEGIN IMMEDIATE"
_RAISED = (sqlite3.Error, UnicodeDecodeError)
"""What comes of SQLite's calls: the latter when a message quotes a broken file."""


def _begin(connection: sqlite3.Connection, begin: str, operation: Sql) -> list[Any]:
    if not connection.in_transaction:
        connection.execute(begin)
    return _execute(connection, operation)


def _execute(connection: sqlite3.Connection, operation: Sql) -> list[Any]:
    if operation.many:
        return connection.executemany(operation.text, operation.params).fetchall()
    return connection.execute(operation.text, operation.params).fetchall()


def _commit(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """Commit what ``work`` did, or take all of it back."""
    try:
        result = work()
        if connection.in_transaction:
            connection.execute("COMMIT")
        return result
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _may_change(connection: sqlite3.Connection) -> bool:
    """Tell whether a file is empty or ours; another program's is left as it is."""
    [[owner]] = connection.execute("PRAGMA application_id").fetchall()
    return owner == APPLICATION_ID or not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def _cannot_open(error: BaseException) -> bool:
    said = str(error)
    return isinstance(error, sqlite3.OperationalError) and ("unable to open" in said or "readonly" in said)


def _is_busy(error: Exception) -> bool:
    said = str(error)
    return "locked" in said or "busy" in said or "locking protocol" in said


def _translate(path: str, error: Exception) -> StoreError:
    """Tell apart by message: Python 3.10 has no error codes."""
    said = str(error)
    if _is_busy(error):
        return StoreUnavailable(f"{path} stayed locked by another process; nothing was written: {said}")
    if "readonly" in said:
        return ReadOnlyStore(f"{path} cannot be written: {said}")
    if "full" in said or "disk I/O" in said:
        return StoreUnavailable(f"{path}: {said}; nothing was written, free some room and try again")
    if "unable to open" in said:
        place = "file" if Path(path).parent.is_dir() else "folder"
        return StoreUnavailable(f"{path} cannot be opened: {said}; does the {place} exist, and may this user use it?")
    if "malformed" in said or "not a database" in said or isinstance(error, UnicodeDecodeError):
        return StoreCorrupt(f"{path} is not a sound SQLite database: {said}")
    if "no such table" in said:
        return SchemaMismatch(f"{path} has no tables of charm_checkpoint yet; run setup() first: {said}")
    return StoreError(f"{path}: {said}")
