"""Local files: a folder that may be synced, mounted or in git; no database, no server.

    <folder>/.charm/checkpoints/<identity>/log      a thread: see local_thread.py
    <folder>/.charm/memory/<thread>.json            its messages: see local_messages.py

The folder of a thread is named by a hash of the thread's id, which itself is in the log; so any
id will do, and of a deleted thread nothing is left but the hash and its counters. The operations
are calls of functions; a store's own threads make them for async callers.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from charm_checkpoint.backends.hop import Hop
from charm_checkpoint.backends.local_contents import (
    Contents,
    Read,
    Row,
    Space,
    Span,
    list_entry,
    put_entry,
    writes_entry,
)
from charm_checkpoint.backends.local_folder import Disk, translate
from charm_checkpoint.backends.local_messages import MessageFiles
from charm_checkpoint.backends.local_thread import Change
from charm_checkpoint.backends.local_threads import Listing, Threads
from charm_checkpoint.backends.marking import addresses
from charm_checkpoint.backends.names import CHECKPOINTS, MESSAGES
from charm_checkpoint.config import Location, Option, choice, duration, text
from charm_checkpoint.contract import (
    Abilities,
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
from charm_checkpoint.errors import ConfigError, StoreClosed
from charm_checkpoint.plan import MakePlan, Plan, run
from charm_checkpoint.store import Store

T = TypeVar("T")

OPTIONS = (
    Option(
        "synchronous",
        choice("full", "normal"),
        "full",
        "full: every commit is on disk; normal: power loss may undo the last ones",
    ),
    Option("timeout", duration, 30.0, "how long to wait for another writer"),
    Option(
        "memory_file",
        text,
        "",
        "one file for the messages of every thread, instead of one each",
        env="CHARM_MEMORY_FILE",
    ),
)
"""What a URL's query, a config or keywords may say about a store of local files."""

