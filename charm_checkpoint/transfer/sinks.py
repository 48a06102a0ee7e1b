"""Where checkpoints that are read may go besides another store."""

from __future__ import annotations

from collections.abc import Callable

from charm_checkpoint.contract import Chunk
from charm_checkpoint.transfer.hops import Moving
from charm_checkpoint.transfer.reading import Sink
from charm_checkpoint.transfer.records import CheckpointRecord
from charm_checkpoint.transfer.report import Tally

EVERY = 16
"""Checkpoints after which it is told how far a thread is."""


class Nowhere:
    """Has checkpoints be read, with all they reach, to see whether they can be."""

    def chunks(self, part: list[Chunk]) -> Moving[None]:
        """Do nothing."""
        yield from ()

    def checkpoint(self, record: CheckpointRecord, chunks: list[Chunk]) -> Moving[None]:
        """Do nothing."""
        yield from ()


class Counter:
    """Counts what would be sent."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def chunks(self, part: list[Chunk]) -> Moving[None]:
        """Count chunks."""
        yield from ()
        self._tally.chunks += len(part)
        self._tally.bytes += sum(len(chunk.data) + len(chunk.refs) for chunk in part)

    def checkpoint(self, record: CheckpointRecord, chunks: list[Chunk]) -> Moving[None]:
        """Count a checkpoint, its writes and chunks."""
        yield from self.chunks(chunks)
        self._tally.checkpoints += not record.stored
        self._tally.writes += len(record.writes)
        self._tally.bytes += record.size


class Told:
    """Hands on to another sink, and tells now and then how far it is."""

    def __init__(self, sink: Sink, tell: Callable[[int], None]) -> None:
        self._sink = sink
        self._tell = tell
        self._count = 0

    def chunks(self, part: list[Chunk]) -> Moving[None]:
        """Hand on chunks."""
        yield from self._sink.chunks(part)

    def checkpoint(self, record: CheckpointRecord, chunks: list[Chunk]) -> Moving[None]:
        """Hand on a checkpoint."""
        yield from self._sink.checkpoint(record, chunks)
        self._count += 1
        if self._count % EVERY == 0:
            self._tell(self._count)
