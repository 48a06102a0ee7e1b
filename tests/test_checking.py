"""Before a deploy: what new classes and a new graph make of stored threads, and heads stored anew; on every store."""

from __future__ import annotations

import contextlib
import gc
import itertools
import operator
import re
import sqlite3
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypedDict, get_args

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from pages import ROOT

from charm_checkpoint import Memory, open_memory, register_type
from charm_checkpoint.checking import CheckReport
from charm_checkpoint.checking.report import PROBLEMS
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.values.serde import telling

_numbers = itertools.count()


def config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def run(mode: CallMode, graph: Any, thread: str, given: Any, **more: Any) -> Any:
    return mode.run(
        partial(graph.invoke, given, config(thread), **more), partial(graph.ainvoke, given, config(thread), **more)
    )


def found(report: CheckReport) -> set[tuple[str, str, str | None]]:
    return {(each.kind, each.subject, each.field) for each in report.findings}


class Program:
    """A module of which several versions are deployed, one after the other; nothing is left of a former one."""

    def __init__(self) -> None:
        self.name = f"deployed_{next(_numbers)}"

    def deploy(self, source: str) -> Any:
        module = ModuleType(self.name)
        sys.modules[self.name] = module
        exec(compile(source, self.name, "exec"), module.__dict__)
        return module

    def end(self) -> None:
        sys.modules.pop(self.name, None)
        gc.collect()


class Held(TypedDict):
    kept: Any
    orders: Any


def holding(module: Any, memory: Memory) -> Any:
    """Return a graph whose state holds an object of each class of a module."""

    def fill(given: Any) -> Any:
        return {"kept": module.make(), "orders": [module.make() for _ in range(3)]}

    builder = StateGraph(Held).add_node("fill", fill).add_edge(START, "fill")
    return builder.compile(checkpointer=memory.get_langgraph_checkpointer())


FIRST = """
from dataclasses import dataclass
@dataclass
class Order:
    id: str = "7"
    note: str = "by noon"
def make():
    return Order()
"""
FORMER = """
from dataclasses import dataclass
from pydantic import BaseModel
@dataclass
class Loose:
    id: str = "7"
    note: str = "by noon"
@dataclass
class Typed:
    number: str = "seven"
@dataclass(slots=True)
class Tight:
    id: str = "7"
    note: str = "by noon"
class Model(BaseModel):
    note: str = "by noon"
def make():
    return [Loose(), Typed(), Tight(), Model()]
"""
PRESENT = """
from dataclasses import dataclass
from pydantic import AliasChoices, BaseModel, Field
@dataclass
class Loose:
    id: str = "7"
    more: int = 3
@dataclass
class Typed:
    number: int = 7
@dataclass(slots=True)
class Tight:
    id: str = "7"
class Model(BaseModel):
    remark: str = Field("", validation_alias=AliasChoices("remark", "note"))
def make():
    return None
"""
WITHOUT = "def make():\n    return None\n"


class State(TypedDict):
    rows: Annotated[list[str], operator.add]
    way: str


def inner(ask: str = "inner", checkpointer: Any = None) -> Any:
    builder = StateGraph(State).add_node(ask, lambda state: {"way": interrupt("inside?")}).add_edge(START, ask)
    return builder.compile(checkpointer=checkpointer)


def outer(
    ask: str = "ask", sub: str = "sub", inside: Any = None, reducer: Any = operator.add, rows: Any = list[str]
) -> StateGraph[Any, Any, Any, Any]:
    """Return a graph that goes where its input says, and waits there."""
    fields: Any = {"rows": Annotated[rows, reducer], "way": str}
    state: Any = TypedDict("state", fields)  # type: ignore[operator]
    builder = StateGraph(state)
    builder.add_node("begin", lambda state: {"rows": ["begun"]})
    builder.add_node(ask, lambda state: {"way": interrupt("who?")})
    builder.add_node(sub, inner() if inside is None else inside)
    builder.add_node("end", lambda state: {})
    builder.add_edge(START, "begin")
    builder.add_conditional_edges(
        "begin", lambda state: state["way"], {"ask": ask, "sub": sub, "end": "end", "none": END}
    )
    return builder


