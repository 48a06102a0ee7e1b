"""Threads of the plain-Redis saver, langgraph-checkpoint-plainredis, as another process put them there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from conftest import or_skip
from langgraph_checkpoint_plainredis import RedisSaver
from official_savers import everything, run_graphs, thread
from stores import valkey_url

from charm_checkpoint import ConfigError, open_memory
from charm_checkpoint.errors import SchemaMismatch
from charm_checkpoint.importers import import_official
from charm_checkpoint.memory import Memory

pytestmark = [pytest.mark.redis, pytest.mark.blocking]


@pytest.fixture
def server() -> str:
    """Return the URL of an empty database."""
    return or_skip(valkey_url)


@pytest.fixture
def saver(server: str) -> Iterator[RedisSaver]:
    """Yield a saver there, whose threads are of every sort."""
    made = RedisSaver(url=server)
    run_graphs(made)
    yield made
    made.client.close()


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Yield an empty store."""
    with open_memory("sqlite:///:memory:") as opened:
        yield opened


def test_everything_is_taken_over(saver: RedisSaver, server: str, memory: Memory) -> None:
    before = _dump(server)
    looked = import_official(server, memory, dry_run=True)
    report = import_official(server, memory)
    assert not report.failed and report.threads == looked.threads == 7
    assert _by_namespace(saver) == _by_namespace(memory.get_langgraph_checkpointer())
    assert _dump(server) == before
    again = import_official(server, memory)
    assert (again.threads, again.unchanged) == (0, 7)


def test_what_it_has_got_since_is_added(saver: RedisSaver, server: str, memory: Memory) -> None:
    import_official(server, memory)
    found = saver.get_tuple(thread("counting"))
    assert found is not None
    saver.put_writes(found.config, [("log", [9])], "late")
    saver.put(found.config, {**found.checkpoint, "id": "later"}, found.metadata, {})
    report = import_official(server, memory)
    assert (report.threads, report.checkpoints, report.unchanged) == (1, 1, 6)
    assert _by_namespace(saver) == _by_namespace(memory.get_langgraph_checkpointer())


def test_the_prefix_is_named_and_a_wrong_one_is_an_error(server: str, memory: Memory) -> None:
    other = RedisSaver(url=server, prefix="my:agents")
    run_graphs(other)
    other.client.close()
    with pytest.raises(SchemaMismatch, match="begin with 'lg'"):
        import_official(server, memory)
    assert import_official(server, memory, prefix="my:agents").threads == 7
    with pytest.raises(ConfigError, match="prefix"):
        import_official("nowhere.db", memory, prefix="my:agents")
    with pytest.raises(ConfigError, match="schema"):
        import_official(server, memory, schema="agents")


def test_what_is_damaged_is_told_and_the_rest_taken_over(saver: RedisSaver, server: str, memory: Memory) -> None:
    with redis.Redis.from_url(server) as client:
        [key] = client.keys("lg:cp:counting::*")[:1]
        client.set(key, b"{}")
    report = import_official(server, memory)
    assert [name for name, _ in report.failed] == ["counting"] and report.threads == 6
    assert "plainredis" in str(report.failed[0].error)


def _dump(server: str) -> dict[bytes, Any]:
    with redis.Redis.from_url(server) as client:
        return {key: client.dump(key) for key in client.keys("*")}


def _by_namespace(saver: Any) -> list[dict[str, Any]]:
    """Return all that a saver tells; this one lists a thread's namespaces one after another."""
    return sorted(everything(saver), key=lambda found: found["config"]["configurable"]["checkpoint_ns"])
