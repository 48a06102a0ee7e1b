"""What becomes of a write, as tables: every situation that the write rule tells apart, and its outcome.

Each line holds for all combinations of its values; ``*`` is any. Together the lines cover each combination
that there can be once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from charm_checkpoint.contract import NewCheckpoint, NewMessages, NewWrites
from charm_checkpoint.testing.samples import chunk, new, new_messages

ID, PARENT, OTHER, GONE = "x", "p", "o", "gone"

VALUES: Mapping[str, tuple[str, ...]] = {
    "deletes/seen": ("0/-", "0/0", "0/1", "1/-", "1/1", "1/0"),
    "parent": ("none", "stored", "missing"),
    "base": ("none", "now", "swept"),
    "head": ("none", "parent", "other", "itself"),
    "id": ("new", "stored"),
    "on_conflict": ("allow", "warn", "raise"),
    "expect": ("none", "now", "other"),
}
"""All values of each column. ``deletes/seen``: the thread's deletes, and those its writer has seen."""

# `marked` is stored, as a branch.
PUT = """
    deletes/seen | parent       | base     | head        | id     | on_conflict | outcome
    0/1 1/0      | *            | *        | *           | *      | *           | deleted
    1/-          | missing      | *        | *           | *      | *           | deleted
    0/- 0/0 1/1  | *            | swept    | *           | *      | *           | stale
    1/-          | none stored  | swept    | *           | *      | *           | stale
    0/- 0/0 1/1  | none missing | none now | none        | new    | *           | stored
    1/-          | none         | none now | none        | new    | *           | stored
    0/- 0/0 1/1  | stored       | none now | parent      | *      | *           | stored
    1/-          | stored       | none now | parent      | *      | *           | stored
    0/- 0/0 1/1  | *            | none now | itself      | stored | *           | stored
    1/-          | none stored  | none now | itself      | stored | *           | stored
    0/- 0/0 1/1  | *            | none now | other       | stored | *           | stored
    1/-          | none stored  | none now | other       | stored | *           | stored
    0/- 0/0 1/1  | *            | none now | other       | new    | allow       | stored
    1/-          | none stored  | none now | other       | new    | allow       | stored
    0/- 0/0 1/1  | *            | none now | other       | new    | warn        | marked
    1/-          | none stored  | none now | other       | new    | warn        | marked
    0/- 0/0 1/1  | *            | none now | other       | new    | raise       | conflict
    1/-          | none stored  | none now | other       | new    | raise       | conflict
"""
PUT_WRITES = """
    deletes/seen | id     | outcome
    0/1 1/0      | *      | deleted
    1/-          | new    | deleted
    1/-          | stored | stored
    0/- 0/0 1/1  | *      | stored
"""
PUT_MESSAGES = """
    expect   | base     | outcome
    other    | *        | changed
    none now | swept    | stale
    none now | none now | stored
"""


class Case(NamedTuple):
    """One combination of values, and the outcome that the table gives it."""

    values: Mapping[str, str]
    outcome: str

    @property
    def deletes(self) -> int:
        """Return how often the thread was deleted."""
        return int(self.values["deletes/seen"][0])

    @property
    def seen_deletes(self) -> int | None:
        """Return which of them the writer has seen, None if that is unknown."""
        seen = self.values["deletes/seen"][2:]
        return None if seen == "-" else int(seen)

    @property
    def line(self) -> list[str]:
        """Return the ids of the checkpoints that are stored, in the order of their commits."""
        head, is_stored = self.values.get("head"), self.values["id"] == "stored"
        held = {
            ID: is_stored and head != "itself",
            PARENT: self.values.get("parent") == "stored",
            OTHER: head == "other",
        }
        return [id for id, is_there in held.items() if is_there] + [ID] * (head == "itself")

    @property
    def head(self) -> str | None:
        """Return the head of the namespace."""
        return self.line[-1] if self.line else None

    def checkpoint(self, thread: str, sweeps: int) -> NewCheckpoint:
        """Return the checkpoint that is put, in a thread whose sweep counter this is."""
        parent = {"none": None, "stored": PARENT, "missing": GONE}[self.values["parent"]]
        return new(
            ID, parent, thread=thread, body=b"put", chunks=[chunk("put")], base_sweeps=self._base(sweeps),
            seen_deletes=self.seen_deletes, on_conflict=self.values["on_conflict"],
        )  # fmt: skip

    def writes(self, thread: str) -> NewWrites:
        """Return the pending writes that are put."""
        return NewWrites(thread, "", ID, b"written", self.seen_deletes)

    def messages(self, thread: str, revision: int, sweeps: int) -> NewMessages:
        """Return the message list that is put, in place of one of that revision."""
        expect = {"none": None, "now": revision, "other": revision + 1}[self.values["expect"]]
        return new_messages("put", chunk("put"), thread=thread, base_sweeps=self._base(sweeps), expect=expect)

    def _base(self, sweeps: int) -> int | None:
        return {"none": None, "now": sweeps, "swept": sweeps + 1}[self.values["base"]]


def cases(table: str) -> Iterator[Case]:
    """Return all cases of a table, those of each line together."""
    for line in lines(table):
        yield from line


def lines(table: str) -> list[list[Case]]:
    """Return the cases of each line of a table."""
    columns, *rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [list(_expanded(columns, row)) for row in rows]


def combinations(columns: Iterable[str]) -> list[Mapping[str, str]]:
    """Return the combinations of values of these columns that there can be."""
    names = list(columns)
    found = [dict(zip(names, values, strict=True)) for values in product(*(VALUES[name] for name in names))]
    return [values for values in found if _can_be(values)]


def sample(line: list[Case]) -> list[Case]:
    """Return a few cases of a line in which each value of each column occurs."""
    missing: set[Any] = {value for case in line for value in case.values.items()}
    taken = []
    while missing:
        taken.append(max(line, key=lambda case: len(missing & case.values.items())))
        missing -= taken[-1].values.items()
    return taken


def _expanded(columns: list[str], row: list[str]) -> Iterator[Case]:
    *cells, outcome = row
    names = columns[:-1]
    choices = [VALUES[name] if cell == "*" else cell.split() for name, cell in zip(names, cells, strict=True)]
    for values in product(*choices):
        case = Case(dict(zip(names, values, strict=True)), outcome)
        if _can_be(case.values):
            yield case


def _can_be(values: Mapping[str, str]) -> bool:
    """Tell whether there can be such a namespace: one with no head is empty, and its head is stored."""
    if "head" not in values:
        return True
    head, is_stored, has_parent = values["head"], values["id"] == "stored", values["parent"] == "stored"
    if head == "none":
        return not (is_stored or has_parent)
    return (has_parent or head != "parent") and (is_stored or head != "itself")
