"""Supabase over its HTTP API: plans are in postgres_schema/backend.py, what is sent in rpc.py; here is the driver.

One call is one request to one procedure. Clients are supabase-py's, blocking and async; see connections.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import httpx
from postgrest.exceptions import APIError

from charm_checkpoint.config.masking import Secret
from charm_checkpoint.config.options import (
    Location,
    Option,
    call_timeout,
    non_negative_int,
    parse_url,
    text,
    text_or_function,
)
from charm_checkpoint.config.tracebacks import drop_frames, handled, unseen
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.plan import MakePlan, Plan, arun, run
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.runtime.event_loops import is_interpreter_ending
from charm_checkpoint.store import Store
from charm_checkpoint.stores.postgres_schema.backend import Install, PostgresBackend, Version, is_once, repeated
from charm_checkpoint.stores.postgres_schema.items import PostgresItems
from charm_checkpoint.stores.postgres_schema.schema import SCHEMA
from charm_checkpoint.stores.shared.pools import PoolLimits, Pools
from charm_checkpoint.stores.shared.retry import Attempt, Failure, Pause, with_retries
from charm_checkpoint.stores.supabase.connections import (
    HttpConnection,
    HttpMaker,
    Project,
    RequestContext,
    request_context,
)
from charm_checkpoint.stores.supabase.errors import Busy, NotTheApi, classify, missing_schema, not_ours
from charm_checkpoint.stores.supabase.rpc import arguments, procedure, reply
from charm_checkpoint.telemetry.operation import note

T = TypeVar("T")

URL_VARIABLES = ("NEXT_PUBLIC_SUPABASE_URL", "SUPABASE_URL")
KEY_VARIABLES = ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_KEY")
"""Where the project and its key are looked for, in this order, as Charm's own Supabase memory does."""

OPENING = 10.0
"""Seconds to wait for a project at first use: a wrong address should be told soon."""

