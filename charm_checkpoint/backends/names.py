"""Ids and names as bytes and back, so that any text fits in any store; pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, overload

from charm_checkpoint.contract import CheckpointRow

CHECKPOINTS, MESSAGES = 0, 1
"""Kinds of threads: the two have state and chunks apart."""

_UUID, _TEXT = b"u", b"t"


@overload
def text_bytes(text: str) -> bytes: ...
@overload
def text_bytes(text: None) -> None: ...
def text_bytes(text: str | None) -> bytes | None:
    """Encode any text, lone surrogates included."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def bytes_text(data: bytes) -> str:
    """Undo `text_bytes`."""
    return data.decode("utf-8", "surrogatepass")


@overload
def id_bytes(id: str) -> bytes: ...
@overload
def id_bytes(id: str | None) -> bytes | None: ...
@lru_cache(8192)
def id_bytes(id: str | None) -> bytes | None:
    """Encode an id: 17 bytes if it is a UUID in its usual form. Order among UUIDs is kept."""
    if id is None:
        return None
    if len(id) == 36 and id[8] == id[13] == id[18] == id[23] == "-":
        digits = id.replace("-", "")
        if len(digits) == 32 and set(digits) <= _HEX:
            return _UUID + bytes.fromhex(digits)
    return _TEXT + text_bytes(id)


_HEX = frozenset("0123456789abcdef")


@overload
def id_text(data: bytes) -> str: ...
@overload
def id_text(data: bytes | None) -> str | None: ...
@lru_cache(8192)
def id_text(data: bytes | None) -> str | None:
    """Undo `id_bytes`."""
    if data is None:
        return None
    if data[:1] == _UUID:
        digits = data[1:].hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return bytes_text(data[1:])


def identity(tenant: bytes, kind: int, thread: str) -> bytes:
    """Return the 16 bytes by which a thread of a tenant is found."""
    digest = blake2b(len(tenant).to_bytes(4, "big"), digest_size=16)
    digest.update(tenant)
    digest.update(bytes((kind,)))
    digest.update(text_bytes(thread))
    return digest.digest()


def checkpoint_row(thread: str, ns: str, row: Sequence[Any]) -> CheckpointRow:
    """Build a record from key, id, parent, conflict, roots and body as SQL returns them."""
    key, id, parent, conflict, roots, body = row
    return CheckpointRow(thread, ns, id_text(id), id_text(parent), key, body, roots, id_text(conflict))
