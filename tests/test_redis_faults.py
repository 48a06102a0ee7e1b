"""Redis when things go wrong: cut connections, failover, no memory, replicas, passwords, a server that is gone."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from children.jobs import add_item, config, id_of, items, put
from stores import as_user, have, valkey_cluster_server, valkey_cluster_url, valkey_server, valkey_url

from charm_checkpoint import open_memory
from charm_checkpoint.contract import NewWrites
from charm_checkpoint.errors import ReadOnlyStore, StoreClosed, StoreCorrupt, StoreError, StoreUnavailable
from charm_checkpoint.servers import ValkeySentinel, ValkeyServer, valkey, valkey_sentinel
from charm_checkpoint.servers.base import free_port
from charm_checkpoint.servers.proxy import FAULTS, Proxy
from charm_checkpoint.stores.redis import backend as redis_backend
from charm_checkpoint.stores.redis.connections import Endpoint, Server
from charm_checkpoint.stores.redis.topology import Servers, Slots, redirection
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode, PlansInMode
from charm_checkpoint.testing.samples import chunk, new, new_messages

redis = pytest.importorskip("redis")
from redis.crc import key_slot  # noqa: E402


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(have(valkey_server).port) as proxy:
        yield proxy


# ------------------------------------------------------------------------------- connections


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_whose_connection_fails_is_done_once(proxy: Proxy, mode: CallMode, fault: str) -> None:
    with open_memory(proxy.through(have(valkey_url)), timeout="700ms") as memory:
        backend = PlansInMode(memory.store, mode)
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
        for number in range(2):
            assert failing("append_messages", "t", b"batch").batches == number + 1
        row = failing("messages", "t")
        assert (row.body, row.revision, row.batches) == (b"two", 2, [b"batch"] * 2)
        assert failing("put_messages", new_messages("three", expect=2, taken=1)).outcome == "stored"
        row = backend.messages("t")
        assert (row.body, row.revision, row.batches) == (b"three", 3, [b"batch"])
        assert failing("copy_thread", "t", "u").outcome == "stored"
        assert failing("delete_thread", "t").deletes == 1
        assert backend.usage("u").checkpoints == 3
        InMode(memory, mode).close()


def test_a_large_call_whose_reply_is_lost_is_done_once(
    proxy: Proxy, mode: CallMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_backend, "AHEAD", 10)
    with open_memory(proxy.through(have(valkey_url))) as memory:
        backend = PlansInMode(memory.store, mode)
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
        InMode(memory, mode).close()


@pytest.mark.parametrize("place", [valkey_url, valkey_cluster_url])
def test_connections_that_are_killed_are_replaced(place: Any, mode: CallMode) -> None:
    with open_memory(have(place)) as memory:
        saver = InMode(memory.get_langgraph_checkpointer(), mode)
        for _ in range(10):
            add_item(saver, "t")
            for node in [valkey_server()] if place is valkey_url else valkey_cluster_server().nodes:
                node.ask("CLIENT", "KILL", "TYPE", "normal")
        assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(10)
        InMode(memory, mode).close()


def test_a_server_that_is_gone_is_told_after_the_timeout(mode: CallMode) -> None:
    with open_memory(f"redis://me:secret-1@127.0.0.1:{free_port()}", timeout="400ms") as memory:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"redis://me:\*\*\*@127.* is the server up") as caught:
            InMode(memory, mode).load_messages("t")
        assert 0.3 < time.monotonic() - began < 2
        assert "secret-1" not in repr(caught.value.__cause__) + str(caught.value)
        InMode(memory, mode).close()
        with pytest.raises(StoreClosed):
            InMode(memory, mode).load_messages("t")


def test_a_cluster_that_is_gone(mode: CallMode) -> None:
    with open_memory(f"redis+cluster://127.0.0.1:{free_port()}", timeout="400ms") as memory:
        with pytest.raises(StoreUnavailable):
            InMode(memory, mode).load_messages("t")
        InMode(memory, mode).close()


def test_more_callers_than_connections_take_turns(mode: CallMode) -> None:
    with open_memory(have(valkey_url), max_connections=2) as memory:
        saver = memory.get_langgraph_checkpointer()

        async def all_at_once() -> None:
            await asyncio.gather(*(memory.aappend_messages("t", [{"n": n}]) for n in range(20)))

        if mode.name == "async":
            asyncio.run(all_at_once())
        else:
            threads = [threading.Thread(target=memory.append_messages, args=("t", [{"n": n}])) for n in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(message["n"] for message in memory.load_messages("t")) == list(range(20))
        assert saver.get_tuple(config("t")) is None


def test_a_wrong_password_is_masked(mode: CallMode) -> None:
    with have(lambda: valkey("--requirepass", "right-1")) as server:
        for user in (":wrong-1@", "me:wrong-1@", ""):
            with open_memory(server.url.replace("://", f"://{user}")) as memory:
                with pytest.raises(StoreUnavailable, match="check user and password") as caught:
                    InMode(memory, mode).load_messages("t")
                assert "wrong-1" not in str(caught.value)
                InMode(memory, mode).close()
        with open_memory(server.url.replace("://", "://:right-1@")) as memory:
            assert InMode(memory, mode).load_messages("t") == []
            InMode(memory, mode).close()


def test_a_key_of_another_program_is_left_alone(mode: CallMode) -> None:
    url = have(valkey_url)
    with open_memory(url) as memory, redis.Redis.from_url(url) as server:
        saver = InMode(memory.get_langgraph_checkpointer(), mode)
        add_item(saver, "t")
        [key] = server.scan_iter("*:state")
        server.set(key, "theirs")
        with pytest.raises(StoreCorrupt, match="another prefix"):
            add_item(saver, "t")
        assert server.get(key) == b"theirs"
        InMode(memory, mode).close()


def test_a_user_whose_rights_do_not_suffice_is_told(mode: CallMode) -> None:
    url = have(valkey_url)
    valkey_server().ask("ACL", "SETUSER", "reader", "on", ">pass-1", "~*", "+@read", "+@connection", "+select")
    with open_memory(as_user(url, "reader:pass-1")) as memory:
        with pytest.raises(StoreError, match="ACL"):
            InMode(memory, mode).load_messages("t")
        InMode(memory, mode).close()


# ---------------------------------------------------------------------------- roles and replicas


@pytest.fixture(scope="module")
def sentinel() -> Iterator[ValkeySentinel]:
    with have(lambda: valkey_sentinel(1)) as group:
        yield group


def test_a_replica_is_read_only(sentinel: ValkeySentinel, mode: CallMode) -> None:
    [replica] = [node for node in sentinel.nodes if node is not sentinel.primary]
    with open_memory(f"{sentinel.primary.url}/1", wait_replicas=1) as primary:
        add_item(InMode(primary.get_langgraph_checkpointer(), mode), mode.name)
        InMode(primary, mode).close()
    with open_memory(f"{replica.url}/1") as memory:
        saver = InMode(memory.get_langgraph_checkpointer(), mode)
        at = saver.get_tuple(config(mode.name))
        assert at.checkpoint["channel_values"]["items"] == items(1)
        began = time.monotonic()
        with pytest.raises(ReadOnlyStore, match="name the primary"):
            put(saver, at.config, {"items": items(2)})
        with pytest.raises(ReadOnlyStore):
            InMode(memory, mode).save_messages("t", [{"n": 1}])
        assert time.monotonic() - began < 5
        InMode(memory, mode).close()


def test_replicas_are_waited_for(sentinel: ValkeySentinel, mode: CallMode) -> None:
    with open_memory(sentinel.url, wait_replicas=1) as memory:
        InMode(memory, mode).save_messages("t", [{"n": 1}])
        sentinel.primary.ask("SCRIPT", "FLUSH")
        InMode(memory, mode).append_messages("t", [{"n": 2}])
        assert InMode(memory, mode).load_messages("t") == [{"n": 1}, {"n": 2}]
        InMode(memory, mode).close()
    with open_memory(sentinel.url, wait_replicas=2, timeout="1s") as memory:
        with pytest.raises(StoreUnavailable, match="only 1 of 2 replicas"):
            InMode(memory, mode).save_messages("u", [{"n": 1}])
        InMode(memory, mode).close()


def test_a_cluster_without_replicas_says_so(mode: CallMode) -> None:
    with open_memory(have(valkey_cluster_url), wait_replicas=1, timeout="1s") as memory:
        assert InMode(memory, mode).load_messages("t") == []
        with pytest.raises(StoreUnavailable, match="only 0 of 1 replicas"):
            InMode(memory, mode).save_messages("t", [{"n": 1}])
        InMode(memory, mode).close()


def test_a_failover_in_mid_conversation(sentinel: ValkeySentinel) -> None:
    call_modes = [make() for make in CALL_MODES.values()]
    with open_memory(sentinel.url, timeout="20s") as memory:
        savers = [InMode(memory.get_langgraph_checkpointer(), mode) for mode in call_modes]

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
        for mode in call_modes:
            InMode(memory, mode).close()
            mode.close()


# -------------------------------------------------------------------------------------- memory


def used(server: ValkeyServer) -> int:
    return int(server.info("memory")["used_memory"])


def test_a_server_without_memory_left_holds_no_half_of_anything(mode: CallMode) -> None:
    with have(lambda: valkey("--maxmemory-policy", "noeviction")) as server:
        with open_memory(server.url) as memory, open_memory(server.url, cache_size=0) as other:
            saver = InMode(memory.get_langgraph_checkpointer(), mode)
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
                InMode(memory, mode).save_messages("t", [{"n": 1}])
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
            InMode(memory, mode).close()


def test_a_server_that_restarts_keeps_what_it_acknowledged(mode: CallMode) -> None:
    with have(lambda: valkey("--appendfsync", "always")) as server:
        with open_memory(server.url, timeout="20s") as memory:
            saver = InMode(memory.get_langgraph_checkpointer(), mode)
            for count in range(3):
                add_item(saver, "t")
                server.restart("SIGKILL")
                assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(count + 1)
            InMode(memory, mode).close()


# ------------------------------------------------------------------------------------- slots


def test_a_slot_that_moves_to_another_node(mode: CallMode) -> None:
    url = have(valkey_cluster_url)
    with open_memory(url) as memory:
        memory.save_messages("other", [{"n": 0}])  # which has the cluster's nodes found
        names = memory.store.backend._names  # type: ignore[attr-defined]
        slot = key_slot(names.thread(names.tag("t"))[0])
        old, new = owner_and_another(slot)
        new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", old.ask("CLUSTER", "MYID"))
        old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", new.ask("CLUSTER", "MYID"))
        twin = InMode(memory, mode)

        def end() -> None:
            for node in (new, old):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", new.ask("CLUSTER", "MYID"))

        # Until then the old node says ASK, and the new one TRYAGAIN to all that names several keys.
        ending = threading.Timer(0.2, end)
        ending.start()
        twin.append_messages("t", [{"n": 1}])
        ending.join()
        twin.append_messages("t", [{"n": 2}])
        assert twin.load_messages("t") == [{"n": 1}, {"n": 2}]
        twin.close()


def owner_and_another(slot: int) -> tuple[ValkeyServer, ValkeyServer]:
    """Return the node of the worker's cluster that has a slot, and one that has not."""
    nodes = {str(node.ask("CLUSTER", "MYID")): node for node in valkey_cluster_server().nodes}
    [line] = [line for line in str(nodes[next(iter(nodes))].ask("CLUSTER", "NODES")).splitlines() if has(line, slot)]
    old = nodes.pop(line.split()[0])
    return old, next(iter(nodes.values()))


