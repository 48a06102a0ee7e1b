"""The tables of PostgresSaver and AsyncPostgresSaver, read in transactions that can only read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from charm_checkpoint.config.masking import mask
from charm_checkpoint.config.tracebacks import handled
from charm_checkpoint.config.url import Location
from charm_checkpoint.errors import ConfigError, DataError, MissingExtra, SchemaMismatch, StoreUnavailable
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

try:
    import psycopg
    from psycopg import sql

    from charm_checkpoint.stores.postgres.connections import hide
except ImportError as error:
    raise MissingExtra(
        f"reading a PostgresSaver's database needs psycopg ({error}); pip install 'charm-checkpoint[postgres]'"
    ) from error

BATCH = 16
"""Checkpoints read at a time, by three queries: each may be a whole state, so it is few."""

TASKS = "__pregel_tasks"
"""The channel of Send objects, which checkpoints before version 4 left to their parent's writes."""

_Blobs: TypeAlias = dict[tuple[str, str, str], tuple[str, bytes | None]]
"""Type and bytes by namespace, channel and version."""


def _connect(location: Location) -> psycopg.Connection[Any]:
    outer = handled()
    try:
        return psycopg.connect(  # with no name for the URL, which a traceback would show
            location.driver_url(scheme="postgresql"), autocommit=True, prepare_threshold=None, client_encoding="UTF8"
        )
    except BaseException as error:
        hide(error, outer)
        raise error


