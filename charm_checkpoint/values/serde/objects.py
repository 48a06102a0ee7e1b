"""Instances of data classes, taken apart and put together by their state; no ``__init__`` runs.

Pydantic's models are in `models`; here are dataclasses, plain classes, enums, named tuples, and subclasses of built-in
types.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

from pydantic.fields import FieldInfo

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.serde.changes import is_change
from charm_checkpoint.values.serde.classes import (
    ENUM,
    HOOKED,
    KINDS,
    MODEL,
    MODEL_V1,
    NAMEDTUPLE,
    OBJECT,
    SUBCLASS,
    SUBCLASSABLE,
    ClassLayout,
    path_of,
)
from charm_checkpoint.values.serde.enums import enum_from_state, enum_to_state
from charm_checkpoint.values.serde.hooks import hook_of
from charm_checkpoint.values.serde.models import (
    Finder,
    changed,
    check_left_out,
    field_default,
    logger,
    model_from_state,
    model_to_state,
    model_v1_from_state,
    model_v1_to_state,
    new_object,
    set_attribute,
)
from charm_checkpoint.values.serde.rows import STATE, instrumented

_warned: set[str] = set()


# -- dataclasses and registered plain classes -------------------------------------------------------------------------


def object_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return ``[name, fields, other attributes, absent fields]``, without empty ones at the end."""
    state = state_of(obj, layout)
    if layout.excluded or layout.mapped:
        check_left_out(obj, layout, state)
    if state.keys() == layout.names and not layout.excluded:
        return [layout.name, state]
    fields = {name: state[name] for name in layout.fields if name in state and name not in layout.excluded}
    others = {name: value for name, value in state.items() if name not in layout.names}
    absent = [name for name in layout.fields if name not in state]
    return [layout.name, fields, others, absent] if others or absent else [layout.name, fields]


def state_of(obj: Any, layout: ClassLayout) -> dict[str, Any]:
    """Return everything an instance holds, in its ``__dict__`` and its slots."""
    state = getattr(obj, "__dict__", {})
    if layout.holds_unstored or not _UNUSUAL.isdisjoint(state):
        state = {name: value for name, value in state.items() if name not in layout.derived}
    if layout.slots:
        filled = ((name, getattr(obj, name, _EMPTY)) for name in layout.slots)
        state = {**{name: value for name, value in filled if value is not _EMPTY}, **state}
    return state


_EMPTY = object()
_UNUSUAL = frozenset({"__orig_class__", STATE})


def object_from_state(finder: Finder, name: str, state: dict[str, Any], *rest: Any) -> Any:
    """Put a dataclass or registered plain class together; the inverse of `object_to_state`."""
    cls, layout = finder.find(name, OBJECT, state)
    others, absent = rest or ({}, ())
    if state.keys() != layout.names and state.keys() | set(absent) != layout.names:
        _fill(cls, layout, state, absent)
    obj = new_object(cls)
    fill_state(obj, layout, {**state, **others} if others else state)
    return instrumented(obj) if layout.mapped else obj


def fill_state(obj: Any, layout: ClassLayout, state: dict[str, Any]) -> None:
    """Give a bare instance its attributes, past frozen and overridden ``__setattr__``."""
    space = getattr(obj, "__dict__", None)
    for name, value in state.items():
        if name in layout.slots:
            set_attribute(obj, name, value)
        elif space is not None:
            space[name] = value
        else:
            raise TypeNotLoaded(changed(type(obj), f"it has no attribute {name!r} any more"))


def _fill(cls: Any, layout: ClassLayout, state: dict[str, Any], absent: Any) -> None:
    fields = getattr(cls, "__dataclass_fields__", {})
    for name in layout.fields:
        if name not in state and name not in absent:
            if name in fields:
                state[name] = _default(cls, fields[name])
            elif layout.has_short_name:
                state[name] = None
    if fields or layout.has_short_name:
        _drop(cls, state, layout.names)


def _default(cls: type, field: Any) -> Any:
    if isinstance(field.default, FieldInfo):  # of a pydantic dataclass
        return field_default(cls, field.default, field.name, {})
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is dataclasses.MISSING:
        raise TypeNotLoaded(changed(cls, f"nothing is stored for its field {field.name!r}"))
    return field.default_factory()


def _drop(cls: type, state: dict[str, Any], names: frozenset[str]) -> None:
    gone = [name for name in state if name not in names]
    for name in gone:
        del state[name]
    if gone and path_of(cls) not in _warned:
        _warned.add(path_of(cls))
        logger.warning("%s no longer has the stored fields %s; they are dropped.", path_of(cls), ", ".join(gone))


# -- named tuples, registered subclasses of built-in types ------------------------------------------------------


