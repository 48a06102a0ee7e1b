"""One use of a saver, from opening to closing: written once, run blocking or async.

A workload yields calls by their blocking names (``invoke``, ``get_tuple``); the async mode
makes the same calls by their async names, one awaited at a time in one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar

from benchmarks.contender import Contender, Saver

T = TypeVar("T")

LISTS = ("list", "get_state_history")
"""Methods that return iterators, which are part of the call."""


class Call(NamedTuple):
    """One call to make; its seconds are kept under ``label``, if it has one."""

    target: Any
    method: str
    args: tuple[Any, ...]
    options: Mapping[str, Any] = {}
    label: str | None = None


Work = Generator[Call, Any, T]
Timings = dict[str, list[float]]


@dataclass
class Session(Generic[T]):
    """What a session returned, the seconds from opening to closing, and those of labelled calls."""

    result: T
    seconds: float
    timings: Timings = field(default_factory=dict)


def run(contender: Contender, folder: Path, make: Callable[[Saver], Work[T]]) -> Session[T]:
    """Open the contender's saver, do the work and close it again."""
    if contender.aopen is not None:
        return asyncio.run(_arun(contender, folder, make))
    assert contender.open is not None
    timings: Timings = {}
    start = perf_counter()
    with contender.open(folder) as saver:
        result = _drive(make(saver), timings)
    return Session(result, perf_counter() - start, timings)


async def _arun(contender: Contender, folder: Path, make: Callable[[Saver], Work[T]]) -> Session[T]:
    assert contender.aopen is not None
    timings: Timings = {}
    start = perf_counter()
    async with contender.aopen(folder) as saver:
        result = await adrive(make(saver), timings)
    return Session(result, perf_counter() - start, timings)


def _drive(work: Work[T], timings: Timings) -> T:
    reply: Any = None
    while True:
        try:
            call = work.send(reply)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        function = getattr(call.target, call.method)
        start = perf_counter()
        reply = function(*call.args, **call.options)
        if call.method in LISTS:
            reply = list(reply)
        _note(timings, call, perf_counter() - start)


async def adrive(work: Work[T], timings: Timings) -> T:
    """Make the calls of a work by their async names, one after another; return what it returns."""
    reply: Any = None
    while True:
        try:
            call = work.send(reply)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        function = getattr(call.target, f"a{call.method}")
        start = perf_counter()
        answer = function(*call.args, **call.options)
        reply = [item async for item in answer] if call.method in LISTS else await answer
        _note(timings, call, perf_counter() - start)


def _note(timings: Timings, call: Call, seconds: float) -> None:
    if call.label is not None:
        timings.setdefault(call.label, []).append(seconds)
