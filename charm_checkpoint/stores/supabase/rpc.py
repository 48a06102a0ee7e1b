"""The road through Supabase's HTTP API: one remote procedure, its SQL, and what is sent and comes back; pure.

A procedure takes and returns text: JSON, with bytes as base64. PostgREST and the servers like it
do not agree on how they pass ``bytea`` and ``jsonb``; on text they do.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.stores.postgres_schema.backend import Call, Several, Version
from charm_checkpoint.stores.postgres_schema.schema import SCHEMA, check_name, names, script
from charm_checkpoint.stores.postgres_schema.signatures import FUNCTIONS, Signature

_API_NAME = re.compile(r"[a-z_][a-z0-9_]{0,57}")
"""Not every server of the API quotes a procedure's name; and Postgres cuts it after 63 bytes, ``_call`` included."""

VERSION = "version"
"""What the procedure is asked for the schema's version."""

SEVERAL = "several"
"""What the procedure is asked for several calls, which are then one request and one transaction."""

STRANGER = "this tenant is not that of the signed-in user"
"""What a call for another tenant is told, whether there is one or not."""


def procedure(schema: str) -> str:
    """Return the name of the procedure, which stands in the schema ``public``, the one that the API shows."""
    if not _API_NAME.fullmatch(schema):
        raise ConfigError(f"schema {schema!r}: on Supabase its name has lower-case letters, digits and _, 58 at most")
    return f"{schema}_call"


# ------------------------------------------------------------------------------------ calls


def arguments(operation: Call | Several | Version) -> dict[str, str]:
    """Return the parameters of the procedure for an operation."""
    if isinstance(operation, Version):
        return {"function": VERSION, "arguments": "[]"}
    if isinstance(operation, Call):
        return _arguments(operation)
    given = [_arguments(call) for call in operation.calls]
    return {"function": SEVERAL, "arguments": json.dumps(given, separators=(",", ":"))}


def _arguments(call: Call) -> dict[str, str]:
    takes = FUNCTIONS[call.function].takes
    sent = [_sent(value) for value in call.args]
    assert len(sent) == len(takes)
    return {"function": call.function, "arguments": json.dumps(sent, separators=(",", ":"))}


def _sent(value: Any) -> Any:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, list):
        return [_sent(item) for item in value]
    return value


def reply(operation: Call | Several | Version, data: Any) -> Any:
    """Return what an operation is answered: a number, rows, or the rows of each call that was made."""
    if isinstance(operation, Version):
        return int(data or 0)
    if isinstance(operation, Call):
        return _rows(operation, json.loads(data))
    return [_rows(call, rows) for call, rows in zip(operation.calls, json.loads(data), strict=False)]


def _rows(call: Call, rows: Any) -> list[tuple[Any, ...]]:
    readers = [_READERS.get(kind) for kind in FUNCTIONS[call.function].gives.values()]
    return [
        tuple(value if read is None or value is None else read(value) for read, value in zip(readers, row, strict=True))
        for row in rows
    ]


_READERS: dict[str, Callable[[Any], Any]] = {
    "bytea": b64decode,
    "bytea[]": lambda items: [b64decode(item) for item in items],
}


# -------------------------------------------------------------------------------------- SQL


def supabase_sql(schema: str = SCHEMA) -> str:
    """Return the whole schema with the procedure, as a script for Supabase's SQL editor; safe to run again."""
    quoted = f'"{check_name(schema)}"'
    name = f'public."{procedure(schema)}"(text, text)'
    head, _, _ = script(schema, door=procedure(schema)).rpartition("COMMIT;")
    return head + "\n".join([_helpers(quoted), _procedure(schema, quoted), _grants(quoted, name), "COMMIT;", _NOTIFY])


HELPERS = ("b64", "b64s", "bytes", "numbers", "bigints")
"""Functions that only the API's procedure needs."""


def _helpers(quoted: str) -> str:
    listed = "FROM jsonb_array_elements_text(given) WITH ORDINALITY g(item, place) ORDER BY g.place"
    return f"""
-- Bytes as base64, for the API. A NULL stays one. These bodies are read now, not with their callers' search_path.
CREATE OR REPLACE FUNCTION {quoted}.b64(data bytea) RETURNS text LANGUAGE sql IMMUTABLE
RETURN encode(data, 'base64');
CREATE OR REPLACE FUNCTION {quoted}.b64s(data bytea[]) RETURNS json LANGUAGE sql IMMUTABLE
RETURN CASE WHEN data IS NOT NULL THEN (
    SELECT coalesce(json_agg(encode(d.item, 'base64') ORDER BY d.place), '[]')
    FROM unnest(data) WITH ORDINALITY d(item, place)
) END;
CREATE OR REPLACE FUNCTION {quoted}.bytes(given jsonb) RETURNS bytea[] LANGUAGE sql IMMUTABLE
RETURN CASE WHEN jsonb_typeof(given) = 'array' THEN ARRAY(SELECT decode(g.item, 'base64') {listed}) END;
CREATE OR REPLACE FUNCTION {quoted}.numbers(given jsonb) RETURNS integer[] LANGUAGE sql IMMUTABLE
RETURN CASE WHEN jsonb_typeof(given) = 'array' THEN ARRAY(SELECT g.item::integer {listed}) END;
CREATE OR REPLACE FUNCTION {quoted}.bigints(given jsonb) RETURNS bigint[] LANGUAGE sql IMMUTABLE
RETURN CASE WHEN jsonb_typeof(given) = 'array' THEN ARRAY(SELECT g.item::bigint {listed}) END;
"""


