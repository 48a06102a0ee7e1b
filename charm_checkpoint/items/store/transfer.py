"""Items as JSON lines, out and in: what was put comes back, byte for byte, or the file is refused as a whole.

The first line says what the file is, the last how many lines lie between and what they hash to. Each of these is an
item: ``{"namespace", "key", "created", "updated", "ttl", "index", "value"}``, times as ISO 8601 in UTC, ``ttl`` in
microseconds; what is null may be left out. The file is plain ASCII.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import IO, Any, Final, TypeAlias

from charm_checkpoint.contract_items import ItemKey
from charm_checkpoint.errors import DataError, NewerFormat
from charm_checkpoint.items.addresses import key_of, key_text, namespace_at, space_to_put
from charm_checkpoint.items.results import read_stored, stamp_of, time_of
from charm_checkpoint.items.store.changes import NewItem
from charm_checkpoint.items.store.lifetimes import LONGEST, MINUTE
from charm_checkpoint.items.store.searches import Match
from charm_checkpoint.items.values import escaped, has_long_integers, is_index, plain, unescaped

PathOrFile: TypeAlias = "str | os.PathLike[str] | IO[Any]"
"""A file's path, or a file: of bytes or of text."""

FORMAT: Final = "charm-checkpoint items"
VERSION: Final = 1
_IN_MEMORY = 8 << 20

_dump = json.JSONEncoder(separators=(",", ":")).encode


def line_of(match: Match) -> str:
    """Write an item down."""
    row, held = match.row, read_stored(match.row)
    long = has_long_integers(held.value)
    about: dict[str, Any] = {
        "namespace": namespace_at(row.space),
        "key": key_text(row.key),
        "created": time_of(row.created).isoformat(),
        "updated": time_of(row.updated).isoformat(),
        "ttl": row.ttl,
        "index": held.paths,
        "big": True if long else None,
        "value": escaped(held.value) if long else held.value,
    }
    return _dump({name: value for name, value in about.items() if value is not None})


def item_of_line(line: bytes) -> NewItem:
    """Read what `line_of` wrote; raises ValueError, TypeError or KeyError for anything else."""
    about = json.loads(line)
    value = unescaped(about["value"]) if about.get("big") else about["value"]
    ttl, index = about.get("ttl"), about.get("index")
    if ttl is not None and (type(ttl) is not int or not 0 <= ttl <= LONGEST * MINUTE):
        raise ValueError(f"{ttl!r} is no time to live")
    if not is_index(index):
        raise ValueError(f"index is a list of paths or false, not {index!r}")
    if not isinstance(about["namespace"], list) or not isinstance(about["key"], str):
        raise TypeError("a namespace is a list of labels, and a key is text")
    return NewItem(
        ItemKey(space_to_put(tuple(about["namespace"])), key_of(about["key"])),
        plain(value),
        index,
        ttl,
        created=_stamp(about["created"]),
        updated=_stamp(about["updated"]),
    )


def _stamp(text: str) -> int:
    stamp = stamp_of(datetime.fromisoformat(text))
    if stamp < 1:
        raise ValueError(f"{text} is before all items")
    time_of(stamp)  # or it is after all that Python can say
    return stamp


class Writer:
    """Writes items into a file, under another name until it is whole, if it is given by its path."""

    def __init__(self, target: PathOrFile) -> None:
        self._target = target
        self._path = os.fspath(target) if isinstance(target, (str, os.PathLike)) else None
        # Of a name of its own: another export to the same file may be under way.
        self._part = f"{self._path}.{secrets.token_hex(4)}.part"
        self._file: Any = None
        self._text = isinstance(target, io.TextIOBase)
        self._closed = False
        self._hash = hashlib.sha256()
        self.count = 0

    def begin(self) -> None:
        """Open the file, and write the first line."""
        self._file = _file("write", self._target) if self._path is None else open(self._part, "xb")
        if self._closed:  # in another thread, just before
            self.close()
        else:
            self._line(_dump({"format": FORMAT, "version": VERSION}))

    def write(self, matches: Iterable[Match]) -> None:
        """Write some items."""
        for match in matches:
            self._line(line_of(match))
            self.count += 1

    def _line(self, line: str) -> None:
        data = f"{line}\n"
        self._hash.update(data.encode())
        self._file.write(data if self._text else data.encode())

    def finish(self) -> int:
        """Write the last line; return how many items there are."""
        self._line(_dump({"items": self.count, "sha256": self._hash.hexdigest()}))
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


class Source:
    """A file of items that was looked through and is whole."""

    def __init__(self, source: PathOrFile) -> None:
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
                _check_head(line)
            else:
                digest.update(last)
                count += number > 1
                if number > 1:
                    self._check_item(last, number)
            last = line
        end = _object(last)
        if end is None or end.keys() != {"items", "sha256"}:
            raise _damaged("it is cut off: its last line, which has the checksum, is not there")
        if end["items"] != count or end["sha256"] != digest.hexdigest():
            raise _damaged(f"its checksum is wrong, or lines are missing: {count} of {end['items']} items are there")
        return count

    def _check_item(self, line: bytes, number: int) -> None:
        try:
            item_of_line(line)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise _damaged(f"line {number} is no item: {error}") from error

    def items(self, size: int) -> Iterator[list[NewItem]]:
        """Yield the items, so many at a time; the same item is never twice among those."""
        self._file.seek(0)
        self._file.readline()
        some: dict[ItemKey, NewItem] = {}
        for _ in range(self.count):
            new = item_of_line(self._file.readline())
            if new.item in some or len(some) == size:
                yield list(some.values())
                some = {}
            some[new.item] = new
        if some:
            yield list(some.values())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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


def _check_head(line: bytes) -> None:
    head = _object(line)
    if head is None or head.get("format") != FORMAT:
        raise _damaged(f"its first line does not say that it is one, which is {_dump({'format': FORMAT})}")
    if head.get("version") != VERSION:
        raise NewerFormat.of("A file of items is of the version", head.get("version"))


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and line.endswith(b"\n") else None


def _damaged(why: str) -> DataError:
    return DataError(f"This is no whole file of items, so nothing was taken from it: {why}.")
