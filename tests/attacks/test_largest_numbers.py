"""Counters at their end.

The attacker may write to the store. He puts the largest number that a column takes where we count, so that the next
write goes beyond it, and wants an error that no handler expects.

He gets `StoreCorrupt` at our side, and nothing is written; other threads and items go on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from children.jobs import add_item
from conftest import or_skip
from stores import postgres_url

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.errors import StoreCorrupt

WRITES: dict[str, Callable[[Memory], object]] = {
    "append": lambda memory: memory.append_messages("t", [{"n": 2}]),
    "save": lambda memory: memory.save_messages("t", [{"n": 3}]),
    "put": lambda memory: add_item(memory.get_langgraph_checkpointer(), "t"),
    "put item": lambda memory: memory.get_langgraph_store().put(("a",), "more", {"n": 2}, ttl=5),
    "delete item": lambda memory: memory.get_langgraph_store().delete(("a",), "k"),
    "copy": lambda memory: memory.get_langgraph_checkpointer().copy_thread("t", "copy"),
    "usage": lambda memory: memory.usage(),
    "delete": lambda memory: memory.delete_thread("t"),
}
COUNTERS = {"seq", "sweeps", "deletes", "touched_at", "revision", "stamp", "removed", "updated"}
LARGEST = {"bigint": 2**63 - 1, "integer": 2**31 - 1, "smallint": 2**15 - 1}


def fill(memory: Memory) -> None:
    for thread in ("t", "other"):
        add_item(memory.get_langgraph_checkpointer(), thread)
        memory.save_messages(thread, [{"n": 1}])
        memory.append_messages(thread, [{"n": 2}])
    memory.get_langgraph_store().put(("a",), "k", {"n": 1}, ttl=5)


def write_all(url: str, *, beside: bool = True) -> set[str]:
    """Call what writes; return what was refused, which is with `StoreCorrupt` or not at all.

    ``beside`` tells that nothing of the thread beside it was changed.
    """
    refused = set()
    with open_memory(url) as memory:
        for name, call in WRITES.items():
            try:
                call(memory)
            except StoreCorrupt:
                refused.add(name)
        if beside:
            assert memory.load_messages("other") == [{"n": 1}, {"n": 2}]
    return refused


def test_of_sqlite(tmp_path: Path) -> None:
    refused = set()
    with open_memory(f"sqlite:///{tmp_path}/filled.db") as memory:
        fill(memory)
    with closing(sqlite3.connect(tmp_path / "filled.db")) as filled:
        tables = [name for (name,) in filled.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for _, column, kind, *_ in filled.execute(f"PRAGMA table_info({table})").fetchall():
                if kind != "INTEGER" or table == "migration":
                    continue
                path = tmp_path / f"{table}-{column}.db"
                path.touch(mode=0o600)
                with closing(sqlite3.connect(path)) as db:
                    filled.backup(db)
                    with suppress(sqlite3.IntegrityError), db:
                        row = f"(SELECT max({column}) FROM {table})"
                        db.execute(f"UPDATE {table} SET {column} = {2**63 - 1} WHERE {column} = {row}")
                refused |= write_all(f"sqlite:///{path}", beside=column in COUNTERS)
    assert {"append", "put item"} <= refused


@pytest.mark.parametrize(
    "column", ["message.revision", "thread.touched_at", "memory_space.stamp", "memory_item.vectors"]
)
def test_of_postgres(column: str) -> None:
    url = or_skip(postgres_url)
    with open_memory(url) as memory:
        fill(memory)
    table, name = column.split(".")
    with psycopg.connect(url, autocommit=True) as db:
        names = {"schema": "charm_checkpoint", "table": table, "name": name}
        found = db.execute(
            "SELECT data_type FROM information_schema.columns "
            "WHERE table_schema = %(schema)s AND table_name = %(table)s AND column_name = %(name)s",
            names,
        ).fetchone()
        if found is None:
            pytest.fail(f"there is no {column}")
        first = f"(SELECT max(ctid) FROM charm_checkpoint.{table})"
        db.execute(f"UPDATE charm_checkpoint.{table} SET {name} = {LARGEST[found[0]]} WHERE ctid = {first}".encode())
    write_all(url)
