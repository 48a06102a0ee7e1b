"""A file that has its name when it is whole, and is read by its owner alone."""

from __future__ import annotations

import os
import secrets
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from charm_checkpoint.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from charm_checkpoint.config.options import Location

ENDING = ".partial"
"""How the name of a file ends that is not whole; one that is left by a killed process may be removed."""


class NewFile:
    """A new file beside where it belongs; `finish` puts it there, on the disk; without that nothing is left of it."""

    def __init__(self, path: str) -> None:
        if not path or "\0" in path:
            raise ConfigError(f"{path!r} is no name of a file")
        self.path = path
        self.partial = f"{path}.{secrets.token_hex(4)}{ENDING}"
        self._is_done = False
        try:
            handle = os.open(self.partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
        self.file: BinaryIO = os.fdopen(handle, "w+b", buffering=1 << 16)

    def finish(self) -> None:
        """Put it on the disk, and in its place."""
        if self.file.closed:  # somebody else has filled it
            with open(self.partial, "rb+") as file:
                os.fsync(file.fileno())
        else:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
        os.replace(self.partial, self.path)
        self._is_done = True
        sync_folder(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        if not self._is_done and os.path.lexists(self.partial):
            os.unlink(self.partial)


def is_absent(location: Location) -> bool:
    """Tell whether a store is a file or folder that is not there: to look at it would make it."""
    if location.scheme == "sqlite":
        from charm_checkpoint.stores.sqlite.driver import absolute

        return location.path != ":memory:" and not absolute(location.path).exists()
    if location.scheme == "file":
        from charm_checkpoint.stores.files.store import folder_of

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
        from charm_checkpoint.stores.files.store import folder_of

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
