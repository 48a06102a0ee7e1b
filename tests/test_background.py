"""What is done beside turns: each job once, one at a time, whoever brings it, and whatever ends meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time

import pytest

from charm_checkpoint.runtime.background import Background

SCALE = int(os.environ.get("CHARM_TEST_SCALE", "1"))


class Jobs:
    """Does jobs, and keeps which were done and how many at once."""

    def __init__(self, size: int = 10_000) -> None:
        self.done: list[int] = []
        self.running = self.most = 0
        self.fail: set[int] = set()
        self.background: Background[int] = Background("test", self.work, self.awork, size=size)

    def work(self, job: int) -> None:
        self._begin(job)
        time.sleep(0)
        self._end(job)

    async def awork(self, job: int) -> None:
        self._begin(job)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.running -= 1
            raise
        self._end(job)

    def _begin(self, job: int) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        if job in self.fail:
            self.running -= 1
            raise ZeroDivisionError(job)

    def _end(self, job: int) -> None:
        self.running -= 1
        self.done.append(job)


@pytest.mark.parametrize("seed", range(4 * SCALE))
def test_threads_and_loops_share_it(seed: int) -> None:
    chance, jobs = random.Random(seed), Jobs()
    numbers = iter(range(10_000))
    put: list[int] = []

    def some() -> list[int]:
        made = [next(numbers) for _ in range(chance.randrange(1, 12))]
        put.extend(made)
        return made

    def thread(mine: list[int]) -> None:
        for number in mine:
            assert jobs.background.put(number)

    async def task(mine: list[int], awaits: bool) -> None:
        for number in mine:
            assert jobs.background.aput(number)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        if awaits:
            await jobs.background.ajoin(10)  # else the loop ends under its jobs

    for _ in range(6):
        workers = [threading.Thread(target=thread, args=(some(),)) for _ in range(chance.randrange(3))]
        mine, awaits = some(), chance.random() < 0.5
        workers.append(threading.Thread(target=lambda mine=mine, awaits=awaits: asyncio.run(task(mine, awaits))))
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert jobs.background.join(20)
    assert sorted(jobs.done) == sorted(put) and jobs.most == 1 and jobs.running == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_that_raises_stops_no_other() -> None:
    jobs = Jobs()
    jobs.fail = {1, 3}
    for number in range(5):
        jobs.background.put(number)
    until = time.monotonic() + 10
    while not jobs.background.join(0.1) and time.monotonic() < until:
        pass
    assert jobs.done == [0, 2, 4]


def test_no_more_wait_than_may() -> None:
    jobs, go = Jobs(size=2), threading.Event()
    jobs.background._work = lambda job: (go.wait(10), jobs.done.append(job))[1]
    assert [jobs.background.put(number) for number in range(6)].count(True) in (2, 3)
    assert not jobs.background.join(0.01)
    left = jobs.background.forget()
    go.set()
    assert jobs.background.join(10) and not set(left) & set(jobs.done)


def test_who_waits_in_the_loop_that_works_is_told_at_once() -> None:
    jobs = Jobs()

    async def program() -> None:
        jobs.background.aput(1)
        assert not jobs.background.join(30)  # it would wait for itself
        assert await jobs.background.ajoin(10)

    started = time.monotonic()
    asyncio.run(program())
    assert time.monotonic() - started < 10 and jobs.done == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_has_none_of_its_parents() -> None:
    jobs, go = Jobs(), threading.Event()
    jobs.background._work = lambda job: (go.wait(10), jobs.done.append(job))[1]
    jobs.background.put(1)
    jobs.background.put(2)
    pid = os.fork()
    if pid == 0:
        go.set()
        jobs.background.put(3)
        good = jobs.background.join(10) and jobs.done == [3]
        os._exit(0 if good else 1)
    assert os.waitpid(pid, 0)[1] == 0
    go.set()
    assert jobs.background.join(10) and jobs.done == [1, 2]
