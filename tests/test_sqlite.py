"""The SQLite store at work: threads, loops, cancellation, full disks, migrations, room."""

from __future__ import annotations

import asyncio
import gc
import operator
import os
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from children.jobs import add_item, config, item, items, put
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from local_files import no_file_above
from sqlite_files import filled, held, query

from charm_checkpoint import open_memory
from charm_checkpoint.errors import (
    SchemaMismatch,
    StoreClosed,
    StoreUnavailable,
)
from charm_checkpoint.runtime.worker_thread import WorkerThread
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.stores.shared.migrations import Migration, pending
from charm_checkpoint.stores.sqlite import backend as sql
from charm_checkpoint.stores.sqlite import schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "charm.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


# ------------------------------------------------------------------------ one object, any loop


class State(TypedDict):
    items: Annotated[list[str], operator.add]


def graph(saver: CharmSaver) -> Any:
    builder = StateGraph(State)
    builder.add_node("add", lambda state: {"items": [item(len(state["items"]))]})
    builder.add_edge(START, "add")
    builder.add_edge("add", END)
    return builder.compile(checkpointer=saver)


def test_one_saver_blocking_then_in_two_loops_then_in_16_threads(url: str) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        agent = graph(saver)
        agent.invoke({"items": []}, config("t"))
        for _ in range(2):
            asyncio.run(agent.ainvoke({"items": []}, config("t")))
        assert held(saver) == items(3)
        with ThreadPoolExecutor(16) as pool:
            runs = [pool.submit(agent.invoke, {"items": []}, config(str(run % 16))) for run in range(16)]
            runs += [pool.submit(asyncio.run, agent.ainvoke({"items": []}, config(f"a{run}"))) for run in range(16)]
            assert [run.result() for run in runs] == [{"items": items(1)}] * 32


def test_two_event_loops_in_two_threads_at_once(url: str) -> None:
    async def converse(saver: CharmSaver, thread: str) -> Any:
        agent = graph(saver)
        for _ in range(20):
            await agent.ainvoke({"items": []}, config(thread))
        found = await saver.aget_tuple(config(thread))
        return found and found.checkpoint["channel_values"]["items"]

    with open_memory(url) as memory, ThreadPoolExecutor(2) as pool:
        saver = memory.get_langgraph_checkpointer()
        loops = [pool.submit(asyncio.run, converse(saver, thread)) for thread in "ab"]
        assert [loop.result() for loop in loops] == [items(20)] * 2


@pytest.mark.parametrize("place", ["file", "ram"])
def test_close_while_calls_are_in_flight(url: str, place: str) -> None:
    for _ in range(5):
        memory = open_memory(url if place == "file" else "sqlite:///:memory:")
        saver, done = memory.get_langgraph_checkpointer(), []

        def work(thread: str, saver: CharmSaver = saver, done: list[int] = done) -> None:
            with pytest.raises(StoreClosed):
                while True:
                    add_item(saver, thread)
                    asyncio.run(saver.aget_tuple(config(thread)))
                    done.append(1)

        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(work, str(number)) for number in range(4)]
            while len(done) < 20:
                time.sleep(0.001)
            memory.close()
            assert [call.result(10) for call in calls] == [None] * 4


def test_a_closed_store_says_so_and_closes_again(url: str) -> None:
    memory = open_memory(url)
    saver = memory.get_langgraph_checkpointer()
    at, _ = add_item(saver, "t")
    memory.close()
    memory.close()
    asyncio.run(memory.aclose())
    for call in (lambda: held(saver), lambda: put(saver, at, {"items": []}), memory.usage):
        with pytest.raises(StoreClosed, match="open it again"):
            call()
    for awaited in (saver.aget_tuple(at), saver.aput_writes(at, [("items", 1)], "task"), memory.ausage()):
        with pytest.raises(StoreClosed):
            asyncio.run(awaited)


def test_threads_end_with_the_store(url: str) -> None:
    before = threading.active_count()
    for _ in range(3):
        memory = open_memory(url)
        asyncio.run(memory.aappend_messages("t", [{"content": "hi"}]))
        assert threading.active_count() > before
        memory.close()
    assert threading.active_count() <= before  # one that an earlier test left may have ended meanwhile


def test_a_store_that_nobody_keeps_ends_its_threads(url: str) -> None:
    before = threading.active_count()
    memory = open_memory(url)
    asyncio.run(memory.aappend_messages("t", [{"content": "hi"}]))
    del memory
    deadline = time.monotonic() + 60  # they end at once, but a busy machine may not let them
    while threading.active_count() > before:
        gc.collect()
        assert time.monotonic() < deadline


# -------------------------------------------------------------------------------- cancellation


