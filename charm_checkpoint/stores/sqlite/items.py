"""The plans of the SQLite store that change items of long-term memory; those that read are in item_reads.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from charm_checkpoint.contract_items import BatchReply, ItemBatch, ItemChange, ItemKey, ItemRow
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.sqlite.item_reads import PAIRS, WANTED, SpaceRow, SqliteItemReads
from charm_checkpoint.stores.sqlite.room import give_back
from charm_checkpoint.stores.sqlite.steps import Sql, batches

_LOOK_UP = f"""
    {WANTED} SELECT s.key, s.path, s.stamp, s.removed, s.born, w.name, i.key, i.created, i.updated, i.ttl, i.expires
    FROM wanted w CROSS JOIN item_space s ON s.tenant = ? AND s.path = w.path
    LEFT JOIN item i ON i.space = s.key AND i.name = w.name"""
_LAST_KEYS = """
    SELECT coalesce((SELECT max(key) FROM item_space), 0), coalesce((SELECT max(item) FROM item_value), 0),
        coalesce((SELECT number FROM item_changes WHERE tenant = ?), 0)"""
_ADD_SPACE = "INSERT INTO item_space (key, tenant, path, stamp, removed, born) VALUES (?, ?, ?, ?, ?, ?)"
_MOVE_SPACE = "UPDATE item_space SET stamp = ?, removed = ? WHERE key = ?"
_DROP_EMPTY = "DELETE FROM item_space WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM item WHERE space = ?1)"
_TOUCH = "UPDATE item SET touched = ?, expires = ? WHERE space = ? AND name = ?"
_PUT = """
    INSERT OR REPLACE INTO item (space, name, key, created, updated, touched, ttl, expires, tags, entry)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_PUT_VALUE = "INSERT OR REPLACE INTO item_value (item, value) VALUES (?, ?)"
_PUT_VECTORS = "INSERT OR REPLACE INTO item_vectors (item, vectors) VALUES (?, ?)"
_DROP_VALUE = "DELETE FROM item_value WHERE item = ?"
_DROP_VECTORS = "DELETE FROM item_vectors WHERE item = ?"
_DROP = "DELETE FROM item WHERE space = ? AND name = ?"
_COUNT_CHANGE = """
    INSERT INTO item_changes (tenant, number) VALUES (?, 1) ON CONFLICT (tenant) DO UPDATE SET number = number + 1"""
_EXPIRED = """
    SELECT i.space, i.name, i.key FROM item i INDEXED BY item_end CROSS JOIN item_space s ON s.key = i.space
    WHERE i.expires <= ? AND s.tenant = ? ORDER BY i.expires LIMIT ?"""
_COUNT_REMOVALS = """
    UPDATE item_space SET stamp = max(?1, stamp + 1) + ?2 - 1, removed = max(?1, stamp + 1) + ?2 - 1 WHERE key = ?3"""


class Held(NamedTuple):
    """What is stored of an item, but for what it holds."""

    key: int
    created: int | None
    updated: int
    ttl: int | None
    expires: int | None


@dataclass
class Draft:
    """What a batch makes of the items that were looked up for it, as rows to write."""

    now: int
    tenant: bytes
    spaces: dict[bytes, SpaceRow] = field(default_factory=dict)
    held: dict[ItemKey, Held] = field(default_factory=dict)
    last_space: int = 0
    last_item: int = 0
    last_change: int = 0
    added: list[bytes] = field(default_factory=list)
    moved: dict[bytes, None] = field(default_factory=dict)
    touches: list[Sequence[Any]] = field(default_factory=list)
    items: list[Sequence[Any]] = field(default_factory=list)
    values: list[Sequence[Any]] = field(default_factory=list)
    vectors: list[Sequence[Any]] = field(default_factory=list)
    bare: list[Sequence[Any]] = field(default_factory=list)
    removed: list[tuple[int, bytes, int]] = field(default_factory=list)

    def there(self, item: ItemKey) -> Held | None:
        """Return what is stored of an item, None if it is expired."""
        held = self.held.get(item)
        if held is None or (held.expires is not None and held.expires <= self.now):
            return None
        return held

    def is_expected(self, change: ItemChange) -> bool:
        """Tell whether an item is as a change of it expects."""
        if change.expect is None:
            return True
        there = self.there(change.item)
        return change.expect == (there.updated if there else 0)

    def touch(self, item: ItemKey) -> None:
        """Put off the end of an item, if it has one."""
        there = self.there(item)
        if there is not None and there.ttl is not None:
            space = self._stamped(item.space)
            self.touches.append((space.stamp, self.now + there.ttl, space.key, item.key))

    def change(self, change: ItemChange) -> int:
        """Put an item or delete it; return what `BatchReply.updated` says of it."""
        there = self.there(change.item)
        return self._remove(change, there) if change.value is None else self._put(change, there)

    def _put(self, change: ItemChange, there: Held | None) -> int:
        space = self._stamped(change.space)
        updated = space.stamp if change.updated is None else change.updated
        created = change.created
        if created is None and there is not None:
            created = there.updated if there.created is None else there.created
        held = self.held.get(change.item)
        if held is None:
            self.last_item += 1
        key = self.last_item if held is None else held.key
        self.items.append(
            (
                space.key,
                change.key,
                key,
                None if created == updated else created,
                updated,
                None if updated == space.stamp else space.stamp,
                change.ttl,
                None if change.ttl is None else self.now + change.ttl,
                change.tags,
                change.entry,
            )
        )
        self.values.append((key, change.value))
        if change.vectors:
            self.vectors.append((key, change.vectors))
        elif held is not None:
            self.bare.append((key,))
        return updated

    def _remove(self, change: ItemChange, there: Held | None) -> int:
        held = self.held.get(change.item)
        doomed = there if not change.expired else held if there is None else None
        if doomed is None:
            return 0
        space = self._stamped(change.space, removed=True)
        self.removed.append((space.key, change.key, doomed.key))
        return space.stamp

    def _stamped(self, path: bytes, *, removed: bool = False) -> SpaceRow:
        """Return a space, made if need be, with the stamp of its next change."""
        space = self.spaces.get(path)
        if space is None:
            self.last_space += 1
            self.added.append(path)
            space = SpaceRow(self.last_space, path, self.now, self.now, self.last_change + 1)
        else:
            stamp = max(self.now, space.stamp + 1)
            space = space._replace(stamp=stamp, removed=stamp if removed else space.removed)
            self.moved[path] = None
        self.spaces[path] = space
        return space


