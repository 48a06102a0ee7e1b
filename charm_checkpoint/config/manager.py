"""Memory providers by name, one object each for the whole process."""

from __future__ import annotations

import functools
import logging
from collections.abc import Hashable, Mapping
from importlib.metadata import EntryPoint
from typing import Any

from charm_checkpoint.config import registry
from charm_checkpoint.config.masking import show
from charm_checkpoint.config.options import expand, suggest
from charm_checkpoint.config.tracebacks import unseen
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.runtime import forks

log = logging.getLogger("charm_checkpoint")

GROUP = "charm.memory"

PROVIDERS: Mapping[str, str] = {
    "charm-local": "charm_checkpoint.providers:LocalMemory",
    "charm-supabase": "charm_checkpoint.providers:SupabaseMemory",
    "local": "charm_checkpoint.providers:LocalMemory",
    "memory": "charm_checkpoint.providers:RamMemory",
    "none": "charm_checkpoint.providers:NullMemory",
    "postgres": "charm_checkpoint.providers:PostgresMemory",
    "ram": "charm_checkpoint.providers:RamMemory",
    "redis": "charm_checkpoint.providers:RedisMemory",
    "sqlite": "charm_checkpoint.providers:SqliteMemory",
    "supabase": "charm_checkpoint.providers:SupabaseMemory",
    "valkey": "charm_checkpoint.providers:ValkeyMemory",
}
"""Provider name: where its class is. These come before entry points of the same name."""


class StorageManager:
    """Gives out memory providers: Charm's way to a store, by name and config."""

    _cache: dict[Hashable, Any] = {}

    @classmethod
    @unseen
    def get_provider(cls, name: str = "local", config: Mapping[str, Any] | None = None) -> Any:
        """Return the provider of this name and config; the same object for equal ones, in any thread.

        ``${NAME}`` in the config is expanded by the provider. A name that nobody registered is
        answered with local files and a warning; a registered provider that cannot start raises.
        """
        if not isinstance(name, str):
            raise ConfigError(f"a provider has a name, in quotes, not a {type(name).__name__}; use open_memory(path)")
        if config is not None and not isinstance(config, Mapping):
            raise ConfigError(f'a provider\'s config is a mapping, as in {{"url": …}}, not {type(config).__name__}')
        with forks.lock(__name__):
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
        with forks.lock(__name__):
            while cls._cache:
                _, provider = cls._cache.popitem()
                if hasattr(provider, "close"):
                    provider.close()


def known_providers() -> list[str]:
    """Return the names of all providers there are, importing none."""
    return sorted({*PROVIDERS, *_plugins()})


def provider_class(name: str) -> Any:
    """Import the class of a provider; None if nobody registered the name."""
    if name in PROVIDERS:
        return registry.load_object(PROVIDERS[name])
    if name in _plugins():
        plugin = _plugins()[name]
        with registry.faults_of(plugin):
            made = registry.load_object(plugin.value)
        if not callable(made):
            raise ConfigError(f"{plugin.value} is no provider's class, but {type(made).__name__}")
        return made
    return None


def _fall_back(name: str) -> Any:
    shown = show(name)
    if "://" in name:
        raise ConfigError(f"{shown} is a URL, not a provider's name; use open_memory(url)")
    log.warning("no memory provider %s (%s); using local files", shown, suggest(name, known_providers()))
    return registry.load_object(PROVIDERS["local"])


@functools.cache
def _plugins() -> dict[str, EntryPoint]:
    return registry.read_entry_points(GROUP, PROVIDERS, own=PROVIDERS.values())


def _freeze(value: Any, path: tuple[str, ...]) -> Hashable:
    """Turn a config into a key: equal for configs equal in value and type."""
    if isinstance(value, Mapping):
        return frozenset((name, _freeze(item, (*path, str(name)))) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(item, path) for item in value)
    if isinstance(value, Hashable):
        return type(value), value
    raise ConfigError(f"config {'.'.join(path)}: a {type(value).__name__} cannot be part of a config")
