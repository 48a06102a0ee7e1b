"""Instances of data classes, taken apart and put together by their state; no ``__init__`` runs.

Pydantic's models are in `models`; here are dataclasses, plain classes, enums, named tuples, and subclasses of built-in
types.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from types import NoneType
from typing import Any

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.serde.changes import is_change
from charm_checkpoint.values.serde.class_fields import (
    ENUM,
    HOOKED,
    MODEL,
    MODEL_V1,
    NAMEDTUPLE,
    OBJECT,
    SUBCLASS,
    is_dataclass,
)
from charm_checkpoint.values.serde.class_reading import mro_of, path_of
from charm_checkpoint.values.serde.classes import KEPT, KINDS, SUBCLASSABLE, ClassLayout
from charm_checkpoint.values.serde.defaults import changed
from charm_checkpoint.values.serde.enums import enum_from_state, enum_to_state
from charm_checkpoint.values.serde.fitting import differing, fit, gained
from charm_checkpoint.values.serde.hooks import change_of, hook_of
from charm_checkpoint.values.serde.kept import NO_STATE, is_state, kept_in, left_over, storable_kept
from charm_checkpoint.values.serde.later_fields import without_later_fields
from charm_checkpoint.values.serde.models import (
    Finder,
    check_left_out,
    model_from_state,
    model_to_state,
    names_of,
    new_object,
)
from charm_checkpoint.values.serde.models_v1 import model_v1_from_state, model_v1_to_state
from charm_checkpoint.values.serde.others import check_others, storable_others
from charm_checkpoint.values.serde.rows import STATE, instrumented
from charm_checkpoint.values.serde.upgrades import call, is_due, upgraded, validated

# -- dataclasses and registered plain classes -------------------------------------------------------------------------


def object_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return ``[name, fields, other attributes, absent fields]``, without empty ones at the end."""
    state = state_of(obj, layout)
    if layout.excluded or layout.mapped:
        check_left_out(obj, layout, state)
    kept = storable_kept(getattr(obj, "__dict__", _NO_KEPT))
    if state.keys() == layout.names and not layout.excluded and not kept:
        return [layout.name, state]
    fields = {name: state[name] for name in layout.fields if name in state and name not in layout.excluded}
    others = {name: value for name, value in state.items() if name not in layout.names}
    others = {**(others and storable_others(type(obj), others, layout.slots)), **kept}
    absent = [name for name in layout.fields if name not in state]
    return [layout.name, fields, others, absent] if others or absent else [layout.name, fields]


def state_of(obj: Any, layout: ClassLayout) -> dict[str, Any]:
    """Return everything an instance holds, in its ``__dict__`` and its slots."""
    state = getattr(obj, "__dict__", {})
    if layout.holds_unstored or not _UNUSUAL.isdisjoint(state):
        state = {name: value for name, value in state.items() if name not in layout.derived}
    if layout.slots:
        filled = ((name, _held(obj, read)) for name, read in layout.readers.items())
        state = {**{name: value for name, value in filled if value is not _EMPTY}, **state}
    return state


def _held(obj: Any, read: Any) -> Any:
    try:
        return read(obj)
    except AttributeError:
        return _EMPTY


_EMPTY = object()
_UNUSUAL = frozenset({"__orig_class__", STATE, KEPT})
_NO_KEPT: dict[str, Any] = {}


def object_from_state(finder: Finder, name: str, state: dict[str, Any], *rest: Any) -> Any:
    """Put a dataclass or registered plain class together; the inverse of `object_to_state`."""
    cls, layout = finder.find(name, OBJECT, state)
    return build_object(finder, cls, layout, state, *rest)


def build_object(
    finder: Finder, cls: Any, layout: ClassLayout, state: dict[str, Any], others: Any = None, absent: Any = ()
) -> Any:
    """Put a dataclass or registered plain class together from what was stored; raises what `build_model` does."""
    if type(others) not in (dict, NoneType) or type(absent) not in (list, tuple, NoneType):
        raise TypeError(NO_STATE)
    if type(state) is not dict:
        raise TypeError(NO_STATE)
    if layout.has_short_name and state.keys() != layout.names:
        state = without_later_fields(cls, layout, state)
    kept = kept_in(others) if others else None
    if state.keys() != layout.names or layout.is_open or kept or layout.changed is not None:
        absent = names_of(absent) if absent else ()
        if layout.is_open or kept or layout.changed is not None or state.keys() | absent != layout.names:
            rebuilt = _rebuilt_data if is_dataclass(cls) else _rebuilt_plain
            return rebuilt(finder, cls, layout, state, others or {}, absent, kept or {})
    return _made(cls, layout, state, others)


def _made(cls: Any, layout: ClassLayout, state: dict[str, Any], others: dict[str, Any] | None) -> Any:
    obj = new_object(cls)
    _fill(obj, layout, state)
    if others:
        _add_others(obj, layout, others)
    return instrumented(obj) if layout.mapped else obj


