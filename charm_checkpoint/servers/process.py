"""A server's process, on a leash: a keeper beside it ends it when this process is gone, however it went."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from charm_checkpoint.runtime.packed_program import need_interpreter
from charm_checkpoint.runtime.regular_files import SAFELY
from charm_checkpoint.runtime.rights import PRIVATE, create
from charm_checkpoint.servers import keeper
from charm_checkpoint.servers.account import Account


@dataclass(frozen=True)
class Job:
    """What a keeper is to run, and how to end it.

    ``signal`` ends the server; ``remove`` is the folder to remove then.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    cwd: str
    signal: str
    remove: str | None
    user: int | None = None
    group: int | None = None


class Process:
    """A running server; ``pid`` is its process id, 0 if it could not be started at all."""

    def __init__(self, job: Job, log: Path) -> None:
        need_interpreter("a server's keeper")
        # A session of its own: Ctrl-C in a terminal or notebook is not meant for the server.
        # What the server writes is this user's alone, its log among it.
        with open(log, "ab", opener=lambda path, flags: os.open(path, flags | SAFELY, PRIVATE)) as stderr:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                env=clean_environment(),
            )
        self._tell(json.dumps(asdict(job)))
        assert self._keeper.stdout
        with self._keeper.stdout as answer:
            self.pid = int(answer.readline() or 0)

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._keeper.poll() is None

    def end(self, signal: str | None = None) -> None:
        """End the server with a signal and keep its folder, or without one and let the folder go; return when done."""
        if signal:
            self._tell(signal)
        assert self._keeper.stdin
        with contextlib.suppress(BrokenPipeError):
            self._keeper.stdin.close()
        self._keeper.wait()

    def _tell(self, line: str) -> None:
        assert self._keeper.stdin
        with contextlib.suppress(BrokenPipeError):  # the server is gone, and its keeper with it
            self._keeper.stdin.write(line.encode() + b"\n")
            self._keeper.stdin.flush()


def write_private(path: Path, text: str, account: Account | None = None) -> None:
    """Write a file that this user alone may read, or the one that a server runs as, in place of what has its name."""
    path.unlink(missing_ok=True)
    with open(create(path, PRIVATE), "w", encoding="utf-8") as file:
        file.write(text)
    if account:
        account.own(path)


KEPT = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH", "OPENSSL_CONF", "SSL_CERT_FILE", "SSL_CERT_DIR",
})  # fmt: skip
"""The variables that programs need to find themselves, their libraries and their language."""

NPM = re.compile(r"(?:npm_config_\w+|(?:https?|no|all)_proxy|NODE_EXTRA_CA_CERTS|XDG_\w+_HOME)", re.IGNORECASE)
"""What npm needs besides, to reach its registry."""


def clean_environment(*, npm: bool = False, **more: str) -> dict[str, str]:
    """Return what of this process's environment a server or a tool needs, and ``more``.

    The rest stays here: keys of models and databases are none of its business, and options for other tools would lead
    it astray.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or name.startswith("LC_") or (npm and NPM.fullmatch(name))
    }
    return {**kept, **more}


def run(
    command: Sequence[str],
    *,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    text: str = "",
    limit: float = 120.0,
    npm: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; the caller looks at its return code. ``limit`` is in seconds, ``npm`` is for npm."""
    return subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment or clean_environment(npm=npm),
        cwd=cwd,
        timeout=limit,
        check=False,
        **(account.as_arguments() if account else {}),
    )
