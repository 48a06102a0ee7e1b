"""Equality that also compares types, all the way down."""

from __future__ import annotations

import math
import re
import sys
from collections import deque
from collections.abc import Mapping
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, SecretBytes, SecretStr

PLAIN = frozenset({bool, bytes, int, str, type(None)})
"""Types, not those made of them, whose equal values are the same: nearly all that is compared."""


def same(a: Any, b: Any) -> bool:
    """Say whether two values are equal and of the same types, at every level; NaN equals NaN, 0.0 not -0.0."""
    kind = type(a)
    if kind is not type(b):
        return False
    if kind in PLAIN:
        return bool(a == b)
    if kind is dict:
        return _same_mapping(a, b)
    if kind is list or kind is tuple:
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (Enum, type)):
        return a is b
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (float(a), math.copysign(1, a)) == (float(b), math.copysign(1, b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, Mapping):
        return _same_mapping(a, b) and _same_state(a, b)
    if isinstance(a, (list, tuple, deque)):
        limits = getattr(a, "maxlen", None) == getattr(b, "maxlen", None)
        return limits and len(a) == len(b) and all(map(same, a, b)) and _same_state(a, b)
    if isinstance(a, (set, frozenset)):
        return len(a) == len(b) and _same_members(list(a), list(b))
    return _same_leaf(a, b)


def _same_mapping(a: Any, b: Any) -> bool:
    if getattr(a, "default_factory", None) is not getattr(b, "default_factory", None):
        return False
    return len(a) == len(b) and all(map(same, a, b)) and all(map(same, a.values(), b.values()))


def _same_members(a: list[Any], b: list[Any]) -> bool:
    for member in a:
        match = next((n for n, other in enumerate(b) if same(member, other)), None)
        if match is None:
            return False
        del b[match]
    return True


def _same_leaf(a: Any, b: Any) -> bool:
    if isinstance(a, (datetime, time)):
        return bool(a.replace(tzinfo=None) == b.replace(tzinfo=None) and a.fold == b.fold and same(a.tzinfo, b.tzinfo))
    if isinstance(a, Decimal):
        return str(a) == str(b)
    if isinstance(a, ZoneInfo):
        return a.key == b.key
    if isinstance(a, (SecretStr, SecretBytes)):
        return same(a.get_secret_value(), b.get_secret_value())
    if isinstance(a, re.Pattern):
        return same(a.pattern, b.pattern) and a.flags == b.flags
    if type(a).__module__ == "numpy":
        return _same_array(a, b)
    return _same_state(a, b) if _state(a) else bool(a == b)


def _same_array(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.strides == b.strides and a.tobytes() == b.tobytes()


def _same_state(a: Any, b: Any) -> bool:
    return _same_mapping(_state(a), _state(b))


def _state(obj: Any) -> dict[str, Any]:
    """Return what an object holds beside a built-in value: attributes, slots, and pydantic's own state."""
    if isinstance(obj, BaseModel):
        names = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
        return {name: getattr(obj, name) for name in names}
    if type(obj).__module__.partition(".")[0] in sys.stdlib_module_names:
        return {}  # what such a type caches in itself is no content
    slots = {name for cls in type(obj).__mro__ for name in vars(cls).get("__slots__", ()) if not name.startswith("__")}
    held = {name: getattr(obj, name) for name in sorted(slots) if hasattr(obj, name)}
    return {**held, **getattr(obj, "__dict__", {})}
