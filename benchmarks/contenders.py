"""Who takes part: one row each, in `CONTENDERS`. A new store is a new row."""

from __future__ import annotations

import os
import re
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

Saver = BaseCheckpointSaver[Any] | None
Opener = Callable[[Path], AbstractContextManager[Saver]]
AsyncOpener = Callable[[Path], AbstractAsyncContextManager[Saver]]
Workload = Literal["chat", "files", "operations", "growth"]

TIMED: tuple[Workload, ...] = ("chat", "files", "operations")
EVERYTHING: tuple[Workload, ...] = (*TIMED, "growth")
"""Growth is for the blocking row of each store: both halves store the same bytes."""

BASELINE = "InMemorySaver"
"""The contender whose seconds the others' are divided by, in whole runs."""


@dataclass(frozen=True)
class Contender:
    """One saver in one half: exactly one of ``open`` (blocking) and ``aopen`` (async) is given.

    Both are given an empty folder and return a context manager of the saver; they must be able
    to open the same folder again after closing. ``stored`` returns the bytes stored by then,
    and is None for what is gone when closed. ``rival`` names the contender that single
    operations are compared with. ``needs`` are ``module:name`` imports and ``variables``
    environment variables it cannot do without.
    """

    name: str
    open: Opener | None = None
    aopen: AsyncOpener | None = None
    stored: Callable[[Path], int] | None = None
    rival: str | None = None
    needs: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    workloads: tuple[Workload, ...] = EVERYTHING

    def __post_init__(self) -> None:
        if (self.open is None) == (self.aopen is None):
            raise ValueError(f"{self.name}: give one of open and aopen")

    @property
    def half(self) -> Literal["blocking", "async"]:
        """Say which of its methods are measured."""
        return "blocking" if self.aopen is None else "async"

    def missing(self) -> str | None:
        """Say what keeps it from taking part here, None if nothing does."""
        for variable in self.variables:
            if not os.environ.get(variable):
                return f"set ${variable} to the URL of a server to use"
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
    url: str,
    rivals: tuple[str, str],
    stored: Callable[[Path], int] | None = file_bytes,
) -> tuple[Contender, Contender]:
    """Return the two rows, blocking and async, of one of our stores.

    ``{folder}`` in the URL is the run's own empty folder and ``$NAME`` an environment variable.
    ``rivals`` are the official savers, blocking and async.
    """

    def address(folder: Path) -> str:
        return os.path.expandvars(url.replace("{folder}", str(folder)))

    @contextmanager
    def blocking(folder: Path) -> Iterator[Saver]:
        with resolve_name("charm_checkpoint:open_memory")(address(folder)) as memory:
            yield memory.get_langgraph_checkpointer()

    @asynccontextmanager
    async def asynchronous(folder: Path) -> AsyncIterator[Saver]:
        async with resolve_name("charm_checkpoint:open_memory")(address(folder)) as memory:
            yield memory.get_langgraph_checkpointer()

    needs = ("charm_checkpoint:open_memory",)
    variables = tuple(re.findall(r"\$\{?(\w+)", url))
    return (
        Contender(name, blocking, None, stored, rivals[0], needs, variables, EVERYTHING if stored else TIMED),
        Contender(f"{name} async", None, asynchronous, stored, rivals[1], needs, variables, TIMED),
    )


CONTENDERS: tuple[Contender, ...] = (
    Contender("no saver", open=_no_saver, workloads=("chat", "files")),
    Contender(BASELINE, open=_in_memory, workloads=TIMED),
    Contender("InMemorySaver async", aopen=_in_memory_async, workloads=TIMED),
    Contender("SqliteSaver", open=_sqlite, stored=file_bytes, needs=("langgraph.checkpoint.sqlite:SqliteSaver",)),
    Contender(
        "AsyncSqliteSaver",
        aopen=_sqlite_async,
        stored=file_bytes,
        needs=("langgraph.checkpoint.sqlite.aio:AsyncSqliteSaver",),
        workloads=TIMED,
    ),
    *charm("charm sqlite", "sqlite:///{folder}/charm.db", ("SqliteSaver", "AsyncSqliteSaver")),
    *charm("charm ram", "memory://", ("InMemorySaver", "InMemorySaver async"), None),
)
