"""Vectors as they are stored: float16 rows of length one, and their sign bits; pure, and exact without numpy.

A stored vector and a question's are both rounded to float16 at length one. Then each product of two components is a
multiple of 2 to the power -48 and no sum of such products reaches 2, so that float64 holds every partial sum exactly:
a cosine is the same to the last bit in whatever order, and by whatever library, it is added up.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from operator import gt, mul

from charm_checkpoint.errors import DataError

ROW_ITEM = 2
"""Bytes of a component of a stored vector."""

_LEAST = 1e-200


def _added(row: Sequence[float], other: Sequence[float]) -> float:
    return float(sum(map(mul, row, other)))


# From Python 3.12 on, there is one that takes less time; every sum is exact with both.
_sum_of_products: Callable[[Sequence[float], Sequence[float]], float] = getattr(math, "sumprod", _added)
_DIGITS = bytes.maketrans(b"\0\1", b"01")


class Unit(tuple[float, ...]):
    """A vector that `unit` returned, which need not be made one again."""

    __slots__ = ()


def unit(vector: Sequence[float]) -> Unit:
    """Return a vector at length one, each component rounded to float16; raises `DataError` if it is no vector."""
    if isinstance(vector, Unit):
        return vector
    if not all(map(math.isfinite, vector)):
        raise DataError(f"A vector of {len(vector)} numbers has some that are not finite: look at the embedder.")
    if not any(vector):
        return Unit((0.0,) * len(vector))
    square = math.fsum(map(mul, vector, vector))
    if not _LEAST < square < 1.0 / _LEAST:
        # The squares of very small or large numbers are none.
        largest = max(map(abs, vector))
        vector = [component / largest for component in vector]
        square = math.fsum(map(mul, vector, vector))
    length = math.sqrt(square)
    return Unit(row_of(struct.pack(f"<{len(vector)}e", *[component / length for component in vector])))


def row_bytes(row: Sequence[float]) -> bytes:
    """Return a row of float16 as it is stored."""
    return struct.pack(f"<{len(row)}e", *row)


def row_of(data: bytes) -> tuple[float, ...]:
    """Undo `row_bytes`."""
    return struct.unpack(f"<{len(data) // ROW_ITEM}e", data)


def code_size(dims: int) -> int:
    """Return the bytes of a vector's sign bits."""
    return (dims + 7) // 8


def sign_code(row: Sequence[float], centre: Sequence[float] = ()) -> bytes:
    """Return for each component whether it is above that of the centre, a bit each."""
    bits = bytes(map(gt, row, centre or (0.0,) * len(row)))
    size = code_size(len(row))
    return (int(bits.translate(_DIGITS) or b"0", 2) << (size * 8 - len(row))).to_bytes(size, "big")


def dot(row: Sequence[float], other: Sequence[float]) -> float:
    """Return the inner product of two rows, exactly."""
    return _sum_of_products(row, other)


def squared(row: Sequence[float]) -> float:
    """Return the square of a row's length, exactly."""
    return dot(row, row)


def cosine(row: Sequence[float], other: Sequence[float], other_squared: float) -> float:
    """Return the cosine of the angle between two rows of float16; 0.0 if one has no direction."""
    product = squared(row) * other_squared
    return dot(row, other) / math.sqrt(product) if product else 0.0
