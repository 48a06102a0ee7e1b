"""Instances of data classes, taken apart and put together by their state; no ``__init__`` or validator runs.

Validation runs only where the class has other fields than the ones stored: then the program changed, and the class
says what the missing ones are.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Protocol

import pydantic

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.serde.classes import (
    ENUM,
    KINDS,
    MODEL,
    MODEL_V1,
    NAMEDTUPLE,
    OBJECT,
    SUBCLASS,
    SUBCLASSABLE,
    Plan,
    path_of,
)

logger = logging.getLogger("charm_checkpoint")

new_object = object.__new__
set_attribute = object.__setattr__
_warned: set[str] = set()

# From pydantic 2.11 on, validation can be told that keys are field names, not aliases.
_version = tuple(int(n) for n in pydantic.VERSION.split(".")[:2])
_BY_NAME: dict[str, Any] = {"by_alias": False, "by_name": True} if _version >= (2, 11) else {}


class Finder(Protocol):
    """Finds the class of a stored name, if this reader may restore it."""

    def find(self, name: str, kind: int) -> tuple[Any, Plan]: ...


# -- pydantic ---------------------------------------------------------------------------------------------------------


def take_model(obj: Any, plan: Plan) -> list[Any]:
    """Return ``[name, fields, fields set, extra, private, absent fields]``, without empty ones at the end."""
    state = obj.__dict__
    body = [plan.name, state, sorted(obj.__pydantic_fields_set__)]
    extra, private, absent = obj.__pydantic_extra__, obj.__pydantic_private__, None
    if plan.loose or len(state) != len(plan.fields):
        body[1] = {k: v for k, v in state.items() if k not in plan.derived}
        absent = [name for name in plan.fields if name not in state]
    if extra or private or absent:
        body += (extra or None, private or None, absent or None)
    return body


def make_model(finder: Finder, name: str, state: dict[str, Any], fields_set: list[str], *rest: Any) -> Any:
    """Put a pydantic model together; the inverse of `take_model`."""
    cls, plan = finder.find(name, MODEL)
    extra, private, absent = rest or (None, None, None)
    return build_model(cls, plan, state, set(fields_set), extra, private, absent or ())


def build_model(
    cls: Any,
    plan: Plan,
    state: dict[str, Any],
    fields_set: set[str],
    extra: dict[str, Any] | None,
    private: dict[str, Any] | None,
    absent: Any = (),
) -> Any:
    """Put a pydantic model together from what was stored, through validation only if its fields changed."""
    if state.keys() != plan.names and state.keys() | set(absent) != plan.names:
        return _validated(cls, plan, state, fields_set, extra, private)
    obj = new_object(cls)
    set_attribute(obj, "__dict__", state)
    set_attribute(obj, "__pydantic_fields_set__", fields_set)
    if plan.root:  # its extra and private state are constants of the class, not slots
        return obj
    set_attribute(obj, "__pydantic_extra__", (extra or {}) if plan.extra else extra)
    set_attribute(obj, "__pydantic_private__", private_state(cls, private) if plan.private else private)
    return obj


def private_state(cls: Any, private: dict[str, Any] | None) -> dict[str, Any]:
    """Return stored private attributes, with the defaults of those the class got since."""
    state = private or {}
    if len(state) < len(cls.__private_attributes__):
        for name, attribute in cls.__private_attributes__.items():
            if name not in state and (attribute.default_factory or not _undefined(attribute.default)):
                state[name] = attribute.get_default()
    return state


def _undefined(value: Any) -> bool:
    return type(value).__name__ == "PydanticUndefinedType"


def _validated(cls: Any, plan: Plan, state: Any, fields_set: set[str], extra: Any, private: Any) -> Any:
    try:
        obj = cls.model_validate({**state, **(extra or {})}, **_BY_NAME)
    except pydantic.ValidationError as exc:
        raise TypeNotLoaded(_changed(cls, _summary(exc))) from exc
    kept = fields_set & (plan.names | (obj.__pydantic_extra__ or {}).keys())
    set_attribute(obj, "__pydantic_fields_set__", kept)
    if plan.private and private:
        obj.__pydantic_private__.update(private)
    return obj


def _summary(exc: pydantic.ValidationError) -> str:
    errors = exc.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'model'}: {e['msg']}" for e in errors)


def _changed(cls: type, what: str) -> str:
    return f"{path_of(cls)} has changed since this was stored ({what}). Bring the field back, or give it a default."


def take_model_v1(obj: Any, plan: Plan) -> list[Any]:
    private = {n: getattr(obj, n) for n in type(obj).__private_attributes__ if hasattr(obj, n)}
    return [plan.name, obj.__dict__, sorted(obj.__fields_set__), private]


def make_model_v1(
    finder: Finder, name: str, state: dict[str, Any], fields_set: list[str], private: dict[str, Any]
) -> Any:
    cls, plan = finder.find(name, MODEL_V1)
    if not plan.names <= state.keys():
        try:
            state = cls.parse_obj(state).__dict__
        except ValueError as exc:
            raise TypeNotLoaded(_changed(cls, str(exc))) from exc
    obj = new_object(cls)
    set_attribute(obj, "__dict__", state)
    set_attribute(obj, "__fields_set__", set(fields_set))
    for key in cls.__private_attributes__.keys() & private.keys():
        set_attribute(obj, key, private[key])
    return obj


# -- dataclasses and registered plain classes -------------------------------------------------------------------------


def take_object(obj: Any, plan: Plan) -> list[Any]:
    """Return ``[name, fields, other attributes, absent fields]``, without empty ones at the end."""
    state = state_of(obj, plan)
    if state.keys() == plan.names:
        return [plan.name, state]
    fields = {name: state[name] for name in plan.fields if name in state}
    others = {name: value for name, value in state.items() if name not in plan.names}
    absent = [name for name in plan.fields if name not in state]
    return [plan.name, fields, others, absent] if others or absent else [plan.name, fields]


def state_of(obj: Any, plan: Plan) -> dict[str, Any]:
    """Return everything an instance holds, in its ``__dict__`` and its slots."""
    state = getattr(obj, "__dict__", {})
    if plan.loose or not _UNUSUAL.isdisjoint(state):
        state = {name: value for name, value in state.items() if name not in plan.derived}
    if plan.slots:
        filled = ((name, getattr(obj, name, _EMPTY)) for name in plan.slots)
        state = {**{name: value for name, value in filled if value is not _EMPTY}, **state}
    return state


_EMPTY = object()
_UNUSUAL = frozenset({"__orig_class__"})


def make_object(finder: Finder, name: str, state: dict[str, Any], *rest: Any) -> Any:
    """Put a dataclass or registered plain class together; the inverse of `take_object`."""
    cls, plan = finder.find(name, OBJECT)
    others, absent = rest or ({}, ())
    if state.keys() != plan.names and state.keys() | set(absent) != plan.names:
        _fill(cls, plan, state, absent)
    obj = new_object(cls)
    fill_state(obj, plan, {**state, **others} if others else state)
    return obj


def fill_state(obj: Any, plan: Plan, state: dict[str, Any]) -> None:
    """Give a bare instance its attributes, past frozen and overridden ``__setattr__``."""
    space = getattr(obj, "__dict__", None)
    for name, value in state.items():
        if name in plan.slots:
            set_attribute(obj, name, value)
        elif space is not None:
            space[name] = value
        else:
            raise TypeNotLoaded(_changed(type(obj), f"it has no attribute {name!r} any more"))


def _fill(cls: Any, plan: Plan, state: dict[str, Any], absent: Any) -> None:
    fields = getattr(cls, "__dataclass_fields__", {})
    for name in plan.fields:
        if name not in state and name not in absent:
            if name in fields:
                state[name] = _default(cls, fields[name])
            elif plan.safe:
                state[name] = None
    if fields or plan.safe:
        _drop(cls, state, plan.names)


def _default(cls: type, field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is dataclasses.MISSING:
        raise TypeNotLoaded(_changed(cls, f"nothing is stored for its field {field.name!r}"))
    return field.default_factory()


def _drop(cls: type, state: dict[str, Any], names: frozenset[str]) -> None:
    gone = [name for name in state if name not in names]
    for name in gone:
        del state[name]
    if gone and path_of(cls) not in _warned:
        _warned.add(path_of(cls))
        logger.warning("%s no longer has the stored fields %s; they are dropped.", path_of(cls), ", ".join(gone))


# -- enums, named tuples, registered subclasses of built-in types ------------------------------------------------------


def take_enum(obj: Any, plan: Plan) -> list[Any]:
    value = obj._value_
    return [plan.name, value] if type(value) in (str, int) else [plan.name, None, obj._name_]


def make_enum(finder: Finder, name: str, value: Any, member: str | None = None) -> Any:
    cls, _ = finder.find(name, ENUM)
    found = cls._member_map_.get(member) if member is not None else cls._value2member_map_.get(value)
    if found is not None:
        return found
    try:
        return cls(value)  # a combination of flags, or what the class itself makes of a former value
    except (ValueError, TypeError, KeyError) as exc:
        raise TypeNotLoaded(f"{path_of(cls)} has no member {member or value!r} any more. Add it back.") from exc


def take_namedtuple(obj: Any, plan: Plan) -> list[Any]:
    if getattr(obj, "__dict__", None):
        raise NotSerializable(f"This {path_of(type(obj))} carries attributes besides its fields. Store a dataclass.")
    return [plan.name, dict(zip(plan.fields, obj, strict=True))]


def make_namedtuple(finder: Finder, name: str, state: dict[str, Any]) -> Any:
    cls, plan = finder.find(name, NAMEDTUPLE)
    if state.keys() != plan.names:
        missing = [n for n in plan.fields if n not in state and n not in cls._field_defaults]
        if missing:
            raise TypeNotLoaded(_changed(cls, f"nothing is stored for its fields {', '.join(missing)}"))
        state = {**cls._field_defaults, **state}
        _drop(cls, state, plan.names)
    return tuple.__new__(cls, [state[n] for n in plan.fields])


def take_subclass(obj: Any, plan: Plan) -> list[Any]:
    base: Any = _base(type(obj))
    if base is list:
        plain: Any = list.__getitem__(obj, slice(None))
    elif base is dict:
        plain = dict(dict.items(obj))
    elif base in (set, frozenset):
        plain = base(base.__iter__(obj))
    else:
        plain = base.__getnewargs__(obj)[0]
    return [plan.name, plain, state_of(obj, plan)]


def make_subclass(finder: Finder, name: str, plain: Any, state: dict[str, Any]) -> Any:
    cls, plan = finder.find(name, SUBCLASS)
    base: Any = _base(cls)
    if type(plain) is not base:
        raise TypeNotLoaded(f"{path_of(cls)} was stored as a {type(plain).__name__} and is now a {base.__name__}.")
    if base in (list, dict, set):
        obj = base.__new__(cls)
        base.__init__(obj, plain)
    else:
        obj = base.__new__(cls, plain)
    fill_state(obj, plan, state)
    return obj


def _base(cls: type) -> type:
    return next(base for base in cls.__mro__ if base in SUBCLASSABLE)


TAKE: dict[int, Callable[[Any, Plan], list[Any]]] = {
    MODEL: take_model,
    MODEL_V1: take_model_v1,
    OBJECT: take_object,
    ENUM: take_enum,
    NAMEDTUPLE: take_namedtuple,
    SUBCLASS: take_subclass,
}
MAKE: dict[int, Callable[..., Any]] = {
    MODEL: make_model,
    MODEL_V1: make_model_v1,
    OBJECT: make_object,
    ENUM: make_enum,
    NAMEDTUPLE: make_namedtuple,
    SUBCLASS: make_subclass,
}
assert TAKE.keys() == MAKE.keys() == KINDS.keys()
