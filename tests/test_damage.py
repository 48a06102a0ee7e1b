"""Damage that is a store's own: a broken log, a key of another type, a broken page. It hides nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children.jobs import config, items, put
from conftest import or_skip
from local_files import log_of
from official_savers import sqlite_saver
from sqlite_files import held, query
from stores import postgres_url, valkey_url

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.errors import SchemaMismatch, StoreCorrupt, ThreadConflict, ThreadExists
from charm_checkpoint.importers import import_official
from charm_checkpoint.stores.files.log import FIRST, Entry, encode
from charm_checkpoint.stores.files.threads import name_of
from charm_checkpoint.stores.shared.names import CHECKPOINTS
from charm_checkpoint.testing.graphs import chat


def fill(memory: Memory) -> None:
    saver = memory.get_langgraph_checkpointer()
    for thread in ("bad", "sound"):
        at = put(saver, config(thread), {"items": items(100)}, run_id="run")
        put(saver, at, {"items": items(200)})


def check_the_rest(memory: Memory, damaged: int = 1) -> None:
    """Check that the sound thread is listed, counted, read and changed beside the bad one, and that this can go."""
    saver = memory.get_langgraph_checkpointer()
    found = {item.thread_id: item for item in memory.threads()}
    assert (found["sound"].checkpoints, found["sound"].damage) == (2, None)
    assert memory.usage().damaged == damaged
    assert memory.usage().checkpoints >= 2
    try:
        saver.delete_for_runs(["run"])
    except StoreCorrupt as error:
        assert str(error).startswith("Thread 'bad'")
    assert memory.usage("sound").checkpoints == 1
    assert held(saver, "sound") == items(200)
    memory.delete_thread("bad")
    assert [item.thread_id for item in memory.threads()] == ["sound"]
    assert held(saver, "bad") is None
    put(saver, config("bad"), {"items": items(3)})
    assert held(saver, "bad") == items(3)
    assert memory.usage().damaged == 0


def break_log(folder: Path, at: float = 0.25) -> Path:
    """Break the bad thread's log in a folder at a byte or, below 1, so far into it, and return its path."""
    log = folder / ".charm" / "checkpoints" / name_of(CHECKPOINTS, "bad") / "log"
    data = bytearray(log.read_bytes())
    data[int(at) if at >= 1 else int(len(data) * at)] ^= 0x10
    log.write_bytes(data)
    return log


@pytest.mark.parametrize("at", [0, 4, 20, 26, 40, 0.25])
def test_a_damaged_log(tmp_path: Path, caplog: pytest.LogCaptureFixture, at: float) -> None:
    with open_memory(f"file://{tmp_path}") as memory:
        fill(memory)
    log = break_log(tmp_path, at)
    name = "bad" if at == 0.25 else None  # which the first record tells
    with open_memory(f"file://{tmp_path}") as memory, caplog.at_level(logging.WARNING):
        [bad] = [item for item in memory.threads() if item.damage is not None]
        assert bad.thread_id == name and bad.damage and str(log) in bad.damage
        with pytest.raises(StoreCorrupt, match=r"^Thread 'bad': .*log is damaged at byte"):
            held(memory.get_langgraph_checkpointer(), "bad")
        check_the_rest(memory)
    assert f"Thread {name!r} is not counted: " in caplog.text


@pytest.mark.parametrize("at", [4, 0.25])
def test_a_damaged_log_is_deleted_from_the_shell(tmp_path: Path, at: float) -> None:
    url = f"file://{tmp_path}"
    with open_memory(url) as memory:
        fill(memory)
    break_log(tmp_path, at)
    assert main(["delete", "bad", "--yes", "--url", url]) == 0
    assert main(["delete", "bad", "--yes", "--url", url]) == 1
    with open_memory(url) as memory:
        assert [(item.thread_id, item.damage) for item in memory.threads()] == [("sound", None)]


def forked(log: Path) -> None:
    (log.parent / "log (conflicted copy)").write_bytes(log.read_bytes())


def a_folder(log: Path) -> None:
    log.unlink()
    log.mkdir()


def from_the_future(log: Path) -> None:
    data, _ = encode(Entry([0, 99, None, 0, 0, 0, 0, {}]), 0, FIRST)
    log.write_bytes(data)


