"""What is wrong with a command."""

from __future__ import annotations

from charm_checkpoint.errors import CharmError


class CommandError(CharmError, ValueError):
    """A command says what no command can."""

    def __init__(self, message: str, *, show_help: bool = False) -> None:
        super().__init__(message)
        self.show_help = show_help
