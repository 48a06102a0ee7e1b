"""The demo's travel agent, and the process that runs it on one device.

The model is a script and the outside world is a file, so no key and no network are needed;
the graph, its tools and the human approval are what a real agent would use. `demo` starts
this module as a process of its own: the job comes as one JSON line on stdin, and what
happens goes out as JSON lines on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from datetime import datetime, tzinfo
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt

from charm_checkpoint import open_memory
from charm_checkpoint.demo.device import Job

REQUEST = "Book me a train to Oslo on Friday, and a room for the night."

APPROVAL = "Yes, pay."

SCRIPT: tuple[tuple[str, tuple[tuple[str, dict[str, Any]], ...]], ...] = (
    ("Let me see which trains there are.", (("look_up_trains", {"to": "Oslo"}),)),
    ("I reserve a seat and a room.", (("reserve_seat", {"train": "R 12"}), ("reserve_room", {"hotel": "Fjord"}))),
    ("Both are reserved. I pay, if I may.", (("pay", {"euros": 240}),)),
    ("Done: train R 12 and one night at the Fjord, 240 euros paid.", ()),
)
"""What the model says in each turn, and which tools it calls with what."""


_events = sys.stdout


class World:
    """The world outside the agent: a ledger to which every deed adds a line, for good."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def do(self, deed: str, detail: str) -> str:
        """Do something that cannot be taken back, and report it."""
        time.sleep(self.job.pause)
        with open(self.job.ledger, "a", encoding="utf-8") as ledger:
            ledger.write(json.dumps({"deed": deed, "device": self.job.device}) + "\n")
        report("did", deed=deed, detail=detail)
        return detail


def report(event: str, **facts: Any) -> None:
    """Tell the parent process what happened, at once."""
    # One write a line: tools run side by side in threads.
    _events.write(json.dumps({"event": event, **facts}) + "\n")
    _events.flush()


# --------------------------------------------------------------------------------- the agent


class ScriptedModel(BaseChatModel):
    """A chat model that says the next line of `SCRIPT`, by how often it has spoken so far."""

    world: Any

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        turn = sum(isinstance(message, AIMessage) for message in messages)
        text, calls = SCRIPT[turn]
        self.world.do(f"think {turn + 1}", text)
        tool_calls = [{"name": name, "args": args, "id": f"call-{name}"} for name, args in calls]
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text, tool_calls=tool_calls))])


def build_tools(world: World) -> list[BaseTool]:
    """Return the agent's tools, acting on ``world``."""

    @tool
    def look_up_trains(to: str) -> str:
        """Say which trains go there."""
        return world.do("look_up_trains", f"R 12 leaves for {to} at 8:40, 120 euros")

    @tool
    def reserve_seat(train: str) -> str:
        """Reserve a seat on a train."""
        return world.do("reserve_seat", f"seat 61 on {train} is reserved")

    @tool
    def reserve_room(hotel: str) -> str:
        """Reserve a room in a hotel."""
        report("started", deed="reserve_room", detail=f"waiting for the {hotel} to answer")
        time.sleep(world.job.room_takes)
        return world.do("reserve_room", f"a room at the {hotel} is reserved")

    @tool
    def pay(euros: int) -> str:
        """Pay, once the traveller agrees."""
        answer = interrupt(f"Pay {euros} euros?")
        return world.do("pay", f"{euros} euros paid") if answer == APPROVAL else "The traveller said no."

    return [look_up_trains, reserve_seat, reserve_room, pay]


def call_tools(state: MessagesState) -> list[Send] | str:
    """Send each tool call to a task of its own, so that each is saved when it is done."""
    last = state["messages"][-1]
    calls = last.tool_calls if isinstance(last, AIMessage) else []
    return [Send("tools", [call]) for call in calls] or END


def build_graph(world: World, saver: BaseCheckpointSaver[Any]) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return the agent: think, call tools side by side, think again, until nothing is left."""
    model = ScriptedModel(world=world)

    def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("think", think)
    builder.add_node("tools", ToolNode(build_tools(world)))
    builder.add_edge(START, "think")
    builder.add_conditional_edges("think", call_tools, ["tools", END])
    builder.add_edge("tools", "think")
    return builder.compile(checkpointer=saver)


# -------------------------------------------------------------------------------- the device


class OffsetDatetime(datetime):
    """A datetime whose ``now`` follows `time.time`, as `set_clock` left it."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> OffsetDatetime:
        """Return the time by the process's clock."""
        return cls.fromtimestamp(time.time(), tz)


def set_clock(offset: float) -> None:
    """Put this process's clock ``offset`` seconds off, for checkpoint ids and times alike.

    LangGraph makes ids from `time.time_ns` and times from its modules' own ``datetime``.
    """
    real_time, real_time_ns = time.time, time.time_ns
    time.time = lambda: real_time() + offset
    time.time_ns = lambda: real_time_ns() + int(offset * 1e9)
    for name in ("langgraph.checkpoint.base", "langgraph.pregel._checkpoint"):
        module = sys.modules.get(name)
        if hasattr(module, "datetime"):
            setattr(module, "datetime", OffsetDatetime)  # noqa: B010


def end_with_parent() -> None:
    """End this process when its stdin closes, that is, when the parent is gone."""

    def wait() -> None:
        # Not sys.stdin: a thread inside its buffer at exit is a fatal error.
        while os.read(0, 1):
            pass
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def work(job: Job) -> None:
    """Open the store, do the job, and report where the agent stands."""
    config: RunnableConfig = {"configurable": {"thread_id": job.thread}}
    with open_memory(job.url) as memory:
        graph = build_graph(World(job), memory.get_langgraph_checkpointer())
        said = {"ask": REQUEST, "approve": APPROVAL}.get(job.task)
        if said:
            memory.append_messages(job.thread, [{"role": "user", "content": said}])
        start: dict[str, Any] = {
            "ask": {"messages": [{"role": "user", "content": REQUEST}]},
            "go on": None,
            "approve": Command(resume=APPROVAL),
        }
        graph.invoke(start[job.task], config, durability="sync")
        state = graph.get_state(config)
        answer = str(state.values["messages"][-1].text)
        memory.append_messages(job.thread, [{"role": "assistant", "content": answer}])
        report(
            "stopped",
            asks=[asked.value for asked in state.interrupts],
            next=list(state.next),
            checkpoint=state.config["configurable"]["checkpoint_id"],
            clock=datetime.fromtimestamp(time.time()).strftime("%H:%M"),
        )


def main() -> None:
    """Do the job that stdin names."""
    job = Job(**json.loads(sys.stdin.readline()))
    sys.stdout = sys.stderr  # stdout is for events alone
    end_with_parent()
    if job.clock:
        set_clock(job.clock)
    work(job)


if __name__ == "__main__":
    main()
