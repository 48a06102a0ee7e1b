"""Row-level security alone: what a user gets who is let at the tables and functions of the database themselves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product, repeat
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
from stores import have, postgres_server
from test_supabase_rights import fill

from charm_checkpoint import open_memory
from charm_checkpoint.servers.lite import ROLES
from charm_checkpoint.stores.shared.names import identity, text_bytes
from charm_checkpoint.stores.supabase.rpc import supabase_sql

TABLES = {
    "migration": "name", "thread": "name", "space": "ns", "checkpoint": "body", "write": "body", "chunk": "data",
    "message": "body", "message_batch": "body",
    "memory_space": "tokens", "memory_item": "value", "memory_vector": "data",
}  # fmt: skip
"""Each with a column that a thief may want to write."""


class Attack(NamedTuple):
    """A database with a victim's rows, and a connection to try things on as somebody else."""

    url: str
    victim: str
    granted: bool

    def all_rows(self) -> dict[str, list[Any]]:
        with psycopg.connect(self.url) as connection:
            return {name: self._rows(connection, name) for name in TABLES}

    def _rows(self, connection: psycopg.Connection[Any], table: str) -> list[Any]:
        return connection.execute(f"SELECT * FROM charm_checkpoint.{table} ORDER BY 1, 2".encode()).fetchall()

    def as_role(self, role: str, claims: str | None) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self.url)
        connection.execute(f"SET ROLE {role}".encode())
        if claims is not None:
            connection.execute("SELECT set_config('request.jwt.claims', %s, false)", (claims,))
        connection.commit()
        return connection


GRANTED = """
GRANT USAGE ON SCHEMA charm_checkpoint TO anon, authenticated;
GRANT ALL ON ALL TABLES IN SCHEMA charm_checkpoint TO anon, authenticated;
GRANT ALL ON ALL SEQUENCES IN SCHEMA charm_checkpoint TO anon, authenticated;
"""


@pytest.fixture(scope="module", params=[False, True], ids=["", "granted everything"])
def attack(request: pytest.FixtureRequest) -> Iterator[Attack]:
    """Yield a project's database, once as the script leaves it, once where somebody granted everything to all."""
    postgres = have(postgres_server)
    url, victim = postgres.new_database(), str(uuid4())
    postgres.execute(ROLES)
    postgres.execute(supabase_sql() + (GRANTED if request.param else ""), url.rpartition("/")[2])
    for tenant in (victim, ""):
        with open_memory(url, tenant=tenant) as memory:
            fill(memory)
    yield Attack(url, victim, request.param)
    postgres.drop_database(url)


def claims(sub: str) -> str:
    return f'{{"role": "authenticated", "sub": "{sub}"}}'


def test_the_victim_and_the_service_role_see_the_rows(attack: Attack) -> None:
    with attack.as_role("authenticated", claims(attack.victim)) as connection:
        assert len(attack._rows(connection, "thread")) == 2
        assert all(attack._rows(connection, table) for table in TABLES)
    with attack.as_role("service_role", '{"role": "service_role"}') as connection:
        assert {name: attack._rows(connection, name) for name in TABLES} == attack.all_rows()


def spoofs(victim: str) -> list[tuple[str, str | None]]:
    """Return roles and claims that come close to the victim's."""
    subs = (str(uuid4()), "", " ", victim.upper() + " ", f" {victim}", f"{victim}\\n", victim[:-1], "%", "\\\\x")
    forms = ("", "{}", "null", "[]", '"X"', '{"sub": null}', '{"sub": ["X"]}', '{"sub": {"sub": "X"}}', '{"SUB": "X"}')
    odd = [form.replace("X", victim) for form in forms]
    users = [*map(claims, subs), *odd, None]
    return [*(("authenticated", user) for user in users), *(("anon", user) for user in users)]


