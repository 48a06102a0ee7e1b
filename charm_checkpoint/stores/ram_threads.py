"""Whole threads of the store in memory: listed, copied, deleted, erased and pinned."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import Any

from charm_checkpoint.contract import MessagesRow, Space, ThreadPage, ThreadRow, ThreadState, Usage, WriteResult
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.ram_contents import (
    Erased,
    Messages,
    Namespace,
    Thread,
    hidden_name,
    latest_names,
    thread_row,
    usage_of,
)
from charm_checkpoint.stores.ram_items import call
from charm_checkpoint.stores.shared.names import CHECKPOINTS, identity
from charm_checkpoint.values.sealing import marked


class RamThreads:
    """What the backend in memory holds, and what it does with whole threads; see `RamBackend`."""

    def __init__(self) -> None:
        self._threads: dict[str, Thread] = {}
        self._messages: dict[str, Messages] = {}
        self._pinned: set[str] = set()
        self._erased: dict[bytes, Erased] = {}
        self._key = secrets.token_bytes(16)
        self._commits = itertools.count(1)

    def _thread(self, name: str) -> Thread:
        """Return a thread; one that is not there is new, and goes on from its counters if it was erased."""
        if name in self._threads:
            return self._threads[name]
        erased = self._erased.get(hidden_name(self._key, name))
        return Thread(erased.state) if erased else Thread()

    def _list(self, name: str) -> Messages:
        """Return a message list, as `_thread` does."""
        if name in self._messages:
            return self._messages[name]
        erased = self._erased.get(hidden_name(self._key, name))
        return Messages(erased.messages) if erased else Messages()

    def threads(self, after: Any, size: int) -> Plan[ThreadPage]:
        """Return threads, those changed last first; see `Backend.threads`."""
        page: ThreadPage = yield call(self._list_threads, after, size)
        return page

    def _list_threads(self, after: Any, size: int) -> ThreadPage:
        names = latest_names(self._threads, self._messages) if after is None else after
        rows = [self._thread_row(name) for name in names[:size]]
        return ThreadPage([row for row in rows if row is not None], names[size:] or None)

    def thread_row(self, thread: str) -> Plan[ThreadRow | None]:
        """Return one thread's row; see `TellsThreads`."""
        row: ThreadRow | None = yield call(self._thread_row, thread)
        return row

    def _thread_row(self, name: str) -> ThreadRow | None:
        return thread_row(name, self._threads.get(name), self._messages.get(name), name in self._pinned)

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints; see `Backend.delete_thread`."""
        state: ThreadState = yield call(self._delete_thread, thread)
        return state

    def _delete_thread(self, name: str) -> ThreadState:
        self._pinned.discard(name)
        thread = self._threads.get(name)
        if thread is None:
            return self._thread(name).state
        left = Thread(thread.next_state(sweeps=1, deletes=1))
        self._threads[name] = left
        return left.state

    def erase_thread(self, thread: str, until: int, idle_since: int | None = None) -> Plan[Usage]:
        """Remove everything of a thread; see `Backend.erase_thread`."""
        usage: Usage = yield call(self._erase_thread, thread, until, idle_since)
        return usage

    def _erase_thread(self, name: str, until: int, idle_since: int | None) -> Usage:
        row = self._thread_row(name)
        if idle_since is not None and row is not None and (row.pinned or row.touched_at > idle_since):
            return Usage()
        usage = usage_of(self._threads, self._messages, name)
        hidden, listed = hidden_name(self._key, name), self._list(name).row
        state = ThreadState(listed.state.deletes, listed.state.sweeps + 1, listed.state.seq + 1)
        left = Erased(
            until,
            self._thread(name).next_state(sweeps=1, deletes=1),
            MessagesRow(state, revision=listed.revision + 1),
        )
        if until > 0:
            self._erased[hidden] = left
        else:
            self._erased.pop(hidden, None)
        self._pinned.discard(name)
        self._threads.pop(name, None)
        self._messages.pop(name, None)
        return usage

    def forget_erased(self, now: int) -> Plan[int]:
        """Remove what is kept of erased threads; see `Backend.forget_erased`."""
        forgotten: int = yield call(self._forget_erased, now)
        return forgotten

    def _forget_erased(self, now: int) -> int:
        due = [hidden for hidden, erased in self._erased.items() if erased.until <= now]
        for hidden in due:
            del self._erased[hidden]
        return len(due)

    def pin(self, thread: str, pinned: bool) -> Plan[bool]:
        """Note that a thread is to be kept; see `Backend.pin`."""
        is_there: bool = yield call(self._pin, thread, pinned)
        return is_there

    def _pin(self, name: str, pinned: bool) -> bool:
        if self._thread_row(name) is None:
            return False
        (self._pinned.add if pinned else self._pinned.discard)(name)
        return True

    def space(self) -> Plan[Space]:
        """Tell how many bytes of payload are in memory; see `Backend.space`."""
        usage = yield from self.usage(None)
        return Space(usage.payload_bytes, 0, "memory")

    def compact(self, size: int | None) -> Plan[Space]:
        """Do nothing: what is removed takes no room; see `Backend.compact`."""
        return self.space()

    def copy_thread(self, source: str, target: str) -> Plan[WriteResult]:
        """Copy a thread; see `Backend.copy_thread`."""
        reply: WriteResult = yield call(self._copy_thread, source, target)
        return reply

    def _copy_thread(self, source: str, target: str) -> WriteResult:
        original = self._threads.get(source) or Thread()
        copy = self._thread(target).copy()
        if copy.rows():
            return WriteResult("conflict", copy.state)
        if not original.rows():
            return WriteResult("stored", copy.state)
        owner = identity(b"", CHECKPOINTS, target)
        for ns, namespace in original.namespaces.items():
            ours = copy.namespaces.setdefault(ns, Namespace())  # it may hold writes that came before their checkpoint
            ours.head, ours.marks = namespace.head, dict(namespace.marks)
            for id, bodies in namespace.writes.items():
                ours.writes[id] = [*ours.writes.get(id, ()), *(marked(body, owner) for body in bodies)]
        for row in sorted(original.rows(), key=lambda row: row.seq):
            copy.namespaces[row.ns].rows[row.id] = row._replace(
                thread=target, seq=next(self._commits), body=marked(row.body, owner)
            )
        copy.chunks, copy.notes, copy.touched_at = dict(original.chunks), original.notes, time.time()
        copy.state = copy.next_state()
        self._threads[target] = copy
        return WriteResult("stored", copy.state)

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what is stored; see `Backend.usage`."""
        usage: Usage = yield call(lambda: usage_of(self._threads, self._messages, thread))
        return usage
