"""From a ``config.toml`` of ZeroClaw's to durable memories."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from charm_checkpoint.config.options import suggest
from charm_checkpoint.config.tracebacks import unseen
from charm_checkpoint.config.url import scheme_of
from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.hosts.zeroclaw.ages import PASSING, ages_of
from charm_checkpoint.hosts.zeroclaw.embedding import model_of
from charm_checkpoint.hosts.zeroclaw.environment import OWN
from charm_checkpoint.hosts.zeroclaw.settings import WITHOUT_EFFECT, MemorySettings
from charm_checkpoint.hosts.zeroclaw.toml import ZeroClawConfig, read_config
from charm_checkpoint.long_term.hygiene_settings import Hygiene
from charm_checkpoint.long_term.lucid.memories import LucidMemory
from charm_checkpoint.long_term.lucid.settings import LucidSettings
from charm_checkpoint.long_term.project import Project, project_of
from charm_checkpoint.long_term.scope import FIELDS, Scope
from charm_checkpoint.long_term.settings import Settings
from charm_checkpoint.memory import Memory, open_memory
from charm_checkpoint.runtime.rights import make_folders
from charm_checkpoint.store import Store

if TYPE_CHECKING:
    from charm_checkpoint.items.caches.langchain import CharmLLMCache

log = logging.getLogger("charm_checkpoint")

SCOPE: Final = "project"
"""The one scope that there is: ZeroClaw knows no others."""


class ConfiguredMemory(LucidMemory):
    """Durable memories as a ``config.toml`` asks for them; `charm_checkpoint.long_term_from_toml` makes it.

    ``config`` is what was read, ``memory`` the store they are in, None where they are Markdown files.
    """

    def __init__(
        self,
        scope: Scope,
        project: Project,
        settings: Settings,
        store: Store,
        config: ZeroClawConfig,
        memory: Memory | None,
    ) -> None:
        super().__init__({scope.name: scope}, project, settings, [store])
        self.config = config
        self.memory = memory
        if config.memory.snapshots and settings.snapshot is not None:
            self.on_hygiene("snapshot", lambda: self._snapshot(None))

    def get_llm_cache(self) -> CharmLLMCache | None:
        """Return the cache of models' answers, for ``set_llm_cache(...)``; None if ``response_cache_enabled`` is not.

        It is None as well with a time or a number of entries of 0, where nothing would be kept, and with Markdown.
        """
        told = self.config.memory
        minutes, entries = told.response_cache_ttl_minutes, told.response_cache_max_entries
        if self.memory is None or not told.response_cache_enabled or not minutes or not entries:
            return None
        return self.memory.get_llm_cache(ttl=60.0 * minutes, max_entries=entries, name="zeroclaw")


@unseen
def long_term_from_toml(
    path: str | os.PathLike[str],
    *,
    embed: Any = None,
    dims: int | None = None,
    project: str | os.PathLike[str] | Project | None = None,
    env: Mapping[str, str] = os.environ,
    **overrides: Any,
) -> ConfiguredMemory:
    """Return the durable memories that a ``config.toml`` of ZeroClaw's asks for, in ``[memory]`` and ``[storage…]``.

    ``path`` is the file or its folder. ``embed`` and ``dims`` are a model in place of the one that it names,
    ``project`` is as of `charm_checkpoint.Memory.long_term`. ``overrides`` win over the file: settings of ``[memory]``,
    those of `charm_checkpoint.long_term.settings.Settings`, and ``url``, the store itself. Close it, and what it opened
    is closed.

    Raises `ConfigError` for a backend or a setting that it does not know, and `MissingExtra` for a driver that is not
    installed.
    """
    url = overrides.pop("url", None)
    ours = {name: overrides.pop(name) for name in [*overrides] if name in Settings.__dataclass_fields__}
    known = {setting.name for setting in fields(MemorySettings)}
    for name in overrides:
        if name not in known:
            hint = suggest(name, known | {"url", *Settings.__dataclass_fields__} | WITHOUT_EFFECT.keys())
            raise ConfigError(f"long_term_from_toml has no setting {name!r}; {hint}")
    config = read_config(path, env, overrides)
    model = embed
    if model is None:
        model = model_of(config.memory, config.api_key, env)
        if dims is None and model is not None and "embedding_dimensions" in config.memory.given:
            dims = config.memory.embedding_dimensions
    index = _index(config.memory, model, dims)
    opener = _Opener(config, project_of(project), index, env)
    return opener.open(url, Settings(**{**_ours(config, index), **ours}))


def _ours(config: ZeroClawConfig, index: Mapping[str, Any]) -> dict[str, Any]:
    """Return this package's settings, as those of ZeroClaw's mean them."""
    told = config.memory
    return {
        "min_score": min_score(told, index),
        "ages": ages_of(told),
        "hygiene": Hygiene(purge=PASSING) if told.hygiene_enabled and told.kind != "none" else None,
        # Not by the name of ZeroClaw's own, which the page beside it would replace.
        "snapshot": None if told.kind == "none" else config.workspace / "memories.jsonl",
        "auto_hydrate": told.auto_hydrate,
    }


def min_score(told: MemorySettings, index: Mapping[str, Any]) -> float:
    """Return the score to reach: of vectors alone scores are cosines, as ZeroClaw's are then, and need no mapping."""
    return told.min_relevance_score if index.get("search") == "vector" else told.min_score


