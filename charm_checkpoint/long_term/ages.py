"""At what age memories are archived, and what is archived may be deleted; pure."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from charm_checkpoint.config.masking import kind_of
from charm_checkpoint.config.options import suggest
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.long_term.records import KINDS

log = logging.getLogger("charm_checkpoint")

DAY: Final = 86_400_000_000
"""Microseconds."""

SOFT_DAYS: Final = 60.0
HARD_DAYS: Final = 180.0
PINNED: Final = "pinned"
"""The tag of memories that never grow old."""

_MOST: Final = 100_000.0
_VARIABLES: Final = {
    "archive": ("CHARM_MEMORY_SOFT_EXPIRY_DAYS", "CANTRIP_MEMORY_SOFT_EXPIRY_DAYS"),
    "purge": ("CHARM_MEMORY_HARD_EXPIRY_DAYS", "CANTRIP_MEMORY_HARD_EXPIRY_DAYS"),
}


class Age(NamedTuple):
    """After how many days without use a memory is archived, and how many days later it may be deleted; None: never."""

    archive: float | None = SOFT_DAYS
    purge: float | None = HARD_DAYS


CATEGORIES: Final[Mapping[str, Age]] = {"conversation": Age(7, 30), "daily": Age(7, 30)}
"""What passes sooner than the rest, as ZeroClaw has it."""


@dataclass(frozen=True)
class Ages:
    """At what age memories are archived and may be deleted.

    ``categories`` have ages of their own, and then ``kinds``; ``default`` is for the rest. What is tagged ``pinned``,
    and what is as important as ``important``, stays as it is; None: nothing is that important.
    """

    default: Age = Age()
    kinds: Mapping[str, Age] = field(default_factory=dict)
    categories: Mapping[str, Age] = field(default_factory=lambda: dict(CATEGORIES))
    important: float | None = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "default", _age(self.default, "default"))
        for name in ("kinds", "categories"):
            given = getattr(self, name)
            if not isinstance(given, Mapping):
                raise ConfigError(f"{name} is a mapping of names to ages, not {given!r}")
            object.__setattr__(self, name, {str(key): _age(age, f"{name}[{key!r}]") for key, age in given.items()})
        for kind in self.kinds:
            if kind not in KINDS:
                raise ConfigError(f"there is no kind {kind!r} of memories; {suggest(kind, KINDS)}")
        if self.important is not None and not _is_number(self.important):
            raise ConfigError(f"important is a number from 0 to 1, or None, not {self.important!r}")

    def of(self, value: Mapping[str, Any]) -> Age:
        """Return the age of a memory."""
        if PINNED in value["tags"]:
            return Age(None, None)
        importance = value["importance"]
        if self.important is not None and importance is not None and importance >= self.important:
            return Age(None, None)
        age = self.categories.get(value["category"] or "") or self.kinds.get(value["kind"])
        return self.default if age is None else age

    def least(self, name: str) -> float | None:
        """Return the fewest days there are of a kind of age, None for never."""
        days = [getattr(age, name) for age in (self.default, *self.kinds.values(), *self.categories.values())]
        return min((each for each in days if each is not None), default=None)

    def for_all(self, **days: float | None) -> Ages:
        """Return these ages with days that hold for every kind and category, but for what never grows old."""
        given = {name: each for name, each in days.items() if each is not None}

        def of(age: Age) -> Age:
            return age._replace(**{name: each for name, each in given.items() if getattr(age, name) is not None})

        kinds = {kind: of(age) for kind, age in self.kinds.items()}
        categories = {category: of(age) for category, age in self.categories.items()}
        return Ages(of(self.default), kinds, categories, self.important)


def ages_of_environment(env: Mapping[str, str] = os.environ) -> Ages:
    """Return the ages that the environment's variables name, Charm's before Cantrip's; others are the defaults.

    What is no number above 0 there is told in the log, and the default taken: it may be another program's setting.
    """
    found = {name: _variable(env, name, variables) for name, variables in _VARIABLES.items()}
    return Ages(Age(**found))


def _variable(env: Mapping[str, str], name: str, variables: tuple[str, ...]) -> float:
    default = {"archive": SOFT_DAYS, "purge": HARD_DAYS}[name]
    for variable in variables:
        text = env.get(variable, "").strip()
        if not text:
            continue
        try:
            return _days(float(text), variable)
        except ValueError:
            log.warning("%s is no number of days above 0, but %s; %g are taken.", variable, kind_of(text), default)
            return default
    return default


def checked_days(given: Any, name: str) -> float | None:
    """Return days that a caller gave, or None; raises `ConfigError` for what is no number above 0."""
    return None if given is None else _days(given, name)


def _age(given: Any, name: str) -> Age:
    if isinstance(given, Mapping):
        unknown = given.keys() - set(Age._fields)
        if unknown:
            raise ConfigError(f"{name}: an age has {' and '.join(Age._fields)}, and no {min(map(str, unknown))!r}")
        given = Age(**given)
    if not isinstance(given, tuple) or len(given) != 2:
        raise ConfigError(f"{name} is an Age(archive, purge), each in days, not {given!r}")
    return Age(*(checked_days(days, f"{name}: {part}") for part, days in zip(Age._fields, given, strict=True)))


def _days(given: Any, name: str) -> float:
    if not _is_number(given) or not 0 < given <= _MOST:
        raise ConfigError(f"{name} is a number of days above 0, and {_MOST:,.0f} at most, not {given!r}")
    return float(given)


def _is_number(given: Any) -> bool:
    return isinstance(given, (int, float)) and not isinstance(given, bool) and -math.inf < given < math.inf


# ------------------------------------------------------------------------------------------------- what has what age


def last_active(value: Mapping[str, Any], used: int | None) -> int:
    """Return when a memory was used, validated or changed last."""
    return int(max(value["created"], value["updated"], value["validated"] or 0, used or 0))


def is_stale(value: Mapping[str, Any], used: int | None, ages: Ages, now: int) -> bool:
    """Tell whether a memory is to be archived: it was not used for longer than it may be."""
    days = ages.of(value).archive
    return (
        value["status"] in ("active", "quarantined")
        and days is not None
        and last_active(value, used) < now - round(days * DAY)
    )


def archived_since(value: Mapping[str, Any]) -> int:
    """Return when a memory was archived; of one that others archived and noted no time, when it was changed last."""
    since = value["archived"]
    return last_active(value, None) if since is None else int(since)


def is_purgeable(value: Mapping[str, Any], ages: Ages, now: int) -> bool:
    """Tell whether a memory may be deleted: it was archived long enough ago."""
    days = ages.of(value).purge
    return value["status"] == "archived" and days is not None and archived_since(value) < now - round(days * DAY)
