"""What delta channels are rebuilt from: where a checkpoint of it is lost that is told, and no list is short."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.testing.call_modes import InMode, PlansInMode
from charm_checkpoint.testing.integrity import IntegritySuite, told
from charm_checkpoint.testing.samples import checkpoint, config, exact, ids, versions

TURNS = 4


def step(saver: InMode, where: Any, version: int, *writes: Any) -> Any:
    """Put a checkpoint of a thread whose channel "log" is stored as changes, then a task's writes to it."""
    made = checkpoint({})
    made["channel_versions"] = {"log": version} if version else {}
    counters = {"counters_since_delta_snapshot": {"log": [version, version]}} if version else {}
    where = saver.put(where, made, {"source": "loop", "step": version, **counters}, versions(made))
    if writes:
        saver.put_writes(where, [("log", list(writes))], "task")
    return where


class DeltaLines(IntegritySuite):
    """Lines of checkpoints that lost one, and others that did not."""

    @pytest.fixture
    def graph(self, saver: InMode, graphs: Any) -> InMode:
        """Return a graph with two delta channels, which has run some times."""
        graph = InMode(graphs.two_deltas(saver.raw), saver.mode)
        for turn in range(TURNS):
            graph.invoke({"log": [f"turn {turn}"], "seldom": []}, config())
        return graph

    def states(self, graph: InMode, saver: InMode, thread: str) -> dict[str, Any]:
        """Return the state at each checkpoint, None where it cannot be read, latest first."""
        found: dict[str, Any] = {}
        for each in saver.list(config(thread)):
            id = each.checkpoint["id"]
            try:
                found[id] = exact(graph.get_state(each.config).values)
            except StoreCorrupt as error:
                assert f"Thread {thread!r}, checkpoint " in str(error) and "is not stored" in str(error)
                found[id] = None
        return found

    def test_no_list_is_short_whatever_is_lost(
        self, graph: InMode, saver: InMode, store: InMode, backend: PlansInMode, look: Any
    ) -> None:
        whole = self.states(graph, saver, "t")
        assert None not in whole.values() and look().ok
        head, *older = whole
        unreadable = 0
        places = older[0], older[4], older[-1]
        for lost in places:
            saver.copy_thread("t", "bad")
            assert backend.remove("bad", [("", lost)], None).outcome == "stored"
            found = self.states(graph, saver, "bad")
            assert {id: state for id, state in found.items() if state is not None}.items() <= whole.items()
            report = look(threads=["bad"])
            assert report.ok == (found[head] is not None)
            for kind, thread, ns, at in told(report):
                assert (kind, thread, ns) == ("parent", "bad", "") and found[at or ""] is None
            unreadable += found[head] is None
            store.delete_thread("bad")
        assert 0 < unreadable < len(places)
        assert look().ok and self.states(graph, saver, "t") == whole

    def test_a_prune_leaves_delta_channels_whole(self, graph: InMode, saver: InMode, look: Any) -> None:
        before = self.states(graph, saver, "t")
        saver.prune(["t"])
        after = self.states(graph, saver, "t")
        assert len(after) < len(before)
        assert next(iter(after.items())) == next(iter(before.items()))
        assert {id: state for id, state in after.items() if state is not None}.items() <= before.items()
        assert look().ok
        saver.copy_thread("t", "u")
        graph.invoke({"log": ["more"], "seldom": []}, config("u"))
        assert look().ok

    def test_a_fork_and_a_first_checkpoint_whose_parent_was_never_stored_are_whole(
        self, graph: InMode, saver: InMode, look: Any
    ) -> None:
        older = ids(saver.list(config()))[5]
        graph.invoke({"log": ["fork"], "seldom": [1]}, config(id=older))
        graph.invoke({"log": ["begins"], "seldom": []}, config("new", id="1ef4f797-8335-6428-8001-8a1503f9b875"))
        assert graph.get_state(config("new")).values == {"log": ["begins", 1, ("second", 2)], "seldom": [0]}
        assert None not in self.states(graph, saver, "t").values()
        assert None not in self.states(graph, saver, "new").values()
        assert look().ok

    def test_a_channel_that_nothing_moved_is_told(
        self, saver: InMode, look: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        first = step(saver, config(), 0, "one")
        second = step(saver, first, 1)
        third = step(saver, second, 2, "three")
        last = step(saver, third, 3)
        with caplog.at_level(logging.WARNING, "charm_checkpoint"):
            found = saver.get_delta_channel_history(config=last, channels=["log", "other"])
        assert [value for _, _, value in found["log"]["writes"]] == [["one"], ["three"]]
        at = third["configurable"]["checkpoint_id"]
        assert f"Thread 't', checkpoint {at}: what 'log' held" in caplog.text
        [note] = look().findings
        assert (note.kind, note.grade, note.checkpoint, note.channel) == ("writes", "note", at, "log")

    def test_what_is_not_asked_for_or_stored_whole_is_not_missed(self, saver: InMode, backend: PlansInMode) -> None:
        first = step(saver, config(), 0, "one")
        second = step(saver, first, 1, "two")
        third = step(saver, second, 2)
        backend.remove("t", [("", first["configurable"]["checkpoint_id"])], None)
        for where in (second, third):
            with pytest.raises(StoreCorrupt, match="'log' held is rebuilt"):
                saver.get_delta_channel_history(config=where, channels=["log"])
            assert saver.get_delta_channel_history(config=where, channels=["other"]) == {"other": {"writes": []}}
            assert saver.get_tuple(where).checkpoint["channel_versions"]["log"]
