"""What is stored of an object, and the fields that its class has now: by name, by alias, or by default."""

from __future__ import annotations

import itertools
import types
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from pydantic import AliasChoices

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import NAMEDTUPLE, declared_fields
from charm_checkpoint.values.serde.class_reading import attribute, path_of
from charm_checkpoint.values.serde.classes import KEPT, ClassLayout
from charm_checkpoint.values.serde.conversion import as_annotated
from charm_checkpoint.values.serde.defaults import attrs_defaults, changed, default_of, fresh
from charm_checkpoint.values.serde.kept import NO_STATE, Teller, is_state, kept_in, shown
from charm_checkpoint.values.serde.telling import Finding

Differing: TypeAlias = "frozenset[str] | None"
"""Fields that are new, or had another annotation when an object was stored; None where it cannot be told."""
NONE_DIFFERS: frozenset[str] = frozenset()


def differing(layout: ClassLayout, stored: Iterable[str]) -> Differing:
    """Return which fields of a class are others now than when an object with these fields was stored."""
    if layout.changed is None:
        return NONE_DIFFERS
    return layout.changed.fields(frozenset(stored), layout.codes)


def is_fitting(layout: ClassLayout, stored: Mapping[str, Any], absent: Iterable[str]) -> bool:
    """Say whether the stored fields are those of the class, but for what it keeps out of what is stored."""
    there = stored.keys() | absent
    return there <= layout.names and layout.names - layout.excluded <= there


class Fitted(NamedTuple):
    """What is stored of an object, as its class has it now."""

    fields: dict[str, Any]
    """All fields in the class's order, but for those that are left out."""
    rest: dict[str, Any]
    """What is stored and no field."""
    renamed: dict[str, str]
    """The fields that were found under other names, by these."""


def fit(
    teller: Teller, cls: Any, layout: ClassLayout, state: Mapping[str, Any], absent: Any, differ: Differing
) -> Fitted:
    """Return what is stored of an object as its class has it now.

    A field is what is stored under its name, or else under an alias that is no other field's name, or else its
    default; one that is ``absent`` is left out. Raises TypeNotLoaded for a field that has nothing of these, or whose
    stored value does not fit its type. Only those that ``differ`` are held against their type: what an unchanged field
    holds is the program's own word.
    """
    if not is_state(state):
        raise TypeError(NO_STATE)
    declared = declared_fields(cls, layout.was)
    rest, whole, renamed, defaulted = dict(state), {}, {}, set()
    if KEPT in rest:
        rest = {**kept_in(rest), **rest}
    for name in layout.fields:
        alias = name if name in rest else _alias(layout, declared.get(name), rest)
        if alias:
            whole[name] = rest.pop(alias)
            renamed[alias] = name
        elif name not in absent:
            whole[name] = _default(cls, layout, name, declared, whole)
            defaulted.add(name)
    stored = {name: value for name, value in whole.items() if name not in defaulted}
    if differ is None or differ:
        whole.update(as_annotated(teller, cls, layout, differ, stored))
    for name in sorted(defaulted - layout.excluded):
        _tell_missing(teller, cls, name, rest)
    for alias, name in renamed.items():
        if alias != name:
            said = f"{path_of(cls)}.{name} is stored as {shown(alias)}, which is an alias of it now."
            teller.tell(Finding("renamed", path_of(cls), name, said))
    return Fitted(whole, rest, renamed)


def _default(cls: Any, layout: ClassLayout, name: str, declared: Mapping[str, Any], before: Mapping[str, Any]) -> Any:
    if layout.was == NAMEDTUPLE:
        defaults = attribute(cls, "_field_defaults") or {}
        if name not in defaults:
            raise TypeNotLoaded(changed(cls, f"nothing is stored for its field {name!r}"))
        made = fresh(defaults[name])
    else:
        made = default_of(cls, name, declared[name], layout.trusted, before)
    return made


def _tell_missing(teller: Teller, cls: Any, name: str, rest: Iterable[str]) -> None:
    said = f"{path_of(cls)}.{name} is not stored of an object; it has its default."
    if former := " or ".join(map(shown, itertools.islice(rest, _NAMED))):
        said += f" If that is the former {former}, say so by an alias, or an upgrade."
    teller.tell(Finding("missing", path_of(cls), name, said))


_NAMED = 3
"""Stored fields without a place that are named to who may have renamed one."""


def _alias(layout: ClassLayout, declared: Any, stored: Mapping[str, Any]) -> str:
    """Return the alias of a field under which something is stored, empty if there is none."""
    return next((each for each in aliases_of(declared) if each in stored and each not in layout.names), "")


def aliases_of(declared: Any) -> list[str]:
    """Return the aliases of a field, those for validation last; a path is none."""
    names = [getattr(declared, "alias", None)]
    validation = getattr(declared, "validation_alias", None)
    names += validation.choices if isinstance(validation, AliasChoices) else [validation]
    return [each for each in names if type(each) is str]


def gained(cls: type, layout: ClassLayout, held: Collection[str]) -> dict[str, Any]:
    """Return the attributes that the class has and did not have when an object was stored, as far as attrs says them.

    ``held`` is what the object has. Raises TypeNotLoaded for others that it sets and that are not stored.
    """
    if layout.changed is None or not layout.changed.differs:
        return {}
    then = frozenset(layout.changed.codes)
    new = [name for name, code in layout.codes.items() if code not in then and name not in held]
    said = {name: default for name, default in attrs_defaults(cls).items() if name in new}
    if missing := [name for name in new if name not in said and not _has(cls, name)]:
        names = ", ".join(missing)
        raise TypeNotLoaded(
            f"{path_of(cls)} has changed since this was stored: its __init__ sets {names}, of which nothing is stored. "
            f"Give the class a plain default ({missing[0]} = …), or make it of what is stored: "
            f"register_type({cls.__name__}, upgrade=…)."
        )
    return said


def _has(cls: type, name: str) -> bool:
    """Say whether the class itself has an attribute, which its objects then have, too."""
    return type(attribute(cls, name, _NOTHING)) not in (object, types.MemberDescriptorType)


_NOTHING = object()
