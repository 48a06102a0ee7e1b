"""How long an import takes, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPEATS = 7
"""Rounds, whatever those of the other workloads: an import is short and its time uneven."""

BASE = "langgraph.checkpoint.base"
MODULES = (BASE, "langgraph.checkpoint.sqlite", "charm_checkpoint")

PROGRAM = "import time; start = time.perf_counter(); import {}; print((time.perf_counter() - start) * 1e3)"


def milliseconds(module: str) -> float:
    """Import a module in a fresh process and return how long that took; CalledProcessError if it failed."""
    command = [sys.executable, "-c", PROGRAM.format(module)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout)