_ANSWERED = (APIError, httpx.HTTPError, httpx.StreamError, Busy, NotTheApi)
"""Errors that a request may raise; the frames of their tracebacks hold the key and the token."""

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that are reached without TLS when the URL does not say."""


access_token = text_or_function("an access token")

OPTIONS = (
    Option("key", text, "", f"the project's API key; default ${' or $'.join(KEY_VARIABLES)}"),
    Option("token", access_token, None, "a signed-in user's access token, or a function that returns it"),
    Option("tenant", text, None, "whose threads these are; default the signed-in user's id, else the empty tenant"),
    Option("schema", text, SCHEMA, "the Postgres schema that holds the tables"),
    Option(
        "timeout",
        call_timeout("30s"),
        30.0,
        "how long a call may take, waiting and trying again included",
    ),
    Option(
        "max_connections",
        non_negative_int,
        10,
        "connections at most, for blocking calls and for each event loop",
        former=("pool_size",),
    ),
)
"""What a URL's query, a config or keywords may say about a Supabase store."""


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a Supabase project; it is reached when it is needed."""
    given, source = (options["key"], "") if options["key"] else _variable("key", KEY_VARIABLES)
    key = _plain("key", given, source)
    if not options["max_connections"]:
        raise ConfigError("max_connections: it is at least 1")
    schema = options["schema"]
    procedure(schema)
    read = _reader(options["token"])
    project = Project(_project_url(location), key, read, schema, options["timeout"], options["max_connections"])
    tenant = options["tenant"]
    if tenant is None:
        tenant = "" if read is None else subject(read())
    return Store(PostgresBackend(tenant), SupabaseDriver(project), items=PostgresItems(tenant))


def _reader(token: Any) -> Callable[[], str] | None:
    if token is None or callable(token):
        return token  # type: ignore[no-any-return]
    return lambda: token


@unseen
def _plain(option: str, secret: object, source: str = "") -> Secret:
    """Return a key or token; what cannot go into a header would be quoted by the error that says so."""
    plain = secret.strip() if isinstance(secret, str) else ""
    if not plain or not plain.isascii() or not plain.isprintable() or " " in plain:
        label = f"{option} (from {source})" if source else option
        raise ConfigError(f"{label}: it is empty, or holds what no {option} does, such as a blank")
    return Secret(plain)


def _project_url(location: Location) -> str:
    if location.hosts:
        return _url_of(location)
    found, variable = _variable("url", URL_VARIABLES)
    try:
        return _url_of(parse_url(found))
    except ConfigError as error:
        raise ConfigError(f"{error} (the URL is that of {variable})") from None


def _url_of(location: Location) -> str:
    if re.fullmatch(
        r"(?:www\.)?supabase\.(?:com|io)|app\.supabase\.(?:com|io)|db\.\w+\.supabase\.co", location.host or ""
    ):
        raise ConfigError(
            f"{location} is not the project's API: write https://<project>.supabase.co, or for its database "
            "postgresql://, as the dashboard shows under Connect"
        )
    if location.scheme not in ("http", "https", "supabase") or not location.host:
        raise ConfigError(f"a Supabase project's URL is like https://<project>.supabase.co, not {location}")
    if len(location.hosts) > 1 or location.user is not None:
        raise ConfigError("a Supabase URL names one host and no user; the key goes into key=")
    host, port = location.hosts[0]
    scheme = location.scheme if location.scheme != "supabase" else "http" if host in LOCAL_HOSTS else "https"
    shown = f"[{host}]" if ":" in host else host
    # The dashboard shows the address of the tables' API, of which the client knows the project's own.
    path = location.path.rstrip("/").removesuffix("/rest/v1")
    return f"{scheme}://{shown}{f':{port}' if port else ''}{path}"


def _variable(option: str, names: tuple[str, ...]) -> tuple[str, str]:
    """Return what the first of these variables that is set holds, and its name."""
    found = next((name for name in names if os.environ.get(name)), None)
    if found is None:
        raise ConfigError(f"a Supabase store needs its {option}: give {option}=, or set ${' or $'.join(names)}")
    return os.environ[found], found


@unseen
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
    """Runs plans over HTTP, with clients of its own for blocking calls and for each event loop."""

    examiner = "charm_checkpoint.checking.stores.supabase:SupabaseExaminer"
    counts_trips = True

    def __init__(self, project: Project) -> None:
        self.project = project
        silence = (httpx.ReadTimeout, httpx.WriteTimeout)
        limits = PoolLimits(
            HttpMaker(project), project.max_connections, "max_connections", project.timeout, silence=silence
        )
        self._pools = Pools(limits)

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
        return with_retries(operation, timeout, self._classify, repeated)

    def _classify(self, operation: Any, error: Exception) -> Failure:
        return classify(self.project.url, self.project.schema, operation, error)

    def _step(self, step: Attempt | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        sure = is_once(step.operation)
        return self._reply(step.operation, self._pools.use(partial(self._ask, step), step.left, sure=sure))

    def _ask(self, step: Attempt, connection: HttpConnection) -> Any:
        outer = handled()
        try:
            return self._request(step, connection).execute().data
        except BaseException as error:
            drop_frames(error, outer, *_ANSWERED)
            raise error

    async def _astep(self, step: Attempt | Pause) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        try:
            sure = is_once(step.operation)
            data = await self._pools.ause(partial(self._aask, step), step.left, sure=sure)
            return self._reply(step.operation, data)
        except Exception as error:
            if not is_interpreter_ending(error):
                raise
        return self._step(step)  # in the last functions of a program, nobody else needs the event loop

    async def _aask(self, step: Attempt, connection: HttpConnection) -> Any:
        outer = handled()
        try:
            return (await self._request(step, connection).execute()).data
        except BaseException as error:
            drop_frames(error, outer, *_ANSWERED)
            raise error

    def _request(self, step: Attempt, connection: HttpConnection) -> Any:
        token = self.project.token
        left = min(step.left, connection.deadline - monotonic())
        note(round_trips=1)
        request_context.set(RequestContext(max(left, 0.001), None if token is None else _plain("token", token())))
        return connection.client.rpc(procedure(self.project.schema), arguments(step.operation))

    def _reply(self, operation: Any, data: Any) -> Any:
        try:
            return reply(operation, data)
        except (TypeError, ValueError) as error:
            raise not_ours(self.project.url, "an answer of another kind") from error

    # ----------------------------------------------------------------- closing

    def leased(self) -> int:
        """Return how many connections are at work; a store at rest has none."""
        return self._pools.leased()

    def close(self) -> None:
        """Close the connections; those at work when their call is done."""
        self._pools.close()

    async def aclose(self) -> None:
        """Close the connections, without blocking the event loop."""
        self._pools.close()
        await asyncio.sleep(0)  # which lets the loop see to the sockets
