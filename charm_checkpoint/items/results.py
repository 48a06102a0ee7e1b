"""Items as LangGraph's callers get them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from langgraph.store.base import Item, SearchItem

from charm_checkpoint.contract_items import ItemRow
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.items.addresses import key_text, named, namespace_at
from charm_checkpoint.items.values import Stored, decode, stored

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def time_of(stamp: int) -> datetime:
    """Return a stamp, in whole microseconds, as a time in UTC."""
    return _EPOCH + timedelta(microseconds=stamp)


def stamp_of(time: datetime) -> int:
    """Undo `time_of`; a time without a zone is taken to be in UTC."""
    return ((time if time.tzinfo else time.replace(tzinfo=timezone.utc)) - _EPOCH) // _MICROSECOND


class StoredItem(Item):
    """An item of LangGraph's that knows its `revision`.

    Serializers take it for LangGraph's own class, whose name it bears: so what a node returns into its state is stored
    as any other store's item is, by any checkpointer, and comes back as LangGraph's.
    """

    __slots__ = ()
    __module__ = Item.__module__
    __qualname__ = Item.__qualname__

    @property
    def revision(self) -> int:
        """Tell one put of this item from another: for ``put(..., if_revision=)``."""
        return stamp_of(self.updated_at)

    def __reduce__(self) -> Any:
        return _stored_item, (self.value, self.key, self.namespace, self.created_at, self.updated_at)


class FoundItem(SearchItem):
    """What a search found: LangGraph's item with its score, that knows its `revision` and, on request, why.

    Serializers take it for LangGraph's, as they do `StoredItem`.
    """

    __slots__ = ("_parts",)
    _parts: Mapping[str, float] | None
    __module__ = SearchItem.__module__
    __qualname__ = SearchItem.__qualname__

    @property
    def revision(self) -> int:
        """Tell one put of this item from another: for ``put(..., if_revision=)``."""
        return stamp_of(self.updated_at)

    @property
    def parts(self) -> Mapping[str, float] | None:
        """What the score is made of, if ``explain=True`` asked for it."""
        try:
            parts: Mapping[str, float] | None = _PARTS.__get__(self)
            return parts
        except AttributeError:
            return None

    def __reduce__(self) -> Any:
        return _found_item, (
            self.namespace, self.key, self.value, self.created_at, self.updated_at, self.score, self.parts,
        )  # fmt: skip


# Serializers store what is found by the names of slots, and LangGraph's class, as which this comes back, has none of
# that name. So the slot is there, and its name is not.
_PARTS: Any = vars(FoundItem)["_parts"]
delattr(FoundItem, "_parts")
StoredItem.__name__, FoundItem.__name__ = Item.__name__, SearchItem.__name__


def _stored_item(
    value: dict[str, Any], key: str, namespace: tuple[str, ...], created_at: datetime, updated_at: datetime
) -> StoredItem:
    return StoredItem(value=value, key=key, namespace=namespace, created_at=created_at, updated_at=updated_at)


def _found_item(
    namespace: tuple[str, ...],
    key: str,
    value: dict[str, Any],
    created_at: datetime,
    updated_at: datetime,
    score: float | None,
    parts: Mapping[str, float] | None,
) -> FoundItem:
    found = FoundItem(namespace, key, value, created_at, updated_at, score)
    if parts is not None:
        _PARTS.__set__(found, parts)
    return found


def _times(row: ItemRow) -> tuple[datetime, datetime]:
    try:
        created = time_of(row.created)
        return created, created if row.created == row.updated else time_of(row.updated)
    except OverflowError as error:
        raise StoreCorrupt(f"{named(row.item)}: its times are damaged: {row.created}, {row.updated}.") from error


def read_value(row: ItemRow) -> dict[str, Any]:
    """Return the value of a stored row; raises `StoreCorrupt`, which says of which item."""
    return _read(row, decode)


def read_stored(row: ItemRow) -> Stored:
    """Return all that is held with the value of a stored row; raises `StoreCorrupt`, as `read_value` does."""
    return _read(row, stored)


def _read(row: ItemRow, read: Callable[[bytes], T]) -> T:
    try:
        return read(row.value)
    except StoreCorrupt as error:
        error.place = error.place or named(row.item)
        raise


def stored_item(row: ItemRow) -> StoredItem:
    """Return a stored row as an item."""
    return _stored_item(read_value(row), key_text(row.key), namespace_at(row.space), *_times(row))


def found_item(
    row: ItemRow, value: dict[str, Any], score: float | None = None, parts: Mapping[str, float] | None = None
) -> FoundItem:
    """Return a stored row, whose value was read already, as an item that a search found."""
    return _found_item(namespace_at(row.space), key_text(row.key), value, *_times(row), score, parts)
