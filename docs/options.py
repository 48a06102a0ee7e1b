"""The tables of options in the pages of stores, made from what the code says of its options.

``python docs/options.py`` writes them anew between their marks; a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from charm_checkpoint.config import registry
from charm_checkpoint.config.options import Option
from charm_checkpoint.memory import OPTIONS

FOLDER = Path(__file__).parent

BLOCK = re.compile(r"(<!-- options: (\S+) -->\n).*?(<!-- end of options -->)", re.DOTALL)
"""A table and its marks, which name the URL scheme of a store, ``every`` or ``former``."""

OF_OTHERS = ("handed to libpq", "redis-py's name")
"""How the help of options begins that other programs define; pages tell of them in words."""

UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def options_of(scheme: str) -> tuple[Option, ...]:
    """Return the options a table lists: those of a store alone, or those that every store has."""
    return OPTIONS if scheme == "every" else registry.resolve(scheme).options


def table(scheme: str) -> str:
    """Write the options of a store as a Markdown table, or those that every store has, or the ``former`` ones."""
    if scheme == "former":
        return _table(("option", "write instead"), former_options())
    rows = [(f"`{one.name}`", default(one), one.help) for one in options_of(scheme) if is_shown(one)]
    return _table(("option", "default", "what it does"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- ", "|---").replace("--- |", "---|")


def is_shown(option: Option) -> bool:
    """Tell whether a table has a line for an option: not for other programs' names, nor for one that is to go."""
    return option.listed and not option.instead and not option.help.startswith(OF_OTHERS)


def former_options() -> list[tuple[str, str]]:
    """Return each former name of an option, and each option that is to go, with what to write instead."""
    every = [one for scheme in ("every", *registry.BUILT_IN) for one in options_of(scheme)]
    renamed = {(f"`{name}`", f"`{one.name}`") for one in every for name in one.former}
    return sorted(renamed | {(f"`{one.name}`", _in_code(one.instead)) for one in every if one.instead})


def _in_code(names: str) -> str:
    return " or ".join(f"`{name}`" for name in names.split(" or "))


def default(option: Option) -> str:
    """Write an option's default as a user would."""
    value = option.default
    if option.env:
        return f"`${option.env}`"
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{_in_units(value, UNITS)}`"
    if isinstance(value, int) and value >= 1 << 10:
        return f"`{_in_units(value, SIZES)}`"
    return f"`{value}`"


def _in_units(value: float, units: Iterable[tuple[int, str]]) -> str:
    return next((f"{value / size:g}{unit}" for size, unit in units if value % size == 0), str(value))


def renewed(page: str) -> str:
    """Return a page's text with its tables written anew."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{table(block[2])}\n{block[3]}", page)


def main() -> None:
    """Write every table anew."""
    for path in FOLDER.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        if renewed(text) != text:
            path.write_text(renewed(text), encoding="utf-8")


if __name__ == "__main__":
    main()
