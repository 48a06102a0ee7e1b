"""Damage of every kind on every store: it is named with its thread, the others work, and the thread can be deleted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from children.jobs import config, item, items
from conftest import or_skip
from damaging import (
    MESSAGES,
    SPACE,
    Damager,
    check_sound,
    fill,
    flipped,
    postgres_damager,
    redis_damager,
    sqlite_damager,
)
from golden_stores import opened
from sqlite_files import held
from stores import postgres_url, supabase_server, supabase_url, valkey_cluster_url, valkey_url

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.checking.integrity import IntegrityReport
from charm_checkpoint.checking.integrity.session import look as look_session
from charm_checkpoint.checking.stores.strays import BATCH
from charm_checkpoint.errors import StoreCorrupt


class Place(NamedTuple):
    """A store that can be damaged from outside."""

    url: str
    damager: Callable[[], AbstractContextManager[Any]]


def _place(kind: str, folder: Path) -> Place:
    if kind == "sqlite":
        path = folder / "charm.db"
        return Place(f"sqlite:///{path}", lambda: sqlite_damager(path))
    if kind == "postgres":
        url = or_skip(postgres_url)
        return Place(url, lambda: postgres_damager(url))
    if kind == "supabase":
        url = or_skip(supabase_url)
        return Place(url, lambda: postgres_damager(supabase_server().database, url.rpartition("=")[2]))
    url = or_skip(valkey_url if kind == "valkey" else valkey_cluster_url)
    return Place(url, lambda: redis_damager(url))


NEAR = ("sqlite", "postgres", "valkey")
FAR = ("supabase", "valkey-cluster")
"""Stores that keep what those before them keep, and are reached in another way."""


@pytest.fixture(params=NEAR)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Yield a store that is filled, of each kind that can be damaged row by row."""
    made = _place(request.param, tmp_path)
    with open_memory(made.url) as memory:
        fill(memory)
    yield made


everywhere = pytest.mark.parametrize("place", (*NEAR, *FAR), indirect=True)
"""What is shown on all of them."""


def look(memory: Memory, **options: Any) -> IntegrityReport:
    report = memory.check(integrity="only", **options).integrity
    assert report is not None
    return report


def check(place: Place, *, repaired: bool = False) -> list[tuple[str, str | None]]:
    """Return kind and thread of what is damaged, after a look at the rest and a deletion of the damaged thread."""
    with open_memory(place.url) as memory:
        report = look(memory)
        again = asyncio.run(memory.acheck(integrity="only")).integrity
        assert again is not None and again.as_dict() == report.as_dict()
        assert {found.thread for found in report.findings} <= {"bad", None}
        check_sound(memory)
        memory.delete_thread("bad")
        left = look(memory)
        assert not [found for found in left.findings if found.thread is not None]
        check_sound(memory)
        return [(found.kind, found.thread) for found in report.problems]


ROWS = {
    "chunk": {("chunk", "bad")},
    "record": {("record", "bad")},
    "writes": {("writes", "bad")},
    "messages": {("messages", "bad")},
    "message chunk": {("messages", "bad")},
    "batch": {("messages", "bad")},
    "item": {("item", None)},
}
"""What may be flipped, and what is told of it."""


@pytest.mark.parametrize(
    ("place", "what", "at"),
    [(kind, what, at) for kind in NEAR for what in ROWS for at in (0.0, 0.5, 1.0)]
    + [(kind, what, 0.5) for kind in FAR for what in ROWS],
    indirect=["place"],
)
def test_a_flipped_byte(place: Place, what: str, at: float) -> None:
    with place.damager() as damager:
        old = damager.held(what)[0]
        damager.replace(what, old, flipped(old, at))
    found = set(check(place))
    assert found and found <= ROWS[what] | {("chunk", "bad"), ("counter", "bad"), ("thread", "bad"), ("head", "bad")}


