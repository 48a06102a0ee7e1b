"""Sizes, moments and counts as people read them, and as programs do."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple, TypeAlias

from charm_checkpoint.printable import printable, size

__all__ = ["Cell", "Drawn", "Size", "Styled", "age", "for_people", "for_programs", "name_of", "plural", "size"]

_AGES = ((365 * 86400, "y"), (30 * 86400, "mo"), (86400, "d"), (3600, "h"), (60, "min"))


class Size(int):
    """A number of bytes."""


class Styled(NamedTuple):
    """Text that a terminal shows in a style of rich's, such as ``red``."""

    text: str
    style: str


class Drawn(str):
    """Text whose spaces are meant."""


Cell: TypeAlias = "str | int | Size | float | datetime | Styled | None"
"""What stands in a table."""


def age(moment: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    seconds = (datetime.now(timezone.utc) - moment).total_seconds()
    for length, unit in _AGES:
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "now"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return a count with what is counted: 1 thread, 1,200 threads."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def name_of(id: str) -> str:
    """Return an id as it stands in a table: its spaces are meant, and one that is blank could not be seen."""
    return Drawn(printable(id) if id.strip(" ") else f'"{id}"')


def for_people(cell: Cell) -> str:
    """Return what a terminal shows of a cell."""
    if isinstance(cell, Size):
        return size(cell)
    if isinstance(cell, datetime):
        return age(cell)
    if isinstance(cell, bool) or not isinstance(cell, int):
        return for_programs(cell)
    return f"{cell:,}"


def for_programs(cell: Cell) -> str:
    """Return a cell as another program reads it: sizes in bytes, moments in ISO's form."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(cell, Styled):
        return cell.text
    return str(int(cell)) if isinstance(cell, Size) else str(cell)
