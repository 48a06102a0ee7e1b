"""Objects of data classes, made of the fields that LangGraph's serializer wrote of them, and what becomes of others.

It writes no shape of a class, and of objects inside a model plain fields alone; so their class makes them anew, and
what it does not take, or takes otherwise, is told. Nothing of it is dropped unsaid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import MODEL, MODEL_V1, OBJECT, declared_fields, is_dataclass
from charm_checkpoint.values.serde.class_reading import attribute, path_of
from charm_checkpoint.values.serde.classes import KEPT, ClassLayout, layout_of
from charm_checkpoint.values.serde.fitting import NONE_DIFFERS, aliases_of, fit, is_fitting
from charm_checkpoint.values.serde.hooks import change_of
from charm_checkpoint.values.serde.kept import is_state, left_over
from charm_checkpoint.values.serde.stored_names import Changed
from charm_checkpoint.values.serde.telling import Finding, Tell, log_once
from charm_checkpoint.values.serde.upgrades import upgraded, validated


class Listener(NamedTuple):
    """To whom what is found is told, and whether fields that a class does not have are an error."""

    strict: bool = False
    tell: Tell = log_once

    def made_of(self, cls: Any, fields: dict[str, Any]) -> Any:
        """Refuse to make an object of a plain dict: the class of the object that holds it does that itself."""
        raise TypeNotLoaded(f"a dict does not become a {path_of(cls)}")


_NOBODY = Listener()
_listener: ContextVar[Listener] = ContextVar("listener", default=_NOBODY)


@contextmanager
def telling(listener: Listener) -> Iterator[None]:
    """Tell this listener what is found of objects that are made meanwhile."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def made_of_fields(cls: Any, layout: ClassLayout, fields: dict[str, Any]) -> Any:
    """Return the object that a model, dataclass or named tuple makes of its fields.

    A model that does not take them holds them unchecked, which is told.
    """
    listener = _listener.get()
    fields = {name: value for name, value in fields.items() if name not in _computed(cls)}
    change = change_of(cls)
    if change is not None and is_state(fields) and not is_fitting(layout, fields, ()):
        fields = upgraded(cls, change, Changed(None, ()), fields)
    try:
        obj, rest, renamed = validated(listener, cls, layout, fields)
    except TypeNotLoaded as error:
        if layout.was not in (MODEL, MODEL_V1):
            raise
        obj, rest, renamed = _unchecked(listener, cls, layout, fields, error)
    _keep(listener, obj, layout, rest)
    stored = {renamed.get(name, name): value for name, value in fields.items()}
    for name in layout.names & stored.keys():
        _look_inside(listener, _held(obj, name), stored[name])
    return obj


def _computed(cls: type) -> Mapping[str, Any]:
    """Return the computed fields of a model, which are written as others are."""
    decorators = attribute(cls, "__pydantic_decorators__")
    found: Mapping[str, Any] = getattr(decorators, "computed_fields", {})
    return found


def _unchecked(
    listener: Listener, cls: Any, layout: ClassLayout, fields: dict[str, Any], error: TypeNotLoaded
) -> tuple[Any, dict[str, Any], dict[str, str]]:
    whole, rest, renamed = fit(listener, cls, layout, fields, layout.names, NONE_DIFFERS)
    make = cls.model_construct if layout.was == MODEL else cls.construct
    obj = make(**({**rest, **whole} if layout.allows_extra else whole))
    said = f"{path_of(cls)} does not take what is stored of it, and holds it unchecked: {error.reason}"
    listener.tell(Finding("changed", path_of(cls), "", said))
    for name in sorted(layout.names - vars(obj).keys()):
        said = f"{path_of(cls)}.{name} is not stored of an object, and has no default: it is not set."
        listener.tell(Finding("missing", path_of(cls), name, said))
    return obj, {} if layout.allows_extra else rest, renamed


def _keep(listener: Listener, obj: Any, layout: ClassLayout, rest: Mapping[str, Any]) -> None:
    if kept := left_over(listener, type(obj), layout, rest):
        obj.__dict__[KEPT] = kept


def _held(obj: Any, name: str) -> Any:
    space = getattr(obj, "__dict__", {})
    return space[name] if name in space else getattr(obj, name, None)


def _look_inside(listener: Listener, value: Any, stored: Any) -> None:
    """Keep, or tell of, what classes did not take of the plain fields that objects were made of inside another."""
    todo = [(value, stored)]
    while todo:
        value, stored = todo.pop()
        kind = type(value)
        if type(stored) is list and kind in (list, tuple) and len(value) == len(stored):
            todo += zip(value, stored, strict=True)
        elif type(stored) is dict and kind is dict:
            todo += [(value[key], part) for key, part in stored.items() if key in value]
        elif type(stored) is dict and (layout := _layout_of_fields(kind)) is not None and is_state(stored):
            taken = _taken(value, layout, stored)
            if not layout.allows_extra:
                rest = {name: part for name, part in stored.items() if name not in taken}
                _keep(listener, value, layout, {n: part for n, part in rest.items() if n not in _computed(kind)})
            todo += [(_held(value, name), stored[each]) for each, name in taken.items()]


def _layout_of_fields(cls: type) -> ClassLayout | None:
    layout = layout_of(cls)
    if layout is None or not (layout.was in (MODEL, MODEL_V1) or (layout.was == OBJECT and is_dataclass(cls))):
        return None
    return layout


def _taken(value: Any, layout: ClassLayout, stored: Mapping[str, Any]) -> dict[str, str]:
    """Return under which names fields were stored, by these: their own, or an alias that they were set by."""
    found = {name: name for name in layout.fields if name in stored}
    were_set = getattr(value, "model_fields_set", None) if layout.was == MODEL else layout.names
    for name, declared in declared_fields(type(value), layout.was).items():
        if name not in found and name in (were_set or ()):
            found.update({alias: name for alias in aliases_of(declared) if alias in stored and alias not in found})
    return found
