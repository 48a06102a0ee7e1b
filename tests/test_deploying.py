"""``charm-checkpoint check`` and ``migrate``, on a SQLite store that another process wrote with former classes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.cli.checking import load_graph
from charm_checkpoint.errors import ConfigError

PROGRAM = """
import operator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from charm_checkpoint import open_memory, register_type


@dataclass
class {cls}:
    id: str = "7"


class State(TypedDict):
    order: Any
    rows: Annotated[list[str], operator.add]


builder = StateGraph(State)
builder.add_node("fill", lambda state: {{"order": {cls}(), "rows": ["a"]}})
builder.add_node("{ask}", lambda state: {{"rows": [interrupt("who?")]}})
builder.add_edge(START, "fill")
builder.add_edge("fill", "{ask}")


def make():
    return builder.compile()


async def amake():
    return builder.compile()


class things:
    graph = make()
    none = 7
    empty = None
"""
WRITE = """
from first import builder
from charm_checkpoint import open_memory
with open_memory("sqlite:///agent.db") as memory:
    graph = builder.compile(checkpointer=memory.get_langgraph_checkpointer())
    for thread in ("ann", "bob"):
        graph.invoke({"rows": []}, {"configurable": {"thread_id": thread}})
from charm_checkpoint.cli import main
raise SystemExit(main(["check", "--graph", "first:make", "--url", "sqlite:///agent.db"]))
"""
ALIAS = "\nregister_type(Parcel, aliases=['first:Order'])\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Go to a folder with versions of a program; nothing of it stays loaded."""
    folder = tmp_path
    (folder / "first.py").write_text(PROGRAM.format(cls="Order", ask="ask"))
    (folder / "second.py").write_text(PROGRAM.format(cls="Parcel", ask="question") + ALIAS)
    (folder / "third.py").write_text(PROGRAM.format(cls="Crate", ask="ask"))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in ("first", "second", "third"):
        sys.modules.pop(name, None)


def wrote(folder: Path) -> str:
    """Have the first version write threads in a process of its own, and return what it says of them."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", WRITE], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_a_first_look_to_no_alias(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wrote(folder) == "2 threads, 2 of them not done, 2 checkpoints read\nno problems\n"

    def command(*words: str) -> tuple[int, str]:
        code = main([*words, "--url", "sqlite:///agent.db"])
        return code, capsys.readouterr().out

    code, said = command("migrate", "--dry-run")  # of classes that nothing has told of
    assert code == 0 and "unknown  first:Order: " in said and "--import app." in said.splitlines()[-1]
    code, said = command("migrate", "--dry-run", "--json")
    assert [found["subject"] for found in json.loads(said)["unknown"]] == ["first:Order"]
    code, said = command("check", "--history")
    assert code == 1 and "--import app or --graph app:graph." in said.splitlines()[-1]
    code, said = command("check", "--graph", "third:things.graph")
    assert code == 1 and "unknown  first:Order: " in said and "[2 threads: " in said
    code, said = command("check", "--graph", "second:builder")
    assert (
        code == 1 and "node     ask: " in said and "first:Order: needed still, by 2 threads (for second:Parcel)" in said
    )
    code, said = command("check", "--graph", "second:make", "--accept", "node:ask", "--sample", "1", "--json")
    report: dict[str, Any] = json.loads(said)
    assert (code, report["ok"], report["threads"], report["is_sample"]) == (0, True, 1, True)
    assert [(found["kind"], found["problem"]) for found in report["findings"]] == [("alias", False)]
    code, said = command("migrate", "--import", "second", "--dry-run")
    assert code == 0 and "2 threads: 2 checkpoints would be rewritten, 0 up to date" in said
    code, said = command("migrate", "--import", "second", "--thread", "ann", "--json")
    assert (code, json.loads(said)["rewritten"]) == (0, 1)
    assert command("migrate", "--import", "second", "--thread", "ann", "--thread", "eve")[0] == 1
    assert command("check", "--import", "second", "--thread", "eve")[0] == 1
    code, said = command("migrate", "--import", "second")
    assert code == 0 and "1 checkpoint rewritten, 1 up to date" in said
    code, said = command("check", "--import", "second", "--history")
    assert "needed still, by 2 threads" in said  # the writes of earlier steps have it
    assert command("prune", "ann", "bob", "--yes")[0] == 0
    code, said = command("check", "--import", "second", "--history")
    assert code == 0 and "first:Order: needed no more (for second:Parcel)" in said


NO_GRAPHS = ["first", "first:", "first:none", "first:amake", "nothing:graph", "first:things.none", "first:things.empty"]


@pytest.mark.parametrize("name", NO_GRAPHS)
def test_what_is_no_graph(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "agent.db").touch()
    assert main(["check", "--url", "sqlite:///agent.db", "--graph", name]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "graph" in line


@pytest.mark.parametrize("option", [["--graph", "ending:graph"], ["--import", "ending"]])
def test_a_module_that_is_a_program_which_ends(
    folder: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "agent.db").touch()
    (folder / "ending.py").write_text("raise SystemExit(0)")
    assert main(["check", "--url", "sqlite:///agent.db", *option]) == 2
    assert "ending" in capsys.readouterr().err


def test_a_graph_is_found_by_name(folder: Path) -> None:
    assert load_graph("first:things.graph") is sys.modules["first"].things.graph
    with pytest.raises(ConfigError, match="no attribute"):
        load_graph("first:other")


def test_settings_that_are_none() -> None:
    with open_memory("memory://") as memory:
        for wrong in (0, -1, True, "3"):
            with pytest.raises(ConfigError, match="sample"):
                memory.check(sample=wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="not both"):
            memory.check(sample=1, threads=["a"])
        for call in (memory.check, memory.migrate):
            with pytest.raises(ConfigError, match="list of thread_ids"):
                call(threads="abc")
        with pytest.raises(ConfigError, match="compiled graph"):
            memory.check(7)
    with open_memory("none://") as memory:
        for refused in (memory.check, memory.migrate):
            with pytest.raises(ConfigError, match="keeps no checkpoints"):
                refused()
