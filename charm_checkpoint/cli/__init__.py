"""The ``charm-checkpoint`` command."""

from __future__ import annotations

from charm_checkpoint.cli.app import main

__all__ = ["main"]
