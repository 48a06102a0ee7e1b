"""A policy that is kept to by itself, a little at a time after puts: who does it, and where the next one goes on."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Open
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.retention import RetentionSuite, all_ids, line
from charm_checkpoint.testing.samples import checkpoint, config, versions
from charm_checkpoint.testing.saver_methods import chain, put


def put_and_end(memory: Memory, mode: CallMode, thread: str) -> None:
    """Put one checkpoint, and close the store when what follows the put is done."""
    put(InMode(memory.get_langgraph_checkpointer(), mode), config(thread), checkpoint())
    keeper, until = memory._keeper, time.monotonic() + 20
    assert keeper is not None
    while not keeper._background.join(0.01) and time.monotonic() < until:
        InMode(memory, mode).usage("nobody")  # in async mode the event loop goes on in it
    InMode(memory, mode).close()


class KeptByItself(RetentionSuite):
    """A policy in the URL, the config or an option."""

    def test_a_thread_is_pruned_as_it_is_written(self, opened: Open, mode: CallMode) -> None:
        memory = opened(keep_last=4)
        store, saver = InMode(memory, mode), InMode(memory.get_langgraph_checkpointer(), mode)
        at: Any = config()
        for n in range(60):
            at = put(saver, at, checkpoint({"n": n}, id=str(n)))
        until = time.monotonic() + 20
        while store.usage("t").checkpoints > 24 and time.monotonic() < until:
            time.sleep(0.01)
        assert store.usage("t").checkpoints <= 24
        assert all_ids(saver)[-4:] == ["56", "57", "58", "59"]
        store.close()

    def test_all_threads_are_looked_at_by_one_of_several(self, opened: Open, mode: CallMode, second: Memory) -> None:
        bare = InMode(second.get_langgraph_checkpointer(), mode)
        for thread in ("a", "b"):
            line(bare, 4, thread)
        first = opened(keep_last=1, sweep_every="1h")
        put(InMode(first.get_langgraph_checkpointer(), mode), config("c"), checkpoint())
        until = time.monotonic() + 20
        while InMode(second, mode).usage().checkpoints > 3 and time.monotonic() < until:
            InMode(first, mode).usage()
            time.sleep(0.01)
        assert InMode(second, mode).usage().checkpoints == 3
        InMode(first, mode).close()
        line(bare, 4, "d")
        other = opened(keep_last=1, sweep_every="1h")
        put(InMode(other.get_langgraph_checkpointer(), mode), config("e"), checkpoint())
        InMode(other, mode).close()
        assert len(all_ids(bare, "d")) == 4  # it was done not long ago

    def test_programs_that_end_after_one_put_get_through_all_threads(
        self, opened: Open, mode: CallMode, second: Memory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not second.store.backend.capabilities.processes:
            pytest.skip("no other program sees this store")
        monkeypatch.setattr("charm_checkpoint.retention.keeper.FEW", 2)
        bare, old = InMode(second.get_langgraph_checkpointer(), mode), [f"old{n}" for n in range(5)]
        for thread in old:
            chain(bare, 2, thread)
        page = second.store.run(partial(second.store.backend.threads, None, 1), write=False)
        if page.place is None and not isinstance(page.next, (int, str, bytes, tuple)):
            pytest.skip("no other program can go on with a listing of this store")
        for n in range(10):  # more than it takes if each goes on where the one before stopped
            put_and_end(opened(keep_last=1, sweep_every="1h"), mode, f"new{n}")
            if all(len(all_ids(bare, thread)) == 1 for thread in old):
                break
        assert [len(all_ids(bare, thread)) for thread in old] == [1] * 5

    def test_a_sweep_goes_by_the_policy_of_the_store(self, opened: Open, mode: CallMode) -> None:
        memory = opened(keep_last=2, keep_for="10s", ttl="30d", sweep_every=0)
        assert memory.retention is not None and memory.retention.keep_last == 2
        saver = InMode(memory.get_langgraph_checkpointer(), mode)
        chain(saver, 30)
        assert len(all_ids(saver)) == 30
        made = checkpoint(id="old")
        made["ts"] = "2020-01-01T00:00:00+00:00"
        saver.put(config("u"), made, {"source": "loop", "step": 0}, versions(made))
        chain(saver, 2, "u")
        assert InMode(memory, mode).sweep().done.checkpoints == 1

    @pytest.mark.parametrize(
        ("option", "value"), [("keep_last", 0), ("keep_last", "x"), ("keep_for", "soon"), ("ttl", 0)]
    )
    def test_wrong_values_are_refused(self, url: str, option: str, value: Any) -> None:
        with pytest.raises(ConfigError, match=option):
            Memory({"url": url}, **{option: value})
