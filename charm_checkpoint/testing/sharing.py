"""One object for any thread, loop and process; nothing blocks, nothing stops at a page's size."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from charm_checkpoint.contract import capabilities
from charm_checkpoint.errors import ThreadConflict
from charm_checkpoint.memory import Memory
from charm_checkpoint.plan import Plan
from charm_checkpoint.testing.backend_checkpoints import writes
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CALL_MODES, InMode
from charm_checkpoint.testing.samples import checkpoint, config, exact, ids, new, unsealed, values
from charm_checkpoint.testing.saver_methods import chain, config_all, put
from charm_checkpoint.testing.scenarios import be_killed_after_a_put

THREADS = 16
MANY = 1010
"""Checkpoints of one thread: more than any page, default limit or batch is likely to hold."""


class Sharing(Suite):
    """One saver, many callers."""

    def test_one_saver_serves_both_halves_and_several_loops(self, memory: Memory, graphs: Any) -> None:
        graph = graphs.counting(memory.get_langgraph_checkpointer())
        graph.invoke({"log": [0]}, config())

        async def again(n: int) -> Any:
            found = await graph.ainvoke({"log": [n]}, config())
            return found["log"], [item async for item in graph.aget_state_history(config())]

        for n in (1, 2):
            log, history = asyncio.run(again(n))
            assert (len(log), len(history)) == (4 * (n + 1), 5 * (n + 1))
        assert len(graph.invoke({"log": [3]}, config())["log"]) == 16
        assert len(list(graph.get_state_history(config()))) == 20

    def test_many_threads_at_once(self, memory: Memory, graphs: Any) -> None:
        graph = graphs.counting(memory.get_langgraph_checkpointer())

        def run(number: int) -> Any:
            for _ in range(2):
                result = graph.invoke({"log": [number]}, config(f"thread {number}"))
            return result["log"]

        with ThreadPoolExecutor(THREADS) as pool:
            results = list(pool.map(run, range(THREADS)))
        assert results == [[n, "one", "two", "three"] * 2 for n in range(THREADS)]

    def test_many_tasks_at_once(self, memory: Memory, graphs: Any) -> None:
        graph = graphs.counting(memory.get_langgraph_checkpointer())

        async def run(number: int) -> Any:
            return (await graph.ainvoke({"log": [number]}, config(f"thread {number}")))["log"]

        async def all_at_once() -> list[Any]:
            return list(await asyncio.gather(*(run(n) for n in range(THREADS))))

        assert asyncio.run(all_at_once()) == [[n, "one", "two", "three"] for n in range(THREADS)]

    def test_of_writers_at_once_one_wins_each_turn(self, strict: InMode) -> None:
        saver = strict.raw
        won: list[Any] = []
        start = threading.Barrier(8)

        def add(number: int) -> None:
            start.wait()
            for turn in range(5):
                made = checkpoint({"by": number}, id=f"{number}-{turn}")
                head = saver.get_tuple(config())
                try:
                    won.append(saver.put(head.config if head else config(), made, {"source": "loop"}, {"by": 1}))
                except ThreadConflict:
                    continue

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add, range(8)))
        found = strict.list(config())
        assert len(found) == len(won) >= 5
        for later, earlier in zip(found, found[1:], strict=False):
            assert later.parent_config == earlier.config

    def test_writers_and_a_pruner_at_once_leave_all_readable(self, saver: InMode) -> None:
        raw = saver.raw
        stop = threading.Event()

        def prune() -> None:
            while not stop.is_set():
                raw.prune(["t"])

        pruner = threading.Thread(target=prune)
        pruner.start()
        held: dict[str, Any] = {"log": [{"n": n, "text": "x" * 50} for n in range(200)]}
        where: Any = config()
        for n in range(25):
            held["log"] = [*held["log"][n % 3 :], {"n": n}]
            made = checkpoint(held, version=n)
            where = raw.put(where, made, {"source": "loop"}, {"log": n})
            assert raw.get_tuple(where).checkpoint["channel_values"] == held
        stop.set()
        pruner.join()
        assert saver.get(config())["channel_values"] == held

    def test_a_paused_listing_blocks_nobody(self, saver: InMode) -> None:
        configs = chain(saver, 3)
        raw = saver.raw
        stream = raw.list(config())
        next(stream)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(raw.put, configs[-1], checkpoint(), {"source": "loop"}, {}).result(timeout=20)
        assert len(list(stream)) == 2

        async def pause() -> int:
            stream = raw.alist(config())
            await stream.__anext__()
            await asyncio.wait_for(raw.aput_writes(configs[0], [("a", 1)], "task"), 20)
            await asyncio.wait_for(raw.aput(configs[-1], checkpoint(), {"source": "fork"}, {}), 20)
            return len([item async for item in stream])

        assert asyncio.run(pause()) == 3

    def test_a_cancelled_call_leaves_the_store_usable(self, saver: InMode) -> None:
        raw = saver.raw
        [where] = chain(saver, 1)

        async def cancel() -> None:
            tasks = [asyncio.create_task(raw.aput_writes(where, [("a", n)], f"task {n}")) for n in range(20)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert len((await raw.aget_tuple(where)).pending_writes) >= 10

        asyncio.run(cancel())
        put(saver, where)


class Processes(Suite):
    """The store opened twice, and after a process was killed."""

    def test_the_other_reads_exactly_what_one_put(self, saver: InMode, second: Memory) -> None:
        other = InMode(second.get_langgraph_checkpointer(), saver.mode.elsewhere())
        where = put(saver, config(), checkpoint(values()), nested={"a": [None, 1.0]})
        saver.put_writes(where, list(values().items()), "task", "path")
        assert exact(other.get_tuple(config())) == exact(saver.get_tuple(where))
        assert exact(other.list(None)) == exact(saver.list(None))

    def test_two_take_turns_without_a_conflict(self, saver: InMode, second: Memory) -> None:
        other = InMode(second.get_langgraph_checkpointer(), saver.mode.elsewhere())
        held: list[Any] = []
        for turn in range(40):
            one = (saver, other)[turn % 2]
            head = one.get_tuple(config())
            assert turn == 0 or head.checkpoint["channel_values"]["log"] == held
            held = [*held, {"turn": turn, "text": "x" * 100}]
            slow = f"{1000 - turn:06}" if turn % 2 else f"{turn:06}"
            put(one, head.config if head else config(), checkpoint({"log": held}, id=slow, version=turn))
        found = saver.list(config())
        assert [len(item.checkpoint["channel_values"]["log"]) for item in found] == list(range(40, 0, -1))
        assert not any("charm_conflict" in item.metadata for item in found)

    def test_the_other_notices_a_sweep_and_a_delete(self, saver: InMode, second: Memory) -> None:
        other = InMode(second.get_langgraph_checkpointer(), saver.mode.elsewhere())
        held = {"log": [{"n": n} for n in range(500)]}
        first = put(saver, config(), checkpoint(held))
        emptied = put(other, first, checkpoint({"log": []}, version=2))
        other.prune(["t"])
        again = put(saver, emptied, checkpoint(held, version=3))
        assert other.get(again)["channel_values"] == saver.get(again)["channel_values"] == held
        other.delete_thread("t")
        fresh = put(saver.elsewhere(), config(), checkpoint(held))
        assert other.get(fresh)["channel_values"] == held

    def test_messages_too(self, memory: Memory, second: Memory, mode: Any) -> None:
        stores = [InMode(memory, mode), InMode(second, mode)]
        for n in range(10):
            stores[n % 2].append_messages("t", [{"n": n}])
        assert [message["n"] for message in stores[0].load_messages("t")] == list(range(10))
        assert stores[0].load_messages("t") == stores[1].load_messages("t")

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
    def test_what_was_put_survives_sigkill(self, saver: InMode, memory: Memory, url: str) -> None:
        if not capabilities(memory.store.backend).durable:
            pytest.skip("this store does not declare the ability `durable`")
        be_killed_after_a_put(url)
        found = saver.get_tuple(config())
        assert found.checkpoint["id"] == "last"
        assert exact(found.checkpoint["channel_values"]) == exact(values())
        assert exact(found.pending_writes) == exact([("task", *item) for item in values().items()])


class NoCaps(Suite):
    """Long threads."""

    @pytest.fixture
    def long(self, url: str) -> Iterator[Memory]:
        """Yield a store with a thread of `MANY` checkpoints, half of them in a namespace, some with writes."""
        with Memory({"url": url}) as memory:
            saver, backend = memory.get_langgraph_checkpointer(), memory.store.backend
            saver.put_writes(saver.put(config("template"), checkpoint({"n": 1}), {}, {"n": 1}), [("x", 1)], "task")
            found = memory.store.run(lambda: backend.find("template", "", None), write=False)
            assert found.row is not None
            body, written = unsealed(found.row.body), unsealed(found.writes[0])
            saver.delete_thread("template")

            def fill() -> Plan[None]:
                for n in range(MANY):
                    ns = "sub" if n % 2 else ""
                    record = new(f"{n}", str(n - 2), ns=ns, body=body, run=f"r{n % 3}")
                    yield from backend.put(record)
                    if n % 10 == 0:
                        yield from backend.put_writes(writes(written, f"{n}", ns=ns))

            memory.store.run(fill, write=True)
            yield memory

    def test_all_are_listed_copied_pruned_and_deleted(self, long: Memory) -> None:
        # Both modes, one after the other: over a network, the checkpoints take longer to store than the steps take.
        call_modes = [make() for make in CALL_MODES.values()]
        savers = [InMode(long.get_langgraph_checkpointer(), mode) for mode in call_modes]
        expected = [str(n) for n in range(MANY)][::-1]
        for saver in savers:
            self.manage(saver, expected)
        savers[0].copy_thread("t", "u")
        for saver, run in zip(savers, range(3), strict=False):
            saver.delete_for_runs([f"r{run}"])
            for thread in ("t", "u"):
                assert ids(saver.list(config_all(thread))) == [id for id in expected if int(id) % 3 > run]
        for mode in call_modes:
            mode.close()

    def manage(self, saver: InMode, expected: list[str]) -> None:
        """List the long thread, and do to copies of it what can be done."""
        found = saver.list(config_all("t"))
        assert ids(found) == expected
        written = [item for item in found if item.pending_writes == [("task", "x", 1)]]
        assert ids(written) == [id for id in expected if int(id) % 10 == 0]
        assert ids(saver.list(config_all("t"), limit=MANY - 5)) == expected[:-5]
        assert ids(saver.list(config_all("t"), filter={"source": "input"})) == []
        saver.copy_thread("t", "u")
        assert len(saver.list(None)) == 2 * MANY
        saver.prune(["u"])
        assert ids(saver.list(config_all("u"))) == expected[:2]
        saver.delete_thread("u")
        assert saver.list(config_all("u")) == []
        saver.copy_thread("t", "u")
        saver.delete_thread("u")
        assert ids(saver.list(None)) == expected
