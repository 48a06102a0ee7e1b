"""States of more bytes than elements are allowed: each further put works on what changed, not on all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.testing.samples import checkpoint, config, versions
from charm_checkpoint.values.known_chunks import KnownLeaves
from charm_checkpoint.values.limits import DEFAULTS
from charm_checkpoint.values.serde import Serializer

Values = dict[str, Any]

WORDS = " ".join(f"word{number}" for number in range(40))
MANY = [{"role": "user", "content": f"{number} {WORDS[: 10 + number % 90]}"} for number in range(130_000)]
"""Some 11 MB, in so many things that they are counted where they may be dense."""


def one_list() -> Values:
    return {"messages": MANY}


def several_lists() -> Values:
    return {f"list {part}": MANY[part::4] for part in range(4)}


def texts() -> Values:
    return {f"text {part}": WORDS * 10_000 + str(part) for part in range(4)}


@pytest.mark.parametrize("make", [one_list, several_lists, texts])
def test_a_put_after_a_read_encodes_no_state_again(
    make: Callable[[], Values], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/large.db"
    values = make()
    assert sum(len(str(value)) for value in values.values()) > DEFAULTS.max_elements
    with open_memory(url) as memory:
        made = checkpoint(values, version=1)
        memory.get_langgraph_checkpointer().put(config("t"), made, {}, versions(made))
    packed: list[int] = []
    plain = Serializer.pack

    def pack(self: Serializer, value: Any, heavy: bool = False) -> bytes:
        packed.append(len(found := plain(self, value, heavy)))
        return found

    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        for version in (2, 3):
            found = saver.get_tuple(config("t"))
            assert found
            made = checkpoint({**found.checkpoint["channel_values"], "n": [version] * 500}, version=version)
            if version == 3:  # of what was read, the second put need encode nothing any more
                monkeypatch.setattr(Serializer, "pack", pack)
            saver.put(found.config, made, {}, versions(made))
    assert sum(packed) < 1 << 20


def test_a_value_larger_than_the_cache_pushes_nothing_out_of_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    plain = KnownLeaves.put

    def put(self: KnownLeaves, key: bytes, value: Any, before: int | None = None) -> None:
        made.append(key)
        plain(self, key, value, before)

    with open_memory(f"sqlite:///{tmp_path}/large.db", cache_size="8MiB") as memory:
        saver = memory.get_langgraph_checkpointer()
        first = checkpoint({"messages": MANY[::2]}, version=1)
        where = saver.put(config("t"), first, {}, versions(first))
        monkeypatch.setattr(KnownLeaves, "put", put)
        for version in (2, 3):
            found = saver.get_tuple(config("t"))
            assert found
            made.clear()
            next_one = checkpoint(
                {"messages": [*found.checkpoint["channel_values"]["messages"], version]}, version=version
            )
            where = saver.put(where, next_one, {}, versions(next_one))
            assert len(set(made)) < 20  # of some thousand leaves
