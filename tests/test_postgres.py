"""The Postgres store at work: round trips, indexes, sizes, texts, writers that meet."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median_low
from typing import Any

import psycopg
import pytest
from children.jobs import add_item, config, id_of, item, items, put
from conftest import or_skip
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from stores import pgbouncer_server, postgres_url, shared_database
from workers import scaled

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import NESTED
from charm_checkpoint.errors import ConfigError, ThreadExists
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.servers import PostgresServer
from charm_checkpoint.servers.proxy import Proxy
from charm_checkpoint.stores.postgres_schema import backend as postgres_backend
from charm_checkpoint.testing.graphs import chat, counting


@pytest.fixture
def memory(tenant: str) -> Iterator[Memory]:
    with open_memory(tenant) as memory:
        yield memory


@pytest.fixture
def saver(memory: Memory) -> CharmSaver:
    return memory.get_langgraph_checkpointer()


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[Proxy]:
    with Proxy(postgres.port) as proxy:
        yield proxy


def held(saver: CharmSaver, thread: str = "t") -> Any:
    head = saver.get_tuple(config(thread))
    return head and head.checkpoint["channel_values"]["items"]


# --------------------------------------------------------------------------------- round trips


def test_each_call_is_one_round_trip(tenant: str, proxy: Proxy) -> None:
    conversation = {"messages": [(HumanMessage, AIMessage)[n % 2](f"{item(n)} {n}", id=str(n)) for n in range(200)]}
    with open_memory(proxy.through(tenant)) as memory:
        saver = memory.get_langgraph_checkpointer()
        at = put(saver, config("t"), conversation)
        for number in range(30):
            with proxy.counted() as trips:
                at = put(saver, at, {**conversation, "n": number})
            assert trips() == 1
        with proxy.counted() as trips:
            saver.put_writes(at, [("n", 1), ("messages", conversation["messages"])], "task")
        assert trips() == 1
        with proxy.counted() as trips:
            assert saver.get_tuple(config("t")) is not None
        assert trips() == 1
    with open_memory(proxy.through(tenant)) as memory:
        saver = memory.get_langgraph_checkpointer()
        memory.usage()
        with proxy.counted() as trips:
            head = saver.get_tuple(config("t"))
        assert trips() == 1
        assert head is not None and head.checkpoint["channel_values"] == {**conversation, "n": 29}
        with proxy.counted() as trips:
            assert len(list(saver.list(config("t"), limit=20))) == 20
        assert trips() == 1
        with proxy.counted() as trips:
            saver.delete_thread("t")
        assert trips() == 1


def test_a_turn_makes_no_more_round_trips_than_langgraphs_own_saver(tenant: str, proxy: Proxy) -> None:
    official = proxy.through(postgres_url())

    def trips_of_a_turn(agent: Any) -> int:
        # The usual of several: a turn may open one more connection, and two trips at once may look like one.
        counts = []
        for number in range(5):
            with proxy.counted() as trips:
                agent.invoke({"messages": [("user", str(number))]}, config("t"))
            counts.append(trips())
        return median_low(counts[1:])

    async def trips_of_an_async_turn(agent: Any) -> int:
        counts = []
        for number in range(5):
            with proxy.counted() as trips:
                await agent.ainvoke({"messages": [("user", str(number))]}, config("a"))
            counts.append(trips())
        return median_low(counts[1:])

    async def trips_of_the_official() -> int:
        async with AsyncPostgresSaver.from_conn_string(official) as theirs:
            return await trips_of_an_async_turn(chat(theirs))

    with PostgresSaver.from_conn_string(official) as theirs, open_memory(proxy.through(tenant)) as memory:
        theirs.setup()
        ours = memory.get_langgraph_checkpointer()
        assert trips_of_a_turn(chat(ours)) <= trips_of_a_turn(chat(theirs))
        assert asyncio.run(trips_of_an_async_turn(chat(ours))) <= asyncio.run(trips_of_the_official())


def test_a_slow_network_is_waited_for_as_often_as_said(tenant: str, proxy: Proxy) -> None:
    with open_memory(proxy.through(tenant)) as memory:
        saver = memory.get_langgraph_checkpointer()
        at, _ = add_item(saver, "t")
        proxy.delay = 0.05
        began = time.monotonic()
        with proxy.counted() as trips:
            put(saver, at, {"items": items(300)})
        assert time.monotonic() - began > 0.1
        assert trips() == 1


# ------------------------------------------------------------------------------------- indexes

FILL = """
    INSERT INTO charm_checkpoint.checkpoint (space, id, parent, run, tags, roots, body)
    SELECT c.space, convert_to('t' || n, 'UTF8'), c.parent, c.run,
        CASE mod(n, 1000) WHEN 0 THEN c.tags ELSE ARRAY[mod(n, 7), n, -n] END, ''::bytea, substring(c.body FROM 14)
    FROM generate_series(1, 20000) n, charm_checkpoint.checkpoint c WHERE c.key = %s
