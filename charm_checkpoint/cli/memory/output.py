"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from io import StringIO
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from charm_checkpoint.cli.terminal import echo, put, put_json
from charm_checkpoint.printable import printable

if TYPE_CHECKING:
    from charm_checkpoint.long_term.records import MemoryEntry

_UNITS = ((365 * 86400, "y"), (30 * 86400, "mo"), (86400, "d"), (3600, "h"), (60, "min"))


def print_json(memories: Iterable[MemoryEntry], **more: Any) -> None:
    """Print one JSON object: the memories, and what else a command has to say."""
    text = json.dumps({"memories": [entry.to_dict() for entry in memories], **more}, ensure_ascii=False, indent=2)
    put_json(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with a header that fits the terminal; tab-separated where there is none."""
    if not _is_terminal():
        for row in (columns, *rows):
            put("\t".join(printable(_line(cell)) for cell in row) + "\n")
        return
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(_line(cell))) for cell in row))
    out = StringIO()
    console = Console(file=out, force_terminal=not os.environ.get("NO_COLOR"), width=_width())
    console.print(table)
    put(out.getvalue())


def print_memories(entries: Sequence[MemoryEntry], *, scores: bool = False) -> None:
    """Print memories, a line each."""
    columns = ["title", "kind", "scope", "status", "changed", "uses", "says"]
    rows = []
    for entry in entries:
        status = f"{entry.status}, to review" if entry.needs_review else entry.status
        row = [
            entry.title,
            entry.kind,
            entry.scope,
            status,
            age(entry.updated),
            str(entry.uses),
            first_line(entry.body),
        ]
        rows.append([f"{entry.score:.2f}" if entry.score is not None else "-", *row] if scores else row)
    print_table(["score", *columns] if scores else columns, rows)


def print_memory(entry: MemoryEntry) -> None:
    """Print all of a memory."""
    echo(f"{entry.title}")
    about = [entry.kind, entry.scope, entry.status, f"by {entry.source}"]
    echo(f"  {', '.join(about)}{' - needs a review' if entry.needs_review else ''}")
    for name, value in (
        ("because", entry.reason),
        ("tags", ", ".join(entry.tags)),
        ("category", entry.category),
        ("session", entry.session),
        ("importance", entry.importance),
        ("written", entry.created.isoformat(" ", "seconds")),
        ("changed", entry.updated.isoformat(" ", "seconds")),
        ("used", entry.used and f"{entry.used.isoformat(' ', 'seconds')}, {entry.uses} times"),
        ("digest", entry.digest),
    ):
        if value:
            echo(f"  {name}: {value}")
    for citation in entry.citations:
        lines = "" if citation.line_start is None else f":{citation.line_start}-{citation.line_end or ''}"
        echo(f"  cites: {citation.path}{lines}")
    echo("")
    for line in entry.body.splitlines():
        echo(f"  {line}")


def age(moment: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    seconds = (datetime.now(timezone.utc) - moment).total_seconds()
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "now"


def first_line(text: str) -> str:
    """Return the first line of a text that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _line(text: str) -> str:
    return " ".join(text.split())


def _is_terminal() -> bool:
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 100  # 0 where nobody set its size
    except (OSError, ValueError):
        return 100