def namedtuple_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return what makes a named tuple again: its name, its fields."""
    if getattr(obj, "__dict__", None):
        raise NotSerializable(f"This {path_of(type(obj))} carries attributes besides its fields. Store a dataclass.")
    return [layout.name, dict(zip(layout.fields, obj, strict=True))]


def namedtuple_from_state(finder: Finder, name: str, state: dict[str, Any]) -> Any:
    """Return a named tuple as it was stored; a field that is new has its default."""
    cls, layout = finder.find(name, NAMEDTUPLE, state)
    if state.keys() != layout.names:
        missing = [n for n in layout.fields if n not in state and n not in cls._field_defaults]
        if missing:
            raise TypeNotLoaded(changed(cls, f"nothing is stored for its fields {', '.join(missing)}"))
        state = {**cls._field_defaults, **state}
        _drop(cls, state, layout.names)
    return tuple.__new__(cls, [state[n] for n in layout.fields])


def subclass_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return what makes an object of a subclass of a plain type again: name, plain value, attributes."""
    base: Any = _base(type(obj))
    if base is list:
        plain: Any = list.__getitem__(obj, slice(None))
    elif base is dict:
        plain = dict(dict.items(obj))
    elif base in (set, frozenset):
        plain = base(base.__iter__(obj))
    else:
        plain = base.__getnewargs__(obj)[0]
    return [layout.name, plain, state_of(obj, layout)]


def subclass_from_state(finder: Finder, name: str, plain: Any, state: dict[str, Any]) -> Any:
    """Return an object of a subclass of a plain type as it was stored; none of its code runs."""
    cls, layout = finder.find(name, SUBCLASS)
    base: Any = _base(cls)
    if type(plain) is not base:
        raise TypeNotLoaded(f"{path_of(cls)} was stored as a {type(plain).__name__} and is now a {base.__name__}.")
    if base in (list, dict, set):
        obj = base.__new__(cls)
        base.__init__(obj, plain)
    else:
        obj = base.__new__(cls, plain)
    fill_state(obj, layout, state)
    return obj


def _base(cls: type) -> type:
    return next(base for base in cls.__mro__ if base in SUBCLASSABLE)


# -- classes whose program says how -----------------------------------------------------------------------------------


def hooked_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return ``[name, what the dump made]``."""
    hook: Any = hook_of(type(obj))
    try:
        data = hook.dump(obj)
        if hook not in _tried:
            _try(hook, type(obj), data)
        return [layout.name, data]
    except NotSerializable:
        raise
    except Exception as exc:  # whatever the program's function may raise
        if is_change(exc):
            raise
        raise NotSerializable(f"the dump of {path_of(type(obj))} failed: {exc!r}.") from exc


def _try(hook: Any, cls: type, data: Any) -> None:
    """See, once, that the load makes of the dump's data what can be read back."""
    try:
        made = hook.load(copy.deepcopy(data))
    except Exception as exc:
        raise NotSerializable(f"what the dump of {path_of(cls)} made, its load cannot read: {exc!r}.") from exc
    if not isinstance(made, cls):
        raise NotSerializable(f"the load of {path_of(cls)} makes a {type(made).__qualname__} of what its dump made.")
    _tried.add(hook)


_tried: set[Any] = set()
"""Hooks whose load was seen to work."""


def hooked_from_state(finder: Finder, name: str, data: Any) -> Any:
    """Return what the load makes of the data; the inverse of `hooked_to_state`."""
    try:
        cls, _ = finder.find(name, HOOKED)
    except TypeNotLoaded as exc:
        call = f"register_type(cls, name={name!r}, dump=…, load=…)"
        raise TypeNotLoaded(f"{name} was stored by a dump of the program's. Call {call} first. ({exc.reason})") from exc
    hook: Any = hook_of(cls)
    try:
        obj = hook.load(data)
    except Exception as exc:  # whatever the program's function may raise
        raise TypeNotLoaded(f"the load of {path_of(cls)} failed: {exc!r}.") from exc
    if not isinstance(obj, cls):
        raise TypeNotLoaded(f"the load of {path_of(cls)} returned a {type(obj).__qualname__}.")
    return obj


TO_STATE: dict[int, Callable[[Any, ClassLayout], list[Any]]] = {
    MODEL: model_to_state,
    MODEL_V1: model_v1_to_state,
    OBJECT: object_to_state,
    ENUM: enum_to_state,
    NAMEDTUPLE: namedtuple_to_state,
    SUBCLASS: subclass_to_state,
    HOOKED: hooked_to_state,
}
FROM_STATE: dict[int, Callable[..., Any]] = {
    MODEL: model_from_state,
    MODEL_V1: model_v1_from_state,
    OBJECT: object_from_state,
    ENUM: enum_from_state,
    NAMEDTUPLE: namedtuple_from_state,
    SUBCLASS: subclass_from_state,
    HOOKED: hooked_from_state,
}
assert TO_STATE.keys() == FROM_STATE.keys() == KINDS.keys()
