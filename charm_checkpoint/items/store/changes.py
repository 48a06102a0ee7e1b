"""What changes items, as flows: puts and deletes, compare-and-set, embedding again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from charm_checkpoint.contract_items import BatchReply, ItemBackend, ItemBatch, ItemChange, ItemKey, ItemRow
from charm_checkpoint.errors import ItemConflict
from charm_checkpoint.items import clock
from charm_checkpoint.items.addresses import named
from charm_checkpoint.items.flow import Flow, Run, Work
from charm_checkpoint.items.results import read_stored
from charm_checkpoint.items.store.indexing import Indexing
from charm_checkpoint.items.values import Index, encode, plain
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.tags import tags

ATTEMPTS: Final = 100
"""How often an update is tried again because another one came in between."""
AT_ONCE: Final = 200
"""Items that are brought in, or embedded again, in one batch."""


class NewItem(NamedTuple):
    """An item as it is to be stored; a ``value`` of None deletes it. ``ttl`` is in microseconds.

    ``paths`` is what is to be indexed of it. For ``expect``, ``created`` and ``updated`` see `ItemChange`.
    """

    item: ItemKey
    value: dict[str, Any] | None
    paths: Index = None
    ttl: int | None = None
    expect: int | None = None
    created: int | None = None
    updated: int | None = None


class Changer:
    """Makes changes of items, and has them done."""

    def __init__(self, items: ItemBackend, indexing: Indexing) -> None:
        self._items = items
        self._indexing = indexing

    def changes(self, news: Sequence[NewItem], waiting: bool = True) -> Flow[list[ItemChange]]:
        """Return what changes the items, their texts embedded; without ``waiting`` only where they could be."""
        puts = [(new, new.value, encode(new.value, new.paths)) for new in news if new.value is not None]
        entries = yield from self._indexing.entries([self._indexing.texts(value, new.paths) for new, value, _ in puts])
        changes = [ItemChange(*new.item, None, expect=new.expect) for new in news if new.value is None]
        for (new, value, data), made in zip(puts, entries, strict=True):
            if waiting or not made.waiting:
                changes.append(
                    ItemChange(
                        *new.item, data, tags(value), made.entry, made.vectors, new.ttl, new.expect,
                        created=new.created, updated=new.updated,
                    )
                )  # fmt: skip
        return changes

    def put(self, new: NewItem) -> Flow[int]:
        """Put or delete one item, if it is as it is expected to be; return its revision."""
        reply = yield from self._change((yield from self.changes([new])))
        if reply.outcome == "changed":
            raise _conflict(new.item, new.expect)
        return reply.updated[0]

    def _change(self, changes: Sequence[ItemChange], now: int | None = None) -> Flow[BatchReply]:
        """Do changes at a time, that at which they are made if None."""

        def make() -> Plan[BatchReply]:
            return self._items.change(ItemBatch(clock.now() if now is None else now, changes=changes))

        reply: BatchReply = yield Run(make, write=True)
        return reply

    def update(self, item: ItemKey, change: Callable[[Any], Any], default_ttl: int | None) -> Flow[ItemRow | None]:
        """Put what a function makes of an item's value, and return the item; anew, if it is changed in between."""
        for _ in range(ATTEMPTS):
            found: Mapping[ItemKey, ItemRow] = yield Run(partial(self._items.fetch, [item]))
            row = found.get(item)
            if row is not None and row.is_expired(clock.now()):
                row = None
            held = None if row is None else read_stored(row)
            value = yield _called(change, held and held.value)
            if value is None:
                return row
            new = NewItem(
                item,
                plain(value),
                held.paths if held else None,
                row.ttl if row else default_ttl,
                row.updated if row else 0,
            )
            [made] = yield from self.changes([new])
            reply = yield from self._change([made])
            if reply.outcome == "stored":
                return _row_after(row, made, reply.updated[0])
        raise ItemConflict(
            f"{named(item)}: others changed it {ATTEMPTS} times in a row while this update was made. Nothing was "
            "written; call update again."
        )

    def import_items(self, news: Sequence[NewItem]) -> Flow[None]:
        """Put items that come from elsewhere."""
        yield from self._change((yield from self.changes(news)))

    def add_items(self, news: Sequence[NewItem]) -> Flow[int]:
        """Put items that come from elsewhere, but for those that are there already; return how many were put."""
        for _ in range(ATTEMPTS):
            found: Mapping[ItemKey, ItemRow] = yield Run(partial(self._items.fetch, [new.item for new in news]))
            now = clock.now()
            expired = {item: row.updated for item, row in found.items() if row.is_expired(now)}
            added = [
                new._replace(expect=expired.get(new.item, 0))
                for new in news
                if new.item not in found or new.item in expired
            ]
            if not added:
                return 0
            reply = yield from self._change((yield from self.changes(added)))
            if reply.outcome == "stored":
                return len(added)
        raise ItemConflict("others put the same items again and again while they were imported; import them once more")

    def reindex(self, wanted: Sequence[ItemKey]) -> Flow[int]:
        """Index items anew, each as it was put; leave alone what was changed meanwhile. Return how many were."""
        count = 0
        for at in range(0, len(wanted), AT_ONCE):
            found: Mapping[ItemKey, ItemRow] = yield Run(partial(self._items.fetch, wanted[at : at + AT_ONCE]))
            now = clock.now()
            rows = [row for row in found.values() if not row.is_expired(now)]
            changes = yield from self.changes([_again(row) for row in rows], waiting=False)
            if not changes:
                break  # there is no use in asking the model for more
            renewed = {
                row.item: row.expires - row.ttl for row in rows if row.expires is not None and row.ttl is not None
            }
            endless = [change for change in changes if change.item not in renewed]
            reply = yield from self._change(endless)
            if reply.outcome == "stored":
                count += len(endless)
                changes = [change for change in changes if change.item in renewed]
            for change in changes:  # to do one of them twice does no harm: what it expects stays
                # As of the time at which its life was renewed last: so it ends when it was to end.
                reply = yield from self._change([change], renewed.get(change.item))
                count += reply.outcome == "stored"
        return count


def _again(row: ItemRow) -> NewItem:
    held = read_stored(row)
    return NewItem(row.item, held.value, held.paths, row.ttl, row.updated, row.created, row.updated)


def _row_after(row: ItemRow | None, change: ItemChange, updated: int) -> ItemRow:
    created = updated if row is None else row.created
    return ItemRow(*change.item, change.value or b"", created, updated, change.ttl)


def _called(change: Callable[[Any], Any], value: dict[str, Any] | None) -> Work:
    async def awaited() -> Any:
        made = change(value)
        return await made if inspect.isawaitable(made) else made

    def called() -> Any:
        made = change(value)
        if inspect.iscoroutine(made):
            made.close()
            raise TypeError(f"{change!r} is async, and update is blocking: use aupdate")
        return made

    return Work(called, awaited)


def _conflict(item: ItemKey, expect: int | None) -> ItemConflict:
    was = "was not to be there, and is" if expect == 0 else f"is no longer at revision {expect}"
    return ItemConflict(f"{named(item)}: it {was}. Nothing was written; read it again, or use update.")
