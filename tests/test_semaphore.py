"""Permits are granted in order and in time, and none is lost, whatever interrupts whoever has or awaits one."""

from __future__ import annotations

import asyncio
import threading

import pytest

from charm_checkpoint.runtime.semaphore import Permit, Semaphore


def taken(semaphore: Semaphore) -> Permit:
    permit = Permit(semaphore)
    assert permit.acquire(10)
    return permit


def test_whoever_waits_longest_is_next() -> None:
    async def queue() -> list[int]:
        semaphore, order = Semaphore(1), list[int]()

        async def work(number: int) -> None:
            permit = Permit(semaphore)
            assert await permit.aacquire(10)
            order.append(number)
            await asyncio.sleep(0)
            permit.release()

        await asyncio.gather(*(work(number) for number in range(5)))
        return order

    assert asyncio.run(queue()) == list(range(5))


def test_nobody_waits_longer_than_he_said() -> None:
    async def wait() -> None:
        semaphore = Semaphore(1)
        first, second, third = Permit(semaphore), Permit(semaphore), Permit(semaphore)
        assert await first.aacquire(10)
        assert not await second.aacquire(0.01)
        assert not third.acquire(0.01)
        first.release()  # not to those who left
        assert await third.aacquire(0)
        assert len(semaphore) == 1

    asyncio.run(wait())


@pytest.mark.parametrize("came", [False, True])
def test_the_permit_of_one_who_was_cancelled_goes_to_the_next(came: bool) -> None:
    async def cancel() -> None:
        semaphore = Semaphore(1)
        permit = Permit(semaphore)
        assert await permit.aacquire(10)

        async def work() -> None:
            mine = Permit(semaphore)
            try:
                assert await mine.aacquire(10)
            finally:
                mine.release()

        first, second = asyncio.create_task(work()), asyncio.create_task(work())
        await asyncio.sleep(0)
        if came:
            permit.release()  # the first has it, but does not know yet
        first.cancel()
        if not came:
            permit.release()
        await asyncio.wait_for(second, 5)
        assert first.cancelled() and len(semaphore) == 0

    asyncio.run(cancel())


@pytest.mark.parametrize("waiting", [False, True])
def test_one_who_is_gone_without_a_word_has_left(waiting: bool) -> None:
    semaphore = Semaphore(1)
    first = taken(semaphore)
    second = Permit(semaphore)
    if waiting:
        thread = threading.Thread(target=second.acquire, args=(10,))
        thread.start()
        while len(semaphore) < 2:
            pass
        del first  # as when an interrupt ends a call between two bytecodes
        thread.join(5)
        assert not thread.is_alive()
    else:
        del first
        assert second.acquire(0)
    assert len(semaphore) == 1
    second.release()
    second.release()
    assert len(semaphore) == 0


def test_many_threads_take_turns() -> None:
    semaphore, most, works = Semaphore(3), list[int](), list[int]()

    def work() -> None:
        for _ in range(200):
            permit = taken(semaphore)
            works.append(1)
            most.append(len(works))
            works.pop()
            permit.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(most) == 1600 and max(most) <= 3 and len(semaphore) == 0


def test_thousands_who_wait_are_not_busy_with_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    granted = Semaphore.granted

    def counted(self: Semaphore) -> list[Permit | None]:
        nonlocal looks
        looks += 1
        return granted(self)

    monkeypatch.setattr(Semaphore, "granted", counted)
    many, order = 5_000, list[int]()

    async def work(semaphore: Semaphore, number: int) -> None:
        permit = Permit(semaphore)
        assert await permit.aacquire(60)
        order.append(number)
        await asyncio.sleep(0)
        permit.release()

    async def queue() -> None:
        semaphore = Semaphore(10)
        first = [Permit(semaphore) for _ in range(10)]
        for permit in first:
            assert await permit.aacquire(60)
        waiting = [asyncio.ensure_future(work(semaphore, number)) for number in range(many)]
        await asyncio.sleep(0.5)  # as long as five looks of each, if there were few
        assert looks < 2 * many
        for permit in first:
            permit.release()
        await asyncio.gather(*waiting)

    asyncio.run(queue())
    assert order == list(range(many))


def test_one_who_looks_wakes_whom_an_interrupt_left_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charm_checkpoint.runtime.semaphore.MANY", 1)  # each of 300 looks every 30 s

    async def look() -> None:
        semaphore = Semaphore(1)
        first, second = Permit(semaphore), Permit(semaphore)
        assert await first.aacquire(10)
        waiting = asyncio.ensure_future(second.aacquire(60))
        await asyncio.sleep(0)
        crowd = [asyncio.ensure_future(Permit(semaphore).aacquire(60)) for _ in range(300)]
        await asyncio.sleep(0.5)  # second has looked, and does so again in 30 s
        first.leave()  # and wakes nobody, as a call that an interrupt ended
        assert await asyncio.wait_for(waiting, 10)
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)

    asyncio.run(look())
