"""Local files: what they leave behind, what disks refuse, and where a store is."""

from __future__ import annotations

import io
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from children.jobs import add_item, config, id_of, items, put
from local_files import as_nobody, filled, frames, length, litter, log_of, no_file_above, opened

from charm_checkpoint import open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.config.options import parse_url
from charm_checkpoint.demo import director
from charm_checkpoint.demo.director import run_demo
from charm_checkpoint.errors import (
    ConfigError,
    ReadOnlyStore,
    StoreUnavailable,
)
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.stores.files.contents import Contents
from charm_checkpoint.stores.files.store import folder_of
from charm_checkpoint.stores.files.threads import Threads

posix = pytest.mark.skipif(os.name != "posix", reason="forks")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "work"


# ---------------------------------------------------------------------------------------- traces


def test_reading_and_refused_writes_leave_no_trace(folder: Path) -> None:
    with open_memory(f"file://{folder}") as memory:
        saver = memory.get_langgraph_checkpointer()
        assert saver.get_tuple(config("t")) is None
        assert list(saver.list(None)) == []
        assert memory.load_messages("t") == []
        memory.delete_thread("t")
        saver.prune(["t"])
        saver.copy_thread("t", "u")
        memory.append_messages("t", [])
        assert memory.usage().threads == 0
        assert not folder.exists()
        memory.setup()
        assert not folder.exists()


