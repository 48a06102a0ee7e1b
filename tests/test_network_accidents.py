"""What may happen to a process in the middle of a call to a server: Ctrl-C, signals, forks, loops that end."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from stores import have, supabase_url, tenant_url, valkey_cluster_url, valkey_sentinel_server, valkey_url

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.config.options import parse_url
from charm_checkpoint.errors import StoreClosed
from charm_checkpoint.servers.proxy import Proxy
from charm_checkpoint.stores.shared.pools import Pools
from charm_checkpoint.testing.accidents import interrupt
from charm_checkpoint.testing.moments import PACKAGE, Moments
from charm_checkpoint.testing.scenarios import ended, fork_of_c, forked

SECONDS = float(os.environ.get("CHARM_HUNT_SECONDS", "0.3"))
"""How long each hunt goes on, at least."""

AT_LEAST = 12
"""How many moments a hunt tries, however slow the machine is."""

STORES = {
    "postgres": tenant_url,
    "supabase": supabase_url,
    "valkey": valkey_url,
    "valkey-cluster": valkey_cluster_url,
    "valkey-sentinel": lambda: f"{valkey_sentinel_server().url}&prefix=p{next(_numbers)}",
}
_numbers = itertools.count()

THREADS = [str(number) for number in range(6)]


every_store = pytest.mark.parametrize("store", list(STORES), indirect=True)
"""For tests that also concern clusters and sentinels, whose connections are of the same kind as a server's."""


@pytest.fixture(params=["postgres", "supabase", "valkey"])
def store(request: pytest.FixtureRequest) -> str:
    """Return the name of a store."""
    return str(request.param)


@pytest.fixture
def url(store: str) -> str:
    """Return the URL of a new, empty store, with two connections at most."""
    found = have(STORES[store])
    return f"{found}{'&' if '?' in found else '?'}max_connections=2&timeout=10s"


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    """Return a store whose threads each hold a message with their own name."""
    with open_memory(url) as memory:
        for thread in THREADS:
            memory.save_messages(thread, [{"n": thread}])
        yield memory
        assert leased(memory) == 0


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    """Let what is collected late warn in the test that left it."""
    yield
    gc.collect()


def leased(memory: Memory) -> int:
    return int(memory.store.driver.leased())  # type: ignore[attr-defined]


def connections(memory: Memory) -> list[Pools]:
    """Return the connections of a store, to each of its servers."""
    driver: Any = memory.store.driver
    return list(driver._servers._pools.values()) if hasattr(driver, "_servers") else [driver._pools]


def idle(memory: Memory) -> list[int]:
    """Tell which connections rest."""
    all_pools = [pool for pools in connections(memory) for pool in pools._own.get().all()]
    return [id(held.connection) for pool in all_pools for held in pool._idle]


def holds_own(memory: Memory) -> bool:
    """Tell whether each thread has its own message, and not the reply of another call."""
    return all(memory.load_messages(thread) == [{"n": thread}] for thread in THREADS)


async def aholds_own(memory: Memory) -> bool:
    """Tell the same of async calls, all at once."""
    found = await asyncio.gather(*(memory.aload_messages(thread) for thread in THREADS))
    return found == [[{"n": thread}] for thread in THREADS]


# --------------------------------------------------------------------------------- interrupts


ANYWHERE = (PACKAGE, *(sysconfig.get_path(name) for name in ("stdlib", "purelib")))
CLIENTS = (PACKAGE, *(sysconfig.get_path("purelib") + os.sep + name + os.sep for name in ("psycopg", "redis")))
"""Where to interrupt a task: asyncio's own code is not made for that."""


def interrupted(call: Callable[[], object], moment: int, places: tuple[str, ...]) -> bool:
    """Make a call; tell whether an interrupt came at that moment of it, whatever libraries made of that."""
    moments = Moments(places)
    try:
        moments.run(call, moment, interrupt)
    except BaseException:
        if not moments.acted:
            raise
    return bool(moments.acted)


