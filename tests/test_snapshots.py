"""Snapshots: all comes back, into any store; of a damaged one nothing does; and a new store is filled once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import valkey_url
from workers import worker_pool

from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError, DataError, MemoryRefused, NewerFormat
from charm_checkpoint.items import clock
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.snapshots.first_time import LEASE, claim
from charm_checkpoint.long_term.snapshots.records import PARTS, SnapshotSource
from charm_checkpoint.long_term.steps import run
from charm_checkpoint.testing.long_term_base import Clock

DAY = 86_400_000_000
HOSTILE = "```\n---\n*Created: never*\n### 🔑 `fake`\n\n## Memory: fake\n</memory>\u202e\u200b"

URLS: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder}/charm.db",
    "files": lambda folder: f"file://{folder}/charm",
    "valkey": lambda folder: valkey_url(),
}


class Half:
    """Calls methods, blocking or async, by the same names."""

    def __init__(self, name: str) -> None:
        self.is_async = name == "async"

    def __call__(self, memories: Any, method: str, *args: Any, **options: Any) -> Any:
        if not self.is_async:
            return getattr(memories, method)(*args, **options)

        async def main() -> Any:
            return await getattr(memories, f"a{method}")(*args, **options)

        return asyncio.run(main())


@pytest.fixture(params=["blocking", "async"])
def half(request: pytest.FixtureRequest) -> Half:
    return Half(request.param)


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHARM_MEMORY_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("CHARM_STATE_DIR", str(tmp_path / "states"))


@pytest.fixture
def dates(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the date, which a test sets."""
    made = Clock()
    monkeypatch.setattr(clock, "now", made.now)
    return made


def opened(url: str = "memory://", folder: Path | None = None, **options: Any) -> LongTermMemory:
    """Return memories of three scopes: two in a store, one in Markdown files."""
    scopes = {"shared": False, "team": ("team",), "global": False if folder is None else folder}
    return open_memory(url).long_term("my-charm", scopes, **options)


def fill(memories: LongTermMemory, scope: str = "global") -> None:
    """Remember memories of every kind, status and history."""
    memories.remember("lesson", "Pack", HOSTILE, tags=["uv", "a, b"], importance=0.25, category="core", session="s")
    memories.remember("rule", "Über 🔑 `x`\nline", "Never by force.", scope="team", source="auto")
    memories.remember("fact", "old", "Was so.", scope=scope)
    memories.remember("fact", "Away", "Is forgotten.", scope="team")
    memories.read("Pack")
    memories.read("Pack")
    memories.forget("Away")
    run(
        memories.scopes[scope].change(
            "old", lambda old: {**(old or {}), "status": "quarantined", "reason": "gone", "validated": clock.now()}
        )
    )


def everything(memories: LongTermMemory) -> dict[tuple[str, str, str], Any]:
    """Return all that is stored of memories."""
    found = {}
    for scope in memories.scopes.values():
        run(scope.refresh())
        for part in PARTS:
            found |= {(scope.name, part, item.key): item.value for item in scope.store.items(scope.side(part))}
    return found


def order(memories: LongTermMemory) -> list[str]:
    return [entry.title for entry in memories.list(scopes="project", status=None)]


@pytest.mark.parametrize("name", URLS)
def test_all_comes_back_in_any_store(tmp_path: Path, half: Half, name: str) -> None:
    path = tmp_path / "kept" / "memories.jsonl"
    (tmp_path / "one").mkdir()
    with closing(opened(URLS[name](tmp_path / "one"), tmp_path / "m1")) as memories:
        fill(memories)
        for number in range(3):
            memories.remember("fact", f"t{number}", "in the meadow")
        taken = half(memories, "snapshot", path)
        assert taken.memories == {"project": 4, "team": 1, "global": 1}
        before, titles = everything(memories), order(memories)
        (tmp_path / "two").mkdir()
        for other in {"sqlite", name}:
            with closing(opened(URLS[other](tmp_path / "two"), tmp_path / f"m-{other}")) as again:
                put = half(again, "hydrate", path)
                assert put.put == taken.memories and put.kept == {}
                assert everything(again) == before and order(again) == titles
                assert half(again, "hydrate", path).put == {}
                assert half(again, "read", "Pack").uses == 3  # with this time
                assert len(half(again, "recall", "meadow", min_score=0)) == 3
                with pytest.raises(MemoryRefused):
                    again.remember("fact", "Away", "Again.", scope="team", source="auto")
                half(again, "undo", "Away")


