"""Who may read what is written: new files are this user's alone, and in a store that exists as those before them.

Rights are those of POSIX; on Windows a file has the rights that its folder hands down, and nothing is done here.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from charm_checkpoint.runtime.regular_files import SAFELY

log = logging.getLogger("charm_checkpoint")

PRIVATE = 0o600
"""The rights of a new file where nothing else is said."""

_POSIX = os.name == "posix"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY
_OTHERS = stat.S_IRWXO
_KEPT_NOT = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What a file system says that keeps no rights, of a change of them to who made the file."""


class Rights:
    """What files and folders that are made may be used for by whom.

    ``given`` are the rights that files are to have, if the user has said so. Else what is made in a folder below
    ``home`` is as that one is, and all else is private.
    """

    def __init__(self, given: int | None = None, home: Path | None = None) -> None:
        self._given = given
        self._home = home

    def make_folder(self, folder: Path) -> None:
        """Make a folder, in one that is there; raises what ``os.mkdir`` does."""
        if self._given is not None:
            mode = folder_rights(self._given)
        elif self._is_home(folder.parent):
            mode = stat.S_IMODE(os.stat(folder.parent).st_mode) & 0o777
            self._tell(mode)
        else:
            mode = folder_rights(PRIVATE)
        os.mkdir(folder, mode)
        made = stat.S_IMODE(os.stat(folder).st_mode)
        if _POSIX and made & 0o777 != mode:  # by the process's umask
            with _as_it_is(folder):
                os.chmod(folder, made & ~0o777 | mode)

    def of_file(self, folder: Path, name: str, *, dir_fd: int | None = None) -> int:
        """Return the rights for a file that is to be made, or to take the place of another one, in a folder.

        ``dir_fd`` is the folder, open. One that was this user's keeps what it had. One of somebody else's, who could
        have put it there for that, may lose some: no file is to be more open than the folder it is in.
        """
        within = os.stat(folder if dir_fd is None else dir_fd).st_mode
        is_home = self._is_home(folder)
        open_to_all = within & (stat.S_ISVTX | stat.S_IWOTH) and not is_home  # such as /tmp
        most = PRIVATE if open_to_all else within & 0o666
        there = _there(folder, name, dir_fd)
        if there is not None:
            kept = stat.S_IMODE(there.st_mode) & 0o777
            return kept if not _POSIX or there.st_uid == os.geteuid() else kept & most
        if self._given is not None:
            return self._given
        if not is_home:
            return PRIVATE
        self._tell(most)
        return most

    def _is_home(self, folder: Path) -> bool:
        return self._home is not None and (folder == self._home or self._home in folder.parents)

    def _tell(self, mode: int) -> None:
        if mode & _OTHERS:
            tell_open(str(self._home))


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, for this user alone, where they are not there."""
    if not folder.is_dir():
        make_folders(folder.parent)
        with suppress(FileExistsError):  # another process was faster
            Rights().make_folder(folder)


def folder_rights(rights: int) -> int:
    """Return the rights of a folder whose files have these: who may read them may look into it."""
    return rights | (rights & 0o444) >> 2


def create(path: str | Path, rights: int, *, dir_fd: int | None = None) -> int:
    """Make a new file with these rights, whatever the umask is, and return it open; raises `FileExistsError`."""
    file = os.open(path, _CREATE, rights, dir_fd=dir_fd)
    try:
        give(file, rights, path)
    except BaseException:
        os.close(file)
        raise
    return file


def give(file: int, rights: int, path: str | Path) -> None:
    """Give an open file, which was made by this, these rights, if it has not got them and can have them."""
    if _POSIX and stat.S_IMODE(os.fstat(file).st_mode) != rights:
        with _as_it_is(path):
            os.fchmod(file, rights)


@contextmanager
def _as_it_is(path: str | Path) -> Iterator[None]:
    """Go on where a file system keeps no rights, as those of other systems that are mounted: it shows what it likes."""
    try:
        yield
    except OSError as error:
        if error.errno not in _KEPT_NOT:
            raise
        _tell_not_kept(os.path.dirname(os.path.abspath(path)))


@lru_cache(1024)
def _tell_not_kept(folder: str) -> None:
    log.warning("%r is where files have no rights of their own: who may read them, its mount says.", folder)


def is_own_file(path: Path) -> bool:
    """Tell whether a path, that of no link, is that of a regular file of this user's."""
    found = os.lstat(path)
    return stat.S_ISREG(found.st_mode) and (not _POSIX or found.st_uid == os.geteuid())


def random_name(start: str) -> str:
    """Return a name for a file that is to be made: nobody can have put something there before."""
    return f"{start}{secrets.token_hex(8)}"


@lru_cache(1024)
def tell_open(place: str) -> None:
    """Say, once, that a store can be read by all."""
    if _POSIX:
        log.warning(
            "%r can be read by every user of this machine, and what is new in it will be so, too: that is how it was "
            "made. To close it: chmod -R o-rwx; if it is meant, say so with the option file_mode, as in 0644.",
            place,
        )


def _there(folder: Path, name: str, dir_fd: int | None) -> os.stat_result | None:
    try:
        found = os.lstat(folder / name) if dir_fd is None else os.lstat(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None
