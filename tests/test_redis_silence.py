"""Redis when servers fall silent: how long that takes; and how many connections are made."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stores import (
    beside,
    have,
    valkey_cluster_server,
    valkey_cluster_url,
    valkey_sentinel_server,
    valkey_server,
    valkey_url,
)

from charm_checkpoint import open_memory
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.servers.proxy import Proxy
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode

pytest.importorskip("redis")


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    mode = CALL_MODES[request.param]()
    yield mode
    mode.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(have(valkey_server).port) as proxy:
        yield proxy


def test_a_server_that_is_silent_is_not_waited_for_without_end(proxy: Proxy, mode: CallMode) -> None:
    with open_memory(proxy.through(have(valkey_url)), timeout="300ms") as memory:
        memory.load_messages("t")
        proxy.silent = True
        proxy.cut()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            InMode(memory, mode).load_messages("t")
        assert time.monotonic() - began < 2
        InMode(memory, mode).close()


def test_connections_that_fall_silent_cost_one_wait_and_no_more(proxy: Proxy, mode: CallMode) -> None:
    with open_memory(proxy.through(have(valkey_url)), timeout="2s") as memory:

        async def all_at_once() -> None:
            await asyncio.gather(*(memory.aload_messages(f"{n}") for n in range(8)))

        mode.run(lambda: in_threads(8, lambda n: memory.load_messages(f"{n}")), all_at_once)
        proxy.silence()
        began = time.monotonic()
        for _ in range(4):
            assert InMode(memory, mode).load_messages("t") == []
        assert 0.9 < time.monotonic() - began < 1.9
        InMode(memory, mode).close()


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_servers_that_are_silent_are_asked_last(mode: CallMode, kind: str) -> None:
    urls = {
        "cluster": valkey_cluster_url,
        "sentinel": lambda: f"{valkey_sentinel_server().url}&prefix=silent-{mode.name}",
    }
    with socket.create_server(("127.0.0.1", 0)) as silent:  # which accepts nobody
        url = beside(have(urls[kind]), f"127.0.0.1:{silent.getsockname()[1]}")
        with open_memory(url, timeout="2s") as memory:
            twin, servers, waits = InMode(memory, mode), memory.store.driver._servers, []  # type: ignore[attr-defined]
            for _ in range(3):
                began = time.monotonic()
                assert twin.load_messages("t") == []
                waits.append(time.monotonic() - began)
                servers._primary = servers._slots = None
            assert waits[0] < 1.9 and max(waits[1:]) < 0.9
            twin.close()


def in_threads(count: int, call: Callable[[int], object]) -> None:
    """Call with each number, all at once."""
    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("kind", ["plain", "cluster", "sentinel"])
def test_no_more_connections_than_said_to_any_server(mode: CallMode, kind: str) -> None:
    places = {
        "plain": valkey_url,
        "cluster": valkey_cluster_url,
        "sentinel": lambda: f"{valkey_sentinel_server().url}&prefix=most",
    }
    url = have(places[kind])
    servers: dict[str, Callable[[], Any]] = {
        "plain": lambda: [valkey_server()],
        "cluster": lambda: valkey_cluster_server().nodes,
        "sentinel": lambda: valkey_sentinel_server().nodes,
    }
    nodes = servers[kind]()

    def made() -> list[int]:
        return [int(node.info("stats")["total_connections_received"]) for node in nodes]

    with open_memory(url, max_connections=3) as memory:

        async def all_at_once() -> None:
            await asyncio.gather(*(memory.aload_messages(f"{n}") for n in range(60)))

        before = made()
        mode.run(lambda: in_threads(30, lambda n: memory.load_messages(f"{n}")), all_at_once)
        # Each look is a connection, too, and replicas and sentinels may come by.
        assert max(after - earlier for after, earlier in zip(made(), before, strict=True)) <= 3 + 2
        InMode(memory, mode).close()
