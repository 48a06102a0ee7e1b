"""Interrupts, forks and signal handlers on the stores of one host: what the contract suite does not go into."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint import StorageManager, open_memory, register_type
from charm_checkpoint.errors import StoreClosed, StoreUnavailable
from charm_checkpoint.runtime import forks
from charm_checkpoint.runtime.leases import Inside, Lease, Leases
from charm_checkpoint.stores.files import folder
from charm_checkpoint.testing.accidents import Interrupted, interrupt
from charm_checkpoint.testing.moments import PACKAGE, Moments, sample
from charm_checkpoint.testing.scenarios import ended, forked
from charm_checkpoint.testing.thread_turns import Turns, leased

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and forks")

HUNT = float(os.environ.get("CHARM_HUNT_SECONDS", "0.3"))
"""Seconds of a hunt for what happens at random."""

PLACES = tuple(PACKAGE + name for name in ("runtime", "plan", "store", "values/collector"))

LOCAL: dict[str, Callable[[Path], str]] = {
    "ram": lambda folder: "memory://",
    "sqlite": "sqlite:///{}/charm.db".format,
    "sqlite-memory": lambda folder: "sqlite:///:memory:",
    "files": "file://{}/files".format,
}


@pytest.fixture(params=LOCAL)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return LOCAL[request.param](tmp_path)


# -------------------------------------------------------------------------------- interrupts


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("burst", [1, 3], ids=["one", "several"])
def test_interrupts_at_random(url: str, burst: int) -> None:
    left = hits = 0

    def handle(number: int, frame: Any) -> None:
        nonlocal left, hits
        if left:
            left, hits = left - 1, hits + 1
            raise Interrupted

    def send() -> None:
        while not done.is_set():
            time.sleep(random.uniform(0, 0.002))
            signal.pthread_kill(main, signal.SIGUSR1)

    def attempt(depth: int) -> None:
        with suppress(Interrupted):
            attempt(depth - 1) if depth else turns.take()

    main, done, before = threading.get_ident(), threading.Event(), signal.signal(signal.SIGUSR1, handle)
    sender = threading.Thread(target=send)
    with open_memory(url) as memory:
        turns = Turns(memory)
        sender.start()
        try:
            until = time.monotonic() + HUNT
            while time.monotonic() < until or not hits:
                left = burst
                try:
                    attempt(burst)
                except Interrupted:
                    pass
                left = 0
                turns.check()
                assert leased(memory) == 0
        finally:
            left = 0
            done.set()
            sender.join()
            signal.signal(signal.SIGUSR1, before)
        turns.check_all()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_interrupts_leave_no_file_open(url: str) -> None:
    kept: list[BaseException] = []

    def run() -> None:
        with open_memory(url) as memory:
            turns, moments = Turns(memory), Moments(PLACES)
            turns.check()
            for at in sample(moments.count(turns.take), 25):
                try:
                    moments.run(turns.take, at, interrupt)
                except Interrupted as error:
                    kept.append(error)  # with all that the frames in its traceback hold
                turns.check()

    run()
    before = len(os.listdir("/proc/self/fd"))
    run()
    assert len(kept) > 40
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_signal_handler_that_writes_amid_a_write_is_served_or_told(url: str) -> None:
    told = 0

    def write() -> None:
        nonlocal told
        began = time.monotonic()
        try:
            memory.append_messages("handler", [{"n": 1}])
            others.take()
        except StoreUnavailable as error:
            told += 1
            assert "signal handler" in str(error)
            assert time.monotonic() - began < 5

    with open_memory(url) as memory:
        turns, others, moments = Turns(memory), Turns(memory, "another"), Moments(PLACES)
        turns.check()
        others.check()
        for at in sample(moments.count(turns.take), 25):
            moments.run(turns.take, at, write)
            turns.check()
        others.check()
        turns.check_all()
        others.check_all()
    assert told or "file" in url


def test_a_lease_ends_with_its_call_even_if_its_frame_is_kept() -> None:
    leases, kept = Leases(), []

    def call() -> None:
        lease = Lease(sys._getframe())
        assert leases.take(lease, 0)
        assert not leases.take(Lease(sys._getframe()), 0)
        raise Interrupted

    for _ in range(3):
        try:
            call()
        except Interrupted as error:
            kept.append(error)
    assert len(kept) == 3
    assert leases.going_on() == []


def test_who_waits_long_is_not_passed() -> None:
    leases, began, done = Leases(), threading.Event(), threading.Event()
    results: list[bool] = []

    def take(timeout: float) -> bool:
        lease = Lease(sys._getframe())
        began.set()
        if not leases.take(lease, timeout):
            return False
        leases.give(lease)
        return True

    def hog() -> None:
        while not done.is_set():
            lease = Lease(sys._getframe())
            assert leases.take(lease, 10)
            time.sleep(0.001)
            leases.give(lease)

    hogs = [threading.Thread(target=hog) for _ in range(2)]
    waiters = [threading.Thread(target=lambda: results.append(take(20))) for _ in range(4)]
    for thread in [*hogs, *waiters]:
        thread.start()
    for thread in waiters:
        thread.join()
    done.set()
    for thread in hogs:
        thread.join()
    assert results == [True] * 4


def test_two_that_give_back_what_was_left_give_back_nothing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, tried, has, leave = (threading.Event() for _ in range(4))
    unlock, try_lock = folder._unlock, folder._try_lock

    def slow(file: int, *how: int) -> None:
        if threading.current_thread() is healer:
            reached.set()
            tried.wait(10)
        unlock(file, *how)

    def watched(file: int) -> bool:
        try:
            return try_lock(file)
        finally:
            tried.set()

    def interrupted() -> folder.FolderLock:
        lock = folder.FolderLock(tmp_path, 1)
        lock.__enter__()
        return lock

    def own() -> None:
        with folder.FolderLock(tmp_path, 10):
            has.set()
            leave.wait(10)

    left = interrupted()
    monkeypatch.setattr(folder, "_unlock", slow)
    monkeypatch.setattr(folder, "_try_lock", watched)
    healer, owner = threading.Thread(target=left.end), threading.Thread(target=own)
    healer.start()
    assert reached.wait(10)
    owner.start()
    healer.join()
    assert has.wait(10)
    with pytest.raises(StoreUnavailable, match="stayed locked"), folder.FolderLock(tmp_path, 0.1):
        pytest.fail("two have the lock")
    leave.set()
    owner.join()
    with folder.FolderLock(tmp_path, 0.1):
        pass


def test_a_call_inside_another_is_refused_and_one_after_it_is_not() -> None:
    inside = Inside("The thing")

    def call(then: Callable[[], None]) -> None:
        with inside:
            then()

    with pytest.raises(StoreUnavailable, match=r"^The thing is in the midst of a call of this thread"):
        call(lambda: call(lambda: None))
    moments = Moments((__file__, PACKAGE + "runtime/leases"))
    for at in range(1, moments.count(lambda: call(lambda: None)) + 1):
        with suppress(Interrupted):
            moments.run(lambda: call(lambda: None), at, interrupt)
        call(lambda: None)


# ------------------------------------------------------------------------------------- forks


def held_elsewhere(name: str, work: Callable[[], None]) -> None:
    """Do ``work`` while another thread has this process's lock of that name."""
    has, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with forks.lock(name):
            has.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    has.wait()
    try:
        work()
    finally:
        leave.set()
        thread.join()


