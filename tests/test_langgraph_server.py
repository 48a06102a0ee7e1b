"""A real ``langgraph dev`` on our saver: what its clients can do, and that a killed server loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import or_skip
from pages import BY_NAME
from stores import tenant_url, valkey_url
from workers import CHILDREN

from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError, StoreUnavailable
from charm_checkpoint.langgraph_server import checkpointer, open_configured, store
from charm_checkpoint.saver.merging import REQUEST_KEYS
from charm_checkpoint.saver.records import CONFLICT_KEY

STORES: dict[str, Callable[[Path], str]] = {
    "sqlite": "sqlite:///{}/agent.db".format,
    "postgres": lambda folder: or_skip(tenant_url),
    "valkey": lambda folder: or_skip(valkey_url),
}

PATH = "charm_checkpoint.langgraph_server.checkpointer"
STORE_PATH = "charm_checkpoint.langgraph_server.store"
SHOWN = [block.code for block in BY_NAME["docs/langgraph-server.md"].blocks("json")]
"""What the documentation writes into langgraph.json."""
STARTED = 60
"""Seconds that a server has to start."""


def test_needs_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHARM_CHECKPOINT_URL", raising=False)
    with pytest.raises(ConfigError, match="CHARM_CHECKPOINT_URL.*langgraph.json"):
        asyncio.run(enter())


def test_needs_a_store_that_keeps_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", "none://")
    with pytest.raises(ConfigError, match="keeps no checkpoints"):
        asyncio.run(enter())


def test_says_at_once_that_a_store_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", f"sqlite:///{tmp_path}/no/folder/agent.db?mode=rw")
    with pytest.raises(StoreUnavailable, match="agent.db"):
        asyncio.run(enter())


def test_takes_langgraph_json_for_its_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {"url": "sqlite:///${DATA}/agent.db", "on_conflict": "raise"}
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", "sqlite:///:memory:")
    monkeypatch.setenv("LANGGRAPH_CHECKPOINTER", json.dumps({"path": PATH, "charm_checkpoint": given}))
    assert asyncio.run(enter()) == "raise"
    assert (tmp_path / "agent.db").exists()


def test_takes_options_beside_the_url_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", "sqlite:///:memory:")
    monkeypatch.setenv("LANGGRAPH_CHECKPOINTER", '{"charm_checkpoint": {"on_conflict": "allow"}}')
    assert asyncio.run(enter()) == "allow"
    monkeypatch.setenv("LANGGRAPH_CHECKPOINTER", '{"charm_checkpoint": {"on_conflct": "allow"}}')
    with pytest.raises(ConfigError, match="on_conflict"):
        asyncio.run(enter())
    monkeypatch.setenv("LANGGRAPH_CHECKPOINTER", '{"charm_checkpoint": "sqlite://"}')
    with pytest.raises(ConfigError, match="must be an object"):
        asyncio.run(enter())


@pytest.mark.parametrize("text", ["null", "[", "[]", "5", '"sqlite://"', "{'path': 's3cret'}", "true"])
@pytest.mark.parametrize("url", ["", "memory://"])
def test_settings_that_are_no_object(text: str, url: str) -> None:
    with pytest.raises(ConfigError, match="LANGGRAPH_CHECKPOINTER.*not a JSON object") as caught:
        open_configured({"LANGGRAPH_CHECKPOINTER": text, "CHARM_CHECKPOINT_URL": url})
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_wrong_url_of_the_environment_names_its_variable() -> None:
    for url in ("postgres//h/db", "redis://:s3cret@h/x", "sqlite:///a.db?mod=ro"):
        with pytest.raises(ConfigError, match="CHARM_CHECKPOINT_URL") as caught:
            open_configured({"CHARM_CHECKPOINT_URL": url})
        assert "s3cret" not in str(caught.value)


def test_the_documentation_shows_how(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (json.loads(block)["checkpointer"] for block in SHOWN[:2])
    assert first["path"] == second["path"] == PATH
    monkeypatch.delenv("PGHOST", raising=False)
    with open_configured({"LANGGRAPH_CHECKPOINTER": json.dumps(second)}) as memory:
        assert str(memory.location) == "postgresql://127.0.0.1/agents"
        assert memory.get_langgraph_checkpointer().on_conflict == "raise"


def test_the_store_is_that_of_the_checkpointer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", f"sqlite:///{tmp_path}/agent.db")

    async def both() -> None:
        async with checkpointer() as saver, store() as items:
            await items.aput(("a",), "k", {"n": 1})
            assert saver._store is items._store
        async with store() as items:
            assert (await items.aget(("a",), "k")).value == {"n": 1}

    asyncio.run(both())


def test_the_store_may_be_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = {"url": f"sqlite:///{tmp_path}/items.db", "ttl": {"default_ttl": 5}, "index": {"fields": ["text"]}}
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", "memory://")
    monkeypatch.setenv("LANGGRAPH_STORE", json.dumps({"path": STORE_PATH, "charm_checkpoint": own}))

    async def put() -> None:
        async with checkpointer(), store() as items:
            await items.aput(("a",), "k", {"text": "window seats"})

    asyncio.run(put())
    with open_memory(f"sqlite:///{tmp_path}/items.db") as memory:
        found = memory.get_langgraph_store().get(("a",), "k")
        assert found is not None and memory.usage().items == 1


@pytest.mark.parametrize("own", [{"synchronous": "full"}, {"ttl": {"default": 5}}, {"index": {"dim": 3}}, "sqlite://"])
def test_settings_of_the_store_that_are_wrong(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", "memory://")
    monkeypatch.setenv("LANGGRAPH_STORE", json.dumps({"path": STORE_PATH, "charm_checkpoint": own}))

    async def enter_store() -> None:
        async with store():
            pass

    with pytest.raises(ConfigError, match="synchronous.*no url|default_ttl|dims|must be an object"):
        asyncio.run(enter_store())


async def enter() -> str:
    """Enter the checkpointer and leave it."""
    async with checkpointer() as saver:
        assert await saver.aget_tuple(config("none")) is None
        return saver.on_conflict


def test_all_loops_share_a_saver_and_the_last_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", "memory://")

    async def both() -> None:
        async with checkpointer() as first:
            async with checkpointer() as second:
                other = await asyncio.to_thread(lambda: asyncio.run(entered()))
            assert first is second is other
            assert await first.aget_tuple(config("none")) is None
        assert await entered() is not first

    async def entered() -> Any:
        async with checkpointer() as saver:
            return saver

    asyncio.run(both())


def config(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


# ------------------------------------------------------------------------------- the server


class Server:
    """A server under way and its clients."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        from langgraph_sdk import get_sync_client

        self.process = process
        self.log = log
        self.url = f"http://127.0.0.1:{port}"
        self.client = get_sync_client(url=self.url)
        self.threads, self.runs, self.store = self.client.threads, self.client.runs, self.client.store

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/ok", timeout=5).is_success
        except httpx.TransportError:
            return False

    def thread(self) -> str:
        """Make a thread."""
        return self.threads.create()["thread_id"]

    def say(self, thread: str, text: str, **options: Any) -> list[str]:
        """Run a turn, and return all messages."""
        return said(self.runs.wait(thread, "agent", input=message(text), **options))

    def said(self, thread: str) -> list[str]:
        """Return a thread's messages."""
        return said(self.threads.get_state(thread)["values"])


