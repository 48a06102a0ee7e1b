"""Scenarios that end processes, each played in one of its own: forks, with and without hooks, and signals.

`main` is the stage: a process that has everything imported and opened nothing. For
each line that it is sent, ``[scenario, url]``, it forks an actor, and answers with what that came to.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from charm_checkpoint.contract import capabilities
from charm_checkpoint.contract_items import ItemBackend, ItemBatch, ItemChange, ItemKey
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.memory import Memory, open_memory
from charm_checkpoint.plan import Plan
from charm_checkpoint.testing.samples import checkpoint, config, values, versions
from charm_checkpoint.testing.thread_turns import METADATA, Turns

CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"  # where system libraries do not survive it

TIMEOUT = 30
"""Seconds until an actor, or a child of his, is taken to hang."""


# ------------------------------------------------------------------------------ scenarios


def fork_while_threads_work(url: str) -> None:
    """Fork, while threads read and write without pause; the children use the store."""
    with open_memory(url) as memory, at_work(memory):
        for number in range(2):
            ended(forked(lambda: used(memory, f"child {number}")))  # noqa: B023
        used(memory, "parent")
        if capabilities(memory.store.backend).processes:
            assert {"child 0", "child 1"} <= threads_of(memory)


def fork_in_c(url: str) -> None:
    """Fork without hooks, before the store is used and after that."""
    with open_memory(url) as memory:
        ended(forked(lambda: used(memory, "early child"), fork_of_c))
        used(memory, "parent")
        for number in range(2):
            ended(forked(lambda: used_or_told(memory, f"child {number}"), fork_of_c))  # noqa: B023
            used(memory, "parent")
        ended(forked(memory.close, fork_of_c))
        ended(forked(lambda: asyncio.run(memory.aclose()), fork_of_c))
        used(memory, "parent")


def fork_in_c_amid_a_call(url: str) -> None:
    """Fork without hooks, while another thread is in the midst of a call."""
    with open_memory(url) as memory, amid_a_call(memory):
        for number in range(2):
            ended(forked(lambda: used_or_told(memory, f"child {number}"), fork_of_c))  # noqa: B023
        ended(forked(memory.close, fork_of_c))
    with open_memory(url) as memory:
        used(memory, "parent")


def close_at_sigterm(url: str) -> None:
    """Close from a signal handler, in a thread that uses the store, and in its event loop."""
    with open_memory(url) as memory:
        used(memory, "parent")
    for job in (until_sigterm, until_sigterm, until_sigterm, until_sigterm_in_a_loop, until_sigterm_in_a_loop):
        ready, is_ready = os.pipe()
        pid = forked(lambda: job(url, is_ready))  # noqa: B023
        os.read(ready, 1)
        time.sleep(random.uniform(0, 0.03))
        os.kill(pid, signal.SIGTERM)
        ended(pid)
        os.close(ready)
        os.close(is_ready)
    with open_memory(url) as memory:
        used(memory, "parent")


def killed_after_a_put(url: str) -> None:
    """Put a checkpoint and its writes in a child that is killed at once."""
    ended(forked(lambda: put_and_kill(url)), -signal.SIGKILL)


def put_and_kill(url: str) -> None:
    """Put a checkpoint and its writes, and kill this process."""
    saver = open_memory(url).get_langgraph_checkpointer()
    made = checkpoint(values(), id="last")
    where = saver.put(config(), made, METADATA, versions(made))
    saver.put_writes(where, list(values().items()), "task", "path")
    os.kill(os.getpid(), signal.SIGKILL)


def killed_amid_item_changes(url: str) -> None:
    """Change three items at a time, in children that are killed: what was confirmed is there, and no half of it."""
    for round in range(2):
        confirmed, confirm = os.pipe()
        space = b"round %d" % round
        pid = forked(lambda: change_items(url, space, confirm))  # noqa: B023
        os.close(confirm)
        count = len(os.read(confirmed, 1))
        time.sleep(random.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)
        ended(pid, -signal.SIGKILL)
        count += len(os.read(confirmed, 100_000))
        os.close(confirmed)
        with open_memory(url) as memory:
            found = memory.store.run(partial(items_of(memory).fetch, three_of(space)), write=False)
            values = [int(row.value) for row in found.values()]
            assert len(values) == 3 and len(set(values)) == 1, f"half of a batch is there: {values}"
            assert values[0] in (count, count + 1), f"{count} changes were confirmed, the last one found is {values[0]}"


def change_items(url: str, space: bytes, confirm: int) -> None:
    """Put three items over and over, each time with the next number, and confirm it."""
    with open_memory(url) as memory:
        for number in itertools.count(1):
            changes = [ItemChange(item.space, item.key, b"%d" % number) for item in three_of(space)]
            batch = ItemBatch(number, changes=changes)
            memory.store.run(partial(items_of(memory).change, batch), write=True)
            os.write(confirm, b".")


def three_of(space: bytes) -> list[ItemKey]:
    """Return three items of a space."""
    return [ItemKey(space, name) for name in (b"a", b"b", b"c")]


def items_of(memory: Memory) -> ItemBackend:
    """Return a store's items, which it has."""
    assert memory.store.items is not None
    return memory.store.items


