"""The policy, what it has go of a thread, whose turn a sweep is, and what keeps a store to it in a process."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.config.options import duration
from charm_checkpoint.config.retention import Retention, retention_of
from charm_checkpoint.contract_items import ItemBatch, ItemChange
from charm_checkpoint.errors import ConfigError, StoreError, StoreUnavailable
from charm_checkpoint.memory import Memory
from charm_checkpoint.retention import keeper as keeping
from charm_checkpoint.retention.turn import NOTE, Turn
from charm_checkpoint.runtime.turns import Terms, renewed, taken
from charm_checkpoint.saver.choosing import Candidate, Rules, choose
from charm_checkpoint.store import Store
from charm_checkpoint.stores.ram import RamBackend, RamDriver
from charm_checkpoint.stores.ram_items import RamItems
from charm_checkpoint.testing.samples import checkpoint, config, versions

HOUR = 3600 * 1_000_000


def put(saver: Any, at: Any, **channels: Any) -> Any:
    """Put a checkpoint; return its config."""
    made = checkpoint(channels)
    return saver.put(at, made, {"source": "loop", "step": 0, "parents": {}}, versions(made))


# ---------------------------------------------------------------------------------- policy


def test_a_policy_reads_text_and_numbers() -> None:
    policy = retention_of({"keep_last": "50", "keep_for": "90d", "ttl": "1w"})
    assert (policy.keep_last, policy.keep_for, policy.ttl) == (50, duration("90d"), duration("7d"))
    assert policy == Retention(50, 90 * 86400, "168h")
    assert Retention().is_empty and not Retention(ttl=1).prunes
    assert not Retention(keep_last=5).may_have_too_many(5) and Retention(keep_for="1d").may_have_too_many(2)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"keep_last": 0}, "keep_last: at least 1 stays"),
        ({"keep_last": "many"}, "keep_last"),
        ({"keep_for": "soon"}, "keep_for: .*30d"),
        ({"ttl": 0}, "ttl: .*leave it out"),
        ({"keep_pinned": "yes"}, "keep_pinned is True or False"),
        ({"keep_lats": 5}, "did you mean 'keep_last'"),
        (50, "a policy is Retention"),
        ("keep_last=5", "a policy is Retention"),
    ],
)
def test_what_is_no_policy(given: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        retention_of(given)


# ------------------------------------------------------------------------------- the choice


def tree(rng: random.Random) -> list[Candidate]:
    """Return a thread's checkpoints, which branch by chance, with tasks below some of them."""
    made: list[Candidate] = []
    for n in range(rng.randrange(1, 40)):
        roots = [one.id for one in made if not one.ns]
        if roots and rng.random() < 0.4:
            ns = f"sub:{rng.choice(roots)}"
            made.append(Candidate(ns, str(n), None, n, created=rng.random(), root=ns[4:]))
        else:
            parent = rng.choice(roots) if roots and rng.random() < 0.3 else (roots or [None])[-1]
            made.append(Candidate("", str(n), parent, n, created=rng.random()))
    return made


def test_what_is_chosen_at_random_trees() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        made = tree(rng)
        rules = Rules(rng.randrange(1, 5), rng.choice([None, 0.5]), rng.random() < 0.7)
        choice = choose(rng.sample(made, len(made)), rules)
        by_key = {one.key: one for one in made}
        assert choice.kept | choice.doomed == set(by_key) and not choice.kept & choice.doomed
        roots = [one for one in made if not one.ns]
        if roots:
            assert {one.key for one in roots[-rules.last :]} <= choice.kept
        for key in choice.kept:
            assert not key[0] or ("", by_key[key].root) in choice.kept  # no task without its root
        for ns in {one.ns for one in made if one.ns}:
            line = [one for one in made if one.ns == ns]
            if ("", line[-1].root) in choice.kept:
                assert line[-1].key in choice.kept
        again = choose([by_key[key] for key in choice.kept], rules)
        assert not again.doomed, seed  # what stays once stays again
        assert choose(made, rules, waiting=[made[0].key]).kept >= choice.kept | (
            {made[0].key} if not made[0].ns else set()
        )


def test_ages_that_are_not_known_are_kept() -> None:
    line = [Candidate("", str(n), str(n - 1) if n else None, n, created=None if n == 1 else 0.0) for n in range(5)]
    assert choose(line, Rules(1, 1.0)).kept == {("", "1"), ("", "4")}


