"""The schema that Postgres and Supabase share, as migrations and as a script to run by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from charm_checkpoint.errors import ConfigError, SchemaMismatch
from charm_checkpoint.runtime.packed_program import read_resource
from charm_checkpoint.stores.postgres_schema.owners import check_block
from charm_checkpoint.stores.shared.migrations import Migration, pending

SCHEMA = "charm_checkpoint"
"""The schema used unless another is named."""

OLDEST = 140000
"""The oldest server supported: Postgres 14."""

MARK = "charm_checkpoint"
"""The comment on a table ``migration`` that is ours."""

TABLES = (
    "thread", "space", "checkpoint", "write", "chunk", "message", "message_batch",
    "memory_space", "memory_item", "memory_vector", "thread_secret", "tombstone",
)  # fmt: skip

_FUNCTIONS = ("functions.sql", "keeping.sql", "items_writing.sql", "items_reading.sql")
"""What is made anew by every migration."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


def check_name(schema: str) -> str:
    """Return a schema's name as it is; raises `ConfigError` for one that needs more than plain quoting."""
    if not _NAME.fullmatch(schema):
        raise ConfigError(f"schema {schema!r}: a schema's name has letters, digits, _ and -, 63 at most")
    if schema.startswith("pg_") or schema == "information_schema":
        raise ConfigError(f"schema {schema!r}: this schema is Postgres' own; name one for charm_checkpoint alone")
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
        Migration(4, "functions with search paths of their own", (_resource("paths.sql"),)),
        Migration(5, "sizes and pins of threads, erased threads", (_resource("retention.sql"),)),
    )


def statements(schema: str, version: int) -> list[str]:
    """Return what brings a schema from ``version`` up to date; each text may hold several statements.

    All functions are made anew after the migrations, of which some need no more than that.
    """
    quoted = f'"{check_name(schema)}"'
    texts: list[str] = []
    for migration in pending(migrations(), version):
        texts += [text.replace("{schema}", quoted) for text in migration.statements]
        texts.append(
            f"INSERT INTO {quoted}.migration (version, name) VALUES ({migration.version:d}, '{migration.name}')"
            " ON CONFLICT DO NOTHING"
        )
    if not texts:
        return []
    texts += [*(_resource(name).replace("{schema}", quoted) for name in _FUNCTIONS), _rights(quoted)]
    return [*texts, f"COMMENT ON TABLE {quoted}.migration IS '{MARK}'"]


PINNED = "SET LOCAL search_path = ''"
"""What comes first in a transaction that makes anything: names are looked up in Postgres' own schema alone."""

_ALONE = """\
-- Let others who set up wait, and wait for calls at work to end. What is locked is the schema's own: who has no rights
-- in it cannot be in the way.
DO $$ BEGIN
    IF to_regnamespace('{schema}') IS NULL THEN
        BEGIN
            CREATE SCHEMA {schema};
        EXCEPTION WHEN duplicate_schema OR unique_violation THEN NULL;
        END;
    END IF;
    IF to_regclass('{schema}.migration') IS NULL THEN
        BEGIN
            {table};
        EXCEPTION WHEN duplicate_table OR unique_violation THEN NULL;
        END;
    END IF;
    LOCK TABLE {schema}.migration IN SHARE ROW EXCLUSIVE MODE;
    IF to_regclass('{schema}.thread') IS NOT NULL THEN
        LOCK TABLE {schema}.thread IN ACCESS EXCLUSIVE MODE;
    END IF;
END $$"""

_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS \{schema\}\.migration \(.*?\n\)", re.DOTALL)


def alone(schema: str) -> str:
    """Return the statement that has a transaction set up a schema alone; it makes what is locked if that is missing."""
    found = _TABLE.search(_resource("tables.sql"))
    assert found
    return _ALONE.replace("{table}", found[0]).replace("{schema}", f'"{check_name(schema)}"')


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


def script(schema: str = SCHEMA, *, owner: str | None = None, door: str = "") -> str:
    """Return the whole schema as SQL to run by hand, in ``psql`` or a migration tool; safe to run again.

    ``owner`` is a role that may own what is there, ``door`` a function in the schema ``public`` that belongs to it.
    """
    head = [
        f"-- The schema of charm_checkpoint, version {migrations()[-1].version}. Running it again changes nothing.",
        "-- Another role than the one that runs this needs, to use it:",
        f'--   GRANT USAGE ON SCHEMA "{check_name(schema)}" TO role;',
        f'--   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO role;',
        f'--   GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA "{schema}" TO role;',
        "-- If the role that runs this does not own the database, programs name it, as in ?owner=agents.",
        "BEGIN ISOLATION LEVEL READ COMMITTED;",
        f"{PINNED};",
    ]
    check = check_block(schema, owner, (*TABLES, "migration"), names("FUNCTION"), door)
    body = [f"{text.rstrip().rstrip(';')};" for text in (alone(schema), check, *statements(schema, 0))]
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
