"""No attack: the ordinary program that the defences must not get in the way of.

Its state has models with validators, default factories, private locks and cached properties, dataclasses with
``__post_init__``, enums with ``_missing_``, frozen keys, messages, documents and tools' artifacts. It registers
nothing, and what one process stored another reads, without a call of any of that code.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "children" / "ordinary.py"


def test_what_one_process_stored_another_reads(tmp_path: Path) -> None:
    for step in ("write", "read"):
        command = [sys.executable, "-W", "error", str(PROGRAM), step, str(tmp_path / "state")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
