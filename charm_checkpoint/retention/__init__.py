"""How long things are kept: policies, pins, sweeps, and erasing for good."""

from __future__ import annotations

from charm_checkpoint.config.retention import Retention as Retention

__all__ = ["Retention"]
