"""``bench``: how quick a store is from here, for a chat that grows."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.opening import open_store
from charm_checkpoint.cli.options import Json, Url
from charm_checkpoint.cli.output import Column, print_json, print_table
from charm_checkpoint.cli.progress import progress
from charm_checkpoint.cli.terminal import echo
from charm_checkpoint.cli.values import plural
from charm_checkpoint.config.masking import mask

if TYPE_CHECKING:
    from charm_checkpoint.memory import Memory

PREFIX = "charm-checkpoint-bench-"
_SHARES = (0.5, 0.95, 0.99)


def add_commands(part: Part) -> None:
    """Add this command."""
    part.add(bench, examples="charm-checkpoint bench --turns 200 --url sqlite:///agent.db")


def bench(
    turns: Annotated[int, typer.Option(min=1, metavar="N", help="Turns of the chat; each adds two messages.")] = 100,
    size: Annotated[int, typer.Option(min=1, metavar="BYTES", help="Bytes of a message.")] = 500,
    as_json: Json = False,
    url: Url = None,
) -> int:
    """Time a store: puts and gets of a chat that grows, in a thread of its own, which is deleted in the end."""
    with open_store(url) as memory:
        thread = f"{PREFIX}{uuid4()}"
        try:
            with progress("timing", "turns") as tell:
                timed = Bench(memory, thread, size).run(turns, lambda done: tell(done, turns))
        finally:
            memory.delete_thread(thread)
    rows = [[name, *summary(times)] for name, times in timed.items()]
    names = ("operation", "count", "p50_ms", "p95_ms", "p99_ms", "max_ms")
    if as_json:
        document = {"url": mask(str(url)), "turns": turns, "message_bytes": size, "thread_id": thread}
        print_json({**document, "operations": [dict(zip(names, row, strict=True)) for row in rows]})
        return 0
    columns = [Column(name.replace("_ms", " ms"), right=name != "operation") for name in names]
    print_table(columns, [[name, count, *(f"{each:.2f}" for each in times)] for name, count, *times in rows])
    echo(f"{plural(turns, 'turn')} of two messages of {size:,} bytes, one call after the other, on {mask(str(url))}")
    echo(f"in the thread {thread}, which was deleted")
    return 0


def summary(times: Sequence[float]) -> list[Any]:
    """Return how many times there are, and their percentiles and the longest in milliseconds."""
    ordered = sorted(times)
    places = [min(len(ordered) - 1, int(len(ordered) * share)) for share in _SHARES]
    return [len(ordered), *(round(ordered[at] * 1000, 3) for at in (*places, -1))]


class Bench:
    """A chat that grows in a thread of its own, and how long each operation takes, in seconds."""

    def __init__(self, memory: Memory, thread: str, size: int) -> None:
        self._memory = memory
        self._saver = memory.get_langgraph_checkpointer()
        self._thread = thread
        self._size = size
        self._config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        self._messages: list[Any] = []
        self._times: dict[str, list[float]] = {}

    def run(self, turns: int, tell: Callable[[int], None]) -> dict[str, list[float]]:
        """Return the times of each operation."""
        head = self._config
        for turn in range(turns):
            head = self._turn(turn, head)
            tell(turn + 1)
        return self._times

    def _turn(self, turn: int, head: Any) -> Any:
        from langchain_core.messages import AIMessage, HumanMessage
        from langgraph.checkpoint.base import empty_checkpoint

        self._messages = [*self._messages, HumanMessage(self._text()), AIMessage(self._text())]
        version = turn + 1
        state: Any = {
            **empty_checkpoint(),
            "channel_values": {"messages": self._messages},
            "channel_versions": {"messages": version},
        }
        metadata: Any = {"source": "loop", "step": turn, "parents": {}}
        head = self._timed("put", lambda: self._saver.put(head, state, metadata, {"messages": version}))
        self._timed("put_writes", lambda: self._saver.put_writes(head, [("messages", self._messages[-1:])], "task"))
        self._timed("get_tuple", lambda: self._saver.get_tuple(self._config))
        message = {"role": "user", "content": self._messages[-1].content}
        self._timed("append_messages", lambda: self._memory.append_messages(self._thread, [message]))
        return head

    def _text(self) -> str:
        return base64.b64encode(os.urandom(self._size * 3 // 4 + 1)).decode()[: self._size]

    def _timed(self, name: str, call: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        made = call()
        self._times.setdefault(name, []).append(time.perf_counter() - begun)
        return made
