"""What is to be known of an embedding model to judge its cosines: how near to each other unrelated texts lie; pure.

Cosines of two models cannot be compared: one gives 0.1 to texts that have nothing in common, another 0.75. So what
counts is by how many standard deviations a cosine is above that of unrelated texts, which `PAIRS` measures.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from charm_checkpoint.errors import DataError, NewerFormat, StoreCorrupt
from charm_checkpoint.items.ranking.codes import cosine, row_bytes, row_of, squared, unit
from charm_checkpoint.items.ranking.unrelated import PAIRS as PAIRS

IDENTITY_SIZE: Final = 8
_VERSION = b"\x01"
_HEAD = struct.Struct("<c8sdd")
_SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True, slots=True)
class Model:
    """A model, and its background: where the middle of its vectors is, and how near unrelated ones lie.

    One that was not measured has no ``centre`` and the deviation 0.0: there are cosines of it, but no scores.
    """

    identity: bytes
    dims: int = 0
    centre: tuple[float, ...] = ()
    mean: float = 0.0
    deviation: float = 0.0

    @property
    def measured(self) -> bool:
        """Return whether its background is known."""
        return self.deviation > 0.0

    def to_bytes(self) -> bytes:
        """Return it as it is stored."""
        return _HEAD.pack(_VERSION, self.identity, self.mean, self.deviation) + row_bytes(self.centre)

    @classmethod
    def from_bytes(cls, data: bytes) -> Model:
        """Undo `to_bytes`; raises `StoreCorrupt` on what it did not make."""
        if data[:1] != _VERSION:
            raise NewerFormat.of("What is known of an embedding model begins with", data[:1])
        if len(data) < _HEAD.size or (len(data) - _HEAD.size) % 2:
            raise StoreCorrupt(f"What is known of an embedding model is cut off after {len(data)} bytes.")
        _, identity, mean, deviation = _HEAD.unpack_from(data)
        centre = row_of(data[_HEAD.size :])
        return cls(identity, len(centre), centre, mean, deviation)


def calibrate(identity: bytes, documents: Sequence[Sequence[float]], queries: Sequence[Sequence[float]]) -> Model:
    """Measure a model by its vectors of `PAIRS`: of the sentences, made as documents, and of the questions."""
    if len(identity) != IDENTITY_SIZE:
        raise DataError(f"A model's identity has {IDENTITY_SIZE} bytes, not {len(identity)}.")
    rows, asked = [unit(vector) for vector in documents], [unit(vector) for vector in queries]
    lengths = {len(row) for row in (*rows, *asked)}
    if not rows or not asked or len(lengths) != 1:
        raise DataError(f"The model gave vectors of {sorted(lengths)} numbers: one model makes one length.")
    found = [cosine(row, other, squared(other)) for row in rows for other in asked]
    mean = math.fsum(found) / len(found)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in found) / len(found))
    everything = [*rows, *asked]
    centre = tuple(math.fsum(column) / len(everything) for column in zip(*everything, strict=True))
    # Rounded as it is stored, so that it is the same for who measured it and who read it.
    rounded = row_of(row_bytes(centre))
    return Model(identity, len(rounded), rounded, mean, max(deviation, _SMALLEST_DEVIATION))


def standing(cosines: float, model: Model) -> float:
    """Return by how many standard deviations a cosine is above that of unrelated texts; 0.0 if it is not above."""
    return max(0.0, (cosines - model.mean) / model.deviation)
