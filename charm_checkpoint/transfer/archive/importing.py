"""An archive into a store. It is read whole and checked before anything is written; then each thread is copied."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from charm_checkpoint.contract import Chunk, ThreadRow, ThreadState
from charm_checkpoint.contract_items import ItemRow
from charm_checkpoint.errors import ConfigError, StoreCorrupt, StoreError
from charm_checkpoint.items.namespaces import ITEMS
from charm_checkpoint.items.values import stored
from charm_checkpoint.plan import Compute
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.saver.tags import tags
from charm_checkpoint.store import Store
from charm_checkpoint.stores import ram
from charm_checkpoint.transfer.archive import form
from charm_checkpoint.transfer.archive.form import ArchiveReader, Record, text
from charm_checkpoint.transfer.copying import ThreadCopy, Wanted
from charm_checkpoint.transfer.files import is_stream
from charm_checkpoint.transfer.hops import Moving, tidily
from charm_checkpoint.transfer.items import ItemRecord, ItemWriter
from charm_checkpoint.transfer.messages import ListWriter
from charm_checkpoint.transfer.moving import is_there
from charm_checkpoint.transfer.records import CheckpointRecord
from charm_checkpoint.transfer.report import CopyReport, Place, Tally
from charm_checkpoint.transfer.writing import ThreadWriter

IN_MEMORY = 32 << 20
"""Bytes up to which a thread of an archive is unpacked in memory; a larger one is unpacked into a temporary file."""


class Contents(NamedTuple):
    """What a look through an archive found: it is whole. ``sizes`` are the bytes of each thread."""

    sizes: Mapping[str, int]
    counts: Mapping[str, int]


def look_through(file: BinaryIO) -> Contents:
    """Read an archive to its end; raises `StoreCorrupt` with the place for what is not as it was written."""
    sizes: dict[str, int] = {}
    thread: str | None = None
    for record in ArchiveReader(file).records():
        if record.kind == form.END:
            [counts] = shaped(record, [record.payload], dict)
        elif record.kind == form.THREAD:
            thread = text(shaped(record, record.payload[:1], bytes)[0]) or ""
            sizes[thread] = 0
        elif thread is not None and record.kind != form.ITEMS:
            sizes[thread] += record.size
    if counts.get("threads") != len(sizes):
        raise StoreCorrupt("The archive holds other threads than its end says.")
    return Contents(sizes, counts)


def importing(file: BinaryIO, target: Store, wanted: Wanted, blank: bool = False) -> Moving[CopyReport]:
    """Bring what is wanted of an archive into a store."""
    if not target.keeps_checkpoints:
        raise ConfigError("the target keeps nothing, so nothing can be imported into it")
    contents: Contents = yield Compute(partial(look_through, file))
    tally = Tally(wanted.dry_run, wanted.verify)
    blank = blank or (wanted.dry_run and not (yield from is_there(target)))
    run = _Import(target, wanted, tally, contents, blank)
    yield from tidily(run.all(ArchiveReader(file).records()), target, run.give_up)
    return tally.report()


class _Import:
    """An import under way."""

    def __init__(self, target: Store, wanted: Wanted, tally: Tally, contents: Contents, blank: bool) -> None:
        self._target = target
        self._wanted = wanted
        self._tally = tally
        self._sizes = contents.sizes
        self._blank = blank
        self._copies: ThreadCopy | None = None

    def all(self, records: Iterator[Record]) -> Moving[None]:
        """Bring everything in, in the archive's order."""
        writer = None if self._target.items is None else ItemWriter(
            self._target, self._wanted, self._tally, blank=self._blank
        )  # fmt: skip
        while True:
            record: Record = yield Compute(partial(next, records))
            if record.kind == form.THREAD:
                yield from self._thread(record, records)
            elif record.kind == form.ITEMS and self._wanted.items:
                if writer is None:
                    raise StoreError("the target keeps no long-term memory: leave it out, with items=False")
                yield from writer.put([_item(record, each) for each in record.payload])
            elif record.kind == form.END:
                break
        if self._copies is not None:
            yield from self._copies.finish()
        for name in self._wanted.threads or ():
            if name not in self._sizes:
                self._tally.damaged.append(Place("the archive has no such thread", name))

    def give_up(self) -> Moving[None]:
        """Leave no half of a thread in the target."""
        if self._copies is not None:
            yield from self._copies.give_up()

    def _thread(self, record: Record, records: Iterator[Record]) -> Moving[None]:
        """Unpack a thread into a store of its own, and copy it from there."""
        kinds = (bytes, (bytes, None), (bytes, None), (bytes, None), bool)
        name, title, note, writes_note, pinned = shaped(record, record.payload, *kinds)
        thread = text(name) or ""
        if self._wanted.threads is not None and thread not in self._wanted.threads:
            while record.kind != form.END_OF_THREAD:
                record = yield Compute(partial(next, records))
            return
        with ExitStack() as stack:
            scratch = _scratch(self._sizes[thread], stack)
            scratch.limits = self._target.limits
            row = ThreadRow(thread, title=title, note=note, writes_note=writes_note, pinned=pinned)
            unpacked = _Unpacking(scratch, row, thread)
            while record.kind != form.END_OF_THREAD:
                record = yield Compute(partial(next, records))
                yield from unpacked.take(record)
            yield from unpacked.writer.finish()
            if self._copies is None:
                self._copies = ThreadCopy(
                    scratch, self._target, "archive", self._wanted, self._tally, blank=self._blank
                )
                yield from self._copies.look_ahead(len(self._sizes))
            self._copies.read_from(scratch)
            count = unpacked.writer.checkpoints
            yield from self._copies.take(row._replace(checkpoints=count, has_messages=unpacked.has_messages))


