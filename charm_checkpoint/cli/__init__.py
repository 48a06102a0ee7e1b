"""The ``charm-checkpoint`` command."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; see `charm_checkpoint.cli.app.main`.

    What a command is made of is read here: that takes a while on a slow machine, and Ctrl-C may come meanwhile.
    """
    try:
        from charm_checkpoint.cli.app import main as run
    except KeyboardInterrupt:
        with contextlib.suppress(AttributeError, OSError, ValueError):  # there may be nobody to tell
            sys.stderr.write("charm-checkpoint: interrupted\n")
        return 130
    return run(argv)
