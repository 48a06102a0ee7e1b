"""Memories are kept tidy by themselves: once in a while, by one program at a time, whatever befalls it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stores import have, tenant_url, valkey_url
from workers import worker_pool

from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError, StoreUnavailable
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.aging import Sweep
from charm_checkpoint.long_term.hygiene import Lease
from charm_checkpoint.long_term.hygiene_settings import Hygiene, hygiene_of
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.runtime.turns import due_at, is_due, is_held
from charm_checkpoint.testing.long_term_base import Clock

DAY = 86_400_000_000
SCOPES = {"global": False}

URLS: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder}/charm.db",
    "files": lambda folder: f"file://{folder}/charm",
    "postgres": lambda folder: tenant_url(),
    "valkey": lambda folder: valkey_url(),
}


@pytest.fixture
def dates(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the date, which a test sets."""
    made = Clock()
    monkeypatch.setattr(clock, "now", made.now)
    return made


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a new store in a file."""
    return URLS["sqlite"](tmp_path)


def fill(memories: LongTermMemory, count: int, days: int = 100) -> None:
    """Remember so many memories, some days ago."""
    plain = clock.now
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: plain() - days * DAY)
        for number in range(count):
            memories.remember("fact", f"t{number:03}", "b")


def archived(memories: LongTermMemory) -> int:
    return len(memories.list(status="archived"))


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------------------- by itself


def test_a_call_begins_it_in_the_background(url: str) -> None:
    with open_memory(url) as memory:
        fill(memory.long_term("p", SCOPES), 7)
        memories = memory.long_term("p", SCOPES, hygiene=Hygiene(step=2))
        assert memories.hygiene_status()[0].ended is None  # which is not a call of memories
        assert memories.read("t000") is not None  # and this one is used now
        wait_for(lambda: memories.hygiene_status()[0].ended)
        assert archived(memories) == 6 and memories.hygiene_status()[0].counts["archived"] == 6


def test_an_async_call_begins_it_in_a_task(url: str) -> None:
    async def main() -> int:
        async with open_memory(url) as memory:
            memories = memory.long_term("p", SCOPES, hygiene=True)
            await memories.aread("t000")
            until = time.monotonic() + 60
            while not (await memories.ahygiene_status())[0].ended:
                assert time.monotonic() < until
                await asyncio.sleep(0.01)
            return len(await memories.alist(status="archived"))

    with open_memory(url) as memory:
        fill(memory.long_term("p", SCOPES), 3)
    assert asyncio.run(main()) == 2


def test_a_loop_that_ends_ends_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_memory(url) as memory:
        memories = memory.long_term("p", SCOPES, hygiene=True)
        fill(memory.long_term("p", SCOPES), 1)
        plain, begun = Sweep.step, asyncio.Event()

        def step(self: Sweep) -> Flow[bool]:
            begun.set()
            yield steps.call(self._scope.store, "get", ("a",), "b")
            yield from plain(self)
            return True  # without end

        monkeypatch.setattr(Sweep, "step", step)

        async def main() -> None:
            await memories.aread("any")
            await begun.wait()

        asyncio.run(main())
        monkeypatch.setattr(Sweep, "step", plain)
        assert memories.hygiene_status()[0].running  # as if its program had died
        with pytest.MonkeyPatch.context() as patch:
            later = clock.now() + 200_000_000
            patch.setattr(clock, "now", lambda: later)
            assert memories.run_hygiene()[0].ended


def test_it_is_done_once_in_an_interval(url: str, dates: Clock) -> None:
    with open_memory(url) as memory:
        memories = memory.long_term("p", SCOPES, hygiene=Hygiene("1h"))
        other = memory.long_term("p", SCOPES, hygiene=Hygiene("1h"))

        def runs() -> int:
            """Call both, wait for what that begins, and tell how many of them did something."""
            before = memories.hygiene_status()[0].ended
            for each in (memories, other):
                each.read("any")
                assert each._keeper
                if each._keeper._thread:
                    each._keeper._thread.join(60)
            return int(memories.hygiene_status()[0].ended != before)

        assert [runs(), runs()] == [1, 0]
        dates.pass_minutes(59)
        assert runs() == 0
        dates.pass_minutes(1)
        assert [runs(), runs()] == [1, 0]
        dates.pass_minutes(-30)  # set back a little: the next one comes a little later
        assert runs() == 0
        dates.pass_minutes(-60 * 24 * 365)  # a clock that was wrong by a year
        assert [runs(), runs()] == [1, 0]
        assert memories.hygiene_status()[0].due


def test_closing_stops_it_and_another_goes_on(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Sweep.step
    with open_memory(url) as memory:
        fill(memory.long_term("p", SCOPES), 20)
        memories = memory.long_term("p", SCOPES, hygiene=Hygiene(step=1))
        assert memories._keeper
        stop, is_within = memories._keeper._stop, threading.Event()

        def slowly(self: Sweep) -> Flow[bool]:
            if len(self.archived) == 5:
                is_within.set()
                stop.wait(60)
            return (yield from plain(self))

        monkeypatch.setattr(Sweep, "step", slowly)
        memories.read("any")
        assert is_within.wait(60)
        memories.close()
        other = memory.long_term("p", SCOPES, hygiene=Hygiene(step=1))
        wait_for(lambda: not other.hygiene_status()[0].running)
        [status] = other.hygiene_status()
        assert status.ended is None and archived(memory.long_term("p", SCOPES)) == 6
        other.read("any")
        wait_for(lambda: other.hygiene_status()[0].ended)
        [after] = other.hygiene_status()
        assert after.counts["archived"] == archived(other) == 20 and after.began == status.began


def test_a_step_that_fails_is_told_and_the_rest_is_done(
    url: str, dates: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with open_memory(url) as memory:
        quiet = memory.long_term("p", SCOPES)  # whose calls begin nothing
        memories = memory.long_term("p", SCOPES, hygiene=Hygiene(purge=True))
        fill(quiet, 1, days=500)
        quiet.sweep()
        dates.pass_minutes(60 * 24 * 400)
        plain = Sweep.step

        def failing(self: Sweep) -> Flow[bool]:
            yield from ()
            raise StoreUnavailable("the disk is full")

        monkeypatch.setattr(Sweep, "step", failing)
        with caplog.at_level(logging.WARNING, "charm_checkpoint"):
            [status] = memories.run_hygiene()
        assert status.failures == {"sweep": "the disk is full"} and status.counts["purged"] == 1
        assert "sweep failed, the rest goes on: the disk is full" in caplog.text
        assert status.due and status.ended and (status.due - status.ended).total_seconds() == 900
        monkeypatch.setattr(Sweep, "step", plain)
        assert memories.run_hygiene()[0].failures == {}


def test_what_else_is_to_be_done_is_done(url: str, dates: Clock) -> None:
    with open_memory(url) as memory:
        memories = memory.long_term("p", {"global": ("everybody",)}, hygiene=True)
        done: list[str] = []

        def note(title: str) -> Flow[None]:
            done.append(title)
            yield steps.call(memories.scopes["project"].store, "get", ("a",), "b")
            if title == "fails":
                raise OSError("no room")

        memories.on_hygiene("fails", lambda: note("fails"))
        memories.on_hygiene("works", lambda: note("works"))
        first, second = memories.run_hygiene()
        assert done == ["fails", "works"] and (first.failures, second.failures) == ({"fails": "no room"}, {})


@pytest.mark.parametrize("half", ["blocking", "async"])
def test_a_new_store_is_filled_before_its_snapshot_is_taken(tmp_path: Path, half: str) -> None:
    file = tmp_path / "memories.jsonl"
    with open_memory("memory://") as memory:
        kept = memory.long_term("p", SCOPES, snapshot=file)
        kept.remember("fact", "kept", "b")
        kept.snapshot()
    with open_memory("memory://") as memory:
        memories = memory.long_term("p", SCOPES, snapshot=file, hygiene=True)
        memories.on_hygiene("snapshot", lambda: memories._snapshot(None))
        [status] = memories.run_hygiene() if half == "blocking" else asyncio.run(memories.arun_hygiene())
        assert status.failures == {}
    assert '"kept"' in file.read_text()


# ------------------------------------------------------------------------------------------------------- the lease


def test_whoever_was_away_too_long_has_lost_the_lease(url: str, dates: Clock) -> None:
    with open_memory(url) as memory:
        scope = memory.long_term("p", SCOPES).scopes["project"]
        hygiene = Hygiene(lease="1m")
        first, second, third = (Lease(scope, hygiene) for _ in range(3))
        assert steps.run(first.take(False)) and not steps.run(second.take(True))
        dates.pass_minutes(0.9)
        steps.run(first.note(done=["expire"]))
        dates.pass_minutes(0.9)
        assert not steps.run(second.take(True))
        dates.pass_minutes(0.1)
        assert steps.run(second.take(False)) and second.state["done"] == ["expire"]
        with pytest.raises(Exception, match="^$") as lost:
            steps.run(first.note(done=["expire", "sweep"]))
        assert type(lost.value).__name__ == "_Lost"
        steps.run(second.note(done=["expire", "sweep"]))
        dates.pass_minutes(-10_000)  # the clock is set back by a week while a program is at it
        assert steps.run(third.take(False)) and third.state["done"] == []


@pytest.mark.parametrize(
    ("ended", "failures", "now", "due"),
    [
        (None, {}, 100, True),
        (100, {}, 100, False),
        (100, {}, 100 + 3600 * 10**6 - 1, False),
        (100, {}, 100 + 3600 * 10**6, True),
        (10**12, {}, 10**12 - 3599 * 10**6, False),
        (10**12, {}, 10**12 - 3600 * 10**6, True),
        (10**12, {"sweep": "x"}, 10**12 + 900 * 10**6, True),
        (10**12, {"sweep": "x"}, 10**12 + 899 * 10**6, False),
    ],
)
def test_when_it_is_due(ended: int | None, failures: dict[str, str], now: int, due: bool) -> None:
    state = {"ended": ended, "failures": failures}
    terms = Hygiene("1h").terms
    assert is_due(state, terms, now) is due
    assert is_due(None, terms, now) and due_at(None, terms) is None
    assert not is_held(None, terms, now) and not is_held({"holder": None, "renewed": now}, terms, now)


def test_settings_are_checked() -> None:
    assert hygiene_of(True) == Hygiene("12h", 100) and hygiene_of(False) is hygiene_of(None) is None
    assert hygiene_of({"every": "1h", "purge": ["daily"]}) == Hygiene(3600.0, purge=["daily"])
    assert Hygiene(purge=["daily"]).purges({"category": "daily"}) and not Hygiene().purges({"category": "daily"})
    for wrong in (
        {"every": 0}, {"every": "soon"}, {"lease": -1}, {"step": 0}, {"step": True}, {"purge": "daily"},
        {"purge": 1}, {"revalidate": "yes"}, {"evry": "1h"},
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="hygiene"):
            hygiene_of(wrong)
    with pytest.raises(ConfigError, match="hygiene is True"):
        hygiene_of(7)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="hygiene"), open_memory("memory://") as memory:
        memory.long_term("p", SCOPES, hygiene="12h")


# ------------------------------------------------------------------------------------------------------- processes


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return what starts programs that keep memories tidy."""
    with worker_pool(tmp_path_factory.mktemp("workers"), "memory_jobs") as pool:
        yield pool


