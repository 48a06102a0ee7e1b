"""The sign codes of the items of an index, and those vectors that are at hand; pure."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from charm_checkpoint.items.ranking.arithmetic import numpy_for
from charm_checkpoint.items.ranking.codes import ROW_ITEM, code_size, cosine, dot, row_of, sign_code, squared
from charm_checkpoint.items.ranking.entries import Parsed
from charm_checkpoint.items.ranking.models import Model
from charm_checkpoint.items.ranking.order import GONE
from charm_checkpoint.items.ranking.postings import GONE as NO_SLOT
from charm_checkpoint.items.ranking.postings import Living, Values

MOST_AT_HAND = 8_000
"""Vectors of an index's items that it keeps beyond those of small ones."""
_PIECE = 128
_KNOWN = 6
_HELD = 120
"""Bytes of what is known of an item, and of vectors at hand beside their own."""
_ROW = 12
_NUMBER = 36


class Kind(NamedTuple):
    """Vectors that can be compared with each other: of one model, and their codes made in one way."""

    model: bytes
    dims: int
    centred: bool


class Codes:
    """The codes of one kind, end to end, and whose each is."""

    __slots__ = ("_numbers", "codes", "size", "slots")

    def __init__(self, dims: int) -> None:
        self.size = code_size(dims)
        self.slots = array("I")
        self.codes = bytearray()
        self._numbers: list[int] = []

    @property
    def weight(self) -> int:
        """Return about how many bytes they take."""
        return len(self.codes) + _ROW * len(self.slots) + (self.size + _NUMBER) * len(self._numbers)

    def nearest(self, code: bytes, steps: Sequence[float], size: int) -> Values:
        """Return for each of ``size`` slots what ``steps`` has for the distance of its nearest code; GONE for none."""
        numpy = numpy_for(len(self.slots))
        if numpy is not None:
            return self._nearest_of_many(numpy, code, steps, size)
        values = [GONE] * size
        asked, width, codes, numbers = int.from_bytes(code, "big"), self.size, self.codes, self._numbers
        for at in range(len(numbers) * width, len(codes), width):
            numbers.append(int.from_bytes(codes[at : at + width], "big"))
        for slot, number in zip(self.slots, numbers, strict=True):
            near = steps[(number ^ asked).bit_count()]
            if near > values[slot]:
                values[slot] = near
        return values

    def _nearest_of_many(self, numpy: Any, code: bytes, steps: Sequence[float], size: int) -> Values:
        rows = numpy.frombuffer(self.codes, dtype=numpy.uint8).reshape(-1, self.size)
        asked = numpy.frombuffer(code, dtype=numpy.uint8)
        if self.size % 8 == 0:
            rows, asked = rows.view(numpy.uint64), asked.view(numpy.uint64)
        near = numpy.array(steps)[_bit_counts(numpy, rows ^ asked)]
        values = numpy.full(size, GONE)
        numpy.maximum.at(values, numpy.frombuffer(self.slots, dtype=numpy.dtype(self.slots.typecode)), near)
        return values


def _estimates(row: Sequence[float], centre: Sequence[float]) -> list[float]:
    """Return which cosine is to be expected for each distance of codes.

    The share of bits that differ is the angle between two vectors less the centre, as a share of half a turn.
    """
    middle = centre or (0.0,) * len(row)
    base = dot(middle, row)
    length = math.sqrt(max(0.0, squared(row) - 2.0 * base + squared(middle)))
    spread = length * math.sqrt(max(0.0, 1.0 - squared(middle)))
    return [base + spread * math.cos(math.pi * distance / len(row)) for distance in range(len(row) + 1)]


def _bit_counts(numpy: Any, rows: Any) -> Any:
    if hasattr(numpy, "bitwise_count"):
        return numpy.bitwise_count(rows).sum(axis=1, dtype=numpy.int64)
    table = numpy.array([number.bit_count() for number in range(256)], dtype=numpy.uint8)
    return table[rows.view(numpy.uint8)].sum(axis=1, dtype=numpy.int64)


class _Stack(NamedTuple):
    """Vectors of several slots as one array of numpy; ``starts``: where each slot's begin, None if each has one."""

    slots: list[int]
    rows: Any
    squares: Any
    starts: Any

    @property
    def weight(self) -> int:
        """Return how many bytes it takes."""
        return int(self.rows.nbytes + self.squares.nbytes) + 8 * len(self.slots)


class Frozen(NamedTuple):
    """What is written down of vectors: of each kind the slots and the codes, and of each slot its kind.

    Kinds are counted from 1; a slot of kind 0 has no vectors. ``counts`` is how many a slot has.
    """

    kinds: Sequence[tuple[Kind, array[int], bytes]]
    kind_of: array[int]
    counts: array[int]


