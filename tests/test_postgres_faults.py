"""Postgres out of reach: connections cut anywhere, backends ended, the server restarted or silent."""

from __future__ import annotations

import asyncio
import operator
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from children.jobs import add_item, config, id_of, items, put
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from stores import have
from workers import scaled

from charm_checkpoint import Memory, open_memory, servers
from charm_checkpoint.errors import StoreUnavailable, ThreadExists
from charm_checkpoint.messages.plans import FOLD_BATCHES
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.servers import PostgresServer
from charm_checkpoint.servers.base import free_port
from charm_checkpoint.servers.proxy import FAULTS, Proxy
from charm_checkpoint.stores.postgres_schema.backend import Call

QUICK = [fault for fault in FAULTS if fault != "silent"]


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Yield a server of this module's own, which it may stop."""
    with have(lambda: servers.postgres(tls=request.param == "tls")) as server:
        yield server


@pytest.fixture(scope="module")
def database(server: PostgresServer) -> str:
    return server.new_database()


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def url(server: PostgresServer, database: str, proxy: Proxy, request: pytest.FixtureRequest) -> str:
    """Return the URL of a tenant of its own, by way of the proxy, with TLS where the server has it."""
    mode = "require" if server.certificate else "disable"
    return f"{proxy.through(database)}?sslmode={mode}&tenant={request.node.name}"


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with open_memory(url, timeout="15s") as memory:
        yield memory
        assert memory.store.driver.leased() == 0  # type: ignore[attr-defined]


@pytest.fixture
def saver(memory: Memory) -> CharmSaver:
    return memory.get_langgraph_checkpointer()


