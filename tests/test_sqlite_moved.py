"""A SQLite file that is renamed, deleted or replaced while it is open: nothing acknowledged is lost without a word."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from children.jobs import add_item, config, items
from local_files import remove_tree
from sqlite_files import held, query
from workers import scaled, worker_pool

from charm_checkpoint import open_memory
from charm_checkpoint.errors import CharmError, ReadOnlyStore, StoreUnavailable
from charm_checkpoint.memory import Memory
from charm_checkpoint.stores.sqlite import open_file
from charm_checkpoint.stores.sqlite.driver import SqliteDriver

pytestmark = pytest.mark.skipif(not open_file.MOVABLE, reason="an open file cannot be moved here")


class Moved(NamedTuple):
    """Where the former file is now, if anywhere, and how many items there are at the path."""

    former: Path | None
    count: int | None


class Place:
    """A store's file in a folder of its own, and a backup of it as it was with one item."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.folder.mkdir(parents=True)
        self.path = self.folder / "charm.db"
        self.backup = folder / "backup.db"
        self.url = f"sqlite:///{self.path}"

    def fill(self, memory: Memory, count: int) -> None:
        """Make the backup after the first item, and add to what it holds."""
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        with closing(sqlite3.connect(self.path)) as db, closing(sqlite3.connect(self.backup)) as backup:
            db.backup(backup)
        for _ in range(count - 1):
            add_item(saver, "t")

    def count(self, path: Path | None = None) -> int:
        """Return how many items are in the file at a path, as a program finds it that begins now."""
        with open_memory(f"sqlite:///{path or self.path}?mode=rw") as memory:
            return len(held(memory.get_langgraph_checkpointer()))


def rename(place: Place) -> Moved:
    return Moved(place.path.rename(place.folder / "moved.db"), None)


def rename_all(place: Place) -> Moved:
    """Move the file and what lies beside it, as ``mv charm.db* elsewhere`` does."""
    elsewhere = place.folder / "elsewhere"
    elsewhere.mkdir()
    for path in place.folder.glob("charm.db*"):
        with contextlib.suppress(FileNotFoundError):  # the store may have put its log aside meanwhile
            path.rename(elsewhere / path.name)
    return Moved(elsewhere / "charm.db", None)


def delete(place: Place) -> Moved:
    place.path.unlink()
    return Moved(None, None)


def delete_all(place: Place) -> Moved:
    for path in place.folder.glob("charm.db*"):
        path.unlink(missing_ok=True)
    return Moved(None, None)


def replace(place: Place) -> Moved:
    place.backup.replace(place.path)
    return Moved(None, 1)


def rename_and_copy(place: Place) -> Moved:
    former = place.path.rename(place.folder / "moved.db")
    shutil.copyfile(place.backup, place.path)
    return Moved(former, 1)


def delete_and_copy(place: Place) -> Moved:
    place.path.unlink()
    shutil.copyfile(place.backup, place.path)
    return Moved(None, 1)


def rename_folder(place: Place) -> Moved:
    return Moved(place.folder.rename(place.folder.with_name("moved")) / "charm.db", None)


def replace_folder(place: Place) -> Moved:
    former = place.folder.rename(place.folder.with_name("moved")) / "charm.db"
    place.folder.mkdir()
    shutil.copyfile(place.backup, place.path)
    return Moved(former, 1)


def delete_folder(place: Place) -> Moved:
    remove_tree(place.folder)
    return Moved(None, None)