_DRIVE = re.compile(r"/[A-Za-z]:(?:/|$)")
_NEW = Row(0, "", "", None, None, b"", b"", None, Span(0, 0))


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open the store in a folder, which is made when something is written.

    A URL that names no folder, ``file://``, means that of Charm's own local provider:
    ``$CHARM_WORKSPACE_DIR``, or ``workspace`` in the current folder.
    """
    folder = folder_of(location)
    disk = Disk(options["synchronous"] == "full")
    files = MessageFiles(folder / ".charm" / "memory", options["memory_file"], disk, options["timeout"])
    threads = Threads(folder / ".charm" / "checkpoints", disk, options["timeout"])
    return Store(LocalBackend(threads, files), LocalDriver(folder), files)


def folder_of(location: Location) -> Path:
    """Return the folder of a ``file`` URL, absolute; raises `ConfigError` for a host that is not this one."""
    host = ",".join(name for name, _ in location.hosts)
    if location.user is not None or location.port is not None or host not in ("", ".", "..", "localhost"):
        raise ConfigError(
            "a file URL has no host: write file:///abs/folder, or file://./folder from the current folder on"
        )
    path = location.path
    if host in (".", ".."):
        return Path(os.path.abspath(host + path))
    if path in ("", "/"):
        return Path(os.environ.get("CHARM_WORKSPACE_DIR") or "workspace").absolute()
    return Path(path[1:] if _DRIVE.match(path) else path)


def Call(function: Callable[..., T], *args: Any) -> Plan[T]:
    """Make the plan whose one operation is a call."""
    result: T = yield partial(function, *args)
    return result


class LocalBackend:
    """The backend. Each method is one plan of one call."""

    abilities = Abilities(durable=True, processes=True)

    def __init__(self, threads: Threads, files: MessageFiles) -> None:
        self._threads = threads
        self._files = files

    def is_current(self) -> Plan[bool]:
        """Say yes: folders are made when something is written, so that reading leaves no trace."""
        return Call(lambda: True)

    def setup(self) -> Plan[None]:
        """Make the folder; see `Backend.setup`."""
        return Call(self._threads.make)

    # ---------------------------------------------------------------- checkpoints

    def put(self, new: NewCheckpoint) -> Plan[Reply]:
        """Commit a checkpoint; see `Backend.put`."""
        return Call(self._threads.change, CHECKPOINTS, new.thread, partial(self._put, new))

    def _put(self, new: NewCheckpoint, held: Contents, read: Read) -> Change[Reply]:
        space = held.spaces.get(new.ns) or Space()
        if _deleted(held, space, new.seen_deletes, new.parent):
            return Change(Reply("deleted", held.state, space.head))
        if _is_stale(held, new):
            return Change(Reply("stale", held.state, space.head))
        earlier = space.rows.get(new.id)
        conflict = new.on_conflict != "allow" and earlier is None and space.head not in (None, new.parent)
        if conflict and new.on_conflict == "raise":
            return Change(Reply("conflict", held.state, space.head, conflict=True))
        state = held.state._replace(seq=held.state.seq + 1)
        row = Row(
            earlier.commit if earlier else state.seq, new.ns, new.id, new.parent,
            earlier.conflict if earlier else space.head if conflict else None,
            new.roots, new.tags, new.run, _NEW.body,
        )  # fmt: skip
        chunks = [chunk for chunk in new.chunks if chunk.address not in held.chunks]
        entry = put_entry(self._threads.host, state.seq, row, new.body, chunks)
        return Change(Reply("stored", state, space.head, conflict=conflict), [entry], _named(held, new.thread))

    def put_writes(self, new: NewWrites) -> Plan[Reply]:
        """Append pending writes; see `Backend.put_writes`."""
        return Call(self._threads.change, CHECKPOINTS, new.thread, partial(self._put_writes, new))

    def _put_writes(self, new: NewWrites, held: Contents, read: Read) -> Change[Reply]:
        space = held.spaces.get(new.ns) or Space()
        if _deleted(held, space, new.seen_deletes, new.id):
            return Change(Reply("deleted", held.state, space.head))
        state = held.state._replace(seq=held.state.seq + 1)
        entry = writes_entry(self._threads.host, state.seq, new.ns, new.id, [new.body])
        return Change(Reply("stored", state, space.head), [entry], _named(held, new.thread))

    def find(self, thread: str, ns: str, id: str | None, known: Collection[bytes] = ()) -> Plan[Found]:
        """Return one checkpoint; see `Backend.find`."""
        return Call(self._threads.read, CHECKPOINTS, thread, partial(_find, ns, id))

    def ancestors(self, thread: str, ns: str, id: str, size: int) -> Plan[Sequence[Found]]:
        """Return a checkpoint and its ancestors; see `Backend.ancestors`."""
        return Call(self._threads.read, CHECKPOINTS, thread, partial(_ancestors, ns, id, size))

    def page(
        self, query: Query, after: Any, size: int, writes: bool = True, known: Collection[bytes] = ()
    ) -> Plan[Page]:
        """Return matches, latest commit first, of the threads last changed first; see `Backend.page`."""
        return Call(lambda: Listing(self._threads, query, writes).page(after, size))

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[Mapping[bytes, Chunk]]:
        """Return chunks; see `Backend.chunks`."""
        return Call(self._threads.read, MESSAGES if messages else CHECKPOINTS, thread, partial(_chunks, addresses))

    # ---------------------------------------------------------------- threads

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[Reply]:
        """Remove checkpoints; see `Backend.remove`."""
        return Call(self._threads.change, CHECKPOINTS, thread, partial(self._remove, doomed, expect))

    def _remove(
        self, doomed: Collection[tuple[str, str]], expect: int | None, held: Contents, read: Read
    ) -> Change[Reply]:
        if held.is_new:
            return Change(Reply("stored", held.state))
        if expect is not None and expect != held.state.seq:
            return Change(Reply("changed", held.state))
        left = held.copy()
        for ns, id in doomed:
            left.drop(ns, id)
        left.settle({ns for ns, _ in doomed})
        left.sweep()
        return Change(Reply("stored", left.count(self._threads.host, sweeps=1)), instead=left)

    def runs(self, run_ids: Collection[str]) -> Plan[Sequence[tuple[str, str, str]]]:
        """Return the checkpoints of runs, looking through all threads; see `Backend.runs`."""
        return Call(self._runs, frozenset(run_ids))

    def _runs(self, run_ids: frozenset[str]) -> Sequence[tuple[str, str, str]]:
        def of(held: Contents, read: Read) -> list[tuple[str, str, str]]:
            return [(held.thread or "", row.ns, row.id) for row in held.rows() if row.run in run_ids]

        return [place for name in self._threads.names() for place in self._threads.look(name, of)]

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints; see `Backend.delete_thread`."""
        return Call(partial(self._threads.change, regardless=True), CHECKPOINTS, thread, self._delete)

    def _delete(self, held: Contents, read: Read) -> Change[ThreadState]:
        if held.is_new:
            return Change(held.state)
        left = Contents(state=held.state, hosts=dict(held.hosts))
        return Change(left.count(self._threads.host, deletes=1, sweeps=1), instead=left)

    def copy_thread(self, source: str, target: str) -> Plan[Reply]:
        """Copy a thread; see `Backend.copy_thread`."""
        return Call(self._copy, source, target)

    def _copy(self, source: str, target: str) -> Reply:
        with self._threads.snapshot(CHECKPOINTS, source) as (original, read):
            return self._threads.change(CHECKPOINTS, target, partial(self._copied, original, read, target))

    def _copied(
        self, original: Contents, read_original: Read, target: str, held: Contents, read: Read
    ) -> Change[Reply]:
        if any(space.rows for space in held.spaces.values()):
            return Change(Reply("conflict", held.state))
        rows = sorted(original.rows(), key=lambda row: row.commit)
        if not rows:
            return Change(Reply("stored", held.state))
        copy = replace(held.copy(), thread=target)
        first = copy.state.seq + 1
        commits = {row.commit: number for number, row in enumerate(rows, first)}
        state = copy.count(self._threads.host, changes=len(rows))
        return Change(Reply("stored", state), original.entries(read_original, commits), copy)

    # ---------------------------------------------------------------- messages

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return a message list that `put_messages` stored; see `Backend.messages`."""
        return Call(self._threads.read, MESSAGES, thread, _messages)

    def put_messages(self, new: NewMessages) -> Plan[Reply]:
        """Replace a message list; see `Backend.put_messages`."""
        return Call(self._threads.change, MESSAGES, new.thread, partial(self._put_messages, new))

    def _put_messages(self, new: NewMessages, held: Contents, read: Read) -> Change[Reply]:
        if new.expect is not None and new.expect != held.revision:
            return Change(Reply("changed", held.state))
        if _is_stale(held, new):
            return Change(Reply("stale", held.state))
        chunks = [chunk for chunk in new.chunks if chunk.address not in held.chunks]
        revision, host = held.revision + 1, self._threads.host
        if not new.sweep and new.body is not None:
            state = held.state._replace(seq=held.state.seq + 1)
            entry = list_entry(host, state.seq, revision, new.roots, new.body, chunks)
            return Change(Reply("stored", state), [entry], _named(held, new.thread))
        # What is new is not swept: a chunk that the list does not reach would not be sent.
        left = replace(held.copy(), thread=None if new.body is None else new.thread, revision=revision)
        left.body, left.roots = None, new.roots
        left.sweep({chunk.address: chunk.refs for chunk in chunks})
        state = left.count(host, sweeps=1)
        entries = [] if new.body is None else [list_entry(None, 0, revision, new.roots, new.body, chunks)]
        return Change(Reply("stored", state), entries, left)

    # ---------------------------------------------------------------- usage

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what is stored, message files included; see `Backend.usage`."""
        return Call(self._usage, thread)

    def _usage(self, thread: str | None) -> Usage:
        named = self._threads.names() if thread is None else self._threads.names_of(thread)
        parts = [self._threads.look(name, lambda held, _: (held.thread, held.usage())) for name in named]
        files = self._files.sizes(thread)
        counted = [usage for _, usage in parts]
        threads = {name for name, usage in parts if usage.threads and name is not None}
        others = set(files).difference(*(self._files.paths(name) for name in threads))
        return Usage(
            len(threads) + len(others),
            sum(usage.checkpoints for usage in counted),
            sum(usage.writes for usage in counted),
            sum(usage.chunks for usage in counted),
            sum(usage.payload_bytes for usage in counted) + sum(files.values()),
        )


