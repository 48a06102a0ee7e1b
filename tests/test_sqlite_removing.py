"""Checkpoints that are removed from a SQLite file bit by bit, whatever others do meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from children.jobs import config, items, put
from sqlite_files import row, run, true_size

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import NewWrites, Query
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.sqlite import removing
from charm_checkpoint.stores.sqlite.parts import Parts
from charm_checkpoint.stores.sqlite.steps import Sql
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, PlansInMode
from charm_checkpoint.testing.samples import chunk, new


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "charm.db"


@pytest.fixture
def memory(path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{path}") as opened:
        yield opened


@pytest.fixture(params=list(CALL_MODES))
def backend(memory: Memory, request: pytest.FixtureRequest) -> Iterator[PlansInMode]:
    mode: CallMode = CALL_MODES[request.param]()
    memory.setup()
    yield PlansInMode(memory.store, mode)
    mode.close()


def between(plan: Plan[Any], when: Callable[[Sql, Sql | None], bool], work: Callable[[], object]) -> Plan[Any]:
    """Do something once while a plan goes on, before the first statement of which ``when`` says so."""
    operation, last, done = next(plan), None, False
    try:
        while True:
            if not done and when(operation, last):
                done = True
                work()
            last, operation = operation, plan.send((yield operation))
    except StopIteration as stop:
        assert done
        return stop.value


def begins(operation: Sql, last: Sql | None) -> bool:
    """Tell whether a plan is done with looking, and about to change something."""
    return not operation.outside


class Free:
    """Tells, of the moments at which a plan holds nothing, whether it is the one of a number."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, operation: Sql, last: Sql | None) -> bool:
        if last is not None and last.outside:
            self.left -= 1
        return self.left < 0


class Ended(BaseException):
    """The program ends here."""


def end() -> None:
    raise Ended


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS", "CHUNKS", "BLOCK"):
        monkeypatch.setattr(removing, name, 2)


def fill(backend: PlansInMode) -> None:
    for number in range(4):
        pieces = [chunk(f"{number} {n}") for n in range(3)]
        roots = b"".join(piece.address for piece in pieces)
        backend.put(new(f"{number}", f"{number - 1}" if number else None, chunks=pieces, roots=roots))


LOOKED = 4
"""The moment from which on what is in a thread is known, and its seq."""
MOMENTS = 12
"""Moments of such a removal, at least, at which others may write."""
OLD = chunk("0 0")
LATE: dict[str, Callable[[Any], Plan[Any]]] = {
    "one that takes up a chunk that is to go": lambda store: store.put(new("late", "3", chunks=[OLD])),
    "one in a new namespace": lambda store: store.put(new("late", ns="other", chunks=[OLD])),
    "one in the place of another": lambda store: store.put(new("3", "2", chunks=[OLD], on_conflict="allow")),
    "writes": lambda store: store.put_writes(NewWrites("t", "", "3", b"w", None)),
    "another removal": lambda store: store.remove("t", [("", "1")], None),
}


def reached(backend: PlansInMode) -> set[bytes]:
    """Return the chunks that the checkpoints of a thread name."""
    rows = [found.row for found in backend.page(Query("t"), None, 99).items]
    return {row.roots[at : at + 16] for row in rows for at in range(0, len(row.roots), 16)}


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("what", LATE)
def test_what_is_written_at_any_moment_of_a_removal_keeps_what_it_reaches(
    backend: PlansInMode, memory: Memory, what: str
) -> None:
    store = memory.store.backend
    for moment in range(MOMENTS):
        fill(backend)
        make = partial(store.remove, "t", [("", f"{n}") for n in range(3)], None)
        late = partial(run, memory, lambda: LATE[what](store), write=True)
        # The writer is free meanwhile: this write is to the same thread, by the same store.
        found = run(memory, lambda: between(make(), Free(moment), late), write=True)  # noqa: B023
        assert found.outcome == "stored" and found.state == backend.find("t", "", None).state
        assert set(backend.chunks("t", [chunk(f"{n} {k}").address for n in range(4) for k in range(3)])) == reached(
            backend
        )
        assert backend.usage("t").chunks == len(reached(backend))
        ids = [item.row.id for item in backend.page(Query("t", ns=""), None, 99).items]
        assert ids == [item.row.id for item in backend.page(Query("t"), None, 99).items if item.row.ns == ""]
        assert backend.find("t", "", None).row.id == ids[0] and not {"0", "1", "2"} & set(ids)
        assert row(backend).size == true_size(backend)
        backend.delete_thread("t")


@pytest.mark.usefixtures("small_steps")
def test_what_follows_a_checkpoint_that_goes_stops_a_removal(backend: PlansInMode, memory: Memory) -> None:
    # Before the seq is looked at it would be another one, and in the end no checkpoint is left that it could follow.
    for moment, (parent, outcome) in itertools.product(range(LOOKED, 8), (("2", "changed"), ("3", "stored"))):
        fill(backend)
        seq = backend.find("t", "", None).state.seq
        late = partial(memory.store.backend.put, new("late", parent))
        make = partial(memory.store.backend.remove, "t", [("", f"{n}") for n in range(3)], seq)
        work = partial(run, memory, late, write=True)
        found = run(memory, lambda: between(make(), Free(moment), work), write=True)  # noqa: B023
        assert found.outcome == outcome
        assert (backend.find("t", "", "2").row is None) == (outcome == "stored")
        backend.delete_thread("t")


