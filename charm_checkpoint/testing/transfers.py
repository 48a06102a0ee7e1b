"""Copies from store to store: what is there afterwards is what was there before, and a second copy changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from charm_checkpoint.memory import Memory
from charm_checkpoint.retention import Retention, sweeping
from charm_checkpoint.saver.threads import is_staging
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.samples import config
from charm_checkpoint.testing.transfer_samples import THREADS, everything, fill, fill_chat, marks, put
from charm_checkpoint.transfer import walking, writing
from charm_checkpoint.transfer.copying import Wanted
from charm_checkpoint.transfer.hops import Hop, drive
from charm_checkpoint.transfer.moving import copy
from charm_checkpoint.transfer.report import MoveProgress


class Killed(GeneratorExit):
    """Stands for the end of the process: nothing is done any more."""


def staged(memory: Memory) -> list[str]:
    """Return the names of the threads that are being put together, once some of one is there."""
    page = memory.store.run(lambda: memory.store.backend.threads(None, 100), write=False)
    rows = [row for row in page.items if row.checkpoints > 2]
    return [row.thread for row in rows if row.thread is not None and is_staging(row.thread)]


def copy_with(source: Memory, target: Memory, mode: CallMode, half_way: Callable[[], None]) -> None:
    """Copy, and do something once as a thread is half there."""
    done: list[str] = []

    def make(hop: Hop) -> Any:
        reply = InMode(hop.store, mode).run(hop.make, write=hop.write, thread=hop.thread)
        if not done and hop.store is target.store:
            done.extend(staged(target))
            if done:
                half_way()
        return reply

    drive(copy(source.store, target.store, "source", Wanted()), make)
    assert done


class Transfers(Suite):
    """The store as the target of a copy, and as its source."""

    @pytest.fixture
    def source(self) -> Any:
        """Yield a store in RAM that holds something of everything."""
        with Memory({"url": "memory://"}) as memory:
            fill(memory)
            yield memory

    @pytest.fixture
    def back(self) -> Any:
        """Yield an empty store in RAM."""
        with Memory({"url": "memory://"}) as memory:
            yield memory

    def test_there_and_back_everything_is_the_same(
        self, source: Memory, memory: Memory, back: Memory, mode: CallMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (walking, writing):
            monkeypatch.setattr(module, "PART", 4000)  # so that some checkpoints are sent in parts
        before = everything(source)
        there = InMode(source, mode).copy_to(memory)
        assert there.complaints() == [] and there.complete and there.verified
        assert (there.threads, there.unchanged, there.items) == (len(THREADS), 0, len(before["items"]))
        assert everything(memory) == before
        home = InMode(memory, mode).copy_to(back)
        assert home.complaints() == []
        assert (home.threads, home.checkpoints, home.writes, home.items) == (
            there.threads, there.checkpoints, there.writes, there.items,
        )  # fmt: skip
        assert everything(back) == before
        again = InMode(source, mode).copy_to(memory)
        assert (again.threads, again.unchanged, again.bytes) == (0, len(THREADS), 0)
        assert (again.items, again.items_unchanged) == (0, len(before["items"]))

    def test_what_the_source_has_got_since_is_added(self, source: Memory, memory: Memory, mode: CallMode) -> None:
        InMode(source, mode).copy_to(memory)
        fill_chat(source, 2, begin=12)
        saver = source.get_langgraph_checkpointer()
        saver.put_writes(saver.get_tuple(config("branches")).config, [("n", 9)], "late")  # type: ignore[union-attr]
        source.append_messages("both", [{"role": "user", "content": "more"}])
        source.get_langgraph_store().put(("users",), "k", {"text": "changed"})
        looked = InMode(source, mode).copy_to(memory, dry_run=True)
        report = InMode(source, mode).copy_to(memory)
        assert report.complaints() == []
        counts = (report.threads, report.checkpoints, report.messages, report.items)
        assert counts == (3, 4, 1, 1) == (looked.threads, looked.checkpoints, looked.messages, looked.items)
        assert everything(memory) == everything(source)

    def test_what_the_target_holds_otherwise_is_refused_or_skipped(
        self, source: Memory, memory: Memory, mode: CallMode
    ) -> None:
        put(memory, config("chat"), {"n": 1})
        memory.save_messages("only a list", [{"role": "user", "content": "another"}])
        memory.get_langgraph_store().put(("users",), "k", {"text": "another"})
        before = everything(memory)
        report = InMode(source, mode).copy_to(memory)
        named = [place.thread or place.item for place in report.refused]
        assert {"chat", "only a list"} < set(named) and len(named) == 3 and not report.complete
        report = InMode(source, mode).copy_to(memory, skip_existing=True)
        assert sorted(report.skipped) == ["chat", "only a list"] and report.items_skipped == 1 and report.complete
        after, wanted = everything(memory), everything(source)
        for kind in ("checkpoints", "records"):
            assert after[kind]["chat"] == before[kind]["chat"] != wanted[kind]["chat"]
            assert after[kind]["branches"] == wanted[kind]["branches"]
        assert after["messages"]["only a list"] == before["messages"]["only a list"]

    def test_some_threads_alone_and_looking_only(self, source: Memory, memory: Memory, mode: CallMode) -> None:
        whole = InMode(source, mode).copy_to(memory, dry_run=True)
        assert (whole.threads, whole.unchanged) == (len(THREADS), 0) and whole.dry_run and not whole.verified
        assert list(memory.threads()) == []
        report = InMode(source, mode).copy_to(memory, threads=["branches", "nobody's"], messages=False)
        assert [place.thread for place in report.damaged] == ["nobody's"]
        assert [info.thread_id for info in memory.threads()] == ["branches"]
        assert everything(memory)["items"] == {}
        looked = InMode(source, mode).copy_to(memory, dry_run=True)
        assert (looked.threads, looked.unchanged) == (len(THREADS) - 1, 1)

    def test_what_a_copy_is_putting_together_is_nobodys_thread_yet(
        self, memory: Memory, back: Memory, mode: CallMode
    ) -> None:
        fill_chat(back, 12)
        put(memory, config("own"), {"n": 1})
        store = InMode(memory, mode)

        def half_way() -> None:
            store.raw.pin(*staged(memory))
            assert store.sweep(Retention(keep_last=1)).looked_at == 1
            for order in ("activity", "id"):
                assert [info.thread_id for info in store.threads(order=order)] == ["own"]
            assert [info.thread_id for info in store.threads(1)] == ["own"]
            size = store.size()
            assert (size.counted + size.uncounted, size.kinds[0].count, store.pins()) == (1, 1, [])
            looked = store.check(integrity=True)
            assert (looked.threads, looked.findings) == (1, [])
            assert store.erase(tenant=True, dry_run=True).threads == 2
            store.raw.unpin(*staged(memory))

        copy_with(back, memory, mode, half_way)
        assert marks(memory, "chat") == marks(back, "chat")
        assert sorted(info.thread_id for info in store.threads()) == ["chat", "own"]

    def test_what_a_killed_copy_left_is_erased_with_the_tenant_and_hinders_none(
        self, memory: Memory, back: Memory, mode: CallMode
    ) -> None:
        fill_chat(back, 12)

        def kill() -> None:
            raise Killed

        said = 0
        with pytest.raises(Killed):
            copy_with(back, memory, mode, kill)
        store = InMode(memory, mode)
        assert (store.threads(), len(staged(memory))) == ([], 1)
        for found in (*store.doctor().findings, *store.check(integrity="only").integrity.findings):
            said += found.message.startswith("1 thread of a copy that was not finished")
        assert said == 2
        assert (store.erase(tenant=True).threads, staged(memory)) == (1, [])
        copy_with(back, memory, mode, lambda: None)
        assert [info.thread_id for info in store.threads()] == ["chat"]

    def test_what_a_killed_copy_left_goes_with_a_sweep_after_a_day(
        self, memory: Memory, back: Memory, mode: CallMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill_chat(back, 12)
        put(memory, config("own"), {"n": 1})
        store, policy = InMode(memory, mode), Retention(keep_last=1)

        def kill() -> None:
            for hours, gone in ((0, 0), (23, 0)):
                sweep_in(hours, gone)
            raise Killed

        def sweep_in(hours: int, gone: int, dry_run: bool = False) -> None:
            monkeypatch.setattr(sweeping, "now", lambda: time.time() + 3600 * hours)
            report = store.sweep(policy, dry_run=dry_run)
            assert (report.looked_at, report.unfinished, report.planned.threads, report.idle.threads) == (
                1, gone, gone, 0,
            )  # fmt: skip

        with pytest.raises(Killed):
            copy_with(back, memory, mode, kill)
        sweep_in(25, 1, dry_run=True)
        assert len(staged(memory)) == 1
        sweep_in(25, 1)
        sweep_in(25, 0)
        assert staged(memory) == [] and [info.thread_id for info in store.threads()] == ["own"]
        copy_with(back, memory, mode, lambda: None)
        assert marks(memory, "chat") == marks(back, "chat")

    def test_what_comes_into_the_target_meanwhile_stays_as_it_is(
        self, source: Memory, memory: Memory, mode: CallMode
    ) -> None:
        rows = source.store.run(lambda: source.store.backend.threads(None, 100), write=False).items
        last, said = str(rows[-1].thread), [{"role": "user", "content": "mine"}]

        def come(at: MoveProgress) -> None:
            if at.done == 1 and not at.checkpoints:
                put(memory, config(last), {"n": 1})
                memory.save_messages(last, said)

        report = InMode(source, mode).copy_to(memory, on_progress=come)
        assert [place.thread for place in report.refused] == [last]
        assert (report.threads, report.damaged, report.moving) == (len(THREADS) - 1, (), ())
        [found] = memory.get_langgraph_checkpointer().list({"configurable": {"thread_id": last}})
        assert found.checkpoint["channel_values"] == {"n": 1} and memory.load_messages(last) == said

    def test_one_that_is_ended_leaves_no_half_and_is_gone_on_with(
        self, source: Memory, memory: Memory, mode: CallMode
    ) -> None:
        def end(at: MoveProgress) -> None:
            if at.done == 2:
                raise ValueError("enough")

        with pytest.raises(ValueError, match="enough"):
            InMode(source, mode).copy_to(memory, on_progress=end)
        page = memory.store.run(lambda: memory.store.backend.threads(None, 100), write=False)
        assert [row for row in page.items if is_staging(row.thread)] == []
        for row in page.items:
            assert marks(memory, str(row.thread)) in ([], marks(source, str(row.thread)))
        report = InMode(source, mode).copy_to(memory)
        assert report.complaints() == [] and report.unchanged >= 2
        assert everything(memory) == everything(source)
