"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from charm_checkpoint.cli import output
from charm_checkpoint.cli.output import Column, print_table
from charm_checkpoint.cli.terminal import echo
from charm_checkpoint.cli.values import Cell

if TYPE_CHECKING:
    from charm_checkpoint.long_term.records import MemoryEntry

__all__ = ["first_line", "print_json", "print_memories", "print_memory", "print_table"]

_COLUMNS = (
    Column("title"),
    Column("kind", extra=True),
    Column("scope"),
    Column("status"),
    Column("changed"),
    Column("uses", right=True, extra=True),
    Column("says", gives=2),
)


def print_json(memories: Iterable[MemoryEntry], **more: Any) -> None:
    """Print one JSON object: the memories, and what else a command has to say."""
    output.print_json({"memories": [entry.to_dict() for entry in memories], **more})


def print_memories(entries: Sequence[MemoryEntry], *, scores: bool = False) -> None:
    """Print memories, a line each."""
    rows: list[list[Cell]] = []
    for entry in entries:
        status = f"{entry.status}, to review" if entry.needs_review else entry.status
        says = first_line(entry.body)
        row: list[Cell] = [entry.title, entry.kind, entry.scope, status, entry.updated, entry.uses, says]
        rows.append([f"{entry.score:.2f}" if entry.score is not None else "-", *row] if scores else row)
    print_table((Column("score", right=True), *_COLUMNS) if scores else _COLUMNS, rows)


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


def first_line(text: str) -> str:
    """Return the first line of a text that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
