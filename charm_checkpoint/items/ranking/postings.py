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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import add, mul
from typing import Any, Final, NamedTuple, TypeAlias

from charm_checkpoint.items.ranking.arithmetic import numpy_for

SATURATION: Final = 1.2
"""k1 of BM25: how much it counts that a text holds a term again and again."""
LENGTH_SHARE: Final = 0.75
"""b of BM25: how much it counts against a text that it is long."""
PRIOR: Final = 20
"""How many more texts there are thought to be, in which no term is: so that the only text of a small namespace is not
told apart by what it lacks alone. Among the notes of `python -m benchmarks retrieval` as many unrelated questions are
refused with it, and more related ones kept."""
MOST_TERMS: Final = 200
"""Terms of a question that are looked for, those first that the fewest items hold."""

Values: TypeAlias = Any
"""Numbers by slot: a list of float, or an array of numpy."""

BITS: Final = 8
MOST: Final = (1 << BITS) - 1
"""A posting of an item that holds a term more than once is its slot, and in so many of the lowest bits how often."""
_POSTING = 4.3
_TERM = 130
"""Bytes of a posting, and of a term's text, its entry in a dict and its array."""
_UNSIGNED = "I"
GONE: Final = 0xFFFFFFFF
"""Stands for the slot of an item that went."""


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


class Held(NamedTuple):
    """The postings of a term: the slots of the items that hold it once; and slots and counts of the others."""

    once: array[int]
    more: array[int]


class Postings:
    """The postings of one kind of term. ``total`` is how many terms live items hold in all.

    Of an index that is kept in the store, the postings of a term are taken when a question has it: see `take`.
    """

    __slots__ = (
        "_checked", "_longest", "_more", "_numbers", "_once", "_postings", "_removals", "_saturated", "_taken",
        "lengths", "total",
    )  # fmt: skip

    def __init__(self) -> None:
        self._taken: set[str] | None = None  # None: all there are
        self._numbers: array[int] | None = None  # by the slots of what is kept, those of today
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
                more[term].append(slot << BITS | (count if count < MOST else MOST))
        self._postings += len(counts) + 1
        length = sum(counts.values())
        self.lengths.append(length)
        if length > self._longest:
            self._longest = length

    @classmethod
    def kept(cls, lengths: array[int]) -> Postings:
        """Return those of items whose postings are kept in the store, and of which only the lengths are at hand."""
        made = cls()
        made._taken = set()
        made.lengths, made.total, made._longest = lengths, sum(lengths), max(lengths, default=0)
        made._postings = len(lengths)
        return made

    def all(self) -> Iterator[tuple[str, Held]]:
        """Yield the terms with their postings, when slots were numbered anew and no item went since."""
        for term in self._once.keys() | self._more.keys():
            yield term, Held(self._once.get(term, _NONE), self._more.get(term, _NONE))

    def missing(self, terms: Iterable[str]) -> list[str]:
        """Return those of these terms whose postings are kept in the store and not at hand."""
        taken = self._taken
        return [] if taken is None else [term for term in terms if term not in taken]

    def take(self, term: str, kept: Held | None) -> None:
        """Take the postings of a term as they are kept, None if no item had it."""
        if self._taken is None or term in self._taken:
            return
        self._taken.add(term)
        self._checked.pop(term, None)
        if kept is None:
            return
        once, more = kept
        numbers = self._numbers
        if numbers is not None:
            once = array(_UNSIGNED, [now for slot in once if (now := numbers[slot]) != GONE])
            more = array(
                _UNSIGNED,
                [now << BITS | held & MOST for held in more if (now := numbers[held >> BITS]) != GONE],
            )
        # What was added since has higher slots.
        if once:
            self._once[term] = once + self._once[term]
        if more:
            self._more[term] = more + self._more[term]
        self._postings += len(once) + len(more)

    def removed(self) -> None:
        """Note that an item went."""
        self._removals += 1

    def renumber(self, slots: Sequence[int]) -> None:
        """Give items the slots at their former ones; those whose slot is `GONE` leave."""
        former_once, former_more, taken, numbers = self._once, self._more, self._taken, self._numbers
        kept = array(_UNSIGNED, [length for length, slot in zip(self.lengths, slots, strict=True) if slot != GONE])
        total = self.total
        self.__init__()  # type: ignore[misc]
        if taken is not None:
            former = range(len(slots)) if numbers is None else numbers
            self._taken = taken
            self._numbers = array(_UNSIGNED, [slot if slot == GONE else slots[slot] for slot in former])
        self.lengths, self.total, self._longest = kept, total, max(kept, default=0)
        for term, once in former_once.items():
            if found := [slots[slot] for slot in once if slots[slot] != GONE]:
                self._once[term] = array(_UNSIGNED, found)
                self._postings += len(found)
        for term, more in former_more.items():
            if found := [
                slots[posting >> BITS] << BITS | posting & MOST for posting in more if slots[posting >> BITS] != GONE
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
                more = self._more[term] = array(_UNSIGNED, [found for found in more if there[found >> BITS]])
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
                slot, count = posting >> BITS, posting & MOST
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
                slots, counts = postings >> BITS, postings & MOST
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
        worths = [math.log(1.0 + (living.live + PRIOR - count + 0.5) / (count + 0.5)) for count, *_ in held]
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
            return sum(alive[slot] for slot in once) + sum(alive[posting >> BITS] for posting in more)
        unsigned = numpy.dtype(_UNSIGNED)
        slots = numpy.concatenate(
            (numpy.frombuffer(once, dtype=unsigned), numpy.frombuffer(more, dtype=unsigned) >> BITS)
        )
        return int(numpy.count_nonzero(numpy.frombuffer(alive, dtype=numpy.uint8)[slots]))

    def _saturations(self, mean: float) -> list[float]:
        """Return for each length that there may be what a term's count is to be compared with."""
        if self._saturated[0] != mean or len(self._saturated[1]) <= self._longest:
            plain, steep = SATURATION * (1.0 - LENGTH_SHARE), SATURATION * LENGTH_SHARE / mean
            self._saturated = mean, [plain + steep * length for length in range(self._longest + 1)]
        return self._saturated[1]


_NONE: array[int] = array(_UNSIGNED)
