"""What each event loop has: one thing, closed at its end, in whatever way it ends, from any thread."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

from charm_checkpoint.runtime.event_loops import end_transport
from charm_checkpoint.runtime.lifecycle import PerLoop


class Thing:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    """Let what is collected late warn in the test that left it."""
    yield
    gc.collect()


def test_a_loop_has_one_thing_until_it_ends() -> None:
    loops: PerLoop[Thing] = PerLoop(Thing, Thing.close)

    async def use() -> Thing:
        first = loops.get()
        assert await asyncio.create_task(again()) is first and not first.closed
        assert first.loop is asyncio.get_running_loop()
        return first

    async def again() -> Thing:
        return loops.get()

    one = asyncio.run(use())
    other = asyncio.run(use())
    assert one is not other and one.closed and other.closed


def test_what_a_loop_has_is_dropped_when_it_is_found_closed() -> None:
    loops: PerLoop[Thing] = PerLoop(Thing, Thing.close)

    async def use() -> Thing:
        return loops.get()

    loop = asyncio.new_event_loop()
    thing = loop.run_until_complete(use())
    loop.close()
    assert not thing.closed and loops.all() == [thing]
    other = asyncio.run(use())
    assert thing.closed and loops.all() == [other]
    loops.close_all()
    assert loops.all() == []


@pytest.mark.parametrize("where", ["inside", "another thread", "stopped", "closed"])
def test_all_is_closed_from_anywhere(where: str) -> None:
    loops: PerLoop[Thing] = PerLoop(Thing, Thing.close)

    async def use() -> Thing:
        thing = loops.get()
        if where == "inside":
            loops.close_all()
        if where == "another thread":
            await asyncio.to_thread(loops.close_all)
        return thing

    loop = asyncio.new_event_loop()
    thing = loop.run_until_complete(use())
    if where == "closed":
        loop.close()
    loops.close_all()
    assert thing.closed and loops.all() == []
    if where != "closed":
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def hammer(work: Callable[[], None], threads: int = 12) -> None:
    """Call a function in many threads at once; raises what one of them raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(threads)

    def run() -> None:
        start.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    if errors:
        raise errors[0]


def test_many_threads_with_loops_that_end_soon() -> None:
    loops: PerLoop[Thing] = PerLoop(Thing, Thing.close)
    things: list[Thing] = []

    async def use() -> None:
        things.append(loops.get())

    def work() -> None:
        for number in range(40):
            if number % 2:
                asyncio.run(use())
            else:
                loop = asyncio.new_event_loop()
                loop.run_until_complete(use())
                loop.close()

    hammer(work)
    loops.close_all()
    assert len(things) == len(set(things)) == 480 and all(thing.closed for thing in things)


# ------------------------------------------------------------------------------- transports


def connected(loop: asyncio.AbstractEventLoop) -> tuple[asyncio.StreamWriter, socket.socket]:
    """Return a stream of a loop, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    _, writer = loop.run_until_complete(asyncio.open_connection(sock=ours))
    return writer, theirs


@pytest.mark.parametrize("state", ["running", "running elsewhere", "stopped", "stopped for good", "closed"])
def test_a_transport_is_ended_whatever_its_loop_does(state: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop = asyncio.new_event_loop()
        writer, theirs = connected(loop)

        async def end_here(writer: asyncio.StreamWriter) -> None:
            end_transport(writer.transport, loop)
            await asyncio.sleep(0)

        if state == "running":
            loop.run_until_complete(end_here(writer))
        elif state == "running elsewhere":
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            while not loop.is_running():
                pass
            end_transport(writer.transport, loop)
            assert theirs.recv(1) == b""
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
        else:
            if state == "closed":
                loop.close()
            end_transport(writer.transport, loop)
        assert theirs.recv(1) == b""
        if state == "stopped":
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        theirs.close()
        del writer
        gc.collect()
