"""Whole threads as records: `Backend.remove`, `runs`, `delete_thread`, `copy_thread`, messages and `usage`."""

from __future__ import annotations

from typing import Any

import pytest

from charm_checkpoint.contract import (
    Chunk,
    NewMessages,
    NewWrites,
    Query,
    ThreadState,
    Usage,
    Waiting,
    capabilities,
    tenant_of,
)
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import PlansInMode
from charm_checkpoint.testing.samples import chunk, new, new_messages
from charm_checkpoint.values.sealing import Identities, opened, seal

LEAF, SHARED, LONELY = chunk("leaf"), chunk("shared"), chunk("lonely")
TOP = chunk("top", LEAF.address, SHARED.address)


def held(backend: PlansInMode, *pieces: Chunk, thread: str = "t", messages: bool = False) -> list[str]:
    """Return the texts of those of these chunks that a thread has."""
    found = backend.chunks(thread, [piece.address for piece in pieces], messages)
    return [piece.data.decode() for piece in pieces if piece.address in found]


class BackendThreads(Suite):
    """Removing, deleting and copying."""

    def test_remove_moves_the_head_to_the_last_committed_left(self, backend: PlansInMode) -> None:
        for id, parent in (("3", None), ("1", "3"), ("2", "1")):
            backend.put(new(id, parent))
        backend.put(new("n1", ns="n"))
        reply = backend.remove("t", [("", "2"), ("n", "n1"), ("", "unknown"), ("nowhere", "1")], None)
        assert reply.outcome == "stored"
        assert backend.find("t", "", None).row.id == "1"
        assert backend.find("t", "n", None).row is None
        assert backend.put(new("n2", ns="n", on_conflict="raise")).conflict is False

    def test_removing_all_leaves_a_thread_to_start_afresh(self, backend: PlansInMode) -> None:
        state = backend.put(new("a")).state
        after = backend.remove("t", [("", "a")], None).state
        assert (after.deletes, after.sweeps) == (state.deletes, state.sweeps + 1)
        assert backend.find("t", "", None).row is None
        assert backend.put(new("b", "a", on_conflict="raise")).outcome == "stored"

    def test_remove_takes_writes_along(self, backend: PlansInMode) -> None:
        backend.put(new("a"))
        backend.put_writes(NewWrites("t", "", "a", b"w", None))
        backend.remove("t", [("", "a")], None)
        backend.put(new("a"))
        assert list(backend.find("t", "", "a").writes) == []

    def test_writes_that_came_early_go_with_their_namespace_only(self, backend: PlansInMode) -> None:
        for ns in ("n", "other"):
            backend.put(new("a", ns=ns))
        for ns in ("n", "other", "early"):
            backend.put_writes(NewWrites("t", ns, "b", b"early", None))
        backend.remove("t", [("n", "a")], None)
        assert backend.usage("t").writes == 2
        for ns, expected in (("n", []), ("other", [b"early"]), ("early", [b"early"])):
            backend.put(new("b", ns=ns, on_conflict="allow"))
            assert list(map(bytes, backend.find("t", ns, "b").writes)) == expected

    def test_remove_sweeps_what_nothing_reaches(self, backend: PlansInMode) -> None:
        state = backend.put(new("a", chunks=[LEAF, SHARED, TOP], roots=TOP.address)).state
        backend.put(new("b", "a", chunks=[LONELY], roots=LONELY.address + SHARED.address))
        backend.put(new("n", ns="n", roots=LEAF.address, base_sweeps=state.sweeps))
        backend.remove("t", [("", "a")], None)
        assert held(backend, LEAF, SHARED, TOP, LONELY) == ["leaf", "shared", "lonely"]
        backend.remove("t", [("n", "n")], None)
        assert held(backend, LEAF, SHARED, TOP, LONELY) == ["shared", "lonely"]
        backend.remove("t", [("", "b")], None)
        assert held(backend, LEAF, SHARED, TOP, LONELY) == []

    def test_remove_keeps_what_is_reached_through_other_chunks(self, backend: PlansInMode) -> None:
        chain = [chunk("link 0")]
        for n in range(1, 40):
            chain.append(chunk(f"link {n}", chain[-1].address))
        state = backend.put(new("a", chunks=[*chain, LONELY], roots=LONELY.address)).state
        backend.put(new("b", "a", roots=chain[-1].address, base_sweeps=state.sweeps))
        backend.remove("t", [("", "a")], None)
        assert len(held(backend, *chain)) == 40
        assert held(backend, LONELY) == []

    def test_replacing_a_checkpoint_lets_a_later_sweep_take_what_it_reached(self, backend: PlansInMode) -> None:
        backend.put(new("a", chunks=[LONELY]))
        backend.put(new("a", chunks=[LEAF]))
        backend.put(new("b", "a"))
        backend.remove("t", [("", "b")], None)
        assert held(backend, LONELY, LEAF) == ["leaf"]

    def test_remove_does_nothing_if_the_thread_has_changed(self, backend: PlansInMode) -> None:
        seq = backend.put(new("a", chunks=[LEAF])).state.seq
        state = backend.put_writes(NewWrites("t", "", "a", b"w", None)).state
        reply = backend.remove("t", [("", "a")], seq)
        assert (reply.outcome, reply.state) == ("changed", state)
        assert backend.find("t", "", "a").row.id == "a"
        assert held(backend, LEAF) == ["leaf"]
        assert backend.remove("t", [("", "a")], state.seq).outcome == "stored"

    def test_a_listing_tells_the_seq_that_remove_expects(self, backend: PlansInMode) -> None:
        state = backend.put(new("a")).state
        [item] = backend.page(Query("t"), None, 10).items
        assert (item.state, backend.find("t", "", "a").state) == (state, state)

    def test_runs_are_found_in_every_thread(self, backend: PlansInMode) -> None:
        for thread, ns, id, run in (
            ("t", "", "a", "1"), ("t", "n", "b", "1"), ("u", "", "c", "2"), ("u", "", "d", None), ("u", "", "e", "%"),
        ):  # fmt: skip
            backend.put(new(id, thread=thread, ns=ns, run=run, on_conflict="allow"))
        assert sorted(backend.runs(["1", "nobody"])) == [("t", "", "a"), ("t", "n", "b")]
        assert sorted(backend.runs(["2", "%"])) == [("u", "", "c"), ("u", "", "e")]
        assert list(backend.runs([])) == []

    def test_replacing_a_checkpoint_replaces_its_run(self, backend: PlansInMode) -> None:
        backend.put(new("a", run="1"))
        backend.put(new("a", run="2"))
        assert list(backend.runs(["1"])) == []
        assert list(backend.runs(["2"])) == [("t", "", "a")]

    def test_delete_takes_all_but_messages_and_counters(self, backend: PlansInMode) -> None:
        backend.put(new("a", chunks=[LEAF]))
        backend.put(new("b", ns="n"))
        backend.put_writes(NewWrites("t", "", "a", b"w", None))
        backend.put_messages(new_messages("list", SHARED))
        before = backend.find("t", "", None).state
        state = backend.delete_thread("t")
        assert (state.deletes, state.sweeps) == (before.deletes + 1, before.sweeps + 1)
        assert listed_ids(backend, "t") == []
        assert held(backend, LEAF) == []
        assert bytes(backend.messages("t").body) == b"list"
        assert held(backend, SHARED, messages=True) == ["shared"]
        assert backend.find("t", "", None).state == state

    def test_deleting_what_is_not_there_does_nothing(self, backend: PlansInMode) -> None:
        assert backend.delete_thread("nobody").deletes == 0
        assert backend.put(new("a", "x", thread="nobody", seen_deletes=0)).outcome == "stored"

    def test_what_nothing_was_stored_in_is_not_there(self, backend: PlansInMode) -> None:
        # A store may have made a record of its own for the thread by then: it must not show.
        backend.copy_thread("nobody", "t")
        assert backend.put(new("a", base_sweeps=7)).outcome == "stale"
        assert backend.delete_thread("t") == ThreadState()
        assert backend.remove("t", [("", "a")], None).state == ThreadState()
        assert backend.put_writes(NewWrites("t", "", "a", b"w", None)).outcome == "stored"

    def test_each_delete_counts(self, backend: PlansInMode) -> None:
        for n in range(3):
            assert backend.put(new("a", seen_deletes=n)).outcome == "stored"
            assert backend.delete_thread("t").deletes == n + 1

    def test_copy_takes_everything_in_commit_order(self, backend: PlansInMode) -> None:
        backend.put(new("b", chunks=[LEAF, SHARED, TOP], roots=TOP.address, tags=b"tags", run="r"))
        backend.put(new("n", ns="n"))
        backend.put(new("a", "b"))
        backend.put(new("c", "b"))
        backend.put_writes(NewWrites("t", "", "b", b"w", None))
        reply = backend.copy_thread("t", "u")
        assert reply.outcome == "stored"
        assert listed_ids(backend, "u") == ["c", "a", "n", "b"]
        assert backend.find("u", "", None).head == "c"
        assert backend.find("u", "", "c").row.conflict == "a"
        found = backend.find("u", "", "b")
        assert (found.row.thread, bytes(found.row.body), bytes(found.row.roots)) == ("u", b"body of b", TOP.address)
        assert list(map(bytes, found.writes)) == [b"w"]
        assert held(backend, LEAF, SHARED, TOP, thread="u") == ["leaf", "shared", "top"]
        assert sorted(backend.runs(["r"])) == [("t", "", "b"), ("u", "", "b")]
        assert "b" in [item.row.id for item in backend.page(Query("u", tags=(b"tags",)), None, 9).items]

    def test_a_copy_has_its_own_mark(self, backend: PlansInMode) -> None:
        if not capabilities(backend.backend).marks_copies:
            pytest.skip("this store does not declare the ability `marks_copies`")
        whose = Identities(tenant_of(backend.backend))
        bodies = [seal(whose.checkpoint("t", "", "a", None, b""), b"\0body"), b"\3", b"\0plain", b""]
        backend.put(new("a", body=bodies[0]))
        for number, body in enumerate(bodies[1:]):
            backend.put(new(f"b{number}", ns="n", body=body))
        written = seal(whose.writes("t", "", "a"), b"\0written")
        for body in (written, *bodies[2:]):
            backend.put_writes(NewWrites("t", "", "a", body, None))
        assert backend.copy_thread("t", "u").outcome == "stored"
        found = backend.find("u", "", "a")
        assert opened(whose.checkpoint("u", "", "a", None, b""), bytes(found.row.body)) == b"\0body"
        assert opened(whose.writes("u", "", "a"), bytes(found.writes[0])) == b"\0written"
        assert list(map(bytes, found.writes[1:])) == bodies[2:]
        assert [bytes(backend.find("u", "n", f"b{number}").row.body) for number in (1, 2)] == bodies[2:]
        # What is no longer than this is none of ours, and comes through whatever it is.
        assert backend.find("u", "n", "b0").row is not None
        assert bytes(backend.find("t", "", "a").row.body) == bodies[0]

    def test_a_copy_stands_on_its_own(self, backend: PlansInMode) -> None:
        backend.put(new("a", chunks=[LEAF]))
        backend.copy_thread("t", "u")
        backend.put(new("b", "a", thread="u"))
        backend.delete_thread("t")
        assert listed_ids(backend, "u") == ["b", "a"]
        assert held(backend, LEAF, thread="u") == ["leaf"]

    def test_a_copy_never_overwrites(self, backend: PlansInMode) -> None:
        backend.put(new("a"))
        state = backend.put(new("z", thread="u")).state
        reply = backend.copy_thread("t", "u")
        assert (reply.outcome, reply.state) == ("conflict", state)
        assert listed_ids(backend, "u") == ["z"]
        assert backend.copy_thread("t", "t").outcome == "conflict"
        assert listed_ids(backend, "t") == ["a"]

    def test_a_copy_leaves_writes_that_came_early(self, backend: PlansInMode) -> None:
        backend.put(new("a"))
        for body in (b"1", b"2"):
            backend.put_writes(NewWrites("t", "", "a", body, None))
        for id, ns in (("a", ""), ("b", ""), ("b", "n")):
            backend.put_writes(NewWrites("u", ns, id, b"early", None))
        backend.copy_thread("t", "u")
        assert sorted(map(bytes, backend.find("u", "", "a").writes)) == [b"1", b"2", b"early"]
        for ns in ("", "n"):
            backend.put(new("b", thread="u", ns=ns, on_conflict="allow"))
            assert list(map(bytes, backend.find("u", ns, "b").writes)) == [b"early"]

    def test_copying_nothing_or_onto_what_was_deleted(self, backend: PlansInMode) -> None:
        assert backend.copy_thread("nobody", "u").outcome == "stored"
        assert listed_ids(backend, "u") == []
        backend.put(new("a"))
        backend.copy_thread("t", "u")
        deletes = backend.delete_thread("u").deletes
        assert backend.copy_thread("t", "u").outcome == "stored"
        assert listed_ids(backend, "u") == ["a"]
        assert backend.find("u", "", None).state.deletes == deletes

    def test_usage_counts_a_thread_or_all(self, backend: PlansInMode) -> None:
        assert backend.usage(None) == backend.usage("t") == Usage()
        backend.put(new("a", body=b"123", chunks=[LEAF]))
        backend.put_writes(NewWrites("t", "", "a", b"12345", None))
        backend.put_messages(new_messages("12", SHARED, thread="u"))
        assert backend.usage("t") == Usage(1, 1, 1, 1, 3 + 5 + len(LEAF.data))
        assert backend.usage("u") == Usage(1, 0, 0, 1, 2 + len(SHARED.data))
        assert backend.usage(None) == Usage(2, 1, 1, 2, 10 + len(LEAF.data + SHARED.data))
        backend.put_messages(new_messages("", LEAF, thread="v"))
        assert backend.usage(None).threads == 3
        backend.delete_thread("t")
        for thread in "uv":
            backend.put_messages(NewMessages(thread, None, b"", (), None))
        assert backend.usage(None) == Usage()


