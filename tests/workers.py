"""Workers in processes of their own, quick to start and easy to kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHILDREN = Path(__file__).parent / "children"

SCALE = float(os.environ.get("CHARM_TEST_SCALE", "1"))
"""By how much to multiply the number of rounds of long tests."""


def scaled(count: int) -> int:
    """Return how many rounds to run of what would be ``count``."""
    return max(1, round(count * SCALE))


class Worker:
    """A process at a job; ``acks`` is what it has said so far."""

    def __init__(self, worker_pool: WorkerPool, pid: int, ack: Path) -> None:
        self._pool = worker_pool
        self.pid = pid
        self._ack = ack

    @property
    def acks(self) -> list[str]:
        return self._ack.read_text().splitlines() if self._ack.exists() else []

    def wait(self) -> int:
        """Return the exit code, negative for a signal."""
        return int(self._pool.send(self.pid))


class WorkerPool:
    """The process that forks them. It has imported all and opened nothing."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._count = 0

    def start(self, job: str, *args: Any) -> Worker:
        """Start a worker at one of the jobs."""
        self._count += 1
        ack = self._folder / f"ack {self._count}"
        return Worker(self, int(self.send({"job": job, "ack": str(ack), "args": args})), ack)

    def send(self, order: Any) -> str:
        """Send an order and return the answer."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the pool is gone: see its errors"
        return answer


@contextmanager
def worker_pool(folder: Path, jobs: str = "jobs") -> Iterator[WorkerPool]:
    """Open a pool with the jobs of a module; a worker's traceback goes to this process's stderr."""
    with child("worker_pool.py", jobs, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield WorkerPool(process, folder)
        process.stdin.close()
        process.wait(30)


@contextmanager
def child(script: str, *args: str, **pipes: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a script of children/, with every warning an error; it is gone when the block ends."""
    command = [sys.executable, "-W", "error", str(CHILDREN / script), *args]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, encoding="utf-8", **pipes) as process:
        try:
            yield process
        finally:
            process.kill()
