"""Servers for a run: those whose URLs are not given are started, and stopped when it is over."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager

from benchmarks import postgres_servers, redis_servers
from charm_checkpoint.errors import MissingServer
from charm_checkpoint.servers import PostgresServer, ValkeyServer, postgres, valkey

STARTERS: dict[str, Callable[[], PostgresServer | ValkeyServer]] = {
    postgres_servers.VARIABLE: postgres,
    redis_servers.VARIABLE: valkey,
}
"""What starts them: Postgres as it comes, with fsync; Valkey with its append-only file, synced each second."""

VERSIONS: dict[str, tuple[str, Callable[[], str]]] = {
    postgres_servers.VARIABLE: ("Postgres", postgres_servers.version),
    redis_servers.VARIABLE: ("Redis or Valkey", redis_servers.version),
}


@contextmanager
def running(variables: Collection[str]) -> Iterator[dict[str, str]]:
    """Start the servers that these environment variables should name and do not, and let them.

    Yields by variable why a server could not be started.
    """
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        for name in variables:
            if name in STARTERS and not os.environ.get(name):
                try:
                    os.environ[name] = stack.enter_context(STARTERS[name]()).url
                except MissingServer as error:
                    missing[name] = f"set ${name} to the URL of a server to use; none could be started: {error}"
                else:
                    stack.callback(os.environ.pop, name)
        yield missing


def versions(variables: Collection[str]) -> dict[str, str]:
    """Return the versions of the servers that these environment variables name."""
    return {title: ask() for name, (title, ask) in VERSIONS.items() if name in variables and os.environ.get(name)}
