"""Items on Postgres: calls made again, writers in each other's way, servers that only read, what is large or many."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract_items import (
    BatchReply,
    EntriesReply,
    ItemBackend,
    ItemBatch,
    ItemChange,
    ItemKey,
    ItemQuery,
)
from charm_checkpoint.errors import ReadOnlyStore
from charm_checkpoint.plan import Plan, run, step
from charm_checkpoint.servers import PostgresServer
from charm_checkpoint.stores.postgres_schema import items as pg_items
from charm_checkpoint.stores.postgres_schema.backend import ROOM, Call, repeated

A, B = ItemKey(b"is\0", b"a"), ItemKey(b"is\0", b"b")
NOW = 1_000_000


@pytest.fixture
def memory(tenant: str) -> Any:
    with open_memory(tenant) as memory:
        yield memory


def items_of(memory: Memory) -> ItemBackend:
    assert memory.store.items is not None
    return memory.store.items


def put(item: ItemKey = A, value: bytes = b"value", **fields: Any) -> ItemChange:
    return ItemChange(*item, value, **fields)


def change(memory: Memory, *changes: ItemChange, now: int = NOW, **fields: Any) -> BatchReply:
    batch = ItemBatch(now, changes=changes, **fields)
    return memory.store.run(lambda: items_of(memory).change(batch), write=True)


def entries(memory: Memory, *args: Any) -> EntriesReply:
    return memory.store.run(lambda: items_of(memory).entries(*args), write=False)


def operation_of(plan: Plan[Any]) -> Call:
    operation = step(plan)
    plan.close()
    assert isinstance(operation, Call)
    return operation


# ------------------------------------------------------------------------------ calls made again


def lost_in_between(memory: Memory, batch: ItemBatch, *others: ItemChange) -> tuple[BatchReply, BatchReply]:
    """Do a batch, let others change items, and do it once more, as if its reply had been lost; return both replies."""
    replies: list[Any] = []

    def execute(call: Call) -> Any:
        for operation in (call, repeated(call)):
            replies.append(memory.store.run(lambda operation=operation: once(operation), write=True))
            if others and len(replies) == 1:
                change(memory, *others, now=batch.now)
        return replies[0]

    def once(operation: Call) -> Plan[Any]:
        return (yield operation)

    first = run(items_of(memory).change(batch), execute)
    return first, BatchReply(replies[1][0][0], updated=replies[1][0][1] or ())


def test_a_change_with_a_condition_is_known_when_it_is_made_again(memory: Memory) -> None:
    batch = ItemBatch(NOW, changes=[put(A, expect=0), put(ItemKey(b"it\0", b"x")), put(B)])
    first, second = lost_in_between(memory, batch)
    assert first.outcome == second.outcome == "stored" and first.updated == second.updated
    assert change(memory, put(A, expect=first.updated[0]), now=NOW).outcome == "stored"
    assert change(memory, put(A, expect=first.updated[0]), now=NOW).outcome == "changed"


def test_what_another_put_meanwhile_is_not_taken_for_ones_own(memory: Memory) -> None:
    batch = ItemBatch(NOW, changes=[put(A, expect=0), ItemChange(*B, None)])
    first, second = lost_in_between(memory, batch, put(A, b"theirs"), put(B, b"theirs"))
    assert first.outcome == second.outcome == "stored"
    assert change(memory, put(A, expect=second.updated[0])).outcome == "changed"
    found = change(memory, reads=[A, B])
    assert [row and row.value for row in found.rows] == [b"theirs", b"theirs"]


def test_many_changes_with_conditions_are_remembered_but_not_all(memory: Memory) -> None:
    batch = ItemBatch(NOW, changes=[put(A, expect=0)])
    last = [put(ItemKey(A.space, b"%d" % n), expect=0) for n in range(30)]
    first, second = lost_in_between(memory, batch, *last[:5])
    assert second.outcome == "stored"
    for one in last[5:]:
        change(memory, one)
    query = f"SELECT max(length(tokens)) FROM charm_checkpoint.memory_space WHERE path = '\\x{A.space.hex()}'"
    with psycopg.connect(memory.location.driver_url(scheme="postgresql", drop=memory.location.query)) as connection:
        assert connection.execute(query.encode()).fetchone() == (480,)


def test_what_is_read_and_changed_at_once_is_not_tried_again(memory: Memory) -> None:
    items = items_of(memory)
    assert not operation_of(items.change(ItemBatch(NOW, [A], changes=[put(A)]))).again
    assert operation_of(items.change(ItemBatch(NOW, [B], changes=[put(A)]))).again
    assert operation_of(items.change(ItemBatch(NOW, [A], [A]))).function == "item_read"


# -------------------------------------------------------------------------------------- together


def test_writers_of_many_spaces_never_wait_in_a_circle(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    spaces = [b"i%d\0" % number for number in range(8)]

    def work(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(15):
            some = choose.sample(spaces, choose.randint(2, 8))
            changes = [
                put(ItemKey(space, b"k%d" % choose.randrange(3)), ttl=choose.choice([None, 5])) for space in some
            ]
            change(memory, *changes, touches=[ItemKey(space, b"k0") for space in choose.sample(spaces, 3)])
            if choose.random() < 0.2:
                memory.store.run(partial(items_of(memory).expire, NOW + 6, 100), write=True)
            if choose.random() < 0.2:
                memory.store.run(partial(items_of(memory).erase, choose.choice([b"i", b"i3\0"])), write=True)

    with open_memory(url) as memory, ThreadPoolExecutor(6) as pool:
        memory.setup()
        for done in [pool.submit(work, seed) for seed in range(6)]:
            done.result()
        found = [
            (space.space, sorted(entry.key for entry in space.entries))
            for space in entries(memory, b"i").spaces
        ]  # fmt: skip
        count = memory.store.run(partial(items_of(memory).count, b"i", 0), write=False)
        assert count == sum(len(keys) for _, keys in found)
        with psycopg.connect(url) as connection:
            [deadlocks] = connection.execute(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            )
            assert deadlocks == (0,)
            counts = connection.execute(
                "SELECT s.items, s.endless, count(i), count(i) FILTER (WHERE i.expires IS NULL),"
                " coalesce(max(i.stamp), 0) <= s.stamp, coalesce(max(i.updated), 0) <= s.newest"
                " FROM charm_checkpoint.memory_space s LEFT JOIN charm_checkpoint.memory_item i ON i.space = s.key"
                " GROUP BY s.key"
            ).fetchall()
            assert all(row[:2] == row[2:4] and row[4:] == (True, True) for row in counts)
            assert connection.execute(
                "SELECT count(*) FROM charm_checkpoint.memory_item i"
                " WHERE NOT EXISTS (SELECT FROM charm_checkpoint.memory_space s WHERE s.key = i.space)"
            ).fetchone() == (0,)
    postgres.drop_database(url)


def test_a_server_that_only_reads(tenant: str) -> None:
    with open_memory(tenant) as memory:
        change(memory, put(A), put(B, ttl=9))
    with open_memory(f"{tenant}&options=-c%20default_transaction_read_only%3Don") as memory:
        items, run = items_of(memory), memory.store.run
        assert [row and row.key for row in change(memory, reads=[A, B], touches=[A]).rows] == [b"a", b"b"]
        assert [entry.key for space in entries(memory, b"i").spaces for entry in space.entries]
        assert len(run(lambda: items.fetch([A, B]), write=False)) == 2
        assert [row.item for row in run(lambda: items.page(ItemQuery(b"i", NOW, 9)), write=False)] == [B, A]
        assert run(lambda: items.spaces(b"i", NOW), write=False) == [A.space]
        assert run(lambda: items.count(b"i", NOW), write=False) == run(lambda: items.usage(), write=False).items == 2
        for batch in (ItemBatch(NOW, changes=[put()]), ItemBatch(NOW, [B], [B])):
            with pytest.raises(ReadOnlyStore, match="name the primary server"):
                run(lambda batch=batch: items.change(batch), write=True)


# --------------------------------------------------------------------------------- large and many


def test_what_is_too_much_for_one_reply_comes_in_several(memory: Memory) -> None:
    values = {ItemKey(b"is\0", b"%d" % n): bytes([n]) * (ROOM * 2 // 5) for n in range(6)}
    change(memory, *(put(item, value) for item, value in values.items()))
    items = items_of(memory)
    sent: list[Call] = []

    def execute(call: Call) -> Any:
        sent.append(call)
        return memory.store.run(lambda: once(call), write=False)

    def once(call: Call) -> Plan[Any]:
        return (yield call)

    found = run(items.fetch([*values, A]), execute)
    assert {item: row.value for item, row in found.items()} == values and len(sent) == 3
    sent.clear()
    rows = run(items.page(ItemQuery(b"i", NOW, 5, skip=1)), execute)
    assert [(row.item, row.value) for row in rows] == list(reversed(values.items()))[1:] and len(sent) == 3
    sent.clear()
    assert len(run(items.page(ItemQuery(b"i", NOW, 1)), execute)) == 1 and len(sent) == 1


def test_pages_over_many_spaces_are_in_order(memory: Memory) -> None:
    choose = random.Random(3)
    stamps = {ItemKey(b"i%d\0" % choose.randrange(400), b"%d" % n): choose.randrange(1, 300) for n in range(900)}
    tag = b"some"
    change(memory, *(put(item, updated=at, tags=tag * (at % 7 == 0)) for item, at in stamps.items()))
    for oldest_first in (False, True):
        ordered = sorted(stamps, key=lambda item: (-stamps[item], item), reverse=oldest_first)
        for size, tags, right in ((7, (), ordered), (25, (tag,), [item for item in ordered if stamps[item] % 7 == 0])):
            listed: list[ItemKey] = []
            after = None
            while len(listed) <= len(right):
                query = ItemQuery(b"i", NOW, size, tags, after=after, oldest_first=oldest_first)
                rows = memory.store.run(lambda query=query: items_of(memory).page(query), write=False)
                listed += [row.item for row in rows]
                if len(rows) < size or len(listed) > 200:
                    break
                after = (rows[-1].updated, *rows[-1].item)
            assert listed == right[: len(listed)] and len(listed) > 100


def test_many_known_spaces_are_sent_only_if_something_has_changed(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pg_items, "MANY", 3)
    change(memory, *(put(ItemKey(b"i%d\0" % n, b"k")) for n in range(5)))
    reply = entries(memory, b"i")
    known = {space.space: space.stamp for space in reply.spaces}
    assert len(known) == 5 and all(len(space.entries) == 1 for space in reply.spaces)
    sizes: list[int] = []

    def execute(call: Call) -> Any:
        sizes.append(len(call.args[4]))
        return memory.store.run(lambda: once(call), write=False)

    def once(call: Call) -> Plan[Any]:
        return (yield call)

    assert run(items_of(memory).entries(b"i", known, reply.mark), execute).same and sizes == [0]
    change(memory, put(ItemKey(b"i3\0", b"new")), now=NOW + 5)
    told = run(items_of(memory).entries(b"i", known, reply.mark), execute)
    assert sizes == [0, 0, 5] and not told.same
    assert [[entry.key for entry in space.entries] for space in told.spaces] == [[], [], [], [b"new"], []]
    assert all(space.keys is None for space in told.spaces)
