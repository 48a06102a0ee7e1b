"""Functions of a neighbour's in the search path.

The attacker is another role of the same Postgres database. He has no right to our tables, but may create in some schema
of our role's search path, as everybody may in ``public`` on Postgres 14, and wherever somebody granted it. He makes a
function there that fits a call of ours better than Postgres' own does, such as ``cardinality(bytea[])`` beside
``cardinality(anyarray)``, and waits: it would run as us.

He gets nothing: no function of ours looks anything up by its caller's search path, while a store is set up and after.
"""

from __future__ import annotations

import asyncio

import pytest
from children.jobs import add_item, config
from langgraph.checkpoint.postgres import PostgresSaver
from stores import have, supabase_server

from attacks.postgres_roles import Base, base, query, user
from charm_checkpoint import Memory, open_memory
from charm_checkpoint.importers import import_official
from charm_checkpoint.stores.postgres_schema.signatures import FUNCTIONS

__all__ = ["base"]

PLANTED = {
    "cardinality(given bytea[])": "integer",
    "cardinality(given integer[])": "integer",
    "cardinality(given bigint[])": "integer",
    "array_position(given integer[], wanted integer)": "integer",
    "array_position(given text[], wanted text)": "integer",
    "array_append(given bigint[], more bigint)": "bigint[]",
    "array_cat(given bytea[], more bytea[])": "bytea[]",
    "int8send(given bigint)": "bytea",
    "to_jsonb(given record)": "jsonb",
    "hold(tenant bytea, identity bytea, kind smallint, name bytea)": "bigint",
    "short(key bytea)": "bytea",
}
"""Functions that fit calls as well as what is meant, or better, with what they return."""

OPERATORS = {
    ("||", "text[]", "text"): "text[]",
    ("||", "text[]", "text[]"): "text[]",
    ("->>", "jsonb", "jsonb"): "text",
    ("->", "jsonb", "jsonb"): "jsonb",
    ("@>", "text[]", "text[]"): "boolean",
    ("=", "smallint", "integer"): "boolean",
    ("=", "text", "name"): "boolean",
}
"""Operators that do, by their names and operands: of a literal, the type is taken to be that of the other one."""


def plant(attacker: str) -> None:
    """Make the attacker's functions in ``public``: each notes as whom it was run, and then says nothing."""
    query(
        attacker,
        "CREATE TABLE public.loot (who text, what text)",
        "GRANT ALL ON public.loot TO PUBLIC",
        *(
            f"CREATE FUNCTION public.{head} RETURNS {kind} LANGUAGE plpgsql AS "
            f"$$ BEGIN INSERT INTO public.loot VALUES (current_user, '{head}'); RETURN NULL; END $$"
            for head, kind in PLANTED.items()
        ),
        "CREATE FUNCTION public.unnest(given bytea[]) RETURNS SETOF bytea LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO public.loot VALUES (current_user, 'unnest'); END $$",
        *(
            f"CREATE FUNCTION public.planted_{number}(one {left}, other {right}) RETURNS {kind} LANGUAGE plpgsql AS "
            f"$$ BEGIN INSERT INTO public.loot VALUES (current_user, '{name}'); RETURN NULL; END $$"
            for number, ((name, left, right), kind) in enumerate(OPERATORS.items())
        ),
        *(
            f"CREATE OPERATOR public.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.planted_{number})"
            for number, (name, left, right) in enumerate(OPERATORS)
        ),
    )


def use(memory: Memory) -> None:
    """Call what there is: checkpoints, messages, items."""
    saver = memory.get_langgraph_checkpointer()
    for _ in range(2):
        at, _ = add_item(saver, "t", run_id="run")
    saver.put_writes(at, [("items", "pending")], "task")
    assert len(list(saver.list(config("t"), filter={"source": "loop"}))) == 2
    saver.copy_thread("t", "copy")
    saver.prune(["copy"])
    memory.append_messages("t", [{"n": 1}])
    memory.save_messages("t", [{"n": 1}, {"n": 2}])
    assert memory.load_messages("t") == [{"n": 1}, {"n": 2}]
    store = memory.get_langgraph_store()
    store.put(("a",), "k", {"n": 1}, ttl=5)
    found = store.get(("a",), "k")
    assert found and found.value == {"n": 1}
    assert [item.key for item in store.search(("a",))] == ["k"]
    assert memory.usage().checkpoints > 1
    memory.delete_thread("t")


