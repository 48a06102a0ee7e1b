"""Large states: what a small change to one stores, and that no event loop waits while one is encoded or decoded."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.changing import save
from charm_checkpoint.testing.samples import config, exact
from charm_checkpoint.values.serde import register_type


def vector(size: int, seed: int = 0) -> list[float]:
    """Return numbers that do not compress."""
    source = random.Random(seed)
    return [source.random() for _ in range(size)]


def prose(size: int, seed: int = 0) -> str:
    """Return text that compresses a little."""
    return "".join(random.Random(seed).choices("abcdefghijklm nopqrstuvw xyz.\n", k=size))


Shape = tuple[Callable[[], Any], Callable[[Any], Any]]

SHAPES: dict[str, Shape] = {
    "ints": (lambda: list(range(40_000)), lambda value: [*value[:20_000], -1, *value[20_000:]]),
    "floats": (lambda: vector(30_000), lambda value: [*value, 0.5]),
    "vectors": (lambda: [vector(300, n) for n in range(40)], lambda value: [*value, vector(300, 40)]),
    "bytes": (lambda: random.Random(0).randbytes(1_000_000), lambda value: value[:250_000] + b"more" + value[250_000:]),
    "text": (lambda: prose(1_000_000), lambda value: value[:250_000] + "more" + value[250_000:]),
    "strings": (lambda: [f"string number {n}" for n in range(8_000)], lambda value: [*value, "one more"]),
    "keys": (lambda: {f"key {n}": n for n in range(8_000)}, lambda value: {**value, "key 4000": "changed"}),
    "dicts": (lambda: [{"n": n, "ok": True} for n in range(6_000)], lambda value: value[7:]),
    "nested": (
        lambda: {"a": {"files": {f"{n}": prose(2_000, n) for n in range(150)}, "rows": [[n] for n in range(3_000)]}},
        lambda value: {"a": {**value["a"], "rows": [*value["a"]["rows"], [1]]}},
    ),
}
"""States by name: how one is made, and how a little of it is changed."""

SHARE = 0.45
"""Of what the whole takes, a change to one of these takes less: to a hundred times as much, a hundredth of that."""


class Witness:
    """Tells in which threads it was encoded and decoded."""

    threads: list[int] = []


def _dump(witness: Witness) -> str:
    Witness.threads.append(threading.get_ident())
    return "here"


def _load(text: str) -> Witness:
    Witness.threads.append(threading.get_ident())
    return Witness()


class Large(Suite):
    """What is large is neither stored twice nor worked on where others wait."""

    @pytest.mark.parametrize("shape", list(SHAPES))
    def test_a_small_change_to_a_large_state_stores_little(self, memory: Memory, saver: InMode, shape: str) -> None:
        make, change = SHAPES[shape]
        first = {"value": make()}
        where = save(saver, config(), first, 1)
        whole = memory.usage("t").payload_bytes
        second = {"value": change(first["value"])}
        again = save(saver, where, second, 2)
        assert memory.usage("t").payload_bytes - whole < SHARE * whole
        assert exact(saver.get(where)["channel_values"]) == exact(first)
        assert exact(saver.get(again)["channel_values"]) == exact(second)

    def test_no_event_loop_waits_while_a_large_state_is_encoded_or_decoded(
        self, saver: InMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        register_type(Witness, name="charm_checkpoint.testing:Witness", dump=_dump, load=_load)
        monkeypatch.setattr(Witness, "threads", [])
        large: dict[str, Any] = {"value": [Witness(), *({"n": n, "text": f"text {n}" * 20} for n in range(6_000))]}
        where = save(saver, config(), large, 1)
        saver.put_writes(where, list(large.items()), "task")
        found = saver.elsewhere().get_tuple(where)
        assert len(found.pending_writes[0][2]) == len(large["value"])
        assert len(Witness.threads) >= 4
        if saver.mode.name == "async":
            assert threading.get_ident() not in Witness.threads
