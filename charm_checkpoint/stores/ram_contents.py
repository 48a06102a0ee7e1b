"""What the store in memory holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from charm_checkpoint.contract import CheckpointRow, Chunk, MessagesRow, ThreadRow, ThreadState, Usage
from charm_checkpoint.stores.shared.mark_and_sweep import unreached
from charm_checkpoint.stores.shared.names import text_bytes
from charm_checkpoint.stores.shared.thread_notes import Notes


@dataclass
class Namespace:
    """One namespace of a thread: checkpoints by id in commit order, and writes by checkpoint id."""

    head: str | None = None
    rows: dict[str, CheckpointRow] = field(default_factory=dict)
    marks: dict[str, tuple[bytes, str | None]] = field(default_factory=dict)
    writes: dict[str, list[bytes]] = field(default_factory=dict)


@dataclass
class Thread:
    """A thread that has, or had, checkpoints."""

    state: ThreadState = field(default_factory=ThreadState)
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    chunks: dict[bytes, Chunk] = field(default_factory=dict)
    notes: Notes = Notes()
    touched_at: float = 0.0

    def next_state(self, *, sweeps: int = 0, deletes: int = 0) -> ThreadState:
        """Return the state after one more change, which may be a sweep or a delete."""
        old = self.state
        return ThreadState(old.deletes + deletes, old.sweeps + sweeps, old.seq + 1)

    def copy(self) -> Thread:
        """Return a thread that changes apart from this one; records and chunks are shared."""
        namespaces = {
            ns: Namespace(namespace.head, dict(namespace.rows), dict(namespace.marks), dict(namespace.writes))
            for ns, namespace in self.namespaces.items()
        }
        return Thread(self.state, namespaces, dict(self.chunks), self.notes, self.touched_at)

    def rows(self) -> list[CheckpointRow]:
        """Return the checkpoints of all namespaces."""
        return [row for namespace in self.namespaces.values() for row in namespace.rows.values()]

    def size(self) -> int:
        """Return the bytes of payload in all of it."""
        writes = [body for namespace in self.namespaces.values() for some in namespace.writes.values() for body in some]
        bodies = [*(row.body for row in self.rows()), *writes, *(chunk.data for chunk in self.chunks.values())]
        return sum(map(len, bodies))

    def sweep(self, roots: list[bytes]) -> None:
        """Delete the chunks that no root leads to."""
        for name in unreached({name: chunk.refs for name, chunk in self.chunks.items()}, roots):
            del self.chunks[name]


@dataclass
class Messages:
    """A thread's message list, with chunks of its own."""

    row: MessagesRow = field(default_factory=lambda: MessagesRow(ThreadState()))
    chunks: dict[bytes, Chunk] = field(default_factory=dict)
    touched_at: float = 0.0

    def is_there(self) -> bool:
        """Tell whether there is a list, be it empty: a deleted one is not there."""
        return self.row.body is not None or bool(self.row.batches)


@dataclass
class Erased:
    """What is kept of a thread that was erased: its counters, until a time."""

    until: int
    state: ThreadState
    messages: MessagesRow


def hidden_name(key: bytes, name: str) -> bytes:
    """Return the hash under which an erased thread is found again by its name, and nobody without the key finds it."""
    return blake2b(text_bytes(name), key=key, digest_size=16).digest()


def latest_names(threads: Mapping[str, Thread], messages: Mapping[str, Messages]) -> list[str]:
    """Return the names of all threads, those changed last first."""
    changed_at = {name: thread.touched_at for name, thread in threads.items()}
    for name, listed in messages.items():
        changed_at[name] = max(changed_at.get(name, 0.0), listed.touched_at)
    return sorted(changed_at, key=lambda name: changed_at[name], reverse=True)


def thread_row(name: str, thread: Thread | None, messages: Messages | None, pinned: bool = False) -> ThreadRow | None:
    """Return a thread as a listing shows it, None if nothing is left of it."""
    thread = thread or Thread()
    has_messages = messages is not None and messages.is_there()
    if not (thread.namespaces or has_messages):
        return None
    at = max(thread.touched_at, messages.touched_at if messages else 0.0)
    root = thread.namespaces.get("") or Namespace()
    row = ThreadRow(name, int(at), len(thread.rows()), has_messages, root.head, *thread.notes)
    return row._replace(size=thread.size(), pinned=pinned)


def usage_of(all_threads: Mapping[str, Thread], all_lists: Mapping[str, Messages], name: str | None) -> Usage:
    """Count what one thread, or all of them, come to."""
    threads = {key: thread for key, thread in all_threads.items() if name in (None, key)}
    lists = {key: kept for key, kept in all_lists.items() if name in (None, key) and kept.is_there()}
    rows = [row for thread in threads.values() for row in thread.rows()]
    namespaces = [namespace for thread in threads.values() for namespace in thread.namespaces.values()]
    writes = [body for namespace in namespaces for some in namespace.writes.values() for body in some]
    pools = [*(thread.chunks for thread in threads.values()), *(kept.chunks for kept in lists.values())]
    chunks = [chunk.data for pool in pools for chunk in pool.values()]
    messages = [body for kept in lists.values() for body in (kept.row.body or b"", *kept.row.batches)]
    payload = [*(row.body for row in rows), *writes, *chunks, *messages]
    names = {key for key, thread in threads.items() if thread.namespaces} | set(lists)
    return Usage(len(names), len(rows), len(writes), len(chunks), sum(map(len, payload)))
