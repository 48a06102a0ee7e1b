"""Charm's SDK at work in a process of its own: it loads agent projects and calls them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import charm.adapters.langgraph
import langgraph.graph
from charm.core.loader import CharmLoader

Ack = Callable[[str], None]

LOADED = (charm.adapters.langgraph, langgraph.graph)
"""What takes time to be imported, for all devices at once."""


def run(ack: Ack, folder: str, environment: dict[str, str], calls: list[Any], stay: bool) -> None:
    """Be a device with this working folder and home: load each project, call it, and tell the result."""
    # The SDK tells its events on stdout, which is the pool's to answer on.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    for name in ("CHARM_MEMORY_PROVIDER", "CHARM_MEMORY_FILE", "CHARM_WORKSPACE_DIR"):
        os.environ.pop(name, None)
    os.environ.update({"HOME": folder, **environment})
    try:
        for project, inputs in calls:
            ack(json.dumps(CharmLoader.load(project).invoke(inputs)))
    except SystemExit:
        return ack('{"status": "left"}')  # as the SDK does when an agent failed
    except BaseException:
        ack('{"status": "fell"}')
        raise
    if stay:
        time.sleep(600)


JOBS: dict[str, Callable[..., None]] = {"run": run}
