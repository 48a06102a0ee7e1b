"""Another tenant's role in the same Postgres schema.

The attacker has a login that one customer's program was given. With the grants that the documentation names,
``tenant=`` is an option: he writes another one into the URL, or into SQL, and reads what is there.

With what ``charm-checkpoint schema --tenant-roles`` prints, he gets nothing: his role has the tenant of its own name,
by row-level security, whatever his program or his SQL says; nor can he learn whether another tenant has a thread. He
can still lock tables and fill the disk.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import psycopg
import pytest
from children.jobs import add_item, config, items

from attacks.postgres_roles import Base, base, query, user
from charm_checkpoint import Memory, open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.errors import StoreError
from charm_checkpoint.stores.postgres_schema import schema as pg_schema
from charm_checkpoint.stores.postgres_schema.signatures import FUNCTIONS

__all__ = ["base"]

TABLES = [*pg_schema.TABLES, "migration"]


@pytest.fixture
def tenants(base: Base, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the logins of two tenants, each with a thread, messages and an item; the first one is the attacker's."""
    schema = f"agents_{base.name[-8:]}"
    owner = base.owner()
    with open_memory(f"{owner}?schema={schema}") as memory:
        memory.setup()
    for _ in range(2):
        assert main(["schema", "--tenant-roles", "--url", f"postgresql://?schema={schema}"]) == 0
        query(base.url, f'GRANT CREATE ON DATABASE "{base.name}" TO {user(owner)}', capsys.readouterr().out)
    base.made.append(f"{schema}_tenant")
    logins = [base.role(name, f"{schema}_tenant") for name in ("attacker", "victim")]
    urls = [f"{login}?schema={schema}&tenant=" for login in logins]
    for login, url in zip(logins, urls, strict=True):
        with open_memory(url + user(login)) as memory:
            fill(memory)
    return urls


def fill(memory: Memory) -> None:
    add_item(memory.get_langgraph_checkpointer(), "t", run_id="run")
    memory.save_messages("t", [{"role": "user", "content": "s3cret"}])
    memory.get_langgraph_store().put(("a",), "k", {"text": "s3cret"})
    memory.store.run(partial(memory.store.backend.erase_thread, "gone", 4_000_000_000), write=True)


def name_of(url: str) -> str:
    return user(url.partition("?")[0])


def schema_of(url: str) -> str:
    return url.partition("schema=")[2].partition("&")[0]


def rows(url: str) -> dict[str, list[Any]]:
    """Return all rows there are, as the superuser sees them."""
    return {name: query(url, f"SELECT * FROM {schema_of(url)}.{name} ORDER BY 1, 2") for name in TABLES}


def superuser(base: Base, url: str) -> str:
    return f"{base.url}?schema={schema_of(url)}&tenant="


def test_each_has_his_own(tenants: list[str]) -> None:
    for url in tenants:
        with open_memory(url + name_of(url)) as memory:
            saver = memory.get_langgraph_checkpointer()
            add_item(saver, "t")
            head = saver.get_tuple(config("t"))
            assert head is not None and head.checkpoint["channel_values"]["items"] == items(2)
            saver.copy_thread("t", "copy")
            saver.prune(["copy"])
            saver.delete_for_runs(["run"])
            found = memory.get_langgraph_store().search(("a",))
            assert [item.value for item in found] == [{"text": "s3cret"}]
            assert asyncio.run(memory.ausage()).threads == 2
            memory.delete_thread("t")
            fill(memory)


def test_anothers_name_in_the_url(tenants: list[str], base: Base) -> None:
    attacker, victim = tenants
    before = rows(superuser(base, victim))
    with open_memory(attacker + name_of(victim)) as memory:
        saver = memory.get_langgraph_checkpointer()
        assert saver.get_tuple(config("t")) is None
        assert list(saver.list(None)) == []
        assert memory.load_messages("t") == []
        assert memory.usage().threads == 0
        assert memory.get_langgraph_store().search(("a",)) == []
        memory.delete_thread("t")
        saver.prune(["t"])
        saver.delete_for_runs(["run"])
        for call in (
            lambda: add_item(saver, "t"),
            lambda: add_item(saver, "not there"),
            lambda: saver.put_writes(config("t", "x"), [("a", 1)], "task"),
            lambda: saver.copy_thread("t", "copy"),
            lambda: memory.append_messages("t", [{"n": 1}]),
            lambda: memory.save_messages("t", []),
            lambda: memory.get_langgraph_store().put(("a",), "k", {"n": 1}),
            lambda: memory.store.run(partial(memory.store.backend.erase_thread, "t", 4_000_000_000), write=True),
        ):
            with pytest.raises(StoreError, match="row-level security"):
                call()
    assert rows(superuser(base, victim)) == before