def _named(held: Contents, thread: str) -> Contents | None:
    """Return what to begin a thread's log with, None if it has its name already."""
    return replace(held, thread=thread) if held.thread is None else None


def _is_stale(held: Contents, new: NewCheckpoint | NewMessages) -> bool:
    """Tell whether something that was left out is not there.

    The counter does not tell all: a log may have been replaced by another version from elsewhere.
    """
    if new.base_sweeps is None:
        return False
    sent = {chunk.address for chunk in new.chunks}
    named = addresses(b"".join((new.roots, *(chunk.refs for chunk in new.chunks))))
    return new.base_sweeps != held.state.sweeps or any(name not in held.chunks and name not in sent for name in named)


def _deleted(held: Contents, space: Space, seen: int | None, id: str | None) -> bool:
    if seen is not None:
        return seen != held.state.deletes
    return held.state.deletes > 0 and id is not None and id not in space.rows


def _find(ns: str, id: str | None, held: Contents, read: Read) -> Found:
    space = held.spaces.get(ns) or Space()
    return held.found(space.rows.get(space.head or "" if id is None else id), space.head, read)


def _ancestors(ns: str, id: str, size: int, held: Contents, read: Read) -> Sequence[Found]:
    line: dict[str, Found] = {}
    step: str | None = id
    while step is not None and step not in line and len(line) < size:
        found = _find(ns, step, held, read)
        if found.row is None:
            break
        line[step] = found
        step = found.row.parent
    return list(line.values())


def _chunks(addresses: Collection[bytes], held: Contents, read: Read) -> Mapping[bytes, Chunk]:
    pieces = {address: held.chunks[address] for address in addresses if address in held.chunks}
    return {address: Chunk(address, piece.refs, read(piece.span)) for address, piece in pieces.items()}


def _messages(held: Contents, read: Read) -> MessagesRow:
    body = None if held.body is None else read(held.body)
    return MessagesRow(held.state, body, held.roots, held.revision)


class LocalDriver:
    """Runs plans: blocking ones where they are called, async ones in the store's own threads for writes and reads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closed = False
        self._hops = {True: Hop("charm-files-write"), False: Hop("charm-files-read")}

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan; each call of a plan is a transaction."""
        if self._closed:
            raise StoreClosed()
        try:
            return run(make(), lambda call: call())
        except OSError as error:
            raise translate(self._folder, error, write=write) from error

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan in the store's own thread for its kind."""
        return await self._hops[write].run(lambda: self.run(make, write=write))

    def close(self) -> None:
        """Refuse further use; what is at work is done to its end first."""
        for hop in self._hops.values():
            hop.stop()
        self._closed = True

    async def aclose(self) -> None:
        """Refuse further use, without blocking the event loop."""
        await asyncio.to_thread(self.close)
