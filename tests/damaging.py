"""Damage done to stores from outside: a byte flipped, a row or key lost, in what belongs to the thread "bad"."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from children.jobs import config, items, put
from sqlite_files import held

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.items.namespaces import path_of
from charm_checkpoint.items.ranking.entries import write_entry

SPACE = ("bad", "space")
MESSAGES = [{"role": "user", "content": f"{number} " + "x" * 90} for number in range(300)]


def fill(memory: Memory) -> None:
    """Store a thread "bad" and one "sound", with all that threads have, and items in two namespaces."""
    saver = memory.get_langgraph_checkpointer()
    for thread in ("bad", "sound"):
        at = config(thread)
        for count in (100, 200, 300):
            at = put(saver, at, {"items": items(count)})
        saver.put_writes(at, [("items", items(20))], "task")
        memory.save_messages(thread, MESSAGES)
        memory.append_messages(thread, [{"role": "user", "content": "last"}])
        _put_items(memory, thread)


def _put_items(memory: Memory, name: str) -> None:
    from charm_checkpoint.contract_items import ItemBatch, ItemChange
    from charm_checkpoint.items.values import encode
    from charm_checkpoint.values.sealing import Identities, seal

    backend = memory.store.items
    assert backend is not None
    space = path_of((name, "space"))
    entry, vectors = write_entry(["some words"], [[1.0, 0.5] * 8], b"model678")
    identities = Identities(getattr(backend, "tenant", ""))
    changes = [
        ItemChange(
            space, key, seal(identities.item(space, key), encode({"text": f"{key!r} " * 20})), b"", entry, vectors
        )
        for key in (b"one", b"two")
    ]
    batch = ItemBatch(1_000_000, changes=changes)
    memory.store.run(lambda: backend.change(batch), write=True)


def check_sound(memory: Memory) -> None:
    """Check that the sound thread is listed, read and gone on with, whatever is wrong with the other."""
    saver = memory.get_langgraph_checkpointer()
    found = {info.thread_id: info for info in memory.threads()}
    assert (found["sound"].checkpoints, found["sound"].damage) == (3, None)
    assert held(saver, "sound") == items(300)
    assert len(list(saver.list(config("sound")))) == 3
    assert len(memory.load_messages("sound")) == len(MESSAGES) + 1


def flipped(data: bytes, at: float = 0.5) -> bytes:
    """Return bytes of which one has a bit flipped, so far into them."""
    place = min(int(len(data) * at), len(data) - 1)
    return data[:place] + bytes((data[place] ^ 0x10,)) + data[place + 1 :]


class Damager(Protocol):
    """Finds what belongs to the thread "bad", and changes it; what is changed or lost is found by its content."""

    def held(self, what: str) -> list[bytes]:
        """Return what there is of a kind, the largest first."""
        ...

    def replace(self, what: str, old: bytes, new: bytes) -> None:
        """Put other bytes in the place of what is there."""
        ...

    def lose(self, what: str, old: bytes) -> None:
        """Remove what is there."""
        ...


# ---------------------------------------------------------------------------------------------------------- SQL stores

_THREAD = "(SELECT key FROM {s}thread WHERE kind = {kind} AND name = ?{own})"
_BAD = b"bad"


class SqlDamager:
    """Damages tables; ``tables`` says for each kind of thing its table, its column and whose a row is."""

    def __init__(self, execute: Callable[[str, Sequence[Any]], list[Any]], kinds: dict[str, tuple[str, str, str]]):
        self._execute = execute
        self._kinds = kinds

    def held(self, what: str) -> list[bytes]:
        table, column, where = self._kinds[what]
        text = f"SELECT {column} FROM {table} WHERE {where} ORDER BY length({column}) DESC"
        rows = self._execute(text, [self._whose(what)])
        return [bytes(data) for (data,) in rows]

    def replace(self, what: str, old: bytes, new: bytes) -> None:
        table, column, where = self._kinds[what]
        text = f"UPDATE {table} SET {column} = ? WHERE {column} = ? AND {where}"
        self._execute(text, [new, old, self._whose(what)])

    def lose(self, what: str, old: bytes) -> None:
        table, column, where = self._kinds[what]
        self._execute(f"DELETE FROM {table} WHERE {column} = ? AND {where}", [old, self._whose(what)])

    def _whose(self, what: str) -> bytes:
        return path_of(SPACE) if what.startswith("item") else _BAD

    def run(self, statement: str, *params: Any) -> None:
        """Do something else."""
        self._execute(statement, params)

    def rows(self, statement: str, *params: Any) -> list[Any]:
        """Return what a query finds."""
        return self._execute(statement, params)


def _kinds(schema: str, messages: str, own: str = "") -> dict[str, tuple[str, str, str]]:
    """Return the kinds of rows that all SQL stores have; ``own`` is what holds of one tenant's alone."""
    thread = _THREAD.format(s=schema, kind=0, own=own)
    listed = _THREAD.format(s=schema, kind=1, own=own)
    space = f"(SELECT key FROM {schema}space WHERE thread = {thread})"
    return {
        "chunk": (f"{schema}chunk", "data", f"thread = {thread}"),
        "refs": (f"{schema}chunk", "refs", f"length(refs) > 0 AND thread = {thread}"),
        "record": (f"{schema}checkpoint", "body", f"space IN {space}"),
        "roots": (f"{schema}checkpoint", "roots", f"space IN {space}"),
        "writes": (f"{schema}write", "body", f"space IN {space}"),
        "messages": (f"{schema}{messages}", "body", f"thread = {listed}"),
        "message chunk": (f"{schema}chunk", "data", f"thread = {listed}"),
        "batch": (f"{schema}message_batch", "body", f"thread = {listed}"),
    }


