"""The schema that Postgres and Supabase share, as migrations and as a script to run by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from charm_checkpoint.errors import ConfigError, SchemaMismatch
from charm_checkpoint.runtime.packed_program import read_resource
from charm_checkpoint.stores.shared.migrations import Migration, pending

SCHEMA = "charm_checkpoint"
"""The schema used unless another is named."""

OLDEST = 140000
"""The oldest server supported: Postgres 14."""

LOCK = 0x63686370
"""The advisory lock that whoever sets up a schema holds."""

MARK = "charm_checkpoint"
"""The comment on a table ``migration`` that is ours."""

TABLES = (
    "thread", "space", "checkpoint", "write", "chunk", "message", "message_batch",
    "memory_space", "memory_item", "memory_vector",
)  # fmt: skip

_FUNCTIONS = ("functions.sql", "items_writing.sql", "items_reading.sql")
"""What is made anew by every migration."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


def check_name(schema: str) -> str:
    """Return a schema's name as it is; raises `ConfigError` for one that needs more than plain quoting."""
    if not _NAME.fullmatch(schema):
        raise ConfigError(f"schema {schema!r}: a schema's name has letters, digits, _ and -, 63 at most")
    return schema


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all migrations in order, with ``{schema}`` where the quoted name of the schema goes."""
    second = "calls.sql", "batches.sql", "notes.sql", "nested.sql"
    name = "batches of messages, notes of threads, calls made again, tags of nested values"
    return (
        Migration(1, "first tables", (_resource("tables.sql"),)),
        Migration(2, name, tuple(map(_resource, second))),
        Migration(3, "items of long-term memory", (_resource("items_tables.sql"),)),
    )


def statements(schema: str, version: int) -> list[str]:
    """Return what brings a schema from ``version`` up to date; each text may hold several statements.

    All functions are made anew after the migrations, of which some need no more than that.
    """
    quoted = f'"{check_name(schema)}"'
    texts = [_ALONE.replace("{schema}", quoted)]
    for migration in pending(migrations(), version):
        texts += [text.replace("{schema}", quoted) for text in migration.statements]
        texts.append(
            f"INSERT INTO {quoted}.migration (version, name) VALUES ({migration.version:d}, '{migration.name}')"
            " ON CONFLICT DO NOTHING"
        )
    if len(texts) == 1:
        return []
    texts += [*(_resource(name).replace("{schema}", quoted) for name in _FUNCTIONS), _rights(quoted)]
    return [*texts, f"COMMENT ON TABLE {quoted}.migration IS '{MARK}'"]


_ALONE = """\
-- Wait for calls at work to end, and let others wait.
DO $$ BEGIN
    IF to_regclass('{schema}.thread') IS NOT NULL THEN
        LOCK TABLE {schema}.thread IN ACCESS EXCLUSIVE MODE;
    END IF;
END $$"""


_RIGHTS = """\
-- Whoever was granted what there was may use what is new alike, of these tables and functions: the schema may hold
-- others'. What those two roles of Supabase's may do with tables, its own script says.
DO $$ DECLARE
    given record;
BEGIN
    FOR given IN SELECT DISTINCT f.oid::regprocedure AS what, granted.grantee::regrole AS role
        FROM pg_proc p, aclexplode(p.proacl) granted, pg_proc f
        WHERE p.pronamespace = '{schema}'::regnamespace AND p.proname = 'find'
            AND granted.grantee NOT IN (0, p.proowner)
            AND f.pronamespace = p.pronamespace AND f.proowner = p.proowner AND f.proname = ANY ('{{functions}}')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', given.what, given.role);
    END LOOP;
    FOR given IN SELECT t.oid::regclass AS what, granted.grantee::regrole AS role, granted.privilege_type AS rights
        FROM pg_class c, aclexplode(c.relacl) granted, pg_class t
        WHERE c.relnamespace = '{schema}'::regnamespace AND c.relname = 'thread'
            AND granted.grantee NOT IN (0, c.relowner)
            AND granted.grantee::regrole::text NOT IN ('anon', 'authenticated')
            AND granted.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
            AND t.relnamespace = c.relnamespace AND t.relowner = c.relowner AND t.relname = ANY ('{{tables}}')
    LOOP
        EXECUTE format('GRANT %s ON %s TO %s', given.rights, given.what, given.role);
    END LOOP;
END $$"""


def _rights(quoted: str) -> str:
    functions, tables = names("FUNCTION"), names("TABLE IF NOT EXISTS")
    text = _RIGHTS.replace("{functions}", ",".join(functions)).replace("{tables}", ",".join(tables))
    return text.replace("{schema}", quoted)


def names(kind: str) -> list[str]:
    """Return the names of what the schema has of a kind, as ``CREATE`` calls it."""
    texts = [*map(_resource, _FUNCTIONS), *(text for migration in migrations() for text in migration.statements)]
    found = [re.findall(rf"CREATE (?:OR REPLACE )?{kind} {{schema}}\.(\w+)", text) for text in texts]
    return sorted({name for some in found for name in some})


def script(schema: str = SCHEMA) -> str:
    """Return the whole schema as SQL to run by hand, in ``psql`` or a migration tool; safe to run again."""
    head = [
        f"-- The schema of charm_checkpoint, version {migrations()[-1].version}. Running it again changes nothing.",
        "-- Another role than the one that runs this needs, to use it:",
        f'--   GRANT USAGE ON SCHEMA "{check_name(schema)}" TO role;',
        f'--   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO role;',
        f'--   GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA "{schema}" TO role;',
        "BEGIN;",
        f"SELECT pg_advisory_xact_lock({LOCK});",
        f'CREATE SCHEMA IF NOT EXISTS "{schema}";',
    ]
    body = [text.rstrip().rstrip(";") + ";" for text in statements(schema, 0)]
    return "\n".join([*head, *body, "COMMIT;"]) + "\n"


def classify(schema: str, server: int, marked: bool, foreign: Sequence[str]) -> None:
    """Refuse a server that is too old, and a schema that is another program's.

    ``marked`` tells that its table ``migration`` is ours; ``foreign`` are tables there named like ours.
    """
    if server < OLDEST:
        raise SchemaMismatch(
            f"This server is Postgres {server // 10000}; charm_checkpoint needs {OLDEST // 10000} or newer."
        )
    if not marked and foreign:
        raise SchemaMismatch(
            f"The schema {schema!r} is another program's: it has the tables {', '.join(sorted(foreign))}. "
            "Name a schema of its own for charm_checkpoint, as in ?schema=agents."
        )


def _resource(name: str) -> str:
    return read_resource("stores", "postgres_schema", "sql", name)