def test_parents_that_are_in_a_ring_do_no_harm() -> None:
    ring = [Candidate("", "a", "b", 1), Candidate("", "b", "a", 2), Candidate("", "c", "c", 3)]
    assert choose(ring, Rules(1)).kept == {("", "c")}


# ------------------------------------------------------------------------- whose turn it is


def test_a_turn_is_one_programs_until_it_says_nothing() -> None:
    terms = Terms(HOUR, 120 * 1_000_000)
    first = taken(None, "a", terms, 0)
    assert first is not None and first["holder"] == "a"
    assert taken(first, "b", terms, 119 * 1_000_000) is None
    again = renewed(first, "a", 100 * 1_000_000)
    assert again is not None and taken(again, "b", terms, 219 * 1_000_000) is None
    other = taken(again, "b", terms, 221 * 1_000_000)
    assert other is not None and other["began"] == first["began"]  # it goes on
    assert renewed(other, "a", 222 * 1_000_000) is None
    ended = renewed(other, "b", 300 * 1_000_000, holder=None, unfinished=False, ended=300 * 1_000_000)
    assert taken(ended, "a", terms, HOUR) is None
    assert taken(ended, "a", terms, HOUR + 300 * 1_000_000) is not None


def test_a_damaged_note_is_made_anew() -> None:
    with open_memory("memory://") as memory:
        items = memory.store.items
        assert items is not None
        for value in (b"", b"junk", b'{"ended": "x"}'):
            change = ItemChange(NOTE.space, NOTE.key, value)
            memory.store.run(lambda change=change: items.change(ItemBatch(1, changes=[change])), write=True)  # type: ignore[misc]
            assert drive(memory, Turn(items, Terms(HOUR, HOUR)).take()) is None
        assert drive(memory, Turn(items, Terms(HOUR, HOUR)).take()) is not None  # it is another's


def drive(memory: Memory, session: Any) -> Any:
    """Run a session."""
    from charm_checkpoint.session import drive

    return drive(memory.store, session)


