"""What a program says itself of how a class is stored, and of what was stored before the class changed.

A dump to plain data, and the load that is its way back; an upgrade of stored fields, and whether they are validated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from charm_checkpoint.errors import ConfigError

AS_THEY_ARE: set[type] = {type(None), bool, int, float, str, bytes, memoryview, list, dict, object, type}
"""Types that no hook is asked for: plain ones, and those that `values` encodes by its own table."""


class Hook(NamedTuple):
    """What `register_type` was given for a class."""

    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]


_hooks: dict[int, Hook] = {}  # by id, as no code of a metaclass is to run


def hook_of(cls: type) -> Hook | None:
    """Return the hook of exactly this class: a subclass would come back as its base."""
    return _hooks.get(id(cls))


Upgrade: TypeAlias = "Callable[[dict[str, Any]], dict[str, Any]]"


class Change(NamedTuple):
    """What `register_type` was given for objects of a class that were stored before the class changed."""

    validate: bool
    upgrade: Upgrade | None


_changes: dict[int, Change] = {}


def change_of(cls: type) -> Change | None:
    """Return what is done with objects of exactly this class whose stored fields do not fit it."""
    return _changes.get(id(cls))


def check_change(cls: type, validate: Any, upgrade: Any, kind: str, can_validate: bool) -> Change | None:
    """Return what the two options say, None for neither; raises ConfigError for what is not possible with a class.

    ``kind`` is what stands in the way of both, empty if nothing does.
    """
    if validate is False and upgrade is None:
        return None
    if type(validate) is not bool:
        raise ConfigError(f"register_type({cls.__name__}, validate=…) takes True or False; given was {validate!r}.")
    if upgrade is not None and not callable(upgrade):
        raise ConfigError(
            f"register_type({cls.__name__}, upgrade=…) takes a function, from stored fields to those that the class "
            f"has now, dict to dict; given was {upgrade!r}."
        )
    if kind:
        raise ConfigError(f"{cls.__name__} is {kind}: it has no stored fields to be upgraded or validated.")
    if validate and not can_validate:
        raise ConfigError(
            f"{cls.__name__} declares no fields that could be validated. Make it a dataclass or a pydantic model, or "
            f"bring up to date what is stored: register_type({cls.__name__}, upgrade=…)."
        )
    return Change(validate, upgrade)


def set_change(cls: type, change: Change) -> None:
    """Treat what was stored of a class before it changed in this way from now on."""
    _changes[id(cls)] = change


def check_hook(cls: type, dump: Any, load: Any) -> Hook | None:
    """Return the hook of the two functions, None for neither; raises ConfigError for half of one."""
    if dump is None and load is None:
        return None
    for name, function in (("dump", dump), ("load", load)):
        if not callable(function):
            raise ConfigError(
                f"register_type({cls.__name__}, dump=…, load=…) needs both: dump(object) returns plain data, and "
                f"load(data) the object again. {name} is {function!r}."
            )
    if cls in AS_THEY_ARE:
        raise ConfigError(f"How a {cls.__name__} is stored cannot be changed. Register a class derived from it.")
    return Hook(dump, load)


def set_hook(cls: type, hook: Hook) -> None:
    """Store instances of a class by a hook from now on."""
    _hooks[id(cls)] = hook


def forget(key: int) -> None:
    """Forget what was registered for a class that is gone, by its id."""
    _hooks.pop(key, None)
    _changes.pop(key, None)
