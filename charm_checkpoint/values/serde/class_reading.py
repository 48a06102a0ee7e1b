"""What a class says of itself, read as data: no code of the class, its metaclass or its module runs.

``getattr(cls, name)`` asks the metaclass, ``cls in a_dict`` and ``cls == other`` do, too: a program may have written
any of these. What is here reads the namespaces of a class and its bases, and compares by identity.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from typing import Any

ATOMS = frozenset({type(None), bool, int, float, str, bytes})
"""Types of plain values that hold no others, and of which none asks a class of the program for anything."""

mro_of: Any = type.__dict__["__mro__"].__get__
"""The bases of a class, itself first."""
bases_of: Any = type.__dict__["__bases__"].__get__
"""The direct bases of a class."""
space_of_class: Any = type.__dict__["__dict__"].__get__
"""The namespace of a class, without those of its bases."""
_module_of: Any = type.__dict__["__module__"].__get__
qualname_of: Any = type.__dict__["__qualname__"].__get__


def module_of(cls: type) -> str:
    """Return the name of the module in which a class was defined, a question mark where it has another idea of it."""
    found = _module_of(cls)
    return found if type(found) is str else "?"


def name_in_code(cls: type) -> str:
    """Return the name of a class, as ``__name__`` does; its metaclass is not asked."""
    return str(qualname_of(cls)).rpartition(".")[2]


def path_of(cls: type) -> str:
    """Return where a class was defined, as ``module:qualname``."""
    return f"{module_of(cls)}:{qualname_of(cls)}"


def module_space(module: str) -> Mapping[str, Any] | None:
    """Return the namespace of a module that this process has loaded, None if it has not; none of its code runs."""
    found: Any = sys.modules.get(module)
    # A lazy module would import itself on plain access; what is no module may say that it is one, by code of its own.
    return object.__getattribute__(found, "__dict__") if issubclass(type(found), types.ModuleType) else None


def attribute(cls: type, name: str, default: Any = None) -> Any:
    """Return what a class or its bases hold under a name, as it stands there: a property stays one."""
    for base in mro_of(cls):
        space: Mapping[str, Any] = space_of_class(base)
        if name in space:
            return space[name]
    return default


def owner(cls: type, name: str) -> type | None:
    """Return the class, of a class and its bases, that holds a name."""
    for base in mro_of(cls):
        if name in space_of_class(base):
            found: type = base
            return found
    return None


def derives(cls: type, base: type) -> bool:
    """Say whether a class is another, or derived from it."""
    return any(each is base for each in mro_of(cls))


def derives_from_path(cls: type, paths: frozenset[str]) -> bool:
    """Say whether a class, or one of its bases, was defined in one of these places."""
    return not paths.isdisjoint(map(path_of, mro_of(cls)))


def has_space(cls: type) -> bool:
    """Say whether instances have a ``__dict__``, and C code's own slot gives it: nothing else the class calls so."""
    return type(attribute(cls, "__dict__")) is types.GetSetDescriptorType


def is_typed_dict(cls: type) -> bool:
    """Say whether a class is a ``TypedDict``, whose values are plain dicts."""
    kind = type(cls)
    return qualname_of(kind) == "_TypedDictMeta" and module_of(kind) in ("typing", "typing_extensions")
