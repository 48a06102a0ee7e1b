"""Single calls of a saver, on a thread as LangGraph leaves it after some steps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata
from langgraph.checkpoint.base.id import uuid6

from benchmarks import chat, session
from benchmarks.contender import Contender, Saver
from benchmarks.session import Call, Work

LIMIT = 20
LONG_TURNS = 100
FIRST_READS = 5
"""Cold and first reads at least: each needs a saver of its own."""
WARM_UP = 3
"""Calls of each kind that are made first and not counted."""

SMALL: dict[str, Any] = {"topic": "checkpoints", "note": "a sentence of state, " * 4, "done": False, "score": 0.5}
"""The small state, besides its counter."""

OPERATIONS = (
    "get_tuple",
    "put",
    "put_writes",
    f"list(limit={LIMIT})",
    f"get_tuple, {2 * LONG_TURNS} messages",
    "cold get_tuple",
    f"cold get_tuple, {2 * LONG_TURNS} messages",
    f"first get_tuple, {2 * LONG_TURNS} messages",
)
"""What is measured.

A cold ``get_tuple`` is of a saver that is connected and has not met the thread before; the first
one of a saver just opened includes connecting.
"""

GET, PUT, PUT_WRITES, LIST, GET_LONG, GET_COLD, GET_LONG_COLD, GET_FIRST = OPERATIONS
REOPENED = (GET_COLD, GET_LONG_COLD, GET_FIRST)
"""Those that need a saver of a store that was there before."""


def config_of(thread: str) -> dict[str, Any]:
    """Return the config that names a thread's latest checkpoint."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def checkpoint_of(values: dict[str, Any], versions: dict[str, Any]) -> Checkpoint:
    """Return a checkpoint as LangGraph makes them."""
    return Checkpoint(
        v=4,
        id=str(uuid6(clock_seq=-2)),
        ts=datetime.now(timezone.utc).isoformat(),
        channel_values=values,
        channel_versions={**versions},
        versions_seen={"__input__": {}, "work": dict(versions)},
        updated_channels=list(values),
    )


def steps(saver: Any, thread: str, repeats: int) -> Work[None]:
    """Take steps: put a checkpoint in which the counter moved, then its task's pending write."""
    config = config_of(thread)
    versions = dict.fromkeys([*SMALL, "count"], saver.get_next_version(None, None))
    moved = {**versions}
    for step in range(repeats):
        checkpoint = checkpoint_of({**SMALL, "count": step}, versions)
        metadata: CheckpointMetadata = {"source": "loop", "step": step, "parents": {}}
        config = yield Call(saver, "put", (config, checkpoint, metadata, moved), label=PUT)
        yield Call(saver, "put_writes", (config, [("count", step + 1)], str(uuid4())), label=PUT_WRITES)
        moved = {"count": saver.get_next_version(versions["count"], None)}
        versions.update(moved)


def reads(saver: Saver, thread: str, repeats: int) -> Work[None]:
    """Read a thread's latest checkpoint, and list its last ones, over and over."""
    for _ in range(repeats):
        found = yield Call(saver, "get_tuple", (config_of(thread),), label=GET)
        if found.checkpoint["channel_values"]["score"] != SMALL["score"]:
            raise AssertionError(f"the state came back as {found.checkpoint['channel_values']}")
    for _ in range(max(1, repeats // 4)):
        listed = yield Call(saver, "list", (config_of(thread),), {"limit": LIMIT}, LIST)
        if not listed:
            raise AssertionError("list found no checkpoint")


def long_reads(saver: Any, thread: str, repeats: int) -> Work[None]:
    """Put a long chat as one checkpoint and read it over and over."""
    script = chat.conversation(LONG_TURNS)
    checkpoint = checkpoint_of({"messages": script}, {"messages": saver.get_next_version(None, None)})
    metadata: CheckpointMetadata = {"source": "loop", "step": 0, "parents": {}}
    yield Call(saver, "put", (config_of(thread), checkpoint, metadata, checkpoint["channel_versions"]))
    for _ in range(max(1, repeats // 4)):
        found = yield Call(saver, "get_tuple", (config_of(thread),), label=GET_LONG)
        chat.check(found.checkpoint["channel_values"]["messages"], script)


def everything(thread: str, repeats: int) -> Callable[[Saver], Work[None]]:
    """Return the work of making every call."""

    def work(saver: Saver) -> Work[None]:
        total = WARM_UP + repeats
        yield from steps(saver, thread, total)
        yield from reads(saver, thread, total)
        yield from long_reads(saver, f"{thread} long", total)

    return work


def first_read(thread: str) -> Callable[[Saver], Work[None]]:
    """Return the work of one read."""

    def work(saver: Saver) -> Work[None]:
        yield Call(saver, "get_tuple", (config_of(thread),), label=GET_FIRST)

    return work


def cold_reads(thread: str) -> Callable[[Saver], Work[None]]:
    """Return the work of reading two threads for the first time, once connected."""

    def work(saver: Saver) -> Work[None]:
        yield Call(saver, "get_tuple", (config_of(f"{thread} absent"),))
        yield Call(saver, "get_tuple", (config_of(thread),), label=GET_COLD)
        yield Call(saver, "get_tuple", (config_of(f"{thread} long"),), label=GET_LONG_COLD)

    return work


def measure(contender: Contender, folder: Path, *, repeats: int) -> dict[str, float | None]:
    """Return the median microseconds of each operation, None for what the saver cannot do."""
    thread = str(uuid4())
    timings = session.run(contender, folder, everything(thread, repeats)).timings
    figures: dict[str, float | None] = {label: micros(times[WARM_UP:] or times) for label, times in timings.items()}
    figures |= dict.fromkeys(REOPENED)
    if contender.stored is not None:
        for read in (cold_reads(thread), first_read(f"{thread} long")):
            reopened = [session.run(contender, folder, read).timings for _ in range(max(FIRST_READS, repeats // 10))]
            figures |= {label: micros([once[label][0] for once in reopened]) for label in reopened[0]}
    return figures


def micros(seconds: list[float]) -> float:
    """Return the median, in microseconds."""
    return median(seconds) * 1e6
