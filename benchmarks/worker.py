"""Make measurements in a process of its own: a task as JSON in, figures as JSON out.

With one task as its argument, that one; what it is to be done ``without`` are modules that cannot be imported then.
With ``--serve FOLDER``, each that comes as a line of standard input, by the package ``charm_checkpoint`` in that
folder.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any


def work(task: dict[str, Any]) -> dict[str, float | None]:
    """Return the figures of one workload for one contender, by the names in the task."""
    rows = import_module("benchmarks.contenders").CONTENDERS
    contender = next(row for row in rows if row.name == task["contender"])
    measure = import_module(f"benchmarks.{task['workload']}").measure
    figures: dict[str, float | None] = measure(contender, Path(task["folder"]), **task["parameters"])
    return figures


def serve(source: Path) -> None:
    """Answer tasks with what the package in a folder does, until there are no more."""
    sys.path.insert(0, str(source))
    found = Path(import_module("charm_checkpoint").__file__ or "")
    if source not in found.parents:
        raise ImportError(f"charm_checkpoint comes from {found.parent}, not from {source}")
    for line in sys.stdin:
        with redirect_stdout(sys.stderr):
            try:
                answer: dict[str, Any] = work(json.loads(line))
            except Exception as error:
                answer = {"failed": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(Path(sys.argv[2]))
    else:
        task = json.loads(sys.argv[1])
        sys.modules.update(dict.fromkeys(task.pop("without", ())))
        sys.stdout.write(json.dumps(work(task)) + "\n")
