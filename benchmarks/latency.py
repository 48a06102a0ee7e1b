"""A chat with a server that is far away: what counts is how often it is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from uuid import uuid4

from langchain_core.messages import AnyMessage

from benchmarks import chat, session
from benchmarks.contender import Contender, Saver
from benchmarks.network import SlowNetwork
from benchmarks.session import Work

SECONDS, TRIPS = "seconds a turn", "round trips a turn"
FIGURES = (SECONDS, TRIPS)
WARM_UP = 3
"""Turns that come first and are not counted; connections are made then."""


@contextmanager
def slow(variable: str, delay: float) -> Iterator[SlowNetwork]:
    """Let the URL in an environment variable lead through a slow network; ``delay`` as there."""
    url = os.environ[variable]
    with SlowNetwork(url, delay) as network:
        os.environ[variable] = network.url
        try:
            yield network
        finally:
            os.environ[variable] = url


def talk(
    script: Sequence[AnyMessage], call_mode: str, network: SlowNetwork
) -> Callable[[Saver], Work[tuple[Sequence[AnyMessage], int]]]:
    """Return the work of a chat; it returns the messages of the last state, and the round trips made."""
    thread, turns = str(uuid4()), len(script) // 2

    def work(saver: Saver) -> Work[tuple[Sequence[AnyMessage], int]]:
        yield from chat.talk(script, call_mode, thread, range(WARM_UP))(saver)
        before = network.trips
        messages = yield from chat.talk(script, call_mode, thread, range(WARM_UP, turns), SECONDS)(saver)
        return messages, network.trips - before

    return work


def measure(contender: Contender, folder: Path, *, turns: int, delay: int) -> dict[str, float | None]:
    """Hold a chat with ``delay`` ms added to each round trip; return the median seconds of a turn, and its trips."""
    script = chat.conversation(WARM_UP + turns)
    with slow(contender.variables[0], delay / 2e3) as network:
        done = session.run(contender, folder, talk(script, contender.call_mode, network))
    messages, trips = done.result
    chat.check(messages, script)
    return {SECONDS: median(done.timings[SECONDS]), TRIPS: trips / turns}
