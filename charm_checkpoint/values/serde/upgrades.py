"""Objects that were stored before their class changed, where the program said what is done with them.

Here code of a class runs while it is read, and only here: the class is one that the program registered with an
upgrade, or to be validated, and the fields that are stored are not those that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import MODEL, MODEL_V1, declared_fields
from charm_checkpoint.values.serde.class_reading import attribute, derives, path_of
from charm_checkpoint.values.serde.classes import ClassLayout
from charm_checkpoint.values.serde.conversion import misfits
from charm_checkpoint.values.serde.fitting import (
    NONE_DIFFERS,
    Differing,
    aliases_of,
    fit,
    is_fitting,
)
from charm_checkpoint.values.serde.hooks import FIRST, Change, Upgrade
from charm_checkpoint.values.serde.kept import Teller, is_state
from charm_checkpoint.values.serde.stored_names import Changed

T = TypeVar("T")

_model_validate = vars(BaseModel)["model_validate"]


def call(cls: type, what: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call what a program registered; its errors become TypeNotLoaded, but for memory that the host lacks."""
    try:
        return function(*args, **kwargs)
    except MemoryError:
        raise
    except Exception as exc:  # whatever the program's function may raise
        raise TypeNotLoaded(f"the {what} of {path_of(cls)} failed: {exc!r}.") from exc


def is_due(
    change: Change, cls: type, layout: ClassLayout, differ: Differing, stored: Mapping[str, Any], absent: Iterable[str]
) -> bool:
    """Say whether an object is one of those that an upgrade or a validation is for.

    Its fields are not those that the class has, or it was stored by an older version of the class, or a field holds
    what its type does not take any more.
    """
    if change.is_older(layout.changed) or not is_fitting(layout, stored, absent):
        return True
    return (differ is None or bool(differ)) and misfits(cls, layout, differ, stored) != ""


def upgraded(cls: type, change: Change, changed: Changed | None, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a class's upgrades make of stored fields; a copy of them, if it has none.

    Those for versions run one after the other, from the one that the fields were stored by. Raises TypeNotLoaded where
    one fails, or returns no dict of fields.
    """
    fields = dict(stored)
    if change.upgrade is not None:
        return _upgraded(cls, change.upgrade, "upgrade", fields)
    # Of an object that is not older, none is due.
    first = (changed.version or FIRST) if changed is not None else change.version or FIRST
    for version in sorted(change.steps):
        if version >= first:
            fields = _upgraded(cls, change.steps[version], f"upgrade from version {version}", fields)
    return fields


def _upgraded(cls: type, upgrade: Upgrade, what: str, stored: dict[str, Any]) -> dict[str, Any]:
    fields = call(cls, what, upgrade, stored)
    if not is_state(fields):
        held = f"a {type(fields).__qualname__}" if type(fields) is not dict else "a dict with keys that are no text"
        raise TypeNotLoaded(f"the {what} of {path_of(cls)} returned {held}; it returns a dict of fields.")
    return dict(fields)


def names_set(stored: Mapping[str, Any], fields: Mapping[str, Any], were_set: set[str]) -> set[str]:
    """Return which of some upgraded fields count as set: those that were, and those that the upgrade made."""
    return (were_set - stored.keys()) | {name for name in fields if name in were_set or name not in stored}


class Validated(NamedTuple):
    """An object that its class made of stored fields."""

    made: Any
    rest: dict[str, Any]
    """What is stored and no field of it."""
    renamed: dict[str, str]
    """The fields that were found under other names, by these."""


def validated(
    teller: Teller, cls: Any, layout: ClassLayout, fields: dict[str, Any], differ: Differing = NONE_DIFFERS
) -> Validated:
    """Return the object that a class itself makes of fields, and what it did not take.

    Models go through ``model_validate`` or ``parse_obj``, other classes through their constructor. Most constructors
    take anything, so what these make of the fields that ``differ`` is held against their types. Raises TypeNotLoaded
    where the class refuses them.
    """
    known, rest, renamed = fit(teller, cls, layout, fields, layout.names, NONE_DIFFERS)
    if layout.was in (MODEL, MODEL_V1):
        made = _model(cls, layout, known, rest)
    else:
        made = _constructed(cls, layout, known)
        _check_types(cls, layout, made, differ)
    if not derives(type(made), cls):
        raise TypeNotLoaded(f"the validation of {path_of(cls)} returned a {type(made).__qualname__}.")
    return Validated(made, {} if layout.allows_extra else rest, renamed)


def _model(cls: Any, layout: ClassLayout, known: dict[str, Any], rest: dict[str, Any]) -> Any:
    declared = declared_fields(cls, layout.was)
    if layout.is_root_model and "root" in known:
        return call(cls, "validation", cls.model_validate, known["root"])
    if layout.was == MODEL and attribute(cls, "model_validate") is _model_validate:
        data = {**rest, **known}
        # An alias would win over the name of its field.
        unclear = any(each in data and each != name for name, field in declared.items() for each in aliases_of(field))
        return call(cls, "validation", cls.model_validate, data, by_alias=not unclear, by_name=True)
    config = attribute(cls, "model_config" if layout.was == MODEL else "__config__")
    validate = cls.model_validate if layout.was == MODEL else cls.parse_obj
    return call(cls, "validation", validate, {**rest, **_spelled(known, declared, config)})


def _constructed(cls: Any, layout: ClassLayout, known: dict[str, Any]) -> Any:
    """Call a constructor; what it does not take is set as it was stored."""
    fields = attribute(cls, "__dataclass_fields__") or {}
    declared = declared_fields(cls, layout.was)
    # Before 2.12, pydantic says so in its own field alone.
    later = {
        name: value
        for name, value in known.items()
        if name in fields and False in (fields[name].init, getattr(declared.get(name), "init", None))
    }
    given = {name: value for name, value in known.items() if name not in later}
    config = attribute(cls, "__pydantic_config__")
    made = call(cls, "validation", cls, **_spelled(given, declared, config))
    for name, value in later.items():
        object.__setattr__(made, name, value)
    return made


def _check_types(cls: Any, layout: ClassLayout, made: Any, differ: Differing) -> None:
    if (differ is not None and not differ) or attribute(cls, "__pydantic_validator__") is not None:
        return
    held = {name: call(cls, "validation", getattr, made, name) for name in layout.fields if hasattr(made, name)}
    if found := misfits(cls, layout, differ, held):
        raise TypeNotLoaded(f"the constructor of {path_of(cls)} did not convert what is stored: {found}")


def _spelled(known: Mapping[str, Any], declared: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Return fields under the names that validation takes them by: their own where it does, or an alias."""
    options = config if isinstance(config, Mapping) else {name: getattr(config, name, False) for name in _BY_NAME}
    if any(options.get(name) for name in _BY_NAME):
        return dict(known)
    return {next(reversed(aliases_of(declared.get(name))), name): value for name, value in known.items()}


_BY_NAME = ("validate_by_name", "populate_by_name", "allow_population_by_field_name")