def _procedure(schema: str, quoted: str) -> str:
    branches = "\n".join(_branch(quoted, name, signature) for name, signature in FUNCTIONS.items())
    return f"""
-- The one door for the API. It runs with the caller's own rights, under row-level security.
CREATE OR REPLACE FUNCTION public."{procedure(schema)}"(function text, arguments text)
RETURNS text LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS
$$
DECLARE
    a jsonb := arguments::jsonb;
    result json;
    one jsonb;
    made jsonb := '[]';
BEGIN
    IF function = '{SEVERAL}' THEN
        FOR one IN SELECT g.item FROM jsonb_array_elements(a) WITH ORDINALITY g(item, place) ORDER BY g.place LOOP
            one := public."{procedure(schema)}"(one ->> 'function', one ->> 'arguments')::jsonb;
            made := made || jsonb_build_array(one);
            EXIT WHEN one #>> '{{0,0}}' <> 'stored';
        END LOOP;
        RETURN made;
    END IF;
    -- Row-level security alone would show a stranger an empty tenant, not an error.
    IF function NOT IN ('{VERSION}', 'space_taken') AND row_security_active('{quoted}.thread')
        AND NOT coalesce({quoted}.may_use(decode(a ->> 0, 'base64')), false) THEN
        RAISE insufficient_privilege USING MESSAGE = '{STRANGER}';
    END IF;
    CASE function
        WHEN '{VERSION}' THEN
            RETURN (SELECT max(version) FROM {quoted}.migration);
{branches}
    END CASE;
    RETURN coalesce(result, '[]');
END
$$;
"""


def _branch(quoted: str, name: str, signature: Signature) -> str:
    takes = ", ".join(_TAKEN[kind].format(place=place, schema=quoted) for place, kind in enumerate(signature.takes))
    gives = ", ".join(_GIVEN.get(kind, "r.{name}").format(name=n, schema=quoted) for n, kind in signature.gives.items())
    return f"""        WHEN '{name}' THEN
            SELECT json_agg(json_build_array({gives})) INTO result
            FROM {quoted}.{name}({takes}) r;"""


_TAKEN = {
    "bytea": "decode(a ->> {place}, 'base64')",
    "bytea[]": "{schema}.bytes(a -> {place})",
    "integer[]": "{schema}.numbers(a -> {place})",
    "bigint[]": "{schema}.bigints(a -> {place})",
    "bigint": "(a ->> {place})::bigint",
    "boolean": "(a ->> {place})::boolean",
    "text": "a ->> {place}",
}
_GIVEN = {"bytea": "{schema}.b64(r.{name})", "bytea[]": "{schema}.b64s(r.{name})"}


USER_RIGHTS = {
    "migration": "SELECT",
    "thread": (
        "SELECT, INSERT (tenant, identity, kind, name),"
        " UPDATE (name, seq, sweeps, deletes, touched_at, title, note, writes_note, checkpoints, size, pinned), DELETE"
    ),
    "space": "SELECT, INSERT (thread, ns), DELETE",
    "checkpoint": (
        "SELECT, INSERT (space, id, parent, run, conflict, tags, roots, body),"
        " UPDATE (parent, run, tags, roots, body), DELETE"
    ),
    "write": "SELECT, INSERT, DELETE",
    "chunk": "SELECT, INSERT, DELETE",
    "message": "SELECT, INSERT, UPDATE, DELETE",
    "message_batch": "SELECT, INSERT, DELETE",
    "memory_space": (
        "SELECT, INSERT (tenant, identity, path), UPDATE (stamp, removed, newest, items, endless, tokens), DELETE"
    ),
    "memory_item": (
        "SELECT, INSERT, UPDATE (created, updated, stamp, ttl, expires, vectors, tags, entry, value), DELETE"
    ),
    "memory_vector": "SELECT, INSERT, UPDATE (data), DELETE",
    "thread_secret": "SELECT",
    "tombstone": "SELECT, INSERT, UPDATE (deletes, sweeps, seq, revision, until), DELETE",
}
"""What a signed-in user may do to his rows: what the functions do. Keys are the sequences' to give: one
chosen by a user could be in the way of another's."""


def _grants(quoted: str, name: str) -> str:
    rights = "\n".join(
        f"        GRANT {rights} ON {quoted}.{table} TO authenticated;" for table, rights in USER_RIGHTS.items()
    )
    return f"""
-- A signed-in user and the server's key may use it, nobody else.
REVOKE ALL ON FUNCTION {name} FROM PUBLIC;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon') THEN
        REVOKE ALL ON SCHEMA {quoted} FROM anon;
        REVOKE ALL ON ALL TABLES IN SCHEMA {quoted} FROM anon;
        REVOKE ALL ON FUNCTION {name} FROM anon;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'authenticated') THEN
        GRANT USAGE ON SCHEMA {quoted} TO authenticated;
        GRANT EXECUTE ON FUNCTION {name} TO authenticated;
{_executes(quoted, "authenticated")}
        REVOKE ALL ON ALL TABLES IN SCHEMA {quoted} FROM authenticated;
{rights}
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        GRANT USAGE ON SCHEMA {quoted} TO service_role;
        GRANT EXECUTE ON FUNCTION {name} TO service_role;
{_executes(quoted, "service_role")}
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {quoted} TO service_role;
    END IF;
END $$;
"""


def _executes(quoted: str, role: str) -> str:
    """Grant all functions there are: on some databases not everybody may call what is made."""
    functions = (*names("FUNCTION"), *HELPERS)
    return "\n".join(f"        GRANT EXECUTE ON FUNCTION {quoted}.{name} TO {role};" for name in functions)


_NOTIFY = """-- PostgREST reads the list of functions anew.
NOTIFY pgrst, 'reload schema';
"""
