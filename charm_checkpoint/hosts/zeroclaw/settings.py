"""ZeroClaw's ``[memory]`` settings by their own names, and what each of them is here.

Nothing is taken silently: a name that nobody knows is an error, and those that are known and change nothing here are
told in one warning.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, NamedTuple

from charm_checkpoint.config.masking import Secret, plain_name, show
from charm_checkpoint.config.options import suggest
from charm_checkpoint.errors import ConfigError

log = logging.getLogger("charm_checkpoint")

BACKENDS: Final = ("sqlite", "postgres", "markdown", "lucid", "none")

MOST_SECONDS: Final = 300
"""What ZeroClaw cuts its time-outs of opening and connecting to."""


class Profile(NamedTuple):
    """What a backend's settings are where nothing else is said."""

    auto_save: bool
    hygiene_enabled: bool
    embedding_cache_size: int


PROFILES: Final[Mapping[str, Profile]] = {
    "sqlite": Profile(True, True, 10_000),
    "postgres": Profile(True, False, 0),
    # It is SQLite with a command beside it, so SQLite's settings are its own.
    "lucid": Profile(True, True, 10_000),
    "markdown": Profile(True, False, 0),
    "none": Profile(False, False, 0),
}

WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "chunk_max_tokens": "a memory is embedded as a whole",
    "embedding_routes": "name the model itself in embedding_provider and embedding_model",
    "auto_reindex_on_identity_change": "vectors of another model are always made anew",
    "response_cache_hot_entries": "answers are read from the store each time",
    "retrieval_stages": "words and vectors are always ranked together",
    "fts_early_return_score": "words and vectors are always ranked together",
    "rerank_enabled": "scores are calibrated by themselves",
    "rerank_threshold": "scores are calibrated by themselves",
    "default_namespace": "a memory belongs to a scope",
    "conflict_threshold": "the automatic writer proposes a merge instead",
    "conflict_supersede_enabled": "the automatic writer proposes a merge instead",
    "audit_enabled": "no audit log is kept",
    "audit_retention_days": "no audit log is kept",
    "pin_min_importance": "what is used stays by itself",
    "dedup": "the automatic writer drops what is there already",
    "policy": "what looks like an attack is held by on_suspicious",
    "types": "kinds are fact, rule and lesson",
}
"""What ZeroClaw's versions have in ``[memory]`` beside the settings below, and why it changes nothing here."""

SearchMode = Literal["hybrid", "bm25", "embedding"]


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """The settings of ``[memory]``, with ZeroClaw's defaults for its backend "sqlite".

    `read` has those of the backend that is named; days of 0 mean never. ``embedding_api_key`` shows in no ``repr``.
    ``given`` are the names of those that somebody has said.
    """

    backend: str = "sqlite"
    auto_save: bool = True
    hygiene_enabled: bool = True
    archive_after_days: int = 7
    purge_after_days: int = 30
    conversation_retention_days: int = 30
    daily_retention_days: int = 0
    core_retention_days: int = 0
    embedding_provider: str = "none"
    embedding_model: str = "text-embedding-3-small"
    embedding_dimensions: int = 1536
    embedding_api_key: Secret | None = field(default=None, compare=False)
    vector_weight: float = 0.7
    keyword_weight: float = 0.3
    search_mode: SearchMode = "hybrid"
    min_relevance_score: float = 0.4
    embedding_cache_size: int = 10_000
    chunk_max_tokens: int = 512
    response_cache_enabled: bool = False
    response_cache_ttl_minutes: int = 60
    response_cache_max_entries: int = 5_000
    snapshot_enabled: bool = False
    snapshot_on_hygiene: bool = False
    auto_hydrate: bool = True
    sqlite_open_timeout_secs: int | None = None
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @classmethod
    def for_backend(cls, backend: str) -> MemorySettings:
        """Return the defaults of a backend, as ZeroClaw's wizard writes them; ``name.alias`` is taken too."""
        kind, alias = backend_kind(backend), backend.partition(".")[2].strip()
        profile = PROFILES[kind]
        hygienic = profile.hygiene_enabled
        return cls(
            backend=f"{kind}.{alias}" if alias else kind,
            auto_save=profile.auto_save,
            hygiene_enabled=hygienic,
            archive_after_days=7 if hygienic else 0,
            purge_after_days=30 if hygienic else 0,
            embedding_cache_size=profile.embedding_cache_size,
        )

    @property
    def kind(self) -> str:
        """Return which of `BACKENDS` it is."""
        return backend_kind(self.backend)

    @property
    def alias(self) -> str:
        """Return what stands behind the dot in ``backend = "postgres.team"``; "" if nothing does."""
        return self.backend.partition(".")[2].strip()

    @property
    def min_score(self) -> float:
        """Return ``min_relevance_score`` on the scale of this package; see `our_score`."""
        return our_score(self.min_relevance_score)

    def search_with(self, model: bool) -> Literal["hybrid", "vector", "words"]:
        """Return what memories are found by, with or without a model, by the weights and ``search_mode``.

        A weight says here whether a side counts, not how much: both sides are calibrated to one scale, on which a
        weighted mean would move the threshold.
        """
        if not model or self.search_mode == "bm25" or not self.vector_weight:
            return "words"
        return "vector" if self.search_mode == "embedding" or not self.keyword_weight else "hybrid"

    @property
    def snapshots(self) -> bool:
        """Tell whether snapshots are written: either setting asks for them, which in ZeroClaw neither does alone."""
        return self.snapshot_enabled or self.snapshot_on_hygiene


