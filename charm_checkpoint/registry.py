"""Which store opens which URL scheme.

Stores are named by strings and imported when first used. A store is a module with

    OPTIONS: tuple[Option, ...]                                   what `open_store` understands
    def open_store(location: Location, options: Mapping[str, Any]) -> Store: ...

``options`` holds a value for every one of `OPTIONS`. A package adds a store by an entry point in
the group ``charm_checkpoint.stores`` (``duckdb = "my_package.store:open_store"``), a program by
`register_store`. In rank: programs, the stores built in, entry points.
"""

from __future__ import annotations

import functools
import importlib
import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeAlias

from charm_checkpoint.config import Option, suggest
from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.location import Location
from charm_checkpoint.masking import plain_name

if TYPE_CHECKING:
    from charm_checkpoint.store import Store

log = logging.getLogger(__name__)

OpenStore: TypeAlias = "Callable[[Location, Mapping[str, Any]], Store]"

GROUP = "charm_checkpoint.stores"

BUILT_IN: Mapping[str, tuple[str, str]] = {
    "file": ("charm_checkpoint.backends.local:open_store", ""),
    "memory": ("charm_checkpoint.backends.ram:open_store", ""),
    "none": ("charm_checkpoint.backends.none:open_store", ""),
    "postgres": ("charm_checkpoint.backends.postgres:open_store", 'pip install "charm-checkpoint[postgres]"'),
    "postgresql": ("charm_checkpoint.backends.postgres:open_store", 'pip install "charm-checkpoint[postgres]"'),
    "redis": ("charm_checkpoint.backends.redis:open_store", 'pip install "charm-checkpoint[redis]"'),
    "redis+cluster": ("charm_checkpoint.backends.redis:open_store", 'pip install "charm-checkpoint[redis]"'),
    "redis+sentinel": ("charm_checkpoint.backends.redis:open_store", 'pip install "charm-checkpoint[redis]"'),
    "rediss": ("charm_checkpoint.backends.redis:open_store", 'pip install "charm-checkpoint[redis]"'),
    "http": ("charm_checkpoint.backends.supabase:open_store", 'pip install "charm-checkpoint[supabase]"'),
    "https": ("charm_checkpoint.backends.supabase:open_store", 'pip install "charm-checkpoint[supabase]"'),
    "supabase": ("charm_checkpoint.backends.supabase:open_store", 'pip install "charm-checkpoint[supabase]"'),
    "sqlite": ("charm_checkpoint.backends.sqlite:open_store", ""),
    "unix": ("charm_checkpoint.backends.redis:open_store", 'pip install "charm-checkpoint[redis]"'),
    "valkey": ("charm_checkpoint.backends.redis:open_store", 'pip install "charm-checkpoint[redis]"'),
    "valkeys": ("charm_checkpoint.backends.redis:open_store", 'pip install "charm-checkpoint[redis]"'),
}
"""Scheme: where its store is, and how to install its driver where it needs one."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*")


@dataclass(frozen=True, slots=True)
class StoreType:
    """How to open the stores of one scheme. ``hint`` says how to install its driver."""

    scheme: str
    open_store: OpenStore
    options: tuple[Option, ...]
    hint: str = ""


_registered: dict[str, StoreType] = {}
_lock = threading.Lock()


def resolve(scheme: str) -> StoreType:
    """Return the store type of a URL scheme, importing it.

    Raises `MissingExtra` when its driver is not installed, `ConfigError` when nobody offers it.
    """
    if scheme in _registered:
        return _registered[scheme]
    if scheme in BUILT_IN:
        return _load(scheme, *BUILT_IN[scheme])
    if scheme in _plugins():
        plugin = _plugins()[scheme]
        return _load(scheme, plugin.value, _install_hint(plugin))
    raise ConfigError(f"no store for the scheme {plain_name(scheme)}; {suggest(scheme, available())}")


def available() -> dict[str, str]:
    """Return every scheme and where its store is, importing none."""
    plugins = {scheme: plugin.value for scheme, plugin in _plugins().items()}
    built_in = {scheme: path for scheme, (path, _) in BUILT_IN.items()}
    programs = {scheme: path_of(kind.open_store) for scheme, kind in _registered.copy().items()}
    return dict(sorted({**plugins, **built_in, **programs}.items()))


def register_store(
    scheme: str, open_store: OpenStore, *, options: Iterable[Option] = (), clobber: bool = False
) -> None:
    """Offer a store under a URL scheme in this process.

    Raises `ConfigError` for a scheme that is built in or registered already, unless ``clobber``.
    """
    if not _SCHEME.fullmatch(scheme):
        raise ConfigError(f"{plain_name(scheme)} is not a URL scheme; write lower-case letters, digits, + . -")
    with _lock:
        if not clobber and (scheme in BUILT_IN or scheme in _registered):
            raise ConfigError(
                f"the scheme {scheme!r} has a store already; pass clobber=True to put this one in its place"
            )
        _registered[scheme] = StoreType(scheme, open_store, tuple(options))


def load_object(path: str, hint: str = "") -> Any:
    """Import ``module:name``.

    Raises `MissingExtra`, ending with ``hint``, when a driver that it imports is not installed or
    too old, `ConfigError` when there is no such module or name.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise _import_error(path, error, hint) from error
    if not hasattr(module, name):
        raise ConfigError(f"the module {module_name!r} has no {name!r}, named by {path!r}")
    return getattr(module, name)


def _import_error(path: str, error: ImportError, hint: str) -> ImportError | ConfigError:
    module, missing = path.partition(":")[0], error.name or ""
    if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{missing}."):
        return ConfigError(f"there is no module {missing!r}, named by {path!r}")
    if missing.partition(".")[0] == module.partition(".")[0]:
        return error  # a fault in the store's own package, which no installation mends
    return MissingExtra(f"cannot import what {path} needs: {error}; {hint or 'install it'}")


def read_entry_points(
    group: str, reserved: Collection[str] = (), *, own: Collection[str] = ()
) -> dict[str, EntryPoint]:
    """Return a group's entry points by name, importing none; the first of two wins, and ``reserved`` before it.

    Those with a value in ``own`` are for others to read, and left out.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        if entry.value in own:
            continue
        if entry.name in reserved or entry.name in found:
            log.warning("entry point %s = %s in group %s is ignored: the name is taken", entry.name, entry.value, group)
        else:
            found[entry.name] = entry
    return found


def path_of(member: Any) -> str:
    """Return ``module:name`` of a class or function, for people to read."""
    return f"{getattr(member, '__module__', '?')}:{getattr(member, '__qualname__', type(member).__qualname__)}"


@functools.cache
def _plugins() -> dict[str, EntryPoint]:
    return read_entry_points(GROUP, BUILT_IN)


def _load(scheme: str, path: str, hint: str) -> StoreType:
    open_store = load_object(path, hint)
    options = getattr(importlib.import_module(path.partition(":")[0]), "OPTIONS", ())
    return StoreType(scheme, open_store, tuple(options), hint)


def _install_hint(entry: EntryPoint) -> str:
    return f"see the documentation of {entry.dist.name}" if entry.dist else ""
