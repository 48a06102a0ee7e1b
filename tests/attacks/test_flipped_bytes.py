"""Bytes of one record that were changed where they lie.

The attacker may write to the store but does not know its format, or a disk or a network loses a bit. He wants another
number, another name or nothing at all to come out of what was stored, without a word.

He gets `StoreCorrupt`, which names the place, whichever byte of whichever record he changes, on every store: records,
pending writes, messages, batches and items carry a checksum, and chunks are found by a hash.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from children.jobs import items as sample_items
from children.jobs import put

from charm_checkpoint import Memory
from charm_checkpoint.contract import NewCheckpoint, NewMessages, NewWrites
from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemKey
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode, ItemsInMode, PlansInMode
from charm_checkpoint.testing.samples import config
from charm_checkpoint.values.sealing import SEAL_SIZE

FLIPS = 10 * int(os.environ.get("CHARM_TEST_SCALE", "1"))
"""Bytes that are changed of each record; all of them where the store is in memory."""


class TestFlippedBytes(Suite):
    """Each kind of record on every store, blocking and async."""

    def flipped(self, memory: Memory, data: bytes) -> Iterator[bytes]:
        """Yield data with a byte changed, first, last, and those between, or some of them."""
        everywhere = type(memory.store.backend).__name__ == "RamBackend"
        source = random.Random(len(data))
        places = range(len(data)) if everywhere else sorted(source.sample(range(len(data)), min(FLIPS, len(data))))
        for at in places:
            changed = bytearray(data)
            changed[at] ^= source.choice((1, 0x10, 0x80, 0xFF))
            yield bytes(changed)

    def refuse(self, read: Callable[[], Any], place: str) -> None:
        """Check that a read is refused, and the place named."""
        with pytest.raises(StoreCorrupt) as caught:
            read()
        assert str(caught.value).startswith(place)

    def test_records(self, memory: Memory, saver: InMode, backend: PlansInMode) -> None:
        at: Any = put(saver, config("t"), {"number": 7, "name": "ann", "list": [1, 2]})  # type: ignore[arg-type]
        id = at["configurable"]["checkpoint_id"]
        row = backend.find("t", "", id).row
        new = NewCheckpoint("t", "", id, row.parent, b"", bytes(row.roots), b"", None, (), None, None, "allow")
        for body in self.flipped(memory, bytes(row.body)):
            backend.put(replace(new, body=body))
            self.refuse(lambda: saver.get_tuple(config("t")), "Thread 't', checkpoint")
        backend.put(replace(new, body=bytes(row.body)))
        assert saver.get_tuple(config("t")).checkpoint["channel_values"]["number"] == 7

    def test_pending_writes(self, memory: Memory, saver: InMode, backend: PlansInMode) -> None:
        at: Any = put(saver, config("t"), {"number": 7})  # type: ignore[arg-type]
        saver.put_writes(at, [("number", 8), ("__resume__", True)], "task")
        id = at["configurable"]["checkpoint_id"]
        [body] = backend.find("t", "", id).writes
        for number, changed in enumerate(self.flipped(memory, bytes(body))):
            thread = f"t{number}"
            row = backend.find("t", "", id).row
            saver.copy_thread("t", thread)
            assert row is not None
            [own] = backend.find(thread, "", id).writes
            del own
            backend.put_writes(NewWrites(thread, "", id, changed, None))
            self.refuse(lambda: saver.get_tuple(config(thread)), f"Thread '{thread}', checkpoint")  # noqa: B023
        assert len(saver.get_tuple(config("t")).pending_writes) == 2

    def test_messages(self, memory: Memory, mode: CallMode, backend: PlansInMode) -> None:
        if memory.store.history is not None:
            pytest.skip("this store keeps messages as files of Charm's, which have no checksum")
        store = InMode(memory, mode)
        store.save_messages("t", [{"role": "user", "content": "one"}])
        store.append_messages("u", [{"role": "user", "content": "one"}])
        body, [batch] = bytes(backend.messages("t").body), map(bytes, backend.messages("u").batches)
        for changed in self.flipped(memory, body):
            backend.put_messages(NewMessages("t", changed, b"", (), None))
            self.refuse(lambda: store.load_messages("t"), "Thread 't'")
        for number, changed in enumerate(self.flipped(memory, batch)):
            backend.append_messages(f"u{number}", changed)
            self.refuse(lambda: store.load_messages(f"u{number}"), f"Thread 'u{number}'")  # noqa: B023

    def test_chunks(self, memory: Memory, saver: InMode, backend: PlansInMode) -> None:
        at: Any = put(saver, config("t"), {"large": sample_items(90)})  # type: ignore[arg-type]
        row = backend.find("t", "", at["configurable"]["checkpoint_id"]).row
        chunk = backend.chunks("t", [bytes(row.roots)])[bytes(row.roots)]
        for number, data in enumerate(self.flipped(memory, bytes(chunk.data))):
            if number >= FLIPS:
                break
            thread = f"t{number}"
            new = NewCheckpoint(
                thread, "", row.id, row.parent, bytes(row.body)[SEAL_SIZE:], bytes(row.roots), b"", None,
                [replace(chunk, refs=bytes(chunk.refs), data=data)], None, None, "allow",
            )  # fmt: skip
            backend.put(new)
            # As another program, which has not read the chunk before.
            other = InMode(memory.get_langgraph_checkpointer().with_allowlist(()), saver.mode)
            memory.store.budget.spend(1 << 40, 0)
            memory.store.budget.spend(1 << 40, 0)
            self.refuse(lambda: other.get_tuple(config(thread)), f"Thread '{thread}', checkpoint")  # noqa: B023

    def test_items(self, memory: Memory, mode: CallMode, items: ItemsInMode) -> None:
        store = InMode(memory.get_langgraph_store(), mode)
        store.put(("users", "7"), "likes", {"food": "bread", "since": 2020})
        at = ItemKey(b"iusers\x007\0", b"likes")
        value = bytes(items.fetch([at])[at].value)
        for changed in self.flipped(memory, value):
            items.change(ItemBatch(1, changes=[ItemChange(*at, changed)]))
            for read in (lambda: store.get(("users", "7"), "likes"), lambda: store.search(("users",))):
                self.refuse(read, "Item 'likes' of ('users', '7')")