def message(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def said(values: Any) -> list[str]:
    return [message["content"] for message in values["messages"]]


@contextmanager
def serving(folder: Path, url: str) -> Iterator[Server]:
    """Run a server of the graph of children/server_agent.py in a new folder; it is killed in the end."""
    folder.mkdir()
    shutil.copy(CHILDREN / "server_agent.py", folder / "agent.py")
    (folder / "langgraph.json").write_text(SHOWN[0])
    environment = {
        **os.environ,
        "CHARM_CHECKPOINT_URL": url,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "LANGGRAPH_NO_VERSION_CHECK": "true",
        "LANGSMITH_TRACING": "false",
        "PYTHONWARNINGS": "default::DeprecationWarning",
    }
    port = free_port()
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        with subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT) as process:
            server = Server(process, port, folder / "log")
            try:
                until(server.is_up)
                yield server
            finally:
                process.kill()
                server.client.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STARTED
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


@pytest.mark.parametrize("store", STORES)
def test_a_server_is_killed_and_its_threads_go_on(store: str, tmp_path: Path) -> None:
    pytest.importorskip("langgraph_api", reason='needs "langgraph-cli[inmem]", which needs Python 3.11')
    url = STORES[store](tmp_path)
    with serving(tmp_path / "first", url) as server:
        thread = runs_and_streams(server)
        stops_and_resumes(server, thread)
        keeps_history(server, thread)
        copy = copies(server, thread)
        rolls_back(server, thread)
        remembers(server)
        refuses_to_block(server)
        asking, waiting = leaves_unfinished(server)
    # Another folder: of all that the server itself kept, nothing is there.
    with serving(tmp_path / "second", url) as server:
        (tmp_path / "second" / "go").touch()
        for known in (thread, copy, asking, waiting):
            server.threads.create(thread_id=known, graph_id="agent", if_exists="do_nothing")
        goes_on(server, thread, asking, waiting)
        recalls(server)
        deletes(server, url, thread, copy)


