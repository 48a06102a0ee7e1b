"""Two programs and one title: at each step of one operation another is done as a whole, and nothing is lost by it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint import LongTermMemory, Memory, open_memory
from charm_checkpoint.errors import CharmError, ConfigError
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.scope import SIDES


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's own folders out of it."""
    monkeypatch.setenv("CHARM_MEMORY_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("CHARM_STATE_DIR", str(tmp_path / "states"))


@pytest.fixture
def store() -> Iterator[Memory]:
    """Return a store."""
    with open_memory("memory://") as opened:
        yield opened


def wrote(memories: LongTermMemory, body: str, source: str) -> Flow[Any]:
    new = memories._checked("fact", "t", body, None, None, source, None, None, None)
    return memories._remember(memories.scope("project"), new)


DONE: dict[str, Callable[[LongTermMemory], Flow[Any]]] = {
    "remember": lambda memories: wrote(memories, "second", "manual"),
    "by itself": lambda memories: wrote(memories, "by itself", "auto"),
    "forget": lambda memories: memories._forget("t", None),
    "undo": lambda memories: memories._undo("t", None),
    "promote": lambda memories: memories._promote("t", "other", None, False),
    "sweep": lambda memories: memories._sweep("2100-01-01", None, None, False),
    "restore": lambda memories: memories._restore("t", None),
}

BEGIN: dict[str, Callable[[LongTermMemory], Any]] = {
    "there": lambda memories: None,
    "forgotten": lambda memories: memories.forget("t"),
    "archived": lambda memories: memories.sweep("2100-01-01"),
}


def stepped(flow: Flow[Any], at: int, then: Callable[[], object]) -> tuple[int, Any]:
    """Drive a flow as `steps.run` does, and do something else at a step; return how many there were, and the result."""
    count, sent, wrong = 0, None, None
    try:
        while True:
            if count == at:
                then()
            step = flow.send(sent) if wrong is None else flow.throw(wrong)
            count, sent, wrong = count + 1, None, None
            try:
                sent = step.work()
            except Exception as error:  # which goes on in the flow, as where a plan is run
                wrong = error
    except StopIteration as end:
        return count, end.value
    except CharmError as error:
        return count, error


def outcome(memories: LongTermMemory, name: str) -> Any:
    try:
        return steps.run(DONE[name](memories))
    except CharmError as error:
        return error


@pytest.mark.parametrize("begin", BEGIN)
def test_nothing_is_lost_where_two_change_one_memory(store: Memory, begin: str) -> None:
    for one, other in itertools.product(DONE, DONE):
        for at in itertools.count(1):
            name = f"{begin} {one} {other} {at}"
            memories = store.long_term(name, {"global": False, "other": ("others", name)})
            if at >= _raced(memories, begin, one, other, at):
                break


@pytest.mark.parametrize(("one", "other"), [("promote", "remember"), ("promote", "forget"), ("forget", "remember")])
def test_nothing_is_lost_between_folders(store: Memory, tmp_path: Path, one: str, other: str) -> None:
    for at in itertools.count(1):
        places = {"global": False, "project": tmp_path / f"{at}", "other": tmp_path / f"other-{at}"}
        with store.long_term("p", places) as memories:
            if at >= _raced(memories, "there", one, other, at):
                break


def _raced(memories: LongTermMemory, begin: str, one: str, other: str, at: int) -> int:
    """Do ``other`` at a step of ``one``, and see what came of it; return how many steps that has."""
    memories.remember("fact", "t", "first", source="auto")
    BEGIN[begin](memories)
    seen: list[Any] = []
    count, made = stepped(DONE[one](memories), at, lambda: seen.append(outcome(memories, other)))
    if seen:
        _check(memories, {one: made, other: seen[0]})
    return count


def _check(memories: LongTermMemory, made: dict[str, Any]) -> None:
    found = memories.list(status=None)
    kept = [*found, *memories.forgotten()]
    told = str({name: type(result).__name__ for name, result in made.items()})
    assert kept, f"it is lost: {told}"
    if not {"remember", "by itself", "undo"} & set(made):
        assert len(found) <= 1, f"it is there twice: {told}"
    done = {name: result for name, result in made.items() if not isinstance(result, CharmError)}
    if "remember" in done:  # whatever came after it, what a person wrote is there, or can be had again
        assert "second" in {entry.body for entry in kept} or "by itself" in done, told
    if set(done) == {"by itself", "forget"} and done["forget"] is not None:
        # Either it was forgotten with what was written, or nothing was written behind its back.
        assert not found, told


# ------------------------------------------------------------------------------------------------- owners are apart


def test_no_owner_sees_what_another_has(store: Memory) -> None:
    names = ["a", "A", " a", "a/b", "a.b", "a%2Eb", "a%00b", "a\0b", "\ud800", "%6Eotes", *sorted(SIDES)]
    owners = [("users",), *(("users", name) for name in names), *(("users", "notes", name) for name in names)]
    owners += [("users", "a", "b"), ("notes",), ("project",), ("project", "notes")]
    scopes = [store.long_term("notes", {"global": False, "user": owner, "project": False}) for owner in owners]
    for owner, memories in zip(owners, scopes, strict=True):
        memories.remember("fact", "mine", f"The secret of {owner!r}.", scope="user")
        memories.remember("fact", f"gone {owner!r}", "It was forgotten.", scope="user")
        memories.forget(f"gone {owner!r}")
    for owner, memories in zip(owners, scopes, strict=True):
        body = f"The secret of {owner!r}."
        assert [entry.body for entry in memories.recall("secret", limit=None, min_score=0)] == [body]
        assert [entry.body for entry in memories.list(status=None)] == [body]
        assert [entry.title for entry in memories.forgotten()] == [f"gone {owner!r}"]
    with pytest.raises(ConfigError, match="not 7"):
        store.long_term("p", {"user": ("users", 7)})


# ------------------------------------------------------------------------------------------------- what callers give


CALLS: dict[str, tuple[str, ...]] = {
    "remember": ("kind", "title", "body", "scope", "tags", "citations", "source", "importance", "category", "session"),
    "recall": ("query", "limit", "kinds", "scopes", "session", "since", "until", "min_score", "category"),
    "context": ("message", "kinds", "scopes", "min_score", "budget"),
    "list": ("scopes", "kinds", "status", "tag", "category", "session", "since", "until", "limit"),
    "read": ("title", "scope"),
    "forget": ("title", "scope"),
    "undo": ("title", "scope"),
    "promote": ("title", "to_scope", "from_scope"),
    "approve": ("title", "scope"),
    "review": ("scope",),
    "restore": ("title", "scope"),
    "sweep": ("now", "soft_days", "scope"),
    "purge_candidates": ("hard_days", "scope", "now"),
    "purge": ("memories", "scope"),
    "forgotten": ("scope",),
    "run_hygiene": ("scope",),
    "file_problems": ("scope",),
}
REST = {"kind": "fact", "title": "t", "body": "b", "query": "q", "message": "m", "to_scope": "other", "memories": "t"}
ODD: tuple[Any, ...] = (
    True,
    -1,
    1.5,
    float("nan"),
    10**400,
    b"t",
    bytearray(b"t"),
    object(),
    object,
    ["t", 1],
    1j,
    ...,
)


@pytest.mark.parametrize("method", CALLS)
def test_what_is_of_another_type_is_refused_in_words(store: Memory, method: str) -> None:
    memories = store.long_term("odd", {"global": False, "other": ("others",)})
    for name in CALLS[method]:
        for odd in ODD:
            given = {each: REST[each] for each in CALLS[method] if each in REST} | {name: odd}
            if method in ("read", "forget", "undo", "approve", "restore"):
                given = {"title": "t"} | given
            try:
                getattr(memories, method)(**given)
            except CharmError:
                continue
            except Exception as error:
                pytest.fail(f"{method}({name}={odd!r}): {type(error).__name__}: {error}")
            assert isinstance(odd, (int, float)), f"{method}({name}={odd!r}) was taken"


def test_one_citation_is_one(store: Memory, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "deploy.sh").write_text("docker compose up\n")
    memories = store.long_term(tmp_path / "project", {"global": False})
    entry = memories.remember("fact", "deploying", "With docker.", citations="deploy.sh")
    assert [cited.path for cited in entry.citations] == ["deploy.sh"]
