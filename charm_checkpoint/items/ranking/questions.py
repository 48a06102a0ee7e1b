"""What is asked of an index, and what it answers; records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from charm_checkpoint.contract_items import ItemKey
from charm_checkpoint.items.ranking.models import Model

How: TypeAlias = Literal["hybrid", "vector", "words"]

TRIGRAM_SHARE: Final = 0.5
VECTOR_SHARE: Final = 0.06
HALF_OF_WORDS: Final = 0.28
HALF_OF_ALL: Final = 0.42
"""What is reached for a score of one half, by words and trigrams, and with vectors: 19 of 20 unrelated questions do not
reach it."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What to look for, and how.

    - ``hybrid``: by words, trigrams and, if there is a ``vector`` and its ``model`` was measured, by that as well.
    - ``words``: by words and trigrams.
    - ``vector``: by the cosine alone.
    """

    text: str
    vector: Sequence[float] | None = None
    model: Model | None = None
    how: How = "hybrid"


class Parts(NamedTuple):
    """What a score is made of.

    ``words`` and ``trigrams`` are the shares of the question that the item's cover, from 0 to 1. ``standing`` is by how
    many standard deviations its vector is nearer than those of unrelated texts, and ``cosine`` the same as it was
    reckoned; None if vectors were not compared.
    """

    words: float
    trigrams: float
    standing: float
    cosine: float | None


class Ranked(NamedTuple):
    """An item in its place. ``score`` is None if it was not compared: it is not indexed, or has no vector for it."""

    item: ItemKey
    updated: int
    score: float | None
    parts: Parts
