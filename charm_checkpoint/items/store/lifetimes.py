"""How long items live: a store's ``ttl`` settings, and the times to live that puts have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from threading import TIMEOUT_MAX
from typing import Any, Final

from charm_checkpoint.config.options import suggest
from charm_checkpoint.errors import ConfigError, DataError

MINUTE: Final = 60_000_000
"""Microseconds of a minute."""
LONGEST: Final = 10**11
"""Minutes of a time to live, from which on the end would not fit in the 64 bits that databases have for it."""
SWEEP_MINUTES: Final = 5.0
"""How often a sweeper sweeps that was told nothing of it."""

_KNOWN = ("refresh_on_read", "omit_expired", "default_ttl", "sweep_interval_minutes")


class Lifetimes:
    """What a store's ``ttl`` settings say, in LangGraph's words: minutes.

    Only ``omit_expired`` has another default than LangGraph's: what is expired is gone, unless it is False.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        if config is not None and not isinstance(config, Mapping):
            raise ConfigError(f'ttl is a mapping, such as {{"default_ttl": 60}} for an hour, not {config!r}')
        given = dict(config or {})
        for name in given:
            if name not in _KNOWN:
                raise ConfigError(f"ttl: unknown key {name!r}; {suggest(str(name), _KNOWN)}")
        self.refresh = _flag(given, "refresh_on_read", True)
        self.omit_expired = _flag(given, "omit_expired", True)
        self.default = given.get("default_ttl")
        if self.default is not None and microseconds(self.default) == 0:
            raise ConfigError("ttl: default_ttl is a number of minutes over 0, or None for ever")
        minutes = given.get("sweep_interval_minutes")
        self.sweep_minutes = SWEEP_MINUTES if minutes is None else interval(minutes)


def _flag(given: Mapping[str, Any], name: str, default: bool) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"ttl: {name} is True or False, not {value!r}")
    return value


def interval(given: Any) -> float:
    """Return how often a sweeper sweeps, in minutes; raises `ConfigError` for what is no such number."""
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < math.inf:
        raise ConfigError(f"a sweeper's interval is a number of minutes over 0, not {given!r}")
    return float(min(given, TIMEOUT_MAX / 60))


def microseconds(minutes: Any) -> int | None:
    """Return a ``ttl`` in whole microseconds, the nearest number of them; None is for ever."""
    if minutes is None:
        return None
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or not 0 <= minutes < LONGEST:
        raise DataError(
            f"a time to live is a number of minutes, 0 or more and below {LONGEST:.0e}, or None for ever, "
            f"not {minutes!r}",
            path=("ttl",),
        )
    return round(minutes * MINUTE)
