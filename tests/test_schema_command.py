"""`charm-checkpoint schema`: SQL to run by hand, for Postgres and Supabase, with or without their drivers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from children.jobs import add_item, config, items
from stores import have, postgres_server, supabase_server

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.errors import SchemaMismatch, StoreError
from charm_checkpoint.servers import SupabaseServer, supabase
from charm_checkpoint.stores.postgres_schema import backend as postgres_backend
from charm_checkpoint.stores.postgres_schema import schema as pg_schema
from charm_checkpoint.stores.shared.migrations import Migration

ROLE = "schema_command_role"


def printed(capsys: pytest.CaptureFixture[str], url: str) -> str:
    """Return what the command prints for a URL."""
    assert main(["schema", "--url", url]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Return what the command complains of."""
    assert main(["schema", *args]) == 2
    seen = capsys.readouterr()
    assert not seen.out
    return seen.err


def use(memory: Memory) -> None:
    """Call every function there is but those that only reads with chunks left out need."""
    saver = memory.get_langgraph_checkpointer()
    for _ in range(3):
        at, count = add_item(saver, "t", run_id="run")
    saver.put_writes(at, [("items", "pending")], "task")
    assert [found.pending_writes for found in saver.list(config("t"), limit=1)] == [[("task", "items", "pending")]]
    saver.copy_thread("t", "copy")
    saver.prune(["copy"])
    saver.delete_for_runs(["run"])
    saver.delete_thread("t")
    memory.append_messages("t", [{"role": "user", "content": "x"}])
    assert count == 3 and memory.usage("t").checkpoints == 0


@pytest.fixture
def database() -> Iterator[str]:
    server = have(postgres_server)
    url = server.new_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def project() -> Iterator[SupabaseServer]:
    """Yield a Supabase project of its own."""
    with have(lambda: supabase(have(postgres_server))) as server:
        yield server


def test_on_supabase_nobody_needs_what_all_may_do(project: SupabaseServer) -> None:
    name = project.database.rpartition("/")[2]
    project.postgres.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC", name)
    project.install()
    user = "0b0e0a51-5b0c-4f0e-9a53-1d7f8f1f8d51"
    signed_in = f"{project.url}?key={project.publishable_key}&token={project.sign_token(user)}"
    for url in (project.store_url(), signed_in):
        with open_memory(url) as memory:
            use(memory)


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """Make a role with no rights of its own; yield the URL by which it connects to the database."""
    with psycopg.connect(database, autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'role'".encode())
        yield re.sub("//.*@", f"//{ROLE}:role@", database)
        superuser.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}".encode())