class TestOnEveryStore(Suite):
    def test_a_class_that_is_gone(self, memory: Memory, mode: CallMode) -> None:
        program = Program()
        for thread in ("a", "b"):
            run(mode, holding(program.deploy(FIRST), memory), thread, {})
        graph = outer().compile(checkpointer=memory.get_langgraph_checkpointer())
        run(mode, graph, "other", {"rows": [], "way": "ask"})
        program.end()
        program.deploy(WITHOUT)
        report = InMode(memory, mode).check(holding(program.deploy(WITHOUT), memory))
        gone, _ = report.problems[::-1]
        assert (gone.kind, gone.subject, gone.field, gone.threads) == ("unknown", f"{program.name}:Order", None, 2)
        assert set(gone.examples) == {"a", "b"} and "not loaded" in gone.message and report.threads == 3
        assert not report.ok and report.without(f"unknown:{program.name}:*", "node:a?k").ok
        assert report.without("unknown", "node").ok and not report.without("lost", "unknown:other", "node").ok
        assert ("unread", "way", None) in found(report) and ("node", "ask", None) in found(report)
        program.end()

    def test_subgraphs_whatever_they_keep(self, memory: Memory, mode: CallMode) -> None:
        for keeps, durability in ((None, "exit"), (True, "sync")):
            graph = outer(inside=inner(checkpointer=keeps)).compile(checkpointer=memory.get_langgraph_checkpointer())
            for thread in (f"waits {keeps}", f"done {keeps}"):
                run(mode, graph, thread, {"rows": [], "way": "sub"}, durability=durability)
            run(mode, graph, f"done {keeps}", Command(resume="end"), durability=durability)
            report = InMode(memory, mode).check(graph, threads=[f"waits {keeps}"])
            assert (report.findings, report.checkpoints, report.waiting) == ([], 2, 1)
            report = InMode(memory, mode).check(graph, threads=[f"done {keeps}"])
            assert (report.findings, report.checkpoints, report.waiting) == ([], 1 + bool(keeps), 0)
        other = outer(sub="subs", inside=inner(checkpointer=True))
        assert found(InMode(memory, mode).check(other, threads=["done True"])) == {("unread", "sub", None)}
        assert found(InMode(memory, mode).check(other, threads=["done None"])) == set()

    def test_heads_are_stored_anew_in_their_places(self, memory: Memory, mode: CallMode) -> None:
        former, program = Program(), Program()
        graph = asking(former.deploy(FIRST), memory)
        run(mode, graph, "t", {})
        before = place(mode, graph)
        del graph
        former.end()
        module = program.deploy(FIRST)
        register_type(module.Order, aliases=[f"{former.name}:Order"])
        graph, called = asking(module, memory), InMode(memory, mode)
        usage = memory.usage()
        dry = called.migrate(dry_run=True)
        assert (dry.rewritten, dry.current, dry.ok, memory.usage()) == (1, 0, True, usage)
        assert alias_of(dry, former) == 1 == alias_of(called.check(graph), former)
        done = called.migrate()
        assert (done.threads, done.rewritten, done.current, done.left) == (1, 1, 0, [])
        assert alias_of(done, former) == 0 == alias_of(called.check(graph), former)
        assert alias_of(called.check(graph, history=True), former) == 1
        again = called.migrate()
        assert (again.rewritten, again.current) == (0, 1)
        assert place(mode, graph) == before and memory.usage().writes == usage.writes
        assert graph.get_state(config("t")).values["kept"] == module.Order()
        InMode(memory.get_langgraph_checkpointer(), mode).prune(["t"])  # older ones have writes of that name
        assert alias_of(called.check(graph, history=True), former) == 0
        assert run(mode, graph, "t", Command(resume="Ann"))["orders"] == "Ann"
        program.end()


