"""Files that every user of the machine can read.

The attacker is another user of the machine; under the usual umask, 022, he could read every conversation: the
database and its log, the logs and messages of local files, snapshots and exports, and the data of servers that were
started for tests or demos, passwords among it.

He gets nothing of what is new: it is made 0600, and folders 0700, whatever the umask is, unless the user says
otherwise by ``file_mode``. A store that exists goes on as it is, since people share folders: new files in it have the
rights of the folders that they are in, and a warning says, once, that all can read them.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from children.jobs import add_item

from attacks.planted import CALLS, fill, opened, places
from charm_checkpoint import ConfigError, open_memory
from charm_checkpoint.cli.memory.settings_files import write_settings
from charm_checkpoint.items.store.line_files import Form, LinesWriter
from charm_checkpoint.long_term.whole_files import put_file
from charm_checkpoint.servers import valkey
from charm_checkpoint.servers.process import write_private

both_modes = pytest.mark.parametrize("mode", ["blocking", "async"])

USUAL, NONE = 0o022, 0


@pytest.fixture(params=[USUAL, NONE, 0o277], ids=["umask 022", "umask 000", "umask 277"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the umask."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def usual() -> Iterator[None]:
    """Set the usual umask."""
    before = os.umask(USUAL)
    yield
    os.umask(before)


def rights_below(folder: Path) -> dict[str, set[int]]:
    """Return the rights of files and folders below a folder."""
    found: dict[str, set[int]] = {"files": set(), "folders": set()}
    for path in folder.rglob("*"):
        found["folders" if path.is_dir() else "files"].add(stat.S_IMODE(path.lstat().st_mode))
    return found


@both_modes
@pytest.mark.usefixtures("umask")
def test_a_new_store_of_files_is_its_owners(tmp_path: Path, mode: str) -> None:
    url = f"file://{tmp_path}/new/data"
    with opened(url, mode, shared_messages_file=str(tmp_path / "new" / "chat.json")) as call:
        for each in CALLS:
            call(each)
    fill(url)
    assert rights_below(tmp_path) == {"files": {0o600}, "folders": {0o700}}


@both_modes
@pytest.mark.usefixtures("umask")
def test_a_new_sqlite_file_and_its_log_are_their_owners(tmp_path: Path, mode: str) -> None:
    with opened(f"sqlite:///{tmp_path}/agent.db", mode) as call:
        call("put a checkpoint")
        assert {path.name for path in tmp_path.iterdir()} == {"agent.db", "agent.db-wal", "agent.db-shm"}
        assert rights_below(tmp_path)["files"] == {0o600}


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("given", "files", "folders"), [("0640", 0o640, 0o750), ("660", 0o660, 0o770)])
def test_an_option_says_otherwise(tmp_path: Path, given: str, files: int, folders: int) -> None:
    (tmp_path / "sqlite").mkdir()
    with opened(f"sqlite:///{tmp_path}/sqlite/agent.db?file_mode={given}", "blocking") as call:
        call("put a checkpoint")
        assert rights_below(tmp_path / "sqlite")["files"] == {files}
    fill(f"file://{tmp_path}/files?file_mode={given}")
    assert rights_below(tmp_path / "files") == {"files": {files}, "folders": {folders}}


@pytest.mark.parametrize("given", ["0777", "0440", "rw", 640, True])
def test_what_is_no_right_of_a_file_is_refused(tmp_path: Path, given: object) -> None:
    with pytest.raises(ConfigError, match="file_mode.*write 0600, 0640"):
        open_memory(f"file://{tmp_path}", file_mode=given)


@both_modes
def test_what_is_new_in_a_shared_store_is_shared(
    tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture, usual: None
) -> None:
    fill(f"file://{tmp_path}")
    for path in tmp_path.rglob("*"):
        path.chmod(0o2770 if path.is_dir() else 0o660)
    with opened(f"file://{tmp_path}", mode) as call:
        for each in CALLS:
            call(each)
    with open_memory(f"file://{tmp_path}") as memory:
        memory.save_messages("new", [])
        add_item(memory.get_langgraph_checkpointer(), "new")
        memory.get_langgraph_store().put(("other",), "k", {})
    assert rights_below(tmp_path) == {"files": {0o660}, "folders": {0o2770}}
    assert not caplog.records


def test_a_store_that_all_can_read_stays_so_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, usual: None
) -> None:
    fill(f"file://{tmp_path}")
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for thread in ("one", "two"):
        with open_memory(f"file://{tmp_path}") as memory:
            add_item(memory.get_langgraph_checkpointer(), thread)
            memory.save_messages(thread, [])
    assert rights_below(tmp_path) == {"files": {0o644}, "folders": {0o755}}
    assert [record.getMessage().split(" can be read ")[0] for record in caplog.records] == [repr(f"{tmp_path}/.charm")]
    assert "file_mode" in caplog.text


def test_a_database_that_all_can_read_stays_so_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, usual: None
) -> None:
    path = tmp_path / "agent.db"
    fill(f"sqlite:///{path}")
    path.chmod(0o644)
    fill(f"sqlite:///{path}?file_mode=0644")  # it is meant
    assert not caplog.records
    for _ in range(2):
        with opened(f"sqlite:///{path}", "blocking") as call:
            call("put a checkpoint")
            assert rights_below(tmp_path)["files"] == {0o644}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert repr(str(path)) in caplog.text


def test_a_file_that_its_owner_closed_stays_closed(tmp_path: Path, usual: None) -> None:
    fill(f"file://{tmp_path}")
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    closed = places(tmp_path)["messages"]
    closed.chmod(0o600)
    with opened(f"file://{tmp_path}", "blocking") as call:
        call("append messages")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o600


@pytest.mark.usefixtures("umask")
def test_snapshots_exports_and_settings_are_their_owners(tmp_path: Path) -> None:
    put_file(tmp_path / "new" / "bundle.md", b"secret")
    writer = LinesWriter(tmp_path / "new" / "items.jsonl", Form("f", 1))
    writer.begin()
    writer.finish()
    write_private(tmp_path / "new" / "password", "secret")
    (tmp_path / ".env").write_text("A=1\n")
    (tmp_path / ".env").chmod(0o644)
    write_settings(tmp_path / ".env", "env", "redis://:secret@host/0", None)
    assert rights_below(tmp_path) == {"files": {0o600}, "folders": {0o700}}


def test_an_export_that_is_shared_already_stays_so(tmp_path: Path, usual: None) -> None:
    path = tmp_path / "bundle.md"
    path.write_text("")
    path.chmod(0o664)
    put_file(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o664)


def test_what_a_server_writes_is_its_owners(usual: None) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders let nobody in whom root starts a server as
        os.chmod(place, 0o711)
        with valkey(folder=Path(place) / "data") as server:
            server.ask("SET", "secret", "1")
            found = rights_below(Path(place))
    assert found["folders"] == {0o700} and found["files"] and not any(mode & 0o077 for mode in found["files"])


@both_modes
@pytest.mark.parametrize("refused", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_mount_that_keeps_no_rights_is_no_attack(
    refused: int,
    mode: str,
    tmp_path: Path,
    usual: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As Windows' disks in WSL, and many a network's: all files show the same rights, and none can be changed."""

    def refuse(what: object, rights: int) -> None:
        raise OSError(refused, os.strerror(refused))

    def shown(path: str | Path, flags: int, rights: int = 0o777, *, dir_fd: int | None = None) -> int:
        file = really_open(path, flags, rights, dir_fd=dir_fd)
        if flags & os.O_CREAT:
            change(file, 0o777)
        return file

    def made(path: str | Path, rights: int = 0o777) -> None:
        make(path, rights)
        change(path, 0o777)

    really_open, make, change = os.open, os.mkdir, os.chmod
    for name, stand_in in (("open", shown), ("mkdir", made), ("chmod", refuse), ("fchmod", refuse)):
        monkeypatch.setattr(os, name, stand_in)
    for name in ("file", "sqlite"):
        url = f"{name}:///{tmp_path}/{name}"
        fill(url)
        with opened(url, mode) as call:
            for what in CALLS:
                call(what)
    assert "files have no rights of their own" in caplog.text
