"""What the slash commands answer: Markdown, in which what others wrote is what it is and no more; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from charm_checkpoint.long_term.plain_text import fence_around, one_line
from charm_checkpoint.long_term.records import MemoryEntry
from charm_checkpoint.long_term.shown import code, markdown

MOST: Final = 200
"""How many memories a list shows."""

_HOOK = 100


class Names:
    """How scopes are called in a chat: Cantrip's word for the project's own is ``charm``."""

    def __init__(self, project: str = "project") -> None:
        self._project = project

    def __call__(self, scope: str) -> str:
        """Return how a scope is called."""
        return self._project if scope == "project" else scope


def error(message: str) -> str:
    """Return an error."""
    return f"_Error: {markdown(message, 600)}_"


def about(verb: str, entry: MemoryEntry, names: Names) -> str:
    """Return what was done with a memory, as in ``Forgot memory: **title** (global)``."""
    return f"{verb} memory: **{markdown(entry.title)}** ({names(entry.scope)})"


def written(entry: MemoryEntry, replaced: bool, names: Names) -> str:
    """Return that a memory was written."""
    more = " It replaced the one of that title." if replaced else ""
    why = markdown(entry.reason or "somebody is to look at it")
    held = f" It is kept back for review: {why}." if entry.needs_review else ""
    return about(f"Wrote {entry.kind}", entry, names) + (f".{more}{held}" if more or held else "")


def bullet(entry: MemoryEntry, names: Names, *, hook: bool = False) -> str:
    """Return a memory as an item of a list."""
    parts = [f"- **{markdown(entry.title)}** ({entry.kind}, {names(entry.scope)})"]
    if entry.tags:
        parts.append(f"\\[{', '.join(markdown(tag, 40) for tag in entry.tags[:8])}\\]")
    if entry.status != "active":
        reason = f": {markdown(entry.reason)}" if entry.reason else ""
        parts.append(f"— {entry.status}{reason}")
    if entry.needs_review:
        parts.append("— needs review")
    if hook:
        parts.append(f"— {markdown(entry.body, _HOOK)}")
    return " ".join(parts)


def listing(entries: Sequence[MemoryEntry], names: Names, empty: str, *, hook: bool = False) -> str:
    """Return memories as a list, or, in italics, that there are none."""
    if not entries:
        return f"_{markdown(empty)}_"
    lines = [bullet(entry, names, hook=hook) for entry in entries[:MOST]]
    if len(entries) > MOST:
        lines.append(f"- … and {len(entries) - MOST} more")
    return "\n".join(lines)


def whole(entry: MemoryEntry, names: Names) -> str:
    """Return a memory in full; its body is fenced."""
    lines = [bullet(entry, names)[2:], "", f"- source: {markdown(entry.source, 40)}, written {_day(entry.created)}"]
    if entry.updated != entry.created:
        lines.append(f"- changed {_day(entry.updated)}")
    if entry.used is not None:
        lines.append(f"- used {_day(entry.used)}, {entry.uses} time{'s' if entry.uses != 1 else ''} in all")
    if entry.validated is not None:
        lines.append(f"- found to hold {_day(entry.validated)}")
    lines += [f"- cites {code(each.path)}" for each in entry.citations]
    return "\n".join([*lines, "", fenced(entry.body)])


def fenced(text: str) -> str:
    """Return a text in a fence that nothing in it closes."""
    plain = "\n".join(map(_seen, text.splitlines()))
    fence = fence_around([plain])
    return f"{fence}\n{plain}\n{fence}"


def names_of(titles: Iterable[str], most: int = 5) -> str:
    """Return some titles, and an ellipsis if there are more."""
    some = list(titles)
    return ", ".join(markdown(title, 80) for title in some[:most]) + (", …" if len(some) > most else "")


def _seen(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())].expandtabs(4)
    return (indent if indent.strip(" ") == "" else "") + one_line(line, 10_000)


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
