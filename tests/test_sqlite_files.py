"""The files a SQLite store may meet: read-only, awkwardly named, broken, or somebody else's."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from children.jobs import add_item, config, items, put
from langgraph.checkpoint.base import empty_checkpoint
from sqlite_files import filled, held, query

from charm_checkpoint import open_memory
from charm_checkpoint.errors import (
    ConfigError,
    ReadOnlyStore,
    SchemaMismatch,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from charm_checkpoint.stores.sqlite import open_file, schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "charm.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


# ------------------------------------------------------------------------------------ read only


def test_a_store_opened_to_read_refuses_to_write(url: str, path: Path) -> None:
    filled(url)
    before = path.read_bytes()
    with open_memory(f"{url}?mode=ro") as memory:
        saver = memory.get_langgraph_checkpointer()
        assert held(saver) == items(100)
        assert asyncio.run(saver.aget_tuple(config("t"))) is not None
        with pytest.raises(ReadOnlyStore, match=r"charm\.db cannot be written"):
            put(saver, config("t"), {"items": []})
        with pytest.raises(ReadOnlyStore):
            memory.append_messages("t", [{"content": "hi"}])
    assert path.read_bytes() == before


def test_a_reader_sees_what_a_writer_has_in_its_log(url: str) -> None:
    with open_memory(url) as memory, open_memory(f"{url}?mode=ro") as reader:
        put(memory.get_langgraph_checkpointer(), config("t"), {"items": items(3)})
        assert held(reader.get_langgraph_checkpointer()) == items(3)
        put(memory.get_langgraph_checkpointer(), config("t"), {"items": items(4)})
        assert held(reader.get_langgraph_checkpointer()) == items(4)


def test_a_file_in_a_folder_that_cannot_be_written_is_read(url: str, path: Path) -> None:
    filled(url)
    path.parent.chmod(0o500)
    try:
        with open_memory(f"{url}?mode=ro") as memory:
            if os.geteuid() == 0:  # whom no mode stops: take from SQLite what it would try first
                driver: Any = memory.store.driver
                driver._connect(driver._connections._at_rest, "mode=ro&immutable=1")
            assert held(memory.get_langgraph_checkpointer()) == items(100)
    finally:
        path.parent.chmod(0o700)


READ_ONLY = """
import ctypes, os, subprocess, sys
from charm_checkpoint import open_memory

folder = sys.argv[1]
if os.geteuid():
    os.chmod(folder, 0o500)
else:  # whom no mode stops: a mount that nobody else sees
    if ctypes.CDLL(None).unshare(0x20000):
        sys.exit(77)
    for command in ("--make-rprivate /", f"--bind {folder} {folder}", f"-o remount,ro,bind {folder}"):
        if subprocess.call(["mount", *command.split()]):
            sys.exit(77)
for mode in ("rwc", "rw", "ro"):
    for call in ("usage", "append"):
        with open_memory(f"sqlite:///{folder}/charm.db?mode={mode}") as memory:
            try:
                print(mode, call, memory.usage().threads if call == "usage" else memory.append_messages("t", [{}]))
            except Exception as error:
                print(mode, call, type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are Linux's here")
def test_a_call_on_a_read_only_mount_says_how_to_read(url: str, path: Path) -> None:
    filled(url)
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, path.parent], capture_output=True, text=True, timeout=60
        )
    finally:
        path.parent.chmod(0o700)
    if done.returncode == 77:
        pytest.skip("no folder can be mounted here")
    lines = done.stdout.splitlines()
    assert len(lines) == 6, done.stderr
    for line in lines[:4]:
        assert "ReadOnlyStore" in line and "to only read what is in it, open it with ?mode=ro" in line
    assert lines[4] == "ro usage 1"
    assert "ReadOnlyStore" in lines[5] and "it was opened with mode=ro" in lines[5]


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_a_missing_file_is_not_made_when_it_has_to_exist(url: str, path: Path, mode: str) -> None:
    with open_memory(f"{url}?mode={mode}") as memory, pytest.raises(StoreUnavailable, match="does the file exist"):
        memory.usage()
    assert not path.exists()


# ------------------------------------------------------------------------------ awkward files


@pytest.mark.parametrize("name", ["with space", "größe ✓", "50%", "a?b#c", "quo'te\"", "%41", "file:x"])
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    filled(f"sqlite:///{tmp_path}/{quote(name)}", 3)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    with open_memory(f"sqlite:///{tmp_path}/{quote(name)}") as memory:
        assert held(memory.get_langgraph_checkpointer()) == items(3)


def test_a_relative_path_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_memory("sqlite:///charm.db") as memory:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        add_item(memory.get_langgraph_checkpointer(), "t")
    assert (tmp_path / "charm.db").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with open_memory(f"sqlite:///{tmp_path}/no/charm.db") as memory:
        with pytest.raises(StoreUnavailable, match=r"no/charm\.db cannot be opened.*does the folder exist"):
            memory.setup()
        with pytest.raises(StoreUnavailable, match="folder"):
            asyncio.run(memory.aload_messages("t"))
        (tmp_path / "no").mkdir()
        memory.setup()


def test_an_empty_file_is_a_new_store(url: str, path: Path) -> None:
    path.touch()
    filled(url)
    assert query(path, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]


