"""Shared chunks that expand: a few stored bytes become more than any machine has.

The attacker may write to the store: a row, a key, a file in a synced folder. Chunks are named by their content, and
may be named as often as one likes, so lists of twice the same list, forty deep, are 1 kB, and 2⁴⁰ lists once they are
read. He wants the reader to run out of memory, or to read for ever, and with it everything else in the process.

What he gets is `StoreCorrupt`, before anything is built: what is to be read is weighed first, each chunk once. Who
writes weighs in the same way, so nobody's own state is stored and then refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from attacks.bombs import EXPANDING, SECONDS, Bomb, chain, empty_groups, groups, lists, plant, plant_messages, tried
from charm_checkpoint import Memory, open_memory
from charm_checkpoint.errors import NotSerializable, StoreCorrupt
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.samples import checkpoint, config, values, versions
from charm_checkpoint.values import decoder, limits
from charm_checkpoint.values.decoder import Decoder, decode_chunk
from charm_checkpoint.values.encoder import Encoder
from charm_checkpoint.values.known_chunks import KnownLeaves
from charm_checkpoint.values.serde import Serializer

METADATA: Any = {"source": "loop", "step": 0, "parents": {}}


def put(saver: Any, state: dict[str, Any], thread: str = "t") -> Any:
    made = checkpoint(state)
    return saver.put(config(thread), made, METADATA, versions(made))


def test_each_bomb_is_refused_at_once_within_little_memory() -> None:
    came = tried("attacks.bombs.READ")
    assert {name: each["came"] for name, each in came.items()} == dict.fromkeys(EXPANDING, "StoreCorrupt")
    assert max(each["took"] for each in came.values()) < SECONDS


def test_the_bombs_are_small() -> None:
    sizes = {name: make().size for name, make in EXPANDING.items()}
    assert sizes["lists"] < 5000 and sizes["a few lists"] < 3000
    assert max(size for name, size in sizes.items() if name != "a chain") < 65_536


class TestEveryStore(Suite):
    """Each store, blocking and async; `url` is the table's."""

    @pytest.mark.parametrize("channels", [("bomb",), tuple(f"channel {n}" for n in range(1000))])
    def test_a_bomb_hides_nothing_else(self, memory: Memory, saver: InMode, channels: tuple[str, ...]) -> None:
        # In one channel it would come to too much by itself, in a thousand only together.
        bomb = lists(23 if len(channels) == 1 else 12)
        plant(memory, "bad", bomb, channels)
        put(saver, {"items": ["sound"] * 600}, "sound")
        for read in (saver.get_tuple, lambda where: saver.list(where)):
            with pytest.raises(StoreCorrupt, match="Thread 'bad'.* would come to more than"):
                read(config("bad"))
        assert saver.get_tuple(config("sound")).checkpoint["channel_values"]["items"] == ["sound"] * 600
        put(saver, {"items": [1]}, "bad")
        assert saver.get_tuple(config("bad")).checkpoint["channel_values"] == {"items": [1]}

    def test_messages(self, memory: Memory, mode: Any) -> None:
        if memory.store.history is not None:
            pytest.skip("this store keeps messages in a file of JSON")
        plant_messages(memory, "bad", lists(23))
        with pytest.raises(StoreCorrupt, match="would come to more than"):
            InMode(memory, mode).load_messages("bad")
        InMode(memory, mode).save_messages("other", [{"role": "user", "content": "hi"}])
        assert InMode(memory, mode).load_messages("other") == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("make", "said"), [(groups, "would come to more than"), (empty_groups, "would come to more than"), (chain, "row")]
)
def test_messages_that_are_counted_only(make: Callable[[], Bomb], said: str) -> None:
    with open_memory("memory://") as memory:
        plant_messages(memory, "bad", make())
        with pytest.raises(StoreCorrupt, match=said):
            memory.store.run(partial(memory._history.count, "bad"), write=False)


def test_what_is_named_often_is_asked_for_once() -> None:
    bomb = Bomb()
    bomb.chunk(b"\x01", b"\x01\xa4once")
    for _ in range(3):
        bomb.manifest([], [bomb.root] * 100)
    with open_memory("memory://", max_elements=10**9) as memory:
        plant(memory, "t", bomb)
        backend, asked = memory.store.backend, []
        read: Callable[..., Any] = backend.chunks

        def chunks(thread: str, names: Any, messages: bool = False) -> Any:
            asked.append(list(names))
            return read(thread, names, messages)

        backend.chunks = chunks  # type: ignore[method-assign]
        reader = memory.get_langgraph_checkpointer()._reader
        have = memory.store.run(lambda: reader.gather("t", [bomb.root, bomb.root], {}), write=False)
    assert set(have) == {chunk.address for chunk in bomb.chunks}
    assert sorted(map(len, asked)) == [1, 1, 1, 1]


