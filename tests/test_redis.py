"""What is Redis's own: keys that expire together, lists beside the data, one call for each call."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from children.jobs import add_item, config, id_of, item, items, put
from langgraph.checkpoint.base import empty_checkpoint
from redis_clients import a_day_passes
from stores import have, valkey_cluster_url, valkey_server, valkey_url

from charm_checkpoint import open_memory
from charm_checkpoint.contract import Usage
from charm_checkpoint.errors import SchemaMismatch
from charm_checkpoint.memory import Memory
from charm_checkpoint.stores.redis import backend as redis_backend
from charm_checkpoint.stores.redis import driver as redis_driver
from charm_checkpoint.stores.redis import erasing as redis_erasing
from charm_checkpoint.stores.redis import item_list as redis_item_list
from charm_checkpoint.stores.redis import items as redis_items
from charm_checkpoint.stores.redis import layout as redis_layout
from charm_checkpoint.stores.redis import thread_list as redis_thread_list
from charm_checkpoint.stores.redis import threads as redis_threads
from charm_checkpoint.stores.redis.connections import exchange
from charm_checkpoint.stores.redis.driver import script
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode, PlansInMode
from charm_checkpoint.testing.samples import checkpoint, new_messages

redis = pytest.importorskip("redis")


@pytest.fixture
def url() -> str:
    return have(valkey_url)


@pytest.fixture
def server(url: str) -> Iterator[Any]:
    """Yield a client of the same database, to look behind the store's back."""
    with redis.Redis.from_url(url, protocol=2) as client:
        yield client


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    mode = CALL_MODES[request.param]()
    yield mode
    mode.close()


def keys(server: Any) -> list[bytes]:
    """Return all keys but the one of the layout's version and the store's secret."""
    return [key for key in server.scan_iter(count=10_000) if not key.endswith(b":version")]


def names(server: Any) -> set[str]:
    return {key.decode().rpartition(":")[2] for key in keys(server)}


def fill(memory: Memory, thread: str = "t") -> Any:
    """Store a bit of everything in a thread, and return its last config."""
    saver = memory.get_langgraph_checkpointer()
    for run in ("first", "second"):
        at, count = add_item(saver, thread, run_id=run)
        at = put(saver, at, {"items": items(30)}, run_id=run)
        saver.prune([thread])
        at = put(saver, at, {"items": []}, run_id=run)
        saver.put_writes(at, [("items", item(count))], "task")
    memory.save_messages(thread, [{"content": text} for text in items(40)])
    return at


# --------------------------------------------------------------------------------- time to live


def test_all_of_a_thread_expires_together_and_nothing_is_left(url: str, server: Any) -> None:
    with open_memory(url, ttl="1500ms") as memory:
        fill(memory)
        memory.delete_thread("deleted")
        fill(memory, "deleted")
        memory.delete_thread("deleted")
        memory.get_langgraph_checkpointer().copy_thread("t", "copy")
        lives = {key: server.pttl(key) for key in keys(server)}
        assert lives and all(0 < life <= 3000 for life in lives.values()), lives
        threads = [life for key, life in lives.items() if b"threads-" not in key]
        assert max(threads) <= 1500
        assert {"state", "rows", "order", "writes", "chunks", "messages", "message-chunks"} <= names(server)
        time.sleep(1.6)
        assert memory.get_langgraph_checkpointer().get_tuple(config("t")) is None
        assert memory.load_messages("t") == []
        assert memory.usage() == Usage()
    time.sleep(1.6)
    assert keys(server) == []


@pytest.mark.parametrize("refresh", [False, True])
def test_reading_keeps_a_thread_alive_only_when_asked_to(url: str, server: Any, refresh: bool) -> None:
    with open_memory(url, ttl="1s", refresh_on_read=refresh) as memory:
        saver = memory.get_langgraph_checkpointer()
        at, _ = add_item(saver, "t")
        saver.put_writes(at, [("items", 1)], "task")
        memory.save_messages("t", [{"n": 1}])
        add_item(saver, "unread")
        for _ in range(5):
            time.sleep(0.3)
            found = saver.get_tuple(config("t"))
            assert memory.load_messages("t") == [{"n": 1}] * (found is not None)
        assert (found is not None) == refresh
        assert [at.config["configurable"]["thread_id"] for at in saver.list(None)] == ["t"] * refresh
        assert memory.load_messages("t") == [{"n": 1}] * refresh
        lives = [server.pttl(key) for key in server.scan_iter(count=10_000) if b"threads-" not in key]
        assert bool(lives) == refresh
        assert not lives or max(lives) - min(lives) < 100, "they do not expire together"


