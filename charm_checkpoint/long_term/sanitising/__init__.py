"""Sanitising: text that leaves this machine without secrets, and without this machine's paths."""

from __future__ import annotations

from charm_checkpoint.long_term.sanitising.paths import Roots, known_roots
from charm_checkpoint.long_term.sanitising.sanitiser import Finding, Sanitised, sanitise

__all__ = ["Finding", "Roots", "Sanitised", "known_roots", "sanitise"]