def test_a_listing_of_all_threads_takes_in_no_log_without_a_match(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(folder) as saver:
        for n in range(20):
            put(saver, config(f"t{n}"), {}, user="ann" if n == 7 else "bob", nest={"n": n})
        put(saver, put(saver, config("torn"), {}, user="ann"), {}, user="bob")
    torn = log_of(folder, "torn")
    torn.write_bytes(torn.read_bytes()[:-1])
    looked: list[str] = []
    look = Threads.look
    monkeypatch.setattr(Threads, "look", lambda threads, name, view: looked.append(name) or look(threads, name, view))
    for filter, found, most in (
        ({"user": "ann"}, {"t7", "torn"}, 2),
        ({"nest.n": 9}, {"t9"}, 3),
        ({"user": "eve"}, set(), 3),
        ({"nest.n": {"$gt": 16}}, {"t17", "t18", "t19"}, 21),
    ):
        looked.clear()
        with opened(folder) as saver:
            listed = [item.config["configurable"]["thread_id"] for item in saver.list(None, filter=filter)]
        assert (len(listed), set(listed)) == (len(found), found)
        assert len(looked) <= most


def test_what_was_removed_is_gone_from_the_files(folder: Path) -> None:
    secret = "correct horse battery staple"
    with open_memory(f"file://{folder}") as memory:
        saver = memory.get_langgraph_checkpointer()
        for thread in ("my secret thread", "pruned"):
            at = put(saver, config(thread), {"items": [secret]})
            saver.put_writes(at, [("items", secret)], "task")
            add_item_after(saver, at)
        memory.save_messages("my secret thread", [{"content": secret}])
        before = log_of(folder, "pruned").stat().st_size
        saver.prune(["pruned"])
        memory.delete_thread("my secret thread")
        assert length(saver, "pruned") == 1
    assert log_of(folder, "pruned").stat().st_size < before
    assert log_of(folder, "my secret thread").stat().st_size < 100
    data = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert b"my secret" not in data
    assert secret.encode() not in data
    assert not list(folder.rglob("*.json"))
    assert litter(folder) == set()
    assert "secret" not in str(list(folder.rglob("*")))


def add_item_after(saver: CharmSaver, at: Any) -> None:
    put(saver, at, {"items": items(1)})


def test_what_killed_processes_left_goes_with_the_next_write(folder: Path) -> None:
    log = filled(folder, 2)
    (log.parent / "new").write_bytes(b"half a log")
    (folder / ".charm" / "memory").mkdir()
    (folder / ".charm" / "memory" / ".new").write_bytes(b"[")
    with open_memory(f"file://{folder}") as memory:
        assert length(memory.get_langgraph_checkpointer()) == 2
        assert memory.load_messages("t") == []
        assert memory.usage().threads == 1
        add_item(memory.get_langgraph_checkpointer(), "t")
        memory.save_messages("t", [{"role": "user"}])
    assert litter(folder) == set()


def test_any_thread_id_is_a_folder_of_its_own_inside(folder: Path) -> None:
    names = [
        "../../etc/passwd",
        "/etc/passwd",
        "CON",
        "con",
        "Caf\xe9",
        "Cafe\u0301",
        "a",
        "A",
        "x" * 10_000,
        "\0",
        "log",
    ]
    with open_memory(f"file://{folder}") as memory:
        for number, name in enumerate(names):
            put(memory.get_langgraph_checkpointer(), config(name), {"items": items(number)})
            memory.save_messages(name, [{"number": number}])
        for number, name in enumerate(names):
            assert length(memory.get_langgraph_checkpointer(), name) == number
            assert memory.load_messages(name) == [{"number": number}]
        assert memory.usage().threads == len(names)
    made = [path.name for path in (folder / ".charm").glob("*/*") if path.suffix != ".id"]
    assert len({name.casefold() for name in made}) == len(made) == 2 * len(names)
    assert max(map(len, made)) < 100
    assert all(name.isascii() for name in made)
    assert [path.name for path in folder.iterdir()] == [".charm"]


# ------------------------------------------------------------------------------------ little work


def test_reading_goes_on_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, apply = [0], Contents.apply

    def count(self: Contents, frame: Any) -> None:
        counted[0] += 1
        apply(self, frame)

    monkeypatch.setattr(Contents, "apply", count)
    with opened(folder) as ours, opened(folder) as theirs:
        for turn in range(1, 31):
            add_item(ours, "t")
            assert length(ours) == length(theirs) == turn
    # Each frame once by either of the two, and the first.
    assert counted[0] == 2 * 31


def test_a_put_is_one_write_behind_the_rest(folder: Path) -> None:
    log = filled(folder, 2)
    inode, before, count = log.stat().st_ino, log.read_bytes(), len(frames(log))
    with opened(folder) as saver:
        at, _ = add_item(saver, "t")
        saver.put_writes(at, [("items", 1)], "task")
    assert log.stat().st_ino == inode
    assert log.read_bytes().startswith(before)
    assert len(frames(log)) == count + 2


# ------------------------------------------------------------------------------- what disks refuse


@posix
@pytest.mark.parametrize("room", [0, 1, 40, 5000])
def test_a_full_disk_is_an_error_and_nothing_half_written(folder: Path, room: int) -> None:
    log = filled(folder, 2)
    with open_memory(f"file://{folder}") as memory:
        saver = memory.get_langgraph_checkpointer()
        memory.save_messages("t", [{"content": "kept"}])
        before = log.read_bytes()
        big = {"content": os.urandom(20_000).hex()}
        with no_file_above(len(before) + room):
            for write in (
                lambda: put(saver, config("t"), {"items": [big]}),
                lambda: saver.put_writes(config("t", "x"), [("items", big)], "task"),
                lambda: put(saver, config("new"), {"items": [big]}),
                lambda: memory.append_messages("t", [big]),
                lambda: memory.append_messages("new", [big]),
            ):
                with pytest.raises(StoreUnavailable, match="nothing was written, free some room"):
                    write()
            assert length(saver) == 2
        assert log.read_bytes() == before
        assert memory.load_messages("t") == [{"content": "kept"}]
        assert saver.get_tuple(config("new")) is None
        assert memory.load_messages("new") == []
        assert litter(folder) == set()
        assert add_item(saver, "t")[1] == 3


@posix
def test_a_folder_that_cannot_be_written_is_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        log = filled(folder, 2)
        with open_memory(f"file://{folder}") as memory:
            memory.save_messages("t", [{"role": "user"}])
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)

        def use() -> None:
            with open_memory(f"file://{folder}") as memory:
                saver = memory.get_langgraph_checkpointer()
                assert length(saver) == 2
                assert len(list(saver.list(None))) == 2
                assert memory.load_messages("t") == [{"role": "user"}]
                assert memory.usage().checkpoints == 2
                for write in (
                    lambda: add_item(saver, "t"),
                    lambda: add_item(saver, "new"),
                    lambda: saver.prune(["t"]),
                    lambda: saver.delete_thread("t"),
                    lambda: memory.append_messages("t", [{"role": "user"}]),
                    lambda: memory.delete_messages("t"),
                ):
                    with pytest.raises(ReadOnlyStore, match="cannot be written"):
                        write()

        as_nobody(use)
        log.chmod(0o000)

        def look() -> None:
            with open_memory(f"file://{folder}") as memory, pytest.raises(StoreUnavailable, match="cannot be read"):
                memory.get_langgraph_checkpointer().get_tuple(config("t"))

        as_nobody(look)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o700)


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"names a folder of local files, and .*file is none"):
        open_memory(f"file://{tmp_path}/file")
    with open_memory(f"file://{tmp_path}/file/below") as memory:
        with pytest.raises(StoreUnavailable, match="file.*a store of local files is a folder"):
            add_item(memory.get_langgraph_checkpointer(), "t")
        with pytest.raises(StoreUnavailable, match="is a folder"):
            memory.save_messages("t", [{"role": "user"}])
    assert (tmp_path / "file").read_text() == "mine"


