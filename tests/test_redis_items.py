"""What is Redis's own of long-term memory: the list of spaces is never short of one, and round trips are few."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stores import as_user, have, valkey_cluster_server, valkey_cluster_url, valkey_server, valkey_url

from charm_checkpoint import open_memory
from charm_checkpoint import plan as plans
from charm_checkpoint.contract_items import ItemBatch, ItemKey, ItemQuery, ItemUsage
from charm_checkpoint.errors import SchemaMismatch, StoreError, StoreUnavailable
from charm_checkpoint.memory import Memory
from charm_checkpoint.servers import valkey
from charm_checkpoint.stores.redis import driver as redis_driver
from charm_checkpoint.stores.redis import item_list, items
from charm_checkpoint.stores.redis.connections import exchange
from charm_checkpoint.stores.redis.item_rows import INTENT, ORDER, ROWS, ItemNames
from charm_checkpoint.stores.redis.rows import Call, Calls
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode, ItemsInMode
from charm_checkpoint.testing.items_samples import HOUR, NOW, delete, do, keys, listed, put, read, stored

redis = pytest.importorskip("redis")
key_slot: Callable[[bytes], int] = pytest.importorskip("redis.crc").key_slot


@pytest.fixture
def url() -> str:
    return have(valkey_url)


@pytest.fixture
def server(url: str) -> Iterator[Any]:
    """Yield a client of the same database, to look behind the store's back."""
    with redis.Redis.from_url(url, protocol=2) as client:
        yield client


@pytest.fixture
def memory(url: str, mode: CallMode) -> Iterator[Memory]:
    memory = open_memory(url)
    yield memory
    InMode(memory, mode).close()