def until_sigterm(url: str, is_ready: int) -> None:
    """Use a store until a handler closes it."""
    memory = open_memory(url)
    turns = Turns(memory, "child")

    def handle(number: int, frame: Any) -> None:
        memory.close()
        raise SystemExit(0)

    turns.take()
    signal.signal(signal.SIGTERM, handle)
    try:
        os.write(is_ready, b".")
        while True:
            turns.take()
    except SystemExit:
        memory.close()


def until_sigterm_in_a_loop(url: str, is_ready: int) -> None:
    """Use a store in an event loop, until a handler of the loop's closes it."""

    async def use() -> None:
        memory, loop = open_memory(url), asyncio.get_running_loop()
        closing = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, closing.set)
        tasks = [asyncio.create_task(without_end(Turns(memory, f"child {n}"))) for n in range(3)]
        await Turns(memory, "child").atake()
        os.write(is_ready, b".")
        await closing.wait()
        await asyncio.wait_for(memory.aclose(), TIMEOUT)
        for task in tasks:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), TIMEOUT)

    async def without_end(turns: Turns) -> None:
        while True:
            await turns.atake()
            await asyncio.sleep(0)  # RAM answers without waiting

    asyncio.run(use())


# ---------------------------------------------------------------------------------- means


def used(memory: Memory, thread: str) -> None:
    """Use a store in both modes, blocking and async."""
    Turns(memory, thread).check()
    asyncio.run(Turns(memory, thread).acheck())


def used_or_told(memory: Memory, thread: str) -> None:
    """Use a store in both modes, if it does not refuse both at once and say what to do."""
    for use in (Turns(memory, thread).check, lambda: asyncio.run(Turns(memory, thread).acheck())):
        began = time.monotonic()
        try:
            use()
        except StoreUnavailable as refused:
            assert "lazy-apps" in str(refused), refused
            assert time.monotonic() - began < 5, "told late"


