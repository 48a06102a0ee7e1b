"""What all local servers have in common: a folder, a port, a log, a start and an end."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from charm_checkpoint.errors import MissingServer, ServerFailed
from charm_checkpoint.runtime.lifecycle import OwnerProcess
from charm_checkpoint.runtime.rights import make_folders
from charm_checkpoint.servers.account import Account, require_way
from charm_checkpoint.servers.process import Job, Process, clean_environment

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"

PORTS = range(15000, 22000)
"""Where to look for free ports.

Below the ranges that systems take the near ends of connections from: a client that calls again
and again while its server restarts could else be given the server's port, and talk to itself.
Ten thousand more is below 32768 too; Valkey's cluster bus is there.
"""

LOG_END = 3000
"""How many characters of a log an error shows."""


class Server:
    """A server on 127.0.0.1 that lives until `stop`, and no longer than this process.

    In a temporary folder of its own, unless one is given, which is then kept with its data.
    Raises `MissingServer` when its program is not installed and `ServerFailed`, with the end of
    its log, when it does not start. After a fork it belongs to the first process alone.
    """

    title: ClassVar[str]
    signal: ClassVar[str] = "SIGTERM"
    start_timeout: ClassVar[float] = 30.0
    """Seconds to wait for it to start."""

    def __init__(self, folder: str | os.PathLike[str] | None = None, account: Account | None = None) -> None:
        if os.name != "posix":
            raise MissingServer(f"{self.title} can be started here on Linux and macOS only")
        self.port = free_port()
        self._account = account
        self._temporary = folder is None
        self.folder = self._make_folder(folder)
        self._process: Process | None = None
        self._owner = OwnerProcess()

    # ------------------------------------------------------------- what each kind of server says

    @property
    def url(self) -> str:
        """The URL to open it by."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _prepare(self) -> None:
        """Write what the server needs to find in its folder."""

    def _leave(self) -> None:
        """Tidy up what it left elsewhere, once or more often."""

    def _is_ready(self) -> bool:
        return answers(self.port)

    def _environment(self) -> dict[str, str]:
        return clean_environment()

    # ------------------------------------------------------------------------- start and end

    @property
    def log(self) -> Path:
        """The file with all that the server printed."""
        return self.folder / "log"

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """The process id of the running server; raises `ServerFailed` when it is stopped."""
        if self._process is None:
            raise ServerFailed(f"{self.title} is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start it, and wait until it can be used; it is stopped at exit at the latest."""
        atexit.register(self.stop)
        try:
            self._prepare()
            self._launch()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop it, and remove its folder unless that was given; without effect when it is stopped already."""
        if not self._owner.is_current():
            return
        atexit.unregister(self.stop)
        if self._process is not None:
            self._process.end()
            self._process = None
        self._leave()
        if self._temporary:
            # Its keeper has removed it, but not that of a server that ended by itself.
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self.folder)

    def restart(self, signal: str | None = None) -> None:
        """Stop it and start it again, with its data and on its port; ``signal`` is how to stop it."""
        self.halt(signal)
        self._launch()

    def halt(self, signal: str | None = None) -> None:
        """Stop it, but leave its data for `restart`."""
        if self._process is not None:
            self._process.end(signal or self.signal)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on port {self.port}>"

    def _launch(self) -> None:
        remove = str(self.folder) if self._temporary else None
        user, group = (self._account.user, self._account.group) if self._account else (None, None)
        environment = dict(self._environment())
        if self._account:  # root's own home is closed to it
            environment |= {"HOME": str(self.folder), "USER": self._account.name, "LOGNAME": self._account.name}
        job = Job(self._command(), environment, str(self.folder), self.signal, remove, user, group)
        self._process = Process(job, self.log)
        limit = time.monotonic() + self.start_timeout
        while not self._is_ready():
            if not self._process.running:
                raise self._failure("ended while it started")
            if time.monotonic() > limit:
                raise self._failure(f"did not start within {self.start_timeout:.0f} s")
            time.sleep(0.01)

    def _failure(self, what: str, output: str | None = None) -> ServerFailed:
        shown = self.log.read_text("utf-8", "replace") if output is None else output
        return ServerFailed(
            f"{self.title} {what}; the end of what it said:\n{shown[-LOG_END:].rstrip() or '(nothing)'}"
        )

    def _make_folder(self, given: str | os.PathLike[str] | None) -> Path:
        if given is None:
            name = f"charm-checkpoint-{self.title.lower().replace(' ', '-')}-"
            folder = Path(tempfile.mkdtemp(prefix=name)).resolve()
        else:
            folder = Path(given).resolve()
            make_folders(folder)
        try:
            require_way(self._account, folder.parent)
        except ServerFailed:
            if given is None:
                folder.rmdir()
            raise
        if self._account:
            self._account.own(folder)
        return folder


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens, nor on the one ten thousand above."""
    for port in random.SystemRandom().sample(PORTS, 200):
        if _is_free(port) and _is_free(port + 10000):
            return port
    raise ServerFailed(f"found no free port from {PORTS.start} to {PORTS.stop}")


def answers(port: int) -> bool:
    """Whether something listens on a port of 127.0.0.1."""
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex((HOST, port)) == 0


def await_true(condition: Callable[[], bool], otherwise: str, timeout: float = 30.0) -> None:
    """Wait until a condition holds; raise `ServerFailed` with ``otherwise`` after ``timeout`` seconds."""
    limit = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > limit:
            raise ServerFailed(f"{otherwise} within {timeout:.0f} s")
        time.sleep(0.02)


def _is_free(port: int) -> bool:
    with socket.socket() as server:
        try:
            server.bind((HOST, port))
        except OSError:
            return False
    return True
