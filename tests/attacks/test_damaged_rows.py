"""Damaged rows: what a store keeps in a form of its own may come back as anything, too.

Who: a disk that rots, and somebody who may write to the store: a row of a database, a field of a key, a frame of a log
under a digest of his own, a file of messages.

What he wants: an error that no handler expects, from wherever a number is a text, a name no text, a part missing; and
that one such row hides every thread beside it.

What he gets: `StoreCorrupt` that names the thread, and the rest of the store goes on: the sound thread beside it, and
the sound item, are read as before, and a listing of threads shows all that can be told.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import ormsgpack
import psycopg
import pytest
from children.jobs import config, put
from conftest import or_skip
from mutations import BYTES, json_told_otherwise, told_otherwise
from stores import postgres_url, valkey_url
from workers import SCALE

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.errors import CharmError, SchemaMismatch, StoreCorrupt, StoreUnavailable, TypeNotLoaded
from charm_checkpoint.stores.files.log import FIRST, MARK, Entry, Scan, encode

NOTICED = (StoreCorrupt, TypeNotLoaded, SchemaMismatch)
NUMBERS = (None, 0, 1, -1, 2, 2**31, 2**62, -(2**62), 2**63 - 1, -(2**63))
BAD, SOUND = "bad", "sound"
NAMESPACE = ("bad", "7")


def fill(memory: Memory) -> None:
    """Put a bad and a sound thread, with all that a thread may have, and items."""
    saver = memory.get_langgraph_checkpointer()
    for thread in (SOUND, BAD):
        at = put(saver, config(thread), {"items": ["x" * 30] * 40, "small": 1, "apart": {"a": (1,)}}, run_id=thread)
        at = put(saver, at, {"items": ["x" * 30] * 41}, run_id=thread)
        saver.put_writes(at, [("items", {1}), ("__interrupt__", "wait")], "task")
        put(saver, {"configurable": {"thread_id": thread, "checkpoint_ns": "below"}}, {"items": ["x" * 30] * 3})
        memory.save_messages(thread, [{"role": "user", "content": "y" * 40}] * 30)
        memory.append_messages(thread, [{"role": "user", "content": "z"}])
    store = memory.get_langgraph_store()
    store.put((SOUND,), "key", {"text": "sound"})
    for n in range(4):
        store.put(NAMESPACE, f"key {n}", {"text": f"words {n}", "n": n}, ttl=5 if n else None)


def read_all(memory: Memory) -> list[str]:
    """Read whatever there is of the bad thread and the items; return what was noticed, by what was called."""
    saver, store = memory.get_langgraph_checkpointer(), memory.get_langgraph_store()
    below = {"configurable": {"thread_id": BAD, "checkpoint_ns": "below"}}
    calls: dict[str, Callable[[], Any]] = {
        "thread get": lambda: saver.get_tuple(config(BAD)),
        "thread below": lambda: saver.get_tuple(below),  # type: ignore[arg-type]
        "thread list": lambda: list(saver.list(config(BAD), filter={"source": "loop"})),
        "list of all": lambda: list(saver.list(None)),
        "thread history": lambda: saver.get_delta_channel_history(config=config(BAD), channels=["items", "other"]),
        "threads": lambda: list(memory.threads()),
        "thread messages": lambda: memory.load_messages(BAD),
        "usage": memory.usage,
        "thread usage": lambda: memory.usage(BAD),
        "items": lambda: [store.get(NAMESPACE, f"key {n}") for n in range(4)],
        "items search": lambda: store.search(NAMESPACE, filter={"n": 1}),
        "items query": lambda: store.search(NAMESPACE, query="words"),
        "namespaces": lambda: store.list_namespaces(),
    }
    noticed = []
    for name, call in calls.items():
        try:
            call()
        except NOTICED as error:
            noticed.append(name)
            said = str(error)
            assert BAD in said or not name.startswith("thread "), f"{name}: {said}"
        except CharmError as error:
            raise AssertionError(f"{name}: {error!r}") from error
    return noticed


def check_the_sound(memory: Memory) -> None:
    """See that what is beside the damage is read as before."""
    saver = memory.get_langgraph_checkpointer()
    head = saver.get_tuple(config(SOUND))
    assert head and len(head.checkpoint["channel_values"]["items"]) == 41 and len(head.pending_writes or ()) == 2
    assert len(memory.load_messages(SOUND)) == 31
    item = memory.get_langgraph_store().get((SOUND,), "key")
    assert item and item.value == {"text": "sound"}


def changed(value: Any, random: Random) -> Any:
    """Return something else in place of a column's value: of its own type, or nothing."""
    if isinstance(value, bytes):
        return random.choice((*BYTES, told_otherwise))(value, random)
    return random.choice(NUMBERS)


