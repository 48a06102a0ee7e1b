"""Fill stores of every kind with what golden_contents, golden_contents_2 and golden_contents_3 tell.

It is run as ``python tests/golden/write.py 0.3.0``.
The stores are kept as they were written, in a folder named by the version; tests/test_golden.py reads each of them
with every later version. Until a version is released its folder may be deleted and written anew; then never again.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import golden_contents_2 as second  # noqa: E402
import golden_contents_3 as third  # noqa: E402
from golden_contents import DELETED, MESSAGES, PRUNED, Put, puts  # noqa: E402
from langgraph.store.base import PutOp  # noqa: E402

from charm_checkpoint import Memory, open_memory  # noqa: E402
from charm_checkpoint.items import clock  # noqa: E402
from charm_checkpoint.messages.plans import MessageHistory  # noqa: E402
from charm_checkpoint.runtime.cache import Budget  # noqa: E402
from charm_checkpoint.servers import PostgresServer, ValkeyServer, postgres, valkey  # noqa: E402
from charm_checkpoint.testing.graphs import nested, paused  # noqa: E402
from charm_checkpoint.testing.samples import checkpoint, config  # noqa: E402

SCHEMA = "golden"


def fill(memory: Memory) -> None:
    """Put everything into a new, empty store."""
    fill_first(memory)
    fill_second(memory)
    fill_third(memory)


def fill_first(memory: Memory) -> None:
    """Put in what stores of the first version have."""
    saver = memory.get_langgraph_checkpointer()
    number = 0
    versions: dict[str, int] = {}
    for put in puts():
        number += 1
        put_one(saver, put, number, versions)
    for step in range(3):
        saver.put(config(PRUNED, id=f"p{step - 1}" if step else None), checkpoint({"log": [step] * 900}, id=f"p{step}",
                  version=step), {"source": "loop", "step": step}, {"log": step})  # fmt: skip
    saver.prune([PRUNED])
    saver.put(config(DELETED), checkpoint({"log": ["gone"] * 900}, id="gone"), {"source": "loop"}, {"log": 1})
    saver.delete_thread(DELETED)
    saver.copy_thread("chat", "copy")
    paused(saver).invoke({"log": ["begun"]}, config("paused"))
    nested(saver, stable=True).invoke({"log": ["begun"]}, config("nested"))
    for thread, messages in MESSAGES.items():
        memory.save_messages(thread, messages[:1])
        for at in range(1, len(messages), 30):
            memory.append_messages(thread, messages[at : at + 30])


def fill_second(memory: Memory) -> None:
    """Put in what came with the second version, and what the first left out."""
    saver = memory.get_langgraph_checkpointer()
    versions: dict[str, int] = {}
    for number, put in enumerate(second.puts(), 1):
        put_one(saver, put, number, versions)
    thread, id, task, writes = second.EARLY
    saver.put_writes(config(thread, id=id), writes, task)
    saver.delete_for_runs([second.SWEPT])
    for thread, batches in second.SAID.items():
        memory.save_messages(thread, batches[0])
        for batch in batches[1:]:
            memory.append_messages(thread, batch)
    memory.append_messages("only batches", second.SAID["batches"][1])
    memory.save_messages(DELETED, second.SAID["batches"][0])
    memory.delete_messages(DELETED)


def fill_third(memory: Memory) -> None:
    """Put in what came with the third version: items, and what caches keep."""
    saver = memory.get_langgraph_checkpointer()
    for number, put in enumerate(third.puts(), 1):
        put_one(saver, put, number, {})
    nodes, models = memory.get_langgraph_cache(), memory.get_llm_cache()
    nodes.set(third.CACHED)
    for asked, answer in third.ANSWERS.items():
        models.update(*asked, answer)
    store = memory.get_langgraph_store()
    for number, step in enumerate(third.STEPS):
        with dated(number):
            if step.value == third.TOUCH:
                store.get(step.namespace, step.key, refresh_ttl=True)
            elif step.value is None:
                store.delete(step.namespace, step.key)
            else:
                store.put(step.namespace, step.key, step.value, step.index, ttl=step.ttl)
    with dated(len(third.STEPS)):
        store.batch([PutOp(*item) for item in third.BATCH])
    fill_meanings(memory)
    with dated(0):
        over = third.EXPIRED
        store.put(over.namespace, over.key, over.value, ttl=over.ttl)
    fill_kept(memory)


def fill_kept(memory: Memory) -> None:
    """Erase a thread, and pin another."""
    saver, backend = memory.get_langgraph_checkpointer(), memory.store.backend
    saver.put(config(third.ERASED), checkpoint({"log": ["gone"] * 900}, id="gone"), {"source": "loop"}, {"log": 1})
    memory.store.run(partial(backend.erase_thread, third.ERASED, third.UNTIL), write=True)
    assert memory.store.run(partial(backend.pin, third.PINNED, True), write=True)


def fill_meanings(memory: Memory) -> None:
    """Put in items that have vectors, items that wait for theirs, and the vector of a query."""
    model = third.MadeUp()
    index = {"embed": model, "fields": ["text", "notes[*]"]}
    store = memory.get_langgraph_store(index, cache_delay=0)
    for key, value in third.MEANT.items():
        store.put(third.MEANINGS, key, value)
    assert store.search(third.MEANINGS, query=third.QUERY)[0].key == third.NEAREST
    model.works = False
    store.put(third.LATE, "k", third.LATE_VALUE)
    model.works = True
    assert store.reindex(third.LATE) == 1
    model.works = False
    store.put(third.WAITING, "k", third.WAITING_VALUE)


@contextmanager
def dated(number: int) -> Iterator[None]:
    """Have it be the time of a step."""
    usual = clock.now
    clock.now = lambda: third.micros(number)
    try:
        yield
    finally:
        clock.now = usual


def put_one(saver: Any, put: Put, number: int, versions: dict[str, int]) -> None:
    """Put one checkpoint and its writes."""
    versions.update({name: number for name in put.values if name not in put.kept})
    made = checkpoint(put.values, id=put.id)
    made["ts"] = f"2026-01-01T00:00:{number:02}+00:00"
    made["channel_versions"] = {name: versions[name] for name in put.values}
    new = {name: versions[name] for name in put.values if name not in put.kept}
    where = saver.put(config(put.thread, put.ns, put.parent), made, put.metadata, new)
    for task, path, writes in put.writes:
        saver.put_writes(where, writes, task, path)


def write_sqlite(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "agent.db"
        with open_memory(f"sqlite:///{file}") as memory:
            fill(memory)
        zip_up(folder / "sqlite.zip", Path(scratch))


def write_files(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        with open_memory(f"file://{scratch}") as memory:
            fill(memory)
            fill_log(memory)
        zip_up(folder / "files.zip", Path(scratch))


def fill_log(memory: Memory) -> None:
    """Put messages into a thread's log, where a store would have them that keeps none for Charm."""
    history = MessageHistory(memory.store.backend, Budget())
    for number, batch in enumerate(second.SAID["batches"]):
        change = history.append if number else history.save
        memory.store.run(partial(change, second.LOGGED, batch), write=True)


