"""First writes to threads in Redis under bad conditions: slow lines, wrong clocks, short lives, damage, no memory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis_clients import FIRST_WRITES, LARGE, SERVERS, Clients, clients_on, prepare
from stores import as_user

from charm_checkpoint import open_memory
from charm_checkpoint.contract import Usage
from charm_checkpoint.errors import StoreCorrupt, StoreError, StoreUnavailable
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.stores.redis import backend as redis_backend
from charm_checkpoint.stores.redis import thread_list
from charm_checkpoint.stores.redis.rows import Call, Calls
from charm_checkpoint.testing.samples import new, new_messages

LATER = 4_000_000_000
CHUNKS, MESSAGE_CHUNKS = 4, 6
"""Which of a thread's keys hold chunks."""


@pytest.fixture(params=SERVERS)
def clients(request: pytest.FixtureRequest) -> Iterator[Callable[[], Clients]]:
    yield from clients_on(request.param)


@pytest.mark.parametrize("listed", [False, True], ids=["anew", "listed before"])
@pytest.mark.parametrize("write", ["put", "put_messages", "copy_thread"])
def test_however_long_it_takes_to_send_much_ahead_it_is_written_and_sent_once(
    clients: Callable[[], Clients], write: str, listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_backend, "AHEAD", 100)
    at, sent = clients(), 0
    at.do(at.mine, "put", new("a", thread="source", chunks=[LARGE], roots=LARGE.address))
    if listed:
        at.do(at.mine, "append_messages", "t", b"m")
        at.do(at.other, "erase_thread", "t", 0)

    def around(driver: Any, operation: Any) -> Any:
        nonlocal sent
        reply = driver._execute(operation)
        if isinstance(operation, Call) and operation.script == "stage":
            sent += 1
            at.server.delete(at.intent)  # as it is when a minute is over
        return reply

    much: dict[str, tuple[Any, ...]] = {
        "put": (new("a", chunks=[LARGE], roots=LARGE.address),),
        "put_messages": (new_messages("x", LARGE),),
        "copy_thread": ("source", "t"),
    }
    assert at.do(at.mine, write, *much[write], around=around).outcome == "stored"
    assert at.listed() == at.holding() == {"source", "t"}
    assert sent == 1


