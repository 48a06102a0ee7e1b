"""The contract in its plainest form: a store in this process's memory.

It is the reference that other stores are tested against, and good for tests and notebooks.
Its one operation is `Call`: a function, run under the store's lock.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from charm_checkpoint.backends.marking import has_tags, unreached
from charm_checkpoint.config import Location, Option
from charm_checkpoint.contract import (
    Abilities,
    CheckpointRow,
    Chunk,
    Found,
    MessagesRow,
    NewCheckpoint,
    NewMessages,
    NewWrites,
    Page,
    Query,
    Reply,
    ThreadState,
    Usage,
)
from charm_checkpoint.errors import StoreClosed
from charm_checkpoint.plan import MakePlan, Plan, run
from charm_checkpoint.store import Store

T = TypeVar("T")

OPTIONS: tuple[Option, ...] = ()


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open a new, empty store; two calls share nothing."""
    return Store(Ram(), RamDriver())


@dataclass
class _Space:
    """One namespace of a thread: checkpoints by id in commit order, and writes by checkpoint id."""

    head: str | None = None
    rows: dict[str, CheckpointRow] = field(default_factory=dict)
    marks: dict[str, tuple[bytes, str | None]] = field(default_factory=dict)
    writes: dict[str, list[bytes]] = field(default_factory=dict)


@dataclass
class _Thread:
    """A thread that has, or had, checkpoints."""

    state: ThreadState = field(default_factory=ThreadState)
    spaces: dict[str, _Space] = field(default_factory=dict)
    chunks: dict[bytes, Chunk] = field(default_factory=dict)

    def touch(self, *, sweeps: int = 0, deletes: int = 0) -> ThreadState:
        old = self.state
        self.state = ThreadState(old.deletes + deletes, old.sweeps + sweeps, old.seq + 1)
        return self.state

    def rows(self) -> list[CheckpointRow]:
        return [row for space in self.spaces.values() for row in space.rows.values()]

    def sweep(self, roots: list[bytes]) -> None:
        for name in unreached({name: chunk.refs for name, chunk in self.chunks.items()}, roots):
            del self.chunks[name]


@dataclass
class _Messages:
    """A thread's message list, with chunks of its own."""

    row: MessagesRow = field(default_factory=lambda: MessagesRow(ThreadState()))
    chunks: dict[bytes, Chunk] = field(default_factory=dict)


def Call(function: Callable[..., T], *args: Any) -> Callable[[], T]:
    """Make the operation that calls ``function``."""
    return partial(function, *args)


