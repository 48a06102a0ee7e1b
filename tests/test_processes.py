"""Several processes on one store: those of one host, and those on a network."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from children.jobs import add_item, config, id_of, item, items, put
from conftest import or_skip
from stores import postgres_url
from workers import Worker, child, scaled, worker_pool

from charm_checkpoint import open_memory
from charm_checkpoint.config.options import parse_url
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.stores.files.threads import name_of
from charm_checkpoint.stores.shared.names import CHECKPOINTS

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks")


LOCAL: dict[str, Callable[[Path], str]] = {
    "sqlite": "sqlite:///{}/charm.db".format,
    "files": "file://{}/files".format,
}
"""Stores whose lock another process can be made to hold: how to make the URL of a new one, given a folder."""

SHARED: dict[str, Callable[[Path], str]] = {**LOCAL, "postgres": lambda folder: or_skip(postgres_url)}
"""All stores that several processes can share."""


@pytest.fixture(params=SHARED)
def url_in(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """Return a function that makes the URL of a new store; some are in the folder that it is given."""
    return SHARED[request.param]


@pytest.fixture
def url(url_in: Callable[[Path], str], tmp_path: Path) -> str:
    return url_in(tmp_path)


def lock_of(url: str, thread: str) -> str:
    """Return what a writer of a thread holds the lock of."""
    location = parse_url(url)
    if location.scheme == "sqlite":
        return location.path
    return f"{location.path}/.charm/checkpoints/{name_of(CHECKPOINTS, thread)}"


def conflicts(saver: CharmSaver, thread: str) -> tuple[list[Any], list[Any]]:
    """Return what each checkpoint is marked with, in commit order, and what it should be marked with."""
    line = list(saver.list(config(thread)))[::-1]
    heads = [None, *(at.checkpoint["id"] for at in line)]
    parents = [at.parent_config and id_of(at.parent_config) for at in line]
    marks = [at.metadata.get("charm_conflict") for at in line]
    return marks, [head if head != parent else None for head, parent in zip(heads, parents, strict=False)]


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def test_24_processes_open_a_fresh_store_at_once(url_in: Callable[[Path], str], tmp_path: Path) -> None:
    names = [f"process {number}" for number in range(24)]
    with worker_pool(tmp_path) as workers:
        for round in range(scaled(2)):
            folder = tmp_path / f"round {round}"
            folder.mkdir()
            url, start = url_in(folder), time.monotonic() + 0.3
            started = [workers.start("open_and_put", url, name, start) for name in names]
            assert [worker.wait() for worker in started] == [0] * 24
            with open_memory(url) as memory:
                saver = memory.get_langgraph_checkpointer()
                heads = {name: saver.get_tuple(config(name)) for name in names}
            assert {name: [head and head.checkpoint["id"]] for name, head in heads.items()} == {
                name: worker.acks for name, worker in zip(names, started, strict=True)
            }


def test_turns_on_two_devices_whose_clocks_are_an_hour_apart(url: str) -> None:
    turns, ids, expected = scaled(100), [], []
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        devices = [
            stack.enter_context(child("device.py", url, name, seconds, **pipes))
            for name, seconds in (("phone", "0"), ("laptop", "-3600"))
        ]
        for turn in range(turns):
            device, name = devices[turn % 2], ("phone", "laptop")[turn % 2]
            device.stdin.write(f"turn {turn}\n")
            device.stdin.flush()
            seen = json.loads(device.stdout.readline())
            expected += [f"turn {turn}", f"{name} heard turn {turn}"]
            assert seen["said"] == expected
            ids.append(seen["id"])
        for device in devices:
            device.stdin.close()
            assert device.wait(30) == 0
    assert max(ids[1::2]) < min(ids[::2]), "the clocks were not an hour apart"
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        assert saver.get_tuple(config("t")).checkpoint["channel_values"]["said"] == expected
        marks, _ = conflicts(saver, "t")
        assert not any(marks)


def test_processes_write_at_once_to_one_thread_and_to_their_own(url: str, tmp_path: Path) -> None:
    names, times = ["phone", "laptop", "watch"], scaled(40)
    with worker_pool(tmp_path) as workers:
        start = time.monotonic() + 0.3
        started = [workers.start("put_often", url, "shared", name, times, start) for name in names]
        assert [worker.wait() for worker in started] == [0, 0, 0]
    stored = Counter(tuple(ack.split("|")) for worker in started for ack in worker.acks)
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        found = Counter((at.config["configurable"]["thread_id"], at.checkpoint["id"]) for at in saver.list(None))
        assert found == stored
        assert stored.total() == 2 * times * len(names)
        marks, wanted = conflicts(saver, "shared")
        assert marks == wanted
        assert any(marks), "the processes never met"
        for name in names:
            assert saver.get_tuple(config(name)).checkpoint["channel_values"]["items"] == items(times)
            assert not any(conflicts(saver, name)[0])


# ----------------------------------------------------------------------------------- waiting


def held(workers: Any, path: str, seconds: float) -> Worker:
    worker = workers.start("hold_lock", path, seconds)
    wait_for(lambda: worker.acks, "the lock was not taken")
    return worker


@pytest.mark.parametrize("url_in", LOCAL, indirect=True)
def test_reads_do_not_wait_for_a_writer_and_writes_do(url: str, tmp_path: Path) -> None:
    with worker_pool(tmp_path) as workers, open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        worker = held(workers, lock_of(url, "t"), 1.5)
        began = time.monotonic()
        writing = threading.Thread(target=add_item, args=(saver, "t"))
        writing.start()
        for _ in range(5):
            assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(1)
            assert asyncio.run(saver.aget_tuple(config("t"))).checkpoint["channel_values"]["items"] == items(1)
        assert time.monotonic() - began < 0.5
        writing.join()
        assert time.monotonic() - began > 0.9
        assert worker.wait() == 0
        assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(2)


@pytest.mark.parametrize("url_in", LOCAL, indirect=True)
def test_async_reads_do_not_wait_behind_async_writes(url: str, tmp_path: Path) -> None:
    async def read_while_writing(saver: CharmSaver) -> float:
        large = await saver.aget_tuple(config("large"))
        assert large is not None
        writing = asyncio.create_task(saver.aput_writes(large.config, [("items", 1)], "task"))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        assert (await saver.aget_tuple(config("large"))).checkpoint["channel_values"]["items"] == items(1000)
        took = time.monotonic() - began
        assert not writing.done()
        await writing
        return took

    with worker_pool(tmp_path) as workers, open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        put(saver, config("large"), {"items": items(1000)})
        worker = held(workers, lock_of(url, "large"), 1.5)
        assert asyncio.run(read_while_writing(saver)) < 0.5
        assert worker.wait() == 0


@pytest.mark.parametrize("url_in", LOCAL, indirect=True)
def test_a_put_that_waited_too_long_wrote_nothing(url: str, tmp_path: Path) -> None:
    with worker_pool(tmp_path) as workers, open_memory(url, timeout="0.3s") as memory:
        saver = memory.get_langgraph_checkpointer()
        at, _ = add_item(saver, "t")
        before = memory.usage()
        worker = held(workers, lock_of(url, "t"), 1.5)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"stayed locked by another process.*nothing was written"):
            put(saver, at, {"items": items(2)})
        assert 0.25 < time.monotonic() - began < 0.9
        with pytest.raises(StoreUnavailable, match="locked"):
            asyncio.run(saver.aput_writes(at, [("items", 1)], "task"))
        assert memory.usage() == before
        assert worker.wait() == 0
        put(saver, at, {"items": items(2)})
        assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(2)


# --------------------------------------------------------------------------------------- forks


def forked(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child; return its process id."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)  # whatever happens, it does not outlive the test for long
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_parent_and_child_both_go_on_after_a_fork(url: str) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        asyncio.run(saver.aput_writes(saver.get_tuple(config("t")).config, [("items", 1)], "task"))

        def go_on(thread: str) -> None:
            for _ in range(20):
                add_item(saver, thread)
                assert asyncio.run(saver.aget_tuple(config("t"))) is not None

        pid = forked(lambda: go_on("child"))
        go_on("parent")
        assert exit_code(pid) == 0
        for thread in ("parent", "child"):
            assert saver.get_tuple(config(thread)).checkpoint["channel_values"]["items"] == items(20)


def test_a_childs_writes_outlive_the_parents_closing(url: str) -> None:
    # What a child inherits of SQLite says that locks are held which are not: without care, the
    # parent's close takes the log away from under the child.
    asked, said = os.pipe(), os.pipe()
    memory = open_memory(url)
    saver = memory.get_langgraph_checkpointer()
    add_item(saver, "t")

    def write_twice() -> None:
        add_item(saver, "t")
        os.write(said[1], b".")
        os.read(asked[0], 1)
        add_item(saver, "t")

    pid = forked(write_twice)
    os.read(said[0], 1)
    memory.close()
    os.write(asked[1], b".")
    assert exit_code(pid) == 0
    with open_memory(url) as memory:
        head = memory.get_langgraph_checkpointer().get_tuple(config("t"))
        assert head.checkpoint["channel_values"]["items"] == items(3)
    for end in (*asked, *said):
        os.close(end)


def test_fork_while_threads_are_at_work(url: str) -> None:
    with open_memory(url) as memory:
        saver, done = memory.get_langgraph_checkpointer(), threading.Event()
        add_item(saver, "0")

        def work(thread: str) -> None:
            while not done.is_set():
                add_item(saver, thread)

        threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(scaled(20)):
                assert exit_code(forked(lambda: add_item(saver, f"child {number}") and None)) == 0  # noqa: B023
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert memory.usage().threads == 4 + scaled(20)


def test_ram_is_copied_by_a_fork() -> None:
    with open_memory("sqlite:///:memory:") as memory:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        assert exit_code(forked(lambda: add_item(saver, "t") and None)) == 0
        assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(1)


# ---------------------------------------------------------------------------------- at the end


def test_leaving_without_closing_is_no_trouble(url: str, tmp_path: Path) -> None:
    script = "leave.py"
    with child(script, url, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        said, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")
    assert not (tmp_path / "charm.db-wal").exists(), "the log was not folded in"
    with open_memory(url) as memory:
        head = memory.get_langgraph_checkpointer().get_tuple(config("t"))
    assert head.checkpoint["id"] == said.strip()
    assert head.checkpoint["channel_values"]["items"] == [item(0), item(1)]


# ---------------------------------------------------------------------------- what was swept


def test_what_another_process_swept_is_sent_again(url: str) -> None:
    # Two stores in one process stand for two processes: they share nothing but the file.
    chance = random.Random(7)
    with open_memory(url) as ours, open_memory(url) as theirs, open_memory(url, cache_size=0) as third:
        savers = [ours.get_langgraph_checkpointer(), theirs.get_langgraph_checkpointer()]
        runs = [f"run {number}" for number in range(3)]
        for _ in range(scaled(250)):
            saver, other = chance.sample(savers, 2)
            thread = chance.choice("ab")
            head = saver.get_tuple(config(thread))
            # What happens between a read and the put that follows.
            between = chance.choice(["nothing", "prune", "delete runs", "copy"])
            if between == "prune":
                other.prune([thread])
            elif between == "delete runs" and head is not None:
                other.delete_for_runs([run for run in runs if run != head.metadata["run_id"]])
            elif between == "copy" and head is not None:
                other.delete_thread("copy")
                other.copy_thread(thread, "copy")
            # A few states, again and again: what a saver remembers to have sent may be gone by now.
            state = [f"{number} {text}" for number in [chance.randrange(4)] for text in items(20)]
            put(saver, head.config if head else config(thread), {"items": state}, run_id=chance.choice(runs))
            # Read by one that keeps nothing: a chunk that is missing would be found in a cache.
            reader = third.get_langgraph_checkpointer()
            for name in ("a", "b", "copy"):
                found = reader.get_tuple(config(name))
                assert found is None or len(found.checkpoint["channel_values"]["items"]) == 20
            assert reader.get_tuple(config(thread)).checkpoint["channel_values"]["items"] == state
            assert other.get_tuple(config(thread)).checkpoint["channel_values"]["items"] == state
