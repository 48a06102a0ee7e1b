"""Long-term memory where it is used: deepagents' files, tools and nodes of agents, functional graphs, langmem."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import or_skip
from langgraph.config import get_store
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.types import CachePolicy
from stores import tenant_url, valkey_url
from typing_extensions import TypedDict
from workers import child

from charm_checkpoint import Memory, open_memory

THREAD: Any = {"configurable": {"thread_id": "42", "user": "ann"}}

STORES: dict[str, Callable[[Path], str]] = {
    "ram": lambda folder: "memory://",
    "sqlite": "sqlite:///{}/agent.db".format,
    "postgres": lambda folder: or_skip(tenant_url),
    "valkey": lambda folder: or_skip(valkey_url),
}

needs_deepagents = pytest.mark.skipif(sys.version_info < (3, 11), reason="needs deepagents, which needs Python 3.11")


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a new store."""
    return STORES[request.param](tmp_path)


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    """Return the store, opened."""
    with open_memory(url) as opened:
        yield opened


Do = Callable[..., Any]


@pytest.fixture(params=["blocking", "async"])
def mode(request: pytest.FixtureRequest) -> str:
    """Return the way to call."""
    return str(request.param)


@pytest.fixture
def do(mode: str) -> Do:
    """Return what calls a method by name, in one of the modes."""

    def call(thing: Any, name: str, *args: Any, **options: Any) -> Any:
        if mode == "blocking":
            return getattr(thing, name)(*args, **options)
        return asyncio.run(getattr(thing, f"a{name}")(*args, **options))

    return call


# ------------------------------------------------------------------------------------------------- deepagents' files


@needs_deepagents
def test_deepagents_keeps_its_files_in_the_store(memory: Memory, do: Do) -> None:
    from deepagents.backends import StoreBackend

    store = memory.get_langgraph_store()
    files = StoreBackend(store=store, namespace=lambda runtime: ("files", "ann@home"))
    paths = [f"/many/{number:03d}.md" for number in range(230)]  # more than two of its pages
    uploaded = do(files, "upload_files", [(path, f"line 1\nnumber {path}".encode()) for path in paths])
    assert [one.error for one in uploaded] == [None] * len(paths)
    image = b"\x89PNG\xff\x00"
    do(files, "upload_files", [("/image.png", image)])
    store.put(("files", "bob"), "/many/bob.md", {"content": "number", "encoding": "utf-8"})

    assert do(files, "write", "/plan.md", "one\ntwo\nthree").error is None
    assert do(files, "edit", "/plan.md", "two", "2").occurrences == 1
    assert do(files, "read", "/plan.md").file_data["content"] == "one\n2\nthree"
    assert do(files, "read", "/plan.md", 1, 1).file_data["content"].strip() == "2"
    assert "not found" in do(files, "read", "/none.md").error
    assert "not found" in do(files, "edit", "/plan.md", "two", "2").error
    assert [entry["path"] for entry in do(files, "ls", "/").entries] == ["/image.png", "/many/", "/plan.md"]
    assert [entry["path"] for entry in do(files, "ls", "/many").entries] == paths
    assert sorted(entry["path"] for entry in do(files, "glob", "*.md", "/many").matches) == paths
    found = do(files, "grep", "number", "/many").matches
    assert sorted(match["path"] for match in found) == paths and {match["line"] for match in found} == {2}
    assert [one.content for one in do(files, "download_files", ["/image.png", "/none"])] == [image, None]
    assert do(files, "delete", "/many").error is None
    assert [entry["path"] for entry in do(files, "ls", "/").entries] == ["/image.png", "/plan.md"]
    assert store.count(("files", "bob")) == 1


