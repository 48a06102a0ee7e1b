"""What is stored of an object, and the fields that its class has now: by name, by alias, or by default."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import AliasChoices

from charm_checkpoint.values.serde.class_fields import declared_fields
from charm_checkpoint.values.serde.class_reading import path_of
from charm_checkpoint.values.serde.classes import ClassLayout
from charm_checkpoint.values.serde.defaults import default_of

logger = logging.getLogger("charm_checkpoint")


NO_STATE = "what an object holds is a dict of attributes by their names"
"""What is said of anything else."""


def is_state(stored: Any) -> bool:
    """Say whether something is a dict of attributes by their names."""
    return type(stored) is dict and _TEXT.issuperset(map(type, stored))


_TEXT = frozenset({str})


def is_fitting(layout: ClassLayout, stored: Mapping[str, Any], absent: Iterable[str]) -> bool:
    """Say whether the stored fields are those of the class, but for what it keeps out of what is stored."""
    there = stored.keys() | absent
    return there <= layout.names and layout.names - layout.excluded <= there


def fit(
    cls: Any, layout: ClassLayout, state: dict[str, Any], absent: Any
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Return the fields of a class in its order, what is left of those stored, and which names stood for others.

    A field is what is stored under its name, or else under an alias that is no other field's name, or else its
    default; one that is ``absent`` is left out.
    """
    if not is_state(state):
        raise TypeError(NO_STATE)
    declared = declared_fields(cls, layout.was)
    rest, whole, found = dict(state), {}, {}
    for name in layout.fields:
        alias = name if name in rest else _alias(layout, declared[name], rest)
        if alias:
            whole[name] = rest.pop(alias)
            found[alias] = name
        elif name not in absent:
            whole[name] = default_of(cls, name, declared[name], layout.trusted, whole)
    return whole, rest, found


def _alias(layout: ClassLayout, declared: Any, stored: Mapping[str, Any]) -> str:
    """Return the alias of a field under which something is stored, empty if there is none."""
    return next((each for each in aliases_of(declared) if each in stored and each not in layout.names), "")


def aliases_of(declared: Any) -> list[str]:
    """Return the aliases of a field, those for validation last; a path is none."""
    names = [getattr(declared, "alias", None)]
    validation = getattr(declared, "validation_alias", None)
    names += validation.choices if isinstance(validation, AliasChoices) else [validation]
    return [each for each in names if type(each) is str]


def tell_dropped(cls: type, gone: Collection[str]) -> None:
    """Warn, once, that a class no longer has some of the stored fields."""
    if gone and path_of(cls) not in _dropped:
        _dropped.add(path_of(cls))
        logger.warning(
            "%s no longer has the stored fields %s; they are dropped.", path_of(cls), ", ".join(map(shown, gone))
        )


def shown(name: str) -> str:
    """Return a stored name for a log line: as it is if it could be a name, and else without what is no plain text."""
    return name if name.isidentifier() else ascii(name)


_dropped: set[str] = set()