# -------------------------------------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///abs/a%20b", "/abs/a b"),
        ("file://localhost/abs", "/abs"),
        ("file://./rel/x", "{cwd}/rel/x"),
        ("file://../rel", "{parent}/rel"),
        ("file://.", "{cwd}"),
        ("file://", "{cwd}/workspace"),
        ("file:///C:/data", "C:/data"),
        ("file:///a?timeout=1s", "/a"),
    ],
)
def test_urls(url: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARM_WORKSPACE_DIR", raising=False)
    assert str(folder_of(parse_url(url))) == path.format(cwd=tmp_path, parent=tmp_path.parent)


@pytest.mark.parametrize("url", ["file://server/share", "file://relative", "file://user@/a", "file://localhost:80/a"])
def test_a_url_with_a_host_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="file URL has no host: write file:///abs/folder, or file://./folder"):
        open_memory(url)


def test_the_workspace_of_charm_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARM_WORKSPACE_DIR", str(tmp_path / "mine"))
    with open_memory("local") as memory:
        add_item(memory.get_langgraph_checkpointer(), "t")
    assert log_of(tmp_path / "mine", "t").exists()


def test_the_demo_runs_on_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Its processes are in folders of their own: the store's is told to them by its whole path.
    whole = f"file://{tmp_path}/mine"
    assert director._absolute("file://./mine") == director._absolute(whole) == whole
    stream = io.StringIO()
    assert run_demo("file://./mine", delay=0, stream=stream) == 0, stream.getvalue()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert litter(tmp_path) == set()


@pytest.mark.parametrize(
    ("url", "message"), [("file://./nowhere", "there is no folder"), ("none://", "none:// keeps nothing")]
)
def test_the_command_refuses_what_has_nothing_to_show(
    url: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["threads", "--url", url]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------- listing


def test_threads_written_to_last_are_listed_first_each_once(folder: Path) -> None:
    with opened(folder) as saver:
        for number in range(5):
            add_item(saver, str(number))
            time.sleep(0.01)
        add_item(saver, "2")
        stream = saver.list(None)
        first = [next(stream) for _ in range(3)]
        for number in range(5):
            add_item(saver, str(number))
        threads = [at.config["configurable"]["thread_id"] for at in (*first, *stream)]
    assert list(dict.fromkeys(threads)) == ["2", "4", "3", "1", "0"]


def test_a_bound_in_a_listing_of_all_is_one_in_its_own_thread(folder: Path) -> None:
    with opened(folder) as saver:
        ats = [add_item(saver, "t")[0] for _ in range(3)]
        found = [at.checkpoint["id"] for at in saver.list(None, before=ats[2])]
    assert found == [id_of(ats[1]), id_of(ats[0])]


def test_one_object_for_many_threads_keeps_what_it_reads_within_bounds(folder: Path) -> None:
    with opened(folder) as saver:
        saver._store.budget.limit = 40_000
        for turn in range(3):
            for number in range(20):
                assert add_item(saver, str(number))[1] == turn + 1
        known = memory_of(saver)._threads._known.thing
        assert len(known._young) + len(known._old) < 20


def memory_of(saver: CharmSaver) -> Any:
    return saver._store.backend
