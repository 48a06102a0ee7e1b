"""The store that keeps nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph

from charm_checkpoint import StorageManager, open_memory
from charm_checkpoint.contract import Usage
from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemKey, ItemQuery
from charm_checkpoint.errors import ConfigError, NotSerializable, StoreClosed
from charm_checkpoint.providers import NullMemory

HI = [{"role": "user", "content": "hi"}]


def test_messages_are_dropped_and_there_is_no_checkpointer() -> None:
    for memory in (open_memory("none://"), open_memory("none"), NullMemory()):
        with memory:
            assert memory.get_langgraph_checkpointer() is None
            memory.save_messages("t", HI)
            memory.append_messages("t", HI)
            assert memory.load_messages("t") == []
            assert memory.chat_history("t").messages == []
            memory.delete_messages("t")
            memory.delete_thread("t")
            memory.setup()
            assert memory.usage() == memory.usage("t") == Usage()


def test_the_same_in_an_event_loop() -> None:
    async def use() -> None:
        async with open_memory("none://") as memory:
            await memory.asave_messages("t", HI)
            await memory.aappend_messages("t", HI)
            assert await memory.aload_messages("t") == []
            await memory.adelete_thread("t")
            assert await memory.ausage() == Usage()

    asyncio.run(use())


def test_long_term_memory_takes_all_and_finds_nothing() -> None:
    with open_memory("none://") as memory:
        items = memory.store.items
        assert items is not None
        item = ItemKey(b"s", b"a")
        batch = ItemBatch(5, [item], [item], [ItemChange(b"s", b"a", b"value", expect=0), ItemChange(b"s", b"b", None)])
        for _ in range(2):
            reply = memory.store.run(partial(items.change, batch), write=True)
            assert (reply.outcome, list(reply.rows), list(reply.updated)) == ("stored", [None], [5, 0])
        late = ItemBatch(6, changes=[ItemChange(b"s", b"a", b"value", expect=5)])
        assert memory.store.run(partial(items.change, late), write=True).outcome == "changed"
        assert memory.store.run(partial(items.page, ItemQuery(b"", 6, 10)), write=False) == []
        assert memory.store.run(partial(items.fetch, [item]), write=False) == {}
        assert memory.store.run(partial(items.expire, 9, 10), write=True) == 0
        assert memory.store.run(partial(items.erase, b""), write=True) == 0
        assert memory.store.run(items.usage, write=False) == (0, 0)


def test_a_graph_runs_without_being_saved() -> None:
    class State(TypedDict):
        count: int

    builder = StateGraph(State)
    builder.add_node("add", lambda state: {"count": state["count"] + 1})
    builder.add_edge(START, "add")
    graph = builder.compile(checkpointer=open_memory("none://").get_langgraph_checkpointer())
    at: Any = {"configurable": {"thread_id": "t"}}
    assert [graph.invoke({"count": 1}, at) for _ in range(2)] == [{"count": 2}] * 2


def test_mistakes_are_still_mistakes() -> None:
    with open_memory("none://") as memory:
        with pytest.raises(NotSerializable):
            memory.save_messages("t", [{"content": object()}])
        with pytest.raises(ConfigError):
            memory.load_messages(None)  # type: ignore[arg-type]
    with pytest.raises(StoreClosed):
        memory.load_messages("t")
    with pytest.raises(ConfigError, match="unknown option"):
        open_memory("none://?timeout=1s")


def test_it_is_a_provider() -> None:
    assert isinstance(StorageManager.get_provider("none"), NullMemory)
    StorageManager.clear()
