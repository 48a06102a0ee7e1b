"""Revalidation beyond what the suite shows of every store: what it costs, races, and at what age memories go."""

from __future__ import annotations

import logging
import random
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from workers import scaled

from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError, ReadOnlyStore
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term import citations, file_hashes, hash_shelf, revalidation
from charm_checkpoint.long_term.ages import Age, Ages, ages_of_environment, is_purgeable, is_stale
from charm_checkpoint.long_term.citations import Check
from charm_checkpoint.long_term.file_hashes import FileHashes
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.project import Project
from charm_checkpoint.long_term.records import Citation, new_value
from charm_checkpoint.long_term.revalidation import DRIFT, STAMPED_EVERY, is_drift, wanted
from charm_checkpoint.long_term.scope import Scope

DAY = 86_400_000_000
SCOPES = {"global": ("everybody",), "shared": False}
FILES = 60


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> FileHashes:
    """Return what this process knows of files: nothing yet."""
    return fresh(monkeypatch)


def fresh(monkeypatch: pytest.MonkeyPatch) -> FileHashes:
    """Have a process begin that knows nothing of files, which were all written a while ago."""
    monkeypatch.setattr(file_hashes, "RACY_NS", -(10**15))
    made = FileHashes()
    for function in (citations.Files.__init__, hash_shelf.HashShelf.__init__):
        monkeypatch.setattr(function, "__defaults__", (made,))
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project of some files in several folders."""
    for number in range(FILES):
        folder = tmp_path / "project" / f"d{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}.py").write_text(f"line\nfile {number}\n")
    return tmp_path / "project"


@pytest.fixture
def memories(tmp_path: Path, project: Path) -> Iterator[LongTermMemory]:
    """Return memories of which each cites three files, or lines of them."""
    with open_memory(f"sqlite:///{tmp_path}/charm.db") as memory:
        made = memory.long_term(Project("p", project), SCOPES)
        for number in range(FILES):
            each = [f"d{one % 7}/f{one}.py" for one in (number, (number + 1) % FILES)]
            made.remember("fact", f"t{number}", "b", citations=[*each, f"{each[0]}:2"])
        yield made


# ------------------------------------------------------------------------------------------------------ what it costs


def test_files_that_were_not_changed_are_not_read_again(
    memories: LongTermMemory, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = fresh(monkeypatch)
    assert len(memories.revalidate().clean) == FILES
    assert FILES <= hashes.reads <= 2 * FILES
    before = hashes.reads
    assert len(memories.revalidate().clean) == FILES and hashes.reads == before
    other = fresh(monkeypatch)  # another program, which has what this one left
    assert len(memories.revalidate().clean) == FILES and other.reads == 0
    (project / "d3" / "f3.py").write_text("line\nchanged\n")
    found = memories.revalidate()
    assert sorted(each.title for each in found.quarantined) == ["t2", "t3"]
    assert 1 <= other.reads <= 2
    (project / "d3" / "f3.py").write_text("line\nfile 3\n")
    third = fresh(monkeypatch)
    assert sorted(each.title for each in memories.revalidate().recovered) == ["t2", "t3"]
    assert 1 <= third.reads <= 2


def test_what_is_kept_of_files_may_be_gone_or_damaged(
    memories: LongTermMemory, hashes: FileHashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories.revalidate()
    scope = memories.scopes["project"]
    kept = list(scope.store.items(scope.side("hashes")))
    assert kept
    for item in kept:
        scope.store.put(item.namespace, item.key, {"files": "nonsense"} if len(item.key) % 2 else {}, False)
    other = fresh(monkeypatch)
    assert memories.revalidate().ok and other.reads >= FILES


def test_nothing_is_written_of_what_goes_on_to_hold(memories: LongTermMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[str] = []
    plain = Scope.change

    def counted(self: Scope, title: str, change: Any) -> Flow[Any]:
        changes.append(title)
        return (yield from plain(self, title, change))

    monkeypatch.setattr(Scope, "change", counted)
    memories.revalidate()
    assert changes == []  # they were stamped when they were remembered
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + STAMPED_EVERY)
    memories.revalidate()
    memories.revalidate()
    assert sorted(changes) == sorted(f"t{number}" for number in range(FILES))


# -------------------------------------------------------------------------------------------------------------- races


@pytest.mark.parametrize("kind", ["edit", "cite", "forget", "archive"])
def test_what_is_changed_meanwhile_is_not_overwritten(
    memories: LongTermMemory, project: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (project / "d1" / "f1.py").write_text("changed")
    plain, done = Scope.change, []

    def meanwhile(self: Scope, title: str, change: Any) -> Flow[Any]:
        if title == "t1" and not done:
            done.append(title)
            if kind == "edit":
                memories.remember("fact", "t1", "new body", citations=memories.read("t1").citations)  # type: ignore[union-attr]
            elif kind == "cite":
                memories.remember("fact", "t1", "new body", citations=["d1/f1.py"])
            elif kind == "forget":
                memories.forget("t1")
            else:
                memories.sweep(soft_days=1, now="2100-01-01")
        return (yield from plain(self, title, change))

    monkeypatch.setattr(Scope, "change", meanwhile)
    found = memories.revalidate()
    after = memories.read("t1")
    told = {each.title for each in found.quarantined}
    if kind == "edit":
        assert after and (after.status, after.body) == ("quarantined", "new body") and "t1" in told
    elif kind == "cite":
        assert after and (after.status, after.body) == ("active", "new body") and "t1" not in told
    elif kind == "forget":
        assert after is None and "t1" not in told
    else:
        assert after and after.status == "archived" and "t1" not in told


def test_whatever_happens_at_once_what_is_told_in_the_end_is_true(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    (tmp_path / "src").mkdir()
    paths = [tmp_path / "src" / f"{number}.py" for number in range(3)]
    for path in paths:
        path.write_text("as it was")
    with open_memory(f"sqlite:///{tmp_path}/charm.db") as memory:
        memories = memory.long_term(Project("p", tmp_path), SCOPES)
        for number in range(6):
            memories.remember("fact", f"t{number}", "0", citations=[f"src/{number % 3}.py"])
        edits = dict.fromkeys((f"t{number}" for number in range(6)), 0)
        failed: list[BaseException] = []

        def play(worker: int) -> None:
            dice = random.Random(f"{seed} {worker}")
            title = f"t{worker}"
            try:
                for _ in range(scaled(25)):
                    what = dice.choice(("file", "file", "revalidate", "edit", "recall", "restore"))
                    if what == "file":
                        dice.choice(paths).write_text(dice.choice(("as it was", "changed", "other")))
                    elif what == "revalidate":
                        assert not memories.revalidate().broken
                    elif what == "edit":
                        edits[title] += 1
                        cites = memories.read(title).citations  # type: ignore[union-attr]
                        memories.remember("fact", title, str(edits[title]), citations=cites)
                    elif what == "recall":
                        memories.recall(None)
                    else:
                        memories.restore(title)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=play, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, (seed, failed)
        memories.revalidate()
        for title, count in edits.items():
            entry = memories.read(title)
            assert entry
            holds = paths[int(title[1]) % 3].read_text() == "as it was"
            assert (entry.body, entry.status) == (str(count), "active" if holds else "quarantined"), (seed, entry)


def test_a_store_that_cannot_be_written_shows_nothing_that_drifted(
    memories: LongTermMemory, project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(self: Scope, title: str, change: Any) -> Flow[Any]:
        yield from ()
        raise ReadOnlyStore

    [entry] = memories.recall("t1", limit=1)
    (project / "d1" / "f1.py").write_text("changed")
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "charm_checkpoint"):
        patch.setattr(Scope, "change", refused)
        assert [each.title for each in memories.recall("t1", count_use=False)] == []
        assert "their status could not be" in caplog.text
        assert memories.read(entry.title, count_use=False).status == "active"  # type: ignore[union-attr]
    assert memories.recall("t1") == [] and memories.read("t1").status == "quarantined"  # type: ignore[union-attr]
    (project / "d1" / "f1.py").write_text("line\nfile 1\n")
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "charm_checkpoint"):
        patch.setattr(Scope, "change", refused)
        assert memories.recall("t1", count_use=False) == [] and "their status could not be" in caplog.text
    assert [each.title for each in memories.recall("t1")] == ["t1"]


def test_without_the_projects_folder_nothing_is_quarantined(tmp_path: Path, memories: LongTermMemory) -> None:
    with open_memory(f"sqlite:///{tmp_path}/charm.db") as memory:
        for elsewhere in (Project("p"), Project("p", tmp_path / "moved")):
            other = memory.long_term(elsewhere, SCOPES)
            found = other.revalidate()
            assert len(found.unchecked) == FILES and found.ok
            assert other.recall("t1", limit=1)


@pytest.mark.skipif(sys.platform == "win32", reason="links as POSIX has them")
def test_what_others_cite_is_read_only_within_the_project(memories: LongTermMemory, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("of somebody else\n")
    (tmp_path / "project" / "link").symlink_to(secret)
    scope = memories.scopes["project"]
    [sha] = file_hashes.FileHashes().of(str(secret), [(None, None)]).values()
    for path in ("../secret.txt", "link", str(secret), "d1/../../secret.txt"):
        cites = [{"path": path, "sha": sha}]
        value = {**new_value("hostile", "fact", "b", "shared", clock.now()), "citations": cites}
        scope.store.put(scope.notes, "hostile", value)
        assert [each.title for each in memories.revalidate("hostile").quarantined] == ["hostile"], path


def test_memories_of_no_project_cite_by_absolute_paths(memories: LongTermMemory, project: Path) -> None:
    # As another program wrote them: none of ours does.
    path = project / "d1" / "f1.py"
    [sha] = file_hashes.FileHashes().of(str(path), [(None, None)]).values()
    scope = memories.scopes["global"]
    value = new_value("theirs", "fact", "b", "auto", clock.now())
    scope.store.put(scope.notes, "theirs", {**value, "citations": [{"path": str(path), "sha": sha}]})
    scope.store.put(scope.notes, "odd", {**value, "title": "odd", "citations": [{"path": "d1/f1.py", "sha": sha}]})
    found = memories.revalidate(scope="global")
    assert [each.title for each in found.clean] == ["theirs"] and [each.title for each in found.unchecked] == ["odd"]
    path.write_text("changed")
    assert memories.revalidate(scope="global").quarantined[0].title == "theirs"
    assert memories.remember("fact", "theirs", "mine now", scope="global").citations[0].sha != sha
    assert memories.revalidate("theirs", "global").clean


# --------------------------------------------------------------------------------------------------- what becomes of it


def test_memories_in_files_are_kept_true_and_grow_old(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"global": str(tmp_path / "global")}
    monkeypatch.setenv("CHARM_STATE_DIR", str(tmp_path / "state"))
    with open_memory("memory://") as memory:
        memories = memory.long_term(Project("p", project), places)
        for scope in ("shared", "global"):
            memories.remember("fact", "old", "b", scope=scope)
        memories.remember("fact", "cites", "b", scope="shared", citations=["d1/f1.py"])
        folder = project / ".charm-shared" / "memory"
        files = {path.name: path.read_text() for path in folder.glob("*.md")}
        assert len(files) == 2
        (project / "d1" / "f1.py").write_text("changed")
        assert [each.title for each in memories.revalidate().quarantined] == ["cites"]
        now = clock.now()
        monkeypatch.setattr(clock, "now", lambda: now + 61 * DAY)
        assert [(each.title, each.scope) for each in memories.sweep(soft_days=60).archived] == [
            ("cites", "shared"), ("old", "shared"), ("old", "global")
        ]  # fmt: skip
        assert {path.name: path.read_text() for path in folder.glob("*.md")} == files  # that is each one's own affair
        assert "status: archived" in next((tmp_path / "global").glob("old*.md")).read_text()
        monkeypatch.setattr(clock, "now", lambda: now + 400 * DAY)
        tidy = memory.long_term(Project("p", project), places, hygiene={"purge": True})
        counts = {each.scope: each.counts.get("purged", 0) for each in tidy.run_hygiene()}
        assert counts == {"project": 0, "shared": 0, "global": 1}
        assert {each.title for each in memories.purge_candidates()} == {"cites", "old"}
        assert {path.name: path.read_text() for path in folder.glob("*.md")} == files
        assert len(memories.purge(memories.purge_candidates()).purged) == 2 and list(folder.glob("*.md")) == []


def titles(found: Sequence[Any]) -> list[str]:
    return sorted(each.title for each in found)


def test_what_others_have_put_aside_stays_there(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one")
    with open_memory(f"sqlite:///{tmp_path}/charm.db") as memory:
        memories = memory.long_term(Project("p", tmp_path), SCOPES)
        scope = memories.scopes["project"]
        for title in ("by hand", "no word", "archived", "damaged"):
            memories.remember("fact", title, "b", citations=["a.py"])

        def put(title: str, **values: object) -> None:
            item = scope.store.get(scope.notes, title)
            assert item
            scope.store.put(scope.notes, title, {**item.value, **values})

        put("by hand", status="quarantined", reason="I doubt it.")
        put("no word", status="quarantined", reason=None)
        put("archived", status="archived", archived=5)
        put("damaged", citations="a.py")
        before = {entry.title: entry for entry in memories.list(status=("quarantined", "archived"))}
        for text in ("one", "other", "one"):
            (tmp_path / "a.py").write_text(text)
            found = memories.revalidate()
            assert (titles(found.held), titles(found.broken)) == (["by hand", "no word"], ["damaged"])
            assert memories.revalidate("archived").archived[0].status == "archived"
        assert {entry.title: entry for entry in memories.list(status=("quarantined", "archived"))} == before
        assert memories.restore("by hand").status == "active"


def test_what_becomes_of_a_memory() -> None:
    dice = random.Random(5)
    cited = Citation("a.py", "0" * 64)
    for _ in range(2000):
        status = dice.choice(("active", "quarantined", "archived"))
        reason = dice.choice((None, f"{DRIFT}a.py was changed", "by hand", "held: looks odd"))
        holds = [dice.choice((True, True, False, None)) for _ in range(dice.randrange(4))]
        value = {**new_value("t", "fact", "b", "manual", 5), "status": status, "reason": reason}
        checks = [Check(cited, each, "" if each else "was changed") for each in holds]
        made = {**value, **wanted(value, checks, 10**15)}
        ours = status == "active" or (status == "quarantined" and is_drift(reason))
        if False in holds and ours:
            assert made["status"] == "quarantined" and is_drift(made["reason"])
        elif None not in holds and status == "quarantined" and is_drift(reason):
            assert (made["status"], made["reason"]) == ("active", None)
        else:
            assert (made["status"], made["reason"]) == (status, reason)
        assert wanted(made, checks, 10**15) == {}  # it is settled


def test_a_long_reason_is_cut() -> None:
    checks = [Check(Citation(f"f{number}"), False, "is gone") for number in range(9)]
    value = new_value("t", "fact", "b", "manual", 5)
    assert wanted(value, checks, 6)["reason"] == (
        "citations: f0 is gone, f1 is gone, f2 is gone, f3 is gone, f4 is gone and 4 more"
    )


# --------------------------------------------------------------------------------------------------------------- ages


def test_the_environment_says_when(caplog: pytest.LogCaptureFixture) -> None:
    assert ages_of_environment({}).default == Age(60, 180)
    env = {"CANTRIP_MEMORY_SOFT_EXPIRY_DAYS": "30", "CANTRIP_MEMORY_HARD_EXPIRY_DAYS": " 90 "}
    assert ages_of_environment(env).default == Age(30, 90)
    assert ages_of_environment({**env, "CHARM_MEMORY_SOFT_EXPIRY_DAYS": "7"}).default == Age(7, 90)
    assert not caplog.records
    for wrong in ("soon", "0", "-1", "nan", "inf", "1e9"):
        with caplog.at_level(logging.WARNING, "charm_checkpoint"):
            caplog.clear()
            assert ages_of_environment({"CANTRIP_MEMORY_SOFT_EXPIRY_DAYS": wrong}).default == Age(60, 180)
            assert "CANTRIP_MEMORY_SOFT_EXPIRY_DAYS is no number of days above 0" in caplog.text


def test_memories_go_by_it(memories: LongTermMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 8 * DAY)
    assert memories.sweep().archived == ()
    monkeypatch.setenv("CHARM_MEMORY_SOFT_EXPIRY_DAYS", "7")
    assert len(memories.sweep(dry_run=True).archived) == FILES
    assert memories.sweep(soft_days=9, dry_run=True).archived == ()


def test_kinds_and_categories_have_ages_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ages = Ages(Age(10, 20), {"rule": Age(None, None)}, {"daily": Age(1, 2), "core": Age(None, 5)})
    now = clock.now()

    def pass_days(days: int) -> None:
        monkeypatch.setattr(clock, "now", lambda: now + days * DAY + 1)

    with open_memory("memory://") as memory:
        memories = memory.long_term("p", {"global": False}, ages=ages)
        for kind, category in (("fact", None), ("rule", None), ("rule", "daily"), ("fact", "core"), ("fact", "x")):
            memories.remember(kind, f"{kind} {category}", "b", category=category)
        memories.remember("lesson", "dear", "b", importance=1)
        pass_days(3)
        assert titles(memories.sweep().archived) == ["rule daily"]
        pass_days(11)
        assert titles(memories.sweep(soft_days=12).archived) == []
        assert titles(memories.sweep().archived) == ["fact None", "fact x"]
        pass_days(14)
        assert titles(memories.purge_candidates()) == ["rule daily"]
        for wrong in (0, -1, True, "7", float("nan"), 10**9):
            with pytest.raises(ConfigError):
                memories.sweep(soft_days=wrong)  # type: ignore[arg-type]
            with pytest.raises(ConfigError):
                memories.purge_candidates(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"default": Age(0, 1)}, {"default": 7}, {"default": Age(True, 1)}, {"kinds": {"opinion": Age()}},
        {"kinds": [1]}, {"categories": {"x": {"archve": 1}}}, {"important": "much"}, {"default": Age(1, "x")},
    ],
)  # fmt: skip
def test_ages_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Ages(**wrong)


def test_what_is_stale_and_what_may_go() -> None:
    assert Ages(categories={"x": {"archive": 1}}).categories == {"x": Age(1, 180)}  # type: ignore[dict-item]
    dice = random.Random(9)
    ages, now = Ages(Age(10, 20)), 10**15
    for _ in range(2000):
        value = new_value("t", "fact", "b", "manual", now - dice.randrange(30) * DAY)
        times = {name: now - dice.randrange(30) * DAY for name in ("updated", "validated", "archived")}
        times["validated"] = dice.choice((None, times["validated"]))  # type: ignore[assignment]
        value.update(times, status=dice.choice(("active", "quarantined", "archived")))
        used = dice.choice((None, now - dice.randrange(30) * DAY))
        last = max(each for each in (value["created"], value["updated"], value["validated"], used) if each)
        assert is_stale(value, used, ages, now) == (value["status"] != "archived" and now - last > 10 * DAY)
        gone = value["status"] == "archived" and now - value["archived"] > 20 * DAY
        assert is_purgeable(value, ages, now) == gone
        assert not is_stale({**value, "tags": ["pinned"]}, used, ages, now)
        assert not is_purgeable({**value, "importance": 1.0}, ages, now)
    assert revalidation.is_drift(None) is False
