"""Every store answers as the RAM store does, whatever is asked of it, in whatever order."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT
from markers import SLOW_ROWS
from strategies import values
from strict import same
from workers import scaled

from charm_checkpoint import CharmError, open_memory
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.call_modes import CALL_MODES, InMode
from charm_checkpoint.testing.samples import checkpoint, config

BUDGET = settings(
    max_examples=scaled(6),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # A failure is found again by its seed; the time to shrink it is spent on the developer's machine only.
    phases=[phase for phase in Phase if phase is not Phase.explain],
)
FEWER = settings(BUDGET, max_examples=scaled(3))
"""For Supabase, whose calls take longer and are those of Postgres behind its API, for rows that are another server of a
kind that is there, and for RAM beside RAM."""

THREADS = st.sampled_from(["a", "b", "\0"])
SPACES = st.sampled_from(["", "", "", "n", "n:1"])
TASKS = st.sampled_from(["t1", "t2"])
SMALL = st.integers(0, 3)
ITEMS = st.lists(st.builds(lambda n, text: {"n": n, "text": text * 20}, SMALL, st.text(max_size=9)), max_size=9)
USERS = st.sampled_from(["ann", None, True, 1, {"n": 1}, {"n": {"x": "ann"}, "y": [1]}])
METADATA = {"step": SMALL, "user": USERS, "run_id": st.sampled_from(["r1", "r2"])}
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        **METADATA,
        "step": SMALL | st.builds(lambda sign, n: {sign: n}, st.sampled_from(["$gt", "$lte", "$ne"]), SMALL),
        "user.n": st.sampled_from([1, True, {"x": "ann"}]),
        "user.n.x": st.sampled_from(["ann", None]),
    },
)


class Pair:
    """The store under test and the oracle; a call goes to both and must do the same."""

    def __init__(self, url: str, mode: str) -> None:
        self.memories = [open_memory(url), open_memory("memory://")]
        self.call_modes = [CALL_MODES[mode](), CALL_MODES["blocking"]()]

    def call(self, name: str, *args: Any, saver: bool = True, **kwargs: Any) -> Any:
        return self.call_as(lambda result, memory: result, name, *args, saver=saver, **kwargs)

    def call_as(self, view: Callable[[Any, Memory], Any], name: str, *args: Any, saver: bool = True, **kw: Any) -> Any:
        results = [
            attempt(InMode(memory.get_langgraph_checkpointer() if saver else memory, mode), name, args, kw)
            for memory, mode in zip(self.memories, self.call_modes, strict=True)
        ]
        results = [view(result, self.memories[0]) for result in results]
        assert same(*results), f"{name}: {results[0]} where RAM has {results[1]}"
        return results[0]

    def close(self) -> None:
        for memory, mode in zip(self.memories, self.call_modes, strict=True):
            InMode(memory, mode).close()
            mode.close()


def countable(usage: Any, memory: Memory) -> Any:
    """Return what two stores must count alike: a store of its own kind of messages has no chunks of them."""
    return usage if memory.store.history is None else replace(usage, chunks=0, payload_bytes=0)


def attempt(target: InMode, name: str, args: Any, kwargs: Any) -> Any:
    try:
        return getattr(target, name)(*args, **kwargs)
    except CharmError as error:
        return f"{type(error).__name__}: {error}"


class Stores(RuleBasedStateMachine):
    """Random calls on a few threads."""

    def __init__(self, url: str, mode: str) -> None:
        super().__init__()
        self.pair = Pair(url, mode)
        self.number = self.steps = 0
        self.state: dict[str, Any] = {"log": [], "files": {}}
        self.put_states: dict[tuple[str, str], Any] = {}
        self.configs: list[Any] = []

    def pick(self, thread: str, ns: str, number: int) -> Any:
        """Return the config of the head, for 0, or of one of the latest checkpoints put there."""
        known = [where for where in self.configs if where["configurable"]["thread_id"] == thread]
        return known[-number] if 0 < number <= len(known) else config(thread, ns)

    def next_id(self) -> str:
        """Return an id for the next checkpoint: all differ, and do not sort as they follow each other."""
        return f"{self.number * 7919 % 1000:03}"

    @rule(items=ITEMS, at=st.integers(0, 40), cut=SMALL)
    def change_the_log(self, items: Any, at: int, cut: int) -> None:
        log = self.state["log"]
        if at % 2:
            log = self.state["log"] = list(log)
        log[at : at + cut] = items
        log.extend({"n": n} for n in range(at))

    @rule(name=st.text(max_size=2), value=values(6))
    def change_a_file(self, name: str, value: Any) -> None:
        self.state["files"][name] = value

    @rule(at=SMALL)
    def change_an_element_in_place(self, at: int) -> None:
        if at < len(self.state["log"]):
            self.state["log"][at]["n"] = "changed"

    @rule(
        thread=THREADS,
        ns=SPACES,
        parent=SMALL,
        metadata=st.fixed_dictionaries({"source": st.sampled_from(["loop", "loop", "fork"])}, optional=METADATA),
    )
    def put(self, thread: str, ns: str, parent: int, metadata: Any) -> None:
        made = checkpoint(self.state, id=self.next_id(), version=self.number)
        self.number += 1
        head = self.pair.call("get_tuple", config(thread, ns))
        where = head.config if head and not parent else self.pick(thread, ns, parent)
        done = self.pair.call("put", where, made, metadata, dict(made["channel_versions"]))
        if isinstance(done, dict):
            self.configs.append(done)
            self.put_states[thread, made["id"]] = copy.deepcopy(self.state)

    @rule(
        thread=THREADS,
        ns=SPACES,
        number=st.integers(0, 5),
        task=TASKS,
        path=st.sampled_from(["", "p"]),
        writes=st.lists(st.tuples(st.sampled_from(["x", "y", ERROR, INTERRUPT]), values(4)), max_size=3),
    )
    def put_writes(self, thread: str, ns: str, number: int, task: str, path: str, writes: Any) -> None:
        where = self.pick(thread, ns, number) if number else config(thread, ns, self.next_id())
        self.pair.call("put_writes", where, writes, task, path)

    @rule(thread=THREADS, ns=SPACES, number=SMALL)
    def get(self, thread: str, ns: str, number: int) -> None:
        found = self.pair.call("get_tuple", self.pick(thread, ns, number))
        if found is not None:
            self.check(found)

    @rule(thread=THREADS | st.none(), filter=FILTERS, before=SMALL, limit=st.none() | st.integers(0, 3))
    def list(self, thread: str | None, filter: Any, before: int, limit: int | None) -> None:
        where = {"configurable": {"thread_id": thread}} if thread else None
        bound = self.pick(thread, "", before) if thread and before else None
        if where is None:
            limit = None  # how threads follow each other is the store's choice
        found = self.listed(where, filter=filter, before=bound, limit=limit)
        for item in found:
            self.check(item)

    def listed(self, where: Any, **kwargs: Any) -> Any:
        if where is not None:
            return self.pair.call("list", where, **kwargs)
        results = [
            sorted(attempt(InMode(memory.get_langgraph_checkpointer(), mode), "list", (None,), kwargs), key=place)
            for memory, mode in zip(self.pair.memories, self.pair.call_modes, strict=True)
        ]
        assert same(*results)
        return results[0]

    def check(self, found: Any) -> None:
        """Compare a state with the one that was put: both stores might be wrong."""
        thread = found.config["configurable"]["thread_id"]
        assert same(found.checkpoint["channel_values"], self.put_states[thread, found.checkpoint["id"]])

    @rule(thread=THREADS, strategy=st.sampled_from(["keep_latest", "keep_latest", "delete"]))
    def prune(self, thread: str, strategy: str) -> None:
        self.pair.call("prune", [thread], strategy=strategy)

    @rule(thread=THREADS)
    def delete_thread(self, thread: str) -> None:
        self.pair.call("delete_thread", thread)

    @rule(run=st.sampled_from(["r1", "r2"]))
    def delete_for_runs(self, run: str) -> None:
        self.pair.call("delete_for_runs", [run])

    @rule(source=THREADS, to=THREADS)
    def copy_thread(self, source: str, to: str) -> None:
        if self.pair.call("copy_thread", source, to) is None:
            copied = {(to, id): state for (thread, id), state in self.put_states.items() if thread == source}
            self.put_states.update(copied)

    @rule(thread=THREADS, channels=st.lists(st.sampled_from(["log", "x", "nothing"]), unique=True), number=SMALL)
    def history(self, thread: str, channels: Any, number: int) -> None:
        self.pair.call("get_delta_channel_history", config=self.pick(thread, "", number), channels=channels)

    @rule(thread=THREADS, items=ITEMS, name=st.sampled_from(["save_messages", "append_messages", "append_messages"]))
    def messages(self, thread: str, items: Any, name: str) -> None:
        self.pair.call(name, thread, items, saver=False)
        self.pair.call("load_messages", thread, saver=False)

    @rule(thread=THREADS)
    def delete_messages(self, thread: str) -> None:
        self.pair.call("delete_messages", thread, saver=False)

    @invariant()
    def as_much_is_stored(self) -> None:
        # What is miscounted stays so for a while: after each step one of the two is asked for.
        self.steps += 1
        self.pair.call_as(countable, "usage", "a" if self.steps % 2 else None, saver=False)

    def teardown(self) -> None:
        self.pair.close()


def place(item: Any) -> Any:
    where = item.config["configurable"]
    return where["thread_id"], where["checkpoint_ns"], where["checkpoint_id"]


@pytest.mark.parametrize("mode", CALL_MODES)
def test_a_store_answers_as_ram_does(make_url: Callable[[], str], mode: str, request: pytest.FixtureRequest) -> None:
    row = request.node.callspec.params["make_url"].name
    budget = FEWER if row in (*SLOW_ROWS, "ram") else BUDGET
    run_state_machine_as_test(lambda: Stores(make_url(), mode), settings=budget)
