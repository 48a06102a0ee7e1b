"""A chat that grows: each turn adds a message and its answer to what the thread already holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from benchmarks import session, text
from benchmarks.contender import Contender, Saver
from benchmarks.session import Call, Work

MESSAGE_BYTES = 520
"""Text in one message: 1,000 turns are 2,000 messages and 1.04 MB."""

WARM_UP_TURNS = 2


class ChatState(TypedDict):
    """The state most agents have."""

    messages: Annotated[list[AnyMessage], add_messages]


def conversation(turns: int) -> list[AnyMessage]:
    """Return ``turns`` human messages, each followed by its answer."""
    names = text.ids("chat")
    messages: list[AnyMessage] = []
    for turn in range(turns):
        messages.append(HumanMessage(text.prose(f"human {turn}", MESSAGE_BYTES), id=next(names)))
        messages.append(AIMessage(text.prose(f"answer {turn}", MESSAGE_BYTES), id=next(names)))
    return messages


def build(script: Sequence[AnyMessage], call_mode: str, saver: Saver) -> Any:
    """Return a graph of one node, which answers from the script."""

    def answer(state: ChatState) -> dict[str, list[AnyMessage]]:
        return {"messages": [script[len(state["messages"])]]}

    async def aanswer(state: ChatState) -> dict[str, list[AnyMessage]]:
        return answer(state)

    builder = StateGraph(ChatState)
    builder.add_node("answer", answer if call_mode == "blocking" else aanswer)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


def talk(
    script: Sequence[AnyMessage], call_mode: str, thread: str, turns: range, label: str | None = None
) -> Callable[[Saver], Work[Sequence[AnyMessage]]]:
    """Return the work of these turns, one invoke each, timed under a label; it returns the messages of the last state.

    With no saver the caller hands the whole state back in, as a program would that keeps it.
    """

    def work(saver: Saver) -> Work[Sequence[AnyMessage]]:
        graph = build(script, call_mode, saver)
        options = {} if saver is None else {"durability": "sync"}
        config = {"configurable": {"thread_id": thread}}
        state: Mapping[str, Any] = {"messages": []}
        for turn in turns:
            kept = state["messages"] if saver is None else []
            state = yield Call(graph, "invoke", ({"messages": [*kept, script[2 * turn]]}, config), options, label)
        return list(state["messages"])

    return work


def measure(contender: Contender, folder: Path, *, turns: int) -> dict[str, float | None]:
    """Hold a whole chat; return its ``seconds``, from opening to closing, and ``bytes`` stored."""
    script = conversation(turns)
    _warm_up(contender, folder / "warm", script[: 2 * WARM_UP_TURNS])
    home = folder / "store"
    home.mkdir()
    before = contender.stored(home) if contender.stored else 0
    thread = str(uuid4())
    chat = session.run(contender, home, talk(script, contender.call_mode, thread, range(turns)))
    check(chat.result, script)
    stored = contender.stored(home) - before if contender.stored else None
    if contender.stored:
        check(session.run(contender, home, read(thread)).result, script)
    return {"seconds": chat.seconds, "bytes": stored, "text_bytes": len(script) * MESSAGE_BYTES}


def read(thread: str) -> Callable[[Saver], Work[Sequence[AnyMessage]]]:
    """Return the work of reading a thread's messages back."""

    def work(saver: Saver) -> Work[Sequence[AnyMessage]]:
        found = yield Call(saver, "get_tuple", ({"configurable": {"thread_id": thread, "checkpoint_ns": ""}},))
        return list(found.checkpoint["channel_values"]["messages"])

    return work


def check(messages: Sequence[Any], script: Sequence[Any]) -> None:
    """Raise AssertionError unless every message is there: losing some must not count as fast."""
    if list(messages) != list(script):
        raise AssertionError(f"the chat came back with {len(messages)} messages, not the {len(script)} it was given")


def _warm_up(contender: Contender, folder: Path, script: Sequence[AnyMessage]) -> None:
    folder.mkdir()
    session.run(contender, folder, talk(script, contender.call_mode, str(uuid4()), range(len(script) // 2)))
    contender.clear(folder)
