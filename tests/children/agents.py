"""Agents whose model does as it is told, and a process that resumes one: ``agents.py KIND URL THREAD``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.types import Command

from charm_checkpoint import open_memory
from charm_checkpoint.saver.checkpointer import CharmSaver


class Obedient(BaseChatModel):
    """A chat model to which a human says, as JSON, which tools to call; it answers with what the last one said."""

    @property
    def _llm_type(self) -> str:
        return "obedient"

    def bind_tools(self, tools: Any, **options: Any) -> Obedient:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        last = messages[-1]
        if isinstance(last, HumanMessage):
            calls = [{**call, "id": f"{last.id}-{at}"} for at, call in enumerate(json.loads(last.text))]
            answer = AIMessage("", tool_calls=calls)
        else:
            answer = AIMessage(last.text)
        return ChatResult(generations=[ChatGeneration(message=answer)])


def say(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the input that has the model call tools, by name, with arguments."""
    return {"messages": [HumanMessage(json.dumps([{"name": name, "args": args} for name, args in calls]))]}


def pay(to: str, amount: int) -> str:
    """Pay somebody."""
    return f"paid {amount} to {to}"


def payer(saver: CharmSaver) -> Any:
    """Return an agent that asks before it pays."""
    asks = HumanInTheLoopMiddleware(interrupt_on={"pay": True})
    return create_agent(Obedient(), [pay], middleware=[asks], checkpointer=saver)


def writer(saver: CharmSaver) -> Any:
    """Return a deep agent that asks before it edits a file, and has a helper."""
    helper = {"name": "helper", "description": "Helps.", "system_prompt": "Help."}
    return create_deep_agent(Obedient(), subagents=[helper], interrupt_on={"edit_file": True}, checkpointer=saver)


AGENTS: dict[str, Callable[[CharmSaver], Any]] = {"payer": payer, "writer": writer}

APPROVE: Any = Command(resume={"decisions": [{"type": "approve"}]})


def main(kind: str, url: str, thread: str) -> None:
    """Approve what an agent waits for, and print the last message and the files."""
    with open_memory(url) as memory:
        agent = AGENTS[kind](memory.get_langgraph_checkpointer())
        state = agent.invoke(APPROVE, {"configurable": {"thread_id": thread}})
    files = {path: file["content"] for path, file in state.get("files", {}).items()}
    json.dump([state["messages"][-1].text, files], sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