class PostgresSource:
    """A PostgresSaver's tables, in ``schema`` or wherever the connection's search path finds them.

    Raises `SchemaMismatch` where there are none, `StoreUnavailable` when the server is not there.
    """

    def __init__(self, location: Location, schema: str | None, decoder: OfficialDecoder) -> None:
        self._decoder = decoder
        self._prefix = sql.Identifier(schema) + sql.SQL(".") if schema else sql.SQL("")
        self._kept: dict[tuple[str, str, str], Any] = {}
        with self._translated():
            # No prepared statements: the URL may be a transaction pooler's.
            self._connection = _connect(location)
        try:
            self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self._connection.read_only = True
            self._task_path = self._check(schema)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # ------------------------------------------------------------------------- opening

    def _check(self, schema: str | None) -> sql.Composable:
        """Check the tables; return the column of task paths, or what stands for it in an older database."""
        missing = sorted(set(NEEDED) - self._columns("checkpoints", schema))
        if missing:
            raise SchemaMismatch(
                f"the table checkpoints has no {', '.join(missing)}: it is not one of a PostgresSaver "
                "(those of ShallowPostgresSaver and of other languages are not taken over)"
            )
        self._columns("checkpoint_blobs", schema)
        return sql.SQL("task_path" if "task_path" in self._columns("checkpoint_writes", schema) else "''::text")

    def _columns(self, table: str, schema: str | None) -> set[str]:
        query = sql.SQL("SELECT * FROM {}{} LIMIT 0").format(self._prefix, sql.Identifier(table))
        with self._translated():
            try:
                return {column.name for column in self._connection.execute(query).description or ()}
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
                place = f"the schema {schema!r}" if schema else "the search path; if it is in another schema, name that"
                raise SchemaMismatch(f"no PostgresSaver's table {table} in {place}") from error

    def _all(self, text: str, params: Sequence[Any]) -> list[Any]:
        query = sql.SQL(text).format(prefix=self._prefix, task_path=self._task_path)
        with self._translated():
            return self._connection.execute(query, params).fetchall()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.ProgrammingError as error:
            raise ConfigError(f"the PostgresSaver's database cannot be read: {mask(str(error)).strip()}") from error
        except psycopg.Error as error:
            raise StoreUnavailable(
                f"the PostgresSaver's database cannot be read: {mask(str(error)).strip()}"
            ) from error

    # ------------------------------------------------------------------------- reading

    def threads(self) -> Iterator[str]:
        """Yield the ids of all threads."""
        rows = self._all("SELECT min(thread_id) FROM {prefix}checkpoints", ())
        while rows[0][0] is not None:
            yield rows[0][0]
            rows = self._all("SELECT min(thread_id) FROM {prefix}checkpoints WHERE thread_id > %s", rows[0])

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Hold what is read still, by a transaction."""
        self._kept = {}
        with self._translated(), self._connection.transaction(force_rollback=True):
            yield

    def keys(self, thread: str) -> list[Key]:
        """Return a thread's checkpoints, by id as the database sorts it."""
        return self._all(
            "SELECT checkpoint_ns, checkpoint_id FROM {prefix}checkpoints WHERE thread_id = %s "
            "ORDER BY checkpoint_id, checkpoint_ns",
            (thread,),
        )

    def read(self, thread: str, keys: Sequence[Key]) -> Iterator[OldCheckpoint]:
        """Yield checkpoints, read a batch at a time."""
        for start in range(0, len(keys), BATCH):
            yield from self._batch(thread, keys[start : start + BATCH])

    def _batch(self, thread: str, keys: Sequence[Key]) -> Iterator[OldCheckpoint]:
        params = (thread, [ns for ns, _ in keys], [id for _, id in keys])
        rows = {row[:2]: row[2:] for row in self._all(_CHECKPOINTS, params)}
        writes: dict[Key, list[Any]] = {}
        for ns, id, *write in self._all(_WRITES, params):
            writes.setdefault((ns, id), []).append(write)
        blobs = self._blobs(thread, {(ns, *ref) for (ns, _), row in rows.items() for ref in row[3]})
        sends = self._sends(thread, [row[0] for row in rows.values() if row[0] and row[4] < 4])
        used: set[tuple[str, str, str]] = set()
        for ns, id in keys:
            refs = [(ns, *ref) for ref in rows[ns, id][3]]
            used = {*(key for key in used if key[0] != ns), *refs}
            try:
                yield self._checkpoint(ns, id, rows[ns, id], writes.get((ns, id), ()), blobs, sends)
            except DataError as error:
                raise in_checkpoint(error, ns, id) from error
        self._kept = {key: value for key, value in self._kept.items() if key in used}

    def _blobs(self, thread: str, wanted: set[tuple[str, str, str]]) -> _Blobs:
        """Fetch the values that a batch names and the one before did not."""
        lacking = sorted(wanted - self._kept.keys())
        rows = self._all(_BLOBS, (thread, *([key[part] for key in lacking] for part in range(3)))) if lacking else ()
        return {(ns, channel, version): (kind, data) for ns, channel, version, kind, data in rows}

    def _sends(self, thread: str, parents: Sequence[str]) -> dict[str, list[Any]]:
        """Fetch the Send objects that older checkpoints find among their parent's writes."""
        sends: dict[str, list[Any]] = {}
        for parent, kind, data in self._all(_SENDS, (thread, TASKS, list(parents))) if parents else ():
            sends.setdefault(parent, []).append((kind, data))
        return sends

    def _checkpoint(
        self, ns: str, id: str, row: Sequence[Any], writes: Sequence[Any], blobs: _Blobs, sends: dict[str, list[Any]]
    ) -> OldCheckpoint:
        parent, text, metadata, refs, v = row
        checkpoint = json.loads(text)
        # An inlined `true` stands where a blob is: the blob is the value.
        values = {**(checkpoint.get("channel_values") or {}), **self._values(ns, refs, blobs)}
        checkpoint = checked({**checkpoint, "channel_values": values}, id)
        if v < 4 and parent in sends:
            values[TASKS] = [self._decoder.loads(*send) for send in sends[parent]]
            checkpoint["channel_versions"][TASKS] = max(checkpoint["channel_versions"].values(), default=f"{1:032}.0")
        size = len(text) + len(metadata) + sum(len(write[5] or b"") for write in writes)
        size += sum(len(blobs.get((ns, *ref), ("", b""))[1] or b"") for ref in refs)
        return OldCheckpoint(
            ns, id, parent or None, checkpoint, decode_metadata(metadata), decode_writes(self._decoder, writes), size
        )

    def _values(self, ns: str, refs: Sequence[Sequence[str]], blobs: _Blobs) -> dict[str, Any]:
        """Decode values by channel, each version of one once."""
        values = {}
        for channel, version in refs:
            key = (ns, channel, version)
            if key not in self._kept and blobs.get(key, ("empty",))[0] != "empty":
                try:
                    self._kept[key] = self._decoder.loads(*blobs[key])
                except DataError as error:
                    raise error.at("channel_values", channel) from error.__cause__
            if key in self._kept:
                values[channel] = self._kept[key]
        return values


_AMONG = "IN (SELECT * FROM unnest(%s::text[], %s::text[]))"

_CHECKPOINTS = f"""
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint::text, metadata::text,
    ARRAY(SELECT ARRAY[key, value] FROM jsonb_each_text(checkpoint OPERATOR(pg_catalog.->) 'channel_versions')),
    coalesce((checkpoint OPERATOR(pg_catalog.->>) 'v')::int, 0)
FROM {{prefix}}checkpoints
WHERE thread_id = %s AND (checkpoint_ns, checkpoint_id) {_AMONG}
"""

_WRITES = f"""
SELECT checkpoint_ns, checkpoint_id, task_id, {{task_path}}, idx, channel, type, blob
FROM {{prefix}}checkpoint_writes
WHERE thread_id = %s AND (checkpoint_ns, checkpoint_id) {_AMONG}
"""

_BLOBS = """
SELECT checkpoint_ns, channel, version, type, blob
FROM {prefix}checkpoint_blobs
WHERE thread_id = %s
    AND (checkpoint_ns, channel, version) IN (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]))
"""

_SENDS = """
SELECT checkpoint_id, type, blob
FROM {prefix}checkpoint_writes
WHERE thread_id = %s AND channel = %s AND checkpoint_id = ANY(%s)
ORDER BY {task_path}, task_id, idx
"""