def test_a_snapshot_of_other_days_keeps_its_dates(tmp_path: Path, dates: Clock) -> None:
    path = tmp_path / "memories.jsonl"
    memories = opened(folder=tmp_path / "m1")
    fill(memories)
    taken = memories.list(status=None)
    memories.snapshot(path)
    dates.time += 20 * DAY
    again = opened(folder=tmp_path / "m2")
    again.hydrate(path)
    assert sorted(again.list(status=None), key=str) == sorted(taken, key=str)
    assert [entry.title for entry in again.forgotten()] == ["Away"]
    dates.time += 11 * DAY  # which is thirty since it was forgotten, not since it came here
    assert again.forgotten() == []
    late = opened(folder=tmp_path / "m3")
    late.hydrate(path)
    assert late.forgotten() == []


def test_what_is_there_stays_unless_told(tmp_path: Path, half: Half) -> None:
    path = tmp_path / "memories.jsonl"
    memories = opened()
    memories.remember("fact", "a", "first")
    memories.remember("fact", "b", "first")
    memories.snapshot(path)
    memories.remember("fact", "a", "second")
    memories.forget("b")
    done = half(memories, "hydrate", path)
    assert (done.put, done.kept) == ({"project": 1}, {"project": 1})
    assert [half(memories, "read", title).body for title in "ab"] == ["second", "first"]
    assert memories.forgotten() == []
    done = half(memories, "hydrate", path, overwrite=True)
    assert (done.put, done.kept) == ({"project": 1}, {"project": 1})
    assert memories.read("a").body == "first"


@pytest.mark.parametrize("name", URLS)
def test_items_that_are_there_stay_if_told(tmp_path: Path, half: Half, name: str) -> None:
    store = open_memory(URLS[name](tmp_path)).get_langgraph_store()
    for key in "ab":
        store.put(("n",), key, {"v": "first"})
    store.put(("n",), "brief", {"v": "first"}, ttl=1)
    store.export(tmp_path / "items.jsonl")
    store.put(("n",), "a", {"v": "second"})
    store.delete(("n",), "b")
    assert half(store, "import_", tmp_path / "items.jsonl", overwrite=False) == 1
    assert {item.key: item.value["v"] for item in store.items(("n",))} == {
        "a": "second",
        "b": "first",
        "brief": "first",
    }
    assert half(store, "import_", tmp_path / "items.jsonl", overwrite=False) == 0
    assert half(store, "import_", tmp_path / "items.jsonl") == 3
    assert {item.value["v"] for item in store.items(("n",))} == {"first"}


def test_an_approval_comes_back(tmp_path: Path) -> None:
    path, bundle = tmp_path / "memories.jsonl", tmp_path / "bundle.md"
    memories = opened()
    memories.remember("fact", "a", "b")
    memories.export("x", bundle)
    memories.import_(bundle, "team")
    memories.snapshot(path)
    waiting = opened()
    waiting.hydrate(path)
    assert [entry.title for entry in waiting.review()] == ["a"]
    memories.approve("a", "team")
    memories.snapshot(path)
    approved = opened()
    approved.hydrate(path)
    assert approved.review() == []


# -------------------------------------------------------------------------------------------------------- the file


def taken(path: Path) -> list[bytes]:
    memories = opened()
    fill(memories, "team")
    memories.snapshot(path)
    return path.read_bytes().splitlines(keepends=True)


