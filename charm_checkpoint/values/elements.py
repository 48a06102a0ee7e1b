"""The elements of a list or dict, side by side as they were at one moment, and where leaves of them end; pure.

A leaf ends where an element says so, never at a fixed place: an edit then moves no end but its own. How many elements
a leaf is to have depends on the size of its first ones, so that leaves of small elements are few.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from charm_checkpoint.errors import DataError, PathPart
from charm_checkpoint.values.serde import Fingerprint, Serializer
from charm_checkpoint.values.serde.bases import as_step, check_distinct

LEAF_BYTES = 8192
"""About the encoded size of a leaf of small elements."""
FEWEST, MOST = 16, 4096
"""About how many elements a leaf has: of large elements, and of numbers."""
SHORTEST = 4
"""Elements that a leaf has at least."""

NUMBERS = frozenset((bool, int, float))
BOXES = frozenset((list, dict))
BATCH, MOST_AT_ONCE = 32, 512
"""Elements that are encoded in one go while it is not known how many are needed, at first and at most."""


class Ends(NamedTuple):
    """Where leaves end: from ``shortest`` elements on, where a hash has no bit of ``mask``, or after ``longest``.

    ``sized``: the smaller an element is, the more seldom a leaf ends with it, and ``longest`` ones of small elements
    go on for four times `LEAF_BYTES`.
    """

    shortest: int
    mask: int
    longest: int
    sized: bool = False

    def are_at(self, hashed: int, size: int) -> bool:
        """Tell whether a leaf may end with an element of this hash and size."""
        if hashed & self.mask:
            return False
        return not self.sized or (hashed >> 4 & 0xFFFF) * LEAF_BYTES < size * FEWEST << 16


FEW = Ends(SHORTEST, FEWEST - 1, 8 * FEWEST)
"""The ends of groups, and of the small leaves that stand in for one that has not ended yet."""
SIZED = Ends(SHORTEST, FEWEST - 1, 8 * FEWEST, True)
NUMBERS_ENDS = Ends(MOST - MOST // 8, MOST // 8 - 1, 4 * MOST)
FEW_NUMBERS = Ends(64, 127, 1024)
"""The same for leaves of numbers. Most of these are not even looked at."""


class Elements:
    """A list's elements, or a dict's keys and values; ``keys`` is None for a list.

    The container is looked at once: another thread may change it. What its elements hold may change still, so
    each is encoded once, and all that is decided of it rests on these bytes.
    """

    def __init__(
        self, container: list[Any] | dict[Any, Any], serde: Serializer, is_heavy: Callable[[Sequence[Any]], bool]
    ) -> None:
        self.keys: list[Any] | None = None
        if isinstance(container, dict):
            items = container.copy()
            check_distinct(items)
            self.keys, self.values = list(items), list(items.values())
        else:
            self.values = container.copy()
        self._serde = serde
        self._is_heavy = is_heavy
        self._packed: list[bytes | None] = [None] * len(self.values)
        self._packed_keys: list[bytes | None] = [] if self.keys is None else [None] * len(self.keys)

    def __len__(self) -> int:
        return len(self.values)

    # ------------------------------------------------------------- single elements

    def container(self) -> list[Any] | dict[Any, Any]:
        """Return a copy of the container as it was."""
        return self.values if self.keys is None else dict(zip(self.keys, self.values, strict=True))

    def packed(self, position: int) -> bytes:
        """Return an element's value encoded; small ones behind it are encoded in the same go."""
        found = self._packed[position]
        if found is None:
            last = position if type(self.values[position]) in BOXES else min(position + BATCH, len(self))
            found = self.pack(range(position, max(last, position + 1)))[0]
        return found

    def pack(self, positions: range) -> list[bytes]:
        """Return the values of elements side by side encoded."""
        return self._all(self._packed, self.values, positions, self._is_heavy)

    def packed_key(self, position: int) -> bytes:
        """Return an element's key encoded."""
        return self._packed_keys[position] or self.pack_keys(range(position, min(position + BATCH, len(self))))[0]

    def pack_keys(self, positions: range) -> list[bytes]:
        """Return the keys of elements side by side encoded."""
        assert self.keys is not None
        return self._all(self._packed_keys, self.keys, positions, lambda keys: False)

    def _all(
        self,
        known: list[bytes | None],
        source: list[Any],
        positions: range,
        is_heavy: Callable[[Sequence[Any]], bool],
    ) -> list[bytes]:
        found = known[positions.start : positions.stop]
        if not all(found):
            missing = [position for position, packed in zip(positions, found, strict=True) if packed is None]
            values = [source[position] for position in missing]
            with self._naming(missing):
                made = self._serde.pack_each(values, is_heavy(values))
            if len(missing) == len(positions):
                known[positions.start : positions.stop] = made
                return made
            for position, packed in zip(missing, made, strict=True):
                known[position] = packed
            found = known[positions.start : positions.stop]
        return found  # type: ignore[return-value]

    def key_hash(self, position: int) -> int:
        """Return a hash of a dict's key."""
        return zlib.crc32(self.packed_key(position))

    def value_hash(self, position: int) -> int:
        """Return a hash of an element's value, the same in every process."""
        value = self.values[position]
        if type(value) in NUMBERS:
            # In a tuple, or numbers in equal steps would end leaves in equal steps, and once out of step stay so.
            return hash((value,)) if value == value else 0  # Python takes the hash of NaN from where it is
        return zlib.crc32(self.packed(position))

    def first_number(self, positions: range, mask: int) -> int | None:
        """Return the first of some numbers whose hash has no bit of a mask."""
        for position, value in enumerate(self.values[positions.start : positions.stop], positions.start):
            if not (hash((value,)) if value == value else 0) & mask:  # as in `value_hash`
                return position
        return None

    def step(self, position: int) -> PathPart:
        """Return the step of a path that leads to an element."""
        return position if self.keys is None else as_step(self.keys[position])

    # ---------------------------------------------------------------------- slices

    def are_numbers(self, start: int, end: int) -> bool:
        """Tell whether a slice holds plain numbers only."""
        return NUMBERS.issuperset(map(type, self.values[start:end]))

    def encoded_keys(self, start: int, end: int) -> tuple[bytes | None, Fingerprint | None]:
        """Return a slice's keys encoded in one go, and their fingerprint; None for a list."""
        return (None, None) if self.keys is None else self._serde.run(self.keys[start:end])

    def has_keys(self, start: int, end: int, keys: Fingerprint | None) -> bool:
        """Tell whether a slice's keys are those of a fingerprint."""
        return self.keys is None or (keys is not None and self._serde.is_run(self.keys[start:end], keys))

    def encoded(self, positions: Sequence[int]) -> tuple[bytes, Fingerprint]:
        """Return elements, each of them encoded already, as one, and the fingerprint of just these bytes."""
        with self._naming(positions):
            packed = [self.packed(position) for position in positions]
            return self._serde.run(self._chosen(positions), packed)

    def encoded_numbers(self, start: int, end: int) -> tuple[bytes, Fingerprint]:
        """Return a slice of numbers encoded as one, and the fingerprint of just these bytes."""
        return self._serde.numbers(self.values[start:end])

    def one(self, position: int, is_plain: bool) -> Fingerprint:
        """Return the fingerprint of an element; ``is_plain`` if it is known to hold no bytes."""
        packed = self.packed(position)
        return Fingerprint(hash(packed), True) if is_plain else self._serde.fingerprint(self.values[position], packed)

    def is_one(self, position: int, fingerprint: Fingerprint) -> bool:
        """Tell whether an element is that of a fingerprint."""
        with self._naming([position]):
            return self._serde.is_value(self.values[position], fingerprint)

    def has(self, positions: Sequence[int], fingerprint: Fingerprint) -> bool:
        """Tell whether elements are those of a fingerprint."""
        with self._naming(positions):
            return self._serde.is_run(self._chosen(positions), fingerprint)

    def _chosen(self, positions: Sequence[int]) -> list[Any]:
        if isinstance(positions, range):
            return self.values[positions.start : positions.stop]
        return [self.values[position] for position in positions]

    @contextmanager
    def _naming(self, positions: Sequence[int]) -> Iterator[None]:
        """Turn the first step of an error's path, an index into these positions, into the container's own."""
        try:
            yield
        except DataError as error:
            number, *rest = error.path or (0,)
            error.path = (self.step(positions[int(number)]), *rest)
            raise

    # ------------------------------------------------------------------------ ends

    def ends(self, start: int) -> tuple[Ends, Ends]:
        """Return where leaves from ``start`` on end, and where the small ones do that stand in for an open one."""
        if self.keys is None and self.are_numbers(start, start + SHORTEST):
            return NUMBERS_ENDS, FEW_NUMBERS
        return SIZED, FEW
