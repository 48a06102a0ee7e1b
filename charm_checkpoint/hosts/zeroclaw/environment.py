"""The environment variables that win over ZeroClaw's ``config.toml``.

Where a Postgres database is, the first of these says: ``CHARM_CHECKPOINT_URL``, which is this package's own,
``ZEROCLAW_POSTGRES_URL``, ``ZEROCLAW_DB_URL``, ``ZEROCLAW_STORAGE_DB_URL``, ``DATABASE_URL``, the file. One that is
empty says nothing. ``ZEROCLAW_memory__auto_save=false`` is ``auto_save`` in ``[memory]``, and so on for each setting
in ``[memory]`` and ``[storage…]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from charm_checkpoint.config.masking import FromOutside
from charm_checkpoint.config.url import scheme_of
from charm_checkpoint.errors import ConfigError

OWN: Final = "CHARM_CHECKPOINT_URL"
GENERAL: Final = "DATABASE_URL"
URL_VARIABLES: Final = (OWN, "ZEROCLAW_POSTGRES_URL", "ZEROCLAW_DB_URL", "ZEROCLAW_STORAGE_DB_URL", GENERAL)
"""First come, first served."""

PROVIDER: Final = "ZEROCLAW_STORAGE_PROVIDER"
CONNECT_TIMEOUT: Final = "ZEROCLAW_STORAGE_CONNECT_TIMEOUT_SECS"

_PREFIX: Final = "ZEROCLAW_"
_SCHEMES: Final = ("postgres", "postgresql")


class Found(NamedTuple):
    """A URL of the environment's, and the variable that it is of."""

    url: str
    variable: str


def database_url(env: Mapping[str, str]) -> Found | None:
    """Return the URL of the Postgres database, None if the environment names none.

    Variables that others use too may name another kind of store, and are passed over then; ZeroClaw's own may not.
    """
    for variable in URL_VARIABLES:
        url = env.get(variable, "").strip()
        if not url:
            continue
        if scheme_of(url) in _SCHEMES:
            return Found(url, variable)
        if variable not in (OWN, GENERAL):
            raise ConfigError(f"{variable} is no URL of a Postgres database: write postgres://user:password@host/name")
    return None


def storage_provider(env: Mapping[str, str]) -> str | None:
    """Return the backend that the environment names."""
    return env.get(PROVIDER, "").strip() or None


def with_overrides(
    tables: Mapping[str, Any], env: Mapping[str, str]
) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
    """Return the tables of a ``config.toml`` with the environment's settings in them, and which variable each is from.

    Names are read in any case, as some systems know capitals only. A setting that is none is refused, as the file's
    would be.
    """
    changed, variables = dict(tables), {}
    timeout = env.get(CONNECT_TIMEOUT, "").strip()
    if timeout:
        path = ["storage", "provider", "config", "connect_timeout_secs"]
        variables[_put(changed, path, _value(timeout), CONNECT_TIMEOUT)] = CONNECT_TIMEOUT
    for variable, value in sorted(env.items()):
        path = variable[len(_PREFIX) :].lower().split("__")
        ours = variable.upper().startswith(_PREFIX) and len(path) > 1 and path[0] in ("memory", "storage")
        if ours and value.strip():
            if not all(path):
                raise ConfigError(f"{variable}: a part of its name is empty")
            variables[_put(changed, path, _value(value), variable)] = variable
    return changed, variables


def _put(tables: dict[str, Any], path: list[str], value: Any, variable: str) -> tuple[str, str]:
    """Put a value into nested tables, of which those on the way are copied; return table and name."""
    at, names = tables, []
    for part in path[:-1]:
        name = _present(at, part)
        below = at.get(name, {})
        if not isinstance(below, Mapping):
            raise ConfigError(f"{variable}: {name} is no table")
        at[name] = dict(below)
        at = at[name]
        names.append(name)
    last = _present(at, path[-1])
    at[last] = value
    return ".".join(names), last


def _present(table: Mapping[str, Any], name: str) -> str:
    """Return a name as the table writes it, if it is there."""
    return next((known for known in table if known.lower() == name), name)


def _value(text: str) -> Any:
    """Return what a text is in TOML: a truth, a number, or itself."""
    plain = text.strip().lower()
    if plain in ("true", "false"):
        return plain == "true"
    for kind in (int, float):
        try:
            return kind(plain)
        except ValueError:
            continue
    return FromOutside(text)
