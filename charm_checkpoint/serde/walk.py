"""The slow passes: they handle what the engine cannot, and know the path to whatever cannot be stored or restored.

The quick passes in serde give up without a word; the walk that follows either succeeds or says exactly why not.
Each level of nesting costs two Python frames, and no C stack.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import ormsgpack

from charm_checkpoint.errors import DataError, NotSerializable, PathPart, StoreCorrupt
from charm_checkpoint.serde.objects import Finder
from charm_checkpoint.serde.values import AS_IS, ITEMS, MAP, PACKED, RAW, TEXT, decode, encode

MAX_DEPTH = 200
"""Containers and objects inside each other, an object counting twice. The engine itself writes 255 levels."""

OPTIONS = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

_ATOMS = frozenset({type(None), bool, float, bytes, ormsgpack.Ext})
_BROKEN = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, StopIteration)


class WritingWalk:
    """Encodes any value the engine can be brought to take; raises NotSerializable with the path to what it cannot."""

    def __init__(self) -> None:
        self._path: list[PathPart] = []
        self._open: dict[int, Any] = {}

    def write(self, value: Any) -> bytes:
        """Encode a whole value."""
        try:
            return self.pack(value)
        except RecursionError as exc:
            raise self._too_deep() from exc

    def pack(self, value: Any) -> bytes:
        return ormsgpack.packb(self._walk(value), option=OPTIONS)

    def _walk(self, value: Any) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is str:
            return _text(value)
        if kind is int and -(2**63) <= value < 2**64:
            return value
        self._enter(value)
        if kind is list:
            walked: Any = self._items(value)
        else:
            walked = self._dict(value) if kind is dict else self._extension(value)
        del self._open[id(value)]
        return walked

    def _enter(self, value: Any) -> None:
        if id(value) in self._open:
            raise self._refused("it contains itself. Break the cycle before storing it.")
        if len(self._open) >= MAX_DEPTH:
            raise self._too_deep()
        self._open[id(value)] = value

    def _too_deep(self) -> NotSerializable:
        return self._refused(f"it is nested deeper than {MAX_DEPTH} levels. Flatten it, or store it as text.")

    def _refused(self, reason: str) -> NotSerializable:
        return NotSerializable(reason, path=tuple(self._path))

    def _items(self, items: list[Any]) -> list[Any]:
        walked = []
        for n, item in enumerate(items):
            self._path.append(n)
            walked.append(self._walk(item))
            self._path.pop()
        return walked

    def _dict(self, value: dict[Any, Any]) -> Any:
        plain = all(type(key) is str and type(_text(key)) is str for key in value)
        walked: list[Any] = []
        for key, item in value.items():
            self._path.append(as_step(key))
            walked += (key if plain else self._walk(key), self._walk(item))
            self._path.pop()
        if plain:
            return dict(zip(walked[::2], walked[1::2], strict=True))
        return ormsgpack.Ext(MAP, ormsgpack.packb(walked, option=OPTIONS))

    def _extension(self, value: Any) -> Any:
        code, body = self._encode(value)
        if code == AS_IS:
            return _text(body)
        if code in PACKED:
            return ormsgpack.Ext(code, body)
        # A body's own first level is no step of the path: [name, {"field": value}] reads as .field.
        if code in ITEMS:
            body = self._items(body)
        elif type(body) is list:
            body = list(map(self._walk, body))
        else:
            body = self._walk(body)
        return ormsgpack.Ext(code, ormsgpack.packb(body, option=OPTIONS))

    def _encode(self, value: Any) -> tuple[int, Any]:
        try:
            return encode(value, self)
        except NotSerializable as exc:
            if not exc.path:
                exc.at(*self._path)
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as exc:
            raise self._refused(f"this {type(value).__qualname__} is broken or not initialised: {exc}.") from exc


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return ormsgpack.Ext(TEXT, value.encode("utf-8", "surrogatepass"))
    return value


def as_step(key: Any) -> PathPart:
    """Return a dict key as a step of a path."""
    return key if type(key) in (str, int) else repr(key)


class Raw(NamedTuple):
    """An extension value as it stands in the data, not decoded yet."""

    code: int
    data: bytes


def parse(data: bytes) -> Any:
    """Return the msgpack tree of some bytes, its extension values left as `Raw`."""
    try:
        return ormsgpack.unpackb(data, ext_hook=Raw)
    except ValueError as exc:
        raise StoreCorrupt(f"These bytes are not a stored value: {exc}.") from exc


class ReadingWalk:
    """Decodes like the quick reader, and knows where it is when something fails."""

    def __init__(self, finder: Finder) -> None:
        self.finder = finder
        self.path: list[PathPart] = []

    def read(self, data: bytes) -> Any:
        """Decode a whole value; raises TypeNotLoaded with its path, and StoreCorrupt for what is not data of ours."""
        return self.enter(parse(data))

    def enter(self, tree: Any) -> Any:
        """Decode a tree that `parse` made."""
        try:
            return self._walk(tree)
        except RecursionError as exc:
            raise StoreCorrupt("A stored value is nested too deep to be read.") from exc

    def guard(self, make: Any, *args: Any) -> Any:
        """Call a decoder; give its errors a path, and raise StoreCorrupt for what no encoder writes."""
        try:
            return make(*args)
        except DataError as exc:
            raise exc.at(*self.path) from exc.__cause__
        except RecursionError:
            raise
        except _BROKEN as exc:
            raise StoreCorrupt(f"A stored value is malformed: {type(exc).__name__}: {exc}") from exc

    def _walk(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            return self._items(value)
        if kind is dict:
            return dict(zip(value, self._steps(value, value.values()), strict=True))
        return self._extension(value) if kind is Raw else value

    def _items(self, items: list[Any]) -> list[Any]:
        walked = []
        for n, item in enumerate(items):
            self.path.append(n)
            walked.append(self._walk(item))
            self.path.pop()
        return walked

    def _steps(self, keys: Any, values: Any) -> list[Any]:
        walked = []
        for key, value in zip(keys, values, strict=True):
            self.path.append(as_step(key))
            walked.append(self._walk(value))
            self.path.pop()
        return walked

    def _extension(self, raw: Raw) -> Any:
        body = raw.data if raw.code in RAW else parse(raw.data)
        if type(body) is not list:
            body = self._walk(body)
        elif raw.code in ITEMS:
            body = self._items(body)
        elif raw.code == MAP:
            body = self._pairs(body)
        else:
            body = list(map(self._walk, body))
        return self.guard(decode, raw.code, body, self.finder)

    def _pairs(self, body: list[Any]) -> list[Any]:
        keys = list(map(self._walk, body[::2]))
        if len(keys) * 2 != len(body):
            raise StoreCorrupt("A stored dict has a key without a value.")
        pairs = zip(keys, self._steps(keys, body[1::2]), strict=True)
        return [part for pair in pairs for part in pair]
