"""Numbers in Redis that a script would count up to.

The attacker may write keys of the same server, ours among them. He puts numbers there which a script of ours takes for
those of a list's first and last batch, or by which it goes on with a listing, and wants it never to end: a server does
one thing at a time, so it would be lost to everybody.

He gets an error at our side, `StoreCorrupt`, and at once. What was damaged can be deleted. What is beside it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest
from children.jobs import add_item, config
from conftest import or_skip
from redis import Redis
from stores import valkey_url

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.errors import StoreCorrupt

NUMBERS = {
    "a long way": ("1", "999999999999999"),
    "beyond whole numbers": ("9" * 30, "9" * 30),
    "below whole numbers": ("-" + "9" * 30, "1"),
    "for ever": ("1", "inf"),
    "from ever": ("-inf", "1"),
    "nothing": ("nan", "nan"),
    "a few too many": ("1", "40"),
}
CALLS: dict[str, Callable[[Memory], object]] = {
    "load": lambda memory: memory.load_messages("t"),
    "append": lambda memory: memory.append_messages("t", [{"n": 3}]),
    "save": lambda memory: memory.save_messages("t", [{"n": 1}]),
}


@pytest.fixture
def url() -> str:
    """Return the URL of an empty server."""
    return or_skip(valkey_url)


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    """Yield the attacker's connection, which gives up where the server does not answer."""
    with Redis.from_url(url, socket_timeout=5) as made:
        yield made


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("left", [False, True], ids=["of a list", "left by another version"])
def test_the_numbers_of_batches(numbers: str, left: bool, url: str, client: Any) -> None:
    first, last = NUMBERS[numbers]
    name = b""
    with open_memory(url) as memory:
        for thread in ("t", "other"):
            memory.save_messages(thread, [{"n": 1}])
            memory.append_messages(thread, [{"n": 2}])
            name = name if thread == "other" else client.keys("*:messages")[0]
        began = time.monotonic()
        for call in CALLS.values():
            client.hset(name, mapping={"f": first, "l": last})
            if left:
                client.hdel(name, "y")
            with pytest.raises(StoreCorrupt, match="damaged"):
                call(memory)
        assert memory.load_messages("other") == [{"n": 1}, {"n": 2}]
        memory.delete_thread("t")
        assert memory.load_messages("t") == []
        memory.append_messages("t", [{"n": 4}])
        assert memory.load_messages("t") == [{"n": 4}]
        assert time.monotonic() - began < 60


@pytest.mark.parametrize("score", ["123456789012345678", "0.12345678901234567", "inf", "-inf", "1e300"])
def test_the_order_of_checkpoints(score: str, url: str, client: Any) -> None:
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        for _ in range(3):
            add_item(saver, "t")
        [name] = client.keys("*:order")
        for member in client.zrange(name, 0, -1):
            client.zadd(name, {member: float(score)})
            for more in ({}, {"limit": 1}, {"filter": {"source": "nothing"}}):
                with suppress(StoreCorrupt):
                    assert len(list(islice(saver.list(config("t"), **more), 10))) <= 3
        memory.delete_thread("t")