@contextmanager
def at_work(memory: Memory) -> Iterator[None]:
    """Have one thread read and one write, without pause."""
    done = threading.Event()
    failed: list[BaseException] = []

    def work(step: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                step()
        except BaseException as error:
            failed.append(error)
            traceback.print_exc()

    used(memory, "busy")
    reader = memory.get_langgraph_checkpointer()
    config: Any = {"configurable": {"thread_id": "busy", "checkpoint_ns": ""}}
    read: Callable[[], object] = lambda: reader.get_tuple(config)  # noqa: E731
    jobs = (read, Turns(memory, "busy too").take)
    threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join(TIMEOUT)
    assert failed == [], "a thread of the parent's failed"


@contextmanager
def amid_a_call(memory: Memory) -> Iterator[None]:
    """Have a thread wait within a call. It does not wait for Python itself, which no fork without hooks survives."""
    began, go_on = threading.Event(), threading.Event()

    def slow() -> Plan[None]:
        yield from memory.store.backend.usage("t")
        began.set()
        go_on.wait()

    used(memory, "t")
    caller = threading.Thread(target=lambda: memory.store.run(slow, write=True))
    caller.start()
    began.wait()
    try:
        yield
    finally:
        go_on.set()
        caller.join()


def threads_of(memory: Memory) -> set[str]:
    """Return the threads that a store holds."""
    found = memory.get_langgraph_checkpointer().list(None)
    return {item.config["configurable"]["thread_id"] for item in found}


def fork_of_c() -> int:
    """Fork as a host written in C would: Python is not told."""
    time.sleep(0.05)  # a thread that waits for the interpreter's own lock would be waited for in the child, for ever
    return int(ctypes.PyDLL(None).fork())


def forked(work: Callable[[], None], fork: Callable[[], int] | None = None) -> int:
    """Do ``work`` in a forked child; return its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
        pid = (fork or os.fork)()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def ended(pid: int, expected: int = 0) -> None:
    """Wait for a child to end with the code that is expected; one that hangs is killed."""
    until = time.monotonic() + TIMEOUT
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            assert code == expected, f"a process ended with {code}"
            return
        if time.monotonic() > until:
            os.kill(pid, signal.SIGABRT)  # faulthandler shows where it hung
            os.waitpid(pid, 0)
            raise AssertionError(f"a process hung for {TIMEOUT} s")
        time.sleep(0.002)


# ---------------------------------------------------------------------------------- stage


def play(scenario: str, url: str) -> None:
    """Play a scenario on the store of a URL; raises AssertionError with what its processes said."""
    stage = _stage()
    assert stage.stdin and stage.stdout
    stage.stdin.write(json.dumps([scenario, url]) + "\n")
    stage.stdin.flush()
    answer = stage.stdout.readline()
    assert answer, "the stage is gone"
    failed, said = json.loads(answer)
    assert not failed, f"{scenario}:\n{said}"


def be_killed_after_a_put(url: str) -> None:
    """Have a process put what `killed_after_a_put` puts, and kill itself."""
    if CAN_FORK:
        play(killed_after_a_put.__name__, url)
        return
    code = f"import sys; from {__name__} import put_and_kill; put_and_kill(sys.argv[1])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, url], env=env, timeout=60, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@cache
def _stage() -> subprocess.Popen[str]:
    stage = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import main; main()"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    atexit.register(_leave, stage)
    return stage


def _leave(stage: subprocess.Popen[str]) -> None:
    stage.communicate()


def _act(scenario: str, url: str) -> None:
    import faulthandler

    faulthandler.enable(all_threads=True)
    globals()[scenario](url)


def main() -> None:
    """Play what is asked for on stdin, until it ends."""
    # What is imported here need not be imported by each actor.
    for url in ("memory://", "sqlite:///:memory:"):
        with open_memory(url) as memory:
            used(memory, "t")
    for line in sys.stdin:
        scenario, url = json.loads(line)
        with tempfile.TemporaryFile("w+") as said:
            failed = _played(scenario, url, said)
            said.seek(0)
            answer = json.dumps([failed, said.read()])
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


def _played(scenario: str, url: str, said: Any) -> bool:
    def act() -> None:
        os.setsid()  # a group of its own, for all that it starts
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        _act(scenario, url)

    actor = forked(act)
    try:
        ended(actor)
    except AssertionError as error:
        said.seek(0, os.SEEK_END)
        said.write(f"{error}\n")
        return True
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(actor, signal.SIGKILL)  # what a scenario that failed has left behind
    return False
