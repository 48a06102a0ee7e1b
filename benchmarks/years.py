"""A store that was used for years: many threads with many checkpoints, and how long it takes to look at them.

Run as ``python -m benchmarks.years make URL --threads 10000 --checkpoints 100``, which fills an empty store, and then
``python -m benchmarks.years time URL``, which changes nothing; ``sweep URL`` sweeps it beside writers, and tells what
these notice of it.
Some threads are put checkpoint by checkpoint, as agents do; the others are copies of these, with a turn of their own.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import CheckpointMetadata, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from benchmarks.text import prose
from charm_checkpoint import Memory, open_memory
from charm_checkpoint.retention.reports import SweepReport

TEMPLATES = 40
"""Threads that are put checkpoint by checkpoint."""
WAITS, FAILS = 7, 11
"""Every so many templates end with a question to a human, or with an error."""
WRITERS = 20
COMMANDS: Sequence[Sequence[str]] = (
    ("threads", "--limit", "20"),
    ("history", "THREAD", "--limit", "20"),
)


def name_of(number: int) -> str:
    """Return the name of a thread."""
    return f"customer-{number:06d}"


# --------------------------------------------------------------------------------- making


def make(memory: Memory, threads: int, checkpoints: int) -> None:
    """Fill an empty store: ``checkpoints`` a thread on average, the longest thread with twice as many."""
    saver = memory.get_langgraph_checkpointer()
    templates = min(TEMPLATES, threads)
    began = time.monotonic()
    for number in range(templates):
        length = max(1, round(2 * checkpoints * (number + 1) / (templates + 1)))
        put_thread(saver, name_of(number), number, length)
    for number in range(templates, threads):
        saver.copy_thread(name_of(number % templates), name_of(number))
        if number % 1000 == 0:
            print(f"{number} threads after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    for number in random.Random(1).sample(range(threads), threads // 10):
        put_turn(saver, name_of(number), number)


def put_thread(saver: Any, thread: str, number: int, length: int) -> None:
    """Put a thread as an agent does: a checkpoint a step, a message a step, a task's writes."""
    messages: list[AnyMessage] = []
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    for step in range(length):
        text = prose(f"{number}-{step}", 100 + 20 * number)
        messages.append(HumanMessage(f"Question {number}: {text}") if step % 2 == 0 else AIMessage(text))
        config = put_step(saver, config, messages, step)
        saver.put_writes(config, [("messages", messages[-1])], f"task-{step}")
    if number % WAITS == 0:
        saver.put_writes(config, [("__interrupt__", [{"question": f"May I go on with {number}?"}])], "asks")
    elif number % FAILS == 0:
        saver.put_writes(config, [("__error__", f"RuntimeError({number})")], "fails")


def put_turn(saver: Any, thread: str, number: int) -> None:
    """Go on with a thread by a step."""
    found = saver.get_tuple({"configurable": {"thread_id": thread}})
    messages = [*found.checkpoint["channel_values"]["messages"], HumanMessage(f"And {number}?")]
    put_step(saver, found.config, messages, len(messages))


def put_step(saver: Any, config: Any, messages: Sequence[AnyMessage], step: int) -> Any:
    """Put a checkpoint with these messages; return its config."""
    checkpoint = empty_checkpoint()
    checkpoint["id"] = str(uuid6(clock_seq=step))
    checkpoint["channel_values"] = {"messages": list(messages), "step": step}
    checkpoint["channel_versions"] = {"messages": step + 1, "step": step + 1}
    metadata: CheckpointMetadata = {"source": "loop", "step": step, "parents": {}}
    return saver.put(config, checkpoint, metadata, {"messages": step + 1, "step": step + 1})


# --------------------------------------------------------------------------------- timing


