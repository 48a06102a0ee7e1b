"""What the saver and a store hand each other: plain ids, numbers and bytes. The words are those of contract.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

ADDRESS_SIZE = 16
"""Bytes in a chunk's address."""

TAG_SIZE = 4
"""Bytes in one tag of a checkpoint's ``tags``."""

NESTED = b"deep"
"""The first tag of a checkpoint that has tags for what is nested in its metadata, too."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """An immutable piece of a value. ``data`` is opaque; ``refs`` names other chunks."""

    address: bytes
    refs: bytes
    data: bytes


class ThreadState(NamedTuple):
    """What a thread's own record says. A thread never heard of is all zeros.

    ``deletes`` counts `Backend.delete_thread` calls that found the thread, and outlives it.
    ``sweeps`` counts every removal of chunks. ``seq`` grows with every change of any kind.
    """

    deletes: int = 0
    sweeps: int = 0
    seq: int = 0


class CheckpointRow(NamedTuple):
    """A stored checkpoint. ``seq`` is its commit number: later commits have larger ones.

    ``conflict`` is the head this checkpoint did not follow, when it was stored as a branch.
    """

    thread: str
    ns: str
    id: str
    parent: str | None
    seq: int
    body: bytes
    roots: bytes
    conflict: str | None = None


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    """A checkpoint to commit.

    ``tags`` are 4-byte marks for `Query.tags`; ``run`` is the id `Backend.runs` finds it by.
    ``chunks`` holds what the store may lack. ``base_sweeps`` is the thread's sweep counter
    under which the left-out chunks were known to be stored, or None when none is left out.
    ``seen_deletes`` is the delete counter this writer's run began under, None if unknown.
    ``title`` and ``note`` are for the thread's own record: see `Backend.threads`.
    """

    thread: str
    ns: str
    id: str
    parent: str | None
    body: bytes
    roots: bytes
    tags: bytes
    run: str | None
    chunks: Sequence[Chunk]
    base_sweeps: int | None
    seen_deletes: int | None
    on_conflict: Literal["allow", "warn", "raise"]
    title: bytes | None = None
    note: bytes | None = None


@dataclass(frozen=True, slots=True)
class NewWrites:
    """Pending writes of one task, as one opaque ``body``, for checkpoint ``id``.

    The checkpoint itself may arrive later. ``note`` is for the thread's own record: see
    `Backend.threads`.
    """

    thread: str
    ns: str
    id: str
    body: bytes
    seen_deletes: int | None
    note: bytes | None = None


Outcome = Literal["stored", "stale", "conflict", "deleted", "changed"]


class WriteResult(NamedTuple):
    """What became of a write. Only ``stored`` changed anything.

    ``stale``: ``base_sweeps`` is no longer the thread's. ``conflict``: refused, see
    `Backend.put`. ``deleted``: the writer's run began before the thread was deleted.
    ``changed``: an expected ``seq`` or ``revision`` has moved. ``state`` is the thread's
    state afterwards; ``head`` is the head before a `put`, where it had one. ``removed``: what
    `Backend.remove` removed, where it counts that.
    """

    outcome: Outcome
    state: ThreadState
    head: str | None = None
    conflict: bool = False
    removed: Usage | None = None


class StoredCheckpoint(NamedTuple):
    """A checkpoint with its pending writes' bodies, in the order they were committed.

    ``head`` is the id of the namespace's head. ``chunks`` may hold chunks the checkpoint
    reaches, where fetching them at once spares a round trip; it need not be complete.
    """

    state: ThreadState
    head: str | None = None
    row: CheckpointRow | None = None
    writes: Sequence[bytes] = ()
    chunks: Mapping[bytes, Chunk] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Query:
    """Which checkpoints to list; None means any.

    ``before``: only those committed before the checkpoint of that id in ``before_thread``
    (whatever its namespace); if it is not stored, only those whose id sorts below it.
    ``tags``: only those whose tags include each of these; more may be returned. ``nested``:
    only those whose tags include each of these, too, or do not begin with `NESTED`.
    """

    thread: str | None = None
    ns: str | None = None
    id: str | None = None
    before: str | None = None
    before_thread: str | None = None
    tags: tuple[bytes, ...] = ()
    nested: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing, latest commit first. ``next`` goes on from there, None at the end."""

    items: Sequence[StoredCheckpoint]
    next: Any = None


