"""Instances of pydantic models, taken apart and put together by their state; no ``__init__`` or validator runs.

Validation runs only where the class has other fields than the ones stored: then the program changed, and the class
says what the missing ones are. Pydantic's own rules hold: an excluded field is not stored, its default comes back.
"""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol

import pydantic

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.serde.classes import MODEL, MODEL_V1, ClassLayout, path_of
from charm_checkpoint.values.serde.rows import check_loaded, instrumented

logger = logging.getLogger("charm_checkpoint")

new_object = object.__new__
set_attribute = object.__setattr__
_warned: set[str] = set()

# What is stored goes by field names, not aliases.
_BY_NAME: dict[str, Any] = {"by_alias": False, "by_name": True}


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
    if layout.holds_unstored or len(state) != len(layout.fields):
        state = state.copy()  # another thread may change it
        stored = layout.names - layout.excluded
        body[1] = {k: v for k, v in state.items() if k in stored}
        body[2] = [name for name in body[2] if name not in layout.excluded]
        absent = [name for name in layout.fields if name not in state]
        others = {k: v for k, v in state.items() if k not in layout.names and not _is_derived(type(obj), layout, k)}
        check_left_out(obj, layout, state)
    if extra or private or absent or others:
        body += (extra or None, private or None, absent or None)
    return [*body, others] if others else body


def _is_derived(cls: type, layout: ClassLayout, name: str) -> bool:
    """Say whether an attribute only keeps what a descriptor of the class made: a cached property, a relationship."""
    return name in layout.derived or any(name in vars(base) for base in cls.__mro__)


def check_left_out(obj: Any, layout: ClassLayout, state: dict[str, Any]) -> None:
    """Refuse an instance of which something would neither be stored nor come back as a default."""
    cls = type(obj)
    for name in layout.excluded & state.keys():
        if _is_required(cls, layout, name):
            raise NotSerializable(
                f"{path_of(cls)}.{name} is excluded from what is stored and required, so it could not come back. Give "
                f"it a default, or call register_type({cls.__name__}, dump=…, load=…)."
            )
    if layout.mapped:
        check_loaded(obj)


def _is_required(cls: Any, layout: ClassLayout, name: str) -> bool:
    if layout.kind == MODEL_V1:
        return bool(cls.__fields__[name].required)
    fields = cls.model_fields if layout.kind == MODEL else cls.__pydantic_fields__
    return bool(fields[name].is_required())


def model_from_state(finder: Finder, name: str, state: dict[str, Any], fields_set: list[str], *rest: Any) -> Any:
    """Put a pydantic model together; the inverse of `model_to_state`."""
    cls, layout = finder.find(name, MODEL, state)
    extra, private, absent, *others = rest or (None, None, None)
    obj = build_model(cls, layout, state, set(fields_set), extra, private, absent or ())
    if others:
        obj.__dict__.update(*others)
    return obj


def build_model(
    cls: Any,
    layout: ClassLayout,
    state: dict[str, Any],
    fields_set: set[str],
    extra: dict[str, Any] | None,
    private: dict[str, Any] | None,
    absent: Any = (),
) -> Any:
    """Put a pydantic model together from what was stored, through validation only if its fields changed."""
    if state.keys() != layout.names and state.keys() | set(absent) != layout.names:
        if not state.keys() <= layout.names <= state.keys() | set(absent) | layout.excluded:
            return _validated(cls, layout, state, fields_set, extra, private)
        state = _with_defaults(cls, layout, state, absent)
    obj = new_object(cls)
    set_attribute(obj, "__dict__", state)
    set_attribute(obj, "__pydantic_fields_set__", fields_set)
    if layout.is_root_model:  # its extra and private state are constants of the class, not slots
        return obj
    set_attribute(obj, "__pydantic_extra__", (extra or {}) if layout.allows_extra else extra)
    set_attribute(obj, "__pydantic_private__", private_state(cls, private, state) if layout.has_private else private)
    return instrumented(obj) if layout.mapped else obj


def _with_defaults(cls: Any, layout: ClassLayout, state: dict[str, Any], absent: Any) -> dict[str, Any]:
    """Return a state with the defaults of the fields that are not stored, in the order of the class."""
    whole: dict[str, Any] = {}
    for name in layout.fields:
        if name in state:
            whole[name] = state[name]
        elif name not in absent:
            whole[name] = field_default(cls, cls.model_fields[name], name, whole)
    return whole


def field_default(cls: type, field: Any, name: str, before: dict[str, Any]) -> Any:
    """Return the default of a field, to which a factory may take the fields before it."""
    if field.is_required():
        raise TypeNotLoaded(changed(cls, f"nothing is stored for its field {name!r}"))
    if getattr(field, "default_factory_takes_validated_data", False):
        return _made(cls, name, partial(field.default_factory, before))
    return _made(cls, name, partial(field.get_default, call_default_factory=True))


