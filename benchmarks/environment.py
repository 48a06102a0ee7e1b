"""What the measurements were made with: versions, and what there is of the machine."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Collection
from importlib import metadata

from benchmarks import servers

PACKAGES = (
    "charm-checkpoint",
    "langgraph",
    "langgraph-checkpoint",
    "langgraph-checkpoint-sqlite",
    "langgraph-checkpoint-postgres",
    "langgraph-checkpoint-plainredis",
    "langchain-core",
    "aiosqlite",
    "psycopg",
    "redis",
)


def describe(variables: Collection[str]) -> dict[str, str]:
    """Return names and versions; of servers, those that these environment variables name."""
    machine = {
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "SQLite": sqlite3.sqlite_version,
    }
    packages = {name: version for name in PACKAGES if (version := _version(name))}
    return {**machine, **servers.versions(variables), **packages}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
