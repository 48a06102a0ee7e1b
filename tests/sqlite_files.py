"""Making SQLite stores, and looking at them from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from children.jobs import config, items, put

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import ThreadRow
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.testing.call_modes import PlansInMode


def held(saver: CharmSaver, thread: str = "t") -> Any:
    """Return the items of a thread's head."""
    head = saver.get_tuple(config(thread))
    return head and head.checkpoint["channel_values"]["items"]


def filled(url: str, count: int = 100) -> None:
    """Make a store whose thread "t" has one checkpoint, large enough to be in chunks."""
    with open_memory(url) as memory:
        put(memory.get_langgraph_checkpointer(), config("t"), {"items": items(count)})


def query(path: Path, statement: str, *params: Any) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(statement, params).fetchall()


def row(backend: PlansInMode, thread: str = "t") -> ThreadRow:
    """Return a thread as it is listed."""
    [found] = [found for found in backend.threads(None, 100).items if found.thread == thread]
    return found


def true_size(backend: PlansInMode, thread: str = "t") -> int:
    """Return how many bytes there are of a thread, counted anew."""
    return int(backend.usage(thread).payload_bytes)


def run(memory: Memory, make: Callable[[], Plan[Any]], *, write: bool = False) -> Any:
    """Run a plan of a store's, blocking."""
    return memory.store.driver.run(make, write=write)
