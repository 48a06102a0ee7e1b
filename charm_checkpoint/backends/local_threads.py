"""All threads of a folder: which there are, and a listing over them."""

from __future__ import annotations

import os
import platform
import re
import weakref
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from charm_checkpoint.backends.local_contents import Contents, Read, Row
from charm_checkpoint.backends.local_folder import Disk
from charm_checkpoint.backends.local_thread import LOG, Decide, ThreadFolder
from charm_checkpoint.backends.marking import has_tags
from charm_checkpoint.backends.names import CHECKPOINTS, MESSAGES, identity
from charm_checkpoint.cache import Cache
from charm_checkpoint.contract import Found, Page, Query

T = TypeVar("T")

KEPT = 400_000
"""Checkpoints, writes and chunks of which it is kept in memory where they are: at some 300 bytes each."""

_NAME = re.compile(r"[0-9a-f]{32}")

_all: weakref.WeakSet[Threads] = weakref.WeakSet()


class Threads:
    """The threads in a folder, by kind and id, or by the name of their own folder."""

    def __init__(self, folder: Path, disk: Disk, timeout: float) -> None:
        self._folder = folder
        self._disk = disk
        self._timeout = timeout
        self.host = _host(folder)
        self.start_over()
        _all.add(self)

    def start_over(self) -> None:
        """Forget all that was read: in a forked child, a lock on it may be held by a thread that is not there."""
        self._known: Cache[str, ThreadFolder] = Cache(KEPT)

    def make(self) -> None:
        """Make the folder."""
        self._disk.make_folder(self._folder)

    def read(self, kind: int, thread: str, view: Callable[[Contents, Read], T]) -> T:
        """Return what ``view`` makes of a thread's contents."""
        return self.look(name_of(kind, thread), view)

    def look(self, name: str, view: Callable[[Contents, Read], T]) -> T:
        """Return what ``view`` makes of the contents of a thread given by its folder's name."""
        return self._with(name, lambda thread: thread.read(view))

    def change(self, kind: int, thread: str, decide: Decide[T], *, regardless: bool = False) -> T:
        """Change a thread; see `ThreadFolder.change`."""
        return self._with(name_of(kind, thread), lambda held: held.change(decide, regardless=regardless))

    def snapshot(self, kind: int, thread: str) -> AbstractContextManager[tuple[Contents, Read]]:
        """Lend a copy of a thread's contents."""
        return self._with(name_of(kind, thread), lambda held: held.snapshot())

    def _with(self, name: str, use: Callable[[ThreadFolder], T]) -> T:
        thread = self._known.get(name) or ThreadFolder(self._folder / name, self._disk, self._timeout)
        before = thread.weight if thread.is_kept else 0
        try:
            return use(thread)
        finally:
            grown = thread.weight - before
            if grown > 0:
                # However large it is, to read it again for every call would be worse.
                thread.is_kept = True
                self._known.put(name, thread, min(grown, KEPT // 2))

    def names(self) -> list[str]:
        """Return the names of all threads' folders, those last changed first."""
        try:
            entries = [entry for entry in os.scandir(self._folder) if _NAME.fullmatch(entry.name)]
        except FileNotFoundError:
            return []
        return [name for _, name in sorted(map(self._changed, entries), reverse=True)]

    def _changed(self, entry: os.DirEntry[str]) -> tuple[int, str]:
        try:
            return os.stat(os.path.join(entry.path, LOG)).st_mtime_ns, entry.name
        except FileNotFoundError:
            return 0, entry.name

    def names_of(self, thread: str) -> list[str]:
        """Return the names of the folders that a thread may have."""
        return [name_of(kind, thread) for kind in (CHECKPOINTS, MESSAGES)]


def name_of(kind: int, thread: str) -> str:
    """Return the name of a thread's folder, which tells nothing of the thread's own."""
    return identity(b"", kind, thread).hex()


def _host(folder: Path) -> bytes:
    """Return what tells this host's view of a folder from others': 8 bytes."""
    seed = "\0".join((platform.node(), _machine(), os.path.realpath(folder)))
    return blake2b(seed.encode("utf-8", "surrogateescape"), digest_size=8).digest()


def _machine() -> str:
    try:
        return Path("/etc/machine-id").read_text()
    except OSError:  # only some systems have one
        return ""


def _after_fork_in_child() -> None:
    for threads in list(_all):
        threads.start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _Place(NamedTuple):
    """Where a listing goes on: in the first of these threads, below a commit number if one is given."""

    names: Collection[str]
    below: int | None
    by_id: bool


class Listing:
    """The checkpoints that match a query, thread by thread, in pages."""

    def __init__(self, threads: Threads, query: Query, writes: bool) -> None:
        self._threads = threads
        self._query = query
        self._writes = writes

    def page(self, after: Any, size: int) -> Page:
        """Return the next ``size`` matches."""
        names, below, by_id = after or self._begin()
        items: list[Found] = []
        left = list(names)
        while left:
            wanted = size - len(items)
            part = self._threads.look(left[0], lambda held, read: self._part(held, read, below, by_id, wanted + 1))  # noqa: B023
            items += part[:wanted]
            if len(part) > wanted:
                last = part[wanted - 1].row if wanted else None
                return Page(items, _Place(left, last.seq if last else below, by_id))
            left, below = left[1:], None
        return Page(items)

    def _begin(self) -> _Place:
        """Find the first thread, and the checkpoint that all come before."""
        query = self._query
        names = self._threads.names() if query.thread is None else [name_of(CHECKPOINTS, query.thread)]
        if query.before is None:
            return _Place(names, None, False)
        bound = name_of(CHECKPOINTS, query.before_thread or query.thread or "")
        below = self._threads.look(bound, self._bound)
        if below is None or bound not in names:
            return _Place(names, None, True)
        return _Place(names[names.index(bound) :], below, False)

    def _bound(self, held: Contents, read: Read) -> int | None:
        return max((row.commit for row in held.rows() if row.id == self._query.before), default=None)

    def _part(self, held: Contents, read: Read, below: int | None, by_id: bool, size: int) -> list[Found]:
        rows = (row for row in held.rows() if (below is None or row.commit < below) and self._matches(row, by_id))
        heads = {ns: space.head for ns, space in held.spaces.items()}
        return [held.found(row, heads[row.ns], read, writes=self._writes) for row in islice(rows, size)]

    def _matches(self, row: Row, by_id: bool) -> bool:
        query = self._query
        return (
            (query.ns is None or row.ns == query.ns)
            and (query.id is None or row.id == query.id)
            and has_tags(row.tags, query.tags)
            and not (by_id and query.before is not None and row.id >= query.before)
        )