def has(line: str, slot: int) -> bool:
    """Tell whether a line of CLUSTER NODES names a node with a slot."""
    ranges = [part.partition("-")[::2] for part in line.split()[8:] if not part.startswith("[")]
    return any(int(first) <= slot <= int(last or first) for first, last in ranges)


@pytest.mark.parametrize(
    ("kind", "said", "server"),
    [
        ("ResponseError", "MOVED 3999 10.0.0.1:6381", Server("10.0.0.1", 6381)),
        ("MovedError", "3999 10.0.0.1:6381", Server("10.0.0.1", 6381)),
        ("ResponseError", "ASK 3999 ::1:6381", Server("::1", 6381)),
        ("ResponseError", "MOVED 3999 :6381", None),  # the node does not know its own name
        ("ResponseError", "ERR a script said MOVED 3999 10.0.0.1:6381", None),
    ],
)
def test_what_a_redirection_names(kind: str, said: str, server: Server | None) -> None:
    assert redirection(getattr(redis.exceptions, kind)(said)) == server
    assert redirection(getattr(redis.exceptions, kind)(said), "TRYAGAIN") is None


def test_slots_of_nodes_that_do_not_know_their_host() -> None:
    asked = Server("proxy.example", 7000)
    reply = [[5461, 16383, [b"", 7001, b"id"]], [0, 100, [None, 7002]], [101, 5460, [b"10.0.0.3", 7003], [b"x", 1]]]
    slots = Slots(asked, reply)
    assert {slots.find(b"key %d" % number) for number in range(500)} == {
        Server("proxy.example", 7001), Server("proxy.example", 7002), Server("10.0.0.3", 7003),
    }  # fmt: skip
    with pytest.raises(redis.exceptions.ClusterDownError, match="no node has the slot"):
        Slots(asked, reply[1:2]).find(b"foo")


class Forgetful(Servers):
    """Servers of which another thread learns, as soon as something is known of them, that it is no longer true."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, None if name in ("_primary", "_slots") else value)


def answered(servers: Servers, reply: Any) -> Any:
    """Return the server that has a key, answering in place of whoever is asked."""
    found = servers.find(b"key")
    next(found)
    with pytest.raises(StopIteration) as end:
        found.send([reply])
    return end.value.value


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("cluster", lambda port: [[0, 16383, [b"10.0.0.1", port]]]),
        ("sentinel", lambda port: [b"10.0.0.1", b"%d" % port]),
    ],
)
def test_what_is_found_is_found_whatever_others_learn_and_who_is_gone_is_not_asked_for_ever(
    kind: Any, reply: Callable[[int], Any]
) -> None:
    servers = Forgetful(Endpoint(kind, (("10.0.0.1", 1),), {}))
    for port in range(2, 30):
        found = answered(servers, reply(port))
        assert found == Server("10.0.0.1", port)
        servers.pools(found)
    assert list(servers._pools) == [found]