@dataclass(frozen=True, slots=True)
class MessagesRow:
    """A thread's message list. ``body`` is None when it has none; ``revision`` counts saves.

    It has chunks, and a `ThreadState`, of its own: it and the thread's checkpoints never disturb
    each other. ``batches`` were appended since it was put, if it ever was.
    """

    state: ThreadState
    body: bytes | None = None
    roots: bytes = b""
    revision: int = 0
    chunks: Mapping[bytes, Chunk] = field(default_factory=dict)
    batches: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class NewMessages:
    """A message list to put in place of the thread's, all at once.

    ``expect`` is the revision it must replace, None for any. ``body`` None deletes the list.
    ``chunks`` and ``base_sweeps`` are as in `NewCheckpoint`. ``sweep``: chunks that the new list
    does not reach go. ``taken``: so many batches, the oldest, go, all if None; others stay behind it.
    """

    thread: str
    body: bytes | None
    roots: bytes
    chunks: Sequence[Chunk]
    base_sweeps: int | None
    expect: int | None = None
    sweep: bool = False
    taken: int | None = None


class Waiting(NamedTuple):
    """How many batches stand behind a message list, and their bytes."""

    batches: int
    size: int


class ThreadRow(NamedTuple):
    """What a thread's own record says of it, read without any value.

    ``touched_at`` is when its checkpoints, writes or messages changed last, in seconds since 1970, a
    minute behind at most, 0 if nobody knows. ``has_messages`` tells of a message list or batches. ``head`` is the
    id of the root namespace's head. ``title`` is the first that a checkpoint brought, ``note`` the last
    that a checkpoint brought, ``writes_note`` the last that pending writes brought.

    ``size`` is how many bytes of payload its checkpoints, writes and chunks hold, as `Backend.usage` counts them, but
    kept up to date on the record, or None if nobody has counted them. ``pinned``: see `Backend.pin`.

    ``damage`` says what is wrong with a thread that cannot be read; the rest is then what can be told,
    ``thread`` is None where that is not even the name.
    """

    thread: str | None
    touched_at: int = 0
    checkpoints: int = 0
    has_messages: bool = False
    head: str | None = None
    title: bytes | None = None
    note: bytes | None = None
    writes_note: bytes | None = None
    damage: str | None = None
    size: int | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """Part of a listing of threads. ``next`` goes on from there, None at the end.

    ``place`` does so, too, in another process and later: a number, text, bytes or a tuple of them. It is None where
    ``next`` is such a value itself, or where there is none: then a sweep that another process takes over begins anew.
    """

    items: Sequence[ThreadRow]
    next: Any = None
    place: Any = None


@dataclass(frozen=True, slots=True)
class Usage:
    """How much is stored: rows of each kind, and the bytes of payload they hold.

    ``damaged`` counts threads of which that cannot be told; nothing of them is in the other numbers. Redis and
    local files have it, where each thread is by itself. The SQL stores keep all threads in the same tables: there
    a count is right, or an error if it meets a damaged page.

    ``items`` counts those of long-term memory, which belong to no thread; a backend leaves them to
    `charm_checkpoint.contract_items.ItemBackend.usage`.
    """

    threads: int = 0
    checkpoints: int = 0
    writes: int = 0
    chunks: int = 0
    payload_bytes: int = 0
    damaged: int = 0
    items: int = 0


def added(one: Usage, other: Usage) -> Usage:
    """Return how much two come to."""
    return Usage(*(getattr(one, place.name) + getattr(other, place.name) for place in fields(Usage)))


class Space(NamedTuple):
    """How much room a store takes, in bytes, and how much of that holds nothing and could be given back.

    ``None``: the store cannot tell. ``kind`` is where it takes it.
    """

    taken: int | None = None
    free: int | None = None
    kind: Literal["disk", "memory"] = "disk"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store promises beyond the contract; the suite tests what is declared.

    ``durable``: what was stored is there after SIGKILL. ``processes``: several processes may
    use it at once, each by opening the same URL. ``marks_copies``: `Backend.copy_thread` gives
    what it copies the mark of its new thread, as said there; without it checkpoints and writes
    are stored without a mark, and a read does not tell whether they are another thread's. ``latest_first``:
    `Backend.threads` has those changed last first, so that a listing may end before it has seen them all.
    ``counts_removed``: `Backend.remove` tells what it removed.
    """

    durable: bool
    processes: bool
    marks_copies: bool = False
    latest_first: bool = False
    counts_removed: bool = False
