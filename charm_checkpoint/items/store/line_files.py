"""Files of JSON lines with a checksum: whole when they appear, and refused as a whole if they are not.

The first line says what the file is, the last how many lines lie between and what they hash to. The file is plain
ASCII.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, TypeAlias

from charm_checkpoint.errors import DataError, NewerFormat
from charm_checkpoint.runtime.rights import Rights, create, random_name

PathOrFile: TypeAlias = "str | os.PathLike[str] | IO[Any]"
"""A file's path, or a file: of bytes or of text."""

_IN_MEMORY: Final = 8 << 20

dump = json.JSONEncoder(separators=(",", ":")).encode
"""Write a JSON value on one line."""


class Form(NamedTuple):
    """What a file of lines is: what its first line says, and what its lines are called."""

    format: str
    version: int
    lines: str = "items"


class LinesWriter:
    """Writes lines into a file, under another name until it is whole, if it is given by its path."""

    def __init__(self, target: PathOrFile, form: Form, about: Mapping[str, Any] | None = None) -> None:
        self._target = target
        self._form = form
        self._about = about or {}
        self._path = os.fspath(target) if isinstance(target, (str, os.PathLike)) else None
        # Of a name of its own: another export to the same file may be under way.
        self._part = random_name(f"{self._path}.") + ".part"
        self._file: Any = None
        self._text = isinstance(target, io.TextIOBase)
        self._closed = False
        self._hash = hashlib.sha256()
        self.count = 0

    def begin(self) -> None:
        """Open the file, and write the first line."""
        self._file = _file("write", self._target) if self._path is None else self._new()
        if self._closed:  # in another thread, just before
            self.close()
        else:
            self._line(dump({"format": self._form.format, "version": self._form.version, **self._about}))

    def _new(self) -> IO[bytes]:
        place = Path(str(self._path))
        return open(create(self._part, Rights().of_file(place.parent, place.name)), "wb")

    def write_lines(self, lines: Iterable[str]) -> None:
        """Write some lines."""
        for line in lines:
            self._line(line)
            self.count += 1

    def _line(self, line: str) -> None:
        data = f"{line}\n"
        self._hash.update(data.encode())
        self._file.write(data if self._text else data.encode())

    def finish(self) -> int:
        """Write the last line; return how many lines there are."""
        self._line(dump({self._form.lines: self.count, "sha256": self._hash.hexdigest()}))
        self._file.flush()
        if self._path is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self._path)
        return self.count

    def close(self) -> None:
        """Leave nothing behind of a file, given by its path, that did not become whole."""
        self._closed = True
        if self._path is None:
            return
        with suppress(OSError):  # it was told already, if the disk is full
            if self._file is not None:
                self._file.close()
        with suppress(FileNotFoundError):
            os.unlink(self._part)


class LinesSource:
    """A file of lines that was looked through and is whole; ``check`` raises ValueError and its kin for a wrong line.

    ``about`` is what its first line says.
    """

    def __init__(self, source: PathOrFile, form: Form, check: Callable[[bytes], object]) -> None:
        self._form = form
        self._check_line = check
        self.about: dict[str, Any] = {}
        self._file = _opened(source)
        try:
            self.count = self._check()
        except BaseException:
            self._file.close()
            raise

    def _check(self) -> int:
        digest, count, last = hashlib.sha256(), 0, b""
        for number, line in enumerate(self._file):
            if number == 0:
                self.about = self._head(line)
            else:
                digest.update(last)
                count += number > 1
                if number > 1:
                    self._check_one(last, number)
            last = line
        end = _object(last)
        if end is None or end.keys() != {self._form.lines, "sha256"}:
            raise self._damaged("it is cut off: its last line, which has the checksum, is not there")
        if end[self._form.lines] != count or end["sha256"] != digest.hexdigest():
            raise self._damaged(
                "its checksum is wrong, or lines are missing: "
                f"{count} of {end[self._form.lines]} {self._form.lines} are there"
            )
        return count

    def _head(self, line: bytes) -> dict[str, Any]:
        head = _object(line)
        if head is None or head.get("format") != self._form.format:
            raise self._damaged(
                f"its first line does not say that it is one, which is {dump({'format': self._form.format})}"
            )
        if head.get("version") != self._form.version:
            raise NewerFormat.of(f"A file of {self._form.lines} is of the version", head.get("version"))
        return head

    def _check_one(self, line: bytes, number: int) -> None:
        try:
            self._check_line(line)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise self._damaged(f"line {number} is no {_singular(self._form.lines)}: {error}") from error

    def _damaged(self, why: str) -> DataError:
        return DataError(f"This is no whole file of {self._form.lines}, so nothing was taken from it: {why}.")

    def lines(self) -> Iterator[bytes]:
        """Yield the lines between the first and the last."""
        self._file.seek(0)
        self._file.readline()
        for _ in range(self.count):
            yield self._file.readline()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _singular(name: str) -> str:
    return "memory" if name == "memories" else name.removesuffix("s")


def _opened(source: Any) -> IO[bytes]:
    """Return a file of bytes that can be read twice."""
    if isinstance(source, (str, os.PathLike)):
        return open(source, "rb")
    _file("read", source)
    copy = tempfile.SpooledTemporaryFile(_IN_MEMORY)
    if isinstance(source, io.TextIOBase):
        for line in source:
            copy.write(line.encode("utf-8", "surrogatepass"))
    else:
        shutil.copyfileobj(source, copy)
    copy.seek(0)
    found: Any = copy
    return found  # type: ignore[no-any-return]


def _file(method: str, target: Any) -> Any:
    if not hasattr(target, method):
        raise TypeError(f"a path is wanted, or a file with a method {method}, not a {type(target).__name__}")
    return target


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and line.endswith(b"\n") else None
