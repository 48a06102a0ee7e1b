"""Whose a schema is: who owns what is in it, and who could put something there; pure.

Whoever owns a function or a table can have anything run with the rights of those who use it, and so can whoever may
create in the schema before it is set up. So a schema is used if all of that is in the hands of roles that are trusted:

- the role that is connected, and those it is a member of;
- the roles that ``owner=`` names, separated by commas, or else the owner of the database;
- superusers, who can do everything anyway.

All names in these statements are qualified: they run before anything is known of what there is. So are operators, but
for comparisons of types that Postgres itself has just that one for: others could be given a better match elsewhere in
the search path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from charm_checkpoint.errors import SchemaMismatch

_STRANGERS = """
    WITH RECURSIVE mine (role) AS (
        SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
        -- Whoever made a role may be its administrator, without a say in what it does; columns of Postgres 16.
        UNION SELECT m.roleid FROM mine JOIN pg_catalog.pg_auth_members m ON m.member = mine.role
            WHERE coalesce((pg_catalog.to_jsonb(m) OPERATOR(pg_catalog.->>) 'inherit_option')::boolean, true)
                OR coalesce((pg_catalog.to_jsonb(m) OPERATOR(pg_catalog.->>) 'set_option')::boolean, true)
    ), named (role) AS (
        SELECT mine.role FROM mine
        UNION SELECT r.oid FROM pg_catalog.pg_roles r
            WHERE r.rolsuper OR r.rolname = ANY (pg_catalog.string_to_array({owner}, ','))
        UNION SELECT d.datdba FROM pg_catalog.pg_database d
            WHERE d.datname = pg_catalog.current_database() AND {owner} IS NULL
    ), trusted (role) AS (
        SELECT named.role FROM named
        UNION SELECT r.oid FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
            WHERE r.rolname = 'pg_database_owner' AND d.datname = pg_catalog.current_database()
                AND d.datdba IN (SELECT named.role FROM named)
    ), tables AS (
        SELECT c.oid, c.relname, c.relowner, c.relnamespace FROM pg_catalog.pg_class c
        WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = {schema})
            AND c.relname = ANY ({tables})
    ), found (kind, name, role) AS (
        SELECT 0, n.nspname, n.nspowner FROM pg_catalog.pg_namespace n WHERE n.nspname = {schema}
        UNION ALL SELECT 1, t.relname, t.relowner FROM tables t
        UNION ALL SELECT 2, p.proname, p.proowner
            FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
            WHERE (n.nspname = {schema} AND p.proname = ANY ({functions}))
                OR (n.nspname = 'public' AND p.proname = {door})
        UNION ALL SELECT 3, g.tgname, p.proowner FROM tables t JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid
            JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid WHERE NOT g.tgisinternal
        UNION ALL SELECT 4, n.nspname, a.grantee FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
            WHERE n.nspname = {schema} AND a.privilege_type = 'CREATE'
    ), strangers (kind, name, role) AS (
        SELECT DISTINCT f.kind, f.name, coalesce(r.rolname, 'public') FROM found f
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = f.role
        WHERE f.role NOT IN (SELECT t.role FROM trusted t)
    )"""

KINDS = ("schema", "table", "function", "trigger", "right to create in the schema")
"""What may be in others' hands, by its number in the statements."""

SHOWN = 5
"""How many of these an error names."""

ADVICE = (
    "Whoever owns these can have anything run with the rights of this user, so nothing there is used. If that role is "
    "to be trusted, name it, as in ?owner=agents, or several, as in ?owner=agents,admin; a right to create is taken "
    "away by REVOKE CREATE ON SCHEMA; or name a schema of its own, as in ?schema=agents"
)


class Strangers(NamedTuple):
    """What is in the hands of roles that are not trusted: kinds, names and roles, place by place."""

    kinds: Sequence[int]
    names: Sequence[bytes]
    roles: Sequence[bytes]


def statement(select: str, **names: str) -> str:
    """Return a query in which ``strangers`` is a table of what is in others' hands.

    ``names`` are SQL expressions for ``schema``, ``owner``, ``tables``, ``functions`` and ``door``: a function of the
    schema ``public``, if one belongs to it.
    """
    return f"{_STRANGERS.format(**names)}\n{select}"


def literal(value: str | None) -> str:
    """Return a text as an SQL literal, however the database reads backslashes."""
    if value is None:
        return "NULL"
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def array(values: Sequence[str]) -> str:
    """Return texts as an SQL array."""
    return f"ARRAY[{', '.join(map(literal, values))}]::text[]"


def check_owners(schema: str, user: bytes, strangers: Strangers) -> None:
    """Raise `SchemaMismatch` if anything of a schema is in the hands of a role that is not trusted."""
    found = [
        f"the {KINDS[kind]}{'' if kind in (0, 4) else ' ' + _shown(name)} of {_shown(role)}"
        for kind, name, role in zip(*strangers, strict=True)
    ]
    if found:
        more = "" if len(found) <= SHOWN else f" and {len(found) - SHOWN} more"
        raise SchemaMismatch(
            f"The schema {schema!r} is not in the hands of this user, {_shown(user)}, alone: there are "
            f"{', '.join(found[:SHOWN])}{more}. {ADVICE}."
        )


def _shown(name: bytes) -> str:
    return ascii(name.decode("utf-8", "backslashreplace"))


def check_block(schema: str, owner: str | None, tables: Sequence[str], functions: Sequence[str], door: str) -> str:
    """Return the same check as a statement of a script, which stops it with an error."""
    query = statement(
        f"    SELECT string_agg(format('the %s %s of %s', ({array(KINDS)})[s.kind + 1], s.name, s.role), ', ')\n"
        "        INTO v_found FROM strangers s;",
        schema=literal(schema), owner=f"{literal(owner)}::text", tables=array(tables), functions=array(functions),
        door=literal(door),
    )  # fmt: skip
    return f"""\
-- Everything there is to be this role's, or one's that it trusts.
DO $$ DECLARE
    v_found text;
BEGIN{query}
    IF v_found IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE =
            'the schema ' || {literal(schema)} || ' is not in the hands of this role alone: there are ' || v_found,
            HINT = {literal(ADVICE)};
    END IF;
END $$"""
