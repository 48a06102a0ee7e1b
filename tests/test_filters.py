"""The filter language, against a plain reading of its rules; and its tags, which must hide no match."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from charm_checkpoint import CharmError, InvalidFilter, open_memory
from charm_checkpoint.contract import NESTED, TAG_SIZE, Query
from charm_checkpoint.saver import listing as listing_module
from charm_checkpoint.saver.filters import Filter, matches
from charm_checkpoint.saver.tags import NESTED_ENTRIES, tags
from charm_checkpoint.servers import PostgresServer
from charm_checkpoint.stores.shared.tags import has_tags
from charm_checkpoint.testing.samples import checkpoint, config

MISSING = ...
NAMES = st.sampled_from(["a", "b", "a.b", "a.b.a", "", ".", "b.", "x y", "größe", "\0", "\ud800"])
ATOMS = st.sampled_from(
    [None, True, False, 0, 1, 1.0, -0.0, 2.5, 9, 10, 100, 2**63 + 1, 2**63 + 2, float(2**63), math.inf, math.nan,
     "", "1", "a", "b", "true", "\ud800"]
)  # fmt: skip
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)
OPERATIONS = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), VALUES, min_size=1, max_size=2
) | st.fixed_dictionaries(
    {}, optional={"$in": st.lists(VALUES, max_size=2), "$nin": st.lists(VALUES, max_size=2), "$exists": st.booleans()}
).filter(bool)
FILTERS = st.recursive(
    st.dictionaries(NAMES, VALUES | OPERATIONS, max_size=2),
    lambda inner: st.dictionaries(NAMES, VALUES | OPERATIONS | inner, max_size=2),
    max_leaves=4,
)


# The rules, in the plainest way.


def lookup(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        return MISSING
    if name in value:
        return value[name]
    head, dot, rest = name.partition(".")
    return lookup(value[head], rest) if dot and head in value else MISSING


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return type(a) is type(b) and a == b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or (a != a and b != b)
    if isinstance(a, dict) and isinstance(b, dict):
        return set(a) == set(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def is_(held: Any, wanted: Any) -> bool:
    return equal(None if held is MISSING else held, wanted)


def ordered(held: Any, limit: Any) -> bool:
    numbers = [isinstance(x, (int, float)) and not isinstance(x, bool) for x in (held, limit)]
    return all(numbers) or (isinstance(held, str) and isinstance(limit, str))


RULES: dict[str, Any] = {
    "$eq": is_,
    "$ne": lambda held, wanted: not is_(held, wanted),
    "$in": lambda held, wanted: any(is_(held, item) for item in wanted),
    "$nin": lambda held, wanted: not any(is_(held, item) for item in wanted),
    "$exists": lambda held, wanted: (held is not MISSING) == wanted,
    "$gt": lambda held, limit: ordered(held, limit) and held > limit,
    "$gte": lambda held, limit: ordered(held, limit) and held >= limit,
    "$lt": lambda held, limit: ordered(held, limit) and held < limit,
    "$lte": lambda held, limit: ordered(held, limit) and held <= limit,
}


def holds(value: Any, filter: dict[str, Any]) -> bool:
    return all(agrees(lookup(value, name), wanted) for name, wanted in filter.items())


def agrees(held: Any, wanted: Any) -> bool:
    if not isinstance(wanted, dict):
        return is_(held, wanted)
    if wanted and all(key.startswith("$") for key in wanted):
        return all(RULES[key](held, operand) for key, operand in wanted.items())
    return isinstance(held, dict) and holds(held, wanted)


@given(OBJECTS, FILTERS)
@example({"a": {"b": 1}, "a.b": 2}, {"a.b": 1})
@example({"a": {"b.a": 1}}, {"a.b.a": 1})
@example({"a": {"b": {}}}, {"a": {"b": {}}})
def test_a_filter_means_what_its_rules_say_and_its_tags_hide_no_match(value: Any, filter: Any) -> None:
    asked = Filter(filter)
    assert matches(value, filter) == asked.matches(value) == holds(value, filter)
    if asked.matches(value):
        query = Query(tags=asked.tags, nested=asked.nested)
        assert has_tags(tags(value), query)
        assert has_tags(first_tags(value), query)


def first_tags(value: Any) -> bytes:
    """Return tags as the first versions stored them: each entry's, and none of what is nested."""
    return b"".join(tags({key: item}).removeprefix(NESTED)[:TAG_SIZE] for key, item in value.items())


