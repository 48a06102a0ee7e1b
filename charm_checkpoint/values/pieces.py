"""Where to cut bytes that have no elements, so that an edit in the middle leaves the pieces after it alone; pure."""

from __future__ import annotations

from collections.abc import Iterator

SHORTEST, LONGEST = 1 << 16, 1 << 18
"""Bytes in a piece, at least and at most."""
BLOCK = 1 << 13
"""Bytes in which a piece's end is looked for at a time."""

# One byte value in four is marked, and a piece ends after seven marked bytes in a row: once in 16,384 bytes where
# these are as good as random, and at the longest piece's end where it never happens.
_MARKED = bytes(number * 167 % 256 < 64 for number in range(256))
_WORD = b"\1" * 7


def cut(data: bytes) -> Iterator[bytes]:
    """Yield the pieces of some bytes; equal stretches are cut alike, but for the first piece of each."""
    start = 0
    while len(data) - start > LONGEST:
        end = _end(data, start)
        yield data[start:end]
        start = end
    yield data[start:]


def _end(data: bytes, start: int) -> int:
    first, last = start + SHORTEST, start + LONGEST
    for begin in range(first, last, BLOCK):
        found = data[begin : min(begin + BLOCK + len(_WORD) - 1, last)].translate(_MARKED).find(_WORD)
        if found >= 0:
            return begin + found + len(_WORD)
    return last
