"""Text without secrets and without this machine's paths, and what was taken out of it, by place and kind."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from charm_checkpoint.long_term.sanitising.assignments import assigned
from charm_checkpoint.long_term.sanitising.paths import Roots, paths
from charm_checkpoint.long_term.sanitising.private_keys import private_keys
from charm_checkpoint.long_term.sanitising.shapes import keys_beside_ids, shapes
from charm_checkpoint.long_term.sanitising.spans import REDACTED, Span, merged, replaced
from charm_checkpoint.long_term.sanitising.tokens import tokens

_HASH: Final = re.compile(r"(?i)(?<![\w/+-])(?:sha-?256[:=\- ] ?)?[0-9a-f]{64}(?![\w/+-])")


@dataclass(frozen=True)
class Finding:
    """What was taken out somewhere; it never shows what that was."""

    place: str
    """Such as ``body of 'deploy' line 3``."""
    kind: str
    """Such as ``GitHub token``, ``path``."""
    count: int
    secret: bool
    """Whether it was a secret, not only a path, a user's name, or a hash."""

    def __str__(self) -> str:
        """Return the finding as people read it."""
        return f"{self.place}: {self.kind}" + (f" ({self.count} times)" if self.count > 1 else "")


@dataclass(frozen=True)
class Sanitised:
    """A text that may leave this machine, and what it had before."""

    text: str
    findings: tuple[Finding, ...]

    @property
    def redactions(self) -> int:
        """Return how many secrets were taken out; shortened paths do not count."""
        return sum(finding.count for finding in self.findings if finding.secret)


def sanitise(text: str, *, place: str, roots: Roots | None = None, hashes: bool = False) -> Sanitised:
    """Take secrets and paths out of a text: ``[REDACTED]`` and names such as ``<CHARM_PATH>`` stand there instead.

    ``place`` says where the text stands, such as ``body of 'deploy'``; findings tell it, with the line if there are
    several. ``roots`` has the paths by the names that replace them; see `known_roots`. With ``hashes``, SHA-256 in
    hexadecimal goes, too: such as the hashes of cited files, which say nothing elsewhere.

    Nothing is read and nothing is kept, and what was sanitised is not changed when that is done again.
    """
    spans = merged(_found(text, roots or {}, hashes))
    if not spans:
        return Sanitised(text, ())
    return Sanitised(replaced(text, spans), tuple(_findings(text, spans, place)))


def secrets_in(text: str) -> list[Span]:
    """Return where secrets stand in a text, in order."""
    return merged(_secrets(text))


def _found(text: str, roots: Roots, hashes: bool) -> Iterator[Span]:
    yield from _secrets(text)
    yield from paths(text, roots)
    if hashes:
        for found in _HASH.finditer(text):
            yield Span(found.start(), found.end(), "SHA-256 hash", "<SHA256>")


def _secrets(text: str) -> Iterator[Span]:
    # What says most about a secret comes first: it names what others find at the same place.
    yield from private_keys(text)
    yield from tokens(text)
    yield from shapes(text)
    yield from keys_beside_ids(text)
    yield from assigned(text)


def _findings(text: str, spans: list[Span], place: str) -> Iterator[Finding]:
    # A title that is part of the place may itself be, or have, a secret.
    shown = replaced(place, secrets_in(place))
    ends = [found.start() for found in re.finditer("\n", text)]
    counted: Counter[tuple[str, str, bool]] = Counter()
    for span in spans:
        where = f"{shown} line {bisect_right(ends, span.start) + 1}" if ends else shown
        counted[where, span.kind, span.instead == REDACTED] += 1
    for (where, kind, secret), count in counted.items():
        yield Finding(where, kind, count, secret)
