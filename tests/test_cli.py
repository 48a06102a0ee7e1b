"""The charm-checkpoint command, on a SQLite store."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from charm_checkpoint import __version__, open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.cli.app import command as whole_command
from charm_checkpoint.cli.brief import brief
from charm_checkpoint.cli.typing_again import to_type

COMMANDS = tuple(name for name, found in whole_command().commands.items() if not hasattr(found, "commands"))


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
        "code = main(['--help'])\n"
        "heavy = {'langgraph', 'langchain_core', 'sqlite3', 'psycopg', 'redis', 'pydantic', 'rich'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(COMMANDS) > 15 and all(command in done.stdout for command in COMMANDS)


LISTS = """
import sys
import charm_checkpoint
from charm_checkpoint.cli import main
url, heavy = sys.argv[1], {"requests", "langsmith", "langchain_core.callbacks", "langchain_core.messages"}
for line in ("stores sqlite", "doctor", "threads", "usage", "size", "history ann", "messages ann"):
    words = line.split()
    assert main(words + ([] if words[0] == "stores" else ["--url", url])) == 0, words
    found = heavy & set(sys.modules)
    assert not found, f"{words} imported {found}"
    if words[0] == "size":  # no value is read up to here
        assert not {"charm_checkpoint.values.serde", "charm_checkpoint.saver.records"} & set(sys.modules)
