"""Which store opens which URL scheme.

Stores are named by strings and imported when first used. A store is a module with

    OPTIONS: tuple[Option, ...]                                   what `open_store` understands
    FOREIGN: Mapping[str, ForeignOption]                          what it makes of others' options; may be left out
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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeAlias

from charm_checkpoint.config.foreign_options import ForeignOption
from charm_checkpoint.config.masking import mask, plain_name
from charm_checkpoint.config.options import Option, suggest
from charm_checkpoint.config.url import Location
from charm_checkpoint.errors import CharmError, ConfigError, MissingExtra
from charm_checkpoint.runtime import forks
from charm_checkpoint.runtime.packed_program import advice, is_packed

if TYPE_CHECKING:
    from charm_checkpoint.store import Store

log = logging.getLogger("charm_checkpoint")

OpenStore: TypeAlias = "Callable[[Location, Mapping[str, Any]], Store]"

GROUP = "charm_checkpoint.stores"

BUILT_IN: Mapping[str, tuple[str, str]] = {
    "file": ("charm_checkpoint.stores.files.store:open_store", ""),
    "memory": ("charm_checkpoint.stores.ram:open_store", ""),
    "none": ("charm_checkpoint.stores.none:open_store", ""),
    "postgres": ("charm_checkpoint.stores.postgres.driver:open_store", 'pip install "charm-checkpoint[postgres]"'),
    "postgresql": ("charm_checkpoint.stores.postgres.driver:open_store", 'pip install "charm-checkpoint[postgres]"'),
    "redis": ("charm_checkpoint.stores.redis.store:open_store", 'pip install "charm-checkpoint[redis]"'),
    "redis+cluster": ("charm_checkpoint.stores.redis.store:open_store", 'pip install "charm-checkpoint[redis]"'),
    "redis+sentinel": ("charm_checkpoint.stores.redis.store:open_store", 'pip install "charm-checkpoint[redis]"'),
    "rediss": ("charm_checkpoint.stores.redis.store:open_store", 'pip install "charm-checkpoint[redis]"'),
    "http": ("charm_checkpoint.stores.supabase.driver:open_store", 'pip install "charm-checkpoint[supabase]"'),
    "https": ("charm_checkpoint.stores.supabase.driver:open_store", 'pip install "charm-checkpoint[supabase]"'),
    "supabase": ("charm_checkpoint.stores.supabase.driver:open_store", 'pip install "charm-checkpoint[supabase]"'),
    "sqlite": ("charm_checkpoint.stores.sqlite.driver:open_store", ""),
    "unix": ("charm_checkpoint.stores.redis.store:open_store", 'pip install "charm-checkpoint[redis]"'),
    "valkey": ("charm_checkpoint.stores.redis.store:open_store", 'pip install "charm-checkpoint[redis]"'),
    "valkeys": ("charm_checkpoint.stores.redis.store:open_store", 'pip install "charm-checkpoint[redis]"'),
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
    foreign: Mapping[str, ForeignOption] = field(default_factory=dict, hash=False)


_registered: dict[str, StoreType] = {}


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
        with faults_of(plugin):
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
    if not callable(open_store):
        raise ConfigError(f"open_store is a function that returns a Store, not {type(open_store).__name__}")
    with forks.lock(__name__):
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


@contextmanager
def faults_of(entry: EntryPoint) -> Iterator[None]:
    """Name the entry point that is at fault for whatever its module raises, be it no `Exception`."""
    try:
        yield
    except (CharmError, KeyboardInterrupt):
        raise
    except BaseException as error:
        said = f"{type(error).__name__}: {mask(str(error))}"
        raise ConfigError(f"the entry point {entry.name} = {entry.value} cannot be loaded: {said}") from error


def _import_error(path: str, error: ImportError, hint: str) -> ImportError | ConfigError:
    module, missing = path.partition(":")[0], error.name or ""
    if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{missing}."):
        return ConfigError(f"there is no module {missing!r}, named by {path!r}{_lacking(module)}")
    if missing.partition(".")[0] == module.partition(".")[0]:
        if isinstance(error, ModuleNotFoundError) and _lacking(module):
            return ConfigError(f"cannot import {path}: {error}{_lacking(module)}")
        return error  # a fault in the store's own package, which no installation mends
    again = ", in the environment that packs this program, and pack it again" if is_packed() else ""
    return MissingExtra(f"cannot import what {path} needs: {error}; {hint or 'install it'}{again}")


def _lacking(module: str) -> str:
    return advice() if module.startswith("charm_checkpoint.") else ""


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
    """Return the entry points by scheme, in small letters as those of URLs are read."""
    found: dict[str, EntryPoint] = {}
    for name, entry in read_entry_points(GROUP, BUILT_IN).items():
        scheme = name.lower()
        if not _SCHEME.fullmatch(scheme):
            log.warning("entry point %s = %s in group %s is ignored: this is no URL scheme", name, entry.value, GROUP)
        elif scheme in found or scheme in BUILT_IN:
            log.warning("entry point %s = %s in group %s is ignored: the name is taken", name, entry.value, GROUP)
        else:
            found[scheme] = entry
    return found


def _load(scheme: str, path: str, hint: str) -> StoreType:
    open_store = load_object(path, hint)
    module = importlib.import_module(path.partition(":")[0])
    options = tuple(getattr(module, "OPTIONS", ()))
    if not callable(open_store):
        raise ConfigError(f"{path} is no function that opens a store, but {type(open_store).__name__}")
    if not all(isinstance(option, Option) for option in options):
        raise ConfigError(f"OPTIONS beside {path} holds what is no Option")
    return StoreType(scheme, open_store, options, hint, getattr(module, "FOREIGN", {}))


def _install_hint(entry: EntryPoint) -> str:
    return f"see the documentation of {entry.dist.name}" if entry.dist else ""
