"""Turns: in order, in time, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from charm_checkpoint.backends.turns import Turns


def test_whoever_waits_longest_is_next() -> None:
    async def queue() -> list[int]:
        turns, order = Turns(1), list[int]()

        async def work(number: int) -> None:
            assert await turns.take(10)
            order.append(number)
            await asyncio.sleep(0)
            turns.give()

        await asyncio.gather(*(work(number) for number in range(5)))
        return order

    assert asyncio.run(queue()) == list(range(5))


def test_nobody_waits_longer_than_he_said() -> None:
    async def wait() -> None:
        turns = Turns(1)
        assert await turns.take(10)
        assert not await turns.take(0.01)
        turns.give()  # not to the one who left
        assert await turns.take(0)

    asyncio.run(wait())


@pytest.mark.parametrize("came", [False, True])
def test_the_turn_of_one_who_was_cancelled_goes_to_the_next(came: bool) -> None:
    async def cancel() -> None:
        turns = Turns(1)
        assert await turns.take(10)
        first, second = (asyncio.create_task(turns.take(10)) for _ in range(2))
        await asyncio.sleep(0)
        if came:
            turns.give()  # the first has it, but does not know yet
        first.cancel()
        if not came:
            turns.give()
        assert await asyncio.wait_for(second, 5)
        assert first.cancelled()

    asyncio.run(cancel())
