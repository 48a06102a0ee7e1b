"""A folder that is synced between hosts: what each of them is told."""

from __future__ import annotations

import logging
import shutil
from contextvars import Context
from pathlib import Path

import pytest
from children.jobs import add_item, config
from local_files import Hosts, filled, frames, length, log_of, opened

from charm_checkpoint import CharmSaver, open_memory
from charm_checkpoint.errors import ThreadConflict


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


@pytest.mark.parametrize("in_place", [True, False])
def test_hosts_that_take_turns_go_on_from_each_other(hosts: Hosts, in_place: bool) -> None:
    with opened(hosts.a, on_conflict="raise") as a, opened(hosts.b, on_conflict="raise") as b:
        count = 0
        for turn in range(12):
            here, there = (a, b) if turn % 2 else (b, a)
            source, target = (hosts.a, hosts.b) if turn % 2 else (hosts.b, hosts.a)
            for _ in range(turn % 3 + 1):
                count += 1
                assert add_item(here, "t")[1] == count
            if turn % 4 == 3:
                here.prune(["t"])
            hosts.sync(source, target, in_place=in_place)
            assert length(there) == count
        for at in a.list(config("t")):
            assert "charm_conflict" not in at.metadata


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("pruned", [True, False])
@pytest.mark.parametrize("turns", [1, 2, 5])
def test_a_version_that_lacks_what_this_host_wrote_is_told_once(
    hosts: Hosts, in_place: bool, pruned: bool, turns: int
) -> None:
    with opened(hosts.a) as a, opened(hosts.b) as b:
        add_item(a, "t")
        hosts.sync(hosts.a, hosts.b)
        for _ in range(2):
            at, _ = add_item(a, "t")
        for _ in range(turns):
            add_item(b, "t")
        if pruned:
            b.prune(["t"])
        hosts.sync(hosts.b, hosts.a, in_place=in_place)
        with pytest.raises(ThreadConflict, match="replaced by a version that lacks what was stored here"):
            a.put_writes(at, [("items", 1)], "task")
        assert length(a) == 1 + turns
        assert add_item(a, "t")[1] == 2 + turns
        assert a.get_tuple(at) is None


@pytest.mark.parametrize("pruned", [True, False])
def test_a_thread_that_was_begun_anew_on_this_host_is_no_older_version(tmp_path: Path, pruned: bool) -> None:
    def fresh(saver: CharmSaver) -> None:
        Context().run(add_item, saver, "t")

    with opened(tmp_path) as late, opened(tmp_path) as other:
        for _ in range(5):
            fresh(late)
        if pruned:
            late.prune(["t"])
        with open_memory(f"file://{tmp_path}") as memory:
            memory.erase("t", remember=0)
        fresh(other)
        assert length(late) == 1
        fresh(late)
        log = log_of(tmp_path, "t")
        before = log.read_bytes()
        fresh(late)
        assert length(other) == 3
        log.write_bytes(before)
        with pytest.raises(ThreadConflict, match="put back to an older state"):
            fresh(other)


@pytest.mark.parametrize("how", ["copied", "pruned by another", "remembered"])
def test_a_thread_is_known_to_be_begun_anew_however_its_log_was_made(tmp_path: Path, how: str) -> None:
    """A log that carries something over does not begin with the thread's first change."""

    def fresh(saver: CharmSaver, thread: str = "t") -> None:
        Context().run(add_item, saver, thread)

    with opened(tmp_path) as late, opened(tmp_path) as other, open_memory(f"file://{tmp_path}") as memory:
        for _ in range(5):
            fresh(other, "first" if how == "copied" else "t")
        if how == "copied":
            other.copy_thread("first", "t")
        elif how == "pruned by another":
            other.prune(["t"])
        else:
            memory.erase("t", remember="1h")
            for _ in range(3):
                fresh(other)
        assert length(late) == (3 if how == "remembered" else 5)
        memory.erase("t", remember=0)
        fresh(memory.get_langgraph_checkpointer())
        assert length(late) == 1


def test_a_copy_that_a_syncing_tool_left_stops_writes(hosts: Hosts, caplog: pytest.LogCaptureFixture) -> None:
    with opened(hosts.a) as a, opened(hosts.b) as b:
        add_item(a, "t")
        hosts.sync(hosts.a, hosts.b)
        add_item(a, "t")
        theirs, _ = add_item(b, "t")
    log = log_of(hosts.a, "t")
    stray = log.with_name("log.sync-conflict-20260102-030405-ABCDEFG")
    shutil.copyfile(log_of(hosts.b, "t"), stray)
    with opened(hosts.a) as a, caplog.at_level(logging.WARNING):
        before = log.read_bytes()
        for _ in range(2):
            assert length(a) == 2
        for write in (lambda: add_item(a, "t"), lambda: a.prune(["t"]), lambda: a.put_writes(config("t", "x"), [], "")):
            with pytest.raises(ThreadConflict, match=rf"'t' was written to on two hosts.*{stray.name}"):
                write()
        assert caplog.text.count("written to on two hosts") == 1
        assert log.read_bytes() == before
        add_item(a, "other")
        a.copy_thread("t", "saved")
        assert length(a, "saved") == 2
    stray.replace(log)  # the other host's version is to count
    with opened(hosts.a) as a:
        assert a.get_tuple(theirs) is not None
        assert add_item(a, "t")[1] == 3


def test_deleting_a_thread_takes_the_copies_of_it_along(hosts: Hosts) -> None:
    log = filled(hosts.a, 2)
    shutil.copyfile(log, log.with_name("log (host b's conflicted copy)"))
    with opened(hosts.a) as saver:
        saver.delete_thread("t")
        assert add_item(saver, "t")[1] == 1
    assert [path.name for path in log.parent.iterdir()] == ["log"]


def test_records_of_two_hosts_behind_the_same_one_are_not_mixed(hosts: Hosts, caplog: pytest.LogCaptureFixture) -> None:
    log = filled(hosts.a, 1)
    hosts.sync(hosts.a, hosts.b)
    filled(hosts.a, 1)
    theirs = filled(hosts.b, 2)
    log.write_bytes(log.read_bytes() + theirs.read_bytes()[frames(theirs)[-3] :])
    with opened(hosts.a) as a:
        assert length(a) == 2
        assert "it goes on in two ways" in caplog.text
        with pytest.raises(ThreadConflict, match="goes on in two ways"):
            add_item(a, "t")
        a.copy_thread("t", "saved")
        a.delete_thread("t")
        a.copy_thread("saved", "t")
        assert add_item(a, "t")[1] == 3


def test_a_folder_that_is_removed_meanwhile_is_told_once(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with opened(folder) as saver:
        add_item(saver, "t")
        shutil.rmtree(folder)
        with pytest.raises(ThreadConflict):
            saver.get_tuple(config("t"))
        assert add_item(saver, "t")[1] == 1
