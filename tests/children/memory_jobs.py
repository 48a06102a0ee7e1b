"""What processes of their own do with memories, for tests/test_hygiene.py and tests/test_snapshots.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from charm_checkpoint import open_memory
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term.aging import Sweep
from charm_checkpoint.long_term.snapshots.filling import Filling

Ack = Callable[[str], object]


def tidy(ack: Ack, url: str, settings: dict[str, Any], seconds: float) -> None:
    """Call once, which keeps memories tidy by itself if it is time, and tell of each step of a sweep, and the end."""
    plain = Sweep.step

    def step(self: Sweep) -> Flow[bool]:
        more = yield from plain(self)
        ack(f"step {len(self.archived)}")
        time.sleep(seconds)
        return more

    Sweep.step = step  # type: ignore[method-assign] # in this process, which does nothing else
    with open_memory(url) as memory:
        memories = memory.long_term("p", {"global": False}, hygiene=settings)
        memories.read("any")
        assert memories._keeper is not None
        thread = memories._keeper._thread
        assert thread is not None
        thread.join(60)
    ack("end")


def filled(ack: Ack, url: str, path: str) -> None:
    """Open memories of a new store with a snapshot; tell how many there are at once, and how many were put here."""
    made: list[Filling] = []
    plain = Filling.take

    def take(self: Filling, records: Any) -> Flow[None]:
        made.append(self)
        yield from plain(self, records)

    Filling.take = take  # type: ignore[method-assign]
    with open_memory(url) as memory:
        memories = memory.long_term("my-charm", {"global": False}, snapshot=path)
        ack(str(len(memories.list(status=None))))
    ack(str(sum(sum(filling.put.values()) for filling in set(made))))


JOBS: dict[str, Callable[..., None]] = {"filled": filled, "tidy": tidy}