@needs_deepagents
def test_a_deep_agent_is_killed_and_another_process_has_its_files(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    with child("store_agents.py", url, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(3)][-1]
        process.kill()
    from children.agents import say
    from children.store_agents import FILES, writer

    with open_memory(url) as memory:
        [item] = memory.get_langgraph_store().search(FILES)
        held = int(item.value["content"].strip("<>"))
        assert held >= told
        agent = writer(memory)
        edited = {"file_path": "/n", "old_string": f"<{held}>", "new_string": "done"}
        agent.invoke(say(("edit_file", edited)), THREAD)
        read = agent.invoke(say(("read_file", {"file_path": "/n"})), THREAD)
        assert "done" in read["messages"][-1].text
        assert not read.get("files")
        assert memory.get_langgraph_store().get(FILES, "/n").value["content"] == "done"  # type: ignore[union-attr]
        assert agent.get_state({"configurable": {"thread_id": "killed"}}).values["messages"]


# ------------------------------------------------------------------------------------------------ agents and graphs


@needs_deepagents
def test_tools_of_an_agent_remember_across_threads(memory: Memory, do: Do) -> None:
    from children.agents import say
    from children.store_agents import NOTES, rememberer

    agent = rememberer(memory)
    notes = {"seat": "Prefers window seats on trains", "pets": "Has two cats"}
    calls = [("remember", {"key": key, "text": text}) for key, text in notes.items()]
    state = do(agent, "invoke", say(*calls), THREAD)
    assert [message.text for message in state["messages"][-3:-1]] == ["noted seat", "noted pets"]
    other = {"configurable": {"thread_id": "43"}}
    for query, key in (("which seat on the train?", "seat"), ("a cat", "pets")):
        state = do(agent, "invoke", say(("recall", {"query": query})), other)
        assert state["messages"][-1].text == notes[key]
    found = {item.key: item.value["text"] for item in memory.get_langgraph_store().search(NOTES)}
    assert found == notes


class Trip(TypedDict, total=False):
    """Where to, and what was found of it."""

    to: str
    found: list[str]


def trips(memory: Memory, ran: list[str], mode: str) -> Any:
    """Return a graph with a graph in it, in which each node uses the one store; the node of the inner one is cached."""
    store = memory.get_langgraph_store()

    def note(state: Trip, runtime: Runtime) -> Trip:
        assert runtime.store is store and get_store() is store
        runtime.store.put(("trips",), state["to"], {"text": f"to {state['to']}"})
        return {}

    async def anote(state: Trip, runtime: Runtime) -> Trip:
        assert runtime.store is store and get_store() is store
        await runtime.store.aput(("trips",), state["to"], {"text": f"to {state['to']}"})
        return {}

    def look(state: Trip, *, store: BaseStore) -> Trip:
        ran.append(state["to"])
        return {"found": [item.key for item in store.search(("trips",), query=state["to"], limit=1)]}

    async def alook(state: Trip, *, store: BaseStore) -> Trip:
        ran.append(state["to"])
        return {"found": [item.key for item in await store.asearch(("trips",), query=state["to"], limit=1)]}

    noting, looking = (note, look) if mode == "blocking" else (anote, alook)
    cache = memory.get_langgraph_cache()
    inner = StateGraph(Trip)
    inner.add_node("look", looking, cache_policy=CachePolicy(key_func=lambda state: state["to"]))
    inner.add_edge(START, "look")
    outer = StateGraph(Trip).add_node("note", noting).add_node("inner", inner.compile(cache=cache))
    outer.add_edge(START, "note").add_edge("note", "inner")
    saver = memory.get_langgraph_checkpointer()
    return outer.compile(checkpointer=saver, store=store, cache=cache)


def test_one_memory_is_the_checkpointer_the_store_and_the_cache(memory: Memory, do: Do, mode: str) -> None:
    ran: list[str] = []
    for thread, to in (("1", "Ghent"), ("1", "Porto"), ("2", "Ghent")):
        config = {"configurable": {"thread_id": thread}}
        graph = trips(memory, ran, mode)
        assert do(graph, "invoke", {"to": to}, config)["found"] == [to]
        assert do(graph, "get_state", config).values == {"to": to, "found": [to]}
    assert ran == ["Ghent", "Porto"]
    store = memory.get_langgraph_store()
    assert {item.key for item in store.search(("trips",))} == {"Ghent", "Porto"}
    memory.get_langgraph_cache().clear()
    do(trips(memory, ran, mode), "invoke", {"to": "Ghent"}, THREAD)
    assert ran == ["Ghent", "Porto", "Ghent"]
    assert memory.usage().items == 2


def functional(memory: Memory, ran: list[int]) -> Any:
    """Return a functional graph that counts in the store and adds to what it returned before."""

    @task(cache_policy=CachePolicy())
    def double(number: int) -> int:
        assert get_store() is memory.get_langgraph_store()
        ran.append(number)
        return 2 * number

    @entrypoint(
        checkpointer=memory.get_langgraph_checkpointer(),
        store=memory.get_langgraph_store(),
        cache=memory.get_langgraph_cache(),
    )
    def work(number: int, *, previous: int | None = None, store: BaseStore) -> int:
        assert store is get_store()
        store.put(("numbers",), str(number), {"n": number})
        return (previous or 0) + double(number).result()

    return work


def test_a_functional_graph_has_the_store(memory: Memory) -> None:
    ran: list[int] = []
    assert functional(memory, ran).invoke(3, THREAD) == 6
    assert functional(memory, ran).invoke(4, THREAD) == 14
    assert functional(memory, ran).invoke(3, {"configurable": {"thread_id": "43"}}) == 6
    assert ran == [3, 4]
    assert [item.key for item in memory.get_langgraph_store().search(("numbers",), filter={"n": {"$gt": 3}})] == ["4"]


def test_an_async_functional_graph_has_the_store(memory: Memory) -> None:
    store = memory.get_langgraph_store()

    @entrypoint(checkpointer=memory.get_langgraph_checkpointer(), store=store)
    async def work(text: str, *, runtime: Runtime) -> list[str]:
        assert runtime.store is store and get_store() is store
        await runtime.store.aput(("texts",), text, {"text": text})
        return [item.key for item in await store.asearch(("texts",), query=text)]

    assert asyncio.run(work.ainvoke("one", THREAD)) == ["one"]
    assert asyncio.run(work.ainvoke("two", THREAD)) == ["two", "one"]


# ---------------------------------------------------------------------------------------------------------- langmem


def test_langmems_tools_keep_memories_in_the_store(memory: Memory, do: Do, mode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports from where LangGraph says that it is no more
        langmem = pytest.importorskip("langmem", reason="needs langmem")
    place = ("memories", "{user}")
    manage, search = langmem.create_manage_memory_tool(place), langmem.create_search_memory_tool(place)
    store = memory.get_langgraph_store()

    @entrypoint(store=store)
    def work(calls: list[dict[str, Any]]) -> Any:
        return [(search if "query" in call else manage).invoke(call) for call in calls]

    async def asynchronous(calls: list[dict[str, Any]]) -> Any:
        return [await (search if "query" in call else manage).ainvoke(call) for call in calls]

    awork = entrypoint(store=store)(asynchronous)

    def run(*calls: dict[str, Any]) -> Any:
        return do(awork if mode == "async" else work, "invoke", list(calls), THREAD)

    run({"content": "Prefers window seats on trains"}, {"content": "Has two cats"})
    [text] = run({"query": "which seat on the train?", "limit": 1})
    [best] = json.loads(text)
    assert best["value"] == {"content": "Prefers window seats on trains"} and best["namespace"] == ["memories", "ann"]
    run({"action": "update", "id": best["key"], "content": "Prefers the aisle"})
    assert store.get(("memories", "ann"), best["key"]).value == {"content": "Prefers the aisle"}  # type: ignore[union-attr]
    run({"action": "delete", "id": best["key"]})
    assert [item.value["content"] for item in store.search(("memories",))] == ["Has two cats"]
