"""Any value of a state as plain JSON or YAML: for who looks at it, not to be read back.

No code of a value's class runs: fields are taken from where Python keeps them. What stands for something else is told
by notes, each with the path to it.
"""

from __future__ import annotations

import dataclasses
import math
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Container, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from hashlib import blake2b
from itertools import count
from pathlib import PurePath
from re import Pattern
from typing import Any, TypeAlias
from uuid import UUID

from charm_checkpoint.errors import PathPart, format_path
from charm_checkpoint.values.serde.fresh_stack import is_fresh, on_a_fresh_stack
from charm_checkpoint.values.serde.unknown import Unknown

Path: TypeAlias = "tuple[PathPart, ...]"
Tell: TypeAlias = Callable[[Path, str], None]

DEPTH = 200
"""Levels that are shown; a value that was stored has no more."""
WHOLE_BYTES, WHOLE_ARRAY, FEW = 4096, 1000, 10
"""Bytes, and numbers of an array, that are shown as a whole; and how many are of larger ones."""
SHOWN = 500
"""Characters that are shown of what has no fields."""
SHOWN_PATTERN = 190
"""Characters of a regular expression up to which it shows itself to its end."""

LONG_BITS = 2048
"""Bits of a whole number from which on it is text, in base 16: Python refuses to write very long ones in base 10."""

_ATOMS = frozenset({type(None), bool, str})
_AS_TEXT = (timedelta, Decimal, Fraction, complex, UUID, PurePath, range)
_DATES = (datetime, date, time)
_SECRETS = frozenset({"SecretStr", "SecretBytes", "Secret"})


class Damaged:
    """What stands for a value that cannot be read: it is None as plain JSON, and a note says why."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why

    def __repr__(self) -> str:
        return f"Damaged({self.why!r})"


def as_plain(value: Any, path: Path = (), tell: Tell | None = None) -> Any:
    """Return a value as plain JSON: dicts with keys of text, lists, text, numbers, None.

    Objects are the dicts of their fields, sets and tuples lists, times text, bytes and arrays a dict that says what
    they are. ``tell`` takes the path and the reason of what is cut, damaged, or of a class that is not loaded.
    """
    try:
        return _Walk(tell or _ignore).plain(value, path)
    except RecursionError:
        if is_fresh():
            raise
    return on_a_fresh_stack(lambda: _Walk(tell or _ignore).plain(value, path))


def _ignore(path: Path, text: str) -> None:
    pass


class _Walk:
    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._open: set[int] = set()

    def plain(self, value: Any, path: Path) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is int:
            return value if value.bit_length() < LONG_BITS else hex(value)
        if kind is float:
            return value if math.isfinite(value) else str(value)
        if id(value) in self._open or len(self._open) >= DEPTH:
            self._tell(path, "it is inside itself" if id(value) in self._open else f"it is deeper than {DEPTH} levels")
            return None
        self._open.add(id(value))
        try:
            return self._inside(kind, value, path)
        finally:
            self._open.discard(id(value))

    def _inside(self, kind: type, value: Any, path: Path) -> Any:
        if kind is Damaged:
            self._tell(path, value.why)
            return None
        if kind is Unknown:
            name = value.class_name or "a value"
            self._tell(path, f"{name} is shown as it is stored: {value.reason}")
            return self.plain(value.fields, path)
        if issubclass(kind, (str, int, float)) and not issubclass(kind, Enum):
            return self.plain(_base(value), path)
        if issubclass(kind, dict):
            return self._dict(dict.items(value), path)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return self._dict(zip(kind._fields, tuple.__iter__(value), strict=False), path)
        if issubclass(kind, (list, tuple, deque)):
            return [self.plain(item, (*path, number)) for number, item in enumerate(kind.__iter__(value))]
        if issubclass(kind, (set, frozenset)):
            return self._set(value, path)
        return self._object(kind, value, path)

    def _dict(self, items: Iterable[tuple[Any, Any]], path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in items:
            name = free_name(key, found)
            found[name] = self.plain(item, (*path, name))
        return found

    def _set(self, value: Any, path: Path) -> list[Any]:
        members = [self.plain(item, path) for item in value]
        return sorted(members, key=lambda member: (str(type(member)), str(member)))

    def _object(self, kind: type, value: Any, path: Path) -> Any:
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return _bytes(bytes(value))
        if issubclass(kind, Enum):
            return self.plain(value.__dict__.get("_value_"), path)
        if issubclass(kind, _DATES):
            return kind.isoformat(value)
        if issubclass(kind, _AS_TEXT):
            return _said(value, str)
        if issubclass(kind, BaseException):
            return _shortened(f"{kind.__name__}: {_said(value.args)}")
        if kind is Pattern and len(value.pattern) > SHOWN_PATTERN:
            return _shortened(f"re.compile({value.pattern!r})")
        if kind.__module__ == "ipaddress":
            return str(value)
        if kind.__module__.partition(".")[0] == "numpy":
            return self._array(value, path)
        if kind.__name__ in _SECRETS and kind.__module__.startswith("pydantic"):
            return "**********"
        fields = _fields(kind, value)
        return _shortened(_said(value)) if fields is None else self._dict(fields, path)

    def _array(self, value: Any, path: Path) -> Any:
        shape = getattr(value, "shape", None)
        if shape is None:
            return _shortened(str(value))
        if shape == ():
            number = value.tolist()
            # Times as text; what Python has no type for, as long doubles, stays what it is.
            return str(value) if value.dtype.kind in "mM" or type(number) is type(value) else self.plain(number, path)
        whole = value.size <= WHOLE_ARRAY
        shown = value if whole else value.reshape(-1)[:FEW]
        plain = self.plain((shown.astype(str) if value.dtype.kind in "mM" else shown).tolist(), path)
        told = {"array": str(value.dtype), "shape": list(shape)}
        if whole:
            return {**told, "values": plain}
        held = repr(value.tolist()).encode("utf-8", "surrogatepass") if value.dtype.hasobject else value.tobytes()
        return {**told, "begins": plain, "blake2b": digest(held)}


def _base(value: Any) -> Any:
    """Return the plain value of an instance of a subclass of text or of a number."""
    kind = type(value)
    return str.__str__(value) if issubclass(kind, str) else int(value) if issubclass(kind, int) else float(value)


def free_name(key: Any, taken: Container[str]) -> str:
    """Return what a dict's key is called among others that have their names: 1 and "1" are two."""
    name = key if type(key) is str else _key(key)
    if name not in taken:
        return name
    said = _said(key)[:SHOWN]
    for each in (said, f"{said} ({type(key).__name__})"):
        if each not in taken:
            return each
    return next(each for number in count(2) if (each := f"{said} ({number})") not in taken)


