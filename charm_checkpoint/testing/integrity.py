"""A look at everything that is stored: what is sound has no findings, what is damaged is named with its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from charm_checkpoint.checking.integrity import IntegrityFinding, IntegrityReport
from charm_checkpoint.contract import ADDRESS_SIZE, Chunk, NewMessages, NewWrites
from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemKey
from charm_checkpoint.items.bounded import seal
from charm_checkpoint.items.namespaces import CACHE, OWN, path_of
from charm_checkpoint.items.ranking.entries import write_entry
from charm_checkpoint.items.values import encode
from charm_checkpoint.memory import Memory
from charm_checkpoint.retention.turn import Turn
from charm_checkpoint.runtime.turns import Terms
from charm_checkpoint.session import drive
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode, ItemsInMode, PlansInMode
from charm_checkpoint.testing.samples import checkpoint, chunk, config, new, unsealed, values
from charm_checkpoint.testing.saver_methods import put

JUNK = b"\x00\x11\x22\x33"
"""What no version has stored as the body of anything."""

LARGE = ["x" * 90] * 900
LONG = [f"{n} " + "y" * 2000 for n in range(40)]
"""A list each of whose elements is a chunk of its own."""


class IntegritySuite(Suite):
    """Threads in a store, and the look at them."""

    @pytest.fixture
    def store(self, memory: Memory, mode: CallMode) -> InMode:
        """Return the store, called in this mode."""
        return InMode(memory, mode)

    @pytest.fixture
    def look(self, store: InMode) -> Callable[..., IntegrityReport]:
        """Return the function that looks at everything, and returns what it found."""

        def look(**options: Any) -> IntegrityReport:
            report: IntegrityReport = store.check(integrity="only", **options).integrity
            return report

        return look

    @pytest.fixture
    def sound(self, saver: InMode, store: InMode) -> str:
        """Store a thread with all that one may have, and return its name."""
        at = config("sound")
        for step in range(3):
            at = put(saver, at, checkpoint({**values(), "log": [*LARGE, step]}, id=f"s{step}"))
        saver.put_writes(at, [("log", LARGE), ("n", 1)], "task")
        put(saver, config("sound", "child"), checkpoint({"log": LARGE}, id="c"))
        store.append_messages("sound", [{"role": "user", "content": "x" * 900}] * 90)
        store.append_messages("sound", [{"role": "user", "content": "hi"}])
        return "sound"


def told(report: IntegrityReport) -> list[tuple[str, str | None, str, str | None]]:
    """Return what was found to be damaged, with its place."""
    return [(found.kind, found.thread, found.namespace, found.checkpoint) for found in report.problems]


def only(report: IntegrityReport) -> IntegrityFinding:
    """Return the only thing that is damaged."""
    [found] = report.problems
    return found


class Integrity(IntegritySuite):
    """What is sound, and what is found of it."""

    def test_a_sound_store_has_no_findings(self, look: Any, sound: str, store: InMode) -> None:
        report = look()
        assert report.ok and not report.findings and report.is_whole
        usage = store.usage("sound")
        assert (report.threads, report.checkpoints, report.writes) == (1, usage.checkpoints, usage.writes)
        assert report.chunks == usage.chunks

    def test_an_empty_store_has_no_findings(self, look: Any) -> None:
        assert look().as_dict() == IntegrityReport().as_dict()

    def test_what_a_prune_leaves_is_no_damage(self, look: Any, saver: InMode, sound: str) -> None:
        saver.prune(["sound"])
        report = look()
        assert report.ok and report.checkpoints == 2
        assert [(found.kind, found.grade, found.checkpoint) for found in report.findings] == [("parent", "note", "s2")]

    def test_some_threads_are_looked_at(self, look: Any, sound: str, saver: InMode) -> None:
        put(saver, config("other"), checkpoint({"n": 1}))
        report = look(threads=["other", "nobody"])
        assert not report.is_whole and report.checkpoints == 1 and report.ok

    def test_progress_is_told_and_can_be_stopped(self, look: Any, sound: str, saver: InMode) -> None:
        put(saver, config("other"), checkpoint({"n": 1}))
        seen: list[Any] = []
        report = look(on_progress=seen.append)
        assert {progress.thread for progress in seen if progress.thread} == {"sound", "other"}
        assert seen[-1].checkpoints == report.checkpoints

        def stop(progress: Any) -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError):
            look(on_progress=stop)
        assert look().ok

    def test_it_is_beside_what_a_program_makes_of_it(self, store: InMode, sound: str) -> None:
        report = store.check(integrity=True)
        assert report.checkpoints and report.integrity.checkpoints and report.ok
        assert report.as_dict()["integrity"]["ok"] is True
        assert store.check().integrity is None

    def test_items_are_looked_at(self, look: Any, items: ItemsInMode, store: InMode) -> None:
        kept = store.raw.get_langgraph_store()
        for number in range(250):
            kept.put(("a", str(number % 2)), f"k{number}", {"text": f"words {number}"})
        space, other = path_of(("v",)), path_of(("w",))
        entry, vectors = write_entry(["words"], [[1.0] * 16], b"model678")
        change = ItemChange(space, b"sound", encode({"n": 1}), entry=entry, vectors=vectors)
        items.change(ItemBatch(1_000_000, changes=[change]))
        report = look()
        assert report.ok and report.items == 251
        spoilt = [
            replace(change, space=other, key=b"value", value=JUNK),
            replace(change, space=other, key=b"entry", entry=b"\x01\x00\x05"),
            replace(change, space=other, key=b"vectors", vectors=vectors[:-1]),
        ]
        items.change(ItemBatch(1_000_000, changes=spoilt))
        report = look()
        assert sorted((found.kind, found.thread) for found in report.problems) == [
            ("entry", None), ("entry", None), ("item", None),
        ]  # fmt: skip
        for key in ("value", "entry", "vectors"):
            assert any(f"item {key!r} in ('w',)" in found.message for found in report.problems)
        items.change(ItemBatch(2_000_000, changes=[ItemChange(other, each.key, None) for each in spoilt]))
        assert look().ok

    @pytest.mark.parametrize("realm", OWN)
    def test_what_programs_keep_for_themselves_is_read_as_what_it_is(
        self, look: Any, items: ItemsInMode, realm: bytes
    ) -> None:
        item = ItemKey(realm + b"x", b"key")
        change = ItemChange(*item, seal(item, b"\xff not JSON"))
        items.change(ItemBatch(1_000_000, changes=[change]))
        report = look()
        assert not report.findings and report.items == 0
        items.change(ItemBatch(2_000_000, changes=[replace(change, value=JUNK)]))
        report = look()
        assert report.ok
        notes = [(found.kind, found.grade) for found in report.findings]
        assert notes == ([] if realm == CACHE else [("item", "note")])  # a cache checks what it reads

    def test_what_stores_note_of_their_own_upkeep_is_no_damage(self, mode: CallMode, memory: Memory) -> None:
        if memory.store.items is None:
            pytest.skip("this store keeps no items")
        turn = Turn(memory.store.items, Terms(1_000_000, 1_000_000))
        assert drive(memory.store, turn.take()) is None
        report = InMode(memory, mode).check(integrity="only").integrity
        assert report.ok and not report.findings
        drive(memory.store, turn.end(False))
        assert not InMode(memory, mode).check(integrity="only").integrity.findings


class IntegrityOfThreads(IntegritySuite):
    """What is damaged in a thread."""

    def test_a_record_that_cannot_be_read(
        self, look: Any, sound: str, saver: InMode, store: InMode, backend: PlansInMode
    ) -> None:
        put(saver, config("bad"), checkpoint({"log": ["kept"]}, id="whole"))
        backend.put(new("broken", "whole", thread="bad", body=JUNK))
        backend.put(new("below", thread="bad", ns="child", body=JUNK))
        report = look()
        assert sorted(told(report)) == [("record", "bad", "", "broken"), ("record", "bad", "child", "below")]
        advice = {found.checkpoint: found.advice for found in report.problems}
        assert "last whole checkpoint is whole:" in advice["broken"] and "No checkpoint" in advice["below"]
        assert report.damaged == ["bad"] and report.threads == 2
        store.delete_thread("bad")
        assert look().ok

    def test_a_record_of_another_thread_or_place(self, look: Any, saver: InMode, backend: PlansInMode) -> None:
        put(saver, config("theirs"), checkpoint({"n": 1}, id="c"))
        body = backend.find("theirs", "", "c").row.body
        backend.put(new("d", thread="theirs", body=body))
        assert told(look()) == [("record", "theirs", "", "d")]
        if backend.backend.capabilities.marks_copies:
            backend.put(new("c", thread="mine", body=body))
            assert ("record", "mine", "", "c") in told(look())

    def test_writes_that_cannot_be_read(self, look: Any, sound: str, backend: PlansInMode) -> None:
        backend.put_writes(NewWrites("sound", "", "s2", JUNK, None))
        assert told(look()) == [("writes", "sound", "", "s2")]

    def test_a_chunk_that_is_missing(self, look: Any, saver: InMode, store: InMode, backend: PlansInMode) -> None:
        at = put(saver, config("bad"), checkpoint({"log": LARGE, "small": 1}, id="whole"))
        put(saver, at, checkpoint({"log": [*LARGE, "more"], "small": 1}, id="lost"))
        row = backend.find("bad", "", "lost").row
        lost = b"?" * ADDRESS_SIZE
        for id, parent in (("lost", "whole"), ("later", "lost")):
            backend.put(new(id, parent, thread="bad", body=unsealed(row.body), roots=lost))
        report = look()
        found = only(report)
        assert (found.kind, found.thread, found.checkpoint, found.channel) == ("chunk", "bad", "later", "log")
        assert found.count == 2 and found.path == "channel_values.log" and lost.hex() in found.message
        assert "last whole checkpoint is whole:" in found.advice and not found.repairable

    def test_a_chunk_that_is_something_else_is_told_with_its_path(
        self, look: Any, saver: InMode, store: InMode, backend: PlansInMode
    ) -> None:
        put(saver, config("bad"), checkpoint({"state": {"log": LONG}}, id="c"))
        row = backend.find("bad", "", "c").row
        [address] = [
            each.address for each in self._below(backend, "bad", row.roots) if b"17 yy" in self._unpacked(each)
        ]
        store.delete_thread("bad")
        chunks = [
            replace(each, data=JUNK) if each.address == address else each
            for each in self._below(self._again(saver, backend, "other"), "other", row.roots)
        ]
        backend.put(new("c", thread="bad", body=unsealed(row.body), roots=row.roots, chunks=chunks))
        found = only(look())
        assert (found.thread, found.checkpoint, found.channel) == ("bad", "c", "state")
        assert found.path == "channel_values.state['log'][17]" and address.hex() in found.message

    def _again(self, saver: InMode, backend: PlansInMode, thread: str) -> PlansInMode:
        put(saver, config(thread), checkpoint({"state": {"log": LONG}}, id="c"))
        return backend

    def _unpacked(self, piece: Chunk) -> bytes:
        from charm_checkpoint.values.packing import unpack

        return unpack(piece.data)

    def _below(self, backend: PlansInMode, thread: str, roots: bytes) -> list[Chunk]:
        """Return all chunks that some roots reach."""
        from charm_checkpoint.values.decoder import split

        found: dict[bytes, Chunk] = {}
        frontier = list(split(roots))
        while frontier:
            got = backend.chunks(thread, frontier)
            found.update(got)
            frontier = [ref for each in got.values() for ref in split(each.refs) if ref not in found]
        return list(found.values())

    def test_messages_that_cannot_be_read(
        self, look: Any, memory: Memory, store: InMode, sound: str, backend: PlansInMode
    ) -> None:
        if memory.store.history is not None:
            pytest.skip("this store keeps messages in another way")
        backend.put_messages(NewMessages("list", JUNK, b"", (), None))
        backend.put_messages(NewMessages("chunk", JUNK, b"?" * ADDRESS_SIZE, (), None))
        store.append_messages("batch", [{"role": "user"}])
        backend.append_messages("batch", JUNK)
        report = look()
        assert {found.thread for found in report.problems} == {"list", "chunk", "batch"}
        assert {found.kind for found in report.problems} == {"messages"}
        assert any("batch 2 of 2" in found.message for found in report.problems)
        for thread in ("list", "chunk", "batch"):
            store.delete_thread(thread)
        assert look().ok

    def test_chunks_that_nothing_reaches_are_waste_and_go(
        self, look: Any, sound: str, store: InMode, saver: InMode, backend: PlansInMode
    ) -> None:
        before = store.usage("sound")
        state = saver.get(config("sound"))
        row = backend.find("sound", "", "s2").row
        backend.put(
            new("s2", row.parent, thread="sound", body=row.body, roots=row.roots, chunks=[chunk("one"), chunk("two")])
        )
        report = look()
        assert report.ok and report.waste_chunks == 2
        assert [(found.kind, found.grade, found.count, found.repairable) for found in report.findings] == [
            ("chunk", "waste", 2, True)
        ]
        report = look(repair=True)
        assert [found.repaired for found in report.findings] == [True]
        assert not look().findings
        assert store.usage("sound") == before
        assert saver.get(config("sound")) == state and len(store.load_messages("sound")) == 91

    def test_a_repair_leaves_alone_what_may_be_reached_by_what_is_damaged(
        self, look: Any, store: InMode, saver: InMode, backend: PlansInMode, sound: str
    ) -> None:
        backend.put(new("broken", "s2", thread="sound", body=JUNK, roots=b"?" * ADDRESS_SIZE, chunks=[chunk("one")]))
        before = store.usage("sound")
        assert not look(repair=True).ok
        assert store.usage("sound") == before

    def test_writes_that_wait_for_their_checkpoint_are_a_note(self, look: Any, saver: InMode, sound: str) -> None:
        saver.put_writes(config("sound", id="to come"), [("log", 1)], "task")
        report = look()
        assert report.ok
        assert [(found.kind, found.grade, found.count) for found in report.findings] == [("writes", "note", 1)]

    @pytest.mark.parametrize("away", ["delete_thread", "erase"])
    def test_what_is_damaged_can_be_removed_and_the_rest_is_untouched(
        self, look: Any, sound: str, saver: InMode, store: InMode, backend: PlansInMode, away: str
    ) -> None:
        state = saver.get(config("sound"))
        backend.put(new("body", thread="bad", body=JUNK))
        backend.put_writes(NewWrites("bad", "", "body", JUNK, None))
        backend.put(new("other", "body", thread="bad", roots=b"?" * ADDRESS_SIZE))
        assert {found.thread for found in look().problems} == {"bad"}
        assert {item.thread_id for item in store.threads()} == {"sound", "bad"}
        getattr(store, away)("bad")
        report = look()
        assert report.ok and not report.findings and report.threads == 1
        assert saver.get(config("sound")) == state