@everywhere
@pytest.mark.parametrize("what", ["chunk", "message chunk", "item"])
def test_what_is_lost(place: Place, what: str) -> None:
    with place.damager() as damager:
        damager.lose(what, damager.held(what)[0])
    assert set(check(place)) >= ROWS[what]


def test_vectors_that_are_lost(place: Place) -> None:
    with place.damager() as damager:
        damager.lose("item vectors", damager.held("item vectors")[0])
    assert set(check(place)) == {("entry", None)}


@everywhere
def test_a_chunk_is_named_with_checkpoint_channel_and_path_and_a_way_back(place: Place) -> None:
    with place.damager() as damager, open_memory(place.url) as memory:
        tuples = list(memory.get_langgraph_checkpointer().list({"configurable": {"thread_id": "bad"}}))
        ids = [found.checkpoint["id"] for found in tuples]
        _damage_head_alone(damager, memory, ids)
        [found] = look(memory).problems
        assert (found.thread, found.checkpoint, found.channel, found.count) == ("bad", ids[0], "items", 1)
        assert found.path is not None and found.path.startswith("channel_values.items")
        assert f"The last whole checkpoint is {ids[1]}" in found.advice


def _damage_head_alone(damager: Damager, memory: Memory, ids: list[str]) -> None:
    """Flip a byte of a chunk that only the head reaches."""
    backend = memory.store.backend
    roots = [
        memory.store.run(lambda id=id: backend.find("bad", "", id), write=False).row.roots  # type: ignore[misc]
        for id in ids[:2]
    ]
    address = next(root for root in (roots[0][:16],) if root not in roots[1])
    chunk = memory.store.run(lambda: backend.chunks("bad", [address]), write=False)[address]
    old = next(data for data in damager.held("chunk") if data.endswith(chunk.data))
    damager.replace("chunk", old, flipped(old, 1.0))


@everywhere
def test_a_checkpoint_that_is_lost_is_as_after_a_prune_or_told(place: Place) -> None:
    with place.damager() as damager:
        damager.lose("record", sorted(damager.held("record"))[0])
    with open_memory(place.url) as memory:
        report = look(memory)
        assert report.findings and {found.thread for found in report.findings} == {"bad"}
        check_sound(memory)
        memory.delete_thread("bad")
        assert look(memory).ok


def test_items_of_others_are_read_beside_a_damaged_one(place: Place) -> None:
    with place.damager() as damager:
        old = damager.held("item")[0]
        damager.replace("item", old, flipped(old))
    with open_memory(place.url) as memory:
        [found] = look(memory).problems
        assert "in ('bad', 'space')" in found.message
        store = memory.get_langgraph_store()
        assert store.get(("sound", "space"), "one") is not None
        for key in ("one", "two"):
            store.delete(SPACE, key)
        assert look(memory).ok


@pytest.mark.parametrize("what", ["record", "writes"])
def test_what_a_delta_channel_is_rebuilt_from_is_lost(place: Place, what: str) -> None:
    pytest.importorskip("langgraph.channels.delta")
    from charm_checkpoint.testing import graphs

    with open_memory(place.url) as memory, place.damager() as damager:
        memory.delete_thread("bad")
        saver = memory.get_langgraph_checkpointer()
        graph, at = graphs.two_deltas(saver), config("bad")
        for turn in range(3):
            graph.invoke({"log": [turn], "seldom": [turn]}, at)
        whole = {found.config["configurable"]["checkpoint_id"]: found.values for found in graph.get_state_history(at)}
        assert look(memory).ok
        rows = damager.held(what)
        for lost in random.Random(len(rows)).sample(rows, 3):
            saver.copy_thread("bad", "copy")
            damager.lose(what, lost)
            report = look(memory)
            assert not report.ok and report.damaged == ["bad"]
            unreadable = set()
            for id, values in whole.items():
                where: Any = {"configurable": {**at["configurable"], "checkpoint_id": id}}
                try:
                    found = saver.get_tuple(where) and graph.get_state(where).values
                except StoreCorrupt as error:
                    assert str(error).startswith("Thread 'bad'")
                    unreadable.add(id)
                else:  # one of several tasks' writes leaves no trace but the size
                    assert found in (None, values) or what == "writes"
            told = {found.checkpoint for found in report.problems if found.kind == "parent"}
            assert told <= unreadable
            check_sound(memory)
            memory.delete_thread("bad")
            saver.copy_thread("copy", "bad")
            memory.delete_thread("copy")
        assert look(memory).ok