def test_a_thread_that_goes_on_without_ttl_lives_for_ever(url: str, server: Any) -> None:
    with open_memory(url, ttl="1h") as memory:
        fill(memory)
        assert -1 not in {server.pttl(key) for key in keys(server)}
    with open_memory(url) as memory:
        add_item(memory.get_langgraph_checkpointer(), "t")
        left = {key for key in keys(server) if server.pttl(key) != -1}
        assert {key.rpartition(b":")[2] for key in left} <= {b"run"}


def test_an_expired_thread_is_sent_again_in_full(url: str) -> None:
    with open_memory(url, ttl="300ms") as memory, open_memory(url, ttl="300ms", cache_size=0) as other:
        saver, reader = memory.get_langgraph_checkpointer(), other.get_langgraph_checkpointer()
        at = put(saver, config("t"), {"items": items(100)})
        time.sleep(0.4)
        # Somebody starts it afresh: its counters are what they were.
        add_item(reader, "t")
        put(saver, at, {"items": items(101)})
        assert reader.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(101)


def test_runs_are_found_after_their_note_expired(url: str, server: Any) -> None:
    with open_memory(url, ttl="1h") as memory:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t", run_id="old")
        add_item(saver, "t", run_id="new")
        for key in server.scan_iter("*:run"):
            server.unlink(key)
        saver.delete_for_runs(["old"])
        assert [at.metadata["run_id"] for at in saver.list(config("t"))] == ["new"]


# ------------------------------------------------------------------------- what is kept beside


def listed(memory: Memory) -> list[str]:
    saver = memory.get_langgraph_checkpointer()
    return sorted(at.config["configurable"]["thread_id"] for at in saver.list(None))


def test_the_list_of_threads_heals(url: str, server: Any) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        for number in range(40):
            add_item(saver, str(number))
        lists = [key for key in keys(server) if b"threads-" in key]
        assert len(lists) > 5, "one hot key"
        assert listed(memory) == sorted(map(str, range(40)))
        server.unlink(*lists)
        assert listed(memory) == []
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        for number in range(5):
            add_item(saver, str(number))
        assert len(set(listed(memory))) == 5
        for number in range(4):
            saver.delete_thread(str(number))
        assert listed(memory) == ["4", "4"]
        entries = [entry for key in server.scan_iter("*threads-*}") for entry in server.zrange(key, 0, -1)]
        assert len(entries) == 1, "entries of deleted threads are dropped when they are met"
        add_item(saver, "0")
        assert listed(memory) == ["0", "4", "4"]


def test_lists_of_threads_do_not_grow_without_end(url: str, server: Any) -> None:
    # No listing ever meets these: what expired long ago is found by its neighbours.
    with open_memory(url, ttl="1h") as memory:
        saver = memory.get_langgraph_checkpointer()
        for number in range(300):
            if number % 60 == 59:
                a_day_passes(server)
            add_item(saver, f"thread {number}")
        entries = [entry for key in server.scan_iter("*threads-*}") for entry in server.zrange(key, 0, -1)]
        assert 120 <= len(entries) < 240
        assert memory.usage().threads == len(entries)


def test_notes_of_runs_go_with_what_they_made(url: str, server: Any) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        for thread in ("t", "u"):
            add_item(saver, thread, run_id="a")
            add_item(saver, thread, run_id="b")
        assert len(list(server.scan_iter("*:run"))) == 2
        saver.delete_for_runs(["a"])
        assert len(list(server.scan_iter("*:run"))) == 1
        # The run goes on, by a process that remembers to have made the note.
        add_item(saver, "t", run_id="a")
        assert sorted(memory.store.run(lambda: memory.store.backend.runs(["a"]), write=False))[0][0] == "t"
        for thread in ("t", "u"):
            saver.delete_thread(thread)
        assert names(server) == {"state"} | {name for name in names(server) if "threads-" in name}


