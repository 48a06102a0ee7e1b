"""Runs of LangGraph on threads in which there is something that cannot be restored: what does not use it goes on."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import orjson
import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from charm_checkpoint import Memory, Unknown, open_memory
from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.testing.samples import Point, config, exact


class State(TypedDict, total=False):
    order: Any
    log: Annotated[list[Any], operator.add]
    n: int


class Newer(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    n: int


@pytest.fixture
def memory() -> Iterator[Memory]:
    with open_memory("memory://") as memory:
        yield memory


def builder(schema: Any = State, **nodes: Any) -> Any:
    """Return a graph of nodes in a row."""
    graph = StateGraph(schema)
    names = [START, *nodes, END]
    for name, node in nodes.items():
        graph.add_node(name, node)
    for before, after in zip(names, names[1:], strict=False):
        graph.add_edge(before, after)
    return graph


def old(memory: Memory, **nodes: Any) -> Any:
    """Return a graph of the program that has the classes."""
    return builder(**(nodes or {"one": lambda state: {"n": 1}})).compile(memory.get_langgraph_checkpointer())


def new(memory: Memory, schema: Any = State, **nodes: Any) -> Any:
    """Return a graph of the program that has them no more."""
    return builder(schema, **nodes).compile(memory.get_langgraph_checkpointer().with_allowlist(()))


def started(memory: Memory, thread: str = "t") -> None:
    old(memory).invoke({"order": Point(1, ["x" * 5000]), "log": [Point(2), "a"], "n": 0}, config(thread))


def counts(state: Any) -> Any:
    return {"n": state.get("n", 0) + 1, "log": ["b"]}


def test_a_node_that_does_not_use_it_goes_on_and_nothing_is_lost(memory: Memory) -> None:
    started(memory)
    graph = new(memory, two=counts)
    for turn in range(3):
        state = graph.invoke({"log": [turn]}, config())
    assert type(state["order"]) is Unknown
    assert exact(old(memory).get_state(config()).values["order"]) == exact(Point(1, ["x" * 5000]))
    log = old(memory).get_state(config()).values["log"]
    assert exact(log) == exact([Point(2), "a", 0, "b", 1, "b", 2, "b"])


def test_a_channel_that_the_graph_has_no_more_does_not_matter(memory: Memory) -> None:
    started(memory)
    graph = new(memory, Newer, two=counts)
    assert graph.invoke({"log": []}, config())["n"] == 2
    assert "order" not in graph.get_state(config()).values


def test_a_node_that_uses_it_is_told_why(memory: Memory) -> None:
    started(memory)
    graph = new(memory, two=lambda state: {"n": state["order"].x})
    with pytest.raises(
        TypeNotLoaded, match=r"samples:Point could not be restored .*allowlist.*with_allowlist"
    ) as caught:
        graph.invoke({"log": []}, config())
    assert "with_allowlist" in str(caught.value)
    assert new(memory, two=counts).invoke({"log": []}, config())["n"] == 2


def test_forks_from_old_checkpoints_and_history(memory: Memory) -> None:
    started(memory)
    graph = new(memory, two=counts)
    graph.invoke({"log": []}, config())
    history = list(graph.get_state_history(config()))
    assert len(history) == len(list(memory.get_langgraph_checkpointer().list(config())))
    for state in history[1:]:
        graph.update_state(state.config, {"n": 40})
        assert graph.invoke({"log": []}, config())["n"] == 41
    assert exact(old(memory).get_state(config()).values.get("order")) in (
        exact(Point(1, ["x" * 5000])),
        exact(None),
    )


def test_streams_snapshots_and_json(memory: Memory) -> None:
    started(memory)
    graph = new(memory, two=counts)
    for mode in ("values", "updates", "debug", "checkpoints", "tasks"):
        assert list(graph.stream({"log": []}, config(), stream_mode=mode))
    state = graph.get_state(config())
    assert "Unknown('charm_checkpoint.testing.samples:Point'" in repr(state)
    asked = orjson.loads(orjson.dumps(state.values, default=lambda value: value._asdict()))
    assert asked["order"]["unknown"] == "charm_checkpoint.testing.samples:Point"
    assert json.loads(json.dumps(asked))["order"]["fields"]["x"] == 1


class Checked(BaseModel):
    order: Point | None = None
    log: Annotated[list[Any], operator.add] = []
    n: int = 0


def test_a_state_that_is_a_model_names_the_class(memory: Memory) -> None:
    started(memory)
    graph = new(memory, Checked, two=lambda state: {"n": 5})
    with pytest.raises(ValueError, match=r"(?s)order.*Point.*Unknown\('charm_checkpoint"):
        graph.invoke({"log": []}, config())


@dataclass
class Asked:
    what: str
    order: Any = None


def test_an_interrupt_that_holds_one_is_answered(memory: Memory) -> None:
    def asks(state: Any) -> Any:
        return {"log": [interrupt(Asked("sure?", Point(1)))]}

    old(memory, one=lambda state: {"order": Point(1)}, two=asks).invoke({"n": 0}, config())
    graph = new(memory, one=lambda state: {}, two=lambda state: {"log": [interrupt("sure?")]})
    state = graph.get_state(config())
    assert state.next == ("two",)
    assert type(state.interrupts[0].value) is Unknown and state.interrupts[0].value.fields["what"] == "sure?"
    assert graph.invoke(Command(resume="yes"), config())["log"] == ["yes"]


def test_it_may_be_replaced(memory: Memory) -> None:
    started(memory)
    graph = new(memory, two=lambda state: {"order": state["order"].fields["x"]})
    assert graph.invoke({"log": []}, config())["order"] == 1
