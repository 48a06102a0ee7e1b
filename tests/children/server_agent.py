"""The graph that LangGraph's server runs in tests: what the last message says is done.

Told to wait, it does unless there is a file named "go".
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from typing_extensions import TypedDict


@dataclass
class Tally:
    """A class of the program's own, in the file that langgraph.json names."""

    turns: int


class State(TypedDict):
    messages: Annotated[list, add_messages]
    tally: Tally


async def count(state: State) -> dict:
    return {"tally": Tally(state["tally"].turns + 1 if state.get("tally") else 1)}


async def answer(state: State, runtime: Runtime) -> dict:
    text = state["messages"][-1].content
    if text == "ask":
        text = interrupt("Which?")
    elif text == "wait" and not Path("go").exists():  # noqa: ASYNC240
        await asyncio.sleep(60)
    elif text == "block":
        time.sleep(0.01)  # noqa: ASYNC251 - what the server watches for
    elif text == "remember":
        await runtime.store.aput(("users", "ann"), "taste", {"text": "window seats on trains"})
    elif text == "recall":
        [item] = await runtime.store.asearch(("users",), query="which seat on a train?", limit=1)
        text = item.value["text"]
    return {"messages": [AIMessage(f"{state['tally'].turns}: {text}")]}


builder = StateGraph(State)
builder.add_node(count)
builder.add_node(answer)
builder.add_edge(START, "count")
builder.add_edge("count", "answer")
graph = builder.compile()
