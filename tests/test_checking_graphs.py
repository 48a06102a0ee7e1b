"""Whatever kind of graph wrote the threads: the same graph finds nothing wrong with them, one that changed does."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Optional, TypedDict

import pytest
from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.channels import LastValue, Topic
from langgraph.channels.delta import DeltaChannel
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph, add_messages
from langgraph.managed import RemainingSteps
from langgraph.pregel import NodeBuilder, Pregel
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel, Field

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.checking import CheckReport

CONFIG: Any = {"configurable": {"thread_id": "t"}}


class Messages(MessagesState):
    count: Annotated[int, operator.add]
    maybe: str | None
    left: RemainingSteps


def messages() -> Any:
    builder = StateGraph(Messages)
    builder.add_node("say", lambda state: {"messages": [("ai", "hi"), HumanMessage("x" * 2000)], "count": 2})
    builder.add_node("ask", lambda state: {"maybe": interrupt({"what": "?"})})
    return builder.add_edge(START, "say").add_edge("say", "ask")


class Line(BaseModel):
    id: int
    text: str = ""


class Order(BaseModel):
    lines: list[Line] = []
    kind: Literal["a", "b"] = "a"
    messages: Annotated[list[AnyMessage], add_messages] = Field(default_factory=list)


def pydantic() -> Any:
    builder = StateGraph(Order)
    builder.add_node("fill", lambda state: {"lines": [Line(id=1)], "messages": [("user", "hi")]})
    builder.add_node("ask", lambda state: {"kind": interrupt("which?")})
    return builder.add_edge(START, "fill").add_edge("fill", "ask")


@dataclass
class Box:
    things: Annotated[list[str], operator.add] = field(default_factory=list)
    best: Optional[Line] = None  # noqa: UP045 (as a program may write it)


def dataclasses() -> Any:
    builder = StateGraph(Box).add_node("fill", lambda state: {"things": ["a"], "best": Line(id=2)})
    builder.add_node("ask", lambda state: {"things": [interrupt("which?")]})
    return builder.add_edge(START, "fill").add_edge("fill", "ask")


class Spread(TypedDict):
    rows: Annotated[list[str], operator.add]
    seen: Annotated[set[str], operator.or_]
    ways: Annotated[list[int], DeltaChannel(lambda state, more: [*state, *sum(more, [])])]  # type: ignore[arg-type]


def sends(each: str = "each", right: str = "right", late: str = "late") -> Any:
    builder = StateGraph(Spread)
    builder.add_node("spread", lambda state: {"rows": ["r"], "seen": {"s"}, "ways": [1]})
    builder.add_node(each, lambda item: {"rows": [interrupt(item)]})
    builder.add_node("left", lambda state: {"rows": ["left"]})
    builder.add_node(right, lambda state: {"rows": [interrupt("right?")]})
    builder.add_node(late, lambda state: {}, defer=True)
    builder.add_edge(START, "spread")
    builder.add_conditional_edges("spread", lambda state: [Send(each, n) for n in range(2)], [each])
    builder.add_edge("spread", "left").add_edge("spread", right)
    return builder.add_edge(["left", right], late).add_edge(late, END)


def functional(name: str = "work") -> Any:
    @task
    def double(number: int) -> int:
        return 2 * number

    @task
    def ask(number: int) -> str:
        answer: str = interrupt(number)
        return answer

    def work(number: int, *, previous: Any = None) -> str:
        return ask(double(number).result()).result()

    work.__name__ = name
    return entrypoint()(work)


def plain_pregel(two: str = "two") -> Any:
    nodes = {
        "one": NodeBuilder().subscribe_only("given").do(lambda text: text + "!").write_to("said"),
        two: NodeBuilder().subscribe_to("said", read=False).read_from("given").do(lambda values: interrupt("?")),
    }
    channels = {"given": LastValue(str), "said": LastValue(str), "all": Topic(str, accumulate=True)}
    return Pregel(nodes=nodes, channels=channels, input_channels="given", output_channels="said")


GRAPHS: dict[str, tuple[Callable[[], Any], Any]] = {
    "messages": (messages, {"messages": [("user", "hi")], "count": 1}),
    "pydantic": (pydantic, {"lines": []}),
    "dataclasses": (dataclasses, {"things": ["x"]}),
    "sends": (sends, {"rows": []}),
    "functional": (functional, 3),
    "pregel": (plain_pregel, "hello"),
}


def compiled(graph: Any, memory: Memory) -> Any:
    saver = memory.get_langgraph_checkpointer()
    if isinstance(graph, StateGraph):
        return graph.compile(checkpointer=saver)
    graph.checkpointer = saver
    return graph


def found(report: CheckReport) -> set[tuple[str, str]]:
    return {(each.kind, each.subject) for each in report.findings}


@pytest.mark.parametrize("kind", list(GRAPHS))
def test_a_graph_finds_nothing_wrong_with_its_own_threads(kind: str) -> None:
    make, given = GRAPHS[kind]
    with open_memory("memory://") as memory:
        graph = compiled(make(), memory)
        graph.invoke(given, CONFIG)
        while graph.get_state(CONFIG).interrupts:
            report = memory.check(make())
            assert (report.findings, report.threads, report.checkpoints, report.waiting) == ([], 1, 1, 1)
            answers = {each.id: "b" for each in graph.get_state(CONFIG).interrupts}
            graph.invoke(Command(resume=answers), CONFIG)
        report = memory.check(make())
        assert (report.findings, report.waiting) == ([], 0)
        assert memory.check(graph, history=True).findings == []
        assert memory.migrate().rewritten == 0


def inside(state: Any) -> Any:
    return {"rows": []}


@pytest.mark.parametrize(
    ("kind", "changed", "expected"),
    [
        ("sends", lambda: sends(each="one"), {("node", "each")}),
        ("sends", lambda: sends(right="there"), {("node", "right"), ("node", "late")}),
        ("sends", lambda: sends(late="later"), {("node", "late")}),
        ("functional", lambda: functional("job"), {("task", "the graph")}),
        ("pregel", lambda: plain_pregel("second"), {("task", "the graph")}),
        ("messages", pydantic, {("unread", "count")}),
    ],
)
def test_a_graph_that_changed(kind: str, changed: Callable[[], Any], expected: set[tuple[str, str]]) -> None:
    make, given = GRAPHS[kind]
    with open_memory("memory://") as memory:
        compiled(make(), memory).invoke(given, CONFIG)
        assert found(memory.check(changed())) == expected
