"""Items that may be lost: written under a checksum, and kept within bounds, of which the oldest go first."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from charm_checkpoint.contract_items import (
    BatchReply,
    ItemBackend,
    ItemBatch,
    ItemChange,
    ItemKey,
    ItemQuery,
    ItemRow,
    ItemUsage,
)
from charm_checkpoint.errors import ReadOnlyStore, SchemaMismatch, StoreCorrupt, StoreUnavailable
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow, Run

log = logging.getLogger("charm_checkpoint")

NOT_NOW: Final = (StoreUnavailable, ReadOnlyStore, StoreCorrupt, SchemaMismatch)
"""Errors of a store that what can be done without does not pass on."""

_FORM: Final = b"\x01"
_DIGEST: Final = 8
_SHARE: Final = 16  # of the bounds: so much may be put before it is counted, and so much is made room
_PAGE_BYTES: Final = 1 << 20
_PAGE_ITEMS: Final = 256


def now_us() -> int:
    """Return the date in whole microseconds since 1970."""
    return clock.now()


def seal(item: ItemKey, payload: bytes) -> bytes:
    """Return a payload as it is stored: with a checksum of it and of what item it is."""
    return _FORM + _digest(item, payload) + payload


def unseal(row: ItemRow) -> bytes | None:
    """Undo `seal`; None for what was damaged, or was sealed as another item or by nobody."""
    digest, payload = row.value[1 : 1 + _DIGEST], row.value[1 + _DIGEST :]
    sound = row.value[:1] == _FORM and digest == _digest(row.item, payload)
    return payload if sound else None


def _digest(item: ItemKey, payload: bytes) -> bytes:
    digest = hashlib.blake2b(framed(item.space, item.key), digest_size=_DIGEST)
    digest.update(payload)
    return digest.digest()


def framed(*parts: bytes) -> bytes:
    """Join parts so that no other parts give the same, and what fewer or other parts give never begins it."""
    return len(parts).to_bytes(4, "big") + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class Warner:
    """Warns of each kind of mishap once, until it is `over`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._told: set[str] = set()

    def warn(self, kind: str, said: str) -> None:
        """Say of a mishap what it was, unless one of its kind was told already."""
        level = logging.DEBUG if kind in self._told else logging.WARNING
        self._told.add(kind)
        log.log(level, "%s: %s", self._what, said)

    def over(self, kind: str) -> None:
        """Let the next mishap of a kind be told again."""
        self._told.discard(kind)


class Bounds(NamedTuple):
    """How many items, and how many bytes of keys and values, are kept."""

    entries: int
    size: int


class Bounded:
    """The items below one prefix, within bounds.

    They are counted now and then, after a sixteenth of the bounds was put; so what several programs put may exceed the
    bounds by that for each, for a while. Expired items count until they are thrown out, as if they were old.
    """

    def __init__(
        self,
        items: ItemBackend,
        prefix: bytes,
        bounds: Bounds,
        warner: Warner,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self.items = items
        self.prefix = prefix
        self.bounds = bounds
        self.clock = clock
        self._warner = warner
        # Programs that each put a few, and end, count too: one in so many.
        self._entries = random.randrange(max(1, bounds.entries // _SHARE))
        self._size = random.randrange(max(1, bounds.size // _SHARE))

    def fetch(self, keys: Sequence[ItemKey]) -> Flow[dict[ItemKey, ItemRow]]:
        """Return those of the items that are there and have not expired; none if the store cannot be read now."""
        if not keys:
            return {}
        try:
            rows = yield Run(partial(self.items.fetch, keys))
        except NOT_NOW as error:
            self._warner.warn("read", f"the store could not be read, so nothing is found: {error}")
            return {}
        self._warner.over("read")
        now = self.clock()
        return {item: row for item, row in rows.items() if not row.is_expired(now)}

    def change(self, changes: Sequence[ItemChange]) -> Flow[BatchReply | None]:
        """Put and delete, and make room if it is time to; None if the store cannot be written now."""
        if not changes:
            return None
        try:
            reply: BatchReply = yield Run(partial(self.items.change, ItemBatch(self.clock(), changes=changes)), True)
            self._entries += len(changes)
            self._size += sum(len(change.value or b"") + len(change.key) for change in changes)
            if self._entries * _SHARE >= self.bounds.entries or self._size * _SHARE >= self.bounds.size:
                self._entries = self._size = 0
                yield from self.make_room()
        except NOT_NOW as error:
            self._warner.warn("write", f"the store could not be written, so nothing is kept: {error}")
            return None
        self._warner.over("write")
        return reply

    def make_room(self) -> Flow[int]:
        """Throw out the oldest items, if there are too many, until a sixteenth of the bounds is free."""
        usage: ItemUsage = yield Run(partial(self.items.usage, self.prefix))
        if usage.items <= self.bounds.entries and usage.payload_bytes <= self.bounds.size:
            return 0
        entries = usage.items - (self.bounds.entries - self.bounds.entries // _SHARE)
        size = usage.payload_bytes - (self.bounds.size - self.bounds.size // _SHARE)
        average = max(1, usage.payload_bytes // max(1, usage.items))
        page = max(1, min(_PAGE_ITEMS, _PAGE_BYTES // average))
        gone = 0
        while entries > 0 or size > 0:
            # At the first of all times nothing has expired: what has by now is listed, too.
            query = ItemQuery(self.prefix, 1, page, oldest_first=True)
            rows: Sequence[ItemRow] = yield Run(partial(self.items.page, query))
            now, leaving = self.clock(), []
            for row in rows:
                if entries <= 0 and size <= 0:
                    break
                entries -= 1
                size -= len(row.key) + len(row.value)
                leaving.append(ItemChange(row.space, row.key, None, expired=row.is_expired(now)))
            if not leaving:
                break
            yield Run(partial(self.items.change, ItemBatch(now, changes=leaving)), True)
            gone += len(leaving)
        return gone

    def erase(self, prefix: bytes | None = None) -> Flow[int]:
        """Remove all items, or those below a prefix."""
        gone: int = yield Run(partial(self.items.erase, self.prefix if prefix is None else prefix), True)
        return gone
