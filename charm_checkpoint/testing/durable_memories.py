"""Durable memories, which stand on a store's items: what is remembered, recalled, forgotten, moved and approved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from charm_checkpoint.errors import (
    AmbiguousMemory,
    ConfigError,
    DataError,
    ForgottenMemory,
    ItemConflict,
    MemoryExists,
    MemoryNotFound,
    ProtectedMemory,
)
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Take
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.long_term_base import Clock, LongTermBase

DAY = 24 * 60

TITLES = (
    "plain", "Plain", "two words", "größe", "标题", "a/b", "../up", "a.b", "CON", "%", "'; --", '"', "a\nb",
    "\0", "\ud800", "🚂", "x" * 300, " padded ", "\u202eright", "</memory>", "---",
)  # fmt: skip
NO_MEMORIES: tuple[tuple[dict[str, Any], type[Exception]], ...] = (
    ({"kind": "opinion"}, DataError),
    ({"kind": None}, DataError),
    ({"title": ""}, DataError),
    ({"title": 7}, DataError),
    ({"body": " \n"}, DataError),
    ({"tags": [1]}, DataError),
    ({"tags": 5}, DataError),
    ({"importance": 2}, DataError),
    ({"importance": True}, DataError),
    ({"source": ""}, DataError),
    ({"session": 5}, DataError),
    ({"scope": "projekt"}, ConfigError),
    ({"scope": "shared"}, ConfigError),
    ({"scope": "global", "citations": ["a.py"]}, DataError),
)

OpenMemories: TypeAlias = Callable[..., InMode]


class DurableBase(LongTermBase):
    """Fixtures of the tests of durable memories."""

    @pytest.fixture
    def open_memories(self, memory: Memory, mode: CallMode) -> OpenMemories:
        """Return a function that returns the durable memories of a project, called in this mode."""
        if memory.store.items is None:
            pytest.skip("this store keeps no long-term memory")

        def made(project: Any = "p", **settings: Any) -> InMode:
            settings.setdefault("scopes", {"global": ("everybody",)})
            return InMode(memory.long_term(project, **settings), mode)

        return made

    @pytest.fixture
    def memories(self, open_memories: OpenMemories) -> InMode:
        """Return durable memories of two scopes in one store."""
        return open_memories()


class DurableMemories(DurableBase):
    """Tests of what is remembered, recalled and read."""

    def test_what_is_remembered_is_recalled_by_what_it_says(self, memories: InMode) -> None:
        memories.remember("lesson", "uv-lock-stale", "Run `uv lock` before charmcraft pack.", tags=["uv", "build"])
        memories.remember("rule", "never-force-push", "Do not force-push to main.", scope="global")
        memories.remember("fact", "postgres-version", "Workload pins Postgres 16.", session="s1", category="core")
        [found] = memories.recall("may I force push to main?")
        assert (found.title, found.kind, found.scope, found.source) == ("never-force-push", "rule", "global", "manual")
        assert 0.5 <= found.score < 1 and found.uses == 1 and not found.needs_review
        assert memories.recall("what is the capital of France?") == []
        [found] = memories.recall("which postgres?", explain=True)
        assert (found.session, found.category) == ("s1", "core") and found.parts
        assert [entry.parts for entry in memories.recall("which postgres?", None, explain=True)] == [found.parts]
        [found] = memories.recall("charmcraft", min_score=0.1)
        assert found.tags == ("uv", "build")

    def test_what_narrows_down_does_so_before_the_limit(self, memories: InMode, clock: Clock) -> None:
        for number in range(6):
            clock.pass_minutes(DAY)
            kind, session = ("fact", "a") if number % 2 else ("rule", "b")
            memories.remember(kind, f"train {number}", "Trains leave from platform nine.", session=session)
        titles = [entry.title for entry in memories.recall("train platform", limit=2, kinds="fact")]
        assert len(titles) == 2 and {*titles} < {"train 1", "train 3", "train 5"}
        assert all(entry.session == "b" for entry in memories.recall("train platform", limit=3, session="b"))
        first = memories.list(limit=6)[-1].created
        assert [entry.title for entry in memories.recall("train", limit=9, until=first)] == ["train 0"]
        since = memories.list(limit=1)[0].created
        assert [entry.title for entry in memories.recall("*", since=since.isoformat())] == ["train 5"]
        assert len(memories.recall(None, limit=None)) == 6 and memories.recall("train", limit=0) == []

    def test_any_text_is_a_title(self, memories: InMode, part_of: Take) -> None:
        titles = part_of(TITLES)
        for title in titles:
            memories.remember("fact", title, title * 2, tags=[title])
        assert sorted(entry.title for entry in memories.list()) == sorted(titles)
        for title in titles:
            assert memories.read(title).body == title * 2
            assert memories.read(f"{title}.") is None
            assert memories.forget(title).title == title
            assert memories.undo(title).body == title * 2

    def test_projects_are_apart(self, open_memories: OpenMemories) -> None:
        names = ("a", "a.b", "a%2Eb", "A", " a")
        for name in names:
            open_memories(name).remember("fact", "name", f"I am {name}.")
        for name in names:
            memories = open_memories(name)
            assert [entry.body for entry in memories.list()] == [f"I am {name}."]
        open_memories("a").remember("fact", "everywhere", "All know.", scope="global")
        assert open_memories("b").read("everywhere").body == "All know."

    def test_a_memory_that_is_replaced_keeps_what_is_not_said_anew(self, memories: InMode, clock: Clock) -> None:
        first = memories.remember("fact", "db", "Postgres 15.", tags="sql, db", importance=0.5, category="core")
        clock.pass_minutes(5)
        second = memories.remember("fact", "db", "Postgres 16.")
        assert (second.created, second.tags, second.importance, second.category) == (
            first.created, ("sql", "db"), 0.5, "core",
        )  # fmt: skip
        assert second.updated > first.updated and second.body == "Postgres 16."
        assert memories.remember("fact", "db", "Postgres 17.", tags=()).tags == ()

    def test_what_writes_by_itself_replaces_no_manual_memory(self, memories: InMode) -> None:
        memories.remember("fact", "mine", "I wrote this.")
        with pytest.raises(ProtectedMemory, match="mine"):
            memories.remember("fact", "mine", "The model wrote this.", source="auto")
        assert memories.read("mine").body == "I wrote this."
        memories.remember("fact", "its", "The model wrote this.", source="auto")
        assert memories.remember("fact", "its", "The model wrote that.", source="auto").body == "The model wrote that."
        assert memories.remember("fact", "its", "Now I did.").source == "manual"

    def test_uses_are_noted_beside_the_memory(self, memories: InMode, clock: Clock) -> None:
        memories.remember("fact", "tea", "Tea is at four.")
        before = memories.read("tea", count_use=False)
        assert (before.uses, before.used) == (0, None)
        clock.pass_minutes(5)
        memories.recall("when is tea?")
        memories.read("tea")
        memories.list()
        memories.recall("when is tea?", count_use=False)
        after = memories.read("tea", count_use=False)
        assert after.uses == 2 and after.used > before.created and after.updated == before.updated

    def test_what_is_no_memory_is_refused(self, memories: InMode) -> None:
        for given, error in NO_MEMORIES:
            with pytest.raises(error):
                memories.remember(**{"kind": "fact", "title": "t", "body": "b", **given})
        assert memories.list(status=None) == []

    def test_what_cannot_be_asked_is_refused(self, memories: InMode) -> None:
        for wrong in ({"limit": -1}, {"min_score": 2}, {"kinds": "x"}, {"since": "soon"}, {"since": 5}):
            with pytest.raises(DataError):
                memories.recall("x", **wrong)
        with pytest.raises(DataError):
            memories.recall("x", since="2026-02-02", until="2026-02-01")
        with pytest.raises(ConfigError, match="global"):
            memories.recall("x", scopes="globl")


class DurableForgetting(DurableBase):
    """Tests of what is forgotten, comes back, moves and is approved."""

    def test_a_title_in_two_scopes_is_not_forgotten_unasked(self, memories: InMode) -> None:
        for scope in ("project", "global"):
            memories.remember("fact", "shared title", f"In {scope}.", scope=scope)
        with pytest.raises(AmbiguousMemory, match=r"In project.*In global") as caught:
            memories.forget("shared title")
        assert [entry.scope for entry in caught.value.entries] == ["project", "global"]
        assert memories.forget("shared title", "charm").scope == "project"
        assert memories.forget("shared title").scope == "global"
        assert memories.forget("shared title") is None

    def test_what_was_forgotten_comes_back_for_a_while(self, memories: InMode, clock: Clock) -> None:
        memories.remember("rule", "no-fridays", "Never deploy on a Friday.", tags=["ops"])
        before = memories.read("no-fridays", count_use=False)
        memories.forget("no-fridays")
        assert memories.recall("deploy on Friday?") == [] and memories.list(status=None) == []
        with pytest.raises(ForgottenMemory):
            memories.remember("rule", "no-fridays", "Never deploy on Fridays.", source="auto")
        clock.pass_minutes(29 * DAY)
        assert memories.undo() == before and memories.read("no-fridays", count_use=False) == before
        with pytest.raises(MemoryNotFound):
            memories.undo("no-fridays")
        memories.forget("no-fridays")
        clock.pass_minutes(31 * DAY)
        with pytest.raises(MemoryNotFound):
            memories.undo("no-fridays")
        memories.remember("rule", "no-fridays", "Never deploy on Fridays.", source="auto")

    def test_what_is_there_again_is_not_replaced_by_what_was(self, memories: InMode, clock: Clock) -> None:
        memories.remember("fact", "t", "old")
        memories.forget("t")
        assert [entry.body for entry in memories.forgotten()] == ["old"]
        clock.pass_minutes(1)
        memories.remember("fact", "t", "new")
        assert memories.forgotten() == []  # who writes it anew has no use for it
        memories.forget("t")
        memories.remember("fact", "other", "x")
        assert memories.undo("t").body == "new"

    def test_a_memory_moves_to_another_scope(self, memories: InMode) -> None:
        before = memories.remember("lesson", "t", "b", tags=["x"])
        after = memories.promote("t", "global")
        assert (after.scope, after.body, after.tags, after.created) == ("global", "b", ("x",), before.created)
        assert memories.read("t", "project") is None
        memories.remember("fact", "t", "another")
        with pytest.raises(MemoryExists):
            memories.promote("t", "global")
        assert memories.promote("t", "global", overwrite=True).body == "another"
        with pytest.raises(ConfigError, match="is in global already"):
            memories.promote("t", "global")
        with pytest.raises(MemoryNotFound):
            memories.promote("nothing", "global")

    def test_what_is_imported_needs_a_review(self, memories: InMode) -> None:
        memories.remember("fact", "bundle", "Use the mirror at example.org.", source="import")
        assert memories.recall("which mirror?") == []
        [found] = memories.recall("which mirror?", unreviewed=True)
        assert found.needs_review
        [seen] = memories.review()
        memories.remember("fact", "bundle", "Use the mirror at example.com.", source="import")
        with pytest.raises(ItemConflict):
            memories.approve("bundle", digest=seen.digest)
        [seen] = memories.review()
        assert not memories.approve("bundle", digest=seen.digest).needs_review
        assert [entry.title for entry in memories.recall("which mirror?")] == ["bundle"]
        memories.remember("fact", "bundle", "Use my mirror.", source="import")
        assert memories.recall("which mirror?") == [] and len(memories.review()) == 1
        with pytest.raises(MemoryNotFound):
            memories.approve("no such")

    def test_what_needs_a_review_hides_nothing_behind_it(self, memories: InMode) -> None:
        for number in range(30):
            memories.remember("fact", f"import {number}", "The ferry leaves at noon.", source="import")
        memories.remember("fact", "mine", "The ferry to the island leaves at noon on some days of the week.")
        assert [entry.title for entry in memories.recall("when does the ferry leave", limit=1)] == ["mine"]
