"""Finding and changing what a store holds from outside of it, as whoever may write to it can."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from stores import supabase_server

from charm_checkpoint.config.url import parse_url
from charm_checkpoint.contract import Chunk
from charm_checkpoint.testing.call_modes import PlansInMode

SCHEMA = "charm_checkpoint"


def chunks_of(backend: PlansInMode, thread: str, roots: bytes) -> list[Chunk]:
    """Return all chunks that roots reach."""
    found: dict[bytes, Chunk] = {}
    wanted = [roots[at : at + 16] for at in range(0, len(roots), 16)]
    while wanted:
        got = backend.chunks(thread, wanted)
        assert set(got) == set(wanted)
        found |= got
        refs = b"".join(bytes(chunk.refs) for chunk in got.values())
        wanted = [name for name in {refs[at : at + 16] for at in range(0, len(refs), 16)} if name not in found]
    return list(found.values())


def replace(url: str, old: bytes, new: bytes) -> int:
    """Put other bytes in the place of some, wherever the store has them; return in how many places."""
    kind = parse_url(url).scheme
    if kind == "file":
        return sum(_in_file(path, old, new) for path in Path(parse_url(url).path).rglob("*") if path.is_file())
    if kind == "sqlite":
        return _in_sqlite(parse_url(url).path, old, new)
    if kind == "redis":
        return _in_redis(url, old, new)
    return _in_postgres(supabase_server().database if kind == "supabase" else url, old, new)


def _in_file(path: Path, old: bytes, new: bytes) -> int:
    data = path.read_bytes()
    if old in data:
        path.write_bytes(data.replace(old, new))
    return data.count(old)


def _in_sqlite(path: str, old: bytes, new: bytes) -> int:
    with closing(sqlite3.connect(path)) as database:
        tables = [name for [name] in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = 0
        for table in tables:
            for _, column, kind, *_ in database.execute(f'PRAGMA table_info("{table}")').fetchall():
                if kind == "BLOB":
                    change = f'UPDATE "{table}" SET "{column}" = ? WHERE "{column}" = ?'
                    found += database.execute(change, (new, old)).rowcount
        database.commit()
        return found


def _in_postgres(url: str, old: bytes, new: bytes) -> int:
    columns = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s AND data_type = %s"
    )
    with psycopg.connect(url.partition("?")[0]) as connection:
        found = 0
        for table, column in connection.execute(columns, (SCHEMA, "bytea")).fetchall():
            change = psycopg.sql.SQL("UPDATE {0}.{1} SET {2} = %s WHERE {2} = %s").format(
                *map(psycopg.sql.Identifier, (SCHEMA, table, column))
            )
            found += connection.execute(change, (new, old)).rowcount
        return found


def _in_redis(url: str, old: bytes, new: bytes) -> int:
    import redis

    with redis.Redis.from_url(url) as client:
        found = 0
        for key, at, held in list(_held(client)):
            if old in held:
                found += 1
                changed = held.replace(old, new)
                client.hset(key, at, changed) if isinstance(at, bytes) else client.lset(key, at, changed)
        return found


def _held(client: Any) -> Iterator[tuple[bytes, Any, bytes]]:
    for key in client.scan_iter("*"):
        kind = client.type(key)
        if kind == b"hash":
            yield from ((key, field, held) for field, held in client.hgetall(key).items())
        elif kind == b"list":
            yield from ((key, at, held) for at, held in enumerate(client.lrange(key, 0, -1)))
