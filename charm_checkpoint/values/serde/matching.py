"""Whether a value that was stored is of the type that is annotated now; no code of any class runs.

This is generous: what an annotation might allow fits. It is asked where a class changed, to notice what a program would
take for something else, and is no validation.
"""

from __future__ import annotations

import collections.abc
import datetime as dt
import decimal
import fractions
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from abc import ABCMeta
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import repeat
from operator import is_
from types import NoneType
from typing import Any, NamedTuple

from pydantic import SecretBytes, SecretStr

from charm_checkpoint.values.serde.class_reading import (
    attribute,
    derives,
    is_typed_dict,
    module_of,
    mro_of,
    owner,
    qualname_of,
)
from charm_checkpoint.values.serde.classes import is_registered, is_value, kind_of
from charm_checkpoint.values.serde.field_hints import entries_of, hints_of
from charm_checkpoint.values.serde.hints import (
    ClassOf,
    Constants,
    Hint,
    Named,
    OneOf,
    Written,
    article,
    is_atom,
    read,
    shown,
    shown_value,
)
from charm_checkpoint.values.serde.unknown import Unknown

LEVELS = 40
"""Types in types that are compared; what lies deeper fits."""
_OF_CHOICE = 8
"""For how many of these a union counts of which several options look into a value: each does so in turn."""

_PLAIN = (
    *(NoneType, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, memoryview),
    *(deque, OrderedDict, defaultdict, Counter, uuid.UUID, decimal.Decimal, fractions.Fraction, re.Pattern),
    *(dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, dt.tzinfo, zoneinfo.ZoneInfo, SecretStr, SecretBytes),
    *(ipaddress.IPv4Address, ipaddress.IPv4Network, ipaddress.IPv4Interface),
    *(ipaddress.IPv6Address, ipaddress.IPv6Network, ipaddress.IPv6Interface),
    *(pathlib.PurePath, pathlib.PurePosixPath, pathlib.PureWindowsPath),
    *(pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath),
)
# By id, here and below: what a program has annotated may have a hash of its own.
_COMPARED = {id(cls): cls for cls in _PLAIN}
"""Classes of others whose instances are stored as such: a value of another type is none."""
_PASSES = {
    id(float): (int,),
    id(complex): (int, float),
    id(bytes): (bytearray, memoryview),
    id(dt.tzinfo): (dt.timezone, zoneinfo.ZoneInfo),
    **{id(cls): (pathlib.PurePath,) for cls in _PLAIN if derives(cls, pathlib.PurePath)},
}
"""What passes for another type: to a type checker, or since a path is stored as that of the system it is read on."""


class Misfit(NamedTuple):
    """What does not fit: what is stored, and where in the value."""

    what: str
    place: str = ""

    def within(self, step: str) -> Misfit:
        """Return the same as something that a value holds."""
        return Misfit(self.what, step + self.place)


def mismatch(hint: Any, value: Any) -> str | None:
    """Return what does not fit an annotation, None if the value may be of that type.

    The text follows the name of what is annotated: ``is int now, and a str is stored``.
    """
    found = misfit(read(hint), value)
    return None if found is None else told(read(hint), found)


def told(hint: Hint, found: Misfit) -> str:
    """Return what an error says of what does not fit a type; the name of what is annotated stands before it."""
    at = f" at {found.place}" if found.place else ""
    return f"is {shown(hint)} now, and {found.what} is stored{at}"


def misfit(hint: Hint, value: Any, levels: int = LEVELS) -> Misfit | None:
    """Return what does not fit a type, None if the value may be of it."""
    if levels <= 0:
        return None
    found = _misfit(hint.read() if isinstance(hint, Written) else hint, value, levels)
    # An object that could not be read is told of by itself.
    return None if found is None or type(value) is Unknown else found


def _misfit(hint: Hint, value: Any, levels: int) -> Misfit | None:
    if isinstance(hint, Named):
        return _of_class(hint, value, levels)
    if isinstance(hint, OneOf):
        return _of_union(hint, value, levels)
    if isinstance(hint, Constants):
        return None if any(_is_constant(each, value) for each in hint.values) else Misfit(shown_value(value))
    if isinstance(hint, ClassOf):
        return _class_of(hint, value)
    return None


def described(value: Any) -> str:
    """Return what a value is, in a few words: of most values, their class."""
    kind = type(value)
    if value is None:
        return "None"
    if derives(kind, type):
        return f"the class {qualname_of(value)}"
    if derives(kind, Enum):
        return shown_value(value)
    return article(qualname_of(kind))


