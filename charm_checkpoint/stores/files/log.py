"""The logs in which local files keep threads and items: frames, each written in one piece behind the last.

    4 bytes   mark, which tells where a frame may begin
    8 bytes   length of the payload, big-endian
    4 bytes   length of the head, its first part
    8 bytes   digest of the frame before, zeros if there is none
    8 bytes   digest of this frame: of all but itself
    payload   the head, in MessagePack, the blobs whose sizes it tells, and a closing byte, ff

A digest is a BLAKE2b. As each frame names the one before, a log that goes on from other frames
than those a reader knows cannot be taken for a continuation.

What a killed process or a power loss leaves at the end is *torn*: it is shorter than it says, or zeros stand where its
end was to be, which the closing byte tells from blobs that end in zeros. It was never acknowledged, and whoever writes
next cuts it off. What is as long as it says, and has another digest, is *damaged*: it may have been acknowledged, and
nothing but an explicit act removes it. (Versions before 0.3 wrote no closing byte.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias

import ormsgpack

from charm_checkpoint.errors import NewerFormat, corrupt

MARK = b"\x89CKL"
"""Its last letter is the version of all below: a log that begins with another one is a newer version's."""
CLOSE = b"\xff"
FIRST = bytes(8)
"""What stands for the digest of the frame before the first."""

_HEADER = Struct(">4sQI8s8s")
_BEFORE, _DIGEST = slice(16, 24), slice(24, 32)
HEADER_SIZE = _HEADER.size

Tail: TypeAlias = Literal["whole", "torn", "forked", "damaged"]
"""How a log ends: with a frame; with part of one; with a frame that does not follow the last; or
with bytes that are no frame, and none that a crash left."""


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
    payload = b"".join((head, *entry.blobs, CLOSE))
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
        self.goes_on = False
        """Whether there is a sound frame behind what is none."""

    def __iter__(self) -> Iterator[Frame]:
        self._file.seek(self.end)
        while self.end < self._size:
            header = self._file.read(_HEADER.size)
            frame = self._read(header)
            if frame is None:
                self.tail = self._unsound()
                if _is_newer(header) and not self.goes_on:
                    raise NewerFormat.of("A log has a frame that begins with", header[: len(MARK)])
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

    def _unsound(self) -> Tail:
        """Tell what it is that is no sound frame."""
        self._file.seek(self.end)
        size = self._size - self.end  # what a writer has added since is no sign of damage
        rest = self._file.read(size)
        self.goes_on = _has_frame(rest)
        if self.goes_on:
            return "damaged"
        # A writer may be just about to put a frame in the place of one that is torn.
        is_under_way = len(rest) < size or _sound(rest) is not None
        return "torn" if is_under_way or _is_torn(rest) else "damaged"


def _has_frame(rest: bytes) -> bool:
    """Tell whether there is a sound frame anywhere behind the beginning, or so much like one that no crash left it."""
    at, left, view = 0, _LOOKED_AT + _LOOKED_AT_SHARE * len(rest), memoryview(rest)
    while (at := rest.find(MARK, at + 1)) >= 0:
        header = rest[at : at + _HEADER.size]
        sizes = _sizes(header)
        end = at + _HEADER.size + (sizes[0] if sizes else 0)
        if sizes is None or end > len(rest):
            continue
        left -= end - at
        if left < 0 or _frame(header, view[at + _HEADER.size : end], sizes, 0) is not None:
            return True
    return False


_LOOKED_AT, _LOOKED_AT_SHARE = 1 << 24, 4
"""Bytes that are looked at for a frame behind what is none, and how often all: headers may claim what others do."""


def _sound(data: bytes) -> Frame | None:
    """Return the frame that bytes begin with, if it is sound."""
    header = data[: _HEADER.size]
    sizes = _sizes(header)
    return sizes and _frame(header, data[_HEADER.size : _HEADER.size + sizes[0]], sizes, 0)


def _is_torn(rest: bytes) -> bool:
    """Tell whether an unsound frame, the last, may be what a crash left: part of one, or one that ends in zeros."""
    if rest[-1:] == b"\0":
        return _sound(rest[:-1] + CLOSE) is None  # one byte less than all of it is damage
    if len(rest) < _HEADER.size:
        return MARK.startswith(rest[: len(MARK)])
    _, size, _, _, _ = _HEADER.unpack_from(rest)
    if not rest.startswith(MARK) or _HEADER.size + size <= len(rest):
        return False
    # Perhaps it is all there, and no length that it has is right.
    length = (len(rest) - _HEADER.size).to_bytes(8, "big")
    return _sound(rest[: len(MARK)] + length + rest[len(MARK) + 8 :]) is None


def _is_newer(header: bytes) -> bool:
    """Tell whether a frame begins with the mark of a later version: a later letter, as what a crash tore is not."""
    return len(header) == _HEADER.size and header.startswith(MARK[:-1]) and MARK[-1] < header[3] <= ord("Z")


def _sizes(header: bytes) -> tuple[int, int] | None:
    if len(header) < _HEADER.size or not header.startswith(MARK):
        return None
    _, payload, head, _, _ = _HEADER.unpack(header)
    return (payload, head) if 0 < head <= payload else None


def _frame(header: bytes, payload: bytes | memoryview, sizes: tuple[int, int], offset: int) -> Frame | None:
    size, head = sizes
    digest = header[_DIGEST]
    if len(payload) != size or _digest(header[:24] + FIRST, payload) != digest:
        return None
    start = offset + _HEADER.size
    try:
        return Frame(ormsgpack.unpackb(payload[:head]), start + head, start + size, digest)
    except ValueError as error:  # its digest is right, so it is no crash's
        raise corrupt("A frame of this log is damaged", error) from error


def _digest(header: bytes, payload: bytes | memoryview) -> bytes:
    digest = blake2b(header, digest_size=8)
    digest.update(payload)
    return digest.digest()
