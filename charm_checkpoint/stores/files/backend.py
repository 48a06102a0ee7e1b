"""Local files: a folder that may be synced, mounted or in git; no database, no server.

    <folder>/.charm/checkpoints/<identity>/log      a thread: see thread.py
    <folder>/.charm/memory/<thread>.json            its messages: see messages.py
    <folder>/.charm/memory/<hash>.id                its id, where the name of the messages does not tell it

The folder of a thread is named by a hash of the thread's id, which itself is in the log; so any
id will do, and of a deleted thread nothing is left but the hash and its counters. The operations
are calls of functions; a store's own threads make them for async callers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from charm_checkpoint.contract import (
    Capabilities,
    Chunk,
    MessagesRow,
    NewCheckpoint,
    NewMessages,
    NewWrites,
    Page,
    Query,
    StoredCheckpoint,
    Waiting,
    WriteResult,
)
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.files.contents import (
    Contents,
    Namespace,
    Row,
    Span,
    batch_entry,
    list_entry,
    put_entry,
    writes_entry,
)
from charm_checkpoint.stores.files.damage import damage_of, stranger
from charm_checkpoint.stores.files.survey import UNREADABLE, Listing
from charm_checkpoint.stores.files.thread import LOG, LogWrite
from charm_checkpoint.stores.files.threads import Threads, name_of
from charm_checkpoint.stores.files.whole import FilesWhole, call
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES, identity
from charm_checkpoint.stores.shared.write_rule import decide, decide_messages, is_conflict, lacks_chunks

log = logging.getLogger("charm_checkpoint")

T = TypeVar("T")


class FilesBackend(FilesWhole):
    """The backend. Each method is one plan of one call."""

    capabilities = Capabilities(durable=True, processes=True, marks_copies=True, latest_first=True)

    @property
    def folders(self) -> Threads:
        """The folders of its threads, for whoever looks at these as they are."""
        return self._threads

    def is_current(self) -> Plan[bool]:
        """Say yes: folders are made when something is written, so that reading leaves no trace."""
        return call(lambda: True)

    def setup(self) -> Plan[None]:
        """Make the folder; see `Backend.setup`."""
        return call(self._threads.make)

    # ---------------------------------------------------------------- checkpoints

    def put(self, new: NewCheckpoint) -> Plan[WriteResult]:
        """Commit a checkpoint; see `Backend.put`."""
        return call(self._threads.change, name_of(CHECKPOINTS, new.thread), partial(self._put, new))

    def _put(self, new: NewCheckpoint, contents: Contents) -> LogWrite[WriteResult]:
        namespace = contents.namespaces.get(new.ns) or Namespace()
        lacking = lacks_chunks(new, contents.chunks)
        outcome = decide(new, contents.state, namespace.head, namespace.rows, lacks_chunks=lacking)
        if outcome != "stored":
            return LogWrite(WriteResult(outcome, contents.state, namespace.head, conflict=outcome == "conflict"))
        earlier = namespace.rows.get(new.id)
        conflict = is_conflict(new, namespace.head, namespace.rows)
        state = contents.state._replace(seq=contents.state.seq + 1)
        row = Row(
            earlier.commit if earlier else state.seq, new.ns, new.id, new.parent,
            earlier.conflict if earlier else namespace.head if conflict else None,
            new.roots, new.tags, new.run, Span(0, 0),
        )  # fmt: skip
        chunks = [chunk for chunk in new.chunks if chunk.address not in contents.chunks]
        title = new.title if contents.notes.title is None else None
        entry = put_entry(self._threads.host, state.seq, row, new.body, chunks, title, new.note)
        return LogWrite(
            WriteResult("stored", state, namespace.head, conflict=conflict), [entry], _named(contents, new.thread)
        )

    def put_writes(self, new: NewWrites) -> Plan[WriteResult]:
        """Append pending writes; see `Backend.put_writes`."""
        return call(self._threads.change, name_of(CHECKPOINTS, new.thread), partial(self._put_writes, new))

    def _put_writes(self, new: NewWrites, contents: Contents) -> LogWrite[WriteResult]:
        namespace = contents.namespaces.get(new.ns) or Namespace()
        outcome = decide(new, contents.state, namespace.head, namespace.rows)
        if outcome != "stored":
            return LogWrite(WriteResult(outcome, contents.state, namespace.head))
        state = contents.state._replace(seq=contents.state.seq + 1)
        entry = writes_entry(self._threads.host, state.seq, new.ns, new.id, [new.body], new.note)
        return LogWrite(WriteResult("stored", state, namespace.head), [entry], _named(contents, new.thread))

    def find(self, thread: str, ns: str, id: str | None, known: Collection[bytes] = ()) -> Plan[StoredCheckpoint]:
        """Return one checkpoint; see `Backend.find`."""
        return call(self._threads.look, name_of(CHECKPOINTS, thread), partial(_find, ns, id))

    def ancestors(self, thread: str, ns: str, id: str, size: int) -> Plan[Sequence[StoredCheckpoint]]:
        """Return a checkpoint and its ancestors; see `Backend.ancestors`."""
        return call(self._threads.look, name_of(CHECKPOINTS, thread), partial(_ancestors, ns, id, size))

    def page(
        self, query: Query, after: Any, size: int, writes: bool = True, known: Collection[bytes] = ()
    ) -> Plan[Page]:
        """Return matches, latest commit first, of the threads last changed first; see `Backend.page`."""
        return call(lambda: Listing(self._threads, query, writes).page(after, size))

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[Mapping[bytes, Chunk]]:
        """Return chunks; see `Backend.chunks`."""
        name = name_of(MESSAGES if messages else CHECKPOINTS, thread)
        return call(self._threads.look, name, partial(_chunks, addresses))

    # ---------------------------------------------------------------- threads

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[WriteResult]:
        """Remove checkpoints; see `Backend.remove`."""
        return call(self._threads.change, name_of(CHECKPOINTS, thread), partial(self._remove, doomed, expect))

    def _remove(
        self, doomed: Collection[tuple[str, str]], expect: int | None, contents: Contents
    ) -> LogWrite[WriteResult]:
        if contents.is_new:
            return LogWrite(WriteResult("stored", contents.state))
        if expect is not None and expect != contents.state.seq:
            return LogWrite(WriteResult("changed", contents.state))
        left = contents.copy()
        for ns, id in doomed:
            left.drop(ns, id)
        left.settle({ns for ns, _ in doomed})
        left.sweep()
        return LogWrite(WriteResult("stored", left.count(self._threads.host, sweeps=1)), instead=left)

    def runs(self, run_ids: Collection[str]) -> Plan[Sequence[tuple[str, str, str]]]:
        """Return the checkpoints of runs, looking through all threads; see `Backend.runs`."""
        return call(self._runs, frozenset(run_ids))

    def _runs(self, run_ids: frozenset[str]) -> Sequence[tuple[str, str, str]]:
        def of(contents: Contents) -> list[tuple[str, str, str]]:
            return [(contents.thread or "", row.ns, row.id) for row in contents.rows() if row.run in run_ids]

        found: list[tuple[str, str, str]] = []
        for name in self._threads.names():
            try:
                found += self._threads.look(name, of)
            except UNREADABLE as error:
                log.warning("%s is not looked through for runs: %s", name, error)
        return found

    def repair(self, thread: str) -> Plan[int]:
        """Cut off what is damaged at the end of a thread's log, and all behind it; return how many bytes went."""
        return call(lambda: sum(map(self._repair, self._threads.names_of(thread))))

    def _repair(self, name: str) -> int:
        return self._threads.change(name, partial(_cut_off, self._threads.folder / name / LOG), regardless=True)

    def copy_thread(self, source: str, target: str) -> Plan[WriteResult]:
        """Copy a thread; see `Backend.copy_thread`."""
        return call(self._copy, source, target)

    def _copy(self, source: str, target: str) -> WriteResult:
        with self._threads.snapshot(name_of(CHECKPOINTS, source)) as original:
            return self._threads.change(name_of(CHECKPOINTS, target), partial(self._copied, original, target))

    def _copied(self, original: Contents, target: str, contents: Contents) -> LogWrite[WriteResult]:
        if any(namespace.rows for namespace in contents.namespaces.values()):
            return LogWrite(WriteResult("conflict", contents.state))
        rows = sorted(original.rows(), key=lambda row: row.commit)
        if not rows:
            return LogWrite(WriteResult("stored", contents.state))
        copy = replace(contents.copy(), thread=target, notes=original.notes)
        first = copy.state.seq + 1
        commits = {row.commit: number for number, row in enumerate(rows, first)}
        state = copy.count(self._threads.host, changes=len(rows))
        return LogWrite(
            WriteResult("stored", state), original.entries(commits, identity(b"", CHECKPOINTS, target)), copy
        )

    # ---------------------------------------------------------------- messages

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return a message list that `put_messages` stored; see `Backend.messages`."""
        return call(self._threads.look, name_of(MESSAGES, thread), _messages)

    def put_messages(self, new: NewMessages) -> Plan[WriteResult]:
        """Replace a message list; see `Backend.put_messages`."""
        return call(self._threads.change, name_of(MESSAGES, new.thread), partial(self._put_messages, new))

    def _put_messages(self, new: NewMessages, contents: Contents) -> LogWrite[WriteResult]:
        lacking = lacks_chunks(new, contents.chunks)
        outcome = decide_messages(new, contents.state, contents.revision, lacks_chunks=lacking)
        if outcome != "stored":
            return LogWrite(WriteResult(outcome, contents.state))
        chunks = [chunk for chunk in new.chunks if chunk.address not in contents.chunks]
        revision, host = contents.revision + 1, self._threads.host
        taken = len(contents.batches) if new.taken is None or new.body is None else new.taken
        left_over = [contents.read(span) for span in contents.batches[taken:]]
        if not (new.sweep or left_over) and new.body is not None:
            state = contents.state._replace(seq=contents.state.seq + 1)
            entry = list_entry(host, state.seq, revision, new.roots, new.body, chunks)
            return LogWrite(WriteResult("stored", state), [entry], _named(contents, new.thread))
        # What is new is not swept: a chunk that the list does not reach would not be sent.
        left = replace(contents.copy(), thread=None if new.body is None else new.thread, revision=revision)
        left.body, left.roots, left.batches = None, new.roots, ()
        if sweep := new.sweep or new.body is None:
            left.sweep({chunk.address: chunk.refs for chunk in chunks})
        state = left.count(host, sweeps=int(sweep))
        entries = [] if new.body is None else [list_entry(None, 0, revision, new.roots, new.body, chunks)]
        return LogWrite(
            WriteResult("stored", state), [*entries, *(batch_entry(None, 0, body) for body in left_over)], left
        )

    def append_messages(self, thread: str, body: bytes) -> Plan[Waiting]:
        """Put a batch behind a message list; see `Backend.append_messages`."""
        return call(self._threads.change, name_of(MESSAGES, thread), partial(self._append_messages, thread, body))

    def _append_messages(self, thread: str, body: bytes, contents: Contents) -> LogWrite[Waiting]:
        waiting = Waiting(len(contents.batches) + 1, sum(span.size for span in contents.batches) + len(body))
        return LogWrite(
            waiting, [batch_entry(self._threads.host, contents.state.seq + 1, body)], _named(contents, thread)
        )


def _named(contents: Contents, thread: str) -> Contents | None:
    """Return what to begin a thread's log with, None if it has its name already."""
    return replace(contents, thread=thread) if contents.thread is None else None


