"""What a model proposes to remember: its answer, as JSON in any wrapping, and what is made of it; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from charm_checkpoint.errors import DataError
from charm_checkpoint.long_term.parts import ALIASES
from charm_checkpoint.long_term.plain_text import one_line
from charm_checkpoint.long_term.records import KINDS

LONGEST: Final = 100_000
"""Characters of an answer that are looked at."""
TITLE: Final = 120
BODY: Final = 4_000
TAGS: Final = 8
TAG: Final = 40
REASONING: Final = 500
"""How many characters of a title, a body and a tag there may be, and how many tags; and how much reasoning is kept."""

_FENCE = re.compile(r"^(`{3,}|~{3,})[^\n`]*\n(.*?)^\1", re.MULTILINE | re.DOTALL)
_TRIES = 64


@dataclass(frozen=True)
class Proposal:
    """A memory that a model proposes."""

    kind: str
    title: str
    body: str
    scope: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a model decided: ``proposal`` is None if nothing is to be remembered."""

    reasoning: str
    proposal: Proposal | None


def answer_of(text: str, scopes: Collection[str]) -> Answer:
    """Return what a model's answer says; raises `DataError`, which says what is wrong with it."""
    given = parsed(text)
    reasoning = _text(given.get("reasoning"))[:REASONING]
    if _text(given.get("decision")).lower() != "write":
        return Answer(reasoning, None)
    memory = given.get("memory")
    if not isinstance(memory, Mapping):
        raise DataError("the decision is to write, and there is no memory in it", path=("memory",))
    return Answer(reasoning, _proposal(memory, scopes))


def parsed(text: str) -> dict[str, Any]:
    """Return the JSON object of an answer: bare, in a fence, or inside prose; raises `DataError` if there is none.

    Of several the one is taken that has a decision, else the first.
    """
    found = None
    for each in _objects(text[:LONGEST].strip()):
        if "decision" in each:
            return each
        found = each if found is None else found
    if found is None:
        raise DataError(f"the model's answer has no JSON object in it: {_shown(text)}")
    return found


def _objects(text: str) -> Iterator[dict[str, Any]]:
    for piece in (text, *(match[2] for match in _FENCE.finditer(text))):
        whole = _decoded(piece)
        if isinstance(whole, dict):
            yield whole
    at, tries = text.find("{"), 0
    while at >= 0 and tries < _TRIES:
        found, end = _decoded_at(text, at)
        if isinstance(found, dict):
            yield found
        at, tries = text.find("{", end), tries + 1


def _decoded(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _decoded_at(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at + 1


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(strict=False, parse_constant=_no_number)  # models leave line feeds in strings


def _proposal(memory: Mapping[str, Any], scopes: Collection[str]) -> Proposal:
    kind, scope = _text(memory.get("kind")).lower(), _text(memory.get("scope")).lower()
    title, body = " ".join(_text(memory.get("title")).split()), _text(memory.get("body"))
    for name, value, length in (("title", title, TITLE), ("body", body, BODY)):
        if not value:
            raise DataError("it is missing", path=("memory", name))
        if len(value) > length:
            raise DataError(f"it has {len(value)} characters, {length} at most are taken", path=("memory", name))
    if kind not in KINDS:
        raise DataError(f"it is one of {', '.join(KINDS)}, not {_shown(kind)}", path=("memory", "kind"))
    scope = ALIASES.get(scope, scope)
    if scope not in scopes:
        raise DataError(f"it is one of {', '.join(scopes)}, not {_shown(scope)}", path=("memory", "scope"))
    return Proposal(kind, title, body, scope, _tags(memory.get("tags")))


def _tags(given: Any) -> tuple[str, ...]:
    some = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else []
    tags = (" ".join(each.split()) for each in some if isinstance(each, str))
    return tuple(dict.fromkeys(tag for tag in tags if 0 < len(tag) <= TAG))[:TAGS]


def _text(given: Any) -> str:
    """Return a text without what no store takes, and that no text is."""
    if not isinstance(given, str):
        return ""
    return given.encode("utf-8", "replace").decode().replace("\0", "").strip()


def _shown(text: str) -> str:
    return repr(one_line(text, 80))
