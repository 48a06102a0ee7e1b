"""The quick way to encode a value, safe while other threads change it.

LangGraph saves a state in threads of its own while nodes go on. So nothing that may change is looked at twice, and
no Python code runs while the engine is inside a container: a value of native types is packed by one call, which no
other thread can interrupt; whatever holds other types is put together here, from shallow copies, which are made by
one call too. What comes out is the state at some moment, container by container.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ormsgpack

from charm_checkpoint.values.codes import AS_IS, MAP, PACKED, TEXT
from charm_checkpoint.values.serde.bases import check_distinct, plain
from charm_checkpoint.values.serde.class_reading import ATOMS
from charm_checkpoint.values.serde.framing import alternating, array, mapping
from charm_checkpoint.values.serde.values import MayStore, encode

OPTIONS = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

DEPTH = 100
"""Levels that are put together here; the walk takes over where there are more."""

LIGHT = 50_000
"""Things that one call may pack: it keeps every other thread waiting, for some 5 ms with as many as these."""

_NATIVE = frozenset({type(None), bool, int, float, str, bytes, list, dict})
_BUFFERS = frozenset({bytearray, memoryview})
_BOXES = frozenset({list, dict})
_PLAIN = _NATIVE - {bytes}
_packb = ormsgpack.packb


class Writer:
    """One encoding. It fails with a bare TypeError; the walk then finds out why.

    ``heavy`` says that there may be too much for one call, ``may_store`` refuses classes.
    """

    __slots__ = ("_depth", "_heavy", "may_store")

    def __init__(self, heavy: bool = False, may_store: MayStore | None = None) -> None:
        self.may_store = may_store
        self._depth = 0
        self._heavy = heavy

    def pack_all(self, values: Sequence[Any]) -> bytes:
        """Encode some values as a list; nobody else may change the sequence."""
        items = values if type(values) is list else list(values)
        if are_flat(items):
            try:
                return _packb(items, None, OPTIONS)
            except TypeError:
                pass
        return self.pack(items)

    def pack_each(self, values: Sequence[Any]) -> list[bytes]:
        """Encode each of some values by itself."""
        kinds = set(map(type, values))
        if self._heavy or not kinds <= _NATIVE:
            return list(map(self.pack, values))
        try:
            packed = [_packb(value, None, OPTIONS) for value in values]
        except TypeError:
            return list(map(self.pack, values))
        if (list in kinds or dict in kinds) and _has_binary(b"".join(packed)) and _holds_buffers(values):
            return list(map(self.pack, values))
        return packed

    def pack(self, value: Any) -> bytes:
        """Encode a value or a part of one."""
        kind = type(value)
        if kind not in _NATIVE:
            return self._extension(value)
        if self._heavy and weigh([value], LIGHT) > LIGHT:
            return self._compose(value)
        try:
            data = _packb(value, None, OPTIONS)
        except TypeError:
            return self._compose(value)
        # The engine writes bytearray and memoryview as bytes.
        if (kind is list or kind is dict) and _has_binary(data) and _holds_buffers([value]):
            return self._compose(value)
        return data

    def _compose(self, value: Any) -> bytes:
        kind = type(value)
        if kind is list:
            return self._array(value.copy())
        if kind is dict:
            return self._map(value.copy())
        return self._extension(value)

    def _array(self, items: list[Any]) -> bytes:
        self._enter()
        parts = self._parts(items)
        data = self._at_once(parts) if parts is not items else None
        if data is None:
            data = array(list(map(self._part, parts)))
        self._depth -= 1
        return data

    def _map(self, items: dict[Any, Any]) -> bytes:
        self._enter()
        check_distinct(items)
        names, values = list(map(plain, items)), list(items.values())
        parts = self._parts(values)
        data = self._at_once(dict(zip(names, parts, strict=True))) if parts is not values else None
        if data is None:
            data = self._pairs(names, list(map(self._part, parts)))
        self._depth -= 1
        return data

    def _pairs(self, names: list[Any], values: list[bytes]) -> bytes:
        keys = self._keys(names)
        if keys is not None:
            return mapping(keys, values)
        return _packb(ormsgpack.Ext(MAP, array(alternating(map(self.pack, names), values))), None, OPTIONS)

    def _parts(self, items: list[Any]) -> list[Any]:
        """Return items with those that are no native values encoded; the same list if there are none."""
        if _NATIVE.issuperset(map(type, items)):
            return items
        return [item if type(item) in _NATIVE else self._extended(item) for item in items]

    def _at_once(self, parts: Any) -> bytes | None:
        """Encode a container whose parts may be native values by now; None if they are not."""
        if self._heavy:
            return None
        try:
            data = _packb(parts, None, OPTIONS)
        except TypeError:
            return None
        return None if _has_binary(data) and _holds_buffers([parts]) else data

    def _part(self, part: Any) -> bytes:
        return _packb(part, None, OPTIONS) if type(part) is ormsgpack.Ext else self.pack(part)

    def _keys(self, names: Sequence[Any]) -> list[bytes] | None:
        """Encode keys that msgpack's maps take; None if one of them is none."""
        if any(type(name) is not str for name in names):
            return None
        try:
            return [_packb(name, None, OPTIONS) for name in names]
        except TypeError:  # lone surrogates
            return None

    def _extension(self, value: Any) -> bytes:
        return self._part(self._extended(value))

    def _extended(self, value: Any) -> Any:
        """Return what is no native value as an extension, or the native value that is stored for it."""
        if type(value) is str:
            return ormsgpack.Ext(TEXT, value.encode("utf-8", "surrogatepass"))
        self._enter()
        code, body = encode(value, self)  # which packs the members of a set
        if code != AS_IS:
            body = ormsgpack.Ext(code, body if code in PACKED else self.pack(body))
        self._depth -= 1
        return body

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEPTH:
            raise TypeError