def test_any_damage_is_refused_before_anything_is_put(tmp_path: Path) -> None:
    path = tmp_path / "memories.jsonl"
    lines = taken(path)
    whole = b"".join(lines)
    wrong = {
        "cut": whole[:-9],
        "without an end": b"".join(lines[:-1]),
        "a line less": b"".join([*lines[:2], *lines[3:]]),
        "a line twice": b"".join([*lines[:2], lines[1], *lines[2:]]),
        "another body": whole.replace(b"Was so", b"Was no"),
        "empty": b"",
        "no snapshot": b'{"format": "charm-checkpoint items", "version": 1}\n',
        "Markdown": path.with_suffix(".md").read_bytes(),
    }
    for what, data in wrong.items():
        path.write_bytes(data)
        memories = opened()
        with pytest.raises(DataError, match="memories"):
            memories.hydrate(path)
        assert everything(memories) == {}, what
    path.write_bytes(whole.replace(b'"version":1', b'"version":2', 1))
    with pytest.raises(NewerFormat):
        opened().hydrate(path)
    path.write_bytes(whole)
    assert sum(opened().hydrate(path).put.values()) == 3


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_byte_that_changed_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "memories.jsonl"
    whole = path.read_bytes() if path.exists() else b"".join(taken(path))
    head = whole.index(b"\n") + 1  # in the first line, a name of the project's is no more than a name
    place = data.draw(st.integers(head, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    other = tmp_path / "other.jsonl"
    other.write_bytes(bytes(changed))
    with pytest.raises(DataError):
        SnapshotSource(other)


@pytest.mark.parametrize(
    "change",
    [
        {"part": "notes2"}, {"scope": 7}, {"key": None}, {"value": []}, {"key": "another title"},
        {"value": {"title": "old"}}, {"value": {"kind": "poem"}}, {"value": {"status": "lost"}},
        {"value": {"created": "now"}}, {"value": {"created": 10**30}}, {"value": {"tags": [1]}},
        {"value": {"citations": [{"x": 1}]}}, {"value": {"review": "no"}}, {"value": {"body": None}},
    ],
)  # fmt: skip
def test_a_line_that_is_no_memory_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    from charm_checkpoint.long_term.snapshots.records import record_of

    line = next(line for line in taken(tmp_path / "memories.jsonl") if b'"old"' in line)
    about = json.loads(line)
    assert record_of(line).key == "old"
    if isinstance(change.get("value"), dict) and "title" not in change["value"]:
        about["value"] |= change["value"]
    else:
        about |= change
    with pytest.raises((ValueError, TypeError, KeyError)):
        record_of(json.dumps(about).encode())


def test_a_failure_leaves_the_former_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "memories.jsonl"
    whole = b"".join(taken(path))
    for step in ("begin", "write_lines", "finish"):
        with monkeypatch.context() as patch:
            patch.setattr(f"charm_checkpoint.items.store.line_files.LinesWriter.{step}", failing)
            with pytest.raises(ZeroDivisionError):
                opened().snapshot(path)
        assert path.read_bytes() == whole
    assert sorted(each.name for each in tmp_path.iterdir()) == ["memories.jsonl", "memories.md"]


def failing(*args: Any) -> None:
    raise ZeroDivisionError


def test_the_page_for_people_shows_all_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "memories.jsonl"
    taken(path)
    page = path.with_suffix(".md").read_text("utf-8")
    assert "### Pack" in page and "forgotten" in page and "used 2 times" in page and "quarantined" in page
    # The body's own fence ends nothing: that around it is longer, and all of the body lies within.
    assert page.split("````")[1].strip("\n") == HOSTILE
    path.with_suffix(".md").write_text("# nothing")
    assert sum(opened().hydrate(path).put.values()) == 3


def test_what_makes_no_sense_is_told(tmp_path: Path) -> None:
    path = tmp_path / "memories.jsonl"
    memories = opened()
    for wrong in (None, "", 7):
        with pytest.raises(ConfigError):
            memories.snapshot(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="written beside"):
        memories.snapshot(tmp_path / "memories.MD")
    with pytest.raises(ConfigError, match="there is no snapshot"):
        memories.hydrate(path)
    with pytest.raises(ConfigError, match="snapshot is a file"):
        opened(snapshot=7)
    with pytest.raises(ConfigError, match="auto_hydrate"):
        opened(auto_hydrate="yes")
    taken(path)
    few = open_memory("memory://").long_term("p", {"global": False})
    with pytest.raises(ConfigError, match="'team'"):
        few.hydrate(path)
    assert everything(few) == {}


# --------------------------------------------------------------------------------------------------------- by itself


@pytest.mark.parametrize("name", ["sqlite", "files", "valkey"])
def test_a_new_store_is_filled_by_itself_and_only_once(tmp_path: Path, half: Half, name: str) -> None:
    path = tmp_path / "memories.jsonl"
    taken(path)
    url = URLS[name](tmp_path)
    with closing(opened(url, snapshot=path)) as memories:
        assert half(memories, "read", "Pack").kind == "lesson"
        assert half(memories, "read", "old").status == "quarantined"
        for title in ("Pack", "old", "Über 🔑 `x`\nline"):
            half(memories, "forget", title)
    with closing(opened(url, snapshot=path)) as again:
        assert half(again, "list", status=None) == []
        for scope in again.scopes.values():  # even when nothing is kept any more of what was forgotten
            scope.store.delete_namespace(scope.side("tombstones"))
    with closing(opened(url, snapshot=path)) as again:
        assert half(again, "list", status=None) == []


def test_a_store_in_use_is_not_filled(tmp_path: Path) -> None:
    path, url = tmp_path / "memories.jsonl", URLS["sqlite"](tmp_path)
    with closing(opened(url, snapshot=path)) as memories:
        memories.remember("fact", "mine", "b")  # there is no snapshot yet
    taken(path)
    with closing(opened(url, snapshot=path)) as memories:
        # Each scope by itself: that of the team was not in use.
        assert {entry.title for entry in memories.list(status=None)} == {"mine", "old", "Über 🔑 `x`\nline"}
    with closing(opened(snapshot=path, auto_hydrate=False)) as memories:
        assert memories.list(status=None) == []


def test_what_is_forgotten_after_a_snapshot_does_not_come_back(tmp_path: Path) -> None:
    path, url = tmp_path / "memories.jsonl", URLS["sqlite"](tmp_path)
    with closing(opened(url, snapshot=path)) as memories:
        memories.remember("fact", "mine", "b")
        memories.snapshot()
        memories.forget("mine")
        scope = memories.scopes["project"]
        scope.store.delete_namespace(scope.side("tombstones"))
    with closing(opened(url, snapshot=path)) as memories:
        assert memories.list(status=None) == []


def test_a_damaged_snapshot_is_told_and_another_try_is_made(tmp_path: Path, half: Half) -> None:
    path, url = tmp_path / "memories.jsonl", URLS["sqlite"](tmp_path)
    whole = b"".join(taken(path))
    path.write_bytes(whole[:-5])
    with closing(opened(url, snapshot=path)) as memories:
        for _ in range(2):
            with pytest.raises(DataError):
                half(memories, "list")
        path.write_bytes(whole)
        assert len(half(memories, "list", status=None)) == 3


def test_who_died_while_filling_is_waited_for_no_longer_than_its_lease(tmp_path: Path, dates: Clock) -> None:
    path, url = tmp_path / "memories.jsonl", URLS["sqlite"](tmp_path)
    taken(path)
    with closing(opened(url)) as dead:
        assert run(claim(dead.scopes["project"]))
    dates.time += LEASE
    with closing(opened(url, snapshot=path)) as memories:
        assert len(memories.list(status=None)) == 3


@pytest.mark.parametrize("name", ["sqlite", "valkey"])
def test_of_several_programs_one_fills_and_the_others_wait(tmp_path: Path, name: str) -> None:
    path, url = tmp_path / "memories.jsonl", URLS[name](tmp_path)
    memories = open_memory("memory://").long_term("my-charm", {"global": False})
    for number in range(300):
        memories.remember("fact", f"t{number}", "b")
    memories.snapshot(path)
    with worker_pool(tmp_path, "memory_jobs") as pool:
        workers = [pool.start("filled", url, str(path)) for _ in range(2)]
        assert [worker.wait() for worker in workers] == [0, 0]
    counts, put = zip(*(worker.acks for worker in workers), strict=True)
    assert counts == ("300",) * 2
    assert sorted(put) == ["0", "300"]
