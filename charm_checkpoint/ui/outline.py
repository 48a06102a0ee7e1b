"""A value in parts: what kind it is, how long, and so many of its members; pure.

A state may be of hundreds of megabytes. The page asks for the members of what is opened, a slice at a time, and a text
that is long is shown in slices, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from charm_checkpoint.errors import PathNotFound

PREVIEW = 240
"""Characters of a text, or of a line that stands for an object, that a member shows."""
TEXT = 20_000
"""Characters of a text in one slice."""
_SHOWN = 4
_NAMES = {dict: "object", list: "array", tuple: "array", str: "text", bool: "flag", int: "number", float: "number"}


def at(value: Any, path: Sequence[Any]) -> Any:
    """Return what stands at a path of keys and places; raises `PathNotFound`."""
    for depth, part in enumerate(path):
        try:
            if type(value) is dict and type(part) is str:
                value = value[part]
            elif type(value) is list and type(part) is int and part >= 0:
                value = value[part]
            else:
                raise LookupError
        except LookupError:
            raise PathNotFound(f"Nothing stands at {list(path[: depth + 1])!r}.") from None
    return value


def outline(value: Any, offset: int = 0, size: int = 100) -> dict[str, Any]:
    """Return a slice of a value: members of an object or a list, characters of a text, or all of anything else."""
    told = member(value)
    if type(value) is str:
        piece = value[offset : offset + TEXT]
        return {**told, "value": piece, "offset": offset, "more": offset + len(piece) < len(value)}
    if type(value) is dict:
        pairs: list[tuple[Any, Any]] = list(islice(value.items(), offset, offset + size))
    elif type(value) is list:
        pairs = list(enumerate(value[offset : offset + size], offset))
    else:
        return told
    members = [{"key": key, **member(held)} for key, held in pairs]
    return {**told, "members": members, "offset": offset, "more": offset + len(members) < len(value)}


def opened(value: Any, path: Sequence[Any], offset: int, size: int) -> dict[str, Any]:
    """Return a slice of what stands at a path."""
    return outline(at(value, path), offset, size)


def member(value: Any) -> dict[str, Any]:
    """Return what is told of a value that is not opened."""
    kind = _NAMES.get(type(value), "nothing")
    if kind in ("object", "array"):
        return {"type": kind, "length": len(value), "preview": brief(value)}
    if kind == "text":
        return {"type": kind, "length": len(value), "value": value[:PREVIEW], "cut": len(value) > PREVIEW}
    return {"type": kind, "value": value}


def brief(value: Any) -> str:
    """Write an object or a list in a line."""
    if type(value) is dict:
        parts = [f"{_cut(key, 40)}: {_scalar(held)}" for key, held in list(value.items())[:_SHOWN]]
        return _cut("{" + ", ".join(parts) + (", …" if len(value) > _SHOWN else "") + "}", PREVIEW)
    parts = [_scalar(held) for held in value[:_SHOWN]]
    return _cut("[" + ", ".join(parts) + (", …" if len(value) > _SHOWN else "") + "]", PREVIEW)


def _scalar(value: Any) -> str:
    if type(value) is dict:
        return "{…}" if value else "{}"
    if type(value) is list:
        return f"[{len(value)}]"
    if type(value) is str:
        return f'"{_cut(value, 60)}"'
    return json.dumps(value)


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def capped(value: Any, room: int) -> tuple[Any, int]:
    """Return a value cut so that it takes about ``room`` characters as JSON, and the room that is left.

    What was cut ends in an ellipsis; what was left out is counted where it was.
    """
    if type(value) is str:
        shown = _cut(value, max(room, 1))
        return shown, room - len(shown)
    if type(value) is dict:
        kept: dict[str, Any] = {}
        for key, held in value.items():
            if room <= 0:
                kept["…"] = f"{len(value) - len(kept)} more"
                break
            shown_key, room = capped(key, room)
            kept[shown_key], room = capped(held, room)
        return kept, room
    if type(value) is list:
        listed: list[Any] = []
        for held in value:
            if room <= 0:
                listed.append(f"… {len(value) - len(listed)} more")
                break
            shown, room = capped(held, room)
            listed.append(shown)
        return listed, room
    return value, room - 8
