"""What a thread's log comes to: where its checkpoints, writes and chunks are in the file; pure.

The kinds of frames, by their heads:

    START     format, thread, deletes, sweeps, seq, revision, hosts, notes, identity     the first of every log
    PUT       host, seq, namespace, id, parent, commit number, conflict, roots, tags, run, size, chunks, title, note
    WRITES    host, seq, namespace, id, sizes, note
    CHUNKS    chunks
    LIST      host, seq, revision, roots, size, chunks                  a message list, without batches
    BATCH     host, seq, size                                           a batch behind it

``chunks`` are pairs of address, refs and size; the blobs are what the sizes tell, in that order,
the body before the chunks. A host of None is for frames that were carried over from another log:
the START says what they came to. Text is UTF-8 with surrogates, ids are as in names.py.

Notes are those of `Backend.threads`; format 1 had none. The identity is that of the thread, also of
one that was deleted, which has no name: so a log that was put in another's place is told from it. Format 2
had none. A log of an older format is written anew before anything is added to it, so that a version that
does not know this one says so.

``hosts`` tells for each host the last ``seq`` that it wrote. A version of the log that lacks some
of what another has was made by somebody who had not seen it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import merge
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

from charm_checkpoint.contract import CheckpointRow, Chunk, Query, StoredCheckpoint, ThreadState, Usage
from charm_checkpoint.errors import NewerFormat, corrupt
from charm_checkpoint.stores.files.log import FIRST, Entry, Frame, Scan, Tail
from charm_checkpoint.stores.files.shapes import BATCH, CHUNKS, LIST, PUT, START, WRITES, take_in
from charm_checkpoint.stores.shared.mark_and_sweep import unreached
from charm_checkpoint.stores.shared.names import bytes_text, id_bytes, id_text, text_bytes
from charm_checkpoint.stores.shared.tags import has_tags
from charm_checkpoint.stores.shared.thread_notes import Notes
from charm_checkpoint.values.sealing import marked

FORMAT = 3

_TAGS = 8
"""Where the tags are among the fields of a PUT."""
ROW, THING = 900, 350
"""Bytes of memory that a checkpoint takes beside its texts; that a chunk or the writes of a task take."""
BATCH_BYTES = 1 << 20
"""Chunks carried over in one frame."""


class Span(NamedTuple):
    """Where bytes are in the log."""

    offset: int
    size: int


class Piece(NamedTuple):
    """A chunk in the log."""

    refs: bytes
    span: Span


class Row(NamedTuple):
    """A checkpoint in the log; ``run`` is as in `NewCheckpoint`."""

    commit: int
    ns: str
    id: str
    parent: str | None
    conflict: str | None
    roots: bytes
    tags: bytes
    run: str | None
    body: Span


@dataclass
class Namespace:
    """One namespace: checkpoints by id in commit order, and writes by checkpoint id."""

    rows: dict[str, Row] = field(default_factory=dict)
    writes: dict[str, list[Span]] = field(default_factory=dict)
    head: str | None = None


@dataclass
class Contents:
    """All there is to know of a log but its blobs.

    ``thread`` is None for one that was deleted; ``identity`` is empty in a log of an older format. ``end`` and
    ``digest`` are those of the last sound frame, ``tail`` is what follows it. ``weight`` is about how many bytes of
    memory this takes, ``dead`` how many bytes of the log were superseded since it was begun. ``file`` is the log as it
    was opened for the call that is at work. ``origin`` is the digest of the thread's first change, or what it has
    instead if its log began with more; where it is known, what was begun anew has another one.
    """

    thread: str | None = None
    identity: bytes = b""
    state: ThreadState = ThreadState()
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    chunks: dict[bytes, Piece] = field(default_factory=dict)
    revision: int = 0
    body: Span | None = None
    roots: bytes = b""
    batches: tuple[Span, ...] = ()
    notes: Notes = Notes()
    format: int = FORMAT
    hosts: dict[bytes, int] = field(default_factory=dict)
    end: int = 0
    digest: bytes = FIRST
    origin: bytes = b""
    tail: Tail = "whole"
    weight: int = 900
    dead: int = 0
    file: BinaryIO | None = None

    # ---------------------------------------------------------------- reading frames

    @property
    def has_messages(self) -> bool:
        """Tell whether there is a message list, or a batch of one."""
        return self.body is not None or bool(self.batches)

    def apply(self, frame: Frame) -> None:
        """Take in the next frame."""
        is_first = self.end > 0 and not self.hosts  # behind the START of a log that carries nothing over
        take_in(self, frame, _KINDS)
        self.end, self.digest = frame.end, frame.digest
        if is_first and self.hosts:
            self.origin = frame.digest

    def _start(self, at: int, format: int, *fields: Any) -> None:
        read = FORMATS.get(format)
        if read is None:
            raise NewerFormat.of("This thread was stored in format", format)
        self.format = format
        read(self, *fields)

    def _first_format(self, thread: bytes | None, *counts: Any) -> None:
        deletes, sweeps, seq, self.revision, hosts = counts
        self.thread = None if thread is None else bytes_text(thread)
        self.state, self.hosts = ThreadState(deletes, sweeps, seq), dict(hosts)

    def _second_format(self, thread: bytes | None, *fields: Any) -> None:
        *counts, notes = fields
        self._first_format(thread, *counts)
        self.notes = Notes(*notes)

    def _third_format(self, thread: bytes | None, *fields: Any) -> None:
        self._second_format(thread, *fields[:6])
        self.identity, self.origin = fields[6:] if len(fields) > 7 else (fields[6], b"")

    def _put(self, at: int, host: bytes | None, seq: int, *rest: Any) -> None:
        ns, id, parent, commit, conflict, roots, tags, run, size, chunks, *noted = rest
        self.notes = self.notes.after(*noted)
        self._count(host, seq)
        self.weight += ROW + sum(map(len, (ns, id, roots, tags)))
        namespace = self.namespaces.setdefault(bytes_text(ns), Namespace())
        row = Row(
            commit, bytes_text(ns), id_text(id), id_text(parent), id_text(conflict), roots, tags,
            None if run is None else bytes_text(run), Span(at, size),
        )  # fmt: skip
        if row.id in namespace.rows:
            self.dead += namespace.rows[row.id].body.size
        else:
            namespace.head = row.id
        namespace.rows[row.id] = row
        self._chunks(at + size, chunks)

    def _writes(self, at: int, host: bytes | None, seq: int, *rest: Any) -> None:
        ns, id, sizes, *noted = rest
        self._count(host, seq)
        self.notes = self.notes.after(None, None, *noted)
        spans = self.namespaces.setdefault(bytes_text(ns), Namespace()).writes.setdefault(id_text(id), [])
        for size in sizes:
            self.weight += THING
            spans.append(Span(at, size))
            at += size

    def _chunks(self, at: int, chunks: Iterable[tuple[bytes, bytes, int]]) -> None:
        for address, refs, size in chunks:
            if address in self.chunks:
                self.dead += size
            else:
                self.weight += THING + len(refs)
                self.chunks[address] = Piece(refs, Span(at, size))
            at += size

    def _list(self, at: int, host: bytes | None, seq: int, *rest: Any) -> None:
        self.revision, self.roots, size, chunks = rest
        self._count(host, seq)
        self.dead += sum(span.size for span in (*((self.body,) if self.body else ()), *self.batches))
        self.body, self.batches = Span(at, size), ()
        self._chunks(at + size, chunks)

    def _batch(self, at: int, host: bytes | None, seq: int, size: int) -> None:
        self._count(host, seq)
        self.batches = (*self.batches, Span(at, size))

    def _count(self, host: bytes | None, seq: int) -> None:
        if host is not None:
            self.state = self.state._replace(seq=seq)
            self.hosts[host] = seq

    # ---------------------------------------------------------------- asking

    @property
    def is_new(self) -> bool:
        """Tell whether there never was anything."""
        return self.end == 0

    def read(self, span: Span) -> bytes:
        """Return bytes of the log, which must be open."""
        assert self.file is not None
        if not 0 <= span.size <= self.end - span.offset:
            raise corrupt("A frame of this thread's log tells of more than it holds")
        self.file.seek(span.offset)
        return self.file.read(span.size)

    def rows(self) -> Iterator[Row]:
        """Return all checkpoints, last committed first."""
        lines = [reversed(namespace.rows.values()) for namespace in self.namespaces.values()]
        return merge(*lines, key=lambda row: -row.commit)

    def found(self, row: Row | None, head: str | None, *, writes: bool = True) -> StoredCheckpoint:
        """Return a checkpoint with its body and its writes' bodies."""
        if row is None:
            return StoredCheckpoint(self.state, head)
        assert self.thread is not None
        record = CheckpointRow(
            self.thread, row.ns, row.id, row.parent, row.commit, self.read(row.body), row.roots, row.conflict
        )
        bodies = [self.read(span) for span in self.namespaces[row.ns].writes.get(row.id, ())] if writes else []
        return StoredCheckpoint(self.state, head, record, bodies)

    def usage(self) -> Usage:
        """Count what is stored."""
        rows = [row.body for namespace in self.namespaces.values() for row in namespace.rows.values()]
        writes = [span for namespace in self.namespaces.values() for some in namespace.writes.values() for span in some]
        chunks = [piece.span for piece in self.chunks.values()]
        spans = [*rows, *writes, *chunks, *([self.body] if self.body else []), *self.batches]
        is_there = bool(self.namespaces) or self.has_messages
        return Usage(int(is_there), len(rows), len(writes), len(chunks), sum(span.size for span in spans))

    # ---------------------------------------------------------------- changing

    def copy(self) -> Contents:
        """Return a copy to change or to keep."""
        namespaces = {
            ns: Namespace(dict(namespace.rows), dict(namespace.writes), namespace.head)
            for ns, namespace in self.namespaces.items()
        }
        return replace(self, namespaces=namespaces, chunks=dict(self.chunks), hosts=dict(self.hosts))

    def count(self, host: bytes, *, deletes: int = 0, sweeps: int = 0, changes: int = 1) -> ThreadState:
        """Count changes made by a host, and return the state after them."""
        old = self.state
        self.state = ThreadState(old.deletes + deletes, old.sweeps + sweeps, old.seq + changes)
        self.hosts[host] = self.state.seq
        return self.state

    def drop(self, ns: str, id: str) -> None:
        """Take a checkpoint and its writes out."""
        namespace = self.namespaces.get(ns)
        if namespace is not None:
            namespace.rows.pop(id, None)
            namespace.writes.pop(id, None)

    def settle(self, namespaces: Iterable[str]) -> None:
        """Find the heads of namespaces that something was taken out of; one with no checkpoint left goes."""
        for ns in namespaces:
            namespace = self.namespaces.get(ns)
            if namespace is not None:
                namespace.head = next(reversed(namespace.rows), None)
                if not namespace.rows:
                    del self.namespaces[ns]
        if "" not in self.namespaces:
            self.notes = Notes()

    def sweep(self, more: Mapping[bytes, bytes] = MappingProxyType({})) -> None:
        """Take out the chunks that nothing reaches; ``more`` are those to come, by address, and their refs."""
        roots = [row.roots for namespace in self.namespaces.values() for row in namespace.rows.values()]
        refs = {address: piece.refs for address, piece in self.chunks.items()}
        for address in unreached({**more, **refs}, [*roots, self.roots]):
            self.chunks.pop(address, None)

    # ---------------------------------------------------------------- writing frames

    def start(self, identity: bytes) -> Entry:
        """Return the first frame of a log of this state, of the thread with this identity."""
        fields = [text_bytes(self.thread), *self.state, self.revision, list(self.hosts.items()), list(self.notes)]
        return Entry([START, FORMAT, *fields, identity, *([self.origin] if self.origin else [])])

    def entries(self, commits: Mapping[int, int] | None = None, owner: bytes | None = None) -> Iterator[Entry]:
        """Return frames that come to all this; ``commits`` are other commit numbers to give, for thread ``owner``."""

        def read(span: Span) -> bytes:
            return self.read(span) if owner is None else marked(self.read(span), owner)

        yield from self._chunk_entries()
        for row in reversed(list(self.rows())):
            commit = row.commit if commits is None else commits[row.commit]
            yield put_entry(None, 0, row._replace(commit=commit), read(row.body), ())
        for ns, namespace in self.namespaces.items():
            for id, spans in namespace.writes.items():
                yield writes_entry(None, 0, ns, id, list(map(read, spans)))
        if self.body is not None:
            yield list_entry(None, 0, self.revision, self.roots, self.read(self.body), ())
        for batch in self.batches:
            yield batch_entry(None, 0, self.read(batch))

    def _chunk_entries(self) -> Iterator[Entry]:
        batch: list[Chunk] = []
        size = 0
        for address, piece in self.chunks.items():
            batch.append(Chunk(address, piece.refs, self.read(piece.span)))
            size += piece.span.size
            if size >= BATCH_BYTES:
                yield _chunk_entry(batch)
                batch, size = [], 0
        if batch:
            yield _chunk_entry(batch)