# ------------------------------------------------------------------------------------------- what a store has alone


def look_at(url: str, **options: Any) -> IntegrityReport:
    with open_memory(url) as memory:
        return look(memory, **options)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Path]:
    """Yield a SQLite file that is filled."""
    path = tmp_path / "charm.db"
    with open_memory(f"sqlite:///{path}") as memory:
        fill(memory)
    yield path


HEAD = (
    "UPDATE space SET head = {} WHERE thread = (SELECT key FROM thread WHERE kind = 0 AND name = CAST('bad' AS BLOB))"
)


@pytest.mark.parametrize("head", ["NULL", "12345678", "(SELECT min(key) FROM checkpoint WHERE space = space.key)"])
def test_a_head_that_is_not_the_last_commit_is_repaired(sqlite: Path, head: str) -> None:
    url = f"sqlite:///{sqlite}"
    with sqlite_damager(sqlite) as damager:
        damager.run(HEAD.format(head))
    [found] = look_at(url).problems
    assert (found.kind, found.thread, found.repairable) == ("head", "bad", True)
    report = look_at(url, repair=True)
    assert report.ok and [each.repaired for each in report.findings] == [True]
    assert not look_at(url).findings
    with open_memory(url) as memory:
        assert held(memory.get_langgraph_checkpointer(), "bad") == items(300)


def test_a_head_whose_checkpoint_is_lost_goes_back_to_the_last_one_that_is_there(sqlite: Path) -> None:
    url = f"sqlite:///{sqlite}"
    with sqlite_damager(sqlite) as damager:
        damager.run("DELETE FROM checkpoint WHERE key IN (SELECT s.head FROM space s JOIN thread t ON t.key = s.thread "
                    "WHERE t.name = CAST('bad' AS BLOB))")  # fmt: skip
    assert {(found.kind, found.thread) for found in look_at(url).problems} == {("head", "bad")}
    assert look_at(url, repair=True).ok
    with open_memory(url) as memory:
        assert held(memory.get_langgraph_checkpointer(), "bad") == items(200)
        check_sound(memory)


@pytest.mark.parametrize("table", ["thread", "space"])
def test_a_lost_row_that_others_stand_under_is_told(place: Place, table: str) -> None:
    schema = _only_sql(place)
    thread = f"(SELECT key FROM {schema}thread WHERE kind = 0 AND name = ?)"
    with place.damager() as damager:
        column = "key" if table == "thread" else "thread"
        damager.run(f"DELETE FROM {schema}{table} WHERE {column} = {thread}", b"bad")
    with open_memory(place.url) as memory:
        report = look(memory, repair=True)
        assert {(found.kind, found.grade) for found in report.problems} >= {("store", "damage")}
        assert any("is lost" in found.message and found.advice for found in report.problems)
        check_sound(memory)
        memory.delete_thread("bad")
        check_sound(memory)


def test_rows_that_belong_to_nothing_and_only_take_room_go(place: Place) -> None:
    schema = _only_sql(place)
    with place.damager() as damager:
        damager.run(f"INSERT INTO {schema}chunk (thread, address, refs, data) VALUES (99999, ?, ?, ?)", b"a", b"", b"b")
    report = look_at(place.url)
    assert report.ok and [(found.kind, found.grade) for found in report.findings] == [("store", "waste")]
    assert [found.repaired for found in look_at(place.url, repair=True).findings] == [True]
    assert not look_at(place.url).findings


