"""Redis and Valkey: one server, a cluster or a sentinel set, with core commands only.

The plans are in redis_backend and redis_threads, the scripts they call in resources/*.lua, the driver in
redis_driver, connections in redis_clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charm_checkpoint.backends.redis_backend import RedisBackend
from charm_checkpoint.backends.redis_clients import Endpoint
from charm_checkpoint.backends.redis_driver import RedisDriver
from charm_checkpoint.backends.redis_rows import Names
from charm_checkpoint.config import Location, Option, boolean, duration, text, whole
from charm_checkpoint.contract import Abilities
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.store import Store

OPTIONS = (
    Option("ttl", duration, None, "how long a thread lives after its last write; for ever unless given"),
    Option("refresh_on_read", boolean, False, "let a thread live on from its last read, too"),
    Option("prefix", text, "charm", "what the names of all keys start with"),
    Option("tenant", text, "", "whose threads these are; tenants do not see each other's"),
    Option("wait_replicas", whole, 0, "how many replicas must confirm each write"),
    Option("timeout", duration, 10.0, "how long a call may go on trying; one attempt waits half of it"),
    Option("max_connections", whole, 50, "connections at once, for each event loop and for blocking calls"),
    Option("db", whole, None, "number of the database; it may also be the URL's path"),
    Option("tls", boolean, False, "use TLS; rediss:// and valkeys:// do anyway"),
    Option("tls_ca", text, None, "file of certificates to trust, instead of the system's"),
    Option("tls_cert", text, None, "file of this client's certificate"),
    Option("tls_key", text, None, "file of this client's key"),
    Option("sentinel_user", text, None, "user at the sentinels"),
    Option("sentinel_password", text, None, "password at the sentinels"),
)
"""What a URL's query, a config or keywords may say about a Redis store."""


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a store; nothing is connected yet."""
    driver = RedisDriver(
        endpoint(location, options), str(location), timeout=options["timeout"], wait_replicas=options["wait_replicas"]
    )
    names = Names(options["prefix"], options["tenant"])
    abilities = Abilities(durable=True, processes=True)
    backend = RedisBackend(names, abilities, options["ttl"] or None, options["refresh_on_read"])
    backend.where = str(location)
    return Store(backend, driver)


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
    size, wait = options["max_connections"] or 1, options["timeout"]
    return Endpoint(kind, hosts, settings, size, wait, socket, service, sentinel)


def _settings(location: Location, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each connection is made with. RESP2 is what servers before Redis 6 speak."""
    settings: dict[str, Any] = {
        "username": location.user,
        "password": location.password,
        "protocol": 2,
        "socket_timeout": options["timeout"] / 2,
        "socket_connect_timeout": options["timeout"] / 2,
        "socket_keepalive": True,
    }
    if options["tls"] or location.scheme in ("rediss", "valkeys"):
        files = {"ssl_ca_certs": "tls_ca", "ssl_certfile": "tls_cert", "ssl_keyfile": "tls_key"}
        settings |= {"ssl": True, **{name: options[option] for name, option in files.items() if options[option]}}
    return settings


def _database(path: str, options: Mapping[str, Any]) -> int:
    if options["db"] is not None:
        return int(options["db"])
    if path and not path.isdigit():
        raise ConfigError("the path of a redis URL is the number of its database, as in redis://host:6379/0")
    return int(path or 0)
