"""Opening files by name in folders that others may write to.

What has the name may be no file at all: a FIFO would keep whoever opens it waiting for ever, a device does things by
being opened, a symbolic link leads out of the folder, to a file that this user may write and the other may not. So
nothing is followed, nothing is waited for, and what was opened is looked at by its descriptor, which nobody can
exchange. On Windows, links and junctions are told by the tag of their reparse point, before and not while they are
opened, and other things by the kind that their handle has.

A hard link is a name as good as any other, and backups are made of them, so there is no telling.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from typing import BinaryIO, cast

from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.runtime.leases import consume

Path = str | os.PathLike[str]

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
SAFELY = (
    _NOFOLLOW
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
)
"""What `os.open` is told on top of how to open a file."""

_FLAGS = {"rb": os.O_RDONLY | SAFELY, "r+b": os.O_RDWR | SAFELY}
_OPEN = {mode: partial(os.open, flags=flags) for mode, flags in _FLAGS.items()}

_NO_FILE = {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.ENODEV, getattr(errno, "EFTYPE", errno.ELOOP)} | {
    getattr(errno, "EOPNOTSUPP", errno.ELOOP)
}
"""What systems say of a link that is not to be followed, and of sockets, devices and FIFOs."""

_SURROGATE = 0x20000000
"""The bit of a reparse point's tag that says it stands for another name: of links and junctions, not of OneDrive's."""

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def open_regular(path: Path, mode: str = "rb", buffering: int = -1, *, dir_fd: int | None = None) -> BinaryIO:
    """Open a file as ``open`` does, for reading or for changing what is in it.

    With ``dir_fd``, the path is that of a file in this folder. Raises `StoreCorrupt` for what is no regular file, or is
    a link to one, and what ``open`` does for the rest.
    """
    if not _NOFOLLOW:
        refuse_link(path)
    held: list[int] = []
    open_file = _OPEN[mode] if dir_fd is None else partial(os.open, flags=_FLAGS[mode], dir_fd=dir_fd)
    try:
        # Steps of C: no interrupt comes between what opens the file and the note of it, nor where that is handed over.
        held.extend(map(open_file, (path,)))
        found = os.fstat(held[0]).st_mode
        if not stat.S_ISREG(found):
            raise _is_folder(path) if stat.S_ISDIR(found) else no_file(path, found)
        [file] = map(open, map(held.pop, (-1,)), (mode,), (buffering,))
        return cast(BinaryIO, file)
    except OSError as error:
        if error.errno in _NO_FILE:
            refuse_other(path, dir_fd=dir_fd)
        raise
    finally:
        if held:
            consume(held, os.close)


def read_regular(path: Path, *, dir_fd: int | None = None) -> bytes:
    """Return what is in a file; raises as `open_regular` does."""
    with open_regular(path, dir_fd=dir_fd) as file:
        return file.read()


def refuse_other(path: Path, *, dir_fd: int | None = None) -> None:
    """Raise `StoreCorrupt` for what is there and no regular file, nor a folder."""
    try:
        found = os.lstat(path) if dir_fd is None else os.lstat(path, dir_fd=dir_fd)
    except OSError:
        return
    if is_link(found) or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise no_file(path, stat.S_IFLNK if is_link(found) else found.st_mode)


def refuse_link(path: Path) -> None:
    """Raise `StoreCorrupt` for a link to a file or folder."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return
    if is_link(found):
        raise no_file(path, stat.S_IFLNK)


def folder_at(path: Path) -> os.stat_result | None:
    """Return what is known of a folder, None if there is none; raises `StoreCorrupt` for a link, to whatever it is."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    if is_link(found):
        raise no_file(path, stat.S_IFLNK)
    return found if stat.S_ISDIR(found.st_mode) else None


def is_link(found: os.stat_result) -> bool:
    """Tell whether what ``os.lstat`` found is a link: a symbolic one, or a junction of Windows."""
    return stat.S_ISLNK(found.st_mode) or bool(getattr(found, "st_reparse_tag", 0) & _SURROGATE)


def no_file(path: Path, mode: int) -> StoreCorrupt:
    """Return the error for what is no regular file, by the mode that ``stat`` tells."""
    kind = next((name for is_it, name in _KINDS if is_it(mode)), "no regular file")
    if not stat.S_ISLNK(mode):
        return StoreCorrupt(
            f"{os.fspath(path)!r} is {kind}, where a regular file is to be; it was left alone. Who put it there?"
        )
    return StoreCorrupt(
        f"{os.fspath(path)!r} is {kind}, which is not followed: in a folder that others may write to, it could lead "
        "anywhere. If it is meant, put what it leads to in its place, or name that itself."
    )


def _is_folder(path: Path) -> OSError:
    return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
