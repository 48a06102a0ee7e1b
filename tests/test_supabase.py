"""Supabase: the same tables as by the direct road, how it is named, that nothing is capped, and its connections."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import random
import socket
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from children.jobs import add_item, config, item, items, put
from stores import have, supabase_server, supabase_url

from charm_checkpoint import Memory, StorageManager, open_memory
from charm_checkpoint.errors import ConfigError, StoreClosed, StoreError
from charm_checkpoint.providers import SupabaseMemory
from charm_checkpoint.saver.records import CONFLICT_KEY
from charm_checkpoint.stores.supabase.driver import KEY_VARIABLES, URL_VARIABLES, SupabaseDriver
from charm_checkpoint.testing.samples import TEXTS

KEY = "sb_secret_dQw4w9WgXcQdQw4w9WgXcQ"


@pytest.fixture
def url() -> str:
    return have(supabase_url)


@pytest.fixture
def direct_url(url: str) -> str:
    """Return the URL of the same tenant by way of Postgres itself."""
    return f"{supabase_server().database}?tenant={url.rpartition('=')[2]}"


@pytest.fixture
def api(url: str) -> Iterator[Memory]:
    with open_memory(url) as memory:
        yield memory


@pytest.fixture
def direct(direct_url: str) -> Iterator[Memory]:
    with open_memory(direct_url) as memory:
        yield memory


# -------------------------------------------------------------------------------- both roads


def listed(memory: Memory, thread: str = "t") -> list[Any]:
    return list(memory.get_langgraph_checkpointer().list(config(thread)))


def test_a_list_that_both_roads_add_to_in_turn(api: Memory, direct: Memory) -> None:
    for turn in range(50):
        memory = (api, direct)[turn % 2]
        at, count = add_item(memory.get_langgraph_checkpointer(), "t")
        assert count == turn + 1
        memory.get_langgraph_checkpointer().put_writes(at, [("items", turn), ("items", None)], "task")
        memory.append_messages("t", [{"role": "user", "content": item(turn)}])
    assert listed(api) == listed(direct)
    assert [found.checkpoint["channel_values"]["items"] for found in listed(api)] == [
        items(n) for n in range(50, 0, -1)
    ]
    assert api.load_messages("t") == direct.load_messages("t") and len(api.load_messages("t")) == 50
    assert api.usage() == direct.usage() and api.usage("t").payload_bytes < 60_000


@pytest.mark.parametrize("turned", [False, True])
def test_what_one_road_removes_is_gone_by_the_other(api: Memory, direct: Memory, turned: bool) -> None:
    one, other = (direct, api) if turned else (api, direct)
    for _ in range(4):
        add_item(one.get_langgraph_checkpointer(), "t", run_id="run")
    other.get_langgraph_checkpointer().copy_thread("t", "copy")
    assert [found.checkpoint for found in listed(one, "copy")] == [found.checkpoint for found in listed(other)]
    one.get_langgraph_checkpointer().prune(["t"])
    assert len(listed(other)) == 1
    other.get_langgraph_checkpointer().delete_for_runs(["run"])
    assert listed(one) == [] == listed(one, "copy")
    one.append_messages("t", [{"content": "x"}])
    other.delete_messages("t")
    assert one.load_messages("t") == [] and one.usage() == other.usage()


@pytest.mark.parametrize("turned", [False, True])
def test_a_conflict_and_a_delete_are_noticed_across_roads(api: Memory, direct: Memory, turned: bool) -> None:
    one, other = (m.get_langgraph_checkpointer() for m in ((direct, api) if turned else (api, direct)))
    start, _ = add_item(one, "t")
    assert other.get_tuple(config("t"))
    head = put(one, start, {"items": items(2)})
    put(other, start, {"items": items(3)})
    for saver in (one, other):
        assert saver.get_tuple(config("t")).metadata[CONFLICT_KEY] == head["configurable"]["checkpoint_id"]  # type: ignore[union-attr]
    one.delete_thread("t")
    with pytest.raises(StoreError, match="deleted"):
        put(other, start, {"items": items(4)})


def test_any_text_by_both_roads(api: Memory, direct: Memory) -> None:
    for text in TEXTS:
        saver = api.get_langgraph_checkpointer()
        at = {"configurable": {"thread_id": text or "x", "checkpoint_ns": text}}
        put(saver, at, {"items": [text], text: {text: text}}, note=text)  # type: ignore[arg-type]
    for text in TEXTS:
        [found] = direct.get_langgraph_checkpointer().list({"configurable": {"thread_id": text}}, filter={"note": text})
        assert found.config["configurable"]["checkpoint_ns"] == text
        assert found.checkpoint["channel_values"] == {"items": [text], text: {text: text}}
    api.save_messages("\0\ud800", [{"content": text} for text in TEXTS])
    assert direct.load_messages("\0\ud800") == [{"content": text} for text in TEXTS] == api.load_messages("\0\ud800")


# ------------------------------------------------------------------------------- nothing is capped


def test_1200_threads_and_5000_messages(api: Memory, direct: Memory) -> None:
    for n in range(1200):
        put(direct.get_langgraph_checkpointer(), config(f"t{n}"), {"items": n})
    found = list(api.get_langgraph_checkpointer().list(None))
    assert [tuple.checkpoint["channel_values"]["items"] for tuple in found] == list(range(1199, -1, -1))
    assert api.usage().threads == 1200
    messages = [{"role": "user", "content": item(n)} for n in range(5000)]
    api.save_messages("t", messages)
    assert api.load_messages("t") == messages == direct.load_messages("t")


def test_large_values(api: Memory, url: str) -> None:
    noise = random.Random(1)
    large = [noise.randbytes(20_000_000), *(noise.randbytes(3_000_000) for _ in range(5))]
    saver = api.get_langgraph_checkpointer()
    for n, value in enumerate(large):
        put(saver, config(f"t{n}"), {"items": value})
    with open_memory(url) as fresh:
        found = list(fresh.get_langgraph_checkpointer().list(None))
        assert [tuple.checkpoint["channel_values"]["items"] for tuple in found] == large[::-1]


# ------------------------------------------------------------------------------ how it is named


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*URL_VARIABLES, *KEY_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def project(memory: Memory) -> tuple[str, str]:
    driver = memory.store.driver
    assert isinstance(driver, SupabaseDriver)
    return driver.project.url, driver.project.key


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("supabase://x.supabase.co", "https://x.supabase.co"),
        ("https://x.supabase.co/", "https://x.supabase.co"),
        ("http://kong:8000", "http://kong:8000"),
        ("supabase://localhost:54321", "http://localhost:54321"),
        ("supabase://[::1]:54321", "http://[::1]:54321"),
        ("https://example.com/base/", "https://example.com/base"),
    ],
)
def test_forms_of_the_url(url: str, reached: str, no_variables: pytest.MonkeyPatch) -> None:
    for memory in (open_memory(url, key=KEY), open_memory("supabase", {"url": url, "key": KEY})):
        assert project(memory) == (reached, KEY)


def test_the_environment_names_what_the_config_does_not(no_variables: pytest.MonkeyPatch) -> None:
    for number, (url, key) in enumerate([*zip(URL_VARIABLES, KEY_VARIABLES, strict=True)][::-1]):
        no_variables.setenv(url, f"https://of-{number}.supabase.co/")
        no_variables.setenv(key, f" {KEY}{number}\n")
        assert project(open_memory("supabase")) == (f"https://of-{number}.supabase.co", f"{KEY}{number}")
    assert URL_VARIABLES[0] == "NEXT_PUBLIC_SUPABASE_URL" and KEY_VARIABLES[0] == "SUPABASE_SERVICE_ROLE_KEY"
    given = {"url": "https://given.supabase.co", "key": "given"}
    assert project(open_memory("supabase", given)) == ("https://given.supabase.co", "given")


def test_what_is_missing_or_wrong_is_said(no_variables: pytest.MonkeyPatch) -> None:
    for make, said in (
        (lambda: open_memory("supabase", {"key": KEY}), r"needs its url: give url=, or set \$NEXT_PUBLIC_SUPABASE"),
        (lambda: open_memory("https://x.co"), r"needs its key: give key=, or set \$SUPABASE_SERVICE_ROLE_KEY or"),
        (lambda: open_memory(f"https://{KEY}@x.co", key=KEY), "the key goes into key="),
        (lambda: open_memory("https://x.co,y.co", key=KEY), "names one host"),
        (lambda: open_memory("https://x.co", key=KEY, max_connections=0), "max_connections: it is at least 1"),
        (lambda: open_memory("https://x.co", key=KEY, schema="A"), "lower-case"),
        (lambda: open_memory("https://x.co", key=KEY, token=1), "'token'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said) as caught:
            make()
        assert KEY not in str(caught.value)
    no_variables.setenv(URL_VARIABLES[0], "postgresql://x:secret@y")
    with pytest.raises(ConfigError, match="is like https://") as caught:
        open_memory("supabase", {"key": KEY})
    assert "secret" not in str(caught.value)


def test_charms_way_to_it(no_variables: pytest.MonkeyPatch, url: str) -> None:
    server = supabase_server()
    no_variables.setenv("PROJECT", server.url)
    no_variables.setenv("SUPABASE_SERVICE_ROLE_KEY", server.secret_key)
    try:
        for name in ("supabase", "charm-supabase"):
            provider = StorageManager.get_provider(name, {"url": "${PROJECT}", "tenant": url})
            assert isinstance(provider, SupabaseMemory)
            assert provider is StorageManager.get_provider(name, {"url": "${PROJECT}", "tenant": url})
            _, count = add_item(provider.get_langgraph_checkpointer(), "t")
        assert count == 2
    finally:
        StorageManager.clear()


def test_no_secret_is_shown(url: str, caplog: pytest.LogCaptureFixture) -> None:
    server = supabase_server()
    token = server.sign_token("00000000-0000-4000-8000-000000000000")
    caplog.set_level(logging.DEBUG)
    with open_memory(url) as memory, open_memory(server.url, {"key": server.publishable_key}, token=token) as user:
        for one in (memory, user):
            add_item(one.get_langgraph_checkpointer(), "t")
            shown = [repr(one), str(one), repr(one.store.driver), repr(one.store.driver.project), str(one.location)]  # type: ignore[attr-defined]
            with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
                pickle.dumps(one)
            with pytest.raises(StoreError) as caught:
                open_memory(server.url, key=server.publishable_key, token=token, tenant="another's").usage()
            shown += [str(caught.value), repr(caught.value), str(pickle.dumps(caught.value))]
            assert not [text for text in shown if server.secret_key in text or token in text]
    assert "HTTP/1.1 200" in caplog.text
    assert server.secret_key not in caplog.text and token not in caplog.text


# ------------------------------------------------------------------------------ its connections


def sockets() -> int:
    """Return how many connections this process has to the project."""
    gc.collect()
    port = supabase_server().port
    return sum(peer_port(found) == port for found in gc.get_objects() if issubclass(type(found), socket.socket))


def peer_port(connection: socket.socket) -> int | None:
    try:
        peer = connection.getpeername()
    except OSError:
        return None
    return int(peer[1]) if isinstance(peer, tuple) else None


def test_loops_threads_and_blocking_calls_share_one_object(url: str) -> None:
    before = sockets()

    async def turn() -> None:
        await asyncio.gather(*(memory.aappend_messages("t", [{"content": "x"}]) for _ in range(5)))

    memory = open_memory(url)
    for _ in range(2):
        asyncio.run(turn())
    assert sockets() == before
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: memory.append_messages("t", [{"content": "x"}]), range(8)))
        list(threads.map(lambda _: asyncio.run(turn()), range(2)))
    assert len(memory.load_messages("t")) == 28
    assert before < sockets() <= before + 10
    memory.close()
    memory.close()
    assert sockets() == before
    with pytest.raises(StoreClosed):
        memory.usage()
    with pytest.raises(StoreClosed):
        asyncio.run(memory.ausage())


@pytest.mark.parametrize("how", ["blocking in the loop", "from a thread", "after the loop", "aclose elsewhere"])
def test_it_can_be_closed_from_anywhere(url: str, how: str) -> None:
    before = sockets()
    memory = open_memory(url)
    memory.usage()

    async def work() -> None:
        await memory.ausage()
        if how == "blocking in the loop":
            memory.close()
        if how == "from a thread":
            await asyncio.to_thread(memory.close)
        if how == "aclose elsewhere":
            await asyncio.to_thread(asyncio.run, memory.aclose())
        await asyncio.sleep(0.05)

    asyncio.run(work())
    if how == "after the loop":
        memory.close()
    assert sockets() == before


def test_what_nobody_closes_is_closed_when_nobody_has_it(url: str) -> None:
    before = sockets()
    open_memory(url).usage()
    assert sockets() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_has_connections_of_its_own(url: str) -> None:
    with open_memory(url) as memory:
        add_item(memory.get_langgraph_checkpointer(), "t")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that other threads may hold locks
            pid = os.fork()
        if pid == 0:
            code = 1
            try:
                add_item(memory.get_langgraph_checkpointer(), "t")
                code = 0
            finally:
                os._exit(code)
        add_item(memory.get_langgraph_checkpointer(), "parent")
        assert os.waitpid(pid, 0)[1] == 0
        assert add_item(memory.get_langgraph_checkpointer(), "t")[1] == 3


def test_no_more_connections_than_allowed(url: str) -> None:
    before, most = sockets(), 0
    with open_memory(url, max_connections=2) as memory:
        memory.setup()
        workers = [threading.Thread(target=memory.append_messages, args=("t", [{"content": "x"}])) for _ in range(12)]
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            most = max(most, sockets())
        assert 0 < most - before <= 2 and len(memory.load_messages("t")) == 12
