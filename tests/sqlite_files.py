"""Making SQLite stores, and looking at them from outside."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from children.jobs import config, items, put

from charm_checkpoint import open_memory
from charm_checkpoint.saver.checkpointer import CharmSaver


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