def seeds(count: int) -> range:
    return range(max(1, int(count * SCALE)))


# ---------------------------------------------------------------------------------------------------------- SQLite

_THREADS = "SELECT key FROM thread WHERE name = CAST('bad' AS BLOB)"
_SPACES = f"SELECT key FROM space WHERE thread IN ({_THREADS})"
_ITEM_SPACES = "SELECT key FROM item_space WHERE path LIKE '%bad%'"
_ITEMS = f"SELECT key FROM item WHERE space IN ({_ITEM_SPACES})"
BAD_ROWS = {
    "thread": f"key IN ({_THREADS})",
    **dict.fromkeys(("space", "chunk", "message_list", "message_batch"), f"thread IN ({_THREADS})"),
    **dict.fromkeys(("checkpoint", "write"), f"space IN ({_SPACES})"),
    "item_space": f"key IN ({_ITEM_SPACES})",
    "item": f"space IN ({_ITEM_SPACES})",
    **dict.fromkeys(("item_value", "item_vectors"), f"item IN ({_ITEMS})"),
}
"""Which rows are the bad thread's, and which are of the bad items."""

KEYS = {"key", "thread", "space", "item", "identity", "number"}
"""Columns by which rows are found: with another value the row would be another thread's."""


def damage_sqlite(path: Path, random: Random) -> str:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        while True:
            table = random.choice(list(BAD_ROWS))
            where = BAD_ROWS[table]
            rows = db.execute(f"SELECT * FROM {table} WHERE {where}").fetchall()
            names = [info[1] for info in db.execute(f"PRAGMA table_info({table})")]
            columns = [name for name in names if name not in KEYS]
            if not rows or not columns:
                continue
            row, column = random.choice(rows), random.choice(columns)
            value = changed(row[names.index(column)], random)
            where += f" AND {column} IS ?"
            with contextlib.suppress(sqlite3.IntegrityError):
                db.execute(
                    f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {where}", [value, row[names.index(column)]]
                )
                return f"{table}.{column} = {value!r:.80}"


