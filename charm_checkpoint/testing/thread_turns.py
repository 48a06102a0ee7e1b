"""A turn: what a run does to a thread, small, and told afterwards to have happened as a whole or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from charm_checkpoint.memory import Memory
from charm_checkpoint.saver.records import CONFLICT_KEY
from charm_checkpoint.testing.samples import checkpoint, config, exact, versions

_numbers = itertools.count()
METADATA: Any = {"source": "loop", "step": 0, "parents": {}}


def state(number: int) -> dict[str, Any]:
    """Return channel values that take several chunks."""
    return {"log": [{"n": n, "text": f"element {n} " * 8} for n in range(number % 7, number % 7 + 40)], "n": number}


class Turns:
    """Turns on one thread of a store. ``ids`` are those that were begun, whatever became of them."""

    def __init__(self, memory: Memory, thread: str = "t") -> None:
        self.memory = memory
        self.saver = memory.get_langgraph_checkpointer()
        self.thread = thread
        self.ids: dict[str, int] = {}

    def _begin(self, found: Any) -> tuple[Any, Any]:
        number = next(_numbers)
        made = checkpoint(state(number), id=f"turn {number}", version=number + 1)
        self.ids[made["id"]] = number
        return (found.config if found else config(self.thread)), made

    def take(self) -> None:
        """Read the head, put a checkpoint behind it, and pending writes; append a message."""
        parent, made = self._begin(self.saver.get_tuple(config(self.thread)))
        where = self.saver.put(parent, made, METADATA, versions(made))
        self.saver.put_writes(where, [("log", made["id"])], "task")
        self.memory.append_messages(self.thread, [{"turn": made["id"]}])

    async def atake(self) -> None:
        """Take a turn by the async methods."""
        parent, made = self._begin(await self.saver.aget_tuple(config(self.thread)))
        where = await self.saver.aput(parent, made, METADATA, versions(made))
        await self.saver.aput_writes(where, [("log", made["id"])], "task")
        await self.memory.aappend_messages(self.thread, [{"turn": made["id"]}])

    def check(self) -> None:
        """Take another turn, and see that all that is there of any is whole."""
        self.take()
        last = list(self.ids)[-1]
        head = self.saver.get_tuple(config(self.thread))
        self._check(head)
        if _came_late(head, last):
            return self.check()
        assert head is not None and head.checkpoint["id"] == last
        assert list(head.pending_writes or ()) == [("task", "log", last)]
        assert self.memory.load_messages(self.thread)[-1] == {"turn": last}

    async def acheck(self) -> None:
        """See the same by the async methods."""
        await self.atake()
        last = list(self.ids)[-1]
        head = await self.saver.aget_tuple(config(self.thread))
        self._check(head)
        if _came_late(head, last):
            return await self.acheck()
        assert head is not None and head.checkpoint["id"] == last
        assert list(head.pending_writes or ()) == [("task", "log", last)]
        assert (await self.memory.aload_messages(self.thread))[-1] == {"turn": last}

    def check_all(self) -> None:
        """See that every turn that is listed is whole, and that the messages are some of the turns, in order."""
        for found in self.saver.list(config(self.thread)):
            self._check(found)
        said = [message["turn"] for message in self.memory.load_messages(self.thread)]
        assert said == [id for id in self.ids if id in set(said)]

    def _check(self, found: Any) -> None:
        expected = state(self.ids[found.checkpoint["id"]])
        assert exact(found.checkpoint["channel_values"]) == exact(expected)


def _came_late(head: Any, last: str) -> bool:
    """Tell whether a turn that was interrupted was committed behind the last one, which it did not know of.

    What a call had sent to a server may be carried out after the call was interrupted: then it is noticed and marked,
    as any second writer is.
    """
    return head is not None and head.metadata.get(CONFLICT_KEY) == last


def leased(memory: Memory) -> int:
    """Return how many connections are out; none of a store that does not tell."""
    count: Callable[[], int] | None = getattr(memory.store.driver, "leased", None)
    return count() if count else 0
