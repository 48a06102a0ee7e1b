"""Connections to Postgres: how many, whose, for how long, in threads, event loops and forks, and their end."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from children.jobs import add_item, config, items, put
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.config.options import parse_url
from charm_checkpoint.errors import StoreClosed, StoreError, StoreUnavailable
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.servers import PostgresServer
from charm_checkpoint.testing.graphs import counting


@pytest.fixture
def url(tenant: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of a tenant of its own, whose connections are known by their name."""
    return f"{tenant}&application_name={name_of(request)}"


def name_of(request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("[", "-").replace("]", "")[:60]


class Watch:
    """Counts the sessions of a test."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self._server = server
        self._name = name

    def __call__(self) -> int:
        with psycopg.connect(self._server.url) as connection:
            return len(self.ids(connection))

    def ids(self, connection: psycopg.Connection[Any]) -> set[int]:
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", (self._name,))
        return {row[0] for row in found}

    def await_none(self) -> None:
        """Wait until there are none; the server takes a moment to notice that one was closed."""
        deadline = time.monotonic() + 60
        while self():
            assert time.monotonic() < deadline, f"{self()} sessions are left"
            time.sleep(0.01)


@pytest.fixture
def sessions(postgres: PostgresServer, request: pytest.FixtureRequest) -> Watch:
    return Watch(postgres, name_of(request))


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    """Let what is collected late warn in the test that left it."""
    yield
    gc.collect()


def leased(memory: Any) -> int:
    return int(memory.store.driver.leased())


def held(saver: CharmSaver, thread: str = "t") -> Any:
    head = saver.get_tuple(config(thread))
    return head and head.checkpoint["channel_values"]["items"]


# ------------------------------------------------------------------------------------ how many


def test_32_tasks_share_two_connections(url: str, sessions: Watch) -> None:
    async def run_all(agent: Any) -> list[Any]:
        runs = [agent.ainvoke({"log": [number]}, config(f"task {number}")) for number in range(32)]
        results = await asyncio.gather(*runs)
        assert await asyncio.to_thread(sessions) <= 2
        return results

    with open_memory(url, max_connections=2) as memory:
        agent = counting(memory.get_langgraph_checkpointer())
        results = asyncio.run(run_all(agent))
        assert [found["log"] for found in results] == [[number, "one", "two", "three"] for number in range(32)]
        assert leased(memory) == 0
        with ThreadPoolExecutor(32) as pool:
            calls = [pool.submit(agent.invoke, {"log": []}, config(f"thread {number}")) for number in range(32)]
            assert [call.result()["log"] for call in calls] == [["one", "two", "three"]] * 32
        assert leased(memory) == 0
        assert memory.usage().threads == 64
        assert sessions() <= 2
    sessions.await_none()


def test_too_few_connections_are_told_in_time(url: str) -> None:
    async def hold_and_ask(memory: Any) -> None:
        lease = memory.store.driver._pools.alease()
        await lease.aopen(5)
        with pytest.raises(StoreUnavailable, match="at work"):
            await memory.ausage()
        lease.end()
        await memory.ausage()

    with open_memory(url, max_connections=1, timeout="0.3s") as memory:
        add_item(memory.get_langgraph_checkpointer(), "t")
        lease = memory.store.driver._pools.lease()  # type: ignore[attr-defined]
        lease.open(5)
        assert leased(memory) == 1
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"all 1 connections were at work for 0\.3 s.*Raise max_connections"):
            memory.usage()
        assert 0.25 < time.monotonic() - began < 5
        lease.end()
        asyncio.run(hold_and_ask(memory))
        assert leased(memory) == 0


def test_a_call_that_waits_for_a_lock_ends_in_time(url: str, postgres: PostgresServer) -> None:
    with open_memory(url, timeout="0.5s") as memory:
        saver = memory.get_langgraph_checkpointer()
        at, _ = add_item(saver, "t")
        with psycopg.connect(url.partition("?")[0]) as blocker:
            blocker.execute("LOCK TABLE charm_checkpoint.write IN ACCESS EXCLUSIVE MODE")
            for call in (saver.put_writes, lambda *args: asyncio.run(saver.aput_writes(*args))):
                with pytest.raises(StoreUnavailable, match="no answer came in time"):
                    call(at, [("items", 1)], "task")
        assert leased(memory) == 0
        assert held(saver) == items(1)


def test_a_cancelled_call_gives_its_connection_back(url: str, postgres: PostgresServer) -> None:
    async def cancel_often(saver: CharmSaver) -> None:
        for number in range(60):
            calls = [asyncio.create_task(saver.aget_tuple(config("t"))) for _ in range(6)]
            await asyncio.sleep(number * 0.0001)
            for call in calls:
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(found is None or isinstance(found, asyncio.CancelledError) for found in results)
        assert await saver.aget_tuple(config("t")) is None

    with open_memory(url, max_connections=3, timeout="5s") as memory:
        memory.setup()
        asyncio.run(cancel_often(memory.get_langgraph_checkpointer()))
        assert leased(memory) == 0


def test_connections_do_not_outlive_their_time(url: str, sessions: Watch) -> None:
    with open_memory(url, max_lifetime="0.2s") as memory, psycopg.connect(url.partition("?")[0]) as watch:
        memory.usage()
        [first] = sessions.ids(watch)
        watch.rollback()
        memory.usage()
        assert sessions.ids(watch) == {first}
        watch.rollback()
        time.sleep(0.25)
        memory.usage()
        assert first not in sessions.ids(watch)
    with open_memory(url, max_idle="0.1s") as memory:
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda number: add_item(memory.get_langgraph_checkpointer(), str(number)), range(5)))
        time.sleep(0.15)
        memory.usage()
        assert sessions() == 1


# --------------------------------------------------------------------------------- event loops


def test_loops_that_ended_leave_no_connection(url: str, sessions: Watch) -> None:
    async def read(saver: CharmSaver) -> None:
        await asyncio.gather(*(saver.aget_tuple(config(str(number))) for number in range(3)))

    memory = open_memory(url)
    saver = memory.get_langgraph_checkpointer()
    for _ in range(5):
        asyncio.run(read(saver))
    sessions.await_none()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(read(saver))
    loop.close()
    asyncio.run(read(saver))
    sessions.await_none()
    del memory, saver
    gc.collect()


def test_a_store_that_nobody_keeps_closes_its_connections(url: str, sessions: Watch) -> None:
    memory = open_memory(url)
    memory.usage()
    assert sessions() == 1
    del memory
    gc.collect()
    sessions.await_none()


# ----------------------------------------------------------------------------------------- end


def test_close_from_odd_places(url: str, sessions: Watch) -> None:
    async def close_inside(way: str) -> None:
        memory = open_memory(url)
        await memory.ausage()
        await asyncio.to_thread(memory.usage)
        if way == "close":
            memory.close()
        elif way == "thread":
            await asyncio.to_thread(memory.close)
        else:
            await memory.aclose()
        memory.close()
        await memory.aclose()
        with pytest.raises(StoreClosed):
            await memory.ausage()
        with pytest.raises(StoreClosed):
            memory.usage()

    for way in ("close", "thread", "aclose"):
        asyncio.run(close_inside(way))
        sessions.await_none()
    memory = open_memory(url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(memory.ausage())
    memory.close()
    sessions.await_none()
    loop.close()
    open_memory(url).close()


def test_close_while_calls_are_at_work(url: str, sessions: Watch) -> None:
    for _ in range(3):
        memory = open_memory(url, max_connections=2)
        saver, done = memory.get_langgraph_checkpointer(), []

        def work(thread: str, saver: CharmSaver = saver, done: list[int] = done) -> None:
            with pytest.raises(StoreClosed):
                while True:
                    add_item(saver, thread)
                    asyncio.run(saver.aget_tuple(config(thread)))
                    done.append(1)

        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(work, str(number)) for number in range(4)]
            while len(done) < 8:
                time.sleep(0.001)
            memory.close()
            assert [call.result(10) for call in calls] == [None] * 4
        assert leased(memory) == 0
        sessions.await_none()


def test_a_process_may_end_without_closing(url: str, sessions: Watch) -> None:
    script = (
        "import asyncio, sys, threading; from charm_checkpoint import open_memory; memory = open_memory(sys.argv[1]);"
        "memory.usage(); asyncio.run(memory.ausage());"
        "thread = threading.Thread(target=memory.usage); thread.start(); thread.join()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script, url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    sessions.await_none()


# --------------------------------------------------------------------------------------- forks


def _in_child(saver: CharmSaver) -> None:
    assert held(saver) == items(1)
    add_item(saver, "child")
    assert asyncio.run(saver.aget_tuple(config("child"))) is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_has_connections_of_its_own(url: str, sessions: Watch) -> None:
    with open_memory(url) as memory, psycopg.connect(url.partition("?")[0], autocommit=True) as watch:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        before = sessions.ids(watch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that other threads may hold locks
            for _ in range(2):
                process = multiprocessing.get_context("fork").Process(target=_in_child, args=(saver,))
                process.start()
                process.join(30)
                assert process.exitcode == 0
        while sessions.ids(watch) != before:
            time.sleep(0.01)
        assert held(saver, "child") == items(2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_users_pool_is_not_used_in_a_child_it_was_not_opened_in(url: str) -> None:
    conninfo = url.partition("?")[0]

    def use(early: Memory, late: Memory) -> bool:
        with pytest.raises(StoreError, match="pool= was opened before this process was forked.*open=False"):
            early.usage()
        pools[1].open()
        return late.usage().threads == 0

    pools = [ConnectionPool(conninfo, min_size=1, max_size=2, open=opened) for opened in (True, False)]
    with open_memory(url, pool=pools[0]) as early, open_memory(url, pool=pools[1]) as late:
        early.setup()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if use(early, late) else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert early.usage().threads == 0
    pools[0].close()


# ----------------------------------------------------------------------------- the user's own


@pytest.mark.parametrize("kwargs", [{}, {"autocommit": True}, {"row_factory": psycopg.rows.dict_row}])
def test_a_users_own_pools(url: str, sessions: Watch, kwargs: dict[str, Any]) -> None:
    conninfo = url.partition("?")[0]

    async def use(saver: CharmSaver) -> None:
        assert (await saver.aget_tuple(config("t"))) is not None
        await saver.aput_writes(config("t", "early"), [("items", 1)], "task")

    async def use_async_pool() -> None:
        async with AsyncConnectionPool(conninfo, min_size=1, max_size=2, kwargs=kwargs, open=False) as pool:
            async with open_memory(url, async_pool=pool) as memory:
                await use(memory.get_langgraph_checkpointer())
            assert not pool.closed

    with ConnectionPool(conninfo, min_size=1, max_size=2, kwargs=kwargs, open=True) as pool:
        with open_memory(url, pool=pool) as memory:
            saver = memory.get_langgraph_checkpointer()
            add_item(saver, "t")
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(lambda number: add_item(saver, str(number)), range(8)))
            assert sessions() == 0
            asyncio.run(use_async_pool())
            assert memory.usage().threads == 9
        assert not pool.closed
    with open_memory(url, pool=pool) as memory, pytest.raises(StoreUnavailable, match="closed"):
        began = time.monotonic()
        memory.usage()
    assert time.monotonic() - began < 1


@pytest.mark.filterwarnings("ignore:.*instead of the option (async_)?connect:DeprecationWarning")
def test_connections_that_the_user_makes(url: str, sessions: Watch) -> None:
    conninfo = url.partition("?")[0]
    made: list[str] = []

    def connect() -> psycopg.Connection[Any]:
        made.append("blocking")
        return psycopg.connect(conninfo)

    async def async_connect() -> psycopg.AsyncConnection[Any]:
        made.append("async")
        return await psycopg.AsyncConnection.connect(conninfo, row_factory=psycopg.rows.dict_row)

    with open_memory(url, connect=connect, async_connect=async_connect) as memory:
        saver = memory.get_langgraph_checkpointer()
        for _ in range(3):
            add_item(saver, "t")
        assert asyncio.run(saver.aget_tuple(config("t"))) is not None
        assert sessions() == 0
    with open_memory(url) as memory:
        assert held(memory.get_langgraph_checkpointer()) == items(3)
    assert made == ["blocking", "async"]


def test_a_password_that_changes_is_asked_for(url: str, postgres: PostgresServer) -> None:
    role, current = f"rotating_{os.getpid()}", ["first"]
    asked: list[str] = []

    def password() -> str:
        asked.append(current[0])
        return current[0]

    with open_memory(url) as memory:
        memory.setup()
    database = parse_url(url).database
    postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'first'")
    grants = ("USAGE ON SCHEMA", "ALL ON ALL TABLES IN SCHEMA", "ALL ON ALL SEQUENCES IN SCHEMA")
    postgres.execute("".join(f"GRANT {what} charm_checkpoint TO {role};" for what in grants), database)
    other = postgres.database_url(database, role, "wrong") + "?" + url.partition("?")[2]
    with open_memory(other, password=password, max_lifetime="0.1s") as memory:
        saver = memory.get_langgraph_checkpointer()
        put(saver, config("t"), {"items": items(1)})
        postgres.execute(f"ALTER ROLE {role} PASSWORD 'second'")
        current[0] = "second"
        time.sleep(0.12)
        assert held(saver) == items(1)
        time.sleep(0.12)
        assert asyncio.run(saver.aget_tuple(config("t"))) is not None
        assert asked == ["first", "second", "second"]
        assert "second" not in repr(memory.store.driver._pools.settings)  # type: ignore[attr-defined]
        current[0] = "stale"
        time.sleep(0.12)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="refused the login") as caught:
            held(saver)
        assert time.monotonic() - began < 1
        assert "stale" not in str(caught.value)
    postgres.execute(f"DROP OWNED BY {role}", database)
    postgres.execute(f"DROP ROLE {role}")


def test_no_thread_is_left_behind(url: str) -> None:
    before = threading.active_count()
    memory = open_memory(url)
    memory.usage()
    assert threading.active_count() <= before  # one that an earlier test left may have ended meanwhile
    memory.close()
