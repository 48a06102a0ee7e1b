"""Folders and files that are renamed, deleted or replaced while they are in use: no write is lost without a word."""

from __future__ import annotations

import errno
import random
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from children.jobs import add_item, config
from langgraph.checkpoint.base import empty_checkpoint
from local_files import length, log_of, remove_tree
from workers import scaled, worker_pool

from charm_checkpoint import open_memory
from charm_checkpoint.errors import StoreError, StoreUnavailable
from charm_checkpoint.memory import Memory
from charm_checkpoint.stores.files import messages
from charm_checkpoint.stores.files.disk import Disk
from charm_checkpoint.stores.files.folder import FolderLock
from charm_checkpoint.stores.files.space_folder import SpaceFolder
from charm_checkpoint.stores.files.thread import ThreadFolder
from charm_checkpoint.testing.call_modes import CALL_MODES, InMode


def opened(folder: Path) -> Memory:
    return open_memory(f"file://{folder}", synchronous="normal")


def texts(memory: Memory, thread: str = "t") -> list[str]:
    return [message["content"] for message in memory.load_messages(thread)]


def say(memory: Memory, text: str, thread: str = "t") -> None:
    memory.append_messages(thread, [{"role": "user", "content": text}])


class Place:
    """A folder with a thread and messages, and a backup of it from before the last of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.backup = folder / "backup"
        self.aside = folder / "moved"
        with opened(self.folder) as memory:
            add_item(memory.get_langgraph_checkpointer(), "t")
            say(memory, "first")
            shutil.copytree(self.folder, self.backup)

    def part(self, level: str) -> Path:
        """Return what is to be moved: the whole, or a part of it."""
        log = log_of(self.folder, "t")
        return {
            "workspace": self.folder, "charm": self.folder / ".charm", "checkpoints": log.parent.parent,
            "thread": log.parent, "log": log, "memory": self.folder / ".charm/memory",
            "messages": self.folder / ".charm/memory/t.json",
        }[level]  # fmt: skip

    def move(self, how: str, level: str) -> None:
        part = self.part(level)
        saved = self.backup / part.relative_to(self.folder)
        if part.is_dir() and how == "replace":
            how = "rename and copy"
        if "delete" in how:
            (remove_tree if part.is_dir() else Path.unlink)(part)
        elif "rename" in how:
            part.rename(self.aside)
        if "copy" in how or how == "replace":
            try:
                saved.replace(part)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise  # a writer was quicker: what it made anew stays

    def holds(self, text: str) -> bool:
        with opened(self.folder) as memory:
            return text in texts(memory)

    def count(self) -> int:
        with opened(self.folder) as memory:
            return length(memory.get_langgraph_checkpointer())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


HOWS = ["rename", "delete", "rename and copy", "delete and copy", "replace"]
LEVELS = ["workspace", "charm", "checkpoints", "thread", "log"]
MESSAGE_LEVELS = ["workspace", "charm", "memory", "messages"]


# ----------------------------------------------------------------------------------- between calls


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("read", [True, False])
def test_a_thread_that_was_moved_is_told_once(place: Place, how: str, level: str, read: bool) -> None:
    with opened(place.folder) as memory:
        saver = memory.get_langgraph_checkpointer()
        for _ in range(3):
            at, count = add_item(saver, "t")
        place.move(how, level)
        with pytest.raises(StoreError, match=r"was replaced by a version that lacks|deleted or renamed while"):
            saver.get_tuple(at) if read else saver.put_writes(at, [("items", 1)], "task")
        there = place.count()
        assert there < count
        assert add_item(saver, "t")[1] == there + 1
    assert place.count() == there + 1


OF_MESSAGES: Mapping[str, Callable[[Memory], Any]] = {
    "save": lambda memory: say(memory, "text", "other"),
    "load": lambda memory: texts(memory, "other"),
    "delete messages": lambda memory: memory.delete_messages("other"),
}
OF_CHECKPOINTS: Mapping[str, Callable[[Memory], Any]] = {
    "get": lambda memory: memory.get_langgraph_checkpointer().get_tuple(config("new")),
    "list": lambda memory: list(memory.get_langgraph_checkpointer().list(None)),
}
OF_BOTH: Mapping[str, Callable[[Memory], Any]] = {
    "usage": lambda memory: memory.usage(),
    "threads": lambda memory: list(memory.threads()),
    "delete thread": lambda memory: memory.get_langgraph_checkpointer().delete_thread("new"),
    "delete the thread that was read": lambda memory: memory.get_langgraph_checkpointer().delete_thread("t"),
}
NEEDED = {
    "workspace": {**OF_MESSAGES, **OF_CHECKPOINTS, **OF_BOTH},
    "charm": {**OF_MESSAGES, **OF_CHECKPOINTS, **OF_BOTH},
    "checkpoints": {**OF_CHECKPOINTS, **OF_BOTH},
    "memory": {**OF_MESSAGES, **OF_BOTH},
}


@pytest.mark.parametrize("level", NEEDED)
def test_a_folder_that_is_gone_is_told_once_also_of_threads_that_were_never_met(tmp_path: Path, level: str) -> None:
    for call in NEEDED[level].values():
        place = Place(tmp_path / uuid4().hex)
        with opened(place.folder) as memory:
            memory.usage()
            memory.get_langgraph_checkpointer().get_tuple(config("t"))
            texts(memory)
            place.move("rename", level)
            with pytest.raises(StoreUnavailable, match=r"deleted or renamed while the store was open.*Put it back"):
                call(memory)
            call(memory)


def new_messages(memory: Memory) -> None:
    say(memory, "text", "new")


def new_checkpoint(memory: Memory) -> None:
    add_item(memory.get_langgraph_checkpointer(), "new")


@pytest.mark.parametrize("again", [new_messages, new_checkpoint])
@pytest.mark.parametrize("first", [new_messages, new_checkpoint])
@pytest.mark.parametrize("level", ["work", "work/.charm"])
def test_what_a_folder_was_made_for_is_known_to_the_next_call(
    tmp_path: Path, first: Callable[[Memory], None], again: Callable[[Memory], None], level: str
) -> None:
    with opened(tmp_path / "work") as memory:
        first(memory)
        (tmp_path / level).rename(tmp_path / "moved")
        with pytest.raises(StoreError, match=r"was replaced by a version that lacks|deleted or renamed while"):
            again(memory)
        if first is not again:
            assert not (tmp_path / "work/.charm").exists()


def test_a_folder_that_is_put_back_goes_on(place: Place) -> None:
    with opened(place.folder) as memory:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        place.move("rename", "workspace")
        with pytest.raises(StoreUnavailable):
            saver.get_tuple(config("new"))
        place.aside.rename(place.folder)
        assert add_item(saver, "t")[1] == 3
        assert texts(memory) == ["first"]


def test_reading_makes_no_folder_and_complains_of_none(tmp_path: Path) -> None:
    with opened(tmp_path / "new") as memory:
        for _ in range(3):
            assert memory.usage().threads == 0
            assert texts(memory) == []
            assert memory.get_langgraph_checkpointer().get_tuple(config("t")) is None
    assert not (tmp_path / "new").exists()


# --------------------------------------------------------------------------------- within a call


def moving(place: Place, how: str, level: str, name: str, before: bool) -> Callable[..., Any]:
    """Return a method of `Disk` that moves something once, before or after what it does."""
    original, left = getattr(Disk, name), [1]

    def method(self: Disk, *args: Any) -> Any:
        if before and left:
            left.pop()
            place.move(how, level)
        if name == "replace":
            confirm, FolderLock.confirm = FolderLock.confirm, lambda self: None  # type: ignore[method-assign]
            try:
                returned = original(self, *args)
            finally:
                FolderLock.confirm = confirm  # type: ignore[method-assign]
        else:
            returned = original(self, *args)
        if not before and left:
            left.pop()
            place.move(how, level)
        if name == "replace":
            args[0].confirm()
        return returned

    return method


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("name", ["append", "write", "replace"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("how", HOWS)
def test_a_move_in_the_midst_of_a_put_is_told(
    place: Place, how: str, level: str, name: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(place.folder) as memory:
        saver = memory.get_langgraph_checkpointer()
        count = add_item(saver, "t")[1]
        monkeypatch.setattr(Disk, name, moving(place, how, level, name, before))
        done = False
        try:
            if name == "append":
                count = add_item(saver, "t")[1]
            else:
                saver.prune(["t"])  # writes a whole new log
            done = True
        except StoreUnavailable as error:
            assert "while it was being written to" in str(error) or "No such file" in str(error)
        monkeypatch.undo()
        assert done is False or level == "log"
        if done:
            assert place.count() == count


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("name", ["write", "replace"])
@pytest.mark.parametrize("level", MESSAGE_LEVELS)
@pytest.mark.parametrize("how", HOWS)
def test_a_move_in_the_midst_of_saving_messages_is_told(
    place: Place, how: str, level: str, name: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(place.folder) as memory:
        monkeypatch.setattr(Disk, name, moving(place, how, level, name, before))
        done = False
        try:
            say(memory, "second")
            done = True
        except StoreUnavailable as error:
            assert "while it was being written to" in str(error) or "No such file" in str(error)
        monkeypatch.undo()
        # A file that is moved after it was written is what a moment later nobody could notice.
        assert done is False or level == "messages"
        if done and (name, before) != ("replace", False):
            assert place.holds("second")


def test_who_waited_for_the_lock_of_a_folder_that_was_moved_takes_that_of_the_new_one(tmp_path: Path) -> None:
    folder, got = tmp_path / "folder", list[bool]()
    folder.mkdir()

    def wait() -> None:
        with FolderLock(folder, 10) as lock:
            got.append(lock.is_named())

    with FolderLock(folder, 1) as lock:
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.05)
        folder.rename(tmp_path / "moved")
        folder.mkdir()
        assert not lock.is_named()
        with pytest.raises(StoreUnavailable, match="renamed or replaced while it was being written to"):
            lock.confirm()
    waiter.join()
    assert got == [True]


# ------------------------------------------------------------------------------ at random moments


class Writers:
    """Threads that write to the store until they are told something, or their time is up."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._until = time.monotonic() + 0.5
        self.puts: dict[str, int] = {}
        self.said: list[tuple[float, str]] = []
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._try, args=(self._put, f"t{at}")) for at in range(2)]
        self._threads += [threading.Thread(target=self._try, args=(self._say, "t"))]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def _try(self, write: Callable[[str], None], name: str) -> None:
        try:
            while time.monotonic() < self._until:
                write(name)
        except StoreError as error:
            self.errors.append(error)

    def _put(self, name: str) -> None:
        self.puts[name] = add_item(self._memory.get_langgraph_checkpointer(), name)[1]

    def _say(self, name: str) -> None:
        began = time.monotonic()
        say(self._memory, str(len(self.said)), name)
        self.said.append((began, str(len(self.said))))


