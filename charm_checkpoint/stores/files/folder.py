"""Folders that a store is in: locks, whether they and their files are still those, and what an `OSError` means."""

from __future__ import annotations

import errno
import os
import random
import sys
import time
from functools import partial
from itertools import chain, tee
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from charm_checkpoint.errors import ReadOnlyStore, StoreCorrupt, StoreError, StoreUnavailable
from charm_checkpoint.runtime import forks
from charm_checkpoint.runtime.clock import monotonic, wall_ns
from charm_checkpoint.runtime.leases import IN_OWN_WAY, Lease, consume, note
from charm_checkpoint.runtime.regular_files import SAFELY, folder_at, refuse_link, refuse_other

SETTLED_NS = 2_000_000_000
"""How old a file's time of change must be to be trusted: they are as coarse as two seconds."""

_locks: set[FolderLock] = set()


class FolderLock:
    """A folder's lock, held against other threads and processes of this host for the block of a ``with``.

    The lock is on the folder itself, so there is no file for it, and it ends with its process. A link to a folder is
    refused, and so is a lock file, where there has to be one, that is no regular file.
    Whoever waits for it until the folder was renamed or deleted takes that of the one which has
    the name then. Raises `StoreUnavailable` after ``timeout`` seconds.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder = folder
        self._path = os.path.join(folder, LOCK_FILE) if LOCK_FILE else str(folder)
        self._timeout = timeout
        self._lease = Lease(sys._getframe(1))

    def __enter__(self) -> FolderLock:
        _locks.add(self)
        deadline = monotonic() + self._timeout
        try:
            self._heal()
            while True:
                self._open()
                if not self._wait(deadline) or self.is_named():
                    return self
                self._release()
        except BaseException:
            self.end()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _open(self) -> None:
        if LOCK_FILE:
            refuse_link(self._folder)
            refuse_link(self._path)
        try:
            note(self._lease.held, _OPEN, self._path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                refuse_other(self._path)
            raise

    def end(self) -> None:
        """Give the lock back; a copy of the file that a child of a fork still has does not hold it."""
        self._release()
        self.abandon()

    def _release(self) -> None:
        while self._lease.held:
            _release(self._lease.held)

    @property
    def at(self) -> int | None:
        """Return the folder's descriptor, for calls that are to mean this one whatever its name; None on Windows."""
        return None if LOCK_FILE else self._lease.held[0]

    def is_named(self) -> bool:
        """Tell whether the folder that is locked still has its name."""
        try:
            named, held = os.lstat(self._path), os.fstat(self._lease.held[0])
        except FileNotFoundError:
            return False
        return named.st_ino == held.st_ino and named.st_dev == held.st_dev

    def confirm(self) -> None:
        """See that what was written is where others look for it, or raise."""
        if not self.is_named():
            raise moved(self._folder)

    def abandon(self) -> None:
        """Close the file, in a forked child, or a lock would outlive its owner."""
        consume(self._lease.held, os.close)
        self._lease.end()
        _locks.discard(self)

    def is_over(self) -> bool:
        """Tell whether the block was left, by an interrupt perhaps that came before the lock was given back."""
        return self._lease.is_over()

    def _wait(self, deadline: float) -> bool:
        """Wait for the lock; tell whether it was not to be had at once."""
        pause = 0.0005
        waited = False
        while not _try_lock(self._lease.held[0]):
            self._heal()  # whoever has it may have been interrupted meanwhile
            left = deadline - monotonic()
            if left <= 0:
                raise StoreUnavailable(
                    f"{self._folder} stayed locked by another process for {self._timeout:g} s; nothing was written."
                )
            time.sleep(min(pause * random.uniform(0.5, 1.5), left))
            pause = min(pause * 1.5, 0.05)
            waited = True
        return waited

    def _heal(self) -> None:
        """Give back what interrupted blocks have left."""
        for other in list(_locks):
            if other is self:
                continue
            if other.is_over():
                other.end()
            elif other._folder == self._folder and other._lease.is_mine():
                raise StoreUnavailable(f"{self._folder} {IN_OWN_WAY}; nothing was written.")


def moved(path: Path) -> StoreUnavailable:
    """Return the error for a write that was under way when a file or folder was moved."""
    return StoreUnavailable(
        f"{path} was deleted, renamed or replaced while it was being written to: what was being written is not in what "
        "has this name now. Look at what is there before you try again; to restore a backup, stop the programs first."
    )


class Version(NamedTuple):
    """What tells a version of a file from another."""

    inode: int
    size: int
    changed: int