def test_sql_of_his_own(tenants: list[str], base: Base) -> None:
    attacker, victim = tenants
    schema, me, other = schema_of(attacker), name_of(attacker), name_of(victim)
    before = rows(superuser(base, victim))
    with psycopg.connect(attacker.partition("?")[0], autocommit=True) as connection:

        def run(statement: str) -> Any:
            return connection.execute(statement.replace("@", f"{schema}.").encode())

        assert run("SELECT DISTINCT tenant FROM @thread").fetchall() == [(me.encode(),)]
        assert run("SELECT DISTINCT tenant FROM @memory_space").fetchall() == [(me.encode(),)]
        for table in pg_schema.TABLES:
            shown = run(f"SELECT count(*) FROM @{table}").fetchone()
            # The secret is the store's; the rest is half one's, half the other's.
            assert shown == (len(before[table]) / (1 if table == "thread_secret" else 2),), table
        key = next(row[0] for row in before["thread"] if row[1] == other.encode())
        for statement in (
            f"UPDATE @thread SET tenant = '{other}'",
            f"UPDATE @memory_space SET tenant = '{other}'",
            f"INSERT INTO @thread (tenant, identity, kind) VALUES ('{other}', '', 0)",
            f"INSERT INTO @chunk (thread, address, refs, data) VALUES ({key}, 'a', '', '')",
            f"INSERT INTO @message (thread, revision, roots, body, tokens) VALUES ({key} , 1, '', '', '')",
            f"UPDATE @message SET thread = {key}",
            f"UPDATE @tombstone SET tenant = '{other}'",
            f"INSERT INTO @tombstone VALUES ('{other}', 'h', 0, 1, 1, 1, 1, 1)",
            "UPDATE @thread_secret SET secret = ''",
            "DELETE FROM @thread_secret",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                run(statement)
        for statement in (
            f"DELETE FROM @thread WHERE tenant = '{other}'",
            f"DELETE FROM @tombstone WHERE tenant = '{other}'",
            f"UPDATE @thread SET note = 'x' WHERE tenant = '{other}'",
            f"SELECT * FROM @usage('{other}', NULL) WHERE threads > 0",
        ):
            assert run(statement).rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(f"SET ROLE {other}")
        run(f"SET ROLE {schema}_tenant")  # a member may, and then has the tenant of that name
        assert run("SELECT count(*) FROM @thread").fetchone() == (0,)
        run("RESET ROLE")
        run(f"SELECT set_config('request.jwt.claims', '{{\"sub\": \"{other}\"}}', false)")
        assert run("SELECT count(*) FROM @thread").fetchone() == (0,)
        for table in TABLES:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                run(f"TRUNCATE @{table}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run("CREATE TABLE @mine (id integer)")
    assert rows(superuser(base, victim)) == before


def test_without_it_the_tenant_is_an_option(tenants: list[str], base: Base) -> None:
    """As docs/security.md says of roles that were granted the tables themselves."""
    _, victim = tenants
    schema = schema_of(victim)
    guest = base.role("guest", f"USAGE ON SCHEMA {schema}", f"SELECT ON ALL TABLES IN SCHEMA {schema}")
    with open_memory(f"{guest}?schema={schema}&tenant={name_of(victim)}") as memory:
        assert memory.load_messages("t") == [{"role": "user", "content": "s3cret"}]


def test_every_function_is_granted(tenants: list[str], base: Base) -> None:
    """On databases where not everybody may call what is made, too."""
    schema = schema_of(tenants[0])
    query(base.url, f"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC")
    for name in FUNCTIONS:
        found = query(
            base.url,
            f"SELECT has_function_privilege('{name_of(tenants[0])}', oid, 'EXECUTE') FROM pg_proc "
            f"WHERE pronamespace = '{schema}'::regnamespace AND proname = '{name}'",
        )
        assert found == [(True,)], name
    with open_memory(tenants[0] + name_of(tenants[0])) as memory:
        fill(memory)