def test_rows_of_sqlite(tmp_path: Path) -> None:
    with open_memory(f"sqlite:///{tmp_path}/filled.db") as memory:
        fill(memory)
    with contextlib.closing(sqlite3.connect(tmp_path / "filled.db")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    filled = (tmp_path / "filled.db").read_bytes()
    noticed: set[str] = set()
    for seed in seeds(60):
        path = tmp_path / f"{seed}.db"
        path.write_bytes(filled)
        what = damage_sqlite(path, Random(seed))
        with told(f"{seed}: {what}"), open_memory(f"sqlite:///{path}") as memory:
            noticed.update(read_all(memory))
            check_the_sound(memory)
        path.unlink()
    assert {"thread get", "list of all"} <= noticed


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Have whatever goes wrong say what was done."""
    try:
        yield
    except BaseException as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


# -------------------------------------------------------------------------------------------------------- local files


def frames_of(log: Path) -> list[Entry]:
    data = log.read_bytes()
    with log.open("rb") as file:
        scan = Scan(file, 0, FIRST)
        return [Entry(frame.head, [data[frame.blobs : frame.end - 1]]) for frame in scan]


def damage_log(log: Path, random: Random) -> str:
    """Change a head, or a blob, under digests that are right."""
    entries = frames_of(log)
    number = random.randrange(len(entries))
    head, blobs = entries[number]
    if random.random() < 0.8:
        made = ormsgpack.unpackb(told_otherwise(ormsgpack.packb(head), random), ext_hook=lambda code, data: data)
        entries[number] = Entry(made if isinstance(made, list) else [made], blobs)
    else:
        entries[number] = Entry(head, [random.choice(BYTES)(blobs[0], random)])
    data, before = b"", FIRST
    for entry in entries:
        frame, told_as = encode(entry, len(data), before)
        data, before = data + frame, told_as.digest
    log.write_bytes(data)
    return f"frame {number} of {log}: {entries[number].head!r:.300}"


def damage_files(folder: Path, random: Random) -> str:
    root = folder / ".charm"
    logs = [log for log in sorted(root.rglob("log")) if b"bad" in log.read_bytes()[:200]]
    messages = root / "memory" / "bad.json"
    path = random.choice([*logs, messages])
    if path == messages:
        made = random.choice((*BYTES, json_told_otherwise, json_told_otherwise))(messages.read_bytes(), random)
        messages.write_bytes(made)
        return f"{messages}: {made!r:.300}"
    return damage_log(path, random)


def test_frames_of_logs_and_files_of_messages(tmp_path: Path) -> None:
    with open_memory(f"file://{tmp_path}/filled") as memory:
        fill(memory)
    filled = {path: path.read_bytes() for path in (tmp_path / "filled").rglob("*") if path.is_file()}
    noticed: set[str] = set()
    for seed in seeds(60):
        for path, data in filled.items():
            path.write_bytes(data)
        what = damage_files(tmp_path / "filled", Random(seed))
        with told(f"{seed}: {what}"), open_memory(f"file://{tmp_path}/filled") as memory:
            noticed.update(read_all(memory))
            check_the_sound(memory)
    assert {"thread get", "thread messages"} <= noticed


@pytest.mark.parametrize("kind", ["marks", "headers", "no head"])
def test_the_end_of_a_log_may_be_made_to_be_looked_at_for_ever(tmp_path: Path, kind: str) -> None:
    """Behind a broken frame another is looked for; each mark was followed to the end: 1.6 MB took minutes."""
    with open_memory(f"file://{tmp_path}") as memory:
        fill(memory)
    [log] = [log for log in (tmp_path / ".charm" / "checkpoints").rglob("log") if b"bad" in log.read_bytes()[:200]]
    end = b"x" + MARK * 400_000
    if kind == "headers":
        end = b"x" + b"".join(MARK + struct.pack(">QI16x", 32 * (50_000 - n), 1) for n in range(50_000)) + bytes(64)
    if kind == "no head":
        payload = b"\xc1\xff"
        header = MARK + struct.pack(">QI", len(payload), 1) + frames_end(log)
        digest = hashlib.blake2b(header + bytes(8) + payload, digest_size=8).digest()
        end = header + digest + payload
    with log.open("ab") as file:
        file.write(end)
    began = time.perf_counter()
    with open_memory(f"file://{tmp_path}") as memory:
        with pytest.raises(StoreCorrupt, match="bad"):
            memory.get_langgraph_checkpointer().get_tuple(config(BAD))
        with pytest.raises(StoreCorrupt, match="bad"):
            put(memory.get_langgraph_checkpointer(), config(BAD), {"items": []})
        check_the_sound(memory)
    assert time.perf_counter() - began < 30


def frames_end(log: Path) -> bytes:
    """Return the digest of a log's last frame."""
    with log.open("rb") as file:
        scan = Scan(file, 0, FIRST)
        return [frame.digest for frame in scan][-1]


def test_a_file_of_messages_may_be_any_json(tmp_path: Path) -> None:
    with open_memory(f"file://{tmp_path}") as memory:
        fill(memory)
        path = tmp_path / ".charm" / "memory" / "bad.json"
        for text in ("[" * 100_000, "[1]", "{}", '"', "\ud800", json.dumps([[]]), "[{}" + ", 1" * 9 + "]", "9" * 5000):
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            with pytest.raises(StoreCorrupt, match="bad"):
                memory.load_messages(BAD)
        check_the_sound(memory)


# ------------------------------------------------------------------------------------------------------------- Redis


def damage_redis(client: Any, names: list[bytes], random: Random) -> str:
    name = random.choice(names)
    kind = client.type(name)
    if random.random() < 0.1:
        client.delete(name)
        client.rpush(name, b"x") if random.random() < 0.5 else client.set(name, b"x")
        return f"{name!r} is of another type"
    if kind == b"hash":
        field = random.choice(sorted(client.hkeys(name)))
        made = random.choice((*BYTES, _number))(client.hget(name, field) or b"", random)
        client.hset(name, field, made) if random.random() < 0.9 else client.hdel(name, field)
        return f"{name!r} {field!r} = {made!r:.200}"
    if kind == b"zset":
        member = random.choice(client.zrange(name, 0, -1))
        if random.random() < 0.5:
            client.zadd(name, {member: random.choice((0, -1, 1e30, float("inf"), 0.5))})
        else:
            client.zrem(name, member)
            client.zadd(name, {random.choice(BYTES)(member, random): 1})
        return f"{name!r} {member!r}"
    if kind == b"list":
        client.lset(name, 0, random.choice(BYTES)(client.lindex(name, 0) or b"", random))
        return f"{name!r} [0]"
    if kind == b"string":
        client.set(name, random.choice(BYTES)(client.get(name) or b"", random))
    return f"{name!r} of {kind!r}"


def _number(data: bytes, random: Random) -> bytes:
    return random.choice((b"", b"nan", b"-1", b"1e30", b"x", b"9" * 30, b"\xff", b"0.5", b" 1"))


def test_fields_of_redis() -> None:
    from redis import Redis

    url = or_skip(valkey_url)
    with Redis.from_url(url) as client:
        with open_memory(url) as memory:
            fill(memory)
            backend: Any = memory.store.backend
            store: Any = memory.store.items
            thread = set(backend._names.thread(backend._names.tag(BAD)))
            spaces = {key for path in (b"ibad\x007\x00",) for key in store._names.keys(path)}
        names = [name for name in client.keys() if name in thread | spaces]
        filled = {name: client.dump(name) for name in names}
        for seed in seeds(60):
            for name in thread | spaces:
                client.delete(name)
            for name, data in filled.items():
                client.restore(name, 0, data)
            what = damage_redis(client, sorted(names), Random(seed))
            with told(f"{seed}: {what}"), open_memory(url) as memory:
                read_all(memory)
                check_the_sound(memory)


# ----------------------------------------------------------------------------------------------------------- Postgres


def test_rows_of_postgres() -> None:
    url = or_skip(postgres_url)
    with psycopg.connect(url, autocommit=True) as db, open_memory(url) as memory:
        fill(memory)
        db.execute("SET search_path = charm_checkpoint")
        for seed in seeds(40):
            random = Random(seed)
            with told(f"{seed}"), contextlib.suppress(StoreUnavailable):
                _damage_postgres(db, random)
                with open_memory(url) as another:
                    read_all(another)


def _damage_postgres(db: Any, random: Random) -> None:
    bad = "(SELECT key FROM thread WHERE name = 'bad')"
    table, where = random.choice(
        [
            ("thread", "name = 'bad'"), ("checkpoint", f"space IN (SELECT key FROM space WHERE thread IN {bad})"),
            ("chunk", f"thread IN {bad}"), ("space", f"thread IN {bad}"),
        ]
    )  # fmt: skip
    names = [
        row[0]
        for row in db.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [table])
    ]
    rows = db.execute(f"SELECT ctid, * FROM {table} WHERE {where}").fetchall()
    columns = [name for name in names if name not in KEYS | {"name"}]
    if rows and columns:
        row, column = random.choice(rows), random.choice(columns)
        with contextlib.suppress(Exception):
            db.execute(
                f"UPDATE {table} SET {column} = %s WHERE ctid = %s",
                [changed(row[1 + names.index(column)], random), row[0]],
            )
