"""Which items hold a term, and how much of a question they cover by it; pure.

What is kept for a term is the slots of the items that hold it once, and of those that hold it more often. A slot is
the number that an item has in an index; its postings stay when the item goes, until the term is looked for next.

Sums are made in the order of the question's terms, by the same operations with numpy as without it, so that each
result is the same to the last bit.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from operator import add, mul
from typing import Any, Final, NamedTuple, TypeAlias

from charm_checkpoint.items.ranking.arithmetic import numpy_for

SATURATION: Final = 1.2
"""k1 of BM25: how much it counts that a text holds a term again and again."""
LENGTH_SHARE: Final = 0.75
"""b of BM25: how much it counts against a text that it is long."""
MOST_TERMS: Final = 200
"""Terms of a question that are looked for, those first that the fewest items hold."""

Values: TypeAlias = Any
"""Numbers by slot: a list of float, or an array of numpy."""

_BITS = 8
_MOST = (1 << _BITS) - 1
_POSTING = 4.3
_TERM = 150
"""Bytes of a posting, and of a term's text, its entry in a dict and its array."""
_UNSIGNED = "I"


class Living(NamedTuple):
    """Which items count: ``there`` has a 1 for each slot that has an item, ``alive`` if it is not expired either.

    ``live`` is how many are alive; ``hidden`` whether some that are there are not.
    """

    there: bytearray
    alive: bytearray
    live: int
    hidden: bool


class _Found(NamedTuple):
    worth: float
    once: array[int]
    more: array[int]