def _has_binary(data: bytes) -> bool:
    """Tell whether bytes, which begin with one of these, may be in some data."""
    return 0xC4 in data or 0xC5 in data or 0xC6 in data


def are_flat(values: Iterable[Any]) -> bool:
    """Tell whether some values are native ones that hold nothing."""
    return ATOMS.issuperset(map(type, values))


def _holds_buffers(values: Iterable[Any]) -> bool:
    level = list(values)
    while level:
        found = set(map(type, level))
        if not _BUFFERS.isdisjoint(found):
            return True
        level = [] if found <= ATOMS else _inside(level)
    return False


def may_hold_bytes(values: Iterable[Any], data: bytes) -> bool:
    """Tell whether there may be bytes among some values, or what is encoded as such, given how these were encoded."""
    level = list(values) if _has_binary(data) else []
    while level:
        found = set(map(type, level))
        if not found <= _PLAIN:
            return True
        level = _inside(level) if found & _BOXES else []
    return False


def quickly(value: Any) -> bytes | None:
    """Return a value encoded by one call, None if it takes more; buffers pass for bytes."""
    try:
        return _packb(value, None, OPTIONS)
    except TypeError:
        return None


def weigh(values: Iterable[Any], limit: int, stretch: int = 0) -> int:
    """Count what is in some values, what they hold included, until there are more than ``limit``.

    With ``stretch``, so many characters or bytes of a text count as one thing more.
    """
    level = list(values)
    count = 0
    while level:
        count += len(level)
        if stretch:
            count += sum([len(value) // stretch for value in level if type(value) is str or type(value) is bytes])
        if count > limit:
            break
        level = _inside(level)
    return count


def _inside(level: Sequence[Any]) -> list[Any]:
    """Return what the containers among some values hold; of objects, their attributes."""
    found: list[Any] = []
    if are_flat(level):
        return found
    for value in level:
        kind = type(value)
        if kind in ATOMS:
            continue
        if kind is list or kind is tuple or kind is set or kind is frozenset:
            found.extend(value)
        elif kind is dict:
            found.extend(value.values())
        else:
            # A proxy without one would hand the question on.
            state = getattr(value, "__dict__", None) if kind.__dictoffset__ else None
            if type(state) is dict:
                found.extend(state.values())
    return found
