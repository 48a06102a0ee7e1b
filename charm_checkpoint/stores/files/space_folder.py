"""The folder of a space: its log, read and written.

    log    the frames of log.py, see space.py
    new-…  a log about to take the place of that one

A batch is one frame at the end of the log, and one sync. Once what was replaced and removed outweighs what is there,
the next batch is a whole new log in the old one's place; and a space whose last item is removed goes, with its folder.
Writers take turns by a lock on all spaces, see spaces.py; readers need none. What the log comes to is kept in memory.

A folder that is synced between hosts can be written on two at once. Then the syncing tool leaves a copy beside the log
(``log.sync-conflict-…``, ``log (conflicted copy)``): the next call takes in what the log lacks of it, and removes it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, TypeVar

from charm_checkpoint.errors import StoreCorrupt, StoreError
from charm_checkpoint.runtime.clock import wall_ns
from charm_checkpoint.runtime.leases import Inside
from charm_checkpoint.runtime.regular_files import open_regular, refuse_link
from charm_checkpoint.stores.files.damage import damaged_space, misplaced_space
from charm_checkpoint.stores.files.disk import Disk
from charm_checkpoint.stores.files.draft import Draft
from charm_checkpoint.stores.files.folder import (
    SETTLED_NS,
    FolderLock,
    Version,
    is_named,
    is_settled,
    moved,
    version_of,
)
from charm_checkpoint.stores.files.log import HEADER_SIZE, Entry, Scan, Tail, digest_in, encode, follows
from charm_checkpoint.stores.files.space import Space, missing, name_of

log = logging.getLogger("charm_checkpoint")

T = TypeVar("T")

LOG, NEW = "log", "new-"
FOLDER = 2500
"""Bytes of memory that a space takes beside its contents."""
SLACK = 1 << 16
"""Bytes of what was replaced or removed that a log may have, beside as many as it has of what is there."""
SMALL = 1 << 18
"""Up to so many bytes of log, what is removed is out of it at once."""


_generations = itertools.count(1)


class SpaceFolder:
    """A space's folder, which need not be there, as this process knows it; any thread may use it."""

    def __init__(self, folder: Path, disk: Disk, timeout: float) -> None:
        self.folder = folder
        self._path = str(folder)
        self._log = folder / LOG
        self._log_path = str(self._log)
        self._disk = disk
        self._timeout = timeout
        self._lock = threading.RLock()
        self._inside = Inside(folder)
        self._space = Space(generation=next(_generations))
        self._version: Version | None = None
        self._is_sure = False
        self._looked_at = 0
        self._is_behind = False
        self._is_strange = False
        self._ignored: set[str] = set()

    @property
    def weight(self) -> int:
        """Return about how many bytes of memory this takes."""
        return FOLDER + self._space.weight

    # ------------------------------------------------------------------ reading

    def read(self, view: Callable[[Space], T]) -> T:
        """Return what ``view`` makes of the space, whose log is open; it must not keep it."""
        with self._lock, self._inside, self._opened() as file:
            self._refresh(file)
            self._refuse_broken()
            return view(self._space)

    def peek(self, view: Callable[[Space], T]) -> T:
        """Return what ``view`` makes of the space without its log."""
        with self._lock, self._inside:
            if not self._is_current():
                with self._opened() as file:
                    self._refresh(file)
            self._refuse_broken()
            return view(self._space)

    def has_copies(self) -> bool:
        """Tell whether a syncing tool left a copy beside the log."""
        try:
            changed = os.stat(self._path).st_mtime_ns
        except FileNotFoundError:
            return False
        if changed != self._looked_at:
            if self._strays():
                return True
            if wall_ns() - changed > SETTLED_NS:
                self._looked_at = changed
        return False

    def is_forked(self) -> bool:
        """Tell whether the log, as far as it is known, goes on in two ways."""
        return self._space.tail == "forked"

    def _opened(self) -> AbstractContextManager[BinaryIO | None]:
        """Open the log, None if there is none; under the lock, so that no older version comes after a newer one."""
        try:
            return open_regular(self._log_path)
        except FileNotFoundError:
            return nullcontext()

    def _is_current(self) -> bool:
        """Tell whether what is known is for sure what the log has, by its name alone."""
        if self._version is None:
            return False
        try:
            found = os.stat(self._log_path)
        except FileNotFoundError:
            return False
        return self._is_sure and self._version == (found.st_ino, found.st_size, found.st_mtime_ns)

    def _is_known(self, file: BinaryIO, version: Version) -> bool:
        """Tell whether what is known is what a log has.

        One log may take another's place and number, have its size, and be as old to the clock's tick.
        """
        if version != self._version or self._is_sure:
            return version == self._version
        self._is_sure = is_settled(version) and self._begins(file)
        return self._is_sure or (self._space.end == version.size and self._begins(file))

    def _begins(self, file: BinaryIO) -> bool:
        """Tell whether a log has the last frame that is known where it is to be, and so all before it."""
        file.seek(self._space.before)
        return digest_in(file.read(HEADER_SIZE)) == self._space.digest

    def _refresh(self, file: BinaryIO | None) -> None:
        """Make the space that of the file, reading what is new."""
        version, known = None if file is None else version_of(file), self._space
        known.file = file
        if file is not None and version is not None:
            if self._is_known(file, version):
                return
            refuse_link(self._path)  # what was opened is another file: by way of another folder, perhaps
            if self._version is not None and version.size > known.end and self._begins(file):
                self._version, self._is_sure = None, False  # an error in between leaves half of it taken in
                if _scan(file, known) in ("whole", "torn"):
                    self._version = version
                    return
        space, self._is_sure = Space(file=file), False
        if file is not None:
            _scan(file, space)
        # A space that went and was made anew begins with another stamp: that is no loss.
        self._is_behind = space.first == known.first and space.lacks(known.hosts)
        self._is_strange = space.path is not None and name_of(space.path) != self.folder.name
        space.generation = known.generation if space.goes_on_from(known) else next(_generations)
        self._space, self._version = space, version

    def _refuse_broken(self) -> None:
        if self._is_strange:
            raise misplaced_space(self._log, self._space.path)
        if self._space.tail == "damaged":
            raise damaged_space(self._log, self._space)
        if self._is_behind:
            self._is_behind = False
            raise StoreError(
                f"{self._log} was replaced by a version that lacks items which were stored here: the folder was "
                "written to on another host, or put back to an older state. Nothing was read or written; from now on "
                "that version counts."
            )

    # ------------------------------------------------------------------ writing

    def write(self, draft: Draft) -> None:
        """Write a draft behind the space that it was made for, as one step; the caller has the lock on all spaces."""
        if not draft.is_left():
            return self.forget(draft)
        self._disk.make_folder(self.folder)
        with FolderLock(self.folder, self._timeout) as lock, self._lock, self._inside:
            entry = draft.entry()
            with self._opened() as file:
                self._refresh(file)
                self._check(draft)
                written = self._write(lock, *draft.anew()) if self._is_due(draft, entry) else None
            if written:
                self._replace(lock, *written)
            else:
                self._append(lock, entry)

    def _check(self, draft: Draft) -> None:
        if self._space.digest != draft.digest:
            raise moved(self._log)

    def _is_due(self, draft: Draft, entry: Entry) -> bool:
        """Tell whether the log is to be written anew."""
        space = self._space
        if space.path is None or (draft.removed and space.end <= SMALL):
            return True
        return space.end - space.live > space.live + sum(map(len, entry.blobs)) + SLACK

    def _append(self, lock: FolderLock, entry: Entry) -> None:
        space, read = self._space, self._version
        data, frame = encode(entry, space.end, space.digest)
        if space.tail == "torn":
            log.warning("%s: what a killed process left unfinished behind byte %d is cut off", self._log, space.end)
        with open_regular(LOG if lock.at is not None else self._log, "r+b", 0, dir_fd=lock.at) as file:
            # What was opened by its name is the log that was read, in the folder whose lock is held.
            if read is None or version_of(file).inode != read.inode or not lock.is_named():
                raise moved(self._log)
            self._version, self._is_sure = None, False  # an interrupt in between leaves half of it taken in
            self._disk.append(file, data, space.end)
            space.apply(frame)
            space.tail = "whole"
            self._version = version_of(file)
            if not is_named(self._log, self._version):
                raise moved(self._log)

    def _write(self, lock: FolderLock, keep: Space, more: Iterable[Entry] = ()) -> tuple[Path, Space, int]:
        """Write a new log; return where it is, what it comes to, and its inode."""
        space, inodes = Space(generation=self._space.generation), [0]
        self._disk.sweep(self.folder, NEW, os.listdir(self._path))

        def fill(file: BinaryIO) -> None:
            for entry in itertools.chain(keep.entries(), more):
                data, frame = encode(entry, space.end, space.digest)
                file.write(data)
                space.apply(frame)
            inodes[0] = version_of(file).inode

        temporary = self._disk.write(lock, NEW, self._log, fill)
        space.sort()
        return temporary, space, inodes[0]

    def _replace(self, lock: FolderLock, temporary: Path, space: Space, inode: int) -> None:
        """Put the new log in the old one's place."""
        self._version, self._is_sure = None, False
        self._disk.replace(lock, temporary, self._log)
        with self._opened() as file:
            if file is None or not _is_it(file, space, inode):
                raise moved(self._log)
            self._space, self._version, self._is_strange = space, version_of(file), False

    def forget(self, draft: Draft | None = None) -> None:
        """Remove the space, of which a draft leaves no item; the caller has the lock on all spaces."""
        with contextlib.suppress(FileNotFoundError):
            with FolderLock(self.folder, self._timeout) as lock, self._lock, self._inside:
                if draft is not None:
                    with self._opened() as file:
                        self._refresh(file)
                        self._check(draft)
                self._version, self._is_sure = None, False
                for path in [self._log, *self._strays()]:
                    self._disk.remove(path)
                self._disk.sweep(self.folder, NEW, os.listdir(self._path))
                lock.confirm()
                self._space, self._is_strange = Space(generation=next(_generations)), False
            self._disk.remove_folder(self.folder)

    def tidy(self) -> None:
        """Remove what a killed process left of a first log; the caller has the lock on all spaces."""
        self._disk.sweep(self.folder, NEW, os.listdir(self._path))
        self._disk.remove_folder(self.folder)

    # ------------------------------------------------------------------ other hosts

    def _strays(self) -> list[Path]:
        """Return the copies that a syncing tool left."""
        names = sorted(os.listdir(self._path))
        return [
            self.folder / name for name in names if name.startswith(LOG) and name != LOG and name not in self._ignored
        ]

    def mend(self, host: bytes) -> None:
        """Take in what other versions of the log have that it lacks; the caller has the lock on all spaces."""
        with FolderLock(self.folder, self._timeout) as lock, self._lock, self._inside:
            for version in self._other_versions():
                self._take_in(lock, host, *version)

    def _other_versions(self) -> Iterator[tuple[Space, Path | None]]:
        """Yield, of all other versions, what each comes to, open, and its file, if that is its own."""
        for path in self._strays():
            try:
                opened = open_regular(path)
            except StoreCorrupt as error:
                self._ignore(path, error)
                continue
            with opened as file:
                space = Space(file=file)
                tail = _scan(file, space)
                if tail == "torn" and not is_settled(version_of(file)):
                    continue  # it may yet be written to
                if tail in ("whole", "torn") and space.path is not None and name_of(space.path) == self.folder.name:
                    yield space, path
                else:
                    self._ignore(path, "it is no sound log")
        with self._opened() as file:
            self._refresh(file)
            if file is not None and self._space.tail == "forked":
                yield _other_end(file, self._space, self._log), None

    def _ignore(self, path: Path, why: object) -> None:
        self._ignored.add(path.name)
        log.warning("%s is left as it is, and what it may hold is not looked at: %s", path, why)

    def _take_in(self, lock: FolderLock, host: bytes, theirs: Space, path: Path | None) -> None:
        with self._opened() as file:
            self._refresh(file)
            self._refuse_broken()
            ours = self._space
            written = self._merged(lock, host, theirs) if theirs.path is not None else None
            if written is None and ours.tail == "forked":
                written = self._write(lock, ours.copy())
        if written:
            self._replace(lock, *written)
        if path is not None:
            self._disk.remove(path)

    def _merged(self, lock: FolderLock, host: bytes, theirs: Space) -> tuple[Path, Space, int] | None:
        """Write a log that comes to both versions; None if the other one has nothing that is not known."""
        ours = self._space
        assert theirs.path is not None
        taken, gone, both = missing(ours, theirs)
        if not (ours.lacks(theirs.hosts) or gone):
            return None
        log.warning(
            "%s was written to on two hosts at once. Of what the other one did, %d items were taken in and %d removed; "
            "%d were changed by both, and are as they were put last.",
            self._log, len(taken), len(gone), len(both),
        )  # fmt: skip
        draft = Draft(theirs.path, ours, host, max(ours.stamp, theirs.stamp) + 1)
        for key in gone:
            draft.remove(key)
        for key, item in taken.items():
            draft.take(key, item, *theirs.read([(item.at, item.size)]))
        kept, more = draft.anew()
        # Whoever follows either version is told all keys.
        kept.removed = kept.stamp = max(kept.stamp, draft.now)
        for other, stamp in theirs.hosts.items():
            kept.hosts[other] = max(kept.hosts.get(other, 0), stamp)
        return self._write(lock, kept, more)


def _scan(file: BinaryIO, space: Space) -> Tail:
    scan = Scan(file, space.end, space.digest)
    for frame in scan:
        space.apply(frame)
    space.tail = scan.tail
    space.sort()
    return scan.tail


def _is_it(file: BinaryIO, space: Space, inode: int) -> bool:
    """Tell whether a file is the log that was written; where names are all there is, its number may be another."""
    if version_of(file).inode == inode:
        return True
    found = Space()
    _scan(file, found)
    return found.digest == space.digest


def _other_end(file: BinaryIO, ours: Space, path: Path) -> Space:
    """Return the version of a log that goes on behind ours, from a frame that they have in common."""
    file.seek(ours.end)
    before = follows(file.read(HEADER_SIZE))
    theirs = Space(file=file)
    frames = iter(Scan(file, 0, theirs.digest))
    while theirs.digest != before and theirs.end < ours.end:
        theirs.apply(next(frames))
    theirs.end, theirs.digest = ours.end, before
    if _scan(file, theirs) == "forked":
        raise StoreError(f"{path} goes on in more than two ways from byte {ours.end} on; put back a copy of the file.")
    return theirs
