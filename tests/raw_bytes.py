"""All bytes that a store keeps on a server, to look for what should be gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

from stores import odd_database, postgres_server, shared_database, supabase_server

from charm_checkpoint.config.url import parse_url

TABLES = (
    "SELECT format('SELECT t::text FROM %I.%I t WHERE t.xmin::text::bigint >= {since};', schemaname, tablename) "
    "FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
)


def raw_of(url: str) -> Callable[[], bytes] | None:
    """Return what reads all that a server keeps from now on for a store of the table of stores; None for other stores.

    The stores of thousands of tests are there: what was there before is left out, or what has another prefix.
    """
    scheme = parse_url(url).scheme.partition("+")[0]
    if scheme in ("redis", "valkey"):
        return lambda: b"\n".join(_in_redis(url))
    if scheme == "supabase":
        return _in_postgres(supabase_server().database)
    if scheme in ("postgres", "postgresql"):
        return _in_postgres(odd_database() if "schema=" in url else shared_database())
    return None


def _in_postgres(url: str) -> Callable[[], bytes]:
    """Return what reads all rows of all tables, as text; their bytes are hexadecimal there."""
    server, database = postgres_server(), url.rpartition("/")[2]
    since = server.execute("SELECT pg_current_xact_id()::text", database).strip()
    tables = TABLES.replace("{since}", since)
    return lambda: server.execute(server.execute(tables, database), database).encode()


def _in_redis(url: str) -> Iterator[bytes]:
    import redis

    plain, _, query = url.replace("+cluster", "").partition("?")
    client: Any = redis.RedisCluster.from_url(plain) if query else redis.Redis.from_url(plain)
    with client:
        prefix = parse_qs(query).get("prefix", [""])[0]
        for key in client.scan_iter(f"{prefix}:*" if prefix else None, count=10_000):
            yield key
            yield from _value(client, key)


def _value(client: Any, key: bytes) -> Iterator[bytes]:
    kind = client.type(key)
    if kind == b"string":
        yield client.get(key) or b""
    elif kind == b"hash":
        for pair in client.hgetall(key).items():
            yield from pair
    elif kind == b"list":
        yield from client.lrange(key, 0, -1)
    elif kind == b"set":
        yield from client.smembers(key)
    elif kind == b"zset":
        yield from client.zrange(key, 0, -1)
