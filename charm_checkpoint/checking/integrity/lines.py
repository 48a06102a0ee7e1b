"""The lines of a thread's checkpoints: parents that are not stored, and what delta channels are rebuilt from.

Checkpoints come last committed first, so that those that follow one are met before it. A prune keeps what the
checkpoints that it keeps are rebuilt from, and does not ask what those are rebuilt from that it keeps only for that. So
a lost parent is damage where one that nothing follows needs it, which is kept for its own sake; else it may be a
prune's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.contract import CheckpointRow
from charm_checkpoint.saver.delta_line import (
    moved_without_write,
    rebuilt_of,
    said_of_lost_parent,
    said_of_lost_writes,
)
from charm_checkpoint.saver.records import Record

RESTORE = (
    "Restore the thread from a backup; or go on from a checkpoint that has the value whole, or that begins after it "
    "was set anew."
)
LESS = "Part of a value may be missing: compare with a backup, if there is one."


class _Child(NamedTuple):
    id: str
    rebuilt: Mapping[str, Any]


@dataclass
class _Awaited:
    """A parent that was named and not met: by which, and what a checkpoint that nothing follows needs of it."""

    children: list[_Child] = field(default_factory=list)
    needed: dict[str, str] = field(default_factory=dict)
    """By channel, the first of the children through which it is needed."""


class Lines:
    """Takes the checkpoints of a thread, last committed first."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, None]] = {}
        self._awaited: dict[tuple[str, str], _Awaited] = {}

    def take(self, row: CheckpointRow, record: Record | None, written: Collection[str]) -> Iterator[IntegrityFinding]:
        """Take one, and yield what is found of those that follow it; ``record`` is None if it cannot be read."""
        self._seen.setdefault(row.ns, {})[row.id] = None
        rebuilt = {} if record is None else rebuilt_of(record)
        above = self._awaited.pop((row.ns, row.id), None)
        if above is not None and record is not None:
            yield from _gaps(row, record, written, above.children)
        if row.parent is None or row.parent in self._seen[row.ns]:
            return
        needed = rebuilt if above is None else {name for name in above.needed if name in rebuilt}
        awaited = self._awaited.setdefault((row.ns, row.parent), _Awaited())
        awaited.children.append(_Child(row.id, rebuilt))
        for name in needed:
            awaited.needed.setdefault(name, row.id)

    def ids(self, ns: str) -> Collection[str]:
        """Return the ids that were taken of a namespace, in that order."""
        return self._seen.get(ns, {}).keys()

    def lost(self) -> Iterator[IntegrityFinding]:
        """Yield what is to be told of parents that did not come."""
        for (ns, parent), awaited in self._awaited.items():
            if awaited.needed:
                id = next(iter(awaited.needed.values()))
                yield IntegrityFinding(
                    "parent", said_of_lost_parent(parent, awaited.needed), namespace=ns, checkpoint=id,
                    channel=min(awaited.needed), count=len(awaited.children), advice=RESTORE,
                )  # fmt: skip
            else:
                yield IntegrityFinding(
                    "parent", f"its parent {parent!r} is not stored, as is so after a prune.", "note", namespace=ns,
                    checkpoint=awaited.children[0].id, count=len(awaited.children),
                )  # fmt: skip


def _gaps(
    row: CheckpointRow, record: Record, written: Collection[str], children: Collection[_Child]
) -> Iterator[IntegrityFinding]:
    for child in children:
        moved = moved_without_write(child.rebuilt, record, written)
        if moved:
            yield IntegrityFinding(
                "writes", said_of_lost_writes(row.id, moved), "note", namespace=row.ns, checkpoint=child.id,
                channel=moved[0], advice=LESS,
            )  # fmt: skip