def _rebuilt_data(
    finder: Finder,
    cls: Any,
    layout: ClassLayout,
    state: dict[str, Any],
    others: dict[str, Any],
    absent: Collection[str],
    kept: dict[str, Any],
) -> Any:
    """Put a dataclass together of which another was stored than it is now."""
    if not is_state(state) or not is_state(others):
        raise TypeError(NO_STATE)
    differ = differing(layout, state.keys() | absent)
    change = change_of(cls)
    if change is not None and is_due(change, cls, layout, differ, state, absent):
        state, kept = upgraded(cls, change, layout.changed, {**kept, **state}), {}
        if change.validate:
            obj, rest, _ = validated(finder, cls, layout, state, differ)
            _keep(obj, left_over(finder, cls, layout, rest))
            if others:
                _add_others(obj, layout, others)
            return obj
    whole, rest, _ = fit(finder, cls, layout, {**kept, **state}, absent, differ)
    obj = _made(cls, layout, whole, others)
    _keep(obj, left_over(finder, cls, layout, rest))
    return obj


def _rebuilt_plain(
    finder: Finder,
    cls: Any,
    layout: ClassLayout,
    state: dict[str, Any],
    others: dict[str, Any],
    absent: Collection[str],
    kept: dict[str, Any],
) -> Any:
    """Put an object of a plain class together, all of which an upgrade goes over."""
    if not is_state(state) or not is_state(others):
        raise TypeError(NO_STATE)
    change = change_of(cls)
    if change is not None:
        state, others, kept = upgraded(cls, change, layout.changed, {**kept, **state, **others}), {}, {}
    state = {**{name: value for name, value in kept.items() if name in layout.names}, **state}
    rest = {name: value for name, value in state.items() if name not in layout.names}
    kept = {name: value for name, value in kept.items() if name not in layout.names}
    if layout.has_short_name:
        state = {name: state.get(name) for name in layout.fields if name in state or name not in absent}
        kept.update(left_over(finder, cls, layout, rest))
    elif layout.has_dict:  # any attribute may be there
        others = {**rest, **others}
    else:
        left_over(finder, cls, layout, {**kept, **rest, **others})
        others = {}
    more = gained(cls, layout, state.keys() | others.keys() | set(absent))
    others = {**others, **{name: value for name, value in more.items() if name not in layout.names}}
    obj = _made(cls, layout, {name: value for name, value in {**state, **more}.items() if name in layout.names}, others)
    _keep(obj, kept)
    return obj


def _keep(obj: Any, kept: dict[str, Any]) -> None:
    if kept:
        get_attribute(obj, "__dict__")[KEPT] = kept


def _add_others(obj: Any, layout: ClassLayout, state: dict[str, Any]) -> None:
    if not is_state(state):
        raise TypeError(NO_STATE)
    check_others(type(obj), state, layout.slots)
    _fill(obj, layout, state)


def _fill(obj: Any, layout: ClassLayout, state: dict[str, Any]) -> None:
    """Give a bare instance its attributes, past frozen and overridden ``__setattr__``."""
    if layout.has_dict:
        space = get_attribute(obj, "__dict__")
        if not layout.slots:
            space.update(state)
            return
    for name, value in state.items():
        write = layout.slots.get(name)
        if write is not None:
            write(obj, value)
        elif layout.has_dict:
            space[name] = value
        else:
            raise TypeNotLoaded(changed(type(obj), f"it has no attribute {name!r} any more"))


get_attribute = object.__getattribute__


# -- named tuples, registered subclasses of built-in types ------------------------------------------------------


def namedtuple_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return what makes a named tuple again: its name, its fields."""
    if getattr(obj, "__dict__", None):
        raise NotSerializable(f"This {path_of(type(obj))} carries attributes besides its fields. Store a dataclass.")
    return [layout.name, dict(zip(layout.fields, obj, strict=True))]


def namedtuple_from_state(finder: Finder, name: str, state: dict[str, Any]) -> Any:
    """Return a named tuple as it was stored; a field that is new has its default."""
    cls, layout = finder.find(name, NAMEDTUPLE, state)
    return build_namedtuple(finder, cls, layout, state)


def build_namedtuple(finder: Finder, cls: Any, layout: ClassLayout, state: dict[str, Any]) -> Any:
    """Make a named tuple of stored fields; raises what `build_model` does."""
    if not is_state(state):
        raise TypeError("what a named tuple holds is a dict of values by their names")
    if state.keys() != layout.names or layout.changed is not None:
        differ = differing(layout, state)
        change = change_of(cls)
        if change is not None and is_due(change, cls, layout, differ, state, ()):
            state = upgraded(cls, change, layout.changed, state)
            if change.validate:
                obj, rest, _ = validated(finder, cls, layout, state, differ)
                left_over(finder, cls, layout, rest)
                return obj
        state, rest, _ = fit(finder, cls, layout, state, (), differ)
        left_over(finder, cls, layout, rest)
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
    return [layout.name, plain, storable_others(type(obj), state_of(obj, layout), layout.slots)]


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
    _add_others(obj, layout, state)
    return obj


def _base(cls: type) -> Any:
    return next(base for base in mro_of(cls) if any(base is each for each in SUBCLASSABLE))


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
        remedy = f"register_type(cls, name={name!r}, dump=…, load=…)"
        raise TypeNotLoaded(
            f"{name} was stored by a dump of the program's. Call {remedy} first. ({exc.reason})"
        ) from exc
    hook: Any = hook_of(cls)
    obj = call(cls, "load", hook.load, data)
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
