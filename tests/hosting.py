"""Servers that host an agent, each in a process group of its own, and a client for them."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workers import CHILDREN

TIMEOUT = 60.0
"""Seconds until a host has to be up, or gone."""


class _Connection(http.client.HTTPConnection):
    """A connection by way of a Unix socket, which unlike a port is nobody else's."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Host:
    """A server at work."""

    def __init__(self, process: subprocess.Popen[str], path: str, log: Path) -> None:
        self.process = process
        self._path = path
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Return the status of an answer, and its text."""
        connection = _Connection(self._path)
        try:
            connection.request("GET", path)
            with connection.getresponse() as answer:
                return answer.status, answer.read().decode()
        except ConnectionError as error:
            raise AssertionError(self.log) from error
        finally:
            connection.close()

    def begin(self, path: str) -> None:
        """Ask for something, read the first line of the answer, and hang up."""
        connection = _Connection(self._path)
        connection.request("GET", path)
        with connection.getresponse() as answer:
            assert answer.readline()
        connection.close()

    def turns(self, path: str) -> Any:
        """Return the answer to a turn, as its JSON."""
        status, text = self.get(path)
        assert status == 200, f"{text}\n{self.log}"
        return json.loads(text)

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while True:
            assert self.process.poll() is None, self.log
            with socket.socket(socket.AF_UNIX) as probe:
                if not probe.connect_ex(self._path):
                    return
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(TIMEOUT / 2)
        except subprocess.TimeoutExpired:
            # uWSGI misses a signal that comes while it starts processes.
            self.process.send_signal(number)
        return self.process.wait(TIMEOUT / 2)


@contextmanager
def environment(urls: Mapping[str, str], **more: str) -> Iterator[dict[str, str]]:
    """Give the environment in which `children/host_app.py` serves these stores."""
    path = os.pathsep.join([str(CHILDREN), *filter(None, sys.path)])
    yield {**os.environ, "PYTHONPATH": path, "HOST_URLS": json.dumps(dict(urls)), **more}


@contextmanager
def host(*command: str, urls: Mapping[str, str], **env: str) -> Iterator[Host]:
    """Run a server; ``SOCKET`` in its command is replaced by the socket that it is to serve.

    It is gone, with all that it started, when the block ends.
    """
    folder = Path(tempfile.mkdtemp(prefix="host-"))  # short: a socket's path has room for 100 characters
    path, log = str(folder / "s"), folder / "log"
    with log.open("w") as output, environment(urls, **env) as variables:
        process = subprocess.Popen(
            [word.replace("SOCKET", path) for word in command],
            env=variables,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
        try:
            started = Host(process, path, log)
            started.wait_until_up()
            yield started
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait(TIMEOUT)
            shutil.rmtree(folder)


def crowd(host: Host, name: str, label: str = "thread", threads: int = 8, rounds: int = 4, tail: str = "") -> set[int]:
    """Let several clients at once each take turns of a thread, and see that each gets its own; return the processes.

    ``label`` begins the threads' names, which are new; ``tail`` ends every second path.
    """

    def client(number: int) -> set[int]:
        thread, pids = f"{label} {number}", set()
        for turn in range(1, rounds + 1):
            found = host.turns(f"/{name}/{label}%20{number}{tail if turn % 2 else ''}")
            assert found["turns"] == [f"{thread} says", f"heard {thread} says"] * turn, host.log
            pids.add(found["pid"])
        return pids

    with ThreadPoolExecutor(threads) as pool:
        return set().union(*pool.map(client, range(threads)))
