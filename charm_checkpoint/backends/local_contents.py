"""What a thread's log comes to: where its checkpoints, writes and chunks are in the file; pure.

The kinds of frames, by their heads:

    START     format, thread, deletes, sweeps, seq, revision, hosts     the first of every log
    PUT       host, seq, namespace, id, parent, commit number, conflict, roots, tags, run, size, chunks
    WRITES    host, seq, namespace, id, sizes
    CHUNKS    chunks
    LIST      host, seq, revision, roots, size, chunks                  a message list

``chunks`` are pairs of address, refs and size; the blobs are what the sizes tell, in that order,
the body before the chunks. A host of None is for frames that were carried over from another log:
the START says what they came to. Text is UTF-8 with surrogates, ids are as in names.py.

``hosts`` tells for each host the last ``seq`` that it wrote. A version of the log that lacks some
of what another has was made by somebody who had not seen it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import merge
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from charm_checkpoint.backends.local_log import FIRST, Entry, Frame, Tail
from charm_checkpoint.backends.marking import unreached
from charm_checkpoint.backends.names import bytes_text, id_bytes, id_text, text_bytes
from charm_checkpoint.contract import CheckpointRow, Chunk, Found, ThreadState, Usage
from charm_checkpoint.errors import SchemaMismatch

FORMAT = 1
START, PUT, WRITES, CHUNKS, LIST = range(5)

BATCH_BYTES = 1 << 20
"""Chunks carried over in one frame."""


class Span(NamedTuple):
    """Where bytes are in the log."""

    offset: int
    size: int


Read: TypeAlias = Callable[[Span], bytes]


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
class Space:
    """One namespace: checkpoints by id in commit order, and writes by checkpoint id."""

    rows: dict[str, Row] = field(default_factory=dict)
    writes: dict[str, list[Span]] = field(default_factory=dict)
    head: str | None = None


@dataclass
class Contents:
    """All there is to know of a log but its blobs.

    ``thread`` is None for one that was deleted. ``end`` and ``digest`` are those of the last
    sound frame, ``tail`` is what follows it. ``weight`` is about how many things are told of.
    """

    thread: str | None = None
    state: ThreadState = ThreadState()
    spaces: dict[str, Space] = field(default_factory=dict)
    chunks: dict[bytes, Piece] = field(default_factory=dict)
    revision: int = 0
    body: Span | None = None
    roots: bytes = b""
    hosts: dict[bytes, int] = field(default_factory=dict)
    end: int = 0
    digest: bytes = FIRST
    tail: Tail = "whole"
    weight: int = 8

    # ---------------------------------------------------------------- reading frames

    def apply(self, frame: Frame) -> None:
        """Take in the next frame."""
        kind, *fields = frame.head
        _KINDS[kind](self, frame.blobs, *fields)
        self.end, self.digest = frame.end, frame.digest

    def _start(self, at: int, format: int, thread: bytes | None, *rest: Any) -> None:
        if format != FORMAT:
            raise SchemaMismatch(
                f"This thread was stored in format {format}, and this version of charm_checkpoint knows "
                f"{FORMAT}; install a newer one."
            )
        deletes, sweeps, seq, self.revision, hosts = rest
        self.thread = None if thread is None else bytes_text(thread)
        self.state, self.hosts = ThreadState(deletes, sweeps, seq), dict(hosts)

    def _put(self, at: int, host: bytes | None, seq: int, *rest: Any) -> None:
        ns, id, parent, commit, conflict, roots, tags, run, size, chunks = rest
        self._count(host, seq)
        self.weight += 1
        space = self.spaces.setdefault(bytes_text(ns), Space())
        row = Row(
            commit, bytes_text(ns), id_text(id), id_text(parent), id_text(conflict), roots, tags,
            None if run is None else bytes_text(run), Span(at, size),
        )  # fmt: skip
        if row.id not in space.rows:
            space.head = row.id
        space.rows[row.id] = row
        self._chunks(at + size, chunks)

    def _writes(self, at: int, host: bytes | None, seq: int, ns: bytes, id: bytes, sizes: list[int]) -> None:
        self._count(host, seq)
        held = self.spaces.setdefault(bytes_text(ns), Space()).writes.setdefault(id_text(id), [])
        for size in sizes:
            self.weight += 1
            held.append(Span(at, size))
            at += size

    def _chunks(self, at: int, chunks: Iterable[tuple[bytes, bytes, int]]) -> None:
        for address, refs, size in chunks:
            self.weight += 1
            self.chunks.setdefault(address, Piece(refs, Span(at, size)))
            at += size

    def _list(self, at: int, host: bytes | None, seq: int, *rest: Any) -> None:
        self.revision, self.roots, size, chunks = rest
        self._count(host, seq)
        self.body = Span(at, size)
        self._chunks(at + size, chunks)

    def _count(self, host: bytes | None, seq: int) -> None:
        if host is not None:
            self.state = self.state._replace(seq=seq)
            self.hosts[host] = seq

    # ---------------------------------------------------------------- asking

    @property
    def is_new(self) -> bool:
        """Tell whether there never was anything."""
        return self.end == 0

    def lacks(self, other: Contents) -> bool:
        """Tell whether something that was written to another version of this log is not in this one."""
        return any(self.hosts.get(host, 0) < seq for host, seq in other.hosts.items())

    def rows(self) -> Iterator[Row]:
        """Return all checkpoints, last committed first."""
        lines = [reversed(space.rows.values()) for space in self.spaces.values()]
        return merge(*lines, key=lambda row: -row.commit)

    def found(self, row: Row | None, head: str | None, read: Read, *, writes: bool = True) -> Found:
        """Return a checkpoint with its body and its writes' bodies."""
        if row is None:
            return Found(self.state, head)
        assert self.thread is not None
        record = CheckpointRow(
            self.thread, row.ns, row.id, row.parent, row.commit, read(row.body), row.roots, row.conflict
        )
        bodies = [read(span) for span in self.spaces[row.ns].writes.get(row.id, ())] if writes else []
        return Found(self.state, head, record, bodies)

    def usage(self) -> Usage:
        """Count what is stored."""
        rows = [row.body for space in self.spaces.values() for row in space.rows.values()]
        writes = [span for space in self.spaces.values() for some in space.writes.values() for span in some]
        chunks = [piece.span for piece in self.chunks.values()]
        spans = [*rows, *writes, *chunks, *([self.body] if self.body else [])]
        held = bool(self.spaces) or self.body is not None
        return Usage(int(held), len(rows), len(writes), len(chunks), sum(span.size for span in spans))

    # ---------------------------------------------------------------- changing

    def copy(self) -> Contents:
        """Return a copy to change or to keep."""
        spaces = {ns: Space(dict(space.rows), dict(space.writes), space.head) for ns, space in self.spaces.items()}
        return replace(self, spaces=spaces, chunks=dict(self.chunks), hosts=dict(self.hosts))

    def count(self, host: bytes, *, deletes: int = 0, sweeps: int = 0, changes: int = 1) -> ThreadState:
        """Count changes made by a host, and return the state after them."""
        old = self.state
        self.state = ThreadState(old.deletes + deletes, old.sweeps + sweeps, old.seq + changes)
        self.hosts[host] = self.state.seq
        return self.state

    def drop(self, ns: str, id: str) -> None:
        """Take a checkpoint and its writes out."""
        space = self.spaces.get(ns)
        if space is not None:
            space.rows.pop(id, None)
            space.writes.pop(id, None)

    def settle(self, namespaces: Iterable[str]) -> None:
        """Find the heads of namespaces that something was taken out of; one with no checkpoint left goes."""
        for ns in namespaces:
            space = self.spaces.get(ns)
            if space is not None:
                space.head = next(reversed(space.rows), None)
                if not space.rows:
                    del self.spaces[ns]

    def sweep(self, more: Mapping[bytes, bytes] = MappingProxyType({})) -> None:
        """Take out the chunks that nothing reaches; ``more`` are those to come, by address, and their refs."""
        roots = [row.roots for space in self.spaces.values() for row in space.rows.values()]
        refs = {address: piece.refs for address, piece in self.chunks.items()}
        for address in unreached({**more, **refs}, [*roots, self.roots]):
            self.chunks.pop(address, None)

    # ---------------------------------------------------------------- writing frames

    def start(self) -> Entry:
        """Return the first frame of a log of this state."""
        return Entry([START, FORMAT, text_bytes(self.thread), *self.state, self.revision, list(self.hosts.items())])

    def entries(self, read: Read, commits: Mapping[int, int] | None = None) -> Iterator[Entry]:
        """Return frames that come to all this; ``commits`` are other commit numbers to give."""
        yield from _chunk_entries(self.chunks, read)
        for row in reversed(list(self.rows())):
            commit = row.commit if commits is None else commits[row.commit]
            yield put_entry(None, 0, row._replace(commit=commit), read(row.body), ())
        for ns, space in self.spaces.items():
            for id, spans in space.writes.items():
                yield writes_entry(None, 0, ns, id, [read(span) for span in spans])
        if self.body is not None:
            yield list_entry(None, 0, self.revision, self.roots, read(self.body), ())


