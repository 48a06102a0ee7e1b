"""A Postgres schema in somebody else's hands.

The attacker is another role of the same database. He makes the schema, a table or a function before we do, or he may
create in the schema, and waits until we set it up or use it: whoever owns a function or a table can have anything run
with the rights of those who use it.

He gets an error at our side that says whose it is, before anything there was touched. What counts as ours: the role
that is connected, roles it is a member of, the one that ``owner=`` names or else the database's owner, and superusers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import psycopg
import pytest
from children.jobs import add_item

from attacks.postgres_roles import Base, base, query, user
from charm_checkpoint import Memory, open_memory
from charm_checkpoint.errors import ConfigError, SchemaMismatch, StoreError
from charm_checkpoint.stores.postgres_schema import schema as pg_schema

__all__ = ["base"]

USAGE = "USAGE ON SCHEMA charm_checkpoint"
TABLES = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA charm_checkpoint"


def refused(url: str, *whose: str) -> None:
    """Check that a store is refused, by setup and by use, blocking and async, and that the error says whose it is."""
    calls: tuple[Callable[[Memory], object], ...] = (
        lambda memory: memory.setup(),
        lambda memory: memory.usage(),
        lambda memory: asyncio.run(memory.asetup()),
        lambda memory: asyncio.run(memory.ausage()),
    )
    for call in calls:
        with open_memory(url) as memory, pytest.raises(SchemaMismatch, match="not in the hands of this user") as told:
            call(memory)
        for name in whose:
            assert name in str(told.value)


def works(url: str) -> None:
    """Check that a store takes a checkpoint."""
    with open_memory(url) as memory:
        add_item(memory.get_langgraph_checkpointer(), "t")
        assert memory.usage().checkpoints == 1
        memory.delete_thread("t")


def set_up(url: str) -> None:
    with open_memory(url) as memory:
        memory.setup()


def test_a_schema_that_another_made(base: Base) -> None:
    attacker, owner = base.role("attacker", f'CREATE ON DATABASE "{base.name}"'), base.owner()
    query(attacker, "CREATE SCHEMA charm_checkpoint", "GRANT ALL ON SCHEMA charm_checkpoint TO PUBLIC")
    refused(owner, "the schema of", user(attacker), user(owner))
    refused(base.url, user(attacker))  # a superuser is a member of no role that was not granted to it
    assert query(base.url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'charm_checkpoint'::regnamespace") == [
        (0,)
    ]
    works(f"{owner}?schema=another")


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ("CREATE TABLE charm_checkpoint.thread (key bigint)", "the table 'thread' of"),
        ("CREATE VIEW charm_checkpoint.chunk AS SELECT 1", "the table 'chunk' of"),
        ("CREATE TABLE charm_checkpoint.migration (version integer)", "the table 'migration' of"),
        (
            "CREATE FUNCTION charm_checkpoint.short(key bytea) RETURNS bytea LANGUAGE sql AS 'SELECT key'",
            "the function 'short' of",
        ),
        (
            "CREATE FUNCTION charm_checkpoint.find(a bytea, b bytea) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
            "the function 'find' of",
        ),
    ],
)
def test_a_table_or_function_that_another_made(made: str, what: str, base: Base) -> None:
    owner, attacker = base.owner(), base.role("attacker")
    query(
        owner, "CREATE SCHEMA charm_checkpoint", f"GRANT CREATE, USAGE ON SCHEMA charm_checkpoint TO {user(attacker)}"
    )
    query(attacker, made)
    query(owner, f"REVOKE CREATE ON SCHEMA charm_checkpoint FROM {user(attacker)}")
    refused(owner, what, user(attacker))
    refused(base.url, what, user(attacker))


def test_a_table_with_the_comment_that_ours_has(base: Base) -> None:
    """What is in the table would be read, under policies of its owner's, which run as who reads."""
    owner, attacker = base.owner(), base.role("attacker")
    query(
        owner, "CREATE SCHEMA charm_checkpoint", f"GRANT CREATE, USAGE ON SCHEMA charm_checkpoint TO {user(attacker)}"
    )
    query(
        attacker,
        "CREATE TABLE charm_checkpoint.migration (version integer)",
        f"COMMENT ON TABLE charm_checkpoint.migration IS '{pg_schema.MARK}'",
        "CREATE TABLE charm_checkpoint.loot (who text)",
        "GRANT ALL ON ALL TABLES IN SCHEMA charm_checkpoint TO PUBLIC",
        "CREATE FUNCTION charm_checkpoint.take() RETURNS boolean LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO charm_checkpoint.loot VALUES (current_user); RETURN true; END $$",
        "CREATE POLICY take ON charm_checkpoint.migration USING (charm_checkpoint.take())",
        "ALTER TABLE charm_checkpoint.migration ENABLE ROW LEVEL SECURITY",
        "INSERT INTO charm_checkpoint.migration VALUES (99)",
    )
    refused(owner, user(attacker))
    assert query(base.url, "SELECT * FROM charm_checkpoint.loot") == []


@pytest.mark.parametrize("to", ["PUBLIC", "attacker"])
def test_a_right_to_create(to: str, base: Base) -> None:
    owner, attacker = base.owner(), base.role("attacker")
    set_up(owner)
    query(owner, f"GRANT CREATE ON SCHEMA charm_checkpoint TO {to if to == 'PUBLIC' else user(attacker)}")
    refused(owner, "the right to create in the schema of", "public" if to == "PUBLIC" else user(attacker))
    query(owner, f"REVOKE CREATE ON SCHEMA charm_checkpoint FROM {to if to == 'PUBLIC' else user(attacker)}")
    works(owner)


