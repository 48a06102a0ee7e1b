"""What a store has to do: all that the author of a new one needs to read.

The saver turns LangGraph's objects into the records below, which are plain ids, numbers and
bytes; a store keeps records and never looks inside the bytes. It is two objects:

- a `Backend`: one method for each thing the saver asks for, written as plans (see plan.py)
  that yield operations of the store's own kind;
- a `Driver`: owns connections, locks, retries and error mapping, and runs plans, blocking
  (`run`) and async (`arun`). One method of a backend is one transaction: all of it happens,
  or none. A plan of several may be one too, but nobody builds on that: what was read before
  a write is checked by it again (``expect``), and chunks that a sweep removed between two
  reads are noticed by the thread's ``sweeps``.

`backends/ram.py` is the contract in its plainest form. `charm_checkpoint.testing` holds the
suite that a store must pass.

Words. A *thread* is named by any text. A *namespace* divides a thread (``""`` is the root
graph's). A *checkpoint* is one saved state in a namespace. The *head* of a namespace is the
checkpoint committed last, in the store's own order; ids say nothing about order. A *chunk*
is an immutable piece of a value, kept once a thread under its 16-byte address; ``refs`` of a
chunk, and ``roots`` of a checkpoint or message list, are the addresses it names, end to end.

All text (thread, namespace, ids) may hold any code point, NUL and lone surrogates included,
and may be 10,000 characters long. A store keeps it exactly or refuses it before writing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from charm_checkpoint.plan import MakePlan, Plan

T = TypeVar("T")

ADDRESS_SIZE = 16
"""Bytes in a chunk's address."""

TAG_SIZE = 4
"""Bytes in one tag of a checkpoint's ``tags``."""


# ------------------------------------------------------------------------------ records


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


@dataclass(frozen=True, slots=True)
class NewWrites:
    """Pending writes of one task, as one opaque ``body``, for checkpoint ``id``.

    The checkpoint itself may arrive later.
    """

    thread: str
    ns: str
    id: str
    body: bytes
    seen_deletes: int | None


Outcome = Literal["stored", "stale", "conflict", "deleted", "changed"]


class Reply(NamedTuple):
    """What became of a write. Only ``stored`` changed anything.

    ``stale``: ``base_sweeps`` is no longer the thread's. ``conflict``: refused, see
    `Backend.put`. ``deleted``: the writer's run began before the thread was deleted.
    ``changed``: an expected ``seq`` or ``revision`` has moved. ``state`` is the thread's
    state afterwards; ``head`` is the head before a `put`, where it had one.
    """

    outcome: Outcome
    state: ThreadState
    head: str | None = None
    conflict: bool = False


class Found(NamedTuple):
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
    ``tags``: only those whose tags include each of these; more may be returned.
    """

    thread: str | None = None
    ns: str | None = None
    id: str | None = None
    before: str | None = None
    before_thread: str | None = None
    tags: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing, latest commit first. ``next`` goes on from there, None at the end."""

    items: Sequence[Found]
    next: Any = None


