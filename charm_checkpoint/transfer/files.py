"""A file that has its name when it is whole, and is read by its owner alone."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from charm_checkpoint.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from charm_checkpoint.config.options import Location

ENDING = ".partial"
"""How the name of a file ends that is not whole; one that is left by a killed process may be removed."""


def is_stream(path: str) -> bool:
    """Tell whether a path is no file that could be replaced but what takes or gives bytes, such as a pipe."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    if path.startswith(("/dev/fd/", "/dev/std", "/proc/")):  # it may lead to a file that is open, and is not replaced
        return True
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_taken(path: str) -> bool:
    """Tell whether there is a file that a new one would replace."""
    return os.path.lexists(path) and not is_stream(path)


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Say of an error that a file could not be written."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"{path} could not be written: {error.strerror or error}; nothing is left of it"
        ) from error


class NewFile:
    """A new file beside where it belongs; `finish` puts it there, on the disk; without that nothing is left of it.

    Where a link leads is where it belongs. What is a stream gets all of it at the end.
    """

    def __init__(self, path: str) -> None:
        if not path or "\0" in path:
            raise ConfigError(f"{path!r} is no name of a file")
        if os.path.isdir(path):
            raise ConfigError(f"{path} is a folder; name a file")
        self.path = path
        self._place = path if is_stream(path) else os.path.realpath(path)
        beside = os.path.join(tempfile.gettempdir(), "charm-checkpoint") if is_stream(path) else self._place
        self.partial = f"{beside}.{secrets.token_hex(4)}{ENDING}"
        self._is_done = False
        try:
            handle = os.open(self.partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
        self.file: BinaryIO = os.fdopen(handle, "w+b", buffering=1 << 16)

    def finish(self) -> int:
        """Put it on the disk, and in its place; return its size in bytes."""
        with writing(self.path):
            if self.file.closed:  # somebody else has filled it
                with open(self.partial, "rb+") as file:
                    os.fsync(file.fileno())
            else:
                self.file.flush()
                os.fsync(self.file.fileno())
                self.file.close()
            size = os.path.getsize(self.partial)
            if is_stream(self.path):
                with open(self.partial, "rb") as made, open(self.path, "wb") as stream:
                    shutil.copyfileobj(made, stream, 1 << 20)
                os.unlink(self.partial)
            else:
                os.replace(self.partial, self._place)
            self._is_done = True
            if not is_stream(self.path):
                sync_folder(self._place)
        return size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what could not be written cannot be flushed either
            self.file.close()
        if not self._is_done and os.path.lexists(self.partial):
            os.unlink(self.partial)


def is_absent(location: Location) -> bool:
    """Tell whether a store is a file or folder that is not there: to look at it would make it."""
    if location.scheme == "sqlite":
        from charm_checkpoint.stores.sqlite.driver import absolute

        return location.path != ":memory:" and not absolute(location.path).exists()
    if location.scheme == "file":
        from charm_checkpoint.stores.files.place import folder_of

        return not folder_of(location).exists()
    return False


def is_same_place(one: Location, other: Location) -> bool:
    """Tell whether two stores are one file or folder, however it is named."""
    if one.scheme != other.scheme:
        return False
    if one.scheme == "sqlite":
        from charm_checkpoint.stores.sqlite.driver import absolute

        return ":memory:" not in (one.path, other.path) and _is_same(absolute(one.path), absolute(other.path))
    if one.scheme == "file":
        from charm_checkpoint.stores.files.place import folder_of

        return _is_same(folder_of(one), folder_of(other))
    return False


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def sync_folder(path: str) -> None:
    """Have the name of a file be on the disk, where folders can be opened."""
    if os.name != "posix":
        return
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
