"""Tenants as a boundary: SQL that gives each role the tenant of its own name, and no other; pure.

Rows of all tables but one hang on those of two, ``thread`` and ``memory_space``, which name their tenant; the policies
of the others ask whether the row they hang on is to be seen. So it is enough to restrict these two and ``tombstone``,
which names its tenant, too.
"""

from __future__ import annotations

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.stores.postgres_schema.owners import literal
from charm_checkpoint.stores.postgres_schema.schema import PINNED, check_name, names

SUFFIX = "_tenant"
"""What the name of the group of such roles ends with, behind that of the schema."""

_READ = ("migration", "thread_secret")
"""Tables that are read alone."""

_TEXT = """\
-- Tenants as a boundary: a role that is a member of {group} has the tenant of its own name, and no other, whatever
-- tenant= its program names. Run this as the owner of the schema, who may make roles, after the schema is set up and
-- after each upgrade. Running it again changes nothing.
--
-- For each tenant, make a role, and open the store with its login and tenant=acme:
--   CREATE ROLE acme LOGIN PASSWORD '...' IN ROLE {group};
-- Such a role gets its rights from the group alone: grant it nothing else there, and no role that has more.
-- The owner of the schema, superusers and roles with BYPASSRLS see every tenant, as do other roles that were granted
-- the tables.
BEGIN;
{pinned};
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN
        CREATE ROLE {group} NOLOGIN NOBYPASSRLS;
    END IF;
    -- Whoever the group's policies are not for would have its rights without them.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = {name} AND (rolsuper OR rolbypassrls)) THEN
        RAISE insufficient_privilege USING MESSAGE = 'the role ' || {name} || ' is not bound by row-level security';
    END IF;
END $$;
GRANT USAGE ON SCHEMA {schema} TO {group};
GRANT SELECT ON {schema}.migration, {schema}.thread_secret TO {group};
{grants}
{policies}
COMMIT;
"""


def tenant_roles(schema: str) -> str:
    """Return what gives each member of a group of roles the tenant of its own name, as a script to run by hand."""
    group = f"{check_name(schema)}{SUFFIX}"
    if len(group) > 63:
        raise ConfigError(f"schema {schema!r}: the name of its group of roles, {group!r}, would be longer than 63")
    quoted, role = f'"{schema}"', f'"{group}"'
    tables = ", ".join(f"{quoted}.{name}" for name in names("TABLE IF NOT EXISTS") if name not in _READ)
    functions = "\n".join(f"GRANT EXECUTE ON FUNCTION {quoted}.{name} TO {role};" for name in names("FUNCTION"))
    grants = f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role};\n{functions}"
    policies = "\n".join(_policy(f"{quoted}.{name}", role) for name in ("thread", "memory_space", "tombstone"))
    return _TEXT.format(
        group=role, name=literal(group), schema=quoted, pinned=PINNED, grants=grants, policies=policies
    )  # fmt: skip


def _policy(table: str, role: str) -> str:
    return f"""\
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS tenant_role ON {table};
CREATE POLICY tenant_role ON {table} AS RESTRICTIVE TO {role}
    USING (tenant = (SELECT convert_to(current_user::text, 'UTF8')));"""
