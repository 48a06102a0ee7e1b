"""``charm-checkpoint memory init`` as somebody answers it, and what the memory commands print where."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from charm_checkpoint.cli import main
from charm_checkpoint.cli.memory.output import print_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHARM_MEMORY_DIR", str(tmp_path / "global"))
    for name in ("CHARM_CHECKPOINT_URL", "CHARM_CHECKPOINT_PROJECT"):
        monkeypatch.delenv(name, raising=False)


def answered(monkeypatch: pytest.MonkeyPatch, *lines: str, words: tuple[str, ...] = ()) -> int:
    """Run the wizard, and answer its questions; return its exit code."""
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))
    return main(["memory", "init", *words])


def test_return_takes_what_is_usual_to_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answered(monkeypatch, "", "", "", "") == 0
    assert Path(".env").read_text() == "CHARM_CHECKPOINT_URL=sqlite:///agent.db\n"
    said = capsys.readouterr().out
    assert "1\tsqlite" in said and "Write .env? [Y/n]" in said and "set -a; . ./.env; set +a" in said


@pytest.mark.parametrize("last", [("n",), ()], ids=["no", "end"])
def test_a_no_and_the_end_of_what_is_typed_write_nothing(
    last: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answered(monkeypatch, "", "", "", *last) == 1
    assert not Path(".env").exists() and "nothing was written" in capsys.readouterr().err


def test_a_wrong_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a-file").touch()
    assert answered(monkeypatch, "mongo", "9", "FILE", "file://./a-file", "file://./notes", "charm.yaml", "y") == 0
    said = capsys.readouterr()
    assert said.err.count("there is no store") == 2 and "a-file" in said.err
    assert "file://./notes" in Path("charm.yaml").read_text() and "Charm's agents read it" in said.out
    assert main(["memory", "init", "--yes", "--no-try", "--write", "config.toml"]) == 0
    assert "long_term_from_toml('config.toml')" in capsys.readouterr().out
    assert answered(monkeypatch, words=("--url", "file://./a-file")) == 2  # what was given is not asked for


def test_what_is_printed_is_settings_alone_and_a_project_that_a_file_cannot_name_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["memory", "init", "--yes"]) == 0
    said = capsys.readouterr()
    assert said.out == "CHARM_CHECKPOINT_URL=sqlite:///agent.db\n"
    assert "tried:" in said.err and "--write .env" in said.err
    assert main(["memory", "init", "--yes", "--no-try", "--project", "shop", "--write", "charm.yaml"]) == 0
    assert "--project shop" in capsys.readouterr().out
    assert main(["memory", "init", "--yes", "--no-try", "--write", "config.toml"]) == 0
    assert "long_term_from_toml('config.toml')" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "shift_jis"])
def test_json_is_json_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = ("--url", "sqlite:///a.db")
    bodies = ("grüße 日本 🎉 \\x \x1b \u202e", "é", "☃")
    for number, body in enumerate(bodies):
        assert main(["memory", "remember", "fact", f"t{number} ü", body, "--create", *at]) == 0
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding))
    assert main(["memory", "list", "--json", *at]) == 0
    found = json.loads(shown.getvalue().decode(encoding))["memories"]
    assert {entry["title"]: entry["body"] for entry in found} == {f"t{n} ü": body for n, body in enumerate(bodies)}


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of Unix")
def test_a_table_is_shown_where_the_terminal_has_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import pty

    ours, theirs = pty.openpty()  # of 0 columns and 0 rows, until somebody sets its size
    with open(ours, "rb", buffering=0) as screen, open(theirs, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        print_table(["store", "is"], [["sqlite", "one file"]])
        monkeypatch.undo()
        assert b"sqlite" in os.read(screen.fileno(), 9999)


def test_what_the_commands_say_tells_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes").mkdir()
    Path("notes/theirs.md").write_text("---\ntitle: theirs\nkind: fact\n---\n\nWe deploy with docker compose.\n")
    at = ("--url", "sqlite:///a.db")
    remember = ("remember", "fact", "mine", "x", "--create", *at)
    for words, code, says in (
        (("list", *at), 2, "charm-checkpoint memory init"),
        ((*remember, "--cite", "a.py"), 1, "--project ."),
        ((*remember, "--scope", "shared"), 2, "--project ."),
        (remember, 0, ""),
        (("list", "--status", "done", *at), 2, "archived, all"),
        (("promote", "mine", "project", *at), 2, "is in project already"),
        (("promote", "yours", "global", *at), 1, "there is no memory 'yours' in project"),
        (("purge", "mine", "--yes", *at), 1, "forget deletes it"),
        (("import", "notes", *at), 0, ""),
    ):
        assert main(["memory", *words]) == code, words
        assert says in capsys.readouterr().err
    assert main(["memory", "recall", "how do we deploy?", *at]) == 0
    assert "1 to review" in capsys.readouterr().out


def test_the_list_of_commands_is_not_cut_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["memory", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(len(line) <= 80 and not line.endswith("...") for line in said.splitlines()[1:])