"""


def test_filters_use_their_index(postgres: PostgresServer) -> None:
    url = postgres_url()
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        at = put(saver, config("t"), {"n": 1}, user="ann")
        for number in range(50):
            put(saver, config(f"other {number}"), {"n": 1}, user=f"bob {number}")
    with psycopg.connect(url, autocommit=True) as connection:
        [[key]] = connection.execute(
            "SELECT c.key FROM charm_checkpoint.checkpoint c WHERE c.id = %s",
            (b"u" + bytes.fromhex(id_of(at).replace("-", "")),),
        )
        connection.execute(FILL, (key,))
        connection.execute("VACUUM ANALYZE")
        # The filter's own index finds what it is asked for; a plain listing is read in order.
        ann = rows_read(url, connection, lambda saver: list(saver.list(config("t"), filter={"user": "ann"})), 21)
        assert ann["checkpoint_tags"] > 0
        everywhere = rows_read(url, connection, lambda saver: list(saver.list(None, filter={"user": "bob 1"})), 1)
        assert everywhere["checkpoint_tags"] > 0
        latest = rows_read(url, connection, lambda saver: list(saver.list(config("t"), limit=20)), 20)
        older = {"before": config("t", "10000"), "limit": 20}
        middle = rows_read(url, connection, lambda saver: list(saver.list(config("t"), **older)), 20)
        threads = rows_read(url, connection, lambda saver: list(saver.list(None, limit=20)), 20)
        for read in (ann, everywhere, latest, middle, threads):
            assert read["checkpoint"] < 200


def test_filters_on_nested_values_use_indexes(postgres: PostgresServer) -> None:
    url = postgres_url()
    with open_memory(url) as memory:
        at = put(memory.get_langgraph_checkpointer(), config("t"), {"n": 1}, user={"name": "ann"})
        put(memory.get_langgraph_checkpointer(), config("u"), {"n": 1}, user={"name": "bob"})
    with psycopg.connect(url, autocommit=True) as connection:
        [[key]] = connection.execute(
            "SELECT c.key FROM charm_checkpoint.checkpoint c WHERE c.id = %s",
            (b"u" + bytes.fromhex(id_of(at).replace("-", "")),),
        )
        # Among rows that have tags of nested values, some of the first version, which have none.
        mark = int.from_bytes(NESTED, "big")
        connection.execute(
            FILL.replace("ARRAY[mod", f"ARRAY[CASE mod(n, 999) WHEN 0 THEN 0 ELSE {mark} END, mod"), (key,)
        )
        connection.execute("VACUUM ANALYZE")
        old = 20000 // 999
        for filter in ({"user": {"name": "ann"}}, {"user.name": "ann"}):
            for where in (config("t"), None):
                read = rows_read(url, connection, lambda saver: list(saver.list(where, filter=filter)), 21 + old)  # noqa: B023
                assert read["checkpoint_tags"] > 0
                assert read["checkpoint"] < 400


def rows_read(
    url: str, connection: psycopg.Connection[Any], call: Callable[[CharmSaver], list[Any]], count: int
) -> Counter[str]:
    """Make a call that finds so many; return the scans of each index and the rows of each table that it took."""
    before = _counts(connection)
    with open_memory(f"{url}?application_name=counted", auto_setup=False) as memory:
        assert len(call(memory.get_langgraph_checkpointer())) == count
    # What a session counted is known when it is gone.
    while connection.execute("SELECT FROM pg_stat_activity WHERE application_name = 'counted'").fetchall():
        time.sleep(0.01)
    return _counts(connection) - before


def _counts(connection: psycopg.Connection[Any]) -> Counter[str]:
    return Counter(
        dict(
            connection.execute(
                "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes WHERE schemaname = 'charm_checkpoint'"
                " UNION ALL SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables"
                " WHERE schemaname = 'charm_checkpoint'"
            ).fetchall()
        )
    )


# --------------------------------------------------------------------------------------- sizes


def test_large_values_and_many_chunks(tenant: str, memory: Memory, saver: CharmSaver) -> None:
    chance = random.Random(1)
    large = {"items": [chance.randbytes(50 << 20)], "many": [chance.randbytes(300) for _ in range(20_000)]}
    at = put(saver, config("t"), large)
    saver.put_writes(at, [("large", large["items"][0][: 20 << 20])], "task")
    with open_memory(tenant) as other:
        head = other.get_langgraph_checkpointer().get_tuple(config("t"))
        assert head is not None and head.checkpoint["channel_values"] == large
        assert head.pending_writes is not None and len(head.pending_writes[0][2]) == 20 << 20
        assert other.usage().chunks > 500
    memory.save_messages("t", [{"content": chance.randbytes(5 << 20).hex()}])
    with open_memory(tenant) as other:
        assert len(other.load_messages("t")[0]["content"]) == 10 << 20
    saver.delete_thread("t")


def test_what_does_not_fit_into_one_reply_is_asked_for(tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_backend, "ROOM", 20_000)
    monkeypatch.setattr(postgres_backend, "BATCH", 50)
    chance = random.Random(2)
    states = [[chance.randbytes(400).hex() for _ in range(200)] for _ in range(5)]
    with open_memory(tenant) as memory, open_memory(tenant, cache_size=0) as other:
        saver, at = memory.get_langgraph_checkpointer(), config("t")
        for state in states:
            at = put(saver, at, {"items": state})
        memory.save_messages("t", [{"content": text} for text in states[0]])
        reader = other.get_langgraph_checkpointer()
        assert held(reader) == states[-1]
        assert [found.checkpoint["channel_values"]["items"] for found in reader.list(config("t"))] == states[::-1]
        assert [found["content"] for found in other.load_messages("t")] == states[0]


# --------------------------------------------------------------------------------------- texts

ODD = ["\0", "a\0b", "\ud800", "é\udfff", "'\";--", "%s $1", "x" * 10_000, "\0" * 10_000, "€" * 10_000]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_any_text_is_kept_anywhere(text: str, memory: Memory, saver: CharmSaver) -> None:
    at: Any = {"configurable": {"thread_id": text, "checkpoint_ns": text}}
    first = put(saver, at, {"items": [text], text: 1}, run_id=text, **{text: text})
    saver.put_writes(first, [(text, text)], text, text)
    saver.put_writes({"configurable": {**at["configurable"], "checkpoint_id": text}}, [(text, text)], text)
    [found] = saver.list(at, filter={text: text})
    assert found.config == first and found.pending_writes == [(text, text, text)]
    assert found.checkpoint["channel_values"] == {"items": [text], text: 1}
    memory.append_messages(text, [{text: text}])
    assert memory.load_messages(text) == [{text: text}]
    saver.copy_thread(text, text + text)
    assert [other.config["configurable"]["thread_id"] for other in saver.list(None)] == [text + text, text]
    saver.delete_for_runs([text])
    assert list(saver.list(None)) == []


def test_tenants_of_any_name_are_apart(postgres: PostgresServer) -> None:
    names = ["\0", "\ud800", "", "x" * 1000, "x" * 999, "é" * 500, f"{time.time()}"]
    for name in names:
        with open_memory(shared_database(), tenant=name) as memory:
            memory.delete_thread("mine")
            put(memory.get_langgraph_checkpointer(), config("mine"), {"items": [name]})
    for name in names:
        with open_memory(shared_database(), tenant=name) as memory:
            assert held(memory.get_langgraph_checkpointer(), "mine") == [name]
            assert memory.usage("mine").checkpoints == 1
    for name in ("x" * 1001, "é" * 501):
        with pytest.raises(ConfigError, match="longer than 1000 bytes"):
            open_memory(shared_database(), tenant=name)


# --------------------------------------------------------------------------- writers that meet


def test_two_copies_crossing(tenant: str) -> None:
    with open_memory(tenant) as memory, ThreadPoolExecutor(2) as pool:
        saver = memory.get_langgraph_checkpointer()
        for round in range(scaled(20)):
            x, y = f"x{round}", f"y{round}"
            put(saver, config(x), {"items": items(20)})
            put(saver, config(y), {"items": items(20)})
            calls = [pool.submit(saver.copy_thread, *pair) for pair in ((x, y), (y, x))]
            assert [type(call.exception()) for call in calls] == [ThreadExists] * 2
            saver.delete_thread(y)
            calls = [pool.submit(saver.copy_thread, *pair) for pair in ((x, y), (y, x))]
            calls[0].result(10)
            assert held(saver, x) == held(saver, y) == items(20)


def test_prune_and_copy_against_writers(tenant: str) -> None:
    count = scaled(40)

    def write(saver: CharmSaver) -> None:
        for _ in range(count):
            add_item(saver, "t")

    with open_memory(tenant) as ours, open_memory(tenant) as theirs, ThreadPoolExecutor(1) as pool:
        saver = ours.get_langgraph_checkpointer()
        writing = pool.submit(write, theirs.get_langgraph_checkpointer())
        copies = 0
        while not writing.done():
            saver.prune(["t"])
            saver.copy_thread("t", f"copy {copies}")
            copies += 1
        writing.result()
        with open_memory(tenant, cache_size=0) as fresh:
            reader = fresh.get_langgraph_checkpointer()
            assert held(reader) == items(count)
            sizes = [len(held(reader, f"copy {copy}") or []) for copy in range(copies)]
            assert [held(reader, f"copy {copy}") or [] for copy in range(copies)] == [items(size) for size in sizes]
            assert sizes == sorted(sizes)


# ----------------------------------------------------------------------------------- PgBouncer


def test_32_tasks_of_several_tenants_share_a_pooler(postgres: PostgresServer) -> None:
    pooler = or_skip(pgbouncer_server)
    urls = [f"{pooler.new_database()}?tenant={tenant}" for _ in range(2) for tenant in ("a", "b")]

    async def run_all(agents: list[Any]) -> list[Any]:
        runs = [agents[n % 4].ainvoke({"log": [n]}, config(f"task {n}")) for n in range(32)]
        return [found["log"] for found in await asyncio.gather(*runs)]

    stores = [open_memory(url) for url in urls]
    agents = [counting(memory.get_langgraph_checkpointer()) for memory in stores]
    assert asyncio.run(run_all(agents)) == [[n, "one", "two", "three"] for n in range(32)]
    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(agents[n % 4].invoke, {"log": [n]}, config(f"thread {n}")) for n in range(32)]
        assert [call.result()["log"] for call in calls] == [[n, "one", "two", "three"] for n in range(32)]
    for memory in stores:
        assert memory.usage().threads == 16
        memory.close()
