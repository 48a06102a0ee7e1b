"""What is nested deep, and who reads it from deep inside.

The attacker may write to the store: a message whose content is 900 lists in each other, of which a history for
LangChain was made one call inside the other, and so ended in a raw `RecursionError`. Nobody attacks who is deep in
calls of his own and reads an item that is nested as deep as it may be; he was told that it is damaged.

What they get is `StoreCorrupt` with the thread's name, and the item.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import ormsgpack
import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.items import values
from charm_checkpoint.messages.chat_history import CharmChatHistory
from charm_checkpoint.values.packing import pack
from charm_checkpoint.values.sealing import Identities, seal


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def deep_inside(levels: int, read: Callable[[], Any]) -> Any:
    return deep_inside(levels - 1, read) if levels else read()


def test_a_history_of_a_message_nested_deep_says_whose_it_is() -> None:
    stored = b"\x91\x82" + b"".join(map(ormsgpack.packb, ("type", "human", "data"))) + b"\x81"
    stored += ormsgpack.packb("content") + b"\x91" * 900 + b"\xc0"
    with open_memory("memory://") as memory:
        sealed = seal(Identities().batch("t"), pack(b"\x01" + stored))
        memory.store.run(partial(memory.store.backend.append_messages, "t", sealed), write=True)
        history = CharmChatHistory(memory, "t")
        for read in (lambda: history.messages, lambda: asyncio.run(history.aget_messages())):
            with pytest.raises(StoreCorrupt, match="'t'"):
                read()


@pytest.mark.parametrize("more", [{}, {"big": 10**5000}], ids=["plain", "big"])
def test_an_item_can_be_read_from_deep_inside(more: dict[str, Any]) -> None:
    value = {"a": nested(190), **more}
    read = partial(values.decode, values.encode(value))
    assert deep_inside(800, read).keys() == value.keys()


def test_an_item_nested_deeper_than_any_is_damaged() -> None:
    with pytest.raises(StoreCorrupt):
        values.decode(b"\x01" + b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
