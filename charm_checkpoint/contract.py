"""What a store has to do: all that the author of a new one needs to read.

The saver turns LangGraph's objects into the records of contract_records.py, which are plain ids,
numbers and bytes; a store keeps records and never looks inside the bytes. It is two objects:

- a `Backend`: one method for each thing the saver asks for, written as plans (see plan.py)
  that yield operations of the store's own kind;
- a `Driver`: owns connections, locks, retries and error mapping, and runs plans, blocking
  (`run`) and async (`arun`). One method of a backend is one transaction: all of it happens,
  or none. A plan of several may be one too, but nobody builds on that: a write checks again
  what was read before (``expect``), and ``sweeps`` tells of chunks that went between reads.

`stores/ram.py` is its plainest form, `charm_checkpoint.testing` the suite that a store must pass.

Words. A *thread* is named by any text. A *namespace* divides a thread (``""`` is the root
graph's). A *checkpoint* is one saved state in a namespace. The *head* of a namespace is the
checkpoint committed last, in the store's own order; ids say nothing about order. A *chunk*
is an immutable piece of a value, kept once a thread under its 16-byte address; ``refs`` of a
chunk, and ``roots`` of a checkpoint or message list, are the addresses it names, end to end.

A backend that keeps the threads of several tenants apart has an attribute ``tenant``, text, which
says whose it is; see `tenant_of`.

All text (thread, namespace, ids) may hold any code point, NUL and lone surrogates included,
and may be 10,000 characters long. A store keeps it exactly or refuses it before writing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from charm_checkpoint.contract_records import ADDRESS_SIZE as ADDRESS_SIZE
from charm_checkpoint.contract_records import NESTED as NESTED
from charm_checkpoint.contract_records import TAG_SIZE as TAG_SIZE
from charm_checkpoint.contract_records import Capabilities as Capabilities
from charm_checkpoint.contract_records import CheckpointRow as CheckpointRow
from charm_checkpoint.contract_records import Chunk as Chunk
from charm_checkpoint.contract_records import MessagesRow as MessagesRow
from charm_checkpoint.contract_records import NewCheckpoint as NewCheckpoint
from charm_checkpoint.contract_records import NewMessages as NewMessages
from charm_checkpoint.contract_records import NewWrites as NewWrites
from charm_checkpoint.contract_records import Outcome as Outcome
from charm_checkpoint.contract_records import Page as Page
from charm_checkpoint.contract_records import Query as Query
from charm_checkpoint.contract_records import Space as Space
from charm_checkpoint.contract_records import StoredCheckpoint as StoredCheckpoint
from charm_checkpoint.contract_records import ThreadPage as ThreadPage
from charm_checkpoint.contract_records import ThreadRow as ThreadRow
from charm_checkpoint.contract_records import ThreadState as ThreadState
from charm_checkpoint.contract_records import Usage as Usage
from charm_checkpoint.contract_records import Waiting as Waiting
from charm_checkpoint.contract_records import WriteResult as WriteResult
from charm_checkpoint.contract_records import added as added
from charm_checkpoint.moved import LAST, renamed, warn_caller
from charm_checkpoint.plan import MakePlan, Plan

T = TypeVar("T")


@runtime_checkable
class Backend(Protocol):
    """One store's answers, each a plan over its driver's operations.

    Every plan that writes first takes the thread, so that writers of one thread take turns.
    """

    capabilities: Capabilities

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

    def put(self, new: NewCheckpoint) -> Plan[WriteResult]:
        """Commit a checkpoint, its chunks and its namespace's new head, or nothing.

        In this order:

        1. ``deleted``, if ``seen_deletes`` is given and is not the thread's ``deletes``; or it
           is None, the thread was deleted before, and ``parent`` is named but not stored.
        2. ``stale``, if ``base_sweeps`` is given and is not the thread's ``sweeps``.
        3. A conflict exists if ``on_conflict`` is not ``allow``, the namespace has a head, the
           head is neither ``parent`` nor ``id``, and no checkpoint ``id`` is stored there.
           ``raise`` refuses it (``conflict``); ``warn`` stores it with the head's id in its
           row's ``conflict`` and says so in ``WriteResult.conflict``.
        4. Store. A checkpoint of that id that exists is replaced in place: it keeps its commit
           number and the head stays. Otherwise it gets the next number and becomes the head.
        """
        ...

    def put_writes(self, new: NewWrites) -> Plan[WriteResult]:
        """Append pending writes, unless ``deleted`` (as in `put`, with ``id`` for ``parent``)."""
        ...

    def find(self, thread: str, ns: str, id: str | None, known: Collection[bytes] = ()) -> Plan[StoredCheckpoint]:
        """Return one checkpoint, the head if ``id`` is None; ``row`` None if there is none.

        ``known`` are addresses that the caller has at hand with all they reach: a store that
        sends chunks along can leave these out, here as in `page` and `messages`.
        """
        ...

    def ancestors(self, thread: str, ns: str, id: str, size: int) -> Plan[Sequence[StoredCheckpoint]]:
        """Return a checkpoint and its ancestors by ``parent``, nearest first, ``size`` at most.

        Stops at a parent that is not stored or was seen before.
        """
        ...

    def page(
        self, query: Query, after: Any, size: int, writes: bool = True, known: Collection[bytes] = ()
    ) -> Plan[Page]:
        """Return the next ``size`` matches in reverse commit order; ``after`` None starts.

        Commit order is that of one thread; how threads follow each other, the store chooses.
        ``writes`` False leaves pending writes out, and chunks.
        """
        ...

    def threads(self, after: Any, size: int) -> Plan[ThreadPage]:
        """Return the next threads, ``size`` or fewer, that hold checkpoints, writes or messages; ``after`` None starts.

        No value is read: neither bodies nor chunks. What a `put` brings as ``title`` is kept on the
        thread's record if it has none, its ``note``, and that of `put_writes`, in the old one's place;
        None changes nothing. They are copied with the thread, and go with its last checkpoint in the
        root namespace. A thread that is damaged is shown as such, and the others after it.

        The order is the store's: those changed last come first where it can tell. There, one that
        changes meanwhile may be missed, and is then among the first of a new listing.
        """
        ...

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[Mapping[bytes, Chunk]]:
        """Return those of these chunks that the thread, or its message list, has, by address."""
        ...

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[WriteResult]:
        """Remove checkpoints, given as (namespace, id), with their writes and unreached chunks.

        ``changed``, and nothing is done, if ``expect`` is given and is not the thread's
        ``seq``. A namespace's head becomes the last committed of what is left; a namespace
        with nothing left goes. Chunks reached from no checkpoint go, and ``sweeps`` grows.

        It may be done in bounded transactions, one behind the other, so that nobody has to wait for all of it: then
        ``changed`` may be returned when some are gone, because in between something came that follows what is to go.
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

    def erase_thread(self, thread: str, until: int, idle_since: int | None = None) -> Plan[Usage]:
        """Remove everything of a thread, its message list and its name too; return what there was.

        What stays is a hash of its name that only this store can make, by a key of its own, and its counters, until
        the second ``until`` since 1970; nothing if that is 0. As long as it stays, a writer is answered as after
        `delete_thread`, and a thread begun anew goes on from those counters, so a late one does not bring it back.
        A thread that is not there, or was deleted or erased before, is treated alike: whatever is left of it goes.
        The counters of its message list stay and grow as well: a list put for a former one is ``changed`` or ``stale``.
        Once nothing is kept of it, a thread begun anew still never takes a ``base_sweeps`` from before: that is
        ``stale``, since the chunks it left out are gone.
        One that is damaged is removed as well, and counted as far as that can be told.

        With ``idle_since`` that is done only if nothing of it was changed after that second, as ``touched_at`` of its
        `ThreadRow` tells, and it is not pinned; else nothing is done, and all that is returned is 0.
        """
        ...

    def forget_erased(self, now: int) -> Plan[int]:
        """Remove what is kept of erased threads whose ``until`` is not after the second ``now``; tell how many."""
        ...

    def pin(self, thread: str, pinned: bool) -> Plan[bool]:
        """Note on a thread's record that it is to be kept, or no longer; tell whether the thread is there.

        Nothing of a store's own, such as a time to live of Redis' keys, removes a pinned one. `delete_thread` and
        `erase_thread` do, and the note goes with them; a copy is not pinned. It is no change of the thread: neither
        its ``seq`` nor ``touched_at`` moves.
        """
        ...

    def space(self) -> Plan[Space]:
        """Tell how much room the whole store takes."""
        ...

    def compact(self, size: int | None) -> Plan[Space]:
        """Give room that holds nothing back, ``size`` bytes or so, all if None; tell what is then taken.

        With a size it is bounded work that hinders no writer for long, and may be repeated until nothing is ``free``.
        A store that does this by itself, as Postgres and Redis do, only tells.
        """
        ...

    def copy_thread(self, source: str, target: str) -> Plan[WriteResult]:
        """Copy all checkpoints and writes, in commit order, to a thread that has none.

        ``conflict`` if the target has checkpoints. A source with none is left alone. Each body is
        stored as `charm_checkpoint.values.sealing.marked` returns it for the target, if the store
        declares ``marks_copies``: in a body that begins with 03, the eight bytes behind that byte
        become the first eight of the target's `charm_checkpoint.values.sealing.identity`.
        """
        ...

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return the thread's message list, and the batches behind it, as of one moment."""
        ...

    def put_messages(self, new: NewMessages) -> Plan[WriteResult]:
        """Replace the thread's message list; ``stale`` as in `put`, by the list's own state.

        ``changed`` if ``expect`` is not the revision. With ``sweep``, or ``body`` None, chunks
        the new list does not reach go, and ``sweeps`` grows; ``body`` None removes every batch.
        """
        ...

    def append_messages(self, thread: str, body: bytes) -> Plan[Waiting]:
        """Put a batch, opaque bytes, behind the list and the batches there; others never hinder it.

        The list's ``revision`` stays. Made again because the reply was lost, it is there once.
        """
        ...

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what one thread, or the whole store, holds."""
        ...


@runtime_checkable
class TellsThreads(Protocol):
    """What a backend has besides, if it can tell of one thread without a listing; else a listing is gone through."""

    def thread_row(self, thread: str) -> Plan[ThreadRow | None]:
        """Return what `Backend.threads` says of a thread, None if it is not listed."""
        ...


@runtime_checkable
class ErasesUnnamed(Protocol):
    """What a backend has besides, if it may hold threads that do not tell their name any more, and can remove them."""

    def erase_unnamed(self, until: int) -> Plan[Usage]:
        """Remove everything of the threads that `Backend.threads` lists without a name; see `Backend.erase_thread`."""
        ...


@runtime_checkable
class PutsSeveral(Protocol):
    """What a backend has besides, if several puts cost it less than each by itself; else they are put one by one."""

    def put_all(self, several: Sequence[NewCheckpoint | NewWrites]) -> Plan[WriteResult]:
        """Put checkpoints and writes in this order, up to the first that is not ``stored``; return the last result.

        All of it happens, or none, or as much as came before an error: as with puts one by one.
        """
        ...


@runtime_checkable
class Driver(Protocol):
    """Runs plans. Usable from any thread and any event loop, opened on first use.

    Ctrl-C may end a call between any two others, a task may be cancelled wherever it waits, a
    signal handler may close what its own thread is using: what a call took, the next one finds
    free again (see runtime/leases.py). A process may fork; what cannot be used in the child is made anew,
    or the child is told (see runtime/lifecycle.py).

    One that lends out connections may add ``leased() -> int``: the suite checks that none stays out.
    """

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan as one transaction; ``write`` False promises that it changes nothing."""
        ...

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan as `run` does, without blocking the event loop."""
        ...

    def close(self) -> None:
        """Release every connection; may be called again.

        Calls under way are waited for, `runtime.lifecycle.CLOSING` seconds at most, but not this thread's own:
        what they use is released when they end.
        """
        ...

    async def aclose(self) -> None:
        """Release every connection of this event loop and all others."""
        ...


if TYPE_CHECKING:
    Abilities, Found, Reply = Capabilities, StoredCheckpoint, WriteResult
else:
    __getattr__ = renamed(__name__, {"Abilities": "Capabilities", "Found": "StoredCheckpoint", "Reply": "WriteResult"})


def capabilities(backend: Backend) -> Capabilities:
    """Return what a backend declares, be it under the former name ``abilities``."""
    if hasattr(backend, "capabilities") or not hasattr(backend, "abilities"):
        return backend.capabilities
    warn_caller(
        f"{type(backend).__name__}.abilities is named capabilities now; the former name goes in version {LAST}."
    )
    former: Capabilities = backend.abilities
    return former


def tenant_of(backend: object) -> str:
    """Return whose things a backend, of either kind, keeps; most keep those of one tenant only, whose name is empty."""
    tenant: str = getattr(backend, "tenant", "")
    return tenant
