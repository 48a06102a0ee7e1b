"""Long-term memory beyond what the suite shows of every store."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import GetOp, Item, PutOp, SearchOp

from charm_checkpoint import CharmStore, Memory, open_memory
from charm_checkpoint.errors import ConfigError, ItemConflict, NotSerializable, ReadOnlyStore, StoreClosed, StoreError
from charm_checkpoint.items.handed_out import HandedOut
from charm_checkpoint.items.values import decode, encode, plain, stored
from charm_checkpoint.servers import PostgresServer
from charm_checkpoint.store import Store
from charm_checkpoint.stores.ram import RamBackend, RamDriver

NS = ("users", "7")
NO_TIMES = (-1, "x", None, True, float("nan"), float("inf"), 10**400)


def test_none_accepts_and_forgets() -> None:
    store = open_memory("none://").get_langgraph_store()
    store.put(NS, "k", {"text": "word"})
    assert store.get(NS, "k") is None
    assert store.search((), query="word") == store.list_namespaces() == list(store.items()) == []
    assert store.count() == store.delete_namespace(NS) == store.sweep_ttl() == 0
    assert store.batch([PutOp(NS, "k", {"n": 1})]) == [None]


def test_a_store_without_items_says_so() -> None:
    bare = Store(RamBackend(), RamDriver())
    with pytest.raises(StoreError, match=r"no long-term memory.*writing a store"):
        HandedOut(bare).items(None, None, "wait", {})
    with pytest.raises(ConfigError, match="get_langgraph_store"):
        CharmStore("agent.db")  # type: ignore[arg-type]


def test_the_same_settings_are_the_same_object_in_every_thread() -> None:
    memory = open_memory("memory://")
    index = {"embed": lambda texts: [[1.0]] * len(texts), "dims": 1}
    made: list[Any] = []
    gate = threading.Barrier(8)

    def make() -> None:
        gate.wait()
        made.append((memory.get_langgraph_store(index=index), memory.get_langgraph_cache(), memory.get_llm_cache()))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1


def test_the_settings_are_told_as_langgraphs_own_stores_do() -> None:
    memory = open_memory("memory://")
    index = {"embed": lambda texts: [[1.0]] * len(texts), "dims": 1}
    store = memory.get_langgraph_store(index=index, ttl={"default_ttl": 5})
    assert store.index_config == index and store.ttl_config == {"default_ttl": 5} and store.supports_ttl
    for none in (None, False, {}):
        assert memory.get_langgraph_store(index=none).index_config is None


def test_updates_at_once_lose_nothing(tmp_path: Path) -> None:
    memory = Memory({"url": f"sqlite:///{tmp_path}/a.db"})
    store = memory.get_langgraph_store()

    def add() -> None:
        for _ in range(15):
            store.update(NS, "k", lambda value: {"n": (value or {"n": 0})["n"] + 1})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()

    async def also() -> None:
        async def one(value: Any) -> Any:
            await asyncio.sleep(0)
            return {"n": (value or {"n": 0})["n"] + 1}

        await asyncio.gather(*(store.aupdate(NS, "k", one) for _ in range(15)))

    asyncio.run(also())
    for thread in threads:
        thread.join()
    found = store.get(NS, "k")
    assert found is not None and found.value == {"n": 75}
    memory.close()


def test_an_update_that_others_always_overtake_ends() -> None:
    store = open_memory("memory://").get_langgraph_store()

    def overtaken(value: Any) -> Any:
        store.put(NS, "k", {"n": 0})
        return {"n": 1}

    with pytest.raises(ItemConflict, match="times in a row"):
        store.update(NS, "k", overtaken)


def test_the_forms_of_values() -> None:
    value = {"text": "größe \ud800", "n": 1.5, "inf": float("inf")}
    assert encode(value) == b'\x01{"text":"gr\xc3\xb6\xc3\x9fe \xed\xa0\x80","n":1.5,"inf":Infinity}'
    assert encode({"n": 1}, ["a"]) == b'\x02[{"index":["a"]},{"n":1}]'
    assert encode({"n": 1}, False) == b'\x02[{"index":false},{"n":1}]'
    large = {"n": 16**4000, "\0": {"\0": 1}}
    data = encode(large, ["a"])
    assert data.startswith(b'\x02[{"index":["a"],"big":true},{"n":{"\\u0000":"0x1000')
    assert (decode(data), stored(data).paths) == (large, ["a"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01[]",
        b"\x01{}x",
        b"\x02{}",
        b"\x02[1,2]",
        b'\x01{"a":}',
        b"\x01\xff",
        b"\x01" + b'{"a":' * 100_000,
        b'\x02[{"index":5},{}]',
        b'\x02[{"index":[1]},{}]',
    ],
)
def test_values_that_are_damaged(data: bytes) -> None:
    with pytest.raises(StoreError):
        decode(data)


def test_a_value_from_deep_within_a_program() -> None:
    deep: Any = {}
    for _ in range(190):
        deep = {"a": deep}
    with pytest.raises(NotSerializable, match="too deep"):
        plain({"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": deep}}}}}}}}}}})
    data = encode(plain(deep))

    def descend(levels: int) -> Any:
        return descend(levels - 1) if levels else decode(data)

    assert descend(700) == deep


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"index": ["text"]}, "index is a mapping"),
        ({"index": {"dim": 3}}, "did you mean 'dims'"),
        ({"index": {"dims": 3}}, "give the model as embed"),
        ({"ttl": 60}, "ttl is a mapping"),
        ({"ttl": {"default": 60}}, "did you mean 'default_ttl'"),
        ({"idx": {"dims": 3}}, "did you mean 'index'"),
        ({"time_out": 3}, "did you mean 'timeout'"),
        *(({name: bad}, name) for name in ("chunk", "failures") for bad in (0, -1, 1.5, "x", None, True)),
        *(({name: bad}, name) for name in ("cache_entries", "cache_bytes") for bad in (-1, 1.5, "x", None, True)),
        *(({name: bad}, name) for name in ("timeout", "pause", "cache_delay") for bad in NO_TIMES),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with open_memory("memory://") as memory:
        with pytest.raises(ConfigError, match=said):
            memory.get_langgraph_store(**settings)
        if not {"index", "ttl"} & settings.keys():
            with pytest.raises(ConfigError, match=said):
                memory.get_langgraph_store(index={"embed": lambda texts: [[1.0] for _ in texts]}, **settings)


def test_an_async_function_in_a_blocking_update_is_told() -> None:
    async def change(value: Any) -> dict[str, Any]:
        return {"n": 1}

    with open_memory("memory://") as memory:
        store = memory.get_langgraph_store()
        with pytest.raises(TypeError, match="aupdate"):
            store.update(NS, "k", change)  # type: ignore[arg-type]
        assert asyncio.run(store.aupdate(NS, "k", change)) is not None


def test_sweepers_end_with_their_store() -> None:
    async def in_a_task() -> None:
        async with open_memory("memory://") as memory:
            task = await memory.get_langgraph_store().astart_ttl_sweeper(10**400)
        await asyncio.wait([task], timeout=5)
        assert task.done()

    asyncio.run(in_a_task())
    with open_memory("memory://") as memory:
        store = memory.get_langgraph_store(ttl={"sweep_interval_minutes": 10**400})
        future = store.start_ttl_sweeper()
    future.result(5)
    assert store.stop_ttl_sweeper(5)
    with pytest.raises(StoreClosed):
        store.start_ttl_sweeper()
    with pytest.raises(StoreClosed):
        asyncio.run(store.astart_ttl_sweeper())


def test_a_disk_that_is_full_keeps_no_part_of_a_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_memory("memory://") as memory:
        store = memory.get_langgraph_store()
        for size in (10, 100_000):  # what is left is written as the file is closed, which fails again
            store.put(NS, "k", {"text": "x" * size})
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (64, former[1]))
                with pytest.raises(OSError):
                    store.export(tmp_path / "items.jsonl")
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, former)
            assert list(tmp_path.iterdir()) == []


def test_exports_that_are_cancelled_leave_nothing(tmp_path: Path) -> None:
    async def cancelled(store: CharmStore, steps: int) -> None:
        task = asyncio.create_task(store.aexport(tmp_path / "items.jsonl"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    with open_memory("memory://") as memory:
        store = memory.get_langgraph_store()
        store.put(NS, "k", {"n": 1})
        for steps in range(30):
            asyncio.run(cancelled(store, steps))  # which waits for the threads that were at work
            assert {path.name for path in tmp_path.iterdir()} <= {"items.jsonl"}


def test_a_store_for_graphs() -> None:
    store = open_memory("memory://").get_langgraph_store()
    store.put(NS, "k", {"text": "word"})
    assert isinstance(store.get(NS, "k"), Item)
    with pytest.raises(NotSerializable):
        store.__reduce_ex__(2)


def read_where_nothing_can_be_written(url: str, reading: str) -> None:
    """See that reads which would put off an end, or make vectors by the way, read all the same."""
    index = {"embed": lambda texts: [[1.0, 2.0]] * len(texts), "dims": 2, "search": "hybrid"}
    with open_memory(url) as memory:
        store = memory.get_langgraph_store()
        store.put(NS, "brief", {"text": "a window seat"}, ttl=60)
    with open_memory(reading) as memory:
        for store in (memory.get_langgraph_store(), memory.get_langgraph_store(index=index)):
            item = store.get(NS, "brief", refresh_ttl=True)
            assert item is not None
            assert [found.key for found in store.search(NS)] == ["brief"]
            assert [found.key for found in store.search(NS, query="window")] == ["brief"]
            assert store.get_many([(NS, "brief")], refresh_ttl=True) == [item]
            got, found = store.batch([GetOp(NS, "brief", refresh_ttl=True), SearchOp(NS, query="seat")])
            assert got == item and [each.key for each in found] == ["brief"]
            for write in (
                lambda store=store: store.put(NS, "new", {"n": 1}),
                lambda store=store: store.batch([GetOp(NS, "brief"), PutOp(NS, "new", {"n": 1})]),
            ):
                with pytest.raises(ReadOnlyStore):
                    write()


def test_a_file_that_is_only_read_is_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'agent.db'}"
    read_where_nothing_can_be_written(url, f"{url}?mode=ro")


def test_a_postgres_that_is_only_read_is_read(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    read_where_nothing_can_be_written(url, f"{url}?options=-c%20default_transaction_read_only%3Don")
    postgres.drop_database(url)
