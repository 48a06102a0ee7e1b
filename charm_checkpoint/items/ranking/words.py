"""From texts to words, and from words to the terms by which texts are compared; pure.

`words_of` finds the words of a text, normalised; these are what an entry keeps. `terms_of` makes of a word what is
compared, its stem and its trigrams, when an entry is read; so how words are compared can change without writing entries
anew, and how they are found changes with the version of entries only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from sys import intern
from typing import Final, NamedTuple

from charm_checkpoint.items.ranking.stop_words import STOP_WORDS

LONGEST_TEXT: Final = 1 << 16
"""Characters of an item's texts that are looked at; what stands behind them is found by no word."""
MOST_WORDS: Final = 5_000
"""Different words of an item that are kept, the first ones."""
LONGEST_WORD: Final = 64
"""Characters of a word that are kept; more have keys and encoded data only."""

_MEMO = 1 << 15
_MARKS_IN_A_ROW = 8

# Scripts that put no spaces between words, and Hangul, whose words carry particles: they are compared by bigrams.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_IDEOGRAPHS = "\u3400"
_SYMBOLS = "\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
_APOSTROPHES = "'\u2019\u02bc"
_MARK_BLOCKS = (
    (0x0300, 0x1FFF),
    (0x20D0, 0x20FF),
    (0x2CE0, 0x2DFF),
    (0x3020, 0x30FF),
    (0xA660, 0xABFF),
    (0xFB1E, 0xFB1F),
    (0xFE20, 0xFE30),
    (0x10A00, 0x10FFF),
    (0x11000, 0x11FFF),
    (0x1E000, 0x1EFFF),
)

_ASCII_WORD = re.compile(r"[a-z](?:\+\+|#)(?![a-z0-9])|[a-z0-9]+(?:'[a-z0-9]+)*")
# What shows nothing: soft hyphens, joiners, marks of direction, variants of symbols and their skin colours; and the
# space of no width, which is one.
_INVISIBLE = {
    **dict.fromkeys((0x00AD, 0x034F, 0x061C, 0x0640, 0x2060, 0xFEFF, *range(0x200C, 0x2010), *range(0x202A, 0x202F))),
    **dict.fromkeys((*range(0x2066, 0x2070), *range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400))),
    **dict.fromkeys(range(0xE0000, 0xE0200)),
    0x200B: " ",
}


class Terms(NamedTuple):
    """What a word is compared by: ``stems`` for the word itself, ``trigrams`` for how it is written."""

    stems: tuple[str, ...]
    trigrams: tuple[str, ...]


_NONE = Terms((), ())


def words_of(texts: Iterable[str]) -> dict[str, int]:
    """Return the words of texts, folded to one way of writing, and how often each is there."""
    counts: dict[str, int] = {}
    room = LONGEST_TEXT
    for text in texts:
        for word in _found(text[:room]):
            if word in counts:
                counts[word] += 1
            elif len(counts) < MOST_WORDS:
                counts[word] = 1
        room -= len(text)
        if room <= 0:
            break
    return counts


def _found(text: str) -> list[str]:
    if text.isascii():
        found = _ASCII_WORD.findall(text.lower())
        return found if "'" not in text and len(text) <= LONGEST_WORD else _cut(found)
    return _cut(_word().findall(_folded(text)))


def _folded(text: str) -> str:
    # To put marks into order takes time by the square of how many there are in a row.
    text = _crowd().sub(r"\1", text.translate(_INVISIBLE))
    # A character may stand for eighteen.
    plain = unicodedata.normalize("NFKC", text)[:LONGEST_TEXT]
    return unicodedata.normalize("NFKC", plain.casefold()).translate(_INVISIBLE)


def _cut(found: list[str]) -> list[str]:
    """Return the words with those apart that an apostrophe joins, and long ones shortened."""
    words: list[str] = []
    for word in found:
        parts = re.split(f"[{_APOSTROPHES}]", word) if not word.isalnum() else [word]
        if len(parts) == 2 and parts[1] == "t" and parts[0].endswith("n"):
            continue  # "don't" and its like are all stop words
        for part in parts:
            if len(part) <= LONGEST_WORD:
                words.append(part)
            elif _is_unspaced(part):
                # Each part begins with the last character of that before, so that no pair is lost.
                step = LONGEST_WORD - 1
                words += [part[start : start + LONGEST_WORD] for start in range(0, len(part) - 1, step)]
            else:
                words.append(part[:LONGEST_WORD])
    return words


