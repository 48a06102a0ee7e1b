"""The Postgres server at $PG_URL: each folder of a run has a database of its own there."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from urllib.parse import urlsplit

from benchmarks.contender import Saver

VARIABLE = "PG_URL"
"""The environment variable with the URL of any database of a server; its user may create others."""

POOL = 10
"""Connections at most, for each contender."""

NOTE = "postgres-database"
"""The file in a folder that names its database."""

SET_UP = "postgres-set-up"
"""The file in a folder that says that the official saver's tables are there."""

SIZE = "SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint FROM pg_stat_user_tables"


def url(folder: Path) -> str:
    """Return the URL of a folder's database, which is made when it is first asked for."""
    note = folder / NOTE
    if not note.exists():
        note.write_text(f"benchmark_{secrets.token_hex(8)}")
        _ask(os.environ[VARIABLE], f'CREATE DATABASE "{note.read_text()}"')
    return urlsplit(os.environ[VARIABLE])._replace(path=f"/{note.read_text()}").geturl()


def stored(folder: Path) -> int:
    """Return the bytes of all tables in a folder's database, with their indexes and TOAST."""
    [[size]] = _ask(url(folder), SIZE)
    return int(size)


def clear(folder: Path) -> None:
    """Drop the databases of a folder and of those in it."""
    for note in folder.rglob(NOTE):
        _ask(os.environ[VARIABLE], f'DROP DATABASE IF EXISTS "{note.read_text()}" WITH (FORCE)')
        note.unlink()


def version() -> str:
    """Return the server's version."""
    [[text]] = _ask(os.environ[VARIABLE], "SHOW server_version")
    return str(text)


def _ask(url: str, statement: str) -> list[Any]:
    with resolve_name("psycopg:connect")(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def _pool_options() -> dict[str, Any]:
    """Return what the official documentation has a pool made with."""
    row_factory = resolve_name("psycopg.rows:dict_row")
    return {"max_size": POOL, "kwargs": {"autocommit": True, "prepare_threshold": 0, "row_factory": row_factory}}


@contextmanager
def official(folder: Path) -> Iterator[Saver]:
    """Open a PostgresSaver with a pool, its tables made the first time."""
    with resolve_name("psycopg_pool:ConnectionPool")(url(folder), **_pool_options()) as pool:
        saver = resolve_name("langgraph.checkpoint.postgres:PostgresSaver")(pool)
        if not (folder / SET_UP).exists():
            saver.setup()
            (folder / SET_UP).touch()
        yield saver


@asynccontextmanager
async def official_async(folder: Path) -> AsyncIterator[Saver]:
    """Open an AsyncPostgresSaver with a pool, its tables made the first time."""
    async with resolve_name("psycopg_pool:AsyncConnectionPool")(url(folder), open=False, **_pool_options()) as pool:
        saver = resolve_name("langgraph.checkpoint.postgres.aio:AsyncPostgresSaver")(pool)
        if not (folder / SET_UP).exists():
            await saver.setup()
            (folder / SET_UP).touch()
        yield saver


ROW: dict[str, Any] = {"stored": stored, "clear": clear, "variables": (VARIABLE,)}
"""What each contender on this server has in its row."""
