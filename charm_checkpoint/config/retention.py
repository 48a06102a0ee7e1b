"""What is kept of threads, and for how long: the policy; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from charm_checkpoint.config.options import non_negative_int, suggest, time_kept
from charm_checkpoint.errors import ConfigError

REMEMBERED = "30d"
"""How long what is kept of an erased thread stays, unless something else is said."""


@dataclass(frozen=True)
class Retention:
    """What is kept of threads.

    A checkpoint stays if a rule keeps it: ``keep_last`` the last so many of each namespace, ``keep_for`` those that
    are younger. So with both, what is old goes only where it is not among the last ones. ``ttl`` is for threads in
    which nothing was written for so long: all of such a one goes, its messages too. Times are like ``30d``, ``12h``,
    or seconds. With none of the three there is no policy, and nothing goes.

    Whatever they say, these stay: the latest checkpoint of each namespace; what those that stay are rebuilt from, where
    a channel is a ``DeltaChannel``; writes whose checkpoint has not come yet; and

    - ``keep_interrupted``: what waits for an answer, be it the end of a branch or a thread that is idle;
    - ``keep_pinned``: all of a thread that is pinned;
    - ``keep_branches``: a checkpoint that several others follow, and the last two of these.

    Checkpoints of a subgraph's task go with the root graph's checkpoint that it ran under, and not before it, but
    ``keep_last`` holds for them as well.

    ``remember``: how long a hash of an idle thread's name stays, by which those who still write to it are refused.
    """

    keep_last: int | None = None
    keep_for: float | str | None = None
    ttl: float | str | None = None
    keep_interrupted: bool = True
    keep_pinned: bool = True
    keep_branches: bool = True
    remember: float | str = REMEMBERED

    def __post_init__(self) -> None:
        if self.keep_last is not None:
            object.__setattr__(self, "keep_last", _read("keep_last", self.keep_last, at_least_one))
        for name in ("keep_for", "ttl"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _read(name, getattr(self, name), longer_than_nothing))
        object.__setattr__(self, "remember", _read("remember", self.remember, time_kept))
        for name in ("keep_interrupted", "keep_pinned", "keep_branches"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"retention: {name} is True or False, not {getattr(self, name)!r}")

    @property
    def prunes(self) -> bool:
        """Tell whether it has single checkpoints go."""
        return self.keep_last is not None or self.keep_for is not None

    @property
    def is_empty(self) -> bool:
        """Tell whether it has nothing go."""
        return not self.prunes and self.ttl is None

    @property
    def last(self) -> int:
        """Return how many of each namespace stay, however old they are."""
        return self.keep_last or 1

    @property
    def age(self) -> float | None:
        """Return ``keep_for`` in seconds."""
        return None if self.keep_for is None else float(self.keep_for)

    @property
    def idle(self) -> float | None:
        """Return ``ttl`` in seconds."""
        return None if self.ttl is None else float(self.ttl)

    def may_have_too_many(self, checkpoints: int) -> bool:
        """Tell whether anything may go of a thread with so many checkpoints, of all namespaces."""
        return self.prunes and checkpoints > self.last


def at_least_one(value: object) -> int:
    """Return a whole number, 1 or more."""
    number = non_negative_int(value)
    if number < 1:
        raise ConfigError("at least 1 stays of each namespace: write 1 or more")
    return number


def longer_than_nothing(value: object) -> float:
    """Return seconds, one or more: what is shorter is a slip, and would have all go."""
    seconds = time_kept(value)
    if seconds < 1:
        raise ConfigError("write a time such as 30d, a second at least, or leave it out for what is kept for ever")
    return seconds


def _read(name: str, value: object, read: Any) -> Any:
    try:
        return read(value)
    except ConfigError as error:
        raise ConfigError(f"retention: {name}: {error}") from None


def retention_of(given: Retention | Mapping[str, Any]) -> Retention:
    """Return a policy from what a program gives; raises `ConfigError` for what is none."""
    if isinstance(given, Retention):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"a policy is Retention(...) or a mapping such as {{'keep_last': 50}}, not {given!r}")
    known = [field.name for field in fields(Retention)]
    for name in given:
        if name not in known:
            raise ConfigError(f"retention has no {name!r}; {suggest(str(name), known)}")
    return Retention(**given)
