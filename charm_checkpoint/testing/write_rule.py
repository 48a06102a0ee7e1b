"""The tables of write_cases.py, played on a store: what it says of each write, and what is stored then."""

from __future__ import annotations

from charm_checkpoint.contract import StoredCheckpoint
from charm_checkpoint.testing.base import Suite, Take
from charm_checkpoint.testing.call_modes import PlansInMode
from charm_checkpoint.testing.samples import chunk, new, new_messages
from charm_checkpoint.testing.write_cases import ID, PUT, PUT_MESSAGES, PUT_WRITES, Case, cases, lines, sample


def prepare(backend: PlansInMode, case: Case, thread: str) -> None:
    """Bring a new thread into the situation of a case."""
    for _ in range(case.deletes):
        backend.put(new("gone", thread=thread))
        backend.delete_thread(thread)
    for id in case.line:
        backend.put(new(id, thread=thread, seen_deletes=case.deletes, on_conflict="allow"))


class WriteRule(Suite):
    """What becomes of a write is the same in every store."""

    def test_what_becomes_of_a_checkpoint(self, backend: PlansInMode, part_of: Take) -> None:
        ready: dict[str, StoredCheckpoint] = {}
        for number, case in enumerate(part_of(case for line in lines(PUT) for case in sample(line))):
            is_stored = case.outcome in ("stored", "marked")
            # What is refused changes nothing: such cases share a thread.
            thread = f"case {number}" if is_stored else f"{case.deletes} {case.line}"
            if thread not in ready:
                prepare(backend, case, thread)
                ready[thread] = backend.find(thread, "", ID)
            before = ready[thread]
            reply = backend.put(case.checkpoint(thread, before.state.sweeps))
            after = backend.find(thread, "", ID)
            conflict = case.outcome in ("marked", "conflict")
            assert (reply.head, reply.conflict, reply.state) == (case.head, conflict, after.state), case
            assert reply.outcome == ("stored" if is_stored else case.outcome), case
            assert len(backend.chunks(thread, [chunk("put").address])) == int(is_stored), case
            if is_stored:
                branched_from = case.head if case.outcome == "marked" else None
                assert (bytes(after.row.body), after.row.conflict) == (b"put", branched_from), case
                assert after.head == (ID if before.row is None else case.head), case
                assert after.state.seq > before.state.seq, case
            else:
                assert (after.state, after.head, after.row) == (before.state, case.head, before.row), case

    def test_what_becomes_of_pending_writes(self, backend: PlansInMode) -> None:
        for number, case in enumerate(cases(PUT_WRITES)):
            thread = f"case {number}"
            prepare(backend, case, thread)
            state = backend.find(thread, "", ID).state
            reply = backend.put_writes(case.writes(thread))
            assert reply.outcome == case.outcome, case
            if case.values["id"] == "new":  # then they came before their checkpoint
                backend.put(new(ID, thread=thread, seen_deletes=case.deletes))
            written = [bytes(body) for body in backend.find(thread, "", ID).writes]
            assert written == ([b"written"] if case.outcome == "stored" else []), case
            assert (reply.state.seq > state.seq) == (case.outcome == "stored"), case

    def test_what_becomes_of_a_message_list(self, backend: PlansInMode) -> None:
        for number, case in enumerate(cases(PUT_MESSAGES)):
            thread = f"case {number}"
            backend.put_messages(new_messages("first", thread=thread, sweep=True))
            before = backend.messages(thread)
            reply = backend.put_messages(case.messages(thread, before.revision, before.state.sweeps))
            assert reply.outcome == case.outcome, case
            after = backend.messages(thread)
            held = backend.chunks(thread, [chunk("put").address], messages=True)
            if case.outcome == "stored":
                assert (bytes(after.body), after.revision, len(held)) == (b"put", before.revision + 1, 1), case
            else:
                assert (bytes(after.body), after.revision, len(held)) == (b"first", before.revision, 0), case
                assert after.state == before.state, case