def may_hold(scan: Scan, query: Query) -> bool:
    """Tell whether a log has, or had, a checkpoint with a query's tags; or whether its reader will refuse it."""
    for frame in scan:
        kind, *fields = frame.head
        if (kind == START and fields[0] not in FORMATS) or (kind == PUT and has_tags(fields[_TAGS], query)):
            return True
    return scan.tail != "whole"


def put_entry(
    host: bytes | None,
    seq: int,
    row: Row,
    body: bytes,
    chunks: Iterable[Chunk],
    title: bytes | None = None,
    note: bytes | None = None,
) -> Entry:
    """Return the frame of a checkpoint; ``row.body`` is not looked at."""
    added = list(chunks)
    fields = [
        text_bytes(row.ns), id_bytes(row.id), id_bytes(row.parent), row.commit, id_bytes(row.conflict), row.roots,
        row.tags, text_bytes(row.run),
    ]  # fmt: skip
    return Entry(
        [PUT, host, seq, *fields, len(body), _chunk_heads(added), title, note], [body, *(chunk.data for chunk in added)]
    )


def writes_entry(
    host: bytes | None, seq: int, ns: str, id: str, bodies: list[bytes], note: bytes | None = None
) -> Entry:
    """Return the frame of a checkpoint's pending writes."""
    return Entry([WRITES, host, seq, text_bytes(ns), id_bytes(id), [len(body) for body in bodies], note], bodies)