@contextmanager
def sqlite_damager(path: Path) -> Iterator[SqlDamager]:
    """Yield what damages a SQLite file."""
    item = "(SELECT i.key FROM item i JOIN item_space s ON s.key = i.space WHERE s.path = ?)"
    space = "(SELECT key FROM item_space WHERE path = ?)"
    kinds = _kinds("", "message_list") | {
        "item": ("item_value", "value", f"item IN {item}"),
        "item entry": ("item", "entry", f"space IN {space}"),
        "item vectors": ("item_vectors", "vectors", f"item IN {item}"),
    }
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield SqlDamager(lambda text, params: db.execute(text, params).fetchall(), kinds)


@contextmanager
def postgres_damager(url: str, tenant: str | None = None) -> Iterator[SqlDamager]:
    """Yield what damages the tables of a Postgres database, what belongs to ``tenant`` if one is given."""
    import psycopg

    own = "" if tenant is None else f" AND tenant = decode('{tenant.encode().hex()}', 'hex')"
    space = f"(SELECT key FROM charm_checkpoint.memory_space WHERE path = ?{own})"
    kinds = _kinds("charm_checkpoint.", "message", own) | {
        "item": ("charm_checkpoint.memory_item", "value", f"space IN {space}"),
        "item entry": ("charm_checkpoint.memory_item", "entry", f"space IN {space}"),
        "item vectors": ("charm_checkpoint.memory_vector", "data", f"space IN {space}"),
    }
    with psycopg.connect(url, autocommit=True) as db:

        def execute(text: str, params: Sequence[Any]) -> list[Any]:
            cursor = db.execute(text.replace("?", "%s"), params)
            return cursor.fetchall() if cursor.description else []

        yield SqlDamager(execute, kinds)


# --------------------------------------------------------------------------------------------------------------- Redis

TOKEN = 8
"""Bytes before a batch that tell one call from another."""
REDIS_KEYS = ("state", "rows", "order", "writes", "chunks", "messages", "message-chunks")


class RedisDamager:
    """Damages the fields of the keys of a thread, and of a space of items."""

    def __init__(self, client: Any, memory: Memory) -> None:
        names: Any = memory.store.backend
        self.keys = dict(zip(REDIS_KEYS, names._names.thread(names._names.tag("bad")), strict=False))
        backend: Any = memory.store.items
        space = backend._names.keys(path_of(SPACE))
        self._kinds = {
            "chunk": self.keys["chunks"], "record": self.keys["rows"], "writes": self.keys["writes"],
            "message chunk": self.keys["message-chunks"], "messages": self.keys["messages"],
            "batch": self.keys["messages"], "item": space[5], "item entry": space[3], "item vectors": space[4],
        }  # fmt: skip
        self.client = client

    def held(self, what: str) -> list[bytes]:
        fields = self.client.hgetall(self._kinds[what])
        if what == "messages":
            return [fields[b"Y" if fields[b"y"] == b"\2" else b"y"]]
        if what == "batch":
            return [data[TOKEN:] for name, data in fields.items() if name[:1] == b"p"]
        return sorted(fields.values(), key=len, reverse=True)

    def replace(self, what: str, old: bytes, new: bytes) -> None:
        name, data = self._field(what, old)
        self.client.hset(self._kinds[what], name, data[: len(data) - len(old)] + new)

    def lose(self, what: str, old: bytes) -> None:
        self.client.hdel(self._kinds[what], self._field(what, old)[0])

    def _field(self, what: str, old: bytes) -> tuple[bytes, bytes]:
        fields = self.client.hgetall(self._kinds[what]).items()
        return next((name, data) for name, data in fields if data.endswith(old))


@contextmanager
def redis_damager(url: str) -> Iterator[RedisDamager]:
    """Yield what damages a Redis database, or a cluster."""
    from redis import Redis, RedisCluster

    plain, is_cluster = url.replace("+cluster", "").partition("?")[0], "+cluster" in url
    made: Any = RedisCluster.from_url(plain) if is_cluster else Redis.from_url(plain)
    with made as client, open_memory(url) as memory:
        yield RedisDamager(client, memory)
