"""Real graphs on the store: what a run leaves, and what other methods make of it."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.samples import config, exact, ids
from charm_checkpoint.testing.saver_methods import config_all

DURABILITY = ("sync", "async", "exit")


def state(graph: InMode, where: Any = None) -> Any:
    """Return the values of a thread's state."""
    return graph.get_state(where or config()).values


def spaces(saver: InMode) -> set[str]:
    """Return the names of the thread's namespaces, those of tasks cut before the task's id."""
    found = saver.list(config_all("t"))
    return {item.config["configurable"]["checkpoint_ns"].partition(":")[0] for item in found}


class Runs(Suite):
    """Graphs that run to their end."""

    @pytest.mark.parametrize("durability", DURABILITY)
    def test_a_conversation_goes_on(self, saver: InMode, graphs: Any, durability: str) -> None:
        for n in range(3):
            graph = InMode(graphs.chat(saver.raw), saver.mode)
            graph.invoke({"messages": [HumanMessage(f"q{n}", id=f"q{n}")]}, config(), durability=durability)
        graph = InMode(graphs.chat(saver.raw), saver.mode)
        texts = [message.content for message in state(graph)["messages"]]
        assert texts == ["q0", "answer to q0", "q1", "answer to q1", "q2", "answer to q2"]

    def test_a_history_is_the_states_from_last_to_first(self, saver: InMode, graphs: Any) -> None:
        graph = InMode(graphs.counting(saver.raw), saver.mode)
        graph.invoke({"log": ["in"]}, config())
        names = ["in", "one", "two", "three"]
        history = [item.values.get("log", []) for item in graph.get_state_history(config())]
        assert history == [names, names[:3], names[:2], names[:1], []]

    def test_tasks_side_by_side_all_count(self, saver: InMode, graphs: Any) -> None:
        graph = InMode(graphs.branching(saver.raw), saver.mode)
        for _ in range(2):
            graph.invoke({"log": []}, config())
        assert state(graph)["log"] == [("done", n) for n in range(5)] * 2

    def test_another_process_goes_on_where_one_stopped(self, saver: InMode, second: Memory, asking: Any) -> None:
        mine = InMode(asking.paused(saver.raw), saver.mode)
        theirs = InMode(asking.paused(second.get_langgraph_checkpointer()), saver.mode.elsewhere())
        mine.invoke({"log": []}, config())
        theirs.invoke(asking.Command(resume="yes"), config())
        mine.invoke(asking.Command(resume="no"), config())
        assert state(theirs)["log"] == ["first", "yes", "second", "no", "end"]
        assert [exact(item) for item in InMode(second.get_langgraph_checkpointer(), saver.mode).list(config())] == [
            exact(item) for item in saver.list(config())
        ]

    def test_a_run_is_found_by_its_id(self, saver: InMode, graphs: Any) -> None:
        graph = InMode(graphs.counting(saver.raw), saver.mode)
        for run in ("r1", "r2"):
            graph.invoke({"log": [run]}, {**config(), "metadata": {"run_id": run}})
        assert len(saver.list(config(), filter={"run_id": "r2"})) == 5
        saver.delete_for_runs(["r2"])
        assert state(graph)["log"] == ["r1", "one", "two", "three"]
        graph.invoke({"log": ["again"]}, config())
        assert state(graph)["log"][4:] == ["again", "one", "two", "three"]


