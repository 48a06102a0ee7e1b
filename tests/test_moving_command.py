"""The commands copy, export, import and backup."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from official_savers import run_graphs, sqlite_saver

from charm_checkpoint import open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.testing.samples import config
from charm_checkpoint.testing.transfer_samples import THREADS, everything, fill, put

pytestmark = pytest.mark.sqlite


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a store, a.db, that holds something of everything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARM_CHECKPOINT_URL", raising=False)
    with open_memory("a.db") as memory:
        fill(memory)
    return tmp_path


def same(one: str, other: str) -> bool:
    with open_memory(one) as first, open_memory(other) as second:
        return everything(first) == everything(second)


def test_copy_between_stores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy", "a.db", "b.db", "--dry-run"]) == 0
    assert "7 threads would be copied" in capsys.readouterr().out and not os.path.exists("b.db")
    assert main(["copy", "a.db", "sqlite:///b.db"]) == 0
    out, err = capsys.readouterr()
    assert "7 threads copied" in out and "read back" in out and err == ""
    assert same("a.db", "b.db")
    assert main(["copy", "a.db", "b.db", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["threads"], report["unchanged"], report["complete"]) == (0, len(THREADS), True)


def test_copy_says_what_it_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    with open_memory("b.db") as memory:
        put(memory, config("chat"), {"n": 1})
    assert main(["copy", "a.db", "b.db"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "'chat'" in line and "delete it there first" in line
    assert main(["copy", "a.db", "b.db", "--skip-existing"]) == 0
    assert "1 thread skipped, as the target holds" in capsys.readouterr().out
    assert main(["copy", "a.db", "c.db", "--thread", "both", "--thread", "no one's", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["threads"] == 1


def test_copy_of_a_savers_file_takes_it_over(capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite_saver(Path("old.db")) as saver:
        run_graphs(saver)
    assert main(["copy", "old.db", "new.db", "--dry-run"]) == 0 and not os.path.exists("new.db")
    assert main(["copy", "old.db", "new.db"]) == 0
    assert "7 threads taken over" in capsys.readouterr().out
    assert main(["import-official", "old.db", "--to", "new.db", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == 7


def test_copy_within_a_store_is_of_a_thread(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy", "branches", "again", "--url", "a.db"]) == 0
    assert "copied branches to again: 4 checkpoints" in capsys.readouterr().out
    assert main(["copy", "chat", "x.db", "--as-threads", "--url", "a.db"]) == 0 and not os.path.exists("x.db")
    assert main(["copy", "chat", "other"]) == 2
    assert main(["copy", "a.db", "chat", "--url", "a.db"]) == 2
    assert "store to store, or thread to thread" in capsys.readouterr().err
    assert main(["copy", "missing.db", "b.db"]) == 2 and not os.path.exists("b.db")


def test_copy_from_an_empty_store_says_what_may_be_meant(capsys: pytest.CaptureFixture[str]) -> None:
    with open_memory("empty.db") as memory:
        memory.setup()
    assert main(["copy", "empty.db", "b.db"]) == 0
    assert "--from-langgraph" in capsys.readouterr().err


def test_export_and_import(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "x.charm", "--url", "a.db"]) == 0
    assert main(["export", "x.charm", "--url", "a.db"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["export", "x.charm", "--url", "a.db", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threads"] == len(THREADS)
    assert main(["import", "x.charm", "--url", "b.db", "--dry-run"]) == 0 and not os.path.exists("b.db")
    assert main(["import", "x.charm", "--url", "b.db"]) == 0
    assert same("a.db", "b.db")
    with open("x.charm", "r+b") as file:
        file.seek(500)
        file.write(b"?")
    assert main(["import", "x.charm", "--url", "c.db"]) == 1
    assert "damaged" in capsys.readouterr().err
    assert main(["import", "missing", "--url", "c.db"]) == 2
    assert main(["import", "x.charm"]) == 2


def test_backup(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", "b.db", "--url", "a.db"]) == 0
    assert "a SQLite file" in capsys.readouterr().out and same("a.db", "b.db")
    assert main(["backup", "b.db", "--url", "a.db"]) == 2
    assert main(["backup", "b.db", "--url", "a.db", "--yes", "--json"]) == 0
    capsys.readouterr()
    assert main(["backup", "b.db", "--url", "missing.db", "--yes"]) == 2


@pytest.mark.parametrize("target", ["sqlite:///new.db", "file://./new", "new.charm"])
def test_where_nothing_was_to_be_had_nothing_is_written(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = ["--thread", "nobody"]
    if target.endswith(".charm"):
        words = ["export", target, "--url", "a.db", *nobody, "--yes"]
    else:
        words = ["copy", "a.db", target, *nobody]
    before = sorted(os.listdir())
    assert main(words) == 1 and sorted(os.listdir()) == before
    err = capsys.readouterr().err
    assert "no such thread" in err and "--from-langgraph" not in err


def test_nothing_takes_the_place_of_no_archive(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_memory("empty.db") as memory:
        memory.setup()
    assert main(["export", "none.charm", "--url", "empty.db"]) == 0  # which is what there is
    assert main(["export", "all.charm", "--url", "a.db"]) == 0
    archive = (folder / "all.charm").read_bytes()
    assert main(["export", "all.charm", "--url", "a.db", "--thread", "nobody", "--yes"]) == 1
    assert main(["export", "all.charm", "--url", "empty.db", "--yes"]) == 2
    assert (folder / "all.charm").read_bytes() == archive
    assert main(["import", "all.charm", "--url", "sqlite:///new.db", "--thread", "nobody"]) == 1
    assert not (folder / "new.db").exists()


def test_what_is_no_archive_or_no_store_is_told_as_what_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "a.db", "--url", "sqlite:///new.db"]) == 1
    assert "SQLite file, and no archive" in capsys.readouterr().err and not (folder / "new.db").exists()
    (folder / "logs").mkdir()
    assert main(["copy", "a.db", "logs"]) == 2
    assert "file://./logs" in capsys.readouterr().err


def test_a_copy_of_a_thread_may_be_tried_first(capsys: pytest.CaptureFixture[str]) -> None:
    again = ["copy", "chat", "again", "--url", "a.db"]
    assert main([*again, "--dry-run"]) == 0
    assert "would copy chat to again: " in capsys.readouterr().out
    assert main([*again, "--json", "--dry-run"]) == 0
    planned = json.loads(capsys.readouterr().out)
    with open_memory("a.db") as memory:
        assert memory.usage("again").checkpoints == 0
    assert main([*again, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done == {**planned, "dry_run": False} and planned["dry_run"] is True
    with open_memory("a.db") as memory:
        assert memory.usage("again").checkpoints == done["checkpoints"] > 0


@pytest.mark.parametrize("command", [["copy", "chat", "branches"], ["fork", "chat", "head", "--to", "branches"]])
def test_what_would_be_refused_is_refused_when_it_is_tried_first(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for tried in ([], ["--dry-run"]):
        assert main([*command, *tried, "--url", "a.db"]) == 1
        assert "'branches'" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--thread", "chat"], ["--no-items"], ["--skip-existing"], ["--from-langgraph"]])
def test_a_copy_of_a_thread_passes_over_no_option(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy", "chat", "again", *option, "--url", "a.db"]) == 2
    assert option[0] in capsys.readouterr().err
