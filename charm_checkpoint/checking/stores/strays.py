"""Rows of tables that belong to nothing, and the removal of those that only take room, some at a time.

A row that others stand under may be lost, and be put back from a backup. So nothing is removed while anything is found
of which that may be so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.errors import StoreCorrupt, StoreError
from charm_checkpoint.session import Session
from charm_checkpoint.stores.shared.names import bytes_text

BATCH = 500
"""Rows that are removed in one transaction."""


class Stray(NamedTuple):
    """Rows that belong to nothing: their table, what each is, the column that says to what, and the table of that.

    ``is_waste``: they only take room. ``pairs``: a condition that stands for the usual one, of rows ``r``.
    """

    table: str
    what: str
    owner: str
    above: str
    is_waste: bool
    pairs: str | None = None

    def lacks(self, schema: str = "") -> str:
        """Return the condition that a row ``r`` belongs to nothing."""
        held = self.pairs or f"a.key = r.{self.owner}"
        return f"NOT EXISTS (SELECT 1 FROM {schema}{self.above} a WHERE {held})"


class Tables(Protocol):
    """What knows the tables of a store."""

    def count(self, stray: Stray) -> Session[int]:
        """Count the rows of a kind."""
        ...

    def remove(self, stray: Stray, start: Any) -> Session[Any]:
        """Remove some of them, from an owner on; return the owner to go on from, None after the last."""
        ...


def look_at_strays(
    tables: Tables, strays: Sequence[Stray], repair: bool, advice: str
) -> Session[list[IntegrityFinding]]:
    """Return what belongs to nothing in a store; with ``repair`` what only takes room goes."""
    counts: dict[Stray, int] = {}
    found: list[IntegrityFinding] = []
    for stray in strays:
        try:
            count = yield from tables.count(stray)
        except StoreError as error:
            message = f"rows of {stray.table} that belong to nothing could not be looked for: {error}"
            found.append(IntegrityFinding("store", message, "note"))
            repair = False
        else:
            counts.update({stray: count} if count else {})
    repair = repair and all(stray.is_waste for stray in counts)
    for stray, count in counts.items():
        told = _told(stray, count, advice)
        found.append((yield from _repaired(tables, stray, told)) if repair else told)
    return found


def _repaired(tables: Tables, stray: Stray, told: IntegrityFinding) -> Session[IntegrityFinding]:
    start: Any = -(1 << 62)
    try:
        while start is not None:
            start = yield from tables.remove(stray, start)
        left = yield from tables.count(stray)
    except StoreError:
        return told
    return replace(told, repaired=not left)


def _told(stray: Stray, count: int, advice: str) -> IntegrityFinding:
    if stray.is_waste:
        return IntegrityFinding(
            "store", f"{count:,} rows of {stray.table} belong to nothing, and take room.", "waste", count=count,
            advice="A repair removes them, unless others tell that a row is lost which they may belong to.",
            repairable=True,
        )  # fmt: skip
    return IntegrityFinding(
        "store", f"{count:,} rows of {stray.table} (each a {stray.what}) belong to what is not there any more: a row "
        "that they stand under is lost, and nobody can tell whose they are.",
        count=count, advice=f"Nothing finds them, and they harm no other thread. {advice}",
    )  # fmt: skip


def lost_list(name: bytes, advice: str) -> IntegrityFinding:
    """Return what is told of a thread of which a message list is lost."""
    message = "its message list is lost: what tells of it is there, and no list."
    return IntegrityFinding("messages", message, thread=_text(name), advice=f"{advice} Or erase the thread.")


def _text(name: bytes) -> str | None:
    try:
        return bytes_text(bytes(name))
    except StoreCorrupt:
        return None