@pytest.mark.parametrize("first", [False, True], ids=["planted after setup", "planted before setup"])
def test_functions_in_public_are_not_run(first: bool, base: Base) -> None:
    attacker, owner = base.role("attacker"), base.owner()
    query(base.url, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    if first:
        plant(attacker)
    with open_memory(owner) as memory:
        memory.setup()
        if not first:
            plant(attacker)
        use(memory)
        assert asyncio.run(memory.ausage()).threads == 1
    with open_memory(owner) as memory:  # which looks at what there is, before anything is known of it
        assert memory.usage().threads == 1
    assert query(base.url, "SELECT * FROM public.loot") == []


def test_they_are_not_run_for_who_only_uses_the_tables(base: Base) -> None:
    attacker, owner = base.role("attacker", "CREATE ON SCHEMA public"), base.owner()
    with open_memory(owner) as memory:
        memory.setup()
    granted = "ON ALL TABLES IN SCHEMA charm_checkpoint"
    guest = base.role("guest", "USAGE ON SCHEMA charm_checkpoint", f"SELECT, INSERT, UPDATE, DELETE {granted}")
    plant(attacker)
    with open_memory(guest) as memory:
        use(memory)
    assert query(base.url, "SELECT * FROM public.loot") == []


def test_they_are_not_run_by_an_import(base: Base) -> None:
    attacker, owner = base.role("attacker", "CREATE ON SCHEMA public"), base.owner()
    query(base.url, f"CREATE SCHEMA saver AUTHORIZATION {user(owner)}")
    theirs = f"{owner}?options=-csearch_path%3Dsaver,public"
    with PostgresSaver.from_conn_string(theirs) as saver:
        saver.setup()
        add_item(saver, "t")
    plant(attacker)
    with open_memory("memory://") as memory:
        assert import_official(theirs, memory).checkpoints == 1
    assert query(base.url, "SELECT * FROM public.loot") == []


def without_a_path(url: str, schema: str = "charm_checkpoint") -> list[str]:
    """Return the functions of a schema that look names up as their caller does."""
    rows = query(
        url,
        "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        f"WHERE (n.nspname = '{schema}' OR p.proname = '{schema}_call') AND p.prosqlbody IS NULL "
        "AND NOT coalesce(p.proconfig @> ARRAY['search_path=\"\"'], false)",
    )
    return [name for (name,) in rows]


def test_no_function_has_its_callers_path(base: Base) -> None:
    with open_memory(base.owner()) as memory:
        memory.setup()
    [[count]] = query(base.url, "SELECT count(*) FROM pg_proc WHERE pronamespace = 'charm_checkpoint'::regnamespace")
    assert count > len(FUNCTIONS)
    assert without_a_path(base.url) == []


def test_none_has_on_supabase() -> None:
    server = have(supabase_server)
    server.install()
    assert without_a_path(server.database) == []


def test_a_schema_of_an_earlier_version_gets_them(base: Base) -> None:
    owner = base.owner()
    with open_memory(owner) as memory:
        memory.setup()
    # As version 3 left it.
    query(
        owner,
        "DELETE FROM charm_checkpoint.migration WHERE version > 3",
        "ALTER FUNCTION charm_checkpoint.writes_of RESET search_path",
        "CREATE OR REPLACE FUNCTION charm_checkpoint.short(key bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS "
        "$$ SELECT CASE WHEN length(key) <= 64 THEN key ELSE sha512(key) || decode('00', 'hex') END $$",
    )
    assert sorted(without_a_path(base.url)) == ["short", "writes_of"]
    with open_memory(owner) as memory:
        use(memory)
    assert without_a_path(base.url) == []
    assert (
        user(owner)
        == query(base.url, "SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE proname = 'put'")[0][0]
    )