@pytest.fixture
def held(memory: Memory, mode: CallMode) -> ItemsInMode:
    return ItemsInMode(memory.store, mode)


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which every round trip of a blocking call adds how many commands it was."""
    found: list[int] = []

    def counted(commands: Any, *rest: Any) -> Any:
        found.append(len(commands))
        return exchange(commands, *rest)

    monkeypatch.setattr(redis_driver, "exchange", counted)
    return found


def paths(server: Any) -> set[bytes]:
    """Return the spaces that are listed."""
    return set(server.zrange("charm:{spaces-}:paths", 0, -1))


def holding(server: Any, *candidates: bytes) -> set[bytes]:
    """Return those of these spaces that hold an item."""
    names = ItemNames("charm", "")
    return {path for path in candidates if server.exists(names.keys(path)[ROWS])}


# ------------------------------------------------------------------------- the list of spaces


class Crash(BaseException):
    """Ends a plan, as the end of its process does."""


def crashing(memory: Memory, make: Callable[[], Any], step: int, how: str) -> bool:
    """Run a plan that ends before, in the midst of or after its n-th operation; tell whether it came to that."""
    driver: Any = memory.store.driver
    count = 0

    def execute(operation: Any) -> Any:
        nonlocal count
        count += 1
        if count == step and how == "before":
            raise Crash
        if count == step and how == "amid" and isinstance(operation, Calls):
            driver._execute(Calls(operation.calls[: len(operation.calls) // 2]))
            raise Crash
        reply = driver._execute(operation)
        if count == step:
            raise Crash
        return reply

    try:
        plans.run(make(), execute)
    except Crash:
        return True
    return False


@pytest.mark.parametrize("how", ["before", "amid", "after"])
@pytest.mark.parametrize("work", ["put", "delete", "expire", "erase", "read"])
def test_a_space_that_holds_items_is_listed_wherever_a_process_ends(url: str, server: Any, work: str, how: str) -> None:
    spaces = [b"a", b"ab", b"b"]
    puts = [put(b"k", space=space, ttl=None if space == b"b" else 10) for space in spaces]
    for step in range(1, 12):
        server.flushdb()
        with open_memory(url) as memory:
            backend: Any = memory.store.items
            run = memory.store.run
            if work != "put":
                run(lambda: backend.change(ItemBatch(NOW, changes=puts)), write=True)  # noqa: B023
            if work == "read":
                # The list has what is empty, and lacks what is not.
                server.unlink(ItemNames("charm", "").keys(b"ab")[ROWS])
                server.zrem("charm:{spaces-}:paths", b"a")
            make = {
                "put": lambda: backend.change(ItemBatch(NOW, changes=puts)),  # noqa: B023
                "delete": lambda: backend.change(ItemBatch(NOW, changes=[delete(b"k", s) for s in spaces])),  # noqa: B023
                "expire": lambda: backend.expire(NOW + 10, 2),  # noqa: B023
                "erase": lambda: backend.erase(b"a"),  # noqa: B023
                "read": lambda: backend.entries(b"a"),  # noqa: B023
            }[work]
            came = crashing(memory, make, step, how)
            if work != "read":
                assert holding(server, *spaces) <= paths(server), step
        for path in spaces:
            server.unlink(ItemNames("charm", "").keys(path)[INTENT])  # which does not last long
        with open_memory(url) as memory:
            run = memory.store.run
            backend = memory.store.items
            if work == "read":
                run(lambda: backend.entries(b"a"), write=False)  # noqa: B023
            assert set(run(lambda: backend.spaces(b"", NOW), write=False)) == holding(server, *spaces)  # noqa: B023
            assert paths(server) == holding(server, *spaces), "what is empty is no longer listed"
        if not came:
            break
    else:
        pytest.fail("this takes more than a few steps")
    assert step > 2


def test_who_is_about_to_put_a_first_item_is_not_in_vain(url: str, server: Any) -> None:
    # Somebody meets the space that is listed and empty, and takes it out, between listing and putting.
    names = ItemNames("charm", "")
    [intent] = [names.keys(b"s")[INTENT]]
    with open_memory(url) as memory, open_memory(url) as other:
        backend: Any = memory.store.items
        reader: Any = other.store.items
        driver: Any = memory.store.driver
        attempts: list[bool] = []

        def execute(operation: Any) -> Any:
            if isinstance(operation, Call) and operation.script == "item_change":
                attempts.append(b"s" in paths(server))
                if len(attempts) in (2, 3):
                    server.pexpire(intent, 1000)  # as if it took long
                    other.store.run(lambda: reader.spaces(b"", NOW), write=False)
                    assert paths(server) == set()
                if len(attempts) == 4:
                    other.store.run(lambda: reader.spaces(b"", NOW), write=False)
                    assert paths(server) == {b"s"}, "who has just come is left in peace"
            return driver._execute(operation)

        plans.run(backend.change(ItemBatch(NOW, changes=[put(b"k")])), execute)
        assert attempts == [False, True, True, True]
        assert paths(server) == holding(server, b"s") == {b"s"}
        assert not server.exists(intent)


def test_a_slow_reader_takes_out_no_entry_that_was_made_since(url: str, server: Any) -> None:
    with open_memory(url) as memory, open_memory(url) as other:
        backend: Any = memory.store.items
        driver: Any = memory.store.driver
        writer = ItemsInMode(other.store, CALL_MODES["blocking"]())
        stored(writer, put(b"k"))
        server.unlink(ItemNames("charm", "").keys(b"s")[ROWS])
        struck = 0

        def execute(operation: Any) -> Any:
            nonlocal struck
            if isinstance(operation, Calls) and operation.calls[0].key == b"charm:{spaces-}:paths" and struck == 0:
                scripts = [call.script for call in operation.calls if isinstance(call, Call)]
                if scripts == ["item_strike"]:
                    stored(writer, put(b"k"))
                    struck += 1
            return driver._execute(operation)

        plans.run(backend.spaces(b"", NOW), execute)
        assert struck == 1
        assert paths(server) == holding(server, b"s") == {b"s"}


def test_who_never_gets_to_put_an_item_is_told(url: str, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    intent = ItemNames("charm", "").keys(b"s")[INTENT]
    original = item_list.SpaceList.enter

    def enter(self: Any, *args: Any) -> Any:
        yield from original(self, *args)
        server.unlink(intent)

    monkeypatch.setattr(item_list.SpaceList, "enter", enter)
    with open_memory(url) as memory, pytest.raises(StoreUnavailable, match="try again"):
        memory.store.run(lambda: memory.store.items.change(ItemBatch(NOW, changes=[put(b"k")])), write=True)  # type: ignore[union-attr]
    assert holding(server, b"s") == set()


def test_writers_readers_and_sweepers_at_once(url: str, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spaces = [b"s%d" % number for number in range(4)]
    scale = int(os.environ.get("CHARM_TEST_SCALE", "1"))
    wrong: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with open_memory(url) as memory:
                held = ItemsInMode(memory.store, CALL_MODES["blocking"]())
                for count in range(60 * scale):
                    space = spaces[(number * 7 + count * (number + 1)) % 4]
                    now = NOW + count
                    if number < 3:
                        stored(held, put(b"k", space=space, ttl=5 if count % 3 else None), now=now)
                        stored(held, delete(b"k", space), now=now)
                    elif number == 3:
                        held.expire(now, 2)
                    else:
                        held.entries(b"")
                        server.unlink(*(ItemNames("charm", "").keys(path)[INTENT] for path in spaces))
                if number < 3:
                    stored(held, put(b"last", space=spaces[number]))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert holding(server, *spaces) <= paths(server)
    assert set(spaces[:3]) <= holding(server, *spaces)


def test_a_list_that_was_lost_comes_back(url: str, server: Any, memory: Memory, held: ItemsInMode) -> None:
    stored(held, put(b"k", space=b"a"), put(b"k", space=b"ab"), put(b"k", space=b"b"))
    server.unlink("charm:{spaces-}:paths", "charm:{spaces-}:tokens")
    assert held.spaces(b"", NOW) == []
    # Who asks for a space by its name finds it, and has it listed again; and so does a program that puts there.
    [found] = held.entries(b"a").spaces
    assert (found.space, paths(server)) == (b"a", {b"a"})
    with open_memory(url) as other:
        stored(ItemsInMode(other.store, held.mode), put(b"other", space=b"b"))
        InMode(other, held.mode).close()
    assert held.spaces(b"", NOW) == [b"a", b"b"]


def test_what_was_emptied_leaves_no_name(server: Any, held: ItemsInMode) -> None:
    stored(held, put(b"secret key", b"secret", b"secret path", ttl=5, entry=b"secret", vectors=b"secret"))
    stored(held, put(b"secret key", b"secret", b"secret other"), put(b"secret key", b"secret", b"secret third"))
    stored(held, delete(b"secret key", b"secret other"))
    assert held.erase(b"secret t") == 1
    assert held.expire(NOW + 5, 9) == 1
    left = set(server.scan_iter(count=10_000))
    assert {key.rpartition(b":")[2] for key in left} == {b"space", b"item-done", b"version"}
    assert all(0 < server.pttl(key) <= 86_400_000 for key in left if not key.endswith(b"version"))
    assert not any(b"secret" in server.dump(key) + key for key in left)


def test_stamps_do_not_go_back_where_a_clock_is_set_back(held: ItemsInMode) -> None:
    stored(held, put(b"old", entry=b"old"))
    [known] = held.entries(b"s").spaces
    [removed] = stored(held, delete(b"old"), now=NOW + 5)
    stamps = [stored(held, put(b"new %d" % n), now=NOW - HOUR)[0] for n in range(3)]
    assert stamps == [removed + 1, removed + 2, removed + 3]
    [space] = held.entries(b"s", {b"s": known.stamp}).spaces
    assert {entry.key for entry in space.entries} == set(space.keys or ()) == {b"new 0", b"new 1", b"new 2"}


# ------------------------------------------------------------------------- calls and their number


def test_round_trips(url: str, trips: list[int]) -> None:
    def count(work: Callable[[], Any]) -> int:
        work()  # which teaches the server its scripts
        trips.clear()
        work()
        return len(trips)

    with open_memory(url) as memory:
        held = ItemsInMode(memory.store, CALL_MODES["blocking"]())
        many = [b"u\0%d\0" % number for number in range(100)]
        stored(held, *(put(b"k", space=path, entry=b"e", vectors=b"v") for path in (b"s", *many)))
        assert count(lambda: stored(held, put(b"k"))) == 1
        assert count(lambda: stored(held, put(b"k"), *(put(b"k", space=path) for path in many))) == 1
        assert count(lambda: do(held, reads=keys(b"k"), touches=keys(b"k"))) == 1
        assert count(lambda: held.fetch([ItemKey(path, b"k") for path in many])) == 1
        assert count(lambda: listed(held, b"s", size=10)) == 1
        assert count(lambda: listed(held, b"u", size=10)) == 2
        assert count(lambda: held.spaces(b"u", NOW)) == 2
        # A search: the first time, when nothing has changed, and when something has.
        assert count(lambda: held.entries(b"s")) == 1
        assert count(lambda: held.entries(b"u")) == 2
        known = {space.space: space.stamp for space in held.entries(b"").spaces}
        assert count(lambda: held.entries(b"s", {b"s": known[b"s"]})) == 1
        assert count(lambda: held.entries(b"u", known)) == 1
        stored(held, put(b"k", space=many[7]))
        assert count(lambda: held.entries(b"u", known)) == 2
        trips.clear()
        assert stored(held, *(put(b"k", space=b"fresh %d" % number) for number in range(100)))
        assert len(trips) == 3


def test_a_cluster_is_asked_twice_a_node_at_most(trips: list[int]) -> None:
    with open_memory(have(valkey_cluster_url)) as memory:
        held = ItemsInMode(memory.store, CALL_MODES["blocking"]())
        names: ItemNames = memory.store.items._names  # type: ignore[union-attr]
        many = [b"u\0%d\0" % number for number in range(60)]
        stored(held, *(put(b"k%d" % n, space=path, entry=b"e") for path in many for n in range(3)))
        slots = {path: {key_slot(key) for key in (*names.keys(path), names.stage(path, b"t"))} for path in many}
        assert {len(found) for found in slots.values()} == {1}
        nodes = len(have(valkey_cluster_server).nodes)
        held.entries(b"u")
        trips.clear()
        reply = held.entries(b"u")
        assert len(reply.spaces) == 60 and len(trips) <= 2 * nodes
        known = {space.space: space.stamp for space in reply.spaces}
        trips.clear()
        assert all(not space.entries and space.keys is None for space in held.entries(b"u", known).spaces)
        assert len(trips) <= nodes
        assert held.usage(b"u").items == held.count(b"u", NOW) == held.erase(b"u") == 180
        assert held.usage() == ItemUsage()


@pytest.mark.parametrize("place", [valkey_url, valkey_cluster_url])
@pytest.mark.parametrize("spaces", [1, 5])
def test_a_call_whose_reply_was_lost_is_known(place: Any, monkeypatch: pytest.MonkeyPatch, spaces: int) -> None:
    lost: list[int] = []

    def losing(commands: Any, *rest: Any) -> Any:
        replies = exchange(commands, *rest)
        if lost and lost.pop():
            raise redis.ConnectionError("lost")
        return replies

    monkeypatch.setattr(redis_driver, "exchange", losing)
    with open_memory(have(place)) as memory:
        held = ItemsInMode(memory.store, CALL_MODES["blocking"]())
        many = [b"s%d" % number for number in range(spaces)]
        stored(held, *(put(b"k%d" % n, space=path, ttl=9 if n == 2 else None) for path in many for n in range(5)))
        changes = [
            change
            for path in many
            for change in (
                put(b"k0", b"new", path, expect=NOW), delete(b"k1", path), delete(b"none", path),
                put(b"x", space=path, updated=7), put(b"y", space=path),
            )
        ]  # fmt: skip
        stored(held, delete(b"nothing"))  # so that the script is known everywhere
        lost.append(1)
        reply = do(held, *changes, now=NOW + 100)
        assert not lost and reply.outcome == "stored"
        assert list(reply.updated) == [NOW + 100, NOW + 101, 0, 7, NOW + 103] * spaces
        for path in many:
            lost.append(1)
            assert held.expire(NOW + 9, 9) == (spaces if path == many[0] else 0)
            lost.clear()
        lost.extend([1, 0])
        assert stored(held, put(b"first", space=b"fresh")) == [NOW]
        assert held.spaces(b"f", NOW) == [b"fresh"]
        assert held.count(b"s", NOW) == 5 * spaces


# ------------------------------------------------------------------------------- large ones


@pytest.mark.parametrize("place", [valkey_url, valkey_cluster_url])
def test_large_values_are_sent_ahead(place: Any, mode: CallMode, monkeypatch: pytest.MonkeyPatch) -> None:
    original, lost = items.RedisItems._send_ahead, []

    def send_ahead(self: Any, share: Any) -> Any:
        yield from original(self, share)
        if not lost:
            lost.append((yield items.Command(("UNLINK", share.stage))))

    size = 5 << 20 if mode.name == "blocking" and place is valkey_url else 1 << 17
    monkeypatch.setattr(items, "AHEAD", size - 1)
    monkeypatch.setattr(items.RedisItems, "_send_ahead", send_ahead)
    with open_memory(have(place)) as memory:
        held = ItemsInMode(memory.store, mode)
        values = [os.urandom(size) for _ in range(3)]
        changes = [put(b"k%d" % n, value, b"s%d" % (n // 2), vectors=b"v") for n, value in enumerate(values)]
        stamps = stored(held, *changes)
        assert (stamps, lost) == ([NOW, NOW + 1, NOW], [1])
        assert do(held, *(put(c.key, b"no", c.space, expect=1) for c in changes)).outcome == "changed"
        refused = [put(c.key, os.urandom(size), c.space, expect=1) for c in changes]
        assert do(held, *refused).outcome == "changed"
        found = held.fetch([change.item for change in changes])
        assert [found[change.item].value for change in changes] == values
        assert [row.value for row in held.page(ItemQuery(b"s", NOW, 9))] == [values[1], values[0], values[2]]
        assert held.usage().payload_bytes == 3 * size + 9
        if place is valkey_url:
            with redis.Redis.from_url(memory.location.raw) as server:
                assert not list(server.scan_iter("*:ahead:*"))
        InMode(memory, mode).close()


def test_what_is_told_in_parts_is_told_whole(held: ItemsInMode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "REPLY_BYTES", 20_000)
    names = [b"%d" % number for number in range(1500)]
    stored(held, *(put(name, space=b"s%d" % (n % 2), entry=b"e" * 50) for n, name in enumerate(names)))
    reply = held.entries(b"s")
    assert sorted(entry.key for space in reply.spaces for entry in space.entries) == sorted(names)
    assert sorted(key for space in reply.spaces for key in space.keys or ()) == sorted(names)
    known = {space.space: NOW - 1 for space in reply.spaces}
    assert sum(len(space.entries) for space in held.entries(b"s", known).spaces) == 1500
    wanted = [ItemKey(space.space, entry.key) for space in reply.spaces for entry in space.entries]
    assert held.fetch(wanted).keys() == set(wanted)


def test_a_space_that_changes_while_it_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "REPLY_BYTES", 20_000)
    with open_memory(url) as memory:
        held = ItemsInMode(memory.store, CALL_MODES["blocking"]())
        stored(held, *(put(b"%d" % n, entry=b"e" * 50) for n in range(1500)))
        driver: Any = memory.store.driver
        backend: Any = memory.store.items
        count = 0

        def execute(operation: Any) -> Any:
            nonlocal count
            count += 1
            reply = driver._execute(operation)
            if count == 1:
                stored(held, delete(b"0"), put(b"1", entry=b"new"), put(b"more"), now=NOW + HOUR)
            return reply

        [space] = plans.run(backend.entries(b"s"), execute).spaces
        assert count > 1 and space.stamp == NOW + HOUR + 2
        entries = {entry.key: entry.entry for entry in space.entries}
        assert entries.keys() == set(space.keys) == {b"%d" % n for n in range(1, 1500)} | {b"more"}
        assert entries[b"1"] == b"new" and len(space.entries) == len(entries)


# --------------------------------------------------------------- servers that refuse, and versions


def test_a_server_without_memory_left(mode: CallMode) -> None:
    with have(lambda: valkey("--maxmemory-policy", "noeviction")) as server, open_memory(server.url) as memory:
        held = ItemsInMode(memory.store, mode)
        stored(held, put(b"k", ttl=10), put(b"gone"), put(b"k", space=b"other"))
        [before], usage = held.entries(b"s").spaces, held.usage()
        server.ask("CONFIG", "SET", "maxmemory", 1)
        for changes in ([put(b"k"), put(b"new")], [delete(b"gone"), put(b"new")], [put(b"new", space=b"fresh")]):
            with pytest.raises(StoreUnavailable, match="maxmemory; nothing was written"):
                do(held, *changes)
        [row] = do(held, reads=keys(b"k"), touches=keys(b"k"), now=NOW + 5).rows
        assert row is not None and row.expires == NOW + 10
        assert (held.entries(b"s").spaces, held.usage()) == ([before], usage)
        # What makes room still works.
        assert stored(held, delete(b"gone"), now=NOW + 1) == [NOW + 2]
        assert (held.expire(NOW + 10, 9), held.erase(b"o")) == (1, 1)
        server.ask("CONFIG", "SET", "maxmemory", 0)
        assert held.spaces(b"", NOW) == []
        stored(held, put(b"k"))
        InMode(memory, mode).close()


def test_replicas_that_do_not_confirm(url: str, mode: CallMode) -> None:
    with open_memory(url, wait_replicas=1, timeout="1s") as memory:
        held = ItemsInMode(memory.store, mode)
        assert (held.spaces(b"", NOW), read(held, *keys(b"k"))) == ([], [None])
        memory.store.items._layout._marked = 3  # type: ignore[union-attr]
        for paths_of in ([b"s"], [b"s", b"t"]):
            with pytest.raises(StoreUnavailable, match="only 0 of 1 replicas"):
                do(held, *(put(b"k", space=path) for path in paths_of))
        InMode(memory, mode).close()


def test_a_user_who_may_only_read(url: str, server: Any, mode: CallMode, held: ItemsInMode) -> None:
    stored(held, put(b"k", ttl=10), put(b"k", space=b"empty"))
    server.unlink(ItemNames("charm", "").keys(b"empty")[ROWS])
    rights = ("~*", "+@read", "+@connection", "+@scripting", "+info")
    valkey_server().ask("ACL", "SETUSER", "looker", "on", ">pass-1", *rights)
    try:
        with open_memory(as_user(url, "looker:pass-1")) as memory:
            looker = ItemsInMode(memory.store, mode)
            [row] = do(looker, reads=keys(b"k"), touches=keys(b"k"), now=NOW + 5).rows
            assert row is not None and row.expires == NOW + 10
            assert listed(looker) == keys(b"k")
            assert [space.space for space in looker.entries(b"").spaces] == looker.spaces(b"", NOW) == [b"s"]
            with pytest.raises(StoreError, match="ACL"):
                do(looker, put(b"new"))
            InMode(memory, mode).close()
        assert paths(server) == {b"s", b"empty"}
    finally:
        valkey_server().ask("ACL", "DELUSER", "looker")


def test_the_mark_of_items(url: str, server: Any, memory: Memory, held: ItemsInMode) -> None:
    assert read(held, *keys(b"k")) == [None]
    stored(held, delete(b"k"))
    assert not server.keys("*")
    with open_memory(url) as earlier:
        earlier.load_messages("t")
        stored(held, put(b"k"))
        [key] = server.keys("*:version")
        assert server.hget(key, "version") == b"3"
        earlier.append_messages("t", [{"n": 1}])
        assert server.hget(key, "version") == b"3", "who did not know of items takes nothing back"
    server.hset(key, "version", 4)
    with open_memory(url) as newer, pytest.raises(SchemaMismatch, match="version 4; .*Upgrade"):
        newer.store.run(lambda: newer.store.items.spaces(b"", NOW), write=False)  # type: ignore[union-attr]


def test_what_is_stored_is_what_the_formats_page_says(server: Any, held: ItemsInMode) -> None:
    stored(held, put(b"k", created=1, updated=2, tags=b"tags"), put(b"j", created=1, updated=2, ttl=3), now=1)
    names = ItemNames("charm", "").keys(b"s")
    assert server.hgetall(names[ROWS]) == {b"k": b"1 2   tags", b"j": b"1 2 3 4 "}
    assert server.zrange(names[ORDER], 0, -1, withscores=True) == [(b"j", 2.0), (b"k", 2.0)]


def test_times_keep_every_microsecond(server: Any, held: ItemsInMode) -> None:
    latest = 2**53 - 1000
    stored(held, put(b"a", ttl=7), put(b"b"), now=latest)
    rows = read(held, *keys(b"a", b"b"), now=latest)
    assert [(row.updated, row.expires) for row in rows if row] == [(latest, latest + 7), (latest + 1, None)]
    assert listed(held, now=latest, after=(latest + 1, b"s", b"b")) == keys(b"a")


def test_the_option_ttl_is_of_threads(url: str, server: Any) -> None:
    with open_memory(url, ttl="200ms") as memory:
        held = ItemsInMode(memory.store, CALL_MODES["blocking"]())
        memory.append_messages("t", [{"n": 1}])
        stored(held, put(b"k"))
        time.sleep(0.3)
        assert memory.load_messages("t") == []
        assert listed(held) == keys(b"k")
        assert {server.pttl(key) for key in server.scan_iter("*:item-[rvo]*")} == {-1}
