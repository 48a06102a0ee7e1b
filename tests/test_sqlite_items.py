"""Long-term memory in a SQLite file: what it costs, how an older file gets it, and what is given back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from golden_stores import opened
from sqlite_files import query

from charm_checkpoint import open_memory
from charm_checkpoint.contract_items import INLINE_VECTORS, ItemBatch, ItemChange, ItemQuery
from charm_checkpoint.errors import DataError, ReadOnlyStore, SchemaMismatch
from charm_checkpoint.items.store.lifetimes import LONGEST
from charm_checkpoint.memory import Memory
from charm_checkpoint.plan import Plan, run
from charm_checkpoint.stores.sqlite import backend, schema
from charm_checkpoint.stores.sqlite.items import SqliteItems
from charm_checkpoint.stores.sqlite.steps import Sql

NOW = 1_800_000_000_000_000
PUTS = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "charm.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with open_memory(url) as memory:
        yield memory


def read(memory: Memory, method: str, *args: Any) -> Any:
    return memory.store.run(lambda: getattr(memory.store.items, method)(*args), write=False)


def write(memory: Memory, method: str, *args: Any) -> Any:
    return memory.store.run(lambda: getattr(memory.store.items, method)(*args), write=True)


def put(number: int, space: bytes = b"iusers\0", size: int = 768, ttl: int | None = None) -> ItemChange:
    name = f"item {number}".encode()
    return ItemChange(space, name, b"a value" * 30, b"tags", os.urandom(250), os.urandom(size), ttl)


def change(memory: Memory, *changes: ItemChange, now: int = NOW) -> Any:
    return write(memory, "change", ItemBatch(now, changes=changes))


# ------------------------------------------------------------------------------------- versions


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_a_file_of_an_older_version_gets_items_and_goes_on(version: str, tmp_path: Path) -> None:
    url = opened("sqlite", tmp_path, version)
    [(before,)] = query(tmp_path / "agent.db", "PRAGMA user_version")
    with open_memory(url) as memory:
        threads = memory.usage().threads
        change(memory, put(1))
        assert list(read(memory, "fetch", [put(1).item])) == [put(1).item]
        assert memory.usage().threads == threads > 0
    assert [before] < [version for (version,) in query(tmp_path / "agent.db", "PRAGMA user_version")]


def test_to_look_at_items_is_enough(tmp_path: Path) -> None:
    with open_memory(opened("sqlite", tmp_path, "0.2.0")) as memory:
        assert read(memory, "spaces", b"", NOW) == []


def test_a_program_of_the_version_before_says_what_to_do(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_memory(url) as memory:
        change(memory, put(1))
    with monkeypatch.context() as former:
        former.setattr(backend, "MIGRATIONS", schema.MIGRATIONS[:2])
        with open_memory(url) as memory, pytest.raises(SchemaMismatch, match=r"version 4; .* up to 2.*pip install -U"):
            memory.load_messages("t")
    with open_memory(url) as memory:
        assert read(memory, "count", b"", NOW) == 1


def test_a_program_that_runs_on_while_another_migrates(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as former:
        former.setattr(backend, "MIGRATIONS", schema.MIGRATIONS[:2])
        running = open_memory(url)
        running.setup()
    with running, open_memory(url) as memory:
        with pytest.raises(SchemaMismatch, match="run setup"):
            read(running, "count", b"", NOW)
        change(memory, put(1))
        assert read(running, "count", b"", NOW) == 1
        running.append_messages("t", [{"role": "user", "content": "after"}])
        assert [message["content"] for message in memory.load_messages("t")] == ["after"]


def test_a_file_that_is_only_read(url: str) -> None:
    with open_memory(url) as memory:
        change(memory, put(1))
    with open_memory(f"{url}?mode=ro") as memory:
        assert read(memory, "count", b"", NOW) == 1
        assert len(read(memory, "page", ItemQuery(b"", NOW, 10))) == 1
        assert read(memory, "entries", b"").spaces[0].space == b"iusers\0"
        with pytest.raises(ReadOnlyStore):
            change(memory, put(2))


def test_tenants_do_not_see_each_others_items(url: str) -> None:
    with open_memory(url, tenant="a") as one, open_memory(url, tenant="b") as other:
        change(one, put(1, ttl=1), put(2))
        mark = read(one, "entries", b"").mark
        change(other, put(1, ttl=1), put(3))
        assert read(one, "entries", b"", {}, mark).same
        assert [row.key for row in read(other, "page", ItemQuery(b"", NOW, 10))] == [b"item 3", b"item 1"]
        assert not read(other, "fetch", [put(2).item]) and read(other, "usage").items == 2
        assert write(other, "expire", NOW + 1, 10) == 1
        assert write(other, "erase", b"") == 1
        assert read(one, "count", b"", NOW) == 2 and read(other, "spaces", b"", NOW) == []


def test_the_longest_time_to_live_fits(memory: Memory) -> None:
    store = memory.get_langgraph_store()
    store.put(("users",), "k", {}, ttl=LONGEST * 0.99)
    assert store.get(("users",), "k") is not None
    with pytest.raises(DataError, match="a time to live is a number of minutes"):
        store.put(("users",), "k", {}, ttl=LONGEST)


# ----------------------------------------------------------------------------------------- room


def pages(path: Path) -> int:
    """Return how many pages are in the log."""
    [(_, count, _)] = query(path, "PRAGMA wal_checkpoint")
    return int(count)


def test_a_put_changes_seven_pages_and_without_vectors_six(memory: Memory, path: Path) -> None:
    change(memory, *(put(number) for number in range(2000)))
    for size, most in ((768, 7), (0, 6)):
        query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(PUTS):
            change(memory, put(number * 17, size=size), now=NOW + 10**6 + number)
        # Now and then a page is full, and its neighbours and the one above change as well.
        assert pages(path) <= (most + 2) * PUTS


def test_nothing_is_written_where_nothing_changes(memory: Memory, path: Path) -> None:
    change(memory, put(1))
    query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert change(memory, ItemChange(b"iusers\0", b"none", None)).updated == [0]
    assert write(memory, "expire", NOW, 10) == write(memory, "erase", b"inobody") == 0
    write(memory, "change", ItemBatch(NOW, touches=[put(1).item]))
    assert pages(path) == 0


@pytest.mark.parametrize("how", ["erase", "delete", "expire"])
def test_room_is_given_back(memory: Memory, path: Path, how: str) -> None:
    change(memory, put(0, b"ikept\0"))
    query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.stat().st_size
    puts = [put(number, ttl=1) for number in range(1000)]
    change(memory, *puts)
    query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size > before + 10**6
    if how == "erase":
        assert write(memory, "erase", b"iusers\0") == 1000
    elif how == "expire":
        assert write(memory, "expire", NOW + 1, 2000) == 1000
    else:
        change(memory, *(ItemChange(*one.item, None) for one in puts))
    query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size < before + 70 * 4096
    assert read(memory, "count", b"", 0) == 1
    left = [query(path, f"SELECT count(*) FROM {table}") for table in ("item_space", "item_value", "item_vectors")]
    assert left == [[(1,)]] * 3


# ----------------------------------------------------------------------------------- statements


def counted(memory: Memory, make: Callable[[SqliteItems], Plan[Any]]) -> list[Sql]:
    """Return the statements of a plan, run on the side."""
    statements: list[Sql] = []
    [connection] = memory.store.driver._connections._writer  # type: ignore[attr-defined]

    def execute(statement: Sql) -> Any:
        statements.append(statement)
        how = connection.executemany if statement.many else connection.execute
        return how(statement.text, statement.params).fetchall()

    connection.execute("BEGIN")
    run(make(SqliteItems()), execute)
    connection.execute("COMMIT")
    return statements


def test_many_items_take_few_statements(memory: Memory) -> None:
    puts = [put(number, b"i%d\0" % (number % 100)) for number in range(2000)]
    change(memory, put(0))
    made = counted(memory, lambda items: items.change(ItemBatch(NOW, changes=puts)))
    assert len(made) <= 30
    assert len({statement.text for statement in made}) <= 12
    names = [one.item for one in puts]
    assert len(counted(memory, lambda items: items.fetch(names))) == 16
    assert len(counted(memory, lambda items: items.fetch(names[:1]))) == 1
    assert len(counted(memory, lambda items: items.entries(b"i0"))) == 4
    assert len(counted(memory, lambda items: items.entries(b""))) == 3 and INLINE_VECTORS < 2001
    mark = read(memory, "entries", b"").mark
    assert len(counted(memory, lambda items: items.entries(b"", {}, mark))) == 1
    removed = [ItemChange(*name, None) for name in names]
    made = counted(memory, lambda items: items.change(ItemBatch(NOW, changes=removed)))
    giving_back = next(at for at, statement in enumerate(made) if "freelist" in statement.text)
    assert giving_back <= 30


@pytest.mark.parametrize(
    ("make", "reads"),
    [
        (lambda items: items.spaces(b"i", NOW), "item_order"),
        (lambda items: items.count(b"i", NOW), "item_order"),
        (lambda items: items.page(ItemQuery(b"iusers\0", NOW, 10)), "item_order"),
        (lambda items: items.page(ItemQuery(b"i", NOW, 10, oldest_first=True)), "item_order"),
        (lambda items: items.entries(b"iusers\0", {b"iusers\0": NOW}), "item_order"),
        (lambda items: items.expire(NOW, 10), "item_end"),
    ],
)
def test_what_is_not_wanted_is_not_walked_over(
    memory: Memory, path: Path, make: Callable[[SqliteItems], Plan[Any]], reads: str
) -> None:
    change(memory, put(1), put(2), put(3, b"iothers\0"))
    made = [statement for statement in counted(memory, make) if " item" in statement.text]
    with closing(sqlite3.connect(path)) as db:
        steps = [
            step[3]
            for statement in made
            if not statement.many
            for step in db.execute(f"EXPLAIN QUERY PLAN {statement.text}", statement.params)
        ]
    assert any(reads in step for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN") and step not in ("SCAN p", "SCAN w")], steps
