"""What a policy has go, and what it never does; and sweeps beside writers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from langgraph.checkpoint.serde.types import INTERRUPT

from charm_checkpoint.contract import Query, ThreadPage
from charm_checkpoint.errors import ConfigError, ThreadDeleted, ThreadNotFound
from charm_checkpoint.memory import Memory
from charm_checkpoint.plan import run
from charm_checkpoint.retention import Retention
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode, PlansInMode
from charm_checkpoint.testing.damage import JUNK
from charm_checkpoint.testing.samples import checkpoint, chunk, config, ids, new
from charm_checkpoint.testing.saver_methods import put
from charm_checkpoint.testing.stopping import Stopped, Stopping, small_steps

DAY = 86_400
CLOCK = "charm_checkpoint.retention.sweeping.now"


def all_ids(saver: InMode, thread: str = "t", ns: str = "") -> list[str]:
    """Return the ids of a namespace's checkpoints, the first committed first."""
    return ids(saver.list(config(thread, ns)))[::-1]


def line(saver: InMode, length: int, thread: str = "t", ns: str = "", after: Any = None, name: str = "") -> list[Any]:
    """Put checkpoints one after another, named by numbers, that share most of a state; return their configs."""
    at, made = after or config(thread, ns), []
    for n in range(length):
        log = [f"{i} " + "x" * 60 for i in range(20 + n)]
        at = put(saver, at, checkpoint({"log": log}, id=f"{name}{n}"), step=n)
        made.append(at)
    return made


