"""Two clients of one Redis store, and what may be the first write to a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import redis
from stores import have, valkey_cluster_url, valkey_url

from charm_checkpoint import Memory, open_memory, plan
from charm_checkpoint.contract import NewWrites
from charm_checkpoint.stores.redis.rows import INTENT
from charm_checkpoint.testing.samples import chunk, new, new_messages

LARGE = chunk("much" * 100)


class Clients:
    """Two clients of a store: ``mine`` makes a first write to the thread ``t``, ``other`` does what comes meanwhile."""

    def __init__(self, url: str, server: Any) -> None:
        self.url, self.server = url, server
        self.mine, self.other = open_memory(url), open_memory(url)
        for memory in (self.mine, self.other):
            memory.usage()
        names: Any = self.mine.store.backend
        self.intent = names._names.thread(names._names.tag("t"))[INTENT]
        self.prefix = self.mine.location.query.get("prefix", "charm")

    def do(self, memory: Memory, name: str, *args: Any, around: Callable[[Any, Any], Any] | None = None) -> Any:
        """Run a plan of the backend; ``around`` does each of its operations, given the driver and it."""
        driver: Any = memory.store.driver
        execute = driver._execute if around is None else lambda operation: around(driver, operation)
        return plan.run(getattr(memory.store.backend, name)(*args), execute)

    def holding(self) -> set[str]:
        """Return the names of threads that hold something, by looking at every key."""
        parts = (b":order", b":writes", b":messages")
        keys = [key for key in self.server.scan_iter(self.prefix + ":{*}:*") if key.endswith(parts)]
        states = {key.rpartition(b":")[0] for key in keys if self.server.type(key) != b"hash" or self._has(key)}
        found = set()
        for key in states:
            name = self.server.hget(key + b":state", "t") or self.server.hget(key + b":messages", "t")
            found.add(name.decode())
        return found

    def _has(self, key: bytes) -> bool:
        return key.endswith(b":writes") or bool(self.server.hexists(key, "y"))

    def listed(self) -> set[str]:
        """Return the names of the threads that a program which comes anew finds."""
        with open_memory(self.url) as third:
            return {row.thread_id for row in third.threads()}

    def close(self) -> None:
        self.mine.close()
        self.other.close()


SERVERS = {"valkey": valkey_url, "cluster": valkey_cluster_url}


def clients_on(server: str) -> Iterator[Callable[[], Clients]]:
    """Yield what makes two clients of an empty store on one of the `SERVERS`."""
    made: list[Clients] = []
    servers: list[Any] = []

    def make() -> Clients:
        for one in made:
            one.close()
        url = have(SERVERS[server])
        plain, _, query = url.replace("+cluster", "").partition("?")
        servers.append(redis.RedisCluster.from_url(plain) if query else redis.Redis.from_url(plain))
        made.append(Clients(url, servers[-1]))
        return made[-1]

    yield make
    for one in made:
        one.close()
    for each in servers:
        each.close()


FIRST_WRITES: dict[str, Callable[[], tuple[Any, ...]]] = {
    "put": lambda: ("put", new("a", run="r")),
    "put of much": lambda: ("put", new("a", chunks=[LARGE], roots=LARGE.address)),
    "put_writes": lambda: ("put_writes", NewWrites("t", "", "a", b"w", None)),
    "put_messages": lambda: ("put_messages", new_messages("x")),
    "append_messages": lambda: ("append_messages", "t", b"m"),
    "copy_thread": lambda: ("copy_thread", "source", "t"),
}


def prepare(clients: Clients, write: str) -> set[str]:
    """Make what a write needs that is there before it; return the names of these threads."""
    if write != "copy_thread":
        return set()
    clients.do(clients.other, "put", new("a", thread="source", run="r"))
    return {"source"}


def a_day_passes(server: Any) -> None:
    """Make all entries in lists of threads a day older, but for those of pinned threads."""
    for key in list(server.scan_iter("*threads-*}")):
        for entry in server.zrange(key, 0, -1):
            if entry[22:30] != b"ffffffff":
                server.zrem(key, entry)
                server.zadd(key, {entry[:22] + b"%08x" % (int(entry[22:30], 16) - 86400) + entry[30:]: 0})
