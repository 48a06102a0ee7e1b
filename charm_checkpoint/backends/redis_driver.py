"""The driver of the Redis store: runs the operations, tries again where that is safe, says what went wrong."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from functools import lru_cache, partial
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeVar

from redis import exceptions

from charm_checkpoint import plan
from charm_checkpoint.backends.redis_clients import Clients, Endpoint
from charm_checkpoint.backends.redis_rows import Call, Command
from charm_checkpoint.errors import ReadOnlyStore, StoreClosed, StoreCorrupt, StoreError, StoreUnavailable
from charm_checkpoint.masking import mask
from charm_checkpoint.plan import MakePlan

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.5
"""Seconds between two attempts."""
READ_ONLY_FOR = 1.0
"""Seconds for which a server that was the primary may say that it is a replica before it is believed."""

BARE = frozenset(("stage", "register", "enter_run", "leave_run", "inspect"))
"""Scripts that do not work on a thread's keys."""

RAISED = (exceptions.RedisError, exceptions.RedisClusterException, OSError, asyncio.TimeoutError)
"""What comes of the client's calls."""


class RedisDriver:
    """Runs plans on the clients of one endpoint; ``where`` is its URL as errors may show it.

    A call that fails for want of a connection, or because servers are changing roles, is tried again
    until ``timeout`` seconds are over. Scripts know a call that was executed already.
    """

    def __init__(self, endpoint: Endpoint, where: str, *, timeout: float = 10.0, wait_replicas: int = 0) -> None:
        self._endpoint = endpoint
        self._where = where
        self._timeout = timeout
        self._wait = wait_replicas
        # Less than what the socket waits for an answer.
        self._wait_milliseconds = max(1, round(timeout * 250))
        self._clients = Clients(endpoint)
        self._nodes: dict[tuple[str, int], Clients] = {}
        self._closed = False

    # ----------------------------------------------------------------- running

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan, blocking."""
        return plan.run(make(), self._execute)

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan without blocking the event loop."""
        return await plan.arun(make(), self._aexecute)

    def _execute(self, operation: Call | Command) -> Any:
        patience = Patience(self._where, self._timeout, fixed=self._endpoint.kind == "plain")
        while True:
            self._refuse_closed()
            try:
                return self._perform(operation, patience.again)
            except RAISED as error:
                pause = patience.after(error)
                if says(error, "READONLY"):
                    self._clients.reconnect()
            time.sleep(pause)

    async def _aexecute(self, operation: Call | Command) -> Any:
        patience = Patience(self._where, self._timeout, fixed=self._endpoint.kind == "plain")
        while True:
            self._refuse_closed()
            try:
                return await self._aperform(operation, patience.again)
            except RAISED as error:
                pause = patience.after(error)
                if says(error, "READONLY"):
                    await self._clients.areconnect()
            await asyncio.sleep(pause)

    def _perform(self, operation: Call | Command, again: bool) -> Any:
        client = self._clients.client()
        if isinstance(operation, Command):
            return client.execute_command(*operation.args)
        digest, text = script(operation.script)
        args = (len(operation.keys), *operation.keys, int(again), *operation.args)
        if self._wait and operation.write:
            return self._replicated(client, operation, digest, text, args)
        try:
            return client.execute_command("EVALSHA", digest, *args)
        except exceptions.NoScriptError:
            return client.execute_command("EVAL", text, *args)

    async def _aperform(self, operation: Call | Command, again: bool) -> Any:
        client = await self._clients.aclient()
        send = client.execute_command
        if self._endpoint.kind == "cluster":
            # Left to itself, this client sends scripts to any node.
            await client.initialize()
            send = partial(send, target_nodes=client.get_node_from_key(operation.key))
        if isinstance(operation, Command):
            return await send(*operation.args)
        digest, text = script(operation.script)
        args = (len(operation.keys), *operation.keys, int(again), *operation.args)
        if self._wait and operation.write:
            return await self._areplicated(client, operation, digest, text, args)
        try:
            return await send("EVALSHA", digest, *args)
        except exceptions.NoScriptError:
            return await send("EVAL", text, *args)

    # ------------------------------------------------------------- replication

    def _replicated(self, client: Any, call: Call, digest: str, text: str, args: Sequence[Any]) -> Any:
        """Make a call and wait for replicas, on one connection and in one go."""
        if self._endpoint.kind == "cluster":
            client = self._node(client.get_node_from_key(call.key)).client()
        for command in (("EVALSHA", digest), ("EVAL", text)):
            pipe = client.pipeline(transaction=False)
            pipe.execute_command(*command, *args)
            pipe.execute_command("WAIT", self._wait, self._wait_milliseconds)
            reply, replicas = pipe.execute(raise_on_error=False)
            if not isinstance(reply, exceptions.NoScriptError):
                break
        return self._enough(reply, replicas)

    async def _areplicated(self, client: Any, call: Call, digest: str, text: str, args: Sequence[Any]) -> Any:
        if self._endpoint.kind == "cluster":
            client = await self._node(client.get_node_from_key(call.key)).aclient()
        for command in (("EVALSHA", digest), ("EVAL", text)):
            pipe = client.pipeline(transaction=False)
            pipe.execute_command(*command, *args)
            pipe.execute_command("WAIT", self._wait, self._wait_milliseconds)
            reply, replicas = await pipe.execute(raise_on_error=False)
            if not isinstance(reply, exceptions.NoScriptError):
                break
        return self._enough(reply, replicas)

    def _node(self, node: Any) -> Clients:
        """Return the clients of one server of a cluster: only on its own connection can a write be waited for."""
        place = (node.host, node.port)
        if place not in self._nodes:
            self._nodes[place] = Clients(self._endpoint.at(*place))
        return self._nodes[place]

    def _enough(self, reply: Any, replicas: Any) -> Any:
        for answer in (reply, replicas):
            if isinstance(answer, Exception):
                raise answer
        if replicas < self._wait:
            raise StoreUnavailable(
                f"{self._where}: written on the primary, but only {replicas} of {self._wait} replicas confirmed it "
                f"within {self._wait_milliseconds} ms: a failover now may lose it. See wait_replicas and timeout."
            )
        return reply

    # ----------------------------------------------------------------- closing

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreClosed()

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        for clients in (self._clients, *self._nodes.values()):
            clients.close()

    async def aclose(self) -> None:
        """Close every connection, without blocking the event loop."""
        self._closed = True
        for clients in (self._clients, *self._nodes.values()):
            await clients.aclose()


