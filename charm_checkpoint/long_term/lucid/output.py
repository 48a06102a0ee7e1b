"""What the command is given and what it answers: types and labels, lines of ``<lucid-context>``, and merging; pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

_LINE = re.compile(r"\s*-\s+\[(?P<label>[^\]]*)\]\s*(?P<text>\S.*?)\s*")
_BEGIN, _END = "<lucid-context>", "</lucid-context>"

_TYPES: Final = {"core": "decision", "daily": "context", "conversation": "conversation"}
_KINDS: Final = {"fact": "decision", "rule": "decision", "lesson": "learning"}
_LABELS: Final = {
    "decision": "core",
    "learning": "core",
    "solution": "core",
    "context": "conversation",
    "conversation": "conversation",
    "bug": "daily",
}

MOST_BYTES: Final = 24_000 if os.name == "nt" else 100_000
"""What fits into one argument of a program: systems end it at 32 kB for all, or at 128 KiB for each."""


class LucidLine(NamedTuple):
    """One line that the command answered: ``rank`` counts from 0, the score falls with it."""

    text: str
    label: str
    rank: int

    @property
    def category(self) -> str:
        """Return the category that a label stands for; one that nobody knows is a category of its own."""
        label = self.label.strip().lower()
        return "visual" if "visual" in label else _LABELS.get(label, label)

    @property
    def score(self) -> float:
        """Return ZeroClaw's score for the rank: 1 for the first, less for each that follows, 0.1 at least."""
        return max(0.1, 1 - 0.05 * self.rank)


def type_of(category: str | None, kind: str) -> str:
    """Return the command's word for a category; for none, that for the kind."""
    if not category:
        return _KINDS.get(kind, "learning")
    return _TYPES.get(category, "learning")


def parse(output: str) -> list[LucidLine]:
    """Return what the command says between its two marks; whatever else it prints is passed over."""
    inside, found = False, list[LucidLine]()
    for line in output.splitlines():
        if line.strip() in (_BEGIN, _END):
            inside = line.strip() == _BEGIN
        elif inside and (match := _LINE.fullmatch(line)):
            found.append(LucidLine(match["text"], match["label"], len(found)))
    return found


def argument(text: str) -> str:
    """Return a text as an argument that no program takes for an option, and every system can hand over.

    One that begins with "-" gets a blank in front, for which no meaning is lost; a NUL and half a character become
    other signs; what is too long is cut.
    """
    whole = text.replace("\0", " ").encode("utf-8", "replace")
    if len(whole) > MOST_BYTES:
        whole = whole[: MOST_BYTES - 3] + "…".encode()
    plain = whole.decode("utf-8", "ignore")
    return f" {plain}" if plain.startswith(("-", "/")) else plain


def new_lines(lines: Iterable[LucidLine], local: Iterable[tuple[str, str]]) -> list[LucidLine]:
    """Return the lines that say something else than the local memories, of titles and bodies, and than one another."""
    known = set[str]()
    for title, body in local:
        known |= {_plain(body), _plain(stored_text(title, body))}
    found = list[LucidLine]()
    for line in lines:
        if (plain := _plain(line.text)) not in known:
            known.add(plain)
            found.append(line)
    return found


def stored_text(title: str, body: str) -> str:
    """Return what the command is given to store."""
    return f"{title}: {body}"


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def recall_arguments(query: str, budget: int, project: str) -> Sequence[str]:
    """Return the arguments with which the command recalls."""
    return ["context", argument(query), f"--budget={budget}", f"--project={project}"]


def store_arguments(title: str, body: str, type_: str, project: str) -> Sequence[str]:
    """Return the arguments with which the command stores."""
    return ["store", argument(stored_text(title, body)), f"--type={type_}", f"--project={project}"]
