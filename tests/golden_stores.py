"""Golden stores, put where they can be opened: see golden/write.py."""

from __future__ import annotations

import json
import zipfile
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

from stores import postgres_server, postgres_url, supabase_server, valkey_url

from charm_checkpoint.stores.supabase.rpc import supabase_sql

FOLDER = Path(__file__).parent / "golden"
VERSIONS = sorted(
    (path.name for path in FOLDER.iterdir() if path.is_dir() and path.name[0].isdigit()),
    key=lambda name: [int(part) for part in name.split(".")],
)
LATEST = VERSIONS[-1]
SCHEMA = "golden"


def sqlite(golden: Path, scratch: Path) -> str:
    zipfile.ZipFile(golden / "sqlite.zip").extractall(scratch)
    return f"sqlite:///{scratch}/agent.db"


def files(golden: Path, scratch: Path) -> str:
    zipfile.ZipFile(golden / "files.zip").extractall(scratch)
    return f"file://{scratch}"


def postgres(golden: Path, scratch: Path) -> str:
    url = postgres_url()
    postgres_server().execute(text(golden / "postgres.zip"), url.rpartition("/")[2])
    return f"{url}?schema={SCHEMA}"


def supabase(golden: Path, scratch: Path) -> str:
    """Return the URL of a project as it was; of an older version's the script has to be run once more."""
    server = supabase_server()
    server.postgres.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE", server.database.rpartition("/")[2])
    server.install(text(golden / "supabase.zip"))
    return server.store_url(SCHEMA)


def upgrade_supabase() -> None:
    """Run today's script in the project."""
    supabase_server().install(supabase_sql(SCHEMA))


def redis(golden: Path, scratch: Path) -> str:
    from redis import Redis

    url = valkey_url()
    with Redis.from_url(url) as client, client.pipeline(transaction=False) as commands:
        for line in text(golden / "redis.zip").splitlines():
            commands.execute_command(*map(b64decode, json.loads(line)))
        commands.execute()
    return url


def text(archive: Path) -> str:
    packed = zipfile.ZipFile(archive)
    return packed.read(packed.namelist()[0]).decode()


def rows(golden: Path) -> str:
    """Return the statements that put the rows of Postgres and Supabase into their tables."""
    found = "--" + text(golden / "supabase.zip").partition("--\n-- PostgreSQL database dump")[2]
    # The secret is theirs, not the one that was made with the tables.
    return f"DELETE FROM {SCHEMA}.thread_secret;\n{found}" if ".thread_secret" in found else found


STORES: dict[str, Callable[[Path, Path], str]] = {
    made.__name__: made for made in (sqlite, files, postgres, supabase, redis)
}


def opened(store: str, scratch: Path, version: str = LATEST) -> str:
    """Return the URL of a golden store."""
    return STORES[store](FOLDER / version, scratch)