def hunt(work: Callable[[int], bool]) -> None:
    """Call with numbers at random, ever larger ones while it says that there are more, until time is over."""
    end, known, tried, came = time.monotonic() + SECONDS, 64, set[int](), 0
    while time.monotonic() < end or len(tried) < AT_LEAST:
        number = random.randint(1, known)
        tried.add(number)
        if work(number):
            came += 1
            known *= 2 if number > known // 2 else 1
    assert came, "none of the moments came"


@pytest.fixture
def no_complaints(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let sockets go unclosed, and finalizers be interrupted: such things are said, and do no harm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "unraisablehook", lambda found: None)
            yield
            gc.collect()


@every_store
def test_whatever_is_interrupted_the_next_call_works(memory: Memory, no_complaints: None) -> None:
    def work(moment: int) -> bool:
        if moment % 3 == 0:
            for pools in connections(memory):
                pools.clear()  # and have it connect anew
        found: list[Any] = []
        came = interrupted(lambda: found.extend(memory.load_messages("0")), moment, ANYWHERE)
        assert found == [{"n": "0"}] or (came and found == []), moment
        assert memory.load_messages("1") == [{"n": "1"}], moment
        assert leased(memory) == 0, moment
        return came

    hunt(work)
    assert holds_own(memory)


@every_store
def test_whatever_task_is_interrupted_the_next_call_works(memory: Memory, no_complaints: None) -> None:
    loop = asyncio.new_event_loop()

    def work(moment: int) -> bool:
        task = loop.create_task(memory.aload_messages("0"))
        came = interrupted(partial(loop.run_until_complete, task), moment, CLIENTS)
        while not task.done():  # asyncio hands an interrupt of one task to the next, and out of the loop each time
            with suppress(KeyboardInterrupt):
                done, _ = loop.run_until_complete(asyncio.wait([task], timeout=20))
                assert done, moment
        task.exception() if not task.cancelled() else None
        del task
        assert loop.run_until_complete(memory.aload_messages("1")) == [{"n": "1"}], moment
        assert leased(memory) == 0, moment
        return came

    hunt(work)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_real_signals_at_random_moments(memory: Memory, no_complaints: None) -> None:
    def handle(*args: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handle)
    end, interrupted = time.monotonic() + SECONDS, 0
    try:
        while time.monotonic() < end or interrupted < AT_LEAST:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.003))
                memory.load_messages("0")
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            assert memory.load_messages("1") == [{"n": "1"}]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert leased(memory) == 0 and holds_own(memory)


def test_cancelled_calls_leave_their_replies_to_nobody(memory: Memory) -> None:
    async def cancel_often() -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            calls = [asyncio.create_task(memory.aload_messages("0")) for _ in range(4)]
            await asyncio.sleep(random.uniform(0, 0.003))
            for call in calls:
                call.cancel()
            for found in await asyncio.gather(*calls, return_exceptions=True):
                assert found == [{"n": "0"}] or isinstance(found, asyncio.CancelledError)
            assert await memory.aload_messages("1") == [{"n": "1"}]
        assert await aholds_own(memory)

    asyncio.run(cancel_often())


# ------------------------------------------------------------------------------------ closing


@pytest.mark.parametrize("blocked", [False, True])
def test_a_signal_handler_may_close_what_its_thread_is_using(url: str, blocked: bool) -> None:
    port = parse_url(url).hosts[0][1] or 0
    with Proxy(port) as proxy, open_memory(url.replace(f":{port}", f":{proxy.port}")) as memory:
        memory.save_messages("0", [{"n": "0"}])
        closed: list[float] = []

        def handle(*args: Any) -> None:
            began = time.monotonic()
            memory.close()
            closed.append(time.monotonic() - began)
            proxy.delay = 0

        before = signal.signal(signal.SIGALRM, handle)
        proxy.delay = 0.3 if blocked else 0
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            found = memory.load_messages("0")  # the one that is interrupted ends with its result
            while not blocked:
                found = memory.load_messages("0")
        except StoreClosed:
            assert closed
        else:
            assert closed and found == [{"n": "0"}]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert closed[0] < 1 and leased(memory) == 0
        with pytest.raises(StoreClosed):
            memory.load_messages("0")


