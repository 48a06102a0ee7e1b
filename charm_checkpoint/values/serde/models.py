"""Instances of pydantic models, taken apart and put together by their state; no code of their class runs.

Where the class has other fields than the ones stored, those that are not stored take their defaults, as far as these
are data (see `defaults`). Pydantic's own rule holds: an excluded field is not stored, its default comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from types import NoneType
from typing import Any, Protocol

from pydantic import BaseModel

from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.values.serde.class_fields import MODEL, MODEL_V1, declared_fields, private_attributes
from charm_checkpoint.values.serde.class_reading import path_of
from charm_checkpoint.values.serde.classes import ClassLayout, layout_of
from charm_checkpoint.values.serde.defaults import default_of, has_default, takes_a_call
from charm_checkpoint.values.serde.fitting import NO_STATE, fit, is_fitting, is_state, tell_dropped
from charm_checkpoint.values.serde.hooks import change_of
from charm_checkpoint.values.serde.others import check_others, storable_others
from charm_checkpoint.values.serde.rows import check_loaded, instrumented
from charm_checkpoint.values.serde.upgrades import names_set, upgraded, validated

logger = logging.getLogger("charm_checkpoint")

new_object = object.__new__
set_attribute = object.__setattr__
_warned: set[str] = set()

_SPACE = vars(BaseModel)
# The slots' own descriptors: nothing that a subclass puts over them runs, and they are quicker than `set_attribute`.
set_fields = _SPACE["__dict__"].__set__
_get_fields = _SPACE["__dict__"].__get__
set_names = _SPACE["__pydantic_fields_set__"].__set__
get_names = _SPACE["__pydantic_fields_set__"].__get__
set_extra = _SPACE["__pydantic_extra__"].__set__
get_private = _SPACE["__pydantic_private__"].__get__
set_private = _SPACE["__pydantic_private__"].__set__


class Finder(Protocol):
    """Finds the class of a stored name, if this reader may restore it."""

    def find(self, name: str, kind: int, fields: Collection[str] = ()) -> tuple[Any, ClassLayout]:
        """Return the class, and how its objects are laid out; ``fields`` decide between several of that name."""
        ...

    def find_all(self, name: str, kind: int) -> list[tuple[Any, ClassLayout]]:
        """Return all classes that may be meant by a name."""
        ...


# -- version 2 ---------------------------------------------------------------------------------------------------------


def model_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return ``[name, fields, fields set, extra, private, absent fields, others]``, without empty ones at the end."""
    state, extra, private = obj.__dict__, obj.__pydantic_extra__, obj.__pydantic_private__
    body = [layout.name, state, sorted(obj.__pydantic_fields_set__)]
    absent, others = None, None
    if layout.called:
        check_private(type(obj), layout, private)
    if layout.holds_unstored or len(state) != len(layout.fields):
        state = state.copy()  # another thread may change it
        stored = layout.names - layout.excluded
        body[1] = {k: v for k, v in state.items() if k in stored}
        body[2] = [name for name in body[2] if name not in layout.excluded]
        absent = [name for name in layout.fields if name not in state]
        others = {k: v for k, v in state.items() if k not in layout.names and k not in layout.derived}
        others = others and storable_others(type(obj), others, ())
        check_left_out(obj, layout, state)
    if extra or private or absent or others:
        body += (extra or None, private or None, absent or None)
    return [*body, others] if others else body


def check_left_out(obj: Any, layout: ClassLayout, state: Mapping[str, Any]) -> None:
    """Refuse an instance of which something would neither be stored nor come back as a default."""
    cls = type(obj)
    for name in layout.excluded & state.keys():
        if not has_default(declared_fields(cls, layout.was)[name]):
            raise NotSerializable(
                f"{path_of(cls)}.{name} is excluded from what is stored and required, so it could not come back. Give "
                f"it a default, or call register_type({cls.__name__}, dump=…, load=…)."
            )
        if name in layout.called:
            raise NotSerializable(
                f"{path_of(cls)}.{name} is excluded from what is stored, and a function makes its default, which "
                f"reading does not call. Give it a plain default, such as None, or call register_type({cls.__name__})."
            )
    if layout.mapped:
        check_loaded(obj)


def check_private(cls: type, layout: ClassLayout, private: Mapping[str, Any] | None) -> None:
    """Refuse an instance that lacks a private attribute whose default a function of the program makes."""
    for name in (layout.called - (private or {}).keys()) & layout.private:
        raise NotSerializable(
            f"{path_of(cls)}.{name} is not set, and reading does not call the function that makes its default. Set it, "
            f"give it a plain default, or call register_type({cls.__name__})."
        )


