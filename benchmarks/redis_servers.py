"""The Redis or Valkey server at $REDIS_URL: all contenders use one prefix there, one after another."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from benchmarks.contender import Saver

VARIABLE = "REDIS_URL"
"""The environment variable with the URL of a server."""

PREFIX = "benchmark"
"""What all keys start with; those of earlier runs go when a new folder is opened."""

NOTE = "redis-opened"
"""The file in a folder that says that its keys may be there."""


def url(folder: Path) -> str:
    """Return the server's URL; what earlier runs left there goes when a folder's is first asked for."""
    if not (folder / NOTE).exists():
        clear(folder)
        (folder / NOTE).touch()
    return os.environ[VARIABLE]


def charm_url(folder: Path) -> str:
    """Return the URL of our store there."""
    return f"{url(folder)}?prefix={PREFIX}"


def stored(folder: Path) -> int:
    """Return the memory that the server uses for its data; a delta of it is what a run stored."""
    url(folder)
    with _client() as client:
        client.execute_command("MEMORY", "PURGE")
        # Of used_memory, that is all but clients, buffers and scripts, which come and go.
        return int(client.info("memory")["used_memory_dataset"])


def clear(folder: Path) -> None:
    """Delete all keys."""
    with _client() as client:
        for key in client.scan_iter(f"{PREFIX}:*", count=1000):
            client.unlink(key)
        # What was unlinked is freed in the background.
        while int(client.info("memory").get("lazyfree_pending_objects", 0)):
            pass


def version() -> str:
    """Return the server's version."""
    with _client() as client:
        server = client.info("server")
        return str(server.get("valkey_version") or server["redis_version"])


def _client() -> Any:
    return resolve_name("redis:Redis").from_url(os.environ[VARIABLE])


@contextmanager
def plain(folder: Path) -> Iterator[Saver]:
    """Open the saver of langgraph-checkpoint-plainredis."""
    saver = resolve_name("langgraph_checkpoint_plainredis:RedisSaver")(url=url(folder), prefix=PREFIX)
    yield saver
    saver.close()


@asynccontextmanager
async def plain_async(folder: Path) -> AsyncIterator[Saver]:
    """Open the async saver of langgraph-checkpoint-plainredis."""
    saver = resolve_name("langgraph_checkpoint_plainredis:AsyncRedisSaver")(url=url(folder), prefix=PREFIX)
    yield saver
    await saver.aclose()


ROW: dict[str, Any] = {"stored": stored, "clear": clear, "variables": (VARIABLE,)}
"""What each contender on this server has in its row."""