def test_a_deleted_thread_leaves_its_counters_alone(url: str, server: Any) -> None:
    with open_memory(url) as memory:
        add_item(memory.get_langgraph_checkpointer(), "a name")
        memory.delete_thread("a name")
        [key] = server.scan_iter("*:state")
        assert set(server.hgetall(key)) == {b"d", b"w", b"q", b"x"}
        assert b"a name" not in b"".join(server.hgetall(key).values()) + key


# ------------------------------------------------------------------------- calls and their size


def test_each_call_is_one_script_call(url: str, server: Any, mode: CallMode) -> None:
    with open_memory(url) as memory:
        saver = InMode(memory.get_langgraph_checkpointer(), mode)
        large = {**checkpoint({"items": items(200)}), "id": "1"}
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("put", (config("t"), large, {"run_id": "r"}, {"items": 1})),
            ("put", (config("t", "1"), {**large, "id": "2"}, {"run_id": "r"}, {})),
            ("put_writes", (config("t", "2"), [("a", 1)], "task")),
            ("get_tuple", (config("t"),)),
            ("get_tuple", (config("t", "1"),)),
            ("list", (config("t"),)),
            ("delete_thread", ("t",)),
        ]
        saver.put(*calls[0][1])
        saver.get_tuple(config("t"))
        saver.delete_thread("t")
        saver.put(*calls[0][1])
        for name, args in calls[1:]:
            server.config_resetstat()
            getattr(saver, name)(*args)
            stats = server.info("commandstats")
            # The last one also takes back the run's note.
            assert stats["cmdstat_evalsha"]["calls"] == (2 if name == "delete_thread" else 1), name
            assert not any("scan" in name or "keys" == name[8:] for name in stats)
        InMode(memory, mode).close()


