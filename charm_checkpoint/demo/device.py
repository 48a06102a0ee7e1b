"""A device of the demo, seen from outside: a process of its own in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import charm_checkpoint
from charm_checkpoint.errors import CharmError


class DemoFailed(CharmError):
    """The demo could not run to its end."""


@dataclass(frozen=True)
class Job:
    """One stretch of work on one device.

    ``clock`` is how many seconds the device's clock is off; ``pause`` and ``room_takes`` are
    how long each deed, and reserving the room, lasts.
    """

    task: Literal["ask", "go on", "approve"]
    device: str
    url: str
    thread: str
    ledger: str
    clock: float = 0.0
    pause: float = 0.0
    room_takes: float = 0.0


class Device:
    """A process that does one `Job`; leaving the ``with`` block ends it, whatever happened.

    ``deadline`` is a `time.monotonic` value.
    """

    def __init__(self, job: Job, folder: Path, deadline: float) -> None:
        self.job = job
        self.deadline = deadline
        self.killed = False
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "charm_checkpoint.demo.agent"],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        self._pump = threading.Thread(target=self._read_lines, daemon=True)

    def __enter__(self) -> Device:
        self._pump.start()
        assert self.process.stdin
        # By stdin, not by argument: a URL may hold a password, and arguments are for all to see.
        # A process that is gone already says why in `events`.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asdict(self.job)) + "\n")
            self.process.stdin.flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self._pump.join()
        self._errors.close()
        assert self.process.stdin and self.process.stdout
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what the process reports, until it ends.

        Raises `DemoFailed`, with the process's own traceback, if it fails; or is too slow.
        """
        while line := self._next_line():
            yield json.loads(line)
        code = self.process.wait()
        if code and not self.killed:
            raise DemoFailed(f"the {self.job.device}'s process failed (exit code {code}):\n{self._error_text()}")

    def kill(self) -> None:
        """End the process at once: SIGKILL, or what the system has of the kind."""
        self.killed = True
        self.process.kill()
        self.process.wait()

    def _read_lines(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _next_line(self) -> str:
        try:
            return self._lines.get(timeout=max(0.0, self.deadline - time.monotonic()))
        except queue.Empty:
            what = f"the {self.job.device}'s process took too long and was ended"
            raise DemoFailed(f"{what}. What it wrote to stderr:\n{self._error_text()}") from None

    def _error_text(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace").strip() or "(nothing)"


def _environment() -> dict[str, str]:
    """Return this process's environment, with what it can import, from any folder."""
    package = Path(charm_checkpoint.__file__).resolve().parent.parent
    paths = [str(package), *(os.path.abspath(path) for path in sys.path if path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONIOENCODING": "utf-8"}
