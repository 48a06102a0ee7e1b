"""The examples of Charm's own pages on memory, run as they are written there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from charm_projects import run_device, write_project
from conftest import or_skip
from stores import tenant_url, valkey_url
from workers import WorkerPool

from charm_checkpoint import StorageManager, from_charm, open_memory

TURNS = """
import os
from charm.core.storage import StorageManager

def agent(inputs):
    thread_id = inputs.get("__charm_thread_id__", "default")
    provider = os.getenv("CHARM_MEMORY_PROVIDER", "local")

    store = StorageManager.get_provider(provider, {})
    history = store.load_messages(thread_id)

    history.append({"role": "user", "content": str(inputs)})
    store.save_messages(thread_id, history)

    return {"status": "success", "output": f"Turns: {len(history)}"}
"""

HELLO = """
from charm.core.storage import StorageManager

def agent(inputs):
    thread_id = inputs.get("__charm_thread_id__", "default")

    # Retrieves the active provider (e.g., RedisMemory, if configured)
    memory_store = StorageManager.get_provider("local", {})

    # Load previous history
    history = memory_store.load_messages(thread_id)

    # ... logic ...

    # Save updated history
    history.append({"role": "assistant", "content": "Hello!"})
    memory_store.save_messages(thread_id, history)

    return "Hello!"
"""

PLUGIN = """
from typing import Any, Dict, List
import json
import redis
from charm.core.storage import BaseMemoryStore

class RedisMemory(BaseMemoryStore):
    def __init__(self, config: Dict[str, Any]):
        super().__init__(config)
        self.client = redis.Redis.from_url(
            self.config.get("url", "redis://localhost:6379/0")
        )

    def load_messages(self, thread_id: str) -> List[Dict[str, Any]]:
        raw = self.client.get(f"charm:memory:{thread_id}")
        return json.loads(raw) if raw else []

    def save_messages(self, thread_id: str, messages: List[Dict[str, Any]]) -> None:
        self.client.set(f"charm:memory:{thread_id}", json.dumps(messages))

    def get_langgraph_checkpointer(self) -> Any:
        return None
"""

YAML = {
    "langchain": ("""
runtime:
  adapter:
    type: langchain
    entry_point: src.main:agent
  memory:
    provider: redis
    config:
      url: "redis://localhost:6379/0"
""", "redis://localhost:6379/0"),
    "langgraph": ("""
runtime:
  adapter:
    type: langgraph
  memory:
    provider: redis
    config:
      url: "redis://localhost:6379/0"
""", "redis://localhost:6379/0"),
    "variable": ("""
runtime:
  memory:
    provider: redis
    config:
      url: "${REDIS_URL}"
""", "rediss://cache.example:6380/1"),
}  # fmt: skip
"""What charm.yaml says, and the URL that this means."""


@pytest.mark.parametrize(
    ("provider", "variable", "get"),
    [
        ("redis", "REDIS_URL", valkey_url),
        ("valkey", "VALKEY_URL", valkey_url),
        ("postgres", "DATABASE_URL", tenant_url),
    ],
)
def test_the_active_provider_by_its_name_alone(
    provider: str, variable: str, get: Callable[[], str], devices: WorkerPool, tmp_path: Path
) -> None:
    url = or_skip(get)
    project = write_project(tmp_path / "p", "python", "turns", TURNS)
    environment = {"CHARM_MEMORY_PROVIDER": provider, variable: url}
    call = [(project, {"__charm_thread_id__": "42", "input": "hi"})]
    for turn in (1, 2):
        [result] = run_device(devices, tmp_path / f"d{turn}", call, kill=turn == 1, **environment)
        assert result["output"] == f"Turns: {turn}"
    with open_memory(url) as memory:
        assert len(memory.load_messages("42")) == 2


def test_an_agent_with_the_local_provider_and_then_with_ours(devices: WorkerPool, tmp_path: Path) -> None:
    theirs = write_project(tmp_path / "theirs", "python", "theirs", HELLO)
    ours_source = HELLO.replace("from charm.core.storage", "from charm_checkpoint")
    ours = write_project(tmp_path / "ours", "python", "ours", ours_source)
    for number, project in enumerate((theirs, ours, theirs)):
        workspace = {"CHARM_WORKSPACE_DIR": str(tmp_path / "workspace")}
        [result] = run_device(devices, tmp_path / f"d{number}", [(project, {"input": "x"})], **workspace)
        assert result["output"] == "Hello!"
    kept = json.loads((tmp_path / "workspace" / ".charm" / "memory" / "default.json").read_text())
    assert kept == [{"role": "assistant", "content": "Hello!"}] * 3


def test_threads_of_the_sample_plugin_are_carried_over() -> None:
    url = or_skip(valkey_url)
    names: dict[str, Any] = {}
    exec(PLUGIN, names)
    sample = names["RedisMemory"]({"url": url})
    sample.save_messages("42", [{"role": "user", "content": "hi"}])
    sample.client.close()
    with open_memory("redis", {"url": url}) as memory:
        assert memory.load_messages("42") == [{"role": "user", "content": "hi"}]
        memory.append_messages("42", [{"role": "assistant", "content": "hello"}])
        assert [message["content"] for message in memory.load_messages("42")] == ["hi", "hello"]


@pytest.mark.parametrize("name", YAML)
def test_what_charm_yaml_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, url = YAML[name]
    monkeypatch.setattr(StorageManager, "_cache", {})
    monkeypatch.setenv("REDIS_URL", "rediss://cache.example:6380/1")
    (tmp_path / "charm.yaml").write_text(text)
    assert from_charm(tmp_path).location.raw == url
    StorageManager.clear()