def _only_sql(place: Place) -> str:
    """Return what stands before a table's name."""
    if place.url.startswith("redis"):
        pytest.skip("rows stand under one another in the SQL stores")
    return "charm_checkpoint." if place.url.startswith("postgresql") else ""


@pytest.mark.parametrize("kind", [0, 1])
def test_a_repair_leaves_what_a_lost_row_can_be_put_back_for(place: Place, kind: int) -> None:
    schema = _only_sql(place)
    where = f"FROM {schema}thread WHERE kind = {kind} AND name = ?"
    with place.damager() as damager, open_memory(place.url) as memory:
        columns = "key, identity, tenant, kind, name, sweeps, deletes, touched_at, seq, pinned"
        [row] = damager.rows(f"SELECT {columns} {where}", b"bad")
        damager.run(f"DELETE {where}", b"bad")
        report = look(memory, repair=True)
        assert not report.ok and not any(found.repaired for found in report.findings)
        places = ", ".join("?" * len(row))
        as_it_was = "OVERRIDING SYSTEM VALUE " if schema else ""
        damager.run(f"INSERT INTO {schema}thread ({columns}) {as_it_was}VALUES ({places})", *row)
        assert look(memory, repair=True).ok
        assert held(memory.get_langgraph_checkpointer(), "bad") == items(300)
        assert len(memory.load_messages("bad")) == len(MESSAGES) + 1


def test_a_repair_goes_step_by_step_and_on_after_it_was_interrupted(place: Place) -> None:
    schema = _only_sql(place)
    with place.damager() as damager:
        for number in range(3):
            for owner in (-7, 99999 + number):
                params = [(f"{n:016}".encode(), owner) for n in range(250)]
                text = ", ".join(f"({owner}, ?, ?, ?)" for _ in params)
                flat = [value for address, _ in params for value in (address + bytes((number,)), b"", b"b")]
                damager.run(f"INSERT INTO {schema}chunk (thread, address, refs, data) VALUES {text}", *flat)
        of = f"SELECT count(*) FROM {schema}chunk WHERE thread IN (-7, 99999, 100000, 100001)"
        with open_memory(place.url) as memory:
            check_sound(memory)
            session, writes, reply = look_session(memory.store, repair=True), 0, None
            while writes < 2:  # as if the program ended there
                step = session.send(reply)
                reply = memory.store.run(step.make, write=step.write, thread=step.thread)
                writes += step.write
            session.close()
            [[left]] = damager.rows(of)
            assert left == 1500 - 2 * BATCH
            report = look(memory, repair=True)
            assert [(found.repaired, found.count) for found in report.findings] == [(True, left)]
            assert damager.rows(of) == [(0,)]
            check_sound(memory)


TABLES = {"chunk", "write", "checkpoint", "space", "thread"}
OWN_TABLES = {
    "sqlite": {"message_list", "item", "item_value", "item_vectors"},
    "postgresql": {"message", "memory_item", "memory_vector"},
}


def test_a_table_that_was_not_restored_is_told(place: Place) -> None:
    schema = _only_sql(place)
    for table in sorted(TABLES | OWN_TABLES[place.url.partition(":")[0]]):
        with place.damager() as damager:
            rows = damager.rows(f"SELECT * FROM {schema}{table}")
            assert rows, table
            damager.run(f"DELETE FROM {schema}{table}")
            assert not look_at(place.url).ok, table
            repaired = look_at(place.url, repair=True).findings
            assert {found.kind for found in repaired if found.repaired} <= {"counter"}, table
            as_it_was = "OVERRIDING SYSTEM VALUE " if schema else ""
            for row in rows:
                damager.run(f"INSERT INTO {schema}{table} {as_it_was}VALUES ({', '.join('?' * len(row))})", *row)
            left = look_at(place.url, repair=True)
            assert not left.problems, table
    with open_memory(place.url) as memory:
        check_sound(memory)
        assert held(memory.get_langgraph_checkpointer(), "bad") == items(300)


