"""Keeping a Redis store for years: pins and times to live, what is left of erased threads, removals of much."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from children.jobs import add_item
from redis.crc import key_slot
from redis_clients import a_day_passes
from stores import have, redis_url, valkey_cluster_url, valkey_url

from charm_checkpoint import Memory, open_memory, plan
from charm_checkpoint.contract import Chunk, NewWrites, Query, ThreadState, Usage
from charm_checkpoint.stores.redis.slots import SLOTS, slot_of, slot_text
from charm_checkpoint.testing.samples import new, new_messages

LATER = 4_000_000_000


@pytest.fixture(params=[valkey_url, redis_url], ids=["valkey", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    return have(request.param)


@pytest.fixture
def server(url: str) -> Iterator[Any]:
    with redis.Redis.from_url(url) as client:
        yield client


def backend(memory: Memory) -> Any:
    """Return a store's backend, whose plans are run at once."""
    return Now(memory)


class Now:
    """Runs the plans of a store's backend; ``between`` is called before each of their operations."""

    def __init__(self, memory: Memory, between: Callable[[Any], object] = lambda operation: None) -> None:
        self.memory, self.between = memory, between
        memory.usage()

    def __getattr__(self, name: str) -> Any:
        make = getattr(self.memory.store.backend, name)
        driver: Any = self.memory.store.driver

        def execute(operation: Any) -> Any:
            self.between(operation)
            return driver._execute(operation)

        return lambda *args, **others: plan.run(make(*args, **others), execute)


# ------------------------------------------------------------------------------------- pins


def lives(server: Any) -> set[int]:
    """Return the times to live of the keys of threads."""
    return {
        server.pttl(key) for key in server.scan_iter("*}:*") if b"threads-" not in key and not key.endswith(b":run")
    }


def test_a_pinned_thread_does_not_expire_and_does_again_when_the_pin_is_taken_off(url: str, server: Any) -> None:
    with open_memory(url, ttl="1h", refresh_on_read=True) as memory:
        saver, store = memory.get_langgraph_checkpointer(), backend(memory)

        def use() -> None:
            at, _ = add_item(saver, "t")
            saver.put_writes(at, [("items", 1)], "task")
            memory.append_messages("t", [{"n": 1}])
            memory.load_messages("t")
            saver.prune(["t"])

        use()
        assert min(lives(server)) > 0
        store.pin("t", True)
        assert lives(server) == {-1}
        use()
        assert lives(server) == {-1}
        store.pin("t", False)
        assert min(lives(server)) > 0
        store.pin("t", True)
        memory.delete_thread("t")
        assert min(lives(server)) > 0


def test_a_pinned_thread_of_messages_only_stays_when_checkpoints_come_and_go(url: str, server: Any) -> None:
    with open_memory(url, ttl="1h") as memory:
        store = backend(memory)
        memory.append_messages("t", [{"n": 1}])
        store.pin("t", True)
        assert lives(server) == {-1}
        store.put(new("a"))
        assert lives(server) == {-1} and store.find("t", "", None).state.seq == 1
        assert [row.pinned for row in store.threads(None, 9).items] == [True]


def test_a_pinned_thread_stays_in_the_list_of_threads(url: str, server: Any) -> None:
    # Entries that are long out of date are taken out by their neighbours, here by any that comes.
    with open_memory(url, ttl="1h") as memory:
        store = backend(memory)
        for number in range(40):
            store.put(new("a", thread=f"pinned {number}"))
            store.pin(f"pinned {number}", True)
        for day in range(1, 5):
            a_day_passes(server)
            for number in range(60):
                store.put(new("a", thread=f"{day} {number}"))
        names = [row.thread for row in store.threads(None, 1000).items]
        assert {f"pinned {number}" for number in range(40)} <= set(names)
        assert len(names) < 40 + 4 * 60


# ------------------------------------------------------------------------------------- erased


def test_texts_for_slots_are_the_first_of_each() -> None:
    chance = random.Random(1)
    for slot in [0, 1, SLOTS - 1, *chance.sample(range(SLOTS), 300)]:
        assert key_slot(slot_text(slot)) == slot_of(slot_text(slot)) == slot
    letters = "@ABCDEFGHIJKLMNO"
    text = slot_text(slot_of(b"VLTjh5bJL68n_cxp8UO4eg")).decode()
    earlier = (a + b + c + d for a in letters for b in letters for c in letters for d in letters)
    wanted = slot_of(text.encode())
    assert next(one for one in earlier if slot_of(one.encode()) == wanted) == text