@pytest.mark.parametrize("wrong", [break_log, forked, a_folder, from_the_future])
def test_a_prune_goes_on_after_a_thread_of_which_something_is_wrong(
    tmp_path: Path, wrong: Callable[[Path], object]
) -> None:
    with open_memory(f"file://{tmp_path}") as memory:
        fill(memory)
        saver = memory.get_langgraph_checkpointer()
        for _ in range(2):
            put(saver, config("z"), {"items": items(1)})
    wrong(tmp_path if wrong is break_log else log_of(tmp_path, "bad"))
    with open_memory(f"file://{tmp_path}") as memory:
        saver = memory.get_langgraph_checkpointer()
        with pytest.raises((StoreCorrupt, SchemaMismatch, ThreadConflict)):
            saver.prune(["sound", "bad", "z"])
        assert memory.usage("sound").checkpoints == memory.usage("z").checkpoints == 1


def test_what_is_no_log(tmp_path: Path) -> None:
    with open_memory(f"file://{tmp_path}") as memory:
        fill(memory)
    folder = tmp_path / ".charm" / "checkpoints"
    (folder / name_of(CHECKPOINTS, "not a folder")).write_text("a file")
    (folder / name_of(CHECKPOINTS, "a folder") / "log").mkdir(parents=True)
    with open_memory(f"file://{tmp_path}") as memory:
        found = list(memory.threads())
        assert sorted(item.thread_id or "" for item in found) == ["", "", "bad", "sound"]
        assert sum(item.damage is not None for item in found) == memory.usage().damaged == 2
        memory.get_langgraph_checkpointer().delete_for_runs(["run"])
        assert memory.usage("sound").checkpoints == 1


KEYS = ["state", "rows", "order", "writes", "chunks"]


def break_key(memory: Memory, client: Any, key: str) -> None:
    """Make a key of the bad thread a text."""
    backend: Any = memory.store.backend
    name = backend._names.thread(backend._names.tag("bad"))[KEYS.index(key)]
    client.delete(name)
    client.set(name, "text")


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_another_type(key: str, caplog: pytest.LogCaptureFixture) -> None:
    from redis import Redis

    url = or_skip(valkey_url)
    with open_memory(url) as memory, Redis.from_url(url) as client:
        fill(memory)
        break_key(memory, client, key)
        [bad] = [item for item in memory.threads() if item.damage is not None]
        assert bad.thread_id == (None if key == "state" else "bad") and bad.damage and "WRONGTYPE" in bad.damage
        if key != "writes":
            with pytest.raises(StoreCorrupt, match=r"^Thread 'bad'"), open_memory(url) as another:
                held(another.get_langgraph_checkpointer(), "bad")
        with caplog.at_level(logging.WARNING):
            check_the_rest(memory, int(key != "rows"))


@pytest.mark.parametrize("key", ["messages", "message-chunks"])
def test_a_key_of_messages_of_another_type(key: str) -> None:
    from redis import Redis

    url = or_skip(valkey_url)
    with open_memory(url) as memory, Redis.from_url(url) as client:
        memory.save_messages("bad", [{"content": "x" * 90}] * 900)
        memory.save_messages("sound", [{"content": "x"}])
        backend: Any = memory.store.backend
        name = backend._names.thread(backend._names.tag("bad"))[5 + (key == "message-chunks")]
        client.delete(name)
        client.set(name, "text")
        assert {item.thread_id for item in memory.threads() if item.damage is None} == {"sound"}
        memory.delete_thread("bad")
        assert [item.thread_id for item in memory.threads()] == ["sound"]
        memory.append_messages("bad", [{"content": "anew"}])
        assert memory.load_messages("bad") == [{"content": "anew"}]


def fill_and_break_page(path: Path) -> None:
    """Make a SQLite store in which one page, with checkpoints of the bad thread alone, is broken."""
    with open_memory(f"sqlite:///{path}") as memory:
        saver = memory.get_langgraph_checkpointer()
        # Several whole pages lie between the sound thread's rows and the broken page: SQLite joins a page that is
        # emptied with the two beside it, whichever of its rows goes first.
        for thread, steps in (("sound", 30), ("bad", 90)):
            at = config(thread)
            for step in range(steps):
                at = put(saver, at, {"text": [str(step) * 300], "step": step}, run_id=f"run of {thread}")
    query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    [[root]] = query(path, "SELECT rootpage FROM sqlite_master WHERE name = 'checkpoint'")
    [[size]] = query(path, "PRAGMA page_size")
    data = bytearray(path.read_bytes())
    start = (root - 1) * size
    assert data[start] == 0x05, "the table is one page only"
    # The page that its rightmost rows are in, which are the bad thread's.
    last = int.from_bytes(data[start + 8 : start + 12], "big")
    data[(last - 1) * size : (last - 1) * size + 100] = b"\xff" * 100
    path.write_bytes(data)


