"""Pins, sizes and room, as records: `Backend.pin`, `ThreadRow.size`, `Backend.space` and `compact`."""

from __future__ import annotations

import random

import pytest

from charm_checkpoint.contract import Chunk, NewWrites, Query, Space, TellsThreads, ThreadRow
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.backend_erasing import LATER
from charm_checkpoint.testing.base import Suite, Take
from charm_checkpoint.testing.call_modes import CallMode, PlansInMode
from charm_checkpoint.testing.samples import TEXTS, chunk, new, new_messages
from charm_checkpoint.testing.thread_lists import listed

LEAF = chunk("leaf")


def row_of(backend: PlansInMode, thread: str = "t") -> ThreadRow:
    """Return a thread as it is listed."""
    return listed(backend)[thread]


class BackendPins(Suite):
    """Pins on threads' records."""

    def test_a_pin_stays_until_it_is_taken_off(self, backend: PlansInMode) -> None:
        backend.put(new("a"))
        backend.put(new("a", thread="u"))
        assert backend.pin("t", True) is True
        assert {name: row.pinned for name, row in listed(backend).items()} == {"t": True, "u": False}
        backend.put(new("b", "a"))
        backend.put_writes(NewWrites("t", "", "b", b"w", None))
        backend.put_messages(new_messages("list"))
        backend.remove("t", [("", "a")], None)
        assert row_of(backend).pinned
        for _ in range(2):
            assert backend.pin("t", True) is True
        assert backend.pin("t", False) is True
        assert not row_of(backend).pinned
        assert backend.pin("t", False) is True

    def test_another_opening_of_the_store_sees_it(self, backend: PlansInMode, second: Memory, mode: CallMode) -> None:
        there = PlansInMode(second.store, mode)
        backend.put(new("a"))
        for pinned in (True, False):
            backend.pin("t", pinned)
            assert row_of(there).pinned is pinned

    def test_a_pin_is_no_change(self, backend: PlansInMode) -> None:
        state = backend.put(new("a")).state
        row = row_of(backend)
        for pinned in (True, False):
            backend.pin("t", pinned)
            assert backend.find("t", "", None).state == state
            assert row_of(backend) == row._replace(pinned=pinned)
        assert backend.remove("t", [("", "a")], state.seq).outcome == "stored"

    def test_what_is_not_there_is_not_pinned(self, backend: PlansInMode) -> None:
        for thread in ("nobody", "gone", "erased"):
            if thread != "nobody":
                backend.put(new("a", thread=thread))
            if thread == "gone":
                backend.delete_thread(thread)
            if thread == "erased":
                backend.erase_thread(thread, LATER)
            assert backend.pin(thread, True) is False
            assert listed(backend) == {}
            backend.put(new("a", thread=thread))
            assert not row_of(backend, thread).pinned
            backend.erase_thread(thread, 0)

    def test_threads_of_writes_or_messages_only_can_be_pinned(self, backend: PlansInMode) -> None:
        backend.put_writes(NewWrites("early", "", "a", b"w", None))
        backend.put_messages(new_messages("hello", thread="said"))
        backend.append_messages("begun", b"batch")
        for thread in ("early", "said", "begun"):
            assert backend.pin(thread, True) is True
        assert [row.pinned for row in listed(backend).values()] == [True] * 3
        backend.put(new("a", thread="said"))
        assert row_of(backend, "said").pinned
        backend.pin("said", False)
        assert not row_of(backend, "said").pinned

    @pytest.mark.parametrize("how", ["delete", "erase"])
    def test_a_pinned_one_can_be_deleted_and_the_pin_goes(self, backend: PlansInMode, how: str) -> None:
        backend.put(new("a"))
        backend.put_messages(new_messages("list"))
        backend.pin("t", True)
        if how == "delete":
            backend.delete_thread("t")
            assert not row_of(backend).pinned  # its messages stay
        else:
            backend.erase_thread("t", LATER)
        backend.put(new("b"))
        assert not row_of(backend).pinned

    def test_the_pin_of_one_with_messages_only_goes_too(self, backend: PlansInMode) -> None:
        backend.put_messages(new_messages("list"))
        backend.pin("t", True)
        backend.delete_thread("t")
        assert not row_of(backend).pinned

    def test_a_copy_is_not_pinned(self, backend: PlansInMode) -> None:
        backend.put(new("a"))
        backend.pin("t", True)
        backend.copy_thread("t", "u")
        assert {name: row.pinned for name, row in listed(backend).items()} == {"t": True, "u": False}

    def test_threads_of_any_name_are_pinned(self, backend: PlansInMode, part_of: Take) -> None:
        texts = part_of(TEXTS)
        for name in texts:
            backend.put(new("a", thread=name))
            assert backend.pin(name, True) is True
        assert {row.thread for row in listed(backend).values() if row.pinned} == set(texts)


class BackendRows(Suite):
    """What is told of one thread is what a listing says."""

    def test_a_threads_own_row(self, backend: PlansInMode) -> None:
        if not isinstance(backend.backend, TellsThreads):
            pytest.skip("this store tells of a thread in listings only: it has no `thread_row`")
        assert backend.thread_row("nobody") is None
        backend.put(new("a", title=b"title", note=b"note"))
        backend.put(new("n", "x", ns="n"))
        backend.put_messages(new_messages("list"))
        backend.put_messages(new_messages("list", thread="said"))
        backend.append_messages("begun", b"batch")
        backend.put_writes(NewWrites("early", "", "a", b"w", None, b"waits"))
        for name in TEXTS[:20]:
            backend.put(new("a", thread=f"x{name}"))
        backend.pin("t", True)
        rows = listed(backend)
        assert {name: backend.thread_row(name) for name in rows} == rows
        backend.delete_thread("early")
        backend.erase_thread("t", LATER)
        assert backend.thread_row("early") is None and backend.thread_row("t") is None


