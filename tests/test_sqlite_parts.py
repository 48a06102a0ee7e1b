"""A plan of a SQLite store that is run in parts: how it ends, whatever becomes of who waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.pacing import Pacer
from charm_checkpoint.stores.sqlite.parts import Parts
from charm_checkpoint.stores.sqlite.steps import PAUSE, Sql


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"sqlite:///{tmp_path}/charm.db") as opened:
        opened.setup()
        yield opened


class Ended(BaseException):
    """The program ends here."""


def end() -> None:
    raise Ended


class Long(Pacer):
    """Sets a pace of one rest that is long; ``asked`` is done where it begins."""

    def __init__(self, asked: Callable[[], object]) -> None:
        super().__init__(lambda: 0)
        self._asked = asked

    def due(self) -> float:
        self._asked()
        return 600.0


def in_two(closed: list[str], work: Callable[[], object] = list) -> Plan[None]:
    """Note that it is closed, and that the second part of it is run."""
    try:
        yield Sql("SELECT 1")
        work()
        yield PAUSE
        yield Sql("SELECT 2")
        closed.append("was run")
    finally:
        closed.append("closed")


def test_a_plan_that_has_ended_leaves_no_rest() -> None:
    def make() -> Plan[None]:
        yield PAUSE

    parts = Parts(make)
    while not parts.ended:
        for _ in parts.part():
            pass
    assert parts.ended == [None] and not parts.rests


def test_a_plan_is_closed_where_its_rest_is_interrupted(memory: Memory) -> None:
    """Not when its memory is freed, which is some time later, or here never."""
    closed: list[str] = []
    plan = in_two(closed)
    with Long(end).setting(), pytest.raises(Ended):
        memory.store.driver.run(lambda: plan, write=True)
    assert closed == ["closed"]


def test_a_plan_is_closed_where_its_task_is_cancelled_in_a_rest(memory: Memory) -> None:
    closed: list[str] = []
    plan = in_two(closed)

    async def main() -> None:
        rests = asyncio.Event()
        with Long(rests.set).setting():
            task = asyncio.create_task(memory.store.driver.arun(lambda: plan, write=True))
        await rests.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and closed == ["closed"]

    asyncio.run(main())


def test_a_plan_is_closed_behind_the_part_in_which_its_task_is_cancelled(memory: Memory) -> None:
    closed: list[str] = []
    begun, go_on = threading.Event(), threading.Event()
    plan = in_two(closed, lambda: (begun.set(), go_on.wait(20)))

    async def main() -> None:
        task = asyncio.create_task(memory.store.driver.arun(lambda: plan, write=True))
        await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and not closed
        go_on.set()
        await memory.store.driver.arun(lambda: in_two([]), write=True)  # which comes behind it
        assert closed == ["closed"]

    asyncio.run(main())