class RetentionSuite(Suite):
    """Fixtures for what follows."""

    @pytest.fixture
    def store(self, memory: Memory, mode: CallMode) -> InMode:
        """Return the store, called in this mode."""
        return InMode(memory, mode)

    @pytest.fixture
    def later(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        """Return what lets so many days pass, as sweeps see it."""
        return lambda days: monkeypatch.setattr(CLOCK, lambda: time.time() + days * DAY)


class WhatGoes(RetentionSuite):
    """What a policy has go of a thread, and what stays whatever it says."""

    def test_the_last_of_each_namespace_stay(self, store: InMode, saver: InMode) -> None:
        line(saver, 8)
        line(saver, 3, "few")
        line(saver, 6, ns="sub")
        head = saver.get(config())
        before = store.usage("t")
        told = store.sweep(Retention(keep_last=4), dry_run=True)
        assert store.usage("t") == before
        report = store.sweep(Retention(keep_last=4))
        after = store.usage("t")
        assert (all_ids(saver), all_ids(saver, ns="sub")) == (["4", "5", "6", "7"], ["2", "3", "4", "5"])
        assert saver.get(config()) == head and len(all_ids(saver, "few")) == 3
        assert (report.looked_at, report.done.threads, report.done.checkpoints) == (2, 1, 6)
        assert report.done == report.planned
        assert report.done.chunks == before.chunks - after.chunks > 0
        assert report.done.bytes == before.payload_bytes - after.payload_bytes > 0
        assert (told.planned, told.done.checkpoints, told.dry_run) == (report.done, 0, True)
        assert store.sweep({"keep_last": 4}).done.checkpoints == 0
        assert [item.checkpoint["channel_values"] for item in saver.list(config())][0] == head["channel_values"]

    def test_what_is_younger_stays_too(self, store: InMode, saver: InMode) -> None:
        at: Any = config()
        for n, days in enumerate((200, 100, 95, 80, 91, 2)):
            made = checkpoint({"n": n}, id=str(n))
            made["ts"] = (datetime.now(timezone.utc) - timedelta(days=days)).isoformat()
            at = put(saver, at, made)
        assert store.sweep(Retention(keep_last=3, keep_for="150d")).done.checkpoints == 1
        assert all_ids(saver) == ["1", "2", "3", "4", "5"]
        store.sweep(Retention(keep_last=1, keep_for="90d"))
        assert all_ids(saver) == ["3", "5"]
        store.sweep(Retention(keep_for="1d"))
        assert all_ids(saver) == ["5"]  # the head, however old it is

    def test_where_branches_begin_stays(self, store: InMode, saver: InMode) -> None:
        trunk = line(saver, 6)
        line(saver, 5, after=trunk[1], name="fork")
        for _ in range(2):
            store.sweep(Retention(keep_last=2))
            assert all_ids(saver) == ["1", "2", "fork0", "fork3", "fork4"]
        store.sweep(Retention(keep_last=2, keep_branches=False))
        assert all_ids(saver) == ["fork3", "fork4"]

    def test_the_end_of_a_branch_that_waits_stays(self, store: InMode, saver: InMode) -> None:
        trunk = line(saver, 4)
        saver.put_writes(trunk[-1], [(INTERRUPT, "well?")], "task")
        line(saver, 5, after=trunk[1], name="fork")
        policy = Retention(keep_last=1, keep_branches=False)
        for _ in range(2):
            store.sweep(policy)
            assert all_ids(saver) == ["3", "fork4"]
        assert [write[1:] for write in saver.get_tuple(trunk[-1]).pending_writes] == [(INTERRUPT, "well?")]
        store.sweep(Retention(keep_last=1, keep_branches=False, keep_interrupted=False))
        assert all_ids(saver) == ["fork4"]

    def test_tasks_go_with_their_root_checkpoint_and_not_before(self, store: InMode, saver: InMode) -> None:
        trunk = line(saver, 4)
        for n in range(4):
            for k in range(3):
                put(saver, config("t", f"sub:{n}"), checkpoint({"k": k}, id=f"{n}.{k}"), parents={"": f"{n}"})
        put(saver, config("t", "sub:early"), checkpoint({}, id="early"), parents={"": "about to come"})
        store.sweep(Retention(keep_last=2))
        kept = {ns: all_ids(saver, ns=ns) for ns in ("sub:0", "sub:1", "sub:2", "sub:3", "sub:early")}
        assert kept == {
            "sub:0": [],
            "sub:1": [],
            "sub:2": ["2.1", "2.2"],
            "sub:3": ["3.1", "3.2"],
            "sub:early": ["early"],
        }
        line(saver, 3, after=trunk[-1], name="more")
        store.sweep(Retention(keep_last=2))
        assert [all_ids(saver, ns=ns) for ns in kept] == [[]] * 5

    def test_what_delta_channels_need_stays(self, store: InMode, saver: InMode, graphs: Any) -> None:
        graph = InMode(graphs.delta(saver.raw), saver.mode)
        for n in range(4):
            graph.invoke({"log": [n], "plain": []}, config())
        before = [item.values for item in graph.get_state_history(config())][:3]
        count = len(saver.list(config()))
        done = store.sweep(Retention(keep_last=3)).done.checkpoints
        assert len(saver.list(config())) == count - done < count
        assert [item.values for item in graph.get_state_history(config())][:3] == before

    def test_a_graph_that_waits_below_goes_on(self, store: InMode, saver: InMode, asking: Any) -> None:
        graph = InMode(asking.nested(saver.raw, pause=True), saver.mode)
        graph.invoke({"log": ["in"]}, config())
        store.sweep(Retention(keep_last=1))
        while graph.get_state(config()).next:
            graph.invoke(asking.Command(resume="yes"), config())
            store.sweep(Retention(keep_last=1))
        assert graph.get_state(config()).values["log"] == ["in", "in", ("inner", "yes"), "after"]

    @pytest.mark.parametrize("how", ["sweep", "prune", "delete_for_runs"])
    def test_what_stays_for_a_delta_channel_can_still_be_answered(
        self, store: InMode, saver: InMode, asking: Any, how: str
    ) -> None:
        graph = InMode(asking.delta_above(saver.raw), saver.mode)
        for n in range(3):
            graph.invoke({"log": [n], "plain": []}, {**config(), "metadata": {"run_id": f"r{n}"}})
        waiting = [item for item in graph.get_state_history(config()) if item.interrupts]
        assert len(waiting) == 3
        if how == "sweep":
            store.sweep(Retention(keep_last=1))
        elif how == "prune":
            saver.prune(["t"])
        else:
            saver.delete_for_runs(["r0", "r1"])
        assert [item.config for item in graph.get_state_history(config()) if item.interrupts] == [
            item.config for item in waiting
        ]
        for item in waiting:
            answer = asking.Command(resume={asked.id: "yes" for asked in item.interrupts})
            done = graph.invoke(answer, item.config)
            assert done["plain"][-2:] == ["first", "yes"] and "__interrupt__" not in done

    def test_writes_that_came_before_their_checkpoint_stay(self, store: InMode, saver: InMode) -> None:
        trunk = line(saver, 4)
        saver.put_writes(config(id="next"), [("log", "early")], "task")
        store.sweep(Retention(keep_last=1))
        put(saver, trunk[-1], checkpoint({}, id="next"))
        assert [write[2] for write in saver.get_tuple(config()).pending_writes] == ["early"]

    def test_pinned_threads_stay(self, store: InMode, saver: InMode, later: Callable[[float], None]) -> None:
        for thread in ("t", "u"):
            line(saver, 4, thread)
        store.pin("t")
        with pytest.raises(ThreadNotFound):
            store.pin("nobody")
        assert store.pins() == ["t"]
        later(40)
        report = store.sweep(Retention(keep_last=1, ttl="30d"))
        assert (len(all_ids(saver)), report.kept_pinned, report.idle.threads) == (4, 1, 1)
        store.unpin("t")
        assert store.pins() == [] and store.sweep(Retention(keep_last=1)).done.checkpoints == 3

    def test_threads_by_name(self, store: InMode, saver: InMode) -> None:
        for thread in ("a", "b", "c"):
            line(saver, 3, thread)
        assert store.sweep(Retention(keep_last=1), threads=["a", "c"]).looked_at == 2
        assert [len(all_ids(saver, thread)) for thread in "abc"] == [1, 3, 1]
        with pytest.raises(ThreadNotFound, match="'nobody'"):
            store.sweep(Retention(keep_last=1), threads=["nobody"])

    def test_without_a_policy_nothing_goes(self, store: InMode) -> None:
        given: list[Any] = [None, {}, Retention()]
        for policy in given:
            with pytest.raises(ConfigError, match="no policy"):
                store.sweep(policy)


class IdleThreads(RetentionSuite):
    """Threads in which nothing was written for long."""

    def test_all_of_an_idle_thread_goes(self, store: InMode, saver: InMode, later: Callable[[float], None]) -> None:
        where = line(saver, 3)[-1]
        late = saver.elsewhere()
        late.get_tuple(config())
        store.append_messages("t", [{"role": "user", "content": "hi"}])
        store.append_messages("said", [{"role": "user", "content": "hi"}])
        policy = Retention(ttl="30d")
        later(29)
        assert store.sweep(policy).idle.threads == 0
        later(31)
        before = store.usage()
        told = store.sweep(policy, dry_run=True)
        assert store.usage() == before
        report = store.sweep(policy)
        assert told.planned == report.planned == report.done == report.idle == told.idle
        assert (report.done.threads, report.done.checkpoints, report.done.bytes) == (2, 3, before.payload_bytes)
        assert (store.threads(), store.load_messages("t"), store.load_messages("said")) == ([], [], [])
        with pytest.raises(ThreadDeleted):
            put(late, where)
        line(saver.elsewhere(), 1)
        assert len(all_ids(saver)) == 1
        later(62)
        store.unpin("t")
        assert store.sweep(Retention(keep_last=1)).forgotten >= 1

    def test_one_that_waits_stays(
        self, store: InMode, saver: InMode, asking: Any, later: Callable[[float], None]
    ) -> None:
        graph = InMode(asking.paused(saver.raw), saver.mode)
        graph.invoke({"log": ["begun"]}, config("waits"))
        line(saver, 2, "idle")
        later(365)
        report = store.sweep(Retention(ttl="30d"))
        assert ([item.thread_id for item in store.threads()], report.kept_waiting) == (["waits"], 1)
        store.sweep(Retention(ttl="30d", keep_interrupted=False))
        assert store.threads() == []

    def test_one_whose_question_is_not_the_last_that_was_written_stays(
        self, store: InMode, saver: InMode, later: Callable[[float], None]
    ) -> None:
        for thread, channel in (("asks, and failed", "__error__"), ("asked, and goes on", "log")):
            at = line(saver, 2, thread)
            saver.put_writes(at[-1], [(INTERRUPT, ["go on?"])], "asks")
            saver.put_writes(at[-1], [(channel, "down")], "beside it")
        at = line(saver, 2, "failed")
        saver.put_writes(at[-1], [("__error__", "down")], "alone")
        later(365)
        report = store.sweep(Retention(ttl="30d"))
        assert {item.thread_id for item in store.threads()} == {"asks, and failed", "asked, and goes on"}
        assert (report.kept_waiting, report.idle.threads) == (2, 1)

    def test_one_that_waits_at_a_breakpoint_stays(
        self, store: InMode, saver: InMode, graphs: Any, later: Callable[[float], None]
    ) -> None:
        graph = graphs.counting(saver.raw)
        graph.interrupt_before_nodes = [name for name in graph.nodes if name != "__start__"]
        InMode(graph, saver.mode).invoke({"log": ["begun"]}, config("waits"))
        assert [item.status for item in store.threads()] == ["unfinished"]
        later(365)
        assert store.sweep(Retention(ttl="30d")).kept_waiting == 1
        assert store.sweep(Retention(ttl="30d", keep_interrupted=False)).idle.threads == 1

    def test_one_that_is_written_to_just_then_stays(self, store: InMode, saver: InMode, memory: Memory) -> None:
        line(saver, 2)
        caller = InMode(memory.store, saver.mode)

        def execute(step: Any) -> Any:
            """Do a step; a listing says what it would have said before somebody wrote."""
            reply = caller.run(step.make, write=step.write, thread=step.thread)
            if isinstance(reply, ThreadPage):
                reply = replace(reply, items=[row._replace(touched_at=1) for row in reply.items])
            return reply

        report = run(memory._sweep(Retention(ttl="30d"), False, None, None), execute)
        assert report.done.threads == 0 and len(all_ids(saver)) == 2


class Sweeps(RetentionSuite):
    """Sweeps that are interrupted, that meet damage, or others who write."""

    def test_an_interrupted_one_goes_on(self, store: InMode, saver: InMode) -> None:
        for n in range(6):
            line(saver, 4, f"t{n}")
        seen = []

        def interrupt(report: Any) -> None:
            seen.append(report)
            if len(seen) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.raw.sweep(Retention(keep_last=1), on_progress=interrupt)
        assert sum(len(all_ids(saver, f"t{n}")) for n in range(6)) == 24 - 9
        report = store.sweep(Retention(keep_last=1))
        assert (report.done.threads, report.done.checkpoints) == (3, 9)
        assert [all_ids(saver, f"t{n}") for n in range(6)] == [["3"]] * 6

    def test_many_checkpoints_go_in_bounded_transactions(
        self, store: InMode, saver: InMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small_steps(monkeypatch)
        monkeypatch.setattr("charm_checkpoint.retention.outlines.PAGE", 5)
        line(saver, 17)
        report = store.sweep(Retention(keep_last=2))
        assert report.done.checkpoints == 15 and report.done == report.planned
        assert all_ids(saver) == ["15", "16"]
        assert [found.checkpoint["id"] for found in saver.list(config(), limit=2)] == ["16", "15"]

    def test_a_removal_that_is_stopped_has_told_writers_of_what_went(
        self, backend: PlansInMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small_steps(monkeypatch)
        for moment in range(6):
            thread = f"t{moment}"
            for n in range(9):
                state = backend.put(new(f"{n}", f"{n - 1}" if n else None, thread=thread, chunks=[chunk(f"{n}")])).state
            with Stopping(moment).setting(), suppress(Stopped):
                backend.remove(thread, [("", f"{n}") for n in range(8)], state.seq)
            left = len(backend.page(Query(thread), None, 99).items)
            late = new("late", "8", thread=thread, roots=chunk("0").address, base_sweeps=state.sweeps)
            assert backend.put(late).outcome == ("stored" if left == 9 else "stale")
            backend.remove(thread, [("", f"{n}") for n in range(8)], None)
            assert [found.row.id for found in backend.page(Query(thread), None, 99).items][-1] == "8"

    def test_damaged_threads_hinder_nothing(self, store: InMode, saver: InMode, backend: PlansInMode) -> None:
        for thread in ("sound", "z"):
            line(saver, 3, thread)
        for n in range(3):
            backend.put(new(f"{n}", f"{n - 1}" if n else None, thread="bad", body=JUNK))
        report = store.sweep(Retention(keep_last=1))
        assert (report.done.threads, report.done.checkpoints) == (2, 4)
        # What cannot be read may be built on what was before it.
        assert {item.thread_id: item.checkpoints for item in store.threads()} == {"sound": 1, "z": 1, "bad": 3}

    def test_beside_one_who_writes_all_the_while(self, store: InMode, saver: InMode, memory: Memory) -> None:
        at = [line(saver, 12)[-1]]
        caller = InMode(memory.store, saver.mode)

        def execute(step: Any) -> Any:
            """Do a step of the sweep, then put another checkpoint."""
            reply = caller.run(step.make, write=step.write, thread=step.thread)
            at[0] = put(saver, at[0], checkpoint({"log": ["y" * 60] * 40}))
            return reply

        report = run(memory._sweep(Retention(keep_last=3), False, None, None), execute)
        assert report.busy == () and report.done.checkpoints >= 9
        found = saver.list(config())
        assert found[0].checkpoint["id"] == at[0]["configurable"]["checkpoint_id"]
        assert all(item.checkpoint["channel_values"]["log"] for item in found)

    @pytest.mark.parametrize(("gone", "kept"), [((), "67"), (("7",), "56")])
    def test_what_somebody_goes_on_from_meanwhile_stays(
        self, store: InMode, saver: InMode, backend: PlansInMode, memory: Memory, gone: tuple[str, ...], kept: str
    ) -> None:
        """Where the newest was removed, too, a newcomer may have its place."""
        trunk = line(saver, 8)
        caller = InMode(memory.store, saver.mode)
        forked: list[Any] = []

        def execute(step: Any) -> Any:
            if step.write and not forked:
                for id in gone:
                    backend.remove("t", [("", id)], None)
                forked.append(put(saver, trunk[2], checkpoint({}, id="fork"), source="fork"))
            return caller.run(step.make, write=step.write, thread=step.thread)

        run(memory._sweep(Retention(keep_last=3), False, None, None), execute)
        assert all_ids(saver) == ["2", "3", *kept, "fork"]

    def test_a_saver_that_knew_the_thread_goes_on(self, store: InMode, saver: InMode, second: Memory) -> None:
        at = line(saver, 6)[-1]
        InMode(second, saver.mode).sweep(Retention(keep_last=1))
        for n in range(3):
            at = put(saver, at, checkpoint({"log": [f"{i} " + "x" * 60 for i in range(26 + n)]}, id=f"more{n}"))
        assert [len(item.checkpoint["channel_values"]["log"]) for item in saver.list(config())] == [28, 27, 26, 25]
