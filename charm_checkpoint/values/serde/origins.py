"""Where a class comes from: whether C code keeps state in its instances, and whether the program owns it."""

from __future__ import annotations

import struct
import sys
import types
from typing import Any

from charm_checkpoint.values.serde.class_reading import mro_of, space_of_class

# Bits of a type's tp_flags, of CPython's object.h.
_HEAP_TYPE = 1 << 9
_MANAGED_DICT, _MANAGED_WEAKREF = 1 << 4, 1 << 3
_POINTER = struct.calcsize("P")
# Asked of ``type`` itself: a metaclass may answer for its classes.
_flags, _itemsize, _basicsize, _dictoffset, _weakrefoffset = (
    type.__dict__[f"__{name}__"].__get__ for name in ("flags", "itemsize", "basicsize", "dictoffset", "weakrefoffset")
)
_PACKAGES = ("site-packages", "dist-packages")


def static_bases(cls: type) -> list[type]:
    """Return the bases of a class, or itself, that are static types of C code, but for ``object``."""
    return [base for base in mro_of(cls) if not _flags(base) & _HEAP_TYPE and base is not object]


def holds_more(cls: type, base: type) -> bool:
    """Say whether instances hold, besides what ``base`` does, more than attributes, or are made by C code's own way.

    Since Python 3.9 much of the C code makes types as a class statement does. Their instances are larger than their
    attributes account for, which is how ``object.__reduce_ex__`` knows them, too.
    """
    if _itemsize(cls) != _itemsize(base) or _constructor(cls) is not base:
        return True
    accounted = _basicsize(base)
    if _dictoffset(cls) and not _dictoffset(base) and not _flags(cls) & _MANAGED_DICT:
        accounted += _POINTER
    if _weakrefoffset(cls) and not _weakrefoffset(base) and not _flags(cls) & _MANAGED_WEAKREF:
        accounted += _POINTER
    return bool(_basicsize(cls) > accounted + _POINTER * sum(map(_slots, mro_of(cls))))


def _constructor(cls: type) -> type | None:
    """Return the base whose ``__new__`` of C code makes the instances; those written in Python call one of these."""
    made = (base for base in mro_of(cls) if isinstance(space_of_class(base).get("__new__"), types.BuiltinFunctionType))
    return next(made, None)


def _slots(cls: type) -> int:
    space = space_of_class(cls)
    if "__slots__" not in space:
        return 0
    names: Any = space["__slots__"]
    named = [names] if isinstance(names, str) else list(names)
    found = sum(type(value) is types.MemberDescriptorType for value in space.values())
    return max(found, len([name for name in named if name not in ("__dict__", "__weakref__")]))


def is_foreign(cls: type) -> bool:
    """Say whether a class is of the standard library or of an installed package: not the program's to change."""
    if cls.__module__.partition(".")[0] in sys.stdlib_module_names and cls.__module__ != "__main__":
        return True
    module = sys.modules.get(cls.__module__)
    file = object.__getattribute__(module, "__dict__").get("__file__") if isinstance(module, types.ModuleType) else ""
    return isinstance(file, str) and not {*file.replace("\\", "/").split("/")}.isdisjoint(_PACKAGES)
