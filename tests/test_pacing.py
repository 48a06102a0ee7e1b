"""How a sweep leaves room to others: more while they are felt, little while nobody is, none where it is told so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from children.jobs import config, put

from charm_checkpoint import ConfigError, Memory, open_memory
from charm_checkpoint.plan import Compute
from charm_checkpoint.runtime import pacing
from charm_checkpoint.runtime.pacing import CALM, FELT_FOR, GENTLE, LONGEST, Pacer

pytestmark = [pytest.mark.sqlite, pytest.mark.blocking]


class Clock:
    """A clock that stands still unless it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pacing, "monotonic", made)
    return made


class Calls:
    number = 7

    def __call__(self) -> int:
        return self.number


def worked(pacer: Pacer, clock: Clock, seconds: float) -> float:
    """Return how long the rest is after a piece of work of so many seconds, and rest."""
    clock.now += seconds
    due = pacer.due()
    clock.now += due
    return due


def test_rests_are_short_while_nobody_is_felt(clock: Clock) -> None:
    calls = Calls()
    pacer = Pacer(calls)
    for _ in range(3):
        calls.number += 1  # of its own
        pacer.count()
        pacer.see("one")
        assert worked(pacer, clock, 0.01) == pytest.approx(0.01 * CALM)


def test_a_rest_is_no_work(clock: Clock) -> None:
    pacer = Pacer(Calls(), "gentle")
    assert [worked(pacer, clock, 0.01) for _ in range(3)] == pytest.approx([0.01 * GENTLE] * 3)


@pytest.mark.parametrize("how", ["a call", "a change by another process"])
def test_others_are_felt_for_a_while(clock: Clock, how: str) -> None:
    calls = Calls()
    pacer = Pacer(calls)
    pacer.see(1)
    assert worked(pacer, clock, 0.01) == pytest.approx(0.01 * CALM)
    if how == "a call":
        calls.number += 1
    else:
        pacer.see(2)
    assert worked(pacer, clock, 0.01) == pytest.approx(0.01 * GENTLE)
    assert worked(pacer, clock, 0.01) == pytest.approx(0.01 * GENTLE)
    clock.now += FELT_FOR
    assert worked(pacer, clock, 0.0) == LONGEST * (FELT_FOR * CALM > LONGEST)
    assert worked(pacer, clock, 0.01) == pytest.approx(0.01 * CALM)


def test_no_rest_is_longer_than_a_blink(clock: Clock) -> None:
    assert worked(Pacer(Calls(), "gentle"), clock, 10.0) == LONGEST


def test_who_is_told_to_never_rests(clock: Clock) -> None:
    calls = Calls()
    pacer = Pacer(calls, "full")
    calls.number += 5
    assert worked(pacer, clock, 10.0) == 0.0


def test_a_plan_rests_only_where_a_pace_is_set(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(pacing.resting()) == []
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    pacer = Pacer(Calls(), "gentle")
    with pacer.setting():
        [operation] = pacing.resting()
    assert pacing.current() is None and isinstance(operation, Compute)
    clock.now += 0.01
    operation.work()
    assert slept == pytest.approx([0.01 * GENTLE])


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{tmp_path / 'charm.db'}") as opened:
        saver, at = opened.get_langgraph_checkpointer(), config("t")
        for number in range(12):
            at = put(saver, at, {"n": [f"{number}" * 400] * 4})
        yield opened


def paces(memory: Memory, monkeypatch: pytest.MonkeyPatch, sweep: Any) -> list[float]:
    """Return by how much a sweep multiplies its work for each of its rests."""
    seen: list[float] = []
    times = Pacer._times

    def noted(pacer: Pacer, now: float) -> float:
        seen.append(times(pacer, now))
        return 0.0

    monkeypatch.setattr(Pacer, "_times", noted)
    monkeypatch.setattr("charm_checkpoint.stores.sqlite.removing.ROWS", 3)
    report = sweep(memory)
    assert report.done.checkpoints == 11
    return seen


def sweep_here(memory: Memory) -> Any:
    return memory.sweep({"keep_last": 1})


def sweep_in_loop(memory: Memory) -> Any:
    async def sweep() -> Any:
        return await memory.asweep({"keep_last": 1})

    return asyncio.run(sweep())


@pytest.mark.parametrize("sweep", [sweep_here, sweep_in_loop], ids=["blocking", "async"])
def test_a_sweep_alone_is_calm_between_its_steps_and_within_them(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, sweep: Any
) -> None:
    seen = paces(memory, monkeypatch, sweep)
    assert set(seen) == {CALM} and len(seen) > 12


@pytest.mark.parametrize("sweep", [sweep_here, sweep_in_loop], ids=["blocking", "async"])
def test_a_sweep_feels_who_writes_from_elsewhere(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep: Any
) -> None:
    with open_memory(f"sqlite:///{tmp_path / 'charm.db'}") as other:
        saver, due = other.get_langgraph_checkpointer(), Pacer.due

        def write(pacer: Pacer) -> float:
            put(saver, config("other"), {"n": 1})
            return due(pacer)

        monkeypatch.setattr(Pacer, "due", write)
        seen = paces(memory, monkeypatch, sweep)
    assert seen[0] == CALM and seen[-1] == GENTLE


def test_a_pace_that_is_none_is_refused(memory: Memory) -> None:
    with pytest.raises(ConfigError, match="auto, gentle, full"):
        memory.sweep({"keep_last": 1}, pace="slow")  # type: ignore[arg-type]
