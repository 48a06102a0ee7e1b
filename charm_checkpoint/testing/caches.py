"""Caches: LangGraph's of what nodes return, and LangChain's of what models answer, kept as items."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, Generation

from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemQuery
from charm_checkpoint.items.caches.langchain import CharmLLMCache
from charm_checkpoint.items.caches.langgraph import CharmCache
from charm_checkpoint.items.namespaces import CACHE
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode
from charm_checkpoint.testing.samples import exact

NAMES = (
    (),
    ("",),
    ("a",),
    ("a", "b"),
    ("a,b",),
    ("a", "", "b"),
    ("a\0b",),
    ("a", "b", ""),
    ("ab",),
    ("größe", "\ud800"),
    ("x" * 600,),
    ("x" * 601,),
)
"""Namespaces that are easily taken for one another."""

ANSWER = AIMessage(
    "Window seats.",
    id="run-1",
    response_metadata={"model_name": "m-1", "logprobs": None},
    usage_metadata={
        "input_tokens": 9,
        "output_tokens": 3,
        "total_tokens": 12,
        "input_token_details": {"cache_read": 4},
    },
    tool_calls=[{"name": "book", "args": {"seat": "12A"}, "id": "call-1", "type": "tool_call"}],
)


class Caches(Suite):
    """What is cached comes back, for its time and within bounds; what cannot be had is merely missing."""

    @pytest.fixture
    def cached(self, memory: Memory, mode: CallMode) -> Callable[..., InMode]:
        """Return a function that makes a cache on the store, called in this mode."""
        if memory.store.items is None:
            pytest.skip("this store has no items")
        return lambda **options: InMode(CharmCache(memory.store, **options), mode)

    def test_what_a_node_returned_comes_back(self, cached: Callable[..., InMode]) -> None:
        cache = cached()
        writes = [("messages", [HumanMessage("hi", id="1"), ANSWER]), ("n", {1, 2}), ("branch:to:x", None)]
        cache.set({(("w", "node"), "k"): (writes, None), (("w", "node"), "l"): ([], 60)})
        found = cache.get([(("w", "node"), "k"), (("w", "node"), "l"), (("w", "node"), "m"), (("w",), "k")])
        assert exact(found) == exact({(("w", "node"), "k"): writes, (("w", "node"), "l"): []})
        cache.set({(("w", "node"), "k"): ([("n", 2)], None)})
        assert cache.get([(("w", "node"), "k")]) == {(("w", "node"), "k"): [("n", 2)]}
        assert cached(name="another").get([(("w", "node"), "k")]) == {}

    def test_namespaces_that_look_alike_are_kept_apart(self, cached: Callable[..., InMode]) -> None:
        cache = cached()
        keys = [(name, key) for name in NAMES for key in ("k", "")]
        cache.set({key: (number, None) for number, key in enumerate(keys)})
        assert cache.get(keys) == {key: number for number, key in enumerate(keys)}
        cache.clear([("a",), ("a", "b"), ("x" * 600,), ("not there",)])
        left = [key for key in keys if key[0] not in (("a",), ("a", "b"), ("x" * 600,))]
        assert list(cache.get(keys)) == left
        cache.clear()
        assert cache.get(keys) == {}

    def test_entries_last_as_long_as_they_were_given(self, cached: Callable[..., InMode]) -> None:
        cache = cached(ttl=0.05)
        cache.set({((), "own"): (1, 3600), ((), "default"): (2, None), ((), "none"): (3, 0)})
        assert ((), "none") not in cache.get([((), "none")])
        time.sleep(0.06)
        assert cache.get([((), "own"), ((), "default")]) == {((), "own"): 1}
        for ever in (10**12, 10**400, float("inf")):
            cache.set({((), "ever"): (ever, ever)})
            assert cache.get([((), "ever")]) == {((), "ever"): ever}
        cache.set({((), "default"): (4, 60)})
        assert cache.get([((), "default")]) == {((), "default"): 4}

    def test_the_oldest_entries_make_room(self, cached: Callable[..., InMode]) -> None:
        by_number, by_size = cached(max_entries=4), cached(max_bytes=4000, name="by size")
        keys = [((str(number % 2),), str(number)) for number in range(8)]
        by_number.set({key: (key[1], 0.01 if key == keys[2] else None) for key in keys[:6]})
        by_number.set({key: (key[1], None) for key in keys[6:]})
        assert list(by_number.get(keys)) == keys[4:]
        own = [((), str(number)) for number in range(8)]
        by_size.set({key: (random.Random(key[1]).randbytes(1000), None) for key in own})
        by_size.set({((), "large"): (random.Random(9).randbytes(4000), None)})
        assert list(by_size.get([*own, ((), "large")])) == own[5:]

    def test_damaged_and_foreign_entries_are_missing(
        self, memory: Memory, cached: Callable[..., InMode], mode: CallMode, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache, items, store = cached(), memory.store.items, InMode(memory.store, mode)
        assert items is not None
        keys = [((), str(number)) for number in range(3)]
        cache.set(dict.fromkeys(keys, ("value" * 40, None)))
        rows = store.run(partial(items.page, ItemQuery(CACHE, time.time_ns() // 1000, 10)), write=False)
        one, other, third = rows
        damaged = one.value[:-1] + bytes([one.value[-1] ^ 1])
        changes = [ItemChange(one.space, one.key, damaged), ItemChange(other.space, other.key, third.value)]
        store.run(partial(items.change, ItemBatch(time.time_ns() // 1000, changes=changes)), write=True)
        with caplog.at_level(logging.WARNING, "charm_checkpoint"):
            assert len(cache.get(keys)) == 1
            assert len(cache.get(keys)) == 1
        assert [record.message for record in caplog.records] == [
            "langgraph cache: an entry is damaged, or was not written by this cache: it counts as missing"
        ]
        cache.set(dict.fromkeys(keys, ("again", None)))
        assert set(cache.get(keys).values()) == {"again"}

    def test_of_two_at_once_one_computes(self, cached: Callable[..., InMode], mode: CallMode) -> None:
        cache, key = cached(single_flight=True, lease=60), (("node",), "k")
        assert cache.get([key]) == {}
        assert cache.get([key]) == {}, "whoever computes asks again, and does not wait for itself"
        found: list[Any] = []

        def wait() -> None:
            other = CALL_MODES[mode.name]()
            found.append(InMode(cache.raw, other).get([key]))
            other.close()

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.05)
        assert not found
        cache.set({key: ("computed", None)})
        waiting.join(10)
        assert found == [{key: "computed"}]

    def test_a_lease_ends_when_its_holder_fails(self, cached: Callable[..., InMode]) -> None:
        cache, key = cached(single_flight=True, lease=0.1), (("node",), "k")
        since = time.monotonic()
        assert cache.get([key]) == {}
        other = cache.elsewhere()
        assert other.get([key]) == {}
        assert time.monotonic() - since >= 0.1
        other.set({key: ("computed", None)})
        assert cache.get([key]) == {key: "computed"}

    def test_answers_of_models_come_back(self, memory: Memory, mode: CallMode, cached: Callable[..., InMode]) -> None:
        cache = InMode(CharmLLMCache(memory.store), mode)
        chat = [ChatGeneration(message=ANSWER, generation_info={"finish_reason": "stop"})]
        text = [Generation(text="a", generation_info={"n": 1}), Generation(text="")]
        assert cache.lookup("prompt", "model") is None
        cache.update("prompt", "model", chat)
        cache.update("prompt", "other model", text)
        assert exact(cache.lookup("prompt", "model")) == exact(chat)
        assert exact(cache.lookup("prompt", "other model")) == exact(text)
        assert cache.lookup("promptm", "odel") is None
        nodes = cached()
        nodes.set({((), "k"): (1, None)})
        cache.clear()
        assert cache.lookup("prompt", "model") is None
        assert nodes.get([((), "k")]) == {((), "k"): 1}