@pytest.mark.parametrize("place", [valkey_url, valkey_cluster_url])
def test_a_listing_of_all_threads_asks_many_at_once(
    place: Any, mode: CallMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[int] = []

    def counted(commands: Any, *rest: Any) -> Any:
        trips.append(len(commands))
        if len(commands) > 1 and len(trips) % 5 == 0:
            raise redis.ConnectionError("lost")
        return exchange(commands, *rest)

    monkeypatch.setattr(redis_driver, "exchange", counted)
    with open_memory(have(place)) as memory:
        saver = memory.get_langgraph_checkpointer()
        for n in range(300):
            put(saver, config(f"t{n}"), {}, user="ann" if n == 150 else "bob", nest={"n": n})
        for n in range(20):
            saver.delete_thread(f"t{n}")
        at = put(saver, config("long"), {}, user="ann")
        for _ in range(redis_threads.PROBES * 2):
            at = put(saver, at, {}, user="bob")
        saver.put(config("lowest"), {**empty_checkpoint(), "id": "00"}, {}, {})
        [only] = saver.list(config("t77"))
        anywhere: Any = {"configurable": {"checkpoint_id": id_of(only.config)}}
        for kwargs, found in (
            ({"filter": {"user": "ann"}}, {"t150", "long"}),
            ({"filter": {"nest.n": 99}}, {"t99"}),
            ({"filter": {"user": "eve"}}, set()),
            ({"before": config("nowhere", "000")}, {"lowest"}),
            ({"before": config("nowhere", "00")}, set()),
            ({"config": anywhere}, {"t77"}),
        ):
            trips.clear()
            listed = list(saver.list(**{"config": None, **kwargs}))
            assert {item.config["configurable"]["thread_id"] for item in listed} == found
            assert len(listed) == len(found)
            lost = sum(size for at, size in enumerate(trips, 1) if size > 1 and at % 5 == 0)
            assert len(trips) - lost < 250  # of over 320, in a cluster of three
        listed = InMode(saver, mode).list(None, filter={"user": "ann"})
        assert len(listed) == 2
        InMode(memory, mode).close()


def test_many_calls_at_once_teach_a_server_their_script_at_once(
    url: str, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[int] = []

    def counted(commands: Any, *rest: Any) -> Any:
        trips.append(len(commands))
        return exchange(commands, *rest)

    with open_memory(url) as memory:
        for n in range(200):
            memory.append_messages(f"t{n}", [{"n": n}])
        assert len(list(memory.threads())) == 200
        monkeypatch.setattr(redis_driver, "exchange", counted)
        assert len(list(memory.threads())) == 200
        before = len(trips)
        server.script_flush()
        assert len(list(memory.threads())) == 200
        assert len(trips) <= 2 * before + 3


def test_no_command_is_younger_than_redis_5() -> None:
    folder = files("charm_checkpoint.stores.redis") / "lua"
    scripts = {place.name: place.read_text() for place in folder.iterdir() if place.name.endswith(".lua")}
    texts = scripts.values()
    modules = (
        redis_backend,
        redis_threads,
        redis_thread_list,
        redis_items,
        redis_item_list,
        redis_erasing,
        redis_layout,
    )
    plans = [Path(module.__file__).read_text() for module in modules]
    used = {name for text in texts for name in re.findall(r"call\('(\w+)'", text)}
    used |= {name for text in plans for name in re.findall(r'Command\(\(?\s*\(?"(\w+)"', text)}
    assert used > {"HSET", "ZADD", "GET", "ZRANGEBYLEX", "UNLINK", "PEXPIRE"}
    docs: Any = have(valkey_server).ask("COMMAND", "DOCS", *sorted(used))
    since = {name: doc[doc.index("since") + 1] for name, doc in zip(docs[::2], docs[1::2], strict=True)}
    young = {name: version for name, version in since.items() if int(version.split(".")[0]) >= 5}
    assert (young, len(since)) == ({}, len(used))
    assert not used & {"KEYS", "SCAN", "EVAL", "FLUSHALL", "RANDOMKEY", "SRANDMEMBER"}
    # Behind it, a script may write from Redis 5 on.
    assert sorted(name for name, text in scripts.items() if "'TIME'" in text) == ["doctor.lua", "register.lua"]


def test_a_flush_of_scripts_in_mid_run_is_not_noticed(url: str, server: Any, mode: CallMode) -> None:
    with open_memory(url) as memory:
        saver = InMode(memory.get_langgraph_checkpointer(), mode)
        for n in range(5):
            add_item(saver, "t")
            add_item(saver, f"other {n}", user="ann")
            server.script_flush()
            saver.prune(["t"])
        assert len(saver.list(None, filter={"user": "ann"})) == 5
        server.script_flush()
        assert saver.list(None, filter={"user": "eve"}) == []
        assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(5)
        InMode(memory, mode).close()


@pytest.mark.parametrize("place", [valkey_url, valkey_cluster_url])
def test_a_large_value(place: Any, mode: CallMode) -> None:
    value = {"bytes": os.urandom(24 << 20), "items": items(3)}
    with open_memory(have(place)) as memory:
        saver = InMode(memory.get_langgraph_checkpointer(), mode)
        at = put(saver, config("t"), value)
        saver.put_writes(at, [("bytes", value["bytes"])], "task")
        saver.copy_thread("t", "copy")
        with open_memory(str(memory.location.raw)) as other:
            for thread in ("t", "copy"):
                found = other.get_langgraph_checkpointer().get_tuple(config(thread))
                assert found.checkpoint["channel_values"] == value
                assert found.pending_writes == [("task", "bytes", value["bytes"])]
        if place is valkey_url:
            with redis.Redis.from_url(memory.location.raw) as server:
                assert not list(server.scan_iter("*:ahead:*"))
        InMode(memory, mode).close()


def test_what_was_sent_ahead_and_got_lost_is_sent_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_backend, "AHEAD", 1000)
    with open_memory(url) as memory:
        saver, lost = memory.get_langgraph_checkpointer(), []
        original = redis_backend.RedisBackend._send_ahead

        def send_ahead(self: Any, tag: bytes, chunks: Any) -> Any:
            stage = yield from original(self, tag, chunks)
            if not lost:
                lost.append((yield redis_backend.Command(("UNLINK", stage))))
            return stage

        monkeypatch.setattr(redis_backend.RedisBackend, "_send_ahead", send_ahead)
        put(saver, config("t"), {"items": items(100)})
        assert lost == [1]
        memory.save_messages("t", [{"text": text} for text in items(100)])
        assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(100)
        assert len(memory.load_messages("t")) == 100


def test_chunks_that_vanished_are_sent_again(url: str, server: Any) -> None:
    # As a failover does that lost the last writes: this process believes them stored.
    with open_memory(url) as memory, open_memory(url, cache_size=0) as other:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        at = put(saver, saver.get_tuple(config("t")).config, {"items": items(100)})
        memory.save_messages("t", [{"text": text} for text in items(100)])
        for key in [*server.scan_iter("*:chunks"), *server.scan_iter("*:message-chunks")]:
            server.unlink(key)
        put(saver, at, {"items": items(101)})
        reader = other.get_langgraph_checkpointer()
        assert reader.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(101)


def test_a_flushed_server_is_started_afresh(url: str, server: Any) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        at = put(saver, config("t"), {"items": items(100)}, run_id="r")
        memory.save_messages("t", [{"text": text} for text in items(100)])
        server.flushdb()
        assert saver.get_tuple(config("t")) is None
        assert memory.load_messages("t") == []
        put(saver, at, {"items": items(101)}, run_id="r")
        memory.append_messages("t", [{"text": "new"}])
        with open_memory(url) as other:
            assert listed(other) == ["t"]
            assert other.load_messages("t") == [{"text": "new"}]
            other.get_langgraph_checkpointer().delete_for_runs(["r"])
            assert listed(other) == []


# ------------------------------------------------------------------------- batches of messages


def test_appended_messages_are_one_call(url: str, mode: CallMode) -> None:
    with open_memory(url) as memory:
        twin = InMode(memory, mode)
        twin.save_messages("t", [{"n": n, "text": "x" * 100} for n in range(500)])
        twin.append_messages("t", [{"n": 500}])
        calls: list[Any] = []
        driver = memory.store.driver
        tries = driver._tries  # type: ignore[attr-defined]
        driver._tries = lambda operation: calls.append(operation) or tries(operation)  # type: ignore[attr-defined]
        for n in range(501, 510):
            twin.append_messages("t", [{"n": n}])
        twin.close()
    assert [call.script for call in calls] == ["append_messages"] * 9
    assert all(sum(len(arg) for arg in call.args if isinstance(arg, bytes)) < 100 for call in calls)


def test_a_newer_layout_is_refused(url: str, server: Any) -> None:
    with open_memory(url) as memory:
        memory.save_messages("t", [])
        [key] = server.keys("*:version")
        assert server.hget(key, "version") is None
        memory.append_messages("t", [{"n": 1}])
    assert server.hget(key, "version") == b"2"
    server.hset(key, "version", 99)
    with open_memory(url) as memory, pytest.raises(SchemaMismatch, match="version 99; .*Upgrade"):
        memory.load_messages("t")


def test_a_version_without_batches_refuses_a_list_that_has_some(url: str, server: Any) -> None:
    # It reads the fields y and o, and knows bodies that begin with the bytes 0 and 1.
    for listed in (True, False):
        with open_memory(url) as memory:
            if listed:
                memory.save_messages("t", [{"n": n, "text": "x" * 100} for n in range(50)])
            memory.append_messages("t", [{"n": 50}])
            [key] = server.scan_iter("*:messages")
            assert server.hmget(key, "y", "o", "r") == [b"\2", None, b"1"]
            # And its way to delete one leaves nothing to be seen later.
            server.hdel(key, "y", "o", "t")
            assert memory.load_messages("t") == []
            memory.append_messages("t", [{"n": 51}])
            assert memory.load_messages("t") == [{"n": 51}]
            held = memory.usage("t").payload_bytes
            memory.delete_thread("t")
            assert (held < 60 or listed, server.hexists(key, "p1"), server.hexists(key, "p2")) == (True, False, False)
        server.flushdb()


@pytest.mark.parametrize("fold", [True, False])
def test_a_batch_that_is_sent_again_is_there_once(url: str, mode: CallMode, fold: bool) -> None:
    with open_memory(url) as memory:
        backend = PlansInMode(memory.store, mode)
        driver = memory.store.driver
        operations: list[Any] = []
        tries = driver._tries  # type: ignore[attr-defined]
        driver._tries = lambda operation: operations.append(operation) or tries(operation)  # type: ignore[attr-defined]
        backend.append_messages("t", b"a")
        [append] = [each for each in operations if getattr(each, "script", "") == "append_messages"]
        backend.append_messages("t", b"b")
        if fold:
            backend.put_messages(new_messages("list", expect=0, taken=2))
        with redis.Redis.from_url(url) as client:
            text = script("append_messages")[1]
            client.eval(text, len(append.keys), *append.keys, 1, *append.args)
        assert list(backend.messages("t").batches) == ([] if fold else [b"a", b"b"])
        InMode(memory, mode).close()
