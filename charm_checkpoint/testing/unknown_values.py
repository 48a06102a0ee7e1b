"""What this process cannot restore: kept as it is stored, and written back without a change."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Open, Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode, PlansInMode
from charm_checkpoint.testing.samples import Color, Pair, Point, chat, checkpoint, config, exact
from charm_checkpoint.testing.saver_methods import config_all, put
from charm_checkpoint.values.serde import Serializer, Unknown


def held() -> dict[str, Any]:
    """Return the values of a checkpoint in which classes of a program are in every place where one can be."""
    return {
        "small": Point(1),
        "large": [*(Point(n, [Color.RED] * 9) for n in range(120)), {"a": [Pair(1, Point(2))]}],
        "map": {f"k{n}": Point(n) if n % 7 == 0 else n for n in range(300)},
        "keys": {Color.RED: 1, (Color.RED, 2): Point(3)},
        "members": {Color.RED},  # one alone: two may come back in another order
        "messages": [*chat(12), ToolMessage("x", tool_call_id="c", artifact=Point(1)), *chat(15)],
        "text": "y" * 9000,
        "n": 1,
    }


class UnknownValues(Suite):
    """A program that has not all the classes: it reads, goes on, and loses nothing."""

    @pytest.fixture
    def bare(self, saver: InMode) -> InMode:
        """Return a checkpointer of the same store that restores no class of a program."""
        return InMode(saver.raw.with_allowlist(()), saver.mode)

    def test_a_program_without_the_classes_carries_them_through(
        self, saver: InMode, bare: InMode, backend: PlansInMode
    ) -> None:
        first = put(saver, config(), checkpoint(held(), id="1"))
        saver.put_writes(first, [("x", [1, Point(1)])], "task")
        for number in (2, 3):
            found = bare.get_tuple(config())
            values = found.checkpoint["channel_values"]
            small, last = values["small"], values["large"][-1]["a"][0]
            assert type(small) is type(last) is Unknown and small.fields == {"x": 1, "y": None}
            assert [m.artifact for m in values["messages"] if getattr(m, "tool_call_id", "") == "c"] == [small]
            put(bare, found.config, checkpoint({**values, "n": number}, id=f"{number}"))
            written = [(channel, value) for _, channel, value in found.pending_writes]
            bare.put_writes(bare.get_tuple(config()).config, written, "task")
        assert exact(saver.get(config())["channel_values"]) == exact({**held(), "n": 3})
        assert saver.get_tuple(config()).pending_writes == [("task", "x", [1, Point(1)])]
        one, *others = [backend.find("t", "", f"{number}").row.roots for number in (1, 2, 3)]
        assert others == [one, one]

    def test_what_is_changed_around_them_changes(self, saver: InMode, bare: InMode) -> None:
        put(saver, config(), checkpoint(held()))
        found = bare.get_tuple(config())
        values = found.checkpoint["channel_values"]
        values["large"].insert(60, "new")
        values["large"][0] = values["small"]
        values["messages"][3:5] = [HumanMessage("new", id="new")]
        put(bare, found.config, checkpoint(values))
        wanted = held()
        wanted["large"].insert(60, "new")
        wanted["large"][0] = wanted["small"]
        wanted["messages"][3:5] = [HumanMessage("new", id="new")]
        assert exact(saver.get(config())["channel_values"]) == exact(wanted)

    def test_threads_with_them_are_listed_copied_and_removed(
        self, saver: InMode, bare: InMode, memory: Memory, mode: CallMode
    ) -> None:
        for thread, last in (("t", held()), ("u", {"p": [Point(1)] * 300})):
            put(saver, put(saver, config(thread), checkpoint({"p": Point(1)}, id="1")), checkpoint(last, id="2"))
        assert len(bare.list(config_all("t"))) == 2
        bare.copy_thread("t", "copy")
        assert exact(saver.get(config("copy"))["channel_values"]) == exact(held())
        bare.prune(["t"])
        assert [item.checkpoint["id"] for item in saver.list(config_all("t"))] == ["2"]
        assert exact(saver.get(config())["channel_values"]) == exact(held())
        bare.delete_thread("u")
        assert {item.thread_id for item in InMode(memory, mode).threads()} == {"t", "copy"}

    def test_a_store_is_told_to_raise(self, saver: InMode, opened: Open, mode: CallMode) -> None:
        put(saver, config(), checkpoint({"p": [Point(1)], "n": 1}))
        for options in ({"on_unknown": "raise"}, {"serde": Serializer(on_unknown="raise")}):
            other = opened(**options).get_langgraph_checkpointer().with_allowlist(())
            put(InMode(other, mode), config(), checkpoint({"p": [Point(1)], "n": 1}))
            with pytest.raises(TypeNotLoaded, match=r"^channel_values\.p\[0\]: .*Point"):
                InMode(other, mode).get_tuple(config())