class TestAnyStore(Suite):
    """What is the same on all of them."""

    @pytest.fixture(params=["memory://"])
    def url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.param
        return url

    def test_what_has_not_changed_has_no_problem(self, memory: Memory, mode: CallMode) -> None:
        graph = outer().compile(checkpointer=memory.get_langgraph_checkpointer())
        for thread in ("ask", "sub", "end", "none"):
            run(mode, graph, thread, {"rows": ["a"], "way": thread})
        InMode(memory, mode).save_messages("messages only", [{"role": "user", "content": "hi"}])
        before = memory.usage()
        report = InMode(memory, mode).check(graph)
        assert (report.threads, report.waiting, report.checkpoints, report.findings) == (4, 2, 5, [])
        assert report.ok and not report.is_sample
        assert InMode(memory, mode).check().findings == []
        assert InMode(memory, mode).check(outer()).ok, "a builder will do"
        assert memory.usage() == before

    def test_channels_and_reducers(self, memory: Memory, mode: CallMode) -> None:
        graph = outer().compile(checkpointer=memory.get_langgraph_checkpointer())
        run(mode, graph, "a", {"rows": ["x"], "way": "end"})
        check = InMode(memory, mode).check

        def merged(left: dict[str, str], right: dict[str, str]) -> dict[str, str]:
            return {**left, **right}

        report = check(outer(reducer=merged, rows=dict[str, str]))
        assert found(report) == {("channel", "rows", None), ("reducer", "rows", None)}
        refused = next(each for each in report.problems if each.kind == "reducer")
        assert "merged" in refused.message and "list" in refused.message
        assert found(check(outer(rows=list[int]))) == {("channel", "rows", None)}
        for fits in (list[Any], list[str | int], list, Sequence[str]):
            assert found(check(outer(rows=fits))) == set(), fits

    def test_a_sample_is_the_same_each_time(self, memory: Memory, mode: CallMode) -> None:
        graph = outer().compile(checkpointer=memory.get_langgraph_checkpointer())
        for thread in range(12):
            run(mode, graph, str(thread), {"rows": [], "way": "ask"})
        check = InMode(memory, mode).check
        reports = [check(outer(ask="other"), sample=3) for _ in range(2)]
        assert reports[0].findings[0].examples == reports[1].findings[0].examples
        assert [(each.threads, each.is_sample) for each in reports] == [(3, True)] * 2
        assert check(sample=100).threads == 12 == check().threads

    def test_what_a_thread_waits_for_is_gone(self, memory: Memory, mode: CallMode) -> None:
        graph = outer().compile(checkpointer=memory.get_langgraph_checkpointer())
        for thread in ("ask", "sub", "end"):
            run(mode, graph, thread, {"rows": [], "way": thread})
        check = InMode(memory, mode).check
        assert found(check(outer(ask="asks"))) == {("node", "ask", None)}
        assert found(check(outer(sub="subs"))) == {("node", "sub", None)}
        assert found(check(outer(inside=inner("deeper")))) == {("node", "sub|inner", None)}
        assert found(check(outer(inside=lambda state: {}))) == {("subgraph", "sub", None)}
        assert [each.examples for each in check(outer(ask="asks")).problems] == [("ask",)]
        assert found(check(outer(ask="asks"), threads=["sub", "end"])) == set()

    def test_two_calls_a_thread(self, memory: Memory, mode: CallMode, monkeypatch: pytest.MonkeyPatch) -> None:
        graph = outer().compile(checkpointer=memory.get_langgraph_checkpointer())
        for thread in range(5):
            run(mode, graph, str(thread), {"rows": [], "way": "end"})
        calls: list[Any] = []
        for name in ("run", "arun"):
            call = getattr(memory.store, name)
            monkeypatch.setattr(
                memory.store, name, lambda *args, _call=call, **more: calls.append(0) or _call(*args, **more)
            )
        assert InMode(memory, mode).check(graph).threads == 5
        assert len(calls) == 1 + 2 * 5  # the listing; of each thread its heads, and the one head
        calls.clear()
        assert InMode(memory, mode).migrate().current == 5
        assert len(calls) == 1 + 2 * 5

    def test_each_class_and_field(self, memory: Memory, mode: CallMode) -> None:
        program = Program()
        for thread in ("a", "b"):
            run(mode, holding(program.deploy(FORMER), memory), thread, {})
        program.end()
        graph, called = holding(program.deploy(PRESENT), memory), InMode(memory, mode)
        report = called.check(graph)
        name = program.name
        assert found(report) == {
            ("lost", f"{name}:Tight", "note"),
            ("kept", f"{name}:Loose", "note"),
            ("missing", f"{name}:Loose", "more"),
            ("renamed", f"{name}:Model", "remark"),
            ("unknown", f"{name}:Typed", None),
        }
        assert {each.threads for each in report.findings} == {2}
        assert "number" in next(each.message for each in report.findings if each.kind == "unknown")
        assert found(report.without("unknown", "lost:*:Tight.note")) >= found(report.without("unknown", "lost"))
        before = memory.usage()
        done = called.migrate()
        assert (done.rewritten, [each.kind for each in done.left], done.ok) == (0, ["lost"], False)
        assert memory.usage() == before and found(called.check(graph)) == found(report)
        program.end()

    def test_what_is_not_lost_is_stored_anew(self, memory: Memory, mode: CallMode) -> None:
        program = Program()
        run(mode, holding(program.deploy(FORMER.replace("Tight(), ", "")), memory), "t", {})
        program.end()
        module = program.deploy(PRESENT)
        graph, called = holding(module, memory), InMode(memory, mode)
        assert called.migrate().rewritten == 1
        assert found(called.check(graph)) == {
            ("kept", f"{program.name}:Loose", "note"),
            ("unknown", f"{program.name}:Typed", None),
        }
        assert called.migrate().current == 1
        program.end()
        former = program.deploy(FORMER)  # and back: nothing is lost that the present classes did not have
        loose, typed = graph.get_state(config("t")).values["kept"][:2]
        assert (loose, typed) == (former.Loose(), former.Typed())
        program.end()


