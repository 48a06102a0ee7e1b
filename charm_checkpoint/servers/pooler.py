"""PgBouncer, a pooler in front of PostgreSQL, from the machine's own packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import ClassVar

from charm_checkpoint.errors import MissingServer
from charm_checkpoint.servers.account import unprivileged
from charm_checkpoint.servers.base import HOST, Server
from charm_checkpoint.servers.certificate import make_certificate
from charm_checkpoint.servers.postgresql import SUPERUSER, PostgresServer
from charm_checkpoint.servers.process import write_private

SETTINGS = {
    "listen_addr": HOST,
    "unix_socket_dir": "",
    "auth_type": "scram-sha-256",
    "max_client_conn": "500",
}


class PgBouncerServer(Server):
    """A pooler in front of the server ``postgres``, with the same databases, user and password."""

    title = "PgBouncer"
    # What newer versions call an immediate shutdown; their SIGTERM waits for clients to leave.
    signal: ClassVar[str] = "SIGQUIT"

    def __init__(
        self, postgres: PostgresServer, *, pool_mode: str = "transaction", pool_size: int = 20, tls: bool = False
    ) -> None:
        self._program = _find_program()
        super().__init__(account=unprivileged())
        self.postgres = postgres
        self._settings = {**SETTINGS, "pool_mode": pool_mode, "default_pool_size": str(pool_size)}
        self._tls = tls
        self.certificate: Path | None = None
        """The file of its certificate, for ``sslrootcert``; None without TLS."""

    @property
    def url(self) -> str:
        """The URL of the database ``postgres`` by way of the pooler."""
        return self.through(self.postgres.url)

    def through(self, url: str) -> str:
        """Return the URL of a database of its server by way of the pooler."""
        return f"postgresql://{SUPERUSER}:{self.postgres.password}@{HOST}:{self.port}/{url.rpartition('/')[2]}"

    def new_database(self) -> str:
        """Make an empty database and return its URL by way of the pooler."""
        return self.through(self.postgres.new_database())

    def _prepare(self) -> None:
        users = self.folder / "users"
        write_private(users, f'"{SUPERUSER}" "{self.postgres.password}"\n', self._account)
        settings = {**self._settings, "listen_port": str(self.port), "auth_file": str(users)}
        if self._tls:
            self.certificate, key = make_certificate(self.folder, self._account)
            settings |= {"client_tls_sslmode": "require", "client_tls_cert_file": str(self.certificate)}
            settings["client_tls_key_file"] = str(key)
        lines = ["[databases]", f"* = host={HOST} port={self.postgres.port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")

    def _command(self) -> list[str]:
        return [self._program, str(self.folder / "pgbouncer.ini")]


def pgbouncer(
    postgres: PostgresServer, *, pool_mode: str = "transaction", pool_size: int = 20, tls: bool = False
) -> PgBouncerServer:
    """Start PgBouncer in front of a PostgreSQL server.

    ``pool_size`` is the connections to each database; with ``tls``, its clients connect by TLS alone.
    """
    return PgBouncerServer(postgres, pool_mode=pool_mode, pool_size=pool_size, tls=tls).start()


def _find_program() -> str:
    # Ordinary users seldom have /usr/sbin on their path.
    found = shutil.which("pgbouncer") or shutil.which(
        "pgbouncer", path=os.pathsep.join(("/usr/sbin", "/usr/local/sbin"))
    )
    if found is None:
        raise MissingServer("PgBouncer is not installed: apt-get install pgbouncer, or brew install pgbouncer")
    return found
