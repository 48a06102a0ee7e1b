"""Calls as they go over the wire: the same rows and the same errors as by a plain cursor of psycopg."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import tuple_row

from charm_checkpoint import open_memory
from charm_checkpoint.contract import NewWrites, Query
from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemKey, ItemQuery
from charm_checkpoint.plan import Plan, run
from charm_checkpoint.stores.postgres.wire import exchange
from charm_checkpoint.stores.postgres_schema import signatures
from charm_checkpoint.stores.postgres_schema.backend import Call, PostgresBackend
from charm_checkpoint.stores.postgres_schema.items import PostgresItems
from charm_checkpoint.stores.postgres_schema.schema import SCHEMA
from charm_checkpoint.stores.postgres_schema.signatures import FUNCTIONS, Signature, statement
from charm_checkpoint.testing.samples import chunk, new, new_messages

TAKEN = {kind for signature in FUNCTIONS.values() for kind in signature.takes}
GIVEN = {kind for signature in FUNCTIONS.values() for kind in signature.gives.values()}
KINDS = sorted(TAKEN | GIVEN)

VALUES: dict[str, list[Any]] = {
    "bytea": [None, b"", b"\0", bytes(range(256)), b"x" * 100_000],
    "bytea[]": [None, [], [b""], [b"", b"\0\xff", b"{\"NULL\",}"], [b"x" * 70_000] * 3],
    "bigint": [None, 0, 1, -1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)],
    "bigint[]": [None, [], [0], [2**63 - 1, 1, -(2**63)], [None], [None, 2**40, None]],
    "integer[]": [None, [], [0], [1, -1, 2**31 - 1, -(2**31)]],
    "text": [None, "", "a", "\xe9\u4e2d\N{PILE OF POO}", "'\"\\\n{}NULL", "x" * 100_000],
    "boolean": [None, True, False],
}  # fmt: skip
"""Values of each type that a function takes or gives."""


@pytest.fixture
def database(tenant: str) -> Iterator[str]:
    """Return the URL of a database that has the functions."""
    with open_memory(tenant) as memory:
        memory.setup()
    yield tenant.partition("?")[0]


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def plainly(connection: psycopg.Connection[Any], schema: str, function: str, args: Any) -> list[Any]:
    """Make a call as anybody would."""
    with psycopg.RawCursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute(statement(schema, function), args, prepare=False, binary=True)
        return cursor.fetchall()


def directly(connection: psycopg.Connection[Any], schema: str, function: str, args: Any) -> list[Any]:
    """Make a call as the store does."""
    return connection.wait(exchange(connection, schema, function, args))


def undone(connection: psycopg.Connection[Any], make: Callable[..., Any], function: str, args: Any) -> Any:
    """Make a call in a transaction that is taken back; return its rows or its error."""
    with connection.transaction(force_rollback=True):
        return answer(make, connection, SCHEMA, function, args)


def timeless(rows: Any) -> Any:
    """Return rows without microseconds since 1970: a new thread's sweeps are counted from them on."""
    if not isinstance(rows, list):
        return rows
    return [[None if isinstance(cell, int) and cell > 10**15 else cell for cell in row] for row in rows]


def answer(make: Callable[..., Any], *args: Any) -> Any:
    try:
        return make(*args)
    except psycopg.Error as error:
        text = re.sub(r"\d+", "#", str(error))  # a sequence goes on in transactions that are taken back
        return type(error), error.sqlstate, text, error.diag.message_primary, error.diag.context


# ------------------------------------------------------------------------------- every function