def _key(key: Any) -> str:
    kind = type(key)
    if kind in (bool, float, type(None)):
        return str(key)
    if issubclass(kind, int) and not issubclass(kind, Enum):
        return str(int(key)) if int.bit_length(key) < LONG_BITS else hex(key)
    if issubclass(kind, Enum):
        return str(key.__dict__.get("_value_"))
    if issubclass(kind, _DATES):
        return str(kind.isoformat(key))
    return _said(key, str if issubclass(kind, (str, *_AS_TEXT)) else repr)[:SHOWN]


def _bytes(data: bytes) -> dict[str, Any]:
    if len(data) <= WHOLE_BYTES:
        return {"bytes": len(data), "base64": b64encode(data).decode()}
    return {"bytes": len(data), "begins": b64encode(data[:96]).decode(), "blake2b": digest(data)}


def digest(data: bytes) -> str:
    """Return what tells content apart that is not shown to its end."""
    return blake2b(data, digest_size=8).hexdigest()


def _said(value: Any, say: Callable[[Any], str] = repr) -> str:
    """Return a value as Python writes it, but for one with whole numbers in it that are too long for that."""
    try:
        return say(value)
    except ValueError:
        return f"{type(value).__name__} with a number of too many digits to be written"


def _shortened(text: str) -> str:
    if len(text) <= SHOWN:
        return text
    return f"{text[:SHOWN]}… ({len(text)} characters, blake2b {digest(text.encode('utf-8', 'surrogatepass'))})"


def _fields(kind: type, value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return an object's fields and values, None if it has none that can be seen."""
    held = getattr(value, "__dict__", None)
    if type(held) is dict:
        fields = dict(held)
        extra = getattr(value, "__pydantic_extra__", None)
        if type(extra) is dict:
            fields.update(extra)
        return fields.items()
    names = [each.name for each in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else _slots(kind)
    if not names:
        return None
    return [(name, getattr(value, name)) for name in names if hasattr(value, name)]


def _slots(kind: type) -> list[str]:
    slots = [getattr(cls, "__slots__", ()) for cls in reversed(kind.__mro__)]
    names = [name for some in slots for name in ((some,) if isinstance(some, str) else some)]
    return [name for name in names if not name.startswith("_")]


class Notes:
    """Gathers what is told of values, as paths and texts."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def tell(self, path: Path, text: str) -> None:
        """Take a note."""
        self.found.append((format_path(path), text))