def test_a_cancelled_put_is_whole_or_absent(url: str) -> None:
    async def cancel_some(saver: CharmSaver) -> int:
        cancelled = 0
        for number in range(60):
            checkpoint: Any = {**empty_checkpoint(), "channel_values": {"items": items(number + 1)}}
            checkpoint["channel_versions"] = {"items": 1}
            call = asyncio.create_task(saver.aput(config(str(number)), checkpoint, {"step": 0}, {"items": 1}))
            await asyncio.sleep(random.choice([0, 0.0005, 0.002]))
            cancelled += call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await saver.aput_writes(config("after", "1"), [("items", 1)], "task")
        return cancelled

    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        assert asyncio.run(cancel_some(saver)) > 10
        for number in range(60):
            assert held(saver, str(number)) in (None, items(number + 1))


def test_a_worker_skips_what_was_cancelled_before_its_turn() -> None:
    worker, first, ran = WorkerThread("test"), threading.Event(), []

    async def cancel_the_second() -> None:
        blocked = asyncio.create_task(worker.run(first.wait))
        waiting = asyncio.create_task(worker.run(lambda: ran.append(2)))
        await asyncio.sleep(0.01)
        waiting.cancel()
        first.set()
        await blocked
        await worker.run(lambda: ran.append(3))

    asyncio.run(cancel_the_second())
    worker.stop()
    assert ran == [3]


def test_a_worker_outlives_the_loop_that_asked(url: str) -> None:
    worker, go = WorkerThread("test"), threading.Event()

    async def ask_and_leave() -> None:
        asyncio.get_running_loop().call_later(0.01, asyncio.get_running_loop().stop)
        await worker.run(go.wait)

    loop = asyncio.new_event_loop()
    task = loop.create_task(ask_and_leave())
    loop.run_forever()
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    go.set()
    assert asyncio.run(worker.run(lambda: 7)) == 7
    worker.stop()


# ------------------------------------------------------------------------------------ disk full


@pytest.mark.parametrize("room", [2_000, 50_000])
def test_a_full_disk_loses_nothing_and_room_mends_it(url: str, path: Path, room: int) -> None:
    # The log is what grows, it is at the commit that there is none left.
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        at, _ = add_item(saver, "t")
        before = memory.usage()
        large = {"items": [item(1), os.urandom(500_000).hex()], "more": items(50)}
        with no_file_above(Path(f"{path}-wal").stat().st_size + room):
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="nothing was written, free some room"):
                    put(saver, at, large)
            with pytest.raises(StoreUnavailable, match="free some room"):
                asyncio.run(saver.aput_writes(at, [("items", os.urandom(500_000))], "task"))
            assert held(saver) == items(1)
        assert memory.usage() == before
        put(saver, at, large)
        # Read by somebody who remembers nothing: chunks of the failed puts count as sent nowhere.
        with open_memory(url) as other:
            assert held(other.get_langgraph_checkpointer()) == large["items"]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_full_database_loses_nothing(url: str, path: Path) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        at, _ = add_item(saver, "t")
        [writer] = memory.store.driver._connections._writer  # type: ignore[attr-defined]
        [[pages]] = writer.execute("PRAGMA page_count").fetchall()
        writer.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()
        with pytest.raises(StoreUnavailable, match="full"):
            put(saver, at, {"items": items(2000)})
        assert held(saver) == items(1)
        writer.execute("PRAGMA max_page_count = 1000000").fetchall()
        put(saver, at, {"items": items(2000)})
    with open_memory(url) as memory:
        assert held(memory.get_langgraph_checkpointer()) == items(2000)


# ---------------------------------------------------------------------------------- migrations

NOW = schema.MIGRATIONS[-1].version
NEXT = Migration(NOW + 1, "add colour", ("ALTER TABLE thread ADD COLUMN colour TEXT", "CREATE TABLE extra (x) STRICT"))
AFTER = Migration(NOW + 2, "add shape", ("CREATE TABLE shape (x INTEGER) STRICT",))


def tables(path: Path) -> dict[str, list[str]]:
    names = [name for [name] in query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: [row[1:] for row in query(path, f"PRAGMA table_xinfo('{name}')")] for name in names}


def test_only_what_is_missing_is_pending() -> None:
    steps = (*schema.MIGRATIONS, NEXT, AFTER)
    assert [pending(steps, done) for done in range(NOW + 3)] == [list(steps[done:]) for done in range(NOW + 3)]
    with pytest.raises(SchemaMismatch, match=f"version {NOW + 3}; this charm_checkpoint knows up to {NOW + 2}"):
        pending(steps, NOW + 3)


