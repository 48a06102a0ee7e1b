"""Supabase, as Supabase Lite on a PostgreSQL server: its HTTP API, its keys, roles and signed-in users."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from charm_checkpoint.servers.account import unprivileged
from charm_checkpoint.servers.base import HOST, Server
from charm_checkpoint.servers.node import find_node, locked, packages
from charm_checkpoint.servers.postgresql import PostgresServer, postgres
from charm_checkpoint.servers.process import clean_environment, write_private

PACKAGES = "supabase_lite"
"""The folder with what npm is to bring."""

SCHEMAS = ("public", "charm_checkpoint")

ROLES = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        CREATE ROLE anon NOLOGIN NOINHERIT;
        CREATE ROLE authenticated NOLOGIN NOINHERIT;
        CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
    END IF;
END $$;
"""
"""The roles of every Supabase project, which are of the whole server."""

GRANTS = """
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
"""
"""What a new project lets those roles do."""

PROBE = """
CREATE SCHEMA lite_probe;
CREATE TABLE lite_probe.one (n integer PRIMARY KEY);
ALTER TABLE lite_probe.one ENABLE ROW LEVEL SECURITY;
"""
"""A table with row-level security.

Lite looks once, at its first request, whether there is any; with none it runs all as superuser
from then on, and in the schemas where it finds one it grants everything to everybody.
"""


class SupabaseServer(Server):
    """Supabase's HTTP API on a database of its own; ``postgres`` is the server that has it.

    ``secret_key`` is for the server side and passes row-level security, ``publishable_key`` is
    that of anybody, or with a `sign_token` of a signed-in user. ``database`` is the URL of the
    database itself, for its superuser.
    """

    title = "Supabase Lite"

    def __init__(self, postgres: PostgresServer, *, owns_postgres: bool, schemas: Sequence[str] = SCHEMAS) -> None:
        self._node, modules = find_node(), packages(locked(PACKAGES))
        super().__init__(account=unprivileged())
        if self._account:
            self._node = self._account.reach(self._node, self.folder)
            modules = self._account.reach_tree(modules, self.folder)
        self._program = modules / "@supabase" / "lite" / "dist" / "cli" / "index.js"
        self.postgres = postgres
        self.schemas = ("public", *schemas) if "public" not in schemas else tuple(schemas)
        self.secret_key = f"sb_secret_{secrets.token_hex(16)}"
        self.publishable_key = f"sb_publishable_{secrets.token_hex(16)}"
        self.database = ""
        self._owns_postgres = owns_postgres
        self._sign_key = secrets.token_urlsafe(48)

    @property
    def url(self) -> str:
        """The project's URL, for ``supabase.create_client(url, secret_key)``."""
        return f"http://{HOST}:{self.port}"

    def store_url(self, schema: str | None = None) -> str:
        """Return the URL to open a store by, with the secret key; ``schema`` is that of its tables."""
        place = f"&schema={schema}" if schema else ""
        return f"supabase://{HOST}:{self.port}?key={self.secret_key}{place}"

    def install(self, sql: str | None = None) -> None:
        """Run an SQL script on the database, as the SQL editor would, and let the API see what it made.

        Unless another is given, it is the one that ``charm-checkpoint schema`` prints.
        """
        if sql is None:
            from charm_checkpoint.stores.supabase.rpc import supabase_sql

            sql = supabase_sql()
        self.postgres.execute(sql, self.database.rpartition("/")[2])
        self.reload()

    def reload(self) -> None:
        """Let the API see what changed in the database's schemas."""
        self._get("/_system/introspect")

    def sign_token(self, user_id: str, *, role: str = "authenticated", seconds: int = 3600) -> str:
        """Return an access token as a user gets it who signs in; ``user_id`` is a UUID on Supabase."""
        now = int(time.time())
        claims = {"sub": user_id, "role": role, "aud": role, "iat": now, "exp": now + seconds}
        signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
        return f"{signed}.{_encode(hmac.digest(self._sign_key.encode(), signed.encode(), hashlib.sha256))}"

    def _leave(self) -> None:
        if self._owns_postgres:
            self.postgres.stop()
        elif self.database and self.postgres.running:
            self.postgres.drop_database(self.database)
        self.database = ""

    def _prepare(self) -> None:
        self.postgres.execute(ROLES)
        self.database = self.postgres.new_database()
        self.postgres.execute(GRANTS + PROBE, self.database.rpartition("/")[2])
        place = self.folder / "supabase" / "config.toml"
        place.parent.mkdir()
        if self._account:
            self._account.own(place.parent)
        write_private(place, self._config(), self._account)

    def _config(self) -> str:
        # Numbers, texts, lists of texts and booleans are written in TOML as in JSON.
        values: dict[str, dict[str, object]] = {
            "api": {"port": self.port, "schemas": [*self.schemas, "lite_probe"]},
            "db": {"driver": "postgres", "url": self.database},
            "auth": {
                "enabled": True,
                "jwt_secret": self._sign_key,
                "publishable_key": self.publishable_key,
                "secret_key": self.secret_key,
            },
        }
        lines: list[str] = []
        for name, part in values.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in part.items())]
        return "\n".join(lines) + "\n"

    def _command(self) -> list[str]:
        return [str(self._node), str(self._program), "start", "--no-admin", "--host", HOST]

    def _environment(self) -> dict[str, str]:
        return clean_environment(LITE_TELEMETRY="0", NO_COLOR="1")

    def _is_ready(self) -> bool:
        return super()._is_ready() and self._get("/rest/v1/one", schema="lite_probe") == b"[]"

    def _get(self, path: str, schema: str = "public") -> bytes:
        headers = {"apikey": self.secret_key, "Accept-Profile": schema}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(self.url + path, headers=headers), timeout=30) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.URLError as error:
            detail = error.read().decode("utf-8", "replace") if isinstance(error, urllib.error.HTTPError) else error
            raise self._failure(f"did not answer {path} ({detail})") from error


def supabase(server: PostgresServer | None = None, *, schemas: Sequence[str] = SCHEMAS) -> SupabaseServer:
    """Start Supabase's HTTP API, on a new database of ``server`` or on a PostgreSQL of its own.

    ``schemas`` are those it serves, besides ``public``, whether they are there yet or not. Needs
    Node.js 20 or later and, when a user first calls this, npm's registry: Supabase Lite goes to
    the user's cache folder.
    """
    owned = postgres() if server is None else server
    try:
        return SupabaseServer(owned, owns_postgres=server is None, schemas=schemas).start()
    except BaseException:
        if server is None:
            owned.stop()
        raise


def _part(value: dict[str, object]) -> str:
    return _encode(json.dumps(value, separators=(",", ":")).encode())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
