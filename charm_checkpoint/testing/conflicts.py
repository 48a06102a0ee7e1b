"""The second writer is noticed, what is no conflict never is, and what was deleted stays deleted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from typing import Any, TypeVar

import pytest

from charm_checkpoint.errors import ThreadConflict, ThreadDeleted
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import InMode, PlansInMode
from charm_checkpoint.testing.runs import DURABILITY, state
from charm_checkpoint.testing.samples import checkpoint, config, ids
from charm_checkpoint.testing.saver_methods import chain, config_all, put

T = TypeVar("T")

MARK = "charm_conflict"


def meanwhile(action: Callable[[], T]) -> T:
    """Do something in another thread, with an empty context, as another program would; return what it does."""
    done: Future[T] = Future()

    def work() -> None:
        try:
            done.set_result(Context().run(action))
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return done.result()


def once(node: str, action: Callable[[], Any]) -> Callable[[str], None]:
    """Return what interferes in the first run of a node only."""
    todo = [action]

    def interfere(name: str) -> None:
        if name == node and todo:
            meanwhile(todo.pop())

    return interfere


def marked(saver: InMode) -> list[str]:
    """Return the ids of checkpoints that are marked as conflicts."""
    return [item.checkpoint["id"] for item in saver.list(config_all("t")) if MARK in item.metadata]


class Conflicts(Suite):
    """Two writers on one thread."""

    def interleaved(self, saver: InMode, graphs: Any) -> Any:
        """Run a graph in whose second node another run of the same thread begins and ends."""
        other = graphs.counting(saver.raw)
        interfere = once("two", lambda: other.invoke({"log": ["other"]}, config(), durability="sync"))
        graph = InMode(graphs.counting(saver.raw, interfere), saver.mode)
        graph.invoke({"log": ["mine"]}, config(), durability="sync")
        return graph

    def test_two_runs_at_once_are_marked(self, saver: InMode, graphs: Any, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "charm_checkpoint"):
            graph = self.interleaved(saver, graphs)
        assert state(graph)["log"] == ["mine", "one", "two", "three"]
        [mark] = marked(saver)
        tuples = {item.checkpoint["id"]: item for item in saver.list(config())}
        lost = tuples[tuples[mark].metadata[MARK]]
        assert lost.checkpoint["channel_values"]["log"] == ["mine", "one", "other", "one", "two", "three"]
        assert tuples[mark].parent_config != lost.config
        assert len([record for record in caplog.records if mark in record.getMessage()]) == 1
        assert saver.list(config(), filter={MARK: lost.checkpoint["id"]})[0].checkpoint["id"] == mark

    def test_two_runs_at_once_are_refused(self, strict: InMode, graphs: Any) -> None:
        with pytest.raises(ThreadConflict) as caught:
            self.interleaved(strict, graphs)
        head = strict.get_tuple(config())
        assert head.checkpoint["channel_values"]["log"] == ["mine", "one", "other", "one", "two", "three"]
        assert caught.value.head == head.checkpoint["id"]
        assert caught.value.parent in ids(strict.list(config()))
        assert str(caught.value.head) in str(caught.value)
        assert str(caught.value.parent) in str(caught.value)
        graph = InMode(graphs.counting(strict.raw), strict.elsewhere().mode)
        assert len(graph.invoke({"log": ["again"]}, config())["log"]) == 10

    def test_two_runs_at_once_may_be_allowed(self, opened: Any, mode: Any, graphs: Any) -> None:
        saver = InMode(opened(on_conflict="allow").get_langgraph_checkpointer(), mode)
        self.interleaved(saver, graphs)
        assert marked(saver) == []

    def test_two_beginnings_of_one_thread_conflict(self, strict: InMode) -> None:
        [first] = chain(strict, 1)
        with pytest.raises(ThreadConflict, match=first["configurable"]["checkpoint_id"]):
            put(strict.elsewhere(), config())
        assert len(strict.list(config())) == 1

    def test_a_refused_put_may_be_repeated_after_reading(self, strict: InMode) -> None:
        first, second = chain(strict, 2)
        late = strict.elsewhere()
        with pytest.raises(ThreadConflict):
            put(late, first)
        assert late.get_tuple(config()).config == second
        assert put(late, second) == strict.get_tuple(config()).config

    def test_a_mark_in_given_metadata_does_not_count(self, saver: InMode) -> None:
        put(saver, config(), **{MARK: "forged"})
        assert marked(saver) == []

    def test_a_slow_clock_does_not_lose_its_turn(self, strict: InMode) -> None:
        where: Any = config()
        for id in ("1f0", "1e9", "1e8-later", "1f1", "0"):
            where = put(strict, where, checkpoint({"at": id}, id=id))
            assert strict.get_tuple(config()).config == where
            assert strict.elsewhere().get(config())["channel_values"] == {"at": id}
        assert ids(strict.list(config())) == ["0", "1f1", "1e8-later", "1e9", "1f0"]
        assert ids(strict.list(config(), before=config(id="1e8-later"))) == ["1e9", "1f0"]


class NoConflicts(Suite):
    """What LangGraph does on purpose, on a checkpointer that refuses conflicts."""

    @pytest.mark.parametrize("durability", DURABILITY)
    def test_runs_in_turn(self, strict: InMode, graphs: Any, durability: str) -> None:
        graph = InMode(graphs.counting(strict.raw), strict.mode)
        others = InMode(graphs.counting(strict.raw), strict.mode.elsewhere())
        for runner in (graph, graph, others, graph, others):
            runner.invoke({"log": ["in"]}, config(), durability=durability)
        assert state(graph)["log"] == ["in", "one", "two", "three"] * 5

    @pytest.mark.parametrize("durability", DURABILITY)
    @pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "same"])
    def test_time_travel(self, strict: InMode, graphs: Any, durability: str, fresh: bool) -> None:
        graph = InMode(graphs.counting(strict.raw), strict.mode)
        for _ in range(2):
            graph.invoke({"log": ["in"]}, config(), durability="sync")
        older = graph.get_state_history(config())[7]
        assert (older.values["log"], older.next) == (["in", "one"], ("two",))
        if fresh:
            graph = InMode(graph.raw, strict.mode.elsewhere())
        for _ in range(2):
            graph.invoke(None, older.config, durability=durability)
            assert state(graph)["log"] == ["in", "one", "two", "three"]
            graph.invoke({"log": ["new"]}, older.config, durability=durability)
            assert state(graph)["log"][:3] == ["in", "one", "new"]
            graph.invoke({"log": ["on"]}, config(), durability=durability)
        assert state(graph)["log"][-4:] == ["on", "one", "two", "three"]

    @pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "same"])
    def test_updates_and_forks(self, strict: InMode, graphs: Any, fresh: bool) -> None:
        graph = InMode(graphs.counting(strict.raw), strict.mode)
        graph.invoke({"log": ["in"]}, config())
        older = graph.get_state_history(config())[2].config
        if fresh:
            graph = InMode(graph.raw, strict.mode.elsewhere())
        graph.update_state(config(), {"log": ["update"]})
        graph.update_state(config(), {"log": ["as one"]}, as_node="one")
        graph.invoke(None, config())
        assert state(graph)["log"][-4:] == ["update", "as one", "two", "three"]
        for values in ({"log": ["old"]}, None):
            where = graph.update_state(older, values, as_node="one" if values else "__copy__")
            graph.invoke(None, where)
            assert state(graph)["log"][-1] == "three"
            graph.update_state(older, {"log": ["again"]}, as_node="two")
            graph.invoke(None, config())
            assert state(graph)["log"][-2:] == ["again", "three"]
        graph.update_state(older, None, as_node="__end__")
        graph.invoke({"log": ["last"]}, config())

    def test_many_updates_at_once(self, strict: InMode, graphs: Any) -> None:
        from langgraph.types import StateUpdate

        graph = InMode(graphs.counting(strict.raw), strict.mode)
        graph.invoke({"log": ["in"]}, config())
        updates = [[StateUpdate({"log": [n]}, "one")] for n in range(3)]
        graph.bulk_update_state(config(), updates)
        graph.bulk_update_state(graph.get_state_history(config())[4].config, updates)
        graph.invoke(None, config())
        assert state(graph)["log"][-5:] == [0, 1, 2, "two", "three"]

    @pytest.mark.parametrize("durability", DURABILITY)
    @pytest.mark.parametrize("stable", [True, False], ids=["stable", "task"])
    def test_subgraphs(self, strict: InMode, graphs: Any, durability: str, stable: bool) -> None:
        graph = InMode(graphs.nested(strict.raw, stable=stable), strict.mode)
        for _ in range(3):
            graph.invoke({"log": ["in"]}, config(), durability=durability)
        older = graph.get_state_history(config())[1].config
        graph.invoke(None, older, durability=durability)
        graph.invoke({"log": ["in"]}, config(), durability=durability)
        assert state(graph)["log"][-1] == "after"

    @pytest.mark.parametrize("durability", DURABILITY)
    @pytest.mark.parametrize("kind", ["paused", "nested"])
    def test_interrupts(self, strict: InMode, asking: Any, durability: str, kind: str) -> None:
        built = asking.paused(strict.raw) if kind == "paused" else asking.nested(strict.raw, pause=True)
        for n in range(2):
            InMode(built, strict.mode).invoke({"log": ["in"]}, config(), durability=durability)
            while InMode(built, strict.mode.elsewhere()).get_state(config()).next:
                mode = strict.mode.elsewhere() if n else strict.mode
                InMode(built, mode).invoke(asking.Command(resume="yes"), config(), durability=durability)
        assert state(InMode(built, strict.mode))["log"][-1] in ("end", "after")

    def test_a_run_that_failed_and_goes_on(self, strict: InMode, graphs: Any) -> None:
        def fail() -> None:
            raise RuntimeError("the node failed")

        graph = InMode(graphs.counting(strict.raw, once("two", fail)), strict.mode)
        with pytest.raises(RuntimeError, match="the node failed"):
            graph.invoke({"log": ["in"]}, config())
        graph.invoke(None, config())
        assert state(graph)["log"] == ["in", "one", "two", "three"]

    def test_looking_back_in_the_middle_of_a_run(self, strict: InMode, graphs: Any) -> None:
        graph = InMode(graphs.counting(strict.raw), strict.mode)
        graph.invoke({"log": ["in"]}, config())
        for item in graph.get_state_history(config()):
            graph.get_state(item.config)
        graph.invoke({"log": ["in"]}, config())
        assert state(graph)["log"] == ["in", "one", "two", "three"] * 2

    def test_going_on_after_a_prune_and_on_a_copy(self, strict: InMode, graphs: Any) -> None:
        graph = InMode(graphs.counting(strict.raw), strict.mode)
        graph.invoke({"log": ["in"]}, config())
        strict.copy_thread("t", "u")
        strict.prune(["t"])
        for thread in "tu":
            graph.invoke({"log": ["in"]}, config(thread))
            assert state(graph, config(thread))["log"] == ["in", "one", "two", "three"] * 2


class Deletion(Suite):
    """Deleted stays deleted."""

    @pytest.mark.parametrize("node", ["one", "three"])
    @pytest.mark.parametrize("durability", DURABILITY)
    def test_a_run_under_way_does_not_bring_a_thread_back(
        self, saver: InMode, graphs: Any, durability: str, node: str
    ) -> None:
        InMode(graphs.counting(saver.raw), saver.mode).invoke({"log": ["before"]}, config())
        self.deleted_in(node, saver, graphs, durability)

    def test_a_first_run_does_not_bring_its_thread_back(self, saver: InMode, graphs: Any) -> None:
        self.deleted_in("two", saver, graphs, "sync")

    def deleted_in(self, node: str, saver: InMode, graphs: Any, durability: str) -> None:
        """Run a graph in one of whose nodes the thread is deleted."""
        interfere = once(node, lambda: saver.raw.delete_thread("t"))
        graph = InMode(graphs.counting(saver.raw, interfere), saver.mode)
        with pytest.raises(ThreadDeleted, match="'t'"):
            graph.invoke({"log": ["in"]}, config(), durability=durability)
        assert saver.list(config_all("t")) == []
        assert saver.get_tuple(config()) is None
        for runner in (graph, InMode(graph.raw, saver.mode.elsewhere())):
            runner.invoke({"log": ["afresh"]}, config(), durability=durability)
        assert state(graph)["log"] == ["afresh", "one", "two", "three"] * 2

    def test_writes_of_one_who_read_before_are_refused(self, saver: InMode) -> None:
        [where] = chain(saver, 1)
        late = saver.elsewhere()
        late.get_tuple(config())
        saver.elsewhere().delete_thread("t")
        for refused in (
            partial(put, late, where),
            partial(put, late, config()),
            partial(late.put_writes, where, [("a", 1)], "task"),
        ):
            with pytest.raises(ThreadDeleted, match="'t'"):
                refused()
        assert saver.list(None) == []
        assert late.get_tuple(config()) is None
        put(late, config())
        assert len(saver.list(None)) == 1

    def test_writes_that_name_what_was_deleted_are_refused(self, saver: InMode) -> None:
        [where] = chain(saver, 1)
        saver.elsewhere().delete_thread("t")
        with pytest.raises(ThreadDeleted):
            put(saver.elsewhere(), where)
        with pytest.raises(ThreadDeleted):
            saver.elsewhere().put_writes(where, [("a", 1)], "task")
        put(saver.elsewhere(), config())

    def test_who_deletes_may_start_afresh_at_once(self, saver: InMode) -> None:
        for _ in range(3):
            chain(saver, 2)
            saver.get_tuple(config())
            saver.delete_thread("t")
        assert len(chain(saver, 2)) == len(saver.list(config())) == 2

    @pytest.mark.parametrize("strategy", ["delete", "delete_all", "keep_latest"])
    def test_who_prunes_may_go_on_or_start_afresh_at_once(self, saver: InMode, strategy: str) -> None:
        for _ in range(2):
            where = chain(saver, 2)[-1]
            saver.get_tuple(config())
            saver.get_tuple(where)
            saver.prune(["t"], strategy=strategy)
            put(saver, where if strategy == "keep_latest" else config())

    def test_who_deletes_runs_may_go_on_at_once(self, saver: InMode) -> None:
        saver.delete_thread("t")
        for run in ("1", "2"):
            where = put(saver, config(), run_id=run)
            saver.get_tuple(where)
            saver.delete_for_runs([run])
            put(saver, config())
            saver.put_writes(saver.get_tuple(config()).config, [("a", 1)], "task")

    def test_who_copies_over_a_thread_that_was_deleted_may_go_on_with_it(self, saver: InMode) -> None:
        chain(saver, 2)
        chain(saver, 1, "u")
        saver.get_tuple(config("u"))
        saver.elsewhere().delete_thread("u")
        saver.copy_thread("t", "u")
        put(saver, saver.list(config("u"))[0].config)
        assert len(saver.list(config("u"))) == 3

    def test_what_was_known_before_a_delete_is_sent_again(self, saver: InMode, backend: PlansInMode) -> None:
        held = {"long": [{"n": n} for n in range(400)]}
        put(saver, config(), checkpoint(held))
        backend.delete_thread("t")  # as another process would, unknown to this saver
        where = put(saver.elsewhere(), config(), checkpoint(held))
        assert saver.elsewhere().get(where)["channel_values"] == held
        emptied = put(saver, where, checkpoint({}))
        backend.remove("t", [("", where["configurable"]["checkpoint_id"])], None)
        where = put(saver, emptied, checkpoint(held))
        assert saver.elsewhere().get(where)["channel_values"] == held
