"""Durable memories that stay true: what they cite, how old they grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from charm_checkpoint.errors import AmbiguousMemory, DataError, MemoryNotFound
from charm_checkpoint.long_term.project import Project
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.durable_memories import DAY, DurableBase, OpenMemories
from charm_checkpoint.testing.long_term_base import Clock

SCOPES = {"global": ("everybody",), "shared": False}


def _titles(found: tuple[object, ...]) -> list[str]:
    return sorted(str(getattr(each, "title", each)) for each in found)


class DurableTruth(DurableBase):
    """Tests of citations, and of what becomes of memories that nobody uses."""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        """Return the folder of a project with a few files."""
        folder = tmp_path / "cited"
        folder.mkdir()
        for name in ("a", "b", "c"):
            (folder / f"{name}.py").write_text(f"one\n{name}\n")
        return folder

    def test_what_was_changed_is_quarantined_until_it_is_as_it_was(
        self, open_memories: OpenMemories, clock: Clock, project: Path
    ) -> None:
        memories = open_memories(Project("p", project), scopes=SCOPES)
        made = memories.remember("fact", "both", "Of ferries.", citations=["a.py", "b.py:2"])
        assert [len(each.sha) for each in made.citations] == [64, 64] and made.validated == made.created
        memories.remember("fact", "alone", "Of ferries.", citations=["c.py"])
        memories.remember("fact", "nothing", "Of ferries.")
        clock.pass_minutes(2 * DAY)
        found = memories.revalidate()
        assert _titles(found.clean) == ["alone", "both", "nothing"] and found.ok
        assert memories.read("both").validated > made.validated and memories.read("nothing").validated is None
        (project / "a.py").write_text("two\n")
        (project / "b.py").unlink()
        found = memories.revalidate()
        assert (_titles(found.quarantined), len(found.clean)) == (["both"], 2)
        assert found.quarantined[0].reason == "citations: a.py was changed, b.py:2 is gone"
        assert [entry.title for entry in memories.list(status="quarantined")] == ["both"]
        assert "both" not in [entry.title for entry in memories.recall("ferries")]
        (project / "a.py").write_text("one\na\n")
        assert memories.revalidate().failing[0].reason == "citations: b.py:2 is gone"
        (project / "b.py").write_text("other\nb\n")
        clock.pass_minutes(5)
        assert _titles(memories.revalidate("both").recovered) == ["both"]
        after = memories.read("both")
        assert (after.status, after.reason, after.updated) == ("active", None, made.updated)
        assert after.validated > after.updated
        (project / "a.py").write_text("three\n")
        assert memories.revalidate().quarantined
        again = memories.remember("fact", "both", "Of ferries, again.")  # its hashes are made anew
        assert again.status == "active" and memories.revalidate().ok
        with pytest.raises(MemoryNotFound):
            memories.revalidate("no such")

    def test_what_does_not_hold_any_more_is_not_recalled(
        self, open_memories: OpenMemories, clock: Clock, project: Path
    ) -> None:
        memories = open_memories(Project("p", project), scopes=SCOPES)
        memories.remember("rule", "first", "The ferry to the island leaves at noon.", citations=["a.py"])
        memories.remember("rule", "second", "The ferry to the island leaves at noon on most days.")

        def recalled() -> list[str]:
            return [entry.title for entry in memories.recall("ferry to the island", limit=1)]

        assert recalled() == ["first"]
        (project / "a.py").write_text("changed")
        assert recalled() == ["second"]  # its place is taken at once
        assert memories.read("first").reason == "citations: a.py was changed"
        (project / "a.py").write_text("one\na\n")
        assert recalled() == ["first"] and memories.read("first").status == "active"

    def test_what_nobody_uses_is_archived_and_comes_back(self, memories: InMode, clock: Clock) -> None:
        for title in ("unused", "read", "changed", "pinned", "vouched for"):
            memories.remember("fact", title, "Of ferries.", tags=["pinned"] if title == "pinned" else [])
        memories.remember("fact", "talk", "Of ferries.", category="conversation", scope="global")
        clock.pass_minutes(8 * DAY)
        assert [(each.title, each.scope, each.days) for each in memories.sweep().archived] == [("talk", "global", 8)]
        clock.pass_minutes(30 * DAY)
        assert _titles(memories.purge_candidates()) == [] and _titles(memories.purge_candidates(29)) == ["talk"]
        memories.read("read")
        memories.remember("fact", "changed", "Of trains.")
        memories.revalidate("vouched for")
        clock.pass_minutes(22 * DAY)  # 60 in all, and not a moment more
        assert memories.sweep().archived == ()
        clock.pass_minutes(0.001)
        for dry_run in (True, False, False):
            found = memories.sweep(dry_run=dry_run)
            assert _titles(found.archived) == (["unused"] if dry_run or found.archived else [])
            assert found.kept == (5 if dry_run else 4)
        assert memories.list(status="archived", scopes="project")[0].archived is not None
        assert memories.sweep().archived == () == memories.sweep("2027-01-01").archived
        assert "unused" not in [entry.title for entry in memories.recall("ferries")]
        back = memories.restore("unused")
        assert (back.status, back.archived, back.uses) == ("active", None, 1)
        assert memories.sweep().archived == () and memories.restore("unused").status == "active"

    def test_what_is_archived_for_long_may_be_deleted(self, memories: InMode, clock: Clock) -> None:
        for number in range(3):
            memories.remember("fact", f"t{number}", "b")
            memories.remember("fact", f"t{number}", "b", scope="global")
        clock.pass_minutes(61 * DAY)
        assert len(memories.sweep(scope="project").archived) == 3
        clock.pass_minutes(180 * DAY)
        memories.revalidate("t0", "project")  # which does not put it off
        assert memories.purge_candidates() == ()
        clock.pass_minutes(1)
        found = memories.purge_candidates()
        assert [(each.scope, round(each.days)) for each in found] == [("project", 180)] * 3
        memories.restore("t1")
        assert len(memories.purge(found, dry_run=True).purged) == 3
        done = memories.purge(found)
        assert (_titles(done.purged), done.kept) == (["t0", "t2"], ("t1",))
        assert len(memories.list(status=None)) == 4 and memories.purge(found).purged == ()
        with pytest.raises(DataError, match="is not archived"):
            memories.purge("t1")
        with pytest.raises(MemoryNotFound):
            memories.purge("no such")
        assert len(memories.sweep(soft_days=1, now="2028-01-01").archived) == 4
        with pytest.raises(AmbiguousMemory):
            memories.purge(["t0", "t1"])
        assert _titles(memories.purge("t1", "global").purged) == ["t1"]

    def test_memories_are_kept_tidy_once_in_a_while(
        self, open_memories: OpenMemories, clock: Clock, project: Path
    ) -> None:
        hygiene = {"every": "1d", "step": 2, "purge": ["daily"], "revalidate": True}
        memories = open_memories(Project("p", project), scopes=SCOPES, tombstone_days=1)
        for number in range(5):
            memories.remember("fact", f"daily {number}", "b", category="daily")
        memories.remember("fact", "cites", "b", citations=["a.py"])
        memories.remember("fact", "gone", "b")
        memories.forget("gone")
        (project / "a.py").unlink()
        clock.pass_minutes(8 * DAY)
        # Only that is asked of it which begins nothing by itself: that is tried in tests/test_hygiene.py.
        tidy = open_memories(Project("p", project), scopes=SCOPES, hygiene=hygiene)
        status = {each.scope: each for each in tidy.run_hygiene()}
        assert status["project"].counts["archived"] == 5 and status["project"].counts["quarantined"] == 1
        assert status["global"].counts["archived"] == 0 and status["project"].failures == {}
        assert (status["project"].running, (status["project"].due - status["project"].ended).days) == (False, 1)
        assert sum(each.counts["expired"] for each in status.values()) >= 1
        assert [entry.status for entry in memories.list(status=None)].count("archived") == 5
        clock.pass_minutes(31 * DAY)
        assert tidy.run_hygiene("project")[0].counts["purged"] == 5
        assert [entry.title for entry in memories.list(status=None)] == ["cites"]
        assert tidy.hygiene_status("project")[0].counts["purged"] == 5
