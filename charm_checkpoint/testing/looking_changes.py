"""What differs between two states, who wrote what stands there, and what takes room: beside what is known of them."""

from __future__ import annotations

import copy
import json
import random
import re
from typing import Any

import pytest

from charm_checkpoint.contract import NewWrites
from charm_checkpoint.errors import CheckpointNotFound, ConfigError, PathNotFound
from charm_checkpoint.inspection import Change, StateView
from charm_checkpoint.testing.call_modes import InMode, PlansInMode
from charm_checkpoint.testing.damage import JUNK
from charm_checkpoint.testing.looking_states import Looking
from charm_checkpoint.testing.samples import Point, checkpoint, config, new, unsealed
from charm_checkpoint.testing.saver_methods import put

_RANGE = re.compile(r"(.*)\[(-?\d+):(-?\d*)\]$")


def stands_at(view: StateView, path: str) -> Any:
    """Return what a change's or an entry's path leads to, be it a range."""
    found = _RANGE.fullmatch(path)
    if found is None:
        return view.at(path)
    return view.at(found[1])[int(found[2]) : int(found[3]) if found[3] else None]


def entry(number: int, size: int) -> dict[str, Any]:
    """Return a dict as a message is, of a size."""
    return {"id": f"i{number}", "content": f"word {number} " * size, "type": "human"}


def change(state: dict[str, Any], number: int, rnd: random.Random) -> None:
    """Change a state as programs do: append, trim, edit, put in and take out of dicts."""
    kind = number % 7
    if kind in (0, 3):
        state["messages"] += [entry(1000 + 10 * number + n, rnd.choice([1, 30, 400])) for n in range(kind + 1)]
    elif kind == 1:
        del state["messages"][: rnd.choice([1, 20])]
    elif kind == 2:
        rnd.choice(state["messages"])["content"] = f"edited {number}"
    elif kind == 4:
        state["files"][f"f{rnd.randrange(90)}"] = f"new {number} " * rnd.choice([1, 700])
    elif kind == 5:
        state["files"].pop(rnd.choice(list(state["files"])))
    else:
        state["user"]["deep"]["x"].append(number)
        state["count"] += 1


MANY = {str(n): "a" * 99 for n in range(50)}
ODD = {
    "bytes": (b"z" * 9000, b"z" * 8999 + b"y", "x.blake2b"),
    "bytes in a list": ([{"b": b"z" * 9000}], [{"b": b"z" * 8999 + b"y"}], "x[0].b.blake2b"),
    "a number": (10**5000, 10**5000 + 1, "x"),
    "a number as a key": ({10**5000: 1}, {10**5000: 2}, f"x['{hex(10**5000)}']"),
    "text and a number as keys": ({"1": "a", 1: "b"}, {"1": "c", 1: "b"}, "x['1']"),
    "a number behind its text": ({"1": "a", 1: "b"}, {"1": "a", 1: "c"}, "x['1 (int)']"),
    "many keys": (MANY | {7: "b"}, MANY | {7: "c"}, ""),
    "an expression": (re.compile("a" * 400), re.compile("a" * 401), "x"),
}
"""Values that are not shown to their end or under their own names: before, after, and the path of what differs."""


