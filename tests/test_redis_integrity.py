"""What a check finds in Redis alone: threads that no list names, lists of messages that are lost; and notes of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from children.jobs import add_item
from redis_clients import Clients
from stores import have, valkey_url

from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.contract import NewWrites
from charm_checkpoint.testing.samples import new, new_messages


@pytest.fixture
def at() -> Iterator[Clients]:
    url = have(valkey_url)
    with redis.Redis.from_url(url) as server:
        clients = Clients(url, server)
        yield clients
        clients.close()


def found(at: Clients, *, repair: bool = False) -> list[IntegrityFinding]:
    report = at.mine.check(integrity="only", repair=repair).integrity
    assert report is not None
    return list(report.findings)


KINDS: dict[str, tuple[Any, ...]] = {
    "checkpoints": ("put", new("a")),
    "writes": ("put_writes", NewWrites("t", "", "a", b"w", None)),
    "a list of messages": ("put_messages", new_messages("x")),
    "a batch of messages": ("append_messages", "t", b"m"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_that_is_in_no_list_is_told_and_entered(at: Clients, kind: str) -> None:
    at.do(at.other, "put", new("a", thread="deleted"))
    at.do(at.other, "delete_thread", "deleted")  # its counters stay, and need no entry
    at.do(at.other, *KINDS[kind])
    for key in at.server.scan_iter("charm:{threads-*"):
        if at.server.type(key) == b"zset":
            at.server.delete(key)
    assert at.listed() == set()
    unlisted = [one for one in found(at) if "no list of threads" in one.message]
    assert [(one.thread, one.repairable, one.repaired) for one in unlisted] == [("t", True, False)]
    assert [one.repaired for one in found(at, repair=True) if "no list of threads" in one.message] == [True]
    assert at.listed() == {"t"}


@pytest.mark.parametrize("alone", [False, True])
def test_a_lost_list_of_messages_is_damage_and_its_chunks_stay(at: Clients, alone: bool) -> None:
    if not alone:
        add_item(at.mine.get_langgraph_checkpointer(), "t")
    messages = [{"n": number, "text": f"{number} " * 3000} for number in range(20)]
    at.mine.save_messages("t", messages)
    at.mine.save_messages("other", messages)
    names: Any = at.mine.store.backend
    keys = names._names.thread(names._names.tag("t"))
    held, chunks = at.server.dump(keys[5]), at.server.hgetall(keys[6])
    assert chunks
    at.server.delete(keys[5])
    for repair in (False, True):
        lost = {(one.kind, one.grade, one.repaired) for one in found(at, repair=repair)}
        assert lost == {("messages", "damage", False), *([("thread", "damage", False)] if alone else ())}
    assert at.server.hgetall(keys[6]) == chunks
    assert (at.other.usage().threads, at.other.usage().damaged) == (1, 1)
    assert at.other.load_messages("other") == messages
    at.server.restore(keys[5], 0, held)
    assert at.other.load_messages("t") == messages
    assert not found(at)


REFUSED: dict[str, Callable[[Clients], Any]] = {
    "a conflict": lambda at: at.do(at.other, "put", new("b", run="r", on_conflict="raise")),
    "a lost base": lambda at: at.do(at.other, "put", new("b", "a", run="r", base_sweeps=7)),
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_refused_checkpoint_leaves_its_run_noted_with_others_of_it(at: Clients, how: str) -> None:
    at.do(at.mine, "put", new("a", run="r"))
    assert REFUSED[how](at).outcome in ("conflict", "stale")
    assert at.do(at.other, "runs", ["r"]) == [("t", "", "a")]


def test_what_was_deleted_leaves_no_note_of_a_run_that_comes_too_late(at: Clients) -> None:
    at.do(at.mine, "put", new("a"))
    at.do(at.other, "delete_thread", "t")
    assert at.do(at.mine, "put", new("b", run="r", seen_deletes=0)).outcome == "deleted"
    assert not list(at.server.scan_iter("*:run"))