def runs_and_streams(server: Server) -> str:
    thread = server.thread()
    assert server.say(thread, "hello") == ["hello", "1: hello"]
    parts = list(server.runs.stream(thread, "agent", input=message("on"), stream_mode=["updates", "values"]))
    updates = [part.data for part in parts if part.event == "updates"]
    assert [list(update) for update in updates] == [["count"], ["answer"]]
    assert said(parts[-1].data) == server.said(thread) == ["hello", "1: hello", "on", "2: on"]
    return thread


def stops_and_resumes(server: Server, thread: str) -> None:
    stopped = server.runs.wait(thread, "agent", input=message("ask"))
    assert [stop["value"] for stop in stopped["__interrupt__"]] == ["Which?"]
    assert server.threads.get_state(thread)["next"] == ["answer"]
    resumed = server.runs.wait(thread, "agent", command={"resume": "that one"})
    assert said(resumed)[-2:] == ["ask", "3: that one"]


def keeps_history(server: Server, thread: str) -> None:
    history = server.threads.get_history(thread, limit=100)
    assert len(history) == 3 * 4
    assert [state["values"]["tally"] for state in history if not state["next"]] == [{"turns": n} for n in (3, 2, 1)]
    before = next(state for state in history if state["values"]["tally"] == {"turns": 2} and not state["next"])
    fork = server.say(thread, "back", checkpoint_id=before["checkpoint"]["checkpoint_id"])
    assert fork == ["hello", "1: hello", "on", "2: on", "back", "3: back"] == server.said(thread)
    unwanted = {CONFLICT_KEY, *REQUEST_KEYS}
    assert not any(unwanted & set(state["metadata"]) for state in server.threads.get_history(thread, limit=100))


def copies(server: Server, thread: str) -> str:
    copy = server.threads.copy(thread)["thread_id"]
    before = server.said(thread)
    assert server.say(copy, "apart") == [*before, "apart", "4: apart"]
    assert server.said(thread) == before
    assert len(server.threads.get_history(copy, limit=100)) == len(server.threads.get_history(thread, limit=100)) + 4
    assert len(server.threads.get_history(copy, metadata={"thread_id": copy}, limit=100)) == 5 * 4
    return copy