def our_score(theirs: float) -> float:
    """Return what a least score of ZeroClaw's is here: 0.4 is 0.5, and 0 and 1 are themselves, with lines between.

    ZeroClaw's scores are shares of the best hit of a search, so 0.4 there drops hardly anything by words. Here 0.5 is
    what 19 of 20 questions do not reach that have nothing to do with a memory. The order of thresholds is kept.
    """
    if not 0 <= theirs <= 1:
        raise ConfigError(f"a score is from 0 to 1, not {theirs!r}")
    return theirs * 1.25 if theirs <= 0.4 else 0.5 + (theirs - 0.4) * (0.5 / 0.6)


def backend_kind(backend: str) -> str:
    """Return which of `BACKENDS` a ``backend`` names, with or without ``.alias``; raises `ConfigError`."""
    kind = backend.partition(".")[0].strip().lower()
    if kind in BACKENDS:
        return kind
    if kind == "qdrant":
        raise ConfigError(
            "there is no backend 'qdrant' here: every store finds by vectors, so take 'sqlite' or 'postgres' and name "
            "a model in embedding_provider"
        )
    raise ConfigError(f"no backend {plain_name(backend)}; {suggest(kind, BACKENDS, BACKENDS)}")


At = Callable[[str], str]
"""Says where a setting stands, for errors."""


def _of_memory(name: str) -> str:
    return f"[memory] {name}"


def read(given: Mapping[str, Any], at: At = _of_memory, backend: str | None = None) -> MemorySettings:
    """Read ``[memory]``: what it does not say is the default of its backend; ``backend`` wins over the one in it.

    Raises `ConfigError` for a name that is not known, with the nearest, and for a value of the wrong kind; ``at`` says
    where it is. Settings that are without effect here are told in one warning.
    """
    known = {setting.name for setting in fields(MemorySettings)} - {"given"}
    for name in given:
        if name not in known and name not in WITHOUT_EFFECT:
            raise ConfigError(f"{at(name)}: there is no such setting; {suggest(name, known | WITHOUT_EFFECT.keys())}")
    chosen = given.get("backend", "sqlite") if backend is None else backend
    if not isinstance(chosen, str):
        raise ConfigError(f"{at('backend')}: text is wanted, not {show(chosen)}")
    try:
        defaults = MemorySettings.for_backend(chosen)
    except ConfigError as error:
        raise ConfigError(f"{at('backend')}: {error}") from None
    values = {setting.name: getattr(defaults, setting.name) for setting in fields(MemorySettings)}
    values |= {name: _READERS[name](given[name], at(name)) for name in given if name in known and name != "backend"}
    tell_without_effect(given, at)
    settings = MemorySettings(**{**values, "given": frozenset(given)})
    if not settings.vector_weight and not settings.keyword_weight:
        raise ConfigError(f"{at('vector_weight')}: it and keyword_weight are both 0, so nothing could be found")
    return settings


def tell_without_effect(given: Mapping[str, Any], at: At) -> None:
    """Warn of settings that change nothing here, all in one."""
    idle = [name for name in given if name in WITHOUT_EFFECT]
    if idle:
        why = "; ".join(f"{name} ({WITHOUT_EFFECT[name]})" for name in idle)
        log.warning("%s: without effect here: %s", at(idle[0]).partition(": ")[0], why)


# ------------------------------------------------------------------------------------------- kinds of values


def _boolean(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{at}: true or false is wanted, not {show(value)}")
    return value


def _whole(least: int, most: int | None = None) -> Callable[[Any, str], int]:
    def read(value: Any, at: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{at}: a whole number from {least} is wanted, not {show(value)}")
        return value if most is None else min(value, most)

    return read


def _share(value: Any, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ConfigError(f"{at}: a number from 0 to 1 is wanted, not {show(value)}")
    return float(value)


def _weight(value: Any, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ConfigError(f"{at}: a number from 0 is wanted, not {show(value)}")
    return float(value)


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{at}: text is wanted, not {show(value)}")
    return value.strip()


def _provider(value: Any, at: str) -> str:
    name = _text(value, at)
    if name.lower() in ("none", "openai", "openrouter"):
        return name.lower()
    if name.lower().startswith(("custom:http://", "custom:https://")):
        return "custom:" + name[len("custom:") :]
    near = "" if name.lower().startswith("custom:") else f"; {suggest(name, ('none', 'openai', 'openrouter'))}"
    raise ConfigError(f'{at}: "none", "openai", "openrouter" or "custom:https://…" is wanted, not {show(name)}{near}')


def _mode(value: Any, at: str) -> str:
    if value not in ("hybrid", "bm25", "embedding"):
        raise ConfigError(f"{at}: 'hybrid', 'bm25' or 'embedding' is wanted, not {show(value)}")
    return str(value)


def _secret(value: Any, at: str) -> Secret:
    if not isinstance(value, str):
        raise ConfigError(f"{at}: text is wanted")  # and nothing of the value is quoted
    return Secret(value)


_READERS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    **dict.fromkeys(
        (
            "auto_save", "hygiene_enabled", "response_cache_enabled", "snapshot_enabled", "snapshot_on_hygiene",
            "auto_hydrate",
        ),
        _boolean,
    ),
    **dict.fromkeys(
        (
            "archive_after_days", "purge_after_days", "conversation_retention_days", "daily_retention_days",
            "core_retention_days", "embedding_cache_size", "response_cache_ttl_minutes", "response_cache_max_entries",
        ),
        _whole(0),
    ),
    "embedding_dimensions": _whole(1),
    "chunk_max_tokens": _whole(1),
    "sqlite_open_timeout_secs": _whole(1, MOST_SECONDS),
    "embedding_provider": _provider,
    "embedding_model": _text,
    "embedding_api_key": _secret,
    "vector_weight": _weight,
    "keyword_weight": _weight,
    "min_relevance_score": _share,
    "search_mode": _mode,
}  # fmt: skip
