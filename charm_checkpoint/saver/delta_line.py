"""The line of checkpoints that delta channels are rebuilt along, and whether it is whole; pure.

A ``DeltaChannel`` that a checkpoint has a version of, and no value, is rebuilt from the writes of its ancestors, up to
the nearest that has the value, or to the first checkpoint of the thread. An ancestor that is lost would leave a list
that is short, and looks like any other. What is left tells of it:

- a checkpoint names a parent that is not stored, and has such channels. That is certain. A prune keeps what is needed
  by the checkpoints that it keeps; those it keeps only for that may lack what other channels of their own need;
- a channel's version is another one than its parent's, and the parent has no write to it. LangGraph stores a checkpoint
  after the writes that it was made of, or puts the value into it; before 1.2.24 it forgot some. Where one of several
  tasks' writes is lost, the others look like all there were, and nothing tells of it here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from charm_checkpoint.contract import CheckpointRow
from charm_checkpoint.errors import id_text, place_of, placing
from charm_checkpoint.saver.history import delta_channels
from charm_checkpoint.saver.records import Record
from charm_checkpoint.values.chunk_reader import Missing

GONE = (
    "It is lost, or was removed by a prune that kept this one for the sake of later ones. Go on from one that can be "
    "read, restore the thread from a backup, or delete it."
)


class LineBroken(Missing):
    """What a delta channel is rebuilt from is not there."""


def rebuilt_of(record: Record) -> dict[str, Any]:
    """Return the delta channels that a checkpoint's ancestors tell the value of, with their versions in it."""
    versions = record.checkpoint["channel_versions"]
    return {name: versions[name] for name in delta_channels(record) or () if name in versions}


def moved_without_write(rebuilt: Mapping[str, Any], parent: Record, written: Collection[str]) -> list[str]:
    """Return those of the channels that a checkpoint moved, and that nothing was written to at its parent."""
    before = parent.checkpoint["channel_versions"]
    return sorted(name for name, version in rebuilt.items() if name not in written and before.get(name) != version)


def said_of_lost_parent(parent: str, channels: Collection[str]) -> str:
    """Say what it means that a parent is not stored."""
    return (
        f"its parent {id_text(parent)} is not stored, and what {_named(channels)} held is rebuilt from what was "
        "written there and before."
    )


def said_of_lost_writes(parent: str, channels: Collection[str]) -> str:
    """Say what it means that nothing is written to channels that moved."""
    return (
        f"what {_named(channels)} held is rebuilt from writes, and none that changed it is stored at the parent "
        f"{id_text(parent)}: they are lost, or an earlier LangGraph (before 1.2.24) did not store them."
    )


def _named(channels: Collection[str]) -> str:
    return " and ".join(map(repr, sorted(channels)))


class DeltaLine:
    """Follows a line up from one checkpoint; ``names`` are the channels that are asked for."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._rebuilt: dict[str, Any] = {}
        self._row: CheckpointRow | None = None
        self.lost: list[str] = []
        """What is said of writes that are lost."""

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing was taken yet."""
        return self._row is None

    def take(self, row: CheckpointRow, record: Record, written: Collection[str], found: Collection[str]) -> None:
        """Go on with the next one; ``found`` are the channels whose value was found before it."""
        if self._row is not None:
            wanted = {name: version for name, version in self._rebuilt.items() if name not in found}
            lost = moved_without_write(wanted, record, written)
            if lost:
                place = place_of(self._row.thread, self._row.ns, self._row.id)
                self.lost.append(f"{place}: {said_of_lost_writes(row.id, lost)}")
        self._rebuilt = {name: version for name, version in rebuilt_of(record).items() if name in self._names}
        self._row = row

    def end(self, found: Collection[str]) -> None:
        """Say that nothing comes any more; raises `LineBroken` if something should."""
        row, lost = self._row, self._rebuilt.keys() - found
        if row is not None and row.parent is not None and lost:
            with placing(row.thread, row.ns, row.id):
                raise LineBroken(f"{_capital(said_of_lost_parent(row.parent, lost))} {GONE}")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
