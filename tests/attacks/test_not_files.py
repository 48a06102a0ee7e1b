"""What has a file's name, and is none.

The attacker may write into the folder that a store is in: it is synced, a volume that several containers have, or on
a machine that he shares. He puts a FIFO where a log or a list of messages was, and waits for the program to wait for
ever: no time-out of the store holds for the opening of a file. Or he puts a symbolic link there, to have the program
read another of its own files as if it were the store's, or write, which he may not, to where he says.

He gets a `StoreCorrupt`, at once, that names the path and what is there. Nothing is followed below the folder that the
store was given, neither as a file nor as a folder; that folder itself may be a link, as it is the program that named
it. What the link leads to is as it was.

Only to show and to delete things the other way round is not refused: a link is deleted as a name, and what it leads to
stays. A hard link is not told from a file, since backups are made of them: no content is taken but a store's own, and
nothing but a store's own log is written to, other than by a new file in its place.
"""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from attacks.planted import CALLS, fill, opened, places, put_fifo, unblocked
from charm_checkpoint import StoreError, open_memory
from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.long_term.markdown.folder import MarkdownFolder
from charm_checkpoint.runtime.regular_files import open_regular
from charm_checkpoint.stores.files.folder import FolderLock

TOUCHED = {
    "log": ("get a checkpoint", "put a checkpoint", "list checkpoints"),
    "items": ("get an item", "put an item"),
    "messages": ("load messages", "append messages", "save messages"),
}
"""Which calls need a file."""

both_modes = pytest.mark.parametrize("mode", ["blocking", "async"])


@both_modes
@pytest.mark.parametrize("name", ["log", "items", "messages", "id"])
def test_a_fifo_is_not_waited_for(tmp_path: Path, name: str, mode: str) -> None:
    url = f"file://{tmp_path}"
    fill(url)
    path = places(tmp_path)[name]
    put_fifo(path)
    with opened(url, mode) as call, unblocked(path):
        for each in CALLS:
            if each in TOUCHED.get(name, ()):
                with pytest.raises(StoreCorrupt, match=f"{path.name}.* is a FIFO, where a regular file is to be"):
                    call(each)
            else:
                call(each)  # the others do not suffer from it


def test_a_socket_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # a socket's path is short
        server.bind("log")
        with pytest.raises(StoreCorrupt, match="is a socket"):
            open_regular("log")


def test_a_folder_in_a_files_place_is_told(tmp_path: Path) -> None:
    fill(f"file://{tmp_path}")
    log = places(tmp_path)["log"]
    log.unlink()
    log.mkdir()
    with opened(f"file://{tmp_path}", "blocking") as call, pytest.raises(StoreCorrupt, match="is a folder, where"):
        call("get a checkpoint")


@both_modes
@pytest.mark.parametrize("name", ["log", "items", "messages"])
def test_a_link_in_a_files_place_is_not_followed(tmp_path: Path, name: str, mode: str) -> None:
    other, store = tmp_path / "other", tmp_path / "store"
    for folder in (other, store):
        fill(f"file://{folder}")
    path, aim = places(store)[name], places(other)[name]
    before = aim.read_bytes()
    path.unlink()
    path.symlink_to(aim)
    with opened(f"file://{store}", mode) as call:
        for each in TOUCHED[name]:
            with pytest.raises(StoreCorrupt, match=f"{path.name}.* is a symbolic link, which is not followed"):
                call(each)
    assert aim.read_bytes() == before and path.is_symlink()


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "the folder of a thread": lambda folder: places(folder)["log"].parent,
    "the folder of a space": lambda folder: places(folder)["items"].parent,
    "checkpoints": lambda folder: folder / ".charm" / "checkpoints",
    "memory": lambda folder: folder / ".charm" / "memory",
    "items": lambda folder: folder / ".charm" / "items",
    ".charm": lambda folder: folder / ".charm",
}


@both_modes
@pytest.mark.parametrize("name", FOLDERS)
def test_a_link_in_a_folders_place_is_not_followed(tmp_path: Path, name: str, mode: str) -> None:
    other, store = tmp_path / "other", tmp_path / "store"
    for folder in (other, store):
        fill(f"file://{folder}")
    concerned = [part for part, path in places(store).items() if FOLDERS[name](store) in path.parents]
    aim, path = FOLDERS[name](other), FOLDERS[name](store)
    before = {file: file.read_bytes() for file in other.rglob("*") if file.is_file()}
    shutil.rmtree(path)
    path.symlink_to(aim)
    with opened(f"file://{store}", mode) as call:
        for part in concerned:
            for each in TOUCHED.get(part, ()):
                with pytest.raises(StoreCorrupt, match="is a symbolic link, which is not followed"):
                    call(each)
    assert before == {file: file.read_bytes() for file in other.rglob("*") if file.is_file()}


