"""What each process has: one thing, made anew in a forked child, closed by the process that made it and by no other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from charm_checkpoint import store
from charm_checkpoint.runtime import lifecycle
from charm_checkpoint.runtime.lifecycle import OwnerProcess, PerProcess
from charm_checkpoint.testing.scenarios import ended, fork_of_c, forked

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")


class Thing:
    def __init__(self) -> None:
        self.made_by = os.getpid()
        self.closed_by: list[int] = []

    def close(self) -> None:
        self.closed_by.append(os.getpid())


def test_what_a_process_has_is_closed_as_its_holder_goes() -> None:
    held = PerProcess(Thing, Thing.close)
    thing = held.get()
    assert held.get() is thing and not thing.closed_by
    del held
    assert thing.closed_by == [os.getpid()]


def test_what_was_detached_is_for_others_to_close() -> None:
    held = PerProcess(Thing, Thing.close)
    thing = held.detach()
    assert held.get() is thing
    del held
    assert not thing.closed_by


@forking
@pytest.mark.parametrize("fork", [os.fork, fork_of_c])
def test_a_child_has_one_of_its_own(fork: Callable[[], int]) -> None:
    held, owner = PerProcess(Thing, Thing.close), OwnerProcess()
    theirs = held.get()

    def child() -> None:
        nonlocal held
        ours = held.get()
        assert not owner.is_current() and ours is not theirs and ours is held.get() and ours.made_by == os.getpid()
        del held
        assert ours.closed_by == [os.getpid()] and not theirs.closed_by

    ended(forked(child, fork))
    assert owner.is_current() and held.get() is theirs and not theirs.closed_by


@forking
def test_a_child_that_never_looked_closes_nothing_of_its_parents() -> None:
    held = PerProcess(Thing, Thing.close)
    theirs = held.get()

    def child() -> None:
        nonlocal held
        del held
        assert not theirs.closed_by

    ended(forked(child, fork_of_c))


def test_the_seconds_that_a_close_waits_have_their_former_name() -> None:
    with pytest.warns(DeprecationWarning, match=r"runtime\.lifecycle\.CLOSING now"):
        assert store.CLOSING == lifecycle.CLOSING
    with pytest.raises(AttributeError, match="OPENING"):
        _ = store.OPENING  # type: ignore[attr-defined]


ENDING = """
import sys, threading, time
from charm_checkpoint import open_memory
from charm_checkpoint.testing.samples import checkpoint, config, versions

saver = open_memory(f"sqlite:///{sys.argv[1]}/a.db").get_langgraph_checkpointer()


def write(name):
    at = config(name)
    for n in range(10**9):
        made = checkpoint({"n": ["x" * 50_000, n]})
        at = saver.put(at, made, {"source": "loop", "step": n}, versions(made))
        saver.get_tuple(at)


for name in "ab":
    threading.Thread(target=write, args=(name,), daemon=True).start()
time.sleep(0.2)
"""


def test_a_program_ends_beside_daemon_threads_that_write(tmp_path: Path) -> None:
    """A connection of SQLite that was closed under a call crashed one such program in three."""
    for n in range(6):
        folder = tmp_path / str(n)
        folder.mkdir()
        done = subprocess.run([sys.executable, "-c", ENDING, folder], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
