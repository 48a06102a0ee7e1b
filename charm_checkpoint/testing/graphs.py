"""Sample graphs; the only part of the suite that imports LangGraph itself."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from langchain_core.messages import AIMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

__all__ = [
    "Command", "between", "branching", "chat", "counting", "delta", "delta_above", "joined", "meddling", "nested",
    "paused", "rolled", "two_deltas",
]  # fmt: skip


class Chat(TypedDict):
    """A conversation."""

    messages: Annotated[list[Any], add_messages]


class Log(TypedDict):
    """A list that every node adds to."""

    log: Annotated[list[Any], operator.add]


def _concat(state: list[Any], updates: list[list[Any]]) -> list[Any]:
    return [*state, *(item for update in updates for item in update)]


class Done(TypedDict):
    """What was done, by name, and the number of steps taken."""

    done: dict[str, Any]
    step: int


class Delta(TypedDict):
    """A list kept by its changes, with a snapshot at every fifth."""

    log: Annotated[list[Any], DeltaChannel(_concat, snapshot_frequency=5)]
    plain: Annotated[list[Any], operator.add]


def chat(saver: Any) -> Any:
    """Return a graph of one node that answers each message."""

    def answer(state: Chat) -> Any:
        number = len(state["messages"])
        return {"messages": [AIMessage(f"answer to {state['messages'][-1].content}", id=f"a{number}")]}

    return StateGraph(Chat).add_node(answer).add_edge(START, "answer").compile(checkpointer=saver)


def _logging(name: str, interfere: Callable[[str], None], key: str = "log") -> Any:
    def log(state: Log) -> Any:
        interfere(name)
        return {key: [name]}

    return log


def counting(
    saver: Any, interfere: Callable[[str], None] = lambda node: None, key: str = "log", keys: Iterable[str] = ()
) -> Any:
    """Return a graph of three nodes in a row that log their names, under ``key``, calling ``interfere`` in each.

    Its state has ``keys``, too.
    """
    fields: Any = {"log": Annotated[list[Any], operator.add], **dict.fromkeys(keys, Any)}
    graph = StateGraph(TypedDict("Keyed", fields))  # type: ignore[operator]
    for name in ("one", "two", "three"):
        graph.add_node(name, _logging(name, interfere, key))
    graph.add_edge(START, "one").add_edge("one", "two").add_edge("two", "three").add_edge("three", END)
    return graph.compile(checkpointer=saver)


def branching(saver: Any) -> Any:
    """Return a graph whose first node sends five tasks to run side by side."""

    def fan(state: Log) -> Any:
        return [Send("work", {"log": [n]}) for n in range(5)]

    def work(state: Log) -> Any:
        return {"log": [("done", state["log"][0])]}

    graph = StateGraph(Log).add_node("work", work)
    return graph.add_conditional_edges(START, fan, ["work"]).compile(checkpointer=saver)


def paused(saver: Any) -> Any:
    """Return a graph that asks twice before it goes on."""

    def ask(state: Log) -> Any:
        return {"log": ["first", interrupt("first?"), "second", interrupt("second?")]}

    def end(state: Log) -> Any:
        return {"log": ["end"]}

    graph = StateGraph(Log).add_node(ask).add_node(end)
    return graph.add_edge(START, "ask").add_edge("ask", "end").compile(checkpointer=saver)


def joined(saver: Any, last: str, deferred: bool = False) -> Any:
    """Return a graph of two nodes side by side, and one that asks once both are done."""
    graph = StateGraph(Log).add_node(last, lambda state: {"log": [interrupt("go on?")]}, defer=deferred)
    for name in ("left", "right"):
        graph.add_node(name, _logging(name, lambda node: None)).add_edge(START, name)
    return graph.add_edge(["left", "right"], last).compile(checkpointer=saver)


def nested(saver: Any, *, stable: bool = False, pause: bool = False) -> Any:
    """Return a graph with a subgraph; a stable one keeps its own thread of checkpoints from run to run."""

    def inner(state: Log) -> Any:
        return {"log": [("inner", interrupt("inner?") if pause else len(state["log"]))]}

    def after(state: Log) -> Any:
        return {"log": ["after"]}

    sub = StateGraph(Log).add_node(inner).add_edge(START, "inner").compile(checkpointer=stable or None)
    graph = StateGraph(Log).add_node("sub", sub).add_node(after)
    return graph.add_edge(START, "sub").add_edge("sub", "after").compile(checkpointer=saver)


def delta_above(saver: Any) -> Any:
    """Return a graph whose log is a delta channel, with a subgraph that asks."""

    def first(state: Delta) -> Any:
        return {"plain": ["first"]}

    def second(state: Delta) -> Any:
        return {"plain": [interrupt("second?")]}

    sub = StateGraph(Delta).add_node(first).add_node(second).add_edge(START, "first").add_edge("first", "second")
    return StateGraph(Delta).add_node("sub", sub.compile()).add_edge(START, "sub").compile(checkpointer=saver)


def between(saver: Any, interfere: Callable[[str], None], *, stable: bool) -> Any:
    """Return a graph with a subgraph between two nodes; every node logs its name, calling ``interfere``."""
    inner = StateGraph(Log).add_node("inner", _logging("inner", interfere)).add_edge(START, "inner")
    graph = StateGraph(Log).add_node("sub", inner.compile(checkpointer=stable or None))
    for name in ("one", "three"):
        graph.add_node(name, _logging(name, interfere))
    return graph.add_edge(START, "one").add_edge("one", "sub").add_edge("sub", "three").compile(checkpointer=saver)


def meddling(saver: Any) -> Any:
    """Return a graph whose node changes the state it is given, in place, six steps long, while the last is saved."""

    def work(state: Done) -> Any:
        for n in range(200):
            state["done"].update({f"{state['step']} {n}": {"n": n}})
        return Command(
            update={"done": state["done"], "step": state["step"] + 1}, goto="work" if state["step"] < 5 else END
        )

    return StateGraph(Done).add_node(work, destinations=("work", END)).add_edge(START, "work").compile(saver)


def delta(saver: Any) -> Any:
    """Return a graph whose log is a delta channel."""

    def first(state: Delta) -> Any:
        return {"log": [("first", len(state["log"]))], "plain": [1]}

    def second(state: Delta) -> Any:
        return {"log": [("second", len(state["log"]))]}

    graph = StateGraph(Delta).add_node(first).add_node(second)
    return graph.add_edge(START, "first").add_edge("first", "second").compile(checkpointer=saver)


class Deltas(TypedDict):
    """Two lists kept by their changes, with snapshots at different times."""

    log: Annotated[list[Any], DeltaChannel(_concat, snapshot_frequency=4)]
    seldom: Annotated[list[Any], DeltaChannel(_concat, snapshot_frequency=7)]


def two_deltas(saver: Any) -> Any:
    """Return a graph with two delta channels, the second of which every other step writes to."""

    def first(state: Deltas) -> Any:
        return {"log": [len(state["log"])], "seldom": [len(state["seldom"])]}

    def second(state: Deltas) -> Any:
        return {"log": [("second", len(state["log"]))]}

    graph = StateGraph(Deltas).add_node(first).add_node(second)
    return graph.add_edge(START, "first").add_edge("first", "second").compile(checkpointer=saver)


class Old(TypedDict, total=False):
    """The state of a program's first version."""

    turns: Annotated[int, operator.add]
    log: Annotated[list[Any], operator.add]


class New(Old, total=False):
    """The state of its second version: it has channels that the first does not know."""

    tally: Annotated[int, operator.add]
    notes: Annotated[list[Any], operator.add]
    trail: Annotated[list[Any], DeltaChannel(_concat, snapshot_frequency=5)]


def rolled(saver: Any, new: bool) -> Any:
    """Return one of two versions of a graph: the second one has a node and channels more."""

    def work(state: Old) -> Any:
        return {"log": []}

    def more(state: New) -> Any:
        turn = state["log"][-1]
        return {"tally": 1, "notes": [{"turn": turn}], "trail": [f"turn {turn}"]}

    graph = StateGraph(New if new else Old).add_node(work).add_edge(START, "work")
    if new:
        graph.add_node(more).add_edge("work", "more")
    return graph.compile(checkpointer=saver)
