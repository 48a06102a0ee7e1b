"""The largest of many, of which only so many are held."""

from __future__ import annotations

import heapq
from typing import Any


class Largest:
    """Keeps the largest of many values."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heap: list[tuple[int, int, Any]] = []
        self._number = 0

    def add(self, size: int, what: Any) -> None:
        """Take a value, if it is among the largest so far."""
        self._number += 1
        heapq.heappush(self._heap, (size, -self._number, what))
        if len(self._heap) > self._count:
            heapq.heappop(self._heap)

    def found(self) -> list[tuple[int, Any]]:
        """Return the largest and their sizes, the largest first."""
        return [(size, what) for size, _, what in sorted(self._heap, reverse=True)]