def test_what_is_shared_in_the_store_is_not_shared_in_memory() -> None:
    same = {"text": "x" * 2000, "list": [1]}
    with open_memory("memory://") as memory:
        saver = memory.get_langgraph_checkpointer()
        put(saver, {"a": [same] * 50, "b": [same] * 50})
        for _ in range(2):
            found = saver.get_tuple(config("t"))
            assert found is not None
            held = found.checkpoint["channel_values"]
            each = [*held["a"], *held["b"]]
            assert len(set(map(id, each))) == len({id(one["list"]) for one in each}) == 100
            held["a"][0]["list"].append(2)
            assert held["a"][1] == same


# ---------------------------------------------------------------------------------------------- who writes counts alike


def states(seed: int) -> Iterator[Any]:
    """Yield values of very different shapes, shared within and not."""
    rng = random.Random(seed)
    yield from values().values()
    for _ in range(12):
        part: Any = [rng.choice(["x" * rng.randrange(3000), rng.randrange(10**6), None]) for _ in range(90)]
        for _ in range(rng.randrange(4)):
            part = [part] * rng.randrange(1, 5) if rng.random() < 0.5 else {f"k{n}": part for n in range(3)}
        yield part
    yield "x" * 600_000
    yield [0] * 40_000


def test_reader_and_writer_weigh_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "HEAVY", 0)
    serde, leaves, held = Serializer(), KnownLeaves(), {}
    for value in (*states(1), *states(1)):  # the second time by what is remembered
        encoder = Encoder(serde, leaves, set(held))
        encoded = encoder.value(value)
        held |= {name: decode_chunk(chunk) for name, chunk in encoder.chunks.items()}
        if encoded.ref is not None:
            reached = {encoded.ref: held[encoded.ref]}
            while missing := {ref for one in reached.values() for ref in one.refs} - reached.keys():
                reached |= {name: held[name] for name in missing}
            read = Decoder(serde, reached, [encoded.ref])
            assert encoder.weight(encoded.ref)[0] == read.weighed.total
            assert encoder.weight(encoded.ref)[1] <= 2 * read.weighed.stored


@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_can_be_read_and_the_rest_is_refused_with_its_path(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(limits, "DENSE", 4)
    refused = 0
    for most in (2000, 20_000, 200_000):
        for bytes_too in (most, 10**9):
            with open_memory("memory://", max_bytes=bytes_too, max_elements=most) as memory:
                saver = memory.get_langgraph_checkpointer()
                for value in states(seed):
                    try:
                        put(saver, {"small": 1, "value": value, "other": ["x" * 900]})
                    except NotSerializable as error:
                        assert error.path[:2] == ("channel_values", "value") and "of the option max_" in str(error)
                        refused += 1
                        continue
                    found = saver.get_tuple(config("t"))
                    assert found is not None and found.checkpoint["channel_values"]["value"] == value
    assert refused > 10


def test_values_that_are_too_much_only_together() -> None:
    with open_memory("memory://", max_bytes=100_000) as memory:
        saver = memory.get_langgraph_checkpointer()
        texts = {f"channel {n}": str(n) * 30_000 for n in range(3)}
        where = put(saver, texts)
        made = checkpoint({**texts, "last": "x" * 30_000})
        made["channel_versions"] = {**dict.fromkeys(texts, 1), "last": 2}
        with pytest.raises(NotSerializable, match="values of this checkpoint come to more than the 100,000"):
            saver.put(where, made, METADATA, {"last": 2})
        del made["channel_values"]["channel 0"], made["channel_versions"]["channel 0"]  # or it would be carried
        saver.put(where, made, METADATA, {"last": 2})
        found = saver.get_tuple(config("t"))
        assert found is not None and found.checkpoint["channel_values"]["last"] == "x" * 30_000


def test_a_large_state_of_an_ordinary_program_is_none_of_this() -> None:
    state = {
        "text": "x" * (100 << 20),
        "numbers": [0] * 1_000_000,
        "documents": [{"page": n, "text": f"{n} " * 400} for n in range(600)] * 20,
    }
    with open_memory("memory://") as memory:
        saver = memory.get_langgraph_checkpointer()
        put(saver, state)
        found = saver.get_tuple(config("t"))
        assert found is not None and found.checkpoint["channel_values"] == state
