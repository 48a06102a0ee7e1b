"""Heads are stored anew while others are at it: what was deleted stays so, and a run that goes on wins."""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph

from charm_checkpoint import Memory, register_type
from charm_checkpoint.checking import MigrateReport
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import BlockingMode, CallMode

SOURCE = "from dataclasses import dataclass\n@dataclass\nclass Order:\n    id: str = '7'\n"
CONFIG: Any = {"configurable": {"thread_id": "t"}}
_numbers = itertools.count()


class State(TypedDict):
    order: Any
    turn: int


def module(name: str) -> Any:
    made = sys.modules[name] = ModuleType(name)
    exec(SOURCE, made.__dict__)
    return made


def graph_of(memory: Memory, cls: Any) -> Any:
    builder = StateGraph(State).add_node("fill", lambda state: {"order": cls(), "turn": state["turn"] + 1})
    return builder.add_edge(START, "fill").compile(checkpointer=memory.get_langgraph_checkpointer())


def program_of(memory: Memory) -> Any:
    """Return the present graph of a new thread that holds an object under a class's former name."""
    memory.delete_thread("t")
    former = f"former_{next(_numbers)}"
    graph_of(memory, module(former).Order).invoke({"turn": 0, "order": None}, CONFIG)
    sys.modules.pop(former)
    gc.collect()
    present = module(f"present_{next(_numbers)}")
    register_type(present.Order, aliases=[f"{former}:Order"])
    return graph_of(memory, present.Order)


def migrated(memory: Memory, meanwhile: Callable[[], Any]) -> MigrateReport:
    """Migrate, with something else done between reading a head for the first time and storing it anew."""
    session = memory._migrate(False, None)
    done = itertools.count()
    try:
        step = next(session)
        while True:
            if step.write and next(done) == 0:
                meanwhile()
            step = session.send(memory.store.run(step.make, write=step.write, thread=step.thread))
    except StopIteration as stop:
        report: MigrateReport = stop.value
    assert next(done) > 0, "nothing was to be stored anew"
    return report


def a_thread_that_is_deleted_stays_so(memory: Memory, program: Any) -> None:
    report = migrated(memory, lambda: memory.delete_thread("t"))
    assert (report.rewritten, report.left) == (0, [])
    assert memory.usage("t").checkpoints == 0 and program.get_state(CONFIG).values == {}


def a_head_that_is_removed_does_not_come_back(memory: Memory, program: Any) -> None:
    saver = memory.get_langgraph_checkpointer()
    before, *older = list(saver.list(CONFIG))
    head = ("", before.config["configurable"]["checkpoint_id"])
    removed = partial(memory.store.backend.remove, "t", [head], None)
    report = migrated(memory, lambda: memory.store.run(removed, write=True, thread="t"))
    assert [found.config for found in saver.list(CONFIG)] == [found.config for found in older]
    assert report.rewritten + report.current == 0


def a_run_that_goes_on_has_the_head(memory: Memory, program: Any) -> None:
    report = migrated(memory, lambda: program.invoke({"turn": 7}, CONFIG))
    assert report.rewritten == 1
    assert program.get_state(CONFIG).values["turn"] == 8
    assert [found.metadata["step"] for found in memory.get_langgraph_checkpointer().list(CONFIG)] == [
        4, 3, 2, 1, 0, -1,
    ]  # fmt: skip
    assert program.invoke({"turn": 10}, CONFIG)["turn"] == 11


def a_thread_that_is_pruned_is_read_again(memory: Memory, program: Any) -> None:
    report = migrated(memory, lambda: memory.get_langgraph_checkpointer().prune(["t"]))
    assert (report.rewritten, report.left) == (1, [])
    assert not any(used.threads for used in memory.check(history=True).aliases)


class TestMeanwhile(Suite):
    @pytest.fixture(params=["blocking"])
    def mode(self, request: pytest.FixtureRequest) -> CallMode:
        return BlockingMode()

    def test_whatever_is_done_meanwhile(self, memory: Memory) -> None:
        for case in (
            a_thread_that_is_deleted_stays_so,
            a_head_that_is_removed_does_not_come_back,
            a_run_that_goes_on_has_the_head,
            a_thread_that_is_pruned_is_read_again,
        ):
            case(memory, program_of(memory))
