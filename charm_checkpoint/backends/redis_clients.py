"""Clients for one server, a cluster or a sentinel set, blocking and async, from the `redis` package."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.retry
import redis.sentinel
from redis.backoff import NoBackoff

from charm_checkpoint.location import Host

# Half of the package is typed, and another half in each of its versions.
_blocking: Any = redis
_async: Any = redis.asyncio

PORT, SENTINEL_PORT = 6379, 26379


@dataclass(frozen=True)
class Endpoint:
    """Where the servers are. ``settings`` are those of each connection, ``sentinel`` those to sentinels."""

    kind: Literal["plain", "cluster", "sentinel"]
    hosts: tuple[Host, ...]
    settings: Mapping[str, Any] = field(repr=False)
    size: int = 50
    wait: float = 10.0
    socket: str = ""
    service: str = ""
    sentinel: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def client(self) -> Any:
        """Make a blocking client; only a cluster's connects at once."""
        return self._client(_blocking, {**self.settings, "retry": _blocking.retry.Retry(NoBackoff(), 0)}, {})

    def aclient(self) -> Any:
        """Make an async client, for the running event loop."""
        settings = {**self.settings, "retry": _async.retry.Retry(NoBackoff(), 0)}
        # An async cluster client refuses calls above max_connections, where others let them wait; and after so many
        # redirects (reinitialize_steps) it closes the connections that other tasks are using.
        return self._client(_async, settings, {"max_connections": 2**31, "reinitialize_steps": 0})

    def _client(self, package: Any, settings: dict[str, Any], of_cluster: dict[str, Any]) -> Any:
        if self.kind == "cluster":
            nodes = [package.cluster.ClusterNode(host, port or PORT) for host, port in self.hosts]
            return package.cluster.RedisCluster(startup_nodes=nodes, **of_cluster, **settings)
        if self.kind == "sentinel":
            places = [(host, port or SENTINEL_PORT) for host, port in self.hosts]
            asking = {**self.sentinel, "retry": settings["retry"]}
            sentinels = package.sentinel.Sentinel(places, sentinel_kwargs=asking, **settings)
            return sentinels.master_for(self.service)
        return package.Redis.from_pool(self._pool(package, settings))

    def at(self, host: str, port: int) -> Endpoint:
        """Return one server of a cluster as an endpoint of its own."""
        return Endpoint("plain", ((host, port),), self.settings, self.size, self.wait)

    def _pool(self, package: Any, settings: dict[str, Any]) -> Any:
        kind = package.Connection
        if self.socket:
            kind = package.UnixDomainSocketConnection
            settings = {**settings, "path": self.socket}
            for name in ("ssl", "socket_keepalive"):
                settings.pop(name, None)
        else:
            host, port = self.hosts[0] if self.hosts else ("localhost", None)
            settings = {**settings, "host": host or "localhost", "port": port or PORT}
            if settings.pop("ssl", False):
                kind = package.SSLConnection
        return package.BlockingConnectionPool(
            max_connections=self.size, timeout=self.wait, connection_class=kind, **settings
        )


# A client that a forked child inherits is not its own: closing it would talk to the parent's server.
_inherited: list[Any] = []
_all: weakref.WeakSet[Clients] = weakref.WeakSet()


class Clients:
    """The blocking client of a process, and an async one for each event loop, made when they are needed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._client: Any = None
        self._loops: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]] = {}
        _all.add(self)

    def start_over(self) -> None:
        """Make ready for a forked child."""
        _inherited.append((self._client, self._loops))
        self._lock, self._client, self._loops = threading.Lock(), None, {}

    def client(self) -> Any:
        """Return the blocking client."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._endpoint.client()
        return self._client

    async def aclient(self) -> Any:
        """Return the running event loop's client."""
        loop = asyncio.get_running_loop()
        held = self._loops.get(loop)
        if held is None:
            self._forget_closed()
            client = self._endpoint.aclient()
            held = self._loops[loop] = (client, self._until_shutdown(loop, client))
            await held[1].asend(None)
        return held[0]

    async def _until_shutdown(self, loop: asyncio.AbstractEventLoop, client: Any) -> AsyncGenerator[None, None]:
        """Close the client when the loop shuts down its generators, as `asyncio.run` does before it ends."""
        try:
            yield
        finally:
            self._loops.pop(loop, None)
            for one in (client, *_sentinels(client)):
                await one.aclose()

    def _forget_closed(self) -> None:
        for loop in [loop for loop in list(self._loops) if loop.is_closed()]:
            _abandon(self._loops.pop(loop)[0])

    def reconnect(self) -> None:
        """Have new connections made: the server at the address may be another one by now. A cluster's client knows."""
        if self._endpoint.kind != "cluster":
            self._client = None  # it closes its own when those that are using it have done

    async def areconnect(self) -> None:
        """Drop the idle connections of the running event loop."""
        if self._endpoint.kind != "cluster":
            await (await self.aclient()).connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close every client."""
        client, self._client = self._client, None
        if client is not None:
            for one in (client, *_sentinels(client)):
                one.close()
        here = _running_loop()
        for loop, (_, guard) in list(self._loops.items()):
            if loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(guard.aclose(), loop)
                if loop is not here:
                    closing.result()
            elif here is None and not loop.is_closed():
                loop.run_until_complete(guard.aclose())
            else:
                _abandon(self._loops.pop(loop)[0])

    async def aclose(self) -> None:
        """Close every client, from an event loop."""
        held = self._loops.get(asyncio.get_running_loop())
        if held is not None:
            await held[1].aclose()
        await asyncio.to_thread(self.close)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _sentinels(client: Any) -> list[Any]:
    """Return the clients by which a client asks sentinels for its server; it does not close them itself."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [] if manager is None else list(manager.sentinels)


def _abandon(client: Any) -> None:
    """Close the sockets of a client whose loop can no longer do it, so that nothing warns of them."""
    if hasattr(client, "nodes_manager"):
        client._initialize = True  # that is, it is not
    for connection in [found for one in (client, *_sentinels(client)) for found in _connections(one)]:
        writer = getattr(connection, "_writer", None)
        connection._reader = connection._writer = None
        transport: Any = getattr(writer, "transport", None)
        socket = getattr(transport, "_sock", None)
        if socket is not None:
            socket.close()
            with suppress(AttributeError):
                transport._closing, transport._sock = True, None


def _connections(client: Any) -> Iterator[Any]:
    manager = getattr(client, "nodes_manager", None)
    if manager is not None:
        for node in [*manager.nodes_cache.values(), *manager.startup_nodes.values()]:
            yield from node._connections
    else:
        pool = client.connection_pool
        yield from [*pool._available_connections, *pool._in_use_connections]


def _after_fork() -> None:
    for clients in list(_all):
        clients.start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
