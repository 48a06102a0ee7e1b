"""Reads on a replica, or by a user who may not write: the housekeeping inside a read is left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from children.jobs import add_item, config, items
from stores import as_user, have, redis_server, redis_url, valkey_sentinel_server, valkey_server, valkey_url

from charm_checkpoint import open_memory
from charm_checkpoint.errors import StoreError
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode

redis = pytest.importorskip("redis")

RIGHTS = ("~*", "+@read", "+@connection", "+@scripting", "+info")


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    mode = CALL_MODES[request.param]()
    yield mode
    mode.close()


@pytest.fixture(params=["replica", "valkey user", "redis user", "no memory"])
def urls(request: pytest.FixtureRequest, mode: CallMode) -> Iterator[tuple[str, str]]:
    """Yield the URL of who may write, and of one who may only read the same."""
    if request.param == "replica":
        group = have(valkey_sentinel_server)
        [replica] = [node for node in group.nodes if node is not group.primary]
        prefix = f"prefix=read-{mode.name}-{time.monotonic_ns()}"
        yield f"{group.primary.url}/3?{prefix}&wait_replicas=1", f"{replica.url}/3?{prefix}"
        return
    url = have(redis_url if request.param == "redis user" else valkey_url)
    server = redis_server() if request.param == "redis user" else valkey_server()
    if request.param == "no memory":
        yield url, f"{url}?prefix=charm"
        server.ask("CONFIG", "SET", "maxmemory", 0)
        return
    server.ask("ACL", "SETUSER", "reader", "on", ">pass-1", *RIGHTS)
    yield url, as_user(url, "reader:pass-1")
    server.ask("ACL", "DELUSER", "reader")


def fill(url: str, mode: CallMode) -> None:
    """Store two threads; of one nothing is left but its entry in the list of threads."""
    with open_memory(url, ttl="1h") as memory:
        saver, twin = InMode(memory.get_langgraph_checkpointer(), mode), InMode(memory, mode)
        for thread in ("t", "gone"):
            at, _ = add_item(saver, thread)
            saver.put_writes(at, [("items", 1)], "task")
            twin.save_messages(thread, [{"n": 1}])
        names = memory.store.backend._names  # type: ignore[attr-defined]
        driver: Any = memory.store.driver
        location = driver._endpoint.servers()[0]
        settings = {name: driver._endpoint.settings[name] for name in ("db", "password")}
        with redis.Redis(location.host, location.port, **settings) as server:
            server.delete(*names.thread(names.tag("gone")))
            if memory.location.query.get("wait_replicas"):
                server.wait(1, 5000)
        twin.close()


@pytest.mark.parametrize("options", [{}, {"ttl": "1h", "refresh_on_read": True}], ids=["plain", "refresh"])
def test_all_can_be_read_and_nothing_written(urls: tuple[str, str], mode: CallMode, options: dict[str, Any]) -> None:
    fill(urls[0], mode)
    if "prefix=charm" in urls[1]:
        valkey_server().ask("CONFIG", "SET", "maxmemory", 1)
    with open_memory(urls[1], **options) as memory:
        saver, twin = InMode(memory.get_langgraph_checkpointer(), mode), InMode(memory, mode)
        began = time.monotonic()
        for _ in range(2):
            assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(1)
            assert [at.config["configurable"]["thread_id"] for at in saver.list(None)] == ["t"]
            assert len(saver.list(config("t"))) == 1
            assert twin.load_messages("t") == [{"n": 1}]
            assert twin.load_messages("gone") == []
            assert (twin.usage().threads, twin.usage("t").threads) == (1, 1)
            assert saver.get_delta_channel_history(config=config("t"), channels=["items"])
        assert time.monotonic() - began < 2, "what may not be written was tried again and again"
        with pytest.raises(StoreError, match="read-only replica|ACL|maxmemory"):
            twin.save_messages("t", [{"n": 2}])
        twin.close()


def test_who_may_write_tidies_up_as_ever(mode: CallMode) -> None:
    url = have(valkey_url)
    fill(url, mode)
    with open_memory(url, ttl="1h", refresh_on_read=True) as memory, redis.Redis.from_url(url) as server:
        twin = InMode(memory, mode)
        before = sum(server.zcard(key) for key in server.scan_iter("*threads-*}"))
        assert twin.usage().threads == 1
        assert sum(server.zcard(key) for key in server.scan_iter("*threads-*}")) == before - 1
        keys = list(server.scan_iter("*}:messages"))
        server.pexpire(keys[0], 5000)
        assert twin.load_messages("t") == [{"n": 1}]
        assert server.pttl(keys[0]) > 5000
        twin.close()