@pytest.mark.parametrize("level", ["workspace", "charm"])
@pytest.mark.parametrize("how", ["rename", "rename and copy"])
def test_at_any_moment_what_was_acknowledged_is_there_or_was_told(tmp_path: Path, how: str, level: str) -> None:
    for number in range(scaled(4)):
        place = Place(tmp_path / str(number))
        with opened(place.folder) as memory:
            with Writers(memory) as writers:
                time.sleep(random.uniform(0.0, 0.1))
                place.move(how, level)
                moved_at = time.monotonic()
        if level == "charm":
            (place.aside.parent / "whole").mkdir()
            place.aside.rename(place.aside.parent / "whole" / ".charm")
            place.aside = place.aside.parent / "whole"
        with opened(place.aside) as former, opened(place.folder) as now:
            savers = [memory.get_langgraph_checkpointer() for memory in (former, now)]
            for name, count in writers.puts.items():
                assert max(length(saver, name) for saver in savers) >= count
            old, new = texts(former), texts(now)
            for began, text in writers.said:
                assert text in new or (began < moved_at and text in old)


@pytest.mark.parametrize("how", ["rename", "rename and copy"])
def test_every_process_finds_what_it_was_told_is_stored(tmp_path: Path, how: str) -> None:
    place = Place(tmp_path)
    with worker_pool(tmp_path) as pool:
        workers = [pool.start("write_until_killed", f"file://{place.folder}", number) for number in range(2)]
        while any(len(worker.acks) < 5 for worker in workers):
            time.sleep(0.01)
        place.move(how, "workspace")
        assert [worker.wait() for worker in workers] == [1, 1]
        acks = [ack.split("|") for worker in workers for ack in worker.acks]
    with opened(place.aside) as former, opened(place.folder) as now:
        savers = [memory.get_langgraph_checkpointer() for memory in (former, now)]
        for kind, thread, id, _ in acks:
            if kind == "put":
                assert any(saver.get_tuple(config(thread, id)) is not None for saver in savers)
            elif kind == "message":
                assert any(id in texts(memory, thread) for memory in (former, now))


