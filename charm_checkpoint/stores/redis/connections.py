"""Connections to Redis, blocking and async, made from the `redis` package for stores/shared/pools.py.

Its clients and pools are not used. An interrupt leaves a pool's lock taken, or a connection in it on which somebody
else's reply is still to come; a sentinel's or a cluster's client has more of them inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from typing import Any, Literal, NamedTuple, TypeAlias

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.exceptions
import redis.retry
from redis.backoff import NoBackoff

from charm_checkpoint.config.login_hints import told_password
from charm_checkpoint.config.masking import Hidden
from charm_checkpoint.config.tracebacks import drop_frames, handled
from charm_checkpoint.config.url import Host
from charm_checkpoint.errors import ConfigError, StoreUnavailable
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.runtime.event_loops import end_transport
from charm_checkpoint.stores.redis import client_internals
from charm_checkpoint.stores.redis.connect_errors import (
    FAILED,
    PROBE_TIMEOUT,
    LastingError,
    cause_of,
    is_odd,
    lasting,
    one_sided,
)

# Half of the package is typed, and another half in each of its versions.
_blocking: Any = redis
_async: Any = redis.asyncio

_FAILED = (*FAILED, asyncio.TimeoutError)
"""Errors that connecting may raise; the frames of their tracebacks hold the password."""

PORT, SENTINEL_PORT = 6379, 26379

PART, LEAST = 0.5, 0.3
"""Parts of a call's time: how long one attempt may wait for a server at most, and how long even the last one may."""

Command: TypeAlias = "Sequence[Any]"


class Until(NamedTuple):
    """How long to wait for a server: till ``deadline``, and ``part`` seconds at most, but ``least`` in any case."""

    deadline: float
    part: float
    least: float

    def rest(self) -> float:
        """Return the seconds that are left for an attempt."""
        return max(self.least, self.deadline - monotonic())

    def step(self) -> float:
        """Return the seconds to wait for the server in one step of an attempt, such as one reply."""
        return min(self.part, self.rest())


class Server(NamedTuple):
    """One server's address."""

    host: str
    port: int
    is_sentinel: bool = False


@dataclass(frozen=True)
class Endpoint:
    """Where the servers are. ``settings`` are those of each connection, ``sentinel`` those to sentinels.

    A password among them may be a function, which is asked for each new connection. ``wait`` is how long a call may
    go on trying, in seconds.
    """

    kind: Literal["plain", "cluster", "sentinel"]
    hosts: tuple[Host, ...]
    settings: Mapping[str, Any] = field(repr=False)
    size: int = 50
    wait: float = 10.0
    socket: str = ""
    service: str = ""
    sentinel: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def servers(self) -> list[Server]:
        """Return what the URL names: the server, sentinels, or nodes of a cluster."""
        sentinel = self.kind == "sentinel"
        port = SENTINEL_PORT if sentinel else PORT
        return [Server(host or "localhost", given or port, sentinel) for host, given in self.hosts or ((None, None),)]

    @property
    def tls(self) -> bool:
        """Tell whether TLS is spoken, with sentinels, too."""
        return bool(self.settings.get("ssl"))

    def until(self, left: float) -> Until:
        """Return how long to wait for a server in a call that is to be over in so many seconds."""
        return Until(monotonic() + left, self.wait * PART, self.wait * LEAST)

    def settings_of(self, server: Server) -> dict[str, Any]:
        """Return what a connection to a server is made with now: a function is asked for the password."""
        settings = Hidden(self.sentinel if server.is_sentinel else self.settings)
        if callable(settings.get("password")):
            settings["password"] = _asked_password(settings["password"])
        return settings

    def asks(self, server: Server) -> bool:
        """Tell whether the password comes from a function, which may take its time."""
        return callable((self.sentinel if server.is_sentinel else self.settings).get("password"))

    def connection(self, server: Server, settings: Mapping[str, Any], package: Any = _blocking) -> Any:
        """Return a connection, not connected yet: a blocking one, or one for the running event loop."""
        settings = {**settings, "retry": package.retry.Retry(NoBackoff(), 0)}
        tls = settings.pop("ssl", False)
        if self.socket:
            settings.pop("socket_keepalive", None)
            return package.UnixDomainSocketConnection(path=self.socket, **settings)
        kind = package.SSLConnection if tls else package.Connection
        if tls and not _takes_key_password(kind) and settings.pop("ssl_password"):
            raise ConfigError("tls_key_password: this version of redis-py cannot use it: pip install -U redis")
        return kind(host=server.host, port=server.port, **settings)


@cache
def _takes_key_password(kind: type) -> bool:
    """Tell whether a connection can be given its key's password: async ones could not always."""
    return "ssl_password" in signature(kind).parameters


def _asked_password(ask: Callable[[], object]) -> str:
    try:
        return told_password(ask())
    except OSError as error:  # which would pass for one of the connection's
        raise StoreUnavailable(f"the function that password= names failed: {type(error).__name__}") from error