@given(OBJECTS, st.data())
def test_what_is_picked_out_of_a_value_finds_it(value: Any, data: Any) -> None:
    path, held = [], value
    while isinstance(held, dict) and held:
        key = data.draw(st.sampled_from(sorted(held)))
        path, held = [*path, key], held[key]
    if not path:
        return
    part: Any = {"$eq": held}
    for key in reversed(path[1:]):
        part = {key: part}
    for filter in ({path[0]: part}, {".".join(path): {"$exists": True}}):
        if filter.keys() == {path[0]} or lookup(value, ".".join(path)) is not MISSING:
            asked = Filter(filter)
            assert asked.matches(value)
            for held_tags in (tags(value), first_tags(value)):
                assert has_tags(held_tags, Query(tags=asked.tags, nested=asked.nested))


@pytest.mark.parametrize(
    ("filter", "there"),
    [
        ({"n": {"$gt": 9}}, [10, 100]),
        ({"n": {"$gt": 9, "$lt": 100}}, [10]),
        ({"n": {"$gte": "x"}}, ["x"]),
        ({"n": {"$ne": 5}}, [2, 9, 10, 100, "x", None, True, 1, MISSING]),
        ({"n": None}, [None, MISSING]),
        ({"n": {"$exists": True}}, [2, 9, 10, 100, "x", None, True, 1]),
        ({"n": {"$exists": False}}, [MISSING]),
        ({"n": 1.0}, [1]),
        ({"n": True}, [True]),
        ({"n": {"$in": [2, None]}}, [2, None, MISSING]),
        ({"n": {"$nin": [2, None]}}, [9, 10, 100, "x", True, 1]),
        ({"n": {"$in": []}}, []),
    ],
    ids=repr,
)
def test_the_truth_table(filter: Any, there: Any) -> None:
    held = [2, 9, 10, 100, "x", None, True, 1, MISSING]
    found = [item for item in held if matches({} if item is MISSING else {"n": item}, filter)]
    assert list(map(repr, found)) == list(map(repr, there))


class Color(str, Enum):
    RED = "red"


def test_values_are_compared_as_metadata_keeps_them() -> None:
    assert matches({"color": "red", "n": [1, 2]}, {"color": Color.RED, "n": (1, 2)})
    assert matches({"color": Color.RED}, {"color": {"$in": {"red"}}})  # as the first versions stored it
    assert matches({"a": {"color": Color.RED}}, {"a.color": "red"})
    assert not matches({"n": 1}, {"n": object()})
    assert matches({"n": 1}, {"n": {"$ne": object()}})
    assert matches({"user": {"name": "x", "age": 3}}, {Color.RED: None, "user": {"age": {"$gt": 2}}})


def test_a_list_is_compared_as_a_whole() -> None:
    value = {"tags": ["a", {"x": 1, "y": 2}]}
    assert matches(value, {"tags": ["a", {"y": 2, "x": 1.0}]})
    for other in (["a"], [{"x": 1, "y": 2}, "a"], ["a", {"x": 1}], "a"):
        assert not matches(value, {"tags": other})
    assert not matches(value, {"tags.0": "a"})
    assert matches({"tags": [{"$gt": 1}]}, {"tags": {"$eq": [{"$gt": 1}]}})


ITSELF: dict[str, Any] = {}
ITSELF["a"] = ITSELF

WRONG: list[tuple[Any, str]] = [
    ({"v": {"$regex": "x"}}, "no operator $regex"),
    ({"v": {"$": 1}}, "no operator $"),
    ({"user": {"v": {"$foo": 1}}}, "filter['user']['v']"),
    ({"$or": [{"a": 1}]}, "no operator $or"),
    ({"$gt": 1}, "belongs under a key"),
    ({"v": {"$gt": 1, "x": 2}}, "mixes operators and keys"),
    ({"v": {"$in": "abc"}}, "takes a list"),
    ({"v": {"$nin": None}}, "takes a list"),
    ({"v": {"$exists": 1}}, "True or False"),
    ({"v": [{"$gt": 1}]}, "do not work in a list"),
    ([("v", 1)], "must be a mapping"),
    (ITSELF, "nested too deep"),
]


