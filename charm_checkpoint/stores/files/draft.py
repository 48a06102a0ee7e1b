"""What a batch makes of one space: rows and blobs to write; pure. The rules are those of stores/ram_items.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from charm_checkpoint.contract_items import ItemChange
from charm_checkpoint.stores.files.log import Entry
from charm_checkpoint.stores.files.space import Item, Row, Space, items_entry, put_row


@dataclass
class Draft:
    """What is to be written behind a space as it is; nothing yet."""

    path: bytes
    space: Space
    host: bytes
    now: int
    rows: list[Row] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)
    removed: int = 0
    """How many items it removes."""

    def __post_init__(self) -> None:
        self.digest = self.space.digest
        self._stamp = self.space.stamp
        self._first = max(self.now, self._stamp + 1)

    def is_expected(self, change: ItemChange) -> bool:
        """Tell whether an item is as a change of it expects."""
        there = self.space.there(change.key, self.now)
        return change.expect in (None, there.updated if there else 0)

    def touch(self, key: bytes) -> None:
        """Put off the end of an item, if it has one."""
        there = self.space.there(key, self.now)
        if there is not None and there.ttl is not None:
            self.rows.append([key, self._next_stamp(), self.now + there.ttl - there.updated])

    def change(self, change: ItemChange) -> int:
        """Put an item or remove it; return what `BatchReply.updated` says of it."""
        if change.value is None:
            held = self.space.items.get(change.key)
            return self.remove(change.key) if held and held.is_expired(self.now) == change.expired else 0
        there = self.space.there(change.key, self.now)
        stamp = self._next_stamp()
        updated = stamp if change.updated is None else change.updated
        created = change.created if change.created is not None else there.created if there else updated
        expires = None if change.ttl is None else self.now + change.ttl
        sizes = len(change.value), len(change.entry), len(change.vectors)
        item = Item(stamp, self.host, updated, created, change.ttl, expires, change.tags, 0, *sizes)
        self.rows.append(put_row(change.key, item))
        self.blobs += (change.value, change.entry, change.vectors)
        return updated

    def remove(self, key: bytes) -> int:
        """Remove an item that is there; return the stamp of that."""
        self.removed += 1
        self.rows.append([key, self._next_stamp()])
        return self._stamp

    def take(self, key: bytes, item: Item, blobs: bytes) -> None:
        """Put in an item of another version of this space, as it is but for its stamp."""
        self.rows.append(put_row(key, item._replace(stamp=self._next_stamp())))
        self.blobs.append(blobs)

    def _next_stamp(self) -> int:
        self._stamp = max(self.now, self._stamp + 1)
        return self._stamp

    # ---------------------------------------------------------------- to be written

    def entry(self) -> Entry:
        """Return the frame of it."""
        return items_entry(self.host, self.rows, self.blobs)

    def is_left(self) -> bool:
        """Tell whether there will be an item."""
        if not self.removed:
            return True
        keys = set(self.space.items)
        for key, _, *rest in self.rows:
            (keys.add if rest else keys.discard)(key)
        return bool(keys)

    def anew(self) -> tuple[Space, list[Entry]]:
        """Return what comes to the same in a new log: what it begins with, and what is behind that.

        No key of what is removed is left in it.
        """
        kept = self.space.copy()
        if kept.path is None:
            kept.path, kept.first = self.path, self._first
            kept.removed = self._first
        for key, stamp, *rest in self.rows:
            if len(rest) != 1:  # or it is put off only
                kept.items.pop(key, None)
            if not rest:
                kept.removed = stamp
        if self.removed:
            kept.stamp = kept.hosts[self.host] = self._stamp
        rows = [row for row in self.rows if len(row) > 2]
        return kept, [items_entry(self.host, rows, self.blobs)] if rows else []
