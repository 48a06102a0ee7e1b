"""Memory providers by name, one object each for the whole process."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Hashable, Mapping
from importlib.metadata import EntryPoint
from typing import Any

from charm_checkpoint import registry
from charm_checkpoint.config import expand, suggest
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.masking import mask

log = logging.getLogger(__name__)

GROUP = "charm.memory"

PROVIDERS: Mapping[str, str] = {
    "memory": "charm_checkpoint.providers:RamMemory",
    "ram": "charm_checkpoint.providers:RamMemory",
    "sqlite": "charm_checkpoint.providers:SqliteMemory",
}
"""Provider name: where its class is. These come before entry points of the same name."""

LOCAL_SCHEME = "file"
LOCAL = "charm_checkpoint.providers:LocalMemory"


class StorageManager:
    """Gives out memory providers: Charm's way to a store, by name and config."""

    _lock = threading.RLock()
    _cache: dict[Hashable, Any] = {}

    @classmethod
    def get_provider(cls, name: str = "local", config: Mapping[str, Any] | None = None) -> Any:
        """Return the provider of this name and config; the same object for equal ones, in any thread.

        ``${NAME}`` in the config is expanded by the provider. A name that nobody registered is
        answered with local files and a warning; a registered provider that cannot start raises.
        """
        with cls._lock:
            make, used = provider_class(name), dict(config or {})
            if make is None:
                name, used, make = "local", {}, _fall_back(name)
            key = (name, _freeze(expand(used), ()))
            if key not in cls._cache:
                cls._cache[key] = make(used)
            return cls._cache[key]

    @classmethod
    def clear(cls) -> None:
        """Close every provider given out, and forget it."""
        with cls._lock:
            while cls._cache:
                _, provider = cls._cache.popitem()
                if hasattr(provider, "close"):
                    provider.close()


def known_providers() -> list[str]:
    """Return the names of all providers there are, importing none."""
    local = ["local"] if _has_local() else []
    return sorted({*PROVIDERS, *_plugins(), *local})


def provider_class(name: str) -> Any:
    """Import the class of a provider; None if nobody registered the name."""
    if name == "local" and _has_local():
        return registry.load_object(LOCAL)
    if name in PROVIDERS:
        return registry.load_object(PROVIDERS[name])
    if name in _plugins():
        return registry.load_object(_plugins()[name].value)
    return None


def _fall_back(name: str) -> Any:
    shown = repr(mask(name))
    if "://" in name:
        raise ConfigError(f"{shown} is a URL, not a provider's name; use open_memory(url)")
    if not _has_local():
        raise ConfigError(f"no memory provider {shown}; {suggest(name, known_providers())}")
    log.warning("no memory provider %s (%s); using local files", shown, suggest(name, known_providers()))
    return registry.load_object(LOCAL)


def _has_local() -> bool:
    return LOCAL_SCHEME in registry.available()


@functools.cache
def _plugins() -> dict[str, EntryPoint]:
    return {name: entry for name, entry in registry.read_entry_points(GROUP).items() if name != "local"}


def _freeze(value: Any, path: tuple[str, ...]) -> Hashable:
    """Turn a config into a key: equal for configs equal in value and type."""
    if isinstance(value, Mapping):
        return frozenset((name, _freeze(item, (*path, str(name)))) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(item, path) for item in value)
    if isinstance(value, Hashable):
        return type(value), value
    raise ConfigError(f"config {'.'.join(path)}: a {type(value).__name__} cannot be part of a config")