class BackendMessages(Suite):
    """Message lists as records."""

    def test_a_list_is_replaced_whole(self, backend: PlansInMode) -> None:
        empty = backend.messages("t")
        assert (empty.body, empty.revision, bytes(empty.roots)) == (None, 0, b"")
        for n, text in enumerate(("one", "two", "")):
            assert backend.put_messages(new_messages(text, LEAF)).outcome == "stored"
            row = backend.messages("t")
            assert (bytes(row.body), bytes(row.roots), row.revision) == (text.encode(), LEAF.address, n + 1)
        assert held(backend, LEAF, messages=True) == ["leaf"]
        assert held(backend, LEAF) == []

    def test_an_expected_revision_must_be_the_one(self, backend: PlansInMode) -> None:
        assert backend.put_messages(new_messages("one", expect=0)).outcome == "stored"
        reply = backend.put_messages(new_messages("two", LEAF, expect=0))
        assert reply.outcome == "changed"
        assert (bytes(backend.messages("t").body), held(backend, LEAF, messages=True)) == (b"one", [])
        assert backend.put_messages(new_messages("two", expect=1)).outcome == "stored"

    def test_only_a_sweep_removes_chunks(self, backend: PlansInMode) -> None:
        first = new_messages("one", LONELY, LEAF, SHARED, TOP, roots=LONELY.address + TOP.address)
        sweeps = backend.put_messages(first).state.sweeps
        state = backend.put_messages(new_messages("two", roots=TOP.address, base_sweeps=sweeps)).state
        assert held(backend, LONELY, TOP, messages=True) == ["lonely", "top"]
        swept = backend.put_messages(new_messages("three", roots=TOP.address, base_sweeps=sweeps, sweep=True)).state
        assert held(backend, LONELY, LEAF, SHARED, TOP, messages=True) == ["leaf", "shared", "top"]
        assert (swept.sweeps, swept.seq > state.seq) == (state.sweeps + 1, True)

    def test_a_list_with_a_stale_base_is_not_written(self, backend: PlansInMode) -> None:
        sweeps = backend.put_messages(new_messages("one", LEAF, sweep=True)).state.sweeps
        reply = backend.put_messages(new_messages("two", LONELY, base_sweeps=sweeps - 1))
        assert reply.outcome == "stale"
        assert (bytes(backend.messages("t").body), held(backend, LONELY, messages=True)) == (b"one", [])
        assert backend.put_messages(new_messages("two", base_sweeps=sweeps)).outcome == "stored"

    def test_deleting_removes_all_and_revisions_go_on(self, backend: PlansInMode) -> None:
        first: Any = backend.put_messages(new_messages("one", LEAF)).state
        backend.put_messages(NewMessages("t", None, b"", (), None))
        row = backend.messages("t")
        assert (row.body, held(backend, LEAF, messages=True)) == (None, [])
        assert row.state.sweeps > first.sweeps
        assert backend.put_messages(new_messages("late", expect=1)).outcome == "changed"
        assert backend.put_messages(new_messages("late", base_sweeps=first.sweeps)).outcome == "stale"
        assert backend.put_messages(new_messages("new", expect=row.revision)).outcome == "stored"

    def test_batches_stand_behind_the_list_until_one_takes_them_in(self, backend: PlansInMode) -> None:
        for n, body in enumerate((b"1", b"22", b"\0\xff")):
            assert backend.append_messages("t", body) == Waiting(n + 1, (1, 3, 5)[n])
        row = backend.messages("t")
        assert (row.body, row.revision, batches(backend)) == (None, 0, [b"1", b"22", b"\0\xff"])
        assert backend.put_messages(new_messages("list", LEAF, expect=0, taken=2)).outcome == "stored"
        assert (bytes(backend.messages("t").body), batches(backend)) == (b"list", [b"\0\xff"])
        assert backend.append_messages("t", b"4") == Waiting(2, 3)
        assert backend.put_messages(new_messages("list", expect=0, taken=2)).outcome == "changed"
        assert backend.put_messages(new_messages("more", LEAF, expect=1, taken=0, sweep=True)).outcome == "stored"
        assert (bytes(backend.messages("t").body), batches(backend)) == (b"more", [b"\0\xff", b"4"])
        assert backend.put_messages(new_messages("all", LEAF, expect=2, taken=2)).outcome == "stored"
        assert (backend.messages("t").revision, batches(backend)) == (3, [])
        assert backend.append_messages("t", b"5") == Waiting(1, 1)
        assert backend.put_messages(new_messages("whatever", LEAF)).outcome == "stored"
        assert (bytes(backend.messages("t").roots), batches(backend)) == (LEAF.address, [])

    def test_batches_go_with_their_list_and_count(self, backend: PlansInMode) -> None:
        backend.put_messages(new_messages("list", LEAF, thread="u"))
        for thread in "tu":
            backend.append_messages(thread, b"12345")
        assert backend.usage("t") == Usage(1, payload_bytes=5)
        assert backend.usage(None) == Usage(2, chunks=1, payload_bytes=5 + 5 + 4 + len(LEAF.data))
        backend.put(new("a"))
        state = backend.find("t", "", None).state
        backend.append_messages("t", b"6")
        assert backend.find("t", "", None).state == state
        assert backend.copy_thread("t", "v").outcome == "stored"
        backend.delete_thread("t")
        assert (batches(backend), batches(backend, "v")) == ([b"12345", b"6"], [])
        for thread in "tu":
            backend.put_messages(NewMessages(thread, None, b"", (), None, taken=0))
            assert batches(backend, thread) == []
        assert backend.usage("u") == Usage()
        assert backend.append_messages("u", b"anew") == Waiting(1, 4)
        assert (backend.messages("u").body, batches(backend, "u")) == (None, [b"anew"])

    def test_messages_and_checkpoints_do_not_disturb_each_other(self, backend: PlansInMode) -> None:
        backend.put_messages(new_messages("list", LEAF))
        state = backend.put(new("a", chunks=[LEAF])).state
        backend.put_messages(NewMessages("t", None, b"", (), None))
        assert backend.find("t", "", None).state == state
        assert held(backend, LEAF) == ["leaf"]
        backend.put_messages(new_messages("again", LEAF))
        before = backend.messages("t").state
        backend.remove("t", [("", "a")], None)
        backend.delete_thread("t")
        assert backend.messages("t").state == before
        assert held(backend, LEAF, messages=True) == ["leaf"]


def batches(backend: PlansInMode, thread: str = "t") -> list[bytes]:
    """Return the batches behind a thread's message list."""
    return [bytes(batch) for batch in backend.messages(thread).batches]


def listed_ids(backend: PlansInMode, thread: str) -> list[str]:
    """Return a thread's checkpoint ids, last committed first."""
    return [item.row.id for item in backend.page(Query(thread), None, 100).items]