def test_a_lock_of_a_module_that_is_held_at_a_fork_is_not_held_in_the_child() -> None:
    class Registered:
        pass

    for name, work in (
        ("charm_checkpoint.config.manager", lambda: StorageManager.get_provider("ram")),
        ("charm_checkpoint.values.serde.classes", lambda: register_type(Registered)),
    ):
        held_elsewhere(name, lambda: ended(forked(work)))  # noqa: B023


SCRIPT = """
import os, sys, threading, warnings
from charm_checkpoint import open_memory
from charm_checkpoint.runtime import forks
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.testing.scenarios import ended, fork_of_c, forked, amid_a_call
from charm_checkpoint.testing.thread_turns import Turns
url = sys.argv[1]
def told(use, *words):
    try:
        use()
    except StoreUnavailable as error:
        assert all(word in str(error) for word in words), error
        return
    raise AssertionError("not told")
"""


def play(script: str, url: str) -> None:
    """Run a script, in a process of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT + script, url]
    done = subprocess.run(command, env=env, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_file_that_was_open_at_a_fork_is_refused_by_a_store_opened_afresh_too(tmp_path: Path) -> None:
    # SQLite's own notes of who has which lock are copied with the process: a second store would trust them.
    play(
        """
memory = open_memory(url)
Turns(memory).check()
def child():
    told(Turns(memory).check, "lazy-apps = true", "py-call-uwsgi-fork-hooks = true", "charm.db")
    with open_memory(url) as again:
        told(Turns(again).check, "lazy-apps = true")
    with open_memory(url.replace("charm.db", "other.db")) as other:
        Turns(other).check()
ended(forked(child, fork_of_c))
pid = fork_of_c()
if not pid:
    sys.exit(0)  # which ends as programs do: it must not fold in the parent's log
ended(pid)
Turns(memory, "more").check()
memory.close()
with open_memory(url) as memory:
    assert memory.usage().threads == 2
""",
        f"sqlite:///{tmp_path}/charm.db",
    )


def test_a_fork_amid_a_call_that_does_not_end_waits_no_longer_than_said(tmp_path: Path) -> None:
    play(
        """
warnings.simplefilter("ignore", DeprecationWarning)
forks.WAIT = 0.2
with open_memory(url) as memory, amid_a_call(memory):
    ended(forked(lambda: told(Turns(memory).check, "was being used when this process was forked", "0.2 s")))
with open_memory(url) as memory:
    Turns(memory, "more").check()
""",
        f"sqlite:///{tmp_path}/charm.db",
    )


def test_a_fork_in_a_call_of_the_same_thread_does_not_wait_for_it(tmp_path: Path) -> None:
    play(
        """
