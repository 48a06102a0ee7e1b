"""What a cache keeps: values under keys, for a time, within bounds. What it cannot do it skips: no run fails of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from charm_checkpoint.contract_items import ItemBackend, ItemChange, ItemKey
from charm_checkpoint.errors import ConfigError, DataError, SchemaMismatch, StoreCorrupt
from charm_checkpoint.items.bounded import Bounded, Bounds, Warner, framed, now_us, seal, unseal
from charm_checkpoint.items.caches.single_flight import SingleFlight
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.namespaces import CACHE
from charm_checkpoint.store import Store
from charm_checkpoint.values.packing import pack_value, unpack_value
from charm_checkpoint.values.serde.serializer import Serializer, checked

MAX_ENTRIES: Final = 100_000
MAX_BYTES: Final = 256 << 20
LEASE: Final = 30.0
LONGEST: Final = 10**12
"""Seconds from which on an entry lasts for ever; its end would not fit in the 64 bits that databases have for it."""

_LONG = 512  # bytes of a name, above which its hash does


class CacheOptions(NamedTuple):
    """The bounds of a cache, how long its entries last by default, and whether others wait for whoever computes."""

    ttl: float | None = None
    max_entries: int = MAX_ENTRIES
    max_bytes: int = MAX_BYTES
    single_flight: bool = False
    lease: float = LEASE
    name: str = ""


class Entries:
    """The entries of one cache. ``kind`` tells the two kinds of caches apart, the option ``name`` those of a kind.

    What is read and does not ``fits`` is none of this cache's, and counts as missing.
    """

    def __init__(
        self,
        store: Store,
        kind: str,
        serde: Any,
        options: CacheOptions,
        fits: Callable[[Any], bool] = lambda value: True,
        clock: Callable[[], int] = now_us,
    ) -> None:
        _check(options)
        # What cannot be restored is not in the cache: it is to be made anew.
        self.serde: Serializer = checked(serde).strictly("loaded", "raise")
        self._fits = fits
        self._options = options
        self._root = CACHE + framed(kind.encode(), _encoded(options.name))
        self._warner = Warner(f"{kind} cache")
        items = _items_of(store)
        bounds = Bounds(options.max_entries, options.max_bytes)
        self._kept = Bounded(items, self._root, bounds, self._warner, clock)
        leases = CACHE + framed(kind.encode(), _encoded(options.name), b"leases")
        self._flights: SingleFlight | None = None
        if options.single_flight:
            kept = Bounded(items, leases, bounds, self._warner, clock)
            self._flights = SingleFlight(kept, self._root, leases, options.lease)

    def space(self, namespace: Sequence[str]) -> bytes:
        """Return the space of a namespace; none is that of another, or begins it."""
        return self._root + _name(framed(*map(_encoded, namespace)))

    def place(self, namespace: Sequence[str], key: str) -> ItemKey:
        """Return where a key's entry is."""
        return ItemKey(self.space(namespace), _name(_encoded(key)))

    def get(self, places: Sequence[ItemKey]) -> Flow[dict[ItemKey, Any]]:
        """Return the values that are there; with single flight, wait for those that others compute just now."""
        found = yield from self._read(places)
        if self._flights is not None and (missing := [place for place in places if place not in found]):
            found |= yield from self._flights.wait(missing, self._read)
        return found

    def _read(self, places: Sequence[ItemKey]) -> Flow[dict[ItemKey, Any]]:
        rows = yield from self._kept.fetch(places)
        found: dict[ItemKey, Any] = {}
        for place in places:
            row = rows.get(place)
            if row is None:
                continue
            payload = unseal(row)
            if payload is None:
                self._warner.warn(
                    "damaged", "an entry is damaged, or was not written by this cache: it counts as missing"
                )
                continue
            try:
                value = self.serde.loads(unpack_value(payload))
            except (DataError, StoreCorrupt, SchemaMismatch) as error:
                self._warner.warn("unread", f"an entry cannot be read, and counts as missing: {error}")
                continue
            if self._fits(value):
                found[place] = value
            else:
                self._warner.warn("foreign", f"an entry is a {type(value).__name__}, and counts as missing")
        return found

    def put(self, values: Mapping[ItemKey, tuple[Any, float | None]]) -> Flow[None]:
        """Put values, each with its seconds to live, or None for the cache's own."""
        changes: list[ItemChange] = []
        for place, (value, given) in values.items():
            ttl = self._options.ttl if given is None else given
            if ttl is not None and ttl >= LONGEST:
                ttl = None
            sealed = self._sealed(place, value) if ttl is None or ttl > 0 else None
            if sealed is not None:
                ends = None if ttl is None else max(1, int(ttl * 1_000_000))
                changes.append(ItemChange(place.space, place.key, sealed, ttl=ends))
        if self._flights is not None:
            changes += self._flights.ended(list(values))
        yield from self._kept.change(changes)

    def _sealed(self, place: ItemKey, value: Any) -> bytes | None:
        try:
            sealed = seal(place, pack_value(self.serde.dumps(value)))
        except DataError as error:
            self._warner.warn("refused", f"a value was not cached: {error}")
            return None
        if len(sealed) > self._options.max_bytes:
            self._warner.warn(
                "large", f"a value of {len(sealed)} bytes was not cached: max_bytes is {self._options.max_bytes}"
            )
            return None
        return sealed

    def clear(self, namespaces: Sequence[Sequence[str]] | None = None) -> Flow[None]:
        """Remove the entries of just these namespaces, or all."""
        if namespaces is None:
            yield from self._kept.erase()
        else:
            for namespace in namespaces:
                yield from self._kept.erase(self.space(namespace))


def _items_of(store: Store) -> ItemBackend:
    if store.items is None:
        raise ConfigError(
            f"This store keeps checkpoints, and no items, which a cache is made of: {type(store.backend).__name__} is "
            "given to Store without items=."
        )
    return store.items


def _check(options: CacheOptions) -> None:
    if not isinstance(options.name, str):
        raise ConfigError(f"name is {options.name!r}: text is wanted.")
    if not isinstance(options.single_flight, bool):
        raise ConfigError(f"single_flight is {options.single_flight!r}: True or False is wanted.")
    for name, least in (("ttl", 0), ("max_entries", 1), ("max_bytes", 1), ("lease", 0)):
        given = getattr(options, name)
        if given is None and name == "ttl":
            continue
        if isinstance(given, bool) or not isinstance(given, int | float) or not given >= least or given == 0:
            raise ConfigError(f"{name} is {given!r}: a positive number is wanted.")
        if name in ("ttl", "lease") and given >= LONGEST:
            raise ConfigError(f"{name} is {given!r}: a number below {LONGEST:.0e} is wanted.")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _name(whole: bytes) -> bytes:
    if len(whole) <= _LONG:
        return b"\0" + whole
    return b"\1" + hashlib.blake2b(whole, digest_size=32).digest()
