"""How the command ``lucid`` is called: its environment variables, their defaults and their minimums."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from charm_checkpoint.config.masking import FromOutside, show
from charm_checkpoint.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LucidSettings:
    """How the command is called; times are seconds.

    ``command`` is the program, with arguments of its own if it has any; no shell ever sees it. ``budget`` is how many
    tokens it may answer with. With ``local_hit_threshold`` local memories found it is not asked at all. After a
    failure it is left alone for ``cooldown``. ``outbox_entries`` is how many memories wait for it at most;
    ``lease`` how long a process has that sends them, before another one may take over.
    """

    command: tuple[str, ...] = ("lucid",)
    budget: int = 200
    local_hit_threshold: int = 3
    recall_timeout: float = 0.120
    store_timeout: float = 0.800
    cooldown: float = 15.0
    outbox_entries: int = 1_000
    lease: float = 30.0

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ, **given: Any) -> LucidSettings:
        """Return what the six variables say, and for those that say nothing what was given, or the default.

        A number below the least that makes sense is taken for that one. Raises `ConfigError` for what is no number.
        """
        settings = replace(cls(), **given)
        command = env.get(COMMAND, "").strip()
        if command:
            settings = replace(settings, command=(command,))
        return replace(settings, **_numbers(env))


COMMAND: Final = "ZEROCLAW_LUCID_CMD"


class _Variable(NamedTuple):
    name: str
    least: int
    milliseconds: bool = False


VARIABLES: Final[Mapping[str, _Variable]] = {
    "budget": _Variable("ZEROCLAW_LUCID_BUDGET", 1),
    "local_hit_threshold": _Variable("ZEROCLAW_LUCID_LOCAL_HIT_THRESHOLD", 1),
    "recall_timeout": _Variable("ZEROCLAW_LUCID_RECALL_TIMEOUT_MS", 20, milliseconds=True),
    "store_timeout": _Variable("ZEROCLAW_LUCID_STORE_TIMEOUT_MS", 50, milliseconds=True),
    "cooldown": _Variable("ZEROCLAW_LUCID_FAILURE_COOLDOWN_MS", 100, milliseconds=True),
}
"""Which setting each variable is of, and the least that it may be."""


def _numbers(env: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting, variable in VARIABLES.items():
        text = env.get(variable.name, "").strip()
        if not text:
            continue
        if not (text.isascii() and text.isdigit()):
            unit = "milliseconds" if variable.milliseconds else "a whole number"
            raise ConfigError(f"{variable.name} is {show(FromOutside(text))}: write {unit}, from {variable.least}")
        # So long that no system could wait for it is for ever, as far as anybody can tell.
        number = min(max(int(text[:18]), variable.least), 10**9)
        found[setting] = number / 1000 if variable.milliseconds else number
    return found
