"""Annotations as types that can be compared: read as data, no code of the program runs.

What is written as text is parsed, and its names are looked up where the class stands; it is never evaluated. What
cannot be told in that way is taken for `ANYTHING`: a name that is not there, a call, a variable of a type, a protocol,
``type X = …``, which Python evaluates when it is asked.
"""

from __future__ import annotations

import ast
import builtins
import collections.abc
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ForwardRef, NewType, TypeAlias

from charm_checkpoint.values.serde.class_reading import (
    ATOMS,
    attribute,
    derives,
    module_of,
    module_space,
    qualname_of,
    space_of_class,
)

# Types that typing has no public name for. Those of typing_extensions derive from them.
_FORM = type(typing.Optional)
_ALIAS = type(typing.List[int])  # noqa: UP006
_BARE_ALIAS = type(typing.List)  # noqa: UP006
_ANNOTATED = type(typing.Annotated[int, 0])
_UNIONS = (types.UnionType, type(typing.Union[int, str]))  # noqa: UP007


@dataclass(frozen=True, eq=False, slots=True)
class Anything:
    """A type of which nothing can be told, or which takes everything."""


@dataclass(frozen=True, eq=False, slots=True)
class Named:
    """A class, with the types in its brackets."""

    cls: Any
    parts: tuple[Hint, ...] | None = None
    """The types in its brackets, None where there are none."""
    more: bool = False
    """Whether it is a tuple of any length."""


