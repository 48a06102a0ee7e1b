"""Agent projects under Charm's real SDK: killed on one device, taken up on another, on every store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from charm_projects import run_device, write_project
from conftest import or_skip
from stores import supabase_url, tenant_url, valkey_url
from workers import WorkerPool

GRAPH = """
from __future__ import annotations
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

def answer(state: MessagesState):
    told = ASK()
    return {"messages": [AIMessage(f"{len(state['messages'])} messages: {told}")]}

agent = StateGraph(MessagesState)
agent.add_node(answer)
agent.add_edge(START, "answer")
"""

ASKING = GRAPH.replace("ASK()", 'interrupt({"question": "sure?"})')

COUNTING = GRAPH.replace("ASK()", '"all"')

OWN = f"""{COUNTING}
import charm_checkpoint
agent = agent.compile(checkpointer=charm_checkpoint.from_charm().get_langgraph_checkpointer())
"""

PLAIN = """
import charm_checkpoint

def agent(inputs):
    memory = charm_checkpoint.from_charm()
    memory.append_messages(inputs["__charm_thread_id__"], [{"role": "user", "content": inputs["input"]}])
    return " ".join(message["content"] for message in memory.load_messages(inputs["__charm_thread_id__"]))
"""

URL = '{provider: %s, config: {url: "${AGENT_URL}"}}'

STORES: dict[str, tuple[str, Callable[[], str]]] = {
    "sqlite": ('{provider: sqlite, config: {url: "sqlite:///agent.db"}}', lambda: ""),
    "files": ('{provider: charm-local, config: {url: "file://./memory"}}', lambda: ""),
    "postgres": (URL % "postgres", tenant_url),
    "redis": (URL % "redis", valkey_url),
    "supabase": (URL % "charm-supabase", supabase_url),
}
"""What charm.yaml says of the memory, and the URL that the environment has."""


@pytest.mark.parametrize("store", STORES)
def test_killed_here_taken_up_there(store: str, devices: WorkerPool, tmp_path: Path) -> None:
    memory, get = STORES[store]
    url = or_skip(get)
    asking = write_project(tmp_path / "asking", "langgraph-checkpoint", "asking", ASKING, memory)
    own = write_project(tmp_path / "own", "langgraph", "own", OWN, memory)
    plain = write_project(tmp_path / "plain", "python", "plain", PLAIN, memory)

    def call(asked: str, told: str) -> list[tuple[str, dict[str, Any]]]:
        return [
            (asking, {"thread_id": "approval", "input": asked}),
            (own, {"thread_id": "chat", "input": told}),
            (plain, {"__charm_thread_id__": "list", "input": told}),
        ]

    first = run_device(devices, tmp_path / "one", call("delete it", "one"), kill=True, AGENT_URL=url)
    assert [result["status"] for result in first] == ["suspended", "success", "success"]
    assert first[0]["interrupts"][0]["value"] == {"question": "sure?"}
    assert first[0]["output"] == '{"question": "sure?"}'
    second = run_device(devices, tmp_path / "two", call("yes", "two"), AGENT_URL=url)
    assert [result["status"] for result in second] == ["success"] * 3
    assert [result["output"] for result in second] == ["1 messages: yes", "3 messages: all", "one two"]


ANSWERS: dict[str, tuple[dict[str, Any], str]] = {
    "input": ({"input": "yes"}, "'yes'"),
    "resume": ({"resume": {"x": 1}, "input": "also"}, "{'x': 1}"),
    "false": ({"resume": False}, "False"),
    "fields": ({"approved": True, "by": "ann"}, "{'approved': True, 'by': 'ann'}"),
}

REPR = GRAPH.replace("ASK()", 'repr(interrupt("sure?"))')


def test_what_an_interrupt_returns(devices: WorkerPool, tmp_path: Path) -> None:
    project = write_project(tmp_path / "p", "langgraph-checkpoint", "asking", REPR, STORES["sqlite"][0])
    host = {"__charm_state__": {}, "history": []}
    calls = [(project, {**host, "__charm_thread_id__": name, "input": "go"}) for name in ANSWERS]
    calls += [(project, {**host, "__charm_thread_id__": name}) for name in ANSWERS]
    calls += [(project, {**host, "__charm_thread_id__": name, **given}) for name, (given, _) in ANSWERS.items()]
    results = run_device(devices, tmp_path / "d", calls)
    assert [result["output"] for result in results[:8]] == ["sure?"] * 8, "no answer leaves it waiting"
    assert [result["output"] for result in results[8:]] == [f"1 messages: {text}" for _, text in ANSWERS.values()]


STOPPING = f"""{COUNTING}
agent = agent.compile(interrupt_before=["answer"])
"""

FAILING = GRAPH.replace("ASK()", '[][0] if not __import__("os").path.exists("mended") else "well"')

FUNCTION = f"""{COUNTING}
class Holder:
    app = agent

def agent():
    return Holder
"""


@pytest.mark.parametrize("memory", ["", STORES["sqlite"][0]])
def test_a_breakpoint_goes_on_with_and_without_input(memory: str, devices: WorkerPool, tmp_path: Path) -> None:
    project = write_project(tmp_path / "p", "langgraph-checkpoint", "stopping", STOPPING, memory)
    given: list[dict[str, Any]] = [{"thread_id": "1", "input": "go"}, {"thread_id": "2", "input": "go"}]
    given += [{"thread_id": "1"}, {"thread_id": "2", "input": "yes"}]
    results = run_device(devices, tmp_path / "d", [(project, inputs) for inputs in given])
    assert [result["status"] for result in results] == ["suspended"] * 2 + ["success"] * 2
    assert [result["interrupts"] for result in results[:2]] == [[], []]
    assert [result["output"] for result in results[2:]] == ["1 messages: all", "2 messages: all"]


def test_a_failed_run_goes_on_without_input(devices: WorkerPool, tmp_path: Path) -> None:
    project = write_project(tmp_path / "p", "langgraph-checkpoint", "failing", FAILING, STORES["sqlite"][0])
    there = tmp_path / "d"
    # The SDK leaves the process when an agent failed.
    assert run_device(devices, there, [(project, {"thread_id": "1", "input": "go"})]) == [{"status": "left"}]
    (there / "mended").touch()
    [result] = run_device(devices, there, [(project, {"thread_id": "1"})])
    assert result["output"] == "1 messages: well"


@pytest.mark.parametrize(
    ("source", "memory", "second"),
    [
        (COUNTING, "{provider: none}", "1 messages: all"),
        (FUNCTION, "{provider: sqlite}", "3 messages: all"),
        (OWN, "{provider: memory}", "3 messages: all"),
    ],
)
def test_any_graph_with_any_memory(source: str, memory: str, second: str, devices: WorkerPool, tmp_path: Path) -> None:
    project = write_project(tmp_path / "p", "langgraph-checkpoint", "counting", source, memory)
    results = run_device(devices, tmp_path / "d", [(project, {"input": "one"}), (project, {"input": "two"})])
    assert [result["output"] for result in results] == ["1 messages: all", second]


@pytest.mark.parametrize("environment", [{}, {"CHARM_MEMORY_PROVIDER": "sqlite"}])
def test_without_a_memory_section_the_environment_decides(
    environment: dict[str, str], devices: WorkerPool, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "p", "langgraph-checkpoint", "counting", COUNTING)
    run_device(devices, tmp_path / "d", [(project, {"input": "one"})], **environment)
    expected = "charm.db" if environment else "workspace"
    assert [path.name for path in (tmp_path / "d").iterdir() if not path.name.endswith(("-wal", "-shm"))] == [expected]
