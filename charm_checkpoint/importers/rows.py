"""What the tables of LangGraph's savers hold, whichever database they are in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from charm_checkpoint.errors import DataError, id_text
from charm_checkpoint.importers.decoding import OfficialDecoder

NEEDED = ("thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "checkpoint", "metadata")
"""Columns that the table of checkpoints has in every version taken over."""

Key: TypeAlias = tuple[str, str]
"""A namespace and a checkpoint's id."""


class OldWrite(NamedTuple):
    """A pending write, at its place among those of its task."""

    task_id: str
    task_path: str
    idx: int
    channel: str
    value: Any


@dataclass(frozen=True, slots=True)
class OldCheckpoint:
    """A checkpoint with its pending writes; ``size`` counts the bytes that were read for it."""

    ns: str
    id: str
    parent: str | None
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    writes: Sequence[OldWrite]
    size: int


class Source(Protocol):
    """A database of one of LangGraph's savers; it is never written to."""

    def threads(self) -> Iterator[str]:
        """Yield the ids of all threads."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Hold what `keys` and `read` see still."""
        ...

    def keys(self, thread: str) -> list[Key]:
        """Return a thread's checkpoints in the saver's own order, earliest first."""
        ...

    def read(self, thread: str, keys: Sequence[Key]) -> Iterator[OldCheckpoint]:
        """Yield checkpoints of a thread, in the order of ``keys``.

        Raises `DataError`, with the namespace, the id and the path of what cannot be restored.
        """
        ...

    def close(self) -> None:
        """Close the database."""
        ...


def decode_writes(decoder: OfficialDecoder, rows: Iterable[Sequence[Any]]) -> list[OldWrite]:
    """Decode rows of task id, task path, idx, channel, type and bytes."""
    writes = []
    for task_id, task_path, idx, channel, kind, data in sorted(rows, key=lambda row: (row[1], row[0], row[2])):
        try:
            writes.append(OldWrite(task_id, task_path, idx, channel, decoder.loads(kind, data)))
        except DataError as error:
            raise error.at("pending_writes", channel) from error.__cause__
    return writes


def decode_metadata(data: bytes | str | None) -> dict[str, Any]:
    """Decode a checkpoint's metadata, which is plain JSON."""
    try:
        metadata = json.loads(data) if data else None
    except ValueError as error:
        raise DataError(f"this is not JSON: {error}", path=("metadata",)) from error
    if not isinstance(metadata, dict | None):
        raise DataError(f"this is not a JSON object but a {type(metadata).__name__}", path=("metadata",))
    return metadata or {}


def checked(checkpoint: Any, id: str) -> dict[str, Any]:
    """Return a decoded checkpoint under its row's id; raises `DataError` if it is none."""
    fields = {"v", "ts", "channel_values", "channel_versions", "versions_seen"}
    if not isinstance(checkpoint, dict) or not fields <= checkpoint.keys():
        raise DataError(f"this is not a checkpoint of LangGraph: it has no {', '.join(sorted(fields))}")
    return {**checkpoint, "id": id}


def in_checkpoint(error: DataError, ns: str, id: str) -> DataError:
    """Return the same error, saying which checkpoint it is about."""
    place = f"checkpoint {id_text(id)}" + (f" in namespace {ns!r}" if ns else "")
    return type(error)(f"{place}, {error}")
