"""What is looked at when a Postgres store is opened, and how its schema is made: statements on one connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import psycopg

from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.postgres_schema import schema as pg_schema
from charm_checkpoint.stores.postgres_schema.backend import Install, Version
from charm_checkpoint.stores.postgres_schema.owners import Strangers, check_owners, statement

PATIENCE = 0.8
"""Which part of the time that is left a lock is waited for, so that there is some left to say who has it."""


class Query(NamedTuple):
    """A statement for one connection; without ``args`` it may be several."""

    text: bytes
    args: tuple[Any, ...] | None = None


class Place(NamedTuple):
    """Where a schema is: on which server, under which name, and who may own it, if anybody was named, with commas."""

    server: str
    schema: str
    owner: str


class Ask(NamedTuple):
    """A query that only looks; the reply is its rows. In it ``{schema}`` stands for the schema's name, quoted."""

    text: str


def queries(place: Place, operation: Version | Install | Ask, left: Callable[[], float]) -> Plan[Any]:
    """Do what is not a call on one connection; ``left`` tells how many seconds there are."""
    if isinstance(operation, Ask):
        return (yield Query(operation.text.replace("{schema}", f'"{place.schema}"').encode()))
    if isinstance(operation, Version):
        found = yield from _look(place)
        return (yield from _version(place, found))
    return (yield from _install(place, left))


class _Found(NamedTuple):
    """What a look at a schema found: whether it is ours, who is connected, and who owns it, if it is."""

    marked: bool
    user: bytes
    owner: bytes | None


@cache
def _looking() -> bytes:
    # No text comes back: a user's own connection may read it as bytes. An array of no rows is none.
    select = """
    SELECT pg_catalog.current_setting('server_version_num')::integer, m.marked,
        ARRAY(SELECT pg_catalog.array_position($3::text[], t.relname::text) FROM tables t),
        pg_catalog.convert_to(current_user::text, 'UTF8'), m.owner, s.kinds, s.names, s.roles
    FROM (
        SELECT pg_catalog.array_agg(s.kind ORDER BY s.kind, s.name, s.role) AS kinds,
            pg_catalog.array_agg(pg_catalog.convert_to(s.name::text, 'UTF8') ORDER BY s.kind, s.name, s.role) AS names,
            pg_catalog.array_agg(pg_catalog.convert_to(s.role::text, 'UTF8') ORDER BY s.kind, s.name, s.role) AS roles
        FROM strangers s
    ) s LEFT JOIN (
        SELECT pg_catalog.obj_description(c.oid, 'pg_class') = $5::text AS marked,
            pg_catalog.convert_to(pg_catalog.pg_get_userbyid(c.relowner)::text, 'UTF8') AS owner
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1::text AND c.relname = 'migration' AND c.relkind = 'r'
    ) m ON true"""
    tables = "($3::text[] OPERATOR(pg_catalog.||) 'migration'::text)"
    return statement(
        select, schema="$1::text", owner="$2::text", tables=tables, functions="$4::text[]", door="''"
    ).encode()


@cache
def _functions() -> list[str]:
    return pg_schema.names("FUNCTION")


def _look(place: Place) -> Plan[_Found]:
    """Look whose the schema is, before anything in it is touched."""
    args = (place.schema, place.owner or None, list(pg_schema.TABLES), _functions(), pg_schema.MARK)
    [[server, marked, tables, user, owner, *strangers]] = yield Query(_looking(), args)
    check_owners(place.schema, user, Strangers(*(found or () for found in strangers)))
    foreign = [pg_schema.TABLES[number - 1] for number in tables if number]
    pg_schema.classify(place.schema, server, bool(marked), foreign)
    return _Found(bool(marked), user, owner)


def _version(place: Place, found: _Found) -> Plan[int]:
    if not found.marked:
        return 0
    [[version]] = yield Query(f'SELECT pg_catalog.max(version) FROM "{place.schema}".migration'.encode())
    return version or 0


def _install(place: Place, left: Callable[[], float]) -> Plan[None]:
    """Create or migrate in one transaction, unless somebody else just did."""
    begin = f"BEGIN ISOLATION LEVEL READ COMMITTED; {pg_schema.PINNED}; SET LOCAL lock_timeout = "
    yield Query(f"{begin}{max(1, int(left() * PATIENCE * 1000))}".encode())
    found = yield from _look(place)
    # What is new is to be of the owner of all that is there, or of the first that was named.
    named = place.owner.encode().split(b",")
    owner = found.owner if found.owner in named else named[0] or found.owner
    if owner and owner != found.user:
        yield Query(b"SELECT pg_catalog.set_config('role', $1::text, true)", (owner.decode(),))
    try:
        yield Query(pg_schema.alone(place.schema).encode())
    except psycopg.errors.LockNotAvailable as error:
        yield Query(b"ROLLBACK")
        holders = yield Query(_HOLDERS, (place.schema,))
        raise StoreUnavailable(_held(place, holders)) from error
    found = yield from _look(place)
    version = yield from _version(place, found)
    for step in pg_schema.statements(place.schema, version):
        yield Query(step.encode())
    yield Query(b"COMMIT")


_HOLDERS = b"""
    WITH held AS (
        SELECT l.pid, l.relation IS NOT NULL AS sure FROM pg_catalog.pg_locks l
        WHERE l.granted AND l.pid <> pg_catalog.pg_backend_pid() AND (
            (l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock')
            OR (l.mode NOT IN ('AccessShareLock', 'RowShareLock') AND l.relation IN (
                SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1::text AND c.relname IN ('migration', 'thread')
            ))
        )
    )
    SELECT DISTINCT h.pid, pg_catalog.convert_to(a.usename::text, 'UTF8'),
        pg_catalog.convert_to(a.application_name, 'UTF8')
    FROM held h JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
    WHERE a.datname = pg_catalog.current_database() AND (h.sure OR NOT EXISTS (SELECT FROM held o WHERE o.sure))
    ORDER BY h.pid LIMIT 5"""
"""Who has locks on what is to be locked; or, if that is not yet there to be seen, who writes anything."""


def _held(place: Place, holders: list[Any]) -> str:
    who = ", ".join(
        f"process {pid} of {_shown(user)}{f' ({_shown(program)})' if program else ''}" for pid, user, program in holders
    )
    return (
        f"{place.server}: the schema {place.schema!r} cannot be set up now: others hold it"
        f"{f', perhaps {who}' if who else ''}. Nothing was done; try again, or end what holds it"
    )


def _shown(name: bytes | None) -> str:
    return ascii((name or b"").decode("utf-8", "backslashreplace"))
