"""What a SQLite file says of its threads as a whole: how much they hold, what is left of erased ones, and its room."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import golden_stores
import pytest
from children.jobs import config, items, put
from sqlite_files import held, query, row, run, true_size

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import Space, ThreadRow
from charm_checkpoint.stores.sqlite import room, steps
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, PlansInMode
from charm_checkpoint.testing.samples import chunk, new

LATER = 4_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "charm.db"


@pytest.fixture
def memory(path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{path}") as opened:
        yield opened


@pytest.fixture(params=list(CALL_MODES))
def backend(memory: Memory, request: pytest.FixtureRequest) -> Iterator[PlansInMode]:
    mode: CallMode = CALL_MODES[request.param]()
    memory.setup()
    yield PlansInMode(memory.store, mode)
    mode.close()


def uncount(path: Path) -> None:
    """Make of a file one in which nothing was counted, as an earlier version's is."""
    query(path, "UPDATE thread SET size = NULL, checkpoints = NULL, head = NULL, counted = NULL")


# ---------------------------------------------------------------------------------- counting


def test_a_listing_reads_what_was_counted_and_no_checkpoint(backend: PlansInMode, path: Path) -> None:
    backend.put(new("a"))
    query(path, "UPDATE thread SET checkpoints = 77, size = 78, head = x'74797979'")
    found = row(backend)
    assert (found.checkpoints, found.size, found.head) == (77, 78, "yyy")


def test_a_program_of_an_earlier_version_is_noticed(backend: PlansInMode, path: Path) -> None:
    backend.put(new("a", chunks=[chunk("1")]))
    # What such a program does to the tables of a newer one that it had open before.
    for statement in (
        "INSERT INTO checkpoint (space, id, previous, tags, roots, body) VALUES (1, x'7462', 1, x'', x'', x'0102')",
        "UPDATE space SET head = (SELECT max(key) FROM checkpoint)",
        "UPDATE thread SET seq = seq + 1, note = x'01'",
    ):
        query(path, statement)
    found = row(backend)
    assert (found.checkpoints, found.size, found.head) == (2, None, "b")
    backend.put(new("c", "b", body=b"new"))
    found = row(backend)
    assert (found.checkpoints, found.size, found.head) == (3, true_size(backend), "c")


def test_a_thread_that_an_earlier_program_began(backend: PlansInMode, path: Path) -> None:
    query(path, "INSERT INTO thread (identity, tenant, kind, name) VALUES (x'01', x'', 0, x'74')")
    query(path, "INSERT INTO space (thread, ns) VALUES (1, x'')")
    query(path, "INSERT INTO write (space, id, number, body) VALUES (1, x'7461', 1, x'010203')")
    assert row(backend)._replace(touched_at=0) == ThreadRow("t")
    backend.compact(1)
    assert row(backend).size == 3


@pytest.mark.parametrize("change", ["put", "replace", "remove", "copy", "delete"])
def test_what_was_not_counted_is_counted_by_a_change(backend: PlansInMode, path: Path, change: str) -> None:
    backend.put(new("a", chunks=[chunk("1"), chunk("2")]))
    backend.put(new("b", "a"))
    uncount(path)
    assert (row(backend).checkpoints, row(backend).size, row(backend).head) == (2, None, "b")
    calls: dict[str, Callable[[], Any]] = {
        "put": lambda: backend.put(new("c", "b")),
        "replace": lambda: backend.put(new("a", body=b"another")),
        "remove": lambda: backend.remove("t", [("", "b")], None),
        "copy": lambda: backend.copy_thread("t", "u"),
        "delete": lambda: (backend.delete_thread("t"), backend.put(new("x"))),
    }
    calls[change]()
    thread = "u" if change == "copy" else "t"
    assert row(backend, thread).size == true_size(backend, thread)


