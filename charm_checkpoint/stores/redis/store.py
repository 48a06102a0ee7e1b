"""Redis and Valkey: one server, a cluster or a sentinel set, with core commands only.

The plans are in backend.py and threads.py, the scripts they call in lua/, the driver in driver.py, which
server to ask in topology.py, connections in connections.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charm_checkpoint.config.foreign_options import ForeignOption
from charm_checkpoint.config.masking import Hidden
from charm_checkpoint.config.options import (
    Location,
    Option,
    above_zero,
    at_most,
    boolean,
    call_timeout,
    duration,
    non_negative_int,
    text,
    text_or_function,
)
from charm_checkpoint.contract import Capabilities
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.store import Store
from charm_checkpoint.stores.redis.backend import RedisBackend
from charm_checkpoint.stores.redis.connections import Endpoint
from charm_checkpoint.stores.redis.driver import RedisDriver
from charm_checkpoint.stores.redis.item_rows import ItemNames
from charm_checkpoint.stores.redis.items import RedisItems
from charm_checkpoint.stores.redis.rows import Names
from charm_checkpoint.stores.redis.tls import TLS_OPTIONS, tls_settings

LONGEST = 2.0**61 / 1000
"""Seconds that a thread may live: some keys live twice as long, and a server counts milliseconds in 64 bits."""
FOR_EVER = "write 30d or the like, or leave ttl out for threads that live for ever"

password = text_or_function("a password")

OPTIONS = (
    Option(
        "ttl",
        at_most(above_zero(duration, FOR_EVER), LONGEST, FOR_EVER),
        None,
        "how long a thread lives after its last write; for ever unless given",
    ),
    Option("refresh_on_read", boolean, False, "let a thread live on from its last read, too"),
    Option("prefix", text, "charm", "what the names of all keys start with"),
    Option("tenant", text, "", "whose threads these are; tenants do not see each other's"),
    Option("wait_replicas", non_negative_int, 0, "how many replicas must confirm each write"),
    Option(
        "timeout",
        call_timeout("10s"),
        10.0,
        "how long a call may go on trying; one attempt waits half of it",
    ),
    Option(
        "max_connections",
        above_zero(non_negative_int, "it is at least 1"),
        50,
        "connections at once, for each event loop and for blocking calls",
    ),
    Option("db", non_negative_int, None, "number of the database; it may also be the URL's path"),
    Option("user", text, None, "who logs in; the URL may also say it"),
    Option("password", password, None, "the password, or a function that returns it, asked for each new connection"),
    *TLS_OPTIONS,
    Option("sentinel_user", text, None, "user at the sentinels"),
    Option("sentinel_password", password, None, "password at the sentinels, or a function that returns it"),
)
"""What a URL's query, a config or keywords may say about a Redis store."""

FOREIGN = {
    # Of redis-py and ioredis: how their clients work inside, or what is done here anyway.
    **dict.fromkeys(
        (
            "client_name", "decode_responses", "encoding", "encoding_errors", "family", "health_check_interval",
            "protocol", "retry_on_error", "retry_on_timeout", "socket_connect_timeout", "socket_keepalive",
            "socket_timeout",
        ),
        ForeignOption(),
    ),
}  # fmt: skip
"""What other programs' URLs say of a Redis server."""


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a store; nothing is connected yet."""
    if options["refresh_on_read"] and options["ttl"] is None:
        raise ConfigError("refresh_on_read: without ttl= a thread lives for ever; give ttl=, or leave this out")
    driver = RedisDriver(
        endpoint(location, options), str(location), timeout=options["timeout"], wait_replicas=options["wait_replicas"]
    )
    names = Names(options["prefix"], options["tenant"])
    capabilities = Capabilities(durable=True, processes=True, marks_copies=True)
    budget = Budget()
    backend = RedisBackend(names, capabilities, budget, options["ttl"] or None, options["refresh_on_read"])
    backend.where = str(location)
    items = RedisItems(ItemNames(options["prefix"], options["tenant"]), backend.layout, budget)
    return Store(backend, driver, items=items, budget=budget)


def endpoint(location: Location, options: Mapping[str, Any]) -> Endpoint:
    """Tell from a URL and options where the servers are; raises `ConfigError`."""
    kind: Any = location.scheme.partition("+")[2] or "plain"
    if kind == "sentinel":
        service, _, database = location.database.partition("/")
        if not service or not location.hosts:
            raise ConfigError(
                "a sentinel URL names sentinels and the service: redis+sentinel://host1:26379,host2:26379/mymaster"
            )
    else:
        service, database = "", "" if location.scheme == "unix" else location.database
    socket = location.path if location.scheme == "unix" else ""
    if location.scheme == "unix" and not socket:
        raise ConfigError("a unix URL names the socket: unix:///run/redis/redis.sock")
    settings = _settings(location, options)
    if kind != "cluster":
        settings["db"] = _database(database, options)
    elif database not in ("", "0") or options["db"]:
        raise ConfigError("a Redis cluster has no databases but 0; use prefix= to keep applications apart")
    if kind == "plain" and len(location.hosts) > 1:
        raise ConfigError("a redis URL names one server; for several use redis+cluster:// or redis+sentinel://")
    hosts = location.hosts or (("localhost", None),)
    sentinel = {**settings, "username": options["sentinel_user"], "password": options["sentinel_password"]}
    sentinel.pop("db", None)
    size, wait = options["max_connections"], options["timeout"]
    return Endpoint(kind, hosts, Hidden(settings), size, wait, socket, service, Hidden(sentinel))


def _settings(location: Location, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each connection is made with. RESP2 is what servers before Redis 6 speak."""
    settings: dict[str, Any] = {
        "username": location.user if options["user"] is None else options["user"],
        "password": location.password if options["password"] is None else options["password"],
        "protocol": 2,
        "socket_keepalive": True,
    }
    return settings | tls_settings(location.scheme, options)


def _database(path: str, options: Mapping[str, Any]) -> int:
    if options["db"] is not None:
        return int(options["db"])
    if path and not path.isdigit():
        raise ConfigError("the path of a redis URL is the number of its database, as in redis://host:6379/0")
    return int(path or 0)
