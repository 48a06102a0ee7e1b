"""What a contender is: one saver in one mode, how to open it, and what it needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver

Saver = BaseCheckpointSaver[Any] | None
"""What is measured; in the workloads ``store`` and ``large`` it is a `langgraph.store.base.BaseStore` instead."""
Opener = Callable[[Path], AbstractContextManager[Saver]]
AsyncOpener = Callable[[Path], AbstractAsyncContextManager[Saver]]
Workload = Literal["chat", "files", "operations", "history", "messages", "tasks", "latency", "growth", "store", "large"]

FOR_ALL: tuple[Workload, ...] = ("chat", "files", "operations", "history")


@dataclass(frozen=True)
class Contender:
    """One saver in one mode: exactly one of ``open`` (blocking) and ``aopen`` (async) is given.

    Both are given an empty folder and return a context manager of the saver; they must be able
    to open the same folder again after closing. ``stored`` returns the bytes stored by then,
    and is None for what is gone when closed. ``rival`` names the contender that single
    operations are compared with. ``needs`` are ``module:name`` imports and ``variables``
    environment variables it cannot do without, such as that with its server's URL. ``clear``
    removes what the runs in a folder left elsewhere. ``memory`` is, for one of our stores, the same
    with openers of all that the store offers, message history too. ``only`` are the workloads it
    takes part in, if not in all that suit it.
    """

    name: str
    open: Opener | None = None
    aopen: AsyncOpener | None = None
    stored: Callable[[Path], int] | None = None
    rival: str | None = None
    needs: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    clear: Callable[[Path], None] = lambda folder: None
    memory: Contender | None = None
    only: tuple[Workload, ...] = ()

    def __post_init__(self) -> None:
        if (self.open is None) == (self.aopen is None):
            raise ValueError(f"{self.name}: give one of open and aopen")

    @property
    def call_mode(self) -> Literal["blocking", "async"]:
        """Say which of its methods are measured."""
        return "blocking" if self.aopen is None else "async"

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Say what it takes part in: how the store grows is measured once, both modes store the same bytes."""
        suits: dict[Workload, bool] = {
            "messages": self.memory is not None,
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