class Vectors:
    """What an index knows of its items' vectors; slots as in `Postings`."""

    __slots__ = ("_at_hand", "_codes", "_held", "_kind_of", "_kinds", "_many", "_stack", "_taken")

    def __init__(self) -> None:
        self._codes: dict[Kind, Codes] = {}
        self._kinds: list[Kind | None] = [None]
        self._kind_of = array("H")  # of each slot, a place in the list
        self._many = array("I")
        self._held: Counter[Kind] = Counter()
        self._at_hand: dict[int, bytes] = {}
        self._stack: _Stack | None = None
        self._taken = 0

    @property
    def weight(self) -> int:
        """Return about how many bytes they take."""
        codes = sum(codes.weight for codes in self._codes.values())
        return codes + len(self._kind_of) * _KNOWN + self._taken + (self._stack.weight if self._stack else 0)

    def freeze(self) -> Frozen:
        """Return what is to be written down, when slots were numbered anew and no item went since."""
        kinds = [(kind, codes.slots, bytes(codes.codes)) for kind, codes in self._codes.items()]
        places = {kind: place for place, (kind, *_) in enumerate(kinds, 1)}
        numbers = [places.get(kind, 0) if kind else 0 for kind in self._kinds]
        return Frozen(kinds, array("H", map(numbers.__getitem__, self._kind_of)), array("I", self._many))

    @classmethod
    def of(cls, frozen: Frozen) -> Vectors:
        """Undo `freeze`."""
        made = cls()
        for kind, slots, codes in frozen.kinds:
            held = made._codes[kind] = Codes(kind.dims)
            held.slots, held.codes = slots, bytearray(codes)
            made._kinds.append(kind)
        made._kind_of, made._many = frozen.kind_of, frozen.counts
        for place, count in Counter(frozen.kind_of).items():
            if (kind_at := made._kinds[place]) is not None:
                made._held[kind_at] = count
        return made

    def add(self, slot: int, entry: Parsed | None, vectors: bytes | None) -> None:
        """Add the vectors of the item of the next slot."""
        if entry is None or not entry.vectors:
            self._kind_of.append(0)
            self._many.append(0)
            return
        kind = Kind(entry.model, entry.dims, entry.centred)
        codes = self._codes.get(kind)
        if codes is None:
            codes = self._codes[kind] = Codes(entry.dims)
        codes.slots.extend([slot] * entry.vectors)
        codes.codes += entry.codes
        if kind not in self._held:
            self._kinds.append(kind)
        self._kind_of.append(self._kinds.index(kind))
        self._many.append(entry.vectors)
        self._held[kind] += 1
        if vectors is not None:
            self.take(slot, vectors)

    def remove(self, slot: int) -> None:
        """Forget the vectors of an item; its codes stay until slots are numbered anew."""
        kind = self._kinds[self._kind_of[slot]]
        if kind is not None:
            self._held[kind] -= 1
            self._kind_of[slot] = self._many[slot] = 0
            self._drop(slot)

    def renumber(self, slots: Sequence[int]) -> None:
        """Give items the slots at their former ones; those whose slot is `GONE` leave."""
        self._stack = None
        for kind, codes in list(self._codes.items()):
            kept, size = Codes(kind.dims), codes.size
            for row, slot in enumerate(codes.slots):
                if slots[slot] != NO_SLOT:
                    kept.slots.append(slots[slot])
                    kept.codes += codes.codes[row * size : (row + 1) * size]
            if kept.slots:
                self._codes[kind] = kept
            else:
                del self._codes[kind]
        was = [slot for slot, now in enumerate(slots) if now != NO_SLOT]
        self._kind_of = array("H", map(self._kind_of.__getitem__, was))
        self._many = array("I", map(self._many.__getitem__, was))
        self._at_hand = {slots[slot]: data for slot, data in self._at_hand.items()}

    def take(self, slot: int, vectors: bytes) -> None:
        """Keep the vectors of an item at hand."""
        kind = self._kinds[self._kind_of[slot]]
        size = kind.dims * self._many[slot] * ROW_ITEM if kind else 0
        if size and len(vectors) == size and slot not in self._at_hand:
            self._at_hand[slot] = vectors
            self._taken += len(vectors) + _HELD

    def forget(self, most: int = MOST_AT_HAND) -> None:
        """Keep no more at hand than ``most``, those that came last."""
        while len(self._at_hand) > most:
            self._drop(next(iter(self._at_hand)))

    def _drop(self, slot: int) -> None:
        data = self._at_hand.pop(slot, None)
        if data is not None:
            self._stack = None
            self._taken -= len(data) + _HELD

    def count(self, model: bytes | None) -> int:
        """Return how many items have vectors of a model, of any if it is None."""
        return sum(count for kind, count in self._held.items() if model is None or kind.model == model)

    def models(self) -> set[bytes]:
        """Return whose vectors there are."""
        return {kind.model for kind, count in self._held.items() if count}

    def model_of(self, slot: int) -> bytes:
        """Return whose vectors an item has; empty if none."""
        kind = self._kinds[self._kind_of[slot]]
        return kind.model if kind else b""

    def of_model(self, model: bytes, dims: int, living: Living) -> list[int]:
        """Return the slots of items with vectors of a model."""
        fits = [kind is not None and kind.model == model and kind.dims == dims for kind in self._kinds]
        if not living.hidden and all(fits[1:]) and self.count(None) == len(self._kind_of):
            return list(range(len(self._kind_of)))
        pairs = enumerate(zip(self._kind_of, living.alive, strict=True))
        return [slot for slot, (kind, alive) in pairs if alive and fits[kind]]

    def missing(self, slots: Iterable[int]) -> list[int]:
        """Return those of these whose vectors are not at hand."""
        if len(self._at_hand) == self.count(None):
            return []
        return [slot for slot in slots if slot not in self._at_hand]

    def nearness(self, row: Sequence[float], model: Model, alive: bytearray) -> Values:
        """Return by slot the cosine that is to be expected by the codes of an item; GONE for those without."""
        found: list[Values] = []
        for kind, codes in self._codes.items():
            if kind.model == model.identity and kind.dims == len(row):
                centre = model.centre if kind.centred else ()
                found.append(codes.nearest(sign_code(row, centre), _estimates(row, centre), len(alive)))
        numpy = numpy_for(len(alive))
        if numpy is not None:
            arrays = [numpy.asarray(values) for values in found] or [numpy.full(len(alive), GONE)]
            return numpy.where(numpy.frombuffer(alive, dtype=numpy.uint8) > 0, numpy.maximum.reduce(arrays), GONE)
        if len(found) == 1 and isinstance(found[0], list):
            return [value if living else GONE for living, value in zip(alive, found[0], strict=True)]
        lists = [values if isinstance(values, list) else values.tolist() for values in found] or [[GONE] * len(alive)]
        return [max(values) if living else GONE for living, values in zip(alive, zip(*lists, strict=True), strict=True)]

    def cosines(self, row: Sequence[float], slots: Collection[int]) -> dict[int, float]:
        """Return the cosine of the nearest vector of each of these items whose vectors are at hand."""
        held = self._at_hand
        there = list(slots) if len(held) == self.count(None) else [slot for slot in slots if slot in held]
        numpy = numpy_for(len(row) * len(there) // 10)
        if numpy is not None:
            return self._cosines_of_many(numpy, row, there)
        size, length = len(row) * ROW_ITEM, squared(row)
        if not length:
            return dict.fromkeys(there, 0.0)
        found: dict[int, float] = {}
        for slot in there:
            data = held[slot]
            found[slot] = max(cosine(row_of(data[at : at + size]), row, length) for at in range(0, len(data), size))
        return found

    def _cosines_of_many(self, numpy: Any, row: Sequence[float], slots: list[int]) -> dict[int, float]:
        asked = numpy.array(row)
        length = float(asked @ asked)
        if not length:
            return dict.fromkeys(slots, 0.0)
        if self._stack is None or self._stack.slots != slots:
            self._stack = self._stacked(numpy, len(row), slots)
        stack = self._stack
        # Piece by piece: what fits into the processor's cache is made float64 many times faster.
        pieces = [
            stack.rows[start : start + _PIECE].astype(numpy.float64) @ asked
            for start in range(0, len(stack.rows), _PIECE)
        ]
        found = numpy.concatenate(pieces) / numpy.sqrt(stack.squares * length)
        if stack.starts is not None:
            found = numpy.maximum.reduceat(found, stack.starts)
        return dict(zip(slots, found.tolist(), strict=True))

    def _stacked(self, numpy: Any, dims: int, slots: list[int]) -> _Stack:
        parts = [self._at_hand[slot] for slot in slots]
        rows = numpy.frombuffer(b"".join(parts), dtype="<f2").reshape(-1, dims)
        # It holds each number as it is, takes twice the room, and is made float64 many times faster.
        rows = rows.astype(numpy.float32)
        squares = numpy.einsum("ij,ij->i", rows, rows, dtype=numpy.float64)
        squares[squares == 0.0] = 1.0  # what is divided by it is 0.0 as well
        counts = [len(part) // (dims * ROW_ITEM) for part in parts]
        starts = numpy.cumsum([0, *counts[:-1]]) if max(counts) > 1 else None
        return _Stack(slots, rows, squares, starts)
