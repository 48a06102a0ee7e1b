"""What a store does to keep long-term memory: records, three plans that it writes, and the rest made of these.

An *item* is a value under a key in a *space*, which is a namespace of items: a path of labels, written so that the
path of a space begins with the path of every space above it (see items/namespaces.py). Spaces and keys are bytes, any
bytes, up to 40,000 of them each; a store keeps them exactly. So are values, entries and vectors, into which it never
looks. Times are whole microseconds since 1970, by the clock of the caller, and above 0.

An *entry* is what searching needs to know of an item without its value. Programs keep the entries of the spaces that
they search, and ask for what has changed since. For that each space has a *stamp*, which grows with every change in
it, and each item the stamp of its own last change:

- A change in a space has the stamp ``max(now, the space's stamp + 1)``; each change of a batch has one of its own, in
  the batch's order, touches before the rest. So stamps of a space are never equal, never go back, and are times where
  clocks are right. What finds no item, or no ``ttl`` to touch, is no change. Removals by `ItemBackend.expire` are.
- ``updated`` of an item is the stamp of its last put. It is what compare-and-set goes by. Putting off the end of an
  item (``touches``) is a change and has a stamp, but ``updated`` stays.
- A space that has no item may be forgotten. When it is made anew its stamp begins at ``now``. Where clocks differ it
  may pass the former one's: a store that forgets spaces tells by its mark which of them was known.

An item whose ``expires`` is at most ``now`` is expired: for all that reads or changes it, it is not there: a delete
finds none, and a put in its place makes a new item. It takes room until `ItemBackend.expire` removes it.
`ItemBackend.entries` and `ItemBackend.fetch` may return it all the same: their callers look at ``expires`` themselves.

``stores/ram_items.py`` is the plainest form. A backend of items is given to `charm_checkpoint.store.Store` as
``items``, beside the backend of checkpoints, whose ``setup`` makes the tables of both. One that keeps several
tenants apart has an attribute ``tenant``, text, as that one has: see `charm_checkpoint.contract.tenant_of`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from charm_checkpoint.plan import Plan

INLINE_VECTORS = 2000
"""Up to so many entries, `ItemBackend.entries` sends their vectors along, which spares a round trip."""


class ItemKey(NamedTuple):
    """Which item."""

    space: bytes
    key: bytes


class ItemRow(NamedTuple):
    """A stored item. ``ttl`` is what its end was last put off by, in microseconds; None: it never ends."""

    space: bytes
    key: bytes
    value: bytes
    created: int
    updated: int
    ttl: int | None = None
    expires: int | None = None

    @property
    def item(self) -> ItemKey:
        """Return which item it is."""
        return ItemKey(self.space, self.key)

    def is_expired(self, now: int) -> bool:
        """Tell whether its end has come, and it is not there any more for who reads or changes it."""
        return self.expires is not None and self.expires <= now


@dataclass(frozen=True, slots=True)
class ItemChange:
    """A put or, with ``value`` None, a delete of one item.

    A put replaces all of the item but ``created``, which for a new one is the same as ``updated``. ``tags`` are 4-byte
    marks, end to end, for `ItemQuery.tags`; ``vectors`` belong to ``entry`` and are kept apart from it, since they are
    large. ``ttl`` sets ``expires`` to the batch's ``now`` plus it.

    ``expect``: only if the item's ``updated`` is this, 0 if it is not to be there. ``expired``: a delete of an item
    that is expired, or else of none. ``created`` and ``updated``, for what is brought from elsewhere, are kept as
    they are given; the item's stamp is that of the space all the same.
    """

    space: bytes
    key: bytes
    value: bytes | None
    tags: bytes = b""
    entry: bytes = b""
    vectors: bytes = b""
    ttl: int | None = None
    expect: int | None = None
    expired: bool = False
    created: int | None = None
    updated: int | None = None

    @property
    def item(self) -> ItemKey:
        """Return which item it is."""
        return ItemKey(self.space, self.key)


@dataclass(frozen=True, slots=True)
class ItemBatch:
    """Reads, touches and changes, in that order, at the time ``now``; an item is touched, and is changed, once at most.

    A touch sets ``expires`` of an item that is there and has a ``ttl`` to ``now`` plus that; it does nothing to others.
    """

    now: int
    reads: Sequence[ItemKey] = ()
    touches: Sequence[ItemKey] = ()
    changes: Sequence[ItemChange] = ()


@dataclass(frozen=True, slots=True)
class BatchReply:
    """What became of a batch. ``rows`` has the items of ``reads``, None where there is none, as they were before it.

    ``changed``: an item was not as a change of it expects; then nothing of its space was changed or touched, and
    nothing at all where one transaction holds several spaces. ``rows`` are there all the same. ``updated`` has, for
    each change, the item's new ``updated``; 0 for a delete that found none, and the stamp of the removal for one that
    did; empty if the outcome is ``changed``.
    """

    outcome: Literal["stored", "changed"]
    rows: Sequence[ItemRow | None] = ()
    updated: Sequence[int] = ()


class Entry(NamedTuple):
    """What searching needs to know of an item. ``vectors`` None: they are not sent along, see `INLINE_VECTORS`."""

    key: bytes
    updated: int
    expires: int | None
    entry: bytes
    vectors: bytes | None = None


class SpaceEntries(NamedTuple):
    """What has changed in a space since the stamp that was known of it.

    ``entries`` are the items whose stamp is larger than that, in any order. ``keys`` are those of all items of the
    space: a store gives them if any item may have been removed since, and gives None if surely none was. A space of
    which nothing was known, or whose stamp is below what was known, is sent whole: with all entries, and ``keys``.
    """

    space: bytes
    stamp: int
    entries: Sequence[Entry] = ()
    keys: Collection[bytes] | None = None


@dataclass(frozen=True, slots=True)
class EntriesReply:
    """The spaces whose path begins with a prefix: all that hold an item, those without a change with no entries.

    ``mark`` is the store's own, to be given back with the next question about the same prefix: if it tells by it that
    nothing whatever has changed, ``same`` is True and ``spaces`` empty.
    """

    spaces: Sequence[SpaceEntries] = ()
    mark: Any = None
    same: bool = False


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """Which items to list: those whose space begins with ``prefix`` and that are not expired at ``now``.

    ``tags`` and ``nested`` are as in `charm_checkpoint.contract.Query`: more may be returned. The order is ``updated``
    falling, then space and key rising, byte by byte. ``skip`` leaves out so many of them at the beginning. ``after``
    is the last item of the page before, as (updated, space, key).
    """

    prefix: bytes
    now: int
    size: int
    tags: tuple[bytes, ...] = ()
    nested: tuple[bytes, ...] = ()
    skip: int = 0
    after: tuple[int, bytes, bytes] | None = None
    oldest_first: bool = False
    """The exact opposite order, in which what is to be thrown out first comes first."""


class ItemUsage(NamedTuple):
    """How many items, and the bytes of their keys, values, entries and vectors."""

    items: int = 0
    payload_bytes: int = 0


NOTHING_KNOWN: Mapping[bytes, int] = MappingProxyType({})
"""For `ItemBackend.entries`: no space is known yet."""


@runtime_checkable
class KeepsIndexes(Protocol):
    """What a backend of items has besides, if indexes of large namespaces are to be kept in its store, as items.

    A program that begins then reads a small part of such an index, and what has changed since it was written, instead
    of all entries. A store that leaves it out is read whole by each program that begins to search a namespace.
    """

    def few_entries(self, prefix: bytes, most: int) -> Plan[EntriesReply | None]:
        """Return what `ItemBackend.entries` does if nothing is known; None if that is more than ``most`` entries."""
        ...

    def mark_bytes(self, mark: Any) -> bytes:
        """Return a mark of `EntriesReply` so that it can be stored."""
        ...

    def mark_of(self, data: bytes) -> Any:
        """Undo `mark_bytes`."""
        ...


@runtime_checkable
class ItemBackend(Protocol):
    """One store's items. `ItemPlans` has all but `change`, `entries` and `fetch`, made of these."""

    def change(self, batch: ItemBatch) -> Plan[BatchReply]:
        """Do a batch: in one transaction a space, and in one for all of it where the store can."""
        ...

    def entries(
        self, prefix: bytes, known: Mapping[bytes, int] = NOTHING_KNOWN, mark: Any = None
    ) -> Plan[EntriesReply]:
        """Return what has changed below a prefix; ``known`` has the stamps of spaces the caller knows."""
        ...

    def fetch(self, items: Sequence[ItemKey], vectors: bool = False) -> Plan[Mapping[ItemKey, ItemRow]]:
        """Return those of these items that are there; with ``vectors``, these stand where the value does."""
        ...

    def page(self, query: ItemQuery) -> Plan[Sequence[ItemRow]]:
        """Return the next items of a listing, ``size`` at most; fewer only at the end."""
        ...

    def spaces(self, prefix: bytes, now: int) -> Plan[Sequence[bytes]]:
        """Return the spaces below a prefix, itself included, that hold an item; sorted, byte by byte."""
        ...

    def count(self, prefix: bytes, now: int) -> Plan[int]:
        """Count the items below a prefix."""
        ...

    def expire(self, now: int, size: int) -> Plan[int]:
        """Remove expired items of all spaces, ``size`` at most; return how many went."""
        ...

    def erase(self, prefix: bytes) -> Plan[int]:
        """Remove all items below a prefix, and whatever told of their spaces; return how many items went."""
        ...

    def usage(self, prefix: bytes = b"") -> Plan[ItemUsage]:
        """Count what the items below a prefix hold, expired ones that take room among them."""
        ...
