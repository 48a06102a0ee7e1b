"""msgpack arrays and maps, put together from items that are encoded already; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def array(items: Sequence[bytes]) -> bytes:
    """Return the array of some items: its header, and they after it."""
    return _header(len(items), 0x90, b"\xdc", b"\xdd") + b"".join(items)


def mapping(keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Return the map of some keys to some values."""
    return _header(len(keys), 0x80, b"\xde", b"\xdf") + b"".join(alternating(keys, values))


def elements(data: bytes) -> list[bytes]:
    """Undo `array`: return the items of an array, each as it is encoded."""
    count, at = _opened(data, 0)
    found = []
    for _ in range(count):
        start, left = at, 1
        while left:
            inside, at = _opened(data, at)
            left += inside - 1
        if at > len(data):
            break
        found.append(data[start:at])
    if len(found) < count or at != len(data):
        raise ValueError("an array has another size than it says")
    return found


def _opened(data: bytes, at: int) -> tuple[int, int]:
    """Return how many items the one that begins at a place has in it, and where they begin, or what comes after it."""
    kind = data[at]
    if 0x80 <= kind <= 0x9F:
        return (kind & 0x0F) << (kind < 0x90), at + 1
    if 0xA0 <= kind <= 0xBF:
        return 0, at + 1 + (kind & 0x1F)
    after = at + 1 + _SIZES.get(kind, 0)
    if kind in _HOLD:
        return int.from_bytes(data[at + 1 : after], "big") << (kind >= 0xDE), after
    return 0, after + int.from_bytes(data[at + 1 : after], "big") + (kind in _TYPED) if kind in _SIZED else after


_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the sizes that bytes, extensions and texts tell in front."""
_TYPED = frozenset((0xC7, 0xC8, 0xC9))
"""Extensions of any size: behind their size stands a code."""
_HOLD = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""Bytes of the counts that arrays and maps tell in front."""
_FIXED = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_FIXED.update({0xD4 + power: 1 + (1 << power) for power in range(5)})
"""Bytes of numbers, and of extensions of fixed sizes."""
_SIZES = {**_SIZED, **_HOLD, **_FIXED}

_LONG = {bytes: b"\xc6", str: b"\xdb"}


def framed(value: bytes | str) -> tuple[bytes, bytes] | None:
    """Return a long value's header and its bytes apart: nothing is copied; None where it cannot be told so."""
    try:
        data = value if isinstance(value, bytes) else value.encode()
    except UnicodeEncodeError:  # lone surrogates
        return None
    return (_LONG[type(value)] + len(data).to_bytes(4, "big"), data) if 2**16 <= len(data) < 2**32 else None


def unframed(head: bytes, parts: Sequence[bytes]) -> bytes | str | None:
    """Return the value of a header and the parts of its bytes, None if the header is another's."""
    if not is_framed(head, parts):
        return None
    data = b"".join(parts)
    if head[:1] == _LONG[bytes]:
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def is_framed(head: bytes, parts: Sequence[bytes]) -> bool:
    """Tell whether this is the header of bytes or text, and the parts of just that."""
    return len(head) == 5 and head[:1] in _LONG.values() and sum(map(len, parts)) == int.from_bytes(head[1:], "big")


def alternating(keys: Iterable[bytes], values: Iterable[bytes]) -> list[bytes]:
    """Return the first key, the first value, the second key, and so on."""
    return [part for pair in zip(keys, values, strict=True) for part in pair]


def _header(count: int, short: int, middle: bytes, long: bytes) -> bytes:
    if count < 16:
        return bytes((short | count,))
    return middle + count.to_bytes(2, "big") if count < 2**16 else long + count.to_bytes(4, "big")