# ------------------------------------------------------------------------------ in a process


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a store that keeps the last two."""
    return f"sqlite:///{tmp_path}/a.db?keep_last=2"


def wait(until: Any) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 20
    while not until() and time.monotonic() < end:
        time.sleep(0.005)
    assert until()


def running() -> list[threading.Thread]:
    """Return the threads that keep stores to their policies."""
    return [thread for thread in threading.enumerate() if thread.name == "charm-retention"]


def test_without_a_policy_nothing_runs() -> None:
    for options in ({}, {"keep_last": 2, "sweep_every": 0}):
        with open_memory("memory://", **options) as memory:
            put(memory.get_langgraph_checkpointer(), config())
            assert memory._keeper is None and running() == []


@pytest.mark.parametrize("name, value", [("sweep_every", "6h"), ("keep_interrupted", "false")])
def test_how_a_policy_is_kept_to_is_refused_where_there_is_none(name: str, value: str) -> None:
    opened = [
        lambda: open_memory(f"memory://?{name}={value}"),
        lambda: open_memory("memory://", {name: value}),
        lambda: open_memory("memory://", **{name: value}),
        lambda: Memory({"url": "memory://", name: value}),
    ]
    for open_one in opened:
        with pytest.raises(ConfigError, match=rf"^{name}: without keep_last=, keep_for= or ttl= everything is kept"):
            open_one()
    for policy in ({"keep_last": 2}, {"keep_for": "9d"}, {"ttl": "9d"}):
        open_memory(f"memory://?{name}={value}", **policy).close()


def test_what_is_so_without_a_policy_may_be_said() -> None:
    for options in ({"sweep_every": 0}, {"keep_interrupted": True}, {"sweep_every": None}):
        open_memory("memory://", **options).close()


def test_the_thread_ends_when_there_is_nothing_to_do(url: str) -> None:
    with open_memory(url) as memory:
        saver, at = memory.get_langgraph_checkpointer(), config()
        for n in range(keeping.SPARE + 1):
            at = put(saver, at, n=n)
        wait(lambda: memory.usage("t").checkpoints <= 3)
        wait(lambda: not running())


def test_closing_does_not_wait_for_all_of_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    one = keeping.Sweep.one

    def slow(self: Any, row: Any) -> Any:
        began.set()
        go_on.wait(10)
        return one(self, row)

    monkeypatch.setattr(keeping.Sweep, "one", slow)
    memory = open_memory(url)
    saver, at = memory.get_langgraph_checkpointer(), config()
    for n in range(keeping.SPARE):
        at = put(saver, at, n=n)
    assert began.wait(10)
    closing = threading.Thread(target=memory.close)
    closing.start()
    wait(lambda: memory._keeper._stopping)  # type: ignore[union-attr]
    go_on.set()
    closing.join(20)
    assert not closing.is_alive()
    wait(lambda: not running())
    with open_memory(url.partition("?")[0]) as again:
        assert again.usage("t").checkpoints == keeping.SPARE  # it was stopped before its next transaction


def test_what_fails_is_told_and_tried_again_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(self: Any, after: Any, size: int) -> Any:
        raise StoreUnavailable("not now")

    monkeypatch.setattr(keeping.Sweep, "page", failing)
    with open_memory("memory://?keep_last=2") as memory:
        put(memory.get_langgraph_checkpointer(), config())
        wait(lambda: "tried again later: not now" in caplog.text)
        assert memory._keeper is not None and memory._keeper._next > time.monotonic() + 5


@pytest.mark.parametrize("gone", ["fails", "hangs"])
def test_a_turn_that_cannot_be_handed_over_hinders_no_closing(
    gone: str, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def leave(self: Turn) -> Any:
        asked.set()
        if gone == "hangs":
            go_on.wait(20)
        raise StoreUnavailable("it is gone")

    monkeypatch.setattr(Turn, "leave", leave)
    monkeypatch.setattr(keeping, "FEW", 1)
    monkeypatch.setattr(keeping, "CLOSING", 0.1)
    memory = open_memory(url)
    for thread in ("a", "b"):
        put(open_memory(url.partition("?")[0]).get_langgraph_checkpointer(), config(thread))
    put(memory.get_langgraph_checkpointer(), config())
    wait(lambda: memory._keeper._sweep is not None and not running())  # type: ignore[union-attr]
    memory.close()
    assert asked.wait(20) and not go_on.is_set() and "gone" not in caplog.text
    go_on.set()
    wait(lambda: not running())


def test_an_event_loop_that_ends_leaves_no_task(url: str) -> None:
    async def some(memory: Memory) -> Any:
        saver, at = memory.get_langgraph_checkpointer(), config()
        for n in range(keeping.SPARE):
            made = checkpoint({"n": n})
            at = await saver.aput(at, made, {"source": "loop", "step": n, "parents": {}}, versions(made))

    memory = open_memory(url)
    for _ in range(3):  # each in a loop of its own, ended while the work may be under way
        asyncio.run(some(memory))
    memory.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_keeps_to_the_policy_by_itself(url: str) -> None:
    memory = open_memory(url)
    saver = memory.get_langgraph_checkpointer()
    put(saver, config())
    child = os.fork()
    if child == 0:
        at = config("child")
        for n in range(keeping.SPARE):
            at = put(saver, at, n=n)
        end = time.monotonic() + 20
        while memory.usage("child").checkpoints > 2 and time.monotonic() < end:
            time.sleep(0.005)
        os._exit(memory.usage("child").checkpoints != 2)
    assert os.waitpid(child, 0)[1] == 0
    memory.close()


def test_a_program_that_ends_at_once_ends(url: str) -> None:
    script = f"""if True:
        from charm_checkpoint import open_memory
        from charm_checkpoint.testing.samples import checkpoint, config, versions
        saver, at = open_memory({url!r}).get_langgraph_checkpointer(), config()
        for n in range(60):
            made = checkpoint({{"n": n}})
            at = saver.put(at, made, {{"source": "loop", "step": n}}, versions(made))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_store_of_an_earlier_version_says_what_it_lacks() -> None:
    class Former(RamBackend):
        pin = property()  # as if there were none

    store = Store(Former(), RamDriver(), items=RamItems())
    assert not hasattr(store.backend, "pin")
    memory = open_memory("memory://")
    memory.store = store
    for call in (lambda: memory.sweep({"keep_last": 1}), lambda: memory.pin("t"), memory.compact):
        with pytest.raises(StoreError, match="Former has no pin"):
            call()
