"""Message history: single calls on a list as long as a chat's. Ours alone have one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from benchmarks import chat, session
from benchmarks.contender import Contender
from benchmarks.session import Call, Work

TURNS = 100
WARM_UP = 3
"""Calls of each kind that are made first and not counted."""

APPEND, LOAD = FIGURES = (f"append_messages, to {2 * TURNS}", f"load_messages, {2 * TURNS}")
"""What is measured: a message and its answer are appended, all are loaded."""


def everything(thread: str, repeats: int) -> Callable[[Any], Work[None]]:
    """Return the work of making every call."""
    script = [{"role": one.type, "content": one.text} for one in chat.conversation(TURNS + repeats)]

    def work(memory: Any) -> Work[None]:
        yield Call(memory, "save_messages", (thread, script[: 2 * TURNS]))
        for turn in range(TURNS, TURNS + repeats):
            yield Call(memory, "append_messages", (thread, script[2 * turn : 2 * turn + 2]), label=APPEND)
        for _ in range(repeats):
            found = yield Call(memory, "load_messages", (thread,), label=LOAD)
            chat.check(found, script)

    return work


def measure(contender: Contender, folder: Path, *, repeats: int) -> dict[str, float | None]:
    """Return the median microseconds of each call."""
    assert contender.memory is not None, f"{contender.name} has no message history"
    timings = session.run(contender.memory, folder, everything(str(uuid4()), WARM_UP + repeats)).timings
    return {label: median(times[WARM_UP:]) * 1e6 for label, times in timings.items()}
