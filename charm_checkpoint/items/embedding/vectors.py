"""Vectors as they are kept: of length 1, in float16; pure.

Every vector is brought into this form as soon as a model gave it, so one that was kept is the same as a fresh one. All
of it is computed by the standard library, whether or not numpy is there, for the same reason.
"""

from __future__ import annotations

import math
from typing import Any

from charm_checkpoint.items.ranking.codes import ROW_ITEM, Unit, row_bytes, row_of, unit


class BadVector(ValueError):
    """What a model gave is no vector."""


def pack(vector: Any, name: str) -> bytes:
    """Return a vector of any length and kind of numbers in the form that is kept; ``name`` is the model's, for errors.

    A vector of nothing but zeros stays that: it resembles nothing.
    """
    try:
        # Rows of numpy and tensors become lists of floats at once.
        numbers = [float(number) for number in (vector.tolist() if hasattr(vector, "tolist") else vector)]
    except (TypeError, ValueError, OverflowError) as error:
        raise BadVector(
            f"{name} gave a {type(vector).__name__} for a text, where a list of numbers was due."
        ) from error
    if not numbers:
        raise BadVector(f"{name} gave an empty vector.")
    if not all(map(math.isfinite, numbers)):
        raise BadVector(f"{name} gave a vector with a number that is infinite or none (NaN).")
    return row_bytes(unit(numbers))


def unpack(packed: bytes) -> Unit:
    """Return the vector of what `pack` made."""
    return Unit(row_of(packed))


def dims_of(packed: bytes) -> int:
    """Return how many numbers what `pack` made has."""
    return len(packed) // ROW_ITEM


def blank(dims: int) -> bytes:
    """Return the vector of a text that says nothing."""
    return bytes(ROW_ITEM * dims)


def clean(text: str) -> str:
    """Return a text that any client can encode: halves of pairs of surrogates replaced, pairs put together."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
