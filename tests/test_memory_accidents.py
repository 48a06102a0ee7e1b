"""A folder of memories and its index say the same, whatever a change was broken off by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from charm_checkpoint import LongTermMemory, open_memory
from charm_checkpoint.testing.moments import Moments, sample

DONE: dict[str, Callable[[LongTermMemory], object]] = {
    "remember": lambda memories: memories.remember("fact", "t", "second"),
    "add": lambda memories: memories.remember("fact", "new", "second"),
    "forget": lambda memories: memories.forget("t"),
    "undo": lambda memories: memories.undo("gone"),
    "sweep": lambda memories: memories.sweep("2100-01-01"),
}


@pytest.mark.parametrize("name", DONE)
def test_files_and_index_agree_after_an_interrupt(tmp_path: Path, name: str) -> None:
    moments = Moments()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with open_memory("memory://") as store:
        for at in sample(2500, 12):
            folder = tmp_path / str(at)
            with store.long_term("p", {"global": False, "project": folder}) as memories:
                for title in ("t", "gone"):
                    memories.remember("fact", title, "first")
                memories.forget("gone")
                try:
                    moments.run(lambda memories=memories: DONE[name](memories), at, interrupt)
                except KeyboardInterrupt:
                    pass
                _agree(memories, folder)
    assert moments.acted > 3


def _agree(memories: LongTermMemory, folder: Path) -> None:
    said = {path.name: path.read_text() for path in folder.glob("*.md") if path.name != "MEMORY.md"}
    entries = memories.list(status=None)
    assert len(said) == len(entries) and memories.file_problems() == []
    for entry in entries:
        assert any(f"title: {entry.title}\n" in text and text.endswith(f"\n{entry.body}\n") for text in said.values())
    kept = {entry.title for entry in entries} | {entry.title for entry in memories.forgotten()}
    assert {"t", "gone"} <= kept
    with open_memory("memory://") as other, other.long_term("p", {"global": False, "project": folder}) as fresh:
        assert fresh.list(status=None) == entries


def test_a_list_that_cannot_be_written_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "MEMORY.md").mkdir()
    with open_memory("memory://") as store, store.long_term("p", {"global": False, "project": tmp_path}) as memories:
        memories.remember("fact", "t", "first")
        assert [entry.body for entry in memories.list()] == ["first"]
        assert memories.forget("t") is not None and memories.list() == []
    assert "was not renewed" in caplog.text
