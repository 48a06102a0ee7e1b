"""``charm-checkpoint memory``, on a SQLite store with a project's folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT

from charm_checkpoint import long_term_from_toml, open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.cli.memory.app import app

NOW = "0.000000001"  # days
TITLES = ("never-force-push", "two words", "größe", "-dash", "a\x1b[31mred")


class Command:
    """Runs commands on one store and one project, and returns what they printed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder.as_posix()}/agent.db"
        self.capsys = capsys

    def __call__(self, name: str, *words: str, code: int = 0) -> str:
        """Run a command, which ends with a code; return what it said."""
        made = ["--create"] if name == "remember" else []
        given = [name, *made, "--url", self.url, "--project", str(self.folder / "project"), *words]
        assert main(["memory", *given]) == code, self.capsys.readouterr()
        said = self.capsys.readouterr()
        return said.out if code == 0 else said.err

    def json(self, name: str, *words: str) -> Any:
        """Run a command with --json; return what it said."""
        return json.loads(self(name, "--json", *words))

    def titles(self, name: str, *words: str) -> list[str]:
        """Return the titles of what a command tells."""
        return [entry["title"] for entry in self.json(name, *words)["memories"]]


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    (tmp_path / "project").mkdir()
    monkeypatch.setenv("CHARM_MEMORY_DIR", str(tmp_path / "global"))
    for name in ("CHARM_CHECKPOINT_URL", "CHARM_CHECKPOINT_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return Command(tmp_path, capsys)


def test_what_is_remembered_is_found_listed_and_shown(command: Command) -> None:
    said = command("remember", "rule", "never-force-push", "Do not force-push to main.", "--tag", "git")
    assert said == "Wrote rule memory: never-force-push (project)\n"
    assert command("remember", "rule", "never-force-push", "Never force-push.").startswith("Replaced rule")
    command("remember", "fact", "everywhere", "Use the metric system.", "--scope", "global")
    assert command.titles("recall", "may I force push?") == ["never-force-push"]
    assert command.titles("list") == ["never-force-push", "everywhere"]
    [shown] = command.json("show", "never-force-push")["memories"]
    assert (shown["tags"], shown["uses"], shown["body"]) == (["git"], 1, "Never force-push.")
    assert "digest" in command("show", "everywhere") and "words" in command("recall", "force push", "--explain")
    assert command("recall", "weather in Paris").startswith("nothing found")
    table = command("list").splitlines()
    assert [line.split("\t")[0] for line in table] == ["title", "never-force-push", "everywhere"]


@pytest.mark.parametrize("title", TITLES)
def test_any_title_is_taken_and_no_control_character_reaches_the_terminal(command: Command, title: str) -> None:
    dash = ("--",) if title.startswith("-") else ()
    command("remember", *dash, "fact", title, "Body.\x1b]0;x\x07")
    assert command.titles("list") == [title]
    for name in ("list", "review"):
        assert "\x1b" not in command(name)
    assert "\x1b" not in command("show", *dash, title)
    command("forget", *dash, title)
    assert command.titles("list") == []
    assert command.titles("undo") == [title]


def test_what_was_imported_is_reviewed_and_approved(command: Command) -> None:
    with open_memory(command.url) as memory:
        memories = memory.long_term(command.folder / "project")
        for name in ("one", "two"):
            memories.remember("fact", name, f"The ferry {name} leaves at noon.", source="import")
    assert command.titles("recall", "ferry") == []
    assert sorted(command.titles("review")) == ["one", "two"]
    digest = command.json("show", "one")["memories"][0]["digest"]
    assert "look at it again" in command("approve", "one", "--digest", "0" * 64, code=1)
    assert command.titles("approve", "one", "--digest", digest) == ["one"]
    assert "nothing was approved" in command("approve", "--all", code=2)
    assert "two" in command("approve", "--all", "--yes")
    assert sorted(command.titles("recall", "ferry")) == ["one", "two"]


def test_what_is_wrong_is_told_in_a_line(command: Command) -> None:
    assert "there is no file" in command("list", code=2)
    command("remember", "fact", "t", "b")
    command("remember", "fact", "t", "b", "--scope", "global")
    for words, code, said in (
        (("forget", "t"), 1, "ambiguous"),
        (("forget", "nothing"), 1, "no memory 'nothing'"),
        (("show", "nothing"), 1, "--status all"),
        (("promote", "t", "nowhere"), 2, "no scope 'nowhere'"),
        (("remember", "fakt", "t", "b"), 2, "fact, a rule or a lesson"),
        (("remember", "fact", "t"), 2, "BODY"),
        (("list", "--status", "old"), 2, "archived, all"),
        (("recall", "x", "--min-score", "7"), 2, "--min-score"),
        (("approve",), 2, "--all"),
    ):
        lines = command(*words, code=code).splitlines()
        assert len(lines) == 1 and said in lines[0], lines
    assert main(["memory", "frget"]) == 2
    assert "Did you mean 'forget'" in command.capsys.readouterr().err
    assert main(["memory", "list"]) == 2 and "CHARM_CHECKPOINT_URL" in command.capsys.readouterr().err
    assert main(["memory"]) == 2 and "remember" in command.capsys.readouterr().out


def test_memories_move_between_scopes(command: Command) -> None:
    command("remember", "lesson", "t", "b")
    assert command("promote", "t", "global") == "Moved: t (to global)\n"
    assert command.json("show", "t")["memories"][0]["scope"] == "global"
    assert command("forget", "t").startswith("Forgot memory: t (global)")


def test_the_settings_are_written_where_programs_find_them(command: Command) -> None:
    folder = command.folder
    url = f"sqlite:///{folder.as_posix()}/made.db"
    for name, says in ((".env", f"CHARM_CHECKPOINT_URL={url}"), ("charm.yaml", "runtime:"), ("c.toml", "[memory]")):
        assert main(["memory", "init", "--url", url, "--yes", "--write", str(folder / name)]) == 0
        said = command.capsys.readouterr().out
        assert "keeps a memory and finds it again" in said and says in (folder / name).read_text()
    assert main(["memory", "init", "--url", url, "--yes", "--write", str(folder / "charm.yaml")]) == 1
    assert "left as it is" in command.capsys.readouterr().err
    secret = "postgresql://me:hunter2@localhost/db"
    args = ["memory", "init", "--url", secret, "--yes", "--no-try", "--write", str(folder / "d.toml")]
    assert main(args) == 0
    assert "hunter2" not in (folder / "d.toml").read_text() + command.capsys.readouterr().out
    assert "hunter2" in (folder / ".env").read_text()
    if os.name == "posix":
        assert (folder / ".env").stat().st_mode & 0o077 == 0


def test_the_settings_of_a_toml_are_those_that_are_read(command: Command) -> None:
    target = command.folder / "config.toml"
    place = command.folder / "a b.db"
    init = ["memory", "init", "--yes", "--no-try", "--write", str(target), "--url"]
    assert main([*init, f"sqlite:///{place.as_posix().replace(' ', '%20')}"]) == 0
    with long_term_from_toml(target, env={}) as memories:
        memories.remember("fact", "t", "b")
        assert place.exists() and memories.config.memory.kind == "sqlite"
    target.unlink()
    assert main([*init, "redis://localhost/0"]) == 2 and not target.exists()
    assert "a .toml" in command.capsys.readouterr().err


def test_what_got_another_title_is_told_once(command: Command) -> None:
    command("remember", "fact", "plain", "Nothing to hide.")
    command("export", "team", str(command.folder / "out"))
    command("remember", "fact", "plain", "Something else.", "--scope", "global")
    said = command("import", str(command.folder / "out"), "--rename")
    told = f"charm-checkpoint memory review --url {command.url}"
    assert said == f"imported: plain, as plain (2)\n1 to review: {told}\n"


def test_help_imports_no_driver_and_a_closed_pipe_ends_it(command: Command) -> None:
    code = (
        "import sys; from charm_checkpoint.cli import main\n"
        "code = main(['memory', 'remember', '--help'])\n"
        "heavy = {'langgraph', 'langchain_core', 'sqlite3', 'psycopg', 'redis'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "KIND" in done.stdout


def test_what_rests_on_a_file_is_quarantined_and_comes_back(command: Command) -> None:
    source = command.folder / "project" / "setup.py"
    source.write_text("a = 1\n")
    command("remember", "fact", "setup", "The setup has one line.", "--cite", "setup.py")
    assert command("revalidate") == "1 clean\n"
    source.write_text("a = 2\n")
    said = json.loads(_out(command, "revalidate", "--json", code=1))["revalidation"]
    assert [each["title"] for each in said["quarantined"]] == ["setup"]
    assert "failing: setup (project)" in _out(command, "revalidate", code=1)
    assert command.titles("recall", "setup line") == []
    assert command.titles("list", "--status", "quarantined") == ["setup"]
    source.write_text("a = 1\n")
    assert "recovered: setup" in command("revalidate")
    assert command.titles("recall", "setup line") == ["setup"]


def test_what_is_old_is_archived_restored_and_deleted(command: Command) -> None:
    command("remember", "fact", "old", "Nobody uses this.")
    assert "1 would be archived" in command("sweep", "--days", NOW, "--dry-run")
    assert "0 archived, 1 are active" in command("sweep")
    assert "1 archived" in command("sweep", "--days", NOW)
    assert command.json("restore", "old")["memories"][0]["status"] == "active"
    command("sweep", "--days", NOW)
    assert command("purge") == "0 deleted\n"
    assert "nothing was deleted" in command("purge", "--days", NOW, code=2)
    assert "1 would be deleted" in command("purge", "old", "--dry-run")
    assert "1 deleted" in command("purge", "--days", NOW, "--yes")
    assert command.titles("list", "--status", "all") == []


@pytest.mark.parametrize("scheme", ["sqlite:///{}/nothere.db", "file://{}/nothere"])
def test_a_store_that_is_not_there_is_made_only_where_that_is_asked_for(
    command: Command, tmp_path: Path, scheme: str
) -> None:
    command.url = scheme.format(tmp_path.as_posix())
    remember = ["memory", "remember", "fact", "t", "b", "--url", command.url]
    assert main(remember) == 2
    assert "--create" in command.capsys.readouterr().err
    assert command("hydrate", str(tmp_path / "no.jsonl"), code=2)
    assert command("import", str(tmp_path / "no.md"), code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
    assert main([*remember, "--create"]) == 0


def test_a_snapshot_goes_into_another_store(command: Command) -> None:
    command("remember", "lesson", "deploy", "Deploy on Mondays.")
    command("remember", "fact", "gone", "Soon forgotten.")
    command("forget", "gone")
    file = command.folder / "all.jsonl"
    assert "1 in project" in command("snapshot", str(file))
    there = Command(command.folder, command.capsys)
    there.url = f"file://{(command.folder / 'other').as_posix()}"
    assert "put back: 1 in project" in there("hydrate", str(file))
    assert "kept: 1 in project" in there("hydrate", str(file))
    assert there.titles("recall", "when to deploy?") == ["deploy"] and there.titles("undo", "gone") == ["gone"]
    file.write_bytes(file.read_bytes()[:-20])
    assert there("hydrate", str(file), code=1)


def test_a_new_clone_shows_what_is_shared(command: Command) -> None:
    folder = command.folder / "project" / ".charm-shared" / "memory"
    folder.mkdir(parents=True)
    (folder / "ferry.md").write_text("---\ntitle: ferry\nkind: fact\n---\n\nThe ferry leaves at noon.\n")
    assert command.titles("review") == ["ferry"]
    assert command.titles("approve", "ferry") == ["ferry"]
    assert command.titles("recall", "when does the ferry leave?") == ["ferry"]


def test_every_command_is_in_the_manual() -> None:
    table = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").split("## `memory`")[1]
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    assert len(names) > 15
    for name in names:
        assert f"`{name}" in table, name


def _out(command: Command, *words: str, code: int) -> str:
    """Return what a command prints that ends with a code other than 0."""
    name, *rest = words
    project = str(command.folder / "project")
    assert main(["memory", name, "--url", command.url, "--project", project, *rest]) == code
    return command.capsys.readouterr().out


def test_a_bundle_goes_to_somebody_else_without_secrets(command: Command) -> None:
    secret = "ghp_" + "a1B2" * 9
    command("remember", "lesson", "deploy", f"Deploy with {secret}.")
    command("remember", "fact", "plain", "Nothing to hide.")
    said = command("export", "team", str(command.folder / "out"))
    assert said.startswith("exported 2 memories to") and "taken out: body of 'deploy'" in said and secret not in said
    bundle = command.folder / "out" / "team" / "SKILL.md"
    assert secret not in bundle.read_text()
    assert "already" in command("export", "team", str(command.folder / "out"), code=2)
    dry = command.json("import", str(bundle), "--dry-run")["import"]
    assert sorted(dry["imported"]) == ["deploy", "plain"] and command.titles("list", "--scope", "global") == []
    assert "2 to review" in command("import", str(bundle))
    assert command.titles("recall", "hide", "--scope", "global") == []
    assert "skipped: plain" in command("import", str(bundle))
    folder = command.folder / "md"
    assert "exported 2" in command("export", "x", str(folder), "--markdown", "--scope", "project")
    assert len(list(folder.glob("*.md"))) == 2
    assert main(["memory", "import", str(command.folder / "none.md"), "--url", command.url]) == 2
