"""ZeroClaw's ``config.toml``: ``[memory]`` and ``[storage…]``, with the environment's values in their place.

Errors name the file, the setting, and its line where the text shows it; of a connection string they show no secret.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from charm_checkpoint.config.masking import Secret, mask, show
from charm_checkpoint.config.options import suggest
from charm_checkpoint.config.plain_files import plain_toml, read_bounded
from charm_checkpoint.config.tracebacks import unseen
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.hosts.zeroclaw.environment import database_url, storage_provider, with_overrides
from charm_checkpoint.hosts.zeroclaw.settings import MOST_SECONDS, MemorySettings, backend_kind, read

URL_NAMES: Final = ("db_url", "dbURL", "database_url", "databaseUrl")

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "provider": ("provider", *URL_NAMES, "schema", "table", "connect_timeout_secs"),
    "postgres": (*URL_NAMES, "schema", "table", "connect_timeout_secs", "vector_enabled", "vector_dimensions"),
    "sqlite": ("path", "open_timeout_secs"),
    "lucid": ("binary_path", "recall_timeout_ms", "store_timeout_ms"),
    "markdown": ("directory",),
}
"""What a table of ``[storage]`` may hold. ``vector_…`` need not be said: vectors are kept if there is a model."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENCRYPTED = re.compile(r"enc\d*:")
_HEADER = re.compile(r"\s*\[\[?\s*(?P<name>[^\]]+?)\s*\]")


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Where memories are: what ``[storage…]`` and the environment say for the backend that is used.

    ``source`` says where ``db_url`` is from, for errors. None is what nobody has said.
    """

    db_url: Secret | None = None
    source: str = ""
    schema: str | None = None
    table: str | None = None
    connect_timeout_secs: int | None = None
    path: Path | None = None
    open_timeout_secs: int | None = None
    binary_path: str | None = None
    recall_timeout_ms: int | None = None
    store_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ZeroClawConfig:
    """What a ``config.toml`` says of memories; ``workspace`` is ZeroClaw's folder for them."""

    path: Path
    memory: MemorySettings
    storage: StorageSettings
    api_key: Secret | None = field(default=None, compare=False)

    @property
    def workspace(self) -> Path:
        """Return the folder ``workspace`` beside the file."""
        return self.path.parent / "workspace"


