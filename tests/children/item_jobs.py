"""What processes of their own do with items, for tests/test_local_items.py."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

from charm_checkpoint import open_memory
from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemKey

Ack = Callable[[str], object]

SPACE = b"is\0"
BATCH = 7
"""How many items a batch of `change_until_killed` puts, all with the same value."""


def change_until_killed(ack: Ack, url: str, worker: int) -> None:
    """Put batches of items with one number each, larger ones always, without end."""
    memory = open_memory(url)
    items, number = memory.store.items, 0
    assert items is not None
    dice = random.Random(worker)
    while True:
        number += 1
        value = b"%d|" % number + dice.randbytes(dice.randrange(4000))
        changes = [ItemChange(SPACE, b"%d|%d" % (worker, at), value) for at in range(BATCH)]
        changes.append(ItemChange(b"it\0", b"%d" % worker, None if number % 5 == 4 else value))
        memory.store.run(partial(items.change, ItemBatch(time.time_ns() // 1000, changes=changes)), write=True)
        ack(str(number))


def count_up(ack: Ack, url: str, times: int) -> None:
    """Add one to a number that others add to at once, by compare and set."""
    with open_memory(url) as memory:
        items, key = memory.store.items, ItemKey(SPACE, b"count")
        assert items is not None
        for _ in range(times):
            outcome = "changed"
            while outcome != "stored":
                now = time.time_ns() // 1000
                [row] = memory.store.run(partial(items.change, ItemBatch(now, [key])), write=False).rows
                value = b"%d" % (int(row.value) + 1 if row else 1)
                change = ItemChange(*key, value, expect=row.updated if row else 0)
                outcome = memory.store.run(partial(items.change, ItemBatch(now, changes=[change])), write=True).outcome
        ack("done")


JOBS: dict[str, Callable[..., None]] = {job.__name__: job for job in (change_until_killed, count_up)}
