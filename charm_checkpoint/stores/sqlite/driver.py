"""SQLite: the embedded default. Plans are in backend.py; here is the driver.

Write-ahead logging lets readers go on while somebody writes. One writer at a time is SQLite's
own rule; threads of one process queue for it, processes try again until they have it. Blocking
calls use a connection of their own. An async call runs its whole plan in one of two threads of
the store's own: one for writes, one for reads, so that a read never waits behind a write that
waits for another process. Even a short read goes there: a file may be slow to answer, and servers
that watch their event loop refuse a blocking call however short.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from charm_checkpoint.config.options import Location, Option, choice, duration, file_rights, text
from charm_checkpoint.contract import Capabilities
from charm_checkpoint.errors import ConfigError, StoreUnavailable
from charm_checkpoint.plan import MakePlan, Plan, run, step
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.runtime.leases import consume, note
from charm_checkpoint.runtime.lifecycle import closing_deadline
from charm_checkpoint.runtime.worker_thread import ReadWriteThreads, aside
from charm_checkpoint.store import Store
from charm_checkpoint.stores.shared.mounts import remote_kind
from charm_checkpoint.stores.sqlite.backend import SqliteBackend
from charm_checkpoint.stores.sqlite.connections import Connections
from charm_checkpoint.stores.sqlite.errors import RAISED, cannot_open, is_busy, is_malformed, translate
from charm_checkpoint.stores.sqlite.items import SqliteItems
from charm_checkpoint.stores.sqlite.objects import check, guard
from charm_checkpoint.stores.sqlite.open_file import MOVABLE, Connection, NamedFile, identity
from charm_checkpoint.stores.sqlite.parts import Parts
from charm_checkpoint.stores.sqlite.schema import APPLICATION_ID
from charm_checkpoint.stores.sqlite.steps import Sql
from charm_checkpoint.values.sealing import marked

log = logging.getLogger("charm_checkpoint")

T = TypeVar("T")

OLDEST = (3, 37, 0)
"""The first SQLite with STRICT tables."""

TRIES = 10
"""How often to open a file that is made or replaced meanwhile."""

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
    Option("file_mode", file_rights, None, "the rights of a new file and its log, as 0640; else 0600"),
    Option("tenant", text, "", "whose threads these are; tenants do not see each other's"),
)
"""What a URL's query, a config or keywords may say about a SQLite store."""


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a SQLite file, or ``:memory:``, which lives as long as the store object."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: charm_checkpoint needs 3.37 or newer.")
    in_memory = location.path == ":memory:"
    capabilities = Capabilities(
        durable=not in_memory, processes=not in_memory, marks_copies=True, latest_first=True, counts_removed=True
    )
    driver = SqliteDriver(
        location.path, **{name: options[name] for name in ("synchronous", "timeout", "mode", "file_mode")}
    )
    tenant, budget = options["tenant"], Budget()
    return Store(SqliteBackend(tenant, capabilities), driver, items=SqliteItems(tenant, budget), budget=budget)