class Pruned(Suite):
    """Pruning, copying and deleting what graphs left."""

    @pytest.mark.parametrize("turns", [1, 2, 4, 7])
    def test_prune_leaves_a_delta_channel_whole(self, saver: InMode, graphs: Any, turns: int) -> None:
        graph = InMode(graphs.delta(saver.raw), saver.mode)
        for n in range(turns):
            graph.invoke({"log": [n], "plain": []}, config())
        before = exact(state(graph))
        assert len(state(graph)["log"]) == 3 * turns
        count = len(saver.list(config()))
        saver.prune(["t"])
        assert turns == 1 or len(saver.list(config())) < count  # the first turn has no snapshot yet: all is needed
        assert exact(state(graph)) == before
        graph.invoke({"log": ["more"], "plain": []}, config())
        saver.prune(["t"])
        assert state(graph)["log"][-3:] == ["more", ("first", 3 * turns + 1), ("second", 3 * turns + 2)]

    def test_delta_channels_survive_copies_forks_and_deleted_runs(self, saver: InMode, graphs: Any) -> None:
        graph = InMode(graphs.delta(saver.raw), saver.mode)
        for n in range(5):
            graph.invoke({"log": [n], "plain": []}, {**config(), "metadata": {"run_id": f"r{n}"}})
        before = exact(state(graph))
        saver.copy_thread("t", "u")
        assert exact(state(graph, config("u"))) == before
        older = graph.get_state_history(config())[4]
        graph.invoke({"log": ["fork"], "plain": []}, older.config)
        forked = exact(state(graph))
        saver.prune(["t"])
        assert exact(state(graph)) == forked
        saver.delete_for_runs(["r1", "r2", "r3"])
        assert exact(state(graph)) == forked
        assert exact(state(graph, config("u"))) == before

    def test_prune_takes_namespaces_of_finished_tasks(self, saver: InMode, graphs: Any) -> None:
        graph = InMode(graphs.nested(saver.raw), saver.mode)
        for _ in range(2):
            graph.invoke({"log": ["in"]}, config())
        assert spaces(saver) == {"", "sub"}
        before = state(graph)
        saver.prune(["t"])
        assert spaces(saver) == {""}
        assert state(graph) == before

    def test_prune_keeps_namespaces_that_live_from_run_to_run(self, saver: InMode, graphs: Any) -> None:
        graph = InMode(graphs.nested(saver.raw, stable=True), saver.mode)
        for _ in range(2):
            graph.invoke({"log": ["in"]}, config())
        kept = saver.get_tuple(config(ns="sub"))
        saver.prune(["t"])
        assert exact(saver.get_tuple(config(ns="sub")).checkpoint) == exact(kept.checkpoint)
        assert len(saver.list(config_all("t"))) == 2
        graph.invoke({"log": ["in"]}, config())
        assert len(saver.get(config(ns="sub"))["channel_values"]["log"]) > len(kept.checkpoint["channel_values"]["log"])

    @pytest.mark.parametrize("kind", ["paused", "nested"])
    def test_prune_keeps_what_a_paused_run_needs(self, saver: InMode, asking: Any, kind: str) -> None:
        built = asking.paused(saver.raw) if kind == "paused" else asking.nested(saver.raw, pause=True)
        graph = InMode(built, saver.mode)
        graph.invoke({"log": ["in"]}, config())
        asked = graph.get_state(config()).interrupts
        saver.prune(["t"])
        assert [item.value for item in graph.get_state(config()).interrupts] == [item.value for item in asked]
        while graph.get_state(config()).next:
            graph.invoke(asking.Command(resume="yes"), config())
        expected: list[Any] = ["in", "first", "yes", "second", "yes", "end"]
        if kind == "nested":
            expected = ["in", "in", ("inner", "yes"), "after"]
        assert state(graph)["log"] == expected

    def test_a_copy_of_a_paused_run_goes_on_apart(self, saver: InMode, asking: Any) -> None:
        graph = InMode(asking.nested(saver.raw, pause=True), saver.mode)
        graph.invoke({"log": ["in"]}, config())
        saver.copy_thread("t", "u")
        graph.invoke(asking.Command(resume="copy"), config("u"))
        assert ("inner", "copy") in state(graph, config("u"))["log"]
        graph.invoke(asking.Command(resume="original"), config())
        assert ("inner", "original") in state(graph)["log"]
        assert ("inner", "copy") in state(graph, config("u"))["log"]

    def test_deleting_leaves_no_namespace(self, saver: InMode, asking: Any) -> None:
        graph = InMode(asking.nested(saver.raw, pause=True), saver.mode)
        graph.invoke({"log": ["in"]}, config())
        saver.delete_thread("t")
        assert ids(saver.list(None)) == []
        assert state(graph) == {}
