"""The ``charm-checkpoint`` command."""

from __future__ import annotations

from charm_checkpoint.cli.parser import build_parser, main

__all__ = ["build_parser", "main"]