def test_a_damaged_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "charm.db"
    fill_and_break_page(path)
    with open_memory(f"sqlite:///{path}") as memory, caplog.at_level(logging.WARNING):
        saver = memory.get_langgraph_checkpointer()
        assert {item.thread_id: item.checkpoints for item in memory.threads()} == {"sound": 30, "bad": 90}
        with pytest.raises(StoreCorrupt, match="^Thread 'bad': .*is not a sound SQLite database"):
            saver.get_tuple(config("bad"))
        assert memory.usage("sound").checkpoints == 30
        saver.prune(["sound"])
        saver.delete_thread("bad")
        assert [item.thread_id for item in memory.threads()] == ["sound"]
        assert saver.get_tuple(config("bad")) is None
        assert memory.usage().checkpoints == 1
    assert "Thread 'bad' is deleted, but part of it stays in the file" in caplog.text


NO_TEXT = b"\xff\xfe"
ROW_DAMAGE = [
    *(("thread", "touched_at", at) for at in (2**62, 253402300800, -(2**62))),
    ("thread", "name", NO_TEXT), ("checkpoint", "id", b"t" + NO_TEXT), ("checkpoint", "parent", b"t" + NO_TEXT),
    ("checkpoint", "conflict", b"t" + NO_TEXT), ("space", "ns", NO_TEXT),
]  # fmt: skip
"""What is damaged in a table: the bad thread's, of which rows there may be several."""


def check_the_listing(memory: Memory) -> None:
    """Check that damage in the bad thread's rows is damage to whoever reads it, and hides no other thread."""
    saver = memory.get_langgraph_checkpointer()
    found = {item.thread_id: item for item in memory.threads()}
    assert len(found) == 2 and found["sound"].updated_at
    [bad] = [item for name, item in found.items() if name != "sound"]
    assert bad.thread_id == "bad" or "no text" in str(bad.damage)
    assert held(saver, "sound") == items(200)
    for read in (lambda: list(saver.list(None)), lambda: list(saver.list(config("bad"))), lambda: held(saver, "bad")):
        with contextlib.suppress(StoreCorrupt):
            read()
    with contextlib.suppress(StoreCorrupt):
        saver.delete_for_runs(["run"])
    with contextlib.suppress(StoreCorrupt):
        saver.prune(["bad", "sound"])
    assert memory.usage("sound").checkpoints == 1
    memory.delete_thread("bad")
    assert "sound" in [item.thread_id for item in memory.threads()]


def fill_below(memory: Memory) -> None:
    fill(memory)
    below = {"configurable": {"thread_id": "bad", "checkpoint_ns": "below"}}
    put(memory.get_langgraph_checkpointer(), below, {"items": items(1)})


