"""The commands `check` and `doctor`: what they print, their JSON, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from children.jobs import config, items, put
from damaging import fill, flipped, sqlite_damager

from charm_checkpoint import open_memory
from charm_checkpoint.cli import main


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a SQLite file that is filled."""
    file = tmp_path / "charm.db"
    with open_memory(f"sqlite:///{file}") as memory:
        fill(memory)
    return file


def damage(path: Path) -> None:
    with sqlite_damager(path) as damager:
        old = damager.held("chunk")[0]
        damager.replace("chunk", old, flipped(old))


def test_a_check_of_a_sound_store(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--url", f"sqlite:///{path}"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 threads, 6 checkpoints, ") and out.endswith("no damage\n")


def test_a_check_names_what_is_damaged(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(path)
    assert main(["check", "--url", f"sqlite:///{path}"]) == 1
    out = capsys.readouterr().out
    assert "thread 'bad', checkpoint " in out and "channel 'items'" in out
    assert main(["check", "--thread", "sound", "--url", f"sqlite:///{path}"]) == 0
    capsys.readouterr()
    assert main(["check", "--json", "--url", f"sqlite:///{path}"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False and document["integrity"]["damaged"] == ["bad"]
    assert {found["thread"] for found in document["integrity"]["findings"]} == {"bad"}
    assert main(["delete", "bad", "--yes", "--url", f"sqlite:///{path}"]) == 0
    assert main(["check", "--url", f"sqlite:///{path}"]) == 0


def test_a_repair_asks_and_mends(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite_damager(path) as damager:
        damager.run("UPDATE thread SET size = 1 WHERE kind = 0 AND name = CAST('bad' AS BLOB)")
    url = f"sqlite:///{path}"
    assert main(["check", "--url", url]) == 1
    assert "can be repaired without loss" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", None)
    assert main(["check", "--repair", "--url", url]) != 0
    assert main(["check", "--url", url]) == 1
    assert main(["check", "--repair", "--yes", "--url", url]) == 0
    assert "repaired" in capsys.readouterr().out
    assert main(["check", "--url", url]) == 0


def test_a_check_before_a_deploy_does_not_read_everything_unless_asked(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(path)
    url = f"sqlite:///{path}"
    with open_memory(url) as memory:  # the head is sound again, what is older is not
        put(memory.get_langgraph_checkpointer(), config("bad"), {"items": items(1)})
    assert main(["check", "--import", "json", "--url", url]) == 0
    assert "pending write" not in capsys.readouterr().out
    assert main(["check", "--import", "json", "--integrity", "--url", url]) == 1
    assert "pending write" in capsys.readouterr().out


def test_a_doctor(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--url", f"sqlite:///{path}"]) == 0
    out = capsys.readouterr().out
    assert "round trip: " in out and "durability: synchronous=full" in out
    assert main(["doctor", "--json", "--url", f"sqlite:///{path}"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["journal_mode"] == "wal"


def test_a_doctor_of_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--url", f"sqlite:///{tmp_path}/none.db"]) == 1
    assert "there is no file" in capsys.readouterr().out
    assert main(["doctor", "--url", "postgresql://me:hidden@127.0.0.1:1/db?timeout=1"]) == 1
    out = capsys.readouterr().out
    assert "port: nobody answers at port 1" in out and "hidden" not in out
    assert main(["doctor"]) == 2
    assert main(["doctor", "--url", "nothing://"]) == 2
    assert not list(tmp_path.iterdir())