class Postings:
    """The postings of one kind of term. ``total`` is how many terms live items hold in all."""

    __slots__ = ("_checked", "_longest", "_more", "_once", "_postings", "_removals", "_saturated", "lengths", "total")

    def __init__(self) -> None:
        self._once: dict[str, array[int]] = defaultdict(partial(array, _UNSIGNED))
        self._more: dict[str, array[int]] = defaultdict(partial(array, _UNSIGNED))
        self._postings = 0
        self._checked: dict[str, int] = {}
        self._removals = 0
        self._longest = 0
        self._saturated: tuple[float, list[float]] = (0.0, [])
        self.lengths = array(_UNSIGNED)
        self.total = 0

    @property
    def weight(self) -> int:
        """Return about how many bytes they take."""
        return int(_POSTING * self._postings) + _TERM * (len(self._once) + len(self._more))

    def add(self, slot: int, counts: Mapping[str, int]) -> None:
        """Add the next slot, and the terms of its item."""
        once, more = self._once, self._more
        for term, count in counts.items():
            if count == 1:
                once[term].append(slot)
            else:
                more[term].append(slot << _BITS | (count if count < _MOST else _MOST))
        self._postings += len(counts) + 1
        length = sum(counts.values())
        self.lengths.append(length)
        if length > self._longest:
            self._longest = length

    def removed(self) -> None:
        """Note that an item went."""
        self._removals += 1

    def renumber(self, slots: Sequence[int], gone: int) -> None:
        """Give items the slots at their former ones; those whose slot is ``gone`` leave."""
        former_once, former_more = self._once, self._more
        kept = array(_UNSIGNED, [length for length, slot in zip(self.lengths, slots, strict=True) if slot != gone])
        total = self.total
        self.__init__()  # type: ignore[misc]
        self.lengths, self.total, self._longest = kept, total, max(kept, default=0)
        for term, once in former_once.items():
            if found := [slots[slot] for slot in once if slots[slot] != gone]:
                self._once[term] = array(_UNSIGNED, found)
                self._postings += len(found)
        for term, more in former_more.items():
            if found := [
                slots[posting >> _BITS] << _BITS | posting & _MOST
                for posting in more
                if slots[posting >> _BITS] != gone
            ]:
                self._more[term] = array(_UNSIGNED, found)
                self._postings += len(found)
        self._postings += len(kept)

    def _of(self, term: str, there: bytearray) -> tuple[array[int], array[int]]:
        once, more = self._once.get(term, _NONE), self._more.get(term, _NONE)
        if self._removals and (once or more) and self._checked.get(term) != self._removals:
            self._checked[term] = self._removals
            if once:
                once = self._once[term] = array(_UNSIGNED, [slot for slot in once if there[slot]])
            if more:
                more = self._more[term] = array(_UNSIGNED, [found for found in more if there[found >> _BITS]])
        return once, more

    def cover(self, terms: Sequence[str], living: Living) -> Values:
        """Return which share of what ``terms`` say each item covers, from 0 to 1."""
        size = len(self.lengths)
        numpy = numpy_for(size)
        found = self._worths(terms, living)
        if not found:
            return numpy.zeros(size) if numpy is not None else [0.0] * size
        mean = self.total / living.live if self.total else 1.0
        saturations = self._saturations(mean)
        if numpy is not None:
            return self._cover_many(numpy, found, saturations)
        sums = [0.0] * size
        extra = [0.0] * size
        lengths = self.lengths
        for worth, once, more in found:
            for slot in once:
                sums[slot] += worth
            for posting in more:
                slot, count = posting >> _BITS, posting & _MOST
                extra[slot] += worth * (count / (count + saturations[lengths[slot]]))
        factors = [1.0 / (1.0 + saturation) for saturation in saturations]
        return list(map(add, map(mul, sums, map(factors.__getitem__, lengths)), extra))

    def _cover_many(self, numpy: Any, found: Sequence[_Found], saturations: Sequence[float]) -> Values:
        unsigned = numpy.dtype(_UNSIGNED)
        lengths = numpy.frombuffer(self.lengths, dtype=unsigned)
        by_length = numpy.array(saturations)
        sums, extra = numpy.zeros(len(lengths)), numpy.zeros(len(lengths))
        for worth, once, more in found:
            if once:
                sums[numpy.frombuffer(once, dtype=unsigned)] += worth
            if more:
                postings = numpy.frombuffer(more, dtype=unsigned)
                slots, counts = postings >> _BITS, postings & _MOST
                extra[slots] += worth * (counts / (counts + by_length[lengths[slots]]))
        return sums * (1.0 / (1.0 + by_length))[lengths] + extra

    def _worths(self, terms: Sequence[str], living: Living) -> list[_Found]:
        """Return the terms' postings, each with its share of what the question says."""
        held: list[tuple[int, int, array[int], array[int]]] = []
        for place, term in enumerate(terms):
            once, more = self._of(term, living.there)
            held.append((self._count(once, more, living), place, once, more))
        if len(held) > MOST_TERMS:
            held = sorted(held, key=lambda row: (row[0], terms[row[1]]))[:MOST_TERMS]
        worths = [math.log(1.0 + (living.live - count + 0.5) / (count + 0.5)) for count, *_ in held]
        bound = math.fsum(worths)
        return [
            _Found(worth / bound, once, more)
            for worth, (count, _, once, more) in zip(worths, held, strict=True)
            if count
        ]

    def _count(self, once: array[int], more: array[int], living: Living) -> int:
        if not living.hidden:
            return len(once) + len(more)
        numpy = numpy_for(len(once) + len(more))
        alive = living.alive
        if numpy is None:
            return sum(alive[slot] for slot in once) + sum(alive[posting >> _BITS] for posting in more)
        unsigned = numpy.dtype(_UNSIGNED)
        slots = numpy.concatenate(
            (numpy.frombuffer(once, dtype=unsigned), numpy.frombuffer(more, dtype=unsigned) >> _BITS)
        )
        return int(numpy.count_nonzero(numpy.frombuffer(alive, dtype=numpy.uint8)[slots]))

    def _saturations(self, mean: float) -> list[float]:
        """Return for each length that there may be what a term's count is to be compared with."""
        if self._saturated[0] != mean or len(self._saturated[1]) <= self._longest:
            plain, steep = SATURATION * (1.0 - LENGTH_SHARE), SATURATION * LENGTH_SHARE / mean
            self._saturated = mean, [plain + steep * length for length in range(self._longest + 1)]
        return self._saturated[1]


_NONE: array[int] = array(_UNSIGNED)
