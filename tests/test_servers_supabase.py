"""The local Supabase: its keys, roles and users, its end, and how it comes here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from stores import have, is_gone, postgres_server

from charm_checkpoint.errors import MissingServer
from charm_checkpoint.servers import PostgresServer, SupabaseServer, node, supabase

ANN = "11111111-1111-4111-8111-111111111111"
BOB = "22222222-2222-4222-8222-222222222222"

NOTES = """
CREATE SCHEMA charm_checkpoint;
GRANT USAGE ON SCHEMA charm_checkpoint TO anon, authenticated, service_role;
CREATE TABLE charm_checkpoint.notes (owner text DEFAULT auth.uid()::text, note text);
ALTER TABLE charm_checkpoint.notes ENABLE ROW LEVEL SECURITY;
GRANT ALL ON charm_checkpoint.notes TO authenticated, service_role;
CREATE POLICY own ON charm_checkpoint.notes TO authenticated USING (owner = auth.uid()::text);
CREATE FUNCTION charm_checkpoint.note(note text) RETURNS text[] LANGUAGE sql AS $$
    INSERT INTO charm_checkpoint.notes (note) VALUES (note);
    SELECT array_agg(n.note) FROM charm_checkpoint.notes n
$$;
"""


@pytest.fixture(scope="module")
def shared() -> PostgresServer:
    return have(postgres_server)


@pytest.fixture
def lite(shared: PostgresServer) -> Iterator[SupabaseServer]:
    with have(lambda: supabase(shared)) as server:
        yield server


def note(server: SupabaseServer, text: str, key: str, token: str | None = None) -> Any:
    """Add a note by an RPC and return all notes that its writer sees."""
    from supabase import ClientOptions, create_client

    with httpx.Client() as http:
        client = create_client(server.url, key, ClientOptions(httpx_client=http))
        if token:
            client.postgrest.auth(token)
        return client.schema("charm_checkpoint").rpc("note", {"note": text}).execute().data


def test_supabase_keeps_users_apart_and_its_key_sees_all(lite: SupabaseServer) -> None:
    from postgrest import APIError

    lite.install(NOTES)
    ann, bob = (lite.sign_token(user) for user in (ANN, BOB))
    assert note(lite, "a", lite.publishable_key, ann) == ["a"]
    assert note(lite, "b", lite.publishable_key, bob) == ["b"]
    assert note(lite, "c", lite.secret_key) == ["a", "b", "c"]
    with pytest.raises(APIError, match="permission denied"):
        note(lite, "d", lite.publishable_key)
    with pytest.raises(APIError, match="JWT expired"):
        note(lite, "d", lite.publishable_key, lite.sign_token(ANN, seconds=-10))


def test_supabase_stops_and_leaves_the_postgres_it_was_given(lite: SupabaseServer, shared: PostgresServer) -> None:
    pid, folder, database = lite.pid, lite.folder, lite.database
    lite.stop()
    assert is_gone(pid) and not folder.exists() and shared.running
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(database)


def test_supabase_alone_takes_its_own_postgres_with_it() -> None:
    with have(supabase) as server:
        pids = [server.pid, server.postgres.pid]
        folders = [server.folder, server.postgres.folder]
    assert all(map(is_gone, pids)) and not any(folder.exists() for folder in folders)


def test_npm_that_fails_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    have(node.find_node)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingServer, match=r"npm could not install some:\n(.|\n)*[Ii]nvalid"):
        node.packages(node.Locked("some", '{"dependencies": {"No Name": "1"}}', "{}"))
    [left] = (tmp_path / "charm-checkpoint").iterdir()
    assert left.suffix == ".lock" and left.is_file()
