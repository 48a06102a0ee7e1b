"""Commands that a remark proposes, as they are typed into a shell."""

from __future__ import annotations

import re
import shlex

from charm_checkpoint.cli.options import URL_VARIABLE
from charm_checkpoint.config.masking import mask


def to_type(url: str | None, command: str, *words: str) -> str:
    """Return the line that runs a command on the same store; ``words`` are ids and such, which may be anything.

    A URL that a variable has is not repeated, and one with a secret in it is not shown.
    """
    parts = ["charm-checkpoint", command]
    if url and not getattr(url, "variable", ""):
        parts.append(f"--url {quoted(url)}" if mask(url) == url else f'--url "${URL_VARIABLE}"')
    if any(word.startswith("-") for word in words):
        parts.append("--")
    return " ".join([*parts, *map(quoted, words)])


def quoted(word: str) -> str:
    """Return a word as a shell has it; what cannot be printed as the escapes that bash and zsh know."""
    if word.isprintable():
        return word if re.fullmatch(r"head~\d+", word) else shlex.quote(word)
    escaped = "".join(_escaped(char) for char in word)
    return f"$'{escaped}'"


def as_word(word: str) -> str:
    """Return a word between quotes that a shell takes for the same."""
    return f"'{word}'" if word.isprintable() and "'" not in word else quoted(word)


def _escaped(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    return char if char.isprintable() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
