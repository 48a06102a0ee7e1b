"""The plans of the SQLite store that read items of long-term memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from charm_checkpoint.contract import NESTED, TAG_SIZE
from charm_checkpoint.contract_items import (
    INLINE_VECTORS,
    NOTHING_KNOWN,
    EntriesReply,
    Entry,
    ItemKey,
    ItemQuery,
    ItemRow,
    ItemUsage,
    SpaceEntries,
)
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.cache import ADDRESS, ENTRY, Budget, Cache
from charm_checkpoint.stores.shared.item_plans import ItemPlans
from charm_checkpoint.stores.shared.names import text_bytes
from charm_checkpoint.stores.sqlite.steps import BATCH, Sql, batches

PAIRS = BATCH // 2
"""Items named in one statement, each by two parameters."""

WANTED = "WITH wanted (path, name) AS (VALUES {pairs})"
"""Begins a statement about many items."""

# CROSS JOIN keeps SQLite from beginning at the other end.
_COLUMNS = "coalesce(i.created, i.updated), i.updated, i.ttl, i.expires"
_VALUE = "CROSS JOIN item_value v ON v.item = i.key"
_VECTORS = "LEFT JOIN item_vectors x ON x.item = i.key"
_WHOLE_OF = {False: ("v.value", _VALUE), True: ("coalesce(x.vectors, x'')", _VECTORS)}
_FETCH_ONE = f"""
    SELECT {{part}}, {_COLUMNS} FROM item_space s CROSS JOIN item i ON i.space = s.key AND i.name = ? {{join}}
    WHERE s.tenant = ? AND s.path = ?"""
_FETCH = f"""
    {WANTED} SELECT s.path, i.name, {{part}}, {_COLUMNS}
    FROM wanted w CROSS JOIN item_space s ON s.tenant = ? AND s.path = w.path
    CROSS JOIN item i ON i.space = s.key AND i.name = w.name {{join}}"""
_SPACES = "SELECT s.key, s.path, s.stamp, s.removed, s.born FROM item_space s WHERE {below} ORDER BY s.path"
# By an index that has all of this, so that entries are not walked over.
_IN_ORDER = "item i INDEXED BY item_order"
_LIVE = "(i.expires IS NULL OR i.expires > ?)"
_LISTED = f"""
    SELECT s.path FROM item_space s
    WHERE {{below}} AND (NOT EXISTS (SELECT 1 FROM item e INDEXED BY item_end WHERE e.expires <= ?)
        OR EXISTS (SELECT 1 FROM {_IN_ORDER} WHERE i.space = s.key AND {_LIVE})) ORDER BY s.path"""
_FIRST_END = "SELECT min(expires) FROM item WHERE expires IS NOT NULL"
_NEVER = 1 << 63
_COUNT = f"SELECT count(*) FROM item_space s CROSS JOIN {_IN_ORDER} ON i.space = s.key WHERE {{below}} AND {_LIVE}"
_SOME = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM item_space s CROSS JOIN {_IN_ORDER} ON i.space = s.key WHERE {{below}} LIMIT ?)"""
_USAGE = f"""
    SELECT count(*), coalesce(sum(
        length(i.name) + length(i.entry) + length(v.value) + coalesce(length(x.vectors), 0)), 0)
    FROM item_space s CROSS JOIN item i ON i.space = s.key {_VALUE} {_VECTORS} WHERE {{below}}"""
_ENTRY = "i.space, i.key, i.name, i.updated, i.expires, i.entry"
_ALL_BELOW = f"SELECT {_ENTRY} FROM item_space s CROSS JOIN item i ON i.space = s.key WHERE {{below}}"
_ALL_OF = f"SELECT {_ENTRY} FROM item i WHERE i.space = ?"
# updated is the stamp of all but those in the second index.
_CHANGED = f"""
    SELECT {_ENTRY} FROM {_IN_ORDER} WHERE i.space = ?1 AND i.updated > ?2 AND i.touched IS NULL
    UNION ALL SELECT {_ENTRY} FROM item i INDEXED BY item_touched WHERE i.space = ?1 AND i.touched > ?2"""
_NAMES = f"SELECT i.name FROM {_IN_ORDER} WHERE i.space = ?"
# First which, then the values of these alone.
_PAGE = f"""
    SELECT p.path, p.name, v.value, {_COLUMNS}
    FROM (SELECT s.path, i.space, i.name, i.updated FROM item_space s CROSS JOIN {{items}} ON i.space = s.key
        WHERE {{where}} ORDER BY {{order}} LIMIT ? OFFSET ?) p
    CROSS JOIN item i ON i.space = p.space AND i.name = p.name {_VALUE} ORDER BY {{outer}}"""
