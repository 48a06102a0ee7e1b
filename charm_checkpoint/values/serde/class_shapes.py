"""What tells living classes of one name apart: the module that holds one of them, and marks of their shapes.

A class that its module holds is stored by its name alone. Any other, made in a function, by ``create_model`` or by a
notebook's cell that was run again since, is stored with a mark of its shape behind the name.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b
from typing import Annotated, Any, ForwardRef, Literal, NewType, TypeAlias, TypeVar, Union, get_args, get_origin

from charm_checkpoint.values.serde.class_reading import attribute, is_typed_dict, module_of, module_space, qualname_of
from charm_checkpoint.values.serde.program_names import own_path

Home: TypeAlias = "tuple[str, str]"
"""A module's name, and the key there: the module itself would keep the class, and with it the layout, alive."""
NOWHERE: Home = ("", "")
"""The home of a class made in a function."""
TAKEN: Home = ("", "taken")
"""The home of a class whose name is that of another one, too: it cannot be stored."""

_LEVELS = 8
"""Type arguments inside each other that count as shape."""


def shape_mark(kind: int, shape: Any) -> str:
    """Return the mark of a class of this kind and shape: the same in every process."""
    text = f"{kind} {shape!r}".encode("utf-8", "surrogatepass")
    return f"#{blake2b(text, digest_size=4).hexdigest()}"


def enum_shape(cls: type) -> Any:
    """Return what tells an enum apart: its members' names and, where these are plain, values."""
    return [(name, _text(member._value_)) for name, member in attribute(cls, "_member_map_").items()]


def texts_of(annotations: Mapping[str, Any], closely: bool = False) -> dict[str, str]:
    """Return the annotations of fields, by their names, as texts."""
    return {name: type_text(hint, closely=closely) for name, hint in annotations.items()}


def type_text(hint: Any, levels: int = _LEVELS, closely: bool = False) -> str:
    """Write a type in one way, whatever Python's version; no code of the program runs.

    ``closely`` says more than marks of a class may, which are stored since 0.1: of a ``TypedDict`` that it is one, so
    that it is another type once it has become a class, and what a ``NewType`` is made of.
    """
    if isinstance(hint, str):
        return str.__str__(hint)
    if isinstance(hint, ForwardRef):
        return hint.__forward_arg__
    origin = get_origin(hint)
    if origin is Annotated and levels:
        return type_text(get_args(hint)[0], levels - 1, closely)
    if origin is Literal:
        return f"Literal[{','.join(map(_text, get_args(hint)))}]"
    if origin is not None and levels:
        texts = [_argument_text(arg, levels - 1, closely) for arg in get_args(hint)]
        if origin is Union or origin is types.UnionType:
            return "|".join(sorted(texts))
        return f"{type_text(origin, levels - 1, closely)}[{','.join(texts)}]"
    if hint is Any:  # a class since Python 3.11
        return "Any"
    if isinstance(hint, type):
        return f"{_class_text(hint)}{{}}" if closely and is_typed_dict(hint) else _class_text(hint)
    if closely and isinstance(hint, NewType) and levels:
        return type_text(hint.__supertype__, levels - 1, closely)
    return hint.__name__ if isinstance(hint, TypeVar) else type(hint).__name__


def _class_text(cls: type) -> str:
    # Where the standard library keeps a class depends on Python's version.
    standard = module_of(cls).partition(".")[0] in sys.stdlib_module_names
    return str(qualname_of(cls)) if standard else own_path(cls)


def _argument_text(arg: Any, levels: int, closely: bool) -> str:
    args = arg if isinstance(arg, list) else [arg]
    return ",".join(type_text(each, levels, closely) for each in args)


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
    space: Mapping[str, Any] | None = module_space(module)
    if space is None or not qualname:
        return None
    *outer, key = qualname.split(".")
    for part in outer:
        found = space.get(part)
        if not issubclass(type(found), type):
            return None
        space = type.__getattribute__(found, "__dict__")
    return space, key


def home_of(cls: type) -> Home | None:
    """Return the one place where a module may hold a class, None if it takes a longer look."""
    qualname: str = qualname_of(cls)
    if "." not in qualname and "[" not in qualname:
        return module_of(cls), qualname
    return NOWHERE if "<locals>" in qualname and "[" not in qualname else None


def is_at(cls: type, module: str, key: str) -> bool:
    """Say whether this process's module of that name holds a class under a key."""
    space = module_space(module)
    return space is not None and space.get(key) is cls


def loaded(name: str) -> type | None:
    """Return the class that a module of this process holds under a name, without running any code of the module's."""
    space, key = space_of(name) or ({}, "")
    found = space.get(key)
    return found if issubclass(type(found), type) else None
