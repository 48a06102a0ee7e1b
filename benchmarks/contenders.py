"""Who takes part: one row each, in `CONTENDERS`. A new store is a new row."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from benchmarks import postgres_servers, redis_servers

Saver = BaseCheckpointSaver[Any] | None
Opener = Callable[[Path], AbstractContextManager[Saver]]
AsyncOpener = Callable[[Path], AbstractAsyncContextManager[Saver]]
Workload = Literal["chat", "files", "operations", "history", "tasks", "latency", "growth"]

FOR_ALL: tuple[Workload, ...] = ("chat", "files", "operations", "history")

BASELINE = "InMemorySaver"
"""The contender whose seconds the others' are divided by, in whole runs."""


@dataclass(frozen=True)
class Contender:
    """One saver in one half: exactly one of ``open`` (blocking) and ``aopen`` (async) is given.

    Both are given an empty folder and return a context manager of the saver; they must be able
    to open the same folder again after closing. ``stored`` returns the bytes stored by then,
    and is None for what is gone when closed. ``rival`` names the contender that single
    operations are compared with. ``needs`` are ``module:name`` imports and ``variables``
    environment variables it cannot do without, such as that with its server's URL. ``clear``
    removes what the runs in a folder left elsewhere. ``only`` are the workloads it takes part
    in, if not in all that suit it.
    """

    name: str
    open: Opener | None = None
    aopen: AsyncOpener | None = None
    stored: Callable[[Path], int] | None = None
    rival: str | None = None
    needs: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    clear: Callable[[Path], None] = lambda folder: None
    only: tuple[Workload, ...] = ()

    def __post_init__(self) -> None:
        if (self.open is None) == (self.aopen is None):
            raise ValueError(f"{self.name}: give one of open and aopen")

    @property
    def half(self) -> Literal["blocking", "async"]:
        """Say which of its methods are measured."""
        return "blocking" if self.aopen is None else "async"

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Say what it takes part in: how the store grows is measured once, both halves store the same bytes."""
        suits: dict[Workload, bool] = {
            "tasks": self.aopen is not None,
            "latency": bool(self.variables),
            "growth": self.aopen is None and self.stored is not None,
        }
        return self.only or (*FOR_ALL, *(workload for workload, does in suits.items() if does))

    def missing(self) -> str | None:
        """Say what keeps it from taking part here, None if nothing does."""
        for variable in self.variables:
            if not os.environ.get(variable):
                return f"set ${variable} to the URL of a server to use"
        return self.cannot_import()

    def cannot_import(self) -> str | None:
        """Say which package keeps it from taking part here, None if none does."""
        return next((reason for need in self.needs if (reason := cannot_import(need))), None)


def cannot_import(need: str) -> str | None:
    """Say why a ``module`` or ``module:name`` cannot be imported, None if it can."""
    try:
        resolve_name(need)
    except (ImportError, AttributeError) as error:
        return f"cannot import {need.replace(':', '.')}: {error}"
    return None


def file_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder, write-ahead logs included."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _no_saver(folder: Path) -> Iterator[Saver]:
    yield None


@contextmanager
def _in_memory(folder: Path) -> Iterator[Saver]:
    yield InMemorySaver()


@asynccontextmanager
async def _in_memory_async(folder: Path) -> AsyncIterator[Saver]:
    yield InMemorySaver()


@contextmanager
def _sqlite(folder: Path) -> Iterator[Saver]:
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        yield saver


@asynccontextmanager
async def _sqlite_async(folder: Path) -> AsyncIterator[Saver]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        yield saver


def charm(
    name: str,
    address: Callable[[Path], str],
    rivals: tuple[str, str],
    stored: Callable[[Path], int] | None = file_bytes,
    **options: Any,
) -> tuple[Contender, Contender]:
    """Return the two rows, blocking and async, of one of our stores.

    ``address`` returns the URL for a run's folder. ``rivals`` are savers to beat, blocking and
    async. The rest is as in `Contender`.
    """

    @contextmanager
    def blocking(folder: Path) -> Iterator[Saver]:
        with resolve_name("charm_checkpoint:open_memory")(address(folder)) as memory:
            yield memory.get_langgraph_checkpointer()

    @asynccontextmanager
    async def asynchronous(folder: Path) -> AsyncIterator[Saver]:
        async with resolve_name("charm_checkpoint:open_memory")(address(folder)) as memory:
            yield memory.get_langgraph_checkpointer()

    needs = ("charm_checkpoint:open_memory",)
    return (
        Contender(name, blocking, None, stored, rivals[0], needs, **options),
        Contender(f"{name} async", None, asynchronous, stored, rivals[1], needs, **options),
    )


SQLITE = ("SqliteSaver", "AsyncSqliteSaver")
REDIS = ("plain Redis", "plain Redis async")
POSTGRES = ("PostgresSaver", "AsyncPostgresSaver")

ON_REDIS: dict[str, Any] = {
    "stored": redis_servers.stored,
    "clear": redis_servers.clear,
    "variables": (redis_servers.VARIABLE,),
}
ON_POSTGRES: dict[str, Any] = {
    "stored": postgres_servers.stored,
    "clear": postgres_servers.clear,
    "variables": (postgres_servers.VARIABLE,),
}
PEER = "langgraph_checkpoint_plainredis"
OFFICIAL = "langgraph.checkpoint.postgres"
POOLED = "psycopg_pool:ConnectionPool"

CONTENDERS: tuple[Contender, ...] = (
    Contender("no saver", open=_no_saver, only=("chat", "files")),
    Contender(BASELINE, open=_in_memory),
    Contender("InMemorySaver async", aopen=_in_memory_async),
    Contender(SQLITE[0], open=_sqlite, stored=file_bytes, needs=("langgraph.checkpoint.sqlite:SqliteSaver",)),
    Contender(
        SQLITE[1],
        aopen=_sqlite_async,
        stored=file_bytes,
        needs=("langgraph.checkpoint.sqlite.aio:AsyncSqliteSaver",),
    ),
    *charm("charm sqlite", lambda folder: f"sqlite:///{folder}/charm.db", SQLITE),
    *charm("charm files", lambda folder: f"file://{folder}", SQLITE),
    Contender(REDIS[0], open=redis_servers.plain, needs=(f"{PEER}:RedisSaver",), **ON_REDIS),
    Contender(REDIS[1], aopen=redis_servers.plain_async, needs=(f"{PEER}:AsyncRedisSaver",), **ON_REDIS),
    *charm("charm redis", redis_servers.charm_url, REDIS, **ON_REDIS),
    Contender(POSTGRES[0], open=postgres_servers.official, needs=(f"{OFFICIAL}:PostgresSaver", POOLED), **ON_POSTGRES),
    Contender(
        POSTGRES[1],
        aopen=postgres_servers.official_async,
        needs=(f"{OFFICIAL}.aio:AsyncPostgresSaver", POOLED),
        **ON_POSTGRES,
    ),
    *charm("charm postgres", postgres_servers.url, POSTGRES, **ON_POSTGRES),
    *charm("charm ram", lambda folder: "memory://", (BASELINE, "InMemorySaver async"), None),
)