@pytest.mark.parametrize(("table", "column", "value"), ROW_DAMAGE)
def test_a_damaged_row(tmp_path: Path, table: str, column: str, value: object) -> None:
    path = tmp_path / "charm.db"
    with open_memory(f"sqlite:///{path}") as memory:
        fill_below(memory)
        bad = "(SELECT key FROM thread WHERE name = CAST('bad' AS BLOB))"
        where = {
            "thread": f"key = {bad}", "space": f"thread = {bad} AND ns <> x''",
            "checkpoint": f"space IN (SELECT key FROM space WHERE thread = {bad})",
        }[table]  # fmt: skip
        query(path, f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {where}", value)
        check_the_listing(memory)


@pytest.mark.parametrize(("table", "column", "value"), ROW_DAMAGE)
def test_a_damaged_row_of_postgres(table: str, column: str, value: object) -> None:
    import psycopg

    url = or_skip(postgres_url)
    with open_memory(url) as memory, psycopg.connect(url, autocommit=True) as db:
        fill_below(memory)
        db.execute("SET search_path = charm_checkpoint")
        bad = "(SELECT key FROM thread WHERE name = 'bad')"
        spaces = f"(SELECT key FROM space WHERE thread = {bad})"
        where = {
            "thread": f"key = {bad}", "space": f"thread = {bad} AND ns <> ''",
            "checkpoint": f"key IN (SELECT max(key) FROM checkpoint WHERE space IN {spaces} GROUP BY space)",
        }[table]  # fmt: skip
        assert db.execute(f"UPDATE {table} SET {column} = %s WHERE {where}", [value]).rowcount
        check_the_listing(memory)


@pytest.mark.parametrize(
    ("field", "value"),
    [("t", NO_TEXT), ("n", b"000t" + NO_TEXT), *(("a", at) for at in (b"nan", b"inf", b"1e30", b"-1e30", b"junk"))],
)
def test_a_damaged_field(field: str, value: bytes) -> None:
    from redis import Redis

    url = or_skip(valkey_url)
    with open_memory(url) as memory, Redis.from_url(url) as client:
        fill_below(memory)
        backend: Any = memory.store.backend
        client.hset(backend._names.thread(backend._names.tag("bad"))[0], field, value)
        check_the_listing(memory)


@pytest.fixture(params=["file", "sqlite", "redis"])
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a store with a sound thread and a bad one, of which nobody can tell how much it holds."""
    if request.param == "file":
        url = f"file://{tmp_path}"
        with open_memory(url) as memory:
            fill(memory)
        break_log(tmp_path)
    elif request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/charm.db"
        fill_and_break_page(tmp_path / "charm.db")
    else:
        from redis import Redis

        url = or_skip(valkey_url)
        with open_memory(url) as memory, Redis.from_url(url) as client:
            fill(memory)
            break_key(memory, client, "order")
    return url


def test_a_damaged_thread_can_be_deleted_from_the_shell(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_memory(broken) as memory:
        sound = memory.usage("sound").checkpoints
    assert main(["delete", "bad", "--yes", "--url", broken]) == 0
    assert capsys.readouterr().out == "deleted bad\n"
    assert main(["delete", "bad", "--yes", "--url", broken]) == 1
    with open_memory(broken) as memory:
        assert [(item.thread_id, item.checkpoints) for item in memory.threads()] == [("sound", sound)]


def test_a_prune_from_the_shell_tells_of_a_damaged_thread_and_goes_on(
    broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_memory(broken) as memory:
        sound = memory.usage("sound").checkpoints
    assert main(["prune", "bad", "sound", "--yes", "--url", broken]) not in (0, 2)
    out, err = capsys.readouterr()
    assert out == f"bad: ? checkpoints before, ? now\nsound: {sound} checkpoints before, 1 now\n"
    assert "Thread 'bad': " in err
    assert main(["prune", "bad", "sound", "--strategy", "delete", "--yes", "--url", broken]) == 0
    assert capsys.readouterr().out == "bad: ? checkpoints before, 0 now\nsound: 1 checkpoint before, 0 now\n"


def test_the_shell_says_how_many_are_damaged(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["usage"], ["usage", "--thread", "bad"]):
        code = main([*command, "--url", broken])
        out, err = capsys.readouterr()
        assert "there is no thread" not in err
        # A count that a broken page fails is an error, as is one of a thread of which nothing can be read.
        assert code == 1 if "damaged" not in out else ["damaged", "1"] in [line.split() for line in out.splitlines()]
    for command in (["messages", "bad"], ["copy", "bad", "new"]):
        main([*command, "--url", broken])
        assert "there is no thread" not in capsys.readouterr().err
    main(["delete", "bad", "--yes", "--url", broken])
    capsys.readouterr()
    assert main(["usage", "--url", broken]) == 0
    assert "damaged" not in capsys.readouterr().out


def test_a_copy_names_both_its_threads(broken: str) -> None:
    with open_memory(broken) as memory:
        saver = memory.get_langgraph_checkpointer()
        with pytest.raises(StoreCorrupt, match="^Thread 'bad' or 'new': "):
            saver.copy_thread("bad", "new")
        with pytest.raises((StoreCorrupt, ThreadExists), match="^Thread ('sound' or )?'bad'"):
            saver.copy_thread("sound", "bad")
        with pytest.raises(StoreCorrupt, match="^Thread 'bad' or 'async': "):
            asyncio.run(saver.acopy_thread("bad", "async"))


def test_an_import_names_the_damaged_thread(tmp_path: Path, broken: str) -> None:
    with sqlite_saver(tmp_path / "official.sqlite") as official:
        chat(official).invoke({"messages": [("user", "one")]}, config("bad"))
    with open_memory(broken) as memory, pytest.raises(StoreCorrupt, match="^Thread 'bad': "):
        import_official(tmp_path / "official.sqlite", memory)
