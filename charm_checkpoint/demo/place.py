"""Where the demo runs: a store that is there, or a server started for it alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from charm_checkpoint.config import registry
from charm_checkpoint.errors import ConfigError


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    from charm_checkpoint.servers import postgres

    with postgres() as server:
        yield server.new_database()


@contextlib.contextmanager
def _supabase() -> Iterator[str]:
    from charm_checkpoint.servers import supabase

    with supabase() as server:
        server.install()
        yield server.store_url()


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    from charm_checkpoint.servers import valkey

    with valkey() as server:
        yield server.url


SERVERS: dict[str, tuple[str, Callable[[], contextlib.AbstractContextManager[str]]]] = {
    "postgres": ("postgresql", _postgres),
    "supabase": ("supabase", _supabase),
    "redis": ("redis", _redis),
}
"""By the name of a kind of store, the scheme of its URLs and what starts a server for it."""

KINDS = ("sqlite", *SERVERS)


@contextlib.contextmanager
def place(kind: str | None, url: str | None, *, keep: bool = False) -> Iterator[str | None]:
    """Give the URL to run the demo on, None for a SQLite file of its own; a server started for it stops in the end.

    Raises `ConfigError` for a kind it does not know, or one that does not go with ``url`` or
    ``keep``, `MissingExtra` without the store's driver, `MissingServer` without its server.
    """
    if kind is None:
        yield url
        return
    if url:
        raise ConfigError("give --url for a store that is there or --store for one of the demo's own, not both")
    if kind == "sqlite":
        yield None
        return
    if kind not in SERVERS:
        raise ConfigError(f"the demo can start no store {kind!r}; one of {', '.join(KINDS)}")
    if keep:
        raise ConfigError(f"--keep needs a store that stays: a server started for --store {kind} goes in the end")
    scheme, start = SERVERS[kind]
    registry.resolve(scheme)  # a missing driver is to be known before a server is started
    with start() as own:
        yield own
