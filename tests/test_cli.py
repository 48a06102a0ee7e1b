"""The charm-checkpoint command, on a SQLite store."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from charm_checkpoint import __version__, open_memory
from charm_checkpoint.cli import build_parser, main
from charm_checkpoint.cli.brief import brief

COMMANDS = (
    *("demo", "stores", "threads", "show", "messages", "usage", "delete", "prune", "copy", "schema"),
    *("import-official", "init-charm", "check", "migrate"),
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return a store with the threads ``ann`` and ``bob``, three checkpoints each, and ann's message history."""
    url = f"sqlite:///{tmp_path.as_posix()}/agent.db"
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [("ai", "hello " + "x" * 500)]})
    builder.add_edge(START, "answer")
    with open_memory(url) as memory:
        graph = builder.compile(checkpointer=memory.get_langgraph_checkpointer())
        for thread in ("ann", "bob"):
            start: Any = {"messages": [("user", f"I am {thread}")]}
            graph.invoke(start, {"configurable": {"thread_id": thread}})
        memory.append_messages("ann", [{"role": "user", "content": "hé\x1b[31m"}])
    return url


def count(url: str, thread: str | None = None) -> int:
    with open_memory(url) as memory:
        checkpoints: int = memory.usage(thread).checkpoints
        return checkpoints


# ------------------------------------------------------------------------------------- help


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from charm_checkpoint.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'langgraph', 'langchain_core', 'sqlite3', 'psycopg', 'redis', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([command, "--help"])
    assert exit.value.code == 0
    assert f"usage: charm-checkpoint {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_settings_alone_have_a_variable_and_name_it(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def actions() -> list[argparse.Action]:
        subparsers = next(action for action in build_parser()._actions if action.choices)
        assert isinstance(subparsers.choices, dict)
        found: list[argparse.Action] = subparsers.choices[command]._actions
        return [action for action in found if action.option_strings and action.dest != "help"]

    variables = {
        action.dest: f"CHARM_CHECKPOINT_{action.option_strings[0].lstrip('-').replace('-', '_').upper()}"
        for action in actions()
    }
    before = {action.dest: action.default for action in actions()}
    for variable in variables.values():
        monkeypatch.setenv(variable, "1")
    for action in actions():
        setting = action.dest == "modules" or (action.dest == "url" and command != "demo")
        assert (f"[{variables[action.dest]}]" in (action.help or "")) is setting
        assert ("CHARM_CHECKPOINT_" in (action.help or "")) is setting
        assert (action.default != before[action.dest]) is setting


