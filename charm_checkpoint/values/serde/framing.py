"""msgpack arrays and maps, put together from items that are encoded already; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def array(items: Sequence[bytes]) -> bytes:
    """Return the array of some items: its header, and they after it."""
    return _header(len(items), 0x90, b"\xdc", b"\xdd") + b"".join(items)


def mapping(keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Return the map of some keys to some values."""
    return _header(len(keys), 0x80, b"\xde", b"\xdf") + b"".join(alternating(keys, values))


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