def scenario(backend: PostgresBackend) -> Iterator[Plan[Any]]:
    """Use every function of the schema, with something to find, with nothing, and with what is refused."""
    one, two = chunk("one"), chunk("two" * 1000)
    yield backend.put(new("1", chunks=[one], tags=b"12345678", run="r", title=b"a title", note=b"a note"))
    yield backend.put(new("2", "1", chunks=[two], roots=one.address + two.address))
    yield backend.put(new("3", "1"))  # a branch
    yield backend.put(new("4", "1", on_conflict="raise"))
    yield backend.put(new("5", "3", base_sweeps=7))
    yield backend.put(new("1", thread="\0odd", ns="below|it"))
    yield backend.put_writes(NewWrites("t", "", "3", b"writes", None, b"a note"))
    yield backend.put_writes(NewWrites("t", "", "3", b"more writes", None))
    for id in (None, "2", "none"):
        yield backend.find("t", "", id, [one.address])
    yield backend.find("nobody", "", None)
    yield backend.ancestors("t", "", "3", 10)
    yield backend.ancestors("nobody", "", "3", 10)
    for query in (Query(), Query("t"), Query("t", "", "2"), Query(tags=(b"12345678",)), Query("t", before="3")):
        yield backend.page(query, None, 10)
        yield backend.page(query, None, 1, writes=False, known=[one.address])
    yield backend.chunks("t", [one.address, two.address, bytes(16)])
    yield backend.runs(["r", "none"])
    yield backend.threads(None, 10)
    yield backend.threads(None, 1)
    for thread in ("t", "nobody"):
        yield backend.pin(thread, True)
        yield backend.thread_row(thread)
    yield backend.copy_thread("t", "copy")
    yield backend.copy_thread("t", "copy")
    yield backend.put_messages(new_messages("a list", one))
    yield backend.put_messages(new_messages("a list", expect=7))
    yield backend.append_messages("t", b"a batch")
    yield backend.append_messages("t", b"")
    yield backend.messages("t")
    yield backend.messages("t", [one.address])
    yield backend.messages("nobody")
    yield backend.usage("t")
    yield backend.usage(None)
    yield backend.remove("t", [("", "1")], None)
    yield backend.remove("t", [("", "2")], 1)
    yield backend.delete_thread("t")
    yield backend.delete_thread("nobody")
    yield backend.put(new("6", "3", seen_deletes=0))
    yield backend.space()
    yield backend.compact(None)
    yield backend.erase_thread("copy", 10**9)
    yield backend.erase_thread("nobody", 0, 5)
    yield backend.put(new("1", thread="copy", seen_deletes=0))
    yield backend.forget_erased(10**9)


def items_scenario(items: PostgresItems) -> Iterator[Plan[Any]]:
    """Use every function that there is for items likewise."""
    one, two = ItemKey(b"ia\0", b"one"), ItemKey(b"ia\0b\0", b"two" * 1000)
    first = ItemChange(*one, b"1", b"deeptags", b"an entry", b"vectors", ttl=5)
    yield items.change(ItemBatch(10, [one, two], changes=[first, ItemChange(*two, b"2" * 10_000, expect=0)]))
    yield items.change(ItemBatch(11, changes=[ItemChange(*two, None, expect=7)]))
    yield items.change(ItemBatch(12, [one, two], [one]))
    yield items.change(ItemBatch(13, [one], [one, two], [ItemChange(*two, None), ItemChange(b"i", b"none", None)]))
    for known in ({}, {one.space: 10}, {one.space: 99, b"gone": 1}):
        yield items.entries(b"i", known)
    yield items.entries(b"none")
    for vectors in (False, True):
        yield items.fetch([one, two, ItemKey(b"", b"")], vectors)
    for query in (ItemQuery(b"i", 14, 10, nested=(b"tags",)), ItemQuery(b"i", 14, 1, (b"none",), oldest_first=True)):
        yield items.page(query)
    yield items.page(ItemQuery(b"i", 14, 3, skip=1, after=(99, b"z", b"z")))
    yield items.spaces(b"i", 14)
    yield items.count(b"", 14)
    yield items.usage()
    yield items.expire(99, 10)
    yield items.erase(b"i")


