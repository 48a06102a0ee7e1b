"""What the store uses of redis-py beyond its public interface does what it is used for, in this version of it."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stores import have, valkey_server

from charm_checkpoint.servers.proxy import Proxy

redis: Any = pytest.importorskip("redis")


from charm_checkpoint.stores import redis as package  # noqa: E402
from charm_checkpoint.stores.redis import client_internals  # noqa: E402
from charm_checkpoint.stores.redis.connections import Endpoint, RedisMaker, aexchange, exchange  # noqa: E402

PING = [("PING",)]


@pytest.fixture
def maker() -> RedisMaker:
    return maker_at(have(valkey_server).port)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(have(valkey_server).port) as proxy:
        yield proxy


def maker_at(port: int) -> RedisMaker:
    endpoint = Endpoint("plain", (("127.0.0.1", port),), {"protocol": 2, "password": have(valkey_server).password})
    return RedisMaker(endpoint, endpoint.servers()[0])


def until(seconds: float) -> Any:
    return Endpoint("plain", (), {}, wait=seconds).until(seconds)


def test_a_blocking_connection_is_open_until_it_is_closed(maker: RedisMaker) -> None:
    connection = maker.open(5)
    assert client_internals.is_open(connection) and maker.is_fit(connection, done=True)
    assert exchange(PING, until(5), connection) == [b"PONG"] and maker.test(connection)
    maker.close(connection, None)
    assert not client_internals.is_open(connection) and not maker.is_fit(connection, done=True)


def test_an_async_connection_is_open_until_it_is_closed(maker: RedisMaker) -> None:
    async def use() -> None:
        connection = await maker.aopen(5)
        assert client_internals.is_open(connection) and maker.is_fit(connection, done=True)
        assert await aexchange(PING, until(5), connection) == [b"PONG"] and await maker.atest(connection)
        maker.close(connection, asyncio.get_running_loop())
        assert not client_internals.is_open(connection) and not maker.is_fit(connection, done=True)
        assert not await maker.atest(connection)
        maker.close(connection, asyncio.get_running_loop())  # once more

    asyncio.run(use())


def test_an_async_connection_is_closed_from_another_thread_and_without_its_loop(maker: RedisMaker) -> None:
    loop = asyncio.new_event_loop()
    one, other = (loop.run_until_complete(maker.aopen(5)) for _ in range(2))
    thread = threading.Thread(target=maker.close, args=(one, loop))
    thread.start()
    thread.join()
    loop.close()
    maker.close(other, loop)
    assert not client_internals.is_open(one) and not client_internals.is_open(other)


def test_a_reply_that_nobody_read_is_seen_and_so_is_an_end(proxy: Proxy) -> None:
    maker = maker_at(proxy.port)
    connection = maker.open(5)
    connection.send_packed_command(connection.pack_commands([*PING, *PING]), check_health=False)
    assert connection.read_response() == b"PONG"
    assert holds(lambda: not maker.test(connection))
    maker.close(connection, None)
    ended = maker.open(5)
    assert maker.test(ended)
    proxy.cut()
    assert holds(lambda: not maker.test(ended))
    maker.close(ended, None)


def test_an_async_connection_tells_the_same(proxy: Proxy) -> None:
    async def use() -> None:
        maker, loop = maker_at(proxy.port), asyncio.get_running_loop()
        connection = await maker.aopen(5)
        await connection.send_packed_command(connection.pack_commands([*PING, *PING]), check_health=False)
        assert await connection.read_response() == b"PONG"
        assert await aholds(lambda: not client_internals.is_quiet(connection)) and not await maker.atest(connection)
        maker.close(connection, loop)
        ended = await maker.aopen(5)
        assert await maker.atest(ended)
        await asyncio.to_thread(proxy.cut)
        assert await aholds(lambda: not client_internals.is_quiet(ended)) and not await maker.atest(ended)
        maker.close(ended, loop)

    asyncio.run(use())


def test_a_silent_server_is_waited_for_as_long_as_each_exchange_says(proxy: Proxy) -> None:
    async def use() -> float:
        connection = await maker.aopen(5)
        assert proxy.silence()
        began = time.monotonic()
        with pytest.raises((redis.exceptions.TimeoutError, asyncio.TimeoutError)):
            await aexchange(PING, until(0.6), connection)
        maker.close(connection, asyncio.get_running_loop())
        return time.monotonic() - began

    maker = maker_at(proxy.port)
    connection = maker.open(5)
    assert exchange(PING, until(5), connection) == [b"PONG"]
    assert proxy.silence()
    began = time.monotonic()
    with pytest.raises(redis.exceptions.TimeoutError):
        exchange(PING, until(0.6), connection)
    assert 0.25 < time.monotonic() - began < 2
    maker.close(connection, None)
    assert 0.25 < asyncio.run(use()) < 2


def holds(condition: Callable[[], bool]) -> bool:
    """Tell whether a condition holds within some seconds."""
    return asyncio.run(aholds(condition))


async def aholds(condition: Callable[[], bool]) -> bool:
    for _ in range(1000):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


def test_nothing_else_of_the_store_reaches_into_a_connection() -> None:
    private = re.compile(r"connection\._|redis\.\w*\._|from redis\._|getattr\(connection, \"_")
    reaching = [file.name for file in Path(package.__path__[0]).glob("*.py") if private.search(file.read_text("utf-8"))]
    assert reaching == ["client_internals.py"]
