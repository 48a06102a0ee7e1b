"""Caches in real graphs and models, over processes, and with bytes that somebody else has put there."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from children import cached_graph
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from workers import Worker, WorkerPool, worker_pool

from charm_checkpoint import open_memory
from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemKey, ItemQuery, ItemRow
from charm_checkpoint.errors import ConfigError, StoreClosed, StoreUnavailable
from charm_checkpoint.items.bounded import seal
from charm_checkpoint.items.caches.langchain import CharmLLMCache
from charm_checkpoint.items.caches.langgraph import CharmCache
from charm_checkpoint.items.namespaces import CACHE
from charm_checkpoint.memory import Memory
from charm_checkpoint.values.packing import pack
from charm_checkpoint.values.serde.serializer import Serializer

KEY = (("node",), "k")


@pytest.fixture
def memory() -> Iterator[Memory]:
    with open_memory("memory://") as opened:
        yield opened


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/charm.db"


def rows_of(memory: Memory) -> list[ItemRow]:
    assert memory.store.items is not None
    return list(memory.store.run(partial(memory.store.items.page, ItemQuery(CACHE, 1, 1000)), write=False))


def put(memory: Memory, item: ItemKey, value: bytes) -> None:
    assert memory.store.items is not None
    batch = ItemBatch(time.time_ns() // 1000, changes=[ItemChange(item.space, item.key, value)])
    memory.store.run(partial(memory.store.items.change, batch), write=True)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerPool]:
    with worker_pool(tmp_path_factory.mktemp("cache"), "cached_graph") as pool:
        yield pool


def told(worker: Worker) -> Any:
    assert worker.wait() == 0
    return json.loads(worker.acks[-1])


# ----------------------------------------------------------------------------------------------- graphs


@pytest.fixture(autouse=True)
def ran() -> Iterator[list[str]]:
    cached_graph.ran.clear()
    yield cached_graph.ran


@pytest.mark.parametrize("is_async", [False, True])
def test_a_node_with_a_cache_policy_runs_once(memory: Memory, is_async: bool, ran: list[str]) -> None:
    graph = cached_graph.graph(
        memory.get_langgraph_cache(), node=cached_graph.aresearch if is_async else cached_graph.research
    )

    def run(topic: str) -> Any:
        return asyncio.run(graph.ainvoke({"topic": topic})) if is_async else graph.invoke({"topic": topic})

    assert run("trains") == run("trains") != run("ships")
    assert ran == ["trains", "ships"]
    asyncio.run(graph.aclear_cache(["research"])) if is_async else graph.clear_cache(["research"])
    run("trains")
    assert ran == ["trains", "ships", "trains"]


def test_a_policys_time_is_in_seconds(memory: Memory, ran: list[str]) -> None:
    graph = cached_graph.graph(memory.get_langgraph_cache(), ttl=1)
    graph.invoke({"topic": "trains"})
    (row,) = rows_of(memory)
    assert row.ttl == 1_000_000
    graph.invoke({"topic": "trains"})
    assert ran == ["trains"]


def test_two_processes_share_what_nodes_returned(url: str, workers: WorkerPool) -> None:
    first = told(workers.start("share", url, "trains"))
    second = told(workers.start("share", url, "trains"))
    assert (first["ran"], second["ran"]) == (1, 0)
    assert first["found"] == second["found"] == ["trains", "all about trains"]


def test_of_several_processes_one_computes(url: str, workers: WorkerPool) -> None:
    found = [told(worker) for worker in [workers.start("wait", url, "trains") for _ in range(4)]]
    assert sum(each["ran"] for each in found) == 1
    assert all(each["found"] == ["trains", "all about trains"] for each in found)


def test_another_takes_over_from_a_process_that_died(url: str, workers: WorkerPool, ran: list[str]) -> None:
    assert workers.start("die", url, "trains", 1.0).wait() == 1
    with open_memory(url) as memory:
        graph = cached_graph.graph(memory.get_langgraph_cache(single_flight=True))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: graph.invoke({"topic": "trains"}), range(4)))
        assert ran == ["trains"]
        assert all(each["found"] == found[0]["found"] for each in found)


@pytest.mark.parametrize("is_async", [False, True])
def test_of_many_runs_at_once_one_computes(memory: Memory, is_async: bool, ran: list[str]) -> None:
    cache = memory.get_langgraph_cache(single_flight=True)
    graph = cached_graph.graph(cache, node=cached_graph.aresearch if is_async else cached_graph.research)
    graph_input = {"topic": "trains", "seconds": 0.1}

    async def tasks() -> Any:
        await graph.ainvoke({"topic": "before, in the context that the tasks are made from"})
        return await asyncio.gather(*(graph.ainvoke(graph_input) for _ in range(8)))

    if is_async:
        found = asyncio.run(tasks())
    else:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: graph.invoke(graph_input), range(8)))
    assert ran.count("trains") == 1
    assert len(found) == 8


def test_several_keys_at_once_deadlock_nobody(memory: Memory) -> None:
    cache = CharmCache(memory.store, single_flight=True, lease=20)
    keys = [(("node",), str(number)) for number in range(6)]
    computed: list[str] = []

    def run(order: list[Any]) -> None:
        missing = [key for key in order if key not in cache.get(order)]
        computed.extend(key[1] for key in missing)
        time.sleep(0.02)
        for key in missing:
            cache.set({key: (key[1], None)})

    since = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, [keys[at:] + keys[:at] for at in range(6)]))
    assert sorted(computed) == [key[1] for key in keys]
    assert time.monotonic() - since < 15


# ----------------------------------------------------------------------------------------------- models


@pytest.fixture
def llm_cache(memory: Memory) -> Iterator[CharmLLMCache]:
    cache = memory.get_llm_cache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


def test_a_model_is_asked_once(llm_cache: CharmLLMCache) -> None:
    model = FakeListLLM(responses=["one", "two", "three"])
    assert [model.invoke("a"), model.invoke("a"), model.invoke("b")] == ["one", "one", "two"]
    assert asyncio.run(model.ainvoke("a")) == "one"
    llm_cache.clear()
    assert model.invoke("a") == "three"


def test_a_chat_model_is_asked_once(llm_cache: CharmLLMCache) -> None:
    model = FakeListChatModel(responses=["one", "two"])
    first, again = model.invoke("a"), model.invoke("a")
    assert first.text == again.text == asyncio.run(model.ainvoke("a")).text == "one"
    assert model.invoke("b").text == "two"


def test_usage_comes_back_with_the_answer(memory: Memory, llm_cache: CharmLLMCache) -> None:
    usage: Any = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "output_token_details": {"reasoning": 2}}
    answer = AIMessage("hi", usage_metadata=usage, response_metadata={"model_name": "m", "logprobs": [0.5]})
    model = GenericFakeChatModel(messages=iter([answer]))
    first, again = model.invoke("a"), model.invoke("a")
    for name, value in usage.items():
        assert again.usage_metadata is not None and again.usage_metadata[name] == value  # type: ignore[literal-required]
    assert (again.content, again.response_metadata) == (first.content, first.response_metadata)
    [row] = rows_of(memory)
    assert b"human" not in row.value


def test_caches_of_one_store_are_kept_apart(memory: Memory) -> None:
    caches = [CharmLLMCache(memory.store), CharmLLMCache(memory.store, name="a"), CharmLLMCache(memory.store, name="b")]
    for cache in caches:
        assert cache.lookup("p", "m") is None
        cache.update("p", "m", [])
    caches[1].clear()
    assert [cache.lookup("p", "m") for cache in caches] == [[], None, []]


# ------------------------------------------------------------------------------------------- what goes wrong


class Trap:
    """Says when it is made."""

    sprung: list[Any] = []

    def __init__(self, *given: Any, **named: Any) -> None:
        Trap.sprung.append(given)

    def __reduce__(self) -> Any:
        return Trap, ("pickled",)

    def __setstate__(self, state: Any) -> None:
        Trap.sprung.append(state)


def hostile() -> list[bytes]:
    """Return bytes that some readers run."""
    lc = {"lc": 1, "type": "constructor", "id": ["tests", "test_caches", "Trap"], "kwargs": {"x": 1}}
    codes = [1, 2, 3, 4, 5, 6, 9, 100, 127]
    msgpack = [b"\x01\xc7" + bytes([5, code]) + b"\x94\xa1t\xa1T" for code in codes]
    texts = [pickle.dumps(Trap()), json.dumps([lc]).encode(), b"", b"\x01", bytes(range(256)), b"\x01\xc1"]
    return [
        *texts,
        *(b"\x01" + text for text in texts),
        *msgpack,
        Serializer().dumps([lc]),
        Serializer().dumps({"a": 1}),
    ]


def test_bytes_of_others_run_nothing_and_break_nothing(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    cache, llm = memory.get_langgraph_cache(), memory.get_llm_cache()
    bad = hostile()
    Trap.sprung.clear()
    llm.update("p", "m", [])
    (row,) = rows_of(memory)
    for data in bad:
        for value in (data, seal(row.item, data), seal(row.item, pack(data)), seal(row.item, b"\x00" + data)):
            put(memory, row.item, value)
            assert llm.lookup("p", "m") is None
    cache.set({KEY: (1, None)})
    row = next(each for each in rows_of(memory) if each.space != row.space)
    for data in bad:
        put(memory, row.item, data)
        assert cache.get([KEY]) == {}
        put(memory, row.item, seal(row.item, pack(data)))
        cache.get([KEY])
    assert Trap.sprung == []
    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert {text.partition(":")[0] for text in told} == {"langgraph cache", "llm cache"}
    assert len(told) <= 6, "each kind of fault is told once"


class NotData:
    """What cannot be stored."""


def test_what_cannot_be_stored_is_not_cached(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    cache = memory.get_langgraph_cache()
    for _ in range(3):
        cache.set({KEY: ([("x", NotData())], None), (("node",), "l"): (1, None)})
    assert cache.get([KEY, (("node",), "l")]) == {(("node",), "l"): 1}
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "was not cached" in warning.message and "NotData" in warning.message


@dataclass
class Own:
    """A class of the program's."""

    n: int