def test_a_large_thread_is_counted_by_what_gives_room_back(
    backend: PlansInMode, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_SMALL", 3)
    for thread in "tuv":
        for number in range(4):
            backend.put(new(f"{number}", f"{number - 1}" if number else None, thread=thread))
    uncount(path)
    for thread in "tuv":
        backend.put(new("4", "3", thread=thread))
        assert (row(backend, thread).checkpoints, row(backend, thread).size) == (5, None)
    backend.compact(1)
    assert sorted(row(backend, thread).size is None for thread in "tuv") == [False, True, True]
    backend.compact(None)
    assert all(row(backend, thread).size == true_size(backend, thread) for thread in "tuv")


def test_a_file_of_an_earlier_version_is_migrated_at_once_and_counted_later(tmp_path: Path) -> None:
    url = golden_stores.opened("sqlite", tmp_path, "0.2.0")
    with open_memory(url) as memory:
        backend = memory.store.backend
        memory.setup()
        before = {found.thread: found for found in run(memory, partial(backend.threads, None, 100)).items}
        assert {found.size for found in before.values() if found.checkpoints} == {None}
        run(memory, partial(backend.compact, None), write=True)
        for found in run(memory, partial(backend.threads, None, 100)).items:
            assert found._replace(size=None) == before[found.thread]._replace(size=None)
            usage, listed = memory.usage(found.thread), run(memory, partial(backend.messages, found.thread))
            assert listed.body is not None or listed.batches or found.size == usage.payload_bytes


# -------------------------------------------------------------------------------------- room


def texts(count: int) -> list[str]:
    """Return texts that do not compress."""
    return [os.urandom(500).hex() for _ in range(count)]


def without_spare_room(path: Path) -> None:
    """Make of a file one that cannot give back a part of its room."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA auto_vacuum = NONE")
        database.execute("VACUUM")


def test_room_is_given_back_bit_by_bit(backend: PlansInMode, memory: Memory, path: Path) -> None:
    saver = memory.get_langgraph_checkpointer()
    put(saver, config("kept"), {"items": items(50)})
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("CREATE TABLE others (data BLOB)")
        database.execute("INSERT INTO others VALUES (zeroblob(2000000))")
        database.execute("DROP TABLE others")
    before: Space = backend.space()
    assert before.free is not None and before.free > 1_500_000
    after: Space = backend.compact(100_000)
    assert after.free is not None and before.free - 200_000 < after.free < before.free
    while after.free:
        former, after = after, backend.compact(400_000)
        assert after.free < former.free
    assert backend.compact(400_000) == after == backend.space()
    assert after.taken == path.stat().st_size + path.with_name("charm.db-wal").stat().st_size
    assert path.with_name("charm.db-wal").stat().st_size == 0
    assert path.stat().st_size < 600_000 and held(saver, "kept") == items(50)


def test_a_file_that_cannot_give_back_a_part_is_made_anew(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_memory(f"sqlite:///{path}") as memory:
        saver = memory.get_langgraph_checkpointer()
        put(saver, config("kept"), {"items": items(50)})
        put(saver, config("gone"), {"items": texts(1000)})
    without_spare_room(path)
    with open_memory(f"sqlite:///{path}") as memory, caplog.at_level(logging.INFO, "charm_checkpoint"):
        saver, backend = memory.get_langgraph_checkpointer(), memory.store.backend
        memory.delete_thread("gone")
        full = run(memory, backend.space)
        assert full.free > 200_000
        assert run(memory, partial(backend.compact, 10_000_000), write=True).free == full.free
        assert not caplog.records
        left = run(memory, partial(backend.compact, None), write=True)
        assert [line for line in caplog.messages if "written anew as a whole" in line]
        assert left.free == 0 and left.taken < full.taken // 2
        assert query(path, "PRAGMA auto_vacuum") == [(room.INCREMENTAL,)]
        put(saver, config("kept"), {"items": items(60)})
        assert held(saver, "kept") == items(60)


def test_counts_of_a_damaged_thread_stand_in_nobodys_way(backend: PlansInMode, path: Path) -> None:
    for thread in "tu":
        backend.put(new("a", thread=thread, body=os.urandom(2000)))
    uncount(path)
    query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    [[size]] = query(path, "PRAGMA page_size")
    [[root]] = query(path, "SELECT rootpage FROM sqlite_master WHERE name = 'space'")
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    assert backend.compact(1_000_000).taken > 0


# ------------------------------------------------------------------------------------ erasing


def test_what_is_kept_is_kept_for_one_tenant(path: Path) -> None:
    url = f"sqlite:///{path}"
    with open_memory(url, tenant="a") as one, open_memory(url, tenant="b") as other:
        for memory in (one, other):
            memory.setup()
            run(memory, partial(memory.store.backend.put, new("a")), write=True)
        run(one, partial(one.store.backend.erase_thread, "t", 100), write=True)
        assert run(other, partial(other.store.backend.find, "t", "", None)).row.id == "a"
        assert run(other, partial(other.store.backend.forget_erased, LATER), write=True) == 0
        assert run(one, partial(one.store.backend.find, "t", "", None)).state.deletes == 1
        assert run(one, partial(one.store.backend.forget_erased, LATER), write=True) == 1


def test_each_file_has_a_key_of_its_own(tmp_path: Path) -> None:
    marks = []
    for name in ("a.db", "b.db"):
        with open_memory(f"sqlite:///{tmp_path}/{name}") as memory:
            run(memory, memory.store.backend.setup, write=True)
            run(memory, partial(memory.store.backend.erase_thread, "t", LATER), write=True)
        marks += query(tmp_path / name, "SELECT length(secret), mark FROM erasure, erased")
    assert [length for length, _ in marks] == [32, 32] and marks[0] != marks[1]


def test_a_damaged_thread_is_erased_and_the_others_go_on(
    backend: PlansInMode, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(60):
        backend.put(new(f"{number}", f"{number - 1}" if number else None, body=os.urandom(3000)))
    backend.put(new("a", thread="u"))
    query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    [[size]] = query(path, "PRAGMA page_size")
    [[page]] = query(path, "SELECT pageno FROM dbstat WHERE name = 'checkpoint' AND pagetype = 'leaf' LIMIT 1") or [[0]]
    if not page:
        pytest.skip("this SQLite has no dbstat")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    with caplog.at_level(logging.WARNING, "charm_checkpoint"):
        assert backend.erase_thread("t", LATER).damaged == 1
    assert [line for line in caplog.messages if "erased, but part of it stays" in line]
    assert backend.find("t", "", None).row is None and backend.find("t", "", None).state.deletes == 1
    assert backend.put(new("x", "0", seen_deletes=0)).outcome == "deleted"
    assert backend.put(new("anew", seen_deletes=1)).outcome == "stored"
    assert backend.put(new("b", "a", thread="u")).outcome == "stored"
