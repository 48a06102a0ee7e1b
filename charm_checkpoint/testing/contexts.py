"""Runs whose steps have no context in common, as a server's streams have none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextvars import Context
from functools import partial
from typing import Any

import pytest
from langgraph.checkpoint.base import Checkpoint

from charm_checkpoint.errors import ThreadConflict, ThreadDeleted
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.conflicts import MARK, marked, meanwhile, once
from charm_checkpoint.testing.runs import state
from charm_checkpoint.testing.samples import checkpoint, config, versions
from charm_checkpoint.testing.saver_methods import config_all

_END = object()


class Stream(InMode):
    """A graph that runs as a stream, each step of it in a thread, or a task, and a context of its own."""

    def invoke(self, *args: Any, **options: Any) -> Any:
        """Run the graph; return the last values."""
        options["stream_mode"] = "values"
        return self.mode.run(
            lambda: _in_threads(self.raw.stream(*args, **options)),
            lambda: _in_tasks(self.raw.astream(*args, **options)),
        )


def _in_threads(stream: Iterator[Any]) -> Any:
    last = None
    while (item := meanwhile(partial(next, stream, _END))) is not _END:
        last = item
    return last


async def _in_tasks(stream: AsyncIterator[Any]) -> Any:
    async def step() -> Any:
        return await anext(stream, _END)

    last = None
    while (item := await Context().run(asyncio.create_task, step())) is not _END:
        last = item
    return last


class Streams(Suite):
    """No conflict that is none, each that is one, and deleted stays deleted, whatever context a step runs in."""

    @pytest.mark.parametrize("durability", ["sync", "exit"])
    def test_a_stream_from_an_older_checkpoint_is_no_conflict(
        self, strict: InMode, graphs: Any, durability: str
    ) -> None:
        graph = Stream(graphs.counting(strict.raw), strict.mode)
        for _ in range(2):
            graph.invoke({"log": ["in"]}, config(), durability=durability)
        history = graph.get_state_history(config())
        older = history[len(history) // 2]
        for _ in range(2):
            graph.invoke(None, older.config, durability=durability)
            assert state(graph)["log"][-1] == "three"
            graph.invoke({"log": ["new"]}, older.config, durability=durability)
            assert state(graph)["log"] == [*older.values["log"], "new", "one", "two", "three"]
            graph.invoke({"log": ["on"]}, config(), durability=durability)
        assert state(graph)["log"][-4:] == ["on", "one", "two", "three"]

    def test_a_stream_from_an_older_checkpoint_is_not_marked(self, saver: InMode, graphs: Any) -> None:
        graph = Stream(graphs.counting(saver.raw), saver.mode)
        graph.invoke({"log": ["in"]}, config())
        graph.invoke({"log": ["new"]}, graph.get_state_history(config())[2].config)
        assert marked(saver) == []

    @pytest.mark.parametrize("stable", [True, False], ids=["stable", "task"])
    def test_subgraphs_of_a_stream(self, strict: InMode, graphs: Any, stable: bool) -> None:
        graph = Stream(graphs.between(strict.raw, lambda node: None, stable=stable), strict.mode)
        for _ in range(2):
            graph.invoke({"log": ["in"]}, config(), durability="exit")
        graph.invoke({"log": ["new"]}, graph.get_state_history(config())[1].config, durability="exit")
        graph.invoke({"log": ["on"]}, config(), durability="exit")
        assert state(graph)["log"][-1] == "three"

    def test_an_answer_to_an_older_question(self, strict: InMode, asking: Any) -> None:
        graph = Stream(asking.paused(strict.raw), strict.mode)
        graph.invoke({"log": ["in"]}, config(), durability="exit")
        asked = graph.get_state(config()).config
        for _ in range(2):
            graph.invoke(asking.Command(resume="yes"), asked, durability="exit")
            graph.invoke(asking.Command(resume="no"), config(), durability="exit")
            assert state(graph)["log"][-1] == "end"

    def test_forks_of_a_stream(self, strict: InMode, graphs: Any) -> None:
        graph = Stream(graphs.counting(strict.raw), strict.mode)
        graph.invoke({"log": ["in"]}, config())
        older = graph.get_state_history(config())[2].config
        where = InMode(graph.raw, strict.mode.elsewhere()).update_state(older, {"log": ["update"]}, as_node="one")
        graph.invoke(None, where)
        graph.invoke({"log": ["in"]}, older)
        graph.invoke(None, where)
        assert state(graph)["log"][-3:] == ["update", "two", "three"]

    @pytest.mark.parametrize("named", [True, False], ids=["named", "head"])
    def test_two_streams_from_one_checkpoint_conflict(self, strict: InMode, graphs: Any, named: bool) -> None:
        other = graphs.counting(strict.raw)
        Stream(other, strict.mode).invoke({"log": ["first"]}, config())
        start = InMode(other, strict.mode).get_state(config()).config if named else config()
        interfere = once("two", lambda: other.invoke({"log": ["other"]}, start, durability="sync"))
        graph = Stream(graphs.counting(strict.raw, interfere), strict.mode)
        with pytest.raises(ThreadConflict):
            graph.invoke({"log": ["mine"]}, start, durability="exit")
        head = InMode(other, strict.mode.elsewhere()).get_state(config()).values["log"]
        assert "other" in head
        assert head[-1] == "three"

    def test_a_conflict_of_streams_is_marked_once(self, saver: InMode, graphs: Any) -> None:
        other = graphs.counting(saver.raw)
        interfere = once("two", lambda: other.invoke({"log": ["other"]}, config(), durability="sync"))
        Stream(graphs.counting(saver.raw, interfere), saver.mode).invoke({"log": ["mine"]}, config(), durability="sync")
        assert len(marked(saver)) == 1

    def test_a_config_of_the_head_goes_on_and_is_noticed_once_it_is_not(self, strict: InMode, graphs: Any) -> None:
        graph = Stream(graphs.counting(strict.raw), strict.mode)
        graph.invoke({"log": ["in"]}, config())
        kept = graph.get_state(config()).config
        assert set(kept["configurable"]) == {"thread_id", "checkpoint_ns", "checkpoint_id"}
        graph.invoke({"log": ["on"]}, kept)
        graph.invoke({"log": ["branch"]}, kept)  # on purpose by now: it names what is no longer the head
        assert state(graph)["log"] == ["in", "one", "two", "three", "branch", "one", "two", "three"]

    def test_a_run_that_was_cancelled_is_no_other_writer(self, strict: InMode, graphs: Any) -> None:
        if strict.mode.name == "blocking":
            pytest.skip("a blocking run is not cancelled")
        graph = graphs.counting(strict.raw)

        async def cancel_and_go_on(number: int, steps: int) -> None:
            where = config(f"cancelled {number}")
            run = asyncio.create_task(graph.ainvoke({"log": ["first"]}, where))
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            end = await graph.ainvoke({"log": ["second"]}, where)
            assert end["log"][-4:] == ["second", "one", "two", "three"]
            assert (await graph.aget_state(where)).values == end

        async def all_of_them() -> None:
            for number in range(15):
                await cancel_and_go_on(number, 2 * number)

        strict.mode.run(lambda: None, all_of_them)

    def test_a_read_between_two_puts_of_a_run_waits_for_the_second(self, saver: InMode) -> None:
        if saver.mode.name == "blocking":
            pytest.skip("a blocking run is not cancelled")

        async def put_after(previous: asyncio.Task[Any] | None, made: Checkpoint, parent: Any) -> Any:
            if previous is not None:
                await previous
            return await saver.raw.aput(parent, made, {}, versions(made))

        async def read_when_one_is_over(thread: str, steps: int) -> None:
            parent, task, tasks = config(thread), None, []
            for _ in range(3):
                made = checkpoint({"a": 1})
                task = asyncio.create_task(put_after(task, made, parent))
                tasks.append(task)
                parent = config(thread, id=made["id"])
            await tasks[0]
            for _ in range(steps):
                await asyncio.sleep(0)
            assert (await saver.raw.aget_tuple(config(thread))).checkpoint["id"] == made["id"]
            await asyncio.gather(*tasks)

        async def at_each_step() -> None:
            for steps in range(6):
                await read_when_one_is_over(f"chain {steps}", steps)

        saver.mode.run(lambda: None, at_each_step)

    def test_what_a_run_carries_is_not_seen_outside(self, saver: InMode, graphs: Any) -> None:
        graph = InMode(graphs.between(saver.raw, lambda node: None, stable=True), saver.mode)
        graph.invoke({"log": ["in"]}, config())
        older = graph.get_state_history(config())[1].config
        given = {"configurable": {**older["configurable"]}}
        shown = graph.stream({"log": ["new"]}, given, stream_mode=["debug", "checkpoints", "values"], subgraphs=True)
        assert given == {"configurable": {**older["configurable"]}}
        assert "charm_seen" not in repr(shown)
        assert "charm_seen" not in repr(saver.list(config_all("t")))
        assert "charm_seen" not in repr(graph.get_state(config(), subgraphs=True))

    @pytest.mark.parametrize("durability", ["async", "exit"])
    def test_a_stream_does_not_bring_a_thread_back(self, saver: InMode, graphs: Any, durability: str) -> None:
        InMode(graphs.counting(saver.raw), saver.mode).invoke({"log": ["before"]}, config())
        interfere = once("two", lambda: saver.raw.delete_thread("t"))
        self.refused(saver, Stream(graphs.counting(saver.raw, interfere), saver.mode), durability)

    def test_a_first_stream_does_not_bring_back_what_another_began(self, saver: InMode, graphs: Any) -> None:
        def begin_and_delete() -> None:
            graphs.counting(saver.raw).invoke({"log": ["other"]}, config())
            saver.raw.delete_thread("t")

        interfere = once("two", begin_and_delete)
        self.refused(saver, Stream(graphs.counting(saver.raw, interfere), saver.mode), "exit")

    @pytest.mark.parametrize(("node", "durability"), [("one", "async"), ("one", "exit"), ("inner", "exit")])
    @pytest.mark.parametrize("stable", [True, False], ids=["stable", "task"])
    def test_a_subgraph_does_not_bring_a_thread_back(
        self, saver: InMode, graphs: Any, stable: bool, node: str, durability: str
    ) -> None:
        InMode(graphs.between(saver.raw, lambda node: None, stable=stable), saver.mode).invoke({"log": []}, config())
        interfere = once(node, lambda: saver.raw.delete_thread("t"))
        self.refused(saver, Stream(graphs.between(saver.raw, interfere, stable=stable), saver.mode), durability)

    def refused(self, saver: InMode, graph: InMode, durability: str) -> None:
        """Run a graph in which the thread is deleted; afterwards it can be begun anew."""
        with pytest.raises(ThreadDeleted, match="'t'"):
            graph.invoke({"log": ["in"]}, config(), durability=durability)
        assert saver.list(config_all("t")) == []
        for runner in (graph, Stream(graph.raw, saver.mode.elsewhere())):
            runner.invoke({"log": ["afresh"]}, config(), durability=durability)
        log = state(graph)["log"]
        assert (log[0], log[-1]) == ("afresh", "three")
        assert "in" not in log
        assert MARK not in graph.get_state(config()).metadata
