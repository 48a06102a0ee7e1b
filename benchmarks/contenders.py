"""Who takes part: one row each, in `CONTENDERS`. A new store is a new row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from benchmarks import postgres_servers, redis_servers, store_contenders
from benchmarks.contender import Contender, Saver, file_bytes

BASELINE = "InMemorySaver"
"""The contender whose seconds the others' are divided by, in whole runs."""


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

    def memory(folder: Path) -> Any:
        return resolve_name("charm_checkpoint:open_memory")(address(folder))

    @contextmanager
    def blocking(folder: Path) -> Iterator[Saver]:
        with memory(folder) as opened:
            yield opened.get_langgraph_checkpointer()

    @asynccontextmanager
    async def asynchronous(folder: Path) -> AsyncIterator[Saver]:
        async with memory(folder) as opened:
            yield opened.get_langgraph_checkpointer()

    shared = {"stored": stored, "needs": ("charm_checkpoint:open_memory",), **options}
    whole = Contender(name, open=memory), Contender(f"{name} async", aopen=memory)
    return (
        Contender(name, open=blocking, rival=rivals[0], memory=whole[0], **shared),
        Contender(f"{name} async", aopen=asynchronous, rival=rivals[1], memory=whole[1], **shared),
    )


SQLITE = ("SqliteSaver", "AsyncSqliteSaver")
REDIS = ("plain Redis", "plain Redis async")
POSTGRES = ("PostgresSaver", "AsyncPostgresSaver")

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
    Contender(REDIS[0], open=redis_servers.plain, needs=(f"{PEER}:RedisSaver",), **redis_servers.ROW),
    Contender(REDIS[1], aopen=redis_servers.plain_async, needs=(f"{PEER}:AsyncRedisSaver",), **redis_servers.ROW),
    *charm("charm redis", redis_servers.charm_url, REDIS, **redis_servers.ROW),
    Contender(
        POSTGRES[0], open=postgres_servers.official, needs=(f"{OFFICIAL}:PostgresSaver", POOLED), **postgres_servers.ROW
    ),
    Contender(
        POSTGRES[1],
        aopen=postgres_servers.official_async,
        needs=(f"{OFFICIAL}.aio:AsyncPostgresSaver", POOLED),
        **postgres_servers.ROW,
    ),
    *charm("charm postgres", postgres_servers.url, POSTGRES, **postgres_servers.ROW),
    *charm("charm ram", lambda folder: "memory://", (BASELINE, "InMemorySaver async"), None),
    *store_contenders.CONTENDERS,
)
