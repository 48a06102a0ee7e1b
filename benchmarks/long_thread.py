"""A thread that was talked in for years: what single calls take as its messages become 100,000, and how much memory.

Run as ``python -m benchmarks.long_thread [--url URL] [--messages 1000,10000,100000]``. Each call is made in a process
of its own on the store, which is given time for nothing else; memory is what that process took more at its peak.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint, uuid6

from benchmarks.text import prose
from charm_checkpoint import Memory, open_memory

BLOCK = 500
"""Messages that are added by a checkpoint while the thread is filled."""
PAGE = 50

Config = dict[str, Any]


def message(number: int) -> AnyMessage:
    """Return the message of a number, some 200 characters."""
    text = prose(str(number), 200)
    return AIMessage(text, id=f"m{number}") if number % 2 else HumanMessage(text, id=f"m{number}")


def put(memory: Memory, config: Config, messages: Sequence[AnyMessage], step: int) -> Config:
    """Put a checkpoint of which these are the messages."""
    made = empty_checkpoint()
    made["id"] = str(uuid6())
    made["channel_values"] = {"messages": messages}
    made["channel_versions"] = {"messages": step + 1}
    saver = memory.get_langgraph_checkpointer()
    return dict(saver.put(config, made, {"source": "loop", "step": step}, {"messages": step + 1}))  # type: ignore[arg-type]


def fill(memory: Memory, thread: str, count: int) -> None:
    """Make a thread of so many messages, in its checkpoints and in its message history."""
    config: Config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    messages: list[AnyMessage] = []
    for step, start in enumerate(range(0, count, BLOCK)):
        more = [message(number) for number in range(start, min(start + BLOCK, count))]
        messages.extend(more)
        config = put(memory, config, list(messages), step)
        memory.append_messages(thread, more)


# ------------------------------------------------------------------------------------ calls


def first_read(memory: Memory, thread: str) -> Callable[[], object]:
    """Read the head, in a process that has read nothing."""
    return lambda: memory.get_langgraph_checkpointer().get_tuple({"configurable": {"thread_id": thread}})


def append(memory: Memory, thread: str) -> Callable[[], object]:
    """Add a message and put, in a run that has read the head."""
    found = first_read(memory, thread)()
    messages = found.checkpoint["channel_values"]["messages"]  # type: ignore[attr-defined]
    put(memory, found.config, [*messages, message(len(messages))], 10**6)  # type: ignore[attr-defined]
    head = first_read(memory, thread)()
    messages = [*head.checkpoint["channel_values"]["messages"], message(len(messages) + 1)]  # type: ignore[attr-defined]
    return lambda: put(memory, head.config, messages, 10**6 + 1)  # type: ignore[attr-defined]


def append_message(memory: Memory, thread: str) -> Callable[[], object]:
    """Append to the message history."""
    memory.append_messages(thread, [message(0)])
    return lambda: memory.append_messages(thread, [message(1)])


def history_page(memory: Memory, thread: str) -> Callable[[], object]:
    """Look at the last checkpoints, without their values."""
    return lambda: list(memory.history(thread, limit=PAGE))


def list_page(memory: Memory, thread: str) -> Callable[[], object]:
    """List the last checkpoints with their values."""
    saver = memory.get_langgraph_checkpointer()
    return lambda: list(saver.list({"configurable": {"thread_id": thread}}, limit=5))


def prune(memory: Memory, thread: str) -> Callable[[], object]:
    """Keep the last checkpoint alone."""
    return lambda: memory.get_langgraph_checkpointer().prune([thread])


CALLS = {
    "history, a page of 50": history_page,
    "append a message, put": append,
    "append_messages": append_message,
    "get_tuple, a first one": first_read,
    "list, 5 with values": list_page,
    "prune": prune,
}
"""What is measured, in this order: the last one removes what others look at."""


def timed(url: str, thread: str, name: str) -> dict[str, float]:
    """Make a call once; return its milliseconds, and the megabytes that the process took for it at its peak."""
    with open_memory(url) as memory:
        memory.usage("another")
        call = CALLS[name](memory, thread)
        before, began = peak(), time.perf_counter()
        call()
        return {"ms": (time.perf_counter() - began) * 1000, "MB": peak() - before}


def peak() -> float:
    """Return the most memory that this process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)


@contextmanager
def place(url: str | None) -> Iterator[str]:
    """Give a store to fill: a new SQLite file, if none is named."""
    if url is not None:
        yield url
        return
    with TemporaryDirectory() as folder:
        yield f"sqlite:///{Path(folder, 'long.db').as_posix()}"


def main(argv: Sequence[str] | None = None) -> None:
    """Fill threads, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a store that may be written to (default: a new SQLite file)")
    parser.add_argument("--messages", default="1000,10000,100000", metavar="N,N", help="lengths of the threads")
    parser.add_argument("--call", nargs=2, metavar=("THREAD", "NAME"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.call:
        print(json.dumps(timed(args.url, *args.call)))
        return
    with place(args.url) as url:
        measure(url, [int(count) for count in args.messages.split(",")])


def measure(url: str, counts: Sequence[int]) -> None:
    """Print what each call takes for each length."""
    print(f"{'messages':<24}" + "".join(f"{count:>22,}" for count in counts))
    for count in counts:
        with open_memory(url) as memory:
            fill(memory, f"{count}", count)
    for name in CALLS:
        cells = []
        for count in counts:
            words = [sys.executable, "-m", "benchmarks.long_thread", "--url", url, "--call", f"{count}", name]
            found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            cells.append(f"{found['ms']:>12.1f} ms{found['MB']:>4.0f} MB")
        print(f"{name:<24}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
