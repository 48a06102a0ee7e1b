"""What a SQLite file says of its threads as a whole: how much they hold, what is left of erased ones, and its room."""

from __future__ import annotations

import itertools
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import golden_stores
import pytest
from children.jobs import config, items, put
from sqlite_files import held, query

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import NewWrites, Query, Space, ThreadRow
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.sqlite import removing, room, steps
from charm_checkpoint.stores.sqlite.parts import Parts
from charm_checkpoint.stores.sqlite.steps import Sql
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, PlansInMode
from charm_checkpoint.testing.samples import chunk, new

LATER = 4_000_000_000


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


def row(backend: PlansInMode, thread: str = "t") -> ThreadRow:
    """Return a thread as it is listed."""
    [found] = [found for found in backend.threads(None, 100).items if found.thread == thread]
    return found


def true_size(backend: PlansInMode, thread: str = "t") -> int:
    return int(backend.usage(thread).payload_bytes)


def uncount(path: Path) -> None:
    """Make of a file one in which nothing was counted, as an earlier version's is."""
    query(path, "UPDATE thread SET size = NULL, checkpoints = NULL, head = NULL, counted = NULL")


# ---------------------------------------------------------------------------------- counting


def test_a_listing_reads_what_was_counted_and_no_checkpoint(backend: PlansInMode, path: Path) -> None:
    backend.put(new("a"))
    query(path, "UPDATE thread SET checkpoints = 77, size = 78, head = x'74797979'")
    found = row(backend)
    assert (found.checkpoints, found.size, found.head) == (77, 78, "yyy")


def test_a_program_of_an_earlier_version_is_noticed(backend: PlansInMode, path: Path) -> None:
    backend.put(new("a", chunks=[chunk("1")]))
    # What such a program does to the tables of a newer one that it had open before.
    for statement in (
        "INSERT INTO checkpoint (space, id, previous, tags, roots, body) VALUES (1, x'7462', 1, x'', x'', x'0102')",
        "UPDATE space SET head = (SELECT max(key) FROM checkpoint)",
        "UPDATE thread SET seq = seq + 1, note = x'01'",
    ):
        query(path, statement)
    found = row(backend)
    assert (found.checkpoints, found.size, found.head) == (2, None, "b")
    backend.put(new("c", "b", body=b"new"))
    found = row(backend)
    assert (found.checkpoints, found.size, found.head) == (3, true_size(backend), "c")


def test_a_thread_that_an_earlier_program_began(backend: PlansInMode, path: Path) -> None:
    query(path, "INSERT INTO thread (identity, tenant, kind, name) VALUES (x'01', x'', 0, x'74')")
    query(path, "INSERT INTO space (thread, ns) VALUES (1, x'')")
    query(path, "INSERT INTO write (space, id, number, body) VALUES (1, x'7461', 1, x'010203')")
    assert row(backend)._replace(touched_at=0) == ThreadRow("t")
    backend.compact(1)
    assert row(backend).size == 3


@pytest.mark.parametrize("change", ["put", "replace", "remove", "copy", "delete"])
def test_what_was_not_counted_is_counted_by_a_change(backend: PlansInMode, path: Path, change: str) -> None:
    backend.put(new("a", chunks=[chunk("1"), chunk("2")]))
    backend.put(new("b", "a"))
    uncount(path)
    assert (row(backend).checkpoints, row(backend).size, row(backend).head) == (2, None, "b")
    calls: dict[str, Callable[[], Any]] = {
        "put": lambda: backend.put(new("c", "b")),
        "replace": lambda: backend.put(new("a", body=b"another")),
        "remove": lambda: backend.remove("t", [("", "b")], None),
        "copy": lambda: backend.copy_thread("t", "u"),
        "delete": lambda: (backend.delete_thread("t"), backend.put(new("x"))),
    }
    calls[change]()
    thread = "u" if change == "copy" else "t"
    assert row(backend, thread).size == true_size(backend, thread)


