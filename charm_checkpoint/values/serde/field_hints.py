"""The types of the fields that a class declares, as far as a value that is stored can be held against them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, TypeVar

from charm_checkpoint.values.serde.class_fields import (
    MODEL,
    MODEL_V1,
    NAMEDTUPLE,
    OBJECT,
    annotations_of,
    dataclass_fields,
    declared_fields,
    field_names,
)
from charm_checkpoint.values.serde.class_reading import (
    attribute,
    derives,
    mro_of,
    space_of_class,
)
from charm_checkpoint.values.serde.classes import kind_of
from charm_checkpoint.values.serde.hints import (
    ANYTHING,
    Constants,
    Hint,
    Named,
    OneOf,
    Written,
    changes_type,
    read,
    scope_of,
)

T = TypeVar("T")


def hints_of(cls: type, kind: int | None = None) -> dict[str, Hint]:
    """Return the type of each field of a data class, by its name.

    A field that a validator of the class may make something else of takes anything.
    """
    kind = kind_of(cls, registered=True) if kind is None else kind
    if kind == MODEL:
        found = dict(_of_model(cls))
    elif kind == MODEL_V1:
        found = dict(_of_model_v1(cls))
    elif kind == OBJECT:
        found = dict(_of_dataclass(cls))
    elif kind == NAMEDTUPLE:
        scope = scope_of(cls)
        found = {name: read(hint, scope) for name, hint in annotations_of(cls).items()}
    else:
        return {}
    free = _validated(cls)
    if _keeps_values(cls):
        found = {name: _with_values(hint) for name, hint in found.items()}
    return {
        name: ANYTHING if name in free or "*" in free else found.get(name, ANYTHING) for name in field_names(cls, kind)
    }


def known_hints(cls: type, kind: int) -> Mapping[str, Hint]:
    """Return what `hints_of` does, which is remembered as long as there is the class."""
    known = _known.get(id(cls))
    if known is not None and known[0]() is cls:
        return known[1]
    hints = {name: _settled(hint) for name, hint in hints_of(cls, kind).items()}
    if attribute(cls, "__pydantic_complete__", True):  # an unfinished model does not know its fields yet
        _remember(_known, cls, hints)
    return hints


def _settled(hint: Hint) -> Hint:
    """Return what a text says, as long as that can be told: a name in it may be that of a class to come."""
    found = hint.read() if isinstance(hint, Written) else hint
    return hint if found is ANYTHING else found


def _remember(table: dict[int, tuple[weakref.ref[type], T]], cls: type, found: T) -> None:
    """Remember something of a class as long as there is the class: by its id, as it may have a hash of its own."""
    key = id(cls)

    def forget(ref: weakref.ref[type]) -> None:
        if table.get(key, (None,))[0] is ref:
            del table[key]

    table[key] = weakref.ref(cls, forget), found


_known: dict[int, tuple[weakref.ref[type], Mapping[str, Hint]]] = {}
_entries: dict[int, tuple[weakref.ref[type], tuple[Mapping[str, Hint], frozenset[str]]]] = {}


def _of_model(cls: type) -> Iterator[tuple[str, Hint]]:
    scope = scope_of(cls)
    for name, field in declared_fields(cls, MODEL).items():
        yield name, ANYTHING if any(map(changes_type, field.metadata)) else read(field.annotation, scope)


def _of_model_v1(cls: type) -> Iterator[tuple[str, Hint]]:
    scope = scope_of(cls)
    for name, field in declared_fields(cls, MODEL_V1).items():
        if field.class_validators:
            yield name, ANYTHING
        else:
            hint = read(field.outer_type_, scope)
            yield name, OneOf((hint, read(None))) if field.allow_none else hint


def _of_dataclass(cls: type) -> Iterator[tuple[str, Hint]]:
    of_pydantic = attribute(cls, "__pydantic_fields__") or {}
    for name, field in dataclass_fields(cls).items():
        info = of_pydantic.get(name)
        if info is not None and any(map(changes_type, info.metadata)):
            yield name, ANYTHING
        elif info is not None and type(info.annotation) is not str:
            yield name, read(info.annotation, scope_of(cls))
        else:
            yield name, read(field.type, scope_of(_declaring(cls, name, field)))


def _declaring(cls: type, name: str, field: Any) -> type:
    """Return the class, of a dataclass and its bases, in whose body a field is declared."""
    holders = [
        base for base in mro_of(cls) if space_of_class(base).get("__dataclass_fields__", _NONE).get(name) is field
    ]
    return holders[-1] if holders else cls


_NONE: Mapping[str, Any] = {}


def _validated(cls: type) -> frozenset[str]:
    """Return the fields of which validators make what they like, after pydantic has looked at the type."""
    decorators = attribute(cls, "__pydantic_decorators__")
    if decorators is None:
        return frozenset()
    found = [*decorators.field_validators.values(), *decorators.validators.values()]
    return frozenset(name for each in found if each.info.mode != "before" for name in each.info.fields)


# -- enums of which the values are kept -------------------------------------------------------------------------------


def _keeps_values(cls: type) -> bool:
    """Say whether a model holds the values of enums in the place of their members."""
    config = attribute(cls, "model_config") or attribute(cls, "__pydantic_config__")
    if isinstance(config, dict):
        return config.get("use_enum_values") is True
    old = attribute(cls, "__config__")
    return old is not None and attribute(old, "use_enum_values") is True


def _with_values(hint: Hint) -> Hint:
    if isinstance(hint, Written):
        hint = hint.read()
    if isinstance(hint, OneOf):
        return OneOf(tuple(map(_with_values, hint.options)))
    if isinstance(hint, Named) and derives(hint.cls, Enum):
        members = (attribute(hint.cls, "_member_map_") or {}).values()
        return OneOf((hint, Constants(tuple(object.__getattribute__(each, "_value_") for each in members))))
    if isinstance(hint, Named) and hint.parts:
        return Named(hint.cls, tuple(map(_with_values, hint.parts)), hint.more)
    return hint


# -- annotations ------------------------------------------------------------------------------------------------------


def entries_of(cls: type) -> tuple[Mapping[str, Hint], frozenset[str]]:
    """Return the types of the keys of a ``TypedDict``, and which of them it has in any case."""
    known = _entries.get(id(cls))
    if known is not None and known[0]() is cls:
        return known[1]
    found = _entries_of(cls)
    _remember(_entries, cls, found)
    return found


def _entries_of(cls: type) -> tuple[Mapping[str, Hint], frozenset[str]]:
    annotations = annotations_of(cls)
    scope = scope_of(cls)
    required = attribute(cls, "__required_keys__") or frozenset()
    required = frozenset(name for name in required if not _may_lack(annotations.get(name)))
    return {name: read(hint, scope) for name, hint in annotations.items()}, required


def _may_lack(hint: Any) -> bool:
    """Say whether an annotation that is text says that there may be no such key: Python takes no notice of that."""
    text = getattr(hint, "__forward_arg__", "") if type(hint) is not str else hint
    return "NotRequired" in text
