"""A device in a conversation: its clock is off by so many seconds, and it takes its turn when told.

Arguments: URL, name, seconds. A line in is what the user says; the answer is what its graph has
in its state then, as JSON.
"""

from __future__ import annotations

import importlib
import json
import operator
import sys
import time
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

from charm_checkpoint import open_memory


class State(TypedDict):
    said: Annotated[list[str], operator.add]


def set_clock(seconds: float) -> None:
    """Shift the clock that LangGraph makes checkpoint ids from."""
    shifted = SimpleNamespace(time_ns=lambda: time.time_ns() + int(seconds * 1e9))
    module: Any = importlib.import_module("langgraph.checkpoint.base.id")
    module.time = shifted


def main(url: str, name: str, seconds: str) -> None:
    """Take turns until stdin ends."""
    set_clock(float(seconds))
    graph = StateGraph(State)
    graph.add_node("answer", lambda state: {"said": [f"{name} heard {state['said'][-1]}"]})
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        agent = graph.compile(checkpointer=saver)
        at: Any = {"configurable": {"thread_id": "t"}}
        for line in sys.stdin:
            said = agent.invoke({"said": [line.strip()]}, at)["said"]
            head = saver.get_tuple(at)
            assert head is not None
            sys.stdout.write(json.dumps({"said": said, "id": head.checkpoint["id"]}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
