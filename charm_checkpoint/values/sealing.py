"""What is stored says whose it is and what it is; this is the one place where bytes become trusted.

A record, a task's writes, a message list, a batch and an item's value are stored *sealed*::

    03 | mark, 8 bytes | check, 4 bytes | packed bytes

``mark`` is of tenant and thread, or of tenant and space of items: so what was moved to another is told from what is its
own, and a copy is given its new thread's mark without a look at the rest (`marked`). ``check`` is a CRC-32 of what the
thing is there (its kind, namespace, id, parent and roots) and of the packed bytes: so what is damaged, or stands in
another's place, is found out. A hash that cannot be forged would be none the safer, as anybody can make it, and takes
four times as long for large values.

There is no key in it: whoever may write to a store can make a seal, and replace what is sealed by what an earlier
version stored without one. A mode with a key would have a seal of its own first byte, with a MAC over the mark, too, in
the check's place, and would refuse all else; it needs to change `seal`, `opened` and its short form for items, and
nothing outside this module but copies, which a store can then no longer make by itself.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple
from zlib import crc32

import ormsgpack

from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.values import packing

SEALED: Final = b"\x03"
"""The first byte of what is sealed; others are those of packing.py, and were written by versions before 0.3."""
MARK_SIZE: Final = 8
"""Bytes of a mark, which stands behind the first byte."""
SEAL_SIZE: Final = 13
"""Bytes in front of what is packed."""

CHECKPOINTS, MESSAGES, ITEMS = 0, 1, 2
"""Kinds of what a tenant has under a name: a thread's checkpoints, its messages, and spaces of items."""

NO_MARK: Final = bytes(MARK_SIZE)
"""The mark where a store cannot give copies their own: it is nobody's, and so everybody's."""

_RECENT = 256


@lru_cache(_RECENT)
def identity(tenant: bytes, kind: int, name: bytes) -> bytes:
    """Return the 16 bytes by which a thread, or a space of items, of a tenant is found; it begins with the mark."""
    digest = blake2b(len(tenant).to_bytes(4, "big"), digest_size=16)
    digest.update(tenant)
    digest.update(bytes((kind,)))
    digest.update(name)
    return digest.digest()


@lru_cache(_RECENT)
def _front(tenant: bytes, space: bytes) -> bytes:
    """Return how the sealed values of a space of items begin."""
    return SEALED + identity(tenant, ITEMS, space)[:MARK_SIZE]


class Identity(NamedTuple):
    """Whose a stored thing is, and what it is there. ``trusting`` has it be opened whatever its seal says."""

    mark: bytes
    about: bytes
    trusting: bool = False


class Identities:
    """The identities of one tenant's things.

    ``marks`` False is for stores that do not give copies a mark (see `charm_checkpoint.contract.Capabilities`): there
    checkpoints and writes have none. ``trusting`` is for who wants to see what is refused.
    """

    def __init__(self, tenant: str = "", *, marks: bool = True, trusting: bool = False) -> None:
        self._tenant = _bytes(tenant)
        self._marks = marks
        self._trusting = trusting

    def checkpoint(self, thread: str, ns: str, id: str, parent: str | None, roots: bytes) -> Identity:
        """Return the identity of a checkpoint's record."""
        of = None if parent is None else _bytes(parent)
        return self._identity(CHECKPOINTS, thread, ["checkpoint", _bytes(ns), _bytes(id), of, roots])

    def writes(self, thread: str, ns: str, id: str) -> Identity:
        """Return the identity of what tasks wrote to a checkpoint."""
        return self._identity(CHECKPOINTS, thread, ["writes", _bytes(ns), _bytes(id)])

    def messages(self, thread: str, roots: bytes) -> Identity:
        """Return the identity of a message list."""
        return self._identity(MESSAGES, thread, ["messages", roots])

    def batch(self, thread: str) -> Identity:
        """Return the identity of batches behind a message list."""
        return self._identity(MESSAGES, thread, ["batch"])

    def item(self, space: bytes, key: bytes) -> Identity:
        """Return the identity of an item's value."""
        return Identity(
            identity(self._tenant, ITEMS, space)[:MARK_SIZE], ormsgpack.packb(["item", key]), self._trusting
        )

    def opened_item(self, space: bytes, key: bytes, data: bytes) -> bytes | None:
        """Return what `opened` does of an item's value, None where that raises: for a search, where each one counts."""
        if data[:1] != SEALED:
            return data
        packed = data[SEAL_SIZE:]
        check = crc32(packed, crc32(ormsgpack.packb(["item", key])))
        is_ours = int.from_bytes(data[1 + MARK_SIZE : SEAL_SIZE], "big") == check and data.startswith(
            _front(self._tenant, space)
        )
        return packed if is_ours or self._trusting else None

    def _identity(self, kind: int, thread: str, about: list[object]) -> Identity:
        mark = identity(self._tenant, kind, _bytes(thread))[:MARK_SIZE] if self._marks or kind else NO_MARK
        return Identity(mark, ormsgpack.packb(about), self._trusting)


def seal(whose: Identity, *packed: bytes) -> bytes:
    """Return packed bytes, which may come in parts, with their seal in front."""
    return b"".join((SEALED, whose.mark, _check(whose, *packed), *packed))


def opened(whose: Identity, data: bytes) -> bytes:
    """Return the packed bytes of what was stored as this; raises `StoreCorrupt` if it is damaged or something else.

    What an earlier version stored has no seal, which its first byte says: it is returned as it is.
    """
    if data[:1] != SEALED:
        return data
    packed = data[SEAL_SIZE:]
    mark = data[1 : 1 + MARK_SIZE]
    is_ours = mark in (whose.mark, NO_MARK) or whose.mark == NO_MARK
    if whose.trusting or (_check(whose, packed) == data[1 + MARK_SIZE : SEAL_SIZE] and is_ours):
        return packed
    raise StoreCorrupt(_MOVED if not is_ours and len(data) > SEAL_SIZE else _DAMAGED)


def marked(data: bytes, owner: bytes) -> bytes:
    """Return what is stored as it belongs into a copy; ``owner`` is the `identity` of the copy's thread."""
    if data[:1] != SEALED:
        return data
    return b"".join((SEALED, owner[:MARK_SIZE], data[1 + MARK_SIZE :]))


def unpacked_size(data: bytes) -> int:
    """Return how many bytes sealed or packed bytes would be, unpacked, as far as can be told without doing it."""
    if data[:1] != SEALED:
        return packing.unpacked_size(data)
    # The size of the content is at the beginning of the frame: no copy of the rest is needed.
    return max(packing.unpacked_size(data[SEAL_SIZE : SEAL_SIZE + 32]), len(data))


def _check(whose: Identity, *packed: bytes) -> bytes:
    check = crc32(whose.about)
    for part in packed:
        check = crc32(part, check)
    return check.to_bytes(4, "big")


def _bytes(text: str) -> bytes:
    return str.encode(text, "utf-8", "surrogatepass")


_MOVED = (
    "What is stored here was written for another thread, namespace of items or tenant and was put in this place, or it "
    "is damaged"
)
_DAMAGED = (
    "What is stored here is damaged, or was written for another checkpoint or key and was put in this place: its "
    "checksum is not right"
)
