"""All that a store remembers shares the option ``cache``: whatever it meets, the process grows by no more."""

from __future__ import annotations

import gc
import itertools
import os
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import STORES, or_skip

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import NewCheckpoint
from charm_checkpoint.runtime.cache import Budget, Cache
from charm_checkpoint.testing import graphs
from charm_checkpoint.testing.samples import checkpoint, config, versions

THREADS = int(os.environ.get("CHARM_HUNT_THREADS", "100"))
"""How many new threads a store meets beyond the first ones; 200,000 take some twenty minutes."""


@pytest.fixture
def growth() -> Iterator[Callable[[Callable[[], None]], int]]:
    """Return a function that tells by how many bytes Python's memory grows with some work."""

    def in_use() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    def measure(work: Callable[[], None]) -> int:
        before = in_use()
        work()
        return in_use() - before

    tracemalloc.start()
    yield measure
    tracemalloc.stop()


def put(memory: Memory, where: Any, values: dict[str, Any]) -> Any:
    made = checkpoint(values)
    return memory.get_langgraph_checkpointer().put(
        where, made, {"source": "loop", "step": 0, "parents": {}}, versions(made)
    )


def meet(memory: Memory, number: int) -> None:
    """Write and read a thread of a few kB, and its messages."""
    where = config(f"thread {number}")
    held = {"items": [{"number": number, "text": "word " * 60} for _ in range(9)]}
    put(memory, where, held)
    found = memory.get_langgraph_checkpointer().get(where)
    assert found is not None
    assert found["channel_values"] == held
    memory.save_messages(f"thread {number}", held["items"])
    memory.load_messages(f"thread {number}")


# ------------------------------------------------------------------------------- the budget itself


def weight(key: int, value: int) -> int:
    return value


def held(cache: Cache[int, int]) -> int:
    return sum({**cache._old, **cache._young}.values())


def test_caches_of_one_budget_stay_within_it_together() -> None:
    budget = Budget(1000)
    caches = [Cache(budget, weight) for _ in range(3)]
    rolls = random.Random(7)
    for _ in range(20_000):
        cache, key = rolls.choice(caches), rolls.randrange(300)
        if rolls.random() < 0.5:
            cache.get(key)
        else:
            cache.put(key, rolls.randrange(1, 60))
        assert sum(map(held, caches)) <= 1000


def test_what_is_read_again_and_again_counts_every_time_it_outlives_others() -> None:
    budget = Budget(1000)
    cache: Cache[int, int] = Cache(budget, weight)
    for key in range(3000):
        cache.put(key, 1)
        for other in range(max(0, key - 900), key, 3):
            cache.get(other)
        assert held(cache) <= 1000


def test_what_is_used_stays_and_what_was_used_least_lately_goes_whatever_its_kind() -> None:
    budget = Budget(1000)
    busy, idle = Cache(budget, weight), Cache(budget, weight)
    busy.put(0, 10)
    idle.put(0, 10)
    for key in range(1, 400):
        busy.put(key, 10)
        assert busy.get(0) == 10
    assert idle.get(0) is None


def test_what_outweighs_the_budget_is_kept_alone_where_that_is_asked_for() -> None:
    budget = Budget(1000)
    strict, lenient = Cache(budget, weight), Cache(budget, weight, any_weight=True)
    strict.put(1, 501)
    assert strict.get(1) is None
    strict.put(2, 10)
    for key in range(5):
        lenient.put(key, 700)
        assert lenient.get(key) == 700
    assert strict.get(2) is None
    assert held(lenient) <= 1400


def test_what_grows_while_it_is_kept_counts() -> None:
    budget = Budget(1000)
    grown: list[int] = []
    cache: Cache[int, list[int]] = Cache(budget, lambda key, value: 8 * len(value), any_weight=True)
    cache.put(0, grown)
    others: Cache[int, int] = Cache(budget, weight)
    others.put(0, 400)
    for _ in range(100):
        grown.append(0)
        cache.put(0, grown, 8 * len(grown) - 8)
    assert cache.get(0) is grown
    assert others.get(0) is None


def test_a_cache_that_is_gone_takes_nothing() -> None:
    budget = Budget(1000)
    for _ in range(50):
        Cache(budget, weight).put(1, 1)
    gc.collect()
    assert len(budget._caches) == 0


