"""The main job, to be watched: one agent, two devices, a crash and a human approval."""

from __future__ import annotations

from charm_checkpoint.demo.director import run_demo

__all__ = ["run_demo"]
