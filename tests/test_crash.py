"""Processes that are killed in the middle of their work leave a store that is whole."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from children.jobs import add_item, config, item, items
from conftest import or_skip
from local_files import contents_of
from stores import postgres_url
from workers import Worker, scaled, worker_pool

from charm_checkpoint import open_memory
from charm_checkpoint.memory import Memory

KILLS = 80


def dangling(path: Path) -> list[tuple[int, bytes]]:
    """Return the addresses that something names and nothing holds, with their threads."""
    with closing(sqlite3.connect(path)) as db:
        held = set(db.execute("SELECT thread, address FROM chunk"))
        named = [
            *db.execute("SELECT thread, refs FROM chunk"),
            *db.execute("SELECT s.thread, c.roots FROM checkpoint c JOIN space s ON s.key = c.space"),
            *db.execute("SELECT thread, roots FROM message_list"),
        ]
    places = {(thread, refs[start : start + 16]) for thread, refs in named for start in range(0, len(refs), 16)}
    return sorted(places - held)


def is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_all(memory: Memory, acks: list[str]) -> None:
    """Check that all that was acknowledged is there, and nothing is half there."""
    saver = memory.get_langgraph_checkpointer()
    found = {(at.config["configurable"]["thread_id"], at.checkpoint["id"]): at for at in saver.list(None)}
    for at in found.values():
        held = at.checkpoint["channel_values"]["items"]
        assert held == items(len(held))
    heads: dict[str, int] = defaultdict(int)
    messages = {thread: [m["content"] for m in memory.load_messages(thread)] for thread, _ in found}
    for kind, thread, name, count in (ack.split("|") for ack in acks):
        number = int(count)
        if kind == "message":
            assert name in messages[thread]
        elif kind == "head":
            heads[thread] = max(heads[thread], number)
        else:
            assert len(found[thread, name].checkpoint["channel_values"]["items"]) == number
        if kind == "writes":
            writes = [(f"task {count}", "items", item(number)), (f"task {count}", "large", items(number))]
            assert found[thread, name].pending_writes == writes
    for thread, number in heads.items():
        head = saver.get_tuple(config(thread))
        assert head is not None and len(head.checkpoint["channel_values"]["items"]) >= number


def check_database(path: Path) -> None:
    assert is_sound(path)
    assert dangling(path) == []


def check_folder(path: Path) -> None:
    """Check that nothing is left of the killed processes but ends that were not acknowledged, and no chunk lacks."""
    logs = list(path.glob(".charm/checkpoints/*/log"))
    assert len(logs) == 8
    for log in logs:
        contents = contents_of(log)
        assert contents.tail in ("whole", "torn")
        rows = [row.roots for space in contents.namespaces.values() for row in space.rows.values()]
        named = [*rows, *(piece.refs for piece in contents.chunks.values())]
        assert {refs[at : at + 16] for refs in named for at in range(0, len(refs), 16)} <= set(contents.chunks)
    with open_memory(f"file://{path}") as memory:
        for thread in [f"{kind} {number}" for kind in ("thread", "pruned") for number in range(4)]:
            add_item(memory.get_langgraph_checkpointer(), thread)
            memory.append_messages(thread, [{"role": "user"}])
    names = {file.name for file in path.rglob("*") if file.is_file()}
    assert {name for name in names if not name.endswith((".json", ".id"))} == {"log"}
    assert {contents_of(log).tail for log in logs} == {"whole"}


def check_postgres(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SET search_path TO charm_checkpoint")
        assert connection.execute(DANGLING).fetchall() == []


DANGLING = """
    SELECT named.thread, substring(refs FROM place FOR 16) FROM (
        SELECT thread, refs FROM chunk
        UNION ALL SELECT s.thread, c.roots FROM checkpoint c JOIN space s ON s.key = c.space
        UNION ALL SELECT thread, roots FROM message
    ) named, generate_series(1, length(refs), 16) place
    EXCEPT SELECT thread, address FROM chunk
"""


class Row(NamedTuple):
    """A store to kill the writers of: its URL in a folder, and what to check at the end.

    ``share`` of the kills are made: where a server has the data, fewer will do.
    """

    make_url: Callable[[Path], str]
    check: Callable[[str], None]
    share: float = 1


STORES = {
    "sqlite": Row("sqlite:///{}/charm.db".format, lambda url: check_database(Path(url[10:]))),
    "files": Row("file://{}/files".format, lambda url: check_folder(Path(url[7:]))),
    "postgres": Row(lambda folder: or_skip(postgres_url), check_postgres, 0.5),
}


def wait_for(worker: Worker, count: int) -> None:
    """Wait until a worker has said that it wrote so often: by its own clock, as machines are quick or slow."""
    deadline = time.monotonic() + 30
    while len(worker.acks) < count:
        assert time.monotonic() < deadline, "it writes no more"
        time.sleep(0.002)


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", STORES)
def test_no_acknowledged_write_is_lost_to_sigkill(tmp_path: Path, store: str) -> None:
    row = STORES[store]
    kills = round(scaled(KILLS) * row.share)
    url, acks, silent = row.make_url(tmp_path), [], 0
    with open_memory(url) as memory:
        memory.setup()
    with worker_pool(tmp_path) as workers:
        for kill in range(kills):
            worker = workers.start("write_until_killed", url, kill)
            # From its first steps to its twelfth write, and somewhat later, which may be amid the next.
            wait_for(worker, random.randrange(12))
            time.sleep(random.uniform(0, 0.01))
            os.kill(worker.pid, signal.SIGKILL)
            assert worker.wait() == -signal.SIGKILL
            said = worker.acks
            silent += not said
            acks += said
    assert len(acks) > 2 * kills > 3 * silent, "too few of the kills fell into writes"
    with open_memory(url) as memory:
        check_all(memory, acks)
    row.check(url)
