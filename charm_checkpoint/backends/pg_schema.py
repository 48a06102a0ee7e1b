"""The schema that Postgres and Supabase share, as migrations and as a script to run by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from charm_checkpoint.errors import ConfigError, SchemaMismatch
from charm_checkpoint.migrate import Migration, pending

SCHEMA = "charm_checkpoint"
"""The schema used unless another is named."""

OLDEST = 140000
"""The oldest server supported: Postgres 14."""

LOCK = 0x63686370
"""The advisory lock that those who set up a schema take turns by."""

MARK = "charm_checkpoint"
"""The comment on a table ``migration`` that is ours."""

TABLES = ("thread", "space", "checkpoint", "write", "chunk", "message")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


def check_name(schema: str) -> str:
    """Return a schema's name as it is; raises `ConfigError` for one that needs more than plain quoting."""
    if not _NAME.fullmatch(schema):
        raise ConfigError(f"schema {schema!r}: a schema's name has letters, digits, _ and -, 63 at most")
    return schema


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all migrations in order, with ``{schema}`` where the quoted name of the schema goes."""
    return (Migration(1, "first tables", (_resource("tables.sql"), _resource("functions.sql"))),)


def statements(schema: str, version: int) -> list[str]:
    """Return what brings a schema from ``version`` up to date; each text may hold several statements."""
    quoted = f'"{check_name(schema)}"'
    texts = [_ALONE.replace("{schema}", quoted)]
    for migration in pending(migrations(), version):
        texts += [text.replace("{schema}", quoted) for text in migration.statements]
        texts.append(
            f"INSERT INTO {quoted}.migration (version, name) VALUES ({migration.version:d}, '{migration.name}')"
            " ON CONFLICT DO NOTHING"
        )
    return [*texts, f"COMMENT ON TABLE {quoted}.migration IS '{MARK}'"] if len(texts) > 1 else []


_ALONE = """\
-- Wait for calls at work to end, and let others wait.
DO $$ BEGIN
    IF to_regclass('{schema}.thread') IS NOT NULL THEN
        LOCK TABLE {schema}.thread IN ACCESS EXCLUSIVE MODE;
    END IF;
END $$"""


def script(schema: str = SCHEMA) -> str:
    """Return the whole schema as SQL to run by hand, in ``psql`` or a migration tool; safe to run again."""
    head = [
        f"-- The schema of charm_checkpoint, version {migrations()[-1].version}. Running it again changes nothing.",
        "-- Another role than the one that runs this needs, to use it:",
        f'--   GRANT USAGE ON SCHEMA "{check_name(schema)}" TO role;',
        f'--   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO role;',
        "BEGIN;",
        f"SELECT pg_advisory_xact_lock({LOCK});",
        f'CREATE SCHEMA IF NOT EXISTS "{schema}";',
    ]
    body = [text.rstrip().rstrip(";") + ";" for text in statements(schema, 0)]
    return "\n".join([*head, *body, "COMMIT;"]) + "\n"


def judge(schema: str, server: int, mark: str | None, foreign: Sequence[str]) -> None:
    """Refuse a server that is too old, and a schema that is another program's.

    ``mark`` is the comment on its table ``migration``; ``foreign`` are tables there named like ours.
    """
    if server < OLDEST:
        raise SchemaMismatch(
            f"This server is Postgres {server // 10000}; charm_checkpoint needs {OLDEST // 10000} or newer."
        )
    if mark != MARK and foreign:
        raise SchemaMismatch(
            f"The schema {schema!r} is another program's: it has the tables {', '.join(sorted(foreign))}. "
            "Name a schema of its own for charm_checkpoint, as in ?schema=agents."
        )


def _resource(name: str) -> str:
    return files("charm_checkpoint.backends").joinpath("resources").joinpath(name).read_text("utf-8")
