"""What can be set of durable memories."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.long_term.ages import Ages
from charm_checkpoint.long_term.hygiene_settings import Hygiene, hygiene_of

RELEVANT: Final = 0.5
"""The score that 19 of 20 questions do not reach which have nothing to do with a memory."""

OnSuspicious = Literal["hold", "refuse", "store"]


@dataclass(frozen=True)
class Settings:
    """What can be set of durable memories.

    ``on_suspicious``: what looks like an attack is held for review, refused or stored. ``trust_shared``: what others
    put into the project's shared folder needs no review, as Cantrip has it. ``tombstone_days``: for how long what was
    forgotten can be had again, and is not written again by what writes by itself. ``ages``: after how many days of
    no use memories are archived, and may be deleted; the environment says so, if it is None. ``min_score`` is what a
    memory scores that is recalled, where no call says otherwise. ``hygiene``: whether, and how, memories are kept tidy
    by themselves; True for the usual way, or a `Hygiene`. ``snapshot``: the file that `snapshot` writes; a scope that
    never had memories is filled from it by itself, but for ``auto_hydrate=False``.
    """

    on_suspicious: OnSuspicious = "hold"
    trust_shared: bool = False
    tombstone_days: float = 30
    ages: Ages | None = None
    min_score: float = RELEVANT
    hygiene: Hygiene | Mapping[str, Any] | bool | None = None
    snapshot: str | os.PathLike[str] | None = None
    auto_hydrate: bool = True

    def __post_init__(self) -> None:
        if self.on_suspicious not in ("hold", "refuse", "store"):
            raise ConfigError(f"on_suspicious is 'hold', 'refuse' or 'store', not {self.on_suspicious!r}")
        if not isinstance(self.trust_shared, bool):
            raise ConfigError(f"trust_shared is True or False, not {self.trust_shared!r}")
        if not _is_days(self.tombstone_days):
            raise ConfigError(f"tombstone_days is a number above 0, not {self.tombstone_days!r}")
        if self.ages is not None and not isinstance(self.ages, Ages):
            raise ConfigError(f"ages are Ages(...), as of charm_checkpoint.long_term.ages, not {self.ages!r}")
        if (
            isinstance(self.min_score, bool)
            or not isinstance(self.min_score, (int, float))
            or not 0 <= self.min_score <= 1
        ):
            raise ConfigError(f"min_score is a number from 0 to 1, not {self.min_score!r}")
        if self.snapshot is not None and not isinstance(self.snapshot, (str, os.PathLike)):
            raise ConfigError(f"snapshot is a file, not {self.snapshot!r}")
        if not isinstance(self.auto_hydrate, bool):
            raise ConfigError(f"auto_hydrate is True or False, not {self.auto_hydrate!r}")
        object.__setattr__(self, "hygiene", hygiene_of(self.hygiene))

    @property
    def tidy(self) -> Hygiene | None:
        """Return how memories are kept tidy by themselves, None if they are not."""
        return hygiene_of(self.hygiene)


def _is_days(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e6