def looks(memory: Memory, thread: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what is looked at in a store, and how."""
    yield "threads, first 50", lambda: list(islice(memory.threads(limit=50), 50))
    yield "threads, all", lambda: len(list(memory.threads()))
    for how in ({"order": "size"}, {"order": "checkpoints"}, {"order": "id"}, {"status": "waits"}, {"status": "failed"},
                {"search": "Question 3:"}, {"search": "no such word"}):  # fmt: skip
        [(name, value)] = how.items()
        yield f"threads, {name} {value!r}, first 50", partial(first_threads, memory, **how)
    yield "history, first 20", lambda: list(islice(memory.history(thread, limit=20), 20))
    yield "history, all", lambda: len(list(memory.history(thread)))
    yield "usage of a thread", lambda: memory.usage(thread)
    yield "usage of all", lambda: memory.usage()


def first_threads(memory: Memory, **how: Any) -> list[Any]:
    """Return the first threads of a listing in an order, or of those that are looked for."""
    return list(memory.threads(limit=50, **how))


def measure(url: str, thread: str, commands: bool) -> None:
    """Print how long each look takes: the first time in a store that was opened for it, and again."""
    for label, _ in list(looks(open_memory(url), thread)):
        with open_memory(url) as memory:
            memory.store.run(memory.store.backend.is_current, write=False)
            look = dict(looks(memory, thread))[label]
            show(label, look)
    for command in COMMANDS if commands else ():
        words = [thread if word == "THREAD" else word for word in command]
        show("charm-checkpoint " + " ".join(words), partial(run_command, url, words))


def run_command(url: str, words: Sequence[str]) -> None:
    """Run the command; what it prints is left out."""
    subprocess.run(
        [sys.executable, "-m", "charm_checkpoint", *words, "--url", url], check=True, stdout=subprocess.DEVNULL
    )


def show(label: str, look: Callable[[], Any]) -> None:
    """Print how many seconds a look takes, at first and again."""
    try:
        first, again = timed(look), timed(look)
    except Exception as error:
        print(f"{label:<45} {type(error).__name__}: {error}"[:120], flush=True)
        return
    print(f"{label:<45} {first:8.3f} s {again:8.3f} s", flush=True)


def timed(look: Callable[[], Any]) -> float:
    """Return the seconds that something takes."""
    began = time.perf_counter()
    look()
    return time.perf_counter() - began


# --------------------------------------------------------------------------------- sweeping


def sweep(url: str, keep: int, seconds: float, pairs: int, elsewhere: bool) -> None:
    """Print what puts take while writers are alone, and while a sweep goes on beside them, in turns.

    ``elsewhere``: the sweep is in a process of its own, as from cron.
    """
    with open_memory(url) as memory:
        before = memory.store.run(memory.store.backend.space, write=False)
        swept: list[int] = []
        other = partial(sweep_elsewhere, url, keep) if elsewhere else partial(sweep_here, memory, keep, swept)
        write_beside(memory, seconds, nothing)  # the first seconds are not like others
        ratios = [pair(memory, seconds, other, number % 2 == 1) for number in range(pairs)]
        print(f"p99 beside a sweep: {statistics.median(ratios):.2f} times that without (median of {pairs})")
        if swept:
            print(f"{sum(swept)} checkpoints removed, {sum(swept) / pairs / seconds:.0f} a second")
        after = memory.store.run(memory.store.backend.space, write=False)
        print(f"room: {before} before, {after} after")


def pair(memory: Memory, seconds: float, other: Callable[[float], None], sweep_first: bool) -> float:
    """Measure writers alone and beside a sweep, one after the other; return the ratio of their 99th percentiles."""
    took: dict[bool, tuple[float, float, int]] = {}
    for beside in (True, False) if sweep_first else (False, True):
        took[beside] = percentiles(write_beside(memory, seconds, other if beside else nothing))
    ratio = took[True][1] / took[False][1]
    shown = (f"p50 {p50:5.1f} ms, p99 {p99:5.1f} ms, {puts} puts" for p50, p99, puts in (took[False], took[True]))
    print("alone: {}   beside: {}   p99 ratio {:.2f}".format(*shown, ratio), flush=True)
    return ratio


def nothing(seconds: float) -> None:
    """Leave the writers alone."""


def sweep_here(memory: Memory, keep: int, swept: list[int], seconds: float) -> None:
    """Sweep in this thread for some seconds; the next sweep goes on where this one was interrupted."""
    until, done = time.monotonic() + seconds, 0

    def look(report: SweepReport) -> None:
        nonlocal done
        done = report.done.checkpoints
        if time.monotonic() > until:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        memory.sweep({"keep_last": keep}, on_progress=look)
    swept.append(done)


def sweep_elsewhere(url: str, keep: int, seconds: float) -> None:
    """Have the command sweep for some seconds, and interrupt it."""
    words = ("sweep", "--keep-last", str(keep), "--yes", "--url", url)
    command = subprocess.Popen(
        [sys.executable, "-m", "charm_checkpoint", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        command.wait(seconds)
    except subprocess.TimeoutExpired:
        command.send_signal(signal.SIGINT)
        command.wait()


def write_beside(memory: Memory, seconds: float, other: Callable[[float], None]) -> list[float]:
    """Put checkpoints from many threads while something else goes on; return the seconds that each put took."""
    saver, stop = memory.get_langgraph_checkpointer(), threading.Event()

    def write(number: int) -> list[float]:
        config: Any = {"configurable": {"thread_id": f"writer-{number}-{time.monotonic()}", "checkpoint_ns": ""}}
        messages, took = [HumanMessage(f"Writer {number}")], list[float]()
        while not stop.is_set():
            began = time.perf_counter()
            config = put_step(saver, config, messages, len(took))
            took.append(time.perf_counter() - began)
            time.sleep(random.uniform(0, 0.1))
        return took

    with ThreadPoolExecutor(WRITERS) as pool:
        calls = [pool.submit(write, number) for number in range(WRITERS)]
        began = time.monotonic()
        other(seconds)
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        stop.set()
        return [one for call in calls for one in call.result()]


def percentiles(took: Iterable[float]) -> tuple[float, float, int]:
    """Return the median and the 99th percentile in milliseconds, and how many there are."""
    ordered = sorted(took)
    return ordered[len(ordered) // 2] * 1e3, ordered[len(ordered) * 99 // 100] * 1e3, len(ordered)


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.years", description=__doc__)
    parser.add_argument("what", choices=("make", "time", "sweep"))
    parser.add_argument("url")
    parser.add_argument("--threads", type=int, default=10_000)
    parser.add_argument("--checkpoints", type=int, default=100, help="a thread, on average")
    parser.add_argument("--thread", default=name_of(TEMPLATES - 1), help="whose history is looked at")
    parser.add_argument("--no-commands", action="store_true")
    parser.add_argument("--keep", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of writers alone, and of writers beside a sweep")
    parser.add_argument("--pairs", type=int, default=5, help="how often both are measured")
    parser.add_argument("--elsewhere", action="store_true", help="sweep in another process")
    options = parser.parse_args()
    if options.what == "make":
        with open_memory(options.url) as memory:
            make(memory, options.threads, options.checkpoints)
            print(memory.usage(), memory.store.run(memory.store.backend.space, write=False))
    elif options.what == "time":
        measure(options.url, options.thread, not options.no_commands)
    else:
        sweep(options.url, options.keep, options.seconds, options.pairs, options.elsewhere)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