class BackendSizes(Suite):
    """The size on a thread's record is always what it holds."""

    def test_sizes_of_checkpoints_writes_and_chunks(self, backend: PlansInMode) -> None:
        backend.put(new("a", body=b"123", chunks=[LEAF]))
        assert row_of(backend).size == 3 + 4
        backend.put_writes(NewWrites("t", "", "a", b"12345", None))
        backend.put_writes(NewWrites("t", "n", "early", b"1", None))
        assert row_of(backend).size == 3 + 4 + 6
        backend.put(new("b", "a", body=b"", chunks=[LEAF, chunk("another")]))
        assert row_of(backend).size == 3 + 4 + 6 + 7
        backend.put(new("b", "a", body=b"12", roots=b""))  # in its place
        assert row_of(backend).size == 3 + 4 + 6 + 7 + 2
        backend.copy_thread("t", "u")
        assert row_of(backend, "u").size == backend.usage("u").payload_bytes
        backend.remove("t", [("", "a"), ("", "x")], None)
        assert row_of(backend).size == backend.usage("t").payload_bytes == 2 + 1
        backend.delete_thread("u")
        backend.put(new("x", thread="u", body=b"1"))
        assert row_of(backend, "u").size == 1

    def test_messages_are_not_in_it(self, backend: PlansInMode) -> None:
        backend.put(new("a", body=b"123"))
        for thread in "tu":
            backend.put_messages(new_messages("list", LEAF, thread=thread))
            backend.append_messages(thread, b"batch")
        assert row_of(backend).size == 3
        assert row_of(backend, "u").size in (0, None)
        assert backend.usage("t").payload_bytes == 3 + 4 + 4 + 5

    def test_what_is_refused_changes_no_size(self, backend: PlansInMode) -> None:
        state = backend.put(new("a", body=b"123")).state
        backend.put(new("b", "elsewhere", body=b"large", chunks=[LEAF], on_conflict="raise"))
        backend.put(new("b", "a", body=b"large", chunks=[LEAF], base_sweeps=7))
        backend.put(new("b", "a", body=b"large", chunks=[LEAF], seen_deletes=7))
        backend.put_writes(NewWrites("t", "", "a", b"large", 7))
        backend.remove("t", [("", "a")], state.seq + 7)
        assert row_of(backend).size == 3

    def test_sizes_after_many_changes_at_random(self, backend: PlansInMode) -> None:
        for seed in range(2):
            rng = random.Random(seed)
            for step in range(40):
                change(backend, rng)
                if step % 8 == 7:
                    for name, row in listed(backend).items():
                        assert row.size == backend.usage(name).payload_bytes, (seed, step, name)


def change(backend: PlansInMode, rng: random.Random) -> None:
    """Make one change of any kind to one of a few threads."""
    thread, ns, id = rng.choice("tu"), rng.choice(["", "n"]), rng.choice("abcdef")
    kind = rng.choices(["put", "left out", "write", "remove", "copy", "delete", "erase"], [6, 4, 4, 3, 1, 0.4, 0.4])[0]
    pieces: list[Chunk] = [chunk("x" * rng.randrange(1, 9)) for _ in range(rng.randrange(3))]
    if kind == "put":
        backend.put(new(id, thread=thread, ns=ns, body=b"b" * rng.randrange(20), chunks=pieces, on_conflict="allow"))
    elif kind == "left out":
        state = backend.find(thread, ns, None).state
        held = backend.chunks(thread, [piece.address for piece in pieces])
        sent = [piece for piece in pieces if piece.address not in held]
        roots = b"".join(piece.address for piece in pieces)
        backend.put(
            new(id, thread=thread, ns=ns, chunks=sent, roots=roots, base_sweeps=state.sweeps, on_conflict="allow")
        )
    elif kind == "write":
        backend.put_writes(NewWrites(thread, ns, id, b"w" * rng.randrange(20), None))
    elif kind == "remove":
        doomed = [(item.row.ns, item.row.id) for item in backend.page(Query(thread), None, 50).items]
        backend.remove(thread, rng.sample(doomed, len(doomed) // 2), None)
    elif kind == "copy":
        backend.copy_thread(thread, "u" if thread == "t" else "t")
    elif kind == "delete":
        backend.delete_thread(thread)
    else:
        backend.erase_thread(thread, LATER)


class BackendRoom(Suite):
    """How much room a store takes, and giving it back."""

    def test_room_is_told_in_bytes(self, backend: PlansInMode) -> None:
        backend.put(new("a", chunks=[LEAF]))
        space: Space = backend.space()
        assert space.kind in ("disk", "memory")
        for size in (space.taken, space.free):
            assert size is None or (type(size) is int and size >= 0)

    def test_compacting_loses_nothing_and_can_be_repeated(self, backend: PlansInMode) -> None:
        for n in range(8):
            backend.put(new(f"c{n}", f"c{n - 1}" if n else None, chunks=[chunk(f"{n}" * 60_000)]))
        backend.put_messages(new_messages("list", LEAF))
        backend.remove("t", [("", f"c{n}") for n in range(7)], None)
        before: Space = backend.space()
        for _ in range(40):
            after: Space = backend.compact(100_000)
            if not after.free:
                break
        backend.compact(None)
        settled: Space = backend.space()
        if before.free is not None and after.taken is not None and before.taken is not None:
            assert not after.free and not settled.free
            assert after.taken <= before.taken - before.free // 2
        found = backend.find("t", "", None)
        assert (found.row.id, len(backend.chunks("t", [chunk("7" * 60_000).address]))) == ("c7", 1)
        assert bytes(backend.messages("t").body) == b"list"