@pytest.mark.parametrize(("filter", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_filter_that_is_none_is_told_at_once(filter: Any, said: str) -> None:
    saver = open_memory("memory://").get_langgraph_checkpointer()
    for call in (saver.list, saver.alist):
        with pytest.raises(InvalidFilter) as told:
            call(config(), filter=filter)
        assert said in str(told.value)
        assert isinstance(told.value, ValueError)
        assert isinstance(told.value, CharmError)


def test_a_listing_of_all_threads_that_takes_long_says_why_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listing_module, "SLOW", -1.0)
    monkeypatch.setattr(listing_module.Listing, "hinted", False)
    saver = open_memory("memory://").get_langgraph_checkpointer()
    assert list(saver.list(config(), filter={"user": "ann"})) == []
    assert not caplog.records
    for _ in range(2):
        assert list(saver.list(None, filter={"user": "ann"})) == []
    [record] = caplog.records
    assert "every thread" in record.getMessage()


PEOPLE: dict[str, Any] = {
    "ann": {"user": {"name": "ann", "access-level": "nested", "age": 3}, "score": 1.5},
    "bob": {"user": {"name": "bob"}, "user.name": "eve", "score": 2, "tags": ["a"]},
    "eve": {"user": "eve", "score": 2},
}


def filled(saver: Any) -> Any:
    for thread, metadata in PEOPLE.items():
        saver.put(config(thread), checkpoint(), metadata, {})
    return saver


def found_by(saver: Any, filter: Any) -> list[str]:
    return sorted(found.config["configurable"]["thread_id"] for found in saver.list(None, filter=filter))


def test_filters_of_the_official_sqlite_saver_find_the_same() -> None:
    with SqliteSaver.from_conn_string(":memory:") as theirs, open_memory("memory://") as memory:
        official, ours = filled(theirs), filled(memory.get_langgraph_checkpointer())
        for filter, found in (
            ({"user.access-level": "nested"}, ["ann"]),
            ({"user.age": 3}, ["ann"]),
            ({"user.name": "ann", "score": 1.5}, ["ann"]),
            ({"score": 2}, ["bob", "eve"]),
            ({"user.age": None}, ["bob", "eve"]),
            ({"tags": ["a"]}, ["bob"]),
            ({"nothing": None}, ["ann", "bob", "eve"]),
            ({"user": "eve"}, ["eve"]),
        ):
            assert found_by(official, filter) == found_by(ours, filter) == found, filter


def test_filters_of_the_official_postgres_saver_find_the_same(postgres: PostgresServer) -> None:
    with PostgresSaver.from_conn_string(postgres.new_database()) as theirs, open_memory("memory://") as memory:
        theirs.setup()
        official, ours = filled(theirs), filled(memory.get_langgraph_checkpointer())
        for filter, found in (
            ({"user": {"name": "bob"}}, ["bob"]),
            ({"user": {"name": "ann", "age": 3.0}}, ["ann"]),
            ({"user": {}}, ["ann", "bob"]),
            ({"user": {"age": 4}}, []),
            ({"user.name": "eve"}, ["bob"]),
            ({"score": 2}, ["bob", "eve"]),
            ({"tags": ["a"]}, ["bob"]),
        ):
            assert found_by(official, filter) == found_by(ours, filter) == found, filter


def test_tags_are_few() -> None:
    assert len(tags({"source": "loop", "step": 1, "parents": {}})) == 16
    wide = {"user": {str(n): n for n in range(NESTED_ENTRIES + 1)}, "a": 1}
    assert tags(wide) == first_tags(wide)
    assert len(tags({"deep": deep(200)})) < 4 * NESTED_ENTRIES
    assert Filter({"a": 1, "user": {"b": 2}}).tags == (tags({"a": 1})[4:],)


def deep(levels: int) -> Any:
    return {"a": deep(levels - 1)} if levels else 1


def test_what_changes_with_its_place_has_no_tags() -> None:
    apart = {"here"}
    assert tags({"here": {"x": 1}}, apart) == NESTED
    for filter in ({"here": 1}, {"here.x": 1}, {"here": {"x": 1}}):
        assert (Filter(filter, apart).tags, Filter(filter, apart).nested) == ((), ())
