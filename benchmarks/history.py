"""The last checkpoints of a long chat, each with the whole of it: to go back in time, or to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from langchain_core.messages import AnyMessage

from benchmarks import chat, operations, session
from benchmarks.contender import Contender, Saver
from benchmarks.session import Call, Work

LIMIT = 20
STEPS_A_TURN = 3
"""Checkpoints that one invoke of the chat's graph leaves."""

LAST_TURNS = -(-LIMIT // STEPS_A_TURN) + 1
"""Turns taken one by one, so that the checkpoints asked for are all of the long chat."""

FIRST_READS = 3
REPEATS = 5
STATES, LIST = f"get_state_history(limit={LIMIT})", f"list(limit={LIMIT})"
FIGURES = (f"first {STATES}", f"first {LIST}", STATES, LIST)
"""What is measured: a first one is from opening a saver to closing it, the others are of one that has read it."""


def fill(script: Sequence[AnyMessage], call_mode: str, thread: str) -> Callable[[Saver], Work[None]]:
    """Return the work of handing most of a script in at once, and saying the rest."""
    turns = len(script) // 2
    start = max(0, turns - LAST_TURNS)

    def work(saver: Saver) -> Work[None]:
        graph = chat.build(script, call_mode, saver)
        config = {"configurable": {"thread_id": thread}}
        said: Sequence[AnyMessage] = script[: 2 * start + 1]
        for turn in range(start + 1, turns + 1):
            yield Call(graph, "invoke", ({"messages": said}, config), {"durability": "sync"})
            said = script[2 * turn : 2 * turn + 1]

    return work


def states(script: Sequence[AnyMessage], call_mode: str, thread: str, repeats: int) -> Callable[[Saver], Work[None]]:
    """Return the work of reading the history by way of the graph."""

    def work(saver: Saver) -> Work[None]:
        graph = chat.build(script, call_mode, saver)
        config = {"configurable": {"thread_id": thread}}
        for _ in range(repeats):
            found = yield Call(graph, "get_state_history", (config,), {"limit": LIMIT}, STATES)
            check([state.values["messages"] for state in found], script)

    return work


def tuples(script: Sequence[AnyMessage], call_mode: str, thread: str, repeats: int) -> Callable[[Saver], Work[None]]:
    """Return the work of reading the history from the saver itself."""

    def work(saver: Saver) -> Work[None]:
        for _ in range(repeats):
            found = yield Call(saver, "list", (operations.config_of(thread),), {"limit": LIMIT}, LIST)
            check([one.checkpoint["channel_values"]["messages"] for one in found], script)

    return work


def check(found: Sequence[Any], script: Sequence[AnyMessage]) -> None:
    """Raise AssertionError unless these are long chats, the latest of them the whole script."""
    if len(found) < min(LIMIT, STEPS_A_TURN * len(script) // 2):
        raise AssertionError(f"{len(found)} checkpoints came back, not {LIMIT}")
    chat.check(found[0], script)
    for messages in found:
        chat.check(messages, script[: len(messages)])


def measure(contender: Contender, folder: Path, *, turns: int) -> dict[str, float | None]:
    """Return the median milliseconds of each way to read it, None for what the saver cannot do."""
    thread = str(uuid4())
    asked = (chat.conversation(turns), contender.call_mode, thread)

    def all_of_it(saver: Saver) -> Work[None]:
        if contender.stored is None:
            yield from fill(*asked)(saver)
        yield from states(*asked, REPEATS + 1)(saver)
        yield from tuples(*asked, REPEATS + 1)(saver)

    figures: dict[str, float | None] = dict.fromkeys(FIGURES)
    if contender.stored is not None:
        session.run(contender, folder, fill(*asked))
        for label, read in zip(FIGURES, (states, tuples), strict=False):
            opened = [session.run(contender, folder, read(*asked, 1)) for _ in range(FIRST_READS)]
            figures[label] = millis([once.seconds for once in opened])
    timings = session.run(contender, folder, all_of_it).timings
    return figures | {label: millis(times[1:]) for label, times in timings.items()}


def millis(seconds: Sequence[float]) -> float:
    """Return the median, in milliseconds."""
    return median(seconds) * 1e3
