"""Postgres with settings that change what statements and texts mean, and limits that end them."""

from __future__ import annotations

import itertools
from typing import Any

import psycopg
import pytest
from children.jobs import add_item, config, items
from postgrest.exceptions import APIError
from stores import have, postgres_server, shared_project, supabase_server
from test_schema_command import use

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.errors import CharmError, ReadOnlyStore, StoreError, StoreUnavailable
from charm_checkpoint.servers import PostgresServer
from charm_checkpoint.stores.supabase.errors import translate
from charm_checkpoint.testing.call_modes import CallMode, InMode

numbers = itertools.count()

LONG = "x" * 300


@pytest.fixture
def server() -> PostgresServer:
    return have(postgres_server)


def database(server: PostgresServer, *settings: str, kind: str = "") -> str:
    """Return the URL of a new database with these settings."""
    name = f"settings_{next(numbers)}"
    server.execute(f"CREATE DATABASE {name} {kind}")
    for setting in settings:
        server.execute(f"ALTER DATABASE {name} SET {setting}")
    return server.database_url(name)


def use_again(url: str, mode: CallMode, **options: Any) -> None:
    """Use a store, new and then as others find it, with ids that are kept by their hash."""
    for count in (1, 2, 3):
        with open_memory(url, **options) as memory:
            use(memory)
            saver = memory.get_langgraph_checkpointer()
            add_item(saver, LONG)
            twin = InMode(saver, mode)
            assert twin.get_tuple(config(LONG)).checkpoint["channel_values"]["items"] == items(count)
            assert len(twin.list(config(LONG))) == count
            InMode(memory, mode).close()


SETTINGS = [
    "standard_conforming_strings = off",
    "bytea_output = escape",
    "search_path = ''",
    "client_encoding = SQL_ASCII",
    "client_encoding = LATIN1",
    "client_encoding = EUC_TW",
    "default_transaction_isolation = serializable",
    "default_transaction_isolation = 'repeatable read'",
    "transform_null_equals = on",
    "array_nulls = off",
    "quote_all_identifiers = on",
    "lc_messages = 'C'",
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_of_the_database_changes_nothing(setting: str, server: PostgresServer, mode: CallMode) -> None:
    use_again(database(server, setting), mode)


def test_a_setting_that_comes_later_changes_nothing(server: PostgresServer, mode: CallMode) -> None:
    url = database(server)
    with open_memory(url) as memory:
        add_item(memory.get_langgraph_checkpointer(), LONG)
        memory.delete_thread(LONG)
    for setting in SETTINGS:
        server.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET {setting}")
    use_again(url, mode)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_any_encoding_of_the_database_will_do(encoding: str, server: PostgresServer, mode: CallMode) -> None:
    use_again(database(server, kind=f"TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'"), mode)


@pytest.mark.filterwarnings("ignore:.*instead of the option (async_)?connect:DeprecationWarning")
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_TW"])
def test_any_encoding_of_the_client_will_do(encoding: str, server: PostgresServer, mode: CallMode) -> None:
    url = database(server)
    use_again(f"{url}?client_encoding={encoding}", mode)
    if encoding == "EUC_TW":
        return  # psycopg refuses it, and so a user's own connection

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(url, client_encoding=encoding)

    async def async_connect() -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(url, client_encoding=encoding)

    with open_memory(url, connect=connect, async_connect=async_connect) as memory:
        InMode(memory, mode).setup()
        use(memory)
        assert InMode(memory, mode).load_messages("none") == []
        InMode(memory, mode).close()


# ---------------------------------------------------------------------------------------- errors


def refused(memory: Memory, mode: CallMode, kind: type[CharmError]) -> str:
    """Return what a write is told."""
    with pytest.raises(kind) as caught:
        InMode(memory, mode).append_messages("t", [{"n": 1}])
    return str(caught.value)


def plain(said: str) -> str:
    """Return an error that holds nothing of the statement that it came of."""
    assert "CONTEXT" not in said and "charm_checkpoint.thread" not in said and "PL/pgSQL" not in said
    assert len(said) < 300
    return said


def test_errors_do_not_show_the_statement(server: PostgresServer, mode: CallMode) -> None:
    url = database(server)
    with open_memory(url) as memory:
        memory.setup()
    with open_memory(f"{url}?options=-cdefault_transaction_read_only%3Don") as memory:
        assert "is read-only" in plain(refused(memory, mode, ReadOnlyStore))
        InMode(memory, mode).close()
    role = f"plain_{next(numbers)}"
    name = url.rpartition("/")[2]
    server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'plain'; GRANT USAGE ON SCHEMA charm_checkpoint TO {role}", name)
    server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA charm_checkpoint TO {role}", name)
    with open_memory(server.database_url(name, role, "plain")) as memory:
        assert "lacks rights: permission denied" in plain(refused(memory, mode, StoreError))
        InMode(memory, mode).close()
    server.execute(f"DROP OWNED BY {role}; DROP ROLE {role}", name)


def test_a_statement_that_took_too_long_is_of_one_class_on_both_roads(mode: CallMode) -> None:
    have(shared_project)
    project = supabase_server()
    with psycopg.connect(project.database) as blocker:
        blocker.execute("LOCK TABLE charm_checkpoint.message IN ACCESS EXCLUSIVE MODE")
        with open_memory(f"{project.database}?options=-cstatement_timeout%3D200", auto_setup=False) as memory:
            said = plain(refused(memory, mode, StoreUnavailable))
            assert said.endswith("canceling statement due to statement timeout; nothing was written")
            InMode(memory, mode).close()
    by_api = translate(project.url, "x", APIError({"code": "57014", "message": "canceling statement"}))
    assert type(by_api) is StoreUnavailable and str(by_api).endswith("canceling statement; nothing was written")
