"""Private keys, whole or cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator

from charm_checkpoint.long_term.sanitising.spans import Span

_BEGIN = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY[A-Z0-9 ]{0,20}-{4,5}")
_END = re.compile(r"-{4,5} ?END [A-Z0-9 ]{0,30}PRIVATE KEY[A-Z0-9 ]{0,20}-{4,5}")
# What a key that was cut off is made of: lines of base64, with headers before them.
_LINES = re.compile(r"(?:(?:\\r)?\\n|\s|[A-Za-z-]{2,20}: [^\n\\]{0,100}(?=\n|\\n)|[A-Za-z0-9+/=]{16,}|\.{3})*")
_PUTTY = re.compile(r"Private-Lines: ?\d{1,3}\r?\n")
_PUTTY_LINES = re.compile(r"(?:[A-Za-z0-9+/=]{4,80}\r?(?:\n|\Z))*(?:Private-MAC: ?[0-9a-f]+)?")


def private_keys(text: str) -> Iterator[Span]:
    """Yield where private keys stand, also those whose end is missing."""
    position = 0
    while (begin := _BEGIN.search(text, position)) is not None:
        dashes = text.find("----", begin.end())
        end = _END.match(text, dashes) if dashes >= 0 else None
        if end is None:
            lines = _LINES.match(text, begin.end())
            position = lines.end() if lines else begin.end()
        else:
            position = end.end()
        yield Span(begin.start(), position, "private key")
    for found in _PUTTY.finditer(text):
        lines = _PUTTY_LINES.match(text, found.end())
        if lines is not None and lines.end() > found.end():
            yield Span(found.end(), lines.end(), "private key")