def test_a_migrated_store_is_like_a_fresh_one(
    tmp_path: Path, url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = Migration(NOW + 1, NEXT.name, (NEXT.statements[0], "CREATE TABLE extra (x TEXT) STRICT"))
    filled(url)
    monkeypatch.setattr(sql, "MIGRATIONS", (*schema.MIGRATIONS, following, AFTER))
    with open_memory(url) as memory:
        assert held(memory.get_langgraph_checkpointer()) == items(100)
    filled(f"sqlite:///{tmp_path}/fresh.db")
    assert tables(path) == tables(tmp_path / "fresh.db")
    for file in (path, tmp_path / "fresh.db"):
        recorded = query(file, "SELECT version, name FROM migration ORDER BY version")
        assert recorded[0] == (1, "first tables")
        assert recorded[NOW:] == [(NOW + 1, "add colour"), (NOW + 2, "add shape")]
        assert query(file, "PRAGMA user_version") == [(NOW + 2,)]


def test_a_migration_that_fails_changes_nothing(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(url)
    before = tables(path)
    wrong = Migration(NOW + 1, "wrong", ("CREATE TABLE extra (x TEXT) STRICT", "CREATE TABLE thread (x TEXT)"))
    monkeypatch.setattr(sql, "MIGRATIONS", (*schema.MIGRATIONS, wrong))
    with open_memory(url) as memory, pytest.raises(Exception, match="table thread already exists"):
        memory.setup()
    assert tables(path) == before
    assert query(path, "PRAGMA user_version") == [(NOW,)]


# ---------------------------------------------------------------------------------------- room


def random_items(count: int) -> list[str]:
    """Return texts that do not compress."""
    return [os.urandom(500).hex() for _ in range(count)]


def test_deleting_gives_room_back(url: str, path: Path) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        for thread in range(10):
            put(saver, config(str(thread)), {"items": random_items(400)})
        memory.save_messages("0", [{"content": text} for text in random_items(400)])
    full = path.stat().st_size
    with open_memory(url) as memory:
        for thread in range(5):
            memory.delete_thread(str(thread))
    half = path.stat().st_size
    assert half < 0.62 * full
    with open_memory(url) as memory:
        for thread in range(10):
            memory.delete_thread(str(thread))
    assert path.stat().st_size < 500_000 < half


def test_pruning_gives_room_back(url: str, path: Path) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        at = config("t")
        for _ in range(10):
            at = put(saver, at, {"items": (last := random_items(800))})
    full = path.stat().st_size
    with open_memory(url) as memory:
        memory.get_langgraph_checkpointer().prune(["t"])
        assert held(memory.get_langgraph_checkpointer()) == last
    assert path.stat().st_size < 0.2 * full
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_the_log_stays_small_and_goes_at_the_end(url: str, path: Path) -> None:
    log = Path(f"{path}-wal")
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        at = config("t")
        for _ in range(60):
            at = put(saver, at, {"items": random_items(800)})
            assert saver.get_tuple(at) is not None
        assert path.stat().st_size > 20 << 20
        assert 0 < log.stat().st_size <= 17 << 20
    assert not log.exists()


# -------------------------------------------------------------------------------- many readers


def test_connections_at_rest_are_few(url: str) -> None:
    filled(url)
    with open_memory(url) as memory:
        saver, ready = memory.get_langgraph_checkpointer(), threading.Barrier(50)

        def read() -> Any:
            ready.wait()
            return held(saver)

        with ThreadPoolExecutor(50) as pool:
            assert all(call.result() == items(100) for call in [pool.submit(read) for _ in range(50)])
        assert 1 <= len(memory.store.driver._connections._at_rest) <= 32  # type: ignore[attr-defined]


def test_no_file_is_touched_in_the_event_loops_thread(url: str) -> None:
    used: set[int] = set()

    async def read_and_write(saver: CharmSaver) -> None:
        state = {**empty_checkpoint(), "channel_values": {"items": items(100)}}
        where = await saver.aput(config("a"), state, {"step": 1}, {})  # type: ignore[typeddict-item]
        await saver.aput_writes(where, [("items", [1])], "task")
        assert await saver.aget_tuple(config("a")) is not None
        assert [found async for found in saver.alist(config("a"))]

    with open_memory(url) as memory:
        open_one = memory.store.driver._connections._open  # type: ignore[attr-defined]

        def watched(opened: list[sqlite3.Connection]) -> None:
            open_one(opened)
            opened[-1].set_trace_callback(lambda statement: used.add(threading.get_ident()))

        memory.store.driver._connections._open = watched  # type: ignore[attr-defined]
        asyncio.run(read_and_write(memory.get_langgraph_checkpointer()))
    assert used and threading.get_ident() not in used


def test_the_thread_that_was_written_last_is_listed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    with open_memory(f"sqlite:///{tmp_path}/a.db") as memory:
        saver = memory.get_langgraph_checkpointer()
        for thread in ("monday", "tuesday", "monday"):
            now += 2
            at = saver.put(config(thread), empty_checkpoint(), {}, {})
        assert [found.thread_id for found in memory.threads()] == ["monday", "tuesday"]
        now += 2
        saver.put(config("wednesday"), empty_checkpoint(), {}, {})
        now += 2
        saver.put_writes(at, [("a", 1)], "task")
        assert [found.thread_id for found in memory.threads()] == ["monday", "wednesday", "tuesday"]