def rolls_back(server: Server, thread: str) -> None:
    before = server.said(thread), len(server.threads.get_history(thread, limit=100))
    run = server.runs.create(thread, "agent", input=message("wait"))
    until(lambda: "answer" in server.threads.get_state(thread)["next"])
    server.runs.cancel(thread, run["run_id"], action="rollback", wait=True)
    until(lambda: len(server.threads.get_history(thread, limit=100)) == before[1])
    assert server.said(thread) == before[0]

    server.runs.create(thread, "agent", input=message("wait"))
    until(lambda: "answer" in server.threads.get_state(thread)["next"])
    assert server.say(thread, "instead", multitask_strategy="rollback") == [*before[0], "instead", "4: instead"]
    assert len(server.threads.get_history(thread, limit=100)) == before[1] + 4


def remembers(server: Server) -> None:
    """Keep long-term memory from a node, and by the routes of the store."""
    server.say(server.thread(), "remember")
    assert server.store.get_item(["users", "ann"], "taste")["value"] == {"text": "window seats on trains"}
    server.store.put_item(["users", "ben"], "taste", {"text": "the quiet coach", "n": 10}, ttl=60)
    server.store.put_item(["users", "ben"], "gone", {"text": "nothing"})
    server.store.delete_item(["users", "ben"], "gone")
    found = server.store.search_items(["users"], filter={"n": {"$gt": 9}}, limit=5)["items"]
    assert [item["key"] for item in found] == ["taste"] and found[0]["namespace"] == ["users", "ben"]
    assert server.store.list_namespaces(prefix=["users"])["namespaces"] == [["users", "ann"], ["users", "ben"]]


def recalls(server: Server) -> None:
    """Find what another server kept."""
    assert server.say(server.thread(), "recall")[-1] == "1: window seats on trains"
    found = server.store.search_items(["users"], query="a quiet place")["items"]
    assert [item["namespace"] for item in found] == [["users", "ben"], ["users", "ann"]]


def refuses_to_block(server: Server) -> None:
    """Show that the server watches for blocking calls: then none of ours was one."""
    assert "Blocking" not in server.log.read_text()
    outcome = server.runs.wait(server.thread(), "agent", input=message("block"), raise_error=False)
    assert outcome["__error__"]["error"] == "BlockingError"


def leaves_unfinished(server: Server) -> tuple[str, str]:
    asking, waiting = server.thread(), server.thread()
    server.runs.wait(asking, "agent", input=message("ask"))
    server.runs.create(waiting, "agent", input=message("wait"))
    until(lambda: "answer" in server.threads.get_state(waiting)["next"])
    return asking, waiting


def goes_on(server: Server, thread: str, asking: str, waiting: str) -> None:
    assert server.say(thread, "again")[-2:] == ["again", "5: again"]
    assert len(server.threads.get_history(thread, limit=100)) == 6 * 4
    resumed = server.runs.wait(asking, "agent", command={"resume": "this one"})
    assert said(resumed) == ["ask", "1: this one"]
    assert server.threads.get_state(waiting)["next"] == ["answer"]
    assert said(server.runs.wait(waiting, "agent", input=None)) == ["wait", "1: wait"]
    log = server.log.read_text()
    assert "Blocking" not in log
    assert "former name" not in log


def deletes(server: Server, url: str, thread: str, copy: str) -> None:
    with open_memory(url) as memory:
        assert memory.usage(thread).checkpoints and memory.usage(copy).checkpoints
        server.threads.delete(thread)
        assert not memory.usage(thread).checkpoints and memory.usage(copy).checkpoints
        server.threads.prune([copy])
        assert not memory.usage(copy).checkpoints


def test_a_server_without_a_store_does_not_start(tmp_path: Path) -> None:
    pytest.importorskip("langgraph_api", reason='needs "langgraph-cli[inmem]", which needs Python 3.11')
    with pytest.raises(AssertionError, match="No store is named: set CHARM_CHECKPOINT_URL"):
        with serving(tmp_path / "server", ""):
            pass
