"""The commands of retention, as a user types them: sweep, pin, unpin, compact, erase."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.testing.samples import checkpoint, config, versions

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a store with two threads of six checkpoints, messages and an item."""
    made = f"sqlite:///{tmp_path}/agent.db"
    with open_memory(made) as memory:
        saver = memory.get_langgraph_checkpointer()
        for thread in ("ann", "bob"):
            at = config(thread)
            for n in range(6):
                one = checkpoint({"log": [f"{i} {'x' * 90}" for i in range(9 + n)]})
                at = saver.put(at, one, {"source": "loop", "step": n}, versions(one))
        memory.save_messages("ann", [{"role": "user", "content": "hi"}])
        memory.get_langgraph_store().put(("users", "7"), "name", {"text": "Ann"})
    return made


@pytest.fixture
def run(url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command on the store, and returns its exit code and what it printed."""

    def call(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--url", url])
        return (code, *capsys.readouterr())

    return call


def counts(url: str) -> dict[str, int]:
    """Return how many checkpoints each thread has."""
    with open_memory(url) as memory:
        return {str(item.thread_id): item.checkpoints for item in memory.threads()}


def test_a_sweep_says_what_it_did(run: Run, url: str) -> None:
    code, out, _ = run("sweep", "--keep-last", "2", "--dry-run")
    assert code == 0 and "would go: 8 checkpoints of 2 threads" in out
    assert counts(url) == {"ann": 6, "bob": 6}
    code, out, _ = run("sweep", "--keep-last", "2", "--yes")
    assert code == 0 and "removed: 8 checkpoints of 2 threads" in out and "the store takes" in out
    assert counts(url) == {"ann": 2, "bob": 2}


def test_a_sweep_in_json(run: Run) -> None:
    code, out, _ = run("sweep", "--keep-last", "2", "--yes", "--json")
    report: dict[str, Any] = json.loads(out)
    assert (code, report["done"]["checkpoints"], report["done"]["threads"], report["dry_run"]) == (0, 8, 2, False)
    assert report["damaged"] == report["busy"] == []


def test_a_sweep_asks_first_and_wants_a_policy(run: Run, url: str) -> None:
    code, _, err = run("sweep", "--keep-last", "2")
    assert code == 2 and "--yes" in err
    code, _, err = run("sweep", "--yes")
    assert code == 2 and "--keep-last" in err
    code, _, err = run("sweep", "--ttl", "soon", "--yes")
    assert code == 2 and "ttl" in err
    assert counts(url) == {"ann": 6, "bob": 6}
    assert main(["sweep", "--yes", "--url", f"{url}?keep_last=3&sweep_every=0"]) == 0
    assert counts(url) == {"ann": 3, "bob": 3}


def test_a_sweep_of_one_thread(run: Run, url: str) -> None:
    assert run("sweep", "--keep-last", "2", "--thread", "ann", "--yes")[0] == 0
    assert counts(url) == {"ann": 2, "bob": 6}
    code, _, err = run("sweep", "--keep-last", "2", "--thread", "eve", "--yes")
    assert code == 1 and "'eve'" in err


def test_pins(run: Run, url: str) -> None:
    assert run("pin", "ann")[:2] == (0, "pinned ann\n")
    code, out, _ = run("sweep", "--keep-last", "1", "--yes")
    assert code == 0 and "pinned: 1 thread" in out
    assert counts(url) == {"ann": 6, "bob": 1}
    assert run("unpin", "ann")[:2] == (0, "unpinned ann\n")
    assert run("pin", "eve")[0] == 1


def test_compact(run: Run) -> None:
    assert run("sweep", "--keep-last", "1", "--yes")[0] == 0
    code, out, _ = run("compact", "--json")
    assert code == 0 and not json.loads(out)["free"]
    assert "the store takes" in run("compact")[1]


def test_erase_a_thread(run: Run, url: str) -> None:
    code, _, err = run("erase", "ann")
    assert code == 2 and "--yes" in err
    code, out, _ = run("erase", "ann", "--dry-run")
    assert code == 0 and "would erase 1 thread, 6 checkpoints, 1 message" in out
    code, out, err = run("erase", "ann", "--yes")
    assert code == 0 and "erased 1 thread, 6 checkpoints, 1 message" in out and "backups" in err
    assert counts(url) == {"bob": 6}
    assert run("erase", "ann", "--yes")[0] == 1


def test_erase_items_and_everything(run: Run, url: str) -> None:
    code, out, _ = run("erase", "--namespace", "users/7", "--yes")
    assert code == 0 and "erased 1 item" in out
    code, out, _ = run("erase", "--tenant", "--yes", "--json")
    assert (code, json.loads(out)["threads"]) == (0, 2)
    assert counts(url) == {}
    assert run("erase", "--yes")[0] == run("erase", "ann", "--tenant", "--yes")[0] == 2


def test_delete_says_what_would_go(run: Run, url: str) -> None:
    code, out, _ = run("delete", "ann", "--dry-run")
    assert code == 0 and "6 checkpoints" in out
    assert counts(url) == {"ann": 6, "bob": 6}
