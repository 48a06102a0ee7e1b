"""A program to pack: saves and reads a graph's state on each store that is named, and says what came of it."""

from __future__ import annotations

import asyncio
import json
import operator
import sys
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, StateGraph

from charm_checkpoint import CharmError, open_memory


@dataclass
class Note:
    text: str


class Log(TypedDict):
    log: Annotated[list[Any], operator.add]


def answer(state: Log) -> Any:
    return {"log": [AIMessage("x" * 2000), Note(f"note {len(state['log'])}")]}


def work(url: str) -> Any:
    """Take two turns, blocking and async, and return what another object reads of them."""
    config: Any = {"configurable": {"thread_id": "t"}}
    builder = StateGraph(Log).add_node(answer).add_edge(START, "answer")
    with open_memory(url) as memory:
        graph: Any = builder.compile(checkpointer=memory.get_langgraph_checkpointer())
        graph.invoke({"log": [HumanMessage("first")]}, config)
        asyncio.run(graph.ainvoke({"log": [HumanMessage("second")]}, config))
        memory.append_messages("t", [HumanMessage("third")])
        state = graph.get_state(config).values
    if url != "memory://":
        with open_memory(url) as memory:
            graph = builder.compile(checkpointer=memory.get_langgraph_checkpointer())
            state = graph.get_state(config).values
            assert len(memory.load_messages("t")) == 1
    return [getattr(item, "text", None) and str(item.text)[:6] for item in state["log"]]


def outcome(url: str) -> Any:
    try:
        return work(url)
    except CharmError as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    if sys.argv[1] == "cli":
        from charm_checkpoint.cli import main

        sys.exit(main(sys.argv[2:]))
    print(json.dumps({url: outcome(url) for url in sys.argv[1:]}))  # noqa: T201
