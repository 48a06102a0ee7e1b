"""A graph whose node is cached, and processes that run it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy
from typing_extensions import TypedDict

from charm_checkpoint import open_memory
from charm_checkpoint.items.caches.langgraph import CharmCache

ran: list[str] = []


class Work(TypedDict, total=False):
    """A topic, and what was found."""

    topic: str
    found: list[Any]
    seconds: float
    fails: bool


def research(state: Work) -> Work:
    """Find something, slowly."""
    ran.append(state["topic"])
    time.sleep(state.get("seconds", 0))
    if state.get("fails"):
        os._exit(1)
    return {"found": [HumanMessage(state["topic"], id="h"), AIMessage(f"all about {state['topic']}", id="a")]}


async def aresearch(state: Work) -> Work:
    """Find something, slowly."""
    ran.append(state["topic"])
    await asyncio.sleep(state.get("seconds", 0))
    return {"found": [HumanMessage(state["topic"], id="h"), AIMessage(f"all about {state['topic']}", id="a")]}


def topic_of(state: Any) -> str:
    """Return the key: the topic alone."""
    return str(state["topic"])


def graph(cache: CharmCache, ttl: int | None = None, node: Any = research) -> Any:
    """Return the graph."""
    builder = StateGraph(Work)
    builder.add_node("research", node, cache_policy=CachePolicy(key_func=topic_of, ttl=ttl))
    builder.add_edge(START, "research")
    builder.add_edge("research", END)
    return builder.compile(cache=cache)


def run(ack: Callable[[str], None], url: str, topic: str, *, flight: bool, seconds: float = 0, **options: Any) -> None:
    """Run the graph; say when its node begins, and at the end how often it ran and what was found."""
    with open_memory(url) as memory:
        runs = graph(memory.get_langgraph_cache(single_flight=flight, **options))
        result = runs.invoke({"topic": topic, "seconds": seconds})
    ack(json.dumps({"ran": len(ran), "found": [message.text for message in result["found"]]}))


def die(ack: Callable[[str], None], url: str, topic: str, lease: float) -> None:
    """Run it, and die when others wait for what comes of it."""
    with open_memory(url) as memory:
        graph(memory.get_langgraph_cache(single_flight=True, lease=lease)).invoke({"topic": topic, "fails": True})


JOBS: dict[str, Any] = {
    "wait": partial(run, flight=True, seconds=0.5),
    "share": partial(run, flight=False),
    "die": die,
}
