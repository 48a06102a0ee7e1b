"""The folders of threads, all of a store's: which there are, and each by its name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

from charm_checkpoint.runtime.cache import Budget, Cache
from charm_checkpoint.runtime.lifecycle import PerProcess
from charm_checkpoint.stores.files.contents import Contents
from charm_checkpoint.stores.files.disk import Disk
from charm_checkpoint.stores.files.erased import ERASED, ErasedThreads
from charm_checkpoint.stores.files.folder import FolderWatch, raise_if_lost
from charm_checkpoint.stores.files.thread import LOG, Decide, ThreadFolder
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES, identity

T = TypeVar("T")

_NAME = re.compile(r"[0-9a-f]{32}")


class Threads:
    """The threads in a folder, each by the name of its own folder: see `name_of`."""

    def __init__(
        self, folder: Path, host: bytes, disk: Disk, timeout: float, budget: Budget, above: FolderWatch
    ) -> None:
        self.folder = folder
        self.erased = ErasedThreads(folder.with_name(ERASED), disk, timeout)
        self.host = host
        self.disk = disk
        self._timeout = timeout
        self.watch = FolderWatch(folder, above)
        # What was read is read again in a forked child: a lock on it may be held by a thread that is not there.
        self._known: PerProcess[Cache[str, ThreadFolder]] = PerProcess(partial(Cache, budget, _weight, any_weight=True))

    def make(self) -> None:
        """Make the folder, and those above it."""
        self.disk.make_folder(self.folder)
        self.watch.note()

    def look(self, name: str, view: Callable[[Contents], T]) -> T:
        """Return what ``view`` makes of the contents of a thread given by its folder's name."""
        return self._with(name, lambda thread: thread.read(view))

    def is_known(self, name: str) -> bool:
        """Tell whether something of a thread is remembered."""
        return self._known.thing.get(name) is not None

    def survey(self, name: str, view: Callable[[Contents, str | None], T]) -> T:
        """Return what ``view`` makes of a thread's contents, damaged or not; see `ThreadFolder.survey`."""
        return self._with(name, lambda thread: thread.survey(view))

    def change(self, name: str, decide: Decide[T], *, regardless: bool = False) -> T:
        """Change a thread; see `ThreadFolder.change`."""
        return self._with(name, lambda thread: thread.change(decide, regardless=regardless))

    def _folder(self, name: str) -> ThreadFolder:
        return ThreadFolder(self.folder / name, self.disk, self._timeout, self.erased)

    def erase(self, name: str, keep: Callable[[Contents], bool]) -> None:
        """Remove a thread; see `ThreadFolder.erase`."""
        self._with(name, lambda thread: thread.erase(keep))

    def pin(self, name: str, pinned: bool) -> None:
        """Pin a thread, or pin it no longer."""
        self._with(name, lambda thread: thread.pin(pinned))

    def is_pinned(self, name: str) -> bool:
        """Tell whether a thread is pinned."""
        return self._folder(name).is_pinned()

    def snapshot(self, name: str) -> AbstractContextManager[Contents]:
        """Lend a copy of a thread's contents."""
        return self._with(name, lambda thread: thread.snapshot())

    def _with(self, name: str, use: Callable[[ThreadFolder], T]) -> T:
        thread = self._known.thing.get(name) or self._folder(name)
        if self.watch.is_lost() and not thread.was_read():  # one that was read finds out what it lacks
            raise self.watch.lost()
        before = thread.weight
        try:
            return use(thread)
        finally:
            self.watch.note()
            self._known.thing.put(name, thread, before)

    def names(self) -> list[str]:
        """Return the names of all threads' folders, those last changed first."""
        return [name for _, name in sorted(self.changed(), reverse=True)]

    def changed(self) -> list[tuple[int, str]]:
        """Return for each thread's folder when it changed, in nanoseconds since 1970, and its name."""
        raise_if_lost(self.watch)
        try:
            entries = [entry for entry in os.scandir(self.folder) if _NAME.fullmatch(entry.name)]
        except FileNotFoundError:
            return []
        return list(map(self._changed, entries))

    def changed_at(self, thread: str) -> int:
        """Return when the logs of a thread changed last, in nanoseconds since 1970; 0 if it has none."""
        logs = [self.folder / name / LOG for name in self.names_of(thread)]
        return max((log.lstat().st_mtime_ns for log in logs if os.path.lexists(log)), default=0)

    def _changed(self, entry: os.DirEntry[str]) -> tuple[int, str]:
        try:
            return os.lstat(os.path.join(entry.path, LOG)).st_mtime_ns, entry.name
        except OSError:  # as of what is no folder: whoever reads it is told
            return 0, entry.name

    def names_of(self, thread: str) -> list[str]:
        """Return the names of the folders that a thread may have."""
        return [name_of(kind, thread) for kind in (CHECKPOINTS, MESSAGES)]


def _weight(name: str, thread: ThreadFolder) -> int:
    return thread.weight


def name_of(kind: int, thread: str) -> str:
    """Return the name of a thread's folder, which tells nothing of the thread's own."""
    return identity(b"", kind, thread).hex()