# ---------------------------------------------------------------------------------------- stores

REMEMBERING = [row for row in STORES if row.name in ("sqlite", "files", "valkey")]


@pytest.mark.timeout(max(120, THREADS // 20))
@pytest.mark.parametrize("row", REMEMBERING, ids=[row.name for row in REMEMBERING])
def test_many_threads_take_no_more_memory_than_a_few(row: Any, tmp_path: Path, growth: Any) -> None:
    with open_memory(or_skip(lambda: row.make_url(tmp_path)), cache_size="64KiB") as memory:
        done = itertools.count()

        def more(count: int) -> None:
            for _ in range(count):
                meet(memory, next(done))

        more(130)  # as many as fill what has a fixed size
        assert growth(lambda: more(THREADS)) < 64_000


@pytest.mark.parametrize("cache", ["0", "4KiB"])
@pytest.mark.parametrize("row", REMEMBERING, ids=[row.name for row in REMEMBERING])
def test_what_is_forgotten_at_any_moment_is_never_missed(row: Any, tmp_path: Path, cache: str) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with open_memory(or_skip(lambda: row.make_url(tmp_path)), cache_size=cache) as memory:
            graph = graphs.counting(memory.get_langgraph_checkpointer())

            def go_on(number: int) -> None:
                for turn in range(1, 4):
                    begun = {"log": [{"number": number, "turn": turn, "text": "word " * 60} for _ in range(20)]}
                    found = graph.invoke(begun, config(str(number)))
                    assert [item["turn"] for item in found["log"] if isinstance(item, dict)] == [
                        n for n in range(1, turn + 1) for _ in range(20)
                    ]

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(go_on, range(8)))
    finally:
        sys.setswitchinterval(interval)


def test_a_few_huge_threads_take_no_more_memory_than_one(tmp_path: Path, growth: Any) -> None:
    with open_memory(f"sqlite:///{tmp_path}/huge.db", cache_size="256KiB") as memory:

        def meet(number: int) -> None:
            where = config(f"thread {number}")
            held = [f"{number} {position} " + "word " * 250 for position in range(1500)]
            put(memory, where, {"items": held})
            found = memory.get_langgraph_checkpointer().get(where)
            assert found is not None
            assert found["channel_values"]["items"] == held

        meet(0)
        assert growth(lambda: [meet(number) for number in range(1, 6)]) < 128_000


def test_a_run_knows_its_thread_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    with open_memory(f"sqlite:///{tmp_path}/run.db", cache_size="16KiB") as memory:
        saver = memory.get_langgraph_checkpointer()

        def meet_others(node: str) -> None:
            for _ in range(12):
                meet(memory, next(others))

        others = itertools.count()
        graph = graphs.counting(saver, meet_others)
        graph.invoke({"log": [{"number": number, "text": f"element {number}"} for number in range(2000)]}, config())
        gc.collect()
        count_chunks(memory, monkeypatch, sent)
        graph.invoke({"log": ["on"]}, config(), durability="sync")
        assert len(graph.get_state(config()).values["log"]) == 2007
    assert len(sent) == 5
    assert max(sent) < 20


def count_chunks(memory: Memory, monkeypatch: pytest.MonkeyPatch, sent: list[int]) -> None:
    """Note how many chunks each put of the thread t sends."""
    store = memory.store.backend.put

    def count(new: NewCheckpoint) -> Any:
        if new.thread == "t":
            sent.append(len(new.chunks))
        return store(new)

    monkeypatch.setattr(memory.store.backend, "put", count)


def test_a_thread_that_outweighs_the_budget_is_not_sent_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    with open_memory(f"sqlite:///{tmp_path}/huge.db", cache_size="16KiB") as memory:
        count_chunks(memory, monkeypatch, sent)
        held = [{"number": number, "text": f"element {number} " * 40} for number in range(8000)]
        where = put(memory, config(), {"items": held})
        for number in range(12):
            held = [*held, {"number": number, "text": "one more"}]
            where = put(memory, where, {"items": held})
        found = memory.get_langgraph_checkpointer().get(where)
        assert found is not None
        assert found["channel_values"]["items"] == held
    assert sent[0] > 300
    assert sum(sent[1:]) < 12 * 20