def put_entry(host: bytes | None, seq: int, row: Row, body: bytes, chunks: Iterable[Chunk]) -> Entry:
    """Return the frame of a checkpoint; ``row.body`` is not looked at."""
    held = list(chunks)
    fields = [
        text_bytes(row.ns), id_bytes(row.id), id_bytes(row.parent), row.commit, id_bytes(row.conflict), row.roots,
        row.tags, text_bytes(row.run),
    ]  # fmt: skip
    return Entry([PUT, host, seq, *fields, len(body), _told(held)], [body, *(chunk.data for chunk in held)])


def writes_entry(host: bytes | None, seq: int, ns: str, id: str, bodies: list[bytes]) -> Entry:
    """Return the frame of a checkpoint's pending writes."""
    return Entry([WRITES, host, seq, text_bytes(ns), id_bytes(id), [len(body) for body in bodies]], bodies)


def list_entry(
    host: bytes | None, seq: int, revision: int, roots: bytes, body: bytes, chunks: Iterable[Chunk]
) -> Entry:
    """Return the frame of a message list."""
    held = list(chunks)
    return Entry([LIST, host, seq, revision, roots, len(body), _told(held)], [body, *(chunk.data for chunk in held)])


def _chunk_entries(chunks: Mapping[bytes, Piece], read: Read) -> Iterator[Entry]:
    batch: list[Chunk] = []
    size = 0
    for address, piece in chunks.items():
        batch.append(Chunk(address, piece.refs, read(piece.span)))
        size += piece.span.size
        if size >= BATCH_BYTES:
            yield _chunk_entry(batch)
            batch, size = [], 0
    if batch:
        yield _chunk_entry(batch)


def _chunk_entry(chunks: list[Chunk]) -> Entry:
    return Entry([CHUNKS, _told(chunks)], [chunk.data for chunk in chunks])


def _told(chunks: list[Chunk]) -> list[tuple[bytes, bytes, int]]:
    return [(chunk.address, chunk.refs, len(chunk.data)) for chunk in chunks]


_KINDS: Mapping[int, Callable[..., None]] = {
    START: Contents._start,
    PUT: Contents._put,
    WRITES: Contents._writes,
    CHUNKS: Contents._chunks,
    LIST: Contents._list,
}
