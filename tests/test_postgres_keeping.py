"""Keeping a Postgres store for years: what older stores lack is counted, erased threads are remembered, none waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import or_skip
from golden_stores import opened
from stores import postgres_url

from charm_checkpoint import Memory, open_memory, plan
from charm_checkpoint.contract import NewWrites, Query, ThreadState, Usage
from charm_checkpoint.servers import PostgresServer
from charm_checkpoint.stores.shared.names import CHECKPOINTS, identity
from charm_checkpoint.testing.samples import chunk, new, new_messages

LATER = 4_000_000_000


class Now:
    """Runs the plans of a store's backend."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        memory.setup()

    def __getattr__(self, name: str) -> Any:
        make: Callable[..., Any] = getattr(self.memory.store.backend, name)
        driver: Any = self.memory.store.driver
        return lambda *args, **others: plan.run(make(*args, **others), driver._execute)


@pytest.fixture
def fresh(postgres: PostgresServer) -> str:
    """Return the URL of an empty database."""
    return postgres_url()


@pytest.fixture
def memory(fresh: str) -> Iterator[Memory]:
    with open_memory(fresh) as memory:
        yield memory


@pytest.fixture
def backend(memory: Memory) -> Now:
    return Now(memory)


@pytest.fixture
def sql(fresh: str, backend: Now) -> Iterator[Any]:
    """Return what runs a statement in the database, and returns its rows."""
    with psycopg.connect(fresh, autocommit=True) as connection:

        def run(statement: str, *args: Any) -> list[Any]:
            cursor = connection.execute(statement.replace("$", "charm_checkpoint."), args)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

        yield run


def fill(backend: Any, thread: str = "t", count: int = 3) -> ThreadState:
    for n in range(count):
        backend.put(new(f"{n}", f"{n - 1}" if n else None, thread=thread, chunks=[chunk(f"chunk {n}")], run="r"))
    backend.put_messages(new_messages("list", thread=thread))
    state: ThreadState = backend.put_writes(NewWrites(thread, "", "0", b"written", None)).state
    return state


# ------------------------------------------------------------------------------- what is counted


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_a_small_store_of_an_earlier_version_is_counted_at_once(version: str, tmp_path: Path) -> None:
    with open_memory(or_skip(lambda: opened("postgres", tmp_path, version))) as memory:
        backend = Now(memory)
        rows = backend.threads(None, 1000).items
        assert len(rows) > 5 and sum(row.checkpoints for row in rows) == backend.usage(None).checkpoints
        for row in rows:
            page = backend.page(Query(row.thread), None, 1000).items
            writes = [body for item in page for body in item.writes]
            assert row.checkpoints == len(page), row.thread
            if not row.has_messages:
                assert row.size == backend.usage(row.thread).payload_bytes >= sum(map(len, writes)), row.thread
        assert not any(row.pinned for row in rows)


def forget_counts(sql: Any) -> None:
    """Have the store be as a large one of before there were counts."""
    sql("UPDATE $thread SET checkpoints = NULL, size = NULL")


def shown(backend: Any) -> dict[str, tuple[int, int | None]]:
    return {row.thread: (row.checkpoints, row.size) for row in backend.threads(None, 100).items}


def test_a_large_store_of_an_earlier_version_is_counted_bit_by_bit(backend: Now, sql: Any) -> None:
    for thread in "tuv":
        fill(backend, thread)
    known = shown(backend)
    forget_counts(sql)
    assert shown(backend) == dict.fromkeys("tuv", (3, None))
    backend.put(new("3", "2", thread="t", body=b"more"))
    assert shown(backend)["t"] == (4, None)
    backend.remove("t", [("", "3")], None)
    assert shown(backend) == {"t": known["t"], "u": (3, None), "v": (3, None)}
    assert backend.forget_erased(0) == 0
    assert shown(backend) == known
    backend.put(new("3", "2", thread="u", body=b"more"))
    assert shown(backend)["u"][1] == (known["u"][1] or 0) + 4


def test_threads_that_somebody_writes_to_are_counted_later(fresh: str, backend: Now, sql: Any) -> None:
    for thread in "tuv":
        fill(backend, thread)
    known = shown(backend)
    forget_counts(sql)
    with psycopg.connect(fresh) as writer:
        writer.execute("SELECT FROM charm_checkpoint.thread WHERE name = 'u' AND kind = 0 FOR UPDATE")
        for calls in (backend.forget_erased, backend.compact):
            calls(0)
            assert shown(backend) == {**known, "u": (3, None)}
    backend.compact(None)
    assert shown(backend) == known


def test_a_listing_reads_no_checkpoint_but_the_heads(fresh: str, backend: Now) -> None:
    for number in range(20):
        fill(backend, f"t{number}", 12)
    with psycopg.connect(fresh) as connection:
        connection.execute("ANALYZE")
        rows = connection.execute("SELECT * FROM charm_checkpoint.thread_list('', NULL, NULL, 100)").fetchall()
        assert [row[2] for row in rows] == [12] * 20
        read = dict(
            connection.execute(
                "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
                " WHERE schemaname = 'charm_checkpoint'"
            ).fetchall()
        )
        assert read["checkpoint"] <= 2 * 20 and read["chunk"] == 0


