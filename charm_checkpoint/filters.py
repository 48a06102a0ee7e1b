"""Metadata filters: equality on JSON values, the same on every store; pure.

``True`` is not ``1``; ``1`` is ``1.0``; the order of keys in an object does not matter; None
also matches a key that is missing. A store narrows a listing down by *tags*, short marks of a
metadata's entries; what it returns is compared here.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from charm_checkpoint.contract import TAG_SIZE
from charm_checkpoint.records import CONFLICT_KEY, THREAD_KEY

_UNMARKED = frozenset((CONFLICT_KEY, THREAD_KEY))
"""What the body does not hold, since it may change; it has no tags."""


def tags(metadata: Mapping[str, Any]) -> bytes:
    """Return the tags of a checkpoint's metadata, end to end; values that are not JSON have none."""
    pairs = ((key, value) for key, value in metadata.items() if value is not None and key not in _UNMARKED)
    return b"".join([_tag(key, value) or b"" for key, value in pairs])


def wanted_tags(filter: Mapping[str, Any]) -> tuple[bytes, ...]:
    """Return the tags that every match of ``filter`` has."""
    pairs = ((key, value) for key, value in filter.items() if value is not None and key not in _UNMARKED)
    return tuple(tag for tag in (_tag(key, value) for key, value in pairs) if tag is not None)


def matches(metadata: Mapping[str, Any], filter: Mapping[str, Any]) -> bool:
    """Tell whether metadata has every entry of ``filter``."""
    return all(_equal(metadata.get(key), value) for key, value in filter.items())


def _equal(a: Any, b: Any) -> bool:
    ours, theirs = canonical(a), canonical(b)
    return a == b if ours is None or theirs is None else ours == theirs


def _tag(key: str, value: Any) -> bytes | None:
    kind = type(value)
    if kind is int:  # hardly ever the same one twice
        return _mark(key, str(value))
    if kind is str or kind is bool:
        return _plain_tag(key, value, kind.__name__)
    if value == {}:
        return _plain_tag(key, None, "{}")
    text = canonical(value)
    return None if text is None else _mark(key, text)


@lru_cache(4096)
def _plain_tag(key: str, value: Any, kind: str) -> bytes | None:
    """Mark a plain value, or an empty object; ``kind`` keeps these apart in the cache."""
    text = kind if kind == "{}" else canonical(value)
    return None if text is None else _mark(key, text)


def _mark(key: str, text: str) -> bytes:
    return zlib.crc32(f"{len(key)}:{key}{text}".encode("utf-8", "surrogatepass")).to_bytes(TAG_SIZE, "big")


def canonical(value: Any) -> str | None:
    """Write a JSON value in one way only; None for what is not JSON."""
    if type(value) is int:
        return str(value)
    try:
        return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("JSON's keys are text")
        return {key: _plain(item) for key, item in value.items()}
    return value