@pytest.mark.parametrize("place", [valkey_url, redis_url, valkey_cluster_url])
def test_nothing_tells_the_name_of_an_erased_thread_and_it_expires(place: Any) -> None:
    where = have(place)
    with open_memory(where) as memory:
        store = backend(memory)
        for number in range(20):
            store.put(new("a", thread=f"t{number}", body=b"1", run=f"run{number}"))
            assert store.erase_thread(f"t{number}", LATER) == Usage(1, 1, 0, 0, 1)
        plain, _, query = where.replace("+cluster", "").partition("?")
        client: Any = redis.RedisCluster.from_url(plain) if query else redis.Redis.from_url(plain)
        with client:
            found = {key: client.pttl(key) for key in client.scan_iter(count=10_000) if b"{" in key}
        prefix = memory.location.query.get("prefix", "charm").encode()
        graves = {key: life for key, life in found.items() if key.startswith(prefix + b":{") and b"}:erased:" in key}
        assert len(graves) == 20 and all(LATER * 999 < life + time.time() * 1000 for life in graves.values())
        names = memory.store.backend._names  # type: ignore[attr-defined]
        tags = [names.tag(f"t{number}") for number in range(20)]
        assert not any(tag in key for key in found if key.startswith(prefix) for tag in tags)
        assert not any(key.endswith(b":run") for key in found if key.startswith(prefix + b":{"))
        assert {key_slot(key) for key in graves} == {key_slot(names.thread(tag)[0]) for tag in tags}
        assert store.forget_erased(LATER) == 20
        assert store.find("t1", "", None).state == ThreadState()


def test_what_is_left_of_one_whose_time_is_over_stays_for_an_hour(url: str, server: Any) -> None:
    # Clocks differ, and who sweeps tells what it forgot.
    with open_memory(url) as memory:
        store = backend(memory)
        store.put(new("a"))
        store.erase_thread("t", 100)
        [grave] = server.scan_iter("*}:erased:*")
        assert 3_500_000 < server.pttl(grave) <= 3_600_000
        assert store.forget_erased(99) == 0 and store.forget_erased(100) == 1
        assert not list(server.scan_iter("*erased*"))


def test_a_run_that_comes_too_late_leaves_no_note(url: str, server: Any) -> None:
    with open_memory(url) as memory:
        store = backend(memory)
        store.put(new("a", run="r", seen_deletes=0))
        store.erase_thread("t", LATER)
        assert store.put(new("b", run="r", seen_deletes=0)).outcome == "deleted"
        assert not list(server.scan_iter("*:run"))


def test_the_secret_is_made_once_and_known_to_readers_of_before(url: str, server: Any) -> None:
    with open_memory(url) as reader, open_memory(url) as writer, open_memory(url) as third:
        late = backend(reader)
        assert late.find("t", "", None).state == ThreadState()
        assert not list(server.scan_iter("*"))  # looking stores nothing
        for store in (backend(writer), backend(third)):
            store.put(new("a", on_conflict="allow"))
        backend(writer).erase_thread("t", LATER)
        assert late.find("t", "", None).state.deletes == 1
        assert late.put(new("b", seen_deletes=0)).outcome == "deleted"
        assert backend(third).put(new("b", seen_deletes=0)).outcome == "deleted"


def test_keys_of_other_kinds_go_with_a_thread_that_is_erased(url: str, server: Any) -> None:
    with open_memory(url) as memory:
        store = backend(memory)
        names = memory.store.backend._names  # type: ignore[attr-defined]
        for part in range(7):
            thread = f"t{part}"
            store.put(new("a", thread=thread))
            store.put_messages(new_messages("x", thread=thread))
            key = names.thread(names.tag(thread))[part]
            server.delete(key)
            server.set(key, "damaged")
            store.erase_thread(thread, 0)
            assert not server.exists(*names.thread(names.tag(thread)))
        assert memory.usage().threads == 0


def test_the_memory_of_all_servers_is_told(url: str) -> None:
    for where in (url, have(valkey_cluster_url)):
        with open_memory(where) as memory:
            space = backend(memory).space()
            assert space.kind == "memory" and space.free is None and space.taken > 500_000
    assert space.taken > 3 * 500_000


# ------------------------------------------------------------------------------ large threads

LEAVES = 45


def chunks_of(name: str) -> tuple[list[Chunk], bytes]:
    """Return chunks of a checkpoint, and its roots: one that names all others."""
    leaves = [Chunk(address(f"{name} {n}"), b"", b"d" * 20) for n in range(LEAVES)]
    shared = Chunk(address("shared"), b"", b"shared")
    top = Chunk(address(f"top {name}"), b"".join(leaf.address for leaf in (*leaves, shared)), b"t")
    return [*leaves, shared, top], top.address