def test_every_function_gives_the_same_rows_as_by_a_cursor(connection: psycopg.Connection[Any], tenant: str) -> None:
    called: dict[str, int] = {}

    def execute(call: Call) -> list[Any]:
        plain = undone(connection, plainly, call.function, call.args)
        assert timeless(undone(connection, directly, call.function, call.args)) == timeless(plain), call.function
        called[call.function] = called.get(call.function, 0) + len(plain)
        return directly(connection, SCHEMA, call.function, call.args)

    name = tenant.rpartition("=")[2]
    for plan in (*scenario(PostgresBackend(name)), *items_scenario(PostgresItems(name))):
        run(plan, execute)
    assert called.keys() | {"threads"} == FUNCTIONS.keys()  # which programs of an earlier version call
    assert all(called.values()), "a function that gave no rows shows little"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_call_with_nothing_is_answered_alike(connection: psycopg.Connection[Any], function: str) -> None:
    nothing = [None] * len(FUNCTIONS[function].takes)
    plain = undone(connection, plainly, function, nothing)
    assert undone(connection, directly, function, nothing) == plain
    connection.execute("SELECT 1")  # whatever it was, the connection is fit for more


# ----------------------------------------------------------------------------------- every type


@pytest.fixture(params=KINDS)
def echo(request: pytest.FixtureRequest, database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a function that gives back what it takes, as it is if any function gives that, and as text."""
    kind, given = request.param, request.param if request.param in GIVEN else "text"
    name = f"echo_{KINDS.index(kind)}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            f'CREATE OR REPLACE FUNCTION "{SCHEMA}".{name}(given {kind}) RETURNS TABLE(same {given}, written text) '
            f"LANGUAGE sql AS 'SELECT given::{given}, given::text'"
        )
    monkeypatch.setitem(signatures.FUNCTIONS, name, Signature((kind,), {"same": given, "written": "text"}))
    return name


def test_every_type_goes_and_comes_back(connection: psycopg.Connection[Any], echo: str) -> None:
    [kind] = FUNCTIONS[echo].takes
    for value in VALUES[kind]:
        [row] = rows = directly(connection, SCHEMA, echo, [value])
        assert rows == plainly(connection, SCHEMA, echo, [value])
        assert kind not in GIVEN or (row[0] == value and type(row[0]) is type(value))


def test_an_async_connection_gives_the_same(database: str, connection: psycopg.Connection[Any], echo: str) -> None:
    async def use() -> None:
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
            for value in VALUES[FUNCTIONS[echo].takes[0]]:
                rows = await other.wait(exchange(other, SCHEMA, echo, [value]))
                assert rows == directly(connection, SCHEMA, echo, [value])

    asyncio.run(use())


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "body",
    [
        "BEGIN RAISE EXCEPTION USING ERRCODE = 'CH001', MESSAGE = 'a word', DETAIL = 'more'; END",
        "BEGIN PERFORM 1 / 0; END",
        "BEGIN PERFORM 1 FROM nowhere; END",
    ],
)
def test_an_error_is_that_of_a_cursor(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setitem(signatures.FUNCTIONS, "refuse", Signature((), {"taken": "bigint"}))
    with connection.transaction(force_rollback=True):
        head = f'CREATE FUNCTION "{SCHEMA}".refuse() RETURNS TABLE(taken bigint) LANGUAGE plpgsql AS'
        connection.execute(f"{head} $body${body}$body$")
        plain = undone(connection, plainly, "refuse", [])
        assert undone(connection, directly, "refuse", []) == plain and issubclass(plain[0], psycopg.Error)


def test_a_session_that_is_ended_is_told_alike(database: str, connection: psycopg.Connection[Any]) -> None:
    found = []
    for make in (plainly, directly):
        with psycopg.connect(database, autocommit=True) as other:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [other.info.backend_pid])
            found.append(answer(make, other, SCHEMA, "usage", [b"", []])[:2])
            assert other.closed
    assert found[0] == found[1] == (psycopg.errors.AdminShutdown, "57P01")
