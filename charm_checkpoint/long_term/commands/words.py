"""From what is typed to words: quotes as in a shell, and apostrophes as in English; pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from charm_checkpoint.long_term.commands.errors import CommandError

SEPARATOR: Final = re.compile(r"\s--(?=\s)\s?")
"""What stands between the fields of a command: space, dash, dash, space."""


class Word(NamedTuple):
    """A word; one that was ``quoted`` is no keyword and no scope."""

    text: str
    quoted: bool = False


def words_of(text: str) -> list[Word]:
    """Return the words of a command; raises `CommandError` for a quote that is not closed.

    A quote opens at the begin of a word, a double one inside of it too; so the apostrophe of ``don't`` is one. Within
    double quotes, and before a space or a quote, a backslash takes the next character as it is.
    """
    words: list[Word] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        word, at = _word(text, at)
        words.append(word)
    return words


def _word(text: str, at: int) -> tuple[Word, int]:
    begin, quoted = at, False
    parts: list[str] = []
    while at < len(text) and not text[at].isspace():
        character = text[at]
        if character == '"' or (character == "'" and at == begin):
            part, at = _quoted(text, at)
            parts.append(part)
            quoted = True
        elif character == "\\" and at + 1 < len(text) and (text[at + 1] in "\"'\\" or text[at + 1].isspace()):
            parts.append(text[at + 1])
            at += 2
        else:
            parts.append(character)
            at += 1
    return Word("".join(parts), quoted), at


def _quoted(text: str, at: int) -> tuple[str, int]:
    quote, begin = text[at], at
    parts: list[str] = []
    at += 1
    while at < len(text):
        if text[at] == quote:
            return "".join(parts), at + 1
        if text[at] == "\\" and quote == '"' and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        parts.append(text[at : at + 1])
        at += 1
    raise CommandError(
        f"the quote before {text[begin + 1 : begin + 21]!r} is not closed; close it, or put it all into double quotes"
    )


def fields_of(text: str) -> tuple[str, str, str] | None:
    """Return head, title and body, which ``--`` separates; None if there are fewer.

    What comes after the second separator is body, whatever it holds; a title that holds one is put into double quotes.
    """
    head, *rest = SEPARATOR.split(text, maxsplit=1)
    if not rest:
        return None
    rest_text = rest[0].strip()
    if rest_text.startswith('"'):
        title, end = _title_in_quotes(rest_text)
        if title is not None:
            return head.strip(), title.strip(), rest_text[end:].strip()
    title, *bodies = SEPARATOR.split(rest_text, maxsplit=1)
    return (head.strip(), title.strip(), bodies[0].strip()) if bodies else None


def _title_in_quotes(text: str) -> tuple[str | None, int]:
    """Return a quoted title with a separator in it, and where the body begins; None for any other."""
    try:
        title, end = _quoted(text, 0)
    except CommandError:
        return None, 0
    found = SEPARATOR.match(text, end)
    return (title, found.end()) if found and SEPARATOR.search(title) else (None, 0)
