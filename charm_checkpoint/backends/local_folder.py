"""Folders and files that survive a crash: locks, whole-file writes, and what an `OSError` means."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

from charm_checkpoint.errors import ReadOnlyStore, StoreError, StoreUnavailable

_held: set[int] = set()
"""Open files that a lock is on. A forked child closes its copies, or a lock would outlive its owner."""
_opening = threading.Lock()


@contextmanager
def locked(folder: Path, timeout: float) -> Iterator[None]:
    """Hold a folder's lock against other threads and processes of this host.

    The lock is on the folder itself, so there is no file for it, and it ends with its process.
    Raises `StoreUnavailable` after ``timeout`` seconds.
    """
    file = _open_lock(folder)
    try:
        _wait(file, folder, timeout)
        try:
            yield
        finally:
            _unlock(file)
    finally:
        _held.discard(file)
        os.close(file)


def _open_lock(folder: Path) -> int:
    with _opening:
        if sys.platform == "win32":  # where a folder cannot be opened
            file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
        else:
            file = os.open(folder, os.O_RDONLY)
        _held.add(file)
        return file


def _wait(file: int, folder: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    pause = 0.0005
    while not _try_lock(file):
        left = deadline - time.monotonic()
        if left <= 0:
            raise StoreUnavailable(f"{folder} stayed locked by another process for {timeout:g} s; nothing was written.")
        time.sleep(min(pause * random.uniform(0.5, 1.5), left))
        pause = min(pause * 1.5, 0.05)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EDEADLK):
                raise
            return False
        return True

    def _unlock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


def _after_fork_in_child() -> None:
    global _opening
    _opening = threading.Lock()
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _opening.acquire(),
        after_in_parent=lambda: _opening.release(),
        after_in_child=_after_fork_in_child,
    )


# --------------------------------------------------------------------------------- writing


class Disk:
    """Writes so that what is done survives a power loss; with ``full`` False, the end of this process only."""

    def __init__(self, full: bool) -> None:
        self._full = full

    def sync(self, file: int) -> None:
        """See that what was written to an open file is on disk."""
        if self._full:
            _sync(file)

    def sync_folder(self, folder: Path) -> None:
        """See that the names in a folder are on disk."""
        if self._full and sys.platform != "win32":
            file = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(file)
            finally:
                os.close(file)

    def make_folder(self, folder: Path) -> None:
        """Make a folder, and those above it."""
        if folder.is_dir():
            return
        if folder != folder.parent:
            self.make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):  # another process was faster; a file is found out about below
            folder.mkdir()
            self.sync_folder(folder.parent)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))

    def append(self, file: RawIOBase, data: bytes, end: int) -> None:
        """Write at ``end``, where the file is to end now; it ends there again if that fails."""
        try:
            if file.seek(0, os.SEEK_END) != end:
                file.truncate(end)
            file.seek(end)
            left = memoryview(data)
            while left:  # a disk that is nearly full takes a part
                left = left[file.write(left) :]
            self.sync(file.fileno())
        except OSError:
            # What is left of it is cut off here or, if even that fails, by whoever writes next.
            with contextlib.suppress(OSError):
                os.truncate(file.fileno(), end)
            raise

    def write(self, temporary: Path, path: Path, fill: Callable[[BinaryIO], None]) -> None:
        """Write what is to `replace` a file, with that one's permissions; it is removed again if that fails."""
        with temporary.open("wb") as file:
            try:
                fill(file)
                file.flush()
                if path.exists():
                    shutil.copymode(path, temporary)
                self.sync(file.fileno())
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def replace(self, temporary: Path, path: Path) -> None:
        """Put a file in another's place in one step. Nobody else may do so meanwhile."""
        os.replace(temporary, path)
        self.sync_folder(path.parent)

    def remove(self, path: Path) -> None:
        """Remove a file that may be gone already."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            self.sync_folder(path.parent)


_sync = getattr(os, "fdatasync", os.fsync)

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST}


def translate(place: Path, error: OSError, *, write: bool) -> StoreError:
    """Say what a failed call means for a store at ``place``."""
    at = error.filename or place
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return StoreUnavailable(f"{at}: {reason}; nothing was written, free some room and try again")
    if error.errno in _NO_FOLDER:
        return StoreUnavailable(f"{at}: {reason}; a store of local files is a folder, name one that is or can be made")
    if error.errno in _REFUSED and write:
        return ReadOnlyStore(f"{at} cannot be written: {reason}; may this user write there?")
    if error.errno in _REFUSED:
        return StoreUnavailable(f"{at} cannot be read: {reason}; may this user read there?")
    return StoreUnavailable(f"{at}: {reason}; nothing was {'written' if write else 'read'}")