def test_a_broken_page_is_told_by_its_table(tmp_path: Path) -> None:
    from test_damage import fill_and_break_page

    path = tmp_path / "charm.db"
    fill_and_break_page(path)
    with open_memory(f"sqlite:///{path}") as memory:
        report = look(memory)
        assert {found.thread for found in report.problems} == {None, "bad"}
        assert any(found.message.startswith("table checkpoint: ") for found in report.problems)
        memory.delete_thread("bad")
        assert {found.kind for found in look(memory).problems} == {"store"}  # the page is still broken


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_file(sqlite: Path, part: float) -> None:
    size = sqlite.stat().st_size
    with sqlite.open("r+b") as file:
        file.truncate(int(size * part))
    report = look_at(f"sqlite:///{sqlite}")
    assert not report.ok and any(found.kind == "store" and found.advice for found in report.problems)


def test_an_old_file_with_a_newer_log(tmp_path: Path) -> None:
    path, restored = tmp_path / "charm.db", tmp_path / "restored.db"
    log = Path(f"{path}-wal")
    with open_memory(f"sqlite:///{path}") as memory, sqlite_damager(path) as other:
        fill(memory)
        other.run("PRAGMA wal_checkpoint(TRUNCATE)")
        old = path.read_bytes()
        for number in range(30):
            memory.save_messages(f"another {number}", [{"content": item(100 * number + n)} for n in range(100)])
        other.run("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(2):
            memory.append_messages(f"last {number}", [{"content": "y"}])
        restored.write_bytes(old)
        Path(f"{restored}-wal").write_bytes(log.read_bytes())
    report = look_at(f"sqlite:///{restored}")
    assert not report.ok


@pytest.mark.parametrize("key", ["state", "rows", "order", "chunks"])
def test_a_key_of_a_thread_that_is_lost(key: str) -> None:
    url = or_skip(valkey_url)
    with open_memory(url) as memory, redis_damager(url) as damager:
        fill(memory)
        damager.client.delete(damager.keys[key])
        report = look(memory)
        assert not report.ok
        assert {found.thread for found in report.problems} <= {"bad", None}
        assert any(found.advice for found in report.problems)
        check_sound(memory)
        memory.delete_thread("bad")
        check_sound(memory)
        if key != "state":
            assert look(memory).ok


def test_a_part_of_the_list_of_threads_that_is_lost_is_made_anew() -> None:
    url = or_skip(valkey_url)
    with open_memory(url) as memory, redis_damager(url) as damager:
        fill(memory)
        backend: Any = memory.store.backend
        damager.client.delete(*backend._names.listings())
        assert not list(memory.threads())
        assert {found.thread for found in look(memory).problems} == {"bad", "sound"}
        assert look(memory, repair=True).ok
        assert {info.thread_id for info in memory.threads()} == {"bad", "sound"}
        assert not look(memory).findings


# ---------------------------------------------------------------------------------------------------------------- files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a store of local files that is filled."""
    with open_memory(f"file://{tmp_path}") as memory:
        fill(memory)
    return tmp_path


def _log(folder: Path) -> Path:
    from local_files import log_of

    return log_of(folder, "bad")


def _spoil(path: Path, at: float = 0.5) -> None:
    path.write_bytes(flipped(path.read_bytes(), at))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _junk(path: Path) -> None:
    path.write_bytes(b"[junk")


def _messages(folder: Path) -> Path:
    return folder / ".charm" / "memory" / "bad.json"


def _space_log(folder: Path) -> Path:
    from charm_checkpoint.items.namespaces import path_of
    from charm_checkpoint.stores.files.space import name_of

    return folder / ".charm" / "items" / name_of(path_of(SPACE)) / "log"


@pytest.mark.parametrize(
    ("of", "spoil", "kind"),
    [
        (_log, _spoil, "thread"),
        (_messages, _junk, "messages"),
        (_space_log, _spoil, "item"),
        (_space_log, _junk, "item"),
    ],
)
def test_a_file_that_is_damaged(
    folder: Path, of: Callable[[Path], Path], spoil: Callable[[Path], None], kind: str
) -> None:
    spoil(of(folder))
    url = f"file://{folder}"
    report = look_at(url)
    assert {(found.kind, found.thread) for found in report.problems} == {(kind, None if kind == "item" else "bad")}
    assert all(found.advice for found in report.problems)
    with open_memory(url) as memory:
        check_sound(memory)
        memory.delete_thread("bad")
        check_sound(memory)
        assert look(memory).ok or kind == "item"


def test_a_log_that_was_cut_off_is_what_a_crash_leaves(folder: Path) -> None:
    _cut(_log(folder))
    report = look_at(f"file://{folder}")
    assert report.ok and report.checkpoints == 6
    with open_memory(f"file://{folder}") as memory:
        check_sound(memory)


def test_a_folder_that_is_missing(folder: Path) -> None:
    import shutil

    shutil.rmtree(_log(folder).parent)
    with open_memory(f"file://{folder}") as memory:
        report = look(memory)
        assert report.ok and report.threads == 2  # its messages are there
        check_sound(memory)
        memory.delete_thread("bad")
        assert look(memory).threads == 1


COUNTERS = {
    "sqlite": ["size = size + 100", "checkpoints = checkpoints - 1", "size = 0, checkpoints = 0"],
    "postgresql": ["size = size + 100", "checkpoints = checkpoints - 1", "size = 0, checkpoints = 0"],
    "redis": ["100"],
}


def test_counters_that_are_wrong_are_repaired(place: Place) -> None:
    kind = place.url.partition(":")[0]
    schema = "charm_checkpoint." if kind == "postgresql" else ""
    for wrong in COUNTERS[kind]:
        with place.damager() as damager:
            if kind == "redis":
                damager.client.hincrby(damager.keys["state"], "b", wrong)
            else:
                damager.run(f"UPDATE {schema}thread SET {wrong} WHERE kind = 0 AND name = ?", b"bad")
        [found] = look_at(place.url).problems
        assert (found.kind, found.thread, found.repairable) == ("counter", "bad", True)
        assert look_at(place.url, repair=True).ok
        assert not look_at(place.url).findings
    with open_memory(place.url) as memory:
        check_sound(memory)


@everywhere
def test_a_thread_that_is_damaged_everywhere_can_be_erased(place: Place) -> None:
    with place.damager() as damager:
        for what in ("chunk", "record", "writes", "messages", "message chunk", "batch"):
            old = damager.held(what)[0]
            damager.replace(what, old, flipped(old))
    with open_memory(place.url) as memory:
        assert {found.kind for found in look(memory).problems} >= {"chunk", "record", "writes", "messages"}
        memory.erase("bad")
        assert not look(memory).findings
        check_sound(memory)
        assert {info.thread_id for info in memory.threads()} == {"sound"}


def test_a_folder_of_local_files_that_is_damaged_can_be_erased(folder: Path) -> None:
    _spoil(_log(folder))
    _junk(_messages(folder))
    with open_memory(f"file://{folder}") as memory:
        assert not look(memory).ok
        memory.erase("bad")
        assert not look(memory).findings
        check_sound(memory)


@pytest.mark.parametrize("store", ["sqlite", "files"])
def test_golden_stores_have_no_damage_and_no_waste_that_a_repair_leaves(store: str, tmp_path: Path) -> None:
    for version in ("0.2.0", "0.3.0"):
        url = opened(store, tmp_path / version, version)
        report = look_at(url, repair=True)
        assert report.ok and all(found.repaired for found in report.findings if found.grade != "note"), version
        assert not [found for found in look_at(url).findings if found.grade != "note"], version
