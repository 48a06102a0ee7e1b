"""Redis when things go wrong: cut connections, failover, no memory, replicas, passwords, a server that is gone."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from children.jobs import add_item, config, id_of, items, put
from proxy import FAULTS, Proxy
from stores import have, valkey_cluster_server, valkey_cluster_url, valkey_server, valkey_url

from charm_checkpoint import open_memory
from charm_checkpoint.backends import redis_backend
from charm_checkpoint.contract import NewWrites
from charm_checkpoint.errors import ReadOnlyStore, StoreClosed, StoreCorrupt, StoreError, StoreUnavailable
from charm_checkpoint.servers import ValkeySentinel, ValkeyServer, valkey, valkey_sentinel
from charm_checkpoint.servers.base import free_port
from charm_checkpoint.testing.half import HALVES, Half, Steps, Twin
from charm_checkpoint.testing.samples import chunk, new, new_messages

redis = pytest.importorskip("redis")


@pytest.fixture(params=list(HALVES))
def half(request: pytest.FixtureRequest) -> Iterator[Half]:
    half = HALVES[request.param]()
    yield half
    half.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(have(valkey_server).port) as proxy:
        yield proxy


# ------------------------------------------------------------------------------- connections


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_whose_connection_fails_is_done_once(proxy: Proxy, half: Half, fault: str) -> None:
    with open_memory(proxy.through(have(valkey_url)), timeout="700ms") as memory:
        backend = Steps(memory.store, half)
        backend.put(new("a", chunks=[chunk("x")]))
        backend.put_messages(new_messages("one"))

        def failing(name: str, *args: Any) -> Any:
            proxy.fail(fault)
            reply = getattr(backend, name)(*args)
            assert proxy.due == 0
            return reply

        reply = failing("put", new("b", "elsewhere", chunks=[chunk("y")]))
        assert (reply.outcome, reply.conflict, reply.head) == ("stored", True, "a")
        assert failing("put", new("c", "b", on_conflict="raise")).outcome == "stored"
        failing("put_writes", NewWrites("t", "", "c", b"w", None))
        assert list(failing("find", "t", "", None).writes) == [b"w"]
        assert failing("put_messages", new_messages("two", expect=1)).outcome == "stored"
        row = failing("messages", "t")
        assert (row.body, row.revision) == (b"two", 2)
        assert failing("copy_thread", "t", "u").outcome == "stored"
        assert failing("delete_thread", "t").deletes == 1
        assert backend.usage("u").checkpoints == 3
        Twin(memory, half).close()


def test_a_large_call_whose_reply_is_lost_is_done_once(
    proxy: Proxy, half: Half, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_backend, "AHEAD", 10)
    with open_memory(proxy.through(have(valkey_url))) as memory:
        backend = Steps(memory.store, half)
        backend.put(new("a", chunks=[chunk("before")]))
        for step in range(4):  # sent ahead, then the call itself, whichever it is
            proxy.fail(*["before reply"] * (step + 1))
            pieces = [chunk(f"piece {step} {number}") for number in range(9)]
            reply = backend.put(new(f"{step}", "elsewhere", chunks=pieces))
            assert (reply.outcome, reply.conflict) == ("stored", True)
            assert len(backend.chunks("t", [piece.address for piece in pieces])) == 9
            backend.put_messages(new_messages("list", *pieces, expect=step))
        while proxy.take_fault():
            pass
        assert backend.messages("t").revision == 4
        assert backend.usage("t").checkpoints == 5
        Twin(memory, half).close()


@pytest.mark.parametrize("place", [valkey_url, valkey_cluster_url])
def test_connections_that_are_killed_are_replaced(place: Any, half: Half) -> None:
    with open_memory(have(place)) as memory:
        saver = Twin(memory.get_langgraph_checkpointer(), half)
        for _ in range(10):
            add_item(saver, "t")
            for node in [valkey_server()] if place is valkey_url else valkey_cluster_server().nodes:
                node.ask("CLIENT", "KILL", "TYPE", "normal")
        assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(10)
        Twin(memory, half).close()


def test_a_server_that_is_gone_is_told_after_the_timeout(half: Half) -> None:
    with open_memory(f"redis://me:secret-1@127.0.0.1:{free_port()}", timeout="400ms") as memory:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"redis://me:\*\*\*@127.* is the server up") as caught:
            Twin(memory, half).load_messages("t")
        assert 0.3 < time.monotonic() - began < 2
        assert "secret-1" not in repr(caught.value.__cause__) + str(caught.value)
        Twin(memory, half).close()
        with pytest.raises(StoreClosed):
            Twin(memory, half).load_messages("t")


def test_a_cluster_that_is_gone(half: Half) -> None:
    with open_memory(f"redis+cluster://127.0.0.1:{free_port()}", timeout="400ms") as memory:
        with pytest.raises(StoreUnavailable):
            Twin(memory, half).load_messages("t")
        Twin(memory, half).close()


def test_a_server_that_is_silent_is_not_waited_for_without_end(proxy: Proxy, half: Half) -> None:
    with open_memory(proxy.through(have(valkey_url)), timeout="300ms") as memory:
        memory.load_messages("t")
        proxy.silent = True
        proxy.cut()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            Twin(memory, half).load_messages("t")
        assert time.monotonic() - began < 2
        Twin(memory, half).close()


def test_more_callers_than_connections_take_turns(half: Half) -> None:
    with open_memory(have(valkey_url), max_connections=2) as memory:
        saver = memory.get_langgraph_checkpointer()

        async def all_at_once() -> None:
            await asyncio.gather(*(memory.aappend_messages("t", [{"n": n}]) for n in range(20)))

        if half.name == "async":
            asyncio.run(all_at_once())
        else:
            threads = [threading.Thread(target=memory.append_messages, args=("t", [{"n": n}])) for n in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(message["n"] for message in memory.load_messages("t")) == list(range(20))
        assert saver.get_tuple(config("t")) is None


def test_a_wrong_password_is_masked(half: Half) -> None:
    with have(lambda: valkey("--requirepass", "right-1")) as server:
        for user in (":wrong-1@", "me:wrong-1@", ""):
            with open_memory(server.url.replace("://", f"://{user}")) as memory:
                with pytest.raises(StoreUnavailable, match="check user and password") as caught:
                    Twin(memory, half).load_messages("t")
                assert "wrong-1" not in str(caught.value)
                Twin(memory, half).close()
        with open_memory(server.url.replace("://", "://:right-1@")) as memory:
            assert Twin(memory, half).load_messages("t") == []
            Twin(memory, half).close()


def test_a_key_of_another_program_is_left_alone(half: Half) -> None:
    url = have(valkey_url)
    with open_memory(url) as memory, redis.Redis.from_url(url) as server:
        saver = Twin(memory.get_langgraph_checkpointer(), half)
        add_item(saver, "t")
        [key] = server.scan_iter("*:state")
        server.set(key, "theirs")
        with pytest.raises(StoreCorrupt, match="another prefix"):
            add_item(saver, "t")
        assert server.get(key) == b"theirs"
        Twin(memory, half).close()


def test_a_user_whose_rights_do_not_suffice_is_told(half: Half) -> None:
    url = have(valkey_url)
    valkey_server().ask("ACL", "SETUSER", "reader", "on", ">pass-1", "~*", "+@read", "+@connection", "+select")
    with open_memory(url.replace("://", "://reader:pass-1@")) as memory:
        with pytest.raises(StoreError, match="ACL"):
            Twin(memory, half).load_messages("t")
        Twin(memory, half).close()


# ---------------------------------------------------------------------------- roles and replicas


@pytest.fixture(scope="module")
def sentinel() -> Iterator[ValkeySentinel]:
    with have(lambda: valkey_sentinel(1)) as group:
        yield group


def test_a_replica_is_read_only(sentinel: ValkeySentinel, half: Half) -> None:
    [replica] = [node for node in sentinel.nodes if node is not sentinel.primary]
    with open_memory(f"{sentinel.primary.url}/1", wait_replicas=1) as primary:
        add_item(Twin(primary.get_langgraph_checkpointer(), half), half.name)
        Twin(primary, half).close()
    with open_memory(f"{replica.url}/1") as memory:
        saver = Twin(memory.get_langgraph_checkpointer(), half)
        at = saver.get_tuple(config(half.name))
        assert at.checkpoint["channel_values"]["items"] == items(1)
        began = time.monotonic()
        with pytest.raises(ReadOnlyStore, match="name the primary"):
            put(saver, at.config, {"items": items(2)})
        with pytest.raises(ReadOnlyStore):
            Twin(memory, half).save_messages("t", [{"n": 1}])
        assert time.monotonic() - began < 5
        Twin(memory, half).close()


def test_replicas_are_waited_for(sentinel: ValkeySentinel, half: Half) -> None:
    with open_memory(sentinel.url, wait_replicas=1) as memory:
        Twin(memory, half).save_messages("t", [{"n": 1}])
        sentinel.primary.ask("SCRIPT", "FLUSH")
        Twin(memory, half).append_messages("t", [{"n": 2}])
        assert Twin(memory, half).load_messages("t") == [{"n": 1}, {"n": 2}]
        Twin(memory, half).close()
    with open_memory(sentinel.url, wait_replicas=2, timeout="1s") as memory:
        with pytest.raises(StoreUnavailable, match="only 1 of 2 replicas"):
            Twin(memory, half).save_messages("u", [{"n": 1}])
        Twin(memory, half).close()


def test_a_cluster_without_replicas_says_so(half: Half) -> None:
    with open_memory(have(valkey_cluster_url), wait_replicas=1, timeout="1s") as memory:
        assert Twin(memory, half).load_messages("t") == []
        with pytest.raises(StoreUnavailable, match="only 0 of 1 replicas"):
            Twin(memory, half).save_messages("t", [{"n": 1}])
        Twin(memory, half).close()


def test_a_failover_in_mid_conversation(sentinel: ValkeySentinel) -> None:
    halves = [make() for make in HALVES.values()]
    with open_memory(sentinel.url, timeout="20s") as memory:
        savers = [Twin(memory.get_langgraph_checkpointer(), half) for half in halves]

        def take_turns(times: int) -> None:
            for _ in range(times):
                for number, saver in enumerate(savers):
                    add_item(saver, f"conversation {number}")

        take_turns(5)
        # What was acknowledged is on the server that takes over: wait_replicas says when.
        with open_memory(sentinel.url, wait_replicas=1) as waiting:
            waiting.save_messages("t", [{"n": 1}])
        old = sentinel.primary
        old.halt("SIGKILL")
        take_turns(5)
        assert sentinel.primary is not old
        for number, saver in enumerate(savers):
            head = saver.get_tuple(config(f"conversation {number}"))
            assert head.checkpoint["channel_values"]["items"] == items(10)
        assert memory.load_messages("t") == [{"n": 1}]
        for half in halves:
            Twin(memory, half).close()
            half.close()


# -------------------------------------------------------------------------------------- memory


def used(server: ValkeyServer) -> int:
    return int(server.info("memory")["used_memory"])


def test_a_server_without_memory_left_holds_no_half_of_anything(half: Half) -> None:
    with have(lambda: valkey("--maxmemory-policy", "noeviction")) as server:
        with open_memory(server.url) as memory, open_memory(server.url, cache=0) as other:
            saver = Twin(memory.get_langgraph_checkpointer(), half)
            add_item(saver, "t")
            room = used(server) + (1 << 20)
            server.ask("CONFIG", "SET", "maxmemory", room)
            at, stored, value = config("full"), [], 0
            with pytest.raises(StoreUnavailable, match="maxmemory; nothing was written"):
                for value in range(1000):
                    at = put(saver, at, {"items": [*items(value), os.urandom(20_000).hex()]})
                    stored.append(id_of(at))
            with pytest.raises(StoreUnavailable, match="maxmemory"):
                saver.put_writes(at, [("items", os.urandom(100_000))], "task")
            with pytest.raises(StoreUnavailable, match="maxmemory"):
                Twin(memory, half).save_messages("t", [{"n": 1}])
            reader = other.get_langgraph_checkpointer()
            line = list(reader.list(config("full")))
            assert [at.checkpoint["id"] for at in line] == stored[::-1]
            assert [len(at.checkpoint["channel_values"]["items"]) for at in line] == list(range(value, 0, -1))
            assert other.usage("t").checkpoints == 1
            # What makes room still works.
            saver.prune(["full"])
            saver.delete_thread("full")
            while used(server) > room - 100_000:  # what was unlinked is freed in the background
                time.sleep(0.01)
            add_item(saver, "t")
            assert reader.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(2)
            Twin(memory, half).close()


def test_a_server_that_restarts_keeps_what_it_acknowledged(half: Half) -> None:
    with have(lambda: valkey("--appendfsync", "always")) as server:
        with open_memory(server.url, timeout="20s") as memory:
            saver = Twin(memory.get_langgraph_checkpointer(), half)
            for count in range(3):
                add_item(saver, "t")
                server.restart("SIGKILL")
                assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(count + 1)
            Twin(memory, half).close()
