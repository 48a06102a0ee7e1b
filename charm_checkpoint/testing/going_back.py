"""Going back: forks in a thread, and new threads with what led to a checkpoint."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from charm_checkpoint.errors import CheckpointNotFound, ThreadExists, ThreadNotFound
from charm_checkpoint.inspection.forking import staging_of
from charm_checkpoint.memory import Memory
from charm_checkpoint.saver.threads import state_of
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.looking_states import Looking
from charm_checkpoint.testing.samples import checkpoint, config
from charm_checkpoint.testing.saver_methods import put


class GoingBack(Looking):
    """`Memory.fork`."""

    def test_the_head_is_a_copy_and_nothing_goes(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        graph = InMode(graphs.counting(saver.raw), saver.mode)
        graph.invoke({"log": ["begun"]}, config("t"))
        before = looked.history("t")
        made = looked.fork("t", -2)
        head, *rest = looked.history("t")
        assert (head.checkpoint_id, head.parent_id, head.source) == (made, before[3].checkpoint_id, "fork")
        assert [item.checkpoint_id for item in rest] == [item.checkpoint_id for item in before]
        assert graph.invoke(None, config("t"))["log"] == ["begun", "one", "two", "three"]

    @pytest.mark.parametrize(("kind", "back"), [("counting", 3), ("delta", 1), ("delta", 4)])
    def test_a_new_thread_has_what_led_there(
        self, looked: InMode, graphs: Any, saver: InMode, kind: str, back: int
    ) -> None:
        graph = InMode(getattr(graphs, kind)(saver.raw), saver.mode)
        for n in range(2):
            graph.invoke({"log": [n]}, config("t"))
        old = graph.get_state_history(config("t"))
        before = looked.history("t")
        made = looked.fork("t", -back, to="u")
        assert looked.history("t") == before
        head, *line = [item.checkpoint_id for item in looked.history("u")]
        assert (head, line) == (made, [item.checkpoint_id for item in before[back + 1 :]])
        new = graph.get_state_history(config("u"))
        assert [item.values for item in new] == [item.values for item in old[back:]]
        assert new[0].next == old[back].next
        assert {info.thread_id for info in looked.threads()} == {"t", "u"}
        assert looked.usage().checkpoints == len(before) + len(line) + 1
        graph.invoke({"log": ["more"]}, config("u"))
        assert looked.history("t") == before

    def test_nothing_is_left_of_the_name_under_which_it_was_put_together(
        self, looked: InMode, saver: InMode, memory: Memory
    ) -> None:
        put(saver, config("t"), checkpoint({"n": 1}))
        looked.fork("t", to="u")
        state = partial(state_of, memory.store.backend, staging_of("u"))
        assert memory.store.run(state, write=False) == (0, 0, 0)
        saver.delete_thread("u")
        looked.fork("t", to="u")
        assert {info.thread_id for info in looked.threads()} == {"t", "u"}

    @pytest.mark.parametrize("stable", [False, True])
    def test_subgraphs_come_as_they_were_then(self, looked: InMode, graphs: Any, saver: InMode, stable: bool) -> None:
        graph = InMode(graphs.nested(saver.raw, stable=stable), saver.mode)
        graph.invoke({"log": [0]}, config("t"))
        then = {item.checkpoint_id for item in looked.history("t")}
        graph.invoke({"log": [1]}, config("t"))  # a subgraph's first may be committed before the root's input
        roots = looked.history("t", ns="")
        middle = next(item for item in roots if item.source == "input" and item.parent_id is not None)
        looked.fork("t", middle.checkpoint_id, to="u")
        came = {item.checkpoint_id for item in looked.history("u")}
        assert came & {item.checkpoint_id for item in looked.history("t")} == then
        assert any(item.checkpoint_ns for item in looked.history("u"))

    def test_the_first_checkpoint_comes_alone(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        graph = InMode(graphs.counting(saver.raw), saver.mode)
        graph.invoke({"log": ["begun"]}, config("t"))
        first = looked.history("t")[-1]
        made = looked.fork("t", first.checkpoint_id, to="u")
        assert [item.checkpoint_id for item in looked.history("u")] == [made]
        assert graph.invoke(None, config("u"))["log"] == ["begun", "one", "two", "three"]

    def test_what_cannot_be_gone_back_to(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        graph = InMode(graphs.counting(saver.raw), saver.mode)
        for thread in ("t", "u"):
            graph.invoke({"log": ["begun"]}, config(thread))
        looked.append_messages("said", [{"role": "user", "content": "hi"}])
        with pytest.raises(ThreadExists, match="'u' already"):
            looked.fork("t", to="u")
        with pytest.raises(ThreadNotFound):
            looked.fork("nobody", to="v")
        for thread, at in (("t", "ffff"), ("t", -99), ("said", None)):
            with pytest.raises(CheckpointNotFound):
                looked.fork(thread, at, to="v")
        assert {info.thread_id for info in looked.threads()} == {"t", "u", "said"}
