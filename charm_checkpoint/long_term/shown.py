"""What others wrote, as one line of Markdown for a chat: it looks like what it is, and starts nothing; pure."""

from __future__ import annotations

import re
from typing import Final

from charm_checkpoint.long_term.plain_text import fence_around, one_line

TITLE: Final = 200
"""Characters of a title that are shown."""

# Of ``#`` that at the end alone, which would end a heading and not be shown.
_ESCAPED = re.compile(r"[\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_])|#(?=#*\Z)")


def markdown(text: str, limit: int = TITLE) -> str:
    """Return a text as one line of Markdown that shows it as it is, inside of a line."""
    return _ESCAPED.sub(r"\\\g<0>", one_line(text, limit))


def code(text: str, limit: int = TITLE) -> str:
    """Return a text as code in a line of Markdown: in as many backticks as it takes."""
    line = one_line(text, limit)
    fence = fence_around([line], 1)
    pad = " " if line[:1] == "`" or line[-1:] == "`" or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}"
