"""The safe types that are not plain msgpack: how each is written and read.

An encoder returns an extension code and a body, made of bytes or of further values; a decoder gets that body back.
Bodies are the storage format, as codes are.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Protocol, TypeAlias
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

from pydantic import SecretBytes, SecretStr
from pydantic_core import MultiHostUrl, TzInfo, Url

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values import codes
from charm_checkpoint.values.serde.arrays import (
    array_from_state,
    array_to_state,
    is_array,
    is_scalar,
    scalar_from_state,
    scalar_to_state,
)
from charm_checkpoint.values.serde.bases import as_base, base_of, check_distinct
from charm_checkpoint.values.serde.class_lookup import find_class
from charm_checkpoint.values.serde.class_reading import ATOMS, path_of
from charm_checkpoint.values.serde.classes import (
    BUILTINS,
    bare_name,
    kind_of,
    layout_of,
    name_of,
    needs_vouching,
    stored_name,
)
from charm_checkpoint.values.serde.costly import compiled, fraction, too_slow
from charm_checkpoint.values.serde.dates import REAL, datetime_from_state, is_key, moment_to_state, time_from_state
from charm_checkpoint.values.serde.dates import plain as plain_moment
from charm_checkpoint.values.serde.framing import array
from charm_checkpoint.values.serde.hooks import AS_THEY_ARE
from charm_checkpoint.values.serde.keys import dict_of, set_of
from charm_checkpoint.values.serde.models import PRIVATE, Finder, logger, may_drop
from charm_checkpoint.values.serde.objects import TO_STATE
from charm_checkpoint.values.serde.origins import is_foreign
from charm_checkpoint.values.serde.rows import as_dict
from charm_checkpoint.values.serde.unknown import Unknown, as_stored

Body = tuple[int, Any]
_warned: set[str] = set()


MayStore: TypeAlias = Callable[[str], None]
"""Takes the name under which a class is stored; raises NotSerializable for one that is not to be."""


class Packer(Protocol):
    """Encodes one value to bytes."""

    may_store: MayStore | None

    def pack(self, value: Any) -> bytes:
        """Return the bytes of a value."""
        ...


# -- encoders ---------------------------------------------------------------------------------------------------------


def encode(value: Any, packer: Packer) -> Body:
    """Return the code and body of a value that msgpack has no type for, or raise NotSerializable.

    The body of ``codes.AS_IS`` is a value that stands for the one given.
    """
    encoder = ENCODERS.get(type(value))
    return encoder(value, packer) if encoder else _encode_object(value, packer)


def _encode_object(value: Any, packer: Packer) -> Body:
    layout = layout_of(type(value))
    if layout is not None:
        if packer.may_store is not None:
            packer.may_store(layout.name)
        body = TO_STATE[layout.kind](value, layout)
        body[0] = stored_name(type(value), layout)
        for n in PRIVATE.get(layout.kind, ()):
            if len(body) > n and body[n]:
                body[n] = storable(value, body[n], packer)
        return layout.kind, body
    if isinstance(value, BaseException):
        return codes.AS_IS, repr(value)
    if isinstance(value, type) and (layout_of(value) is not None or _is_builtin(value)):
        name = _name_of_class(value)
        if packer.may_store is not None:
            packer.may_store(name)
        return codes.CLASS, name.encode()
    if is_array(value):
        return codes.ARRAY, array_to_state(value)
    if is_scalar(value):
        return codes.SCALAR, scalar_to_state(value)
    moment = plain_moment(value)
    if moment is not None:
        return encode(moment, packer)
    base = base_of(type(value))
    if base is not None:
        encoder = None if base is int else ENCODERS.get(base)
        return encoder(as_base(value, base), packer) if encoder else (codes.AS_IS, as_base(value, base))
    row = as_dict(value)
    if row is not None:
        return codes.AS_IS, row
    raise NotSerializable(_refusal(value))


def storable(obj: Any, attributes: dict[str, Any], packer: Packer) -> dict[str, Any]:
    """Return the attributes of a model without those that cannot be stored and may stay behind."""
    if ATOMS.issuperset(map(type, attributes.values())):
        return attributes
    return {name: value for name, value in attributes.items() if not _stays_behind(obj, name, value, packer)}


def _stays_behind(obj: Any, name: str, value: Any, packer: Packer) -> bool:
    if type(value) in ATOMS or not _CONTAINERS.isdisjoint(type(value).__mro__):
        return False  # what is in a container, the walk tries
    try:
        encode(value, packer)
    except NotSerializable as exc:
        return may_drop(obj, name, exc)
    return False


_CONTAINERS = frozenset({list, dict, tuple, set, frozenset, deque})


def _name_of_class(cls: type) -> str:
    layout = layout_of(cls)
    return name_of(cls) if layout is None else bare_name(cls, layout)


def _is_builtin(cls: type) -> bool:
    return BUILTINS.get(path_of(cls)) is cls


def _refusal(value: Any) -> str:
    cls = type(value)
    name = path_of(cls).removeprefix("builtins:")
    if isinstance(value, memoryview):
        return "a memoryview only looks at somebody else's bytes. Store bytes(value) instead."
    if isinstance(value, type):
        return f"the class {path_of(value)} is not a data class. Store its name instead."
    if cls.__module__ == "builtins":
        return f"a {name} cannot be stored. Store the plain data it stands for instead."
    if why := kind_of(cls) is not None and needs_vouching(cls):
        return f"{name} {why}. If it may be stored and read all the same, call register_type({cls.__name__})."
    if kind_of(cls, registered=True) is None or is_foreign(cls):
        how = f"register_type({cls.__name__}, dump=…, load=…)"
        return f"a {name} cannot be stored. Store the plain data it stands for instead, or say how with {how}."
    return f"{name} is not a data class. Make it a dataclass or pydantic model, or call register_type({cls.__name__})."


def _encode_deque(value: deque[Any], packer: Packer) -> Body:
    return codes.DEQUE, [value.maxlen, list(value)]


def _encode_set(code: int) -> Callable[[Any, Packer], Body]:
    # Sets have no order of their own; their members' encoded bytes give them one.
    def encode_members(value: Any, packer: Packer) -> Body:
        held = list(value)
        check_distinct(held)
        return code, array(sorted(map(packer.pack, held)))

    return encode_members


def _encode_int(value: int, packer: Packer) -> Body:
    return codes.BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _encode_timedelta(value: Any, packer: Packer) -> Body:
    return codes.TIMEDELTA, [value.days, value.seconds, value.microseconds]


def _encode_timezone(value: Any, packer: Packer) -> Body:
    offset, name = value.utcoffset(None), value.tzname(None)
    named = REAL.timezone(offset).tzname(None) != name
    return codes.TIMEZONE, [offset, name] if named else [offset]


def _encode_zone(value: ZoneInfo, packer: Packer) -> Body:
    if value.key is None:
        raise NotSerializable("this ZoneInfo was read from a file and has no key. Use ZoneInfo(key).")
    return codes.ZONE, value.key


def _encode_tzinfo(value: Any, packer: Packer) -> Body:
    return codes.TZ_INFO, int(value.utcoffset(None).total_seconds())


_SAFE_BYTES = {SafeUUID.unknown: b"", SafeUUID.safe: b"\x01", SafeUUID.unsafe: b"\x02"}


def _encode_uuid(value: UUID, packer: Packer) -> Body:
    return codes.UUID_, value.bytes + _SAFE_BYTES[value.is_safe]


def _encode_text(code: int) -> Callable[[Any, Packer], Body]:
    return lambda value, packer: (code, [type(value).__name__, str(value)])


def _encode_pattern(value: re.Pattern[Any], packer: Packer) -> Body:
    if why := too_slow(value.pattern):
        raise NotSerializable(f"{why}. Store its text.")
    return codes.PATTERN, [value.pattern, value.flags & ~int(re.DEBUG)]


def _encode_mapping(code: int) -> Callable[[Any, Packer], Body]:
    return lambda value, packer: (code, [_bare(value)])


def _bare(value: Any) -> dict[Any, Any]:
    if getattr(value, "__dict__", {}).keys() - {"__orig_class__"}:  # which typing leaves, as in Counter[str](…)
        raise NotSerializable(f"this {type(value).__name__} carries attributes of its own. Use a dataclass for them.")
    return dict(value)


def _encode_default(value: defaultdict[Any, Any], packer: Packer) -> Body:
    factory = value.default_factory
    if isinstance(factory, type) and _is_builtin(factory):
        return codes.DEFAULT, [path_of(factory), dict(value)]
    if factory is not None:
        _warn_of_factory(getattr(factory, "__qualname__", type(factory).__qualname__))
    return codes.DEFAULT, [None, dict(value)]


def _warn_of_factory(name: str) -> None:
    if name not in _warned:
        _warned.add(name)
        logger.warning(
            "A defaultdict's factory %s is not stored, as it is code: the dict comes back with default_factory None. "
            "Use a built-in type such as list, or set the factory again after reading.",
            name,
        )


ENCODERS: dict[type, Callable[[Any, Packer], Body]] = {
    tuple: lambda value, packer: (codes.TUPLE, list(value)),
    set: _encode_set(codes.SET),
    frozenset: _encode_set(codes.FROZENSET),
    deque: _encode_deque,
    int: _encode_int,
    bytearray: lambda value, packer: (codes.BYTEARRAY, bytes(value)),
    complex: lambda value, packer: (codes.COMPLEX, [value.real, value.imag]),
    REAL.datetime: lambda value, packer: (codes.DATETIME, moment_to_state(value)),
    REAL.date: lambda value, packer: (codes.DATE, value.isoformat()),
    REAL.time: lambda value, packer: (codes.TIME, moment_to_state(value)),
    REAL.timedelta: _encode_timedelta,
    REAL.timezone: _encode_timezone,
    ZoneInfo: _encode_zone,
    TzInfo: _encode_tzinfo,
    UUID: _encode_uuid,
    Decimal: lambda value, packer: (codes.DECIMAL, str(value).encode()),
    Fraction: lambda value, packer: (codes.FRACTION, [value.numerator, value.denominator]),
    range: lambda value, packer: (codes.RANGE, [value.start, value.stop, value.step]),
    re.Pattern: _encode_pattern,
    OrderedDict: _encode_mapping(codes.ORDERED),
    Counter: _encode_mapping(codes.COUNTER),
    defaultdict: _encode_default,
    Url: lambda value, packer: (codes.URL, ["Url", str(value)]),
    MultiHostUrl: lambda value, packer: (codes.URL, ["MultiHostUrl", str(value)]),
    SecretStr: lambda value, packer: (codes.SECRET, value.get_secret_value()),
    SecretBytes: lambda value, packer: (codes.SECRET, value.get_secret_value()),
    Unknown: lambda value, packer: (codes.AS_IS, as_stored(value)),
}
_ADDRESSES: dict[str, Any] = {
    cls.__name__: cls for cls in (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)
}
_PATHS: dict[str, type[PurePath]] = {
    cls.__name__: cls for cls in (PosixPath, PurePosixPath, PureWindowsPath, WindowsPath)
}
ENCODERS.update(dict.fromkeys(_ADDRESSES.values(), _encode_text(codes.ADDRESS)))
ENCODERS.update(dict.fromkeys(_PATHS.values(), _encode_text(codes.PATH)))


AS_THEY_ARE.update(ENCODERS)


# -- decoders ---------------------------------------------------------------------------------------------------------


def _decode_zone(body: str, finder: Finder) -> ZoneInfo:
    if not is_key(body):
        raise ValueError(f"{body!r} is not a time zone")
    try:
        return ZoneInfo(body)
    except KeyError as exc:  # ZoneInfoNotFoundError
        raise TypeNotLoaded(f"the time zone {body!r} is not known on this system. Install the tzdata package.") from exc


def _decode_uuid(body: bytes, finder: Finder) -> UUID:
    safe = next(safe for safe, mark in _SAFE_BYTES.items() if mark == body[16:])
    return UUID(bytes=body[:16], is_safe=safe)


def _decode_path(body: list[str], finder: Finder) -> PurePath:
    name, path = body
    if name == ("PosixPath" if sys.platform == "win32" else "WindowsPath"):
        if name not in _warned:
            _warned.add(name)
            logger.warning("A stored %s cannot exist on this system; it is read as Pure%s.", name, name)
        name = f"Pure{name}"
    return _PATHS[name](path)


def _decode_url(body: list[str], finder: Finder) -> Any:
    name, whole = body
    parse: Any = {"Url": Url, "MultiHostUrl": MultiHostUrl}[name]
    url = parse(whole)
    # Parsing puts a slash after a bare host; a model may have been told to leave it as it was.
    return url if str(url) == whole else parse(whole, preserve_empty_path=True)


def _decode_default(body: list[Any], finder: Finder) -> defaultdict[Any, Any]:
    factory, held = body
    return defaultdict(None if factory is None else BUILTINS[factory], held)


def _decode_counter(body: list[Any], finder: Finder) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    counter.update(body[0])
    return counter


def _decode_class(body: bytes, finder: Finder) -> type:
    name = body.decode()
    if name in BUILTINS:
        return BUILTINS[name]
    layout = layout_of(find_class(name))
    found: type = finder.find(name, layout.kind if layout else 0)[0]
    return found


DECODERS: dict[int, Callable[[Any, Finder], Any]] = {
    codes.TUPLE: lambda body, finder: tuple(body),
    codes.SET: lambda body, finder: set_of(set, body),
    codes.FROZENSET: lambda body, finder: set_of(frozenset, body),
    codes.DEQUE: lambda body, finder: deque(body[1], body[0]),
    codes.MAP: lambda body, finder: dict_of(body[::2], body[1::2]),
    codes.BIG_INT: lambda body, finder: int.from_bytes(body, "big", signed=True),
    codes.TEXT: lambda body, finder: body.decode("utf-8", "surrogatepass"),
    codes.BYTEARRAY: lambda body, finder: bytearray(body),
    codes.COMPLEX: lambda body, finder: complex(*body),
    codes.DATETIME: lambda body, finder: datetime_from_state(body),
    codes.DATE: lambda body, finder: REAL.date.fromisoformat(body),
    codes.TIME: lambda body, finder: time_from_state(body),
    codes.TIMEDELTA: lambda body, finder: REAL.timedelta(*body),
    codes.TIMEZONE: lambda body, finder: REAL.timezone(*body),
    codes.ZONE: _decode_zone,
    codes.TZ_INFO: lambda body, finder: TzInfo(body),
    codes.UUID_: _decode_uuid,
    codes.DECIMAL: lambda body, finder: Decimal(body.decode()),
    codes.FRACTION: lambda body, finder: fraction(*body),
    codes.RANGE: lambda body, finder: range(*body),
    codes.ADDRESS: lambda body, finder: _ADDRESSES[body[0]](body[1]),
    codes.PATH: _decode_path,
    codes.PATTERN: lambda body, finder: compiled(*body),
    codes.ORDERED: lambda body, finder: OrderedDict(body[0]),
    codes.DEFAULT: _decode_default,
    codes.COUNTER: _decode_counter,
    codes.SECRET: lambda body, finder: SecretStr(body) if type(body) is str else SecretBytes(body),
    codes.ARRAY: lambda body, finder: array_from_state(*body),
    codes.SCALAR: lambda body, finder: scalar_from_state(*body),
    codes.CLASS: _decode_class,
    codes.URL: _decode_url,
}
