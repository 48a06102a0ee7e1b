"""The garbage collector is paused while a long value is decoded, and goes on after that whatever happens."""

from __future__ import annotations

import contextlib
import gc
import os
import threading

import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.testing.accidents import Interrupted, interrupt
from charm_checkpoint.testing.moments import PACKAGE, Moments
from charm_checkpoint.values.collector import paused


def test_it_goes_on_after_the_last_who_paused_it() -> None:
    inside, leave = threading.Event(), threading.Event()

    def pause() -> None:
        with paused():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=pause)
    with paused():
        other.start()
        assert inside.wait(10)
    assert not gc.isenabled()
    leave.set()
    other.join()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_it_goes_on_in_a_child_though_another_thread_had_paused_it() -> None:
    inside, leave = threading.Event(), threading.Event()

    def pause() -> None:
        with paused():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=pause)
    other.start()
    assert inside.wait(10)
    pid = os.fork()
    if not pid:
        with paused():
            code = gc.isenabled()
        os._exit(code or not gc.isenabled())
    assert os.waitpid(pid, 0)[1] == 0
    assert not gc.isenabled()
    leave.set()
    other.join()
    assert gc.isenabled()


def test_it_goes_on_after_an_interrupt_at_any_moment() -> None:
    def use() -> None:
        with paused():
            assert not gc.isenabled()

    moments = Moments((PACKAGE + "values/collector", PACKAGE + "runtime/leases", __file__))
    for at in range(1, moments.count(use) + 1):
        with contextlib.suppress(Interrupted):
            moments.run(use, at, interrupt)
        use()
        assert gc.isenabled()


def test_it_goes_on_after_an_error() -> None:
    with pytest.raises(KeyError), paused():
        raise KeyError
    assert gc.isenabled()


def test_one_that_is_off_stays_off() -> None:
    gc.disable()
    try:
        with paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_long_list_is_decoded_in_one_go() -> None:
    with open_memory("memory://") as memory:
        memory.save_messages("t", [{"role": "user", "content": f"{n} " + "word " * 20} for n in range(2000)])
        before = gc.get_stats()[0]["collections"]
        assert len(memory.load_messages("t")) == 2000
        assert gc.get_stats()[0]["collections"] - before < 10
    assert gc.isenabled()
