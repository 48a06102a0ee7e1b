"""An agent that is corrected: what it learned counts in other threads, processes and stores, while it holds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain")

from fake_models import FakeModel, calling
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool
from workers import child

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.agents.auto_writer import AutoWriter
from charm_checkpoint.agents.middleware import MemoryMiddleware

QUESTION = "How do I add a package?"
LEARNED = {"kind": "rule", "title": "package manager", "scope": "project", "tags": ["uv"],
           "body": "Add a package with uv, not with pip: the package list is in uv.toml."}  # fmt: skip


def acts(messages: Sequence[BaseMessage]) -> AIMessage | str:
    """Answer as an agent does that knows pip, and uses uv where it is told so."""
    if messages[-1].type == "tool":
        return "uv add httpx"
    if messages[-1].text.startswith("No,"):
        return calling("edit_file", path="uv.toml", text="httpx\n")
    told = any("with uv, not with pip" in message.text for message in messages)
    return "uv add httpx" if told else "pip install httpx"


def agent_of(memory: Memory, project: Path | str, **options: Any) -> Any:
    @tool
    def edit_file(path: str, text: str) -> str:
        """Write a file."""
        (Path(project) / path).write_text(text)
        return "written"

    memories = memory.long_term(Path(project), {"global": False, "shared": False})
    return create_agent(
        FakeModel.of(acts),
        [edit_file],
        middleware=[MemoryMiddleware(memories, **options)],
        checkpointer=memory.get_langgraph_checkpointer(),
    )


def answered(memory: Memory, project: Path | str, question: str = QUESTION, thread: str = "another") -> str:
    """Return what an agent answers in a thread of its own."""
    config: Any = {"configurable": {"thread_id": thread}}
    result = agent_of(memory, project).invoke({"messages": question}, config)
    return str(result["messages"][-1].text)


def corrected(memory: Memory, project: Path) -> None:
    """Have a user correct an agent, which writes down what it learned."""
    memories = memory.long_term(project, {"global": False, "shared": False})
    gate = json.dumps({"decision": "write", "reasoning": "It comes up again.", "memory": LEARNED})
    writer = AutoWriter(memories, lambda prompt: gate)
    agent = agent_of(memory, project, writer=writer)
    config: Any = {"configurable": {"thread_id": "the first"}}
    for said in (QUESTION, "No, use uv instead: the package list is in uv.toml."):
        agent.invoke({"messages": said}, config)
    assert writer.close(30)
    assert [result.entry.title for result in writer.results if result.entry] == ["package manager"]


def test_what_an_agent_learned_counts_wherever_it_holds(tmp_path: Path) -> None:
    project = tmp_path / "shop"
    project.mkdir()
    here, there = f"sqlite:///{tmp_path}/here.db", f"file://{tmp_path}/there"
    with open_memory(here) as memory:
        assert answered(memory, project, thread="before") == "pip install httpx"
        corrected(memory, project)
        assert answered(memory, project) == "uv add httpx"

    with child("recall_story.py", here, str(project), QUESTION, stdout=subprocess.PIPE) as process:
        assert process.communicate(timeout=60)[0] == "uv add httpx"

    with open_memory(here) as memory, open_memory(there) as other:
        assert answered(other, project) == "pip install httpx"
        scopes = [each.long_term(project, {"global": False, "shared": False}).scopes for each in (memory, other)]
        scopes[0]["project"].store.export(tmp_path / "copy.jsonl")
        scopes[1]["project"].store.import_(tmp_path / "copy.jsonl")

    with open_memory(there) as other:
        assert answered(other, project, thread="1") == "uv add httpx"
        (project / "uv.toml").write_text("requests\n")
        assert answered(other, project, thread="2") == "pip install httpx"
        (project / "uv.toml").write_text("httpx\n")
        assert answered(other, project, thread="3") == "uv add httpx"