Move = Callable[[Place], Moved]
MOVES: list[Move] = [
    rename, rename_all, delete, delete_all, replace, rename_and_copy, delete_and_copy, rename_folder, replace_folder,
    delete_folder,
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def calls(memory: Memory) -> list[Callable[[], object]]:
    """Return what may be called of a store, reads and writes, blocking and async."""
    saver = memory.get_langgraph_checkpointer()
    message = {"role": "user", "content": "hi"}
    return [
        lambda: saver.get_tuple(config("t")),
        lambda: saver.put_writes(config("t", "x"), [("items", 1)], "task"),
        lambda: memory.append_messages("t", [message]),
        lambda: memory.load_messages("t"),
        lambda: list(saver.list(None)),
        lambda: memory.usage(),
        lambda: saver.prune(["t"]),
        lambda: saver.delete_thread("t"),
        lambda: asyncio.run(saver.aget_tuple(config("t"))),
        lambda: asyncio.run(memory.aappend_messages("t", [message])),
    ]


@pytest.mark.parametrize("number", [0, 9])
@pytest.mark.parametrize("move", MOVES)
def test_every_call_says_that_the_file_was_moved(place: Place, move: Move, number: int) -> None:
    with open_memory(place.url) as memory:
        place.fill(memory, 5)
        moved = move(place)
        every = calls(memory)
        for call in [every[number], *every]:
            with pytest.raises(StoreUnavailable, match=r"charm\.db was (deleted|renamed|replaced)|while it was open"):
                call()
        if moved.count is None:
            assert not place.path.exists()
        if moved.former:
            assert place.count(moved.former) == 5
        if moved.count:
            assert place.count() == moved.count
            add_item(open_memory(place.url).get_langgraph_checkpointer(), "t")
    if moved.count:
        assert place.count() == moved.count + 1
    if moved.former:
        assert place.count(moved.former) == 5


@pytest.mark.parametrize("opened_anew", [True, False])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("move", MOVES)
def test_nothing_is_called_between_the_move_and_the_end(
    place: Place, move: Move, closed: bool, opened_anew: bool
) -> None:
    memory = open_memory(place.url)
    place.fill(memory, 5)
    moved = move(place)
    if opened_anew and moved.count:
        assert place.count() == moved.count
    if closed:
        memory.close()
    del memory
    gc.collect()
    if moved.former:
        assert place.count(moved.former) == 5
    if moved.count:
        assert place.count() == moved.count
        with closing(sqlite3.connect(place.path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("move", [rename, rename_folder, rename_and_copy, replace_folder])
def test_a_file_that_is_put_back_goes_on(place: Place, move: Move, told: bool) -> None:
    with open_memory(place.url) as memory:
        saver = memory.get_langgraph_checkpointer()
        place.fill(memory, 5)
        moved = move(place)
        assert moved.former
        if told:
            with pytest.raises(StoreUnavailable, match="Put the file back"):
                saver.get_tuple(config("t"))
        if moved.former.parent == place.folder:
            moved.former.replace(place.path)
        else:
            shutil.rmtree(place.folder, ignore_errors=True)
            moved.former.parent.rename(place.folder)
        assert held(saver) == items(5)
        assert add_item(saver, "t")[1] == 6
    assert place.count() == 6


@pytest.mark.parametrize("write", [True, False])
def test_a_log_that_loses_its_name_is_told_and_nothing_of_it_is_lost(place: Place, write: bool) -> None:
    log = Path(f"{place.path}-wal")
    with open_memory(place.url) as memory:
        saver = memory.get_langgraph_checkpointer()
        place.fill(memory, 5)
        log.unlink()
        if write:
            with pytest.raises(StoreUnavailable, match=r"charm\.db-wal, the log of .*was deleted"):
                memory.append_messages("t", [{"content": "hi"}])
            assert place.count() == 5
        assert held(saver) == items(5)
    assert place.count() == 5


def test_a_link_that_leads_elsewhere_is_a_file_that_was_replaced(place: Place) -> None:
    link = place.folder / "link.db"
    link.symlink_to(place.path)
    with open_memory(f"sqlite:///{link}") as memory:
        place.fill(memory, 5)
        link.unlink()
        link.symlink_to(place.backup)
        with pytest.raises(StoreUnavailable, match=r"link\.db was replaced"):
            add_item(memory.get_langgraph_checkpointer(), "t")
    assert place.count() == 5
    assert place.count(place.backup) == 1


def test_what_has_no_name_any_more_leaves_its_log_aside(place: Place) -> None:
    with open_memory(place.url) as memory:
        place.fill(memory, 5)
        shutil.copyfile(place.path, place.folder / "carried.db")  # as mv does between disks
        place.path.unlink()
        with pytest.raises(StoreUnavailable):
            memory.usage()
    [aside] = place.folder.glob("charm.db.*-wal")
    aside.rename(place.folder / "carried.db-wal")
    assert place.count(place.folder / "carried.db") == 5


def test_readers_only_leave_everything_as_it_is(place: Place) -> None:
    writer = open_memory(place.url)
    place.fill(writer, 5)
    with open_memory(f"{place.url}?mode=ro") as reader:
        saver = reader.get_langgraph_checkpointer()
        assert held(saver) == items(5)
        former = place.path.rename(place.folder / "moved.db")
        size = os.stat(f"{place.path}-wal").st_size
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="was deleted or renamed"):
                held(saver)
        assert os.stat(f"{place.path}-wal").st_size == size > 0
        former.rename(place.path)
        assert held(saver) == items(5)
    writer.close()


HOLDER = """
import sys
from charm_checkpoint import open_memory

with open_memory(sys.argv[1]) as memory:
    memory.append_messages("held", [{"content": "hi"}])
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not open_file.LOCKS.exists(), reason="who has a file open cannot be seen here")
@pytest.mark.parametrize("move", [replace, rename_and_copy, replace_folder])
def test_a_log_that_another_process_has_of_the_former_file_is_not_taken(place: Place, move: Move) -> None:
    with open_memory(place.url) as memory:
        place.fill(memory, 2)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, place.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin and holder.stdout and holder.stdout.readline() == "open\n"
        assert place.count() == 2  # as long as it is the same file, two may have it
        moved = move(place)
        if move is replace_folder:
            assert place.count() == 1  # a folder's files go together
        else:
            said = rf"log of a file that had this name .*process {holder.pid} .*end that process.*Delete nothing"
            with pytest.raises(StoreUnavailable, match=said):
                place.count()
        holder.stdin.close()
        assert holder.wait(20) == 0
    assert place.count() == 1
    if moved.former:
        assert place.count(moved.former) == 2


def test_a_writer_that_comes_while_another_store_looks_after_this_one_keeps_its_connection(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_memory(place.url) as memory:
        place.fill(memory, 2)
        connections = memory.store.driver._connections  # type: ignore[attr-defined]
        entered, done, threads = threading.Event(), threading.Event(), list[threading.Thread]()
        shared: list[object] = []

        def write() -> None:
            with connections.lend(True) as connection:
                entered.set()
                done.wait(10)
                shared.extend(found for found in connections._at_rest if found is connection)
                connection.execute("SELECT 1")
                shared.append("usable")

        def begun(function: Callable[..., object]) -> Callable[..., object]:
            def wrapped(*args: object) -> object:
                result = function(*args)
                if not threads:
                    threads.append(threading.Thread(target=write))
                    threads[0].start()
                    entered.wait(0.2)
                return result

            return wrapped

        connections._at_rest.clear()  # as after a write alone
        for owner, name in ((connections._leases, "is_free"), (connections._file, "names")):
            monkeypatch.setattr(owner, name, begun(getattr(owner, name)))
        connections.leave_moved()
        done.set()
        threads[0].join(10)
        assert shared == ["usable"]


def test_all_that_rest_are_closed_when_another_store_opens_the_file_that_is_there_now(place: Place) -> None:
    with open_memory(place.url) as memory:
        place.fill(memory, 3)
        connections = memory.store.driver._connections  # type: ignore[attr-defined]
        with connections.lend(False), connections.lend(False), connections.lend(False):
            pass
        open_ones = [*connections._at_rest, *connections._writer]
        assert len(open_ones) == 4
        replace(place)
        assert place.count() == 1
        assert (connections._at_rest, connections._writer) == ([], [])
        for connection in open_ones:
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                connection.execute("SELECT 1")


LOCKER = """
import fcntl, sys

with open(sys.argv[1], "rb") as file:
    fcntl.flock(file, fcntl.LOCK_SH)
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not open_file.LOCKS.exists(), reason="who has a file open cannot be seen here")
def test_who_locks_something_else_does_not_use_the_log(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_memory(place.url) as memory:
        place.fill(memory, 2)
        shared = Path(f"{place.path}-shm")
        with subprocess.Popen(
            [sys.executable, "-c", LOCKER, shared], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as locker:
            assert locker.stdin and locker.stdout and locker.stdout.readline() == "locked\n"
            assert place.count() == 2, "a backup program's lock is none of SQLite's"
            # A file on another disk may have the same number.
            listed = place.folder / "locks"
            other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
            number = shared.stat().st_ino
            lines = [
                f"{at}: {arrow}POSIX  ADVISORY  READ {process} 00:99:{number} 128 128"
                for at, arrow in enumerate(["", "-> "])
                for process in (other.pid, 0, -1, 1 << 22, 1)
            ]
            listed.write_text("\n".join([*lines, "a line of a kind that is not known", ""]))
            monkeypatch.setattr(open_file, "LOCKS", listed)
            assert place.count() == 2
            monkeypatch.setattr(open_file, "LOCKS", place.folder)  # there, and cannot be read
            assert place.count() == 2
            other.communicate()
            locker.stdin.close()


def test_a_log_is_known_to_whoever_makes_it(place: Place) -> None:
    with closing(sqlite3.connect(place.path, isolation_level=None)) as db:
        assert db.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
    with open_memory(place.url, auto_setup=False) as memory:
        memory.store.run(memory.store.backend.setup, write=True)  # the first call of all is a write
        add_item(memory.get_langgraph_checkpointer(), "t")


def test_what_was_never_opened_may_change(place: Place) -> None:
    memory = open_memory(place.url)
    place.path.write_bytes(b"")
    with memory:
        add_item(memory.get_langgraph_checkpointer(), "t")
    with open_memory("sqlite:///:memory:") as memory:
        add_item(memory.get_langgraph_checkpointer(), "t")


def test_a_file_that_is_replaced_while_it_is_opened_is_known_for_what_it_is(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_memory(place.url) as memory:
        place.fill(memory, 5)
    look, left = open_file.NamedFile.look, [replace]

    def replaced_after(self: open_file.NamedFile) -> open_file.Identity | None:
        now = look(self)
        if left:
            left.pop()(place)
        return now

    monkeypatch.setattr(open_file.NamedFile, "look", replaced_after)
    with open_memory(place.url) as memory:
        assert held(memory.get_langgraph_checkpointer()) == items(1)
        assert add_item(memory.get_langgraph_checkpointer(), "t")[1] == 2
    assert place.count() == 2


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("committed", [True, False])
def test_a_move_in_the_midst_of_a_write_is_told(
    place: Place, move: Move, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact, moves = SqliteDriver._transact, list[Moved]()

    def moving(self: SqliteDriver, connection: sqlite3.Connection, make: object, begin: str) -> object:
        if not committed:
            moves.append(move(place))
        result = transact(self, connection, make, begin)  # type: ignore[arg-type]
        if committed:
            moves.append(move(place))
        return result

    with open_memory(place.url) as memory:
        place.fill(memory, 5)
        monkeypatch.setattr(SqliteDriver, "_transact", moving)
        with pytest.raises(StoreUnavailable, match="what was being written now may be in the former file, or nowhere"):
            memory.append_messages("t", [{"content": "hi"}])
        monkeypatch.undo()
        with pytest.raises(StoreUnavailable, match="nothing was read or written"):
            memory.append_messages("t", [{"content": "hi"}])
    [moved] = moves
    if moved.former:
        assert place.count(moved.former) == 5
    if moved.count:
        assert place.count() == moved.count


# ------------------------------------------------------------------------------ at random moments


class Writers:
    """Threads and tasks that add to threads of their own until they are told something."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._until = time.monotonic() + 20
        self.begun: list[float] = []
        self.acks: dict[str, int] = {}
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._block, args=(f"blocking {at}",)) for at in range(2)]
        self._threads += [threading.Thread(target=lambda: asyncio.run(self._await("async")))]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def _block(self, name: str) -> None:
        saver = self._memory.get_langgraph_checkpointer()
        try:
            while time.monotonic() < self._until:
                began = time.monotonic()
                self.acks[name] = add_item(saver, name)[1]
                self.begun.append(began)
        except CharmError as error:
            self.errors.append(error)

    async def _await(self, name: str) -> None:
        try:
            while time.monotonic() < self._until:
                began = time.monotonic()
                text = str(self.acks.get(name, 0) + 1)
                await self._memory.aappend_messages(name, [{"role": "user", "content": text}])
                self.acks[name] = int(text)
                self.begun.append(began)
        except CharmError as error:
            self.errors.append(error)

    def are_in(self, path: Path) -> bool:
        """Tell whether all that was acknowledged is in a file, and what it holds is whole."""
        with open_memory(f"sqlite:///{path}?mode=rw") as memory:
            saver = memory.get_langgraph_checkpointer()
            for name, count in self.acks.items():
                found = len(memory.load_messages(name)) if name == "async" else len(held(saver, name))
                assert found >= count, f"{name}: {count} were acknowledged, {found} are there"
        return query(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("move", MOVES)
def test_at_any_moment_what_was_acknowledged_is_there_or_was_told(tmp_path: Path, move: Move) -> None:
    for number in range(scaled(3)):
        place = Place(tmp_path / str(number))
        with open_memory(place.url, synchronous="normal") as memory:
            place.fill(memory, 2)
            with Writers(memory) as writers:
                time.sleep(random.uniform(0.0, 0.1))
                moved = move(place)
                done = time.monotonic()
            assert len(writers.errors) == 3
            assert all(isinstance(error, StoreUnavailable) for error in writers.errors), writers.errors
            # The folder of one that was renamed before it was replaced was gone for a moment only.
            assert max(writers.begun, default=done) <= done
        if moved.former:
            assert writers.are_in(moved.former)
        if moved.count:
            assert place.count() == moved.count
            assert query(place.path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("move", [rename, replace, rename_and_copy, replace_folder])
def test_every_process_is_told(place: Place, tmp_path: Path, move: Move) -> None:
    with open_memory(place.url) as memory, worker_pool(tmp_path) as pool:
        place.fill(memory, 5)
        workers = [pool.start("write_until_killed", place.url, number) for number in range(2)]
        while any(len(worker.acks) < 5 for worker in workers):
            time.sleep(0.01)
        moved = move(place)
        assert [worker.wait() for worker in workers] == [1, 1]
        with pytest.raises(StoreUnavailable):
            memory.usage()
        acks = [ack.split("|") for worker in workers for ack in worker.acks]
    if moved.count:
        assert place.count() == moved.count
        assert query(place.path, "PRAGMA integrity_check") == [("ok",)]
    if moved.former:
        assert query(moved.former, "PRAGMA integrity_check") == [("ok",)]
        with open_memory(f"sqlite:///{moved.former}") as memory:
            saver = memory.get_langgraph_checkpointer()
            for kind, thread, id, _ in acks:
                assert kind != "put" or saver.get_tuple(config(thread, id)) is not None


LEFT = """
import os, sys
from charm_checkpoint import open_memory

memory = open_memory(sys.argv[1])
for number in range(5):
    memory.append_messages("t", [{"role": "user", "content": str(number)}])
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_the_log_of_a_killed_program_outlives_a_new_file_of_its_name(
    place: Place, left: str, caplog: pytest.LogCaptureFixture
) -> None:
    subprocess.run([sys.executable, "-c", LEFT, place.url], timeout=scaled(30))
    former = place.folder / "former.db"
    os.rename(place.path, former)
    if left == "an empty file":
        place.path.touch()
    with open_memory(place.url) as memory:
        assert memory.load_messages("t") == []
        memory.append_messages("t", [{"role": "user", "content": "new"}])
    [aside] = place.folder.glob("charm.db.*-wal")
    assert str(aside) in caplog.text
    os.rename(aside, f"{former}-wal")
    with open_memory(f"sqlite:///{former}") as memory:
        assert len(memory.load_messages("t")) == 5
    with open_memory(place.url) as memory:
        assert len(memory.load_messages("t")) == 1


def test_reading_does_not_cost_the_log_of_a_file_that_is_gone(place: Place) -> None:
    subprocess.run([sys.executable, "-c", LEFT, place.url], timeout=scaled(30))
    os.rename(place.path, place.folder / "former.db")
    place.path.touch()
    with pytest.raises(StoreUnavailable, match="empty"), open_memory(f"{place.url}?mode=ro") as memory:
        memory.load_messages("t")
    assert Path(f"{place.path}-wal").stat().st_size


@pytest.mark.skipif(not open_file.LOCKS.exists(), reason="who uses a log is not to be seen here")
def test_a_log_that_is_still_written_is_not_put_aside(place: Place, tmp_path: Path) -> None:
    script = LEFT.replace("os.kill(os.getpid(), 9)", "print(flush=True); sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, "-c", script, place.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin and writer.stdout
        writer.stdout.readline()
        former = place.folder / "former.db"
        os.rename(place.path, former)
        with pytest.raises(StoreUnavailable, match=str(writer.pid)), open_memory(place.url) as memory:
            memory.load_messages("t")
        writer.stdin.close()
    with open_memory(f"sqlite:///{former}") as memory:
        assert len(memory.load_messages("t")) == 5


def test_who_may_only_read_is_told_of_no_lost_log(place: Place) -> None:
    with open_memory(place.url) as writer:  # whose log is there
        place.fill(writer, 1)
        with open_memory(f"{place.url}?mode=ro") as memory:
            saver = memory.get_langgraph_checkpointer()
            calls: list[Callable[[], object]] = [
                lambda: memory.delete_thread("nope"),
                lambda: memory.delete_messages("nope"),
                lambda: memory.append_messages("nope", []),
                lambda: saver.prune(["t", "nope"]),
                lambda: saver.delete_for_runs(["nope"]),
            ]
            for call in calls:
                with contextlib.suppress(ReadOnlyStore):
                    call()
            with pytest.raises(ReadOnlyStore):
                memory.delete_thread("t")