@pytest.mark.usefixtures("small_steps")
def test_what_is_put_under_a_key_that_is_free_again_stays(backend: PlansInMode, memory: Memory) -> None:
    """Keys are given out anew: when the thread with the highest ones is deleted, a newcomer gets a lower one."""
    store = memory.store.backend
    for moment in range(8):  # then all of it is gone
        fill(backend)
        for number in range(3):
            backend.put(new(f"{number}", f"{number - 1}" if number else None, thread="u"))

        def late() -> None:
            run(memory, partial(store.delete_thread, "u"), write=True)
            run(memory, partial(store.put, new("late", "3")), write=True)

        make = partial(store.remove, "t", [("", f"{n}") for n in range(4)], None)
        run(memory, lambda: between(make(), Free(moment), late), write=True)  # noqa: B023
        assert [item.row.id for item in backend.page(Query("t"), None, 9).items] == ["late"]
        assert backend.find("t", "", None).row.id == "late"
        backend.delete_thread("t")


def consume(parts: Iterator[None]) -> None:
    """Go on to the end."""
    for _ in parts:
        pass


def in_parts(memory: Memory, make: Callable[[], Plan[Any]]) -> Iterator[None]:
    """Run a plan as its driver does, with a stop wherever it holds nothing."""
    parts = Parts(make)
    while not parts.ended:
        memory.store.driver._run(parts, True)  # type: ignore[attr-defined]
        yield


@pytest.mark.usefixtures("small_steps")
def test_chunks_that_another_removal_took_are_not_taken_once_more(backend: PlansInMode, memory: Memory) -> None:
    """By then their keys are those of others, which were put meanwhile."""
    store = memory.store.backend
    others = [chunk(f"late {n}") for n in range(4)]
    roots = b"".join(one.address for one in others)
    for moment in range(MOMENTS):
        backend.put(new("0", chunks=[chunk("kept")], roots=chunk("kept").address))
        backend.put(new("1", "0", chunks=[chunk(f"{n}") for n in range(6)]))
        one = in_parts(memory, partial(store.remove, "t", [("", "1")], None))
        while backend.usage("t").checkpoints > 1:
            next(one)
        another = in_parts(memory, partial(store.remove, "t", [], None))
        consume(islice(another, moment))
        consume(one)
        backend.put(new("2", "0", chunks=others, roots=roots))
        consume(another)
        assert set(backend.chunks("t", [each.address for each in others])) == {each.address for each in others}
        assert row(backend).size == true_size(backend)
        backend.delete_thread("t")


def test_a_change_before_a_removal_is_told(backend: PlansInMode, memory: Memory) -> None:
    fill(backend)
    seq = backend.find("t", "", None).state.seq
    assert backend.put(new("late", "3")).outcome == "stored"
    assert backend.remove("t", [("", "0")], seq).outcome == "changed"
    assert backend.find("t", "", "0").row is not None


@pytest.mark.usefixtures("small_steps")
def test_a_thread_that_is_erased_while_it_is_swept(backend: PlansInMode, memory: Memory) -> None:
    for moment in range(MOMENTS):
        fill(backend)
        make = partial(memory.store.backend.remove, "t", [("", f"{n}") for n in range(3)], None)
        erase = partial(run, memory, partial(memory.store.backend.erase_thread, "t", 4_000_000_000), write=True)
        run(memory, lambda: between(make(), Free(moment), erase), write=True)  # noqa: B023
        assert backend.usage(None).chunks == 0 and backend.usage(None).checkpoints == 0


@pytest.mark.usefixtures("small_steps")
def test_what_an_ended_removal_left_goes_with_the_next(backend: PlansInMode, memory: Memory) -> None:
    for moment in range(MOMENTS):
        fill(backend)
        make = partial(memory.store.backend.remove, "t", [("", f"{n}") for n in range(3)], None)
        with pytest.raises(Ended):
            run(memory, lambda: between(make(), Free(moment), end), write=True)  # noqa: B023
        line = [item.row.id for item in backend.page(Query("t", ns=""), None, 9).items]
        assert line == ["3", "2", "1", "0"][: len(line)] and row(backend).size == true_size(backend)
        backend.remove("t", [("", f"{n}") for n in range(3)], None)
        assert backend.usage("t").chunks == 3 and row(backend).size == true_size(backend)
        backend.delete_thread("t")


@pytest.mark.usefixtures("small_steps")
def test_a_removal_is_done_even_if_others_keep_sweeping(
    backend: PlansInMode, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removing, "ATTEMPTS", 3)
    fill(backend)
    looks: list[Sql] = []

    def hindered(plan: Plan[Any]) -> Plan[Any]:
        operation = next(plan)
        try:
            while True:
                if "FROM chunk WHERE thread" in operation.text and operation.outside:
                    looks.append(operation)
                    assert len(looks) < 9
                    run(memory, partial(memory.store.backend.remove, "t", [("", "unknown")], None), write=True)
                operation = plan.send((yield operation))
        except StopIteration as stop:
            return stop.value

    found = run(memory, lambda: hindered(memory.store.backend.remove("t", [("", "0")], None)), write=True)
    assert len(looks) == 3 and found.outcome == "stored" and found.state == backend.find("t", "", None).state
    assert backend.find("t", "", "0").row is None
    backend.remove("t", [], None)
    assert backend.usage("t").chunks == 9 and row(backend).size == true_size(backend)


def test_a_removal_is_on_the_disk_when_it_is_done_and_so_is_what_is_put_next(path: Path) -> None:
    with open_memory(f"sqlite:///{path}") as memory:
        saver, seen = memory.get_langgraph_checkpointer(), []
        for number in range(8):
            put(saver, config("t"), {"items": items(50 + number)})
        memory.store.run(lambda: watching(seen), write=True)
        memory.sweep({"keep_last": 1})
        memory.store.run(lambda: watching(seen), write=True)
        assert seen == [2, 2]  # FULL


def watching(seen: list[int]) -> Plan[None]:
    yield Sql("SELECT 1")
    [[level]] = yield Sql("PRAGMA synchronous")
    seen.append(level)
