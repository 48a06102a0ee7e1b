"""A test's frozen clock keeps no call waiting for ever: deadlines go by the system's own."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.runtime import clock
from charm_checkpoint.stores.files.folder import FolderLock, Version, is_settled
from charm_checkpoint.stores.shared.retry import Failure, Pause, with_retries

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def _frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1_600_000_000.0)
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)


def sqlite(folder: Path) -> Callable[[], Any]:
    memory = open_memory(f"sqlite:///{folder}/a.db", timeout="100ms")
    memory.save_messages("1", [])
    other = sqlite3.connect(folder / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    def call() -> None:
        try:
            memory.save_messages("1", [{"role": "user", "content": "x"}])
        finally:
            other.close()
            memory.close()

    return call


def folder(folder: Path) -> Callable[[], Any]:
    def call() -> None:
        with FolderLock(folder, 0.1), FolderLock(folder, 0.1):
            pass

    return call


def retried(folder: Path) -> Callable[[], Any]:
    def call() -> None:
        plan = with_retries("operation", 0.1, lambda operation, error: Failure(StoreUnavailable(), retry=True), str)
        step = next(plan)
        while True:
            if isinstance(step, Pause):
                threading.Event().wait(step.seconds)
                step = next(plan)
            step = plan.throw(OSError())

    return call


@pytest.mark.parametrize("make", [sqlite, folder, retried], ids=lambda make: make.__name__)
def test_a_call_that_waits_ends_in_its_time(make: Callable[[Path], Callable[[], Any]], tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        make(tmp_path)()


def test_a_file_that_changed_just_now_is_not_taken_for_settled(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    found = os.stat(tmp_path / "log")
    assert not is_settled(Version(found.st_ino, found.st_size, found.st_mtime_ns))
    assert is_settled(Version(found.st_ino, found.st_size, found.st_mtime_ns - 10**11))


def test_under_freezegun(tmp_path: Path) -> None:
    freezegun = pytest.importorskip("freezegun")
    with freezegun.freeze_time("2099-01-01"):
        before = clock.monotonic()
        assert clock.monotonic() >= before and before < 10**9 and clock.wall_ns() < 4 * 10**18
        with pytest.raises(StoreUnavailable):
            sqlite(tmp_path)()
