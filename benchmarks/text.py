"""Text to store: the same on every machine, and no easier to compress than prose."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from functools import cache

VOCABULARY = 2_000
"""Different words. Drawn evenly, which compresses worse than real prose, where a few repeat."""

ONSETS = ("b", "br", "c", "ch", "d", "f", "g", "gr", "h", "l", "m", "n", "p", "pl", "r", "s", "st", "t", "th", "w")
VOWELS = ("a", "e", "i", "o", "u", "ea", "ou", "io")
CODAS = ("", "", "n", "r", "s", "t", "l", "nd", "st", "ng")


@cache
def vocabulary() -> tuple[str, ...]:
    """Return the words, made of one to three syllables each."""
    source = random.Random("vocabulary")
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words[_word(source)] = None
    return tuple(words)


def _word(source: random.Random) -> str:
    syllables = source.choices((1, 2, 3), (3, 5, 2))[0]
    return "".join(source.choice(ONSETS) + source.choice(VOWELS) + source.choice(CODAS) for _ in range(syllables))


def prose(seed: str, size: int) -> str:
    """Return exactly ``size`` ASCII characters of sentences; the same seed gives the same text."""
    source = random.Random(seed)
    parts: list[str] = []
    length = 0
    while length < size:
        sentence = " ".join(source.choices(vocabulary(), k=source.randint(6, 14))).capitalize() + ". "
        parts.append(sentence)
        length += len(sentence)
    return "".join(parts)[:size]


def ids(seed: str) -> Iterator[str]:
    """Yield message ids, the same for the same seed."""
    source = random.Random(seed)
    while True:
        yield str(uuid.UUID(int=source.getrandbits(128), version=4))
