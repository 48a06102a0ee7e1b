"""One call of a program: with a time limit, without a shell, and with nothing left behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import ConfigError, StoreUnavailable
from charm_checkpoint.items.flow import Work

REAPED_IN: Final = 5.0
"""Seconds that a program which was killed has to be gone; it takes none, unless it waits for a disk."""


def call_program(command: Sequence[str], arguments: Sequence[str], timeout: float) -> Work:
    """Return the work of a call, which returns what the program printed.

    Raises `StoreUnavailable` if it cannot be started, is not done in time, or ends with an error; it is killed then,
    with all that it has started. In an async call that is cancelled it is killed at once.
    """
    return Work(partial(_run, command, arguments, timeout), partial(_arun, command, arguments, timeout))


def _run(command: Sequence[str], arguments: Sequence[str], timeout: float) -> str:
    return _Call(command, arguments, timeout).run()


async def _arun(command: Sequence[str], arguments: Sequence[str], timeout: float) -> str:
    # In a thread: asyncio's own subprocesses want a child watcher, or an event loop of a certain kind.
    running = _Call(command, arguments, timeout)
    try:
        return await asyncio.get_running_loop().run_in_executor(None, running.run)
    except asyncio.CancelledError:
        running.cancel()
        raise


class _Call:
    def __init__(self, command: Sequence[str], arguments: Sequence[str], timeout: float) -> None:
        self._program, self._arguments, self._timeout = command[0], [*command[1:], *arguments], timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False
        self._lock = threading.Lock()

    def run(self) -> str:
        process = self._start()
        if process is None:
            raise StoreUnavailable(f"{self._program} was not started: the call was cancelled")
        try:
            output, errors = process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired:
            self._end(process)
            raise StoreUnavailable(f"{self._program} did not answer in {self._timeout * 1000:.0f} ms") from None
        except BaseException:
            self._end(process)
            raise
        if process.returncode:
            said = errors.decode(errors="replace").strip()[-200:]
            raise StoreUnavailable(f"{self._program} ended with {process.returncode}{': ' * bool(said)}{mask(said)}")
        return output.decode(errors="replace")

    def cancel(self) -> None:
        """Kill the program, which ends `run`; one that is not started yet will not be."""
        with self._lock:
            self._cancelled = True
            if self._process is not None and self._process.returncode is None:
                _kill(self._process)

    def _start(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._cancelled:
                return None
            try:
                self._process = subprocess.Popen(
                    [_found(self._program), *self._arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    **_APART,
                )
            except OSError as error:
                raise StoreUnavailable(f"{self._program} cannot be started: {error.strerror}") from None
            return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            _kill(process)
            # Not read to their ends: what the program has started elsewhere may hold them open for ever.
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            try:
                process.wait(REAPED_IN)
            except subprocess.TimeoutExpired:
                threading.Thread(target=process.wait, daemon=True).start()


_APART: Final[dict[str, Any]] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    if os.name == "nt"
    else {"start_new_session": True}
)
"""So that it and all that it starts can be killed together."""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and what it has started; it was not waited for yet, so its number is still its own."""
    if os.name == "nt":
        tree = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(tree, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        process.kill()
        return
    try:
        getattr(os, "killpg")(process.pid, getattr(signal, "SIGKILL"))  # noqa: B009 (there is none on Windows)
    except (ProcessLookupError, PermissionError):
        process.kill()


def _found(program: str) -> str:
    """Return the program's file; on Windows a script of its shell is refused, which would read arguments anew."""
    path = shutil.which(program)
    if os.name == "nt" and path is not None and path.lower().endswith((".bat", ".cmd")):
        raise ConfigError(f"{program} is a script of the command prompt: name the program that it starts")
    return path or program