def fork_within():
    yield from memory.store.backend.usage(None)
    ended(forked(lambda: told(Turns(memory, "child").check, "was being used")))
with open_memory(url) as memory:
    Turns(memory).check()
    memory.store.run(fork_within, write=True)
    Turns(memory, "more").check()
""",
        f"sqlite:///{tmp_path}/charm.db",
    )


@pytest.mark.parametrize("what", ["interrupt", "open"])
def test_whatever_happens_at_any_moment_of_a_fork_the_parent_goes_on(what: str, tmp_path: Path) -> None:
    play(
        f"what = {what!r}"
        """
import _weakrefset
from charm_checkpoint.testing.accidents import Interrupted, interrupt
from charm_checkpoint.testing.moments import PACKAGE, Moments, sample
stores = [open_memory(f"{url}.{number}", timeout="2s") for number in range(3)]
turns = [Turns(memory) for memory in stores]
said = []
sys.unraisablehook = lambda found: said.append(repr(found.exc_value))
def act():
    if what == "interrupt":
        interrupt()
    stores.append(open_memory(f"{url}.{len(stores)}"))
def use_or_be_told():
    for turn in turns:
        try:
            turn.check()
        except StoreUnavailable as error:
            assert what == "interrupt" and "interrupted" in str(error), error
files = [PACKAGE + name for name in ("runtime/forks", "runtime/leases", "runtime/lifecycle", "stores")]
moments = Moments(files + [_weakrefset.__file__])
children = []
def fork():
    children.append(os.fork())
    if not children[-1] and counting:
        os._exit(0)
for turn in turns:
    turn.check()
counting = True
count = moments.count(fork)
assert count > 20, count
counting = False
for at in sample(count, 25):
    moments.run(fork, at, act)
    pid = children.pop()
    if not pid:
        code = 1
        try:
            use_or_be_told()
            code = 0
        finally:
            os._exit(code)
    ended(pid)
    for turn in turns:
        turn.check()
assert (len(said) > 5 and set(said) == {"Interrupted()"}) if what == "interrupt" else said == [], said
""",
        f"sqlite:///{tmp_path}/charm.db",
    )


def test_threads_that_open_stores_are_no_trouble_to_a_fork(tmp_path: Path) -> None:
    play(
        """
warnings.simplefilter("ignore", DeprecationWarning)
said, done = [], threading.Event()
sys.unraisablehook = lambda found: said.append(repr(found.exc_value))
sys.setswitchinterval(1e-5)
stores = [open_memory(f"{url}.{number}", timeout="2s") for number in range(40)]
def work():
    while not done.is_set():
        open_memory(f"{url}.x")
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(100):
    ended(forked(lambda: None))
done.set()
for thread in threads:
    thread.join()
assert said == [], said
Turns(stores[0]).check()
""",
        f"sqlite:///{tmp_path}/charm.db",
    )


def test_a_store_that_is_opened_while_a_fork_waits_is_used_after_it(tmp_path: Path) -> None:
    play(
        """
import time
warnings.simplefilter("ignore", DeprecationWarning)
began, late = threading.Event(), []
def slow():
    yield from memory.store.backend.usage("t")
    began.set()
    while not late or not (late[0].store.driver._connections._leases._waiting or use.ident and not use.is_alive()):
        time.sleep(0.001)
def open_late():
    while not forks.is_forking():
        time.sleep(0.001)
    late.append(open_memory(url + ".late"))
    use.start()
memory = open_memory(url)
Turns(memory).check()
use = threading.Thread(target=lambda: Turns(late[0]).check())
threads = [threading.Thread(target=lambda: memory.store.run(slow, write=True)), threading.Thread(target=open_late)]
threads[0].start()
began.wait()
threads[1].start()
ended(forked(lambda: Turns(late[0], "child").check()))
for thread in [*threads, use]:
    thread.join()
assert {"t", "child"} == {found.config["configurable"]["thread_id"] for found in Turns(late[0]).saver.list(None)}
""",
        f"sqlite:///{tmp_path}/charm.db",
    )


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_a_child_closes_what_it_opened_when_it_drops_a_store(tmp_path: Path) -> None:
    play(
        """
import gc
def opened():
    files = [f"/proc/self/fd/{file}" for file in os.listdir("/proc/self/fd")]
    return sum("charm.db" in os.readlink(file) for file in files if os.path.lexists(file))
held = [open_memory(url)]
Turns(held[0]).check()
def child():
    Turns(held[0]).check()
    assert opened()
    held.clear()
    gc.collect()
    assert not opened()
for fork in (None, fork_of_c):
    ended(forked(child, fork))
    Turns(held[0]).check()
    held[:] = [open_memory(url)]
    gc.collect()
""",
        f"sqlite:///{tmp_path}/charm.db",
    )


def test_a_child_closes_its_copy_of_ram_and_leaves_the_parents() -> None:
    with open_memory("sqlite:///:memory:") as memory:
        turns = Turns(memory)
        turns.check()

        def go_on() -> None:
            turns.check()
            memory.close()
            with pytest.raises(StoreClosed):
                turns.take()

        ended(forked(go_on))
        turns.check()
