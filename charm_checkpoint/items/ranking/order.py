"""The one order of what was found: score falling, then the time of the last put falling, then space and key; pure."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from charm_checkpoint.contract_items import ItemKey
from charm_checkpoint.items.ranking.arithmetic import numpy_for
from charm_checkpoint.items.ranking.postings import Values

NOT_COMPARED = -2.0
"""Stands for no score: less than any cosine."""
GONE = -3.0
"""Stands for a slot that has no item."""

_SORTED = 1_000
"""So many scores are sorted sooner than the largest of them are found."""

Slots: TypeAlias = list[int]


class Items:
    """Which item each slot holds; items are only added. ``spaces`` are places among ``paths``."""

    __slots__ = ("_places", "keys", "paths", "spaces")

    def __init__(self, paths: Iterable[bytes] = (), spaces: Iterable[int] = (), keys: Iterable[bytes] = ()) -> None:
        self.paths = list(paths)
        self.spaces = array("I", spaces)
        self.keys = list(keys)
        self._places = {path: place for place, path in enumerate(self.paths)}

    def __len__(self) -> int:
        """Return how many slots there are."""
        return len(self.keys)

    def __getitem__(self, slot: int) -> ItemKey:
        """Return the item of a slot."""
        return ItemKey(self.paths[self.spaces[slot]], self.keys[slot])

    def add(self, path: bytes, key: bytes) -> None:
        """Give an item the next slot."""
        place = self._places.get(path)
        if place is None:
            place = self._places[path] = len(self.paths)
            self.paths.append(path)
        self.spaces.append(place)
        self.keys.append(key)

    def of(self, slots: Sequence[int]) -> Items:
        """Return the items of some slots, in that order, which are theirs then."""
        return Items(self.paths, map(self.spaces.__getitem__, slots), map(self.keys.__getitem__, slots))


class Order:
    """Sorts slots by scores; ``items`` and ``updated`` tell of each slot and are only added to."""

    __slots__ = ("items", "updated")

    def __init__(self, items: Items, updated: Sequence[int]) -> None:
        self.items = items
        numpy = numpy_for(len(items))
        # A copy: an array whose buffer somebody reads cannot be added to.
        self.updated = updated if numpy is None else numpy.array(updated, dtype=numpy.int64)

    def first(self, scores: Values, size: int) -> Slots:
        """Return the first slots of the order, ``size`` at most, without those that are gone."""
        size = min(size, len(scores))
        if size <= 0:
            return []
        numpy = numpy_for(len(scores))
        if numpy is not None:
            return self._first_of_many(numpy, numpy.asarray(scores), size)
        if size < len(scores) // 2:
            few = len(scores) <= _SORTED
            least = max((sorted(scores)[-size] if few else heapq.nlargest(size, scores)[-1]), NOT_COMPARED)
            found = [slot for slot, score in enumerate(scores) if score >= least]
        else:
            found = [slot for slot, score in enumerate(scores) if score > GONE]
        updated, items = self.updated, self.items

        def place(slot: int) -> tuple[float, int, ItemKey]:
            return -scores[slot], -updated[slot], items[slot]

        if len(found) > 2 * size:
            return heapq.nsmallest(size, found, key=place)
        return sorted(found, key=place)[:size]

    def _first_of_many(self, numpy: Any, scores: Any, size: int) -> Slots:
        least = max(float(numpy.partition(scores, len(scores) - size)[len(scores) - size]), NOT_COMPARED)
        found = numpy.flatnonzero(scores >= least)
        updated = numpy.asarray(self.updated, dtype=numpy.int64)[found]
        # Stable and by two keys; the third, which seldom matters, is looked at where these two are equal.
        sequence = numpy.lexsort((-updated, -scores[found]))
        found, updated = found[sequence], updated[sequence]
        held = scores[found]
        equal = (held[1:] == held[:-1]) & (updated[1:] == updated[:-1])
        slots: Slots = found.tolist()
        if equal.any():
            self._settle(slots, equal.tolist())
        return slots[:size]

    def _settle(self, slots: Slots, equal: Sequence[bool]) -> None:
        start = 0
        for at in range(1, len(slots) + 1):
            if at == len(slots) or not equal[at - 1]:
                if at - start > 1:
                    slots[start:at] = sorted(slots[start:at], key=self.items.__getitem__)
                start = at
