"""LangChain's agents and deep agents on our saver: a human approves later, elsewhere; many files stay small."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from conftest import or_skip
from stores import tenant_url, valkey_url
from workers import child

from benchmarks import deep
from charm_checkpoint import Memory, open_memory

pytest.importorskip("deepagents", reason="needs deepagents, which needs Python 3.11")

from children.agents import AGENTS, APPROVE, Obedient, say

THREAD = {"configurable": {"thread_id": "42"}}

STORES: dict[str, Callable[[Path], str]] = {
    "sqlite": "sqlite:///{}/agent.db".format,
    "files": "file://{}/files".format,
    "postgres": lambda folder: or_skip(tenant_url),
    "valkey": lambda folder: or_skip(valkey_url),
}


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a new store."""
    return STORES[request.param](tmp_path)


def agent(kind: str, memory: Memory) -> Any:
    return AGENTS[kind](memory.get_langgraph_checkpointer())


def write(path: str, content: str) -> tuple[str, dict[str, Any]]:
    return "write_file", {"file_path": path, "content": content}


def edit(path: str, old: str, new: str) -> tuple[str, dict[str, Any]]:
    return "edit_file", {"file_path": path, "old_string": old, "new_string": new}


def actions(state: Any) -> list[str]:
    """Return what an agent asks leave for."""
    return [action["name"] for stop in state["__interrupt__"] for action in stop.value["action_requests"]]


def contents(state: Any) -> dict[str, str]:
    return {path: file["content"] for path, file in state["files"].items()}


def approved_elsewhere(kind: str, url: str) -> Any:
    """Approve what an agent waits for in a new process; return the last message, and the files."""
    with child("agents.py", kind, url, "42", stdout=subprocess.PIPE) as process:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return json.loads(out)


def test_a_human_decides_in_a_store_opened_again(url: str) -> None:
    with open_memory(url) as memory:
        asked = agent("payer", memory).invoke(say(("pay", {"to": "Ann", "amount": 3})), THREAD)
        assert actions(asked) == ["pay"]
    edited = {"type": "edit", "edited_action": {"name": "pay", "args": {"to": "Ann", "amount": 2}}}
    with open_memory(url) as memory:
        waiting = agent("payer", memory)
        assert actions({"__interrupt__": waiting.get_state(THREAD).interrupts}) == ["pay"]
        state = waiting.invoke(type(APPROVE)(resume={"decisions": [edited]}), THREAD)
        assert state["messages"][-1].text.endswith("paid 2 to Ann")
        assert waiting.get_state(THREAD).values["messages"] == state["messages"]


def test_a_deep_agent_and_its_helper_go_on_in_a_store_opened_again(url: str) -> None:
    with open_memory(url) as memory:
        agent("writer", memory).invoke(say(write("/a", "one")), THREAD)
        asked = agent("writer", memory).invoke(say(helped(write("/b", "two")), edit("/a", "one", "three")), THREAD)
        assert actions(asked) == ["edit_file"]
    with open_memory(url) as memory:
        state = agent("writer", memory).invoke(APPROVE, THREAD)
        assert contents(state) == {"/a": "three", "/b": "two"}
        assert contents(agent("writer", memory).get_state(THREAD).values) == contents(state)
        history = list(agent("writer", memory).get_state_history(THREAD))
        assert [contents(one.values) for one in history if not one.next] == [contents(state), {"/a": "one"}]


def helped(*calls: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Return the call of the helper that has it make calls of its own."""
    return "task", {"description": say(*calls)["messages"][0].text, "subagent_type": "helper"}


def test_a_human_approves_in_another_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    with open_memory(url) as memory:
        agent("payer", memory).invoke(say(("pay", {"to": "Ann", "amount": 3})), THREAD)
        assert approved_elsewhere("payer", url) == ["paid 3 to Ann", {}]
        assert agent("payer", memory).get_state(THREAD).values["messages"][-1].text == "paid 3 to Ann"


def test_a_deep_agent_goes_on_in_another_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    with open_memory(url) as memory:
        agent("writer", memory).invoke(say(write("/a", "one")), THREAD)
        agent("writer", memory).invoke(say(edit("/a", "one", "three")), THREAD)
        assert approved_elsewhere("writer", url)[1] == {"/a": "three"}


def test_a_turn_of_a_deep_agent_costs_what_it_changed() -> None:
    """60 turns pass a snapshot of all files, which delta channels take every 50 steps."""
    from deepagents import create_deep_agent

    source = random.Random(1)
    texts = [source.randbytes(2_000).hex() for _ in range(60)]
    files = {f"/{n}": {"content": source.randbytes(2_000).hex(), "encoding": "utf-8"} for n in range(60)}
    sizes = []
    with open_memory("memory://") as memory:
        deep = create_deep_agent(Obedient(), checkpointer=memory.get_langgraph_checkpointer())
        deep.invoke({**say(write("/0", texts[0])), "files": files}, THREAD)
        for turn, text in enumerate(texts):
            deep.invoke(say(write(f"/{turn}", text)), THREAD)
            sizes.append(memory.usage("42").payload_bytes)
        state = deep.get_state(THREAD).values
        assert contents(state) == {f"/{turn}": text for turn, text in enumerate(texts)}
    turns = [after - before for before, after in zip(sizes, sizes[1:], strict=False)]
    changed = len(texts[0])
    assert median(turns) < 4 * changed
    assert median(turns[-20:]) < 1.2 * median(turns[:20])
    # A snapshot is of all files, of which what did not change since the last one is there already.
    assert max(turns) < len(files) * changed
    assert sum(turns) < 6 * changed * len(turns)


def test_the_benchmark_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert deep.main(["--files", "3", "--turns", "2", "--rounds", "1"]) == 0
    table = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in table.splitlines()[4:]] == list(deep.NAMES)