"""


def test_what_lists_imports_neither_messages_nor_callbacks(url: str) -> None:
    done = subprocess.run([sys.executable, "-c", LISTS, url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Usage: charm-checkpoint {command}" in said
    assert f"Examples:\n  charm-checkpoint {command}" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_settings_alone_have_a_variable_and_name_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"url": "URL", "modules": "IMPORT"}
    options = [param for param in whole_command().commands[command].params if param.param_type_name == "option"]
    assert options or command == "stores"
    for option in options:
        setting = option.name in settings and not (option.name == "url" and command == "demo")
        assert option.envvar == (f"CHARM_CHECKPOINT_{settings[option.name]}" if setting else None)
        assert "CHARM_CHECKPOINT_" not in (option.help or "")
        if setting:  # and its help says so
            assert main([command, "--help"]) == 0
            assert option.envvar in capsys.readouterr().out


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


def test_threads_are_a_table_with_a_header(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["threads", "--url", url]) == 0
    head, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert head == ["thread", "state", "changed", "checkpoints", "size", "title"]
    assert sorted(row[0] for row in rows) == ["ann", "bob"]  # they may have changed at the same moment
    assert {(row[1], row[3]) for row in rows} == {("done", "3")}
    assert rows[0][5] == f"I am {rows[0][0]}" and datetime.fromisoformat(rows[0][2].replace("Z", "+00:00")).tzinfo


def test_threads_are_looked_for(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    def ids(*words: str) -> list[str]:
        assert main(["threads", "--url", url, "--json", *words]) == 0
        return sorted(info["thread_id"] for info in json.loads(capsys.readouterr().out)["threads"])

    assert ids() == ["ann", "bob"]
    assert ids("--search", "AM BOB") == ["bob"]
    assert ids("--state", "waits", "--state", "failed") == ids("--until", "2020-01-01") == ids("--until", "1h") == []
    assert ids("--state", "idle") == ids("--since", "1h") == ids("--order", "id") == ["ann", "bob"]
    assert main(["threads", "--url", url, "--limit", "1", "--json", "--order", "id"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["more"] == 1
    assert ids("--order", "id", "--after", page["threads"][0]["cursor"]) == ["bob"]
    for wrong in (("--state", "asleep"), ("--order", "colour"), ("--since", "tomorrowish")):
        assert main(["threads", "--url", url, *wrong]) == 2
        assert wrong[1] in capsys.readouterr().err


def test_limit_ends_a_listing_and_tells_the_rest(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["threads", "--url", url, "--limit", "1"]) == main(["history", "ann", "--url", url, "-n", "2"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 + 3
    assert err.splitlines() == ["and 1 more thread; --all shows them", "and 1 more checkpoint; --all shows them"]


def test_history_lists_checkpoints_latest_first(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "ann", "--url", url]) == 0
    head, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[head.index("step")] for row in rows] == ["1", "0", "-1"]
    assert [row[head.index("wrote")] for row in rows] == ["answer", "__start__", ""]
    assert [row[head.index("marks")] for row in rows] == ["head", "", ""]


def test_show_is_the_state_with_its_messages_as_a_chat(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "ann", "--url", url]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^thread ann  checkpoint [0-9a-f-]{36} \(head\)\nstep 1  loop .* wrote: answer$", said, re.M)
    assert "messages:\n  human  I am ann\n  ai     hello xxx" in said and "more characters" in said
    assert max(map(len, said.splitlines())) < 500
    assert main(["show", "ann", "head~1", "--full", "--url", url]) == 0
    assert re.search(r"step 0 .*\n\nmessages:\n  human  I am ann\n$", capsys.readouterr().out)
    assert main(["show", "ann", "--channel", "messages", "--json", "--url", url]) == 0
    channel = json.loads(capsys.readouterr().out)["channel"]
    assert [message["content"][:8] for message in channel["value"]] == ["I am ann", "hello xx"]
    assert main(["show", "ann", "--channel", "mesages", "--url", url]) == 1
    assert "Did you mean 'messages'?" in capsys.readouterr().err


def test_history_and_show_mark_conflicts(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        head, _, first = saver.list({"configurable": {"thread_id": "bob"}})
        late: Any = {**head.checkpoint, "id": head.checkpoint["id"][:-4] + "beef"}
        saver.put(first.config, late, {"source": "loop", "step": 1, "parents": {}}, {})
    for command in ("history", "show"):
        assert main([command, "bob", "--url", url]) == 0
        assert f"CONFLICT with {head.checkpoint['id']}" in capsys.readouterr().out


def test_a_thread_that_is_not_there_is_met_with_the_nearest(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["show", "anne"],
        ["history", "anne"],
        ["diff", "anne", "head"],
        ["diff", "bob", "head", "--other", "anne"],
        ["blame", "anne", "messages"],
        ["size", "anne"],
        ["messages", "anne"],
    ):
        assert main([*command, "--url", url]) == 1, command
        [line] = capsys.readouterr().err.splitlines()
        assert line == "charm-checkpoint: there is no thread 'anne'. Did you mean 'ann'?"


def test_messages_are_json_lines(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["messages", "ann", "--url", url]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "hé" in out
    assert json.loads(out)["content"] == "hé\x1b[31m"
    assert main(["messages", "ann", "--json", "--url", url]) == 0
    assert json.loads(capsys.readouterr().out) == {"thread_id": "ann", "messages": [json.loads(out)]}


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
from charm_checkpoint.saver.refs import checkpoint_ref
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
    for command in (("threads",), ("prune", "t", "old", "--yes")):
        done = run("-m", "charm_checkpoint", *command, "--url", "sqlite:///a.db")
        assert done.returncode == 0, done.stderr
    opaque = run(*show)
    assert opaque.returncode == 0 and "Traceback" not in opaque.stderr
    assert "shape:\n  radius: 7\n" in opaque.stdout and "shapes:Circle" in opaque.stderr
    known = run(*show, "--import", "shapes")
    assert "shape:\n  radius: 7\n" in known.stdout and "Circle" not in known.stderr


def test_a_reader_that_goes_away_is_no_error(url: str) -> None:
    command = [sys.executable, "-m", "charm_checkpoint", "show", "ann", "--full", "--url", url]
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
    assert main(["prune", "ann", "bob", "--yes", "--url", url]) == 0
    assert "ann: 3 checkpoints before, 1 now" in capsys.readouterr().out
    assert count(url) == 2


def test_prune_asks_and_says_what_would_go(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "ann", "--url", url]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["prune", "ann", "--dry-run", "--url", url]) == 0
    assert capsys.readouterr().out == "ann: 2 of 3 checkpoints would go\n"
    assert count(url, "ann") == 3
    assert main(["prune", "ann", "--keep-last", "2", "--yes", "--url", url]) == 0
    assert count(url, "ann") == 2


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
    assert main(["prune", "ann", "eve", "--yes", "--url", url]) == 1
    out, err = capsys.readouterr()
    assert "ann: 3 checkpoints before, 1 now" in out
    assert err.startswith("charm-checkpoint: there is no thread 'eve'; charm-checkpoint threads lists")


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
    assert main(argv) == 2


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


# -------------------------------------------------------------------- what stopped, and back


def test_what_failed_is_shown_and_gone_back_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path.as_posix()}/agent.db"
    broken = True

    def pay(state: Any) -> dict[str, Any]:
        if broken:
            raise RuntimeError("no money left")
        return {"messages": [("ai", "paid")]}

    builder = StateGraph(MessagesState)
    builder.add_node("plan", lambda state: {"messages": [("ai", "pay 5")]})
    builder.add_node("pay", pay)
    builder.add_edge(START, "plan")
    builder.add_edge("plan", "pay")
    config: Any = {"configurable": {"thread_id": "t"}}

    def run(*words: str) -> str:
        assert main([*words, "--url", url]) == 0
        return capsys.readouterr().out

    with open_memory(url) as memory:
        graph = builder.compile(checkpointer=memory.get_langgraph_checkpointer())
        with pytest.raises(RuntimeError):
            graph.invoke({"messages": [("user", "buy it")]}, config)
        shown = run("show", "t")
        assert "failed  pay: RuntimeError('no money left')" in shown and f"fork --url {url} t head~1" in shown
        assert "failed" in run("history", "t", "--limit", "1")
        dry = json.loads(run("fork", "t", "head~1", "--dry-run", "--json"))
        assert dry["checkpoint_id"] is None and count(url, "t") == 3
        run("fork", "t", "head~1", "--to", "other")
        assert main(["fork", "t", "head~1", "--to", "other", "--url", url]) == 1
        assert "give another name" in capsys.readouterr().err
        made = json.loads(run("fork", "t", "head~1", "--json"))
        broken = False
        for thread in ("t", "other"):
            there: Any = {"configurable": {"thread_id": thread}}
            assert graph.get_state(there).next == ("plan",)
            assert [message.content for message in graph.invoke(None, there)["messages"]] == ["buy it", "pay 5", "paid"]
        run("fork", "t", made["former_head"])
        assert graph.get_state(config).next == ("pay",)
        assert "+ ai     pay 5" in run("diff", "t", "head~1")
        assert "messages[1]\tplan\t1\t" in run("blame", "t", "messages", "--checkpoint", made["former_head"])


def test_sizes_are_told_of_the_store_and_of_a_thread(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["ann"]):
        assert main(["size", *words, "--url", url, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert main(["size", *words, "--url", url]) == 0
        out = capsys.readouterr().out
        assert f"together\t\t{report['size']}" in out and report["size"] > 500
    assert "largest values" in out and "messages[1].content" in out


def test_items_are_put_found_and_deleted(url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def run(*words: str, code: int = 0) -> str:
        assert main(["items", *words, "--url", url]) == code, capsys.readouterr()
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    assert run("put", "users.7", "taste", '{"text": "Prefers window seats", "n": 4}') == "put taste in users.7\n"
    run("put", "users.8", "home", '{"text": "Lives in Ghent"}')
    assert json.loads(run("get", "users.7", "taste", "--json"))["items"][0]["value"]["n"] == 4
    assert "text: Prefers window seats" in run("get", '["users", "7"]', "taste")
    found = json.loads(run("search", "users", "window seat", "--explain", "--json"))["items"]
    assert found[0]["key"] == "taste" and found[0]["score"] > 0.5 and "words" in found[0]["parts"]
    assert run("list", "--filter", '{"n": 4}').splitlines()[1].startswith("users.7\ttaste\t")
    assert run("namespaces", "--depth", "1") == "namespace\titems\nusers\t2\n"
    assert run("export", str(tmp_path / "all.jsonl"), "users") == f"wrote 2 items to {tmp_path / 'all.jsonl'}\n"
    assert "--overwrite" in run("export", str(tmp_path / "all.jsonl"), code=2)
    assert "1 item would be deleted" in run("delete", "users.7", "--dry-run")
    assert "--yes" in run("delete", "users.7", code=2)
    assert run("delete", "users.7", "taste", "--yes") == "1 item deleted: taste in users.7\n"
    assert "nothing to delete" in run("delete", "users.7", "--yes", code=1)
    assert run("import", str(tmp_path / "all.jsonl"), "--keep").startswith("put 1 item")
    assert "no item 'x'" in run("get", "users.7", "x", code=1)
    for wrong in (["list", "--filter", "[]"], ["list", "a..b"], ["list", "[1]"], ["put", "a", "k", "{"]):
        run(*wrong, code=2)


def test_bench_times_a_store_and_leaves_nothing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--turns", "2", "--size", "10", "--json", "--url", url]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(each["operation"], each["count"]) for each in told["operations"]] == [
        ("put", 2),
        ("put_writes", 2),
        ("get_tuple", 2),
        ("append_messages", 2),
    ]
    assert all(0 < each["p50_ms"] <= each["p99_ms"] <= each["max_ms"] for each in told["operations"])
    assert count(url, told["thread_id"]) == 0 and count(url) == 6


FAR = "9" * 23


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["threads", "--limit", FAR], 0),
        (["history", "ann", "--limit", FAR], 0),
        (["items", "list", "--limit", FAR], 0),
        (["items", "search", "what?", "users", "--limit", FAR], 0),
        (["show", "ann", "--last", FAR], 0),
        (["show", "ann", f"head~{FAR}"], 1),
        (["sweep", "--ttl", f"{FAR}d", "--keep-for", f"{FAR}d", "--yes"], 2),
        (["prune", "ann", "--keep-last", FAR, "--yes"], 0),
        (["threads", "--until", "0001-01-01T00:00:00+14:00"], 0),
        (["threads", "--since", "9999-12-31T23:59:59-14:00"], 0),
        (["threads", "--since", "0001-01-01"], 0),
        (["erase", "ann", "--remember", f"{FAR}d", "--dry-run"], 2),
        (["erase", "--namespace", "users.7", "--dry-run"], 0),
        (["erase", "--namespace", "users/7", "--dry-run"], 0),
        (["erase", "--namespace", '["users", "7"]', "--dry-run"], 0),
        (["erase", "--namespace", "users.7/8", "--dry-run"], 2),
        (["erase", "--namespace", "a//b", "--dry-run"], 2),
        (["items", "put", "users.7", "k", '{"a": NaN}'], 2),
        (["items", "put", "users.7", "k", '{"a": -Infinity}'], 2),
        (["items", "put", "users.7", "k", '{"a": 1e999}'], 2),
        (["items", "put", "users.7", "k", "[" * 100_000], 2),
    ],
)
def test_no_number_moment_or_name_is_a_traceback(url: str, words: list[str], code: int) -> None:
    assert main([*words, "--url", url]) == code


@pytest.mark.parametrize("limit", [10**23, 2**63])
def test_moments_and_limits_have_no_end_in_python_either(url: str, limit: int) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        assert len(list(saver.list(None, limit=limit))) == 6
        for order in ("activity", "id"):
            found = memory.threads(limit, order=order, since=datetime.min, until=datetime.max)
            assert len(list(found)) == 2
        assert len(list(memory.history("ann", limit=limit))) == 3
        assert memory.get_langgraph_store().search((), limit=limit) == []


IDS = ["a\nb", "a\tb", "", "  ", "a b"]


def test_ids_in_a_pipe_are_those_that_there_are(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_memory(url) as memory:
        for id in IDS:
            memory.append_messages(id, [{"role": "user", "content": "hi"}])
    assert main(["threads", "--url", url, "--order", "id"]) == 0
    names = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert sorted(names) == sorted(["ann", "bob", "a\\nb", "a\\tb", '""', '"  "', "a b"])


def test_history_in_a_pipe_has_the_same_columns_each_time(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "ann", "--url", url]) == 0
    head, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {"parent", "device", "namespace"} <= set(head)
    assert [dict(zip(head, row, strict=True))["parent"] for row in rows] == [rows[1][0], rows[2][0], ""]


def test_a_fork_is_of_now_and_says_what_it_leaves_and_how_to_undo_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from langgraph.types import interrupt

    url, thread = f"sqlite:///{tmp_path.as_posix()}/agent.db", "it's -x"
    builder = StateGraph(MessagesState)
    builder.add_node("ask", lambda state: {"messages": [("ai", interrupt("sure?"))]})
    builder.add_edge(START, "ask")
    config: Any = {"configurable": {"thread_id": thread}}
    with open_memory(url) as memory:
        graph = builder.compile(checkpointer=memory.get_langgraph_checkpointer())
        graph.invoke({"messages": [("user", "hi")]}, config)
        before = graph.get_state(config)
        assert main(["fork", thread, "head", "--dry-run", "--url", url]) == 0
        assert "1 question" in capsys.readouterr().err
        assert main(["fork", thread, "head", "--url", url]) == 0
        out, err = capsys.readouterr()
        assert "1 question" in err
        undo = shlex.split(out.strip().partition("to undo: ")[2])
        after = graph.get_state(config)
        assert datetime.fromisoformat(str(after.created_at)) > datetime.fromisoformat(str(before.created_at))
        assert main(undo[1:]) == 0
        assert main(["fork", thread, "head", "--to", "new", "--url", url]) == 0
        assert "1 checkpoint that led to it came along from it's -x" in capsys.readouterr().out
        assert len(list(memory.history("new"))) == 2


@pytest.mark.parametrize("word", ["a b", "it's", "a\nb\\c'd", "-x", "head~1", "", "$HOME"])
def test_what_is_proposed_is_what_a_shell_reads(word: str) -> None:
    line = to_type("sqlite:///a b.db", "fork", word)
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip("\0" if word else "").split("\0")[4 + word.startswith("-")] == word
    assert to_type("redis://:secret@host", "show") == 'charm-checkpoint show --url "$CHARM_CHECKPOINT_URL"'


def test_what_tidies_tells_what_it_did_as_json(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> Any:
        assert main([*words, "--json", "--url", url]) == 0
        return json.loads(capsys.readouterr().out)

    assert told("pin", "ann") == {"thread_id": "ann", "pinned": True}
    assert [each["thread_id"] for each in told("threads", "--pinned")["threads"]] == ["ann"]
    assert told("unpin", "ann") == {"thread_id": "ann", "pinned": False}
    assert told("threads", "--pinned")["threads"] == []
    would = told("prune", "ann", "--dry-run")
    assert would == {"threads": [{"thread_id": "ann", "checkpoints": 3, "removed": 2}], "dry_run": True}
    assert told("prune", "ann", "--yes") == {**would, "dry_run": False}
    assert told("prune", "ann")["threads"][0]["removed"] == 0  # which nobody is asked about
    assert told("delete", "ann", "--dry-run") == {"thread_id": "ann", "checkpoints": 1, "dry_run": True}
    assert told("delete", "ann", "--yes") == {"thread_id": "ann", "checkpoints": 1, "dry_run": False}
    assert main(["repair", "bob", "--json", "--url", url]) == 2


def test_what_is_said_is_of_the_command(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "ann", "zzz", "--url", url]) == 1
    err = capsys.readouterr().err
    assert "charm-checkpoint history lists those it has" in err and "history('ann')" not in err
    assert main(["messages", "bob", "--url", url]) == 0
    out, err = capsys.readouterr()
    assert out == "" and f"show --url {url} bob --messages" in err


def test_what_a_prune_took_is_one_line_of_a_check(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "ann", "bob", "--yes", "--url", url]) == 0
    capsys.readouterr()
    assert main(["check", "--url", url]) == 0
    [note] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert "2 parents of checkpoints" in note
