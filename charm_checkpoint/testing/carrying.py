"""What a put names but does not carry: while two versions of a program are deployed, nothing of either is lost."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from charm_checkpoint.saver import CharmSaver
from charm_checkpoint.saver.history import COUNTERS
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.samples import checkpoint, config, exact, values
from charm_checkpoint.testing.saver_methods import put

TURNS = 20
"""How many turns two programs take on one thread, one after the other, in each of the two modes."""

CHANNELS = "abcdef"

BEFORE = ("put", "read", "neither")
"""How a saver comes to know a checkpoint before it puts the next one: not at all, too."""


def fresh(saver: InMode) -> InMode:
    """Return a saver on the same store that knows nothing of what others read or put."""
    return InMode(CharmSaver(saver.raw._store), saver.mode)


def known(saver: InMode, how: str, where: Any) -> InMode:
    """Return a saver that put a checkpoint, or has read it, or has not heard of it."""
    if how == "put":
        return saver
    other = fresh(saver)
    if how == "read":
        other.get_tuple(where)
    return other


def after(held: dict[str, Any], versions: dict[str, Any]) -> Any:
    """Return a checkpoint with some values that names all these channels."""
    made = checkpoint(held)
    made["channel_versions"] = dict(versions)
    return made


def shown(values: dict[str, Any]) -> dict[str, str]:
    """Return values by channel, told apart by their types."""
    return {name: exact(value) for name, value in values.items()}


def sweep(saver: InMode) -> None:
    """Have chunks of the thread swept: those of a checkpoint that nobody needs."""
    put(saver, config(ns="aside"), checkpoint({"junk": [random.random()] * 200}), run_id="junk")
    saver.delete_for_runs(["junk"])


class Carrying(Suite):
    """Channels that whoever puts a checkpoint does not know, as one version of a program those of another."""

    @pytest.mark.parametrize("how", BEFORE)
    def test_what_is_named_with_its_version_stays(self, saver: InMode, how: str) -> None:
        state = {**values(), "small": 1, "text": "short", "deep": [{"n": [1, (2, "x")]}], "long text": "x" * 5000}
        where = put(saver, config(), checkpoint(state))
        versions = dict.fromkeys(state, 1)
        expected = shown(state)
        for step in range(3):
            other = known(saver, how, where)
            made = after({"own": [step]}, {**versions, "own": step + 1})
            where = other.put(where, made, {"source": "loop", "step": step, "parents": {}}, {"own": step + 1})
            assert shown(saver.get_tuple(where).checkpoint["channel_values"]) == {**expected, "own": exact([step])}
        assert [len(item.checkpoint["channel_values"]) for item in saver.list(config())] == [len(state) + 1] * 3 + [
            len(state)
        ]

    @pytest.mark.parametrize("how", BEFORE)
    def test_what_is_cleared_or_not_named_goes(self, saver: InMode, how: str) -> None:
        state = {"kept": [1], "cleared": [2], "newer": 3, "forgotten": "x" * 700}
        where = put(saver, config(), checkpoint(state))
        other = known(saver, how, where)
        made = after({}, {"kept": 1, "cleared": 2, "newer": 2, "unheard": 1})
        where = other.put(where, made, {"source": "loop", "step": 0, "parents": {}}, {"cleared": 2})
        assert saver.get_tuple(where).checkpoint["channel_values"] == {"kept": [1]}

    def test_it_comes_from_the_parent_and_no_other(self, saver: InMode) -> None:
        root = put(saver, config(), checkpoint({"a": "root", "b": ["root"] * 300}))
        fork = put(saver, root, checkpoint({"a": "fork", "b": ["fork"] * 300}), source="fork")
        names = {"a": 1, "b": 1, "own": 1}
        for parent, word in ((root, "root"), (fork, "fork"), (root, "root")):
            made = after({"own": 1}, names)
            where = saver.put(parent, made, {"source": "fork", "step": 0, "parents": {}}, {"own": 1})
            found = saver.get_tuple(where).checkpoint["channel_values"]
            assert found == {"own": 1, "a": word, "b": [word] * 300}
        gone = config(id="unknown")
        where = saver.put(gone, after({"own": 1}, names), {"source": "fork", "step": 0, "parents": {}}, {})
        assert saver.get_tuple(where).checkpoint["channel_values"] == {"own": 1}

    @pytest.mark.parametrize("how", BEFORE)
    def test_counters_of_delta_channels_stay(self, saver: InMode, how: str) -> None:
        made = after({"seen": [1], "kept": [1]}, {"seen": 1, "kept": 1, "delta": 1, "moved": 1})
        where = put(saver, config(), made, **{COUNTERS: {"delta": [1, 2], "moved": [5, 6]}})
        made = after({"seen": [2]}, {"seen": 2, "kept": 1, "delta": 1, "moved": 9, "mine": 1})
        for own in ({}, {"mine": [1, 1]}):
            metadata: Any = {"source": "fork", "step": 1, "parents": {}, **({COUNTERS: own} if own else {})}
            there = known(saver, how, where).put(where, made, metadata, {"seen": 2, "moved": 9})
            found = saver.get_tuple(there)
            assert found.metadata[COUNTERS] == {**own, "delta": [1, 2]}
            assert found.checkpoint["channel_values"] == {"seen": [2], "kept": [1]}
            made = after({"seen": [2]}, made["channel_versions"])

    def test_puts_at_random_are_as_langgraphs_own_saver_has_them(self, saver: InMode) -> None:
        rng, theirs = random.Random(16), InMemorySaver()
        numbers = map("{:032}.5".format, itertools.count(1))
        done: list[tuple[Any, dict[str, Any]]] = []
        savers = [saver, fresh(saver)]
        for step in range(40):
            begins = not done or rng.random() < 0.1
            where, held = (config(ns=rng.choice(["", "s"])), {}) if begins else rng.choice(done[-3:])
            new: Any
            given, versions, new = chosen(rng, step, held, {} if begins else channels(theirs, where), numbers)
            if rng.random() < 0.2:
                savers[1] = fresh(saver)
            if rng.random() < 0.2:
                sweep(saver)
            putting = rng.choice(savers)
            if held and rng.random() < 0.3:
                putting.get_tuple(where)
            made = after(given, versions)
            metadata: Any = {"source": "fork", "step": step, "parents": {}}
            theirs.put(where, made, metadata, new)
            done.append((putting.put(where, made, metadata, new), versions))
        late = fresh(saver)
        for where, _ in done:
            expected = channels(theirs, where)
            assert channels(saver, where) == expected
            assert channels(late, where) == expected


def chosen(
    rng: random.Random, step: int, versions: dict[str, Any], state: dict[str, Any], numbers: Iterator[str]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return what a program that has some of the channels puts: their values, all versions, and those that are new."""
    mine = rng.sample(CHANNELS, rng.randint(1, len(CHANNELS)))
    given, new = {name: state[name] for name in mine if name in state}, {}
    for name in mine:
        if name not in versions or rng.random() < 0.4:
            new[name] = next(numbers)
            given.pop(name, None)
            if rng.random() < 0.8:
                given[name] = rng.choice([step, None, "short", ["x", step], {"k": [step]}, ["long"] * 200])
    return given, {**versions, **new}, new