@unseen
def read_config(
    path: str | os.PathLike[str],
    env: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> ZeroClawConfig:
    """Read a ``config.toml``, or the one in a folder; tables that are not about memories are passed over.

    ``overrides`` are settings of ``[memory]`` that win over the environment's, which win over the file's. Raises
    `ConfigError` for what it does not know and for values of the wrong kind.
    """
    file = Path(path).expanduser()
    file = (file / "config.toml" if file.is_dir() else file).absolute()
    found = _File(file)
    found.tables, found.variables = with_overrides(found.tables, env)
    provider = found.table("storage", "provider", "config")
    named = overrides.get("backend") or storage_provider(env) or provider.get("provider") or None
    if named is not None and not isinstance(named, str):
        raise ConfigError(f"{found.at('storage.provider.config', 'provider')}: text is wanted, not {show(named)}")
    given = {**found.table("memory"), **overrides}
    memory = read(given, lambda name: f"the setting {name}" if name in overrides else found.at("memory", name), named)
    key = found.tables.get("api_key")
    api_key = Secret(key) if isinstance(key, str) and key and not _ENCRYPTED.match(key) else None
    return ZeroClawConfig(file, memory, _storage(found, memory, env), api_key)


class _File:
    """A TOML file that knows on which lines its settings are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.variables: Mapping[tuple[str, str], str] = {}
        toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
        try:
            # Some editors of Windows put a byte order mark first.
            self._text = read_bounded(path).decode("utf-8-sig")
            self.tables: Mapping[str, Any] = plain_toml(toml.loads, self._text, path)
        except FileNotFoundError:
            raise ConfigError(f"there is no file {path}; name ZeroClaw's config.toml, or its folder") from None
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not UTF-8, as TOML is: byte {error.start} is {error.reason}") from None
        except ConfigError:
            raise
        except ValueError as error:  # TOMLDecodeError, which tells the line
            raise ConfigError(f"{path} is not TOML: {mask(str(error))}") from None

    def table(self, *names: str) -> Mapping[str, Any]:
        """Return a table, empty if it is not there."""
        table = self.tables
        for depth, name in enumerate(names, 1):
            below = table.get(name, {})
            if not isinstance(below, Mapping):
                raise ConfigError(f"{self.path}: [{'.'.join(names[:depth])}] is a table, not {type(below).__name__}")
            table = below
        return table

    def at(self, table: str, name: str) -> str:
        """Say where a setting is: file, line if it is seen, table and name, or the variable that it is from."""
        if (table, name) in self.variables:
            return self.variables[table, name]
        line = self._line(table, name)
        return f"{self.path}{f', line {line}' if line else ''}: [{table}] {name if name.isidentifier() else '…'}"

    def _line(self, table: str, name: str) -> int | None:
        here = ""
        key = re.compile(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=")
        for number, text in enumerate(self._text.splitlines(), 1):
            header = _HEADER.match(text)
            if header:
                here = re.sub(r"\s*\.\s*", ".", header["name"]).replace('"', "").replace("'", "")
            elif here == table and key.match(text):
                return number
        return None


def _storage(file: _File, memory: MemorySettings, env: Mapping[str, str]) -> StorageSettings:
    """Return what is said of the backend's storage: by its alias, or else in ``[storage.provider.config]``."""
    kind, alias = memory.kind, memory.alias
    if kind == "none":
        return StorageSettings()
    given = dict(file.table("storage", "provider", "config"))
    table = "storage.provider.config"
    _known(file, table, given, "provider")
    aliases = file.table("storage", kind)
    if alias and alias not in aliases:
        raise ConfigError(
            f"{file.at('memory', 'backend')}: there is no [storage.{kind}.{alias}]; {suggest(alias, aliases)}"
        )
    if alias or len(aliases) == 1:  # without an alias, the only one there is will be meant
        alias = alias or next(iter(aliases))
        table, given = f"storage.{kind}.{alias}", dict(file.table("storage", kind, alias))
        _known(file, table, given, kind)
    return _read_storage(file, table, given, kind, env)


def _read_storage(file: _File, table: str, given: dict[str, Any], kind: str, env: Mapping[str, str]) -> StorageSettings:
    def at(name: str) -> str:
        return file.at(table, name)

    def text(name: str) -> str | None:
        value = given.get(name)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise ConfigError(f"{at(name)}: text is wanted, not {show(value)}")
        return value

    def whole(name: str, most: int) -> int | None:
        value = given.get(name)
        if value is None or value == 0 and name.endswith("_ms"):  # with which ZeroClaw means its default
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{at(name)}: a whole number from 1 is wanted, not {show(value)}")
        return min(value, most)

    def identifier(name: str) -> str | None:
        value = text(name)
        if value is not None and not _IDENTIFIER.fullmatch(value):
            raise ConfigError(f"{at(name)}: a name of letters, digits and _ is wanted, not {show(value)}")
        return value

    url, source = _url(file, table, given, env) if kind == "postgres" else (None, "")
    place = text({"sqlite": "path", "markdown": "directory"}.get(kind, "path"))
    return StorageSettings(
        db_url=url,
        source=source,
        schema=identifier("schema"),
        table=identifier("table"),
        connect_timeout_secs=whole("connect_timeout_secs", MOST_SECONDS),
        path=None if place is None else file.path.parent / Path(place).expanduser(),
        open_timeout_secs=whole("open_timeout_secs", MOST_SECONDS),
        binary_path=text("binary_path"),
        recall_timeout_ms=whole("recall_timeout_ms", 3_600_000),
        store_timeout_ms=whole("store_timeout_ms", 3_600_000),
    )


def _known(file: _File, table: str, given: Mapping[str, Any], kind: str) -> None:
    for name in given:
        if name not in _NAMES[kind]:
            raise ConfigError(f"{file.at(table, name)}: there is no such setting; {suggest(name, _NAMES[kind])}")
    if (named := given.get("provider")) and isinstance(named, str):
        try:
            backend_kind(named)
        except ConfigError as error:
            raise ConfigError(f"{file.at(table, 'provider')}: {error}") from None


def _url(file: _File, table: str, given: Mapping[str, Any], env: Mapping[str, str]) -> tuple[Secret | None, str]:
    found = database_url(env)
    if found is not None:
        return Secret(found.url), found.variable
    names = [name for name in URL_NAMES if name in given]
    if len(names) > 1:
        raise ConfigError(f"{file.at(table, names[1])}: the same as {names[0]}, which is given too; leave one out")
    if not names:
        return None, ""
    at, url = file.at(table, names[0]), given[names[0]]
    if not isinstance(url, str) or not url.strip():
        raise ConfigError(f'{at}: a URL is wanted, as in "postgres://user:password@host:5432/zeroclaw"')
    if _ENCRYPTED.match(url):
        raise ConfigError(
            f"{at}: ZeroClaw has encrypted it with a key of its own; say it in the environment variable "
            "ZEROCLAW_POSTGRES_URL"
        )
    return Secret(url.strip()), at
