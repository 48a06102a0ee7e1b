"""Writes into folders and files that survive a crash, and that nobody can have prepared."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.runtime.leases import note
from charm_checkpoint.runtime.regular_files import refuse_other
from charm_checkpoint.runtime.rights import Rights, create, is_own_file, random_name
from charm_checkpoint.stores.files.folder import LOCK_FILE, FolderLock

_sync = getattr(os, "fdatasync", os.fsync)


class Disk:
    """Writes so that what is done survives a power loss; with ``full`` False, the end of this process only.

    What it makes has these ``rights``, or else those that the process's umask leaves.
    """

    def __init__(self, full: bool, rights: Rights | None = None) -> None:
        self.full = full
        self._rights = rights or Rights()
        self._make = self._rights.make_folder if rights else os.mkdir

    def sync(self, file: int) -> None:
        """See that what was written to an open file is on disk."""
        if self.full:
            _sync(file)

    def sync_folder(self, folder: Path) -> None:
        """See that the names in a folder are on disk."""
        if self.full and sys.platform != "win32":
            opened: list[int] = []
            close = map(os.close, map(opened.pop, (-1,)))  # made ready, for one step at the end
            try:
                note(opened, partial(os.open, flags=os.O_RDONLY | os.O_NONBLOCK | os.O_DIRECTORY), folder)
                os.fsync(opened[0])
            finally:
                if opened:
                    list(close)

    def make_folder(self, folder: Path) -> None:
        """Make a folder, and those above it."""
        if folder.is_dir():
            return
        if folder != folder.parent:
            self.make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):  # another process was faster; a file is found out about below
            self._make(folder)
            self.sync_folder(folder.parent)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))

    def append(self, file: BinaryIO, data: bytes, end: int) -> None:
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

    def write(self, lock: FolderLock, start: str, path: Path, fill: Callable[[BinaryIO], None]) -> Path:
        """Write what is to `replace` a file, with its rights; return where it is.

        Its name is ``start`` and what nobody can know before. It is removed again if that fails.
        """
        temporary = path.with_name(random_name(start))
        rights = self._rights.of_file(path.parent, path.name, dir_fd=lock.at)
        opened = partial(create, rights=rights, dir_fd=lock.at)
        name = temporary if lock.at is None else temporary.name
        try:
            with open(name, "wb", opener=lambda path, _: opened(path)) as file:
                fill(file)
                file.flush()
                self.sync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=lock.at)
            raise
        return temporary

    def replace(self, lock: FolderLock, temporary: Path, path: Path) -> None:
        """Put a file in another's place in one step, in the folder that is locked, whose name it must have kept."""
        if lock.at is None:
            os.replace(temporary, path)
        else:
            os.replace(temporary.name, path.name, src_dir_fd=lock.at, dst_dir_fd=lock.at)
            if self.full:
                os.fsync(lock.at)
        lock.confirm()

    def sweep(self, folder: Path, start: str, names: Iterable[str]) -> None:
        """Remove, of the names in a folder whose lock is held, what killed processes of this user left of `write`."""
        for name in filter(_left_of(start).fullmatch, names):
            with contextlib.suppress(OSError):
                if is_own_file(folder / name):
                    os.unlink(folder / name)

    def remove(self, path: Path) -> None:
        """Remove a file that may be gone already."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            self.sync_folder(path.parent)

    def remove_other(self, path: Path) -> None:
        """Remove what has a file's name and is a link, or none; what that leads to stays."""
        try:
            refuse_other(path)
        except StoreCorrupt:
            self.remove(path)

    def remove_folder(self, folder: Path) -> None:
        """Remove a folder in which nothing is left; one that somebody else has put something into stays."""
        with contextlib.suppress(OSError):
            if LOCK_FILE:
                (folder / LOCK_FILE).unlink(missing_ok=True)
            folder.rmdir()
        self.sync_folder(folder.parent)


@lru_cache(8)
def _left_of(start: str) -> re.Pattern[str]:
    """Return what names of files match that are to take another's place; each write looks for such."""
    return re.compile(f"{re.escape(start)}[0-9a-f]{{16}}|{re.escape(start[:-1])}")  # the latter of earlier versions
