"""Round trips as spans tell them are those that go over the wire: a proxy counts along."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import pytest
from langgraph.store.base import PutOp
from stores import (
    have,
    postgres_server,
    shared_project,
    supabase_server,
    supabase_url,
    tenant_url,
    valkey_server,
    valkey_url,
)
from test_telemetry import Watched, watched  # noqa: F401

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.servers.proxy import Proxy
from charm_checkpoint.testing.samples import checkpoint, config, versions

LOG = [f"a message, number {number} " * 30 for number in range(40)]


class Wire(NamedTuple):
    """A store behind a proxy that counts."""

    url: str
    proxy: Proxy


@pytest.fixture(params=["postgres", "valkey", "supabase"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    if request.param == "supabase":
        have(shared_project)
    port, url = {
        "postgres": lambda: (have(postgres_server).port, tenant_url()),
        "valkey": lambda: (have(valkey_server).port, valkey_url()),
        "supabase": lambda: (supabase_server().port, supabase_url()),
    }[request.param]()
    with Proxy(port) as proxy:
        yield Wire(proxy.through(url), proxy)


def put(memory: Memory, thread: str, count: int, ns: str = "") -> None:
    """Put a line of checkpoints with writes, whose list grows, and which has a value that is not a list."""
    saver, at = memory.get_langgraph_checkpointer(), config(thread, ns)
    for n in range(count):
        made = checkpoint({"log": LOG[: n + 5], "doc": {"n": n, "text": f"{n} " * 900}}, id=f"c{n:04}", version=n + 1)
        at = saver.put(at, made, {"source": "loop", "step": n}, versions(made))
        saver.put_writes(at, [("log", LOG[0])], f"task{n}")


def told(spans: Watched) -> int:
    """Return the round trips that the spans since the last call of this tell."""
    found = spans.exporter.get_finished_spans()
    spans.exporter.clear()
    return sum(int((span.attributes or {}).get("charm_checkpoint.round_trips", 0)) for span in found)  # type: ignore[arg-type]


def operations(memory: Memory, hello: list[dict[str, Any]]) -> dict[str, Callable[[], object]]:
    """Return calls of many kinds, in an order in which each finds what it needs."""
    saver, items = memory.get_langgraph_checkpointer(), memory.get_langgraph_store()
    return {
        "put": lambda: put(memory, "t", 3),
        "get_tuple": lambda: saver.get_tuple(config("t")),
        "list": lambda: list(saver.list(config("t"))),
        "append_messages": lambda: memory.append_messages("t", hello),
        "load_messages": lambda: memory.load_messages("t"),
        "save_messages": lambda: memory.save_messages("t", hello),
        "threads": lambda: list(memory.threads()),
        "threads by size": lambda: list(memory.threads(3, order="size")),
        "history": lambda: list(memory.history("t")),
        "state": lambda: memory.state("t"),
        "conversation": lambda: memory.conversation("t", channel="log"),
        "diff": lambda: memory.diff("t", -1),
        "blame": lambda: memory.blame("t", "log"),
        "size": lambda: memory.size("t"),
        "size of all": lambda: memory.size(),
        "usage": lambda: memory.usage("t"),
        "usage of all": lambda: memory.usage(),
        "pin": lambda: memory.pin("t"),
        "fork": lambda: memory.fork("t", -1),
        "copy": lambda: saver.copy_thread("t", "copy"),
        "item put": lambda: items.put(("a", "b"), "k", {"text": "said"}),
        "item get": lambda: items.get(("a", "b"), "k"),
        "item search": lambda: items.search(("a",)),
        "items": lambda: items.batch([PutOp(("a",), f"{n}", {"n": n}) for n in range(5)]),
        "prune": lambda: saver.prune(["copy"], strategy="keep_latest"),
        "sweep": lambda: memory.sweep({"keep_last": 1}),
        "delete": lambda: saver.delete_thread("copy"),
        "erase": lambda: memory.erase("t"),
    }


def test_round_trips_are_those_of_the_wire(wire: Wire, watched: Watched) -> None:  # noqa: F811
    with open_memory(wire.url) as memory:
        memory.usage("nobody")  # which connects
        told(watched)
        for name, call in operations(memory, [{"role": "user", "content": "hello"}]).items():
            with wire.proxy.counted() as trips:
                call()
            assert (name, told(watched)) == (name, trips()) and trips() > 0


def test_round_trips_of_async_calls_are_those_of_the_wire(wire: Wire, watched: Watched) -> None:  # noqa: F811
    async def go() -> None:
        async with open_memory(wire.url) as memory:
            await memory.ausage("nobody")
            told(watched)
            saver = memory.get_langgraph_checkpointer()
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "get_tuple": lambda: saver.aget_tuple(config("t")),
                "append_messages": lambda: memory.aappend_messages("t", [{"role": "user", "content": "hello"}]),
                "state": lambda: memory.astate("t"),
                "size": lambda: memory.asize("t"),
                "size of all": lambda: memory.asize(),
                "copy": lambda: saver.acopy_thread("t", "copy"),
                "delete": lambda: saver.adelete_thread("copy"),
                "erase": lambda: memory.aerase("t"),
            }
            for name, call in calls.items():
                with wire.proxy.counted() as trips:
                    await call()
                assert (name, told(watched)) == (name, trips()) and trips() > 0

    with open_memory(wire.url) as memory:
        put(memory, "t", 3)
    asyncio.run(go())


def test_what_is_tried_again_counts_each_time(wire: Wire, watched: Watched) -> None:  # noqa: F811
    with open_memory(wire.url) as memory:
        memory.load_messages("t")
        told(watched)
        memory.load_messages("t")
        usual = told(watched)
        wire.proxy.fail("before reply")
        memory.load_messages("t")
        assert told(watched) == usual + 1


def test_the_size_of_a_thread_takes_few_round_trips(wire: Wire) -> None:
    with open_memory(wire.url) as memory:
        put(memory, "t", 30)
        for number in range(12):
            put(memory, "t", 1, ns=f"task:{number}")
        memory.append_messages("t", [{"role": "user", "content": text} for text in LOG])
        memory.size()
        with wire.proxy.counted() as trips:
            report = memory.size("t", top=50)
        assert len(report.values) == 50 and len({each.checkpoint_ns for each in report.channels}) == 13
        assert trips() <= 12