class Ram:
    """The backend. Each method is one plan of one call."""

    abilities = Abilities(durable=False, processes=False)

    def __init__(self) -> None:
        self._threads: dict[str, _Thread] = {}
        self._messages: dict[str, _Messages] = {}
        self._commits = itertools.count(1)

    def is_current(self) -> Plan[bool]:
        """Say yes: there is no schema."""
        current: bool = yield Call(lambda: True)
        return current

    def setup(self) -> Plan[None]:
        """Do nothing: there is no schema."""
        yield Call(lambda: None)

    def put(self, new: NewCheckpoint) -> Plan[Reply]:
        """Commit a checkpoint; see `Backend.put`."""
        reply: Reply = yield Call(self._put, new)
        return reply

    def _put(self, new: NewCheckpoint) -> Reply:
        thread = self._threads.get(new.thread) or _Thread()
        space = thread.spaces.get(new.ns) or _Space()
        if _deleted(thread, space, new.seen_deletes, new.parent):
            return Reply("deleted", thread.state, space.head)
        if new.base_sweeps is not None and new.base_sweeps != thread.state.sweeps:
            return Reply("stale", thread.state, space.head)
        conflict = _conflict(space, new)
        if conflict and new.on_conflict == "raise":
            return Reply("conflict", thread.state, space.head, conflict=True)
        head = space.head
        self._threads[new.thread] = thread
        thread.spaces[new.ns] = space
        thread.chunks.update({chunk.address: chunk for chunk in new.chunks if chunk.address not in thread.chunks})
        self._store(space, new, head if conflict else None)
        return Reply("stored", thread.touch(), head, conflict=conflict)

    def _store(self, space: _Space, new: NewCheckpoint, conflict: str | None) -> None:
        earlier = space.rows.get(new.id)
        if earlier is not None:
            seq, conflict = earlier.seq, earlier.conflict
        else:
            seq, space.head = next(self._commits), new.id
        space.rows[new.id] = CheckpointRow(new.thread, new.ns, new.id, new.parent, seq, new.body, new.roots, conflict)
        space.marks[new.id] = (new.tags, new.run)

    def put_writes(self, new: NewWrites) -> Plan[Reply]:
        """Append pending writes; see `Backend.put_writes`."""
        reply: Reply = yield Call(self._put_writes, new)
        return reply

    def _put_writes(self, new: NewWrites) -> Reply:
        thread = self._threads.get(new.thread) or _Thread()
        space = thread.spaces.get(new.ns) or _Space()
        if _deleted(thread, space, new.seen_deletes, new.id):
            return Reply("deleted", thread.state, space.head)
        self._threads[new.thread] = thread
        thread.spaces[new.ns] = space
        space.writes.setdefault(new.id, []).append(new.body)
        return Reply("stored", thread.touch(), space.head)

    def find(self, thread: str, ns: str, id: str | None, known: Collection[bytes] = ()) -> Plan[Found]:
        """Return one checkpoint; see `Backend.find`."""
        found: Found = yield Call(self._find, thread, ns, id)
        return found

    def _find(self, name: str, ns: str, id: str | None) -> Found:
        thread = self._threads.get(name) or _Thread()
        space = thread.spaces.get(ns) or _Space()
        row = space.rows.get(space.head if id is None and space.head else id or "")
        writes = list(space.writes.get(row.id, ())) if row else []
        return Found(thread.state, space.head, row, writes)

    def ancestors(self, thread: str, ns: str, id: str, size: int) -> Plan[Sequence[Found]]:
        """Return a checkpoint and its ancestors; see `Backend.ancestors`."""
        line: Sequence[Found] = yield Call(self._ancestors, thread, ns, id, size)
        return line

    def _ancestors(self, thread: str, ns: str, id: str, size: int) -> Sequence[Found]:
        line: list[Found] = []
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
        page: Page = yield Call(self._page, query, after, size, writes)
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
        tags, _ = self._threads[row.thread].spaces[row.ns].marks[row.id]
        return (
            (query.ns is None or row.ns == query.ns)
            and (query.id is None or row.id == query.id)
            and has_tags(tags, query.tags)
            and (query.before is None or self._precedes(row, query.before_thread or row.thread, query.before))
        )

    def _precedes(self, row: CheckpointRow, thread: str, before: str) -> bool:
        held = self._threads.get(thread) or _Thread()
        bound = max((other.seq for other in held.rows() if other.id == before), default=None)
        return row.id < before if bound is None else row.seq < bound

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[Mapping[bytes, Chunk]]:
        """Return chunks; see `Backend.chunks`."""
        chunks: Mapping[bytes, Chunk] = yield Call(self._chunks, thread, addresses, messages)
        return chunks

    def _chunks(self, name: str, addresses: Collection[bytes], messages: bool) -> Mapping[bytes, Chunk]:
        held = self._messages.get(name, _Messages()) if messages else self._threads.get(name, _Thread())
        return {address: held.chunks[address] for address in addresses if address in held.chunks}

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[Reply]:
        """Remove checkpoints; see `Backend.remove`."""
        reply: Reply = yield Call(self._remove, thread, doomed, expect)
        return reply

    def _remove(self, name: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Reply:
        thread = self._threads.get(name)
        if thread is None:
            return Reply("stored", ThreadState())
        if expect is not None and expect != thread.state.seq:
            return Reply("changed", thread.state)
        for ns, id in doomed:
            space = thread.spaces.get(ns, _Space())
            for kept in (space.rows, space.marks, space.writes):
                kept.pop(id, None)
        for ns in {ns for ns, _ in doomed} & set(thread.spaces):
            space = thread.spaces[ns]
            space.head = max(space.rows.values(), key=lambda row: row.seq).id if space.rows else None
            if not space.rows:
                del thread.spaces[ns]
        thread.sweep([row.roots for row in thread.rows()])
        return Reply("stored", thread.touch(sweeps=1))

    def runs(self, run_ids: Collection[str]) -> Plan[Sequence[tuple[str, str, str]]]:
        """Return the checkpoints of runs; see `Backend.runs`."""
        found: Sequence[tuple[str, str, str]] = yield Call(self._runs, run_ids)
        return found

    def _runs(self, run_ids: Collection[str]) -> Sequence[tuple[str, str, str]]:
        return [
            (name, ns, id)
            for name, thread in self._threads.items()
            for ns, space in thread.spaces.items()
            for id, (_, run_id) in space.marks.items()
            if run_id in run_ids
        ]

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints; see `Backend.delete_thread`."""
        state: ThreadState = yield Call(self._delete_thread, thread)
        return state

    def _delete_thread(self, name: str) -> ThreadState:
        thread = self._threads.get(name)
        if thread is None:
            return ThreadState()
        thread.spaces.clear()
        thread.chunks.clear()
        return thread.touch(sweeps=1, deletes=1)

    def copy_thread(self, source: str, target: str) -> Plan[Reply]:
        """Copy a thread; see `Backend.copy_thread`."""
        reply: Reply = yield Call(self._copy_thread, source, target)
        return reply

    def _copy_thread(self, source: str, target: str) -> Reply:
        original = self._threads.get(source) or _Thread()
        copy = self._threads.get(target) or _Thread()
        if copy.rows():
            return Reply("conflict", copy.state)
        if not original.rows():
            return Reply("stored", copy.state)
        for ns, space in original.spaces.items():
            ours = copy.spaces.setdefault(ns, _Space())  # it may hold writes that came before their checkpoint
            ours.head, ours.marks = space.head, dict(space.marks)
            for id, bodies in space.writes.items():
                ours.writes.setdefault(id, []).extend(bodies)
        for row in sorted(original.rows(), key=lambda row: row.seq):
            copy.spaces[row.ns].rows[row.id] = row._replace(thread=target, seq=next(self._commits))
        copy.chunks = dict(original.chunks)
        self._threads[target] = copy
        return Reply("stored", copy.touch())

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return a message list; see `Backend.messages`."""
        row: MessagesRow = yield Call(lambda: self._messages.get(thread, _Messages()).row)
        return row

    def put_messages(self, new: NewMessages) -> Plan[Reply]:
        """Replace a message list; see `Backend.put_messages`."""
        reply: Reply = yield Call(self._put_messages, new)
        return reply

    def _put_messages(self, new: NewMessages) -> Reply:
        held = self._messages.get(new.thread) or _Messages()
        old = held.row.state
        if new.expect is not None and new.expect != held.row.revision:
            return Reply("changed", old)
        if new.base_sweeps is not None and new.base_sweeps != old.sweeps:
            return Reply("stale", old)
        sweep = new.sweep or new.body is None
        state = ThreadState(old.deletes, old.sweeps + sweep, old.seq + 1)
        held.row = MessagesRow(state, new.body, new.roots, held.row.revision + 1)
        held.chunks.update({chunk.address: chunk for chunk in new.chunks})
        if sweep:
            for name in unreached({name: chunk.refs for name, chunk in held.chunks.items()}, [new.roots]):
                del held.chunks[name]
        self._messages[new.thread] = held
        return Reply("stored", state)

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what is stored; see `Backend.usage`."""
        usage: Usage = yield Call(self._usage, thread)
        return usage

    def _usage(self, name: str | None) -> Usage:
        threads = [held for key, held in self._threads.items() if name in (None, key)]
        messages = [held for key, held in self._messages.items() if name in (None, key) and held.row.body is not None]
        rows = [row for thread in threads for row in thread.rows()]
        spaces = [space for t in threads for space in t.spaces.values()]
        writes = [body for space in spaces for some in space.writes.values() for body in some]
        chunks = [c for t in threads for c in t.chunks.values()] + [c for m in messages for c in m.chunks.values()]
        bodies = [row.body for row in rows] + [m.row.body or b"" for m in messages]
        payload = [*bodies, *writes, *(c.data for c in chunks)]
        names = {key for key, held in self._threads.items() if held.spaces and name in (None, key)}
        names |= {key for key, held in self._messages.items() if held.row.body is not None and name in (None, key)}
        return Usage(len(names), len(rows), len(writes), len(chunks), sum(map(len, payload)))


def _deleted(thread: _Thread, space: _Space, seen: int | None, id: str | None) -> bool:
    if seen is not None:
        return seen != thread.state.deletes
    return thread.state.deletes > 0 and id is not None and id not in space.rows


def _conflict(space: _Space, new: NewCheckpoint) -> bool:
    return (
        new.on_conflict != "allow"
        and space.head is not None
        and space.head not in (new.parent, new.id)
        and new.id not in space.rows
    )


class RamDriver:
    """Runs a whole plan under one lock; nothing here waits for anything else."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._closed = False

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan under the lock."""
        with self._lock:
            if self._closed:
                raise StoreClosed()
            return run(make(), lambda call: call())

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan under the lock, in place: it takes microseconds."""
        return self.run(make, write=write)

    def close(self) -> None:
        """Refuse further use; what was stored goes with the object."""
        self._closed = True

    async def aclose(self) -> None:
        """Refuse further use."""
        self.close()
