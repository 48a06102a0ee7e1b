"""The logs in which local files keep threads and items: frames, each written in one piece behind the last.

    4 bytes   mark, which tells where a frame may begin
    8 bytes   length of the payload, big-endian
    4 bytes   length of the head, its first part
    8 bytes   digest of the frame before, zeros if there is none
    8 bytes   digest of this frame: of all but itself
    payload   the head, in MessagePack, and the blobs whose sizes it tells

A digest is a BLAKE2b. As each frame names the one before, a log that goes on from other frames
than those a reader knows cannot be taken for a continuation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias

import ormsgpack

from charm_checkpoint.errors import NewerFormat

MARK = b"\x89CKL"
"""Its last letter is the version of all below: a log that begins with another one is a newer version's."""
FIRST = bytes(8)
"""What stands for the digest of the frame before the first."""

_HEADER = Struct(">4sQI8s8s")
_BEFORE, _DIGEST = slice(16, 24), slice(24, 32)
HEADER_SIZE = _HEADER.size

Tail: TypeAlias = Literal["whole", "torn", "forked", "damaged"]
"""How a log ends: with a frame; with part of one; with a frame that does not follow the last; or
with bytes that are no frame while there are frames behind them."""


class Frame(NamedTuple):
    """A frame as read: its head, where its blobs begin, where it ends, and its digest."""

    head: list[Any]
    blobs: int
    end: int
    digest: bytes


class Entry(NamedTuple):
    """A frame to write: its head and its blobs."""

    head: Sequence[Any]
    blobs: Sequence[bytes] = ()


def follows(header: bytes) -> bytes:
    """Return the digest of the frame that one with this header follows."""
    return header[_BEFORE]


def digest_in(header: bytes) -> bytes:
    """Return the digest of the frame with this header."""
    return header[_DIGEST]


def encode(entry: Entry, offset: int, before: bytes) -> tuple[bytes, Frame]:
    """Return a frame's bytes, and the frame as it will be read when it is written at ``offset``."""
    head = ormsgpack.packb(list(entry.head))
    payload = b"".join((head, *entry.blobs))
    digest = _digest(_HEADER.pack(MARK, len(payload), len(head), before, FIRST), payload)
    data = _HEADER.pack(MARK, len(payload), len(head), before, digest) + payload
    return data, Frame(list(entry.head), offset + _HEADER.size + len(head), offset + len(data), digest)


class Scan:
    """Reads frames from ``end`` on, which then is where the last sound one ends; ``tail`` is known at the end."""

    def __init__(self, file: BinaryIO, end: int, digest: bytes) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self.end = end
        self.digest = digest
        self.tail: Tail = "whole"

    def __iter__(self) -> Iterator[Frame]:
        self._file.seek(self.end)
        while self.end < self._size:
            header = self._file.read(_HEADER.size)
            frame = self._read(header)
            if frame is None:
                if _is_newer(header) and not self._goes_on():
                    raise NewerFormat.of("A log has a frame that begins with", header[: len(MARK)])
                self.tail = "damaged" if self._goes_on() else "torn"
                return
            if header[_BEFORE] != self.digest:
                self.tail = "forked"
                return
            self.end, self.digest = frame.end, frame.digest
            yield frame

    def _read(self, header: bytes) -> Frame | None:
        """Read the frame behind a header; None if it is not sound."""
        sizes = _sizes(header)
        # A damaged length may be anything, and is not to be asked of memory.
        if sizes is None or self.end + _HEADER.size + sizes[0] > self._size:
            return None
        return _frame(header, self._file.read(sizes[0]), sizes, self.end)

    def _goes_on(self) -> bool:
        """Tell whether there is a sound frame anywhere behind the end."""
        self._file.seek(self.end)
        rest = self._file.read(self._size - self.end)  # what a writer has added since is no sign of damage
        at = 0
        while (at := rest.find(MARK, at + 1)) >= 0:
            header = rest[at : at + _HEADER.size]
            sizes = _sizes(header)
            if sizes is not None:
                payload = rest[at + _HEADER.size : at + _HEADER.size + sizes[0]]
                if _frame(header, payload, sizes, at) is not None:
                    return True
        return False


def _is_newer(header: bytes) -> bool:
    """Tell whether a frame begins with the mark of a later version: a later letter, as what a crash tore is not."""
    return len(header) == _HEADER.size and header.startswith(MARK[:-1]) and MARK[-1] < header[3] <= ord("Z")


def _sizes(header: bytes) -> tuple[int, int] | None:
    if len(header) < _HEADER.size or not header.startswith(MARK):
        return None
    _, payload, head, _, _ = _HEADER.unpack(header)
    return (payload, head) if 0 < head <= payload else None


def _frame(header: bytes, payload: bytes, sizes: tuple[int, int], offset: int) -> Frame | None:
    size, head = sizes
    digest = header[_DIGEST]
    if len(payload) != size or _digest(header[:24] + FIRST, payload) != digest:
        return None
    start = offset + _HEADER.size
    return Frame(ormsgpack.unpackb(payload[:head]), start + head, start + size, digest)


def _digest(header: bytes, payload: bytes) -> bytes:
    digest = blake2b(header, digest_size=8)
    digest.update(payload)
    return digest.digest()
