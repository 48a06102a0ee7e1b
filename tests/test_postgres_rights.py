"""Postgres that refuses: logins, rights, schemas that are missing, foreign, newer or being made."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from children.jobs import add_item, config, items
from stores import postgres_url

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.config.options import parse_url
from charm_checkpoint.errors import CharmError, ConfigError, ReadOnlyStore, SchemaMismatch, StoreError
from charm_checkpoint.servers import PostgresServer
from charm_checkpoint.stores.postgres_schema import schema as pg_schema

numbers = itertools.count()


@pytest.fixture
def fresh(postgres: PostgresServer) -> str:
    """Return the URL of an empty database."""
    return postgres_url()


def query(url: str, *statements: str) -> list[Any]:
    """Run statements as superuser; return the rows of the last."""
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


Login = Callable[..., str]


@pytest.fixture
def login(postgres: PostgresServer) -> Iterator[Callable[..., str]]:
    """Return a function that makes a user with these rights in a database and returns his URL there."""
    made: list[tuple[str, str]] = []

    def make(url: str, *grants: str) -> str:
        role = f"user_{os.getpid()}_{next(numbers)}"
        made.append((url, role))
        query(url, f"CREATE ROLE {role} LOGIN PASSWORD 's3cret'", *(f"GRANT {what} TO {role}" for what in grants))
        return postgres.database_url(parse_url(url).database, role, "s3cret")

    yield make
    for url, role in made:
        query(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def held(memory: Memory, thread: str = "t") -> Any:
    head = memory.get_langgraph_checkpointer().get_tuple(config(thread))
    return head and head.checkpoint["channel_values"]["items"]


def fill(url: str) -> None:
    with open_memory(url) as memory:
        add_item(memory.get_langgraph_checkpointer(), "t")


# -------------------------------------------------------------------------------------- logins


def wrong(postgres: PostgresServer, what: str) -> str:
    url = postgres.url
    return {
        "password": url.replace(postgres.password, "s3cret"),
        "user": postgres.database_url("postgres", "nobody-here", "s3cret"),
        "database": postgres.database_url("nothing-here", password=postgres.password),
        "host": url.replace("127.0.0.1", "nowhere.invalid"),
        "sslmode": url + "?sslmode=sometimes",
        "timeout": url + "?connect_timeout=soon",
        "no ssl": url + "?sslmode=require",
    }[what]


@pytest.mark.parametrize("setup", [True, False])
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("password", "refused the login: .*authentication failed.*; check user, password and database name"),
        ("user", "refused the login: .*nobody-here"),
        ("database", '"nothing-here" does not exist.*check'),
        ("host", "nowhere.invalid"),
        ("sslmode", "sslmode.*sometimes"),
        ("timeout", "connect_timeout.*soon"),
        ("no ssl", "SSL"),
    ],
)
def test_a_wrong_login_is_told_at_once(
    what: str, told: str, setup: bool, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = wrong(postgres, what)
    with caplog.at_level(logging.DEBUG), open_memory(url, auto_setup=setup) as memory:
        for call in (lambda: held(memory), lambda: asyncio.run(memory.ausage())):
            began = time.monotonic()
            with pytest.raises((StoreError, ConfigError), match=told) as caught:
                call()
            assert time.monotonic() - began < 2
            shown = f"{caught.value} {caught.value!r} {memory!r} {caplog.text} {memory.store.driver!r}"
            assert "s3cret" not in shown and postgres.password not in shown


def test_a_url_is_masked_where_it_is_wrong(postgres: PostgresServer) -> None:
    for url in (f"{postgres.url}?nosuchoption=1", f"{postgres.url}?port=many&schema=x y"):
        with pytest.raises(CharmError) as caught:
            open_memory(url).usage()
        assert postgres.password not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


def test_what_is_given_in_code_is_not_text(postgres: PostgresServer) -> None:
    for option in ("connect=x", "pool=x", "async_pool=x"):
        with pytest.raises(ConfigError, match="given in code"):
            open_memory(f"{postgres.url}?{option}")
    with pytest.raises(ConfigError, match="max_connections: it is at least 1"):
        open_memory(f"{postgres.url}?max_connections=0")


# -------------------------------------------------------------------------------------- schemas


def test_a_server_too_old_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="This server is Postgres 13; charm_checkpoint needs 14 or newer"):
        pg_schema.classify("x", 130022, False, [])
    pg_schema.classify("x", 140000, False, [])
    pg_schema.classify("x", 180000, True, pg_schema.TABLES)


def test_a_newer_schema_is_refused(fresh: str) -> None:
    fill(fresh)
    query(fresh, "INSERT INTO charm_checkpoint.migration (version, name) VALUES (99, 'from tomorrow')")
    with open_memory(fresh) as memory:
        for call in (memory.setup, memory.usage, lambda: asyncio.run(memory.ausage())):
            with pytest.raises(SchemaMismatch, match=r"version 99; .* knows up to \d+\. Upgrade charm_checkpoint"):
                call()


def test_another_programs_tables_are_left_alone(fresh: str) -> None:
    query(fresh, "CREATE SCHEMA charm_checkpoint", "CREATE TABLE charm_checkpoint.thread (id integer)")
    for _ in range(2):
        with open_memory(fresh) as memory:
            with pytest.raises(SchemaMismatch, match=r"is another program's: it has the tables thread\. Name a schema"):
                memory.setup()
            with pytest.raises(SchemaMismatch, match=r"\?schema=agents"):
                asyncio.run(memory.ausage())
    assert query(fresh, "SELECT count(*) FROM pg_tables WHERE schemaname = 'charm_checkpoint'") == [(1,)]
    fill(f"{fresh}?schema=agents")


def test_a_schema_that_holds_other_things_is_shared(fresh: str) -> None:
    query(fresh, "CREATE TABLE public.mine (id integer)")
    fill(f"{fresh}?schema=public")
    with open_memory(f"{fresh}?schema=public", auto_setup=False) as memory:
        assert held(memory) == items(1)


def test_a_schema_that_is_missing_or_broken_is_told(fresh: str) -> None:
    with open_memory(fresh, auto_setup=False) as memory:
        for call in (memory.usage, lambda: asyncio.run(memory.ausage())):
            with pytest.raises(SchemaMismatch, match=r"has no schema of charm_checkpoint, or half of one; run setup"):
                call()
        memory.setup()
        assert held(memory) is None
        query(fresh, "DROP TABLE charm_checkpoint.write")
        with pytest.raises(SchemaMismatch, match=r"charm_checkpoint\.write"):
            add_item(memory.get_langgraph_checkpointer(), "t") and held(memory)


@pytest.mark.parametrize("name", ['"x"', "a b", "", "1x", "x" * 64, "a;b", "é", "a\n"])
def test_names_of_schemas_that_need_care_are_refused(name: str, postgres: PostgresServer) -> None:
    with pytest.raises(ConfigError, match="schema"):
        open_memory(postgres.url, schema=name)


@pytest.mark.parametrize("name", ["select", "User", "a-b", "x" * 63])
def test_odd_names_of_schemas_are_quoted(name: str, fresh: str) -> None:
    fill(f"{fresh}?schema={name}")
    with open_memory(f"{fresh}?schema={name}") as memory:
        assert held(memory) == items(1)
    assert query(fresh, "SELECT count(*) FROM pg_namespace WHERE nspname = '" + name + "'") == [(1,)]


# ------------------------------------------------------------------------------------------ rights

TABLES, FUNCTIONS = "ON ALL TABLES IN SCHEMA charm_checkpoint", "ON ALL FUNCTIONS IN SCHEMA charm_checkpoint"
USAGE = "USAGE ON SCHEMA charm_checkpoint"


def test_a_user_who_may_not_create_is_told_what_to_do(fresh: str, login: Login) -> None:
    with open_memory(login(fresh)) as memory:
        for call in (memory.setup, lambda: asyncio.run(memory.asetup())):
            with pytest.raises(
                StoreError, match=r"lacks rights: permission denied for database .*charm-checkpoint sch"
            ):
                call()
    assert query(fresh, "SELECT count(*) FROM pg_namespace WHERE nspname = 'charm_checkpoint'") == [(0,)]


def test_a_user_without_rights_is_told_what_is_lacking(fresh: str, login: Login) -> None:
    fill(fresh)
    for grants, lacking in (
        ((), "permission denied for schema charm_checkpoint"),
        ((USAGE,), "permission denied for table migration"),
        ((USAGE, "SELECT ON charm_checkpoint.migration"), "permission denied for table thread"),
    ):
        with open_memory(login(fresh, *grants)) as memory, pytest.raises(StoreError, match=f"lacks rights: {lacking}"):
            memory.usage()


def test_a_user_who_may_read_reads(fresh: str, login: Login) -> None:
    fill(fresh)
    with open_memory(login(fresh, USAGE, f"SELECT {TABLES}")) as memory:
        saver = memory.get_langgraph_checkpointer()
        assert held(memory) == items(1)
        assert len(list(saver.list(None))) == 1
        for call in (
            lambda: add_item(saver, "t"),
            lambda: saver.delete_thread("t"),
            lambda: asyncio.run(memory.asave_messages("t", [{"n": 1}])),
        ):
            with pytest.raises(StoreError, match="lacks rights: permission denied.* Grant them, or let the owner"):
                call()
        assert memory.store.driver.leased() == 0  # type: ignore[attr-defined]


def test_a_user_with_rights_works(fresh: str, login: Login) -> None:
    fill(fresh)
    with open_memory(login(fresh, USAGE, f"SELECT, INSERT, UPDATE, DELETE {TABLES}")) as memory:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        saver.copy_thread("t", "copy")
        saver.prune(["t"])
        memory.append_messages("t", [{"n": 1}])
        assert held(memory) == held(memory, "copy") == items(2)
        memory.delete_thread("t")


@pytest.mark.parametrize("made", [True, False])
def test_a_server_that_only_reads(made: bool, fresh: str) -> None:
    if made:
        fill(fresh)
    with open_memory(f"{fresh}?options=-c%20default_transaction_read_only%3Don") as memory:
        saver = memory.get_langgraph_checkpointer()
        if made:
            assert held(memory) == items(1)
            assert memory.usage().checkpoints == 1
        said = "is read-only: .*; name the primary server"
        for call in (
            lambda: saver.put_writes(config("t", "x"), [("a", 1)], "task"),
            lambda: memory.append_messages("t", [{"n": 1}]),
        ):
            with pytest.raises(ReadOnlyStore, match=said if made else f"{said}.*open it once.* at its primary") as told:
                call()
            assert made == ("open it once" not in str(told.value))


# ------------------------------------------------------------------------------- while others work


def test_the_script_may_be_run_while_others_write(fresh: str) -> None:
    done = threading.Event()

    def write(thread: str) -> int:
        count = 0
        with open_memory(fresh) as memory:
            while not done.is_set():
                add_item(memory.get_langgraph_checkpointer(), thread)
                count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, str(number)) for number in range(4)]
        try:
            for _ in range(5):
                query(fresh, pg_schema.script())
                with open_memory(fresh) as memory:
                    memory.setup()
        finally:
            done.set()
        counts = [writer.result() for writer in writers]
    with open_memory(fresh) as memory:
        assert [held(memory, str(number)) for number in range(4)] == [items(count) for count in counts]
    versions = [(migration.version,) for migration in pg_schema.migrations()]
    assert query(fresh, "SELECT version FROM charm_checkpoint.migration ORDER BY version") == versions


def test_many_set_up_one_database_at_once(fresh: str) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(memory.asetup() for memory in stores))

    stores = [open_memory(fresh) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(memory.setup) for memory in stores]
        asyncio.run(all_at_once())
        assert [call.result() for call in calls] == [None] * 12
    for memory in stores:
        memory.close()
    versions = [(migration.version,) for migration in pg_schema.migrations()]
    assert query(fresh, "SELECT version FROM charm_checkpoint.migration ORDER BY version") == versions
