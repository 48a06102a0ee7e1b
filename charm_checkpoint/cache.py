"""A small cache bounded by weight, safe to use from many threads without a lock."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Keeps what was used lately, up to about ``limit`` of total weight.

    Two dicts take turns: what is used moves to the young one, and when that is half full the
    old one is dropped. Losing a race costs an entry or two, never a wrong value.
    """

    __slots__ = ("_half", "_old", "_weight", "_young")

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._weight = 0

    def get(self, key: K) -> V | None:
        """Return the value kept for ``key``, or None."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self._young[key] = value
        return value

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Keep ``value``, which may push out what was used least lately."""
        if weight > self._half:
            return
        self._weight += weight
        if self._weight > self._half:
            self._old, self._young, self._weight = self._young, {}, weight
        self._young[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old, self._weight = {}, {}, 0
