"""Redis's URLs, options and settings, Charm's legacy, event loops and processes."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from children.jobs import add_item, config, items, put
from stores import as_user, have, redis_url, valkey_cluster_server, valkey_cluster_url, valkey_server, valkey_url

from charm_checkpoint import StorageManager, open_memory
from charm_checkpoint.config.masking import mask
from charm_checkpoint.config.options import parse_url, read_options
from charm_checkpoint.config.registry import resolve
from charm_checkpoint.errors import ConfigError, StoreCorrupt
from charm_checkpoint.providers import RedisMemory, ValkeyMemory
from charm_checkpoint.stores.redis import backend as redis_backend
from charm_checkpoint.stores.redis.store import LONGEST, endpoint
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode

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


# ------------------------------------------------------------------------- Charm's sample plugin


@pytest.mark.parametrize("place", [valkey_url, valkey_cluster_url])
def test_messages_of_charms_sample_plugin_are_carried_over(place: Any, mode: CallMode) -> None:
    url = have(place)
    prefix = "charm" if place is valkey_url else url.rpartition("=")[2]
    history = [{"role": "user", "content": f"\N{SNOWMAN} {number}"} for number in range(30)]
    old = redis.Redis if place is valkey_url else redis.RedisCluster
    with old.from_url(url.replace("redis+cluster", "redis").partition("?")[0]) as plugin, open_memory(url) as memory:
        twin = InMode(memory, mode)
        for thread in ("\0 {a}", "b", "gone"):
            plugin.set(f"{prefix}:memory:{thread}", json.dumps(history))
        assert twin.load_messages("\0 {a}") == history
        assert plugin.exists(f"{prefix}:memory:\0 {{a}}")
        twin.append_messages("\0 {a}", [{"role": "assistant", "content": "new"}])
        assert twin.load_messages("\0 {a}") == [*history, {"role": "assistant", "content": "new"}]
        assert not plugin.exists(f"{prefix}:memory:\0 {{a}}")
        twin.save_messages("b", [])
        twin.delete_messages("gone")
        assert twin.load_messages("b") == twin.load_messages("gone") == []
        assert not plugin.exists(f"{prefix}:memory:b") and not plugin.exists(f"{prefix}:memory:gone")
        twin.close()


def test_legacy_messages_that_are_none_and_other_tenants(url: str, server: Any) -> None:
    server.set("charm:memory:t", "{")
    with open_memory(url) as memory, pytest.raises(StoreCorrupt, match=r"charm:memory:t.* JSON list"):
        memory.load_messages("t")
    server.set("charm:memory:t", '[{"n": 1}]')
    with open_memory(url, tenant="other") as memory:
        assert memory.load_messages("t") == []
    with open_memory(url, prefix="other") as memory:
        assert memory.load_messages("t") == []


# ------------------------------------------------------------------------- options and settings


def test_prefixes_and_tenants_are_apart(url: str) -> None:
    memories = [open_memory(url, **options) for options in ({}, {"tenant": "a"}, {"prefix": "p"}, {"tenant": "b"})]
    for number, memory in enumerate(memories):
        saver = memory.get_langgraph_checkpointer()
        put(saver, config("t"), {"n": number}, run_id="same")
        memory.save_messages("t", [{"n": number}])
    for number, memory in enumerate(memories):
        saver = memory.get_langgraph_checkpointer()
        assert [at.checkpoint["channel_values"]["n"] for at in saver.list(None)] == [number]
        assert memory.load_messages("t") == [{"n": number}]
        saver.delete_for_runs(["same"])
        assert memory.usage().checkpoints == 0
        memory.close()


def settings(url: str, **given: Any) -> Any:
    location = parse_url(url)
    return endpoint(location, read_options(resolve(location.scheme).options, {**location.query, **given}, "test"))


def test_urls() -> None:
    plain = settings("rediss://me:p%40ss@host:1/3?tls_ca=/ca.pem")
    assert (plain.kind, plain.hosts, plain.settings["db"]) == ("plain", (("host", 1),), 3)
    assert plain.settings["password"] == "p@ss" and plain.settings["ssl"] and "p@ss" not in repr(plain)
    assert plain.settings["ssl_ca_certs"] == "/ca.pem"
    cluster = settings("redis+cluster://a:1,[::1]:2")
    assert (cluster.kind, cluster.hosts) == ("cluster", (("a", 1), ("::1", 2)))
    sentinel = settings("redis+sentinel://:data@a,b:2/mymaster/1?sentinel_password=watch&tls=yes")
    assert (sentinel.service, sentinel.settings["db"], sentinel.settings["password"]) == ("mymaster", 1, "data")
    assert (sentinel.sentinel["password"], sentinel.sentinel["ssl"]) == ("watch", True)
    assert settings("unix:///run/redis.sock?db=2").socket == "/run/redis.sock"
    assert settings("valkey://").hosts == (("localhost", None),)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://h/name", "number of its database"),
        ("redis://a,b", r"redis\+cluster"),
        ("redis+cluster://a/2", "no databases but 0"),
        ("redis+sentinel://a:1", "mymaster"),
        ("unix://", "names the socket"),
        ("redis://h?prefix=a{b", "prefix"),
        ("redis://h?ttl=999999999999d", "is too much: write 30d or the like, or leave ttl out"),
        ("redis://h?timeout=25d", "is too much: write some seconds"),
    ],
)
def test_urls_that_are_wrong(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        open_memory(url)


def test_the_longest_life_that_is_taken_is_kept(mode: CallMode) -> None:
    with open_memory(have(valkey_url), ttl=LONGEST) as memory:
        twin = InMode(memory, mode)
        twin.append_messages("t", [{"n": 1}])
        add_item(memory.get_langgraph_checkpointer(), "t")
        assert twin.load_messages("t") == [{"n": 1}] and [found.thread_id for found in twin.threads()] == ["t"]
        twin.close()


def test_providers() -> None:
    assert isinstance(open_memory("valkey"), ValkeyMemory)
    provider = StorageManager.get_provider("redis", {"url": have(valkey_url), "ttl": "30d"})
    assert isinstance(provider, RedisMemory)
    provider.save_messages("t", [{"n": 1}])
    assert provider.load_messages("t") == [{"n": 1}]
    StorageManager.clear()


def test_a_unix_socket(tmp_path: Path) -> None:
    from charm_checkpoint.servers import valkey

    with (
        have(lambda: valkey("--unixsocket", f"{tmp_path}/s", password="", drop_root=False)) as server,
        open_memory(f"unix://{tmp_path}/s?db=3") as memory,
    ):
        add_item(memory.get_langgraph_checkpointer(), "t")
        asyncio.run(memory.asave_messages("t", [{"n": 1}]))
        assert "db3" in server.info("keyspace")


@pytest.mark.parametrize(
    ("info", "wanted"),
    [
        ("aof_enabled:0\r\nmaxmemory:0\r\n", ["no append-only file"]),
        ("aof_enabled:1\r\nmaxmemory:1\r\nmaxmemory_policy:allkeys-lru\r\n", ["may evict"]),
        ("aof_enabled:1\r\nmaxmemory:1\r\nmaxmemory_policy:noeviction\r\n", []),
        ("", []),
    ],
)
def test_settings_that_may_lose_data_are_told(info: str, wanted: list[str], caplog: pytest.LogCaptureFixture) -> None:
    redis_backend.warn_durability("redis://h", info, expiring=False)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == len(wanted) and all(words in line for words, line in zip(wanted, said, strict=True))


def test_they_are_told_once_even_where_config_is_forbidden(url: str, server: Any, caplog: Any) -> None:
    server.execute_command("ACL", "SETUSER", "plain", "on", ">secret-1", "~*", "+@all", "-config", "-info")
    user = mask("plain:secret-1@").partition(":")[0]
    with open_memory(as_user(url, f"{user}:secret-1")) as memory:
        add_item(memory.get_langgraph_checkpointer(), "t")
    server.execute_command("ACL", "DELUSER", "plain")
    server.config_set("appendonly", "no")
    try:
        with open_memory(url) as memory:
            for _ in range(2):
                memory.setup()
                add_item(memory.get_langgraph_checkpointer(), "t")
    finally:
        server.config_set("appendonly", "yes")
    assert [record.getMessage() for record in caplog.records].count(caplog.messages[0]) == 1
    assert "no append-only file" in caplog.messages[0]


# ------------------------------------------------------------------------- loops and processes


@pytest.mark.parametrize("place", [valkey_url, valkey_cluster_url])
def test_loops_that_end_in_any_way_leave_no_warning(place: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_memory(have(place)) as memory:
            saver = memory.get_langgraph_checkpointer()
            for _ in range(2):
                asyncio.run(saver.aget_tuple(config("t")))
                loop = asyncio.new_event_loop()
                loop.run_until_complete(saver.aget_tuple(config("t")))
                loop.close()
                gc.collect()
            loop = asyncio.new_event_loop()
            loop.run_until_complete(saver.aget_tuple(config("t")))
        loop.close()
        gc.collect()


def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        loop = asyncio.new_event_loop()
        loop.run_until_complete(saver.aget_tuple(config("t")))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(20):
                    add_item(saver, "child")
                asyncio.run(saver.aget_tuple(config("child")))
                code = 0
            finally:
                os._exit(code)
        for _ in range(20):
            add_item(saver, "parent")
            loop.run_until_complete(saver.aget_tuple(config("parent")))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for thread in ("child", "parent"):
            assert saver.get_tuple(config(thread)).checkpoint["channel_values"]["items"] == items(20)
        loop.close()


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on the path")
def test_redis_itself(mode: CallMode) -> None:
    with open_memory(redis_url(), ttl="1h") as memory:
        saver, twin = InMode(memory.get_langgraph_checkpointer(), mode), InMode(memory, mode)
        for _ in range(5):
            add_item(saver, "t", run_id="r")
            twin.append_messages("t", [{"n": 1}])
        saver.prune(["t"])
        saver.copy_thread("t", "u")
        assert [at.checkpoint["channel_values"]["items"] for at in saver.list(None)] == [items(5)] * 2
        assert twin.load_messages("t") == [{"n": 1}] * 5
        saver.delete_for_runs(["r"])
        saver.delete_thread("t")
        assert twin.usage().checkpoints == 0
        twin.close()


def test_threads_are_spread_over_a_cluster() -> None:
    with open_memory(have(valkey_cluster_url)) as memory:
        before = [int(str(node.ask("DBSIZE"))) for node in valkey_cluster_server().nodes]
        for number in range(30):
            add_item(memory.get_langgraph_checkpointer(), str(number))
        after = [int(str(node.ask("DBSIZE"))) for node in valkey_cluster_server().nodes]
        assert all(b > a for a, b in zip(before, after, strict=True))
        assert memory.usage().threads == 30
    assert valkey_server().running
