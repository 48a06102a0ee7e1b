"""Values as people read them: much like YAML, cut where they are long, and nothing in them that a terminal obeys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charm_checkpoint.printable import printable

_PLAIN = re.compile(r"[^\W\d_][\w ./()+*=@-]*[\w.)/]|[^\W\d_]")
"""Text that is itself without quotes."""
_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "none", "nan", "inf"))
_SHORT = 100
"""Characters of a list or mapping that stands on one line."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How much of a value is shown: of a text the first characters, of a list the last elements."""

    text: int | None = 200
    elements: int | None = 10
    lines: int | None = 12


WHOLE = Cut(None, None, None)
"""All of it."""


def yamlish(value: Any, cut: Cut = WHOLE, indent: int = 0) -> list[str]:
    """Return plain JSON as lines."""
    return [" " * indent + printable(line) for line in _lines(value, cut)]


def scalar(value: Any, cut: Cut = WHOLE) -> str:
    """Return a value on one line."""
    if isinstance(value, str):
        return printable(_quoted(value, cut))
    if isinstance(value, (Mapping, list, tuple)):
        return printable(_flow(value, cut))
    return printable(_number(value))


def _lines(value: Any, cut: Cut) -> Iterator[str]:
    if isinstance(value, str) and "\n" in value.strip("\n"):
        yield "|"
        yield from _block(value, cut)
    elif is_block(value):
        yield from _entries(value, cut) if isinstance(value, Mapping) else _elements(value, cut)
    else:
        yield scalar(value, cut)


def _entries(value: Mapping[Any, Any], cut: Cut) -> Iterator[str]:
    for key, held in value.items():
        name = _quoted(str(key), WHOLE)
        first, *rest = _lines(held, cut)
        if is_block(held):
            yield f"{name}:"
            yield from (f"  {line}" for line in (first, *rest))
        else:
            yield f"{name}: {first}"
            yield from (f"  {line}" for line in rest)


def _elements(value: Sequence[Any], cut: Cut) -> Iterator[str]:
    kept = len(value) if cut.elements is None else cut.elements
    if len(value) > kept:
        yield f"# … {len(value) - kept:,} before"
    for held in value[max(0, len(value) - kept) :]:
        first, *rest = _lines(held, cut)
        yield f"- {first}"
        yield from (f"  {line}" for line in rest)


def _block(text: str, cut: Cut) -> Iterator[str]:
    lines = text.rstrip("\n").split("\n")
    kept = len(lines) if cut.lines is None else cut.lines
    for line in lines[:kept]:
        yield "  " + "".join(_clipped(line, cut))
    if len(lines) > kept:
        yield f"  … {len(lines) - kept:,} more lines"


def _clipped(text: str, cut: Cut) -> tuple[str, str]:
    """Return what is shown of a text, and what is said of the rest."""
    if cut.text is None or len(text) <= cut.text:
        return text, ""
    return text[: cut.text], f"… {len(text) - cut.text:,} more characters"


def _quoted(text: str, cut: Cut) -> str:
    shown, more = _clipped(text, cut)
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return (shown if is_plain else json.dumps(shown, ensure_ascii=False)) + more


def _number(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def is_block(value: Any) -> bool:
    """Tell whether a value is written as lines of its own: a mapping, or a list of much or of lists."""
    if not value or not isinstance(value, (Mapping, list, tuple)):
        return False
    if isinstance(value, Mapping) or len(value) > 20:
        return True
    shown = _flow(value, WHOLE)
    return (
        any(isinstance(each, (Mapping, list, tuple)) and each for each in value)
        or len(shown) > _SHORT
        or "\\n" in shown
    )


def _flow(value: Any, cut: Cut) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(str(key), WHOLE)}: {_flow(held, cut)}" for key, held in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(held, cut) for held in value) + "]"
    return _quoted(value, cut) if isinstance(value, str) else _number(value)
