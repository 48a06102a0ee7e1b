"""Checkpoints that are put after others were removed: nothing that was stored is lost or hidden without a word."""

from __future__ import annotations

from typing import Any

import pytest

from charm_checkpoint.errors import CheckpointNotFound, ThreadConflict
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import InMode, PlansInMode
from charm_checkpoint.testing.delta_lines import step
from charm_checkpoint.testing.samples import checkpoint, config, ids, values, versions
from charm_checkpoint.testing.saver_methods import put


def id_of(where: Any) -> str:
    """Return the id that a config names."""
    id: str = where["configurable"]["checkpoint_id"]
    return id


class RemovedParents(Suite):
    """Puts after a checkpoint that the thread does not hold any more."""

    @pytest.fixture
    def line(self, saver: InMode) -> list[Any]:
        """Return the configs of checkpoints in a line, whose channel is stored as changes."""
        found = [step(saver, config(), 0, "one")]
        for version in range(1, 5):
            found.append(step(saver, found[-1], version, version))
        return found

    @pytest.mark.parametrize("how", ["put", "read", "read elsewhere"])
    def test_what_is_rebuilt_from_a_removed_one_is_refused(
        self, how: str, saver: InMode, backend: PlansInMode, line: list[Any]
    ) -> None:
        """As that of a run that others overtook, whose line was swept."""
        overtaken = line[-1] if how == "put" else line[2]
        writer = saver.elsewhere() if how == "read elsewhere" else saver
        if how == "read elsewhere":
            saver.raw.forget_chunks("t")
        if how != "put":
            writer.get_tuple(overtaken)
        last = step(saver.elsewhere(), line[-1], 5)
        if how == "put":
            saver.raw.forget_chunks("t")
            saver.get_tuple(overtaken)
        backend.remove("t", [("", id_of(each)) for each in line], None)
        with pytest.raises(ThreadConflict, match="was removed meanwhile") as caught:
            step(writer, overtaken, 6)
        assert (caught.value.parent, caught.value.head) == (id_of(overtaken), id_of(last))
        assert ids(saver.list(config())) == [id_of(last)]
        step(writer, last, 6)

    def test_what_is_whole_without_a_removed_one_is_taken(
        self, saver: InMode, backend: PlansInMode, line: list[Any]
    ) -> None:
        backend.remove("t", [("", id_of(each)) for each in line[:3]], None)
        made = checkpoint({**values(), "log": ["whole"]})
        metadata = {"source": "loop", "step": 3, "counters_since_delta_snapshot": {"log": [0, 0]}}
        where = saver.put(line[2], made, metadata, versions(made))
        assert saver.get_tuple(where).checkpoint["channel_values"] == made["channel_values"]

    @pytest.mark.parametrize(("source", "number"), [("input", -1), ("update", 0)])
    def test_a_thread_does_not_begin_anew_behind_a_removed_one(
        self, source: str, number: int, saver: InMode, backend: PlansInMode
    ) -> None:
        """Sent to a checkpoint that is not there, LangGraph goes on from an empty state."""
        first = put(saver, config(), checkpoint({"n": 1}))
        second = put(saver, first, checkpoint({"n": 2}))
        backend.remove("t", [("", id_of(first))], None)
        assert saver.get_tuple(first) is None
        made, metadata = checkpoint({"n": 3}), {"source": source, "step": number}
        with pytest.raises(CheckpointNotFound, match="does not hold checkpoint"):
            saver.put(first, made, metadata, versions(made))
        # LangGraph puts what follows it all the same.
        following = made["id"]
        for n in range(3):
            made = checkpoint({"n": n})
            with pytest.raises(CheckpointNotFound, match="does not hold checkpoint"):
                put(saver.elsewhere(), config(id=following), made)
            following = made["id"]
        assert ids(saver.list(config())) == [id_of(second)]
        put(saver, saver.put(second, made, metadata, versions(made)))

    def test_a_thread_that_is_moved_latest_first_is_taken(self, saver: InMode, backend: PlansInMode) -> None:
        """As by whoever puts what a listing brings, with other checkpoints of the thread removed before."""
        others = [put(saver, config(), checkpoint({"n": n})) for n in range(3)]
        backend.remove("t", [("", id_of(each)) for each in others[:2]], None)
        mover = saver.elsewhere()
        parents = [config(id=f"p{n}") for n in range(4)]
        for n in range(3, 0, -1):
            made = checkpoint({}, id=f"p{n}")
            made["channel_versions"] = {"log": n}
            counted = {"counters_since_delta_snapshot": {"log": [n, n]}}
            mover.put(parents[n - 1], made, {"source": "loop", "step": n, **counted}, versions(made))
        assert ids(saver.list(config())) == ["p1", "p2", "p3", id_of(others[2])]

    def test_a_parent_that_was_never_there_is_taken(self, saver: InMode) -> None:
        """As by whoever moves only the last checkpoints of a thread."""
        where = put(saver, config(id="1ef4f797-8335-6428-8001-8a1503f9b875"), checkpoint({"n": 1}), source="fork")
        assert saver.get_tuple(where).checkpoint["channel_values"] == {"n": 1}

    def test_a_graph_that_is_sent_to_a_removed_one_says_so(self, saver: InMode, graphs: Any) -> None:
        graph = InMode(graphs.chat(saver.raw), saver.mode)
        for text in ("one", "two"):
            state = graph.invoke({"messages": [("user", text)]}, config())
        *_, oldest = ids(saver.list(config()))
        saver.prune(["t"])
        before = ids(saver.list(config()))
        with pytest.raises(CheckpointNotFound):
            graph.invoke({"messages": [("user", "anew")]}, config(id=oldest))
        with pytest.raises(CheckpointNotFound):
            graph.update_state(config(id=oldest), {"messages": [("user", "anew")]}, as_node="answer")
        assert ids(saver.list(config())) == before
        assert graph.get_state(config()).values == state
        graph.invoke({"messages": [("user", "three")]}, config())