def test_a_class_that_may_not_be_restored_is_a_miss(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    memory.get_langgraph_cache().set({KEY: ([("own", Own(1))], None)})
    assert memory.get_langgraph_cache().get([KEY]) == {KEY: [("own", Own(1))]}
    restricted = CharmCache(memory.store, serde=Serializer(allowed=[]))
    assert restricted.get([KEY]) == restricted.get([KEY]) == {}
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "register_type" in warning.message


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": 0},
        {"ttl": -1},
        {"max_entries": 0},
        {"max_bytes": 0},
        {"lease": 0},
        {"lease": "5"},
        {"serde": 1},
        {"ttl": float("nan")},
        {"ttl": float("inf")},
        {"ttl": 10**400},
        {"lease": 10**30},
        {"name": 5},
        {"single_flight": "no"},
    ],
)
def test_options_that_make_no_sense_are_refused(memory: Memory, options: dict[str, Any]) -> None:
    for kind in (CharmCache, CharmLLMCache):
        with pytest.raises(ConfigError, match=next(iter(options))):
            kind(memory.store, **options)


class Down:
    """A driver that reaches nothing."""

    def run(self, make: Callable[[], Any], *, write: bool) -> Any:
        raise StoreUnavailable


def test_a_store_that_is_down_is_a_miss(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for flight in (False, True):
        cache = CharmCache(memory.store, single_flight=flight)
        cache.set({KEY: (1, None)})
        with monkeypatch.context() as patched:
            patched.setattr(memory.store, "driver", Down())
            for _ in range(3):
                cache.set({KEY: (2, None)})
                assert cache.get([KEY]) == {}
        assert cache.get([KEY]) == {KEY: 1}
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 4


def test_a_store_that_was_closed_says_so(memory: Memory) -> None:
    cache = memory.get_langgraph_cache()
    memory.close()
    with pytest.raises(StoreClosed):
        cache.get([KEY])


def test_a_read_only_store_is_read(url: str, ran: list[str]) -> None:
    with open_memory(url) as memory:
        cached_graph.graph(memory.get_langgraph_cache()).invoke({"topic": "trains"})
    with open_memory(f"{url}?mode=ro") as memory:
        graph = cached_graph.graph(memory.get_langgraph_cache())
        assert graph.invoke({"topic": "trains"})["found"]
        assert graph.invoke({"topic": "ships"})["found"]
    assert ran == ["trains", "ships"]


def test_nothing_is_kept_where_nothing_is(ran: list[str]) -> None:
    with open_memory("none://") as memory:
        for flight in (False, True):
            graph = cached_graph.graph(memory.get_langgraph_cache(single_flight=flight))
            assert graph.invoke({"topic": "trains"}) == graph.invoke({"topic": "trains"})
    assert len(ran) == 4


def test_bounds_hold_over_processes_that_each_put_little(url: str) -> None:
    for number in range(60):
        with open_memory(url) as memory:
            CharmCache(memory.store, max_entries=32).set({((), str(number)): (number, None)})
    with open_memory(url) as memory:
        assert len(rows_of(memory)) <= 48
        assert CharmCache(memory.store).get([((), "59")]) == {((), "59"): 59}
