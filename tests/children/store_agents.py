"""Agents that use long-term memory, and a process that goes on until it is killed: ``store_agents.py URL``."""

from __future__ import annotations

import sys
from itertools import count
from typing import Annotated, Any

from children.agents import Obedient, say
from deepagents import create_deep_agent
from deepagents.backends import StoreBackend
from langchain.agents import create_agent
from langchain.tools import InjectedStore, ToolRuntime
from langchain_core.tools import StructuredTool
from langgraph.store.base import BaseStore

from charm_checkpoint import Memory, open_memory

FILES = ("agents", "files")
NOTES = ("agents", "notes")


def writer(memory: Memory) -> Any:
    """Return a deep agent whose files are in the store, the same in every thread."""
    return create_deep_agent(
        Obedient(),
        backend=StoreBackend(namespace=lambda runtime: FILES),
        store=memory.get_langgraph_store(),
        checkpointer=memory.get_langgraph_checkpointer(),
    )


def remember(key: str, text: str, store: Annotated[Any, InjectedStore()]) -> str:
    """Remember something."""
    taken: BaseStore = store
    taken.put(NOTES, key, {"text": text})
    return f"noted {key}"


async def aremember(key: str, text: str, store: Annotated[Any, InjectedStore()]) -> str:
    """Remember something."""
    await store.aput(NOTES, key, {"text": text})
    return f"noted {key}"


def recall(query: str, runtime: ToolRuntime) -> str:
    """Find what fits best."""
    assert runtime.store is not None
    return runtime.store.search(NOTES, query=query, limit=1)[0].value["text"]


async def arecall(query: str, runtime: ToolRuntime) -> str:
    """Find what fits best."""
    assert runtime.store is not None
    return (await runtime.store.asearch(NOTES, query=query, limit=1))[0].value["text"]


def rememberer(memory: Memory) -> Any:
    """Return an agent with tools of both modes that remember and recall."""
    tools = [
        StructuredTool.from_function(remember, aremember, name="remember"),
        StructuredTool.from_function(recall, arecall, name="recall"),
    ]
    saver = memory.get_langgraph_checkpointer()
    return create_agent(Obedient(), tools, checkpointer=saver, store=memory.get_langgraph_store())


def main(url: str) -> None:
    """Write a file, then edit it again and again; say each time what it holds by then."""
    with open_memory(url) as memory:
        agent, thread = writer(memory), {"configurable": {"thread_id": "killed"}}
        agent.invoke(say(("write_file", {"file_path": "/n", "content": "<0>"})), thread)
        for number in count(1):
            edited = {"file_path": "/n", "old_string": f"<{number - 1}>", "new_string": f"<{number}>"}
            agent.invoke(say(("edit_file", edited)), thread)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
