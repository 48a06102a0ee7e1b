"""Looking at a thread while somebody else removes it, prunes it, writes to it: at any moment of any call."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
from stores import have, postgres_server, tenant_url, valkey_server, valkey_url
from typing_extensions import Self

from charm_checkpoint import CheckpointNotFound, Memory, ThreadNotFound, open_memory
from charm_checkpoint.testing.samples import checkpoint, config, versions

CALLS: dict[str, Callable[[Memory, str], Any]] = {
    "history": lambda memory, thread: list(memory.history(thread, limit=3)),
    "state": lambda memory, thread: memory.state(thread),
    "state before": lambda memory, thread: memory.state(thread, -2),
    "state by the end of its id": lambda memory, thread: memory.state(thread, "0003"),
    "last of lists": lambda memory, thread: memory.state(thread, last=3),
    "conversation": lambda memory, thread: memory.conversation(thread, last=5),
    "diff": lambda memory, thread: memory.diff(thread, -1),
    "blame": lambda memory, thread: memory.blame(thread, "messages"),
    "blame of one": lambda memory, thread: memory.blame(thread, "messages[-1].content"),
    "size": lambda memory, thread: memory.size(thread),
    "fork": lambda memory, thread: memory.fork(thread, -1),
    "fork to another": lambda memory, thread: memory.fork(thread, -1, to=f"{thread}, forked"),
}


def put(memory: Memory, at: Any, values: dict[str, Any], number: int) -> Any:
    made = checkpoint(values, id=f"c{number:04}", version=number + 1)
    saver = memory.get_langgraph_checkpointer()
    at = saver.put(at, made, {"source": "loop", "step": number}, versions(made))
    saver.put_writes(at, [("messages", ["said"])], f"task{number}")
    return at


def prune(memory: Memory, thread: str) -> None:
    memory.get_langgraph_checkpointer().prune([thread], strategy="keep_latest")


def write(memory: Memory, thread: str) -> None:
    head = memory.get_langgraph_checkpointer().get_tuple(config(thread))
    assert head
    messages = head.checkpoint["channel_values"]["messages"]
    put(memory, head.config, {**head.checkpoint["channel_values"], "messages": messages + said(99)}, 99)


MEANWHILE: dict[str, Callable[[Memory, str], object]] = {
    "erased": lambda memory, thread: memory.erase(thread),
    "pruned": prune,
    "written to": write,
}


def said(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{number} {at} " * 40, "id": f"{number}.{at}"} for at in range(12)]


class Two(NamedTuple):
    """Two programs that use one store."""

    looker: Memory
    somebody: Memory


@pytest.fixture(scope="module", params=["sqlite", "postgres", "valkey"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """Return two that use a store with a thread, of which each case has a copy."""
    urls = {"postgres": (postgres_server, tenant_url), "valkey": (valkey_server, valkey_url)}
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('races')}/a.db?synchronous=normal"
    else:
        server, make = urls[request.param]
        have(server)  # type: ignore[operator]
        url = make()
    with open_memory(url) as looker, open_memory(url) as somebody:
        at, log = config("t"), list[dict[str, str]]()
        for number in range(6):
            log = log[-30:] + said(number)
            at = put(somebody, at, {"messages": list(log), "doc": f"{number} " * 800, "n": number}, number)
        looker.store.setup()
        yield Two(looker, somebody)


class Between:
    """Does something once, before the operation of that number that calls make; on SQLite, before the transaction."""

    def __init__(self, memory: Memory, number: int, then: Callable[[], object]) -> None:
        driver: Any = memory.store.driver
        self._of = driver, "_execute" if hasattr(driver, "_execute") else "run"
        self._left = number
        self._then = then
        self._do = getattr(*self._of)

    def __enter__(self) -> Self:
        setattr(*self._of, self)
        return self

    def __exit__(self, *exception: object) -> None:
        delattr(*self._of)

    def __call__(self, *what: Any, **how: Any) -> Any:
        self._left -= 1
        if self._left == -1:
            self._then()
        return self._do(*what, **how)

    @property
    def is_over(self) -> bool:
        """Whether the calls ended before their turn came."""
        return self._left >= 0


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("name", CALLS)
def test_whatever_comes_between_is_told_as_what_it_is(two: Two, name: str, meanwhile: str) -> None:
    saver = two.somebody.get_langgraph_checkpointer()
    for number in itertools.count():
        thread = f"{name}, {meanwhile} before {number}"
        saver.copy_thread("t", thread)
        with Between(two.looker, number, partial(MEANWHILE[meanwhile], two.somebody, thread)) as between:
            try:
                found = CALLS[name](two.looker, thread)
            except (ThreadNotFound, CheckpointNotFound) as error:
                assert meanwhile != "written to" and thread in str(error) and "-1 checkpoints" not in str(error)
            else:
                assert not any(says_damaged(each) for each in (found if type(found) is list else [found])), thread
        if between.is_over:
            break


def says_damaged(found: Any) -> bool:
    """Tell whether something that was found is told as damaged, or is not there."""
    return bool(getattr(found, "notes", ()) or getattr(found, "note", None) or getattr(found, "value", "") is None)
