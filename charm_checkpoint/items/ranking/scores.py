"""Scores of items for one question, and the items in the order of these; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, overload

from charm_checkpoint.items.ranking.arithmetic import numpy_for
from charm_checkpoint.items.ranking.codes import unit
from charm_checkpoint.items.ranking.models import Model, standing
from charm_checkpoint.items.ranking.order import GONE, NOT_COMPARED, Order
from charm_checkpoint.items.ranking.postings import Living, Postings, Values
from charm_checkpoint.items.ranking.questions import (
    HALF_OF_ALL,
    HALF_OF_WORDS,
    TRIGRAM_SHARE,
    VECTOR_SHARE,
    Parts,
    Question,
    Ranked,
)
from charm_checkpoint.items.ranking.vectors import Vectors
from charm_checkpoint.items.ranking.words import terms_of, words_of

EXACTLY: Final = 2_000
"""Up to so many items, the vectors of all are compared."""
NEAREST: Final = 400
BEST_BY_WORDS: Final = 200
"""Of more items, those are that are nearest by sign codes, and those that are best by words."""
_FIRST_PAGE = 16


class Ranking(Sequence[Ranked]):
    """All items in order, sorted as far as they are looked at; it stays as it is when its index changes."""

    def __init__(
        self, order: Order, scores: Values, live: int, words: Values, trigrams: Values, cosines: Mapping[int, float],
        model: Model | None,
    ) -> None:  # fmt: skip
        self._order = order
        self._scores = scores
        self._live = live
        self._words = words
        self._trigrams = trigrams
        self._cosines = cosines
        self._model = model
        self._slots: list[int] = []

    def __len__(self) -> int:
        """Return how many items there are."""
        return self._live

    @overload
    def __getitem__(self, index: int) -> Ranked: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Ranked]: ...
    def __getitem__(self, index: int | slice) -> Ranked | Sequence[Ranked]:
        """Return what is at a place, or at several."""
        places = range(self._live)[index]
        if isinstance(places, range):
            self._sort(max(places[0], places[-1]) + 1 if places else 0)
            return [self._ranked(self._slots[place]) for place in places]
        self._sort(places + 1)
        return self._ranked(self._slots[places])

    def __iter__(self) -> Iterator[Ranked]:
        """Go through all of them, sorting on the way."""
        for place in range(self._live):
            yield self[place]

    def _sort(self, size: int) -> None:
        if size > len(self._slots):
            self._slots = self._order.first(self._scores, max(size, 2 * len(self._slots), _FIRST_PAGE))

    def _ranked(self, slot: int) -> Ranked:
        score = float(self._scores[slot])
        cosine = self._cosines.get(slot)
        z = standing(cosine, self._model) if cosine is not None and self._model and self._model.measured else 0.0
        parts = Parts(float(self._words[slot]), float(self._trigrams[slot]), z, cosine)
        return Ranked(
            self._order.items[slot], int(self._order.updated[slot]), None if score == NOT_COMPARED else score, parts
        )


class Scoring:
    """The scores of an index's items for a question, while the index stays as it is."""

    def __init__(
        self, question: Question, order: Order, words: Postings, trigrams: Postings, vectors: Vectors,
        living: Living, indexed: bytearray,
    ) -> None:  # fmt: skip
        self.question = question
        self._order = order
        self._vectors = vectors
        self._living = living
        self._indexed = indexed
        self._numpy = numpy_for(len(indexed))
        model, vector = question.model, question.vector
        usable = vector is not None and model is not None and (question.how == "vector" or model.measured)
        self._model = model if usable and question.how != "words" else None
        self._row = unit(vector) if self._model is not None and vector is not None else ()
        stems, grams = terms_to_find(question)
        self._words = words.cover(stems, living)
        self._trigrams = trigrams.cover(grams, living)
        self._found: Values = self._added() if question.how != "vector" else self._words
        self._chosen: list[int] | None = None
        self._near: Values = None

    def _added(self) -> Values:
        words, trigrams = self._words, self._trigrams
        if self._numpy is None:
            return [word + TRIGRAM_SHARE * trigram for word, trigram in zip(words, trigrams, strict=True)]
        return words + TRIGRAM_SHARE * trigrams

    def to_compare(self) -> Sequence[int]:
        """Return the items whose vectors are to be compared."""
        if self._chosen is None:
            self._chosen = self._choose(self._model) if self._model is not None else []
        return self._chosen

    def _choose(self, model: Model) -> list[int]:
        if self._living.live <= EXACTLY:
            return self._vectors.of_model(model.identity, len(self._row), self._living)
        self._near = near = self._vectors.nearness(self._row, model, self._living.alive)
        chosen = dict.fromkeys(self._order.first(near, NEAREST))
        if self.question.how == "hybrid":
            best = self._order.first(self._shown(self._found), BEST_BY_WORDS)
            chosen.update(dict.fromkeys(slot for slot in best if self._found[slot] > 0.0 and near[slot] > GONE))
        return list(chosen)

    def _shown(self, values: Values) -> Values:
        """Return values, but for those that are not compared and those that are gone."""
        alive, indexed = self._living.alive, self._indexed
        if self._numpy is None:
            return [
                (value if comparable else NOT_COMPARED) if living else GONE
                for value, living, comparable in zip(values, alive, indexed, strict=True)
            ]
        numpy = self._numpy
        shown = numpy.where(numpy.frombuffer(indexed, dtype=numpy.uint8) > 0, values, NOT_COMPARED)
        return numpy.where(numpy.frombuffer(alive, dtype=numpy.uint8) > 0, shown, GONE)

    def ranking(self) -> Ranking:
        """Return the items in order."""
        slots = self.to_compare()
        cosines = self._vectors.cosines(self._row, slots) if slots else {}
        scores = self._by_cosine(cosines) if self.question.how == "vector" else self._by_all(cosines)
        return Ranking(self._order, scores, self._living.live, self._words, self._trigrams, cosines, self._model)

    def _by_cosine(self, cosines: Mapping[int, float]) -> Values:
        alive = self._living.alive
        if self._near is None:
            scores: Values = [NOT_COMPARED if living else GONE for living in alive]
        elif self._numpy is None:
            least = min(cosines.values(), default=1.0)
            near = [NOT_COMPARED if value == GONE else min(value, least) for value in self._near]
            scores = [value if living else GONE for value, living in zip(near, alive, strict=True)]
        else:
            numpy, least = self._numpy, min(cosines.values(), default=1.0)
            near = numpy.where(self._near == GONE, NOT_COMPARED, numpy.minimum(self._near, least))
            scores = numpy.where(numpy.frombuffer(alive, dtype=numpy.uint8) > 0, near, GONE)
        for slot, cosine in cosines.items():
            scores[slot] = cosine
        return scores

    def _by_all(self, cosines: Mapping[int, float]) -> Values:
        found = self._found.copy()
        model = self._model
        if model is not None:
            for slot, cosine in cosines.items():
                found[slot] += VECTOR_SHARE * standing(cosine, model)
        half = HALF_OF_WORDS if model is None else HALF_OF_ALL
        scores = [value / (value + half) for value in found] if self._numpy is None else found / (found + half)
        return self._shown(scores)


def terms_to_find(question: Question) -> tuple[list[str], list[str]]:
    """Return the stems and the trigrams of a question, none if it is not for words."""
    if question.how == "vector":
        return [], []
    stems: dict[str, None] = {}
    trigrams: dict[str, None] = {}
    for word in words_of([question.text]):
        terms = terms_of(word)
        stems.update(dict.fromkeys(terms.stems))
        trigrams.update(dict.fromkeys(terms.trigrams))
    return list(stems), list(trigrams)