def test_ram_is_each_stores_own() -> None:
    with open_memory("sqlite:///:memory:") as one, open_memory("sqlite://") as two:
        add_item(one.get_langgraph_checkpointer(), "t")
        assert held(two.get_langgraph_checkpointer()) is None
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda _: held(one.get_langgraph_checkpointer()), range(8))) == [items(1)] * 8


@pytest.mark.parametrize("content", [b"this is a text, not a database" * 200, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_not_a_database_is_refused_and_left_alone(url: str, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with open_memory(url) as memory:
        with pytest.raises(StoreCorrupt, match=r"charm\.db is not a sound SQLite database"):
            memory.usage()
        with pytest.raises(StoreCorrupt):
            asyncio.run(memory.ausage())
    assert path.read_bytes() == content


def test_a_truncated_file_is_found_out(url: str, path: Path) -> None:
    filled(url, 500)
    path.write_bytes(path.read_bytes()[:20_000])
    with open_memory(url) as memory, pytest.raises(StoreCorrupt, match="not a sound SQLite database"):
        held(memory.get_langgraph_checkpointer())


def test_a_flipped_bit_in_a_chunk_is_found_out(url: str, path: Path) -> None:
    filled(url)
    chance, chunks = random.Random(5), query(path, "SELECT key, data FROM chunk")
    found_out = 0
    for key, data in chunks * 10:
        flipped = bytearray(data)
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        query(path, "UPDATE chunk SET data = ? WHERE key = ?", bytes(flipped), key)
        with open_memory(url) as memory:
            try:  # a compressor's header has a bit or two that nobody reads
                assert held(memory.get_langgraph_checkpointer()) == items(100)
            except StoreCorrupt as error:
                assert "Chunk" in str(error) or "Stored bytes" in str(error)
                found_out += 1
        query(path, "UPDATE chunk SET data = ? WHERE key = ?", data, key)
    assert found_out >= 0.9 * 10 * len(chunks) > 20


def test_a_missing_chunk_is_found_out(url: str, path: Path) -> None:
    filled(url)
    query(path, "DELETE FROM chunk WHERE key = (SELECT max(key) FROM chunk)")
    with open_memory(url) as memory, pytest.raises(StoreCorrupt, match=r"Chunk [0-9a-f]{32} is missing"):
        held(memory.get_langgraph_checkpointer())


def test_any_flipped_byte_is_an_error_or_no_difference(url: str, path: Path) -> None:
    filled(url)
    sound = path.read_bytes()
    chance = random.Random(11)
    for _ in range(80):
        broken = bytearray(sound)
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        with open_memory(url) as memory:
            try:
                found = held(memory.get_langgraph_checkpointer())
            except StoreError:
                continue
            assert found in (None, items(100))


# ------------------------------------------------------------------------------- whose file it is


def official(path: Path) -> None:
    """Make a file of LangGraph's own saver, at rest."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(str(path)) as saver:
        saver.put(config("t"), empty_checkpoint(), {"source": "input", "step": 0, "parents": {}}, {})


def plain(path: Path) -> None:
    query(path, "CREATE TABLE checkpoints (thread_id TEXT, checkpoint BLOB)")
    query(path, "CREATE TABLE customers (name TEXT)")


def marked(path: Path) -> None:
    query(path, "CREATE TABLE checkpoints (x)")
    query(path, "PRAGMA application_id = 252006674")


@pytest.mark.parametrize("make", [official, plain, marked])
def test_another_programs_file_is_refused_and_left_alone(url: str, path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    before = path.read_bytes()
    with open_memory(url) as memory:
        for _ in range(2):
            with pytest.raises(SchemaMismatch, match="another program's: it has the tables checkpoints"):
                add_item(memory.get_langgraph_checkpointer(), "t")
        with pytest.raises(SchemaMismatch, match="a file of its own"):
            asyncio.run(memory.asetup())
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_newer_schema_is_refused_with_the_way_out(url: str, path: Path) -> None:
    filled(url)
    query(path, "PRAGMA user_version = 99")
    with open_memory(url) as memory, pytest.raises(SchemaMismatch, match=r"version 99.*pip install -U"):
        add_item(memory.get_langgraph_checkpointer(), "t")


def test_without_setup_an_empty_file_has_no_tables(url: str) -> None:
    with open_memory(url, auto_setup=False) as memory:
        with pytest.raises(SchemaMismatch, match="run setup"):
            memory.usage()
        memory.setup()
        assert memory.usage().threads == 0


def test_an_old_sqlite_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(ConfigError, match=r"needs 3\.37"):
        open_memory(url)


def test_what_another_thread_makes_meanwhile_is_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"
    file = open_file.NamedFile(str(path), "rwc")
    look = open_file.identity

    def late(name: str) -> open_file.Identity | None:
        """Look, and find when that is done that another thread has made the file and opened it."""
        found = look(name)
        if not path.exists():
            opened = sqlite3.connect(path, factory=open_file.Connection)
            opened.execute("CREATE TABLE other (x)")
            opened.file = look(name)
            file.admit(opened)
            opened.close()
        return found

    monkeypatch.setattr(open_file, "identity", late)
    assert file.look() is None
    assert file.look() == look(str(path))