class SqliteItems(SqliteItemReads):
    """The items of one tenant."""

    def change(self, batch: ItemBatch) -> Plan[BatchReply]:
        """Do a batch, all of it or nothing; see `ItemBackend.change`."""
        rows = yield from self._rows(batch)
        if not batch.touches and not batch.changes:
            return BatchReply("stored", rows)
        draft = Draft(batch.now, self._tenant)
        yield from self._look_up(draft, [*batch.touches, *(change.item for change in batch.changes)])
        if not all(map(draft.is_expected, batch.changes)):
            return BatchReply("changed", rows)
        for item in batch.touches:
            draft.touch(item)
        updated = [draft.change(change) for change in batch.changes]
        yield from self._write(draft)
        return BatchReply("stored", rows, updated)

    def _rows(self, batch: ItemBatch) -> Plan[Sequence[ItemRow | None]]:
        if not batch.reads:
            return ()
        found = yield from self.fetch(list(dict.fromkeys(batch.reads)))
        there = {item: row for item, row in found.items() if not row.is_expired(batch.now)}
        return [there.get(item) for item in batch.reads]

    def _look_up(self, draft: Draft, items: Sequence[ItemKey]) -> Plan[None]:
        for some in batches(items, PAIRS):
            params = [part for item in some for part in item]
            pairs = ", ".join(["(?, ?)"] * len(some))
            for row in (yield Sql(_LOOK_UP.format(pairs=pairs), (*params, self._tenant))):
                space = SpaceRow(*row[:5])
                draft.spaces[space.path] = space
                if row[6] is not None:
                    draft.held[ItemKey(space.path, row[5])] = Held(*row[6:])
        [[draft.last_space, draft.last_item, draft.last_change]] = yield Sql(_LAST_KEYS, (self._tenant,))

    def _write(self, draft: Draft) -> Plan[None]:
        added, rows = set(draft.added), draft.spaces
        new = [(rows[path].key, self._tenant, *rows[path][1:]) for path in draft.added]
        moved = [(rows[path].stamp, rows[path].removed, rows[path].key) for path in draft.moved if path not in added]
        yield from _many(
            (_ADD_SPACE, new),
            (_MOVE_SPACE, moved),
            (_TOUCH, draft.touches),
            (_PUT, sorted(draft.items, key=_place)),
            (_PUT_VALUE, draft.values),
            (_PUT_VECTORS, draft.vectors),
            (_DROP_VECTORS, draft.bare),
        )
        if new or moved:
            yield Sql(_COUNT_CHANGE, (self._tenant,))
        if draft.removed:
            yield from self._drop(draft.removed)

    def _drop(self, removed: Sequence[tuple[int, bytes, int]]) -> Plan[None]:
        """Drop items, and the spaces of theirs that hold no other."""
        keys = [(key,) for _, _, key in removed]
        yield from _many(
            (_DROP_VALUE, keys),
            (_DROP_VECTORS, keys),
            (_DROP, [(space, name) for space, name, _ in removed]),
            (_DROP_EMPTY, [(space,) for space in {space for space, _, _ in removed}]),
        )
        yield from give_back()

    def expire(self, now: int, size: int) -> Plan[int]:
        """Remove expired items; see `ItemBackend.expire`."""
        removed = yield Sql(_EXPIRED, (now, self._tenant, size))
        if removed:
            counts = Counter(space for space, _, _ in removed)
            yield Sql(_COUNT_REMOVALS, [(now, count, space) for space, count in counts.items()], many=True)
            yield Sql(_COUNT_CHANGE, (self._tenant,))
            yield from self._drop(removed)
        return len(removed)

    def erase(self, prefix: bytes) -> Plan[int]:
        """Remove all items below a prefix; see `ItemBackend.erase`."""
        below, params = self._below(prefix)
        within = f"space IN (SELECT s.key FROM item_space s WHERE {below})"
        [[count]] = yield Sql(f"SELECT count(*) FROM item WHERE {within}", params)
        if not count:
            return 0
        for table in ("item_value", "item_vectors"):
            yield Sql(f"DELETE FROM {table} WHERE item IN (SELECT key FROM item WHERE {within})", params)
        yield Sql(f"DELETE FROM item WHERE {within}", params)
        yield Sql(f"DELETE FROM item_space AS s WHERE {below}", params)
        yield Sql(_COUNT_CHANGE, (self._tenant,))
        yield from give_back()
        return int(count)


_place = itemgetter(0, 1)  # in the order of the table, which fills its pages better than any other


def _many(*steps: tuple[str, Iterable[Sequence[Any]]]) -> Plan[None]:
    """Run each statement for each of its rows; those without any are left out."""
    for text, rows in steps:
        if rows:
            yield Sql(text, rows, many=True)  # type: ignore[arg-type]
