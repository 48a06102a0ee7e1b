"""The slow passes: they handle what the engine cannot, and know the path to whatever cannot be stored or restored.

The quick passes in serde give up without a word; the walk that follows either succeeds or says exactly why not.
Each level of nesting costs a few Python frames, and no C stack. A caller that has too few left is given a fresh stack.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import ormsgpack

from charm_checkpoint.errors import DataError, NotSerializable, PathPart, StoreCorrupt, TypeNotLoaded, corrupt
from charm_checkpoint.values.codes import AS_IS, ITEMS, MAP, PACKED, RAW, TEXT
from charm_checkpoint.values.serde.bases import as_step, check_distinct, plain
from charm_checkpoint.values.serde.body_shapes import decode
from charm_checkpoint.values.serde.changes import refusal
from charm_checkpoint.values.serde.classes import KINDS
from charm_checkpoint.values.serde.fresh_stack import is_fresh, on_a_fresh_stack
from charm_checkpoint.values.serde.kinds import KindChanged
from charm_checkpoint.values.serde.models import PRIVATE, Finder, may_drop, private_advice
from charm_checkpoint.values.serde.values import MayStore, encode
from charm_checkpoint.values.serde.writer import OPTIONS

T = TypeVar("T")

MAX_DEPTH = 200
"""Containers and objects inside each other, an object counting twice. The engine itself writes 255 levels."""
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels, of which an object takes two. Flatten it, or store it as text."

_ATOMS = frozenset({type(None), bool, float, bytes, ormsgpack.Ext})
BROKEN = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    StopIteration,
    OSError,
    re.error,
)
"""What decoders raise for what no encoder writes: of a pattern, or of a zone that is looked for as a file, too."""


class WritingWalk:
    """Encodes any value the engine can be brought to take; raises NotSerializable with the path to what it cannot."""

    def __init__(self, may_store: MayStore | None = None) -> None:
        self.may_store = may_store
        self._path: list[Any] = []
        self._open: dict[int, Any] = {}

    def write(self, value: Any) -> bytes:
        """Encode a whole value; raises RecursionError where a fresh stack may do."""
        try:
            return self.pack(value)
        except RecursionError as exc:
            if not is_fresh():
                raise
            raise self._too_deep() from exc

    def pack(self, value: Any) -> bytes:
        """Return the bytes of a value."""
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
        walked = self._inside(plain(value))
        del self._open[id(value)]
        return walked

    def _inside(self, value: Any) -> Any:
        """Encode a value that is not plain, or the plain value of an instance of a subclass."""
        kind = type(value)
        if kind is list:
            return self._items(value)
        if kind is dict:
            return self._dict(value)
        if kind is str or kind in _ATOMS:
            return self._walk(value)
        if kind is int and -(2**63) <= value < 2**64:
            return value
        return self._extension(value)

    def _enter(self, value: Any) -> None:
        if id(value) in self._open:
            raise self._refused("it contains itself. Break the cycle before storing it.")
        if len(self._open) >= MAX_DEPTH:
            raise self._too_deep()
        self._open[id(value)] = value

    def _too_deep(self) -> NotSerializable:
        return self._refused(f"it is {TOO_DEEP}")

    def _refused(self, reason: str) -> NotSerializable:
        return NotSerializable(reason, path=self._steps())

    def _steps(self) -> tuple[PathPart, ...]:
        return tuple(map(as_step, self._path))

    def _items(self, items: list[Any]) -> list[Any]:
        walked = []
        for n, item in enumerate(items.copy()):  # another thread may change it meanwhile
            self._path.append(n)
            walked.append(self._walk(item))
            self._path.pop()
        return walked

    def _dict(self, value: dict[Any, Any]) -> Any:
        value = value.copy()
        self._distinct(value)
        keys = list(map(plain, value))
        texts = all(type(key) is str and type(_text(key)) is str for key in keys)
        walked: list[Any] = []
        for key, item in zip(keys, value.values(), strict=True):
            self._path.append(key)
            walked += (key if texts else self._walk(key), self._walk(item))
            self._path.pop()
        if texts:
            return dict(zip(walked[::2], walked[1::2], strict=True))
        return ormsgpack.Ext(MAP, ormsgpack.packb(walked, option=OPTIONS))

    def _distinct(self, keys: Any) -> None:
        try:
            check_distinct(keys)
        except NotSerializable as exc:
            raise exc.at(*self._steps()) from exc.__cause__

    def _extension(self, value: Any) -> Any:
        code, body = self._encode(value)
        if code == AS_IS:
            return body if type(body) is ormsgpack.Ext else self._inside(body)
        if code in PACKED:
            return ormsgpack.Ext(code, body)
        # A body's own first level is no step of the path: [name, {"field": value}] reads as .field.
        if code in ITEMS:
            body = self._items(body)
        elif type(body) is list:
            private = PRIVATE.get(code, ())
            body = [self._private(value, part) if n in private else self._walk(part) for n, part in enumerate(body)]
        else:
            body = self._walk(body)
        return ormsgpack.Ext(code, ormsgpack.packb(body, option=OPTIONS))

    def _private(self, obj: Any, attributes: dict[str, Any] | None) -> dict[str, Any] | None:
        """Encode the attributes of a model that may stay behind where they cannot be stored."""
        if attributes is None:
            return None
        self._enter(attributes)
        walked, steps, opened = {}, len(self._path), len(self._open)
        for name, item in attributes.copy().items():
            self._path.append(name)
            try:
                walked[name] = self._walk(item)
            except NotSerializable as exc:
                if not may_drop(obj, name, exc):
                    raise NotSerializable(f"{exc.reason} {private_advice(type(obj), name)}", path=exc.path) from exc
                del self._path[steps + 1 :]
                for left in list(self._open)[opened:]:
                    del self._open[left]
            self._path.pop()
        del self._open[id(attributes)]
        return walked

    def _encode(self, value: Any) -> tuple[int, Any]:
        try:
            return encode(value, self)
        except NotSerializable as exc:
            if not exc.path:
                exc.at(*self._steps())
            raise
        except Exception as exc:  # whatever the code of the value's class may raise
            raise refusal(value, exc).at(*self._steps()) from exc


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return ormsgpack.Ext(TEXT, value.encode("utf-8", "surrogatepass"))
    return value


def repacked(tree: Any) -> bytes:
    """Return the bytes of a tree that `parse` made."""
    return ormsgpack.packb(tree, _unparsed, OPTIONS)


def _unparsed(raw: Any) -> Any:
    return ormsgpack.Ext(raw.code, raw.data)


class Raw:
    """An extension value as it stands in the data, not decoded yet."""

    __slots__ = ("code", "data")

    def __init__(self, code: int, data: bytes) -> None:
        self.code = code
        self.data = data


def parse(data: bytes) -> Any:
    """Return the msgpack tree of some bytes, its extension values left as `Raw`."""
    try:
        return ormsgpack.unpackb(data, ext_hook=Raw)
    except ValueError as exc:
        if "ext_hook" in str(exc) and not is_fresh():  # making a Raw can fail for want of stack only
            return _deeply(partial(parse, data))
        raise StoreCorrupt(f"These bytes are not a stored value: {exc}.") from exc


def _deeply(read: Callable[[], T]) -> T:
    try:
        return on_a_fresh_stack(read)
    except RecursionError as exc:
        raise StoreCorrupt("A stored value is nested too deep to be read.") from exc


HELD = 64 << 20
"""Bytes of objects inside each other, each with all that is in it, that a walk holds before it goes the other way."""


class ReadingWalk:
    """Decodes like the quick reader, and knows where it is when something fails.

    Each object inside others has a copy of its bytes, and so would 200 of them around something large. Where they come
    to much, the walk begins again, and lets go of the bytes of large objects as soon as it has gone inside. Of these,
    what is found out only then, such as that a field is missing, is an error: there is nothing left to keep of them.
    """

    def __init__(self, finder: Finder) -> None:
        self.finder = finder
        self.path: list[Any] = []
        self._held = 0
        self._lets_go = False

    def read(self, data: bytes) -> Any:
        """Decode a whole value; raises TypeNotLoaded with its path, and StoreCorrupt for what is not data of ours."""
        return self.enter(parse(data))

    def enter(self, tree: Any) -> Any:
        """Decode a tree that `parse` made."""
        steps = len(self.path)
        try:
            return self._walk(tree)
        except RecursionError:
            del self.path[steps:]
            return _deeply(partial(self._letting_go, tree))

    def _letting_go(self, tree: Any) -> Any:
        self._held, self._lets_go = 0, True
        try:
            return self._walk(tree)
        finally:
            self._lets_go = False

    def guard(self, make: Any, *args: Any) -> Any:
        """Call a decoder; give its errors a path, and raise StoreCorrupt for what no encoder writes."""
        try:
            return make(*args)
        except DataError as exc:
            raise exc.at(*map(as_step, self.path)) from exc.__cause__
        except (RecursionError, StoreCorrupt):
            raise
        except BROKEN as exc:
            raise corrupt("A stored value is damaged", exc) from exc

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
            self.path.append(key)
            walked.append(self._walk(value))
            self.path.pop()
        return walked

    def _extension(self, raw: Raw) -> Any:
        try:
            body = raw.data if raw.code in RAW else self._inside(raw)
        except TypeNotLoaded as error:
            return self.finder.keep(raw.code, raw.data, error)
        if type(body) is not list:
            body = self._walk(body)
        elif raw.code in ITEMS:
            body = self._items(body)
        elif raw.code == MAP:
            body = self._pairs(body)
        else:
            body = list(map(self._walk, body))
        if raw.code not in RAW:
            self._held -= len(raw.data)
        try:
            return self.guard(self._decode, raw.code, body, self.finder)
        except TypeNotLoaded as error:
            if not raw.data:  # its bytes were let go
                raise
            return self.finder.keep(raw.code, raw.data, error)

    def _inside(self, raw: Raw) -> Any:
        if self._held + len(raw.data) <= HELD:
            self._held += len(raw.data)
            return parse(raw.data)
        if not self._lets_go:
            raise RecursionError
        body = parse(raw.data)
        self._look_for_class(raw.code, body)
        raw.data = b""
        return body

    def _look_for_class(self, code: int, body: Any) -> None:
        """Raise TypeNotLoaded while there still are the bytes of an object whose class is not there."""
        if code in KINDS and type(body) is list and body and type(body[0]) is str:
            with suppress(KindChanged):
                self.guard(self.finder.find_all, body[0], code)

    def _decode(self, code: int, body: Any, finder: Finder) -> Any:
        return decode(code, body, finder)

    def _pairs(self, body: list[Any]) -> list[Any]:
        keys = list(map(self._walk, body[::2]))
        if len(keys) * 2 != len(body):
            raise StoreCorrupt("A stored dict has a key without a value.")
        pairs = zip(keys, self._steps(keys, body[1::2]), strict=True)
        return [part for pair in pairs for part in pair]
