"""A folder of Markdown files: what has changed in it, and writes that are there whole or not at all."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from charm_checkpoint.errors import DataError, StoreUnavailable
from charm_checkpoint.long_term.markdown.file_names import INDEX, SUFFIX
from charm_checkpoint.long_term.project import is_below
from charm_checkpoint.runtime.clock import wall_ns
from charm_checkpoint.runtime.regular_files import SAFELY
from charm_checkpoint.runtime.rights import PRIVATE, create, give, random_name
from charm_checkpoint.stores.files.disk import Disk
from charm_checkpoint.stores.files.folder import SETTLED_NS, translate

log = logging.getLogger("charm_checkpoint")

_TEMPORARY = ".tmp"
_ABANDONED_NS = 600 * 1_000_000_000
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY


class Signature(NamedTuple):
    """What tells a version of a file from another without reading it."""

    inode: int
    size: int
    changed: int

    def is_settled(self) -> bool:
        """Tell whether the file would by now have another signature if it had changed again."""
        return wall_ns() - self.changed > SETTLED_NS


class Found(NamedTuple):
    """What a look at a folder finds: files by their names, and what is wrong with the others."""

    files: dict[str, Signature]
    wrong: dict[str, str]


class MarkdownFolder:
    """The folder at ``path``; ``state`` is another, for the lock of all who write.

    With ``private``, nobody else may look into it. With ``inside``, it must lie in that: what a clone brings may lead
    anywhere by a symbolic link.
    """

    def __init__(
        self, path: Path, state: Path, *, private: bool = False, inside: Path | None = None, timeout: float = 30.0
    ) -> None:
        self.path = path
        self.state = state
        self._private = private
        self._inside = inside
        self.timeout = timeout
        self._disk = Disk(full=True)
        self._is_swept = False

    # ------------------------------------------------------------------------------------------------------ reading

    def look(self) -> Found:
        """Return what is in the folder; nothing where it is not there."""
        found = Found({}, {})
        with self._translated(write=False):
            self._check_place()
            try:
                entries = os.scandir(self.path)
            except FileNotFoundError:
                return found
            with entries:
                for entry in entries:
                    if is_memory(entry.name):
                        self._note(entry, found)
        return found

    def _note(self, entry: os.DirEntry[str], found: Found) -> None:
        try:
            if entry.is_symlink() and not is_below(os.path.realpath(entry.path), os.path.realpath(self.path)):
                found.wrong[entry.name] = "it is a symbolic link that leads out of the folder; put the file here"
                return
            seen = entry.stat()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not entry.is_symlink():
                return  # removed this moment
            found.wrong[entry.name] = f"it cannot be read: {error.strerror}"
            return
        if stat.S_ISREG(seen.st_mode):
            found.files[entry.name] = Signature(seen.st_ino, seen.st_size, seen.st_mtime_ns)
        elif not stat.S_ISDIR(seen.st_mode):
            found.wrong[entry.name] = "it is no file"

    def read(self, name: str, most: int) -> tuple[bytes, Signature]:
        """Return a file's bytes and which version they are of.

        Raises `DataError` if they are more than ``most``, or cannot be read, and ``FileNotFoundError``.
        """
        return read_file(self.path / name, most, within=self.path)

    # ------------------------------------------------------------------------------------------------------ writing

    def ready(self) -> Path:
        """Return the folder whose lock is to be held by who writes; it is there then.

        The lock is ``FolderLock(folder.ready(), folder.timeout)``, in the function that needs it: it ends with that.
        """
        lock = self.state / "lock"
        with self._translated(write=True):
            self._check_place()
            if not lock.is_dir():
                if self._private:
                    self._make(self.path, private=True)
                self._make(self.state, private=True)
                with suppress(FileExistsError):  # whatever that is: a link could lead anywhere
                    with open(create(self.state / ".gitignore", PRIVATE), "wb") as file:
                        file.write(b"*\n")
                self._make(lock, private=True)
        return lock

    def write(self, name: str, data: bytes) -> Signature:
        """Put a file in place, whole and lasting, or not at all; only with the lock."""
        with self._translated(write=True):
            self._make(self.path, private=self._private)
            if not self._is_swept:
                self._sweep()
                self._is_swept = True
            path = self.path / name
            temporary = self.path / (random_name(f".{name}.") + _TEMPORARY)
            try:
                signature = self._fill(temporary, data, self._mode(path))
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
            self._disk.sync_folder(self.path)
            return signature

    def _fill(self, path: Path, data: bytes, mode: int) -> Signature:
        file = os.open(path, _WRITE, mode)
        try:
            if self._private:
                give(file, mode, path)
            left = memoryview(data)
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
            seen = os.fstat(file)
        finally:
            os.close(file)
        return Signature(seen.st_ino, seen.st_size, seen.st_mtime_ns)

    def _mode(self, path: Path) -> int:
        """Return the permissions for a file: its own if it is there, and none for others where it is private."""
        if self._private:
            return 0o600
        try:
            seen = os.lstat(path)
        except FileNotFoundError:
            return 0o666
        return stat.S_IMODE(seen.st_mode) if stat.S_ISREG(seen.st_mode) else 0o666

    def remove(self, name: str) -> None:
        """Remove a file, which may be gone already; only with the lock."""
        with self._translated(write=True):
            self._disk.remove(self.path / name)

    def write_index(self, lines: Iterable[tuple[str, str, str]]) -> None:
        """Write the list of titles, names and hooks that Cantrip shows to its model; only with the lock."""
        data = index_text(lines).encode("utf-8", "replace")
        path = self.path / INDEX
        with suppress(OSError, DataError):
            if read_file(path, len(data), self.path)[0] == data:
                return
        self.write(INDEX, data)

    def _make(self, folder: Path, *, private: bool) -> None:
        if not folder.is_dir():
            self._disk.make_folder(folder)
            if private and sys.platform != "win32":
                with suppress(PermissionError):  # it is another user's
                    os.chmod(folder, 0o700)

    def _sweep(self) -> None:
        """Remove what processes have left that were killed while they wrote."""
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.startswith(".") and entry.name.endswith(_TEMPORARY) and SUFFIX + "." in entry.name:
                    with suppress(OSError):
                        if wall_ns() - entry.stat(follow_symlinks=False).st_mtime_ns > _ABANDONED_NS:
                            os.unlink(entry.path)

    # -------------------------------------------------------------------------------------------------------- place

    def _check_place(self) -> None:
        if self._inside is not None and not is_below(os.path.realpath(self.path), os.path.realpath(self._inside)):
            raise StoreUnavailable(
                f"{self.path} is a symbolic link that leads out of {self._inside}; nothing was read or written. Put a "
                "folder there, or have the project share no memories."
            )

    @contextmanager
    def _translated(self, *, write: bool) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise translate(self.path, error, write=write) from error


def is_memory(name: str) -> bool:
    """Tell whether a file of this name is to hold a memory."""
    return name.lower().endswith(SUFFIX) and not name.startswith(".") and name != INDEX


def read_file(path: Path, most: int, within: Path) -> tuple[bytes, Signature]:
    """Return a file's bytes and which version they are of; links that lead out of ``within`` are not followed.

    Raises `DataError` for what is no file, cannot be read, or has more bytes than ``most``; ``FileNotFoundError``.
    """
    try:
        return _read_file(path, most, within)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror or error}") from error


def _read_file(path: Path, most: int, within: Path) -> tuple[bytes, Signature]:
    if path.is_symlink():
        path = Path(os.path.realpath(path))
        if not is_below(str(path), os.path.realpath(within)):
            raise DataError("it is a symbolic link that leads out of the folder; put the file here")
    file = os.open(path, os.O_RDONLY | SAFELY)
    try:
        seen = os.fstat(file)
        if not stat.S_ISREG(seen.st_mode):
            raise DataError("it is no file")
        if seen.st_size > most:
            raise DataError(f"it has {seen.st_size} bytes, {most} are the most")
        with open(file, "rb", closefd=False) as reader:
            data = reader.read(most + 1)
    finally:
        os.close(file)
    if len(data) > most:
        raise DataError(f"it has more than {most} bytes, which are the most")
    return data, Signature(seen.st_ino, seen.st_size, seen.st_mtime_ns)


def index_text(lines: Iterable[tuple[str, str, str]]) -> str:
    """Return the text of the index: a line for each title, name of a file, and hook."""
    said = [f"- [{_one_line(title)}]({name}) \u2014 {_one_line(hook)[:120]}\n" for title, name, hook in lines]
    return "# Memory Index\n\n" + "".join(said)


def _one_line(text: str) -> str:
    return " ".join(text.split())