@cache
def _marks() -> str:
    """Return the combining marks, as ranges of a character class: for Python, these are not part of words."""
    ranges: list[list[int]] = []
    for first, last in _MARK_BLOCKS:
        for code in range(first, last):
            if unicodedata.category(chr(code))[0] == "M":
                if ranges and ranges[-1][1] == code - 1:
                    ranges[-1][1] = code
                else:
                    ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


@cache
def _crowd() -> re.Pattern[str]:
    return re.compile(f"([{_marks()}]{{{_MARKS_IN_A_ROW}}})[{_marks()}]+")


@cache
def _word() -> re.Pattern[str]:
    letter, rest = f"(?:(?![{_UNSPACED}])[^\\W_])", f"(?:(?![{_UNSPACED}])[^\\W_]|[{_marks()}])"
    return re.compile(
        f"[a-z](?:\\+\\+|#)(?!\\w)|[{_UNSPACED}][{_UNSPACED}{_marks()}]*"
        f"|{letter}{rest}*(?:[{_APOSTROPHES}]{letter}{rest}*)*|[{_SYMBOLS}]"
    )


@lru_cache(_MEMO)
def terms_of(word: str) -> Terms:
    """Return what a word is compared by; nothing for a stop word."""
    if word in STOP_WORDS:
        return _NONE
    if _is_unspaced(word):
        return _terms_of_run(word)
    plain = word if word.isascii() else _without_accents(word)
    if plain in STOP_WORDS:
        return _NONE
    padded = f" {plain} "
    return Terms((intern(stem(plain)),), tuple(intern(padded[at : at + 3]) for at in range(len(padded) - 2)))


def _terms_of_run(run: str) -> Terms:
    """Return what letters without spaces are compared by.

    Where a character is a word or a syllable, two of them say what a word does, and one what a trigram does. Kana are
    too few for that, and letters of an alphabet are fewer still.
    """
    if run[0] < "\u1100" or "\u1780" <= run[0] <= "\u17ff":
        return Terms(_pieces(run, 4), _pieces(run, 3))
    pairs = _pieces(run, 2)
    single = tuple(intern(character) for character in run if character >= _IDEOGRAPHS)
    return Terms(pairs, (*single, *(pair for pair in pairs if min(pair) < _IDEOGRAPHS)))


def _pieces(run: str, size: int) -> tuple[str, ...]:
    return tuple(intern(run[at : at + size]) for at in range(max(1, len(run) - size + 1)))


def _is_unspaced(word: str) -> bool:
    return not word.isascii() and _unspaced().match(word) is not None


@cache
def _unspaced() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")


def _without_accents(word: str) -> str:
    """Return a word without its marks, in scripts where these may be left out when typing."""
    if any(character > "\u08ff" and not "\u1e00" <= character <= "\u1fff" for character in word):
        return word
    apart = unicodedata.normalize("NFD", word)
    return "".join(character for character in apart if unicodedata.category(character) != "Mn") or word


_VOWEL = re.compile("[aeiouy]")
_ENDINGS = ("ing", "ed", "ly")
_SHORTEST_STEM = 3


def stem(word: str) -> str:
    """Return what an English word has in common with its other forms: no more than plurals, -ed, -ing and -ly."""
    if len(word) <= _SHORTEST_STEM or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y" if len(word) > 4 else word[:-1]
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in _ENDINGS:
        rest = word[: -len(ending)]
        if word.endswith(ending) and len(rest) >= _SHORTEST_STEM and _VOWEL.search(rest):
            word = rest
            if word[-1] == word[-2] and word[-1] not in "aeiouylsz":
                word = word[:-1]
            break
    if word.endswith("ied") and len(word) > 4:
        word = word[:-3] + "y"
    if word.endswith("e") and len(word) > _SHORTEST_STEM:
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > 2 and word[-2] not in "aeiou" else word
