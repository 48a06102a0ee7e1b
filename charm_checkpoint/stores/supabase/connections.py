"""Connections to a Supabase project, made for stores/shared/pools.py: each is a client of supabase-py's of its own.

A client that many calls share keeps its connections itself: an interrupted call may leave one of them taken, or their
lock. Making one takes a tenth of a millisecond.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import httpx
from supabase import AsyncClient, AsyncClientOptions, Client, ClientOptions, acreate_client, create_client

from charm_checkpoint.config.masking import Secret
from charm_checkpoint.config.tracebacks import drop_frames, handled
from charm_checkpoint.runtime.event_loops import end_transport
from charm_checkpoint.stores.supabase.errors import check


@dataclass(frozen=True)
class Project:
    """A Supabase project and how to sign in to it."""

    url: str
    secret: Secret
    token: Callable[[], str] | None = field(repr=False)
    schema: str
    timeout: float
    max_connections: int

    @property
    def key(self) -> str:
        """Return the project's API key."""
        return self.secret.plain()


class RequestContext(NamedTuple):
    """What the request at hand is sent with: the seconds that are left for it, and the user's token."""

    left: float
    token: Secret | None


request_context: ContextVar[RequestContext] = ContextVar("charm_checkpoint_supabase_request")


@dataclass
class HttpConnection:
    """A client, and what it sends its requests with: one connection, which is made at the first.

    ``deadline`` is by when the next request is to be done.
    """

    client: Client | AsyncClient
    http: httpx.Client | httpx.AsyncClient
    deadline: float = math.inf


class HttpMaker:
    """Makes connections to a project, and ends them; see `Maker`."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def open(self, left: float) -> HttpConnection:
        """Return a new client."""
        http = httpx.Client(**self._settings(), event_hooks={"request": [_prepare], "response": [check]})
        options = ClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        outer = handled()
        try:
            return HttpConnection(create_client(self._project.url, self._project.key, options), http)
        except BaseException as error:
            drop_frames(error, outer)
            raise error

    async def aopen(self, left: float) -> HttpConnection:
        """Return a new client for the running event loop."""
        http = httpx.AsyncClient(**self._settings(), event_hooks={"request": [_aprepare], "response": [_acheck]})
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        outer = handled()
        try:
            return HttpConnection(await acreate_client(self._project.url, self._project.key, options), http)
        except BaseException as error:
            drop_frames(error, outer)
            raise error

    def _settings(self) -> dict[str, Any]:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        # Redirects are not followed: the key would go along to wherever they lead.
        return {"timeout": self._project.timeout, "limits": limits, "follow_redirects": False, "verify": _tls()}

    def close(self, connection: HttpConnection, loop: asyncio.AbstractEventLoop | None) -> None:
        """Close a client's connection."""
        # Not by its own close: that waits for a lock, which an interrupted call may have left taken.
        for stream in _streams(connection.http):
            if loop is None:
                stream.close()
            elif (transport := _transport(stream)) is not None:
                end_transport(transport, loop)

    def lend(self, connection: HttpConnection, deadline: float) -> None:
        """Note by when the next request is to be done: each says how long it may take."""
        connection.deadline = deadline

    def is_fit(self, connection: HttpConnection, *, done: bool) -> bool:
        """Tell whether the last answer was read to its end. A connection that rested for too long is made anew."""
        return done

    def is_lost(self, connection: HttpConnection) -> bool:
        """Return False: it cannot be seen."""
        return False

    def test(self, connection: HttpConnection) -> bool:
        """Return True: the client itself looks before it sends."""
        return True

    async def atest(self, connection: HttpConnection) -> bool:
        """Return True: the client itself looks before it sends."""
        return True


@cache
def _tls() -> ssl.SSLContext:
    """Return the certificates to trust: reading them takes longer than many a call."""
    return httpx.create_ssl_context()


def _prepare(request: httpx.Request) -> None:
    found = request_context.get()
    request.extensions["timeout"] = httpx.Timeout(found.left).as_dict()
    if found.token is not None:
        request.headers["Authorization"] = f"Bearer {found.token.plain()}"


async def _aprepare(request: httpx.Request) -> None:
    _prepare(request)


async def _acheck(response: httpx.Response) -> None:
    check(response)


def _streams(http: Any) -> Iterator[Any]:
    """Find the network streams of a client: it names them to nobody."""
    for transport in [http._transport, *http._mounts.values()]:
        for connection in getattr(getattr(transport, "_pool", None), "connections", ()):
            inner = connection
            while inner is not None and not hasattr(inner, "_network_stream"):
                inner = getattr(inner, "_connection", None)  # through a proxy there are several, one in another
            if inner is not None:
                yield inner._network_stream


def _transport(stream: Any) -> Any:
    """Return the event loop's transport below a stream, None if there is none."""
    while stream is not None and not hasattr(stream, "_transport"):
        stream = getattr(stream, "transport_stream", None) or getattr(stream, "_stream", None)
    return stream and stream._transport
