"""How far long work is, on stderr: a bar in a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from charm_checkpoint.cli.terminal import Interrupted, echo_error
from charm_checkpoint.printable import printable

EVERY = 5.0
"""Seconds between the lines."""


class Tell(Protocol):
    """Takes how far work is."""

    def __call__(self, done: int, total: int | None = None, what: str = "") -> None:
        """Tell how much is done, of how much if that is known, and what is being worked on."""


@contextlib.contextmanager
def progress(doing: str, unit: str = "") -> Iterator[Tell]:
    """Show how far work is, as in ``copying: 12 of 1,000 threads``; what is yielded is told.

    Where stderr is no terminal, that is a line every 5 s, so that work done by then prints nothing.
    """
    if _is_terminal():
        with _bar(doing, unit) as tell:
            yield tell
    else:
        yield _lines(doing, unit)


@contextlib.contextmanager
def going_on(stays: str, dry_run: bool = False) -> Iterator[None]:
    """Have Ctrl-C say how things stand, where that is neither as before nor done."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted" if dry_run else f"interrupted; {stays}") from None


def _is_terminal() -> bool:
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def _lines(doing: str, unit: str) -> Tell:
    said = time.monotonic()

    def tell(done: int, total: int | None = None, what: str = "") -> None:
        nonlocal said
        if time.monotonic() - said >= EVERY:
            said = time.monotonic()
            of = "" if total is None else f" of {total:,}"
            echo_error(f"{doing}: {done:,}{of}{f' {unit}' if unit else ''}{f' ({what})' if what else ''}")

    return tell


@contextlib.contextmanager
def _bar(doing: str, unit: str) -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[what]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(doing, total=None, count="", what="")

        def tell(done: int, total: int | None = None, what: str = "") -> None:
            of = f"{done:,}" if total is None else f"{done:,}/{total:,}"
            bar.update(task, completed=done, total=total, count=f"{of} {unit}".rstrip(), what=printable(what)[:40])

        yield tell
