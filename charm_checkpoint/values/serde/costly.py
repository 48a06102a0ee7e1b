"""Safe types of which a few bytes can keep Python for hours: regular expressions and fractions, made within bounds."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

MOST = 500_000
"""About how many characters' worth of time a pattern may take to compile: a second or two."""
_CLASS, _RANGE = 100, 2000
"""How many characters' worth a class of characters takes, and a range in it that may be wide."""
_WIDE: Any = {str: re.compile(r"-(?=[^\x00-\x7f]|\\)"), bytes: re.compile(rb"-(?=[^\x00-\x7f]|\\)")}

REDUCED = 1 << 14
"""Bits of numbers whose common factors are looked for: that takes a time that grows with the square of these."""


def too_slow(pattern: Any) -> str:
    """Return why a pattern is not to be compiled, empty if it may be."""
    if len(pattern) * _RANGE <= MOST:
        return ""
    kind = type(pattern)
    classes, wide = pattern.count("[" if kind is str else b"["), len(_WIDE[kind].findall(pattern))
    if len(pattern) + _CLASS * classes + _RANGE * wide <= MOST:
        return ""
    return f"a regular expression of {len(pattern):,} characters takes too long to compile"


def compiled(pattern: Any, flags: int) -> re.Pattern[Any]:
    """Return a stored pattern; raises ValueError for one that takes too long."""
    if why := too_slow(pattern):
        raise ValueError(why)
    return re.compile(pattern, flags & ~re.DEBUG)


def fraction(numerator: int, denominator: int) -> Fraction:
    """Return a stored fraction: of large numbers as it stands, and so in its lowest terms if it was written so."""
    numerator, denominator = int(numerator), int(denominator)
    if max(numerator.bit_length(), denominator.bit_length()) <= REDUCED:
        return Fraction(numerator, denominator)
    if denominator <= 0:
        raise ValueError("a fraction's denominator is more than zero")
    made: Any = object.__new__(Fraction)
    made._numerator, made._denominator = numerator, denominator
    return made  # type: ignore[no-any-return]
