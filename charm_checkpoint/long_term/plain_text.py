"""What others wrote, made safe to look at: no hidden characters, no more lines and letters than there is room for."""

from __future__ import annotations

import re
from collections.abc import Iterable

ELLIPSIS = "…"

_IGNORABLE = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),  # zero-width space and joiners, marks of direction
    (0x202A, 0x202E),  # bidirectional embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, bidirectional isolates
    (0x2800, 0x2800),  # Braille without a dot
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),  # tags, and the other variation selectors: both spell words that nobody sees
)
_CONTROL = ((0x00, 0x08), (0x0E, 0x1B), (0x7F, 0x84), (0x86, 0x9F), (0xD800, 0xDFFF))


def _character_class(ranges: Iterable[tuple[int, int]]) -> str:
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


HIDDEN = re.compile(f"[{_character_class((*_IGNORABLE, *_CONTROL))}]")
"""A character that is not seen: of no width, of control, of direction, or half of another."""

_LINE_BREAK = re.compile("\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_BACKTICKS = re.compile("`+")
_SPACES = re.compile(r"\s+")
_MANY_EMPTY = re.compile(r"\n{3,}")


def plain(text: str) -> str:
    """Return a text of visible characters, spaces, tabs and line feeds, without those that others take for line feeds.

    Variation selectors and joiners go too: an emoji of several may fall apart, which is the price of hiding nothing.
    """
    return HIDDEN.sub("", _LINE_BREAK.sub("\n", text)).replace("\x1f", " ")


def one_line(text: str, limit: int) -> str:
    """Return a text as one plain line of at most ``limit`` characters."""
    return cut(_SPACES.sub(" ", plain(text)).strip(), limit)


def paragraphs(text: str) -> str:
    """Return a plain text without empty lines at its ends, and with no more than one at a time in between."""
    lines = [line.rstrip() for line in plain(text).split("\n")]
    return _MANY_EMPTY.sub("\n\n", "\n".join(lines)).strip("\n")


def fence_around(texts: Iterable[str], least: int = 3) -> str:
    """Return backticks, more than any of the texts has in a row: a fence of Markdown that nothing in them ends."""
    return "`" * max([least, *(1 + len(run) for text in texts for run in _BACKTICKS.findall(text))])


def cut(text: str, limit: int) -> str:
    """Return a text as it is, or as much of it as fits, with an ellipsis that counts."""
    if len(text) <= limit:
        return text
    return text[: max(limit - len(ELLIPSIS), 0)].rstrip() + ELLIPSIS if limit > 0 else ""
