"""Several programs with clocks an hour apart: what one has kept for its searches is what a fresh one reads."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp
from stores import have, supabase_url, tenant_url, valkey_cluster_url, valkey_url

from charm_checkpoint import CharmStore, open_memory
from charm_checkpoint.items import clock

HOUR = 3_600_000_000
STEPS = 60
WORDS = "cat dog train window seat home ghent pear apple".split()
NAMESPACES = [("a",), ("a", "b"), ("a", "c"), ("d",), ("d", "e", "f")]
PREFIXES: list[tuple[str, ...]] = [(), ("a",), ("d",), ("a", "b")]
NOTHING_PUT_OFF = {"refresh_on_read": False}

URLS: dict[str, Callable[[], str]] = {
    "postgres": tenant_url,
    "supabase": supabase_url,
    "valkey": valkey_url,
    "cluster": valkey_cluster_url,
}


class Play:
    """Operations at random, each by one of three programs."""

    def __init__(self, dice: random.Random, stores: list[CharmStore], monkeypatch: pytest.MonkeyPatch) -> None:
        self.dice, self.stores = dice, stores
        self.time, self.shift = 1_700_000_000_000_000, 0
        monkeypatch.setattr(clock, "now", lambda: self.time + self.shift)

    def program(self) -> CharmStore:
        """Turn to one of the programs, and its clock."""
        number = self.dice.randrange(len(self.stores))
        self.shift = (0, -HOUR, HOUR)[number]
        return self.stores[number]

    def value(self) -> dict[str, str]:
        return {"text": " ".join(self.dice.choices(WORDS, k=3))}

    def step(self) -> str:
        """Do something or other; return what."""
        dice, store = self.dice, self.program()
        self.time += dice.choice((0, 1, 1000, 10**6, 60 * 10**6))
        where, key, ttl = dice.choice(NAMESPACES), dice.choice("wxyz"), dice.choice((None, None, 0.5, 90))
        what = dice.choice(("put", "put", "put", "batch", "batch", "delete", "erase", "update", "read", "sweep"))
        if what == "put":
            store.put(where, key, self.value(), ttl=ttl)
        elif what == "batch":
            some = dice.sample(NAMESPACES, 3)
            puts = [PutOp(each, key, dice.choice((None, self.value())), ttl=ttl) for each in some]
            store.batch([*puts, GetOp(where, key, refresh_ttl=True)])
        elif what == "delete":
            store.delete(where, key)
        elif what == "erase":
            store.delete_namespace(where)
        elif what == "update":
            store.update(where, key, lambda _: self.value())
        elif what == "read":
            store.get(where, key, refresh_ttl=True)
        else:
            store.sweep_ttl()
        return f"{what} {where} {key} {ttl} by a clock {self.shift // HOUR:+d} h"

    def compare(self, fresh: CharmStore) -> None:
        """See that one of the programs finds what a fresh one does, and that all ways to ask agree."""
        kept, prefix = self.program(), self.dice.choice(PREFIXES)
        query = " ".join(self.dice.choices(WORDS, k=2))
        found = told(fresh.search(prefix, query=query, limit=50))
        assert told(kept.search(prefix, query=query, limit=50)) == found
        listed = fresh.search(prefix, limit=50)
        assert {each[:3] for each in told(listed)} == {each[:3] for each in found}
        assert [item.updated_at for item in listed] == sorted((item.updated_at for item in listed), reverse=True)
        assert fresh.count(prefix) == len(found)
        assert set(fresh.list_namespaces(prefix=prefix or None)) == {item.namespace for item in listed}


def told(found: list[Any]) -> list[Any]:
    return [(item.namespace, item.key, item.updated_at, item.score) for item in found]


def play(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(2**32)
    memories = [open_memory(url) for _ in range(3)]
    game = Play(
        random.Random(seed), [memory.get_langgraph_store(ttl=NOTHING_PUT_OFF) for memory in memories], monkeypatch
    )
    done: list[str] = []
    try:
        for _ in range(STEPS):
            done.append(game.step())
            if game.dice.random() < 0.4:
                with open_memory(url) as memory:
                    game.compare(memory.get_langgraph_store(ttl=NOTHING_PUT_OFF))
    except AssertionError as error:
        raise AssertionError(f"with seed {seed}, after " + ", ".join(done[-8:])) from error
    finally:
        for memory in memories:
            memory.close()


@pytest.mark.parametrize("kind", URLS)
def test_programs_with_other_clocks_find_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    play(have(URLS[kind]), monkeypatch)


@pytest.mark.parametrize("scheme", ["sqlite", "file"])
def test_programs_with_other_clocks_find_the_same_in_files(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(f"{scheme}:///{tmp_path / 'agent'}", monkeypatch)
