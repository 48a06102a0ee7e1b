"""Supabase over its HTTP API: plans are in procedures.py, what is sent in rpc.py; here is the driver.

One call is one request to one procedure. Clients are supabase-py's, blocking and async.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
import weakref
from base64 import urlsafe_b64decode
from collections.abc import AsyncGenerator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import httpx
from supabase import AsyncClient, AsyncClientOptions, Client, ClientOptions, acreate_client, create_client

from charm_checkpoint.backends.patience import Attempt, Failure, Pause, patiently
from charm_checkpoint.backends.pg_schema import SCHEMA
from charm_checkpoint.backends.procedures import Call, Install, ProcedureBackend, Version
from charm_checkpoint.backends.rpc import VERSION, arguments, procedure, rows
from charm_checkpoint.backends.supabase_errors import check, judge, missing_schema, not_ours
from charm_checkpoint.config import Location, Option, duration, parse_url, text, whole
from charm_checkpoint.errors import ConfigError, StoreClosed
from charm_checkpoint.plan import MakePlan, Plan, arun, run
from charm_checkpoint.store import Store

T = TypeVar("T")

URL_VARIABLES = ("NEXT_PUBLIC_SUPABASE_URL", "SUPABASE_URL")
KEY_VARIABLES = ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_KEY")
"""Where the project and its key are looked for, in this order, as Charm's own Supabase memory does."""

OPENING = 10.0
"""Seconds to wait for a project at first use: a wrong address should be told soon."""

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that are reached without TLS when the URL does not say."""


def token_or_callback(value: object) -> Any:
    """Return an access token, or a function that returns one."""
    if value is None or callable(value) or isinstance(value, str):
        return value
    raise ConfigError("is an access token, or a function that returns one")


OPTIONS = (
    Option("key", text, "", f"the project's API key; default ${' or $'.join(KEY_VARIABLES)}"),
    Option("token", token_or_callback, None, "a signed-in user's access token, or a function that returns it"),
    Option("tenant", text, None, "whose threads these are; default the signed-in user's id, else the empty tenant"),
    Option("schema", text, SCHEMA, "the Postgres schema that holds the tables"),
    Option("timeout", duration, 30.0, "how long a call may take, waiting and trying again included"),
    Option("pool_size", whole, 10, "connections at most, for blocking calls and for each event loop"),
)
"""What a URL's query, a config or keywords may say about a Supabase store."""