def zip_up(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed.writestr(zipfile.ZipInfo(str(path.relative_to(folder))), path.read_bytes(), zipfile.ZIP_DEFLATED)


def write_postgres(folder: Path, server: PostgresServer) -> None:
    """Dump the whole schema, functions included; the same with what Supabase's API needs, its rows apart."""
    from charm_checkpoint.stores.supabase.rpc import supabase_sql

    url = server.new_database()
    with open_memory(url, schema=SCHEMA) as memory:
        fill(memory)
    keep_text(folder / "postgres.zip", "dump.sql", dump(server, url))
    rows = dump(server, url, "--data-only", "--inserts", f"--exclude-table={SCHEMA}.migration")
    keep_text(folder / "supabase.zip", "dump.sql", f"{supabase_sql(SCHEMA)}DELETE FROM {SCHEMA}.thread_secret;\n{rows}")


def dump(server: PostgresServer, url: str, *options: str) -> str:
    program = shutil.which("pg_dump", path=str(server._programs)) or "pg_dump"
    command = [program, "-d", url, "-n", SCHEMA, "--no-owner", "--no-privileges", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def keep_text(archive: Path, name: str, text: str) -> None:
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED, compresslevel=9)


def write_redis(folder: Path, server: ValkeyServer) -> None:
    """Write down the commands that make every key again, one JSON list a line, each argument in base64."""
    import redis

    with open_memory(server.url) as memory:
        fill(memory)
    with redis.Redis.from_url(server.url) as client:
        lines = [
            json.dumps([b64encode(part).decode() for part in rebuild(client, key)]) for key in sorted(client.keys())
        ]
    keep_text(folder / "redis.zip", "commands.jsonl", "\n".join(lines) + "\n")


def rebuild(client: Any, key: bytes) -> list[bytes]:
    kind = client.type(key)
    if kind == b"string":
        return [b"SET", key, client.get(key)]
    if kind == b"hash":
        return [b"HSET", key, *[part for pair in sorted(client.hgetall(key).items()) for part in pair]]
    if kind == b"list":
        return [b"RPUSH", key, *client.lrange(key, 0, -1)]
    if kind == b"set":
        return [b"SADD", key, *sorted(client.smembers(key))]
    assert kind == b"zset", kind
    pairs = client.zrange(key, 0, -1, withscores=True)
    return [b"ZADD", key, *[part for member, score in pairs for part in (repr(score).encode(), member)]]


def main() -> None:
    [version] = sys.argv[1:]
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        sys.exit(f"{version!r} is no version: the name of a folder is one, as 0.3.0.")
    logging.disable(logging.WARNING)
    folder = HERE / version
    folder.mkdir()
    write_sqlite(folder)
    write_files(folder)
    with postgres(fsync=False) as server:
        write_postgres(folder, server)
    with valkey() as node:
        write_redis(folder, node)


if __name__ == "__main__":
    main()
