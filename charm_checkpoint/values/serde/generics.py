"""Generic models with their arguments: their stored names taken apart, and their classes found or made.

What is stored of ``Box[User]`` is named ``module:Box[module:User]``. Where the model, or one of its arguments, has
another name now, or nobody has given it just these arguments in this process, both are found by themselves.

To give a model its arguments runs pydantic, which makes a class. What a program wrote itself for that moment runs only
where the model is registered: of any other, such classes are found alone.
"""

from __future__ import annotations

import ast
import collections.abc
import datetime
import decimal
import fractions
import ipaddress
import pathlib
import sys
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from pydantic import BaseModel

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import MODEL, declared_fields
from charm_checkpoint.values.serde.class_reading import (
    ATOMS,
    attribute,
    derives,
    module_of,
    module_space,
    owner,
    path_of,
)
from charm_checkpoint.values.serde.class_shapes import type_text
from charm_checkpoint.values.serde.classes import is_class, is_registered, name_of

Find: TypeAlias = Callable[[str], "type | None"]
"""Finds a class of this process that may be stored, by the name it is or was stored under."""

_LEVELS = 8
"""Brackets inside each other."""


def split_arguments(name: str) -> tuple[str, list[str]] | None:
    """Return a generic model's name and the texts of its arguments, None for what is no such name."""
    origin, bracket, rest = name.partition("[")
    if not (bracket and rest.endswith("]")):
        return None
    parts, depth, quote, start, at = list[str](), 0, "", 0, 0
    while at < len(rest) - 1:
        char = rest[at]
        if quote:
            at += char == "\\"
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "[(":
            depth += 1
        elif char in "])":
            depth -= 1
        elif char == "," and not depth:
            parts.append(rest[start:at])
            start = at + 1
        at += 1
    return origin, [*parts, rest[start:-1]]


def argument(text: str, find: Find) -> Any:
    """Return the type that an argument's text stands for, None where there is none that is known to be plain data."""
    if (known := _NAMED.get(text.replace(":", ".", 1))) is not None:
        return known
    if ":" in text or text.isidentifier():
        return find(text)
    try:
        return _typed(ast.parse(text.strip(), mode="eval").body, find, _LEVELS)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None


_KINDS = ("Sequence", "MutableSequence", "Mapping", "MutableMapping", "Iterable", "Collection", "Set")
_FORMS = (
    *("Any", "Optional", "Union", "Literal", "Annotated", "List", "Dict", "Set", "FrozenSet", "Tuple", "Type", "Deque"),
    *("DefaultDict", "OrderedDict", "Counter", "AbstractSet", "Hashable", "Text", *_KINDS[:-1]),
)
_NAMED: dict[str, Any] = {
    **{f"typing.{name}": getattr(typing, name) for name in _FORMS},
    **{f"collections.abc.{name}": getattr(collections.abc, name) for name in _KINDS},
    **{t.__name__: t for t in (*ATOMS, complex, bytearray, list, dict, set, frozenset, tuple)},
    **{
        path_of(t).replace(":", "."): t
        for t in (
            *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
            *(decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.Path, pathlib.PurePath),
            *(ipaddress.IPv4Address, ipaddress.IPv6Address),
        )
    },
    "None": type(None),
}
"""Types that a text names without a class of the program."""


def _typed(node: ast.expr, find: Find, levels: int) -> Any:
    if not levels:
        raise ValueError
    if isinstance(node, ast.Constant) and node.value is None:
        return type(None)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        one, other = _typed(node.left, find, levels - 1), _typed(node.right, find, levels - 1)
        return type.__or__(one, other) if is_class(one) else one | other
    if isinstance(node, ast.Subscript):
        base = _typed(node.value, find, levels - 1)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if base is typing.Literal:
            values = tuple(ast.literal_eval(part) for part in parts)
            return typing.Literal[values]
        if base is typing.Annotated:
            return _typed(parts[0], find, levels - 1)
        given = tuple([_typed(part, find, levels - 1) for part in parts])
        return base[given if len(given) > 1 else given[0]]
    if isinstance(node, ast.Constant) and node.value is ...:
        return ...
    if isinstance(node, ast.Name | ast.Attribute):
        return _class_named(ast.unparse(node), find)
    raise ValueError


def _class_named(dotted: str, find: Find) -> Any:
    if dotted in _NAMED:
        return _NAMED[dotted]
    parts = dotted.split(".")
    for size in range(len(parts) - 1, 0, -1):
        found = find(f"{'.'.join(parts[:size])}:{'.'.join(parts[size:])}")
        if found is not None:
            return found
    raise ValueError


# -- classes ----------------------------------------------------------------------------------------------------------