class Changes(Looking):
    """`Memory.diff`, `Memory.blame` and `Memory.size`."""

    @pytest.fixture
    def past(self, saver: InMode) -> list[tuple[str, dict[str, Any]]]:
        """Store a line of checkpoints, and return their ids and states."""
        rnd = random.Random(7)
        state: dict[str, Any] = {
            "messages": [entry(n, rnd.choice([1, 3, 30, 400])) for n in range(200)],
            "files": {f"f{n}": f"text {n} " * rnd.choice([1, 50, 600]) for n in range(80)},
            "count": 1,
            "user": {"name": "Ann", "deep": {"x": [1, 2, 3]}},
        }
        at, past = config("t"), []
        for number in range(15):
            if number:
                change(state, number, rnd)
            at = put(saver, at, checkpoint(copy.deepcopy(state)))
            past.append((at["configurable"]["checkpoint_id"], copy.deepcopy(state)))
        return past

    def test_what_differs_is_what_was_changed(self, looked: InMode, past: list[tuple[str, dict[str, Any]]]) -> None:
        views = {id: looked.state("t", id) for id, _ in past}
        for one, other in [*zip(past, past[1:], strict=False), (past[0], past[-1]), (past[-1], past[3])]:
            found = looked.diff("t", one[0], other[0])
            assert (found.a.checkpoint_id, found.b.checkpoint_id) == (one[0], other[0])
            assert not found.is_same and found.notes == ()
            for each in found.changes:
                if each.kind != "added":
                    assert stands_at(views[one[0]], each.path) == each.old
                if each.kind != "removed":
                    assert each.kind == "changed" or stands_at(views[other[0]], each.path) == each.new
            assert {each.path.partition("[")[0].partition(".")[0] for each in found.changes} == {
                name for name in one[1] if one[1][name] != other[1][name]
            }
        assert looked.diff("t", past[3][0], past[3][0]).is_same

    def test_each_kind_of_change(self, looked: InMode, saver: InMode) -> None:
        first = {"log": ["a", "b", "c"], "user": {"name": "Ann", "age": 3}, "gone": 1, "doc": {"id": 1, "t": "x"}}
        second = {
            "log": ["b", "c", "d", "e"],
            "user": {"name": "Bob", "pet": "cat"},
            "new": [1],
            "doc": {"id": 1, "t": "y"},
        }
        put(saver, put(saver, config("t"), checkpoint(first)), checkpoint(second))
        found = looked.diff("t", -1)
        assert sorted(found.changes, key=lambda each: (each.path, each.kind)) == [
            Change("doc.t", "changed", "x", "y"),
            Change("gone", "removed", old=1),
            Change("log[0]", "removed", old="a"),
            Change("log[2:4]", "added", new=["d", "e"]),
            Change("new", "added", new=[1]),
            Change("user.age", "removed", old=3),
            Change("user.name", "changed", "Ann", "Bob"),
            Change("user.pet", "added", new="cat"),
        ]
        back = looked.diff("t", 0, -1)
        assert {each.kind for each in back.changes if each.path == "gone"} == {"added"}

    def test_numbers_and_truth_are_told_apart(self, looked: InMode, saver: InMode) -> None:
        put(saver, put(saver, config("t"), checkpoint({"n": 1, "m": [1]})), checkpoint({"n": True, "m": [1.0]}))
        assert {each.path for each in looked.diff("t", -1).changes} == {"n", "m[0]"}

    def test_states_of_two_threads(self, looked: InMode, saver: InMode) -> None:
        long = {"messages": [entry(n, 30) for n in range(300)]}
        put(saver, config("t"), checkpoint(long))
        long["messages"].append(entry(300, 1))
        put(saver, config("u"), checkpoint(long))
        [change] = looked.diff("t", None, other_thread="u").changes
        assert (change.kind, change.path, change.new) == ("added", "messages[300]", entry(300, 1))

    def test_only_what_differs_is_read(
        self, looked: InMode, saver: InMode, backend: PlansInMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        state: dict[str, Any] = {"messages": [entry(n, 30) for n in range(3000)]}
        state["other"] = {f"k{n}": "x" * 900 for n in range(900)}
        at = put(saver, config("t"), checkpoint(copy.deepcopy(state)))
        state["messages"].append(entry(3000, 1))
        state["other"]["k7"] = "changed"
        put(saver, at, checkpoint(state))
        asked: list[int] = []
        kind: Any = type(backend.backend)
        chunks = kind.chunks

        def counted(self: Any, thread: str, addresses: Any, messages: bool = False) -> Any:
            asked.append(len(addresses))
            return chunks(self, thread, addresses, messages)

        monkeypatch.setattr(kind, "chunks", counted)
        monkeypatch.setattr("charm_checkpoint.inspection.tree_diff.COUNTED", 8)
        found = looked.diff("t", -1)
        assert {(each.kind, each.path) for each in found.changes} == {
            ("added", "messages[-1]"), ("changed", "other.k7"),
        }  # fmt: skip
        assert sum(asked) < backend.usage("t").chunks / 3

    def test_what_cannot_be_compared_is_noted(self, stranger: InMode, saver: InMode, backend: PlansInMode) -> None:
        at = put(saver, config("t"), checkpoint({"p": Point(1), "log": ["x" * 90] * 90}, id="1"))
        put(saver, at, checkpoint({"p": Point(2), "log": ["x" * 90] * 91}, id="2"))
        found = stranger.diff("t", -1)
        assert [(each.path, each.old, each.new) for each in found.changes][:1] == [("p.x", 1, 2)]
        assert any(note.path == "p" and "Point" in note.text for note in found.notes)
        row = backend.find("t", "", "2").row
        backend.put(new("lost", thread="lost", body=unsealed(row.body), roots=b"?" * len(row.roots)))
        found = stranger.diff("t", 0, other_thread="lost")
        assert any("missing" in note.text for note in found.notes)
        backend.put(new("bad", thread="bad", body=JUNK))
        with pytest.raises(CheckpointNotFound, match="cannot be read"):
            stranger.diff("bad", None)

    # ------------------------------------------------------------------ blame

    def test_who_wrote_each_element(self, looked: InMode, past: list[tuple[str, dict[str, Any]]]) -> None:
        last = past[-1][1]

        def since(holds: Any) -> str:
            at = len(past) - 1
            while at and holds(past[at - 1][1]):
                at -= 1
            return past[at][0]

        entries = looked.blame("t", "messages")
        told = [each for each in entries for _ in range(_count(each.path))]
        assert len(told) == len(last["messages"]) and len({each.path for each in entries}) == len(entries)
        for each, message in zip(told, last["messages"], strict=True):
            assert each.checkpoint_id == since(lambda state: message in state["messages"])  # noqa: B023
        for each in looked.blame("t", "files"):
            name = each.path.removeprefix("files.")
            assert each.checkpoint_id == since(lambda state: state["files"].get(name) == last["files"][name])  # noqa: B023
        for number in (0, 7, -1, -5):
            id = last["messages"][number]["id"]
            for part in ("content", "type"):
                [each] = looked.blame("t", f"messages[{number}].{part}")
                now = last["messages"][number][part]
                assert each.checkpoint_id == since(
                    lambda state: any(held["id"] == id and held[part] == now for held in state["messages"])  # noqa: B023
                )
        for path, now in (("count", last["count"]), ("user.deep.x", last["user"]["deep"]["x"])):
            [each] = looked.blame("t", path)
            assert each.checkpoint_id == since(lambda state: _at(state, path) == now)  # noqa: B023

    def test_the_node_and_the_step_are_told(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        InMode(graphs.counting(saver.raw), saver.mode).invoke({"log": ["begun", "one"]}, config("t"))
        found = looked.blame("t", "log")
        assert [(each.path, each.value, each.step, each.nodes) for each in found] == [
            ("log[0:2]", ["begun", "one"], 0, ("__start__",)), ("log[2]", "one", 1, ("one",)),
            ("log[3]", "two", 2, ("two",)), ("log[4]", "three", 3, ("three",)),
        ]  # fmt: skip
        [entry] = looked.blame("t", "log[-1]", checkpoint=-1)
        assert (entry.path, entry.value, entry.nodes) == ("log[3]", "two", ("two",))
        assert not entry.is_oldest

    def test_what_was_pruned_is_told(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        InMode(graphs.counting(saver.raw), saver.mode).invoke({"log": ["begun"]}, config("t"))
        saver.prune(["t"])
        assert [(each.path, each.is_oldest) for each in looked.blame("t", "log")] == [("log[0:4]", True)]

    def test_a_path_that_leads_nowhere(self, looked: InMode, saver: InMode) -> None:
        put(saver, config("t"), checkpoint({"log": [1], "n": 5, "d": {"a": 1}}))
        for path in ("nothing", "log[3]", "n.x", "d.b", ""):
            with pytest.raises(PathNotFound):
                looked.blame("t", path)
        with pytest.raises(ConfigError, match="is no path"):
            looked.blame("t", "log[")

    def test_what_is_shown_in_part_differs_all_the_same(self, looked: InMode, saver: InMode) -> None:
        for name, (before, after, path) in ODD.items():
            put(saver, put(saver, config(name), checkpoint({"x": before})), checkpoint({"x": after}))
            [found] = looked.diff(name, -1).changes
            assert (found.kind, not path or found.path) == ("changed", not path or path), name
            assert looked.diff(name, None).is_same
            view = looked.state(name)
            assert type(view.channels["x"].value) is type(after) and view.channels["x"].value == after
            assert json.loads(json.dumps(view.as_dict()))["values"] == view.values
            assert type(after) is not dict or len(view.values["x"]) == len(after)
            assert all(each.checkpoint_id for each in looked.blame(name, "x")) and looked.size(name).notes == ()

    def test_a_delta_channel_that_is_stored_whole_is_shown_as_what_it_holds(
        self, looked: InMode, graphs: Any, saver: InMode
    ) -> None:
        graph = InMode(graphs.two_deltas(saver.raw), saver.mode)
        for n in range(3):
            graph.invoke({"log": [{"role": "user", "content": f"said {n}"}], "seldom": [n]}, config("t"))
        wholes = 0
        for item in graph.get_state_history(config("t")):
            view = looked.state("t", item.config["configurable"]["checkpoint_id"])
            for name in ("log", "seldom"):
                if name in view.channels and not any(note.path == name for note in view.notes):
                    assert view.channels[name].value == (item.values.get(name) or None)
                    wholes += type(view.channels[name].value) is type(view.values[name]) is list
                    entries = looked.blame("t", name, checkpoint=view.checkpoint.checkpoint_id)
                    assert all(entry.is_oldest for entry in entries if entry.value is not None)
        assert wholes > 1

    # ------------------------------------------------------------------ size

    def test_what_a_thread_takes(self, stranger: InMode, saver: InMode, backend: PlansInMode) -> None:
        at = config("t")
        state: dict[str, Any] = {"messages": [], "doc": Point("x", [{"text": _noise(20_000), "n": 1}]), "flag": True}
        for number in range(12):
            state["messages"].append({"role": "user", "content": _noise(3000, number)})
            at = put(saver, at, checkpoint(copy.deepcopy(state)))
        backend.put_writes(NewWrites("t", "", at["configurable"]["checkpoint_id"], b"x" * 500, None))
        stranger.append_messages("t", [{"role": "user", "content": "y" * 700}])
        found = stranger.size("t", top=3)
        kinds = {kind.kind: kind for kind in found.kinds}
        assert found.size == backend.usage("t").payload_bytes
        assert kinds["checkpoints"].count == 12 and kinds["writes"].size == 500
        channels = {channel.channel: channel for channel in found.channels}
        assert list(channels) == ["messages", "doc", "flag"]
        assert channels["messages"].size > 12 * 1500 and channels["messages"].steps == 11
        assert 1500 < channels["messages"].growth < 3000 and channels["doc"].growth == 0
        assert (found.values[0].path, found.values[0].part) == ("doc", "doc.y[0].text")
        assert {value.path for value in found.values[1:]} <= {f"messages[{n}]" for n in range(12)}
        assert all(value.part == f"{value.path}.content" for value in found.values[1:])
        assert len(found.values) == 3 and 20_000 < found.values[0].encoded <= channels["doc"].encoded < 21_000
        assert 3000 < found.values[1].encoded < 3200 and channels["messages"].encoded > 12 * 3000
        assert 0 < channels["flag"].size <= 1 == channels["flag"].encoded

    def test_what_makes_up_most_of_a_value(self, looked: InMode, saver: InMode) -> None:
        docs = [{"url": str(n), "html": _noise(30_000, n)} for n in range(3)]
        even = [{"a": _noise(900, n), "b": _noise(900, n + 50)} for n in range(3)]
        put(saver, config("t"), checkpoint({"docs": docs, "even": even}))
        parts = {value.path: value.part for value in looked.size("t", top=50).values}
        assert [parts[f"docs[{n}]"] for n in range(3)] == [f"docs[{n}].html" for n in range(3)]
        assert [parts[f"even[{n}]"] for n in range(3)] == [None] * 3

    def test_what_a_store_takes(self, looked: InMode, saver: InMode) -> None:
        for n in range(5):
            put(saver, config(f"t{n}"), checkpoint({"text": _noise(1000 * (n + 1))}))
        found = looked.size(top=2)
        assert found.counted + found.uncounted == 5
        if found.counted:  # else the store has not begun to count
            assert [thread.thread_id for thread in found.threads] == ["t4", "t3"]
            assert found.size >= 15_000 / 2
        with pytest.raises(ConfigError, match="top is how many"):
            looked.size(top=0)

    def test_damage_is_noted(self, looked: InMode, saver: InMode, backend: PlansInMode) -> None:
        put(saver, config("t"), checkpoint({"log": [_noise(200, n) for n in range(90)]}, id="1"))
        row = backend.find("t", "", "1").row
        backend.put(new("lost", thread="lost", body=unsealed(row.body), roots=b"?" * len(row.roots)))
        found = looked.size("lost")
        assert found.notes == ("1 chunks are damaged or missing",) and found.channels[0].channel == "log"


def _count(path: str) -> int:
    found = _RANGE.fullmatch(path)
    return 1 if found is None else int(found[3]) - int(found[2])


def _at(state: Any, path: str) -> Any:
    for name in path.split("."):
        state = state[name]
    return state


def _noise(size: int, seed: int = 0) -> str:
    """Return a text that no compressor makes much smaller than half."""
    return random.Random(seed).randbytes(size // 2).hex()
