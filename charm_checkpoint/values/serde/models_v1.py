"""Instances of models of pydantic 1, taken apart and put together as those of version 2 are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.values.serde.class_fields import MODEL_V1, declared_fields, private_attributes
from charm_checkpoint.values.serde.class_reading import path_of
from charm_checkpoint.values.serde.classes import ClassLayout
from charm_checkpoint.values.serde.defaults import has_default, takes_a_call
from charm_checkpoint.values.serde.fitting import differing, fit
from charm_checkpoint.values.serde.hooks import change_of
from charm_checkpoint.values.serde.kept import NO_STATE, is_state, left_over
from charm_checkpoint.values.serde.models import (
    Finder,
    check_left_out,
    check_private,
    names_of,
    new_object,
    private_state,
    set_attribute,
)
from charm_checkpoint.values.serde.others import check_others, storable_others
from charm_checkpoint.values.serde.upgrades import is_due, names_set, upgraded, validated


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
    return build_model_v1(finder, cls, layout, state, names_of(fields_set), private)


def build_model_v1(
    finder: Finder, cls: Any, layout: ClassLayout, state: dict[str, Any], names: set[str], private: dict[str, Any]
) -> Any:
    """Put a model of pydantic 1 together from what was stored; raises what `models.build_model` does."""
    if not is_state(state) or not is_state(private):
        raise TypeError(NO_STATE)
    gone = not layout.allows_extra and len(state) > len(layout.names)
    if gone or layout.changed is not None or not layout.names <= state.keys():
        differ = differing(layout, state)
        change = change_of(cls)
        more: Collection[str] = state.keys() - layout.names if layout.allows_extra else ()
        declared = {name: value for name, value in state.items() if name not in more}
        if change is not None and is_due(change, cls, layout, differ, declared, ()):
            stored, state = state, upgraded(cls, change, layout.changed, state)
            if change.validate:
                return _validated_v1(finder, cls, layout, state, stored.keys() - names, private)
            names = names_set(stored, state, names)
        if layout.changed is not None or not layout.names <= state.keys():
            whole, rest, renamed = fit(finder, cls, layout, state, (), differ)
            if not layout.allows_extra:
                rest = left_over(finder, cls, layout, rest)
            state, names = {**whole, **rest}, {renamed.get(each, each) for each in names}
    if len(state) > len(layout.names):
        check_others(cls, {n: state[n] for n in state.keys() - layout.names}, ())
    obj = new_object(cls)
    set_attribute(obj, "__dict__", state)
    set_attribute(obj, "__fields_set__", names)
    if private.keys() != layout.private:
        private, _ = private_state(finder, cls, layout, private, state, layout.required)
    for key in private:
        set_attribute(obj, key, private[key])
    return obj


def _validated_v1(
    finder: Finder,
    cls: Any,
    layout: ClassLayout,
    fields: dict[str, Any],
    unset: Collection[str],
    private: dict[str, Any],
) -> Any:
    obj, rest, renamed = validated(finder, cls, layout, fields)
    set_attribute(obj, "__fields_set__", obj.__fields_set__ - {renamed.get(name, name) for name in unset})
    left_over(finder, cls, layout, rest)
    for key in private_attributes(cls).keys() & private.keys():
        set_attribute(obj, key, private[key])
    return obj
