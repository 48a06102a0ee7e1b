"""One store under the newest dependencies and the lowest that are allowed: ``dependencies.py STEP FILE``.

Each step is run in an environment of its own: ``store`` with the newest, ``go-on`` with the lowest, and ``look`` with
the newest again. What the older LangGraph does not know comes back as it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import langgraph.types
from langgraph.graph import START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

from charm_checkpoint import open_memory
from charm_checkpoint.testing.graphs import Command, chat, delta, nested, paused


class Colour(Enum):
    """An enum."""

    RED = "red"


class Order(BaseModel):
    """A model."""

    number: int
    colour: Colour = Colour.RED


@dataclass
class Place:
    """A dataclass."""

    name: str
    orders: list[Order]


class Held(TypedDict, total=False):
    """What is written anew in each turn."""

    held: Any


def _held() -> list[Any]:
    policy = getattr(langgraph.types, "TimeoutPolicy", None)
    return [Order(number=1), Place("x", [Order(number=2)] * 40), policy and policy(run_timeout=3.0)]


def _keeping(saver: Any) -> Any:
    return StateGraph(Held).add_node("turn", lambda state: dict(state)).add_edge(START, "turn").compile(saver)


def _on(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def _say(saver: Any, thread: str, text: str) -> list[Any]:
    said: list[Any] = chat(saver).invoke({"messages": [("user", text)]}, _on(thread))["messages"]
    assert said[-1].content == f"answer to {text}", said
    return said


def store(saver: Any) -> None:
    """Leave threads of several kinds, some of which wait."""
    _say(saver, "chat", "one")
    paused(saver).invoke({"log": []}, _on("paused"))
    nested(saver, pause=True).invoke({"log": []}, _on("nested"))
    for number in range(3):
        delta(saver).invoke({"log": [number], "plain": []}, _on("delta"))
    _keeping(saver).invoke({"held": _held()}, _on("held"))


def go_on(saver: Any) -> None:
    """Go on with each, and begin one more."""
    assert len(_say(saver, "chat", "two")) == 4
    paused(saver).invoke(Command(resume="yes"), _on("paused"))
    log = nested(saver, pause=True).invoke(Command(resume=7), _on("nested"))["log"]
    assert log[-2:] == [("inner", 7), "after"], log
    delta(saver).invoke({"log": [3], "plain": []}, _on("delta"))
    held = _keeping(saver).invoke({}, _on("held"))["held"]
    assert held[:2] == _held()[:2], held
    _say(saver, "older", "one")


def look(saver: Any) -> None:
    """Find all of both."""
    assert len(_say(saver, "chat", "three")) == 6 and len(_say(saver, "older", "two")) == 4
    log = paused(saver).invoke(Command(resume="also"), _on("paused"))["log"]
    assert log == ["first", "yes", "second", "also", "end"], log
    numbers = delta(saver).get_state(_on("delta")).values["log"]
    assert [entry for entry in numbers if isinstance(entry, int)] == [0, 1, 2, 3], numbers
    found = _keeping(saver).get_state(_on("held")).values["held"]
    assert found == _held(), found
    assert len(list(saver.list(_on("chat")))) == 9


STEPS: dict[str, Callable[[Any], None]] = {"store": store, "go-on": go_on, "look": look}

if __name__ == "__main__":
    with open_memory(f"sqlite:///{sys.argv[2]}") as memory:
        STEPS[sys.argv[1]](memory.get_langgraph_checkpointer())
