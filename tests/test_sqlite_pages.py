"""How much of a SQLite file a commit changes, and the links between checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
from children.jobs import config, put
from sqlite_files import query

from charm_checkpoint import open_memory

STEPS = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "charm.db"


def test_a_put_changes_four_pages_and_its_writes_two(path: Path) -> None:
    with open_memory(f"sqlite:///{path}") as memory:
        saver = memory.get_langgraph_checkpointer()
        at = put(saver, config("t"), {"count": 0})
        query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        for step in range(STEPS):
            at = put(saver, at, {"count": step})
            saver.put_writes(at, [("count", step)], "task")
        [(_, pages, _)] = query(path, "PRAGMA wal_checkpoint")
        # Now and then a page is full, and its neighbours and the one above change as well.
        assert pages <= 6 * STEPS + 12


def test_a_line_is_whole_after_its_middle_went(path: Path) -> None:
    with open_memory(f"sqlite:///{path}") as memory:
        saver = memory.get_langgraph_checkpointer()
        at = [config("t")]
        for step in range(9):
            at.append(put(saver, at[-1], {"count": step}, run_id=f"run {step % 3}"))
        saver.delete_for_runs(["run 1"])
        left = [item.checkpoint["channel_values"]["count"] for item in saver.list(config("t"))]
        assert left == [8, 6, 5, 3, 2, 0]
        before = [item.checkpoint["channel_values"]["count"] for item in saver.list(config("t"), before=at[6])]
        assert before == [3, 2, 0]
        saver.delete_for_runs(["run 2"])
        assert [item.checkpoint["channel_values"]["count"] for item in saver.list(config("t"))] == [6, 3, 0]
        latest = saver.get_tuple(config("t"))
        assert latest is not None
        assert latest.checkpoint["channel_values"]["count"] == 6