def end_backends(server: PostgresServer) -> int:
    """End all sessions of others; return how many."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return len(ended.fetchall())


def held(saver: CharmSaver, thread: str = "t") -> Any:
    head = saver.get_tuple(config(thread))
    return head and head.checkpoint["channel_values"]["items"]


async def aput(saver: CharmSaver, at: Any, count: int) -> Any:
    head: Any = {**empty_checkpoint(), "channel_values": {"items": items(count)}, "channel_versions": {"items": 1}}
    return await saver.aput(at, head, {"source": "loop", "step": 0, "parents": {}}, {"items": 1})


# ------------------------------------------------------------------------------ a call that is cut


@pytest.mark.parametrize("fault", QUICK)
def test_a_cut_call_is_done_once(fault: str, memory: Memory, saver: CharmSaver, proxy: Proxy) -> None:
    at, _ = add_item(saver, "t")
    memory.save_messages("t", [{"n": 0}])
    proxy.fail(fault)
    at = put(saver, at, {"items": items(2)})
    proxy.fail(fault)
    saver.put_writes(at, [("items", 1)], "task")
    proxy.fail(fault)
    head = saver.get_tuple(config("t"))
    assert head is not None and head.pending_writes == [("task", "items", 1)]
    proxy.fail(fault)
    assert [found.metadata.get("charm_conflict") for found in saver.list(config("t"))] == [None, None]
    proxy.fail("", fault)
    memory.append_messages("t", [{"n": 1}])
    assert memory.load_messages("t") == [{"n": 0}, {"n": 1}]
    proxy.fail(fault)
    saver.delete_thread("t")
    assert saver.get_tuple(config("t")) is None
    assert proxy.due == 0


@pytest.mark.parametrize("fault", QUICK)
def test_a_cut_call_is_done_once_in_an_event_loop(fault: str, memory: Memory, saver: CharmSaver, proxy: Proxy) -> None:
    async def work() -> None:
        at = await aput(saver, config("t"), 1)
        await memory.asave_messages("t", [{"n": 0}])
        proxy.fail(fault)
        at = await aput(saver, at, 2)
        proxy.fail(fault)
        await saver.aput_writes(at, [("items", 1)], "task")
        proxy.fail(fault)
        head = await saver.aget_tuple(config("t"))
        assert head is not None and head.pending_writes == [("task", "items", 1)]
        proxy.fail(fault)
        assert ["charm_conflict" in found.metadata async for found in saver.alist(config("t"))] == [False, False]
        proxy.fail("", fault)
        await memory.aappend_messages("t", [{"n": 1}])
        assert await memory.aload_messages("t") == [{"n": 0}, {"n": 1}]
        proxy.fail(fault)
        await saver.adelete_thread("t")
        assert await saver.aget_tuple(config("t")) is None
        assert proxy.due == 0

    asyncio.run(work())


LOST = ("before reply", "amid reply", "after request")


@pytest.mark.parametrize("fault", LOST)
def test_a_conflict_is_told_though_its_reply_was_lost(
    fault: str, memory: Memory, saver: CharmSaver, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.pause = 0.2
    at, _ = add_item(saver, "t")
    head = put(saver, at, {"items": items(2)})
    with caplog.at_level("WARNING", "charm_checkpoint"):
        proxy.fail(fault)
        mine = put(saver, at, {"items": items(3)})
        assert proxy.due == 0
        [record] = [record for record in caplog.records if id_of(head) in record.getMessage()]
        assert id_of(mine) in record.getMessage()
        caplog.clear()
        proxy.fail(fault)
        put(saver, mine, {"items": items(4)})
        assert not caplog.records
    marks = [found.metadata.get("charm_conflict") for found in saver.list(config("t"))]
    assert marks == [None, id_of(head), None, None]


@pytest.mark.parametrize("fault", LOST)
def test_writes_whose_reply_was_lost_are_counted_once(
    fault: str, memory: Memory, saver: CharmSaver, proxy: Proxy
) -> None:
    proxy.pause = 0.2
    at, _ = add_item(saver, "t")
    for number in range(1, 3):
        proxy.fail(fault)
        saver.put_writes(at, [("items", number)], f"task {number}")
        assert memory.usage("t").writes == number
    head = saver.get_tuple(config("t"))
    assert head is not None and head.pending_writes == [("task 1", "items", 1), ("task 2", "items", 2)]


def test_an_append_made_again_is_known_though_others_appended_since(memory: Memory) -> None:
    memory.save_messages("t", [{"n": 0}])
    calls: list[Call] = []
    execute = memory.store.driver._execute  # type: ignore[attr-defined]

    def watch(operation: Any) -> Any:
        calls.append(operation)
        return execute(operation)

    memory.store.driver._execute = watch  # type: ignore[attr-defined]
    memory.append_messages("t", [{"n": 1}])
    [append] = [call for call in calls if call.function == "append_messages"]
    for number in range(2, 4 * FOLD_BATCHES):
        memory.append_messages("t", [{"n": number}])
        if number in (2, 60):
            execute(append)
    execute(append)
    memory.append_messages("t", [{"n": number + 1}])
    assert memory.load_messages("t") == [{"n": n} for n in range(number + 2)]
    memory.delete_messages("t")
    execute(append)
    assert memory.load_messages("t") == []


def test_a_copy_is_not_made_again_once_sent(memory: Memory, saver: CharmSaver, proxy: Proxy) -> None:
    add_item(saver, "t")
    proxy.fail("", "before reply")
    with pytest.raises(StoreUnavailable, match="may have been done or not: look before you try again"):
        saver.copy_thread("t", "copy")
    assert held(saver, "copy") == items(1)
    with pytest.raises(ThreadExists):
        saver.copy_thread("t", "copy")
    proxy.fail("", "amid request")
    with pytest.raises(StoreUnavailable, match="may have been done or not"):
        saver.copy_thread("t", "other")
    assert held(saver, "other") is None


def test_a_copy_finds_a_connection_that_works(server: PostgresServer, saver: CharmSaver) -> None:
    add_item(saver, "t")
    assert end_backends(server) == 1
    saver.copy_thread("t", "copy")
    asyncio.run(saver.acopy_thread("copy", "third"))
    assert held(saver, "third") == items(1)


def test_many_dead_connections_are_left_at_once(server: PostgresServer, memory: Memory, saver: CharmSaver) -> None:
    async def all_at_once() -> float:
        await asyncio.gather(*(saver.aget_tuple(config("t")) for _ in range(50)))
        assert await asyncio.to_thread(end_backends, server) > 5
        began = time.monotonic()
        await asyncio.gather(*(aput(saver, config(str(number)), 3) for number in range(50)))
        return time.monotonic() - began

    add_item(saver, "t")
    assert asyncio.run(all_at_once()) < 3
    assert memory.usage().threads == 51


# ----------------------------------------------------------------------------- a server out of reach


def test_a_silent_server_ends_in_time(url: str, proxy: Proxy) -> None:
    with open_memory(url, timeout="3s") as memory:
        saver = memory.get_langgraph_checkpointer()
        at, _ = add_item(saver, "t")

        def ends(call: Callable[[], object]) -> None:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"Postgres at 127.0.0.1:\d+/charm_\w+ does not answer: "):
                call()
            assert 2.8 < time.monotonic() - began < 4

        proxy.silent = True
        proxy.silence()
        ends(lambda: put(saver, at, {"items": items(2)}))
        proxy.silent = False
        assert asyncio.run(saver.aget_tuple(config("t"))) is not None
        proxy.silent = True
        ends(lambda: asyncio.run(saver.aget_tuple(config("t"))))
        ends(memory.usage)
        proxy.silent = False
        proxy.cut()
        assert held(saver) in (items(1), items(2))


def test_a_cancelled_call_does_not_wait_for_a_silent_server(url: str, proxy: Proxy) -> None:
    async def cancel(saver: CharmSaver) -> None:
        assert await saver.aget_tuple(config("t")) is None
        proxy.fail("silent")
        began = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(saver.aget_tuple(config("t")), 0.2)
        assert time.monotonic() - began < 1
        assert await saver.aget_tuple(config("t")) is None

    with open_memory(url) as memory:
        asyncio.run(cancel(memory.get_langgraph_checkpointer()))
        assert memory.store.driver.leased() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("call_mode", ["blocking", "async"])
def test_a_server_that_was_never_there_is_told_soon(
    call_mode: str, url: str, proxy: Proxy, server: PostgresServer
) -> None:
    if call_mode == "blocking":
        url = url.replace(f":{proxy.port}/", f":{free_port()}/")
    proxy.silent = True
    with open_memory(url) as memory:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="refused" if call_mode == "blocking" else "timeout") as caught:
            memory.setup() if call_mode == "blocking" else asyncio.run(memory.asetup())
        assert time.monotonic() - began < 6
        assert server.password not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_is_waited_for(mode: str, server: PostgresServer, memory: Memory, saver: CharmSaver) -> None:
    for number in range(2):
        assert held(saver) == (items(number) or None)
        restart = threading.Thread(target=server.restart, args=(mode,))
        restart.start()
        add_item(saver, "t")
        memory.append_messages("t", [{"n": number}])
        restart.join()
    assert held(saver) == items(2)
    assert memory.load_messages("t") == [{"n": 0}, {"n": 1}]


# ------------------------------------------------------------------------------ a run through it all


class State(TypedDict):
    said: Annotated[list[str], operator.add]


class Turns:
    """A conversation that goes on, turn by turn, after whatever error."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        builder = StateGraph(State)
        for name in ("one", "two"):
            builder.add_node(name, lambda state, name=name: {"said": [f"{name} {len(state['said'])}"]})
        builder.add_edge(START, "one")
        builder.add_edge("one", "two")
        builder.add_edge("two", END)
        self.agent = builder.compile(checkpointer=memory.get_langgraph_checkpointer())
        self.errors = 0

    @staticmethod
    def expected(turns: int) -> list[str]:
        return [text for n in range(turns) for text in (f"turn {n}", f"one {3 * n + 1}", f"two {3 * n + 2}")]

    def take(self, number: int) -> None:
        """Take a turn, and resume it until it is done.

        The state of the thread shows what a node has written before the step is committed, and a new input discards
        it: so the state of the checkpoint is asked for.
        """
        while True:
            try:
                at = self.agent.get_state(self.agent.get_state(config("t")).config)
                if not self._is_begun(at, number):
                    self.agent.invoke({"said": [f"turn {number}"]}, config("t"))
                elif at.next:
                    self.agent.invoke(None, config("t"))
                else:
                    break
            except StoreUnavailable:
                self.errors += 1
        while True:
            try:
                if {"n": number} not in self.memory.load_messages("t"):
                    self.memory.append_messages("t", [{"n": number}])
                return
            except StoreUnavailable:
                self.errors += 1

    async def atake(self, number: int) -> None:
        """Take a turn in the event loop."""
        while True:
            try:
                at = await self.agent.aget_state((await self.agent.aget_state(config("t"))).config)
                if not self._is_begun(at, number):
                    await self.agent.ainvoke({"said": [f"turn {number}"]}, config("t"))
                elif at.next:
                    await self.agent.ainvoke(None, config("t"))
                else:
                    break
            except StoreUnavailable:
                self.errors += 1
        while True:
            try:
                if {"n": number} not in await self.memory.aload_messages("t"):
                    await self.memory.aappend_messages("t", [{"n": number}])
                return
            except StoreUnavailable:
                self.errors += 1

    def _is_begun(self, at: Any, number: int) -> bool:
        said = at.values.get("said", [])
        assert said[: 3 * number] == self.expected(number), "an acknowledged turn is gone, or came twice"
        return f"turn {number}" in said


