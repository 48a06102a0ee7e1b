"""Checkpoints as records: every clause of `Backend.put`, `put_writes`, `find`, `ancestors`, `page` and `chunks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from charm_checkpoint.contract import NewWrites, PutsSeveral, Query, ThreadState, WriteResult
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import PlansInMode
from charm_checkpoint.testing.samples import chunk, new


def writes(body: bytes, id: str = "a", *, ns: str = "", seen_deletes: int | None = None) -> NewWrites:
    """Return pending writes to append to a checkpoint of the thread."""
    return NewWrites("t", ns, id, body, seen_deletes)


def listed(backend: PlansInMode, query: Query, size: int = 100) -> list[str]:
    """Return the ids of a whole listing, read ``size`` at a time."""
    found: list[str] = []
    after: Any = None
    while True:
        page = backend.page(query, after, size)
        assert len(page.items) <= size
        found += [item.row.id for item in page.items]
        after = page.next
        if after is None:
            return found


class BackendCheckpoints(Suite):
    """Committing and finding checkpoints."""

    def test_setup_may_be_repeated(self, backend: PlansInMode) -> None:
        backend.put(new("a"))
        for _ in range(2):
            backend.setup()
            assert backend.is_current() is True
        assert backend.find("t", "", "a").row.id == "a"

    def test_a_thread_never_heard_of_is_all_zeros(self, backend: PlansInMode) -> None:
        found = backend.find("nobody", "", None)
        assert (found.state, found.head, found.row, list(found.writes)) == (ThreadState(), None, None, [])
        assert backend.find("nobody", "", "x").row is None
        assert list(backend.ancestors("nobody", "", "x", 10)) == []
        assert list(backend.page(Query("nobody"), None, 10).items) == []
        assert dict(backend.chunks("nobody", [b"x" * 16])) == {}

    def test_put_stores_every_field(self, backend: PlansInMode) -> None:
        leaf = chunk("leaf")
        reply = backend.put(new("a", "before", ns="n", body=b"\0body\xff", chunks=[leaf]))
        assert (reply.outcome, reply.head, reply.conflict) == ("stored", None, False)
        row = backend.find("t", "n", "a").row
        assert (row.thread, row.ns, row.id, row.parent) == ("t", "n", "a", "before")
        assert (bytes(row.body), bytes(row.roots), row.conflict) == (b"\0body\xff", leaf.address, None)
        assert backend.find("t", "", "a").row is None

    def test_the_last_committed_is_the_head_whatever_its_id(self, backend: PlansInMode) -> None:
        assert backend.put(new("9")).head is None
        assert backend.put(new("5", "9")).head == "9"
        assert backend.put(new("7", "5")).head == "5"
        found = backend.find("t", "", None)
        assert (found.head, found.row.id) == ("7", "7")
        rows = [backend.find("t", "", id) for id in ("9", "5", "7")]
        assert [item.head for item in rows] == ["7"] * 3
        assert sorted(rows, key=lambda item: item.row.seq) == rows

    def test_every_change_moves_the_threads_seq(self, backend: PlansInMode) -> None:
        seqs = [
            backend.put(new("a")).state.seq,
            backend.put(new("a")).state.seq,
            backend.put_writes(writes(b"w")).state.seq,
            backend.remove("t", [("", "a")], None).state.seq,
            backend.delete_thread("t").seq,
        ]
        assert seqs == sorted(set(seqs))
        assert seqs[0] > 0

    def test_replacing_keeps_the_commit_number_and_the_head(self, backend: PlansInMode) -> None:
        backend.put(new("a"))
        backend.put(new("b", "a"))
        before = backend.find("t", "", "a").row
        reply = backend.put(new("a", body=b"another", chunks=[chunk("c")], on_conflict="raise"))
        assert (reply.outcome, reply.conflict) == ("stored", False)
        after = backend.find("t", "", "a")
        assert (after.row.seq, after.head, bytes(after.row.body)) == (before.seq, "b", b"another")
        assert listed(backend, Query("t")) == ["b", "a"]
        assert set(backend.chunks("t", [chunk("c").address])) == {chunk("c").address}

    def test_a_stale_base_writes_nothing(self, backend: PlansInMode) -> None:
        sweeps = backend.put(new("a", chunks=[chunk("x")])).state.sweeps
        assert backend.put(new("b", "a", base_sweeps=sweeps)).outcome == "stored"
        state = backend.remove("t", [("", "a")], None).state
        reply = backend.put(new("c", "b", chunks=[chunk("y")], base_sweeps=sweeps))
        assert (reply.outcome, reply.state) == ("stale", state)
        assert backend.find("t", "", "c").row is None
        assert not backend.chunks("t", [chunk("y").address])
        assert backend.put(new("c", "b", base_sweeps=state.sweeps)).outcome == "stored"

    def test_a_run_from_before_a_delete_is_refused(self, backend: PlansInMode) -> None:
        backend.put(new("a", seen_deletes=0))
        state = backend.delete_thread("t")
        assert (state.deletes, state.sweeps > 0) == (1, True)
        reply = backend.put(new("b", seen_deletes=0, base_sweeps=99, on_conflict="raise"))
        assert (reply.outcome, reply.state) == ("deleted", state)
        assert backend.put_writes(writes(b"w", "b", seen_deletes=0)).outcome == "deleted"
        assert backend.find("t", "", None).row is None
        assert backend.put(new("b", seen_deletes=1)).outcome == "stored"

    def test_an_unknown_parent_after_a_delete_is_refused(self, backend: PlansInMode) -> None:
        backend.put(new("a"))
        backend.delete_thread("t")
        assert backend.put(new("b", "a")).outcome == "deleted"
        assert backend.put_writes(writes(b"w", "b")).outcome == "deleted"
        assert backend.put(new("c")).outcome == "stored"
        assert backend.put(new("d", "c")).outcome == "stored"
        assert backend.put_writes(writes(b"w", "d")).outcome == "stored"

    def test_an_unknown_parent_of_a_thread_never_deleted_is_fine(self, backend: PlansInMode) -> None:
        assert backend.put(new("b", "elsewhere")).outcome == "stored"
        assert backend.find("t", "", "b").row.parent == "elsewhere"

    @pytest.mark.parametrize("parent", [None, "a", "unknown"])
    def test_a_conflict_is_marked(self, backend: PlansInMode, parent: str | None) -> None:
        backend.put(new("a"))
        backend.put(new("b", "a"))
        reply = backend.put(new("c", parent))
        assert (reply.outcome, reply.conflict, reply.head) == ("stored", True, "b")
        found = backend.find("t", "", None)
        assert (found.row.id, found.row.conflict, found.row.parent) == ("c", "b", parent)
        assert [item.row.conflict for item in backend.page(Query("t"), None, 9).items] == ["b", None, None]

    def test_a_mark_stays_when_its_checkpoint_is_replaced(self, backend: PlansInMode) -> None:
        for record in (new("a"), new("b", "a"), new("c", "a"), new("c", "a", body=b"again")):
            backend.put(record)
        row = backend.find("t", "", "c").row
        assert (row.conflict, bytes(row.body)) == ("b", b"again")

    def test_a_conflict_is_refused(self, backend: PlansInMode) -> None:
        backend.put(new("a"))
        state = backend.put(new("b", "a")).state
        reply = backend.put(new("c", "a", chunks=[chunk("x")], on_conflict="raise"))
        assert reply == WriteResult("conflict", state, "b", conflict=True)
        assert backend.find("t", "", None).head == "b"
        assert backend.find("t", "", "c").row is None
        assert not backend.chunks("t", [chunk("x").address])

    def test_what_is_no_conflict(self, backend: PlansInMode) -> None:
        backend.put(new("a", on_conflict="raise"))
        replies = [
            backend.put(new("b", "a", on_conflict="raise")),
            backend.put(new("b", "a", on_conflict="raise")),
            backend.put(new("a", on_conflict="raise")),
            backend.put(new("c", "a", on_conflict="allow")),
            backend.put(new("x", "c", ns="other", on_conflict="raise")),
        ]
        assert [(reply.outcome, reply.conflict) for reply in replies] == [("stored", False)] * 5
        assert backend.find("t", "", "c").row.conflict is None

    def test_threads_and_namespaces_are_apart(self, backend: PlansInMode) -> None:
        for thread in ("t", "u"):
            for ns in ("", "n"):
                backend.put(new("a", thread=thread, ns=ns, body=f"{thread} {ns}".encode()))
        backend.delete_thread("u")
        assert bytes(backend.find("t", "", "a").row.body) == b"t "
        assert bytes(backend.find("t", "n", "a").row.body) == b"t n"
        assert backend.find("u", "n", "a").row is None

    def test_writes_keep_their_order_and_may_come_first(self, backend: PlansInMode) -> None:
        bodies = [b"3", b"1", b"", b"2", b"\0"]
        for body in bodies[:3]:
            assert backend.put_writes(writes(body)).outcome == "stored"
        assert backend.find("t", "", "a").row is None
        backend.put(new("a"))
        for body in bodies[3:]:
            backend.put_writes(writes(body))
        backend.put_writes(writes(b"not here", ns="n"))
        backend.put_writes(writes(b"nor here", "b"))
        assert list(map(bytes, backend.find("t", "", "a").writes)) == bodies
        [item] = backend.page(Query("t"), None, 9).items
        assert list(map(bytes, item.writes)) == bodies
        [bare] = backend.page(Query("t"), None, 9, writes=False).items
        assert (list(bare.writes), bytes(bare.row.body)) == ([], b"body of a")

    def test_writes_stay_when_their_checkpoint_is_replaced(self, backend: PlansInMode) -> None:
        backend.put(new("a"))
        backend.put_writes(writes(b"w"))
        backend.put(new("a", body=b"again"))
        assert list(map(bytes, backend.find("t", "", "a").writes)) == [b"w"]

    def test_ancestors_are_nearest_first(self, backend: PlansInMode) -> None:
        for id, parent in (("a", "gone"), ("b", "a"), ("fork", "a"), ("c", "b")):
            backend.put(new(id, parent, on_conflict="allow"))
            backend.put_writes(writes(id.encode(), id))
        backend.put(new("b", "x", ns="n"))

        def line(id: str, size: int) -> list[tuple[str, Sequence[bytes]]]:
            return [(item.row.id, [*map(bytes, item.writes)]) for item in backend.ancestors("t", "", id, size)]

        assert line("c", 10) == [("c", [b"c"]), ("b", [b"b"]), ("a", [b"a"])]
        assert line("fork", 10) == [("fork", [b"fork"]), ("a", [b"a"])]
        assert [id for id, _ in line("c", 2)] == ["c", "b"]
        assert line("unknown", 10) == []

    def test_ancestors_that_turn_in_a_circle_end(self, backend: PlansInMode) -> None:
        for id, parent in (("a", "c"), ("b", "a"), ("c", "b"), ("self", "self")):
            backend.put(new(id, parent, on_conflict="allow"))
        assert [item.row.id for item in backend.ancestors("t", "", "c", 50)] == ["c", "b", "a"]
        assert [item.row.id for item in backend.ancestors("t", "", "self", 50)] == ["self"]

    def test_chunks_come_by_address_and_stay_within_their_thread(self, backend: PlansInMode) -> None:
        leaf = chunk("leaf")
        top = chunk("top", leaf.address)
        backend.put(new("a", chunks=[leaf, top], roots=top.address))
        backend.put(new("b", "a", chunks=[leaf], roots=leaf.address))
        found = backend.chunks("t", [leaf.address, top.address, b"?" * 16])
        assert {(bytes(key), bytes(c.address), bytes(c.refs), bytes(c.data)) for key, c in found.items()} == {
            (piece.address, piece.address, piece.refs, piece.data) for piece in (leaf, top)
        }
        assert dict(backend.chunks("u", [leaf.address])) == {}
        assert dict(backend.chunks("t", [leaf.address], messages=True)) == {}
        assert dict(backend.chunks("t", [])) == {}

    def test_many_chunks_at_once(self, backend: PlansInMode) -> None:
        pieces = [chunk(f"piece {n}") for n in range(2500)]
        backend.put(new("a", chunks=pieces, roots=b"".join(piece.address for piece in pieces)))
        found = backend.chunks("t", [piece.address for piece in pieces])
        assert {bytes(key) for key in found} == {piece.address for piece in pieces}

    def test_several_puts_are_as_each_by_itself(self, backend: PlansInMode) -> None:
        if not isinstance(backend.backend, PutsSeveral):
            pytest.skip("this store puts one by one: it has no `put_all`")
        first = backend.put_all([new("a", chunks=[chunk("x")]), writes(b"1"), new("b", "a"), writes(b"2", "b")])
        assert first.outcome == "stored" and first.state == backend.find("t", "", None).state
        assert [(found.row.id, list(found.writes)) for found in backend.page(Query("t"), None, 9).items] == [
            ("b", [b"2"]), ("a", [b"1"]),
        ]  # fmt: skip
        left = [new("c", "b"), new("d", "c", base_sweeps=first.state.sweeps + 1), new("e", "d"), writes(b"3", "c")]
        assert backend.put_all(left).outcome == "stale"
        branch = backend.put_all([new("f", "a"), new("g", "f", on_conflict="raise", ns="n")])
        assert (branch.outcome, branch.conflict) == ("stored", False)
        assert listed(backend, Query("t", "")) == ["f", "c", "b", "a"]
        assert backend.find("t", "", "f").row.conflict == "c" and backend.find("t", "", "c").writes == ()
        backend.delete_thread("t")
        assert backend.put_all([new("h", seen_deletes=0), new("i")]).outcome == "deleted"
        assert backend.find("t", "", None).row is None


class BackendPages(Suite):
    """Listing checkpoints."""

    @pytest.fixture
    def filled(self, backend: PlansInMode) -> PlansInMode:
        """Return a store whose ids sort otherwise than their commits, in two namespaces."""
        for id, ns in (("d", ""), ("x", "n"), ("a", ""), ("c", ""), ("y", "n"), ("b", "")):
            backend.put(new(id, ns=ns, on_conflict="allow", tags=id.encode() * 4 + b"same"))
        backend.put(new("other", thread="u", tags=b"dddd"))
        return backend

    def test_the_last_committed_comes_first(self, filled: PlansInMode) -> None:
        for size in (1, 2, 3, 6, 100):
            assert listed(filled, Query("t"), size) == ["b", "y", "c", "a", "x", "d"]
            assert listed(filled, Query("t", ""), size) == ["b", "c", "a", "d"]
            assert listed(filled, Query("t", "n"), size) == ["y", "x"]
            assert sorted(listed(filled, Query(), size)) == ["a", "b", "c", "d", "other", "x", "y"]
            assert [id for id in listed(filled, Query(), size) if id != "other"] == listed(filled, Query("t"), size)

    def test_one_by_its_id(self, filled: PlansInMode) -> None:
        assert listed(filled, Query("t", "", "a")) == ["a"]
        assert listed(filled, Query("t", "n", "a")) == []
        assert listed(filled, Query(id="other")) == ["other"]

    def test_before_a_stored_id_goes_by_commits(self, filled: PlansInMode) -> None:
        for size in (1, 2, 100):
            assert listed(filled, Query("t", "", before="c", before_thread="t"), size) == ["a", "d"]
            assert listed(filled, Query("t", "", before="d", before_thread="t"), size) == []

    def test_before_may_name_a_checkpoint_of_another_namespace(self, filled: PlansInMode) -> None:
        assert listed(filled, Query("t", "", before="y", before_thread="t")) == ["c", "a", "d"]
        assert listed(filled, Query("t", before="x", before_thread="t")) == ["d"]

    def test_before_an_unknown_id_goes_by_ids(self, filled: PlansInMode) -> None:
        assert listed(filled, Query("t", "", before="bb", before_thread="t")) == ["b", "a"]
        assert listed(filled, Query("t", "", before="other", before_thread="t")) == ["b", "c", "a", "d"]

    def test_tags_leave_out_none_that_has_them(self, filled: PlansInMode) -> None:
        assert set(listed(filled, Query("t", tags=(b"aaaa",)))) >= {"a"}
        assert set(listed(filled, Query("t", tags=(b"same", b"cccc")))) >= {"c"}
        assert listed(filled, Query("t", tags=(b"same",))) == ["b", "y", "c", "a", "x", "d"]

    def test_a_page_sees_each_checkpoint_once_while_others_commit(self, filled: PlansInMode) -> None:
        first = filled.page(Query("t"), None, 2)
        filled.put(new("e", "b"))
        rest = filled.page(Query("t"), first.next, 100)
        assert [item.row.id for item in (*first.items, *rest.items)] == ["b", "y", "c", "a", "x", "d"]

    def test_a_page_is_of_one_state_of_its_thread(self, filled: PlansInMode) -> None:
        for size in (1, 100):
            page = filled.page(Query("t"), None, size)
            assert {found.state for found in page.items} == {filled.find("t", "", None).state}