def _scratch(size: int, stack: ExitStack) -> Store:
    if size <= IN_MEMORY:
        store = Store(ram.RamBackend(), ram.RamDriver(), budget=Budget(1 << 20))
    else:
        from charm_checkpoint.memory import open_memory

        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="charm-checkpoint-"))
        store = open_memory(Path(folder, "thread.db")).store
    stack.callback(store.close)
    return store


class _Unpacking:
    """Puts the records of one thread of an archive into a store that holds nothing else."""

    def __init__(self, store: Store, row: ThreadRow, thread: str) -> None:
        self.writer = ThreadWriter(store, thread, row, ThreadState(), {}, staged=True)
        self.has_messages = False
        self._list = ListWriter(store, thread)
        self._chunks: list[Chunk] = []
        self._message_chunks: list[Chunk] = []

    def take(self, record: Record) -> Moving[None]:
        """Put a record."""
        if record.kind == form.CHUNKS:
            if self._chunks:  # there are many: all but the last go ahead
                yield from self.writer.chunks(self._chunks)
            self._chunks = _chunks(record)
        elif record.kind == form.MESSAGE_CHUNKS:
            if self._message_chunks:
                yield from self._list.ahead(self._message_chunks)
            self._message_chunks = _chunks(record)
        elif record.kind == form.CHECKPOINT:
            chunks, self._chunks = self._chunks, []
            yield from self.writer.checkpoint(_checkpoint(record), chunks)
        elif record.kind == form.MESSAGES:
            yield from self._messages(*shaped(record, record.payload, (bytes, None), bytes, list))
        elif record.kind != form.END_OF_THREAD:
            raise _misplaced(record)

    def _messages(self, packed: bytes | None, roots: bytes, batches: Iterable[bytes]) -> Moving[None]:
        if packed is not None:
            yield from self._list.put(packed, roots, self._message_chunks)
        yield from self._list.append(batches)
        self._message_chunks = []
        self.has_messages = True


def _chunks(record: Record) -> list[Chunk]:
    return [Chunk(*shaped(record, each, bytes, bytes, bytes)) for each in record.payload]


def _checkpoint(record: Record) -> CheckpointRecord:
    kinds = (bytes, bytes, (bytes, None), (bytes, None), bytes, (bytes, None), list)
    ns, id, parent, conflict, roots, packed, writes = shaped(record, record.payload, *kinds)
    # Tags are made when it is read again; here nobody looks for them.
    return CheckpointRecord(
        text(ns) or "", text(id) or "", text(parent), text(conflict), packed or b"", roots, b"", None, writes,
        packed is None,
    )  # fmt: skip


def _item(record: Record, fields: Any) -> ItemRecord:
    kinds = (bytes, bytes, bytes, int, int, (int, None), (int, None), bytes, bytes)
    *row, entry, vectors = shaped(record, fields, *kinds)
    if not row[0].startswith(ITEMS):  # such as what a cache keeps
        raise _misplaced(record)
    return ItemRecord(ItemRow(*row), tags(stored(row[2]).value), entry, vectors)


def _misplaced(record: Record) -> StoreCorrupt:
    return StoreCorrupt(f"The archive has something at byte {record.offset:,} that does not belong there.")


def shaped(record: Record, values: Any, *kinds: Any) -> list[Any]:
    """Return the parts of a payload; raises `StoreCorrupt` if they are not of these kinds."""
    fits = isinstance(values, list) and len(values) == len(kinds) and all(map(_is_of, values, kinds))
    if not fits:
        raise StoreCorrupt(f"The archive's record at byte {record.offset:,} has another shape than it should.")
    return list(values)


def _is_of(value: Any, kind: Any) -> bool:
    return value is None or isinstance(value, kind[0]) if isinstance(kind, tuple) else isinstance(value, kind)


def opened(path: str | os.PathLike[str]) -> BinaryIO:
    """Open an archive; raises `ConfigError` for what is no file that can be read.

    What comes from a pipe is kept in a temporary file, since it is read twice; nothing is if it does not begin as an
    archive does.
    """
    name = os.fspath(path)
    try:
        if is_stream(name):
            with open(name, "rb") as stream:
                return _spooled(stream)
        if not os.path.isfile(name):
            raise ConfigError(f"{name} is no file")
        return open(name, "rb")
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from error


def _spooled(stream: BinaryIO) -> BinaryIO:
    file = tempfile.TemporaryFile(prefix="charm-checkpoint-")
    try:
        begin = stream.read(len(form.MAGIC) + 1)
        file.write(begin)
        if begin.startswith(form.MAGIC):
            shutil.copyfileobj(stream, file, 1 << 20)
        return file
    except BaseException:
        file.close()
        raise