class RedisMaker:
    """Makes connections to one server, and ends them; see `Maker`."""

    def __init__(self, endpoint: Endpoint, server: Server) -> None:
        self._endpoint = endpoint
        self._server = server
        self._was_connected = False  # whether a connection was ever made
        self._probed = False  # and nothing found

    def open(self, left: float) -> Any:
        """Return a new connection; each step of making it takes a part of so many seconds at most."""
        outer = handled()
        try:
            connection = self._endpoint.connection(self._server, self._settings(left))
            connection.connect()
        except BaseException as error:
            found, odd = self._classified(error, outer)
            if odd:
                found = self._probe()
            if found is not None:
                raise found from error
            raise error
        self._was_connected = True
        return connection

    async def aopen(self, left: float) -> Any:
        """Return a new connection for the running event loop."""
        outer, connection = handled(), None
        try:
            connection = self._endpoint.connection(self._server, await self._asettings(left), _async)
            await connection.connect()
        except BaseException as error:
            if connection is not None:
                self.close(connection, asyncio.get_running_loop())
            found, odd = self._classified(error, outer)
            if odd:
                found = await asyncio.to_thread(self._probe)
            if found is not None:
                raise found from error
            raise error
        self._was_connected = True
        return connection

    def _classified(self, error: BaseException, outer: BaseException | None) -> tuple[LastingError | None, bool]:
        """Return what to raise in place of an error, if it lasts; and whether to look into what it means."""
        drop_frames(error, outer, *_FAILED)
        if not isinstance(error, FAILED):
            return None, False
        cause = cause_of(error, outer)
        found = self._lasting(cause)
        return found, found is None and self._is_odd(error, cause)

    async def _asettings(self, left: float) -> dict[str, Any]:
        if self._endpoint.asks(self._server):
            return await asyncio.to_thread(self._settings, left)
        return self._settings(left)

    def _settings(self, left: float) -> dict[str, Any]:
        """Return what a connection is made with, for an attempt of so many seconds."""
        settings = self._endpoint.settings_of(self._server)
        part = self._endpoint.until(left).step()
        if self._endpoint.tls and not self._was_connected and not self._probed:
            part = min(part, PROBE_TIMEOUT)  # a server without TLS says nothing to one who begins it
        return {**settings, "socket_timeout": part, "socket_connect_timeout": part}

    def _lasting(self, cause: BaseException) -> LastingError | None:
        """Return what to raise in place of an error that will not pass."""
        # A name that was once found, or that a sentinel or a cluster's node told, may be found again.
        given = self._server in self._endpoint.servers() and not self._was_connected
        settings = self._endpoint.sentinel if self._server.is_sentinel else self._endpoint.settings
        return lasting(cause, self._server.host, settings, self._endpoint.socket, given=given)

    def _is_odd(self, error: Exception, cause: BaseException) -> bool:
        """Tell whether an error may mean that only one side speaks TLS: that is looked into till nothing is found."""
        known = self._was_connected or self._probed or self._endpoint.socket
        return not known and is_odd(error, cause, tls=self._endpoint.tls)

    def _probe(self) -> LastingError | None:
        """Find out whether only one side speaks TLS, or the server speaks to nobody."""
        shown = "ssl_certfile" in self._endpoint.settings
        found = one_sided(self._server.host, self._server.port, tls=self._endpoint.tls, shown=shown)
        self._probed = found is None
        return found

    def close(self, connection: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        """Close a connection."""
        if loop is None:
            connection.disconnect()
            return
        if (writer := client_internals.take_writer(connection)) is not None:
            end_transport(writer.transport, loop, writer)

    def lend(self, connection: Any, deadline: float) -> None:
        """Do nothing: each exchange says how long its connection waits."""

    def is_fit(self, connection: Any, *, done: bool) -> bool:
        """Tell whether the last call's replies were all read, and the connection is open."""
        return done and client_internals.is_open(connection)

    def is_lost(self, connection: Any) -> bool:
        """Return False: `Servers.learn` sees to that."""
        return False

    def test(self, connection: Any) -> bool:
        """Tell whether the connection has not been closed by the server, nor holds a reply that nobody asked for."""
        try:
            return not connection.can_read(timeout=0)
        except (redis.exceptions.RedisError, OSError):
            return False

    async def atest(self, connection: Any) -> bool:
        """Tell the same of an async connection."""
        return client_internals.is_quiet(connection)


# ---------------------------------------------------------------------------------- exchanges


def exchange(commands: Sequence[Command], until: Until, connection: Any) -> list[Any]:
    """Send commands in one go and return their replies; what the server refuses is an error among these."""
    client_internals.set_timeout(connection, until.step())
    connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    return [_reply(connection) for _ in commands]


async def aexchange(commands: Sequence[Command], until: Until, connection: Any) -> list[Any]:
    """Send commands as `exchange` does."""
    connection.socket_timeout = until.step()
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    return [await _areply(connection) for _ in commands]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.exceptions.ResponseError as error:
        return error


async def _areply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except redis.exceptions.ResponseError as error:
        return error