def test_a_large_thread_is_counted_by_what_gives_room_back(
    backend: PlansInMode, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_SMALL", 3)
    for thread in "tuv":
        for number in range(4):
            backend.put(new(f"{number}", f"{number - 1}" if number else None, thread=thread))
    uncount(path)
    for thread in "tuv":
        backend.put(new("4", "3", thread=thread))
        assert (row(backend, thread).checkpoints, row(backend, thread).size) == (5, None)
    backend.compact(1)
    assert sorted(row(backend, thread).size is None for thread in "tuv") == [False, True, True]
    backend.compact(None)
    assert all(row(backend, thread).size == true_size(backend, thread) for thread in "tuv")


def test_a_file_of_an_earlier_version_is_migrated_at_once_and_counted_later(tmp_path: Path) -> None:
    url = golden_stores.opened("sqlite", tmp_path, "0.2.0")
    with open_memory(url) as memory:
        backend = memory.store.backend
        memory.setup()
        before = {found.thread: found for found in run(memory, partial(backend.threads, None, 100)).items}
        assert {found.size for found in before.values() if found.checkpoints} == {None}
        run(memory, partial(backend.compact, None), write=True)
        for found in run(memory, partial(backend.threads, None, 100)).items:
            assert found._replace(size=None) == before[found.thread]._replace(size=None)
            usage, listed = memory.usage(found.thread), run(memory, partial(backend.messages, found.thread))
            assert listed.body is not None or listed.batches or found.size == usage.payload_bytes


def run(memory: Memory, make: Callable[[], Plan[Any]], *, write: bool = False) -> Any:
    return memory.store.driver.run(make, write=write)


# ---------------------------------------------------------------------------------- removing


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
        erase = partial(run, memory, partial(memory.store.backend.erase_thread, "t", LATER), write=True)
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


# -------------------------------------------------------------------------------------- room


def texts(count: int) -> list[str]:
    """Return texts that do not compress."""
    return [os.urandom(500).hex() for _ in range(count)]


def without_spare_room(path: Path) -> None:
    """Make of a file one that cannot give back a part of its room."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA auto_vacuum = NONE")
        database.execute("VACUUM")


def test_room_is_given_back_bit_by_bit(backend: PlansInMode, memory: Memory, path: Path) -> None:
    saver = memory.get_langgraph_checkpointer()
    put(saver, config("kept"), {"items": items(50)})
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("CREATE TABLE others (data BLOB)")
        database.execute("INSERT INTO others VALUES (zeroblob(2000000))")
        database.execute("DROP TABLE others")
    before: Space = backend.space()
    assert before.free is not None and before.free > 1_500_000
    after: Space = backend.compact(100_000)
    assert after.free is not None and before.free - 200_000 < after.free < before.free
    while after.free:
        former, after = after, backend.compact(400_000)
        assert after.free < former.free
    assert backend.compact(400_000) == after == backend.space()
    assert after.taken == path.stat().st_size + path.with_name("charm.db-wal").stat().st_size
    assert path.with_name("charm.db-wal").stat().st_size == 0
    assert path.stat().st_size < 600_000 and held(saver, "kept") == items(50)


def test_a_file_that_cannot_give_back_a_part_is_made_anew(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_memory(f"sqlite:///{path}") as memory:
        saver = memory.get_langgraph_checkpointer()
        put(saver, config("kept"), {"items": items(50)})
        put(saver, config("gone"), {"items": texts(1000)})
    without_spare_room(path)
    with open_memory(f"sqlite:///{path}") as memory, caplog.at_level(logging.INFO, "charm_checkpoint"):
        saver, backend = memory.get_langgraph_checkpointer(), memory.store.backend
        memory.delete_thread("gone")
        full = run(memory, backend.space)
        assert full.free > 200_000
        assert run(memory, partial(backend.compact, 10_000_000), write=True).free == full.free
        assert not caplog.records
        left = run(memory, partial(backend.compact, None), write=True)
        assert [line for line in caplog.messages if "written anew as a whole" in line]
        assert left.free == 0 and left.taken < full.taken // 2
        assert query(path, "PRAGMA auto_vacuum") == [(room.INCREMENTAL,)]
        put(saver, config("kept"), {"items": items(60)})
        assert held(saver, "kept") == items(60)


def test_counts_of_a_damaged_thread_stand_in_nobodys_way(backend: PlansInMode, path: Path) -> None:
    for thread in "tu":
        backend.put(new("a", thread=thread, body=os.urandom(2000)))
    uncount(path)
    query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    [[size]] = query(path, "PRAGMA page_size")
    [[root]] = query(path, "SELECT rootpage FROM sqlite_master WHERE name = 'space'")
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    assert backend.compact(1_000_000).taken > 0


# ------------------------------------------------------------------------------------ erasing


def test_what_is_kept_is_kept_for_one_tenant(path: Path) -> None:
    url = f"sqlite:///{path}"
    with open_memory(url, tenant="a") as one, open_memory(url, tenant="b") as other:
        for memory in (one, other):
            memory.setup()
            run(memory, partial(memory.store.backend.put, new("a")), write=True)
        run(one, partial(one.store.backend.erase_thread, "t", 100), write=True)
        assert run(other, partial(other.store.backend.find, "t", "", None)).row.id == "a"
        assert run(other, partial(other.store.backend.forget_erased, LATER), write=True) == 0
        assert run(one, partial(one.store.backend.find, "t", "", None)).state.deletes == 1
        assert run(one, partial(one.store.backend.forget_erased, LATER), write=True) == 1


def test_each_file_has_a_key_of_its_own(tmp_path: Path) -> None:
    marks = []
    for name in ("a.db", "b.db"):
        with open_memory(f"sqlite:///{tmp_path}/{name}") as memory:
            run(memory, memory.store.backend.setup, write=True)
            run(memory, partial(memory.store.backend.erase_thread, "t", LATER), write=True)
        marks += query(tmp_path / name, "SELECT length(secret), mark FROM erasure, erased")
    assert [length for length, _ in marks] == [32, 32] and marks[0] != marks[1]


def test_a_damaged_thread_is_erased_and_the_others_go_on(
    backend: PlansInMode, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(60):
        backend.put(new(f"{number}", f"{number - 1}" if number else None, body=os.urandom(3000)))
    backend.put(new("a", thread="u"))
    query(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    [[size]] = query(path, "PRAGMA page_size")
    [[page]] = query(path, "SELECT pageno FROM dbstat WHERE name = 'checkpoint' AND pagetype = 'leaf' LIMIT 1") or [[0]]
    if not page:
        pytest.skip("this SQLite has no dbstat")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    with caplog.at_level(logging.WARNING, "charm_checkpoint"):
        assert backend.erase_thread("t", LATER).damaged == 1
    assert [line for line in caplog.messages if "erased, but part of it stays" in line]
    assert backend.find("t", "", None).row is None and backend.find("t", "", None).state.deletes == 1
    assert backend.put(new("x", "0", seen_deletes=0)).outcome == "deleted"
    assert backend.put(new("anew", seen_deletes=1)).outcome == "stored"
    assert backend.put(new("b", "a", thread="u")).outcome == "stored"
