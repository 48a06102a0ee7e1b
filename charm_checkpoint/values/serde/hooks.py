"""What a program says itself of how a class is stored, and of what was stored before the class changed.

A dump to plain data, and the load that is its way back; an upgrade of stored fields, and whether they are validated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.values.serde.stored_names import Changed

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


FIRST = 1
"""The version of what is stored of a class that was given none."""
Upgrade: TypeAlias = "Callable[[dict[str, Any]], dict[str, Any]]"


class Change(NamedTuple):
    """What `register_type` was given for objects of a class that were stored before the class changed."""

    validate: bool
    upgrade: Upgrade | None
    version: int | None = None
    steps: Mapping[int, Upgrade] = {}
    """Upgrades by the version that each is for, whose fields it takes to the next."""

    def is_older(self, changed: Changed | None) -> bool:
        """Say whether an object was stored by an older version of the class than the program's."""
        return changed is not None and (changed.version or FIRST) < (self.version or FIRST)


_changes: dict[int, Change] = {}


def change_of(cls: type) -> Change | None:
    """Return what is done with objects of exactly this class whose stored fields do not fit it."""
    return _changes.get(id(cls))


def version_of(cls: type) -> int | None:
    """Return the version that the program gave exactly this class, None if it gave none."""
    change = _changes.get(id(cls))
    return None if change is None else change.version


AN_ENUM = "an enum"


def check_change(cls: type, validate: Any, upgrade: Any, version: Any, kind: str, can_validate: bool) -> Change | None:
    """Return what the three options say, None for none; raises ConfigError for what is not possible with a class.

    ``kind`` is what stands in the way of them, empty if nothing does; an enum has upgrades from version to version.
    """
    if validate is False and upgrade is None and version is None:
        return None
    if type(validate) is not bool:
        raise ConfigError(f"register_type({cls.__name__}, validate=…) takes True or False; given was {validate!r}.")
    _check_version(cls, version)
    steps = _steps(cls, upgrade, version) if isinstance(upgrade, Mapping) else {}
    upgrade = upgrade if not isinstance(upgrade, Mapping) else None
    if upgrade is not None and not callable(upgrade):
        raise ConfigError(
            f"register_type({cls.__name__}, upgrade=…) takes a function, from stored fields to those that the class "
            f"has now, dict to dict, or a dict of such by the versions that each starts from; given was {upgrade!r}."
        )
    if kind == AN_ENUM and version is not None and not validate:
        return Change(validate, upgrade, version, steps)
    if kind == AN_ENUM and not validate:
        raise ConfigError(
            f"{cls.__name__} is {kind}, of which members are upgraded from version to version alone: "
            f"register_type({cls.__name__}, version=2, upgrade={{1: …}}), from and to a dict of name and value."
        )
    if kind:
        raise ConfigError(f"{cls.__name__} is {kind}: it has no stored fields to be upgraded or validated.")
    if validate and not can_validate:
        raise ConfigError(
            f"{cls.__name__} declares no fields that could be validated. Make it a dataclass or a pydantic model, or "
            f"bring up to date what is stored: register_type({cls.__name__}, upgrade=…)."
        )
    return Change(validate, upgrade, version, steps)


def _check_version(cls: type, version: Any) -> None:
    if version is not None and (type(version) is not int or not FIRST <= version <= MOST_VERSIONS):
        raise ConfigError(
            f"register_type({cls.__name__}, version=…) takes a whole number from {FIRST} on; given was {version!r}."
        )


MOST_VERSIONS = 999_999_999


def _steps(cls: type, upgrade: Mapping[Any, Any], version: Any) -> dict[int, Upgrade]:
    if version is None:
        raise ConfigError(
            f"register_type({cls.__name__}, upgrade={{…}}) takes each version to the next; say which one the class has "
            "now: version=…"
        )
    for start, step in upgrade.items():
        if type(start) is not int or not FIRST <= start < version or not callable(step):
            raise ConfigError(
                f"register_type({cls.__name__}, version={version}, upgrade={{…}}) takes a function for each version "
                f"before this one; given was {step!r} for {start!r}."
            )
    return dict(upgrade)


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
