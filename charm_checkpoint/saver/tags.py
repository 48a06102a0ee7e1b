"""Tags: short hashes of equal values under their names, by which a store narrows a listing down; pure.

Entries of an object have tags, and so has what is nested in objects, under its path. There are not many of these:
values with more than `NESTED_ENTRIES` have none of them, like those stored by the first versions. `NESTED` in front
of the tags says that they are there.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from charm_checkpoint.contract import NESTED, TAG_SIZE
from charm_checkpoint.values.json_values import ATOMS

NESTED_ENTRIES = 48
"""Entries of nested objects, at any depth, that tags are made for."""

_LONG = 10**4300
"""Python refuses to write an integer of so many digits in decimals."""

_write = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def tags(value: Mapping[str, Any], apart: Collection[str] = ()) -> bytes:
    """Return the tags of a JSON object, but for the entries in ``apart``, end to end."""
    made, objects = [], []
    for key, item in value.items():
        if item is None or key in apart:
            continue
        made.append(tag(key, item) or b"")
        if isinstance(item, dict) and item:
            objects.append((key, item))
    nested = _nested_tags(objects) if objects else b""
    return b"".join(made if nested is None else (NESTED, *made, nested))


def _nested_tags(objects: list[tuple[str, Any]]) -> bytes | None:
    """Return the tags of what is in objects, given with their names; None if that is too much."""
    made = []
    left = NESTED_ENTRIES
    while objects:
        prefix, held = objects.pop()
        left -= len(held)
        if left < 0:
            return None
        for key, item in held.items():
            if isinstance(item, dict):
                objects.append((f"{prefix}.{key}", item))
            elif type(item) in ATOMS:
                made.append(b"" if item is None else _hashed(f"{prefix}.{key}", _text(item) or ""))
            elif not isinstance(item, (list, tuple)):
                return None
    return b"".join(made)


def tag(key: str, value: Any) -> bytes | None:
    """Return the tag of an entry, None for what is not JSON."""
    kind = type(value)
    if kind is str or kind is bool:
        return _frequent(key, value, kind.__name__)
    if kind is dict and not value:
        return _frequent(key, "{}", "dict")
    text = canonical(value)
    return None if text is None else _hashed(key, text)


@lru_cache(128)
def _frequent(key: str, value: Any, kind: str) -> bytes:
    """Return the tag of a value that often comes again; ``kind`` keeps True and 1 apart in the cache."""
    return _hashed(key, value if kind == "dict" else _text(value) or "")


def _hashed(key: str, text: str) -> bytes:
    """Return the tag of a value that is written so, under its name."""
    return zlib.crc32(f"{len(key)}:{key}{text}".encode("utf-8", "surrogatepass")).to_bytes(TAG_SIZE, "big")


def _text(value: Any) -> str | None:
    """Write a JSON value as `canonical` does, a plain one without its detours."""
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)
    if kind is bool:
        return "true" if value else "false"
    return canonical(value)


def canonical(value: Any) -> str | None:
    """Write a JSON value in one way only; None for what is not JSON."""
    if type(value) is int:
        return str(value) if abs(value) < _LONG else hex(value)
    try:
        return _write(_plain(value))
    except (TypeError, ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("JSON's keys are text")
        return {key: _plain(item) for key, item in value.items()}
    return value
