"""Dict keys and members of sets: Python asks each for its hash, and some whether they are equal.

A class may have written its own ``__hash__`` and ``__eq__``, and data must not run them. What a library made for a
class, from its fields, does not count: dataclasses, pydantic's frozen models, named tuples and enums are keys as they
are, as long as nothing that they hold, and so ask in their turn, is of a class with code of its own.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sized
from enum import Enum
from typing import Any, TypeVar

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import OBJECT, dataclass_fields, declared_fields, is_dataclass, slots_of
from charm_checkpoint.values.serde.class_reading import ATOMS, attribute, derives, owner, path_of, space_of_class
from charm_checkpoint.values.serde.classes import is_registered, layout_of
from charm_checkpoint.values.serde.unknown import Unknown

T = TypeVar("T", bound=Sized)

_ASKED = ("__hash__", "__eq__", "__getattribute__", "__getattr__")
"""What runs when an object is hashed or compared: generated methods look at the fields as attributes."""

_LIBRARIES = frozenset({"pydantic", "pydantic_core", "langchain_core", "langchain", "langgraph", "sqlmodel", "numpy"})
_COMPILED = (
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.NoneType,
)
_SALTED = frozenset({str, bytes})

ALIKE = 1000
"""Keys or members that may have hashes of others; by chance there is hardly ever one."""

_verdicts: dict[int, tuple[weakref.ref[type], str]] = {}
_compared: dict[int, frozenset[str] | None] = {}
"""Of these dataclasses, the fields that their generated methods look at; None if these are not generated."""
_closed: set[int] = set()
"""Of these classes, those of which `_is_closed` holds."""


def members(body: Any) -> list[Any]:
    """Return stored members or keys if they may be asked for their hash; raises TypeNotLoaded for one that may not."""
    if type(body) is not list:
        raise TypeError("members and keys are a list")
    if not ATOMS.issuperset(map(type, body)) and (found := own_code(body, _READ)) is not None:
        raise TypeNotLoaded(refusal(*found))
    if len(body) > ALIKE and share_hashes(body):
        if (cls := _class_among(body)) is not None and cls is not Unknown:
            raise TypeNotLoaded(
                f"more than {ALIKE:,} keys of a dict, or members of a set, have hashes of others. If a field told them "
                f"apart that {path_of(cls)} does not have any more, bring it back."
            )
        raise ValueError(f"more than {ALIKE:,} of its keys or members have hashes of others: they are built to collide")
    return body


def dict_of(keys: Any, values: Any) -> dict[Any, Any]:
    """Return the dict of stored keys and values.

    Raises TypeNotLoaded where that is not what was stored any more, as classes of keys are others now.
    """
    return _whole(_hashed(dict, lambda: zip(members(keys), values, strict=True), keys), keys)


def set_of(kind: Callable[[Any], T], body: Any) -> T:
    """Return the set of stored members; raises TypeNotLoaded as `dict_of` does."""
    return _whole(_hashed(kind, lambda: members(body), body), body)


def _hashed(kind: Callable[[Any], T], held: Callable[[], Any], asked: Any) -> T:
    try:
        return kind(held())
    except TypeError as error:
        if (cls := _class_among(asked)) is None:
            raise
        raise TypeNotLoaded(
            f"{path_of(cls)} is a key of a dict or a member of a set here, and one as it is now cannot be ({error}). "
            "Make it so again, such as by frozen=True and fields that can be hashed."
        ) from error


def _whole(made: T, stored: Any) -> T:
    """Return a dict or set if it holds all that was stored, none of which is lost as two are equal now."""
    if len(made) != len(stored) and (cls := _class_among(stored)) is not None:
        named = "their class is gone" if cls is Unknown else f"{path_of(cls)} has changed"
        raise TypeNotLoaded(
            f"two keys of a dict, or members of a set, are equal since {named}: one would be lost. Bring back what "
            "told them apart."
        )
    return made


def _class_among(stored: Any) -> type | None:
    """Return the first class that may be another now, of keys or members."""
    todo = [stored] if type(stored) is list else []
    while todo:
        for value in todo.pop():
            kind = type(value)
            if kind is tuple:
                todo.append(value)
            elif kind not in ATOMS and (kind is Unknown or layout_of(kind) is not None):
                return kind
    return None


def share_hashes(members: Collection[Any]) -> bool:
    """Tell whether very many keys or members have the same hashes as others, so that finding them takes for ever.

    Hashes of text and bytes differ from process to process; those of numbers, and of what holds them, can be chosen.
    """
    if len(members) <= ALIKE or _SALTED.issuperset(map(type, members)):
        return False
    return len(members) - len(set(map(hash, members))) > ALIKE


def refusal(cls: type, name: str) -> str:
    """Return what an error says of a class whose code a dict or a set would run."""
    return (
        f"{path_of(cls)} has code of its own, {name}, that would run because this is a key of a dict or a member of a "
        "set. Use a list, leave the method to the dataclass or model, or vouch for the class: "
        f"register_type({cls.__name__})."
    )


def own_code(values: Iterable[Any], seen_to: Collection[type] = ()) -> tuple[type, str] | None:
    """Return the class, among those of some keys or members and what they hold, that has code of its own; and which.

    What is in boxes of the types ``seen_to`` is not looked at.
    """
    todo, seen = [values], set()
    while todo:
        for value in todo.pop():
            kind = type(value)
            if kind in ATOMS or id(kind) in _closed or kind in seen_to:
                continue
            if kind is tuple and ATOMS.issuperset(map(type, value)):
                continue
            if (kind not in _BOXES and _is_closed(kind)) or id(value) in seen:
                continue
            seen.add(id(value))  # what is seen lives as long as the values do
            if kind in _DICTS:
                todo += [dict.keys(value), dict.values(value)]
            elif kind in _BOXES:
                todo.append(value)
            elif name := _verdict(kind):
                return kind, name
            else:
                todo += _held(value, kind)
    return None


_READ = frozenset({set, frozenset})
"""Boxes whose members were looked at when they were read; to do so on each level around them would be endless."""
_DICTS = frozenset({dict, OrderedDict, Counter, defaultdict})
_BOXES = _DICTS | {list, tuple, set, frozenset, deque}


def _is_closed(kind: type) -> bool:
    """Say whether objects of a class are hashed and compared without a look at what they hold, and by no own code."""
    closed = _verdict(kind) == "" and (derives(kind, Enum) or attribute(kind, "__eq__") is object.__eq__)
    if closed and id(kind) in _verdicts:
        _closed.add(id(kind))
    return closed


def _held(value: Any, kind: type) -> list[Iterable[Any]]:
    for box in (tuple, frozenset):
        if derives(kind, box):
            return [list(box.__iter__(value))]
    found: list[Iterable[Any]] = []
    asked = _compared.get(id(kind))
    if is_dataclass(kind):
        held = (_slot(value, slot) for name, slot in slots_of(kind).items() if asked is None or name in asked)
        found.append([each for each in held if each is not None])
    if type(space := attribute(kind, "__dict__")) is types.GetSetDescriptorType:
        layout = layout_of(kind)
        derived = layout.derived if layout is not None else ()
        state = space.__get__(value).items()
        found.append([held for name, held in state if name not in derived and (asked is None or name in asked)])
    slots = [attribute(kind, name) for name in ("__pydantic_extra__", "__pydantic_private__")]
    more = [_slot(value, slot) or {} for slot in slots if type(slot) is types.MemberDescriptorType]
    return [*found, *map(dict.values, more)]


def _slot(value: Any, slot: Any) -> Any:
    try:
        return slot.__get__(value)
    except AttributeError:
        return None


def _verdict(cls: type) -> str:
    """Return the name of the code that a class has of its own and that hashing or comparing runs, empty for none."""
    key = id(cls)
    known = _verdicts.get(key)
    if layout_of(cls) is None:  # not stored as itself, but as a plain value
        return ""
    if known is None:
        verdict = next((name for name in _ASKED if not is_made(cls, name)), "") or _shadowed_field(cls)
        _compared[key] = _compared_fields(cls) if is_dataclass(cls) else None
        known = _verdicts[key] = weakref.ref(cls, lambda ref: _forget(key, ref)), verdict
    return "" if is_registered(cls) else known[1]


def _forget(key: int, ref: weakref.ref[type]) -> None:
    if _verdicts.get(key, (None,))[0] is ref:
        del _verdicts[key], _compared[key]
        _closed.discard(key)


def is_made(cls: type, name: str) -> bool:
    """Say whether a method is no code of the program's: C code, a library's own, or generated by ``dataclass``."""
    base = owner(cls, name)
    if base is None:
        return True
    method = space_of_class(base)[name]
    while type(method) in (classmethod, staticmethod, types.MethodType):
        method = method.__func__
    if isinstance(method, _COMPILED):
        return True
    if type(method) is not types.FunctionType:
        return False
    return _is_of_library(method.__globals__.get("__name__")) or _is_generated(base, name, method)


def _is_of_library(module: Any) -> bool:
    package = module.partition(".")[0] if type(module) is str else ""
    return package in _LIBRARIES or (package in sys.stdlib_module_names and package != "__main__")


def _compared_fields(cls: type) -> frozenset[str] | None:
    """Return the fields that generated methods of a dataclass hash or compare; None if one is not generated."""
    names: set[str] = set()
    for name in ("__hash__", "__eq__"):
        base: Any = owner(cls, name)
        if base is object:
            continue
        method = space_of_class(base)[name]
        if type(method) is not types.FunctionType or not _is_generated(base, name, method):
            return None
        declared = attribute(base, "__dataclass_fields__")
        names |= {n for n, field in declared.items() if field.compare or field.hash}
    return frozenset(names)


def _is_generated(cls: type, name: str, method: types.FunctionType) -> bool:
    """Say whether ``dataclass`` wrote a method: then it is, to the instruction, what it writes for these fields."""
    params = space_of_class(cls).get("__dataclass_params__")
    if params is None:
        return False
    twin = dataclasses.make_dataclass(
        "Twin",
        [
            (name, object, dataclasses.field(compare=field.compare, hash=field.hash, default=None))
            for name, field in dataclass_fields(cls).items()
        ],
        eq=params.eq,
        unsafe_hash=params.unsafe_hash,
        frozen=params.frozen,
    )
    made = vars(twin).get(name)
    return type(made) is types.FunctionType and _text_of(made) == _text_of(method)


def _text_of(function: types.FunctionType) -> tuple[Any, ...]:
    code = function.__code__
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_consts


def _shadowed_field(cls: type) -> str:
    """Return the name of a dataclass's field that a property, or the like, of the class stands for."""
    for name in declared_fields(cls, OBJECT) if is_dataclass(cls) else ():
        held = type(attribute(cls, name))
        getter = attribute(held, "__get__")
        if getter is not None and held is not types.FunctionType and not issubclass(held, _COMPILED):
            return name
    return ""