def address(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def put_large(store: Any, name: str, parent: str | None = None, ns: str = "", **others: Any) -> Any:
    chunks, roots = chunks_of(name)
    record = new(name, parent, ns=ns, chunks=chunks, roots=roots, on_conflict="allow", run=f"run {name[0]}", **others)
    return store.put(record)


@pytest.fixture
def large_url() -> str:
    return have(valkey_url)


@pytest.fixture
def large(large_url: str) -> Iterator[Memory]:
    """Return a store with a thread ``t`` of so many chunks that nothing is removed of it at once."""
    with open_memory(large_url) as memory:
        store = backend(memory)
        for n in range(90):
            put_large(store, f"c{n}", f"c{n - 1}" if n else None)
        for n in range(5):
            put_large(store, f"n{n}", ns="n")
        store.put_writes(NewWrites("t", "n", "early", b"w", None))
        store.put_writes(NewWrites("t", "", "c3", b"w" * 5, None))
        yield memory


def check(store: Any, ids: list[str]) -> None:
    """See that just these checkpoints are there, and just what they reach; sizes and runs are right."""
    page = store.page(Query("t"), None, 1000).items
    assert [item.row.id for item in page] == ids
    reached = {chunk.address: chunk for id in ids for chunk in chunks_of(id)[0]}
    held = store.chunks("t", list(reached))
    assert held.keys() == reached.keys()
    bodies = sum(len(item.row.body) + sum(map(len, item.writes)) for item in page)
    assert store.usage("t") == Usage(
        1, len(ids), sum(len(item.writes) for item in page), len(reached),
        bodies + sum(len(chunk.data) for chunk in reached.values()),
    )  # fmt: skip
    assert {id for run in ("run c", "run n", "run x") for _, _, id in store.runs([run])} == set(ids)


def doomed_of(ids: list[str]) -> list[tuple[str, str]]:
    return [("n" if id[0] == "n" else "", id) for id in ids]


def test_a_removal_from_a_large_thread_is_many_short_calls(large: Memory) -> None:
    scripts: list[str] = []
    store = Now(large, lambda operation: scripts.append(getattr(operation, "script", "")))
    state = store.find("t", "", None).state
    gone = [f"c{n}" for n in range(60)] + [f"n{n}" for n in range(5)]
    reply = store.remove("t", doomed_of(gone), state.seq)
    assert (reply.outcome, reply.state.sweeps) == ("stored", state.sweeps + 1)
    assert scripts.count("drop") >= 60 * LEAVES // 500 and scripts.count("strike") == 1
    check(store, [f"c{n}" for n in range(89, 59, -1)])
    assert store.find("t", "", None).head == "c89" and store.find("t", "n", None).head is None


def test_heads_move_and_what_was_not_expected_is_refused(large: Memory) -> None:
    store = backend(large)
    state = store.find("t", "", None).state
    assert store.remove("t", [("", "c1")], state.seq + 1).outcome == "changed"
    assert store.find("t", "", None).state == state
    store.remove("t", doomed_of(["c89", "c88", "c5", "not there", "n4"]), None)
    assert (store.find("t", "", None).head, store.find("t", "n", None).head) == ("c87", "n3")
    assert store.put(new("x", "c87", on_conflict="raise")).outcome == "stored"


WRITERS: dict[str, Callable[[Any], object]] = {
    "a checkpoint that takes up chunks that are to go": lambda store: put_large(store, "c7", "c89"),
    "another in a new namespace": lambda store: put_large(store, "x1", ns="x"),
    "one in the place of another": lambda store: store.put(
        new("c80", "c79", roots=chunks_of("c9")[1], chunks=chunks_of("c9")[0], on_conflict="allow", run="run c")
    ),
    "writes": lambda store: store.put_writes(NewWrites("t", "", "c85", b"w", None)),
    "another removal": lambda store: store.remove("t", doomed_of(["c70", "c71"]), None),
    "messages": lambda store: store.append_messages("t", b"m"),
}


LOOKS = ["rows", "refs", "strike", "drop"]


@pytest.mark.parametrize("what", WRITERS)
def test_whatever_is_written_meanwhile_nothing_dangles(large_url: str, large: Memory, what: str) -> None:
    left = [*LOOKS, *LOOKS]
    with open_memory(large_url) as other:
        writer = backend(other)

        def between(operation: Any) -> None:
            if getattr(operation, "script", "") in left:
                left.remove(operation.script)
                WRITERS[what](writer)

        store = Now(large, between)
        assert store.remove("t", doomed_of([f"c{n}" for n in range(60)]), None).outcome == "stored"
        assert len(left) <= 2  # what has changed is tried again
        page = store.page(Query("t"), None, 1000).items
        reached = {name for item in page for name in (item.row.roots, *_refs(store, item.row.roots))}
        assert set(store.chunks("t", list(reached))) == reached
        assert store.usage("t").chunks == len(reached)
        assert writer.find("t", "", "c30").row is None


def _refs(store: Any, root: bytes) -> list[bytes]:
    refs = store.chunks("t", [root])[root].refs
    return [refs[at : at + 16] for at in range(0, len(refs), 16)]


@pytest.mark.parametrize("how", ["delete_thread", "erase_thread"])
@pytest.mark.parametrize("script", ["refs", "drop"])
def test_a_thread_that_goes_meanwhile_is_gone(large_url: str, large: Memory, how: str, script: str) -> None:
    with open_memory(large_url) as other:
        writer, times = backend(other), 0

        def between(operation: Any) -> None:
            nonlocal times
            if getattr(operation, "script", "") == script and times == 0:
                times = 1
                getattr(writer, how)(*(("t", LATER) if how == "erase_thread" else ("t",)))
                put_large(writer, "x1", ns="x")

        store = Now(large, between)
        assert store.remove("t", doomed_of([f"c{n}" for n in range(60)]), None).outcome == "stored"
        check(writer, ["x1"])