def _index(told: MemorySettings, model: Any, dims: int | None) -> dict[str, Any]:
    index: dict[str, Any] = {"fields": list(FIELDS)}
    search = told.search_with(model is not None)
    if search == "words":
        return index
    return {**index, "embed": model, "dims": dims, "search": search}


class _Opener:
    def __init__(
        self, config: ZeroClawConfig, project: Project, index: Mapping[str, Any], env: Mapping[str, str]
    ) -> None:
        self._config = config
        self._project = project
        self._index = index
        self._env = env

    def open(self, url: str | None, settings: Settings) -> ConfiguredMemory:
        config, kind = self._config, self._config.memory.kind
        if kind == "markdown" and url is None:
            from charm_checkpoint.long_term.markdown.opening import open_folder

            if config.memory.response_cache_enabled:
                log.warning(
                    "%s: response_cache_enabled: without effect here: Markdown keeps memories alone", config.path
                )
            folder = config.storage.path or config.workspace / "memory"
            make_folders(folder)
            scope, store = open_folder(SCOPE, folder, self._project, self._index)
            return ConfiguredMemory(scope, self._project, settings, store, config, None)
        memory = self._opened(url, kind)
        options: dict[str, Any] = {}
        if "embed" in self._index and ("embedding_cache_size" in config.memory.given or kind in ("sqlite", "lucid")):
            options["cache_entries"] = config.memory.embedding_cache_size
        items = memory.get_langgraph_store(self._index, **options)
        scope = Scope(SCOPE, items, (SCOPE, self._project.name), cites=True, where=repr(memory))
        made = ConfiguredMemory(scope, self._project, settings, memory.store, config, memory)
        if kind == "lucid":
            made.connect(self._lucid(), config.workspace)
        return made

    def _opened(self, url: str | None, kind: str) -> Memory:
        if url is not None:
            return open_memory(url)
        if kind == "none":
            return open_memory("none://")
        return self._postgres() if kind == "postgres" else self._sqlite()

    def _sqlite(self) -> Memory:
        storage, told = self._config.storage, self._config.memory
        timeout = storage.open_timeout_secs or told.sqlite_open_timeout_secs
        options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        own = self._env.get(OWN, "").strip()
        if scheme_of(own) == "sqlite":
            return _named(OWN, own, options)
        file = (storage.path or self._config.workspace / "memory.db").absolute()
        make_folders(file.parent)
        return open_memory(_sqlite_url(file), **options)

    def _postgres(self) -> Memory:
        storage = self._config.storage
        if storage.db_url is None:
            raise ConfigError(
                f"{self._config.path}: the backend is postgres, and nothing says where it is: write db_url in "
                "[storage.provider.config], or set ZEROCLAW_POSTGRES_URL"
            )
        options: dict[str, Any] = {
            # What is in other tables, or another schema, is other memories in ZeroClaw.
            "schema": None if storage.schema == "public" else storage.schema,
            "tenant": None if storage.table == "memories" else storage.table,
            "connect_timeout": storage.connect_timeout_secs,
        }
        return _named(storage.source, storage.db_url.plain(), options)

    def _lucid(self) -> LucidSettings:
        storage = self._config.storage
        given: dict[str, Any] = {}
        if storage.binary_path is not None:
            given["command"] = (storage.binary_path,)
        if storage.recall_timeout_ms is not None:
            given["recall_timeout"] = storage.recall_timeout_ms / 1000
        if storage.store_timeout_ms is not None:
            given["store_timeout"] = storage.store_timeout_ms / 1000
        return LucidSettings.from_environment(self._env, **given)


@unseen
def _named(source: str, url: str, options: Mapping[str, Any]) -> Memory:
    """Open a URL; an error tells where it is from."""
    try:
        return open_memory(url, **options)
    except MissingExtra:
        raise
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def _sqlite_url(file: Path) -> str:
    return "sqlite:///" + quote(os.fsencode(file.as_posix()), safe="/:")
