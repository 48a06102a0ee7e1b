"""The servers that stores are tested on: each starts once in a worker, when a test first asks for it.

Tests that stop or restart a server start one of their own.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import pytest

from charm_checkpoint.errors import MissingServer
from charm_checkpoint.servers import (
    PgBouncerServer,
    PostgresServer,
    SupabaseServer,
    ValkeyCluster,
    ValkeySentinel,
    ValkeyServer,
    pgbouncer,
    postgres,
    supabase,
    valkey,
    valkey_cluster,
    valkey_sentinel,
)

S = TypeVar("S")

KEPT = 40
"""How many databases stay; one takes 8 MB, and no test asks for that many."""

DATABASES = 10_000
"""How many databases a Valkey has; a test that asks for one gets the next."""


class Missing(Exception):
    """The server that a store needs is not to be had here."""


def once(start: Callable[[], S]) -> Callable[[], S]:
    """Start a server at the first call; every call raises `Missing` if it is not to be had."""

    @functools.cache
    def attempt() -> S | MissingServer:
        try:
            return start()
        except MissingServer as error:
            return error

    @functools.wraps(start)
    def get() -> S:
        outcome = attempt()
        if isinstance(outcome, MissingServer):
            raise Missing(str(outcome)) from outcome
        return outcome

    return get


def have(start: Callable[[], S]) -> S:
    """Start a server, or skip the test where it is not to be had; with CHARM_REQUIRE_STORES=1 that is a failure."""
    try:
        return start()
    except (Missing, MissingServer) as missing:
        if os.environ.get("CHARM_REQUIRE_STORES") == "1":
            raise
        pytest.skip(str(missing))


def is_gone(pid: int) -> bool:
    """Tell whether a process is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# ---------------------------------------------------------------------------------- servers


@once
def postgres_server() -> PostgresServer:
    """Return the worker's PostgreSQL."""
    return postgres(fsync=False)


@once
def pgbouncer_server() -> PgBouncerServer:
    """Return the worker's PgBouncer, in transaction mode, with TLS to its clients."""
    return pgbouncer(postgres_server(), pool_size=10, tls=True)


@once
def tls_server() -> PostgresServer:
    """Return the worker's PostgreSQL with TLS, of the version that the machine's packages have."""
    return postgres(fsync=False, tls=True)


@once
def supabase_server() -> SupabaseServer:
    """Return the worker's Supabase; its database is that of all its stores, each in a schema."""
    return supabase(postgres_server())


@once
def valkey_server() -> ValkeyServer:
    """Return the worker's Valkey."""
    return valkey("--databases", str(DATABASES))


@once
def redis_server() -> ValkeyServer:
    """Return the worker's Redis, of the version that the machine's packages have."""
    return valkey("--databases", str(DATABASES), program="redis-server")


@once
def valkey_cluster_server() -> ValkeyCluster:
    """Return the worker's cluster of three."""
    return valkey_cluster(3)


@once
def valkey_sentinel_server() -> ValkeySentinel:
    """Return the worker's Valkey with a replica and a sentinel."""
    return valkey_sentinel(1)


# ------------------------------------------------------------------------- new, empty stores

_databases: deque[str] = deque()
_numbers = itertools.count()


def postgres_url() -> str:
    """Return the URL of a new, empty database; it goes when many others were asked for."""
    server = postgres_server()
    while len(_databases) >= KEPT:
        server.drop_database(_databases.popleft())
    _databases.append(server.new_database())
    return _databases[-1]


@functools.cache
def shared_database() -> str:
    """Return the URL of the database that most tests of a worker share: each has a tenant of its own there."""
    return postgres_server().new_database()


@functools.cache
def odd_database() -> str:
    """Return the URL of another one, of no encoding, in which backslashes escape."""
    server = postgres_server()
    server.execute(
        "CREATE DATABASE odd TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C';"
        "ALTER DATABASE odd SET standard_conforming_strings = off;"
        "ALTER DATABASE odd SET escape_string_warning = off"
    )
    return server.database_url("odd")


def tenant_url(options: str = "", suffix: str = "") -> str:
    """Return the URL of a new, empty tenant of the shared database, with ``options`` and ``suffix`` in it."""
    return f"{shared_database()}?{options}tenant=t{next(_numbers)}{suffix}"


def pgbouncer_url(options: str = "", suffix: str = "") -> str:
    """Return the URL of a new, empty tenant by way of PgBouncer and TLS, with ``options`` and ``suffix`` in it.

    Its database is the odd one.
    """
    server = pgbouncer_server()
    checked = f"sslmode=verify-full&sslrootcert={server.certificate}&"
    return f"{server.through(odd_database())}?{checked}{options}tenant=t{next(_numbers)}{suffix}"


@functools.cache
def shared_project() -> str:
    """Return the URL, with the secret key, of the Supabase project that the tests of a worker share."""
    server = supabase_server()
    server.install()
    return server.store_url()


def supabase_url() -> str:
    """Return the URL of a new, empty tenant, with the secret key."""
    return f"{shared_project()}&tenant=t{next(_numbers)}"


def valkey_url() -> str:
    """Return the URL of an empty database of the worker's Valkey."""
    return f"{valkey_server().url}/{next(_numbers)}"


def redis_url() -> str:
    """Return the URL of an empty database of the worker's Redis."""
    return f"{redis_server().url}/{next(_numbers)}"


def as_user(url: str, login: str) -> str:
    """Return a URL with another user and password, as in ``me:secret``; "" is nobody."""
    return re.sub(r"://(?:[^@/]*@)?", f"://{login}@" if login else "://", url, count=1)


def beside(url: str, host: str) -> str:
    """Return a URL with another host before its own."""
    return re.sub(r"://([^@/]*@)?", rf"://\g<1>{host},", url, count=1)


def valkey_cluster_url() -> str:
    """Return the URL of the worker's cluster, with a prefix of its own: it has but one database."""
    return f"{valkey_cluster_server().url}?prefix=test-{next(_numbers)}"