_ORDER = {False: "{i}.updated DESC, {s}.path, {i}.name", True: "{i}.updated, {s}.path DESC, {i}.name DESC"}
_IF_NESTED = f"(substr(i.tags, 1, {TAG_SIZE}) IS NOT x'{NESTED.hex()}' OR instr(i.tags, ?) > 0)"


class SpaceRow(NamedTuple):
    """A space that holds an item."""

    key: int
    path: bytes
    stamp: int
    removed: int
    born: int


class Listed(NamedTuple):
    """The spaces below a prefix, as they were after so many changes; ``until``: when the first item of all ends."""

    number: int
    until: int
    paths: Sequence[bytes]


class SqliteItemReads(ItemPlans):
    """Finding items, listing and counting them, and what has changed."""

    def __init__(self, tenant: str = "", budget: Budget | None = None) -> None:
        self.tenant = tenant
        self._tenant = text_bytes(tenant)
        self._listed: Cache[bytes, Listed] = Cache(budget or Budget(), _weight)

    def _below(self, prefix: bytes) -> tuple[str, list[Any]]:
        """Return what makes a space, ``s``, one below a prefix, and the parameters of that."""
        end = prefix.rstrip(b"\xff")
        if not end:
            return "s.tenant = ? AND s.path >= ?", [self._tenant, prefix]
        return "s.tenant = ? AND s.path >= ? AND s.path < ?", [self._tenant, prefix, end[:-1] + bytes((end[-1] + 1,))]

    # -------------------------------------------------------------- single items

    def fetch(self, items: Sequence[ItemKey], vectors: bool = False) -> Plan[Mapping[ItemKey, ItemRow]]:
        """Return items; see `ItemBackend.fetch`."""
        part, join = _WHOLE_OF[vectors]
        if len(items) == 1:
            [item] = items
            path, name = item
            text = _FETCH_VECTORS if vectors else _FETCH_VALUE
            rows = yield Sql(text, (name, self._tenant, path), False, True)
            return {item: ItemRow(path, name, *rows[0])} if rows else {}
        found: dict[ItemKey, ItemRow] = {}
        alone = len(items) <= PAIRS
        for batch in batches(items, PAIRS):
            pairs = ", ".join(["(?, ?)"] * len(batch))
            params = [part for item in batch for part in item]
            rows = yield Sql(_FETCH.format(pairs=pairs, part=part, join=join), (*params, self._tenant), alone=alone)
            found.update((ItemKey(row[0], row[1]), ItemRow(*row)) for row in rows)
        return found

    # ------------------------------------------------------------------ listing

    def page(self, query: ItemQuery) -> Plan[Sequence[ItemRow]]:
        """Return the next items of a listing; see `ItemBackend.page`."""
        where, params = self._below(query.prefix)
        spaces = yield Sql(f"SELECT s.key FROM item_space s WHERE {where} LIMIT 2", params)
        if not spaces or query.size <= 0:
            return ()
        if len(spaces) == 1:  # then the index has them in order
            where, params = "s.key = ?", list(spaces[0])
        terms: list[tuple[str, Any]] = [(_LIVE, query.now)]
        terms += [("instr(i.tags, ?) > 0", tag) for tag in query.tags]
        terms += [(_IF_NESTED, tag) for tag in query.nested]
        where = " AND ".join([where, *(term for term, _ in terms)])
        params = [*params, *(value for _, value in terms)]
        if query.after is not None:
            text, values = _after(query.after, oldest_first=query.oldest_first)
            where, params = where + text, params + values
        order = _ORDER[query.oldest_first]
        text = _PAGE.format(
            items=_IN_ORDER, where=where, order=order.format(i="i", s="s"), outer=order.format(i="p", s="p")
        )
        rows = yield Sql(text, (*params, query.size, query.skip))
        return [ItemRow(*row) for row in rows]

    def spaces(self, prefix: bytes, now: int) -> Plan[Sequence[bytes]]:
        """Return the spaces that hold an item; see `ItemBackend.spaces`."""
        # Looked at first, as by `entries`.
        number = yield from self._changes()
        kept = self._listed.get(prefix)
        if kept is not None and kept.number == number and now < kept.until:
            return kept.paths
        below, params = self._below(prefix)
        paths = [path for [path] in (yield Sql(_LISTED.format(below=below), (*params, now, now)))]
        [[end]] = yield Sql(_FIRST_END)
        if end is None or now < end:
            self._listed.put(prefix, Listed(number, _NEVER if end is None else end, paths))
        return paths

    def _changes(self) -> Plan[int]:
        rows = yield Sql("SELECT number FROM item_changes WHERE tenant = ?", (self._tenant,), alone=True)
        return rows[0][0] if rows else 0

    def count(self, prefix: bytes, now: int) -> Plan[int]:
        """Count items; see `ItemBackend.count`."""
        below, params = self._below(prefix)
        [[count]] = yield Sql(_COUNT.format(below=below), (*params, now), alone=True)
        return int(count)

    def usage(self, prefix: bytes = b"") -> Plan[ItemUsage]:
        """Count what items hold; see `ItemBackend.usage`."""
        below, params = self._below(prefix)
        [row] = yield Sql(_USAGE.format(below=below), params, alone=True)
        return ItemUsage(*row)

    # ------------------------------------------------------------------ entries

    def entries(
        self, prefix: bytes, known: Mapping[bytes, int] = NOTHING_KNOWN, mark: Any = None
    ) -> Plan[EntriesReply]:
        """Return what has changed below a prefix; see `ItemBackend.entries`."""
        # Looked at first: what is changed after it is told of once more by the next question.
        number = yield from self._changes()
        if mark == number:
            return EntriesReply(mark=mark, same=True)
        below, params = self._below(prefix)
        spaces = [SpaceRow(*row) for row in (yield Sql(_SPACES.format(below=below), params))]
        # A stamp above the space's own is that of an earlier space of this path; and so is any that was known before
        # this one was made, which may have passed it where the clock was set back.
        since = {space.key: known.get(space.path, 0) for space in spaces}
        since.update(
            (space.key, 0)
            for space in spaces
            if since[space.key] > space.stamp or (mark is not None and space.born > mark)
        )
        fresh: dict[int, list[Sequence[Any]]] = {space.key: [] for space in spaces}
        if len(spaces) > 1 and not any(since.values()):
            for row in (yield Sql(_ALL_BELOW.format(below=below), params)):
                fresh[row[0]].append(row)
        else:
            for space in spaces:
                if since[space.key] < space.stamp:
                    fresh[space.key] = yield from self._fresh(space.key, since[space.key])
        vectors = yield from self._inline([row[1] for rows in fresh.values() for row in rows])
        replies: list[SpaceEntries] = []
        for space in spaces:
            rows, keys = fresh[space.key], None
            if since[space.key] == 0:
                keys = [row[2] for row in rows]
            elif since[space.key] < space.removed:
                keys = [name for [name] in (yield Sql(_NAMES, (space.key,)))]
            replies.append(SpaceEntries(space.path, space.stamp, _entries(rows, vectors), keys))
        return EntriesReply(replies, number)

    def few_entries(self, prefix: bytes, most: int) -> Plan[EntriesReply | None]:
        """Return all entries if they are few; see `KeepsIndexes.few_entries`."""
        below, params = self._below(prefix)
        [[count]] = yield Sql(_SOME.format(below=below), (*params, most + 1))
        return None if count > most else (yield from self.entries(prefix))

    def mark_bytes(self, mark: int) -> bytes:
        """Return a mark as bytes; see `KeepsIndexes.mark_bytes`."""
        return mark.to_bytes(8, "little")

    def mark_of(self, data: bytes) -> int:
        """Return a mark of bytes; see `KeepsIndexes.mark_of`."""
        return int.from_bytes(data, "little")

    def _fresh(self, space: int, since: int) -> Plan[list[Sequence[Any]]]:
        rows: list[Sequence[Any]] = yield Sql(_CHANGED, (space, since)) if since else Sql(_ALL_OF, (space,))
        return rows

    def _inline(self, items: Sequence[int]) -> Plan[Mapping[int, bytes] | None]:
        """Return the vectors of items by their keys, None if they are too many to be sent along."""
        if len(items) > INLINE_VECTORS:
            return None
        found: dict[int, bytes] = {}
        for batch in batches(items):
            marks = ", ".join("?" * len(batch))
            found.update((yield Sql(f"SELECT item, vectors FROM item_vectors WHERE item IN ({marks})", batch)))
        return found


_FETCH_VALUE = _FETCH_ONE.format(part=_WHOLE_OF[False][0], join=_WHOLE_OF[False][1])
_FETCH_VECTORS = _FETCH_ONE.format(part=_WHOLE_OF[True][0], join=_WHOLE_OF[True][1])


def _weight(prefix: bytes, listed: Listed) -> int:
    return ENTRY + len(prefix) + sum(map(len, listed.paths)) + ADDRESS * len(listed.paths)


def _entries(rows: Sequence[Sequence[Any]], vectors: Mapping[int, bytes] | None) -> list[Entry]:
    if vectors is None:
        return [Entry(*row[2:]) for row in rows]
    return [
        Entry(name, updated, expires, entry, vectors.get(key, b"")) for _, key, name, updated, expires, entry in rows
    ]


def _after(last: tuple[int, bytes, bytes], *, oldest_first: bool) -> tuple[str, list[Any]]:
    """Return what makes an item come after the last one of the page before, and the parameters of that."""
    updated, path, name = last
    later, further = (">", "<") if oldest_first else ("<", ">")
    text = f" AND i.updated {later}= ? AND (i.updated <> ? OR (s.path, i.name) {further} (?, ?))"
    return text, [updated, updated, path, name]