def version_of(file: BinaryIO) -> Version:
    """Return which version of a file is open."""
    found = os.fstat(file.fileno())
    return Version(found.st_ino, found.st_size, found.st_mtime_ns)


def is_named(path: Path, version: Version) -> bool:
    """Tell whether a path names a file that is open."""
    try:
        return os.stat(path).st_ino == version.inode
    except FileNotFoundError:
        return False


def is_settled(version: Version) -> bool:
    """Tell whether a file would by now have another time of change if it had changed again."""
    return wall_ns() - version.changed > SETTLED_NS


class FolderWatch:
    """Notices, once, that a folder which was there is gone; ``above`` is the one that it is in, if that counts too.

    What is in one folder may be gone before the first look at it: whoever has another one in the same knows that.
    """

    def __init__(self, folder: Path, above: FolderWatch | None = None) -> None:
        self._folder = folder
        self._path = str(folder)
        self._above = above
        self._was_there = False
        self._inode = 0

    def is_lost(self) -> bool:
        """Tell whether it was there at the last look, or when it was written to, and is gone now."""
        was_there = self._was_there
        self._was_there = False
        self.note()
        if self._was_there:
            return False
        lost_above = self._above is not None and self._above.is_lost()
        return was_there or lost_above

    def note(self) -> None:
        """Look whether it is there, if it was not: a call may have made it. A link there is refused."""
        if self._was_there:
            return
        found = folder_at(self._path)
        if found is None:
            return
        if self._above is not None:
            if found.st_ino != self._inode:  # another folder: by way of another one above, perhaps
                refuse_link(self._above._path)
            self._above._was_there = True
        self._inode = found.st_ino
        self._was_there = True

    def lost(self) -> StoreUnavailable:
        """Return the error that says so."""
        above = self._above and self._above._folder
        gone = above if above and not os.path.isdir(above) else self._folder
        return StoreUnavailable(
            f"{gone} was deleted or renamed while the store was open; nothing was read or written. Put it back "
            "to go on with what was in it; the next call begins anew without."
        )


def raise_if_lost(*presences: FolderWatch) -> None:
    """Raise if any of these folders is gone; all are asked, so that a call which needs several tells it once."""
    lost = [watch for watch in presences if watch.is_lost()]
    if lost:
        raise lost[0].lost()


if sys.platform == "win32":
    import msvcrt

    LOCK_FILE, _FLAGS = "lock", os.O_RDWR | os.O_CREAT | SAFELY  # a folder cannot be opened here

    def _try_lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EDEADLK):
                raise
            return False
        return True

    _unlock, _HOW = msvcrt.locking, (msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    LOCK_FILE, _FLAGS = "", os.O_RDONLY | os.O_DIRECTORY | SAFELY

    def _try_lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    _unlock, _HOW = fcntl.flock, (fcntl.LOCK_UN,)


_OPEN = partial(os.open, flags=_FLAGS)


def _release(files: list[int]) -> None:
    """Unlock and close the last of some files, if there is one, in one step of C.

    Whoever takes it from the list is alone in that: of two, one might unlock what the other has
    closed, and its number is that of somebody else's lock by then.
    """
    file, again = tee(map(files.pop, (-1,)))
    steps = chain(map(_unlock, file, *[(what,) for what in _HOW]), map(os.close, again))
    try:
        list(steps)
    except IndexError:  # another thread had it
        return
    except OSError:  # it was not locked; closed it is all the same
        list(steps)


@forks.in_child
def _after_fork() -> None:
    for lock in list(_locks):
        lock.abandon()


_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST}


def translate(place: Path, error: OSError, *, write: bool) -> StoreError:
    """Say what a failed call means for a store at ``place``."""
    at = error.filename or place
    reason = error.strerror or str(error)
    if error.errno == errno.EISDIR:
        return StoreCorrupt(f"{at} is a folder, where a file is to be; nothing was {'written' if write else 'read'}")
    if error.errno in _FULL:
        return StoreUnavailable(f"{at}: {reason}; nothing was written, free some room and try again")
    if error.errno in _NO_FOLDER:
        return StoreUnavailable(f"{at}: {reason}; a store of local files is a folder, name one that is or can be made")
    if error.errno in _REFUSED and write:
        return ReadOnlyStore(f"{at} cannot be written: {reason}; may this user write there?")
    if error.errno in _REFUSED:
        return StoreUnavailable(f"{at} cannot be read: {reason}; may this user read there?")
    return StoreUnavailable(f"{at}: {reason}; nothing was {'written' if write else 'read'}")
