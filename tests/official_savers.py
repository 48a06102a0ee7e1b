"""What LangGraph's own savers are made to hold, and how to tell that it is all there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.sqlite import SqliteSaver

from charm_checkpoint.testing.graphs import Command, branching, chat, counting, delta, nested, paused


def thread(name: str, **more: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": name, **more}}


@contextmanager
def sqlite_saver(file: Path) -> Iterator[SqliteSaver]:
    with SqliteSaver.from_conn_string(str(file)) as saver:
        yield saver


def run_graphs(saver: Any) -> None:
    """Leave threads of every sort: messages, subgraphs, interrupts, forks, time travel, sends, delta channels."""
    graph = chat(saver)
    for text in ("one", "two", "three"):
        graph.invoke({"messages": [("user", text)]}, thread("chat"))
    past = list(graph.get_state_history(thread("chat")))
    graph.update_state(past[4].config, {"messages": [("user", "a fork")]})
    graph.invoke({"messages": [("user", "back in time")]}, past[6].config)
    counting(saver).invoke({"log": []}, {**thread("counting", user="ann"), "metadata": {"kind": "é"}})
    branching(saver).invoke({"log": []}, thread("branching"))
    paused(saver).invoke({"log": []}, thread("paused"))
    paused(saver).invoke(Command(resume="yes"), thread("paused"))
    nested(saver, pause=True).invoke({"log": []}, thread("nested"))
    nested(saver, stable=True).invoke({"log": []}, thread("stable"))
    for number in range(4):
        delta(saver).invoke({"log": [number], "plain": []}, thread("delta"))


def everything(saver: Any) -> list[dict[str, Any]]:
    """Return all that `list` and `get_tuple` tell of every thread."""
    names = ("chat", "counting", "branching", "paused", "nested", "stable", "delta")
    listed = [found for name in names for found in saver.list(thread(name))]
    return [plain(found) for found in [*listed, *(saver.get_tuple(found.config) for found in listed)]]


def plain(found: CheckpointTuple | None) -> dict[str, Any]:
    assert found is not None
    return {**found._asdict(), "pending_writes": found.pending_writes or []}


def check_same(official: Any, ours: Any) -> None:
    theirs, mine = everything(official), everything(ours)
    assert len(theirs) == len(mine) > 60
    for one, other in zip(theirs, mine, strict=True):
        assert one == other
        assert repr(one["checkpoint"]["channel_values"]) == repr(other["checkpoint"]["channel_values"])


def check_going_on(ours: Any) -> None:
    """Resume each sort of thread where the official saver left it."""
    last = chat(ours).invoke({"messages": [("user", "four")]}, thread("chat"))["messages"][-1]
    assert last.content == "answer to four"
    assert paused(ours).invoke(Command(resume="also"), thread("paused"))["log"] == [
        *("first", "yes", "second", "also"),
        "end",
    ]
    assert nested(ours, pause=True).invoke(Command(resume=7), thread("nested"))["log"][-2:] == [("inner", 7), "after"]
    log = delta(ours).invoke({"log": [4], "plain": []}, thread("delta"))["log"]
    assert [entry for entry in log if isinstance(entry, int)] == [0, 1, 2, 3, 4]
    assert len(log) == 15
