"""An open store belongs to its process and to asyncio: elsewhere it says what to do instead."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from charm_checkpoint import Memory, NotSerializable, StoreError, errors, open_memory

URLS = (
    "memory://",
    "sqlite:///:memory:",
    "file:///no/such/folder",
    "postgresql://me:s3cret@localhost:1/db",
    "redis://:s3cret@localhost:1/0",
    "supabase://localhost:1?key=s3cret",
    "none://",
)
"""Stores of each kind, none of which is connected to."""

THREAD: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "1"}}


@pytest.fixture(params=URLS, ids=[url.partition(":")[0] for url in URLS])
def memory(request: pytest.FixtureRequest) -> Iterator[Memory]:
    with open_memory(request.param) as memory:
        yield memory


def graph_of(memory: Memory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [("ai", "yes")]})
    return builder.add_edge(START, "answer").compile(checkpointer=memory.get_langgraph_checkpointer())


def handles(memory: Memory) -> list[Any]:
    """Return all that stands for an open store, and things of others that hold one."""
    own = [memory, memory._saver, memory.store, memory.chat_history("t"), memory.load_messages]
    return [*own, {"memory": [memory]}, memory._saver.with_allowlist([])]


# ------------------------------------------------------------------------------------ copies


def test_a_handle_is_not_pickled_and_says_to_open_it_in_the_worker(memory: Memory) -> None:
    for handle in handles(memory):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(NotSerializable, match=r"pass the store's URL.*open it in the worker") as caught:
                pickle.dumps(handle, protocol)
            assert isinstance(caught.value, TypeError), "what pickle's callers look for"
            assert "s3cret" not in str(caught.value)


def test_a_handle_is_not_copied_in_depth(memory: Memory) -> None:
    for handle in handles(memory):
        with pytest.raises(NotSerializable, match=r"open_memory\(url\)"):
            copy.deepcopy(handle)


def test_a_graph_that_holds_one_says_so_too() -> None:
    with open_memory("memory://") as memory, pytest.raises(NotSerializable, match="CharmSaver belongs to its process"):
        copy.deepcopy(graph_of(memory))


def test_a_shallow_copy_is_another_handle_on_the_same_store() -> None:
    with open_memory("memory://") as memory:
        twin = copy.copy(memory)
        twin.append_messages("t", [{"role": "user", "content": "hi"}])
        assert (type(twin), len(memory.load_messages("t"))) == (type(memory), 1)
        graph = graph_of(memory)
        config: Any = {"configurable": {"thread_id": "t"}}
        for copied in (graph.copy(), copy.copy(graph), graph.with_config({"tags": ["x"]})):
            copied.invoke({"messages": [("user", "hi")]}, config)
        assert len(graph.get_state(config).values["messages"]) == 6
        copied = copy.copy(memory.get_langgraph_checkpointer())
        assert len(list(copied.list(config))) == 9


def test_every_error_goes_from_process_to_process() -> None:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.CharmError)]
    assert len(kinds) > 15
    for kind in kinds:
        error = kind("what happened")
        error.__dict__.update({name: "x" for name in ("parent", "head") if hasattr(error, name)})
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
    placed = errors.NotSerializable("no").at("a", 1)
    assert str(pickle.loads(pickle.dumps(placed))) == str(placed) == "a[1]: no"


# ------------------------------------------------------------------------- without asyncio


def async_calls(memory: Memory) -> dict[str, Callable[[], Coroutine[Any, Any, Any]]]:
    saver = memory._saver

    async def first() -> Any:
        return await anext(saver.alist(THREAD))

    return {
        "asetup": memory.asetup,
        "aload_messages": lambda: memory.aload_messages("t"),
        "aappend_messages": lambda: memory.aappend_messages("t", []),
        "adelete_thread": lambda: memory.adelete_thread("t"),
        "ausage": memory.ausage,
        "aget_tuple": lambda: saver.aget_tuple(THREAD),
        "alist": first,
        "aput_writes": lambda: saver.aput_writes(THREAD, [("c", 1)], "task"),
        "acopy_thread": lambda: saver.acopy_thread("t", "u"),
        "aclose": memory.aclose,
    }


def test_async_methods_say_that_they_need_asyncio(memory: Memory) -> None:
    for name, call in async_calls(memory).items():
        stepped = call()
        with pytest.raises(StoreError, match=r"need asyncio.*trio\.to_thread\.run_sync\(memory\.load_messages"):
            stepped.send(None)
        stepped.close()
        assert name


def test_under_trio_too_where_the_blocking_methods_work_in_threads() -> None:
    trio = pytest.importorskip("trio")

    async def main() -> None:
        with open_memory("memory://") as memory:
            for call in async_calls(memory).values():
                with pytest.raises(StoreError, match="need asyncio"):
                    await call()
            await trio.to_thread.run_sync(memory.append_messages, "t", [{"role": "user", "content": "hi"}])
            assert len(await trio.to_thread.run_sync(memory.load_messages, "t")) == 1
            state = await trio.to_thread.run_sync(graph_of(memory).invoke, {"messages": [("user", "hi")]}, THREAD)
            assert len(state["messages"]) == 2

    trio.run(main)
