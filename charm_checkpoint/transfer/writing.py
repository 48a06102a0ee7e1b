"""Putting what was read into another store: under a name of its own first, which it gets when it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

from charm_checkpoint.contract import Backend, Chunk, NewCheckpoint, NewWrites, ThreadRow, ThreadState, WriteResult
from charm_checkpoint.errors import StoreUnavailable, ThreadExists
from charm_checkpoint.plan import Plan
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.hops import Hop, Moving
from charm_checkpoint.transfer.reading import APART
from charm_checkpoint.transfer.records import CheckpointRecord, Openers
from charm_checkpoint.transfer.walking import PART
from charm_checkpoint.values.packing import pack
from charm_checkpoint.values.sealing import seal

AT_ONCE = 32
"""Puts in one transaction, where a store can: each of them waits for the disk."""

New: TypeAlias = "NewCheckpoint | NewWrites"


class Disturbed(StoreUnavailable):
    """A thread was changed by somebody else while it was put together."""


class Untellable(ThreadExists):
    """A conflict's mark cannot be made where others see the thread meanwhile."""


class ThreadWriter:
    """Puts checkpoints behind those of one thread; ``row`` is what the source's record says of the thread.

    ``state`` is the thread's, and is followed: what moves it otherwise is noticed. With ``staged``, nobody else uses
    the thread, and it may hold for a moment what does not belong there.
    """

    def __init__(
        self, store: Store, thread: str, row: ThreadRow, state: ThreadState, heads: dict[str, str], *, staged: bool
    ) -> None:
        self._store = store
        self._backend = store.backend
        self._thread = thread
        self._row = row
        self._deletes = state.deletes
        self._sweeps: int | None = None  # a thread that is new begins with whatever counters the store gives it
        self._heads = heads
        self._staged = staged
        self._identities = Openers(store).identities
        self._several: list[New] = []
        self._weight = 0
        self._ahead: list[Chunk] = []
        self._is_apart = False
        self.checkpoints = self.writes = self.chunk_count = self.size = 0

    # ------------------------------------------------------------------------------------------------------ taking

    def chunks(self, part: list[Chunk]) -> Moving[None]:
        """Put chunks ahead of the checkpoint that names them."""
        self._count_chunks(part)
        if not self._staged:  # the checkpoint that they come with is nowhere yet
            self._ahead += part
            return
        yield from self._later(self._placeholder(APART, "parts", part))
        yield from self.flush()
        self._is_apart = True

    def checkpoint(self, record: CheckpointRecord, chunks: list[Chunk]) -> Moving[None]:
        """Put a checkpoint's writes, so that one that is there has them all, and then the checkpoint."""
        for packed in record.writes:
            body = seal(self._identities.writes(self._thread, record.ns, record.id), packed)
            new = NewWrites(self._thread, record.ns, record.id, body, self._deletes, self._row.writes_note)
            yield from self._later(new)
        self.writes += len(record.writes)
        self.size += record.size
        if record.stored:
            return
        self._count_chunks(chunks)
        chunks, self._ahead = [*self._ahead, *chunks], []
        if record.conflict is None:
            yield from self._put(record, chunks, "allow")
        else:
            yield from self._put_conflict(record, chunks, record.conflict)
        self.checkpoints += 1

    def flush(self) -> Moving[None]:
        """Have all that was taken be stored."""
        several, self._several, self._weight = self._several, [], 0
        if not several:
            return
        put_all = getattr(self._backend, "put_all", None) or partial(_each, self._backend)
        reply: WriteResult = yield Hop(self._store, partial(put_all, several), self._thread, write=True)
        if reply.outcome != "stored":
            raise disturbed(self._thread)
        if self._sweeps is None:
            self._deletes, self._sweeps = reply.state.deletes, reply.state.sweeps

    def finish(self) -> Moving[None]:
        """Store what is left, and remove what was only for the way."""
        yield from self.flush()
        if self._is_apart:
            yield from self._remove(APART, "parts")
            self._is_apart = False

    # ------------------------------------------------------------------------------------------------------ putting

    def _put(self, record: CheckpointRecord, chunks: Sequence[Chunk], on_conflict: Any) -> Moving[None]:
        is_root = not record.ns
        body = seal(
            self._identities.checkpoint(self._thread, record.ns, record.id, record.parent, record.roots), record.packed
        )
        new = NewCheckpoint(
            self._thread, record.ns, record.id, record.parent, body, record.roots, record.tags, record.run, chunks,
            self._sweeps, self._deletes, on_conflict, self._row.title if is_root else None,
            self._row.note if is_root else None,
        )  # fmt: skip
        self._heads[record.ns] = record.id
        yield from self._later(new)

    def _put_conflict(self, record: CheckpointRecord, chunks: Sequence[Chunk], against: str) -> Moving[None]:
        """Put a checkpoint that did not follow the head of then, which may have been pruned since."""
        if self._heads.get(record.ns) == against and against not in (record.parent, record.id):
            yield from self._put(record, chunks, "warn")
            return
        if not self._staged or against in (record.parent, record.id):
            raise Untellable(
                f"checkpoint {record.id} bears a mark of a conflict with {against}, which is gone: that cannot be made "
                "in a thread that is there. Delete the thread in the target, and copy it anew."
            )
        yield from self._later(self._placeholder(record.ns, against, ()))
        yield from self._put(record, chunks, "warn")
        yield from self.flush()
        yield from self._remove(record.ns, against)

    def _placeholder(self, ns: str, id: str, chunks: Sequence[Chunk]) -> NewCheckpoint:
        body = seal(self._identities.checkpoint(self._thread, ns, id, None, b""), pack(b""))
        return NewCheckpoint(
            self._thread, ns, id, None, body, b"", b"", None, chunks, self._sweeps, self._deletes, "allow"
        )

    def _remove(self, ns: str, id: str) -> Moving[None]:
        plan = partial(self._backend.remove, self._thread, [(ns, id)], None)
        reply: WriteResult = yield Hop(self._store, plan, self._thread, write=True)
        if reply.state.deletes != self._deletes:
            raise disturbed(self._thread)
        self._sweeps = reply.state.sweeps

    def _later(self, new: New) -> Moving[None]:
        self._several.append(new)
        self._weight += len(new.body) + sum(len(chunk.data) for chunk in getattr(new, "chunks", ()))
        if self._sweeps is None or len(self._several) >= AT_ONCE or self._weight >= PART:
            yield from self.flush()

    def _count_chunks(self, chunks: Sequence[Chunk]) -> None:
        self.chunk_count += len(chunks)
        self.size += sum(len(chunk.data) + len(chunk.refs) for chunk in chunks)


def _each(backend: Backend, several: Sequence[New]) -> Plan[WriteResult]:
    for new in several:
        reply = yield from (backend.put(new) if isinstance(new, NewCheckpoint) else backend.put_writes(new))
        if reply.outcome != "stored":
            break
    return reply


def disturbed(thread: str) -> Disturbed:
    """Return the error of a thread that somebody else changed."""
    return Disturbed(
        f"Thread {thread!r} was changed or deleted in the target while it was copied. Let one copy run at a time, and "
        "no agent on its threads there; then run it again."
    )
