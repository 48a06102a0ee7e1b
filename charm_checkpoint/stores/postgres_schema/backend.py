"""The backend of Postgres and Supabase: each of its methods is one call of a function there.

The functions are in sql/functions.sql, those of items in items.py. One call is one statement, one transaction and one
round trip, by whichever road it goes.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Collection, Sequence
from typing import Any

from charm_checkpoint.contract import (
    NESTED,
    TAG_SIZE,
    Capabilities,
    Chunk,
    MessagesRow,
    NewCheckpoint,
    NewMessages,
    NewWrites,
    Page,
    Query,
    Space,
    StoredCheckpoint,
    ThreadPage,
    ThreadRow,
    ThreadState,
    Usage,
    Waiting,
    WriteResult,
)
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.postgres_schema.operations import Call as Call
from charm_checkpoint.stores.postgres_schema.operations import Install as Install
from charm_checkpoint.stores.postgres_schema.operations import Several as Several
from charm_checkpoint.stores.postgres_schema.operations import Version as Version
from charm_checkpoint.stores.postgres_schema.operations import is_once as is_once
from charm_checkpoint.stores.postgres_schema.operations import repeated as repeated
from charm_checkpoint.stores.postgres_schema.removing import PostgresRemoving, state_of
from charm_checkpoint.stores.postgres_schema.schema import migrations
from charm_checkpoint.stores.shared.migrations import pending
from charm_checkpoint.stores.shared.names import (
    CHECKPOINTS,
    MESSAGES,
    checkpoint_keys,
    checkpoint_row,
    checkpoint_texts,
    id_bytes,
    id_text,
    text_bytes,
    thread_row,
)

ROOM = 8 << 20
"""Bytes of chunks sent along with one reply; what does not fit is asked for."""

BATCH = 4096
"""Addresses asked for in one call."""

COUNTED = 20
"""Calls at most, of some 50 ms each, that count threads of before there were counts, each time that is looked for."""


class PostgresBackend(PostgresRemoving):
    """The backend, for one tenant."""

    def __init__(self, tenant: str = "") -> None:
        super().__init__(tenant)
        self.capabilities = Capabilities(durable=True, processes=True, marks_copies=True, latest_first=True)

    def _names(self, thread: str, kind: int = CHECKPOINTS) -> tuple[bytes, bytes, bytes]:
        return self._tenant, self._identity(thread, kind), text_bytes(thread)

    # ------------------------------------------------------------------- setup

    def is_current(self) -> Plan[bool]:
        """Tell whether the schema is up to date; see `Backend.is_current`."""
        version = yield Version()
        return not pending(migrations(), version)

    def setup(self) -> Plan[None]:
        """Create or migrate the schema; see `Backend.setup`."""
        if not (yield from self.is_current()):
            yield Install()

    # ------------------------------------------------------------- checkpoints

    def put(self, new: NewCheckpoint) -> Plan[WriteResult]:
        """Commit a checkpoint; see `Backend.put`."""
        return _result((yield self._put(new)))

    def _put(self, new: NewCheckpoint) -> Call:
        return Call(
            "put",
            (
                *self._names(new.thread), text_bytes(new.ns), id_bytes(new.id), id_bytes(new.parent),
                new.body, new.roots, _tags(new.tags), text_bytes(new.run), *_columns(new.chunks),
                new.base_sweeps, new.seen_deletes, new.on_conflict, new.title, new.note, False,
            ),
        )  # fmt: skip

    def put_writes(self, new: NewWrites) -> Plan[WriteResult]:
        """Append pending writes; see `Backend.put_writes`."""
        return _result((yield self._put_writes(new)))

    def _put_writes(self, new: NewWrites) -> Call:
        place = (*self._names(new.thread), text_bytes(new.ns), id_bytes(new.id))
        return Call("put_writes", (*place, new.body, new.seen_deletes, new.note, False))

    def put_all(self, several: Sequence[NewCheckpoint | NewWrites]) -> Plan[WriteResult]:
        """Put checkpoints and writes; see `PutsSeveral`."""
        calls = [self._put(new) if isinstance(new, NewCheckpoint) else self._put_writes(new) for new in several]
        replies = yield Several(calls)
        return _result(replies[-1])

    def find(self, thread: str, ns: str, id: str | None, known: Collection[bytes] = ()) -> Plan[StoredCheckpoint]:
        """Return one checkpoint; see `Backend.find`."""
        place = (self._tenant, self._identity(thread), text_bytes(ns), id_bytes(id))
        [[*state, head, key, found, parent, conflict, roots, body, writes, addresses, refs, data]] = yield Call(
            "find", (*place, list(known), ROOM)
        )
        row = None if key is None else checkpoint_row(thread, ns, (key, found, parent, conflict, roots, body))
        return StoredCheckpoint(state_of(state), id_text(head), row, writes or (), _chunks(addresses, refs, data))

    def ancestors(self, thread: str, ns: str, id: str, size: int) -> Plan[Sequence[StoredCheckpoint]]:
        """Return a checkpoint and its ancestors; see `Backend.ancestors`."""
        place = (self._tenant, self._identity(thread), text_bytes(ns), id_bytes(id))
        rows = yield Call("ancestors", (*place, size))
        return [
            StoredCheckpoint(ThreadState(*state), None, checkpoint_row(thread, ns, row), writes or ())
            for *state, writes, row in ((*row[:3], row[9], row[3:9]) for row in rows)
        ]

    def page(
        self, query: Query, after: Any, size: int, writes: bool = True, known: Collection[bytes] = ()
    ) -> Plan[Page]:
        """Return matches, latest commit first; see `Backend.page`."""
        before_thread = query.before_thread or query.thread
        rows = yield Call(
            "page",
            (
                self._tenant,
                None if query.thread is None else self._identity(query.thread),
                text_bytes(query.ns), id_bytes(query.id), id_bytes(query.before),
                None if before_thread is None else self._identity(before_thread),
                _wanted(query), after, size + 1, writes, list(known), ROOM,
            ),
        )  # fmt: skip
        chunks = _chunks(*rows[0][12:]) if rows else {}
        items = [
            StoredCheckpoint(
                ThreadState(*state),
                None,
                checkpoint_row(*checkpoint_texts(name, ns), row),
                rest[0] or (),
                chunks,
            )
            for name, ns, state, row, rest in ((row[0], row[1], row[2:5], row[5:11], row[11:]) for row in rows[:size])
        ]
        return Page(items, rows[size - 1][5] if len(rows) > size else None)

    def threads(self, after: Any, size: int) -> Plan[ThreadPage]:
        """Return threads, those changed last first; see `Backend.threads`."""
        rows = yield Call("thread_list", (self._tenant, *(after or (None, None)), size + 1))
        return ThreadPage(_threads(rows[:size]), (rows[size - 1][1], rows[size - 1][0]) if len(rows) > size else None)

    def thread_row(self, thread: str) -> Plan[ThreadRow | None]:
        """Return one thread's row; see `TellsThreads`."""
        rows = yield Call("thread_row", (self._tenant, self._both(thread)))
        return next(iter(_threads(rows)), None)

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[dict[bytes, Chunk]]:
        """Return chunks; see `Backend.chunks`."""
        name = self._identity(thread, MESSAGES if messages else CHECKPOINTS)
        have: dict[bytes, Chunk] = {}
        waiting = list(dict.fromkeys(addresses))
        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            [[found, *columns]] = yield Call("chunks", (self._tenant, name, batch, ROOM))
            sent = _chunks(*columns)
            have.update(sent)
            if len(sent) < (found or 0):
                waiting += [address for address in batch if address not in sent]
        return have

    # ---------------------------------------------------------------- removing

    def runs(self, run_ids: Collection[str]) -> Plan[Sequence[tuple[str, str, str]]]:
        """Return the checkpoints of runs; see `Backend.runs`."""
        rows = yield Call("runs", (self._tenant, [text_bytes(run) for run in run_ids]))
        return checkpoint_keys(rows)

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints; see `Backend.delete_thread`."""
        [state] = yield Call("delete_thread", (self._tenant, self._identity(thread)))
        return state_of(state)

    def erase_thread(self, thread: str, until: int, idle_since: int | None = None) -> Plan[Usage]:
        """Remove everything of a thread; see `Backend.erase_thread`."""
        [counts] = yield Call("erase_thread", (self._tenant, self._both(thread), until, idle_since))
        return Usage(*counts)

    def forget_erased(self, now: int) -> Plan[int]:
        """Remove what is kept of erased threads; see `Backend.forget_erased`.

        Some of the threads that nobody has counted since before that was noted are counted on the way.
        """
        [[threads]] = yield Call("forget_erased", (self._tenant, now))
        yield from self._count(COUNTED)
        return int(threads)

    def _count(self, calls: int) -> Plan[None]:
        """Note how much each thread holds of which nobody knows, in so many calls at most."""
        after = 0
        while after is not None and calls > 0:
            [[after]] = yield Call("count_threads", (self._tenant, after))
            calls -= 1

    def pin(self, thread: str, pinned: bool) -> Plan[bool]:
        """Note that a thread is to be kept; see `Backend.pin`."""
        [[holds]] = yield Call("pin", (self._tenant, *self._both(thread), text_bytes(thread), pinned))
        return bool(holds)

    def _both(self, thread: str) -> list[bytes]:
        return [self._identity(thread, kind) for kind in (CHECKPOINTS, MESSAGES)]

    def copy_thread(self, source: str, target: str) -> Plan[WriteResult]:
        """Copy a thread; see `Backend.copy_thread`."""
        args = (self._tenant, self._identity(source), self._identity(target), text_bytes(target))
        [[outcome, *state]] = yield Call("copy_thread", args, again=False)
        return WriteResult(outcome, state_of(state))

    # ---------------------------------------------------------------- messages

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return a message list; see `Backend.messages`."""
        args = (self._tenant, self._identity(thread, MESSAGES), list(known), ROOM)
        [[*state, body, roots, revision, addresses, refs, data, batches]] = yield Call("message_list", args)
        chunks = _chunks(addresses, refs, data)
        return MessagesRow(state_of(state), body, roots or b"", revision or 0, chunks, batches or ())

    def put_messages(self, new: NewMessages) -> Plan[WriteResult]:
        """Replace a message list; see `Backend.put_messages`."""
        token = os.urandom(8)
        [[outcome, *state]] = yield Call(
            "put_messages",
            (
                *self._names(new.thread, MESSAGES), new.body, new.roots, *_columns(new.chunks),
                new.base_sweeps, new.expect, new.sweep or new.body is None, token,
                None if new.body is None else new.taken,
            ),
        )  # fmt: skip
        return WriteResult(outcome, ThreadState(*state))

    def append_messages(self, thread: str, body: bytes) -> Plan[Waiting]:
        """Put a batch behind a message list; see `Backend.append_messages`."""
        [waiting] = yield Call("append_messages", (*self._names(thread, MESSAGES), body, os.urandom(8)))
        return Waiting(*waiting)

    # -------------------------------------------------------------------- size

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what is stored; see `Backend.usage`."""
        [counts] = yield Call("usage", (self._tenant, None if thread is None else self._both(thread)))
        return Usage(*counts)

    def space(self) -> Plan[Space]:
        """Tell how much room the tables of all tenants take; see `Backend.space`.

        What is free in it nobody can tell cheaply, and none of it is given back: the server uses it again. Who sees one
        tenant's rows alone is told nothing.
        """
        [[taken]] = yield Call("space_taken", ())
        return Space(taken)

    def compact(self, size: int | None) -> Plan[Space]:
        """Tell how much room the tables take: autovacuum makes it free to be used again; see `Backend.compact`.

        Threads that nobody has counted since before that was noted are counted; without a size, all of them.
        """
        yield from self._count(COUNTED if size is not None else sys.maxsize)
        return (yield from self.space())


def _result(reply: Sequence[Any]) -> WriteResult:
    """Return what `put` or `put_writes` replied; the latter knows of no head."""
    [[outcome, deletes, sweeps, seq, *head]] = reply
    return WriteResult(outcome, ThreadState(deletes, sweeps, seq), *((id_text(head[0]), head[1]) if head else ()))


def _wanted(query: Query) -> list[int]:
    """Write a query's tags, and behind the mark of those of nested values the ones of these."""
    return _tags(b"".join((*query.tags, NESTED, *query.nested) if query.nested else query.tags))


def _tags(tags: bytes) -> list[int]:
    return list(struct.unpack(f">{len(tags) // TAG_SIZE}i", tags))


def _columns(chunks: Sequence[Chunk]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    return [chunk.address for chunk in chunks], [chunk.refs for chunk in chunks], [chunk.data for chunk in chunks]


def _threads(rows: Sequence[Any]) -> list[ThreadRow]:
    return [
        thread_row(name, at, checkpoints, has_messages, head, notes, size=held, pinned=pinned)
        for name, at, checkpoints, has_messages, head, *notes, holds, held, pinned in rows
        if holds
    ]


def _chunks(
    addresses: Sequence[bytes] | None, refs: Sequence[bytes] | None, data: Sequence[bytes] | None
) -> dict[bytes, Chunk]:
    columns = zip(addresses or (), refs or (), data or (), strict=True)
    return {address: Chunk(address, named, body) for address, named, body in columns}
