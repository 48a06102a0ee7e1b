"""What processes do to a store: each job says on ``ack`` what it was told is stored, and not before."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from charm_checkpoint import open_memory
from charm_checkpoint.saver.checkpointer import CharmSaver

Ack = Callable[[str], None]


def item(number: int) -> str:
    """Return a text of 200 characters that its number tells."""
    return (hashlib.sha256(str(number).encode()).hexdigest() * 4)[:200]


def items(count: int) -> list[str]:
    """Return a list large enough, soon, to be cut into chunks."""
    return [item(number) for number in range(count)]


def config(thread: str, id: str | None = None) -> RunnableConfig:
    """Return the config of a thread's head, or of one checkpoint."""
    named = {"checkpoint_id": id} if id else {}
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **named}}


def put(saver: CharmSaver, at: RunnableConfig, values: dict[str, Any], **metadata: Any) -> RunnableConfig:
    """Put a checkpoint with these values after the one that ``at`` names."""
    versions = dict.fromkeys(values, 1)
    checkpoint: Any = {**empty_checkpoint(), "channel_values": values, "channel_versions": versions}
    return saver.put(at, checkpoint, {"source": "loop", "step": 0, "parents": {}, **metadata}, versions)


def id_of(at: RunnableConfig) -> str:
    """Return the checkpoint's id in a config."""
    return str(at["configurable"]["checkpoint_id"])


def add_item(saver: CharmSaver, thread: str, **metadata: Any) -> tuple[RunnableConfig, int]:
    """Read the head, check it, and put it with one item more; return the new config and the count."""
    head = saver.get_tuple(config(thread))
    held = head.checkpoint["channel_values"]["items"] if head else []
    assert held == items(len(held)), f"{thread} came back different"
    after = put(saver, head.config if head else config(thread), {"items": [*held, item(len(held))]}, **metadata)
    return after, len(held) + 1


def write_until_killed(ack: Ack, url: str, worker: int) -> None:
    """Put, put writes, append messages and prune, without end."""
    saver = (memory := open_memory(url)).get_langgraph_checkpointer()
    thread, ephemeral = f"thread {worker % 4}", f"pruned {worker % 4}"
    while True:
        at, count = add_item(saver, thread)
        ack(f"put|{thread}|{id_of(at)}|{count}")
        saver.put_writes(at, [("items", item(count)), ("large", items(count))], f"task {count}")
        ack(f"writes|{thread}|{id_of(at)}|{count}")
        chance = random.random()
        if chance < 0.2:
            text = f"{worker} {time.monotonic_ns()}"
            memory.append_messages(thread, [{"role": "user", "content": text}])
            ack(f"message|{thread}|{text}|0")
        elif chance < 0.4:
            at, count = add_item(saver, ephemeral)
            ack(f"head|{ephemeral}|{id_of(at)}|{count}")
            saver.prune([ephemeral])


def open_and_put(ack: Ack, url: str, name: str, start: float) -> None:
    """Wait for the moment ``start``, by the machine's monotonic clock, open the file and write once."""
    while time.monotonic() < start:
        pass
    with open_memory(url) as memory:
        at, _ = add_item(memory.get_langgraph_checkpointer(), name)
        ack(id_of(at))


def put_often(ack: Ack, url: str, thread: str, mine: str, times: int, start: float) -> None:
    """Add to a thread that others write to at once, and to one that is this process's own."""
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        while time.monotonic() < start:
            pass
        for _ in range(times):
            head = saver.get_tuple(config(thread))
            at = put(saver, head.config if head else config(thread), {"by": mine}, writer=mine)
            ack(f"{thread}|{id_of(at)}")
            at, _ = add_item(saver, mine)
            ack(f"{mine}|{id_of(at)}")


def hold_lock(ack: Ack, path: str, seconds: float) -> None:
    """Hold the write lock of a SQLite file, or of a folder."""
    import sqlite3

    from charm_checkpoint.stores.files.folder import FolderLock

    if Path(path).is_dir():
        with FolderLock(Path(path), 1):
            ack("held")
            time.sleep(seconds)
        return
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    ack("held")
    time.sleep(seconds)
    connection.execute("COMMIT")
    connection.close()


JOBS: dict[str, Callable[..., None]] = {
    job.__name__: job for job in (write_until_killed, open_and_put, put_often, hold_lock)
}