def test_a_list_is_not_read_as_empty_when_its_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    read = messages._read

    def renamed_first(path: Path) -> Any:
        if place.folder.exists():
            place.move("rename", "workspace")
        return read(path)

    with opened(place.folder) as memory:
        monkeypatch.setattr(messages, "_read", renamed_first)
        with pytest.raises(StoreError):
            say(memory, "second")
    monkeypatch.undo()
    with opened(place.aside) as memory:
        assert texts(memory) == ["first"]


@pytest.mark.parametrize("mode", ["blocking", "async"])
@pytest.mark.parametrize("what", ["thread", "items"])
def test_a_log_is_not_taken_for_none_when_its_folder_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, mode: str
) -> None:
    place = Place(tmp_path)
    kind = ThreadFolder if what == "thread" else SpaceFolder
    with opened(place.folder) as memory:
        memory.get_langgraph_store().put(("ns",), "first", {"n": 1})
    look = kind._opened

    def renamed_first(self: Any) -> Any:
        if place.folder.exists():
            place.move("rename", "workspace")
        return look(self)

    with opened(place.folder) as memory:  # which knows nothing of the log yet
        saver, store = memory.get_langgraph_checkpointer(), memory.get_langgraph_store()
        monkeypatch.setattr(kind, "_opened", renamed_first)
        with closing(CALL_MODES[mode]()) as calls, pytest.raises(StoreError):
            if what == "thread":
                config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
                InMode(saver, calls).put(config, empty_checkpoint(), {}, {})
            else:
                InMode(store, calls).put(("ns",), "second", {"n": 2})
    monkeypatch.undo()
    with opened(place.aside) as memory:
        assert length(memory.get_langgraph_checkpointer(), "t") >= 1
        assert memory.get_langgraph_store().get(("ns",), "first") is not None
