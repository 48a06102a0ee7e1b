"""An agent without a model: it counts what it was told, and asks a human before it forgets."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, RemoveMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


def route(state: MessagesState) -> str:
    """Choose by the last message."""
    return "forget" if state["messages"][-1].content == "forget" else "answer"


def answer(state: MessagesState) -> dict[str, Any]:
    """Say what the agent was told; put your model here."""
    told = [message.content for message in state["messages"] if message.type == "human"]
    return {"messages": [AIMessage(f"You told me {len(told)} things, first: {told[0]}")]}


def forget(state: MessagesState) -> dict[str, Any]:
    """Wait for a human, for as long as it takes; the answer is the input of the next call."""
    if interrupt("Forget everything? (yes/no)") != "yes":
        return {"messages": [AIMessage("Nothing is forgotten.")]}
    removed = [RemoveMessage(str(message.id)) for message in state["messages"]]
    return {"messages": [*removed, AIMessage("All is forgotten.")]}


agent = StateGraph(MessagesState)
agent.add_node(answer)
agent.add_node(forget)
agent.add_conditional_edges(START, route, ["answer", "forget"])