def test_programs_of_before_list_threads_as_they_did(backend: Now, sql: Any) -> None:
    fill(backend)
    [[name, at, *rest]] = sql("SELECT * FROM $threads('', NULL, NULL, 10)")
    assert (name, at > 0, rest) == (b"t", True, [3, True, b"t2", None, None, None, True])


# -------------------------------------------------------------------------------- what is erased


def test_what_is_left_is_a_hash_that_needs_the_secret(backend: Now, sql: Any) -> None:
    fill(backend)
    backend.erase_thread("t", LATER)
    assert sql("SELECT count(*) FROM $thread") == [(0,)]
    [[secret]] = sql("SELECT secret FROM $thread_secret")
    assert len(secret) == 32 and len(set(secret)) > 8
    known = identity(b"", CHECKPOINTS, "t")
    [[tenant, until]] = sql("SELECT tenant, until FROM $tombstone WHERE hash = sha256(%s::bytea || %s)", secret, known)
    assert (tenant, until) == (b"", LATER)


def test_setting_up_again_keeps_the_secret(fresh: str, backend: Now, sql: Any) -> None:
    before = sql("SELECT secret FROM $thread_secret")
    sql("DELETE FROM $migration WHERE version = 5")
    with open_memory(fresh) as other:
        other.setup()
    assert sql("SELECT secret FROM $thread_secret") == before
    assert len(before) == 1


def test_tenants_forget_their_own(fresh: str, memory: Memory) -> None:
    with open_memory(fresh, tenant="ann") as ann, open_memory(fresh, tenant="bob") as bob:
        stores = [Now(ann), Now(bob)]
        for store in stores:
            fill(store)
            store.erase_thread("t", LATER)
        assert stores[0].forget_erased(LATER) == 1
        assert stores[1].find("t", "", None).state.deletes == 1
        assert stores[0].find("t", "", None).state == ThreadState()


REFUSED: dict[str, Callable[[Any], Any]] = {
    "a checkpoint": lambda store: store.put(new("9", "2", seen_deletes=0)),
    "one that knows no deletes": lambda store: store.put(new("9", "2")),
    "writes": lambda store: store.put_writes(NewWrites("t", "", "2", b"late", 0)),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("until", [LATER, 0])
def test_a_writer_that_waits_while_a_thread_is_erased(
    what: str, until: int, fresh: str, backend: Now, sql: Any
) -> None:
    fill(backend)
    with psycopg.connect(fresh) as eraser, ThreadPoolExecutor(1) as pool:
        eraser.execute(
            "SELECT * FROM charm_checkpoint.erase_thread('', %s, %s, NULL)",
            ([identity(b"", kind, "t") for kind in (0, 1)], until),
        )
        late = pool.submit(REFUSED[what], backend)
        while not sql("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND state = 'active'"):
            assert not late.done()
        eraser.commit()
        outcome = late.result(10).outcome
    if until:
        assert outcome == "deleted"
        assert backend.usage("t") == Usage() and sql("SELECT count(*) FROM $thread") == [(0,)]
    else:
        assert outcome == "stored"  # nobody knows any more


def test_a_removal_hinders_no_writer_of_another_thread(fresh: str, backend: Now) -> None:
    for thread in "tu":
        fill(backend, thread)
    with psycopg.connect(fresh) as sweeper, open_memory(fresh, timeout="5s") as other:
        for call in (
            "remove('', %s, ARRAY['']::bytea[], ARRAY['t0'::bytea], NULL)",
            "erase_thread('', ARRAY[%s]::bytea[], 0, NULL)",
            "count_threads('', 0)",
        ):
            args = (identity(b"", CHECKPOINTS, "t"),) if "%s" in call else ()
            sweeper.execute(f"SELECT * FROM charm_checkpoint.{call}", args)  # type: ignore[call-overload]
        writer = Now(other)
        assert writer.put(new("3", "2", thread="u")).outcome == "stored"
        assert writer.put(new("0", thread="new")).outcome == "stored"
        assert writer.remove("u", [("", "0")], None).outcome == "stored"
        assert len(writer.threads(None, 10).items) == 3
        sweeper.rollback()


# ------------------------------------------------------------------------------------------ room


def test_the_room_of_all_tables_is_told(backend: Now, sql: Any) -> None:
    before = backend.space()
    backend.put(new("0", chunks=[chunk("x" * 900_000)]))
    after = backend.compact(None)
    assert before.free is after.free is None and after.kind == "disk"
    assert before.taken + 900_000 <= after.taken
    [[whole]] = sql(
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE c.relkind = 'r'"
        " AND c.relnamespace = 'charm_checkpoint'::regnamespace AND c.relname NOT IN ('migration', 'thread_secret')"
    )
    assert after.taken == whole