@pytest.mark.parametrize("store", URLS)
def test_of_several_programs_one_does_it(store: str, tmp_path: Path, workers: Any) -> None:
    url = have(lambda: URLS[store](tmp_path))
    with open_memory(url) as memory:
        memories = memory.long_term("p", SCOPES)
        fill(memories, 9)
        several = [workers.start("tidy", url, {"step": 4}, 0.05) for _ in range(3)]
        assert [each.wait() for each in several] == [0, 0, 0]
        acks = sorted((each.acks for each in several), key=len)
        assert acks == [["end"], ["end"], ["step 4", "step 8", "step 9", "end"]]
        assert archived(memories) == memories.hygiene_status()[0].counts["archived"] == 9


def test_who_is_killed_is_waited_for_and_another_goes_on(
    url: str, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_memory(url) as memory:
        fill(memory.long_term("p", SCOPES), 20)
        killed = workers.start("tidy", url, {"step": 2, "lease": "10m"}, 0.05)
        wait_for(lambda: len(killed.acks) >= 3)
        os.kill(killed.pid, signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        memories = memory.long_term("p", SCOPES, hygiene=Hygiene(step=2, lease="10m"))
        done = archived(memories)
        assert 6 <= done < 20
        [before] = memories.run_hygiene()
        assert before.running and archived(memories) == done
        plain = clock.now
        monkeypatch.setattr(clock, "now", lambda: plain() + 601_000_000)
        [after] = memories.run_hygiene()
        assert (after.running, after.began) == (False, before.began) and after.ended
        assert archived(memories) == 20
        assert 18 <= after.counts["archived"] <= 20  # a step may have been done, and not told yet
