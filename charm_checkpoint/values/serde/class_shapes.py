"""What tells living classes of one name apart: the module that holds one of them, and marks of their shapes.

A class that its module holds is stored by its name alone. Any other, made in a function, by ``create_model`` or by a
notebook's cell that was run again since, is stored with a mark of its shape behind the name.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin

from charm_checkpoint.values.serde.class_reading import attribute, module_of, qualname_of

_MARK = re.compile(r"#[0-9a-f]{8}\Z")
_LEVELS = 8
"""Type arguments inside each other that count as shape."""


def split_mark(stored: str) -> tuple[str, str]:
    """Return the name and the mark, empty if there is none, of a stored name."""
    found = _MARK.search(stored)
    return (stored[: found.start()], found[0]) if found else (stored, "")


def shape_mark(kind: int, shape: Any) -> str:
    """Return the mark of a class of this kind and shape: the same in every process."""
    text = f"{kind} {shape!r}".encode("utf-8", "surrogatepass")
    return f"#{blake2b(text, digest_size=4).hexdigest()}"


def enum_shape(cls: type) -> Any:
    """Return what tells an enum apart: its members' names and, where these are plain, values."""
    return [(name, _text(member._value_)) for name, member in attribute(cls, "_member_map_").items()]


def field_shape(annotations: Mapping[str, Any]) -> Any:
    """Return what tells a class of fields apart: their names and types."""
    return [(name, type_text(hint)) for name, hint in annotations.items()]


def type_text(hint: Any, levels: int = _LEVELS) -> str:
    """Write a type in one way, whatever Python's version; no code of the program runs."""
    if isinstance(hint, str):
        return str.__str__(hint)
    if isinstance(hint, ForwardRef):
        return hint.__forward_arg__
    origin = get_origin(hint)
    if origin is Annotated and levels:
        return type_text(get_args(hint)[0], levels - 1)
    if origin is Literal:
        return f"Literal[{','.join(map(_text, get_args(hint)))}]"
    if origin is not None and levels:
        texts = [_argument_text(arg, levels - 1) for arg in get_args(hint)]
        if origin is Union or origin is types.UnionType:
            return "|".join(sorted(texts))
        return f"{type_text(origin, levels - 1)}[{','.join(texts)}]"
    if hint is Any:  # a class since Python 3.11
        return "Any"
    if isinstance(hint, type):
        return _class_text(hint)
    return hint.__name__ if isinstance(hint, TypeVar) else type(hint).__name__


def _class_text(cls: type) -> str:
    # Where the standard library keeps a class depends on Python's version.
    standard = module_of(cls).partition(".")[0] in sys.stdlib_module_names
    return str(qualname_of(cls)) if standard else f"{module_of(cls)}:{qualname_of(cls)}"


def _argument_text(arg: Any, levels: int) -> str:
    return ",".join(type_text(each, levels) for each in arg) if isinstance(arg, list) else type_text(arg, levels)


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        return f"{qualname_of(type(value))}.{value._name_}"
    if type(value) is tuple:
        return f"({','.join(map(_text, value))})"
    return repr(value) if type(value) in (str, int, float, bool, bytes, type(None)) else qualname_of(type(value))


def space_of(name: str) -> tuple[Mapping[str, Any], str] | None:
    """Return the module's or class's namespace in which a class of this name would be, and its key there.

    No code of the modules runs.
    """
    module, _, qualname = name.partition(":")
    space: Mapping[str, Any] | None = _space(module)
    if space is None or not qualname:
        return None
    *outer, key = qualname.split(".")
    for part in outer:
        found = space.get(part)
        if not issubclass(type(found), type):
            return None
        space = type.__getattribute__(found, "__dict__")
    return space, key


def _space(module: str) -> Mapping[str, Any] | None:
    found: Any = sys.modules.get(module)
    # A lazy module would import itself on plain access.
    return object.__getattribute__(found, "__dict__") if isinstance(found, types.ModuleType) else None


def is_at(cls: type, module: str, key: str) -> bool:
    """Say whether this process's module of that name holds a class under a key."""
    space = _space(module)
    return space is not None and space.get(key) is cls


def loaded(name: str) -> type | None:
    """Return the class that a module of this process holds under a name, without running any code of the module's."""
    space, key = space_of(name) or ({}, "")
    found = space.get(key)
    return found if issubclass(type(found), type) else None