class Trouble:
    """Faults of every kind, one a turn, and no more than so many."""

    def __init__(self, server: PostgresServer, proxy: Proxy, count: int) -> None:
        kinds = [*QUICK * 5, "backends", "backends", "cut"]
        self._left = random.sample(["fast", "immediate", "silent"] * 2 + random.choices(kinds, k=count - 6), count)
        self._server, self._proxy = server, proxy
        self.happened = 0

    def __bool__(self) -> bool:
        return bool(self._left)

    def strike(self) -> threading.Thread:
        """Let the next happen in the course of what comes now."""
        kind = self._left.pop() if self._left else ""
        self.happened += kind != ""
        if kind in FAULTS:
            self._proxy.fail(*[""] * random.randrange(6), kind)
        thread = threading.Thread(target=self._strike, args=(kind,))
        thread.start()
        return thread

    def _strike(self, kind: str) -> None:
        time.sleep(random.uniform(0, 0.03))
        if kind == "backends":
            end_backends(self._server)
        elif kind == "cut":
            self._proxy.cut()
        elif kind in ("fast", "immediate"):
            self._server.restart(kind)


@pytest.mark.parametrize("call_mode", ["blocking", "async"])
def test_a_conversation_survives_100_faults(call_mode: str, url: str, proxy: Proxy, server: PostgresServer) -> None:
    trouble = Trouble(server, proxy, scaled(50))  # in each mode, so 100 on each way there
    loop = asyncio.new_event_loop()
    with open_memory(url, timeout="1.5s") as memory:
        turns, number = Turns(memory), 0
        while trouble or proxy.due:
            strike = trouble.strike()
            if call_mode == "blocking":
                turns.take(number)
            else:
                loop.run_until_complete(turns.atake(number))
            number += 1
            strike.join()
        assert trouble.happened == scaled(50) <= number
        assert memory.store.driver.leased() == 0  # type: ignore[attr-defined]
        assert turns.errors < 25
    loop.close()
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        assert memory.load_messages("t") == [{"n": n} for n in range(number)]
        turns = Turns(memory)
        turns.take(number)
        assert turns.agent.get_state(config("t")).values["said"] == Turns.expected(number + 1)
        marks = [found.metadata.get("charm_conflict") for found in saver.list(config("t"))]
        assert not any(marks), "an exact retry passed for a conflict"