def model_from_state(finder: Finder, name: str, state: dict[str, Any], fields_set: list[str], *rest: Any) -> Any:
    """Put a pydantic model together; the inverse of `model_to_state`."""
    cls, layout = finder.find(name, MODEL, state)
    extra, private, absent, *others = rest or (None, None, None)
    if type(absent) not in (list, NoneType):
        raise TypeError("names of fields are a list of text")
    obj = build_model(cls, layout, state, names_of(fields_set), extra, private, absent or ())
    if others:
        add_others(obj, *others)
    return obj


def add_others(obj: Any, others: Any) -> None:
    """Give an instance the attributes that it held besides its fields."""
    if not is_state(others):
        raise TypeError(NO_STATE)
    check_others(type(obj), others, ())
    _get_fields(obj).update(others)


def names_of(stored: Any) -> set[str]:
    """Return stored names of fields; raises TypeError for anything else, whose own hash would be asked."""
    if type(stored) is not list:
        raise TypeError("names of fields are a list of text")
    "".join(stored)
    return set(stored)


def build_model(
    cls: Any,
    layout: ClassLayout,
    state: dict[str, Any],
    fields_set: set[str],
    extra: dict[str, Any] | None,
    private: dict[str, Any] | None,
    absent: Any = (),
) -> Any:
    """Put a pydantic model together from what was stored: a bare instance, whose attributes are set."""
    if type(state) is not dict or not (extra is None or is_state(extra)) or not (private is None or is_state(private)):
        raise TypeError(NO_STATE)
    if state.keys() != layout.names or (extra and not layout.allows_extra):
        absent = names_of(absent) if absent else ()
        if not absent or state.keys() | absent != layout.names or extra:
            change = change_of(cls)
            if change is not None and (not is_fitting(layout, state, absent) or (extra and not layout.allows_extra)):
                stored, extra = {**(extra or {}), **state}, None
                state = upgraded(cls, change, stored)
                if change.validate:
                    return _validated(cls, layout, state, stored.keys() - fields_set, private)
                fields_set = names_set(stored, state, fields_set)
            state, fields_set, extra = _fitted(cls, layout, state, fields_set, extra, absent)
    obj = new_object(cls)
    set_fields(obj, state)
    set_names(obj, fields_set)
    if layout.is_root_model:  # its extra and private state are constants of the class, not slots
        return obj
    set_extra(obj, (extra or {}) if layout.allows_extra else None)
    set_private(obj, private_state(cls, layout, private, state) if layout.private else None)
    return instrumented(obj) if layout.mapped else obj


def _fitted(
    cls: Any, layout: ClassLayout, state: Any, fields_set: set[str], extra: dict[str, Any] | None, absent: Any
) -> tuple[dict[str, Any], set[str], dict[str, Any] | None]:
    """Return the fields, those that were set, and the extra ones of a model whose class has other fields now."""
    whole, rest, found = fit(cls, layout, state, absent)
    if layout.allows_extra:
        extra = {**rest, **(extra or {})}
    else:
        tell_dropped(cls, {**rest, **(extra or {})})
        extra = None
    kept = {found.get(name, name) for name in fields_set}
    return whole, kept & (layout.names | (extra or {}).keys()), extra


def _validated(
    cls: Any, layout: ClassLayout, fields: dict[str, Any], unset: Collection[str], private: dict[str, Any] | None
) -> Any:
    """Return the model that its class makes of fields, with the private attributes that were stored."""
    obj, found = validated(cls, layout, fields)
    names = get_names(obj)
    set_names(obj, names - {found.get(name, name) for name in unset})
    if private and layout.private and not layout.is_root_model:
        made = get_private(obj) or {}
        set_private(obj, {**made, **{name: private[name] for name in layout.private & private.keys()}})
    return obj


def private_state(
    cls: Any, layout: ClassLayout, private: dict[str, Any] | None, fields: dict[str, Any]
) -> dict[str, Any]:
    """Return stored private attributes, with the defaults of those that are not stored."""
    state = private or {}
    if len(state) < len(layout.private):
        for name, attribute in private_attributes(cls).items():
            if name not in state and has_default(attribute):
                state[name] = default_of(cls, name, attribute, layout.trusted, state, fields)
    return state


# -- version 1 --------------------------------------------------------------------------------------------------------