def is_same(one: Any, other: Any) -> bool:
    """Say whether two values are one, or equal and of one type, as far as no code of a class is needed to tell."""
    kind = type(one)
    if one is other:
        return True
    if kind is not type(other):
        return False
    if is_atom(kind):
        return bool(one == other)
    if kind is list or kind is tuple:
        return len(one) == len(other) and all(map(is_same, one, other))
    if kind is dict:
        plain = all(map(is_atom, map(type, (*one, *other))))
        return plain and one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    return (kind is set or kind is frozenset) and all(map(is_atom, map(type, (*one, *other)))) and bool(one == other)


# -- constants, unions, classes ---------------------------------------------------------------------------------------


def _is_constant(constant: Any, value: Any) -> bool:
    if constant is value:
        return True
    if not is_atom(type(constant)):
        return type(constant) is not type(value) and not derives(type(constant), Enum)
    if is_atom(type(value)):
        return bool(constant == value)
    # A member of an enum whose members are text is that text.
    base: Any = type(constant)
    return (
        any(base is each for each in (str, int)) and derives(type(value), base) and bool(base.__eq__(value, constant))
    )


def _of_union(hint: OneOf, value: Any, levels: int) -> Misfit | None:
    deepest = Misfit(described(value))
    options = [option.read() if isinstance(option, Written) else option for option in hint.options]
    if sum(map(_looks_inside, options)) > 1:
        levels -= _OF_CHOICE
    for option in options:
        found = misfit(option, value, levels)
        if found is None:
            return None
        if len(found.place) > len(deepest.place):
            deepest = found
    return deepest


def _looks_inside(hint: Hint) -> bool:
    if isinstance(hint, Named):
        return bool(hint.parts) or is_typed_dict(hint.cls) or _origin(hint.cls) is not None
    return isinstance(hint, OneOf)


def _class_of(hint: ClassOf, value: Any) -> Misfit | None:
    option = hint.option.read() if isinstance(hint.option, Written) else hint.option
    if not derives(type(value), type):
        # What is no class may stand for one with types in its brackets.
        return None if module_of(type(value)) in ("types", "typing") else Misfit(described(value))
    if not isinstance(option, Named) or derives(value, option.cls) or not is_compared(option.cls):
        return None
    return Misfit(described(value))


def _of_class(hint: Named, value: Any, levels: int) -> Misfit | None:
    cls, kind = hint.cls, type(value)
    if is_typed_dict(cls):
        return _of_typed_dict(cls, value, levels)
    if not derives(kind, cls):
        origin = _origin(cls)
        if origin is not None and derives(kind, origin):
            return _of_generic(cls, value, levels)
        if not _passes(cls, kind):
            return Misfit(described(value))
    return _inside(hint, value, levels) if hint.parts is not None else None


def _passes(cls: type, kind: type) -> bool:
    """Say whether a value whose class does not derive from another may be of it all the same."""
    if any(derives(kind, each) for each in _PASSES.get(id(cls), ())):
        return True
    return not is_compared(cls) and _stands_for(cls, kind)


def is_compared(cls: type) -> bool:
    """Say whether values of a class are stored as its instances, and nothing else passes for one."""
    if id(cls) in _COMPARED:
        return True
    if owner(cls, "__get_pydantic_core_schema__") is not None and not _is_of_library(cls):
        return False
    if not _is_plain_check(type(cls)):
        return False
    return is_value(cls) or kind_of(cls, registered=is_registered(cls)) is not None


def _is_of_library(cls: type) -> bool:
    """Say whether pydantic makes a class's instances in its own way."""
    found = owner(cls, "__get_pydantic_core_schema__")
    return found is None or module_of(found).partition(".")[0] in ("pydantic", "sqlmodel", "langchain_core")


def _is_plain_check(meta: type) -> bool:
    """Say whether a metaclass leaves to Python what an instance is."""
    found = owner(meta, "__instancecheck__") or type
    return found is type or module_of(found).partition(".")[0] in ("abc", "enum", "typing", "pydantic", "sqlmodel")


def _stands_for(cls: type, kind: type) -> bool:
    """Say whether a value may be an instance of a class that is not stored as itself, or of an abstract one."""
    if any(kind is each for each in _PLAIN):
        if type(cls) is ABCMeta and module_of(cls) in _ABSTRACT:
            return issubclass(kind, cls)
        if module_of(cls).partition(".")[0] == "numpy":
            return False
    base = next((base for base in mro_of(cls) if id(base) in _COMPARED), None)
    # A subclass of a plain type is stored as that type.
    return base is None or derives(kind, base) or _passes(base, kind)


