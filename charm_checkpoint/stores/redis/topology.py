"""Which server of Redis has a key: the one there is, the primary that sentinels name, or one of a cluster's."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from redis import exceptions
from redis.crc import key_slot

from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.redis.connect_errors import LastingError
from charm_checkpoint.stores.redis.connections import Command, Endpoint, RedisMaker, Server
from charm_checkpoint.stores.redis.errors import NO_CONNECTION, REFUSED, says
from charm_checkpoint.stores.shared.pools import PoolLimits, Pools

_CHANGED = (exceptions.MovedError, exceptions.ClusterDownError, exceptions.MasterDownError)


class Exchange(NamedTuple):
    """Send commands to a server on one connection, in one go; the reply is theirs, with errors among them."""

    server: Server
    commands: tuple[Command, ...]


class Servers:
    """The servers of an endpoint, with connections to each."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._given = endpoint.servers()
        self._primary: Server | None = None
        self._slots: Slots | None = None
        self._hint: Server | None = None
        self._doubtful: dict[Server, None] = {}
        self._pools: dict[Server, Pools] = {}
        self._closed = False

    def pools(self, server: Server) -> Pools:
        """Return the connections to a server."""
        found = self._pools.get(server)
        if found is None:
            limits = PoolLimits(
                RedisMaker(self._endpoint, server),
                self._endpoint.size,
                "max_connections",
                self._endpoint.wait,
                tested_after=-1.0,  # that is, always: it takes no round trip
            )
            found = self._pools.setdefault(server, Pools(limits))
            if self._closed:
                found.close()
        return found

    # ----------------------------------------------------------------- finding

    def find(self, key: bytes) -> Plan[Server]:
        """Return the server that has a key, asking where that is not known."""
        if self._endpoint.kind == "sentinel":
            return self._primary or (yield from self._ask_sentinels())
        if self._endpoint.kind == "cluster":
            slots = self._slots or (yield from self._ask_nodes())
            return slots.find(key)
        return self._given[0]

    def all(self) -> Plan[Collection[Server]]:
        """Return the servers that keep something: one, or the primaries of a cluster."""
        if self._endpoint.kind == "cluster":
            return (self._slots or (yield from self._ask_nodes())).nodes()
        return [(yield from self.find(b""))]

    def _ask_sentinels(self) -> Plan[Server]:
        service = self._endpoint.service
        _, (host, port) = yield from self._first_answer(
            self._given,
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service),
            LastingError(f"the sentinels know no service {service!r}: check the name at the end of the URL"),
        )
        self._primary = primary = Server(_text(host), int(port))
        self._forget_all_but([primary])
        return primary

    def _ask_nodes(self) -> Plan[Slots]:
        known = [self._hint] if self._hint else []
        nodes = dict.fromkeys([*known, *self._given, *list(self._pools)])
        unknown = exceptions.ConnectionError("no node of the cluster knows which of them has what")
        self._slots = slots = Slots(*(yield from self._first_answer(nodes, ("CLUSTER", "SLOTS"), unknown)))
        self._forget_all_but(slots.nodes())
        return slots

    def _first_answer(
        self, servers: Iterable[Server], command: Command, unknown: Exception
    ) -> Plan[tuple[Server, Any]]:
        """Return the first server that has an answer, and what it says; those that failed lately are asked last.

        Raises ``unknown`` if all say that they have none; else what kept one from saying so, rather one that passes.
        """
        failed: Exception | None = None
        for server in sorted(servers, key=self._doubtful.__contains__):
            try:
                [reply] = yield Exchange(server, (command,))
                if isinstance(reply, Exception):
                    raise reply
            except (exceptions.RedisError, OSError) as error:
                self._doubtful[server] = None
                failed = error if failed is None or isinstance(failed, LastingError) else failed
                continue
            self._doubtful.pop(server, None)
            if reply:
                return server, reply
        raise unknown if failed is None else _by_sentinel(failed) if self._endpoint.kind == "sentinel" else failed

    def _forget_all_but(self, servers: Collection[Server]) -> None:
        """Drop the connections to servers that are gone. A call that is using some keeps those until it is done."""
        for server in [*self._pools, *self._doubtful]:
            if server not in servers and server not in self._given:
                self._pools.pop(server, None)
                self._doubtful.pop(server, None)

    def learn(self, error: Exception, server: Server | None) -> None:
        """Forget what an error shows to be no longer true."""
        lost = isinstance(error, NO_CONNECTION) or says(error, "READONLY")
        if lost and server is not None:
            self.pools(server).clear()
            self._doubtful[server] = None
        if lost or isinstance(error, _CHANGED) or _said(error).startswith(("MOVED ", "CLUSTERDOWN", "MASTERDOWN")):
            self._primary = self._slots = None
            self._hint = redirection(error, "MOVED")

    # ----------------------------------------------------------------- closing

    def leased(self) -> int:
        """Return how many connections are at work."""
        return sum(pools.leased() for pools in list(self._pools.values()))

    def close(self) -> None:
        """Close what rests; what is at work is closed when it is done."""
        self._closed = True
        for pools in list(self._pools.values()):
            pools.close()


def _by_sentinel(error: Exception) -> Exception:
    """Return what to raise for a sentinel's error: it has users and passwords of its own."""
    if isinstance(error, REFUSED):
        return LastingError(f"a sentinel refused the login: {error}; check sentinel_user and sentinel_password")
    return error


class Slots:
    """Which node of a cluster has which slots, as one of them told by CLUSTER SLOTS."""

    def __init__(self, told_by: Server, reply: Sequence[Any]) -> None:
        ranges = sorted((int(first), int(last), _node(nodes[0], told_by)) for first, last, *nodes in reply)
        self._first = [first for first, _, _ in ranges]
        self._ranges = ranges

    def nodes(self) -> set[Server]:
        """Return the nodes that have any."""
        return {node for _, _, node in self._ranges}

    def find(self, key: bytes) -> Server:
        """Return the node that has a key; an error that passes if there is none."""
        slot = key_slot(key)
        place = bisect_right(self._first, slot) - 1
        if place < 0 or self._ranges[place][1] < slot:
            raise exceptions.ClusterDownError(f"CLUSTERDOWN no node has the slot {slot}")
        return self._ranges[place][2]


def _node(told: Sequence[Any], told_by: Server) -> Server:
    """Read a node's address; a host that it does not know is the one by which it was asked."""
    host = _text(told[0]) if told[0] else ""
    return Server(host if host not in ("", "?") else told_by.host, int(told[1]))


_REDIRECTION = re.compile(r"^(?P<word>MOVED|ASK) \d+ (?P<host>.*):(?P<port>\d+)$")


def redirection(error: Exception, *words: str) -> Server | None:
    """Return the server that a node names as having a key, by MOVED or ASK; None if the error says something else."""
    found = _REDIRECTION.match(_said(error))
    if found is None or not found["host"] or (words and found["word"] not in words):
        return None
    return Server(found["host"], int(found["port"]))


def _said(error: Exception) -> str:
    """Return what the server said, with the code that clients of some versions take off."""
    if not isinstance(error, exceptions.AskError):
        return str(error)
    code = "MOVED" if isinstance(error, exceptions.MovedError) else "ASK"
    return f"{code} {str(error).removeprefix(f'{code} ')}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
