"""Make one measurement, in a process of its own: a task as JSON in, figures as JSON out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import chat, files, growth, history, latency, operations, tasks
from benchmarks.contenders import CONTENDERS

Measure = Callable[..., dict[str, float | None]]

MEASURES: dict[str, Measure] = {
    "chat": chat.measure,
    "files": files.measure,
    "growth": growth.measure,
    "history": history.measure,
    "latency": latency.measure,
    "operations": operations.measure,
    "tasks": tasks.measure,
}


def work(task: dict[str, Any]) -> dict[str, float | None]:
    """Return the figures of one workload for one contender, by the names in the task."""
    contender = next(row for row in CONTENDERS if row.name == task["contender"])
    return MEASURES[task["workload"]](contender, Path(task["folder"]), **task["parameters"])


if __name__ == "__main__":
    figures = work(json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps(figures) + "\n")
