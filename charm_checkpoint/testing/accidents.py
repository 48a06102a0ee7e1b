"""Interrupts, cancellations, signal handlers and forks, at every moment: what comes next finds all as it should be."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pytest

from charm_checkpoint.contract import capabilities
from charm_checkpoint.errors import StoreClosed
from charm_checkpoint.memory import Memory
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime import lifecycle
from charm_checkpoint.testing.base import Open, Suite
from charm_checkpoint.testing.call_modes import CallMode
from charm_checkpoint.testing.moments import PACKAGE, Moments, sample
from charm_checkpoint.testing.scenarios import CAN_FORK, play
from charm_checkpoint.testing.thread_turns import Turns, leased

T = TypeVar("T")

PLACES: dict[str, tuple[str, ...]] = {
    "store": tuple(PACKAGE + name for name in ("runtime", "plan", "store")),
    "anywhere": (PACKAGE,),
}
"""Where to interrupt."""

SECONDS = 0.3
"""How long to go on with it, unless all moments are to be tried."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, at a moment of the test's choice."""


def interrupt() -> None:
    """Be the signal handler that Python has for Ctrl-C."""
    raise Interrupted


@contextmanager
def loop_of_its_own() -> Iterator[asyncio.AbstractEventLoop]:
    """Lend an event loop that is ended as `asyncio.run` would."""
    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.run_until_complete(end_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def end_all() -> None:
    """Cancel all tasks of the loop but this one."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


class StepByStep(Awaitable[None]):
    """Awaits a coroutine, counting how often it waits; at the time of that number ``act`` is called."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], at: int, act: Callable[[], object]) -> None:
        self._coroutine = coroutine
        self._at = at
        self._act = act
        self.seen = 0

    def __await__(self) -> Generator[Any, Any, None]:
        go_on: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                waited = go_on()
            except StopIteration:
                return
            self.seen += 1
            if self.seen == self._at:
                self._act()
            try:
                yield waited
            except BaseException as error:
                caught = error
                go_on = lambda: self._coroutine.throw(caught)  # noqa: E731, B023
            else:
                go_on = lambda: self._coroutine.send(None)  # noqa: E731


@pytest.mark.filterwarnings(
    # What is being made when an interrupt comes, Python closes with this warning.
    "ignore::ResourceWarning",
    "ignore:coroutine .* was never awaited:RuntimeWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
class Interrupts(Suite):
    """Ctrl-C and cancellation: whatever became of the call, the next one works."""

    @pytest.mark.parametrize("where", PLACES)
    def test_an_interrupt_at_any_moment(self, memory: Memory, mode: CallMode, where: str) -> None:
        turns, moments = Turns(memory), Moments(PLACES[where])
        with loop_of_its_own() as loop:
            take, check = in_mode(mode, loop, turns)
            check()
            for at in chosen(moments, take):
                kept: BaseException | None = None
                try:
                    moments.run(take, at, interrupt)
                except Interrupted as error:
                    kept = error  # as a debugger would, with its traceback and all that the frames in there held
                check()
                assert leased(memory) == 0, f"a connection was left out by an interrupt at moment {at}: {kept!r}"
        turns.check_all()

    @pytest.mark.parametrize("where", PLACES)
    def test_an_interrupt_of_the_first_call(self, opened: Open, mode: CallMode, where: str) -> None:
        moments = Moments(PLACES[where])
        with loop_of_its_own() as loop:
            Turns(opened()).check()
            for at in chosen(moments, in_mode(mode, loop, Turns(opened(), "new"))[0]):
                memory = opened()
                take, check = in_mode(mode, loop, Turns(memory, f"thread {at}"))
                with suppress(Interrupted):
                    moments.run(take, at, interrupt)
                check()
                mode.run(memory.close, memory.aclose)
                assert leased(memory) == 0, f"a connection was left out by an interrupt at moment {at}"

    def test_a_cancellation_wherever_a_call_waits(self, memory: Memory, mode: CallMode) -> None:
        if mode.name == "blocking":
            pytest.skip("blocking calls are not cancelled")

        async def cancelled_at(at: int) -> int:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            steps = StepByStep(turns.atake(), at, lambda: asked.append(loop.call_soon(task.cancel)))
            try:
                await steps
            except asyncio.CancelledError:
                cancelled.append(at)
            return steps.seen

        async def cancel_everywhere() -> None:
            await turns.acheck()
            seen = await cancelled_at(0)
            if not seen and not capabilities(memory.store.backend).durable:
                pytest.skip("what is in RAM is not waited for")
            assert seen, "what is to be cancelled does not wait"
            for at in sample(seen, 15):
                await asyncio.create_task(cancelled_at(at))
                await turns.acheck()
                assert leased(memory) == 0, f"a connection was left out by the cancellation at {at}"

        turns, asked, cancelled = Turns(memory), list[Any](), list[int]()
        asyncio.run(cancel_everywhere())
        assert asked, "nothing was cancelled"
        # Before Python 3.12, `asyncio.wait_for` keeps a cancellation to itself that comes as it is done.
        assert cancelled or sys.version_info < (3, 12), "no cancellation came through"
        turns.check_all()


class Closing(Suite):
    """A close ends in time, whoever calls it, and whatever goes on."""

    def test_a_signal_handler_closes_what_its_thread_is_using(self, opened: Open, mode: CallMode) -> None:
        moments = Moments(PLACES["store"])
        with loop_of_its_own() as loop:
            Turns(opened()).check()
            for at in chosen(moments, in_mode(mode, loop, Turns(opened(), "new"))[0]):
                turns = Turns(memory := opened())
                take, _ = in_mode(mode, loop, turns)
                with suppress(StoreClosed):
                    moments.run(take, at, memory.close)
                memory.close()
                with pytest.raises(StoreClosed):
                    take()
                assert leased(memory) == 0, f"a connection was left out after a close at moment {at}"
        Turns(opened(), "another").check()

    def test_a_loop_closes_what_its_tasks_are_using(self, opened: Open, mode: CallMode) -> None:
        async def close_meanwhile() -> list[Any]:
            calls = [Turns(memory, f"thread {n}").atake() for n in range(12)]
            tasks = [asyncio.create_task(call) for call in calls]
            for _ in range(3):
                await asyncio.sleep(0)
            if mode.name == "async":
                await memory.aclose()
            else:  # as a handler that the loop calls
                memory.close()
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)

        Turns(memory := opened()).check()
        outcomes = asyncio.run(close_meanwhile())
        closed = [outcome for outcome in outcomes if isinstance(outcome, StoreClosed)]
        assert [outcome for outcome in outcomes if outcome is not None and outcome not in closed] == []
        assert closed or not capabilities(memory.store.backend).durable, "all were done before the close"
        assert leased(memory) == 0

    def test_a_close_does_not_wait_for_ever(
        self, opened: Open, mode: CallMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lifecycle, "CLOSING", 0.2)
        began, go_on = threading.Event(), threading.Event()

        def slow() -> Plan[None]:
            yield from memory.store.backend.usage("t")
            began.set()
            go_on.wait(30)

        def call() -> None:
            with suppress(StoreClosed):
                memory.store.run(slow, write=True)

        Turns(memory := opened()).check()
        caller = threading.Thread(target=call)
        caller.start()
        assert began.wait(30)
        mode.run(memory.close, memory.aclose)
        assert caller.is_alive(), "the call had not been waited for"
        go_on.set()
        caller.join(30)
        with pytest.raises(StoreClosed):
            Turns(memory).take()
        assert leased(memory) == 0

    @pytest.mark.parametrize("state", ["at rest", "running", "blocked", "closed"])
    def test_a_close_does_not_wait_for_other_loops(self, opened: Open, mode: CallMode, state: str) -> None:
        memory, loop = opened(), asyncio.new_event_loop()
        used, closed = threading.Event(), threading.Event()

        async def use() -> None:
            await memory.asave_messages("t", [{"n": 1}])
            used.set()

        async def use_and_stay() -> None:
            await use()
            if state == "blocked":  # its thread waits for whoever closes
                closed.wait(30)
            await asyncio.to_thread(closed.wait, 30)
            with suppress(StoreClosed):
                await memory.aload_messages("t")

        thread = threading.Thread(target=lambda: loop.run_until_complete(use_and_stay()))
        if state in ("running", "blocked"):
            thread.start()
            assert used.wait(30)
        else:
            loop.run_until_complete(use())
            loop.close() if state == "closed" else None
        began = time.monotonic()
        mode.run(memory.close, memory.aclose)
        assert time.monotonic() - began < 2
        closed.set()
        thread.join(30) if thread.ident else None
        loop.close()
        assert leased(memory) == 0


@pytest.mark.skipif(not CAN_FORK, reason="there are no forks here")
class Forks(Suite):
    """Parent and child both go on, or the child is told at once why it cannot."""

    @pytest.mark.parametrize("scenario", ["fork_while_threads_work", "fork_in_c", "fork_in_c_amid_a_call"])
    def test_a_fork(self, url: str, scenario: str) -> None:
        play(scenario, url)

    def test_sigterm_closes_and_ends(self, url: str) -> None:
        play("close_at_sigterm", url)


def chosen(moments: Moments, take: Callable[[], None]) -> Iterator[int]:
    """Choose moments of a call to try: a few, evenly; fewer where it takes long."""
    began = time.monotonic()
    count = moments.count(take)
    assert count > 20, f"{count} moments are no call: what was to be interrupted is elsewhere"
    yield from sample(count, max(5, int(SECONDS / (time.monotonic() - began))))
    assert moments.acted, "none of the moments came again"


def in_mode(
    mode: CallMode, loop: asyncio.AbstractEventLoop, turns: Turns
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what takes a turn and what checks all, blocking or in an event loop."""
    if mode.name == "blocking":
        return turns.take, turns.check

    def check() -> None:
        # Where the interrupt came in the round of the loop in which the turn ended, what ends `run_until_complete` is
        # still to run: it would end the next one.
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.run_until_complete(turns.acheck())

    return lambda: loop.run_until_complete(turns.atake()), check