def _find(ns: str, id: str | None, contents: Contents) -> StoredCheckpoint:
    namespace = contents.namespaces.get(ns) or Namespace()
    return contents.found(namespace.rows.get(namespace.head or "" if id is None else id), namespace.head)


def _ancestors(ns: str, id: str, size: int, contents: Contents) -> Sequence[StoredCheckpoint]:
    line: dict[str, StoredCheckpoint] = {}
    step: str | None = id
    while step is not None and step not in line and len(line) < size:
        found = _find(ns, step, contents)
        if found.row is None:
            break
        line[step] = found
        step = found.row.parent
    return list(line.values())


def _chunks(addresses: Collection[bytes], contents: Contents) -> Mapping[bytes, Chunk]:
    pieces = {address: contents.chunks[address] for address in addresses if address in contents.chunks}
    return {address: Chunk(address, piece.refs, contents.read(piece.span)) for address, piece in pieces.items()}


def _messages(contents: Contents) -> MessagesRow:
    body = None if contents.body is None else contents.read(contents.body)
    return MessagesRow(
        contents.state,
        body,
        contents.roots,
        contents.revision,
        batches=[contents.read(span) for span in contents.batches],
    )


def _cut_off(path: Path, contents: Contents) -> LogWrite[int]:
    """Leave of a log what is sound; tell how many bytes that loses."""
    whose = stranger(contents, path.parent.name)
    if whose is not None:
        raise StoreCorrupt(damage_of(path, contents, whose))
    if contents.tail != "damaged" or contents.file is None:
        return LogWrite(0)
    if contents.is_new:
        raise StoreCorrupt(f"{path}: no record of it is sound, so nothing would be left. Delete the thread.")
    return LogWrite(contents.file.seek(0, os.SEEK_END) - contents.end, instead=contents.copy())
