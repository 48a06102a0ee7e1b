"""What somebody puts into a store's folder, and a store that he finds there."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from children.jobs import add_item, config
from local_files import log_of

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode

HI = {"role": "user", "content": "hi"}
ODD = "a/b"
"""A thread whose id is no file's name."""
PATIENCE = 5.0
"""Seconds after which whoever waits for a FIFO is let go, and the test has failed."""

Call = Callable[[InMode, InMode, InMode], Any]
Wrap = Callable[[Any], InMode]
"""Has an object be called in one way."""

CALLS: dict[str, Call] = {
    "get a checkpoint": lambda memory, saver, items: saver.get_tuple(config("t")),
    "put a checkpoint": lambda memory, saver, items: add_item(saver, "t"),  # type: ignore[arg-type]
    "list checkpoints": lambda memory, saver, items: saver.list(None, filter={"source": "loop"}),
    "load messages": lambda memory, saver, items: memory.load_messages("t"),
    "save messages": lambda memory, saver, items: memory.save_messages("t", [HI]),
    "append messages": lambda memory, saver, items: memory.append_messages("t", [HI]),
    "list threads": lambda memory, saver, items: memory.threads(),
    "count": lambda memory, saver, items: memory.usage(),
    "get an item": lambda memory, saver, items: items.get(("n",), "k"),
    "search items": lambda memory, saver, items: items.search(("n",)),
    "put an item": lambda memory, saver, items: items.put(("n",), "k", {"now": 2}),
}
"""What a program does with a store, by what it is called in a test."""


@contextmanager
def opened(url: str, mode: str, **options: Any) -> Iterator[Callable[[str], Any]]:
    """Open a store, and lend what makes one of the `CALLS`."""
    way: CallMode = CALL_MODES[mode]()
    try:
        with open_memory(url, **options) as memory:
            parts = [InMode(each, way) for each in (memory, saver_of(memory), memory.get_langgraph_store())]
            yield lambda name: CALLS[name](*parts)
            parts[0].close()
    finally:
        way.close()


def saver_of(memory: Memory) -> Any:
    """Return the checkpointer of a store."""
    return memory.get_langgraph_checkpointer()


def fill(url: str, **options: Any) -> None:
    """Put a checkpoint, messages of two threads, and an item into a store."""
    with open_memory(url, **options) as memory:
        add_item(saver_of(memory), "t")
        for thread in ("t", ODD):
            memory.save_messages(thread, [HI])
        memory.get_langgraph_store().put(("n",), "k", {"now": 1})


def places(folder: Path) -> dict[str, Path]:
    """Return the files of a filled store of local files."""
    ours = folder / ".charm"
    [items] = ours.glob("items/*/log")
    [name] = ours.glob("memory/*.id")
    return {"log": log_of(folder, "t"), "items": items, "messages": ours / "memory" / "t.json", "id": name}


def put_fifo(path: Path) -> None:
    """Put a FIFO in a file's place."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@contextmanager
def unblocked(fifo: Path) -> Iterator[None]:
    """Fail if a block waits for the other end of a FIFO, and let it go on then."""
    waited = []

    def let_go() -> None:
        waited.append(fifo)
        for flags in (os.O_WRONLY, os.O_RDONLY):
            with contextlib.suppress(OSError):
                os.close(os.open(fifo, flags | os.O_NONBLOCK))

    timer = threading.Timer(PATIENCE, let_go)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
    assert not waited, f"{fifo} was waited for"
