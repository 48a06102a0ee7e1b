"""What is in a folder as a whole: its threads, and how much they hold. What is damaged hides nothing else."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from charm_checkpoint.contract import Page, Query, StoredCheckpoint, ThreadPage, ThreadRow, Usage
from charm_checkpoint.errors import SchemaMismatch, StoreCorrupt
from charm_checkpoint.runtime.regular_files import open_regular, refuse_link
from charm_checkpoint.stores.files.contents import Contents, Namespace, Row, may_hold
from charm_checkpoint.stores.files.folder import raise_if_lost
from charm_checkpoint.stores.files.log import FIRST, Scan
from charm_checkpoint.stores.files.messages import MessageFile, MessageFiles
from charm_checkpoint.stores.files.thread import LOG
from charm_checkpoint.stores.files.threads import Threads, name_of
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES
from charm_checkpoint.stores.shared.tags import has_tags

log = logging.getLogger("charm_checkpoint")

UNREADABLE = (SchemaMismatch, StoreCorrupt, OSError)
"""What comes of one thread's log, beside damage that its contents tell of."""


GLANCE = 1 << 18
"""Bytes of a log that is looked through for tags; what is longer is taken in, and known from then on."""


class Part(NamedTuple):
    """What a listing knows of a thread before it looks: when it changed, its log's folder, its message file."""

    changed: int
    folder: str | None
    file: MessageFile | None

    @property
    def place(self) -> tuple[int, bytes, bytes]:
        """Where it comes in a listing: many may have changed at the same time, as files do that were unpacked."""
        file = b"" if self.file is None else os.fsencode(self.file.path.name)
        return self.changed, os.fsencode(self.folder or ""), file