def test_no_spoof_shows_a_row(attack: Attack) -> None:
    for role, spoof in spoofs(attack.victim):
        with attack.as_role(role, spoof) as connection:
            for table in list(TABLES)[1:]:
                try:
                    seen = attack._rows(connection, table)
                except psycopg.errors.InsufficientPrivilege:
                    connection.rollback()
                    assert role == "anon" and not attack.granted
                else:
                    assert seen == [], (role, spoof, table)


@pytest.mark.parametrize("spoof", ["garbage", '{"sub": "\\u0000"}', '{"sub": "\\ud800"}', "{"])
def test_claims_that_are_no_json_are_an_error(attack: Attack, spoof: str) -> None:
    with attack.as_role("authenticated", spoof) as connection, pytest.raises(psycopg.DataError):
        attack._rows(connection, "thread")


def test_a_role_of_another_name_counts_as_a_user_when_it_comes_by_the_api(attack: Attack) -> None:
    with psycopg.connect(attack.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE api_member; GRANT authenticated TO api_member WITH INHERIT TRUE")
        try:
            for spoof, count in ((claims(str(uuid4())), 0), ("{}", 0), (claims(attack.victim), 2), (None, 4)):
                with attack.as_role("api_member", spoof) as member:
                    assert len(attack._rows(member, "thread")) == count
        finally:
            connection.execute("DROP OWNED BY api_member; DROP ROLE api_member")


def test_a_function_of_the_callers_own_is_not_mistaken_for_postgres(attack: Attack) -> None:
    with psycopg.connect(attack.url, autocommit=True) as connection:
        connection.execute(
            "CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO authenticated; SET ROLE authenticated;"
            "CREATE FUNCTION evil.convert_to(text, name) RETURNS bytea LANGUAGE sql AS"
            f" $$ SELECT pg_catalog.convert_to('{attack.victim}', 'UTF8') $$; RESET ROLE"
        )
    with attack.as_role("authenticated", claims(str(uuid4()))) as thief:
        thief.execute("SET search_path = evil, pg_catalog")
        assert thief.execute("SELECT convert_to('x', 'UTF8')").fetchone() == (attack.victim.encode(),)
        assert attack._rows(thief, "thread") == []


CHANGES = ["UPDATE {s}.{t} SET {c} = NULL", "UPDATE {s}.{t} SET {c} = NULL WHERE {c} IS NULL", "DELETE FROM {s}.{t}"]
INSERTS = [
    "INSERT INTO {s}.thread (tenant, identity, kind) VALUES (%(tenant)s, %(identity)s, 0)",
    "INSERT INTO {s}.thread (tenant, identity, kind) VALUES (%(tenant)s, %(identity)s, 0) ON CONFLICT DO NOTHING",
    "INSERT INTO {s}.thread (tenant, identity, kind) VALUES (%(tenant)s, 'new', 0)",
    "INSERT INTO {s}.space (thread, ns) VALUES (%(thread)s, '')",
    "INSERT INTO {s}.space (thread, ns) VALUES (%(thread)s, '') ON CONFLICT DO NOTHING",
    "INSERT INTO {s}.checkpoint (space, id, tags, roots, body) VALUES (%(space)s, 'x', '{{}}', '', '')",
    "INSERT INTO {s}.write (space, id, number, body) VALUES (%(space)s, 'x', 1, '')",
    "INSERT INTO {s}.chunk (thread, address, refs, data) VALUES (%(thread)s, 'x', '', '')",
    "INSERT INTO {s}.message VALUES (%(thread)s, 1, '', '', '') ON CONFLICT (thread) DO UPDATE SET body = ''",
    "INSERT INTO {s}.message_batch (thread, number, token, body) VALUES (%(thread)s, 9, '', '')",
    "INSERT INTO {s}.memory_space (tenant, identity, path) VALUES (%(tenant)s, %(space_hash)s, 'x')",
    "INSERT INTO {s}.memory_space (tenant, identity, path) VALUES (%(tenant)s, 'new', 'x') ON CONFLICT DO NOTHING",
    "INSERT INTO {s}.memory_item VALUES (%(items)s, %(key_hash)s, '', 1, 1, 1, NULL, NULL, 0, '', '', '')",
    "INSERT INTO {s}.memory_item VALUES (%(items)s, 'new', '', 1, 1, 1, NULL, 5, 0, '', '', '') ON CONFLICT DO NOTHING",
    "INSERT INTO {s}.memory_vector (space, identity, data) VALUES (%(items)s, %(key_hash)s, '') ON CONFLICT DO NOTHING",
    "INSERT INTO {s}.migration (version, name) VALUES (99, 'x')",
]


def victims_keys(attack: Attack) -> dict[str, Any]:
    with psycopg.connect(attack.url) as connection:
        row = connection.execute(
            "SELECT t.key, s.key, c.id, c.roots FROM charm_checkpoint.thread t"
            " JOIN charm_checkpoint.space s ON s.thread = t.key JOIN charm_checkpoint.checkpoint c ON c.space = s.key"
            " WHERE t.tenant = %s",
            (attack.victim.encode(),),
        ).fetchone()
        [items, space_hash, key_hash] = connection.execute(
            "SELECT i.space, s.identity, i.identity FROM charm_checkpoint.memory_space s"
            " JOIN charm_checkpoint.memory_item i ON i.space = s.key WHERE s.tenant = %s AND i.vectors > 0",
            (attack.victim.encode(),),
        ).fetchone()  # type: ignore[misc]
    assert row is not None
    tenant = text_bytes(attack.victim)
    return {
        "tenant": tenant,
        "identity": identity(tenant, 0, "t"),
        "items": items,
        "space_hash": space_hash,
        "key_hash": key_hash,
        **dict(zip(("thread", "space", "id", "roots"), row, strict=True)),
    }


def nobodys_keys(keys: dict[str, Any]) -> dict[str, Any]:
    """Return keys of what nobody ever heard of, otherwise like those of the victim."""
    hashes = {"identity": identity(keys["tenant"], 0, "never heard of"), "space_hash": bytes(16), "key_hash": bytes(16)}
    return {**keys, **hashes, "thread": 10**9, "space": 10**9, "items": 10**9}


def outcome(connection: psycopg.Connection[Any], query: str, arguments: Any = None) -> Any:
    """Return what a statement gave: its rows, how many it changed, or its error."""
    try:
        cursor = connection.execute(query.encode(), arguments)
        return cursor.fetchall() if cursor.description else cursor.rowcount
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary
    finally:
        connection.rollback()


def test_a_thief_at_the_tables_sees_and_changes_nothing(attack: Attack) -> None:
    before, keys = attack.all_rows(), victims_keys(attack)
    nobodys = nobodys_keys(keys)
    for role in ("authenticated", "anon"):
        with attack.as_role(role, claims(str(uuid4()))) as thief:
            for (table, column), change in product(TABLES.items(), CHANGES):
                got = outcome(thief, change.format(s="charm_checkpoint", t=table, c=column))
                assert got == 0 or got[0] == "42501", (role, change, table, got)
            for insert in INSERTS:
                statement = insert.format(s="charm_checkpoint")
                got = outcome(thief, statement, keys)
                assert got[0] == "42501", (role, statement, got)
                assert got == outcome(thief, statement, nobodys), statement
    assert attack.all_rows() == before


@pytest.mark.parametrize("attack", [False], ids=[""], indirect=True)
def test_a_user_cannot_take_a_key_that_another_will_need(attack: Attack) -> None:
    with attack.as_role("authenticated", claims(str(uuid4()))) as thief:
        for statement in (
            "INSERT INTO charm_checkpoint.space (key, thread, ns) OVERRIDING SYSTEM VALUE VALUES (99, 1, '')",
            "SELECT setval('charm_checkpoint.thread_key_seq', 1)",
            "SELECT nextval('charm_checkpoint.checkpoint_key_seq')",
            "SELECT last_value FROM charm_checkpoint.space_key_seq",
        ):
            assert outcome(thief, statement)[0] == "42501", statement


def test_no_function_serves_a_thief(attack: Attack) -> None:
    before, keys = attack.all_rows(), victims_keys(attack)
    nobodys = nobodys_keys(keys)
    with psycopg.connect(attack.url) as connection:
        functions = connection.execute(
            "SELECT proname, proargnames[:pronargs], ARRAY(SELECT format_type(a, NULL) FROM unnest(proargtypes) a)"
            " FROM pg_proc WHERE pronamespace = 'charm_checkpoint'::regnamespace AND prorettype <> 'bytea'::regtype"
        ).fetchall()
    assert len(functions) > 20
    with attack.as_role("authenticated", claims(str(uuid4()))) as thief:
        for name, names, types in functions:
            if name in ("b64", "b64s", "bytes", "numbers", "bigints", "may_use"):  # these look at no table
                continue
            call = f"SELECT * FROM charm_checkpoint.{name}({', '.join(f'%s::{kind}' for kind in types)})"
            give = item_argument if name.startswith("item_") else argument
            tries = [list(map(give, names, types, repeat(given))) for given in (keys, nobodys)]
            got, other = (outcome(thief, call, arguments) for arguments in tries)
            assert got == other, name
            # What a function says of a thread that nobody ever heard of, or a refusal.
            assert isinstance(got, list) or got[0] == "42501", (name, got)
    assert attack.all_rows() == before


def argument(name: str, kind: str, keys: dict[str, Any]) -> Any:
    """Return what an attacker would give for a parameter of this name and type."""
    known: dict[str, Any] = {
        **keys, "ids": keys["id"], "parent": keys["id"],
        "addresses": keys["roots"][:16], "identities": keys["identity"],
        "source": keys["identity"], "target": keys["identity"], "before_identity": keys["identity"],
        "name": b"t", "ns": b"", "kind": 0, "body": b"x", "refs": b"", "data": b"x", "run": b"run", "runs": b"run",
        "room": 10**6, "size": 10, "whole": True, "sweeps": 1, "token": b"12345678", "sweep": True, "deletes": 0,
        "on_conflict": "allow", "tags": [], "known": [], "after": None, "before": None, "expect": None, "seen": None,
        "seen_deletes": None, "base_sweeps": None,
    }  # fmt: skip
    of_type = {"bytea": keys["id"], "bigint": keys["thread"], "boolean": True, "integer": 1, "text": "allow"}
    value = known.get(name.removeprefix("p_"), of_type.get(kind.removesuffix("[]")))
    return [value] if kind.endswith("[]") and not isinstance(value, list) else value


def item_argument(name: str, kind: str, keys: dict[str, Any]) -> Any:
    """Return what an attacker would give for a parameter of a function of items."""
    of_name = {
        "p_spaces": keys["space_hash"] if kind == "bytea[]" else keys["items"], "p_space": keys["items"],
        "p_keys": keys["key_hash"], "p_ids": keys["key_hash"], "p_read_keys": keys["key_hash"],
        "p_touch_keys": keys["key_hash"], "p_tenant": keys["tenant"], "p_prefix": b"is", "p_from": b"",
        "p_to": b"\xff" * 32, "p_paths": b"is\0", "p_kinds": 0, "p_token": b"12345678",
    }  # fmt: skip
    of_type = {"bytea": None, "bigint": None, "boolean": False, "integer": 1}
    if name in ("p_now", "p_made", "p_held", "p_size", "p_skip", "p_inline"):
        return {"p_now": 11, "p_size": 10, "p_inline": 10, "p_skip": 0}.get(name, 1)
    value = of_name.get(name, of_type[kind.removesuffix("[]")])
    if name in ("p_tags", "p_nested"):
        return []
    return [value] if kind.endswith("[]") else value
