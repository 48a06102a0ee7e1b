"""Erasing whole threads, as records: `Backend.erase_thread` and `forget_erased`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from charm_checkpoint.contract import Chunk, NewMessages, NewWrites, Query, ThreadState, Usage, Waiting, tenant_of
from charm_checkpoint.memory import Memory
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES, identity, text_bytes
from charm_checkpoint.testing.base import Suite, Take
from charm_checkpoint.testing.call_modes import CallMode, InMode, PlansInMode
from charm_checkpoint.testing.samples import TEXTS, chunk, new, new_messages

LATER = 4_000_000_000
"""A second in the year 2096, beyond what 31 bits hold."""

Held: TypeAlias = Callable[[Iterable[bytes]], list[bytes]]
"""What tells which of some bytes, as they are or in digits, are anywhere in a store."""

LEAF, SHARED = chunk("leaf"), chunk("shared")
TOP = chunk("top", LEAF.address, SHARED.address)


def fill(backend: PlansInMode, thread: str = "t") -> ThreadState:
    """Store something of every kind in a thread; return its state."""
    backend.put(new("a", thread=thread, chunks=[LEAF, SHARED, TOP], roots=TOP.address, run="r", title=b"t", note=b"n"))
    backend.put(new("b", "a", thread=thread, tags=b"tags"))
    backend.put(new("n", thread=thread, ns="n"))
    backend.put_writes(NewWrites(thread, "early", "later", b"w", None, b"waits"))
    backend.put_messages(new_messages("list", LEAF, thread=thread))
    backend.append_messages(thread, b"batch")
    state: ThreadState = backend.put_writes(NewWrites(thread, "", "b", b"w", None)).state
    return state


def is_empty(backend: PlansInMode, thread: str = "t") -> bool:
    """Tell whether nothing of a thread is found in any way."""
    found = backend.messages(thread)
    return (
        not backend.page(Query(thread), None, 10).items
        and all(backend.find(thread, ns, id).row is None for ns in ("", "n") for id in (None, "a", "n"))
        and not backend.ancestors(thread, "", "b", 9)
        and not any(backend.chunks(thread, [LEAF.address, TOP.address], messages) for messages in (False, True))
        and thread not in [name for name, _, _ in backend.runs(["r"])]
        and thread not in [row.thread for row in backend.threads(None, 100).items]
        and (found.body, list(found.batches)) == (None, [])
        and backend.usage(thread) == Usage()
    )


def late(thread: str, seen: int | None) -> list[tuple[str, Any]]:
    """Return the calls of writers that know a former thread of the name, of which ``seen`` deletes were seen."""
    calls: list[tuple[str, Any]] = [
        ("put", new("c", "b", thread=thread, seen_deletes=seen)),
        ("put", new("c", "b", thread=thread, ns="n", seen_deletes=seen, on_conflict="allow")),
        ("put_writes", NewWrites(thread, "", "b", b"late", seen)),
        ("put_writes", NewWrites(thread, "elsewhere", "later", b"late", seen)),
    ]
    if seen is not None:
        calls.append(("put", new("first", thread=thread, seen_deletes=seen)))
    return calls


def all_refused(backend: PlansInMode, seen: int | None, thread: str = "t") -> bool:
    """Tell whether all late writers are told that the thread was deleted."""
    return {getattr(backend, name)(record).outcome for name, record in late(thread, seen)} == {"deleted"}


class BackendErasing(Suite):
    """Erasing a thread, its messages and its name."""

    def test_everything_goes_and_is_counted(self, backend: PlansInMode) -> None:
        fill(backend)
        fill(backend, "u")
        before, neighbour = backend.usage("t"), backend.usage("u")
        assert before.checkpoints == 3 and before.writes == 2 and before.chunks == 4
        assert backend.erase_thread("t", LATER) == before
        assert is_empty(backend)
        assert backend.usage("u") == neighbour == backend.usage(None)
        assert backend.erase_thread("t", LATER) == Usage()

    @pytest.mark.parametrize("knows", ["its deletes", "its parent"])
    def test_late_writers_do_not_bring_it_back(self, backend: PlansInMode, knows: str) -> None:
        state = fill(backend)
        seen = state.deletes if knows == "its deletes" else None
        backend.erase_thread("t", LATER)
        for _ in range(2):  # what was refused, and what was read in between, changes nothing
            assert all_refused(backend, seen)
            assert is_empty(backend)
        after = backend.find("t", "", None).state
        assert (after.deletes, after.sweeps > state.sweeps) == (state.deletes + 1, True)
        assert backend.put(new("x", seen_deletes=after.deletes)).outcome == "stored"
        assert all_refused(backend, seen)
        assert [item.row.id for item in backend.page(Query("t"), None, 10).items] == ["x"]

    def test_it_may_be_begun_anew_and_goes_on_from_its_counters(self, backend: PlansInMode) -> None:
        fill(backend)
        for n in range(1, 4):
            assert backend.erase_thread("t", LATER).threads == 1
            reply = backend.put(new("a", title=b"anew", on_conflict="raise"))
            assert (reply.outcome, reply.head, reply.state.deletes) == ("stored", None, n)
            assert backend.find("t", "", None).state == reply.state
            row = backend.threads(None, 10).items[0]
            assert (row.checkpoints, row.title, row.note, row.writes_note) == (1, b"anew", None, None)
        assert backend.delete_thread("t").deletes == 4
        assert backend.erase_thread("t", LATER) == Usage()
        assert backend.find("t", "", None).state.deletes == 5

    def test_one_begun_by_writes_or_a_copy_goes_on_too(self, backend: PlansInMode) -> None:
        for thread in "tuv":
            fill(backend, thread)
        state = backend.find("u", "", None).state
        for thread in "tu":
            backend.erase_thread(thread, LATER)
        assert backend.put_writes(NewWrites("t", "", "new", b"w", 1)).state.deletes == 1
        assert backend.copy_thread("v", "u").outcome == "stored"
        copied = backend.find("u", "", None)
        assert (copied.row.id, copied.state.deletes) == ("b", 1) and copied.state.sweeps > state.sweeps
        assert backend.erase_thread("v", LATER).checkpoints == 3
        assert backend.find("u", "", "b").row.id == "b"
        assert backend.copy_thread("v", "w").outcome == "stored" and is_empty(backend, "w")

    def test_one_that_was_never_there_or_was_deleted_is_treated_alike(self, backend: PlansInMode) -> None:
        assert backend.erase_thread("nobody", LATER) == Usage()
        assert all_refused(backend, 0, "nobody") and all_refused(backend, None, "nobody")
        fill(backend)
        backend.delete_thread("t")
        left = backend.erase_thread("t", LATER)  # its messages stayed
        assert (left.threads, left.checkpoints, left.chunks) == (1, 0, 1)
        assert is_empty(backend)
        for seen in (0, 1, None):
            assert all_refused(backend, seen)

    def test_what_knew_its_chunks_is_stale(self, backend: PlansInMode) -> None:
        state = fill(backend)
        backend.erase_thread("t", LATER)
        deletes = backend.find("t", "", None).state.deletes
        record = new("c", roots=TOP.address, base_sweeps=state.sweeps, seen_deletes=deletes)
        for _ in range(2):
            assert backend.put(record).outcome == "stale"
            backend.put(new("x", seen_deletes=deletes))

    def test_what_is_not_idle_or_pinned_is_left_if_that_is_asked(self, backend: PlansInMode) -> None:
        state, now = fill(backend), int(time.time())
        for thread in ("said", "u"):
            backend.append_messages(thread, b"batch")
        backend.put(new("a", thread="u"))
        before = backend.usage(None)
        for thread in ("t", "u", "said"):
            assert backend.erase_thread(thread, LATER, idle_since=now - 3600) == Usage()
        backend.pin("t", True)
        assert backend.erase_thread("t", LATER, idle_since=now + 60) == Usage()
        assert backend.usage(None) == before
        assert backend.find("t", "", None).state == state
        backend.pin("t", False)
        for thread, checkpoints in (("t", 3), ("u", 1), ("said", 0)):
            assert backend.erase_thread(thread, LATER, idle_since=now + 60).checkpoints == checkpoints
            assert is_empty(backend, thread)
        assert all_refused(backend, state.deletes)

    def test_message_lists_of_before_are_refused_and_a_new_one_begins(self, backend: PlansInMode) -> None:
        before = backend.put_messages(new_messages("list", LEAF)).state
        revision = backend.messages("t").revision
        assert backend.erase_thread("t", LATER).threads == 1
        for _ in range(2):
            assert backend.put_messages(new_messages("late", expect=revision)).outcome == "changed"
            late_list = new_messages("late", roots=LEAF.address, base_sweeps=before.sweeps)
            assert backend.put_messages(late_list).outcome == "stale"
            assert is_empty(backend)
        found = backend.messages("t")
        assert found.revision > revision
        assert backend.append_messages("t", b"anew") == Waiting(1, 4)
        assert backend.put_messages(new_messages("late", expect=revision)).outcome == "changed"
        assert backend.put_messages(new_messages("anew", expect=found.revision)).outcome == "stored"
        assert backend.erase_thread("t", LATER).payload_bytes == 4
        assert backend.messages("t").revision > found.revision

    def test_threads_of_any_name_are_erased(self, backend: PlansInMode, part_of: Take) -> None:
        texts = part_of(TEXTS)
        for name in texts:
            backend.put(new("a", thread=name))
        for name in texts:
            assert backend.erase_thread(name, LATER).checkpoints == 1
            assert backend.put(new("a", thread=name, seen_deletes=0)).outcome == "deleted"
        assert backend.usage(None) == Usage()
        assert backend.put(new("a", thread="other", seen_deletes=0)).outcome == "stored"

    def test_another_opening_of_the_store_knows(self, backend: PlansInMode, second: Memory, mode: CallMode) -> None:
        there = PlansInMode(second.store, mode)
        fill(backend)
        seen = there.find("t", "", None).state.deletes
        there.messages("t")
        backend.erase_thread("t", LATER)
        assert all_refused(there, seen) and all_refused(there, None) and is_empty(there)
        assert there.put(new("x", seen_deletes=seen + 1)).outcome == "stored"
        assert backend.find("t", "", None).row.id == "x"
        assert backend.forget_erased(LATER) in (0, 1)  # it is there again
        assert all_refused(there, seen)


class BackendForgetting(Suite):
    """How long erased threads are remembered."""

    def test_it_is_remembered_until_then(self, backend: PlansInMode) -> None:
        now = int(time.time())
        backend.put(new("a"))
        backend.put(new("a", thread="u"))
        backend.erase_thread("t", now + 100)
        backend.erase_thread("u", now + 200)
        assert backend.forget_erased(now + 99) == 0
        assert all_refused(backend, 0)
        assert backend.forget_erased(now + 100) == 1
        assert all_refused(backend, 0, "u")
        assert backend.find("t", "", None).state == ThreadState()
        assert backend.put(new("b", "a", seen_deletes=0)).outcome == "stored"  # nobody knows any more
        assert backend.forget_erased(now + 1000) == 1
        assert backend.forget_erased(LATER) == 0
        assert backend.find("u", "", None).state == ThreadState()
        assert backend.find("t", "", None).row.id == "b"

    def test_the_last_time_counts(self, backend: PlansInMode) -> None:
        now = int(time.time())
        for until in (now + 100, now + 300, now + 200):
            backend.erase_thread("t", until)
        assert backend.forget_erased(now + 199) == 0
        assert all_refused(backend, 0)
        assert backend.forget_erased(now + 200) == 1

    def test_nothing_stays_if_it_is_not_to_be_remembered(self, backend: PlansInMode) -> None:
        fill(backend)
        backend.delete_thread("t")
        assert backend.erase_thread("t", 0).threads == 1
        assert backend.find("t", "", None).state == ThreadState() == backend.messages("t").state
        assert backend.forget_erased(LATER) == 0
        backend.erase_thread("u", LATER)
        backend.erase_thread("u", 0)
        assert backend.forget_erased(LATER) == 0

    @pytest.mark.parametrize("begun", ["not begun", "begun anew"])
    @pytest.mark.parametrize("swept", [0, 1, 3])
    def test_no_reference_dangles_once_it_is_forgotten(self, backend: PlansInMode, swept: int, begun: str) -> None:
        backend.put(new("a", chunks=[LEAF, SHARED, TOP], roots=TOP.address))
        for n in range(swept):
            backend.put(new(f"x{n}", ns="n"))
            backend.remove("t", [("n", f"x{n}")], None)
        backend.put_messages(new_messages("list", LEAF))
        sweeps, listed = backend.find("t", "", None).state.sweeps, backend.messages("t").state.sweeps
        backend.erase_thread("t", LATER)
        backend.forget_erased(LATER)
        if begun == "begun anew":
            backend.put(new("x", chunks=[LEAF]))
            backend.put_messages(new_messages("anew"))
            for n in range(swept):
                backend.put(new(f"x{n}", ns="n"))
                backend.remove("t", [("n", f"x{n}")], None)
        late: Chunk = chunk("late", SHARED.address)
        for roots, chunks in ((TOP.address, []), (late.address, [late])):
            record = new("b", "a", chunks=chunks, roots=roots, base_sweeps=sweeps, on_conflict="allow")
            assert backend.put(record).outcome == "stale"
        listed_late = new_messages("late", roots=SHARED.address, base_sweeps=listed)
        assert backend.put_messages(listed_late).outcome == "stale"
        assert backend.put(new("c", chunks=[LEAF], on_conflict="allow")).outcome == "stored"

    def test_a_thread_that_lives_again_keeps_its_counters(self, backend: PlansInMode) -> None:
        fill(backend)
        backend.erase_thread("t", 100)
        backend.put(new("x"))
        backend.put_messages(new_messages("anew"))
        state, row = backend.find("t", "", None).state, backend.messages("t")
        backend.forget_erased(100)
        assert backend.find("t", "", None).state == state
        assert (backend.messages("t").revision, bytes(backend.messages("t").body)) == (row.revision, b"anew")
        assert all_refused(backend, 0)


class ErasedBytes(Suite):
    """What was erased is nowhere in the store's bytes."""

    @pytest.fixture
    def held(self, memory: Memory, raw_bytes: Callable[[], bytes]) -> Held:
        """Return what looks through all bytes of the store, once for all that is looked for."""

        def find(wanted: Iterable[bytes]) -> list[bytes]:
            data = raw_bytes()
            small = data.lower()
            return [each for each in wanted if each in data or each.hex().encode() in small]

        return find

    def test_names_and_contents_are_nowhere(
        self, memory: Memory, backend: PlansInMode, held: Held, mode: CallMode
    ) -> None:
        marks = {
            part: f"{part}-{uuid4().hex}"
            for part in ("thread", "ns", "id", "run", "title", "note", "body", "chunk", "write", "list", "batch")
        }
        thread, kept = marks["thread"], f"kept-{uuid4().hex}"
        told = {part: mark.encode() for part, mark in marks.items()}
        backend.put(
            new(
                marks["id"], thread=thread, ns=marks["ns"], body=told["body"], chunks=[chunk(marks["chunk"])],
                run=marks["run"], title=told["title"], note=told["note"],
            )
        )  # fmt: skip
        backend.put_writes(NewWrites(thread, marks["ns"], marks["id"], told["write"], None))
        backend.put_messages(new_messages(marks["list"], thread=thread))
        backend.append_messages(thread, told["batch"])
        backend.put(new("a", thread=kept))
        assert {told["thread"], told["body"]} <= {*held(told.values())}  # or it is no search
        assert backend.erase_thread(thread, LATER).checkpoints == 1
        InMode(memory, mode).close()
        tenant = text_bytes(tenant_of(memory.store.backend))
        hashes = [identity(tenant, kind, thread) for kind in (CHECKPOINTS, MESSAGES)]
        assert held([*told.values(), *hashes, kept.encode()]) == [kept.encode()]

    def test_a_name_that_was_deleted_before_is_nowhere(
        self, memory: Memory, backend: PlansInMode, held: Held, mode: CallMode
    ) -> None:
        deleted, unsaid = f"deleted-{uuid4().hex}", f"unsaid-{uuid4().hex}"
        backend.put(new("a", thread=deleted))
        backend.delete_thread(deleted)
        backend.put_messages(new_messages("list", thread=unsaid))
        backend.put_messages(NewMessages(unsaid, None, b"", (), None))
        for thread in (deleted, unsaid):
            backend.erase_thread(thread, 0)
        kept = f"kept-{uuid4().hex}"
        backend.put(new("a", thread=kept))
        InMode(memory, mode).close()
        assert held(text.encode() for text in (deleted, unsaid, kept)) == [kept.encode()]