_ABSTRACT = frozenset({"collections.abc", "numbers", "os", "contextlib"})


# -- what a value holds -----------------------------------------------------------------------------------------------

_MAPPINGS = {
    id(cls) for cls in (dict, OrderedDict, defaultdict, collections.abc.Mapping, collections.abc.MutableMapping)
}
_ITEMS = {
    id(cls)
    for cls in (
        *(list, set, frozenset, deque, Counter, collections.abc.Iterable, collections.abc.Collection),
        *(collections.abc.Container, collections.abc.Sequence, collections.abc.MutableSequence),
        *(collections.abc.Set, collections.abc.MutableSet, collections.abc.Reversible),
    )
}
_BASES = (list, tuple, set, frozenset, deque)


def _inside(hint: Named, value: Any, levels: int) -> Misfit | None:
    """Compare what a container holds with the types in the brackets of its own."""
    parts = hint.parts or ()
    if id(hint.cls) in _MAPPINGS and len(parts) == 2 and derives(type(value), dict):
        return _of_entries(parts[0], parts[1], value, levels - 1)
    if hint.cls is tuple and derives(type(value), tuple):
        return _of_tuple(parts, hint.more, value, levels - 1)
    if id(hint.cls) in _ITEMS and len(parts) == 1:
        return _of_items(parts[0], value, levels - 1)
    return None


def _of_entries(key: Hint, item: Hint, value: dict[Any, Any], levels: int) -> Misfit | None:
    for each, held in dict.items(value):
        if (found := misfit(key, each, levels)) is not None:
            return Misfit(f"{found.what} as a key", found.place)
        if (found := misfit(item, held, levels)) is not None:
            return found.within(f"[{shown_value(each)}]")
    return None


def _of_tuple(parts: tuple[Hint, ...], more: bool, value: Any, levels: int) -> Misfit | None:
    length = tuple.__len__(value)
    if more:
        parts = parts[:1] * length
    elif len(parts) != length:
        return Misfit(f"a tuple of {length}")
    for index, (part, each) in enumerate(zip(parts, tuple.__iter__(value))):  # noqa: B905
        if (found := misfit(part, each, levels)) is not None:
            return found.within(f"[{index}]")
    return None


def _of_items(part: Hint, value: Any, levels: int) -> Misfit | None:
    if isinstance(part, Named) and part.parts is None and _are_all(part.cls, value):
        return None
    numbered = any(derives(type(value), each) for each in (list, tuple, deque))
    for index, each in enumerate(_items(value)):
        if (found := misfit(part, each, levels)) is not None:
            return found.within(f"[{index}]") if numbered else found
    return None


def _are_all(cls: type, value: Any) -> bool:
    """Say whether a plain list has nothing but instances of a plain class, at the speed of C code."""
    return type(value) is list and any(cls is each for each in _ATOMS) and all(map(is_, map(type, value), repeat(cls)))


_ATOMS = (int, float, str, bool, bytes)


def _items(value: Any) -> Iterator[Any]:
    """Return what a container holds, as its plain base says; nothing of another thing that can be gone over."""
    if derives(type(value), dict):
        return iter(dict.keys(value))
    base: Any = next((base for base in _BASES if derives(type(value), base)), None)
    return iter(()) if base is None else base.__iter__(value)


def _of_typed_dict(cls: type, value: Any, levels: int) -> Misfit | None:
    if not derives(type(value), dict):
        return Misfit(described(value))
    hints, required = entries_of(cls)
    return _of_fields(hints, required, value, levels)


def _of_fields(hints: Mapping[str, Hint], required: Iterable[str], value: dict[str, Any], levels: int) -> Misfit | None:
    for name in required:
        if name not in value:
            return Misfit(f"a dict without {name!r}")
    for name, hint in hints.items():
        if name in value and (found := misfit(hint, value[name], levels - 1)) is not None:
            return found.within(f"[{name!r}]")
    return None


def _origin(cls: type) -> type | None:
    generic = attribute(cls, "__pydantic_generic_metadata__")
    found: type | None = generic["origin"] if type(generic) is dict else None
    return found


def _of_generic(cls: type, value: Any, levels: int) -> Misfit | None:
    """Compare the fields of a generic model with those of one that has types in its brackets."""
    held = object.__getattribute__(value, "__dict__")
    for name, hint in hints_of(cls).items():
        if name in held and (found := misfit(hint, held[name], levels - 1)) is not None:
            return found.within(f".{name}")
    return None
