"""Stretches of text that are to be replaced, and how those of many searches become one list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

REDACTED = "[REDACTED]"


class Span(NamedTuple):
    """From where to where something stands, what it is, and what is to stand there instead."""

    start: int
    end: int
    kind: str
    instead: str = REDACTED


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, those that overlap as one; of two, that which was found first names it.

    What hides a secret wins over what only shortens a path.
    """
    found: list[Span] = []
    ranked = sorted(enumerate(spans), key=lambda pair: (pair[1].start, pair[0]))
    rank = -1
    for number, span in ranked:
        if not found or span.start >= found[-1].end:
            found.append(span)
            rank = number
            continue
        last = found[-1]
        secret = REDACTED in (last.instead, span.instead)
        first = last if _goes_first(last, rank, span, number) else span
        found[-1] = Span(last.start, max(last.end, span.end), first.kind, REDACTED if secret else first.instead)
        rank = min(rank, number)
    return found


def _goes_first(one: Span, rank: int, other: Span, number: int) -> bool:
    if (one.instead == REDACTED) != (other.instead == REDACTED):
        return one.instead == REDACTED
    return rank < number


def replaced(text: str, spans: Iterable[Span]) -> str:
    """Return a text with what is to stand there instead of each span; they are in order and do not overlap."""
    parts, position = [], 0
    for span in spans:
        parts += [text[position : span.start], span.instead]
        position = span.end
    return "".join([*parts, text[position:]])
