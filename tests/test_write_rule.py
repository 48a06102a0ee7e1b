"""The write rule itself: the tables of `charm_checkpoint.testing`, in full."""

from __future__ import annotations

import pytest

from charm_checkpoint.contract import ThreadState
from charm_checkpoint.stores.shared.write_rule import decide, decide_messages, is_conflict, turns_on
from charm_checkpoint.testing.samples import new, new_messages
from charm_checkpoint.testing.write_cases import (
    ID,
    PUT,
    PUT_MESSAGES,
    PUT_WRITES,
    Case,
    cases,
    combinations,
    lines,
    sample,
)

SWEEPS, REVISION = 3, 5


def state(case: Case) -> ThreadState:
    return ThreadState(case.deletes, SWEEPS, 9)


@pytest.mark.parametrize("table", [PUT, PUT_WRITES, PUT_MESSAGES], ids=["put", "put_writes", "put_messages"])
def test_a_table_tells_of_each_combination_once(table: str) -> None:
    told = [case.values for case in cases(table)]
    there_are = combinations(told[0])
    assert sorted(map(str, told)) == sorted(map(str, there_are))
    assert all(lines(table))


@pytest.mark.parametrize("table", [PUT, PUT_WRITES, PUT_MESSAGES], ids=["put", "put_writes", "put_messages"])
def test_a_sample_of_a_line_has_each_of_its_values(table: str) -> None:
    for line in lines(table):
        values = {value for case in line for value in case.values.items()}
        assert {value for case in sample(line) for value in case.values.items()} == values


def test_a_checkpoint() -> None:
    for case in cases(PUT):
        record = case.checkpoint("t", SWEEPS)
        outcome = decide(record, state(case), case.head, case.line)
        assert outcome == ("stored" if case.outcome == "marked" else case.outcome), case
        if outcome in ("stored", "conflict"):
            assert is_conflict(record, case.head, case.line) == (case.outcome in ("marked", "conflict")), case


def test_a_parent_need_be_looked_for_only_if_it_matters() -> None:
    for case in cases(PUT):
        record = case.checkpoint("t", SWEEPS)
        if not turns_on(record.parent, record.seen_deletes, state(case)):
            ids = [id for id in case.line if id == ID]
            assert decide(record, state(case), case.head, ids) == decide(record, state(case), case.head, case.line)


def test_pending_writes() -> None:
    for case in cases(PUT_WRITES):
        assert decide(case.writes("t"), state(case), case.head, case.line) == case.outcome, case


def test_a_message_list() -> None:
    for case in cases(PUT_MESSAGES):
        record = case.messages("t", REVISION, SWEEPS)
        assert decide_messages(record, ThreadState(0, SWEEPS, 9), REVISION) == case.outcome, case


def test_a_chunk_that_is_gone_makes_a_write_stale_that_left_it_out() -> None:
    held = ThreadState(0, SWEEPS, 9)
    for base, outcome in ((SWEEPS, "stale"), (None, "stored")):
        assert decide(new(ID, base_sweeps=base), held, None, (), lacks_chunks=True) == outcome
        assert decide_messages(new_messages("m", base_sweeps=base), held, 0, lacks_chunks=True) == outcome