def test_a_trigger_that_runs_anothers_function(base: Base) -> None:
    owner, attacker = base.owner(), base.role("attacker", "CREATE ON SCHEMA public")
    set_up(owner)
    query(owner, f"GRANT USAGE ON SCHEMA charm_checkpoint TO {user(attacker)}")
    query(owner, f"GRANT TRIGGER ON charm_checkpoint.thread TO {user(attacker)}")
    query(
        attacker,
        "CREATE FUNCTION public.take() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER take BEFORE INSERT ON charm_checkpoint.thread FOR EACH ROW EXECUTE FUNCTION public.take()",
    )
    refused(owner, "the trigger 'take' of", user(attacker))


def test_who_only_uses_trusts_the_databases_owner(base: Base) -> None:
    owner = base.owner()
    set_up(owner)
    guest = base.role("guest", USAGE, TABLES)
    works(guest)
    refused(f"{guest}?owner=nobody", user(owner))


def test_who_only_uses_names_any_other_owner(base: Base) -> None:
    other = base.role("other", f'CREATE ON DATABASE "{base.name}"')
    base.owner()
    set_up(other)
    guest = base.role("guest", USAGE, TABLES)
    refused(guest, user(other))
    works(f"{guest}?owner={user(other)}")
    query(base.url, f"GRANT {user(other)} TO {user(guest)}")
    works(guest)


def test_who_only_uses_what_two_roles_own_names_both(base: Base) -> None:
    """As where the database's owner makes the schema, and another role runs the migrations; neither is a superuser."""
    owner, migrator = base.owner(), base.role("migrator")
    query(
        owner, "CREATE SCHEMA charm_checkpoint", f"GRANT CREATE, USAGE ON SCHEMA charm_checkpoint TO {user(migrator)}"
    )
    set_up(migrator)
    guest = base.role("guest", USAGE, TABLES)
    refused(guest, user(migrator))
    refused(f"{guest}?owner={user(migrator)}", user(owner))
    works(f"{guest}?owner={user(owner)},{user(migrator)}")
    works(f"{guest}?owner={user(migrator)},{user(owner)}")
    query(base.url, "DELETE FROM charm_checkpoint.migration WHERE version > 3")
    works(f"{migrator}?owner={user(owner)},{user(migrator)}")  # what is new is of the owner of what is there


def test_to_have_made_a_role_is_not_to_trust_it(base: Base) -> None:
    if query(base.url, "SHOW server_version_num") < [("160000",)]:
        pytest.skip("only a superuser makes roles without being a member of them")
    admin = base.role("admin", options="CREATEROLE")
    query(admin, f"CREATE ROLE made_by_{user(admin)} LOGIN PASSWORD 's3cret'")
    base.made.append(f"made_by_{user(admin)}")
    query(
        base.url,
        f"CREATE SCHEMA charm_checkpoint AUTHORIZATION made_by_{user(admin)}",
        f"GRANT ALL ON SCHEMA charm_checkpoint TO {user(admin)}",
    )
    refused(admin, f"made_by_{user(admin)}")


def test_what_is_new_belongs_to_the_owner_of_what_is_there(base: Base) -> None:
    group = base.role("group", f'CREATE ON DATABASE "{base.name}"')
    one, another = base.role("one", user(group)), base.role("another", user(group))
    set_up(f"{one}?owner={user(group)}")
    owners = (
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'charm_checkpoint'::regnamespace"
    )
    assert query(base.url, owners) == [(user(group),)]
    query(
        base.url,
        "DROP TABLE charm_checkpoint.memory_vector",
        "DELETE FROM charm_checkpoint.migration WHERE version > 2",
    )
    for url in (another, f"{base.url}?owner={user(group)}"):
        works(url)
        assert query(base.url, owners) == [(user(group),)]
    refused(base.role("guest", USAGE, TABLES), user(group))


def test_the_script_refuses_it_too(base: Base) -> None:
    attacker, owner = base.role("attacker", f'CREATE ON DATABASE "{base.name}"'), base.owner()
    query(attacker, "CREATE SCHEMA charm_checkpoint", "GRANT ALL ON SCHEMA charm_checkpoint TO PUBLIC")
    for url in (owner, base.url):
        with pytest.raises(
            psycopg.errors.InsufficientPrivilege, match=f"the schema charm_checkpoint of {user(attacker)}"
        ):
            query(url, pg_schema.script())
    assert query(base.url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'charm_checkpoint'::regnamespace") == [
        (0,)
    ]
    query(owner, pg_schema.script("another"))
    works(f"{owner}?schema=another")


@pytest.mark.parametrize("name", ["pg_catalog", "information_schema", "pg_toast", "pg_mine"])
def test_schemas_of_postgres_itself(name: str, base: Base) -> None:
    with pytest.raises(ConfigError, match="is Postgres' own"):
        open_memory(f"{base.url}?schema={name}")


def test_the_schema_of_all(base: Base, caplog: pytest.LogCaptureFixture) -> None:
    owner = base.owner()
    with caplog.at_level(logging.WARNING):
        works(f"{owner}?schema=public")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "schema 'public' is everybody's" in caplog.text
    query(base.url, "GRANT CREATE ON SCHEMA public TO PUBLIC")  # as it is on Postgres 14
    refused(f"{owner}?schema=public", "the right to create in the schema of 'public'", "REVOKE CREATE ON SCHEMA")


def test_an_owner_who_cannot_be_taken_on(base: Base) -> None:
    owner = base.owner()
    stranger = base.role("stranger", f'CREATE ON DATABASE "{base.name}"')
    with open_memory(f"{stranger}?owner={user(owner)}") as memory, pytest.raises(StoreError, match="lacks rights"):
        memory.setup()
