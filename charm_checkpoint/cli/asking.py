"""Questions before something is done that cannot be taken back."""

from __future__ import annotations

import sys

from charm_checkpoint.cli.terminal import agreed
from charm_checkpoint.errors import CharmError, ConfigError


class Declined(CharmError):
    """It was not wanted."""


def is_asked() -> bool:
    """Tell whether somebody sits at the keyboard."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def confirm(question: str, yes: bool, left: str = "nothing was deleted") -> None:
    """Go on if ``--yes`` was given, or whoever is asked says yes.

    Raises `Declined` after a no, and `ConfigError` where nobody can be asked; ``left`` says how things stand then.
    """
    if yes:
        return
    if not is_asked():
        raise ConfigError(f"{left}; add --yes to do it without being asked")
    if not agreed(question):
        raise Declined(left)
