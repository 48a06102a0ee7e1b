"""Looking at a store of local files from outside."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from children.jobs import add_item, config, items

from charm_checkpoint import open_memory
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.stores.files.contents import Contents
from charm_checkpoint.stores.files.log import Scan
from charm_checkpoint.stores.files.thread import name_of
from charm_checkpoint.stores.shared.names import CHECKPOINTS


def remove_tree(folder: Path) -> None:
    """Delete a folder while a store writes into it, as ``rm -rf`` does: what comes in meanwhile goes too."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def contents_of(log: Path) -> Contents:
    """Return what a log comes to."""
    contents = Contents()
    with log.open("rb") as file:
        scan = Scan(file, 0, contents.digest)
        for frame in scan:
            contents.apply(frame)
    contents.tail = scan.tail
    return contents


def log_of(folder: Path, thread: str) -> Path:
    """Return the log of a thread's checkpoints."""
    return folder / ".charm" / "checkpoints" / name_of(CHECKPOINTS, thread) / "log"


def litter(folder: Path) -> set[str]:
    """Return the names of all files that are neither logs nor messages."""
    return {file.name for file in folder.rglob("*") if file.is_file() and file.name != "log" and file.suffix != ".json"}


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[CharmSaver]:
    """Open a store that does not wait for the disk."""
    with open_memory(f"file://{folder}", synchronous="normal", **options) as memory:
        yield memory.get_langgraph_checkpointer()


def length(saver: CharmSaver, thread: str = "t") -> int:
    """Return how many items a thread's head has, having checked them."""
    head = saver.get_tuple(config(thread))
    held = head.checkpoint["channel_values"]["items"] if head else []
    assert held == items(len(held))
    return len(held)


def filled(folder: Path, turns: int, thread: str = "t") -> Path:
    """Make a store of one thread, and return its log."""
    with opened(folder) as saver:
        for _ in range(turns):
            add_item(saver, thread)
    return log_of(folder, thread)


def frames(log: Path) -> list[int]:
    """Return where the frames of a log begin, and where the last ends."""
    data, ends = log.read_bytes(), [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + 32 + int.from_bytes(data[ends[-1] + 4 : ends[-1] + 12], "big"))
    return ends
