"""How a program says itself what a class is stored as: a dump to plain data, and the load that is its way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from charm_checkpoint.errors import ConfigError

AS_THEY_ARE: set[type] = {type(None), bool, int, float, str, bytes, memoryview, list, dict, object, type}
"""Types that no hook is asked for: plain ones, and those that `values` encodes by its own table."""


class Hook(NamedTuple):
    """What `register_type` was given for a class."""

    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]


_hooks: dict[type, Hook] = {}


def hook_of(cls: type) -> Hook | None:
    """Return the hook of exactly this class: a subclass would come back as its base."""
    return _hooks.get(cls)


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
    _hooks[cls] = hook
