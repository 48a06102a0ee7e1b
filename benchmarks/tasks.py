"""Many threads at once: asyncio tasks that read, save and write, each its own thread, by one saver."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

from langgraph.checkpoint.base import CheckpointMetadata

from benchmarks import session
from benchmarks.contender import Contender
from benchmarks.operations import SMALL, checkpoint_of, config_of
from benchmarks.session import Call, Work

SPEED = "operations a second"
FIGURES = (SPEED,)
CALLS_A_ROUND = 3
WARM_UP = 2
"""Rounds of each task that come first and are not counted; connections are made then."""


def rounds_of(saver: Any, thread: str, first: int, rounds: int) -> Work[None]:
    """Take rounds: read the latest checkpoint, put the next one, then its task's pending write."""
    for count in range(first, first + rounds):
        found = yield Call(saver, "get_tuple", (config_of(thread),))
        if (found.checkpoint["channel_values"]["count"] if found else 0) != count:
            raise AssertionError(f"{found and found.checkpoint['channel_values']} came back in round {count}")
        versions = dict(found.checkpoint["channel_versions"] if found else {})
        moved = {"count": saver.get_next_version(versions.get("count"), None)}
        if not found:
            moved |= dict.fromkeys(SMALL, moved["count"])
        checkpoint = checkpoint_of({**SMALL, "count": count + 1}, versions | moved)
        metadata: CheckpointMetadata = {"source": "loop", "step": count, "parents": {}}
        config = yield Call(saver, "put", (found.config if found else config_of(thread), checkpoint, metadata, moved))
        yield Call(saver, "put_writes", (config, [("count", count + 2)], str(uuid4())))


async def run(saver: Any, threads: list[str], first: int, rounds: int) -> float:
    """Let all threads take rounds at once; return the seconds that took."""
    start = perf_counter()
    await asyncio.gather(*(session.adrive(rounds_of(saver, thread, first, rounds), {}) for thread in threads))
    return perf_counter() - start


def measure(contender: Contender, folder: Path, *, tasks: int, rounds: int) -> dict[str, float | None]:
    """Return the calls made a second, all tasks together."""
    return asyncio.run(_measure(contender, folder, tasks, rounds))


async def _measure(contender: Contender, folder: Path, tasks: int, rounds: int) -> dict[str, float | None]:
    assert contender.aopen is not None, f"{contender.name} is not async"
    threads = [str(uuid4()) for _ in range(tasks)]
    async with contender.aopen(folder) as saver:
        await run(saver, threads, 0, WARM_UP)
        seconds = await run(saver, threads, WARM_UP, rounds)
    return {SPEED: CALLS_A_ROUND * tasks * rounds / seconds}