@pytest.mark.parametrize("wrong", [-30, 30])
def test_a_clock_that_is_wrong_by_days_takes_no_thread_out_of_the_list(
    clients: Callable[[], Clients], wrong: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, clock = clients(), time.time
    shift = 0.0
    monkeypatch.setattr(time, "time", lambda: clock() + shift)
    with open_memory(at.url, ttl="1h") as one, open_memory(at.url, ttl="1h") as other:
        for number in range(60):
            # The one whose clock is wrong writes between those whose clock is right.
            shift = wrong * 86400.0 * (number % 2)
            at.do((one, other)[number % 2], "append_messages", f"t{number}", b"m")
    assert at.listed() == {f"t{number}" for number in range(60)}


@pytest.mark.parametrize("ttl", ["1s", "20s"])
def test_the_entry_lives_as_long_as_its_note_and_the_thread_that_is_written_then(
    clients: Callable[[], Clients], ttl: str
) -> None:
    at = clients()
    with open_memory(at.url, ttl=ttl) as memory:
        names = memory.store.backend._names  # type: ignore[attr-defined]
        listing = names.listing(names.tag("t"))
        life = 0

        def around(driver: Any, operation: Any) -> Any:
            nonlocal life
            reply = driver._execute(operation)
            if isinstance(operation, Calls):
                life = at.server.pttl(listing)
                assert life >= at.server.pttl(at.intent) + float(ttl[:-1]) * 1000
            return reply

        at.do(memory, "append_messages", "t", b"m", around=around)
        assert life


@pytest.mark.parametrize("clients", ["valkey"], indirect=True)
@pytest.mark.parametrize("write", FIRST_WRITES)
def test_beside_a_damaged_key_no_first_write_goes_unlisted(clients: Callable[[], Clients], write: str) -> None:
    done = 0
    for damaged in range(7):
        at = clients()
        prepare(at, write)
        names: Any = at.mine.store.backend
        tag = names._names.tag("t")
        at.server.set(names._names.thread(tag)[damaged], "another program's")
        try:
            at.do(at.mine, *FIRST_WRITES[write](), around=once_known(at))
        except StoreCorrupt:
            continue
        done += 1
        assert [entry for entry in at.server.zrange(names._names.listing(tag), 0, -1) if entry.startswith(tag)]
    assert done


def once_known(at: Clients) -> Callable[[Any, Any], Any]:
    """Return what takes the entry out that a write just made, as if it had been seen to before and was lost since."""
    names: Any = at.mine.store.backend
    taken = False

    def around(driver: Any, operation: Any) -> Any:
        nonlocal taken
        reply = driver._execute(operation)
        if isinstance(operation, Calls) and not taken:
            taken = True
            at.server.delete(names._names.listing(names._names.tag("t")), at.intent)
        return reply

    return around


def without_memory(at: Clients, write: str) -> str:
    """Try a write on a server that is at its maxmemory; return what it came to."""
    at.server.config_set("maxmemory", 1)
    try:
        at.do(at.mine, *FIRST_WRITES[write]())
    except StoreUnavailable as error:
        return str(error)
    finally:
        at.server.config_set("maxmemory", 0)
    return "it was written"


@pytest.mark.parametrize("clients", ["valkey"], indirect=True)
@pytest.mark.parametrize("known", [False, True], ids=["unknown", "listed before"])
@pytest.mark.parametrize("write", FIRST_WRITES)
def test_a_server_without_memory_refuses_a_first_write_whole_also_on_what_is_left_of_an_evicted_thread(
    clients: Callable[[], Clients], write: str, known: bool
) -> None:
    for gone in ([0, 5], [0], [5], [0, 1, 2, 3, 5]):
        at = clients()
        prepare(at, write)
        client = at.mine if known else at.other
        at.do(at.mine, "append_messages", "another", b"m")
        at.do(client, "put", new("z", chunks=[LARGE], roots=LARGE.address))
        at.do(client, "put_messages", new_messages("z", LARGE))
        names: Any = at.mine.store.backend
        at.server.delete(*[names._names.thread(names._names.tag("t"))[part] for part in gone])
        held = contents(at)
        assert "maxmemory; nothing was written" in without_memory(at, write)
        assert contents(at) == held


def contents(at: Clients) -> dict[bytes, Any]:
    """Return all keys with what they hold, but for those of what is sent ahead."""
    return {key: at.server.dump(key) for key in at.server.scan_iter("*") if b"ahead" not in key}


@pytest.mark.parametrize("known", ["lately", "an hour ago"])
def test_an_erased_thread_stays_erased_for_who_ran_while_the_server_was_emptied(
    clients: Callable[[], Clients], known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = clients()
    at.do(at.mine, "append_messages", "t", b"m")
    at.do(at.mine, "put", new("a"))
    for key in list(at.server.scan_iter(at.prefix + ":*")):
        at.server.delete(key)
    with open_memory(at.url) as newcomer:
        for memory in (newcomer, at.other):
            at.do(memory, "put", new("a"))
            seen = at.do(at.mine, "find", "t", "", None).state.deletes
            if known == "an hour ago":
                later = monotonic() + 4000.0
                monkeypatch.setattr(thread_list, "monotonic", lambda later=later: later)
            at.do(memory, "erase_thread", "t", LATER)
            assert at.do(at.mine, "put", new("b", "a", seen_deletes=seen)).outcome == "deleted"
            monkeypatch.undo()
    assert at.holding() == set()


def test_the_mark_of_the_layout_comes_back_with_a_thread_where_the_server_was_emptied(
    clients: Callable[[], Clients],
) -> None:
    at = clients()
    at.do(at.mine, "append_messages", "t", b"m")
    version = at.mine.store.backend._names.version()  # type: ignore[attr-defined]
    held = at.server.hgetall(version)
    assert int(held[b"version"]) > 1 and held[b"secret"]
    for key in list(at.server.scan_iter(at.prefix + ":*")):
        at.server.delete(key)
    at.do(at.mine, "append_messages", "t", b"m")
    assert at.server.hgetall(version) == held


@pytest.mark.parametrize("clients", ["valkey"], indirect=True)
def test_who_comes_anew_to_a_server_without_memory_can_erase(clients: Callable[[], Clients]) -> None:
    at = clients()
    at.do(at.mine, "append_messages", "t", b"m")
    at.do(at.mine, "pin", "t", True)
    at.server.config_set("maxmemory", 1)
    try:
        with open_memory(at.url) as newcomer:
            at.do(newcomer, "erase_thread", "t", 0)
    finally:
        at.server.config_set("maxmemory", 0)
    assert at.holding() == set()


@pytest.mark.parametrize("clients", ["valkey"], indirect=True)
def test_the_rights_that_the_manual_names_suffice(clients: Callable[[], Clients]) -> None:
    page = (Path(__file__).parent.parent / "docs/stores/redis.md").read_text("utf-8")
    [rights] = re.findall(r"`(\+@read \+@write [^`]*)`", page)
    at = clients()
    at.server.execute_command("ACL", "SETUSER", "worker", "on", ">pass-1", "~charm:*", *rights.split(), "+select")
    at.server.execute_command("ACL", "SETUSER", "idle", "on", ">pass-1", "~charm:*", "+@read", "+select")
    try:
        with open_memory(as_user(at.url, "worker:pass-1"), ttl="1h") as memory:
            for write in ("put", "put_writes", "put_messages", "append_messages"):
                at.do(memory, *FIRST_WRITES[write]())
            at.do(memory, "copy_thread", "t", "u")
            at.do(memory, "pin", "t", True)
            at.do(memory, "remove", "t", [("", "a")], None)
            at.do(memory, "erase_thread", "u", LATER)
            assert [row.thread_id for row in memory.threads()] == ["t"]
        with open_memory(as_user(at.url, "idle:pass-1")) as memory, pytest.raises(StoreError, match="ACL"):
            at.do(memory, "put", new("b"))
    finally:
        at.server.execute_command("ACL", "DELUSER", "worker", "idle")


@pytest.mark.parametrize("clients", ["valkey"], indirect=True)
@pytest.mark.parametrize("value", [b"", b"\0", b"\xff\xff\xff", b"cut"])
def test_a_thread_with_damaged_chunks_can_be_deleted(clients: Callable[[], Clients], value: bytes) -> None:
    at = clients()
    at.do(at.mine, "put", new("a", chunks=[LARGE], roots=LARGE.address))
    at.do(at.mine, "put_messages", new_messages("x", LARGE))
    names: Any = at.mine.store.backend
    for part in (CHUNKS, MESSAGE_CHUNKS):
        key = names._names.thread(names._names.tag("t"))[part]
        for field in at.server.hkeys(key):
            at.server.hset(key, field, value)
    at.mine.delete_thread("t")
    assert at.holding() == at.listed() == set()
    assert at.do(at.other, "usage", "t") == Usage()