@dataclass(frozen=True, eq=False, slots=True)
class OneOf:
    """A union."""

    options: tuple[Hint, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Constants:
    """A ``Literal``."""

    values: tuple[Any, ...]


@dataclass(frozen=True, eq=False, slots=True)
class ClassOf:
    """``type[C]``: the class itself, or one derived from it."""

    option: Hint


@dataclass(frozen=True, eq=False, slots=True)
class Written:
    """A type as text, which is looked up when it is asked for: a type may name itself."""

    text: str
    scope: Scope

    def read(self) -> Hint:
        """Return the type that the text says, as far as that can be told."""
        found: Hint = self
        for _ in range(_TEXTS):
            if not isinstance(found, Written):
                return found
            found = _read_text(found.text, found.scope)
        return ANYTHING


Hint: TypeAlias = "Anything | Named | OneOf | Constants | ClassOf | Written"

_OURS = (Anything, Named, OneOf, Constants, ClassOf, Written)

ANYTHING = Anything()
"""What every value fits."""


@dataclass(frozen=True, eq=False, slots=True)
class Scope:
    """Where the names of an annotation are looked up."""

    spaces: tuple[Mapping[str, Any], ...] = ()
    """The namespaces, the innermost first, without that of built-in names."""
    hides: str = ""
    """The module whose own classes may not be the ones that are meant, as a function around it may have others."""


NO_SCOPE = Scope()
"""The scope in which only built-in names are known."""


def scope_of(cls: type) -> Scope:
    """Return the scope of the annotations in a class's body."""
    module = module_of(cls)
    params = dict.fromkeys(map(_name_of_variable, space_of_class(cls).get("__type_params__", ())), ANYTHING)
    spaces = (params, space_of_class(cls), *scope_of_module(module).spaces)
    return Scope(spaces, module if "<locals>" in qualname_of(cls) else "")


def scope_of_module(name: str) -> Scope:
    """Return the scope of a module's own annotations; of one that is not loaded, nothing is known."""
    space = module_space(name)
    return NO_SCOPE if space is None else Scope((space,))


def _is_module(found: Any) -> bool:
    return derives(type(found), types.ModuleType)


def _name_of_variable(variable: Any) -> str:
    return variable.__name__ if module_of(type(variable)) in _TYPING else ""


_TYPING = ("typing", "typing_extensions")


# -- types that are there -----------------------------------------------------------------------------------------


def read(hint: Any, scope: Scope = NO_SCOPE) -> Hint:
    """Return an annotation as a type that can be compared."""
    kind = type(hint)
    if hint is None:
        return _NONE
    if kind is str:
        return Written(hint, scope)
    if kind is ForwardRef:
        module = getattr(hint, "__forward_module__", None)
        return Written(hint.__forward_arg__, scope_of_module(module) if type(module) is str else scope)
    if any(kind is each for each in _OURS):
        known: Hint = hint
        return known
    if any(kind is each for each in _UNIONS):
        return OneOf(tuple(read(each, scope) for each in hint.__args__))
    if derives(kind, _ANNOTATED):
        return ANYTHING if any(map(changes_type, hint.__metadata__)) else read(hint.__origin__, scope)
    if kind is types.GenericAlias or derives(kind, _ALIAS):
        return _applied(hint.__origin__, hint.__args__, lambda each: read(each, scope), lambda each: each)
    if derives(kind, _BARE_ALIAS):
        return _class(hint.__origin__)
    if derives(kind, _FORM):
        return _TEXT if _form(hint) == "LiteralString" else ANYTHING
    if derives(kind, type):
        return _class(hint)
    return read(_meaning(hint), scope)


def _meaning(hint: Any) -> Any:
    """Return the type that a ``NewType`` or an alias of typing_extensions stands for, else one that takes all."""
    kind = type(hint)
    if kind is NewType or (module_of(kind), qualname_of(kind)) == ("typing_extensions", "NewType"):
        return hint.__supertype__
    # Python's own alias evaluates what it stands for when it is asked; this one has it.
    if (module_of(kind), qualname_of(kind)) == ("typing_extensions", "TypeAliasType"):
        return hint.__value__
    return ANYTHING


def changes_type(metadata: Any) -> bool:
    """Say whether what stands in an ``Annotated`` may make something of another type of a value."""
    kind = type(metadata)
    if attribute(kind, "__get_pydantic_core_schema__") is None and attribute(kind, "__get_validators__") is None:
        return False
    return not (module_of(kind).startswith("pydantic.") and qualname_of(kind) in _ONLY_LOOKS)


_ONLY_LOOKS = frozenset(
    {
        *("BeforeValidator", "InstanceOf", "Tag", "Discriminator", "UuidVersion", "PathType"),
        *("EncodedBytes", "EncodedStr", "SerializeAsAny", "PlainSerializer", "WrapSerializer", "UrlConstraints"),
    }
)
"""What pydantic has for an ``Annotated`` that leaves a value of the type that is annotated."""


def _class(cls: Any) -> Hint:
    if cls is object or cls is Any or not derives(type(cls), type):
        return ANYTHING
    if space_of_class(cls).get("_is_protocol") is True or _is_marker(cls):
        return ANYTHING
    return Named(cls)


def _is_marker(cls: Any) -> bool:
    """Say whether a class is one of pydantic's for an ``Annotated``, such as ``SkipValidation``: no value is of it."""
    return module_of(cls).startswith("pydantic.functional_") and attribute(cls, "__dataclass_fields__") is not None


def _form(base: Any) -> str:
    """Return the name of a special form of typing's, such as ``Optional``, empty for anything else."""
    if base is typing.Union:
        return "Union"
    if base is typing.Annotated:
        return "Annotated"
    if derives(type(base), _FORM):
        name = object.__getattribute__(base, "_name")
        return name if type(name) is str else ""
    return ""


def _applied(base: Any, args: Sequence[Any], of: Callable[[Any], Hint], value_of: Callable[[Any], Any]) -> Hint:
    """Return what something with arguments in brackets is; two functions read an argument as a type and as a value."""
    form = _form(base)
    if form == "Literal":
        values = tuple(map(value_of, args))
        return ANYTHING if any(each is UNKNOWN for each in values) else Constants(values)
    if form == "Union":
        return OneOf(tuple(map(of, args)))
    if form == "Optional":
        return OneOf((*map(of, args), _NONE))
    if form in _AS_FIRST and args:
        return of(args[0])
    if derives(type(base), _BARE_ALIAS):
        base = base.__origin__
    if not derives(type(base), type):
        return ANYTHING
    if _is_marker(base) and qualname_of(base) in _ONLY_LOOKS and args:
        return of(args[0])
    if base is type:
        return ClassOf(of(args[0])) if args else Named(type)
    if base is tuple:
        return _tuple(args, of)
    named = _class(base)
    if not isinstance(named, Named) or base is collections.abc.Callable:
        return ANYTHING
    return Named(base, tuple(map(of, args)))


_AS_FIRST = frozenset({"Annotated", "Final", "ClassVar", "Required", "NotRequired", "ReadOnly"})


def _tuple(args: Sequence[Any], of: Callable[[Any], Hint]) -> Hint:
    if args and _is_dots(args[-1]):
        return Named(tuple, tuple(map(of, args[:-1])), more=True)
    if any(map(_is_unpacked, args)):
        return Named(tuple)
    return Named(tuple, tuple(of(each) for each in args if not _is_empty(each)))


def _is_dots(arg: Any) -> bool:
    return arg is ... or (isinstance(arg, ast.Constant) and arg.value is ...)


def _is_unpacked(arg: Any) -> bool:
    """Say whether an argument stands for any number of others."""
    if isinstance(arg, ast.AST):
        return isinstance(arg, ast.Starred) or "Unpack" in ast.dump(arg)
    return qualname_of(type(arg)) in ("TypeVarTuple", "_UnpackGenericAlias") or (
        type(arg) is types.GenericAlias and getattr(arg, "__unpacked__", False)
    )


def _is_empty(arg: Any) -> bool:
    return arg == () if type(arg) is tuple else isinstance(arg, ast.Tuple) and not arg.elts


_NONE = Named(types.NoneType)
_TEXT = Named(str)


# -- types as text ------------------------------------------------------------------------------------------------

UNKNOWN: Any = type("Unknown", (), {"__slots__": ()})()
"""What cannot be told."""

_TEXTS = 8
"""Texts that stand for another text, which are followed: a name may stand for itself."""
LONGEST_TEXT = 10_000
"""Characters of an annotation that are parsed."""


def _read_text(text: str, scope: Scope) -> Hint:
    try:
        tree = ast.parse(text.strip(), mode="eval") if len(text) <= LONGEST_TEXT else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what is no expression, or is nested too deep
        return ANYTHING
    return ANYTHING if tree is None else _read_node(tree.body, scope)


def _read_node(node: ast.expr, scope: Scope) -> Hint:
    if isinstance(node, ast.Constant):
        if node.value is None:
            return _NONE
        return Written(node.value, scope) if type(node.value) is str else ANYTHING
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return OneOf((_read_node(node.left, scope), _read_node(node.right, scope)))
    if isinstance(node, ast.Subscript):
        inner = node.slice
        args = inner.elts if isinstance(inner, ast.Tuple) and inner.elts else [inner]
        base = _found(node.value, scope)
        if derives(type(base), _ALIAS) or type(base) is types.GenericAlias:
            return read(base, scope)  # its variables stand for anything
        return _applied(base, args, lambda each: _read_node(each, scope), lambda each: _value(each, scope))
    return read(_found(node, scope), scope)


_NO_TYPES = (types.NoneType, str)
"""What in a class's body is no type, but a field's default: as in ``date: date | None = None``."""


def _found(node: ast.expr, scope: Scope) -> Any:
    """Return what a name, or names with dots between them, stands for; `ANYTHING` where that cannot be told."""
    if isinstance(node, ast.Name):
        for space in scope.spaces:
            if node.id in space:
                found = space[node.id]
                if type(found) in _NO_TYPES and space is not scope.spaces[-1]:
                    continue
                hidden = scope.hides and derives(type(found), type) and module_of(found) == scope.hides
                return ANYTHING if hidden else found
        return vars(builtins).get(node.id, ANYTHING)
    if isinstance(node, ast.Attribute):
        base = _found(node.value, scope)
        if _is_module(base):
            return object.__getattribute__(base, "__dict__").get(node.attr, ANYTHING)
        if derives(type(base), type):
            return attribute(base, node.attr, ANYTHING)
    return ANYTHING


def _value(node: ast.expr, scope: Scope) -> Any:
    """Return a constant, or a member of an enum; `UNKNOWN` for anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return -node.operand.value if type(node.operand.value) is int else UNKNOWN
    if isinstance(node, ast.Attribute):
        cls = _found(node.value, scope)
        if derives(type(cls), type) and derives(cls, Enum):
            return (attribute(cls, "_member_map_") or {}).get(node.attr, UNKNOWN)
    return UNKNOWN


# -- for people ---------------------------------------------------------------------------------------------------


def shown(hint: Hint) -> str:
    """Return a type as a person would write it."""
    if isinstance(hint, Named):
        name = "None" if hint.cls is types.NoneType else str(qualname_of(hint.cls))
        if hint.parts is None:
            return name
        parts = [*map(shown, hint.parts), *(["..."] if hint.more else [])]
        return f"{name}[{', '.join(parts) or '()'}]"
    if isinstance(hint, OneOf):
        return " | ".join(map(shown, hint.options))
    if isinstance(hint, Constants):
        return _short(f"Literal[{', '.join(map(shown_value, hint.values))}]")
    if isinstance(hint, ClassOf):
        return f"type[{shown(hint.option)}]"
    return _short(hint.text) if isinstance(hint, Written) else "Any"


def shown_value(value: Any) -> str:
    """Return a plain value, or the name of an enum's member; of anything else its class. No code of a class runs."""
    if is_atom(type(value)):
        return _short(ascii(value) if type(value) is str else repr(value))
    if derives(type(value), Enum):
        return f"{qualname_of(type(value))}.{object.__getattribute__(value, '_name_')}"
    return f"{article(qualname_of(type(value)))}"


def is_atom(kind: type) -> bool:
    """Say whether a class is that of plain values; it is not asked for its hash."""
    return any(kind is each for each in ATOMS)


def article(name: str) -> str:
    """Return a name with *a* or *an* before it."""
    return f"{'an' if name.lower().startswith(_VOWELS) else 'a'} {name}"


_VOWELS = ("a", "e", "i", "o", "un")


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