def list_entry(
    host: bytes | None, seq: int, revision: int, roots: bytes, body: bytes, chunks: Iterable[Chunk]
) -> Entry:
    """Return the frame of a message list."""
    added = list(chunks)
    return Entry(
        [LIST, host, seq, revision, roots, len(body), _chunk_heads(added)], [body, *(chunk.data for chunk in added)]
    )


def batch_entry(host: bytes | None, seq: int, body: bytes) -> Entry:
    """Return the frame of a batch of messages."""
    return Entry([BATCH, host, seq, len(body)], [body])


def _chunk_entry(chunks: list[Chunk]) -> Entry:
    return Entry([CHUNKS, _chunk_heads(chunks)], [chunk.data for chunk in chunks])


def _chunk_heads(chunks: list[Chunk]) -> list[tuple[bytes, bytes, int]]:
    return [(chunk.address, chunk.refs, len(chunk.data)) for chunk in chunks]


FORMATS: dict[int, Callable[..., None]] = {
    1: Contents._first_format, 2: Contents._second_format, 3: Contents._third_format
}  # fmt: skip
"""How to take in what a log of each format begins with."""

_KINDS: Mapping[int, Callable[..., None]] = {
    START: Contents._start,
    PUT: Contents._put,
    WRITES: Contents._writes,
    CHUNKS: Contents._chunks,
    LIST: Contents._list,
    BATCH: Contents._batch,
}