@dataclass(frozen=True, slots=True)
class MessagesRow:
    """A thread's message list. ``body`` is None when it has none; ``revision`` counts saves.

    A message list has chunks, and a `ThreadState`, of its own, apart from the checkpoints' of
    the thread: saving one never disturbs the other.
    """

    state: ThreadState
    body: bytes | None = None
    roots: bytes = b""
    revision: int = 0
    chunks: Mapping[bytes, Chunk] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewMessages:
    """A message list to put in place of the thread's, all at once.

    ``expect`` is the revision it must replace, None for any. ``body`` None deletes the list.
    ``chunks`` and ``base_sweeps`` are as in `NewCheckpoint`. ``sweep`` asks for chunks that
    the new list does not reach to be removed.
    """

    thread: str
    body: bytes | None
    roots: bytes
    chunks: Sequence[Chunk]
    base_sweeps: int | None
    expect: int | None = None
    sweep: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """How much is stored: rows of each kind, and the bytes of payload they hold."""

    threads: int = 0
    checkpoints: int = 0
    writes: int = 0
    chunks: int = 0
    payload_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a store promises beyond the contract; the suite tests what is declared.

    ``durable``: what was stored is there after SIGKILL. ``processes``: several processes may
    use it at once, each by opening the same URL.
    """

    durable: bool
    processes: bool


# ----------------------------------------------------------------------------- the store


@runtime_checkable
class Backend(Protocol):
    """One store's answers, each a plan over its driver's operations.

    Every plan that writes first takes the thread, so that writers of one thread take turns.
    """

    abilities: Abilities

    def is_current(self) -> Plan[bool]:
        """Tell, changing nothing, whether the schema is there and up to date.

        Raises `SchemaMismatch` when the store holds a newer schema or somebody else's.
        """
        ...

    def setup(self) -> Plan[None]:
        """Create or migrate the schema; safe to run from many processes at once.

        Raises `SchemaMismatch` as `is_current` does.
        """
        ...

    def put(self, new: NewCheckpoint) -> Plan[Reply]:
        """Commit a checkpoint, its chunks and its namespace's new head, or nothing.

        In this order:

        1. ``deleted``, if ``seen_deletes`` is given and is not the thread's ``deletes``; or it
           is None, the thread was deleted before, and ``parent`` is named but not stored.
        2. ``stale``, if ``base_sweeps`` is given and is not the thread's ``sweeps``.
        3. A conflict exists if ``on_conflict`` is not ``allow``, the namespace has a head, the
           head is neither ``parent`` nor ``id``, and no checkpoint ``id`` is stored there.
           ``raise`` refuses it (``conflict``); ``warn`` stores it with the head's id in its
           row's ``conflict`` and says so in ``Reply.conflict``.
        4. Store. A checkpoint of that id that exists is replaced in place: it keeps its commit
           number and the head stays. Otherwise it gets the next number and becomes the head.
        """
        ...

    def put_writes(self, new: NewWrites) -> Plan[Reply]:
        """Append pending writes, unless ``deleted`` (as in `put`, with ``id`` for ``parent``)."""
        ...

    def find(self, thread: str, ns: str, id: str | None, known: Collection[bytes] = ()) -> Plan[Found]:
        """Return one checkpoint, the head if ``id`` is None; ``row`` None if there is none.

        ``known`` are addresses that the caller has at hand with all they reach: a store that
        sends chunks along can leave these out, here as in `page` and `messages`.
        """
        ...

    def ancestors(self, thread: str, ns: str, id: str, size: int) -> Plan[Sequence[Found]]:
        """Return a checkpoint and its ancestors by ``parent``, nearest first, ``size`` at most.

        Stops at a parent that is not stored or was seen before.
        """
        ...

    def page(
        self, query: Query, after: Any, size: int, writes: bool = True, known: Collection[bytes] = ()
    ) -> Plan[Page]:
        """Return the next ``size`` matches in reverse commit order; ``after`` None starts.

        Commit order is that of one thread; how threads follow each other is the store's
        choice. ``writes`` False leaves pending writes out, and chunks.
        """
        ...

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[Mapping[bytes, Chunk]]:
        """Return those of these chunks that the thread, or its message list, has, by address."""
        ...

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[Reply]:
        """Remove checkpoints, given as (namespace, id), with their writes and unreached chunks.

        ``changed``, and nothing is done, if ``expect`` is given and is not the thread's
        ``seq``. A namespace's head becomes the last committed of what is left; a namespace
        with nothing left goes. Chunks reached from no checkpoint go, and ``sweeps`` grows.
        """
        ...

    def runs(self, run_ids: Collection[str]) -> Plan[Sequence[tuple[str, str, str]]]:
        """Return (thread, namespace, id) of every checkpoint put with one of these ``run`` ids."""
        ...

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints, writes and their chunks; ``deletes`` and ``sweeps`` grow.

        Its message list stays. A thread that is not there is left alone.
        """
        ...

    def copy_thread(self, source: str, target: str) -> Plan[Reply]:
        """Copy all checkpoints and writes, in commit order, to a thread that has none.

        ``conflict`` if the target has checkpoints. A source with none is left alone.
        """
        ...

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return the thread's message list."""
        ...

    def put_messages(self, new: NewMessages) -> Plan[Reply]:
        """Replace the thread's message list; ``stale`` as in `put`, by the list's own state.

        ``changed`` if ``expect`` is not the revision. With ``sweep``, or ``body`` None, chunks
        the new list does not reach go, and ``sweeps`` grows.
        """
        ...

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what one thread, or the whole store, holds."""
        ...


@runtime_checkable
class Driver(Protocol):
    """Runs plans. Usable from any thread and any event loop, opened on first use.

    A driver that lends out connections may add ``leased() -> int``, how many are at work: the
    suite then checks that none is left out.
    """

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan as one transaction; ``write`` False promises that it changes nothing."""
        ...

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan as `run` does, without blocking the event loop."""
        ...

    def close(self) -> None:
        """Release every connection; may be called again."""
        ...

    async def aclose(self) -> None:
        """Release every connection of this event loop and all others."""
        ...