@pytest.mark.parametrize(
    ("scheme", "schema"),
    [("postgresql", "charm_checkpoint"), ("postgresql", "Other-2"), ("supabase", "other_2"), ("https", "x" * 58)],
)
@pytest.mark.parametrize("public", [True, False])
def test_a_role_with_the_grants_of_the_heading_can_use_the_store(
    public: bool, scheme: str, schema: str, database: str, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = printed(capsys, f"{scheme}://?schema={schema}")
    url = f"{role}?schema={schema}&auto_setup=false"
    with psycopg.connect(database, autocommit=True) as superuser:
        if not public:
            superuser.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
        superuser.execute(script.encode())
        with open_memory(url) as memory, pytest.raises(StoreError, match="lacks rights: permission denied"):
            memory.load_messages("t")
        for grant in re.findall("^--   (GRANT .*;)$", script, re.MULTILINE):
            superuser.execute(grant.replace("TO role;", f"TO {ROLE};").encode())
        with open_memory(url) as memory:
            add_item(memory.get_langgraph_checkpointer(), "before")
            superuser.execute(script.encode())
            memory.setup()
            use(memory)
            add_item(memory.get_langgraph_checkpointer(), "before")
            found = memory.get_langgraph_checkpointer().get(config("before"))
            assert found and found["channel_values"]["items"] == items(2)


def test_an_upgrade_keeps_what_was_granted(database: str, role: str) -> None:
    with psycopg.connect(database, autocommit=True) as superuser, open_memory(database) as owner:
        superuser.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
        owner.setup()
        for what in ("USAGE ON SCHEMA", "ALL ON ALL TABLES IN SCHEMA", "EXECUTE ON ALL FUNCTIONS IN SCHEMA"):
            superuser.execute(f"GRANT {what} charm_checkpoint TO {ROLE}".encode())
        # As if what these functions take had changed since.
        superuser.execute("DROP FUNCTION charm_checkpoint.put_writes, charm_checkpoint.put")
        superuser.execute("DELETE FROM charm_checkpoint.migration WHERE version > 1")
        with open_memory(database) as later:
            later.setup()
        with open_memory(role, auto_setup=False) as memory:
            use(memory)


@pytest.mark.parametrize("rights", ["SELECT", "SELECT, INSERT, UPDATE, DELETE"])
def test_an_upgrade_gives_what_is_new_to_those_who_had_the_rest(
    rights: str, database: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database, autocommit=True) as superuser, open_memory(database) as owner:
        owner.setup()
        superuser.execute(f"GRANT USAGE ON SCHEMA charm_checkpoint TO {ROLE}".encode())
        superuser.execute(f"GRANT {rights} ON ALL TABLES IN SCHEMA charm_checkpoint TO {ROLE}".encode())
        more = Migration(99, "more", ("CREATE TABLE IF NOT EXISTS {schema}.more (n integer)",))
        later = (*pg_schema.migrations(), more)
        for module in (pg_schema, postgres_backend):
            monkeypatch.setattr(module, "migrations", lambda: later)
        superuser.execute("CREATE TABLE charm_checkpoint.theirs (n integer)")
        with open_memory(database) as upgraded:
            upgraded.setup()
        theirs = superuser.execute(
            "SELECT FROM information_schema.table_privileges WHERE table_name = 'theirs' AND grantee = %s", (ROLE,)
        )
        assert theirs.fetchall() == []
        found = superuser.execute(
            "SELECT privilege_type FROM information_schema.table_privileges WHERE table_name = 'more' AND grantee = %s",
            (ROLE,),
        )
        assert {row[0] for row in found} == set(rights.split(", "))


def test_both_roads_reach_a_schema_of_another_name(capsys: pytest.CaptureFixture[str]) -> None:
    server = have(supabase_server)
    server.install(printed(capsys, f"{server.store_url()}&schema=my_agents"))
    with (
        open_memory(server.store_url("my_agents")) as api,
        open_memory(f"{server.database}?schema=my_agents") as direct,
    ):
        use(api)
        for memory in (api, direct, api):
            add_item(memory.get_langgraph_checkpointer(), "shared")
        use(direct)
        assert api.usage() == direct.usage()


@pytest.mark.parametrize("version", [0, 99])
def test_an_older_and_a_newer_schema_are_refused(version: int, capsys: pytest.CaptureFixture[str]) -> None:
    server = have(supabase_server)
    name = f"version_{version}"
    server.install(printed(capsys, f"supabase://?schema={name}"))
    with psycopg.connect(server.database) as connection:
        connection.execute(f"DELETE FROM {name}.migration".encode())
        connection.execute(f"INSERT INTO {name}.migration (version, name) VALUES ({version}, 'another')".encode())
    said = f"or an older one.*schema --url 'supabase://.schema={name}'" if version == 0 else "version 99.*Upgrade"
    with open_memory(server.store_url(name)) as memory, pytest.raises(SchemaMismatch, match=said):
        memory.usage()


def test_a_project_without_the_schema_says_what_to_do() -> None:
    server = have(supabase_server)
    for auto_setup in (True, False):
        with (
            open_memory(server.store_url("missing"), auto_setup=auto_setup) as memory,
            pytest.raises(SchemaMismatch) as caught,
        ):
            memory.usage()
        assert str(caught.value) == (
            f"The Supabase project at {server.url} has no schema 'missing' of charm_checkpoint, or an older one, and "
            "its API cannot make it. Run `charm-checkpoint schema --url 'supabase://?schema=missing'`, paste what it "
            "prints into the project's SQL editor, and run it there, once more after an upgrade."
        )


@pytest.mark.parametrize("url", ["postgresql://", "supabase://", "https://x.supabase.co?key=none"])
def test_it_needs_no_driver_and_no_key(url: str) -> None:
    code = (
        "import os, sys; from charm_checkpoint.cli import main\n"
        "for name in ('psycopg', 'supabase', 'httpx'): sys.modules[name] = None\n"
        f"sys.exit(main(['schema', '--url', {url!r}]))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": ":".join(sys.path)})
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE" in done.stdout and not done.stderr


def test_what_it_refuses(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.delenv("CHARM_CHECKPOINT_URL", raising=False)
    assert "name the store" in refused(capsys)
    assert "a sqlite store has no SQL to run by hand" in refused(capsys, "--url", "sqlite:///a.db")
    for scheme in ("postgresql", "supabase"):
        assert "a schema's name has letters" in refused(capsys, "--url", f"{scheme}://?schema=a%22;drop")
    assert "lower-case letters, digits and _, 58 at most" in refused(capsys, "--url", f"supabase://?schema={'x' * 59}")
    assert "lower-case letters, digits and _, 58 at most" in refused(capsys, "--url", "supabase://?schema=Agents")