def test_the_stores_own_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "volume")
    fill(f"file://{tmp_path / 'data'}")
    with opened(f"file://{tmp_path / 'data'}", "blocking") as call:
        for each in CALLS:
            call(each)
    assert places(tmp_path / "volume")["log"].is_file()


@both_modes
def test_the_one_file_of_messages_is_no_link(tmp_path: Path, mode: str) -> None:
    victim, file = tmp_path / "authorized_keys", tmp_path / "shared" / "chat.json"
    victim.write_text("ssh-ed25519 me")
    file.parent.mkdir()
    file.symlink_to(victim)
    with opened(f"file://{tmp_path}/store", mode, shared_messages_file=str(file)) as call:
        for each in TOUCHED["messages"]:
            with pytest.raises(StoreCorrupt, match=r"chat\.json.* is a symbolic link"):
                call(each)
    assert victim.read_text() == "ssh-ed25519 me"


@both_modes
@pytest.mark.parametrize("ending", ["", "-wal", "-journal"])
def test_a_fifo_beside_a_sqlite_file_is_not_waited_for(tmp_path: Path, ending: str, mode: str) -> None:
    path = tmp_path / "agent.db"
    fill(f"sqlite:///{path}")
    if ending == "-journal":  # which SQLite looks for beside a file of this kind alone
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()
    fifo = Path(f"{path}{ending}")
    put_fifo(fifo)
    fifo.chmod(0o400)
    with opened(f"sqlite:///{path}?mode=ro", mode) as call, unblocked(fifo):
        with pytest.raises(StoreCorrupt, match=f"{fifo.name}.* is a FIFO, where a regular file is to be"):
            call("get a checkpoint")


def test_a_link_beside_a_sqlite_file_is_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "agent.db", tmp_path / "victim"
    fill(f"sqlite:///{path}")
    victim.write_text("mine")
    Path(f"{path}-wal").symlink_to(victim)
    with (
        opened(f"sqlite:///{path}", "blocking") as call,
        pytest.raises(StoreCorrupt, match="-wal.* is a symbolic link"),
    ):
        call("put a checkpoint")
    assert victim.read_text() == "mine"


def test_the_index_of_markdown_memories_may_be_anything(tmp_path: Path) -> None:
    index = tmp_path / "memories" / "MEMORY.md"
    folder = MarkdownFolder(index.parent, tmp_path / "state")
    folder.ready()
    folder.write_index([("One", "one.md", "hook")])
    put_fifo(index)
    with unblocked(index):
        folder.write_index([("Two", "two.md", "hook")])
    assert "two.md" in index.read_text()
    put_fifo(index.with_name("three.md"))
    with unblocked(index.with_name("three.md")), pytest.raises(DataError, match="it is no file"):
        folder.read("three.md", 1000)


@both_modes
@pytest.mark.parametrize("name", ["log", "messages", "items"])
def test_what_is_deleted_is_a_name_and_not_what_it_leads_to(tmp_path: Path, name: str, mode: str) -> None:
    store, victim = tmp_path / "store", tmp_path / "victim"
    fill(f"file://{store}")
    path = places(store)[name]
    victim.write_bytes(before := path.read_bytes())
    path.unlink()
    path.symlink_to(victim)
    with open_memory(f"file://{store}") as memory:
        memory.delete_thread("t")
        memory.store.run(lambda: memory.store.items.erase(b""), write=True)
    assert victim.read_bytes() == before
    assert not path.is_symlink() or name == "items"  # nothing told which namespace that was
    with opened(f"file://{store}", mode) as call:
        for each in TOUCHED[name]:
            if name != "items":
                call(each)


def test_a_lock_is_on_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "lock").symlink_to(tmp_path / "elsewhere")
    folder = MarkdownFolder(tmp_path / "memories", tmp_path / "state")
    with pytest.raises(StoreError, match="is a symbolic link"), FolderLock(folder.ready(), 1):
        pass
