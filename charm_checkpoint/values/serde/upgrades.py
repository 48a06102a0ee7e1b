"""Objects that were stored before their class changed, where the program said what is done with them.

Here code of a class runs while it is read, and only here: the class is one that the program registered with an
upgrade, or to be validated, and the fields that are stored are not those that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import MODEL, MODEL_V1, NAMEDTUPLE, declared_fields
from charm_checkpoint.values.serde.class_reading import attribute, derives, path_of
from charm_checkpoint.values.serde.classes import ClassLayout
from charm_checkpoint.values.serde.fitting import aliases_of, fit, is_state, tell_dropped
from charm_checkpoint.values.serde.hooks import Change

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


def upgraded(cls: type, change: Change, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a class's upgrade makes of stored fields; a copy of them, if it has none."""
    if change.upgrade is None:
        return dict(stored)
    fields = call(cls, "upgrade", change.upgrade, dict(stored))
    if not is_state(fields):
        held = f"a {type(fields).__qualname__}" if type(fields) is not dict else "a dict with keys that are no text"
        raise TypeNotLoaded(f"the upgrade of {path_of(cls)} returned {held}; it returns a dict of fields.")
    return dict(fields)


def names_set(stored: Mapping[str, Any], fields: Mapping[str, Any], were_set: set[str]) -> set[str]:
    """Return which of some upgraded fields count as set: those that were, and those that the upgrade made."""
    return (were_set - stored.keys()) | {name for name in fields if name in were_set or name not in stored}


def validated(cls: Any, layout: ClassLayout, fields: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    """Return the object that a class itself makes of fields, and which names stood for others.

    Models go through ``model_validate`` or ``parse_obj``, other classes through their constructor.
    """
    found: dict[str, str] = {}
    if layout.was == NAMEDTUPLE:
        known = {name: fields[name] for name in layout.fields if name in fields}
        rest = {name: value for name, value in fields.items() if name not in known}
    else:
        known, rest, found = fit(cls, layout, fields, absent=layout.names)
    if layout.was in (MODEL, MODEL_V1):
        made = _model(cls, layout, known, rest)
    else:
        made = _constructed(cls, layout, known)
    if not derives(type(made), cls):
        raise TypeNotLoaded(f"the validation of {path_of(cls)} returned a {type(made).__qualname__}.")
    if not layout.allows_extra:
        tell_dropped(cls, rest)
    return made, found


def _model(cls: Any, layout: ClassLayout, known: dict[str, Any], rest: dict[str, Any]) -> Any:
    declared = declared_fields(cls, layout.was)
    if layout.is_root_model and "root" in known:
        return call(cls, "validation", cls.model_validate, known["root"])
    if layout.was == MODEL and attribute(cls, "model_validate") is _model_validate:
        data = {**rest, **known}
        # An alias would win over the name of its field.
        unclear = any(alias in data for field in declared.values() for alias in aliases_of(field))
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


def _spelled(known: Mapping[str, Any], declared: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Return fields under the names that validation takes them by: their own where it does, or an alias."""
    options = config if isinstance(config, Mapping) else {name: getattr(config, name, False) for name in _BY_NAME}
    if any(options.get(name) for name in _BY_NAME):
        return dict(known)
    return {next(reversed(aliases_of(declared.get(name))), name): value for name, value in known.items()}


_BY_NAME = ("validate_by_name", "populate_by_name", "allow_population_by_field_name")
