"""Memories of agents in a store that may only be read, and others that wait for a review."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError, ReadOnlyStore


def test_memories_are_recalled_from_what_may_only_be_read(tmp_path: Path) -> None:
    places = {"global": False}
    with open_memory(f"sqlite:///{tmp_path}/a.db") as memory:
        memory.long_term(scopes=places).remember("fact", "tea", "Tea is at four.")
    with open_memory(f"sqlite:///{tmp_path}/a.db?mode=ro") as memory:
        memories = memory.long_term(scopes=places)
        assert [entry.title for entry in memories.recall("when is tea?")] == ["tea"]
        assert [entry.title for entry in asyncio.run(memories.arecall("when is tea?"))] == ["tea"]
        assert memories.read("tea").uses == 0  # type: ignore[union-attr]
        assert memories.context("when is tea?")
        with pytest.raises(ReadOnlyStore):
            memories.remember("fact", "coffee", "Coffee is at three.")


def test_what_was_changed_in_a_shared_namespace_behind_our_back_is_reviewed() -> None:
    with open_memory("memory://") as memory:
        memories = memory.long_term("p", {"global": False, "shared": ("team",)})
        memories.remember("fact", "bus", "The bus leaves at noon.", scope="shared")
        assert memories.recall("when does the bus leave?")
        shared = memories.scopes["shared"]
        shared.store.update(shared.notes, "bus", lambda value: {**(value or {}), "body": "The bus leaves at one."})
        assert memories.recall("when does the bus leave?") == []
        assert [entry.body for entry in memories.review()] == ["The bus leaves at one."]


def test_who_writes_over_what_nobody_looked_at_approves_none_of_it() -> None:
    with open_memory("memory://") as memory:
        memories = memory.long_term(scopes={"global": False})
        memories.remember("fact", "t", "A stranger's.", tags=["obey"], source="import")
        assert memories.remember("fact", "t", "Mine.").tags == ()
        memories.remember("fact", "t", "Mine.", tags=["a"])
        assert memories.remember("fact", "t", "Mine, too.").tags == ("a",)


def test_what_was_opened_is_closed_where_another_scope_cannot_be(tmp_path: Path) -> None:
    places = {"global": f"sqlite:///{tmp_path}/other.db", "other": 5}
    with open_memory("memory://") as memory, pytest.raises(ConfigError, match="'other' is True, False"):
        memory.long_term("p", places)