class Survey:
    """Looks at all threads of a folder, by their logs and message files."""

    def __init__(self, threads: Threads, files: MessageFiles) -> None:
        self._threads = threads
        self._files = files

    def _look(self) -> None:
        raise_if_lost(self._threads.watch, self._files.watch)

    # ---------------------------------------------------------------- threads

    def page(self, after: Any, size: int) -> ThreadPage:
        """Return the next threads; see `Backend.threads`."""
        self._look()
        parts = after if isinstance(after, list) else self._parts(after)
        rows = [self._row(part) for part in parts[:size]]
        rest = parts[size:]
        return ThreadPage([row for row in rows if row is not None], rest or None, rest[0].place if rest else None)

    def _parts(self, since: tuple[int, bytes, bytes] | None = None) -> list[Part]:
        """Return all that may be a thread, what changed last first, each with its log and its messages.

        With a place, that is what comes from there on.
        """
        logs = {name: changed for changed, name in self._threads.changed()}
        parts = []
        for file in self._named(self._files.listed(), logs):
            names = [name_of(kind, file.thread) for kind in (CHECKPOINTS, MESSAGES)] if file.thread is not None else []
            name = next((name for name in names if name in logs), None)
            changed = max(file.changed, logs.pop(name, 0) if name else 0)
            parts.append(Part(changed, name, file))
        parts += [Part(changed, name, None) for name, changed in logs.items()]
        parts = [part for part in parts if since is None or part.place <= since]
        return sorted(parts, key=lambda part: part.place, reverse=True)

    def _named(self, files: Sequence[MessageFile], folders: Iterable[str]) -> Sequence[MessageFile]:
        """Give files that tell no thread theirs, if it has a log: versions were that kept no id beside them."""
        if all(file.thread is not None for file in files):
            return files
        rows = [row for row in map(self._log_row, folders) if row is not None]
        threads = {path: row.thread for row in rows if row.thread is not None for path in self._files.paths(row.thread)}
        return [file if file.thread is not None else file._replace(thread=threads.get(file.path)) for file in files]

    def _row(self, part: Part) -> ThreadRow | None:
        row = None if part.folder is None else self._log_row(part.folder)
        if part.file is not None:
            row = row or ThreadRow(part.file.thread, damage=_unnamed(part.file), size=0)
            row = row._replace(has_messages=True)
        if row is None:
            return None
        if row.thread is None:
            return row._replace(touched_at=part.changed // 10**9)
        # What `Backend.put_messages` keeps has a log of its own, which may have changed later.
        at, pinned = self.changed(row.thread), self._threads.is_pinned(name_of(CHECKPOINTS, row.thread))
        return row._replace(touched_at=max(part.changed, at) // 10**9, pinned=pinned)

    def unnamed(self) -> list[Part]:
        """Return what is listed without a name."""
        self._look()
        return [part for part in self._parts() if (row := self._row(part)) is not None and row.thread is None]

    def row(self, thread: str) -> ThreadRow | None:
        """Return one thread's row, None if it is not there."""
        self._look()
        row = next(filter(None, map(self._log_row, self._threads.names_of(thread))), None)
        if self._files.changed_at(thread):
            row = (row or ThreadRow(thread, size=0))._replace(has_messages=True)
        if row is None:
            return None
        at, pinned = self.changed(thread) // 10**9, self._threads.is_pinned(name_of(CHECKPOINTS, thread))
        return row._replace(touched_at=at, pinned=pinned)

    def changed(self, thread: str) -> int:
        """Return when a thread changed last, in nanoseconds since 1970; 0 if it is not there."""
        return max(self._threads.changed_at(thread), self._files.changed_at(thread))

    def _log_row(self, folder: str) -> ThreadRow | None:
        """Return what a log tells of its thread, None if it holds nothing."""
        try:
            row = self._threads.survey(folder, _row_of)
        except UNREADABLE as error:
            return ThreadRow(None, damage=f"{folder}: {error}")
        if row is None or row.thread is None:
            return row
        # What `Backend.put_messages` keeps has a log of its own.
        main, messages = self._threads.names_of(row.thread)
        other = self._threads.survey(main if folder == messages else messages, _row_of)
        if other is None:
            return row
        return None if folder == messages else row._replace(has_messages=other.has_messages)

    # ---------------------------------------------------------------- usage

    def usage(self, thread: str | None) -> Usage:
        """Count what is stored, message files included; see `Backend.usage`."""
        self._look()
        named = self._threads.names() if thread is None else self._threads.names_of(thread)
        parts = list(map(self._counted, named))
        unnamed = self._unnamed(named) if thread is None else {}
        for damage in unnamed.values():
            log.warning("Messages are not counted: %s", damage)
        files = {path: size for path, size in self._files.sizes(thread).items() if path not in unnamed}
        counted = [usage for _, usage in parts]
        threads = {name for name, usage in parts if usage.threads and name is not None}
        others = set(files).difference(*(self._files.paths(name) for name in threads))
        return Usage(
            len(threads) + len(others),
            sum(usage.checkpoints for usage in counted),
            sum(usage.writes for usage in counted),
            sum(usage.chunks for usage in counted),
            sum(usage.payload_bytes for usage in counted) + sum(files.values()),
            sum(usage.damaged for usage in counted) + len(unnamed),
        )

    def _unnamed(self, folders: Iterable[str]) -> Mapping[Path, str]:
        """Return the message files of which nothing tells the thread, and what to say of each."""
        files = self._named(self._files.listed(), folders)
        return {file.path: damage for file in files if (damage := _unnamed(file)) is not None}

    def _counted(self, folder: str) -> tuple[str | None, Usage]:
        try:
            return self._threads.survey(folder, _counts)
        except UNREADABLE as error:
            log.warning("%s is not counted: %s", folder, error)
            return None, Usage(damaged=1)


def _row_of(contents: Contents, damage: str | None) -> ThreadRow | None:
    if not (contents.namespaces or contents.has_messages or damage):
        return None
    root = contents.namespaces.get("") or Namespace()
    count = sum(len(namespace.rows) for namespace in contents.namespaces.values())
    size = None if damage else 0 if contents.has_messages else contents.usage().payload_bytes
    return ThreadRow(contents.thread, 0, count, contents.has_messages, root.head, *contents.notes, damage, size)


def _counts(contents: Contents, damage: str | None) -> tuple[str | None, Usage]:
    if damage is None:
        return contents.thread, contents.usage()
    log.warning("Thread %r is not counted: %s", contents.thread, damage)
    return contents.thread, Usage(damaged=1)


def _unnamed(file: MessageFile) -> str | None:
    if file.thread is not None:
        return None
    return f"{file.path}: nothing tells which thread's messages these are, until they are saved again"


class _Cursor(NamedTuple):
    """Where a listing goes on: in the first of these threads, below a commit number if one is given."""

    names: Sequence[str]
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
        items: list[StoredCheckpoint] = []
        for at, name in enumerate(names):
            wanted = size - len(items)
            if self._may_hold(name):
                part = self._threads.look(name, lambda contents: self._part(contents, below, by_id, wanted + 1))  # noqa: B023
                items += part[:wanted]
                if len(part) > wanted:
                    last = part[wanted - 1].row if wanted else None
                    return Page(items, _Cursor(names[at:], last.seq if last else below, by_id))
            below = None
        return Page(items)

    def _may_hold(self, name: str) -> bool:
        """Tell whether a thread may hold what has the query's tags, reading no more of its log than it takes to see."""
        query = self._query
        if not (query.tags or query.nested) or self._threads.is_known(name):
            return True
        try:
            refuse_link(self._threads.folder / name)
            with open_regular(self._threads.folder / name / LOG) as file:
                return os.fstat(file.fileno()).st_size > GLANCE or may_hold(Scan(file, 0, FIRST), query)
        except FileNotFoundError:
            return False

    def _begin(self) -> _Cursor:
        """Find the first thread, and the checkpoint that all come before."""
        query = self._query
        names = self._threads.names() if query.thread is None else [name_of(CHECKPOINTS, query.thread)]
        if query.before is None:
            return _Cursor(names, None, False)
        bound = name_of(CHECKPOINTS, query.before_thread or query.thread or "")
        below = self._threads.look(bound, self._bound)
        if below is None or bound not in names:
            return _Cursor(names, None, True)
        return _Cursor(names[names.index(bound) :], below, False)

    def _bound(self, contents: Contents) -> int | None:
        return max((row.commit for row in contents.rows() if row.id == self._query.before), default=None)

    def _part(self, contents: Contents, below: int | None, by_id: bool, size: int) -> list[StoredCheckpoint]:
        rows = (row for row in contents.rows() if (below is None or row.commit < below) and self._matches(row, by_id))
        heads = {ns: namespace.head for ns, namespace in contents.namespaces.items()}
        return [contents.found(row, heads[row.ns], writes=self._writes) for row in islice(rows, size)]

    def _matches(self, row: Row, by_id: bool) -> bool:
        query = self._query
        return (
            (query.ns is None or row.ns == query.ns)
            and (query.id is None or row.id == query.id)
            and has_tags(row.tags, query)
            and not (by_id and query.before is not None and row.id >= query.before)
        )
