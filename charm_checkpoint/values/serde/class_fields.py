"""The fields of each kind of data class, as the class declares them; read as data."""

from __future__ import annotations

import types
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from charm_checkpoint.values.serde.class_reading import attribute, mro_of, space_of_class
from charm_checkpoint.values.serde.defaults import takes_a_call

# Extension codes of the storage format: never change or reuse one.
MODEL, MODEL_V1, OBJECT, ENUM, NAMEDTUPLE, SUBCLASS, HOOKED = 40, 41, 42, 43, 44, 45, 46


def is_dataclass(cls: type) -> bool:
    """Say whether a class is a dataclass, or derived from one."""
    return attribute(cls, "__dataclass_fields__") is not None


def dataclass_fields(cls: type) -> dict[str, Any]:
    """Return what a dataclass keeps of each field; not of InitVar and ClassVar, which no instance has."""
    declared = attribute(cls, "__dataclass_fields__") or {}
    return {name: field for name, field in declared.items() if repr(field._field_type) == "_FIELD"}


def declared_fields(cls: type, kind: int) -> Mapping[str, Any]:
    """Return the fields of a model or dataclass by their names: what its library keeps of each; else none."""
    if kind == MODEL:
        return attribute(cls, "__pydantic_fields__") or {}
    if kind == MODEL_V1:
        return attribute(cls, "__fields__") or {}
    if kind != OBJECT:
        return {}
    fields = dataclass_fields(cls)
    return {**fields, **{n: f for n, f in (attribute(cls, "__pydantic_fields__") or {}).items() if n in fields}}


def field_names(cls: type, kind: int) -> tuple[str, ...]:
    """Return the names of the fields, in order: of a plain class, of its slots."""
    if kind == NAMEDTUPLE:
        return tuple(attribute(cls, "_fields"))
    if kind == OBJECT and not is_dataclass(cls):
        return tuple(slots_of(cls))
    return tuple(declared_fields(cls, kind))


def slots_of(cls: type) -> dict[str, Any]:
    """Return the attributes that are not in an instance's ``__dict__``, each with what reads and writes it.

    That is the slot's own descriptor: what a subclass has put over it would be its code.
    """
    bases = reversed(mro_of(cls))
    return {n: v for base in bases for n, v in space_of_class(base).items() if type(v) is types.MemberDescriptorType}


def private_attributes(cls: type) -> Mapping[str, Any]:
    """Return the private attributes of a model by their names, with what pydantic keeps of each."""
    return attribute(cls, "__private_attributes__") or {}


def excluded_fields(cls: type, kind: int) -> frozenset[str]:
    """Return the fields that a pydantic model keeps out of what it is stored as."""
    if kind == MODEL_V1:
        excluded = attribute(cls, "__exclude_fields__") or {}
        return frozenset(name for name, what in excluded.items() if what in (True, ...))
    fields = declared_fields(cls, kind)
    return frozenset(name for name, field in fields.items() if getattr(field, "exclude", None) is True)


def called_defaults(cls: type, kind: int) -> frozenset[str]:
    """Return the fields and private attributes whose default a function of the program makes."""
    declared = {**declared_fields(cls, kind), **private_attributes(cls)}
    return frozenset(name for name, field in declared.items() if takes_a_call(field))


def cached_properties(cls: type) -> frozenset[str]:
    """Return the names of a class's cached properties, which keep what they made on the instance."""
    return frozenset(n for base in mro_of(cls) for n, v in space_of_class(base).items() if type(v) is cached_property)
