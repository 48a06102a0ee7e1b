"""What the commands print: tables for people, lines with tabs for other programs, JSON for those that ask."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from charm_checkpoint.cli.terminal import put, put_json
from charm_checkpoint.cli.values import Cell, Drawn, Styled, for_people, for_programs
from charm_checkpoint.printable import printable

_GAP = 2
_MODEST = 12
"""Characters that a column keeps as long as another can be left out."""
_LEAST = 6
"""Characters below which no column is shortened."""
_LONG = 48
"""Characters of an id that make other columns give way; what is behind is shown where there is room."""
_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
WITHOUT_TERMINAL = 100
"""Characters of a line where nobody says how many fit."""


class Column(NamedTuple):
    """A column of a table: its header, and what is done where the table does not fit.

    ``right``: numbers. ``gives``: the column with the highest number is shortened first; 0 is shortened last.
    ``extra``: left out where that does not do.
    """

    name: str
    right: bool = False
    gives: int = 1
    extra: bool = False


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document; numbers that JSON has not, such as NaN, as text."""
    try:
        text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(document), ensure_ascii=False, indent=2)
    put_json(text)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return repr(value) if isinstance(value, float) and value - value != 0 else value


def print_table(columns: Sequence[str | Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table with a header that fits the terminal; where there is none, lines with tabs.

    Sizes and moments are then what programs read: bytes, and ISO's form; tabs and ends of lines are escaped.
    """
    known = [column if isinstance(column, Column) else Column(column) for column in columns]
    if not is_terminal():
        lines = [[column.name for column in known], *([for_programs(cell) for cell in row] for row in rows)]
        put("".join("\t".join(map(printable, line)) + "\n" for line in lines))
        return
    from rich.cells import cell_len

    texts = [[cell if isinstance(cell, Drawn) else one_line(for_people(cell)) for cell in row] for row in rows]
    needed = [max(cell_len(column.name), *(cell_len(row[at]) for row in texts), 0) for at, column in enumerate(known)]
    put(_drawn(known, fitted(known, needed, width()), rows, texts))


def fitted(columns: Sequence[Column], needed: Sequence[int], room: int) -> list[int]:
    """Return how wide each column is to be, given what it needs; 0 for one that is left out."""
    widths = list(needed)

    def excess() -> int:
        shown = [each for each in widths if each]
        return sum(shown) + _GAP * (len(shown) - 1) - room

    def shorten(least: int, gives: int) -> None:
        for at in sorted(range(len(columns)), key=lambda at: -columns[at].gives):
            if columns[at].gives >= gives and widths[at] > least:
                widths[at] = max(least, widths[at] - max(0, excess()))

    id = _id_of(columns)
    widths[id] = max(min(needed[id], _LONG), widths[id] - max(0, excess()))
    shorten(_MODEST, 2)
    for at in reversed(range(len(columns))):
        if columns[at].extra and excess() > 0:
            widths[at] = 0
    if widths[id] > room:  # it is cut in any case, and then rather for others' sake than for nothing
        widths[id] = min(widths[id], _MODEST)
    for at in _dispensable(columns):
        if excess() > 0:
            widths[at] = 0
    shorten(_MODEST, 1)
    for least in (_LEAST, 1):
        shorten(least, 0)
    for at in sorted(range(len(columns)), key=lambda at: (at == id and widths[at] >= _LONG, columns[at].gives)):
        if widths[at]:  # what is left over by a column that was left out
            widths[at] += min(needed[at] - widths[at], max(0, -excess()))
    return widths


def _dispensable(columns: Sequence[Column]) -> list[int]:
    """Return the columns that are left out before an id is cut, which is the first that has a name."""
    others = range(_id_of(columns) + 1, len(columns))
    return sorted(others, key=lambda at: (-columns[at].gives, -at))


def _id_of(columns: Sequence[Column]) -> int:
    return next((at for at, column in enumerate(columns) if column.name), 0)


def _drawn(columns: Sequence[Column], widths: Sequence[int], rows: Any, texts: Sequence[Sequence[str]]) -> str:
    """Return a table: a header, a line, and the rows, each cell cut to its column's width."""
    shown = [at for at, wide in enumerate(widths) if wide]
    head = [paint(_cell(columns[at].name, widths[at], columns[at].right), "bold") for at in shown]
    line = ("─" if is_unicode() else "-") * (sum(widths[at] for at in shown) + _GAP * (len(shown) - 1))
    lines = [head, [paint(line, "dim")]]
    for row, text in zip(rows, texts, strict=True):
        cells = []
        for at in shown:
            style = row[at].style if isinstance(row[at], Styled) else ""
            cells.append(paint(_cell(text[at], widths[at], columns[at].right), style))
        lines.append(cells)
    return "".join((" " * _GAP).join(cells).rstrip() + "\n" for cells in lines)


def _cell(text: str, wide: int, right: bool) -> str:
    """Return text cut or filled to a number of the terminal's columns."""
    from rich.cells import cell_len, set_cell_size

    length = cell_len(text)
    if length > wide:
        end = "…" if is_unicode() else "~"
        return set_cell_size(text, wide - 1) + end
    return " " * (wide - length) + text if right else text + " " * (wide - length)


def one_line(text: str) -> str:
    """Return text as it stands in a cell: on one line, with whatever a terminal could obey escaped."""
    return printable(" ".join(text.split()))


def paint(text: str, style: str) -> str:
    """Return text, which is printable already, in a style such as ``bold red``, where a terminal shows it."""
    if not (text and style and is_terminal() and has_colours()):
        return text
    return f"\x1b[{';'.join(str(_CODES[word]) for word in style.split())}m{text}\x1b[0m"


def is_terminal() -> bool:
    """Tell whether people see what is printed."""
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()


def has_colours() -> bool:
    """Tell whether colours are wanted, and understood."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Return how many characters a line of the terminal has; COLUMNS says so first."""
    return max(20, shutil.get_terminal_size((WITHOUT_TERMINAL, 24)).columns)


def is_unicode() -> bool:
    """Tell whether lines and dots can be drawn."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")