def test_a_wrong_setting_names_its_variable(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in ("nonsense://u:hunter2@host", "sqlite:///no/such.db", "agent", "redis://:hunter2@h/x", "none://"):
        monkeypatch.setenv("CHARM_CHECKPOINT_URL", value)
        for command in (["usage"], ["delete", "ann", "--yes"], ["schema"]):
            assert main(command) == 2
            [line] = capsys.readouterr().err.splitlines()
            assert "CHARM_CHECKPOINT_URL: " in line or (command == ["schema"] and "no SQL to run" in line)
            assert "hunter2" not in line
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", url)
    monkeypatch.setenv("CHARM_CHECKPOINT_IMPORT", "no_such_module")
    assert main(["usage"]) == 2
    assert "charm-checkpoint: CHARM_CHECKPOINT_IMPORT no_such_module: " in capsys.readouterr().err
    monkeypatch.setenv("CHARM_CHECKPOINT_DEBUG", "perhaps")
    assert main(["stores"]) == 2
    assert "CHARM_CHECKPOINT_DEBUG" in capsys.readouterr().err


def test_what_is_meant_for_one_command_does_not_reach_another(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("STORE", "YES", "STRATEGY", "THREAD", "LIMIT", "DELAY", "KEEP", "TO", "SCHEMA", "DRY_RUN"):
        monkeypatch.setenv(f"CHARM_CHECKPOINT_{name}", "1")
    assert main(["init-charm", str(tmp_path / "agent")]) == 0
    assert main(["threads", "--url", url]) == main(["usage", "--url", url]) == 0
    assert main(["delete", "ann", "--url", url]) == 2
    assert count(url, "ann") == 3


def test_module_runs_and_says_its_version() -> None:
    command = [sys.executable, "-m", "charm_checkpoint", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"charm-checkpoint {__version__}\n"


# ---------------------------------------------------------------------------------- reading


def test_stores_lists_each_kind_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stores"]) == 0
    out = capsys.readouterr().out
    assert "sqlite://" in out
    assert "memory://" in out
    assert "?synchronous=" in out


def test_threads_lists_each_thread_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["threads", "--url", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["ann", "bob"]
    assert all("step 1" in line for line in lines)


def test_limit_ends_a_listing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["threads", "--url", url, "--limit", "1"])
    main(["show", "ann", "--url", url, "--limit", "2"])
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert len(lines) == 3


def test_show_lists_checkpoints_latest_first_and_values_short(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "ann", "--url", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    steps = [line.split("step ")[1].split()[0] for line in lines if not line.startswith(" ")]
    assert steps == ["1", "0", "-1"]
    assert "human: 'I am ann', ai: 'hello xxx" in lines[1]
    assert max(map(len, lines)) < 300


def test_show_marks_conflicts(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        head, _, first = saver.list({"configurable": {"thread_id": "bob"}})
        late: Any = {**head.checkpoint, "id": head.checkpoint["id"][:-4] + "beef"}
        saver.put(first.config, late, {"source": "loop", "step": 1, "parents": {}}, {})
    main(["show", "bob", "--url", url, "--limit", "1"])
    assert f"CONFLICT with {head.checkpoint['id']}" in capsys.readouterr().out


def test_show_of_an_unknown_thread_fails(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "eve", "--url", url]) == 1
    assert "'eve' has no checkpoints" in capsys.readouterr().err


def test_messages_are_json_lines(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["messages", "ann", "--url", url]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert json.loads(out)["content"] == "hé\x1b[31m"


def test_usage_counts_a_thread_or_all(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", url)
    assert main(["usage"]) == 0
    assert main(["usage", "--thread", "bob"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("checkpoints")]
    assert rows == [["checkpoints", "6"], ["checkpoints", "3"]]


SHAPES = """
from dataclasses import dataclass
from enum import Enum

@dataclass
class Circle:
    radius: int

class Role(Enum):
    ADMIN = "admin"
"""

DRAW = """
import sys
from functools import partial
from shapes import Circle, Role
from langgraph.checkpoint.base import empty_checkpoint
from charm_checkpoint import open_memory
from charm_checkpoint.saver.records import checkpoint_ref
with open_memory(sys.argv[1]) as memory:
    saver = memory.get_langgraph_checkpointer()
    state = {**empty_checkpoint(), "channel_values": {"shape": Circle(7)}, "channel_versions": {"shape": 1}}
    config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    config = saver.put(config, state, {"source": "loop", "step": 0}, {"shape": 1})
    saver.put_writes(config, [("shape", Circle(8))], "task")
    # An earlier version kept metadata as it came.
    old = partial(saver._plans.put, checkpoint_ref({"configurable": {"thread_id": "old"}}), empty_checkpoint(),
                  {"source": "loop", "step": Role.ADMIN}, {}, "warn", None)
    memory.store.run(old, write=True)
"""


def test_classes_of_the_state_are_imported_only_when_named(tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text(SHAPES)

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.run(
            [sys.executable, *args], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
        )

    show = ("-m", "charm_checkpoint", "show", "t", "--url", "sqlite:///a.db")
    drawn = run("-c", DRAW, "sqlite:///a.db")
    assert drawn.returncode == 0, drawn.stderr
    for command in (("threads",), ("prune", "t", "old")):
        done = run("-m", "charm_checkpoint", *command, "--url", "sqlite:///a.db")
        assert done.returncode == 0, done.stderr
    assert "step admin" in run("-m", "charm_checkpoint", "show", "old", "--url", "sqlite:///a.db").stdout
    opaque = run(*show)
    assert opaque.returncode == 0 and "Traceback" not in opaque.stderr
    assert "shape = Unknown shapes:Circle {'radius': 7}" in opaque.stdout and "Circle" in opaque.stderr
    assert "shape = Circle(radius=7)" in run(*show, "--import", "shapes").stdout


def test_a_reader_that_goes_away_is_no_error(url: str) -> None:
    command = [sys.executable, "-m", "charm_checkpoint", "show", "ann", "--url", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


# ---------------------------------------------------------------------------------- changing


def test_delete_needs_yes_where_nobody_can_be_asked(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["delete", "ann", "--url", url]) == 2
    assert "--yes" in capsys.readouterr().err
    assert count(url, "ann") == 3


def test_delete_removes_checkpoints_and_messages(url: str) -> None:
    assert main(["delete", "ann", "--url", url, "--yes"]) == 0
    assert count(url) == count(url, "bob") == 3
    with open_memory(url) as memory:
        assert memory.load_messages("ann") == []


def test_prune_keeps_the_latest(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "ann", "bob", "--url", url]) == 0
    assert "ann: 3 checkpoints before, 1 now" in capsys.readouterr().out
    assert count(url) == 2


def test_prune_can_delete_all_and_asks_as_delete_does(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "ann", "--url", url, "--strategy", "delete"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert count(url, "ann") == 3
    assert main(["prune", "ann", "--url", url, "--strategy", "delete", "--yes"]) == 0
    assert count(url, "ann") == 0
    assert count(url, "bob") == 3


@pytest.mark.parametrize(
    "command",
    [
        ["show", "eve"],
        ["messages", "eve"],
        ["usage", "--thread", "eve"],
        ["delete", "eve", "--yes"],
        ["delete", "eve"],
        ["prune", "eve"],
        ["prune", "eve", "--strategy", "delete"],
        ["copy", "eve", "new"],
    ],
)
def test_a_thread_that_is_not_there_is_exit_code_1(
    command: list[str], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--url", url]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert "'eve'" in line
    assert count(url) == 6


def test_prune_of_some_that_are_there(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "ann", "eve", "--url", url]) == 1
    out, err = capsys.readouterr()
    assert "ann: 3 checkpoints before, 1 now" in out
    assert err == "charm-checkpoint: there is no thread 'eve'\n"


def test_a_thread_of_messages_alone_is_there(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_memory(url) as memory:
        memory.append_messages("eve", [{"role": "user", "content": "hi"}])
    assert main(["messages", "eve", "--url", url]) == main(["usage", "--thread", "eve", "--url", url]) == 0
    assert main(["messages", "bob", "--url", url]) == 0
    assert main(["delete", "eve", "--yes", "--url", url]) == 0
    assert main(["messages", "eve", "--url", url]) == 1


def test_copy_fills_an_empty_thread_only(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy", "ann", "eve", "--url", url]) == 0
    assert count(url, "eve") == 3
    assert main(["copy", "ann", "bob", "--url", url]) == 1
    assert "already holds checkpoints" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["usage"], "CHARM_CHECKPOINT_URL"),
        (["usage", "--url", "sqlite:///no/such.db"], "there is no file no/such.db"),
        (["usage", "--url", "nonsense://x"], "nonsense"),
        (["usage", "--url", "memory://", "--import", "no_such_module"], "no_such_module"),
    ],
)
def test_configuration_errors_are_one_line_and_exit_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHARM_CHECKPOINT_URL", raising=False)
    assert main(argv) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("charm-checkpoint: ")
    assert message in line


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["show"],
        ["threads", "--limit", "0"],
        ["prune", "t", "--strategy", "x"],
        ["demo", "--delay=-1"],
    ],
)
def test_wrong_command_lines_exit_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2


def test_passwords_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--url", "nonsense://user:hunter2@host/db"]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_debug_shows_the_traceback() -> None:
    from charm_checkpoint.errors import ConfigError

    with pytest.raises(ConfigError):
        main(["--debug", "usage", "--url", "nonsense://x"])


# ------------------------------------------------------------------------------------- brief


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ([1, 2, 3, 4], "[… 2 more, 3, 4]"),
        ([1, 2], "[1, 2]"),
        ({"a": [[[[1]]]]}, "{'a': [[[1 items]]]}"),
        ("x" * 200, f"'{'x' * 27}...{'x' * 28}'"),
    ],
)
def test_brief(value: object, text: str) -> None:
    assert brief(value) == text