@lru_cache(None)
def script(name: str) -> tuple[str, str]:
    """Return a script's SHA-1 and text."""
    folder = files("charm_checkpoint.backends") / "resources"
    text = (folder / f"{name}.lua").read_text("utf-8")
    if name not in BARE:
        text = (folder / "common.lua").read_text("utf-8") + text
    return sha1(text.encode(), usedforsecurity=False).hexdigest(), text


# ------------------------------------------------------------------------------- trying again

_CHANGING_ROLES = (
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.ClusterError,
    exceptions.MasterDownError,
    exceptions.MovedError,
    exceptions.AskError,
    exceptions.RedisClusterException,
    exceptions.TryAgainError,
    exceptions.ReadOnlyError,
)
_NO_CONNECTION = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, asyncio.TimeoutError)
_REFUSED = (exceptions.AuthenticationError, exceptions.AuthorizationError)


_KINDS: dict[str, type[Exception]] = {
    "READONLY": exceptions.ReadOnlyError,
    "OOM": exceptions.OutOfMemoryError,
    "NOPERM": exceptions.NoPermissionError,
}
"""Codes that the client takes off a message where it has a class for them."""


class Patience:
    """Decides, for one operation, whether to try again after an error, and when.

    ``again`` says whether it may have been executed. ``fixed``: nobody will name another server.
    """

    def __init__(self, where: str, timeout: float, *, fixed: bool) -> None:
        self.again = False
        self._where = where
        self._fixed = fixed
        self._began = time.monotonic()
        self._timeout = timeout
        self._pause = FIRST_PAUSE

    def after(self, error: Exception) -> float:
        """Return the seconds to wait before the next attempt; raises a `StoreError` when there is to be none."""
        spent = time.monotonic() - self._began
        replica = self._fixed and says(error, "READONLY")
        limit = min(READ_ONLY_FOR, self._timeout) if replica else self._timeout
        if not is_passing(error) or spent >= limit:
            raise translated(self._where, error, spent) from error
        self.again = self.again or isinstance(error, _NO_CONNECTION)
        pause = min(self._pause * random.uniform(0.5, 1.5), limit - spent)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return pause


def is_passing(error: Exception) -> bool:
    """Tell whether an error may be gone in a moment."""
    if isinstance(error, _REFUSED) or says(error, "NOAUTH", "WRONGPASS"):
        return False
    return isinstance(error, (*_CHANGING_ROLES, *_NO_CONNECTION)) or says(
        error, "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY "
    )


def says(error: Exception, *words: str) -> bool:
    """Look for the server's error codes, which scripts put into the middle of their own message."""
    text = str(error)
    return any(word in text or isinstance(error, _KINDS.get(word, ())) for word in words)


def translated(where: str, error: Exception, spent: float) -> StoreError:
    """Say what an error means for the caller."""
    said = f"{where}: {mask(str(error)) or type(error).__name__}"
    if isinstance(error, _REFUSED) or says(error, "NOAUTH", "WRONGPASS"):
        return StoreUnavailable(f"{said}; check user and password in the URL")
    if says(error, "READONLY"):
        return ReadOnlyStore(f"{said}; it is a read-only replica: name the primary, or use redis+sentinel://")
    if says(error, "OOM"):
        return StoreUnavailable(
            f"{where}: the server has reached its maxmemory; nothing was written. Delete or prune threads, set ttl=, "
            "or give it more memory."
        )
    if says(error, "NOREPLICAS", "MISCONF"):
        return StoreUnavailable(f"{said}; nothing was written")
    if says(error, "WRONGTYPE"):
        return StoreCorrupt(f"{said}; another program uses this key: choose another prefix=")
    if says(error, "NOPERM", "ACL failure"):
        return StoreError(f"{said}; the user's ACL must allow its keys, EVALSHA, EVAL and the commands of the scripts")
    if is_passing(error):
        return StoreUnavailable(f"{said} (tried for {spent:.1f} s); is the server up? It is safe to try again.")
    return StoreError(said)
