"""What the tests of long-term memory put into a store, and what they keep of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from charm_checkpoint.contract_items import (
    BatchReply,
    EntriesReply,
    Entry,
    ItemBatch,
    ItemChange,
    ItemKey,
    ItemQuery,
    ItemRow,
)
from charm_checkpoint.testing.call_modes import ItemsInMode

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND
LATE = NOW + 1000 * HOUR
"""Later than anything that a test does."""

PATHS = (
    b"",
    b"\0",
    b"i",
    b"i\0",
    b"ia",
    b"ia\0",
    b"ia\0b\0",
    b"iab\0",
    b"i\xff",
    b"i\xff\xff",
    b"\xff",
    b"\xff\xff",
    b"I",
    b"i%",
    b"i_",
    b"i*",
    b"i[a]",
    b"i{a}",
    b"i\\",
    b"i'\"",
    b"..",
    b"../x",
    b"i/",
    b"\xed\xa0\x80",
    b"x" * 40_000,
    b"x" * 39_999,
    b"\xff" * 40_000,
)
"""Spaces and keys that naive storage confuses, cuts, changes or takes for code. No two are the same."""


def put(key: bytes, value: bytes = b"value", space: bytes = b"s", **fields: Any) -> ItemChange:
    """Return a put."""
    return ItemChange(space, key, value, **fields)


def delete(key: bytes, space: bytes = b"s", **fields: Any) -> ItemChange:
    """Return a delete."""
    return ItemChange(space, key, None, **fields)


def keys(*names: bytes, space: bytes = b"s") -> list[ItemKey]:
    """Return items of a space."""
    return [ItemKey(space, name) for name in names]


def do(
    items: ItemsInMode,
    *changes: ItemChange,
    now: int = NOW,
    reads: Sequence[ItemKey] = (),
    touches: Sequence[ItemKey] = (),
) -> BatchReply:
    """Do a batch."""
    return items.change(ItemBatch(now, reads, touches, changes))


def stored(items: ItemsInMode, *changes: ItemChange, now: int = NOW, touches: Sequence[ItemKey] = ()) -> list[int]:
    """Do a batch that must not be refused; return what it says of its changes."""
    reply = do(items, *changes, now=now, touches=touches)
    assert reply.outcome == "stored"
    assert len(reply.updated) == len(changes)
    return list(reply.updated)


def read(items: ItemsInMode, *wanted: ItemKey, now: int = NOW) -> list[ItemRow | None]:
    """Read items."""
    reply = do(items, now=now, reads=wanted)
    assert (reply.outcome, list(reply.updated)) == ("stored", [])
    return list(reply.rows)


def listed(items: ItemsInMode, prefix: bytes = b"", now: int = NOW, size: int = 1000, **fields: Any) -> list[ItemKey]:
    """Return which items a page has."""
    return [row.item for row in items.page(ItemQuery(prefix, now, size, **fields))]


class Known(NamedTuple):
    """What a view knows of an item."""

    updated: int
    expires: int | None
    entry: bytes


class View:
    """What a program keeps of the spaces below a prefix, brought up to date by what has changed in them."""

    def __init__(self, items: Any, prefix: bytes = b"") -> None:
        self._items = items
        self._prefix = prefix
        self.mark: Any = None
        self.stamps: dict[bytes, int] = {}
        self.spaces: dict[bytes, dict[bytes, Entry]] = {}

    def update(self) -> EntriesReply:
        """Ask for what has changed, and take it in."""
        reply: EntriesReply = self._items.entries(self._prefix, self.stamps, self.mark)
        self.take(reply)
        return reply

    def take(self, reply: EntriesReply) -> None:
        """Take in what has changed, and see that it fits what was known."""
        self.mark = reply.mark
        if reply.same:
            assert list(reply.spaces) == []
            return
        there: dict[bytes, dict[bytes, Entry]] = {}
        for space in reply.spaces:
            assert space.space.startswith(self._prefix)
            assert space.space not in there, "a space was told of twice"
            held = dict(self.spaces.get(space.space, {}))
            held.update((entry.key, entry) for entry in space.entries)
            if space.keys is None:
                assert 0 < self.stamps.get(space.space, 0) <= space.stamp, "a space that was not known comes whole"
            else:
                assert len(space.keys) == len(set(space.keys))
                assert held.keys() >= set(space.keys), "an item is missing"
                held = {key: held[key] for key in space.keys}
            assert held, "a space without items is not there"
            there[space.space] = held
        self.spaces = there
        self.stamps = {space.space: space.stamp for space in reply.spaces}

    def known(self, now: int = NOW) -> dict[ItemKey, Known]:
        """Return what is known of all items that are not expired."""
        return {
            ItemKey(space, key): Known(entry.updated, entry.expires, bytes(entry.entry))
            for space, held in self.spaces.items()
            for key, entry in held.items()
            if entry.expires is None or entry.expires > now
        }


def all_known(items: Any, prefix: bytes = b"", now: int = NOW) -> dict[ItemKey, Known]:
    """Return what a program that knows nothing yet comes to know."""
    view = View(items, prefix)
    view.update()
    return view.known(now)
