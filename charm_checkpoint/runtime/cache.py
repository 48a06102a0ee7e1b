"""Caches that share one budget of bytes; safe to use from many threads without a lock."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LIMIT = 64 << 20
"""Bytes that a store may use to remember things, unless told otherwise."""
ENTRY = 150
"""Bytes that an entry takes in two dicts, beside its key and value."""
ADDRESS = 64
"""Bytes that one address, or another short key, takes as an object."""


class Budget:
    """The memory that all caches of a store share: about ``limit`` bytes.

    Every cache has a young dict and an old one. What is used moves to the young one; when the young
    ones of all caches together hold half the limit, they become the old ones, and those are dropped.
    So what was used least lately goes first, whatever kind of thing it is. Losing a race costs a
    few entries, or some bytes of the count until they are rotated, never a wrong value.
    """

    __slots__ = ("_caches", "_numbers", "_used", "limit")

    def __init__(self, limit: int = LIMIT) -> None:
        self._caches: dict[int, weakref.ref[Cache[Any, Any]]] = {}
        self._numbers = itertools.count()
        self._used = 0
        self.limit = limit

    def spend(self, more: int, weight: int) -> None:
        """Count ``more`` bytes, for a thing that takes ``weight`` in all; make room if they are too many."""
        self._used += more
        if self._used > self.limit // 2:
            self._used = weight
            for cache in list(self._caches.values()):
                if (found := cache()) is not None:
                    found.rotate()

    def clear(self) -> None:
        """Have all caches forget everything."""
        for _ in ("young", "old"):
            for cache in list(self._caches.values()):
                if (found := cache()) is not None:
                    found.rotate()
        self._used = 0

    def join(self, cache: Cache[Any, Any]) -> None:
        """Let a cache take part, for as long as somebody holds it."""
        number = next(self._numbers)
        self._caches[number] = weakref.ref(cache, lambda _: self._caches.pop(number, None))


class Cache(Generic[K, V]):
    """One kind of things that a store remembers; ``weigh`` tells how many bytes a key and its value take.

    A thing that outweighs half the budget is not kept; with ``any_weight`` it is, alone, until
    the next one comes: what is needed at every call is not to be made anew at every call.
    """

    __slots__ = ("__weakref__", "_any_weight", "_budget", "_old", "_weigh", "_young")

    def __init__(self, budget: Budget, weigh: Callable[[K, V], int], *, any_weight: bool = False) -> None:
        self._budget = budget
        self._weigh = weigh
        self._any_weight = any_weight
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        budget.join(self)

    def get(self, key: K) -> V | None:
        """Return the value kept for ``key``, or None."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V, before: int | None = None) -> None:
        """Keep ``value``, which may push out what was used least lately, of this kind or another.

        ``before`` is what it weighed when it was put last, if it has changed since.
        """
        weight = self._weigh(key, value)
        if weight > self._budget.limit // 2 and not self._any_weight:
            return
        held = self._young.get(key)
        if held is None:
            before = 0
        elif held is not value or before is None:
            before = self._weigh(key, held)
        self._budget.spend(weight - before, weight)
        self._young[key] = value

    def rotate(self) -> None:
        """Drop what was not used since this was called last."""
        self._old, self._young = self._young, {}
