"""The driver of the Redis store: runs the operations, tries again where that is safe, says what went wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import lru_cache, partial
from hashlib import sha1
from typing import Any, NamedTuple, TypeVar

from redis import exceptions

from charm_checkpoint import plan
from charm_checkpoint.errors import StoreClosed, StoreCorrupt, StoreUnavailable
from charm_checkpoint.plan import MakePlan, Plan
from charm_checkpoint.runtime.event_loops import is_interpreter_ending
from charm_checkpoint.runtime.packed_program import read_resource
from charm_checkpoint.stores.redis.connections import Endpoint, Server, Until, aexchange, exchange
from charm_checkpoint.stores.redis.errors import RAISED, RetryPolicy, refuses_writes
from charm_checkpoint.stores.redis.rows import Call, Calls, Command, Everywhere
from charm_checkpoint.stores.redis.topology import Exchange, Servers, redirection
from charm_checkpoint.telemetry.operation import note

T = TypeVar("T")

BARE = frozenset(
    ("stage", "register", "enter_run", "leave_run", "inspect", "doctor", "probe", "mark", "secret", "memory", "forget")
)
"""Scripts that do without what the others share; so do those of items, whose names begin with ``item_``."""

CHANGING = frozenset(("item_change", "item_expire", "item_erase"))
"""Scripts that change the items of a space."""

MATCHING = frozenset(("page", "probe", "item_page"))
"""Scripts that look for tags."""

PACKING = frozenset(("item_entries", "item_fetch", "item_page"))
"""Scripts whose replies are of many pieces."""

NOT_MADE = exceptions.ConnectionError()
"""Stands for the reply of a call that was not made."""


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class RedisDriver:
    """Runs plans on connections to the servers of one endpoint; ``where`` is its URL as errors may show it.

    A call that fails for want of a connection, or because servers are changing roles, is tried again
    until ``timeout`` seconds are over. Scripts know a call that was executed already.
    """

    examiner = "charm_checkpoint.checking.stores.redis:RedisExaminer"
    counts_trips = True

    def __init__(self, endpoint: Endpoint, where: str, *, timeout: float = 10.0, wait_replicas: int = 0) -> None:
        self._endpoint = endpoint
        self._where = where
        self._timeout = timeout
        self._wait = wait_replicas
        # Less than what the socket waits for an answer.
        self._wait_milliseconds = max(1, round(timeout * 250))
        self._servers = Servers(endpoint)
        self._closed = False

    # ----------------------------------------------------------------- running

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan, blocking."""
        return plan.run(make(), self._execute)

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan without blocking the event loop."""
        return await plan.arun(make(), self._aexecute)

    def _execute(self, operation: Call | Calls | Command | Everywhere) -> Any:
        return plan.run(self._whole(operation), partial(self._step, self._endpoint.until(self._timeout)))

    async def _aexecute(self, operation: Call | Calls | Command | Everywhere) -> Any:
        return await plan.arun(self._whole(operation), partial(self._astep, self._endpoint.until(self._timeout)))

    def _step(self, until: Until, step: Exchange | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        note(round_trips=1)
        return self._servers.pools(step.server).use(partial(exchange, step.commands, until), until.rest())

    async def _astep(self, until: Until, step: Exchange | Pause) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        note(round_trips=1)
        try:
            work = partial(aexchange, step.commands, until)
            return await self._servers.pools(step.server).ause(work, until.rest())
        except Exception as error:
            if not is_interpreter_ending(error):
                raise
        return self._step(until, step)  # in the last functions of a program, nobody else needs the event loop

    # ------------------------------------------------------------------ trying

    def _whole(self, operation: Call | Calls | Command | Everywhere) -> Plan[Any]:
        if isinstance(operation, Everywhere):
            return self._everywhere(operation.script)
        return self._together(*operation) if isinstance(operation, Calls) else self._tries(operation)

    def _everywhere(self, name: str) -> Plan[list[Any]]:
        """Run a script on all servers, as often as need be."""
        retry = RetryPolicy(self._where, self._timeout, self._endpoint.kind)
        _, text = script(name)
        while True:
            server, replies = None, []
            self._refuse_closed()
            try:
                for server in (yield from self._servers.all()):
                    replies.append((yield from self._send(server, ("EVAL", text, 0), replicated=False)))
                return replies
            except RAISED as error:
                pause = retry.after(error)
                self._servers.learn(error, server)
            note(retries=1)
            yield Pause(pause)

    def _together(self, calls: Sequence[Call | Command], ordered: bool) -> Plan[list[Any]]:
        """Make calls in one exchange with each server; what fails there is made again, each on its own."""
        replies: dict[int, Any] = {}
        doubtful: set[int] = set()
        self._refuse_closed()
        try:
            shares: dict[Server, list[int]] = {}
            for number, call in enumerate(calls):
                shares.setdefault((yield from self._servers.find(_key(call))), []).append(number)
            for server, numbers in shares.items():
                doubtful = set(numbers)
                answers = yield from self._share(server, [calls[number] for number in numbers])
                replies.update(zip(numbers, answers, strict=True))
                doubtful = set()
                failed = [number for number, answer in zip(numbers, answers, strict=True) if _is_error(answer)]
                if ordered and failed:
                    doubtful = {number for number in numbers if number >= failed[0]}
                    break
        except RAISED:
            pass  # the calls left over say what it is, if it lasts
        for number, call in enumerate(calls):
            if number in doubtful or _is_error(replies.get(number, NOT_MADE)):
                replies[number] = yield from self._alone(call, number in doubtful)
        return [replies[number] for number in range(len(calls))]

    def _share(self, server: Server, calls: Sequence[Call | Command]) -> Plan[Sequence[Any]]:
        replicated = bool(self._wait) and any(isinstance(call, Call) and call.write for call in calls)
        commands = [call.args if isinstance(call, Command) else _command(call, again=False) for call in calls]
        replies = yield from self._exchange(server, commands, replicated)
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
        if unknown:
            taught: set[str] = set()
            for at in unknown:
                call = calls[at]
                assert isinstance(call, Call)
                if call.script not in taught:
                    # With the text of its first call the server knows a script for those behind it.
                    commands[at] = ("EVAL", script(call.script)[1], *commands[at][2:])
                    taught.add(call.script)
            answers = yield from self._exchange(server, [commands[at] for at in unknown], replicated)
            for at, answer in zip(unknown, answers, strict=True):
                replies[at] = answer
        return replies

    def _exchange(self, server: Server, commands: Sequence[Sequence[Any]], replicated: bool) -> Plan[list[Any]]:
        """Send commands, with a wait for replicas behind them if asked for; errors of theirs are among the replies."""
        wait: tuple[Sequence[Any], ...] = (("WAIT", self._wait, self._wait_milliseconds),) if replicated else ()
        replies: list[Any] = yield Exchange(server, (*commands, *wait))
        if replicated:
            replicas = replies.pop()
            if isinstance(replicas, Exception):
                raise replicas
            self._check_replicas(replicas)
        return replies

    def _alone(self, call: Call | Command, again: bool) -> Plan[Any]:
        try:
            return (yield from self._tries(call, again))
        except StoreCorrupt as error:
            return error

    def _tries(self, operation: Call | Command, again: bool = False) -> Plan[Any]:
        """Do an operation, as often as need be; ``again``: it may have been done before this."""
        retry = RetryPolicy(self._where, self._timeout, self._endpoint.kind)
        retry.again = again
        while True:
            server = None
            self._refuse_closed()
            try:
                server = yield from self._servers.find(_key(operation))
                return (yield from self._attempt(operation, server, retry.again))
            except RAISED as error:
                if operation.tidying and refuses_writes(error):
                    return None
                pause = retry.after(error)
                self._servers.learn(error, server)
            note(retries=1)
            yield Pause(pause)

    def _attempt(self, operation: Call | Command, server: Server, again: bool) -> Plan[Any]:
        if isinstance(operation, Command):
            return (yield from self._send(server, operation.args, replicated=False))
        replicated = bool(self._wait) and operation.write
        command = _command(operation, again)
        try:
            return (yield from self._send(server, command, replicated))
        except exceptions.NoScriptError:
            _, text = script(operation.script)
            return (yield from self._send(server, ("EVAL", text, *command[2:]), replicated))

    def _send(self, server: Server, command: Sequence[Any], replicated: bool) -> Plan[Any]:
        """Send a command, with a wait for replicas on the same connection if asked for, and raise what it came to."""
        commands: tuple[Sequence[Any], ...] = (command,)
        if replicated:
            commands = (command, ("WAIT", self._wait, self._wait_milliseconds))
        reply, *replicas = yield Exchange(server, commands)
        if isinstance(reply, Exception) and (other := redirection(reply, "ASK")):
            _, reply, *replicas = yield Exchange(other, (("ASKING",), *commands))
        for answer in (reply, *replicas):
            if isinstance(answer, Exception):
                raise answer
        if replicated:
            self._check_replicas(*replicas)
        return reply

    def _check_replicas(self, replicas: int) -> None:
        if replicas < self._wait:
            raise StoreUnavailable(
                f"{self._where}: written on the primary, but only {replicas} of {self._wait} replicas confirmed it "
                f"within {self._wait_milliseconds} ms: a failover now may lose it. See wait_replicas and timeout."
            )

    # ----------------------------------------------------------------- closing

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreClosed()

    def leased(self) -> int:
        """Return how many connections are at work; a store at rest has none."""
        return self._servers.leased()

    def close(self) -> None:
        """Close every connection; those at work when their call is done."""
        self._closed = True
        self._servers.close()

    async def aclose(self) -> None:
        """Close every connection, without blocking the event loop."""
        self.close()
        await asyncio.sleep(0)  # which lets the loop see to the sockets


def _is_error(reply: Any) -> bool:
    """Tell whether a server, or nobody, answered with an error."""
    return isinstance(reply, Exception)


def _command(call: Call, again: bool) -> tuple[Any, ...]:
    digest, _ = script(call.script)
    return ("EVALSHA", digest, len(call.keys), *call.keys, int(again), *call.args)


def _key(operation: Call | Command) -> bytes:
    key = operation.key
    return key if isinstance(key, bytes) else str(key).encode()


@lru_cache(None)
def script(name: str) -> tuple[str, str]:
    """Return a script's SHA-1 and text."""
    shared = ["item_common"] if name in CHANGING else []
    if name not in BARE and not name.startswith("item_"):
        shared.append("common")
    if name in MATCHING:
        shared.append("tags")
    if name in PACKING:
        shared.append("item_packed")
    text = "".join(read_resource("stores", "redis", "lua", f"{part}.lua") for part in (*shared, name))
    return sha1(text.encode(), usedforsecurity=False).hexdigest(), text
