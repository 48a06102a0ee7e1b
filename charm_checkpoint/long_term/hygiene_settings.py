"""How memories are kept tidy by themselves: the settings; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from charm_checkpoint.config.options import suggest, time_kept
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.runtime.turns import Terms

_SECOND: Final = 1_000_000


@dataclass(frozen=True)
class Hygiene:
    """How memories are kept tidy by themselves.

    ``every`` so often, over all programs, each scope is swept, and what has expired is removed. ``revalidate``: what
    memories cite is compared too. ``purge`` deletes what is archived for long, True for all of it, or the categories
    of which it does; never what is shared, which others may use. ``step`` memories are looked at at a time. A program
    that has died is taken to be so after ``lease``.
    """

    every: float | str = "12h"
    step: int = 100
    purge: bool | Collection[str] = False
    revalidate: bool = False
    lease: float | str = "2m"

    def __post_init__(self) -> None:
        for name in ("every", "lease"):
            try:
                seconds = time_kept(getattr(self, name))
            except ConfigError as error:
                raise ConfigError(f"hygiene: {name}: {error}") from None
            if not seconds:
                raise ConfigError(f"hygiene: {name} is longer than nothing; to have no hygiene, give hygiene=False")
            object.__setattr__(self, name, seconds)
        if isinstance(self.step, bool) or not isinstance(self.step, int) or self.step < 1:
            raise ConfigError(f"hygiene: step is how many memories, 1 or more, not {self.step!r}")
        if isinstance(self.purge, str) or not isinstance(self.purge, (bool, Collection)):
            raise ConfigError(f"hygiene: purge is True, False or a list of categories, not {self.purge!r}")
        if not isinstance(self.revalidate, bool):
            raise ConfigError(f"hygiene: revalidate is True or False, not {self.revalidate!r}")

    @property
    def terms(self) -> Terms:
        """Return how often it is done, and how long a program may say nothing."""
        return Terms(round(float(self.every) * _SECOND), round(float(self.lease) * _SECOND))

    def purges(self, value: Mapping[str, Any]) -> bool:
        """Tell whether a memory is one to be deleted when it is archived for long."""
        return self.purge if isinstance(self.purge, bool) else value["category"] in self.purge


def hygiene_of(given: bool | Mapping[str, Any] | Hygiene | None) -> Hygiene | None:
    """Return settings from what a program gives: True for the usual ones, False or None for no hygiene."""
    if given is None or given is False:
        return None
    if given is True:
        return Hygiene()
    if isinstance(given, Mapping):
        unknown = given.keys() - Hygiene.__dataclass_fields__.keys()
        if unknown:
            name = min(map(str, unknown))
            raise ConfigError(f"hygiene has no {name!r}; {suggest(name, list(Hygiene.__dataclass_fields__))}")
        return Hygiene(**given)
    if not isinstance(given, Hygiene):
        raise ConfigError(f"hygiene is True, False or Hygiene(...), not {given!r}")
    return given