def parametrised(origin: type, texts: Sequence[str], find: Find) -> type | None:
    """Return the class made of a generic model by giving it these arguments, the newest; None if there is none."""
    args = [argument(text, find) for text in texts]
    children: list[type] = type.__subclasses__(origin)
    for cls in reversed(children):
        generic = attribute(cls, "__pydantic_generic_metadata__")
        if generic is None or generic["origin"] is not origin or len(generic["args"]) != len(texts):
            continue
        if all(map(_is_argument, generic["args"], texts, args)):
            return cls
    return None


def _is_argument(held: Any, text: str, meant: Any) -> bool:
    if text == "None":
        return held is None
    if is_class(held) or is_class(meant):
        return held is meant or (is_class(held) and name_of(held) == text)
    return meant is not None and type_text(held) == type_text(meant)


MOST_MADE = 256
"""Classes that are made because stored data names them; they are kept, as whoever made a class in code keeps it."""
_made: dict[str, type] = {}


def make(name: str, origin: Any, texts: Sequence[str], find: Find) -> type:
    """Give a generic model its arguments; raises TypeNotLoaded where that is not done."""
    args = [argument(text, find) for text in texts]
    unknown = next((text for text, arg in zip(texts, args, strict=True) if arg is None), None)
    if unknown is not None:
        why = f"{unknown} is not known here as a type of plain data"
    elif len(_made) >= MOST_MADE:
        why = f"{MOST_MADE} such classes were made already"
    else:
        why = "" if is_registered(origin) else _own_code(origin, args)
    if why:
        raise TypeNotLoaded(_advice(name, origin, why))
    try:
        cls: type = origin[tuple(None if text == "None" else arg for text, arg in zip(texts, args, strict=True))]
    except Exception as exc:  # whatever pydantic, or the code of a registered class, raises
        raise TypeNotLoaded(_advice(name, origin, f"that failed: {exc!r}")) from exc
    return _made.setdefault(name, cls)


def _advice(name: str, origin: type, why: str) -> str:
    return (
        f"{name} is not loaded in this process, and reading does not make it of {path_of(origin)}: {why}. Have the "
        f"program name it before reading, such as in the annotation of a state, or vouch for the model: "
        f"register_type({origin.__name__})."
    )


_OWN = (
    *("__class_getitem__", "__init_subclass__", "__pydantic_init_subclass__", "model_parametrized_name"),
    *("__get_pydantic_core_schema__", "__pydantic_on_complete__", "model_rebuild", "__get_validators__"),
)
"""What runs of a class when it is given arguments, or when one of its fields gets such a type."""


_CALLED = ("alias_generator", "model_title_generator", "field_title_generator", "schema_generator")
"""Settings of a model whose functions pydantic calls then."""


def _own_code(origin: Any, args: Sequence[Any]) -> str:
    """Return what a program wrote that would run if a generic model were given arguments, empty if nothing would."""
    if type(origin) is not type(BaseModel):
        return "it has a metaclass of its own"
    config = attribute(origin, "model_config") or {}
    for name in _CALLED:
        if config.get(name) is not None and not _is_of_library(getattr(config[name], "__module__", None)):
            return f"it has an {name} of its own, which would run"
    fields = declared_fields(origin, MODEL).values()
    involved: list[type] = [origin, *(type(meta) for field in fields for meta in field.metadata)]
    for hint in (*args, *(field.annotation for field in fields)):
        involved += _classes_in(hint, _LEVELS)
    for cls in involved:
        for name in _OWN:
            where = owner(cls, name)
            if where is not None and not _is_of_library(module_of(where)):
                return f"{path_of(where)} has a {name} of its own"
    return ""


def _is_of_library(module: Any) -> bool:
    package = str(module).partition(".")[0]
    return package in ("pydantic", "pydantic_core", "annotated_types") or (
        package in sys.stdlib_module_names and package != "__main__"
    )


def _classes_in(hint: Any, levels: int, space: Mapping[str, Any] = MappingProxyType({})) -> list[type]:
    """Return the classes of which pydantic asks something where an annotation stands, in a module's namespace."""
    if not levels:
        return []
    if isinstance(hint, str):
        return _classes_of_text(hint, levels, space)
    found: list[type] = []
    if typing.get_origin(hint) is typing.Annotated:
        found += map(type, hint.__metadata__)
    for arg in typing.get_args(hint):
        found += _classes_in(arg, levels - 1, space)
    if is_class(hint):
        found.append(hint)
        if not derives(hint, BaseModel):
            for each in (attribute(hint, "__annotations__") or {}).values():
                found += _classes_in(each, levels - 1, module_space(module_of(hint)) or {})
    return found


def _classes_of_text(text: str, levels: int, space: Mapping[str, Any]) -> list[type]:
    try:
        names = {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}
    except (SyntaxError, ValueError, RecursionError):
        return []
    return [cls for name in names for cls in _classes_in(space.get(name), levels - 1, space)]
