"""The contract in its plainest form: a store in this process's memory.

It is the reference that other stores are tested against, and good for tests and notebooks.
Its one operation is `call`: a function, run under the store's lock. An interrupt comes only after
a call of a function, and so does another thread: so each change is made ready first, and then put
in place by assignments alone, which are one step. Long-term memory is beside it, in `ram_items`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from charm_checkpoint.config.options import Location, Option
from charm_checkpoint.contract import (
    Capabilities,
    CheckpointRow,
    Chunk,
    MessagesRow,
    NewCheckpoint,
    NewMessages,
    NewWrites,
    Page,
    Query,
    StoredCheckpoint,
    ThreadState,
    Waiting,
    WriteResult,
)
from charm_checkpoint.errors import StoreClosed
from charm_checkpoint.plan import MakePlan, Plan, arun, run
from charm_checkpoint.runtime.leases import Inside
from charm_checkpoint.runtime.lifecycle import PerProcess
from charm_checkpoint.store import Store
from charm_checkpoint.stores.ram_contents import Messages, Namespace, Thread
from charm_checkpoint.stores.ram_items import RamItems, call
from charm_checkpoint.stores.ram_threads import RamThreads
from charm_checkpoint.stores.shared.mark_and_sweep import unreached
from charm_checkpoint.stores.shared.tags import has_tags
from charm_checkpoint.stores.shared.thread_notes import Notes
from charm_checkpoint.stores.shared.write_rule import decide, decide_messages, is_conflict, lacks_chunks

T = TypeVar("T")

OPTIONS: tuple[Option, ...] = ()


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a new, empty store; two calls share nothing."""
    return Store(RamBackend(), RamDriver(), items=RamItems())


