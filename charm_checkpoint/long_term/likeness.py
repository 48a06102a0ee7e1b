"""Whether a text says what another says already; pure.

Scores of a search tell what bears on a question, which many memories do; this tells whether nothing would be new.
"""

from __future__ import annotations

import re
from typing import Final

from charm_checkpoint.items.ranking.words import terms_of, words_of

SAME: Final = 0.9
"""Above this, what a text says is there already."""

_FEW = 3
_NEGATION = re.compile(
    r"\b(?:not|never|no|avoid|stop|without|nor|cannot|\w+n['\u2019]?t|except|unless)\b", re.IGNORECASE
)


def covered(text: str, by: str) -> float:
    """Return how much of what a text says, by its words, another says too, from 0 to 1.

    Where one of them forbids what the other does not, it is 0. Of a few words, all have to be the same.
    """
    own, other = _stems(text), _stems(by)
    if not own or bool(_NEGATION.search(text)) != bool(_NEGATION.search(by)):
        return 0.0
    if len(own) < _FEW:
        return float(own == other)
    return len(own & other) / len(own)


def _stems(text: str) -> set[str]:
    return {stem for word in words_of([text]) for stem in terms_of(word).stems}
