"""The list of threads in Redis: whatever holds something is in it, whoever ends wherever and whatever others do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from redis_clients import FIRST_WRITES, SERVERS, Clients, clients_on, prepare

from charm_checkpoint import open_memory
from charm_checkpoint.contract import NewWrites, Query
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.stores.redis import backend as redis_backend
from charm_checkpoint.stores.redis import driver as redis_driver
from charm_checkpoint.stores.redis.connections import exchange
from charm_checkpoint.stores.redis.driver import script
from charm_checkpoint.stores.redis.rows import Calls
from charm_checkpoint.testing.samples import new, new_messages

LATER = 4_000_000_000


class Crash(BaseException):
    """Ends a plan, as the end of its process does."""


@pytest.fixture(params=SERVERS)
def clients(request: pytest.FixtureRequest) -> Iterator[Callable[[], Clients]]:
    yield from clients_on(request.param)


def crashing(end: int, how: str) -> Callable[[Any, Any], Any]:
    """Return what ends a plan before or after so many of its operations."""
    count = 0

    def around(driver: Any, operation: Any) -> Any:
        nonlocal count
        count += 1
        if count == end and how == "before":
            raise Crash
        reply = driver._execute(operation)
        if count == end:
            raise Crash
        return reply

    return around


@pytest.fixture(autouse=True)
def little_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_backend, "AHEAD", 100)


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("write", FIRST_WRITES)
def test_whoever_is_killed_wherever_leaves_no_thread_unlisted(
    clients: Callable[[], Clients], write: str, how: str
) -> None:
    for end in range(1, 15):
        at = clients()
        others = prepare(at, write)
        try:
            at.do(at.mine, *FIRST_WRITES[write](), around=crashing(end, how))
        except Crash:
            assert at.listed() == at.holding() <= others | {"t"}
            continue
        assert at.listed() == at.holding() == others | {"t"}
        break
    else:
        pytest.fail("this takes more than a few steps")
    assert end > 2


MEANWHILE: dict[str, Callable[[Clients], Any]] = {
    "somebody lists": lambda at: list(at.other.threads()),
    "somebody lists, and it took long": lambda at: (at.server.pexpire(at.intent, 1000), list(at.other.threads())),
    "somebody counts, and it took long": lambda at: (at.server.pexpire(at.intent, 1000), at.other.usage()),
    "it took too long": lambda at: (at.server.delete(at.intent), list(at.other.threads())),
    "somebody erases it": lambda at: at.do(at.other, "erase_thread", "t", LATER),
    "somebody erases it without a trace": lambda at: at.do(at.other, "erase_thread", "t", 0),
    "somebody deletes it": lambda at: at.do(at.other, "delete_thread", "t"),
    "somebody else is the first": lambda at: at.do(at.other, "put_writes", NewWrites("t", "", "b", b"w", None)),
    "somebody else was about to be": lambda at: killed_while_announcing(at),
}


def killed_while_announcing(at: Clients) -> None:
    """Let a second writer note that it is about to write, and end before it listed the thread."""

    def around(driver: Any, operation: Any) -> Any:
        if isinstance(operation, Calls):
            driver._execute(Calls(operation.calls[:2]))
            raise Crash
        return driver._execute(operation)

    with open_memory(at.url) as third, pytest.raises(Crash):
        third.usage()
        at.do(third, "put_writes", NewWrites("t", "", "b", b"w", None), around=around)


TOGETHER = [
    pytest.param(
        server, write, meanwhile, known, id=f"{server}-{write}-{meanwhile}-{'listed before' if known else 'anew'}"
    )
    for server in SERVERS
    for first, write in enumerate(FIRST_WRITES)
    for second, meanwhile in enumerate(MEANWHILE)
    for known in (False, True)
    if server != "cluster" or (first + second) % 6 == 3 * known
]
"""Each first write with all that may come meanwhile; in a cluster each of both with some."""


@pytest.mark.parametrize(("clients", "write", "meanwhile", "known"), TOGETHER, indirect=["clients"])
def test_a_first_write_is_listed_whatever_others_do_meanwhile(
    clients: Callable[[], Clients], write: str, meanwhile: str, known: bool
) -> None:
    for moment in range(1, 15):
        at = clients()
        others = prepare(at, write)
        if known:
            # It has seen to the entry, which somebody took out since, with all that was there.
            at.do(at.mine, "append_messages", "t", b"m")
            at.do(at.other, "erase_thread", "t", 0)
        count = 0

        def around(driver: Any, operation: Any, moment: int = moment, at: Clients = at) -> Any:
            nonlocal count
            count += 1
            if count == moment:
                MEANWHILE[meanwhile](at)
            return driver._execute(operation)

        at.do(at.mine, *FIRST_WRITES[write](), around=around)
        assert at.listed() == at.holding() <= others | {"t"}
        if count < moment:
            assert at.holding() == others | {"t"}
            break
    else:
        pytest.fail("this takes more than a few steps")
    assert moment > 2


def test_who_never_gets_to_write_is_told(clients: Callable[[], Clients]) -> None:
    at = clients()

    def around(driver: Any, operation: Any) -> Any:
        reply = driver._execute(operation)
        at.server.delete(at.intent)
        return reply

    with pytest.raises(StoreUnavailable, match="try again"):
        at.do(at.mine, "put", new("a"), around=around)
    assert at.holding() == set()


def test_what_was_about_to_be_written_and_was_not_leaves_nothing(clients: Callable[[], Clients]) -> None:
    at = clients()

    def around(driver: Any, operation: Any) -> Any:
        reply = driver._execute(operation)
        if isinstance(operation, Calls):
            raise Crash
        return reply

    with pytest.raises(Crash):
        at.do(at.mine, "append_messages", "t", b"m", around=around)
    assert 0 < at.server.pttl(at.intent) <= 60_000
    assert at.listed() == set(), "what is empty is not shown"
    at.server.pexpire(at.intent, 1000)
    assert at.listed() == set()
    left = {bytes(key).rpartition(b":")[2] for key in at.server.scan_iter(at.prefix + ":*")}
    assert left <= {b"version"}


@pytest.mark.parametrize("write", FIRST_WRITES)
def test_a_write_takes_its_note_away(clients: Callable[[], Clients], write: str) -> None:
    at = clients()
    prepare(at, write)
    at.do(at.mine, *FIRST_WRITES[write]())
    assert not at.server.exists(at.intent)
    if write != "copy_thread":
        at.do(at.other, *FIRST_WRITES[write]())
        assert not at.server.exists(at.intent)


def test_a_pinned_thread_that_was_emptied_stays_listed(clients: Callable[[], Clients]) -> None:
    at = clients()
    at.do(at.mine, "append_messages", "t", b"m")
    at.do(at.mine, "pin", "t", True)
    at.do(at.mine, "put_messages", replace(new_messages("x"), body=None, expect=None))
    for _ in range(2):
        assert at.listed() == set()
        at.other.usage()
    at.do(at.mine, "append_messages", "t", b"m")
    assert at.listed() == {"t"}


def test_large_batches_of_dead_entries_go_at_once(clients: Callable[[], Clients]) -> None:
    at = clients()
    for number in range(60):
        at.do(at.mine, "append_messages", f"t{number}", b"m")
        at.do(at.mine, "put_messages", replace(new_messages("x", thread=f"t{number}"), body=None, expect=None))
    count = 0

    def around(driver: Any, operation: Any) -> Any:
        nonlocal count
        count += 1
        return driver._execute(operation)

    assert at.do(at.other, "threads", None, 1000, around=around).items == []
    parts = len(at.mine.store.backend._names.listings())  # type: ignore[attr-defined]
    assert count <= 5 * parts, "a look, a second one and a removal for each part of the list, and a look for more"
    assert at.do(at.other, "threads", None, 1000, around=around).items == []


@pytest.mark.parametrize("fault", ["lost before", "lost after", "the note", "the look at it"])
def test_the_note_is_made_before_the_entry_whatever_fails(
    clients: Callable[[], Clients], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = clients()
    done: list[str] = []
    failed: set[bytes] = set()

    def failing(commands: Any, *rest: Any) -> Any:
        key = next((command[1] for command in commands if command[0] == "SET"), None)
        fails = key is not None and key not in failed
        if fails:
            failed.add(key)
        if fails and fault == "lost before":
            raise redis.ConnectionError("lost")
        replies = exchange(commands, *rest)
        done.extend("note" if command[0] == "SET" else kind_of(command) for command in commands)
        if fails and fault == "lost after":
            raise redis.ConnectionError("lost")
        if fails and fault == "the note":
            replies[0] = redis.exceptions.TryAgainError("moving")
        if fails and fault == "the look at it":
            replies[1] = redis.exceptions.TryAgainError("moving")
        return replies

    def kind_of(command: Any) -> str:
        return "entry" if command[:2] == ("EVALSHA", script("register")[0]) else ""

    monkeypatch.setattr(redis_driver, "exchange", failing)
    for number in range(12):
        done.clear()
        at.do(at.mine, "append_messages", f"t{number}", b"m")
        steps = [step for step in done if step]
        assert steps[-1] == "entry" and "note" in steps, "an entry that came before is made again"
    assert len(failed) == 12


@pytest.mark.parametrize("how", ["before", "after"])
def test_whoever_is_killed_wherever_leaves_no_checkpoint_that_its_run_is_not_noted_with(
    clients: Callable[[], Clients], how: str
) -> None:
    # The run is known to have written here, and somebody removed that since.
    for end in range(1, 15):
        at = clients()
        at.do(at.mine, "put", new("a", run="r"))
        at.do(at.mine, "put", new("b", "a", run="other"))
        at.do(at.other, "remove", "t", [("", "a")], None)
        assert at.do(at.other, "runs", ["r"]) == []
        try:
            at.do(at.mine, "put", new("c", "b", run="r"), around=crashing(end, how))
        except Crash:
            rows = at.do(at.other, "page", Query("t"), None, 9).items
            assert at.do(at.other, "runs", ["r"]) == [("t", "", row.row.id) for row in rows if row.row.id == "c"]
            continue
        assert at.do(at.other, "runs", ["r"]) == [("t", "", "c")]
        break
    assert end > 3


def test_round_trips(clients: Callable[[], Clients], monkeypatch: pytest.MonkeyPatch) -> None:
    at = clients()
    for number in range(40):  # from which it knows the store's secret, and the servers their scripts
        for write in ("append_messages", f"t{number}", b"m"), ("put", new("a", thread=f"t{number}", run=f"r{number}")):
            at.do(at.mine, *write)
        at.do(at.mine, "put_writes", NewWrites(f"t{number}", "", "a", b"w", None))
        at.do(at.mine, "put_messages", new_messages("x", thread=f"t{number}"))
    trips: list[int] = []

    def counted(commands: Any, *rest: Any) -> Any:
        trips.append(len(commands))
        return exchange(commands, *rest)

    monkeypatch.setattr(redis_driver, "exchange", counted)

    def count(write: tuple[Any, ...]) -> int:
        trips.clear()
        at.do(at.mine, *write)
        return len(trips)

    first = {2, 3} if "+cluster" in at.url else {2}
    assert count(("put_writes", NewWrites("t", "", "a", b"w", None))) in first
    assert count(("put", new("a"))) == 1
    assert count(("put_messages", new_messages("x"))) == 2, "with a look at what Charm's sample plugin kept"
    assert count(("put_messages", new_messages("y"))) == 1
    assert count(("put", new("b", "a", run="r"))) == 2
    assert count(("put", new("c", "b", run="r"))) == 1
