"""What is in a snapshot: a line for each memory, for its use, and for what was forgotten; pure.

The file is one of `charm_checkpoint.items.store.line_files`. A line is ``{"scope", "part", "key", "value", "at"}``;
``part`` is "notes", the memories, "access", when they were used, or "tombstones", what was forgotten. ``value`` is as
stored, ``at`` when that was put first and last, in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.items.results import time_of
from charm_checkpoint.items.store.line_files import Form, LinesSource, dump
from charm_checkpoint.long_term.records import Value, checked_kind, checked_status, entry_of
from charm_checkpoint.long_term.tombstones import SIDE as TOMBSTONES

FORM: Final = Form("charm-checkpoint memories", 1, "memories")
NOTES: Final = "notes"
ACCESS: Final = "access"
PARTS: Final = (NOTES, ACCESS, TOMBSTONES)
"""What is in a snapshot of each scope, in this order."""


class Record(NamedTuple):
    """A line of a snapshot."""

    scope: str
    part: str
    key: str
    value: Value
    at: tuple[int, int]


@dataclass(frozen=True)
class SnapshotResult:
    """What was written, and where: the snapshot, and the same for people. ``memories`` counts those of each scope."""

    path: Path
    markdown: Path
    memories: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"path": str(self.path), "markdown": str(self.markdown), "memories": dict(self.memories)}


@dataclass(frozen=True)
class HydrateResult:
    """What a snapshot was put into: how many memories into each scope, and how many were there already and stayed."""

    path: Path
    put: Mapping[str, int]
    kept: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"path": str(self.path), "put": dict(self.put), "kept": dict(self.kept)}


def line_of(record: Record) -> str:
    """Write a record down."""
    return dump(record._asdict())


def record_of(line: bytes) -> Record:
    """Read what `line_of` wrote; raises ValueError, TypeError or KeyError for anything else."""
    about = json.loads(line)
    record = Record(about["scope"], about["part"], about["key"], about["value"], tuple(about["at"]))
    if not all(isinstance(text, str) for text in record[:3]) or not isinstance(record.value, dict):
        raise TypeError("it has a scope, a part and a key, which are texts, and a value")
    created, updated = map(_whole, record.at)
    if not time_of(1) <= time_of(created) or not time_of(1) <= time_of(updated):
        raise ValueError(f"{record.at} is before all memories")
    if record.part not in _CHECKS:
        raise ValueError(f"it has a part {record.part!r}, and {', '.join(PARTS)} are known")
    _CHECKS[record.part](record)
    return record


def _check_memory(record: Record) -> None:
    _memory(record, record.value)


def _memory(record: Record, value: Any) -> None:
    if value["title"] != record.key:
        raise ValueError(f"its title is not {record.key!r}")
    try:
        checked_kind(value["kind"])
        checked_status(value["status"])
        entry = entry_of(value, record.scope)
    except (StoreCorrupt, DataError) as error:
        raise ValueError(str(error)) from error
    texts = (entry.body, entry.source, *entry.tags)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a body, a source and tags are texts")
    if not isinstance(value["review"], bool) or not isinstance(value["approved"], (str, type(None))):
        raise TypeError("review is true or false, and approved a hash or null")


def _check_use(record: Record) -> None:
    time_of(_whole(record.value["used"]))
    _whole(record.value["uses"])


def _check_tombstone(record: Record) -> None:
    _memory(record, record.value["memory"])
    time_of(_whole(record.value["forgotten"]))


def _whole(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"{number!r} is no whole number")
    return number


_CHECKS: dict[str, Callable[[Record], None]] = {
    NOTES: _check_memory,
    ACCESS: _check_use,
    TOMBSTONES: _check_tombstone,
}


class SnapshotSource(LinesSource):
    """A snapshot that was looked through and is whole; ``scopes`` are those that it has memories of."""

    def __init__(self, path: Path) -> None:
        self.scopes: dict[str, None] = {}
        super().__init__(path, FORM, self._note)

    def _note(self, line: bytes) -> None:
        self.scopes[record_of(line).scope] = None

    def records(self, size: int) -> Iterable[list[Record]]:
        """Yield the records in their order, so many at a time."""
        some: list[Record] = []
        for line in self.lines():
            some.append(record_of(line))
            if len(some) == size:
                yield some
                some = []
        if some:
            yield some
