"""The spaces in a folder, each in a folder of its own, named by a hash of its path; and how they are changed.

One lock, on the folder that all are in, is held by whoever changes any: so a batch sees its spaces as they are until
it has written to all of them, and a space that holds nothing can go with its folder. Each space is written in one step.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple, TypeVar

from charm_checkpoint.errors import SchemaMismatch, StoreCorrupt, StoreError, StoreUnavailable
from charm_checkpoint.runtime.cache import Budget, Cache
from charm_checkpoint.runtime.clock import monotonic, wall_ns
from charm_checkpoint.runtime.leases import Lease, Leases
from charm_checkpoint.runtime.lifecycle import PerProcess
from charm_checkpoint.runtime.regular_files import open_regular, refuse_link
from charm_checkpoint.stores.files.damage import misplaced_space
from charm_checkpoint.stores.files.disk import Disk
from charm_checkpoint.stores.files.draft import Draft
from charm_checkpoint.stores.files.folder import SETTLED_NS, FolderLock, FolderWatch, raise_if_lost
from charm_checkpoint.stores.files.log import FIRST, Scan
from charm_checkpoint.stores.files.space import Space, name_of
from charm_checkpoint.stores.files.space_folder import LOG, SpaceFolder

log = logging.getLogger("charm_checkpoint")

T = TypeVar("T")

NAME = re.compile(r"[0-9a-f]{32}")
"""What the folder of a space is named."""
NAMED = 300
"""Bytes of memory that it takes to know which space a folder is, beside its path."""
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class Named(NamedTuple):
    """A space by its path, and the name of its folder."""

    path: bytes
    name: str


class Listed(NamedTuple):
    """All spaces, sorted by path; ``changed`` is when the folder they are in was, if that can be relied on."""

    changed: int
    spaces: Sequence[Named]
    nameless: Sequence[str]


class Spaces:
    """The spaces in a folder; any thread may use this."""

    def __init__(
        self, folder: Path, host: bytes, disk: Disk, timeout: float, budget: Budget, above: FolderWatch
    ) -> None:
        self.folder = folder
        self.host = host
        self._disk = disk
        self._timeout = timeout
        self._watch = FolderWatch(folder, above)
        # What was read is read again in a forked child: a lock on it may be held by a thread that is not there.
        self._known: PerProcess[Cache[bytes, SpaceFolder]] = PerProcess(
            partial(Cache, budget, _weight, any_weight=True)
        )
        self._listed: PerProcess[Cache[str, Listed]] = PerProcess(partial(Cache, budget, _weight_of_list))
        self._turns: PerProcess[Leases] = PerProcess(Leases)

    # ------------------------------------------------------------------ reading

    def read(self, path: bytes, view: Callable[[Space], T]) -> T:
        """Return what ``view`` makes of a space, whose log is open."""
        return self._look(path, lambda folder: folder.read(view))

    def peek(self, path: bytes, view: Callable[[Space], T]) -> T:
        """Return what ``view`` makes of a space, which is less work than `read`."""
        return self._look(path, lambda folder: folder.peek(view))

    def _look(self, path: bytes, use: Callable[[SpaceFolder], T]) -> T:
        folder = self.folder_of(path)
        if folder.has_copies():
            self._mend(path, folder)
        found = self._noted(path, folder, lambda: use(folder))
        if not folder.is_forked():  # which is known once it was read
            return found
        self._mend(path, folder)
        return self._noted(path, folder, lambda: use(folder))

    def _mend(self, path: bytes, folder: SpaceFolder) -> None:
        """Take in what other versions of a space have; where nothing may be written, say that they are not."""
        try:
            self.alone(lambda: self._noted(path, folder, lambda: folder.mend(self.host)))
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            log.warning("%s was written to on two hosts at once, and one of both is read here", folder.folder)

    def folder_of(self, path: bytes) -> SpaceFolder:
        """Return the folder of a space, which need not be there."""
        return self._known.thing.get(path) or SpaceFolder(self.folder / name_of(path), self._disk, self._timeout)

    def _noted(self, path: bytes, folder: SpaceFolder, use: Callable[[], T]) -> T:
        before = folder.weight
        try:
            return use()
        finally:
            self._known.thing.put(path, folder, before)

    # ------------------------------------------------------------------ which there are

    def look(self) -> None:
        """Raise, once, if the folder was there and is gone."""
        raise_if_lost(self._watch)

    def is_there(self) -> bool:
        """Tell whether there may be a space."""
        return os.path.isdir(self.folder)

    def below(self, prefix: bytes) -> list[bytes]:
        """Return the paths that begin with a prefix, sorted; some of these spaces may hold nothing."""
        spaces = self._list().spaces
        first = bisect_left(spaces, prefix, key=lambda space: space.path)
        return list(
            takewhile(lambda path: path.startswith(prefix), (space.path for space in islice(spaces, first, None)))
        )

    def nameless(self) -> list[SpaceFolder]:
        """Return the folders of which nothing tells which space they are."""
        return [SpaceFolder(self.folder / name, self._disk, self._timeout) for name in self._list().nameless]

    def _list(self) -> Listed:
        cache = self._listed.thing
        known = cache.get("")
        try:
            changed = os.stat(self.folder).st_mtime_ns
        except FileNotFoundError:
            return Listed(0, [], [])
        if known is not None and known.changed == changed:
            return known
        is_settled = wall_ns() - changed > SETTLED_NS  # or another change may not be told from this one
        paths = {} if known is None else {space.name: space.path for space in known.spaces}
        spaces, nameless = self._read_paths(paths)
        listed = Listed(changed if is_settled else 0, sorted(spaces), nameless)
        cache.put("", listed)
        return listed

    def _read_paths(self, known: Mapping[str, bytes]) -> tuple[list[Named], list[str]]:
        spaces: list[Named] = []
        nameless: list[str] = []
        for name in filter(NAME.fullmatch, os.listdir(self.folder)):
            try:
                path = known[name] if name in known else path_in(self.folder / name / LOG)
            except (SchemaMismatch, StoreCorrupt, OSError) as error:
                log.warning("Items are not looked at: %s: %s", self.folder / name, error)
            else:
                if path is None:
                    nameless.append(name)
                elif name_of(path) != name:
                    log.warning("Items are not looked at: %s", misplaced_space(self.folder / name / LOG, path))
                else:
                    spaces.append(Named(path, name))
        return spaces, nameless

    # ------------------------------------------------------------------ changing

    def alone(self, work: Callable[[], T]) -> T:
        """Do something while nobody else changes anything; return what it does."""
        lease, turns = Lease(sys._getframe()), self._turns.thing
        deadline = monotonic() + self._timeout
        try:
            if not turns.take(lease, self._timeout):
                raise StoreUnavailable(f"{self.folder} {turns.why_not(lease, self._timeout)}.")
            with FolderLock(self.folder, max(0.0, deadline - monotonic())):
                return work()
        finally:
            turns.give(lease)

    def make(self) -> None:
        """Make the folder that all are in."""
        self._disk.make_folder(self.folder)
        self._watch.note()

    def draft(self, path: bytes, now: int) -> Draft:
        """Return what begins a change of a space, made `alone`."""
        folder = self.folder_of(path)
        if folder.has_copies():
            folder.mend(self.host)
        draft = self._noted(path, folder, lambda: folder.peek(lambda space: Draft(path, space, self.host, now)))
        if not folder.is_forked():
            return draft
        folder.mend(self.host)
        return self._noted(path, folder, lambda: folder.peek(lambda space: Draft(path, space, self.host, now)))

    def erase(self, prefix: bytes) -> int:
        """Remove the spaces below a prefix, `alone`; return how many items they had, as far as that can be read."""
        count = 0
        for path in self.below(prefix):
            folder = self.folder_of(path)
            with contextlib.suppress(StoreError):
                count += folder.peek(lambda space: len(space.items))
            self._noted(path, folder, folder.forget)
        for folder in self.nameless():
            folder.tidy()
        return count

    def write(self, draft: Draft) -> None:
        """Write a draft, `alone`."""
        folder = self.folder_of(draft.path)
        self._noted(draft.path, folder, lambda: folder.write(draft))


def path_in(path: Path) -> bytes | None:
    """Return which space a log is of, None if nothing is in it."""
    try:
        refuse_link(path.parent)
        with open_regular(path) as file:
            space = Space()
            for frame in islice(Scan(file, 0, FIRST), 1):
                space.apply(frame)
            return space.path
    except FileNotFoundError:
        return None


def _weight(path: bytes, folder: SpaceFolder) -> int:
    return len(path) + folder.weight


def _weight_of_list(name: str, listed: Listed) -> int:
    return sum(NAMED + len(space.path) for space in listed.spaces)
