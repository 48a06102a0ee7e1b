"""Runs a server, and ends it when told to or when the process that asked for it is gone.

A script of its own, run by its path in an interpreter with nothing else loaded. Its first line of
input is the job as JSON; it answers with the server's process id. Then a line names a signal to
end the server with, after which its folder stays. At the end of input, which comes without fail
when the other process dies, the server is ended and its folder removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Job = dict[str, Any]

LOOK = 0.25
"""Seconds between looks at whether the server and the parent still live."""

STOP_TIMEOUT = 10.0
"""Seconds a server has to end before it is killed."""

INPUT = 0

PROCESSES = "/proc"

LINUX = sys.platform == "linux"


def main() -> int:
    """Keep one server."""
    # A shell's background commands, and what they start, ignore SIGQUIT, which ends some servers: what has a handler
    # here begins with the default there.
    for name in ("SIGTERM", "SIGHUP", "SIGQUIT"):
        signal.signal(getattr(signal, name), lambda *_: sys.exit(1))
    # A fork of the parent may hold the pipe open after the parent is gone, so that is not asked alone.
    parent = os.getppid()
    job = json.loads(read_line())
    server = start(job)
    if server is None:
        return 1
    order: str | None = ""
    try:
        order = wait(server, parent)
    finally:
        end(server, order or job["signal"])
        if order == "" and job["remove"]:
            shutil.rmtree(job["remove"], ignore_errors=True)
    return 0


def start(job: Job) -> subprocess.Popen[Any] | None:
    """Start the server and say its process id, or why it cannot be started."""
    drop: Job = {"user": job["user"], "group": job["group"], "extra_groups": []} if job["user"] is not None else {}
    try:
        server = subprocess.Popen(
            job["command"],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=sys.stderr,
            cwd=job["cwd"],
            env=job["environment"],
            start_new_session=True,
            umask=0o077,
            **drop,
        )
    except OSError as error:
        os.write(sys.stderr.fileno(), f"{job['command'][0]}: {error}\n".encode())
        return None
    os.write(1, f"{server.pid}\n".encode())
    os.close(1)
    return server


def wait(server: subprocess.Popen[Any], parent: int) -> str | None:
    """Wait for an order; return it, "" when the parent is done or gone, None when the server is gone."""
    while server.poll() is None:
        if select.select([INPUT], [], [], LOOK)[0]:
            return read_line()
        if os.getppid() != parent:
            return ""
    return None


def read_line() -> str:
    """Read a line from the pipe, byte by byte: what comes after it must stay in the pipe."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(INPUT, 1)
        if not byte:
            break
        line += byte
    return line.decode().strip()


def end(server: subprocess.Popen[Any], name: str) -> None:
    """End the server, by force if it does not go, and with it whatever it started."""
    family = list(descendants(server.pid))
    if server.poll() is None:
        server.send_signal(getattr(signal, name))
        wait_while(lambda: server.poll() is None)
    # None left is an error here, which macOS reports as a missing permission.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    # PostgreSQL's processes lead groups of their own; a busy one may outlive it, and keep its files from the next.
    for pid in filter(lives, family):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_while(lambda: any(map(lives, family)))


def wait_while(condition: Callable[[], bool]) -> None:
    """Wait while a condition holds, but not for ever."""
    limit = time.monotonic() + STOP_TIMEOUT
    while condition() and time.monotonic() < limit:
        time.sleep(0.005)


def descendants(pid: int) -> Iterator[int]:
    """Find the processes that a process started, and those that they did; none where there is no /proc."""
    parents = {int(name): status(int(name))[1] for name in os.listdir(PROCESSES) if name.isdecimal()} if LINUX else {}
    found = [pid]
    for parent in found:
        children = [child for child, of in parents.items() if of == parent]
        found += children
        yield from children


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be counted does not."""
    return status(pid)[0] not in ("", "Z", "X")


def status(pid: int) -> tuple[str, int]:
    """Return a process's state, a letter, and its parent; nothing of one that is gone."""
    try:
        with open(f"{PROCESSES}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name before them, in parentheses, may hold anything.
            state, parent = file.read().rpartition(")")[2].split()[:2]
    except OSError:
        return "", 0
    return state, int(parent)


if __name__ == "__main__":
    sys.exit(main())
