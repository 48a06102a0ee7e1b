"""The fields of each kind of data class, as the class declares them; read as data."""

from __future__ import annotations

import types
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from charm_checkpoint.values.serde.class_reading import attribute, mro_of, space_of_class
from charm_checkpoint.values.serde.class_shapes import texts_of
from charm_checkpoint.values.serde.defaults import has_default, takes_a_call
from charm_checkpoint.values.serde.own_attributes import assigned_attributes

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


def required_attributes(cls: type) -> frozenset[str]:
    """Return the private attributes of a model that have no default: they are set when an object is made, or later."""
    return frozenset(name for name, declared in private_attributes(cls).items() if not has_default(declared))


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


def annotations_of(cls: type) -> Mapping[str, Any]:
    """Return the annotations of a class and its bases, as objects or as text; none where code would have to run."""
    found: dict[str, Any] = {}
    for base in reversed(mro_of(cls)):
        found.update(_own_annotations(base))
    return found


def _own_annotations(cls: type) -> Mapping[str, Any]:
    space = space_of_class(cls)
    for key in ("__annotations__", "__annotations_cache__"):
        if type(space.get(key)) is dict:
            known: Mapping[str, Any] = space[key]
            return known
    annotate = space.get("__annotate_func__")
    if type(annotate) is types.FunctionType and annotate.__module__ in ("typing", "typing_extensions"):
        return _as_text(cls, annotate)
    return {}


def _as_text(cls: type, annotate: Any) -> Mapping[str, Any]:
    """Return the text of the annotations of a named tuple or ``TypedDict``.

    From Python 3.14 on it evaluates them when it is asked. For their text, it runs what it compiled of them with names
    that stand for nothing else.
    """
    import annotationlib  # type: ignore[import-not-found, unused-ignore]

    try:
        found = annotationlib.call_annotate_function(annotate, annotationlib.Format.STRING, owner=cls)
    except (AttributeError, NameError, NotImplementedError, TypeError, ValueError):  # what has no text
        return {}
    return found if type(found) is dict else {}


def allows_extra(cls: type, kind: int) -> bool:
    """Say whether a pydantic model takes fields that it does not declare."""
    if kind == MODEL:
        return (attribute(cls, "model_config") or {}).get("extra") == "allow"
    config = attribute(cls, "__config__") if kind == MODEL_V1 else None
    return config is not None and str(getattr(config.extra, "value", config.extra)) == "allow"


def annotation_texts(cls: type, kind: int, registered: bool = False, closely: bool = False) -> dict[str, str] | None:
    """Return the annotations of a class's fields as texts, None for a class that declares no types.

    Of a plain class that is ``registered`` they are empty, and those of attributes that each of its objects gets.
    """
    if kind == MODEL:
        return texts_of({name: field.annotation for name, field in declared_fields(cls, kind).items()}, closely)
    if kind == MODEL_V1:
        return texts_of({name: field.outer_type_ for name, field in declared_fields(cls, kind).items()}, closely)
    if kind == OBJECT and is_dataclass(cls):
        return texts_of({name: field.type for name, field in dataclass_fields(cls).items()}, closely)
    if kind == NAMEDTUPLE:
        hints = annotations_of(cls)
        return texts_of({name: hints.get(name, Any) for name in field_names(cls, kind)}, closely)
    if kind == OBJECT and registered:
        return dict.fromkeys(assigned_attributes(cls), "")
    return None
