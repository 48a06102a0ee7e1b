"""Who takes part in the workloads ``store`` and ``large``: LangGraph's own stores, and ours over the same items."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from benchmarks import postgres_servers, redis_servers, store
from benchmarks.contender import Contender, file_bytes

ONLY: Any = ("store",)
LARGE: Any = ("store", "large")
"""Those that are blocking and still hold what they held when they are opened anew."""


def index(**options: Any) -> dict[str, Any]:
    """Return the configuration that every store with vectors is given."""
    return {"dims": store.dims(), "embed": store.embed, "fields": ["text"], **options}


@contextmanager
def _in_memory(folder: Path) -> Iterator[Any]:
    from langgraph.store.memory import InMemoryStore

    yield InMemoryStore(index=index())


@contextmanager
def _sqlite(folder: Path) -> Iterator[Any]:
    _with_extensions()
    with resolve_name("langgraph.store.sqlite:SqliteStore").from_conn_string(
        str(folder / "store.db"), index=index()
    ) as opened:
        opened.setup()
        yield opened


@asynccontextmanager
async def _sqlite_async(folder: Path) -> AsyncIterator[Any]:
    _with_extensions()
    async with resolve_name("langgraph.store.sqlite.aio:AsyncSqliteStore").from_conn_string(
        str(folder / "store.db"), index=index(embed=store.aembed)
    ) as opened:
        await opened.setup()
        yield opened


def _with_extensions() -> None:
    """Have sqlite3 be one that loads extensions, which SqliteStore cannot do without; many Pythons' own does not."""
    import sqlite3

    if not hasattr(sqlite3.Connection, "enable_load_extension"):
        for name in ("dbapi2", ""):
            module = resolve_name(f"pysqlite3{name and '.'}{name}")
            sys.modules[f"sqlite3{name and '.'}{name}"] = module


@contextmanager
def _postgres(folder: Path) -> Iterator[Any]:
    with resolve_name("langgraph.store.postgres:PostgresStore").from_conn_string(
        postgres_servers.url(folder), pool_config={"max_size": postgres_servers.POOL}, index=index()
    ) as opened:
        opened.setup()
        yield opened


@asynccontextmanager
async def _postgres_async(folder: Path) -> AsyncIterator[Any]:
    async with resolve_name("langgraph.store.postgres.aio:AsyncPostgresStore").from_conn_string(
        postgres_servers.url(folder),
        pool_config={"max_size": postgres_servers.POOL},
        index=index(embed=store.aembed),
    ) as opened:
        await opened.setup()
        yield opened


def charm(
    name: str, address: Callable[[Path], str], rivals: tuple[str, str], **options: Any
) -> tuple[Contender, Contender, Contender]:
    """Return the rows of one of our stores: with vectors, blocking and async, and with words alone."""

    def opener(given: Any) -> Callable[[Path], Any]:
        @contextmanager
        def blocking(folder: Path) -> Iterator[Any]:
            with resolve_name("charm_checkpoint:open_memory")(address(folder)) as memory:
                yield memory.get_langgraph_store(index=given)

        return blocking

    @asynccontextmanager
    async def asynchronous(folder: Path) -> AsyncIterator[Any]:
        async with resolve_name("charm_checkpoint:open_memory")(address(folder)) as memory:
            yield memory.get_langgraph_store(index=index(embed=store.aembed))

    shared = {"stored": file_bytes, "needs": ("charm_checkpoint:open_memory",), **options}
    only = ONLY if shared["stored"] is None else LARGE
    return (
        Contender(f"charm store {name}", open=opener(index()), rival=rivals[0], only=only, **shared),
        Contender(f"charm store {name} async", aopen=asynchronous, rival=rivals[1], only=ONLY, **shared),
        Contender(f"charm store {name} words", open=opener(None), rival=rivals[0], only=only, **shared),
    )


IN_MEMORY = ("InMemoryStore", "InMemoryStore")
SQLITE = ("SqliteStore", "AsyncSqliteStore")
POSTGRES = ("PostgresStore", "AsyncPostgresStore")
SQLITE_NEEDS = ("langgraph.store.sqlite:SqliteStore", "sqlite_vec:load")
POSTGRES_NEEDS = ("langgraph.store.postgres:PostgresStore", "psycopg_pool:ConnectionPool")

CONTENDERS: tuple[Contender, ...] = (
    Contender(IN_MEMORY[0], open=_in_memory, only=ONLY),
    Contender(SQLITE[0], open=_sqlite, stored=file_bytes, needs=SQLITE_NEEDS, only=LARGE),
    Contender(SQLITE[1], aopen=_sqlite_async, stored=file_bytes, needs=SQLITE_NEEDS, only=ONLY),
    *charm("sqlite", lambda folder: f"sqlite:///{folder}/charm.db", SQLITE),
    *charm("files", lambda folder: f"file://{folder}", SQLITE),
    Contender(POSTGRES[0], open=_postgres, needs=POSTGRES_NEEDS, only=LARGE, **postgres_servers.ROW),
    Contender(POSTGRES[1], aopen=_postgres_async, needs=POSTGRES_NEEDS, only=ONLY, **postgres_servers.ROW),
    *charm("postgres", postgres_servers.url, POSTGRES, **postgres_servers.ROW),
    *charm("redis", redis_servers.charm_url, POSTGRES, **redis_servers.ROW),
    *charm("ram", lambda folder: "memory://", IN_MEMORY, stored=None),
)