class RamBackend(RamThreads):
    """The backend. Each method is one plan of one call."""

    capabilities = Capabilities(durable=False, processes=False, marks_copies=True, latest_first=True)

    def is_current(self) -> Plan[bool]:
        """Say yes: there is no schema."""
        current: bool = yield call(lambda: True)
        return current

    def setup(self) -> Plan[None]:
        """Do nothing: there is no schema."""
        yield call(lambda: None)

    def put(self, new: NewCheckpoint) -> Plan[WriteResult]:
        """Commit a checkpoint; see `Backend.put`."""
        reply: WriteResult = yield call(self._put, new)
        return reply

    def _put(self, new: NewCheckpoint) -> WriteResult:
        thread = self._thread(new.thread)
        namespace = thread.namespaces.get(new.ns) or Namespace()
        head, earlier = namespace.head, namespace.rows.get(new.id)
        lacking = lacks_chunks(new, thread.chunks)
        outcome = decide(new, thread.state, head, namespace.rows, lacks_chunks=lacking)
        if outcome != "stored":
            return WriteResult(outcome, thread.state, head, conflict=outcome == "conflict")
        conflict = is_conflict(new, head, namespace.rows)
        seq = earlier.seq if earlier else next(self._commits)
        against = earlier.conflict if earlier else head if conflict else None
        row = CheckpointRow(new.thread, new.ns, new.id, new.parent, seq, new.body, new.roots, against)
        state = thread.next_state()
        thread.chunks.update({chunk.address: chunk for chunk in new.chunks if chunk.address not in thread.chunks})
        # What nothing reaches yet does no harm. From here on, only assignments.
        namespace.rows[new.id] = row
        namespace.marks[new.id] = new.tags, new.run
        if earlier is None:
            namespace.head = new.id
        thread.namespaces[new.ns] = namespace
        thread.notes = thread.notes.after(new.title, new.note)
        thread.touched_at = time.time()
        thread.state = state
        self._threads[new.thread] = thread
        return WriteResult("stored", state, head, conflict=conflict)

    def put_writes(self, new: NewWrites) -> Plan[WriteResult]:
        """Append pending writes; see `Backend.put_writes`."""
        reply: WriteResult = yield call(self._put_writes, new)
        return reply

    def _put_writes(self, new: NewWrites) -> WriteResult:
        thread = self._thread(new.thread)
        namespace = thread.namespaces.get(new.ns) or Namespace()
        outcome = decide(new, thread.state, namespace.head, namespace.rows)
        if outcome != "stored":
            return WriteResult(outcome, thread.state, namespace.head)
        state = thread.next_state()
        bodies = namespace.writes.get(new.id, [])
        bodies += (new.body,)
        namespace.writes[new.id] = bodies
        thread.namespaces[new.ns] = namespace
        thread.notes = thread.notes.after(writes_note=new.note)
        thread.touched_at = time.time()
        thread.state = state
        self._threads[new.thread] = thread
        return WriteResult("stored", state, namespace.head)

    def find(self, thread: str, ns: str, id: str | None, known: Collection[bytes] = ()) -> Plan[StoredCheckpoint]:
        """Return one checkpoint; see `Backend.find`."""
        found: StoredCheckpoint = yield call(self._find, thread, ns, id)
        return found

    def _find(self, name: str, ns: str, id: str | None) -> StoredCheckpoint:
        thread = self._thread(name)
        namespace = thread.namespaces.get(ns) or Namespace()
        row = namespace.rows.get(namespace.head if id is None and namespace.head else id or "")
        writes = list(namespace.writes.get(row.id, ())) if row else []
        return StoredCheckpoint(thread.state, namespace.head, row, writes)

    def ancestors(self, thread: str, ns: str, id: str, size: int) -> Plan[Sequence[StoredCheckpoint]]:
        """Return a checkpoint and its ancestors; see `Backend.ancestors`."""
        line: Sequence[StoredCheckpoint] = yield call(self._ancestors, thread, ns, id, size)
        return line

    def _ancestors(self, thread: str, ns: str, id: str, size: int) -> Sequence[StoredCheckpoint]:
        line: list[StoredCheckpoint] = []
        seen: set[str] = set()
        step: str | None = id
        while step is not None and step not in seen and len(line) < size:
            seen.add(step)
            found = self._find(thread, ns, step)
            if found.row is None:
                break
            line.append(found)
            step = found.row.parent
        return line

    def page(
        self, query: Query, after: Any, size: int, writes: bool = True, known: Collection[bytes] = ()
    ) -> Plan[Page]:
        """Return matches, latest commit first; see `Backend.page`."""
        page: Page = yield call(self._page, query, after, size, writes)
        return page

    def _page(self, query: Query, after: Any, size: int, writes: bool) -> Page:
        names = list(self._threads) if query.thread is None else [query.thread]
        rows = [row for name in names if name in self._threads for row in self._threads[name].rows()]
        rows = [row for row in rows if self._matches(row, query) and (after is None or row.seq < after)]
        rows.sort(key=lambda row: -row.seq)
        found = [self._find(row.thread, row.ns, row.id) for row in rows[:size]]
        items = found if writes else [item._replace(writes=()) for item in found]
        return Page(items, rows[size - 1].seq if len(rows) > size else None)

    def _matches(self, row: CheckpointRow, query: Query) -> bool:
        tags, _ = self._threads[row.thread].namespaces[row.ns].marks[row.id]
        return (
            (query.ns is None or row.ns == query.ns)
            and (query.id is None or row.id == query.id)
            and has_tags(tags, query)
            and (query.before is None or self._precedes(row, query.before_thread or row.thread, query.before))
        )

    def _precedes(self, row: CheckpointRow, thread: str, before: str) -> bool:
        stored = self._threads.get(thread) or Thread()
        bound = max((other.seq for other in stored.rows() if other.id == before), default=None)
        return row.id < before if bound is None else row.seq < bound

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[Mapping[bytes, Chunk]]:
        """Return chunks; see `Backend.chunks`."""
        chunks: Mapping[bytes, Chunk] = yield call(self._chunks, thread, addresses, messages)
        return chunks

    def _chunks(self, name: str, addresses: Collection[bytes], messages: bool) -> Mapping[bytes, Chunk]:
        stored = self._messages.get(name, Messages()) if messages else self._threads.get(name, Thread())
        return {address: stored.chunks[address] for address in addresses if address in stored.chunks}

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[WriteResult]:
        """Remove checkpoints; see `Backend.remove`."""
        reply: WriteResult = yield call(self._remove, thread, doomed, expect)
        return reply

    def _remove(self, name: str, doomed: Collection[tuple[str, str]], expect: int | None) -> WriteResult:
        thread = self._threads.get(name)
        if thread is None:
            return WriteResult("stored", self._thread(name).state)
        if expect is not None and expect != thread.state.seq:
            return WriteResult("changed", thread.state)
        left = thread.copy()
        for ns, id in doomed:
            namespace = left.namespaces.get(ns, Namespace())
            for kept in (namespace.rows, namespace.marks, namespace.writes):
                kept.pop(id, None)
        for ns in {ns for ns, _ in doomed} & set(left.namespaces):
            namespace = left.namespaces[ns]
            namespace.head = max(namespace.rows.values(), key=lambda row: row.seq).id if namespace.rows else None
            if not namespace.rows:
                del left.namespaces[ns]
        if "" not in left.namespaces:
            left.notes = Notes()
        left.sweep([row.roots for row in left.rows()])
        left.state = left.next_state(sweeps=1)
        left.touched_at = time.time()
        self._threads[name] = left
        return WriteResult("stored", left.state)

    def runs(self, run_ids: Collection[str]) -> Plan[Sequence[tuple[str, str, str]]]:
        """Return the checkpoints of runs; see `Backend.runs`."""
        found: Sequence[tuple[str, str, str]] = yield call(self._runs, run_ids)
        return found

    def _runs(self, run_ids: Collection[str]) -> Sequence[tuple[str, str, str]]:
        return [
            (name, ns, id)
            for name, thread in self._threads.items()
            for ns, namespace in thread.namespaces.items()
            for id, (_, run_id) in namespace.marks.items()
            if run_id in run_ids
        ]

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return a message list; see `Backend.messages`."""
        row: MessagesRow = yield call(lambda: self._list(thread).row)
        return row

    def put_messages(self, new: NewMessages) -> Plan[WriteResult]:
        """Replace a message list; see `Backend.put_messages`."""
        reply: WriteResult = yield call(self._put_messages, new)
        return reply

    def _put_messages(self, new: NewMessages) -> WriteResult:
        stored = self._list(new.thread)
        old = stored.row.state
        lacking = lacks_chunks(new, stored.chunks)
        outcome = decide_messages(new, old, stored.row.revision, lacks_chunks=lacking)
        if outcome != "stored":
            return WriteResult(outcome, old)
        sweep = new.sweep or new.body is None
        state = ThreadState(old.deletes, old.sweeps + sweep, old.seq + 1)
        chunks = dict(stored.chunks) if sweep else stored.chunks
        chunks.update({chunk.address: chunk for chunk in new.chunks})
        if sweep:
            for name in unreached({name: chunk.refs for name, chunk in chunks.items()}, [new.roots]):
                del chunks[name]
        left = [] if new.taken is None or new.body is None else stored.row.batches[new.taken :]
        row = MessagesRow(state, new.body, new.roots, stored.row.revision + 1, batches=left)
        self._messages[new.thread] = Messages(row, chunks, time.time())
        return WriteResult("stored", state)

    def append_messages(self, thread: str, body: bytes) -> Plan[Waiting]:
        """Put a batch behind a message list; see `Backend.append_messages`."""
        waiting: Waiting = yield call(self._append_messages, thread, body)
        return waiting

    def _append_messages(self, thread: str, body: bytes) -> Waiting:
        stored = self._list(thread)
        batches = [*stored.row.batches, body]
        self._messages[thread] = replace(stored, row=replace(stored.row, batches=batches), touched_at=time.time())
        return Waiting(len(batches), sum(map(len, batches)))


class RamDriver:
    """Runs each call under one lock; nothing here waits for anything else."""

    def __init__(self) -> None:
        self._closed = False
        # A forked child has a copy of what is stored; the parent's lock may be held by a thread that is gone.
        self._guard = PerProcess(lambda: (threading.RLock(), Inside("This store")))

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan; each of its calls is a transaction."""
        self._check()
        return run(make(), partial(self._execute, write))

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan, its calls in place: they take microseconds."""

        async def execute(call: Callable[[], Any]) -> Any:
            return self._execute(write, call)

        self._check()
        return await arun(make(), execute)

    def _execute(self, write: bool, call: Callable[[], Any]) -> Any:
        lock, inside = self._guard.thing
        with lock:
            self._check()
            if not write and not inside.is_free():
                return call()  # a signal handler looks in between
            with inside:
                return call()

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed()

    def close(self) -> None:
        """Refuse further use; what was stored goes with the object."""
        self._closed = True

    async def aclose(self) -> None:
        """Refuse further use."""
        self.close()
