"""The tables of SqliteSaver and AsyncSqliteSaver, read without leaving a trace beside the file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from charm_checkpoint.errors import ConfigError, DataError, SchemaMismatch, StoreError, StoreUnavailable
from charm_checkpoint.importers.decoding import OfficialDecoder
from charm_checkpoint.importers.rows import (
    NEEDED,
    Key,
    OldCheckpoint,
    checked,
    decode_metadata,
    decode_writes,
    in_checkpoint,
)
from charm_checkpoint.stores.sqlite.driver import absolute
from charm_checkpoint.stores.sqlite.schema import APPLICATION_ID

SIDE_FILES = ("-wal", "-journal")
"""What SQLite keeps beside a file that somebody is writing to, or was when it crashed."""


class SqliteSource:
    """A SqliteSaver's file, opened read-only.

    Raises `ConfigError` for a file that is not there or not SQLite's, `SchemaMismatch` for one
    with other tables, `StoreUnavailable` when somebody else keeps it busy or changes it.
    """

    def __init__(self, path: str, decoder: OfficialDecoder) -> None:
        self._path = absolute(path)
        if not self._path.is_file():
            raise ConfigError(f"there is no file {self._path}")
        self._decoder = decoder
        # Reading a file in WAL mode makes two files beside it, unless SQLite is told that it will not change.
        self._alone = not any(os.path.exists(f"{self._path}{suffix}") for suffix in SIDE_FILES)
        self._state = self._stat()
        mode = "immutable=1" if self._alone else "mode=ro"
        with self._translated():
            self._connection = sqlite3.connect(f"{self._path.as_uri()}?{mode}", uri=True, isolation_level=None)
        try:
            self._task_path = self._check()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # ------------------------------------------------------------------------- opening

    def _check(self) -> str:
        """Check the tables; return the column of task paths, or what stands for it in an older file."""
        if self._all("PRAGMA application_id") == [(APPLICATION_ID,)]:
            raise SchemaMismatch(
                f"{self._path} is a file of charm_checkpoint, not of SqliteSaver: open it as it is, "
                f"with open_memory('sqlite:///{self._path.as_posix()}')"
            )
        self._all("PRAGMA trusted_schema = OFF")
        if self._all("SELECT 1 FROM sqlite_master WHERE type = 'view' AND lower(name) IN ('checkpoints', 'writes')"):
            # A view may be anything, without end, too; no SqliteSaver makes one.
            raise SchemaMismatch(f"{self._path} holds no threads of a SqliteSaver: its tables are views")
        missing = sorted(set(NEEDED) - self._columns("checkpoints"))
        writes = self._columns("writes")
        if missing or "idx" not in writes:
            raise SchemaMismatch(
                f"{self._path} holds no threads of a SqliteSaver: its table checkpoints has no {', '.join(missing)}"
                if missing
                else f"{self._path} holds no threads of a SqliteSaver: it has no table writes"
            )
        return "task_path" if "task_path" in writes else "''"

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._all(f"PRAGMA table_info({table})")}

    def _all(self, text: str, *params: str) -> list[Any]:
        with self._translated():
            return self._connection.execute(text, params).fetchall()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"{self._path} cannot be read: {error}") from error
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error):
                raise ConfigError(f"{self._path} is not a SQLite file") from error
            raise StoreError(f"{self._path} cannot be read: {error}") from error

    # ------------------------------------------------------------------------- reading

    def threads(self) -> Iterator[str]:
        """Yield the ids of all threads."""
        rows = self._all("SELECT min(thread_id) FROM checkpoints")
        while rows[0][0] is not None:
            yield rows[0][0]
            rows = self._all("SELECT min(thread_id) FROM checkpoints WHERE thread_id > ?", rows[0][0])

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Hold what is read still; raises `StoreUnavailable` if the file changed all the same."""
        self._all("BEGIN")
        try:
            yield
        finally:
            self._all("ROLLBACK")
        if self._alone and self._stat() != self._state:
            raise StoreUnavailable(f"{self._path} was written to while it was read; stop the agents that use it")

    def _stat(self) -> tuple[Any, ...]:
        found = os.stat(self._path)
        return found.st_size, found.st_mtime_ns, [os.path.exists(f"{self._path}{suffix}") for suffix in SIDE_FILES]

    def keys(self, thread: str) -> list[Key]:
        """Return a thread's checkpoints, by id."""
        return self._all(
            "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = ? "
            "ORDER BY checkpoint_id, checkpoint_ns",
            thread,
        )

    def read(self, thread: str, keys: Sequence[Key]) -> Iterator[OldCheckpoint]:
        """Yield checkpoints one by one."""
        for ns, id in keys:
            try:
                yield self._read(thread, ns, id)
            except DataError as error:
                raise in_checkpoint(error, ns, id) from error

    def _read(self, thread: str, ns: str, id: str) -> OldCheckpoint:
        checkpoint_ref = "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
        row = self._all(
            f"SELECT parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints {checkpoint_ref}", thread, ns, id
        )
        writes = self._all(
            f"SELECT task_id, {self._task_path}, idx, channel, type, value FROM writes {checkpoint_ref}", thread, ns, id
        )
        parent, kind, data, metadata = row[0]
        return OldCheckpoint(
            ns,
            id,
            parent or None,
            checked(self._decoder.loads(kind, data), id),
            decode_metadata(metadata),
            decode_writes(self._decoder, writes),
            len(data or b"") + len(metadata or b"") + sum(len(write[5] or b"") for write in writes),
        )
