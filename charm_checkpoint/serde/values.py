"""The safe types that are not plain msgpack: how each is written and read.

An encoder returns an extension code and a body, made of bytes or of further values; a decoder gets that body back.
Codes and bodies are the storage format: never change or reuse one.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Protocol
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

from pydantic import SecretBytes, SecretStr
from pydantic_core import TzInfo

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.serde import arrays
from charm_checkpoint.serde.classes import BUILTINS, SUBCLASSABLE, find_class, kind_of, name_of, path_of, plan_of
from charm_checkpoint.serde.objects import MAKE, TAKE, Finder, logger

AS_IS, TUPLE, SET, FROZENSET, DEQUE, MAP, BIG_INT, TEXT, BYTEARRAY, COMPLEX = range(10)
DATETIME, DATE, TIME, TIMEDELTA, TIMEZONE, ZONE, UUID_, DECIMAL, FRACTION, RANGE = range(10, 20)
ADDRESS, PATH, PATTERN, ORDERED, DEFAULT, COUNTER, SECRET, ARRAY, SCALAR, TZ_INFO, CLASS = range(20, 31)

RAW = frozenset({BIG_INT, TEXT, BYTEARRAY, UUID_, DECIMAL, CLASS})
"""Codes whose body is bytes of its own, not msgpack."""
PACKED = RAW | {SET, FROZENSET}
"""Codes whose body is bytes already when it comes from its encoder."""
ITEMS = frozenset({TUPLE, SET, FROZENSET})
"""Codes whose body is the list of the value's items; the others' bodies begin with a level of their own."""

Body = tuple[int, Any]
_warned: set[str] = set()


class Packer(Protocol):
    """Encodes one value to bytes."""

    def pack(self, value: Any) -> bytes: ...


# -- encoders ---------------------------------------------------------------------------------------------------------


def encode(value: Any, packer: Packer) -> Body:
    """Return the code and body of a value that msgpack has no type for, or raise NotSerializable."""
    encoder = ENCODERS.get(type(value))
    return encoder(value, packer) if encoder else _encode_object(value)


def _encode_object(value: Any) -> Body:
    plan = plan_of(type(value))
    if plan is not None:
        return plan.kind, TAKE[plan.kind](value, plan)
    if isinstance(value, BaseException):
        return AS_IS, repr(value)
    if isinstance(value, type) and (kind_of(value) is not None or plan_of(value) is not None or _is_builtin(value)):
        return CLASS, name_of(value).encode()
    if arrays.is_array(value):
        return ARRAY, arrays.take_array(value)
    if arrays.is_scalar(value):
        return SCALAR, arrays.take_scalar(value)
    raise NotSerializable(_refusal(value))


def _is_builtin(cls: type) -> bool:
    return BUILTINS.get(path_of(cls)) is cls


def _refusal(value: Any) -> str:
    cls = type(value)
    name = path_of(cls).removeprefix("builtins:")
    if isinstance(value, memoryview):
        return "a memoryview only looks at somebody else's bytes. Store bytes(value) instead."
    if isinstance(value, type):
        return f"the class {path_of(value)} is not a data class. Store its name instead."
    base = next((b for b in cls.__mro__ if b in SUBCLASSABLE), None)
    if base is not None:
        return f"{name} is a subclass of {base.__name__}. Call register_type({cls.__name__}), or store a plain value."
    if cls.__module__ == "builtins" or kind_of(cls, registered=True) is None:
        return f"a {name} cannot be stored. Store the plain data it stands for instead."
    return f"{name} is not a data class. Make it a dataclass or pydantic model, or call register_type({cls.__name__})."


def _encode_deque(value: deque[Any], packer: Packer) -> Body:
    return DEQUE, [value.maxlen, list(value)]


def _encode_set(code: int) -> Callable[[Any, Packer], Body]:
    # Sets have no order of their own; their members' encoded bytes give them one.
    return lambda value, packer: (code, _packed_array(sorted(map(packer.pack, value))))


def _packed_array(items: list[bytes]) -> bytes:
    """Put encoded items into a msgpack array: its header, and they after it."""
    count = len(items)
    if count < 16:
        header = bytes((0x90 | count,))
    elif count < 2**16:
        header = b"\xdc" + count.to_bytes(2, "big")
    else:
        header = b"\xdd" + count.to_bytes(4, "big")
    return header + b"".join(items)


def _encode_int(value: int, packer: Packer) -> Body:
    return BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _encode_datetime(value: datetime, packer: Packer) -> Body:
    if value.tzinfo is None and not value.fold:
        return DATETIME, value.isoformat()
    return DATETIME, [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, value.tzinfo]


def _encode_time(value: time, packer: Packer) -> Body:
    if value.tzinfo is None and not value.fold:
        return TIME, value.isoformat()
    return TIME, [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, value.tzinfo]


def _encode_timedelta(value: timedelta, packer: Packer) -> Body:
    return TIMEDELTA, [value.days, value.seconds, value.microseconds]


def _encode_timezone(value: timezone, packer: Packer) -> Body:
    offset, name = value.utcoffset(None), value.tzname(None)
    named = timezone(offset).tzname(None) != name
    return TIMEZONE, [offset, name] if named else [offset]


def _encode_zone(value: ZoneInfo, packer: Packer) -> Body:
    if value.key is None:
        raise NotSerializable("this ZoneInfo was read from a file and has no key. Use ZoneInfo(key).")
    return ZONE, value.key


def _encode_tzinfo(value: Any, packer: Packer) -> Body:
    return TZ_INFO, int(value.utcoffset(None).total_seconds())


_SAFE_BYTES = {SafeUUID.unknown: b"", SafeUUID.safe: b"\x01", SafeUUID.unsafe: b"\x02"}


def _encode_uuid(value: UUID, packer: Packer) -> Body:
    return UUID_, value.bytes + _SAFE_BYTES[value.is_safe]


def _encode_text(code: int) -> Callable[[Any, Packer], Body]:
    return lambda value, packer: (code, [type(value).__name__, str(value)])


def _encode_pattern(value: re.Pattern[Any], packer: Packer) -> Body:
    return PATTERN, [value.pattern, value.flags & ~re.DEBUG]


def _encode_mapping(code: int) -> Callable[[Any, Packer], Body]:
    return lambda value, packer: (code, [_bare(value)])


def _bare(value: Any) -> dict[Any, Any]:
    if getattr(value, "__dict__", None):
        raise NotSerializable(f"this {type(value).__name__} carries attributes of its own. Use a dataclass for them.")
    return dict(value)


def _encode_default(value: defaultdict[Any, Any], packer: Packer) -> Body:
    factory = value.default_factory
    if factory is None:
        return DEFAULT, [None, dict(value)]
    if not isinstance(factory, type) or not _is_builtin(factory):
        raise NotSerializable("a defaultdict is stored only if its factory is None or a built-in type such as list.")
    return DEFAULT, [path_of(factory), dict(value)]


ENCODERS: dict[type, Callable[[Any, Packer], Body]] = {
    tuple: lambda value, packer: (TUPLE, list(value)),
    set: _encode_set(SET),
    frozenset: _encode_set(FROZENSET),
    deque: _encode_deque,
    int: _encode_int,
    bytearray: lambda value, packer: (BYTEARRAY, bytes(value)),
    complex: lambda value, packer: (COMPLEX, [value.real, value.imag]),
    datetime: _encode_datetime,
    date: lambda value, packer: (DATE, value.isoformat()),
    time: _encode_time,
    timedelta: _encode_timedelta,
    timezone: _encode_timezone,
    ZoneInfo: _encode_zone,
    TzInfo: _encode_tzinfo,
    UUID: _encode_uuid,
    Decimal: lambda value, packer: (DECIMAL, str(value).encode()),
    Fraction: lambda value, packer: (FRACTION, [value.numerator, value.denominator]),
    range: lambda value, packer: (RANGE, [value.start, value.stop, value.step]),
    re.Pattern: _encode_pattern,
    OrderedDict: _encode_mapping(ORDERED),
    Counter: _encode_mapping(COUNTER),
    defaultdict: _encode_default,
    SecretStr: lambda value, packer: (SECRET, value.get_secret_value()),
    SecretBytes: lambda value, packer: (SECRET, value.get_secret_value()),
}
_ADDRESSES: dict[str, Any] = {
    cls.__name__: cls for cls in (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)
}
_PATHS: dict[str, type[PurePath]] = {
    cls.__name__: cls for cls in (PosixPath, PurePosixPath, PureWindowsPath, WindowsPath)
}
ENCODERS.update(dict.fromkeys(_ADDRESSES.values(), _encode_text(ADDRESS)))
ENCODERS.update(dict.fromkeys(_PATHS.values(), _encode_text(PATH)))


# -- decoders ---------------------------------------------------------------------------------------------------------


def decode(code: int, body: Any, finder: Finder) -> Any:
    """Return the value of a code and body; the inverse of `encode`.

    Raises TypeNotLoaded where this process cannot restore it, and KeyError, TypeError, ValueError and the like where
    the body is not one that `encode` makes.
    """
    make = MAKE.get(code)
    return make(finder, *body) if make else DECODERS[code](body, finder)


def _decode_map(body: list[Any], finder: Finder) -> dict[Any, Any]:
    return dict(zip(body[::2], body[1::2], strict=True))


def _decode_datetime(body: Any, finder: Finder) -> datetime:
    if isinstance(body, str):
        return datetime.fromisoformat(body)
    text, fold, tzinfo = body
    return datetime.fromisoformat(text).replace(tzinfo=tzinfo, fold=fold)


def _decode_time(body: Any, finder: Finder) -> time:
    if isinstance(body, str):
        return time.fromisoformat(body)
    text, fold, tzinfo = body
    return time.fromisoformat(text).replace(tzinfo=tzinfo, fold=fold)


def _decode_zone(body: str, finder: Finder) -> ZoneInfo:
    # A key is looked up as a file and as a resource of the tzdata package, so it must be nothing but a key.
    if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", body):
        raise ValueError(f"{body!r} is not a time zone")
    try:
        return ZoneInfo(body)
    except KeyError as exc:  # ZoneInfoNotFoundError
        raise TypeNotLoaded(f"the time zone {body!r} is not known on this system. Install the tzdata package.") from exc


def _decode_uuid(body: bytes, finder: Finder) -> UUID:
    safe = next(safe for safe, mark in _SAFE_BYTES.items() if mark == body[16:])
    return UUID(bytes=body[:16], is_safe=safe)


def _decode_path(body: list[str], finder: Finder) -> PurePath:
    name, text = body
    if name == ("PosixPath" if sys.platform == "win32" else "WindowsPath"):
        if name not in _warned:
            _warned.add(name)
            logger.warning("A stored %s cannot exist on this system; it is read as Pure%s.", name, name)
        name = f"Pure{name}"
    return _PATHS[name](text)


def _decode_default(body: list[Any], finder: Finder) -> defaultdict[Any, Any]:
    factory, items = body
    return defaultdict(factory and BUILTINS[factory], items)


def _decode_counter(body: list[Any], finder: Finder) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    counter.update(body[0])
    return counter


def _decode_class(body: bytes, finder: Finder) -> type:
    name = body.decode()
    cls = find_class(name)
    if name not in BUILTINS:
        finder.find(name, kind_of(cls, registered=True) or 0)
    return cls


DECODERS: dict[int, Callable[[Any, Finder], Any]] = {
    TUPLE: lambda body, finder: tuple(body),
    SET: lambda body, finder: set(body),
    FROZENSET: lambda body, finder: frozenset(body),
    DEQUE: lambda body, finder: deque(body[1], body[0]),
    MAP: _decode_map,
    BIG_INT: lambda body, finder: int.from_bytes(body, "big", signed=True),
    TEXT: lambda body, finder: body.decode("utf-8", "surrogatepass"),
    BYTEARRAY: lambda body, finder: bytearray(body),
    COMPLEX: lambda body, finder: complex(*body),
    DATETIME: _decode_datetime,
    DATE: lambda body, finder: date.fromisoformat(body),
    TIME: _decode_time,
    TIMEDELTA: lambda body, finder: timedelta(*body),
    TIMEZONE: lambda body, finder: timezone(*body),
    ZONE: _decode_zone,
    TZ_INFO: lambda body, finder: TzInfo(body),
    UUID_: _decode_uuid,
    DECIMAL: lambda body, finder: Decimal(body.decode()),
    FRACTION: lambda body, finder: Fraction(*body),
    RANGE: lambda body, finder: range(*body),
    ADDRESS: lambda body, finder: _ADDRESSES[body[0]](body[1]),
    PATH: _decode_path,
    PATTERN: lambda body, finder: re.compile(body[0], body[1] & ~re.DEBUG),
    ORDERED: lambda body, finder: OrderedDict(body[0]),
    DEFAULT: _decode_default,
    COUNTER: _decode_counter,
    SECRET: lambda body, finder: SecretStr(body) if isinstance(body, str) else SecretBytes(body),
    ARRAY: lambda body, finder: arrays.make_array(*body),
    SCALAR: lambda body, finder: arrays.make_scalar(*body),
    CLASS: _decode_class,
}