@dataclass(frozen=True)
class Project:
    """A Supabase project and how to sign in to it."""

    url: str
    key: str = field(repr=False)
    token: Callable[[], str] | None = field(repr=False)
    schema: str
    timeout: float
    pool_size: int


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a Supabase project; it is reached when it is needed."""
    key = _plain("key", options["key"] or _variable("key", KEY_VARIABLES))
    if not options["pool_size"]:
        raise ConfigError("pool_size: it is at least 1")
    schema = options["schema"]
    procedure(schema)
    read = _reader(options["token"])
    project = Project(_project_url(location), key, read, schema, options["timeout"], options["pool_size"])
    tenant = options["tenant"]
    if tenant is None:
        tenant = "" if read is None else subject(read())
    return Store(ProcedureBackend(tenant), SupabaseDriver(project))


def _reader(token: Any) -> Callable[[], str] | None:
    if token is None or callable(token):
        return token  # type: ignore[no-any-return]
    return lambda: token


def _plain(option: str, secret: object) -> str:
    """Return a key or token; what cannot go into a header would be quoted by the error that says so."""
    plain = secret.strip() if isinstance(secret, str) else ""
    if not plain or not plain.isascii() or not plain.isprintable() or " " in plain:
        raise ConfigError(f"{option}: it is empty, or holds what no {option} does, such as a blank")
    return plain


def _project_url(location: Location) -> str:
    if not location.hosts:
        location = parse_url(_variable("url", URL_VARIABLES))
    if location.scheme not in ("http", "https", "supabase") or not location.host:
        raise ConfigError(f"a Supabase project's URL is like https://<project>.supabase.co, not {location}")
    if len(location.hosts) > 1 or location.user is not None:
        raise ConfigError("a Supabase URL names one host and no user; the key goes into key=")
    host, port = location.hosts[0]
    scheme = location.scheme if location.scheme != "supabase" else "http" if host in LOCAL_HOSTS else "https"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}{f':{port}' if port else ''}{location.path.rstrip('/')}"


def _variable(option: str, names: tuple[str, ...]) -> str:
    found = next((value for name in names if (value := os.environ.get(name))), None)
    if found is None:
        raise ConfigError(f"a Supabase store needs its {option}: give {option}=, or set ${' or $'.join(names)}")
    return found


def subject(token: str) -> str:
    """Return the user id that an access token is for; the server checks the token, this does not.

    Raises `ConfigError` for what is not one.
    """
    try:
        body = token.split(".")[1]
        found = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"]
    except (AttributeError, IndexError, ValueError, KeyError, TypeError):
        found = None
    if not found or not isinstance(found, str):
        raise ConfigError("token: it is not an access token of a signed-in user (a JWT with a `sub`)")
    return found


class SupabaseDriver:
    """Runs plans over HTTP, natively in both halves."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._lock = Lock()
        self._closed = False
        self._blocking: list[tuple[Client, httpx.Client]] = []
        self._loops: dict[asyncio.AbstractEventLoop, tuple[AsyncClient, AsyncGenerator[None, None]]] = {}
        self._end = weakref.finalize(self, _end, self._blocking)
        _all.add(self)

    def start_over(self) -> None:
        """Make ready for a forked child, which has no business with the parent's sockets."""
        self._end.detach()
        _inherited.extend([*self._blocking, *self._loops.values()])
        closed = self._closed
        self.__init__(self.project)  # type: ignore[misc]
        self._closed = closed

    # ----------------------------------------------------------------- running

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan, blocking; each of its operations is a transaction."""
        return run(make(), lambda operation: run(self._tries(operation), self._step))

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan without blocking the event loop."""

        async def execute(operation: Any) -> Any:
            return await arun(self._tries(operation), self._astep)

        return await arun(make(), execute)

    def _tries(self, operation: Any) -> Plan[Any]:
        if isinstance(operation, Install):
            raise missing_schema(self.project.url, self.project.schema)
        timeout = min(self.project.timeout, OPENING) if isinstance(operation, Version) else self.project.timeout
        return patiently(operation, timeout, self._judge)

    def _judge(self, operation: Any, error: Exception) -> Failure:
        return judge(self.project.url, self.project.schema, operation, error)

    def _asked(self, step: Attempt) -> Asked:
        token = self.project.token
        return Asked(max(step.left, 0.001), None if token is None else _plain("token", token()))

    def _request(self, operation: Call | Version) -> dict[str, str]:
        if isinstance(operation, Call):
            return arguments(operation)
        return {"function": VERSION, "arguments": "[]"}

    def _reply(self, operation: Call | Version, data: Any) -> Any:
        try:
            return rows(operation, data) if isinstance(operation, Call) else int(data or 0)
        except (TypeError, ValueError) as error:
            raise not_ours(self.project.url, "an answer of another kind") from error

    # ---------------------------------------------------------------- blocking

    def _step(self, step: Attempt | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        client = self._client()
        _asked.set(self._asked(step))
        found = client.rpc(procedure(self.project.schema), self._request(step.operation)).execute()
        return self._reply(step.operation, found.data)

    def _client(self) -> Client:
        with self._lock:
            if self._closed:
                raise StoreClosed()
            if not self._blocking:
                http = httpx.Client(**self._settings(), event_hooks={"request": [_prepare], "response": [check]})
                options = ClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
                self._blocking.append((create_client(self.project.url, self.project.key, options), http))
            return self._blocking[0][0]

    def _settings(self) -> dict[str, Any]:
        limits = httpx.Limits(max_connections=self.project.pool_size, max_keepalive_connections=self.project.pool_size)
        # Redirects are not followed: the key would go along to wherever they lead.
        return {"timeout": self.project.timeout, "limits": limits, "follow_redirects": False, "verify": _tls()}

    # ------------------------------------------------------------------- async

    async def _astep(self, step: Attempt | Pause) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        client = await self._aclient()
        _asked.set(self._asked(step))
        found = await client.rpc(procedure(self.project.schema), self._request(step.operation)).execute()
        return self._reply(step.operation, found.data)

    async def _aclient(self) -> AsyncClient:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise StoreClosed()
        found = self._loops.get(loop)
        if found is None:
            for ended in [loop for loop in list(self._loops) if loop.is_closed()]:
                self._loops.pop(ended, None)
            http = httpx.AsyncClient(**self._settings(), event_hooks={"request": [_aprepare], "response": [_acheck]})
            options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
            client = await acreate_client(self.project.url, self.project.key, options)
            life = _life(http)
            found = self._loops.setdefault(loop, (client, life))
            await (anext(life) if found[1] is life else http.aclose())
        return found[0]

    # ----------------------------------------------------------------- closing

    def close(self) -> None:
        """Close the connections; those of an event loop that runs elsewhere are closed there."""
        for loop, (_, life) in self._shut():
            if loop.is_closed():
                continue
            if loop.is_running():
                loop.call_soon_threadsafe(_finish, loop, life)
            else:
                loop.run_until_complete(life.aclose())

    async def aclose(self) -> None:
        """Close the connections, without blocking the event loop."""
        here = self._loops.pop(asyncio.get_running_loop(), None)
        if here is not None:
            await here[1].aclose()
        self.close()

    def _shut(self) -> list[tuple[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]]]:
        with self._lock:
            self._closed = True
            loops = list(self._loops.items())
            self._loops.clear()
            _end(self._blocking)
        return loops


@cache
def _tls() -> ssl.SSLContext:
    """Return the certificates to trust: reading them takes longer than many a call."""
    return httpx.create_ssl_context()


async def _life(http: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    """Close a client when its event loop ends: `asyncio.run` closes the generators that are under way there."""
    try:
        yield
    finally:
        await http.aclose()


_finishing: set[asyncio.Task[None]] = set()


def _finish(loop: asyncio.AbstractEventLoop, life: AsyncGenerator[None, None]) -> None:
    task = loop.create_task(life.aclose())
    _finishing.add(task)
    task.add_done_callback(_finishing.discard)


def _end(blocking: list[tuple[Client, httpx.Client]]) -> None:
    while blocking:
        blocking.pop()[1].close()


class Asked(NamedTuple):
    """What goes with the request at hand: seconds that are left for it, and the user's token."""

    left: float
    token: str | None


_asked: ContextVar[Asked] = ContextVar("charm_checkpoint_supabase_asked")


def _prepare(request: httpx.Request) -> None:
    asked = _asked.get()
    request.extensions["timeout"] = httpx.Timeout(asked.left).as_dict()
    if asked.token is not None:
        request.headers["Authorization"] = f"Bearer {asked.token}"


async def _aprepare(request: httpx.Request) -> None:
    _prepare(request)


async def _acheck(response: httpx.Response) -> None:
    check(response)


_inherited: list[Any] = []
"""Clients of a forked parent's, not to be used nor closed here."""

_all: weakref.WeakSet[SupabaseDriver] = weakref.WeakSet()


def _after_fork() -> None:
    for driver in list(_all):
        driver.start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
