"""Key names, rows and changes of items in Redis; pure. The layout is told in lua/item_common.lua."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from charm_checkpoint.contract_items import Entry, ItemChange, ItemKey, ItemRow
from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.stores.redis.rows import LARGEST, short
from charm_checkpoint.stores.shared.names import RECENT, text_bytes
from charm_checkpoint.values.sealing import ITEMS, identity

_SPACE, _AHEAD = b"%b:{%b}:%b", b"%b:{%b}:ahead:%b"
_LIST = b"%b:{spaces-%b}:%b"
"""Names of keys; a cluster keeps those together that have the same text in braces."""

_PARTS = (
    b"space", b"item-rows", b"item-stamps", b"item-entries", b"item-vectors", b"item-values", b"item-order",
    b"item-ends", b"item-done", b"item-intent",
)  # fmt: skip
_LIST_PARTS = (b"paths", b"tokens")

STATE, ROWS, STAMPS, ENTRIES, VECTORS, VALUES, ORDER, ENDS, DONE, INTENT = range(len(_PARTS))
"""Which of a space's keys holds what."""


class ItemNames:
    """The names of the keys of all items of one prefix and tenant."""

    def __init__(self, prefix: str, tenant: str) -> None:
        self._prefix = text_bytes(prefix)
        self.tenant = tenant
        self._tenant = text_bytes(tenant)
        family = short(blake2b(self._tenant, digest_size=16).digest()) if tenant else b""
        self.listing = tuple(_LIST % (self._prefix, family, part) for part in _LIST_PARTS)
        """The paths of all spaces, and by their tags the tokens under which they were entered."""
        self.tag = lru_cache(RECENT)(self._tag)
        self.keys = lru_cache(RECENT)(self._keys)

    def _tag(self, path: bytes) -> bytes:
        """Return what stands for a space in names."""
        return short(identity(self._tenant, ITEMS, path))

    def _keys(self, path: bytes) -> tuple[bytes, ...]:
        """Return the keys of a space, in the order of STATE and the others."""
        tag = self.tag(path)
        return tuple(_SPACE % (self._prefix, tag, part) for part in _PARTS)

    def stage(self, path: bytes, token: bytes) -> bytes:
        """Return the key of what is sent ahead of a call."""
        return _AHEAD % (self._prefix, self.tag(path), token)


def packed_change(change: ItemChange) -> bytes:
    """Write a change as item_change.lua reads it."""
    parts = (change.key, change.tags, change.entry, change.vectors)
    kind = b"p" if change.value is not None else b"x" if change.expired else b"d"
    numbers = (change.ttl, change.expect, change.created, change.updated)
    header = b" ".join((kind, *(b"%d" % len(part) for part in parts), *map(_number, numbers))) + b"\n"
    packed = b"".join((header, *parts, change.value or b""))
    if len(packed) > LARGEST:
        raise DataError(f"the item takes {len(packed):,} bytes; Redis holds {LARGEST:,} in one piece")
    return packed


def _number(value: int | None) -> bytes:
    return b"-" if value is None else b"%d" % value


def unpacked(sizes: bytes, data: bytes) -> list[bytes | None]:
    """Take pieces apart that item_packed.lua put together."""
    pieces: list[bytes | None] = []
    at = 0
    for size in map(int, sizes.split()):
        if size < 0:
            pieces.append(None)
        else:
            pieces.append(data[at : at + size])
            at += size
    return pieces


def read_row(item: ItemKey, row: bytes, value: bytes) -> ItemRow:
    """Read a row as it is stored."""
    try:
        created, updated, ttl, expires, _ = row.split(b" ", 4)
        ends = (_int64(ttl) if ttl else None, _int64(expires) if expires else None)
        return ItemRow(*item, value, _int64(created), _int64(updated), *ends)
    except ValueError as error:
        raise _damaged(item.key, row) from error


def read_entry(key: bytes, row: bytes, entry: bytes | None, vectors: bytes | None) -> Entry:
    """Read what is stored for searching."""
    try:
        _, updated, _, expires, _ = row.split(b" ", 4)
        return Entry(key, _int64(updated), _int64(expires) if expires else None, entry or b"", vectors)
    except ValueError as error:
        raise _damaged(key, row) from error


def _int64(text: bytes) -> int:
    number = int(text)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("no time is so far away")
    return number


def _damaged(key: bytes, row: bytes) -> StoreCorrupt:
    return StoreCorrupt(f"The row of the item {key[:60]!r} is {row[:60]!r}, which is none; delete the item.")