def _made(cls: type, name: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as exc:  # whatever a factory of the program's may raise
        raise TypeNotLoaded(f"{path_of(cls)}.{name} is not stored, and its default factory failed: {exc!r}") from exc


def private_state(cls: Any, private: dict[str, Any] | None, fields: dict[str, Any]) -> dict[str, Any]:
    """Return stored private attributes, with the defaults of those that are not stored."""
    state = private or {}
    if len(state) < len(cls.__private_attributes__):
        for name, attribute in cls.__private_attributes__.items():
            if name not in state and has_default(attribute):
                state[name] = _private_default(cls, attribute, name, fields, state)
    return state


def _private_default(cls: type, attribute: Any, name: str, *before: dict[str, Any]) -> Any:
    # Pydantic's own get_default calls a factory in some versions and not in others.
    if getattr(attribute, "default_factory_takes_validated_data", False):
        return _made(cls, name, partial(attribute.default_factory, dict(ChainMap(*before))))
    return _made(cls, name, attribute.default_factory or attribute.get_default)


def has_default(attribute: Any) -> bool:
    """Say whether a private attribute has a default, in either version of pydantic."""
    undefined = ("PydanticUndefinedType", "UndefinedType")
    return attribute.default_factory is not None or type(attribute.default).__name__ not in undefined


def _validated(cls: Any, layout: ClassLayout, state: Any, fields_set: set[str], extra: Any, private: Any) -> Any:
    try:
        obj = cls.model_validate({**state, **(extra or {})}, **_BY_NAME)
    except pydantic.ValidationError as exc:
        raise TypeNotLoaded(changed(cls, _summary(exc))) from exc
    kept = fields_set & (layout.names | (obj.__pydantic_extra__ or {}).keys())
    set_attribute(obj, "__pydantic_fields_set__", kept)
    if layout.has_private and private:
        obj.__pydantic_private__.update(private)
    return obj


def _summary(exc: pydantic.ValidationError) -> str:
    errors = exc.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'model'}: {e['msg']}" for e in errors)


def changed(cls: type, what: str) -> str:
    """Return what an error says of a class that no longer takes what was stored."""
    return f"{path_of(cls)} has changed since this was stored ({what}). Bring the field back, or give it a default."


# -- version 1 --------------------------------------------------------------------------------------------------------


def model_v1_to_state(obj: Any, layout: ClassLayout) -> list[Any]:
    """Return what makes a model of pydantic 1 again: name, fields, those set, private attributes."""
    state, fields_set = obj.__dict__, sorted(obj.__fields_set__)
    if layout.excluded:
        state = state.copy()
        check_left_out(obj, layout, state)
        state = {name: value for name, value in state.items() if name not in layout.excluded}
        fields_set = [name for name in fields_set if name not in layout.excluded]
    private = {n: getattr(obj, n) for n in type(obj).__private_attributes__ if hasattr(obj, n)}
    return [layout.name, state, fields_set, private]


def model_v1_from_state(
    finder: Finder, name: str, state: dict[str, Any], fields_set: list[str], private: dict[str, Any]
) -> Any:
    """Return a model of pydantic 1 as it was stored; none of its code runs."""
    cls, layout = finder.find(name, MODEL_V1, state)
    for field in layout.excluded - state.keys():
        if not cls.__fields__[field].required:
            state[field] = _made(cls, field, cls.__fields__[field].get_default)
    if not layout.names <= state.keys():
        try:
            state = cls.parse_obj(state).__dict__
        except ValueError as exc:
            raise TypeNotLoaded(changed(cls, str(exc))) from exc
    obj = new_object(cls)
    set_attribute(obj, "__dict__", state)
    set_attribute(obj, "__fields_set__", set(fields_set))
    for key, attribute in cls.__private_attributes__.items():
        if key in private:
            set_attribute(obj, key, private[key])
        elif has_default(attribute):
            set_attribute(obj, key, _private_default(cls, attribute, key, state))
    return obj


# -- what may stay behind ---------------------------------------------------------------------------------------------


PRIVATE = {MODEL: (4, 6), MODEL_V1: (3,)}
"""Where a model's body has private attributes, and others that pydantic does not know of."""


def may_drop(obj: Any, name: str, reason: NotSerializable) -> bool:
    """Say, and warn, that an attribute which cannot be stored may stay behind: its default comes back."""
    cls = type(obj)
    attribute = cls.__private_attributes__.get(name)
    if attribute is not None and not has_default(attribute):
        return False
    if f"{path_of(cls)}.{name}" not in _warned:
        _warned.add(f"{path_of(cls)}.{name}")
        logger.warning("%s.%s is not stored; its default comes back: %s", path_of(cls), name, reason)
    return True
