"""Threads, messages and long-term memory into one file, while the store is written to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from charm_checkpoint.contract import Chunk, ThreadRow
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.plan import Compute
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.saver.threads import is_staging
from charm_checkpoint.store import Store
from charm_checkpoint.stores import ram
from charm_checkpoint.transfer.archive import form
from charm_checkpoint.transfer.archive.form import ArchiveWriter, data_of
from charm_checkpoint.transfer.copying import Wanted
from charm_checkpoint.transfer.files import NewFile, is_taken
from charm_checkpoint.transfer.following import ATTEMPTS, Moved, follow
from charm_checkpoint.transfer.hops import Moving
from charm_checkpoint.transfer.items import ItemReader, ItemRecord
from charm_checkpoint.transfer.listing import Rows
from charm_checkpoint.transfer.messages import copy_messages, read_list
from charm_checkpoint.transfer.reading import DAMAGED, Reader
from charm_checkpoint.transfer.records import CheckpointRecord
from charm_checkpoint.transfer.report import ExportReport, MoveProgress, Place, Tally
from charm_checkpoint.transfer.sinks import Told


def export(source: Store, path: str, wanted: Wanted, overwrite: bool) -> Moving[ExportReport]:
    """Write what is wanted of a store into a file, which gets its name when it is whole."""
    if not overwrite and is_taken(path):
        raise ConfigError(f"{path} is there already; give another name, or overwrite=True")
    if not source.keeps_checkpoints:
        raise ConfigError("this store keeps nothing, so there is nothing to export")
    tally = Tally()
    with NewFile(path) as new:
        exporting = _Export(source, ArchiveWriter(new.file, path), wanted, tally)
        yield from exporting.threads()
        if wanted.items and source.items is not None:
            yield from ItemReader(source, tally).give(exporting.items)
        counts = {name: getattr(tally, name) for name in _COUNTED}
        is_written = any(counts.values()) or _may_be_empty(path, tally)
        digest = (yield Compute(partial(exporting.archive.end, counts))) if is_written else ""
        size: int = (yield Compute(new.finish)) if is_written else 0
    return ExportReport(
        path, **counts, size=size, digest=digest, damaged=tuple(tally.damaged),
        moving=tuple(tally.moving),
    )  # fmt: skip


def _may_be_empty(path: str, tally: Tally) -> bool:
    """Tell whether nothing is what there was; raises where that would take the place of something."""
    if tally.damaged or tally.moving:
        return False
    if is_taken(path):
        raise ConfigError(f"there is nothing to export; {path}, which is there already, was left as it is")
    return True


_COUNTED = ("threads", "checkpoints", "writes", "messages", "chunks", "items")


class _Export:
    """An export under way."""

    def __init__(self, source: Store, archive: ArchiveWriter, wanted: Wanted, tally: Tally) -> None:
        self._source = source
        self._reader = Reader(source)
        self.archive = archive
        self._wanted = wanted
        self._tally = tally

    def threads(self) -> Moving[None]:
        """Write all threads that are wanted."""
        rows = Rows(self._source, self._wanted.threads)
        done = 0
        for part in rows.parts():
            for row in (yield from part):
                if row.thread is None or row.damage is not None:
                    self._tally.damaged.append(Place(row.damage or "it has no name", row.thread))
                elif not is_staging(row.thread):
                    yield from self._take(row, row.thread, partial(self._tell, done, row.thread))
                    done += 1
                    self._tell(done, row.thread)
        for name in rows.missing():
            self._tally.damaged.append(Place("the store has no such thread", name))

    def items(self, records: Sequence[ItemRecord]) -> Moving[None]:
        """Write items."""
        if not records:
            return
        payload = [[*record.row, record.entry, record.vectors] for record in records]
        yield Compute(partial(self.archive.write, form.ITEMS, payload))
        self._tally.items += len(records)
        if self._wanted.on_progress is not None:
            self._wanted.on_progress(MoveProgress("items", self._tally.items, None))

    def _tell(self, done: int, thread: str, checkpoints: int = 0) -> None:
        if self._wanted.on_progress is not None:
            total = None if self._wanted.threads is None else len(self._wanted.threads)
            self._wanted.on_progress(MoveProgress("threads", done, total, thread, checkpoints))

    # ---------------------------------------------------------------------------------------------------- one thread

    def _take(self, row: ThreadRow, thread: str, tell: Callable[[int], None]) -> Moving[None]:
        """Write a thread, as of one moment, or nothing of it."""
        point = self.archive.point()
        try:
            for _ in range(ATTEMPTS):
                if (yield from self._write(row, thread, tell)):
                    self._tally.threads += 1
                    return
                yield Compute(partial(self.archive.back_to, point))
            raise Moved
        except Moved as error:
            self._tally.moving.append(Place(str(error), thread))
        except DAMAGED as error:
            self._tally.damaged.append(Place(str(error), thread))
        yield Compute(partial(self.archive.back_to, point))

    def _write(self, row: ThreadRow, thread: str, tell: Callable[[int], None]) -> Moving[bool]:
        """Write a thread; False if something of it was removed meanwhile, so that it is to be written anew."""
        about = [data_of(thread), row.title, row.note, row.writes_note, row.pinned]
        yield Compute(partial(self.archive.write, form.THREAD, about))
        damaged: list[Place] = []
        lists = message_chunks = 0
        if self._wanted.messages and row.has_messages:
            lists, message_chunks = yield from self._messages(thread, damaged)
        sink = _ArchiveSink(self.archive)
        if row.checkpoints or row.head is not None:
            outline = yield from self._reader.outline(thread)
            damaged += outline.damaged
            if (yield from follow(self._reader, thread, outline, Told(sink, tell), damaged)) is None:
                return False
        yield Compute(partial(self.archive.write, form.END_OF_THREAD, [sink.checkpoints, sink.writes]))
        self._tally.messages += lists
        self._tally.checkpoints += sink.checkpoints
        self._tally.writes += sink.writes
        self._tally.chunks += sink.chunk_count + message_chunks
        self._tally.damaged += damaged
        return True

    def _messages(self, thread: str, damaged: list[Place]) -> Moving[tuple[int, int]]:
        """Write a thread's messages; count lists and chunks. What is kept as one text is unpacked in memory first."""
        point = self.archive.point()
        try:
            if self._source.history is None:
                return (yield from self._list(self._reader, thread))
            with closing(Store(ram.RamBackend(), ram.RamDriver(), budget=Budget(1 << 20))) as store:
                store.limits = self._source.limits
                scratch = Reader(store)
                yield from copy_messages(self._reader, scratch, thread, self._wanted, Tally(), False)
                return (yield from self._list(scratch, thread))
        except DAMAGED as error:
            damaged.append(Place(f"its messages: {error}", thread))
        yield Compute(partial(self.archive.back_to, point))
        return 0, 0

    def _list(self, reader: Reader, thread: str) -> Moving[tuple[int, int]]:
        record = yield from reader.messages(thread)
        if record.is_empty:
            return 0, 0
        record, walker, reach = yield from read_list(reader, thread, record)
        last = yield from walker.send(reach, self._message_chunks)
        if last:
            yield from self._message_chunks(last)
        payload = [record.packed, record.roots, list(record.batches)]
        yield Compute(partial(self.archive.write, form.MESSAGES, payload))
        return 1, len(reach.order)

    def _message_chunks(self, part: list[Chunk]) -> Moving[None]:
        yield Compute(partial(self.archive.write, form.MESSAGE_CHUNKS, _chunks(part)))


class _ArchiveSink:
    """Writes checkpoints into an archive."""

    def __init__(self, archive: ArchiveWriter) -> None:
        self._archive = archive
        self.checkpoints = self.writes = self.chunk_count = 0

    def chunks(self, part: list[Chunk]) -> Moving[None]:
        """Write chunks."""
        if part:
            yield Compute(partial(self._archive.write, form.CHUNKS, _chunks(part)))
            self.chunk_count += len(part)

    def checkpoint(self, record: CheckpointRecord, chunks: list[Chunk]) -> Moving[None]:
        """Write a checkpoint behind its chunks."""
        yield from self.chunks(chunks)
        payload = [
            data_of(record.ns), data_of(record.id), data_of(record.parent), data_of(record.conflict), record.roots,
            None if record.stored else record.packed, list(record.writes),
        ]  # fmt: skip
        yield Compute(partial(self._archive.write, form.CHECKPOINT, payload))
        self.checkpoints += not record.stored
        self.writes += len(record.writes)


def _chunks(part: Sequence[Chunk]) -> list[Any]:
    return [[chunk.address, chunk.refs, chunk.data] for chunk in part]
