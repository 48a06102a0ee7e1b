"""Memory providers: one class a store, for programs that name a class instead of a URL.

``provider`` is the URL scheme of the store, ``schemes`` all that it opens. ``default_url`` is the
store used when the config has no ``url`` and the environment variable ``url_variable``, if there is
one, no URL of these schemes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from charm_checkpoint.config.tracebacks import unseen
from charm_checkpoint.config.url import scheme_of
from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.memory import Memory, as_config

if TYPE_CHECKING:
    from charm_checkpoint.values.serde import Serializer

REDIS_SCHEMES = ("redis", "rediss", "redis+cluster", "redis+sentinel", "valkey", "valkeys", "unix")


class StoreMemory(Memory):
    """Keep memory in a store of one kind: another kind's URL is a `ConfigError`."""

    schemes: ClassVar[tuple[str, ...]] = ()
    url_variable: ClassVar[str] = ""

    @unseen
    def __init__(
        self, config: Mapping[str, Any] | None = None, *, serde: Serializer | None = None, **options: Any
    ) -> None:
        variable = ""
        if not options.get("url") and not as_config(config).get("url"):
            options["url"] = self._url_of_environment()
            variable = self.url_variable if options["url"] else ""
        try:
            super().__init__(config, serde=serde, **options)
        except ConfigError as error:
            if not variable or isinstance(error, MissingExtra):
                raise
            raise ConfigError(f"{error} (the URL is that of {variable})") from error
        if self.location.scheme not in self.schemes:
            raise ConfigError(
                f"{type(self).__name__} opens {'://, '.join(self.schemes)}:// and not {self.location}; "
                "name the provider that does"
            )

    def _url_of_environment(self) -> str | None:
        url = os.environ.get(self.url_variable, "")
        return url if scheme_of(url) in self.schemes else None


class SqliteMemory(StoreMemory):
    """Keep memory in a SQLite file."""

    provider: ClassVar[str] = "sqlite"
    schemes: ClassVar[tuple[str, ...]] = ("sqlite",)
    default_url: ClassVar[str] = "sqlite:///charm.db"


class PostgresMemory(StoreMemory):
    """Keep memory in a Postgres database; without any URL, in the one that libpq's environment names."""

    provider: ClassVar[str] = "postgresql"
    schemes: ClassVar[tuple[str, ...]] = ("postgres", "postgresql")
    url_variable: ClassVar[str] = "DATABASE_URL"
    default_url: ClassVar[str] = "postgresql://"


class RedisMemory(StoreMemory):
    """Keep memory in Redis: one server, a cluster or a sentinel set."""

    provider: ClassVar[str] = "redis"
    schemes: ClassVar[tuple[str, ...]] = REDIS_SCHEMES
    url_variable: ClassVar[str] = "REDIS_URL"
    default_url: ClassVar[str] = "redis://localhost:6379/0"


class ValkeyMemory(StoreMemory):
    """Keep memory in Valkey: one server, a cluster or a sentinel set."""

    provider: ClassVar[str] = "valkey"
    schemes: ClassVar[tuple[str, ...]] = REDIS_SCHEMES
    url_variable: ClassVar[str] = "VALKEY_URL"
    default_url: ClassVar[str] = "valkey://localhost:6379/0"


class SupabaseMemory(StoreMemory):
    """Keep memory in a Supabase project; without a URL, in the one that the environment names."""

    provider: ClassVar[str] = "supabase"
    schemes: ClassVar[tuple[str, ...]] = ("supabase", "https", "http")
    default_url: ClassVar[str] = "supabase://"


class RamMemory(StoreMemory):
    """Keep memory in this process only; it is gone when the process ends."""

    provider: ClassVar[str] = "memory"
    schemes: ClassVar[tuple[str, ...]] = ("memory",)
    default_url: ClassVar[str] = "memory://"


class LocalMemory(StoreMemory):
    """Keep memory in plain files in a folder: by default Charm's own workspace."""

    provider: ClassVar[str] = "file"
    schemes: ClassVar[tuple[str, ...]] = ("file",)
    default_url: ClassVar[str] = "file://"


class NullMemory(StoreMemory):
    """Keep nothing: messages are dropped, and there is no checkpointer."""

    provider: ClassVar[str] = "none"
    schemes: ClassVar[tuple[str, ...]] = ("none",)
    default_url: ClassVar[str] = "none://"

    def get_langgraph_checkpointer(self) -> None:  # type: ignore[override]
        """Return None, with which LangGraph saves nothing."""
