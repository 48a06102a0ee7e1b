"""An approval that no person gave: what nothing here can stop.

The attacker may write to the store, as the program itself may. A thread waits for a person to approve something, such
as a payment. He puts a pending write `__resume__` to the checkpoint that waits, by means of this same package.

He wants the program, when it next goes on with the thread, to do what nobody approved. He gets it. There is no key in
what is stored, so nothing can tell his write from the program's own, on any store: the rights to write to the store are
the rights to approve. What he does not get is an approval from another thread, namespace or checkpoint, moved as it is
(test_swapped_threads.py).

So the test shows that it works: it fails on the day when a sealed mode with a key can tell, and docs/security.md, which
says so plainly, is to be changed then.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from pages import ROOT
from typing_extensions import TypedDict

from charm_checkpoint import open_memory
from charm_checkpoint.testing.call_modes import CallMode, InMode

THREAD: Any = {"configurable": {"thread_id": "payment"}}


class State(TypedDict, total=False):
    paid: bool


def build(paid: list[str]) -> StateGraph[State]:
    """Return a graph that pays once a person approved it."""

    def pay(state: State) -> State:
        if interrupt("Pay 10,000 to account 4711?") is not True:
            return {"paid": False}
        paid.append("10,000")
        return {"paid": True}

    builder = StateGraph(State)
    builder.add_node("pay", pay)
    builder.add_edge(START, "pay")
    builder.add_edge("pay", END)
    return builder


def test_whoever_may_write_to_the_store_may_approve(make_url: Callable[[], str], mode: CallMode) -> None:
    url, paid = make_url(), list[str]()
    if url.startswith(("memory:", "sqlite:///:memory:")):
        pytest.skip("nobody else can write to this process's memory")
    program = open_memory(url)
    graph = InMode(build(paid).compile(checkpointer=program.get_langgraph_checkpointer()), mode)
    graph.invoke({}, THREAD)
    assert graph.get_state(THREAD).next == ("pay",) and paid == []

    with open_memory(url) as attacker:
        saver = attacker.get_langgraph_checkpointer()
        waiting = saver.get_tuple(THREAD)
        assert waiting is not None and waiting.pending_writes
        [task] = {task for task, channel, _ in waiting.pending_writes if channel == "__interrupt__"}
        saver.put_writes(waiting.config, [("__resume__", [True])], task)

    graph.invoke(None, THREAD)
    assert paid == ["10,000"]
    InMode(program, mode).close()


def test_the_manual_says_so() -> None:
    text = " ".join(Path(ROOT / "docs" / "security.md").read_text(encoding="utf-8").split())
    assert "nothing can tell a forged `__resume__`" in text