def absolute(path: str) -> Path:
    """Return where a file is; ``~`` and ``~user`` are a home, if there is such a user."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        return Path(path).absolute()


class SqliteDriver:
    """Runs plans on the connections to one file, which is opened when it is needed."""

    examiner = "charm_checkpoint.checking.stores.sqlite:SqliteExaminer"

    def __init__(
        self,
        path: str,
        *,
        synchronous: str = "full",
        timeout: float = 30.0,
        mode: str = "rwc",
        file_mode: int | None = None,
    ) -> None:
        self.path = path if path == ":memory:" else str(absolute(path))
        self.in_memory = path == ":memory:"
        self._synchronous = synchronous
        self._timeout = timeout
        self.mode = mode
        self._looked = False
        self._file = None if self.in_memory else NamedFile(self.path, mode, file_mode)
        self._connections = Connections(self._open, self._file, timeout)
        self._threads = ReadWriteThreads("charm-sqlite")

    # ----------------------------------------------------------------- running

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan as one transaction, blocking; one that pauses is several."""
        with closing(Parts(make)) as parts:
            while not parts.ended:
                self._run(parts, write)
                if parts.rests:
                    time.sleep(parts.rest())
            return parts.ended[0]

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan in the store's own thread for its kind; where it pauses, others have their turn there."""
        with closing(Parts(make)) as parts:
            while not parts.ended:
                await self._threads.run(lambda: self._run(parts, write), write=write)
                if parts.rests:
                    await asyncio.sleep(parts.rest())
            return parts.ended[0]

    def _run(self, parts: Parts[T], write: bool) -> None:
        """Run the next part of a plan that writes, or all of one that does not."""
        connection: Connection | None = None
        try:
            alone = write and not parts.is_outside()
            with self._connections.lend(alone) as connection:
                if not write:
                    parts.ended.append(self._read(connection, parts.make))
                    return
                self._transact(connection, parts.part(), _WRITE)
                if alone:
                    self._connections.confirm(connection)
                    if parts.pacer is not None:
                        [version] = connection.execute("PRAGMA data_version").fetchone()
                        parts.pacer.see(version)  # it changes when other processes write
        except RAISED as error:
            if connection is not None:
                connection.watch.tell()
            raise translate(self.path, error, self.mode) from error

    def _read(self, connection: Connection, make: MakePlan[T]) -> T:
        """Run a plan: a first statement that is ``alone`` without a transaction, what comes after it in one."""
        plan = make()
        try:
            operation = step(plan)
            if operation.alone:
                reply = _execute(connection, operation)
                if connection.watch.prepared:
                    self._look(connection)
                operation = step(plan, reply)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except BaseException as error:
            plan.close()
            if not isinstance(error, sqlite3.OperationalError) or not is_busy(error):
                self._explain(connection, error)
                raise
            return self._transact(connection, make(), "BEGIN")
        return self._transact(connection, plan, "BEGIN", operation)

    def _transact(self, connection: Connection, plan: Plan[T], begin: str, first: Sql | None = None) -> T:
        """Run a plan, from ``first`` on; the transaction begins with its first operation: work before holds no lock."""

        def execute(operation: Sql) -> list[Any]:
            try:
                if operation.outside:
                    return self._outside(connection, operation)
                if connection.in_transaction:
                    return _execute(connection, operation)
                return self._begun(connection, begin, operation)
            except RAISED as error:
                self._explain(connection, error)
                if not is_malformed(error):
                    raise
                # A plan may know how to do without, in a new transaction: SQLite goes on with none that met this.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise translate(self.path, error, self.mode) from error

        return self._commit(connection, lambda: run(plan, execute, first))

    def _commit(self, connection: Connection, work: Callable[[], T]) -> T:
        """Commit what ``work`` did, or take all of it back."""
        try:
            result = work()
            if connection.in_transaction:
                if connection.watch.prepared:
                    check(connection, connection.watch, self.path)
                connection.execute("COMMIT")
            return result
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _outside(self, connection: Connection, operation: Sql) -> list[Any]:
        """Run a statement without a transaction."""
        reply = self._patiently(lambda: _execute(connection, operation)) if operation.text else []
        if connection.watch.prepared:
            self._look(connection)
        return reply

    def _look(self, connection: Connection) -> None:
        """See that our tables are as they were made."""
        connection.execute("BEGIN")
        try:
            check(connection, connection.watch, self.path)
        finally:
            connection.execute("ROLLBACK")

    def _explain(self, connection: Connection, error: BaseException) -> None:
        """Raise `SchemaMismatch` if a statement may have failed because our tables are not as they were made."""
        if isinstance(error, RAISED) and connection.watch.prepared and not is_busy(error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            with suppress(*RAISED):
                self._look(connection)

    def _begun(self, connection: Connection, begin: str, operation: Sql) -> list[Any]:
        try:
            if operation.soft is not connection.is_soft:
                self._set_softness(connection, operation.soft)
            return _begin(connection, begin, operation)
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            return self._patiently(lambda: _begin(connection, begin, operation))

    def _set_softness(self, connection: Connection, soft: bool) -> None:
        """Have the next commit wait for the disk, or not; if this is interrupted, it is said once more."""
        if soft:
            connection.is_soft = True
            connection.execute("PRAGMA synchronous = NORMAL")
        else:
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.is_soft = False

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Try again while another process holds the lock, with growing, jittered pauses."""
        deadline = monotonic() + self._timeout
        pause = 0.0005
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                left = deadline - monotonic()
                if not is_busy(error) or left <= 0:
                    raise
            time.sleep(min(pause * random.uniform(0.5, 1.5), left))
            pause = min(pause * 1.5, 0.05)

    # ----------------------------------------------------------------- opening

    def _open(self, opened: list[Connection]) -> None:
        """Put a new connection into a list; what is left there of an attempt that failed, its owner closes."""
        self._tell_remote()
        self._connect(opened, f"mode={self._file.mode}" if self._file else "")
        try:
            guard(opened[-1], opened[-1].watch, self._timeout)
            self._patiently(lambda: self._configure(opened[-1]))
        except sqlite3.Error as error:
            opened[-1].watch.tell()
            if self.mode != "ro" or _has_log(self.path) or not cannot_open(error):
                raise
            consume(opened, sqlite3.Connection.close)
            # A read-only folder has no room for the files that readers of a log share; with no log
            # beside it, the file is whole and can be read as it is.
            self._connect(opened, "mode=ro&immutable=1")
            guard(opened[-1], opened[-1].watch, self._timeout)
            self._look(opened[-1])
        if self._file:
            self._file.admit(opened[-1])
        opened[-1].is_ready = True

    def _tell_remote(self) -> None:
        """Warn, once, of a file on a mount where write-ahead logging cannot be relied on."""
        if self._looked or self.in_memory:
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

    def _connect(self, opened: list[Connection], query: str) -> None:
        """Connect, and note which file that is: the one that the path names before and after."""
        uri = f"file:{quote(os.fsencode(self.path))}?{query}" if self._file else ":memory:"
        # SQLite's own waiting is off: it sleeps for fixed times, so that two writers can miss each
        # other again and again; see `_patiently`.
        connect = partial(
            sqlite3.connect, uri=True, timeout=0, isolation_level=None, check_same_thread=False, factory=Connection
        )
        for _ in range(TRIES):
            before = self._file and (self._file.look() or self._file.make())
            note(opened, connect, uri)
            if self._file is None or not MOVABLE:
                return
            if before is not None and identity(self.path) == before:
                opened[-1].file = before
                return
            consume(opened, sqlite3.Connection.close)  # a file that was just made, perhaps: once more
        raise StoreUnavailable(f"{self.path} was replaced again and again while it was being opened.")

    def _configure(self, connection: Connection) -> None:
        [[journal]] = connection.execute("PRAGMA journal_mode").fetchall()
        if self.in_memory:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        elif self.mode != "ro" and journal != "wal" and _may_change(connection):
            # Room that deleting frees can be given back to the disk; this has to be said before
            # the first table.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA schema_version").fetchall()  # the first to read opens the log
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        # A name that goes is overwritten on its page; of an erased thread, all is: see `SqliteWhole.erase_thread`.
        connection.execute("PRAGMA secure_delete = FAST")
        connection.create_function("marked", 2, marked, deterministic=True)  # for copies
        connection.create_function("log_size", 0, partial(_size_of_log, None if self.in_memory else self.path))
        self._look(connection)

    # ----------------------------------------------------------------- closing

    def leased(self) -> int:
        """Return how many connections are at work; a store at rest has none."""
        return self._connections.leased()

    def close(self) -> None:
        """Close the connections; what is at work is done to its end first, and waited for a little."""
        until = closing_deadline()
        self._connections.close(until)
        self._threads.stop(until)

    async def aclose(self) -> None:
        """Close the connections, without blocking the event loop."""
        await aside(self.close)


_WRITE = "BEGIN IMMEDIATE"


def _begin(connection: Connection, begin: str, operation: Sql) -> list[Any]:
    if not connection.in_transaction:
        connection.execute(begin)
    return _execute(connection, operation)


def _execute(connection: Connection, operation: Sql) -> list[Any]:
    connection.watch.began = None
    if operation.many:
        return [(connection.executemany(operation.text, operation.params).rowcount,)]
    return connection.execute(operation.text, operation.params).fetchall()


def _may_change(connection: sqlite3.Connection) -> bool:
    """Tell whether a file is empty or ours; another program's is left as it is."""
    [[owner]] = connection.execute("PRAGMA application_id").fetchall()
    return owner == APPLICATION_ID or not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def _has_log(path: str) -> bool:
    """Tell whether a file's log may hold what the file does not."""
    return bool(_size_of_log(path))


def _size_of_log(path: str | None) -> int | None:
    """Return the bytes of a file's log; of what is in RAM, None."""
    if path is None:
        return None
    try:
        return os.stat(os.path.realpath(path) + "-wal").st_size
    except FileNotFoundError:
        return 0
