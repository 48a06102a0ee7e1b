"""The form of an archive: a beginning, records, an end; each with a checksum of all before it.

::

    89 "charm" 0D 0A | version, 1 byte
    kind, 1 byte | length, 8 bytes | payload | check, 16 bytes      any number of times, the last of kind "E"

A payload is MessagePack. ``check`` is the BLAKE2b-128 of everything in the file before it: so what is damaged, cut
short, missing, moved or put in is found, at its place. It has no key: whoever may write to the file can make another.
What is large in it, chunks and records, is compressed already, as stores keep it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, BinaryIO, Final, NamedTuple

import ormsgpack

from charm_checkpoint.errors import NewerFormat, StoreCorrupt
from charm_checkpoint.transfer.files import writing
from charm_checkpoint.values.limits import count_elements

MAGIC: Final = b"\x89charm\r\n"
VERSION: Final = 1
CHECK_SIZE: Final = 16

THREAD, CHUNKS, CHECKPOINT, MESSAGE_CHUNKS, MESSAGES, END_OF_THREAD, ITEMS, END = (
    b"T", b"C", b"K", b"c", b"M", b"Z", b"I", b"E",
)  # fmt: skip
KINDS: Final = frozenset((THREAD, CHUNKS, CHECKPOINT, MESSAGE_CHUNKS, MESSAGES, END_OF_THREAD, ITEMS, END))
_LENGTH = 8
_ELEMENTS, _DENSE = 1 << 16, 4
"""How many elements any record may have, and bytes that each one more has at least: what is built of them is larger."""


class Point(NamedTuple):
    """A place in a file that is being written, to go back to."""

    offset: int
    digest: Any


class ArchiveWriter:
    """Writes records one after another; raises `StoreUnavailable` where the file, named ``path``, cannot be written."""

    def __init__(self, file: BinaryIO, path: str = "the archive") -> None:
        self._file = file
        self._path = path
        self._digest = blake2b(digest_size=CHECK_SIZE)
        self._put(MAGIC + bytes((VERSION,)))

    def write(self, kind: bytes, payload: Any) -> None:
        """Write a record."""
        data = ormsgpack.packb(payload)
        self._put(kind + len(data).to_bytes(_LENGTH, "big"))
        self._put(data)
        self._put(self._digest.digest())

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        with writing(self._path):
            self._file.write(data)

    def point(self) -> Point:
        """Return where it is."""
        with writing(self._path):
            return Point(self._file.tell(), self._digest.copy())

    def back_to(self, point: Point) -> None:
        """Take back what was written since."""
        with writing(self._path):
            self._file.seek(point.offset)
            self._file.truncate()
        self._digest = point.digest.copy()

    def end(self, counts: dict[str, int]) -> str:
        """Write the end, and return the last checksum in hex."""
        self.write(END, counts)
        # The digest has taken its own last value in, so the value is worked out from the file's end.
        with writing(self._path):
            self._file.flush()
            self._file.seek(-CHECK_SIZE, os.SEEK_END)
            return self._file.read(CHECK_SIZE).hex()


class Record(NamedTuple):
    """A record of an archive, and where it begins."""

    kind: bytes
    payload: Any
    offset: int
    size: int


class ArchiveReader:
    """Reads records one after another, from the beginning; each is right, or `StoreCorrupt` is raised."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self._digest = blake2b(digest_size=CHECK_SIZE)
        begin = self._take(len(MAGIC) + 1, 0)
        if begin.startswith(b"SQLite"):
            raise StoreCorrupt(
                "This is a SQLite file, and no archive: a backup of a SQLite store is a store itself, which is opened "
                "as it is, or copied: charm-checkpoint copy FILE TARGET"
            )
        if begin[: len(MAGIC)] != MAGIC:
            raise StoreCorrupt("This is no archive of charm-checkpoint: it begins with something else.")
        if begin[len(MAGIC)] != VERSION:
            raise NewerFormat.of("An archive is of the form", begin[len(MAGIC) :])

    def records(self) -> Iterator[Record]:
        """Yield all records, the last of which is the end; raises `StoreCorrupt` where that is not the file's end."""
        while True:
            record = self._record()
            yield record
            if record.kind == END:
                if self._file.tell() != self._size:
                    raise StoreCorrupt(f"The archive goes on behind its end, at byte {self._file.tell():,}.")
                return

    def _record(self) -> Record:
        offset = self._file.tell()
        head = self._take(1 + _LENGTH, offset)
        length = int.from_bytes(head[1:], "big")
        if length + CHECK_SIZE > self._size - self._file.tell():
            raise _cut(offset)
        data = self._take(length, offset)
        wanted = self._digest.digest()
        if self._take(CHECK_SIZE, offset) != wanted:
            raise StoreCorrupt(f"The archive is damaged: the record at byte {offset:,} has another checksum.")
        if head[:1] not in KINDS:
            raise NewerFormat.of("A record of an archive is of the kind", head[:1])
        most = _ELEMENTS + length // _DENSE
        if count_elements(data, most) > most:
            raise StoreCorrupt(f"The archive's record at byte {offset:,} holds more than such a record does.")
        try:
            return Record(head[:1], ormsgpack.unpackb(data), offset, length)
        except ValueError as error:
            raise StoreCorrupt(f"The archive is damaged: the record at byte {offset:,} is no MessagePack.") from error

    def _take(self, size: int, offset: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise _cut(offset)
        self._digest.update(data)
        return data


def _cut(offset: int) -> StoreCorrupt:
    return StoreCorrupt(f"The archive is cut short: the record at byte {offset:,} is not whole.")


def text(data: bytes | None) -> str | None:
    """Return a text that `data_of` made bytes of."""
    return None if data is None else data.decode("utf-8", "surrogatepass")


def data_of(text: str | None) -> bytes | None:
    """Return any text, halves of surrogate pairs included, as bytes."""
    return None if text is None else text.encode("utf-8", "surrogatepass")