def test_what_is_damaged_hides_nothing_else(tmp_path: Path) -> None:
    with open_memory(f"sqlite:///{tmp_path}/charm.db") as memory:
        graph = outer().compile(checkpointer=memory.get_langgraph_checkpointer())
        for thread in ("a", "b", "c"):
            graph.invoke({"rows": [], "way": "ask"}, config(thread))
        head = graph.get_state(config("c")).config["configurable"]["checkpoint_id"]
    with contextlib.closing(sqlite3.connect(tmp_path / "charm.db")) as db, db:
        cut, last = "cast(substr(body, 1, 40) || x'00' as blob)", "(select max(key) from checkpoint)"
        changed = db.execute(f"update checkpoint set body = {cut} where key = {last}")
        assert changed.rowcount == 1
    with open_memory(f"sqlite:///{tmp_path}/charm.db") as memory:
        report = memory.check(outer(ask="other"))
        assert found(report) == {("damaged", "StoreCorrupt", None), ("node", "ask", None)}
        [damaged] = [each for each in report.problems if each.kind == "damaged"]
        assert damaged.examples == ("c",) and head in damaged.message and report.threads == 3
        migrated = memory.migrate()
        assert (migrated.current, [each.kind for each in migrated.left]) == (2, ["damaged"])


def asking(module: Any, memory: Memory) -> Any:
    """Return a graph that stores an object of a module's class, and waits then."""
    builder = StateGraph(Held).add_node("fill", lambda state: {"kept": module.make(), "orders": [module.make()] * 9})
    builder.add_node("ask", lambda state: {"orders": interrupt("who?")})
    builder.add_edge(START, "fill").add_edge("fill", "ask")
    return builder.compile(checkpointer=memory.get_langgraph_checkpointer())


def place(mode: CallMode, graph: Any) -> list[Any]:
    """Return all by which a run goes on from a thread."""
    state = mode.run(partial(graph.get_state, config("t")), partial(graph.aget_state, config("t")))
    return [state.config, state.parent_config, state.metadata, state.created_at, state.interrupts] + [
        task.id for task in state.tasks
    ]


def alias_of(report: Any, former: Program) -> int:
    [used] = [used for used in report.aliases if used.alias == f"{former.name}:Order"]
    count: int = used.threads
    return count


def test_the_manual_has_every_kind_of_finding() -> None:
    page = (ROOT / "docs" / "before-a-deploy.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    documented = {name: "note" not in said for names, said in rows for name in re.findall("`(.+?)`", names)}
    assert documented.keys() == PROBLEMS | {*get_args(telling.What), "unread"}
    assert {name for name, is_problem in documented.items() if is_problem} == PROBLEMS
