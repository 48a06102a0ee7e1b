"""Agent projects for Charm's SDK, and devices that run them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from workers import WorkerPool

FELL = '{"status": "fell"}'

CHARM_YAML = """
version: "0.4.2"
persona: {name: test, description: test}
interface: {input: {type: object}, output: {type: object}}
runtime:
  adapter: {type: %s, entry_point: "%s:agent"}
"""


def write_project(folder: Path, adapter: str, module: str, source: str, memory: str = "") -> str:
    """Write a project of one module; ``memory`` is the text of ``runtime.memory``. Return its folder."""
    folder.mkdir(parents=True)
    lines = f"  memory: {memory}\n" if memory else ""
    (folder / "charm.yaml").write_text(CHARM_YAML % (adapter, module) + lines)
    (folder / f"{module}.py").write_text(source)
    return str(folder)


def run_device(
    devices: WorkerPool,
    folder: Path,
    calls: list[tuple[str, dict[str, Any]]],
    *,
    kill: bool = False,
    **environment: str,
) -> list[dict[str, Any]]:
    """Call projects on a new device, a process with a working folder and home of its own; return the results.

    With ``kill`` it is killed when it has told the last one.
    """
    worker = devices.start("run", str(folder), environment, calls, kill)
    if kill:
        deadline = time.monotonic() + 60
        while len(worker.acks) < len(calls) and FELL not in worker.acks and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait() == (-signal.SIGKILL if kill else 0)
    return [json.loads(line) for line in worker.acks]
