"""The tables of docs/changing-your-state.md: what becomes of each change here, and with LangGraph's own saver.

``python docs/changes.py`` tries every change of `tests/changes`, each version of a program in a process of its own, and
writes the tables anew between their marks; a test compares them. It needs what the tests need.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

PAGE = Path(__file__).parent / "changing-your-state.md"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from changes.deploying import Deployment  # noqa: E402
from changes.table import PARTS, ROWS  # noqa: E402
from workers import worker_pool  # noqa: E402

BLOCK = re.compile(r"(<!-- changes: (\S+) -->\n).*?(<!-- end of changes -->)", re.DOTALL)
"""A table and its marks, which name the part of the table."""

HEAD = "| what changed | charm-checkpoint | the official saver |\n|---|---|---|\n"
VERSIONS = ("langgraph-checkpoint", "langgraph-checkpoint-sqlite", "pydantic")

Outcomes = Mapping[str, tuple[str, str]]
"""What becomes of each change, with each of the two."""


def versions() -> str:
    """Return what the table was made with."""
    return ", ".join(f"{name} {version(name)}" for name in VERSIONS)


def outcomes() -> Outcomes:
    """Try every change."""
    found = {}
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        worker_pool(Path(folder), "changes.versions") as pool,
    ):
        for number, row in enumerate(ROWS):
            place = Path(folder) / f"row {number}"
            place.mkdir()
            deployment = Deployment(pool, place, f"sqlite:///{place}/charm.db", row, compare=True)
            deployment.run()
            found[row.change] = deployment.outcome("charm"), deployment.outcome("official")
    return found


def renewed(page: str, found: Outcomes, made_with: str) -> str:
    """Return the page's text with its tables written anew."""

    def table(part: str) -> str:
        if part == "versions":
            return f"Tried with {made_with}.\n"
        rows = [(row.change, *found[row.change]) for row in PARTS[part] if row.change in found]
        return HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in rows)

    return BLOCK.sub(lambda block: f"{block[1]}\n{table(block[2])}\n{block[3]}", page)


def documented(page: str) -> Outcomes:
    """Return what the page says."""
    tables = [block[0] for block in BLOCK.finditer(page) if block[2] != "versions"]
    cells = [line[2:-2].split(" | ") for text in tables for line in text.split("\n") if line.startswith("| ")]
    return {change: (ours, theirs) for change, ours, theirs in cells if change != "what changed"}


def main() -> None:
    """Write every table anew."""
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), outcomes(), versions()), encoding="utf-8")


if __name__ == "__main__":
    main()