def model_v1_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return what makes a model of pydantic 1 again: name, fields, those set, private attributes."""
    state, fields_set = obj.__dict__, sorted(obj.__fields_set__)
    missing = [n for n in layout.fields if n not in state and not _comes_back(type(obj), layout, n)]
    if missing:
        raise NotSerializable(f"{', '.join(missing)} of this {path_of(type(obj))} are not set. Set them.")
    if len(state) > len(layout.names):
        others = storable_others(type(obj), {n: v for n, v in state.items() if n not in layout.names}, ())
        state = {n: v for n, v in state.items() if n in layout.names or n in others}
    if layout.excluded:
        state = state.copy()
        check_left_out(obj, layout, state)
        state = {name: value for name, value in state.items() if name not in layout.excluded}
        fields_set = [name for name in fields_set if name not in layout.excluded]
    private = {n: getattr(obj, n) for n in type(obj).__private_attributes__ if hasattr(obj, n)}
    if layout.called:
        check_private(type(obj), layout, private)
    return [layout.name, state, fields_set, private]


def _comes_back(cls: type, layout: ClassLayout, name: str) -> bool:
    """Say whether a field that is not stored has a default when it is read."""
    declared = declared_fields(cls, MODEL_V1)[name]
    return has_default(declared) and (layout.trusted or not takes_a_call(declared))


def model_v1_from_state(finder: Finder, name: str, state: dict[str, Any], fields_set: Any, private: Any) -> Any:
    """Return a model of pydantic 1 as it was stored; none of its code runs."""
    cls, layout = finder.find(name, MODEL_V1, state)
    if not is_state(state) or not is_state(private):
        raise TypeError(NO_STATE)
    names = names_of(fields_set)
    gone = not layout.allows_extra and len(state) > len(layout.names)
    if gone or not layout.names <= state.keys():
        change = change_of(cls)
        if change is not None and (gone or not layout.names - layout.excluded <= state.keys()):
            stored, state = state, upgraded(cls, change, state)
            if change.validate:
                return _validated_v1(cls, layout, state, stored.keys() - names, private)
            names = names_set(stored, state, names)
    if not layout.names <= state.keys():
        whole, rest, found = fit(cls, layout, state, ())
        if not layout.allows_extra:
            tell_dropped(cls, rest)
            rest = {}
        state, names = {**whole, **rest}, {found.get(each, each) for each in names}
    if len(state) > len(layout.names):
        check_others(cls, {n: state[n] for n in state.keys() - layout.names}, ())
    obj = new_object(cls)
    set_attribute(obj, "__dict__", state)
    set_attribute(obj, "__fields_set__", names)
    private = private_state(cls, layout, private, state)
    for key in private_attributes(cls).keys() & private.keys():
        set_attribute(obj, key, private[key])
    return obj


def _validated_v1(
    cls: Any, layout: ClassLayout, fields: dict[str, Any], unset: Collection[str], private: dict[str, Any]
) -> Any:
    obj, found = validated(cls, layout, fields)
    set_attribute(obj, "__fields_set__", obj.__fields_set__ - {found.get(name, name) for name in unset})
    for key in private_attributes(cls).keys() & private.keys():
        set_attribute(obj, key, private[key])
    return obj


# -- what may stay behind ---------------------------------------------------------------------------------------------


PRIVATE = {MODEL: (4, 6), MODEL_V1: (3,)}
"""Where a model's body has private attributes, and others that pydantic does not know of."""


def may_drop(obj: Any, name: str, reason: NotSerializable) -> bool:
    """Say, and warn, that an attribute which cannot be stored may stay behind: its default comes back."""
    cls = type(obj)
    attribute = private_attributes(cls).get(name)
    layout = layout_of(cls)
    if attribute is not None and (not has_default(attribute) or (layout is not None and name in layout.called)):
        return False
    if f"{path_of(cls)}.{name}" not in _warned:
        _warned.add(f"{path_of(cls)}.{name}")
        logger.warning("%s.%s is not stored; its default comes back: %s", path_of(cls), name, reason)
    return True


def private_advice(cls: type, name: str) -> str:
    """Return what to do with a private attribute that can neither be stored nor come back as its default."""
    advice = "Or give the private attribute a plain default, such as None, which then comes back"
    declared = private_attributes(cls).get(name)
    if declared is not None and has_default(declared):
        return f"{advice}; or call register_type({cls.__name__}), so that reading calls what makes its default."
    return f"{advice}."
