"""Local files after kills, power losses and damage."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children.jobs import add_item, config, put
from local_files import PowerLoss, contents_of, filled, frames, length, opened

from charm_checkpoint import open_memory
from charm_checkpoint.errors import SchemaMismatch, StoreCorrupt
from charm_checkpoint.stores.files.contents import FORMATS
from charm_checkpoint.stores.files.folder import FolderLock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "work"


# ------------------------------------------------------------------------------ torn and damaged


@pytest.mark.parametrize("filler", [b"", b"\0"], ids=["cut", "zeros"])
def test_a_last_record_torn_anywhere_is_as_if_it_never_was(folder: Path, filler: bytes) -> None:
    log = filled(folder, 4)
    whole = log.read_bytes()
    *_, start, end = frames(log)
    assert end == len(whole)
    last = end - len(filler)  # all but the closing byte is damage: see tests/attacks/test_torn_logs.py
    for cut in range(start + (not filler), last):
        log.write_bytes(whole[:cut] + filler * (end - cut))
        contents = contents_of(log)
        assert (contents.end, contents.tail) == (start, "torn")
    for cut in [*range(start, last, 9), last - 1]:
        log.write_bytes(whole[:cut] + filler * (end - cut))
        with opened(folder) as reader, opened(folder) as writer:
            assert length(reader) == 3
            assert add_item(writer, "t")[1] == 4
            assert (contents_of(log).tail, length(reader)) == ("whole", 4)


def test_damage_before_the_last_record_is_never_passed_over(folder: Path) -> None:
    log = filled(folder, 3)
    whole = bytearray(log.read_bytes())
    last = frames(log)[-2]
    for at in range(0, last, 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        log.write_bytes(damaged)
        with opened(folder) as saver:
            with pytest.raises(StoreCorrupt, match="log is damaged at byte"):
                saver.get_tuple(config("t"))
            with pytest.raises(StoreCorrupt):
                put(saver, config("t"), {"items": []})
        assert log.read_bytes() == damaged
    with opened(folder) as saver:
        saver.delete_thread("t")
        assert add_item(saver, "t")[1] == 1


def test_a_log_of_a_newer_format_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charm_checkpoint.stores.files.contents.FORMAT", 99)
    monkeypatch.setitem(FORMATS, 99, FORMATS[3])
    filled(folder, 1)
    monkeypatch.undo()
    with opened(folder) as saver, pytest.raises(SchemaMismatch, match="format 99.*upgrade"):
        saver.get_tuple(config("t"))


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_a_lock_ends_with_its_process_though_a_child_of_it_lives_on(tmp_path: Path) -> None:
    asked, said = os.pipe(), os.pipe()
    owner = os.fork()
    if owner == 0:
        with FolderLock(tmp_path, 1):
            if os.fork() == 0:
                signal.alarm(30)
                os.write(said[1], b".")
                os.read(asked[0], 1)
                os._exit(0)
            os.read(said[0], 1)
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(owner, 0)[1] == signal.SIGKILL
    with FolderLock(tmp_path, 0):
        os.write(asked[1], b".")
    for end in (*asked, *said):
        os.close(end)


# ------------------------------------------------------------------------------------- power loss


def test_what_was_acknowledged_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "host").mkdir()
    power = PowerLoss(monkeypatch)
    with open_memory(f"file://{tmp_path}/host/work") as memory:
        saver = memory.get_langgraph_checkpointer()
        steps: list[Callable[[], Any]] = [
            lambda: add_item(saver, "t"),
            lambda: add_item(saver, "t"),
            lambda: saver.put_writes(config("t", "x"), [("items", 1)], "task"),
            lambda: memory.save_messages("t", [{"role": "user"}]),
            lambda: memory.append_messages("t", [{"role": "user"}]),
            lambda: saver.copy_thread("t", "u"),
            lambda: saver.prune(["t"]),
            lambda: add_item(saver, "t"),
            lambda: saver.delete_thread("u"),
            lambda: memory.delete_messages("t"),
        ]
        for number, step in enumerate(steps):
            step()
            left = power.left(tmp_path / "host", tmp_path / f"left {number}") / "work"
            with opened(left) as other:
                for thread in "tu":
                    assert list(other.list(config(thread))) == list(saver.list(config(thread)))
            with open_memory(f"file://{left}") as again:
                assert (again.usage(), again.load_messages("t")) == (memory.usage(), memory.load_messages("t"))