def channels(saver: Any, where: Any) -> dict[str, Any]:
    """Return the values that a checkpoint has."""
    return dict(saver.get_tuple(where).checkpoint["channel_values"])


class Rolling(Suite):
    """Two versions of a graph that are deployed at once, and take turns on one thread."""

    def test_nothing_of_either_is_lost(self, saver: InMode, graphs: Any) -> None:
        programs = [(saver, False), (saver, True), (fresh(saver), False), (fresh(saver), True)]
        built = [InMode(graphs.rolled(of.raw, new), saver.mode) for of, new in programs]
        for turn in range(TURNS):
            durability = "exit" if turn % 5 else "async"
            built[turn % 4].invoke({"turns": 1, "log": [turn]}, config(), durability=durability)
        built[0].invoke({"turns": 1, "log": ["old"]}, config())
        for _ in range(2):
            found = built[1].get_state(config()).values
            assert found["turns"] == TURNS + 1
            assert found["log"] == [*range(TURNS), "old"]
            assert found["tally"] == TURNS // 2
            assert found["notes"] == [{"turn": turn} for turn in range(1, TURNS, 2)]
            assert found["trail"] == [f"turn {turn}" for turn in range(1, TURNS, 2)]
            assert built[0].get_state(config()).values.keys() == {"turns", "log"}
            saver.prune(["t"])  # by a program that does not know of the channels, either

    def test_keys_of_the_state_that_begin_as_edges_do(
        self, saver: InMode, graphs: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        given = {f"{word}:{end}": [1, word] for word in ("branch", "start", "join") for end in ("name", "of:name")}
        named = InMode(graphs.counting(saver.raw, keys=given), saver.mode)
        other = InMode(graphs.counting(saver.raw), saver.mode)
        for graph, start in ((named, given), (other, {}), (named, {})):
            graph.invoke({"log": ["in"], **start}, config())
        values = named.get_state(config()).values
        assert {name: value for name, value in values.items() if name != "log"} == given
        assert not caplog.records

    def test_a_run_without_the_node_that_waits_is_told(
        self, saver: InMode, asking: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        waits, goes_on = (InMode(make(saver.raw), saver.mode) for make in (asking.paused, asking.counting))
        waits.invoke({"log": ["in"]}, config())
        assert not caplog.records
        found = goes_on.invoke(asking.Command(resume="yes"), config())
        assert found["log"] == ["in"]
        assert ["'ask'" in record.message and "'t'" in record.message for record in caplog.records] == [True]
        waits.invoke(asking.Command(resume="yes"), config())  # whoever has the node does not hear of it
        assert waits.get_state(config()).next == ("ask",)
        assert len(caplog.records) == 1
        (first, *_) = [found.config for found in waits.get_state_history(config()) if found.metadata["step"] == -1]
        goes_on.invoke(None, first)  # nor whoever goes on elsewhere
        assert len(caplog.records) == 1

    @pytest.mark.parametrize("deferred", [False, True])
    def test_a_node_that_waits_behind_several_others_is_told(
        self, saver: InMode, asking: Any, caplog: pytest.LogCaptureFixture, deferred: bool
    ) -> None:
        waits, goes_on = (
            InMode(asking.joined(saver.raw, last, deferred=deferred), saver.mode) for last in ("ask", "other")
        )
        waits.invoke({"log": ["in"]}, config())
        assert waits.get_state(config()).next == ("ask",)
        goes_on.invoke(asking.Command(resume="yes"), config())
        assert ["'ask'" in record.message for record in caplog.records] == [True]
        for _ in range(3):
            goes_on.invoke({"log": ["more"]}, config())
        assert len(caplog.records) == 2  # no more once the thread has gone on

    def test_a_thread_that_has_gone_on_waits_for_no_node_of_the_other(self, saver: InMode, asking: Any) -> None:
        waits, goes_on = (InMode(make(saver.raw), saver.mode) for make in (asking.paused, asking.counting))
        waits.invoke({"log": ["in"]}, config())
        assert waits.get_state(config()).next == ("ask",)
        goes_on.invoke({"log": ["more"]}, config())
        for graph in (waits, goes_on):
            assert graph.get_state(config()).values["log"] == ["in", "more", "one", "two", "three"]
            assert graph.get_state(config()).next == ()
