"""Looking at a store of local files from outside."""

from __future__ import annotations

import os
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from children.jobs import add_item, config, items

from charm_checkpoint import open_memory
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.stores.files.contents import Contents
from charm_checkpoint.stores.files.log import Scan
from charm_checkpoint.stores.files.threads import name_of
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


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a full disk would."""
    resource = pytest.importorskip("resource", reason="the size of files is limited on Unix alone")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def as_nobody(work: Callable[[], None]) -> None:
    """Run in a child that no mode lets through, as it would root."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Hosts:
    """Two copies of a folder, as two hosts have them, and the syncing between them by hand."""

    def __init__(self, folder: Path) -> None:
        self.a, self.b = folder / "host a", folder / "host b"

    def sync(self, source: Path, target: Path, *, in_place: bool = False) -> None:
        """Carry every file over: in place, or as a new file in the old one's place."""
        for file in [path for path in source.rglob("*") if path.is_file()]:
            to = target / file.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            if in_place:
                shutil.copyfile(file, to)
            else:
                shutil.copyfile(file, to.with_name(".tmp"))
                to.with_name(".tmp").replace(to)


class PowerLoss:
    """Knows what is on disk for sure: the names and the lengths that somebody waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: dict[int, int] = {}
        self.names: dict[int, dict[str, int]] = {}
        monkeypatch.setattr("charm_checkpoint.stores.files.disk._sync", self.sync_file)
        monkeypatch.setattr(os, "fsync", self.sync_folder)

    def sync_file(self, file: int) -> None:
        self.sizes[os.fstat(file).st_ino] = os.fstat(file).st_size

    def sync_folder(self, file: int) -> None:
        with os.scandir(file) as entries:
            self.names[os.fstat(file).st_ino] = {entry.name: entry.inode() for entry in entries}

    def left(self, folder: Path, target: Path) -> Path:
        """Make a copy of what a power loss would leave of a folder."""
        target.mkdir()
        for name, inode in self.names.get(folder.stat().st_ino, {}).items():
            path = folder / name
            if path.is_dir():
                self.left(path, target / name)
            elif path.exists():
                assert path.stat().st_ino == inode
                (target / name).write_bytes(path.read_bytes()[: self.sizes.get(inode, 0)])
        return target