def test_close_waits_for_no_call_of_another_thread_or_loop(memory: Memory) -> None:
    stop, found = threading.Event(), list[Any]()

    async def turn() -> None:
        while True:
            assert await aholds_own(memory)
            stop.set()

    def work(call: Callable[[], Any]) -> None:
        try:
            while True:
                assert call()
                stop.set()
        except StoreClosed as error:
            found.append(error)

    calls: list[Callable[[], Any]] = [lambda: holds_own(memory), lambda: asyncio.run(turn())]
    threads = [threading.Thread(target=work, args=(call,)) for call in calls * 2]
    for thread in threads:
        thread.start()
    stop.wait(10)
    memory.close()
    for thread in threads:
        thread.join(10)
    assert len(found) == 4


# -------------------------------------------------------------------------------------- forks


@every_store
@pytest.mark.parametrize("fork", [os.fork, fork_of_c])
def test_children_and_parent_have_replies_of_their_own(memory: Memory, fork: Callable[[], int]) -> None:
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(aholds_own(memory)) and holds_own(memory)

    def work() -> None:
        assert all(holds_own(memory) for _ in range(10))
        assert loop.run_until_complete(aholds_own(memory))
        assert asyncio.run(aholds_own(memory))
        assert leased(memory) == 0

    children = [forked(work, fork) for _ in range(3)]
    assert all(holds_own(memory) for _ in range(10))
    for child in children:
        ended(child)
    assert holds_own(memory) and loop.run_until_complete(aholds_own(memory))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.mark.parametrize("fork", [os.fork, fork_of_c])
@pytest.mark.parametrize("way", ["close", "drop", "nothing"])
def test_a_child_that_ends_takes_nothing_from_its_parent(url: str, fork: Callable[[], int], way: str) -> None:
    memory = open_memory(url)
    memory.save_messages("0", [{"n": "0"}])
    loop = asyncio.new_event_loop()
    loop.run_until_complete(memory.aload_messages("0"))
    held: list[Memory] = [memory]
    del memory

    def work() -> None:
        if way == "close":
            held[0].close()
        if way != "nothing":
            held.clear()
            gc.collect()

    before = idle(held[0])
    ended(forked(work, fork))
    assert held[0].load_messages("0") == [{"n": "0"}]
    assert loop.run_until_complete(held[0].aload_messages("0")) == [{"n": "0"}]
    assert before and idle(held[0]) == before  # the same connections go on
    held.pop().close()
    loop.close()


# -------------------------------------------------------------------------------- event loops


def test_many_threads_find_the_same_loops_closed(memory: Memory) -> None:
    errors: list[BaseException] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        try:
            assert asyncio.run(memory.aload_messages("0")) == [{"n": "0"}]
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3):
            loops = [asyncio.new_event_loop() for _ in range(20)]
            for loop in loops:
                loop.run_until_complete(memory.aload_messages("0"))
            for loop in loops:
                loop.close()
            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert errors == []


def test_what_is_dropped_in_a_running_loop_leaves_nothing_open(url: str) -> None:
    async def work() -> None:
        memory = open_memory(url)
        await memory.aload_messages("0")
        memory.load_messages("0")
        del memory
        gc.collect()
        await asyncio.sleep(0)
        gc.collect()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(work())
        gc.collect()


def test_a_call_from_atexit_works(url: str) -> None:
    script = """
import asyncio, atexit, sys
from charm_checkpoint import open_memory
memory = open_memory(sys.argv[1])
memory.save_messages("0", [{"n": "0"}])
async def last():
    await memory.aappend_messages("0", [{"n": "1"}])
    await memory.aclose()
    print("done")
atexit.register(lambda: asyncio.run(last()))
asyncio.run(asyncio.to_thread(int))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", script, url.replace("127.0.0.1", "localhost")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    with open_memory(url) as memory:
        assert memory.load_messages("0") == [{"n": "0"}, {"n": "1"}]
