"""The checkpointer's `list`: order, namespaces, bounds and filters; and delta-channel history."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.saver.history import BATCH
from charm_checkpoint.testing.base import Suite, Take
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.samples import TEXTS, checkpoint, config, exact, ids, values, versions
from charm_checkpoint.testing.saver_methods import chain, config_all, put

KEYS = (
    "plain", "with.dot", "a.b.c", "$", "$.a", 'quo"te', "quo'te", "') OR 1=1 --", "%", "_", "", "\0", "\ud800", "[0]",
)  # fmt: skip
"""Metadata keys that a pasted query or a JSON path would take for something else."""

JSON: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.5, 2**40, "", "1", "true", "null", "None", "a'b", 'a"b', "100%", "a_b", "a\0b",
    [], [1], [True], [[]], {}, {"a": 1}, {"a": True}, {"a": {"b": [1, None]}}, {"a.b": 1},
)  # fmt: skip
"""JSON values of which no two are equal."""


class SaverLists(Suite):
    """Listing checkpoints."""

    def test_a_listing_goes_from_last_to_first(self, saver: InMode) -> None:
        configs = chain(saver, 5)
        assert [item.config for item in saver.list(config())] == configs[::-1]
        assert [item.parent_config for item in saver.list(config())] == [*configs[3::-1], None]

    def test_a_namespace_of_a_thread_or_all(self, saver: InMode) -> None:
        root, sub = chain(saver, 2), chain(saver, 2, ns="sub")
        chain(saver, 2, "u")
        assert [item.config for item in saver.list(config())] == root[::-1]
        assert [item.config for item in saver.list(config(ns="sub"))] == sub[::-1]
        assert [item.config for item in saver.list(config_all("t"))] == [*sub[::-1], *root[::-1]]
        assert len(saver.list(None)) == 6
        assert saver.list(config(ns="su")) == []

    def test_a_listing_of_one_id(self, saver: InMode) -> None:
        configs = chain(saver, 3)
        assert [item.config for item in saver.list(configs[1])] == [configs[1]]
        assert saver.list(config(id="unknown")) == []

    def test_limit(self, saver: InMode) -> None:
        configs = chain(saver, 4) + chain(saver, 4, ns="sub")
        for limit in (0, 1, 3, 60, 120, 1000):
            assert [item.config for item in saver.list(config(), limit=limit)] == configs[3::-1][:limit]

    def test_limit_counts_matches(self, saver: InMode) -> None:
        chain(saver, 6)
        assert ids(saver.list(config(), filter={"step": 0}, limit=1)) == ids(saver.list(config()))[-1:]

    def test_before_is_exclusive_and_goes_by_commits(self, saver: InMode) -> None:
        configs = chain(saver, 4)
        assert [item.config for item in saver.list(config(), before=configs[2])] == [configs[1], configs[0]]
        assert [item.config for item in saver.list(config(), before=configs[2], limit=1)] == [configs[1]]
        assert saver.list(config(), before=configs[0]) == []
        assert saver.list(config(), before=configs[3], filter={"step": 3}) == []

    def test_configs_of_listings_are_read_as_all_are(self, saver: InMode) -> None:
        configs = chain(saver, 3, "42")
        bound: Any = {"configurable": {"thread_id": 42, "checkpoint_id": ids(saver.list(config("42")))[1]}}
        places: list[Any] = [None, config("42"), {"configurable": {"thread_id": 42}}, {"configurable": {}}]
        for where in places:
            assert [item.config for item in saver.list(where, before=bound)] == configs[:1]
            assert [item.config for item in saver.list(where, before=bound, filter={"step": 0}, limit=1)] == configs[:1]
        for wrong in ({"checkpoint_ns": 5}, {"checkpoint_id": 5}, {"thread_id": None}, {"thread_id": 1.5}):
            with pytest.raises(ConfigError, match=next(iter(wrong))):
                saver.raw.list({"configurable": wrong})
            with pytest.raises(ConfigError, match=next(iter(wrong))):
                saver.raw.list(None, before={"configurable": wrong})

    def test_what_is_listed_is_whole(self, saver: InMode) -> None:
        where = put(saver, config(), checkpoint(values()))
        saver.put_writes(where, [("x", values()["long"])], "task")
        put(saver, where, checkpoint(values(), version=2))
        for item in saver.list(config()):
            assert exact(item) == exact(saver.get_tuple(item.config))

    def test_a_paused_listing_sees_no_checkpoint_twice(self, saver: InMode) -> None:
        configs = chain(saver, 3)
        stream = saver.raw.list(config())
        found = [next(stream).config]
        put(saver, configs[-1])
        found += [item.config for item in stream]
        assert found == configs[::-1]


class SaverFilters(Suite):
    """Filters on metadata; `charm_checkpoint.saver.filters` tells what they may say."""

    @pytest.fixture
    def labelled(self, saver: InMode) -> InMode:
        """Return a saver with one checkpoint for each of `JSON`, under the key ``v``, and one without."""
        where: Any = config()
        for value in JSON:
            where = put(saver, where, v=value, kind="j")
        put(saver, where, kind="bare")
        return saver

    def test_each_value_equals_itself_alone(self, labelled: InMode) -> None:
        for value in JSON:
            found = [exact(item.metadata.get("v")) for item in labelled.list(config(), filter={"v": {"$eq": value}})]
            assert found == [exact(value)] * (2 if value is None else 1), value

    def test_numbers_are_equal_whatever_their_type(self, labelled: InMode) -> None:
        assert [item.metadata["v"] for item in labelled.list(config(), filter={"v": 1.0})] == [1]
        assert [item.metadata["v"] for item in labelled.list(config(), filter={"v": {"$eq": {"a": 1.0}}})] == [{"a": 1}]
        assert [item.metadata["v"] for item in labelled.list(config(), filter={"v": float(2**40)})] == [2**40]

    def test_the_order_of_keys_does_not_matter(self, saver: InMode) -> None:
        put(saver, config(), v={"a": 1, "b": {"c": 2, "d": 3}})
        for filter in ({"b": {"d": 3, "c": 2}, "a": 1}, {"$eq": {"b": {"d": 3, "c": 2}, "a": 1}}):
            assert len(saver.list(config(), filter={"v": filter})) == 1
        assert saver.list(config(), filter={"v": {"$eq": {"a": 1}}}) == []

    def test_paths_and_parts(self, saver: InMode) -> None:
        user = {"name": "ann", "access-level": "nested", "place": {"town": "Oslo", "no": 2**63 + 1}}
        where = put(saver, config(), user=user, kind="x")
        where = put(saver, where, user={"name": "bob", "place": {"no": 2**63 + 2}}, **{"user.name": "eve"})
        put(saver, where, user="ann", wide={str(n): n for n in range(200)})
        ann, bob, wide = ids(saver.list(config()))[::-1]
        for filter, found in (
            ({"user.access-level": "nested"}, [ann]),
            ({"user": {"name": "ann"}}, [ann]),
            ({"user": {"place": {"town": "Oslo"}}, "kind": "x"}, [ann]),
            ({"user": {"place.no": 2**63 + 2}}, [bob]),
            ({"user.place": {"no": 2**63 + 1}}, [ann]),
            ({"user.name": "eve"}, [bob]),
            ({"user.name": "bob"}, []),
            ({"user": {"name": None}}, []),
            ({"user.name": None}, [wide]),
            ({"user": "ann"}, [wide]),
            ({"user": {}}, [bob, ann]),
            ({"user": {"$eq": user}}, [ann]),
            ({"user.place": {"$eq": {"no": 2**63 + 2}}}, [bob]),
            ({"wide.7": 7}, [wide]),
            ({"wide": {"7": 8}}, []),
        ):
            assert ids(saver.list(config(), filter=filter)) == found, filter
            assert ids(saver.list(None, filter=filter)) == found, filter

    def test_operators(self, labelled: InMode) -> None:
        for filter, count in (
            ({"$gt": 1}, 2),
            ({"$gte": 1, "$lt": 2**40}, 2),
            ({"$gt": "None"}, 6),
            ({"$lte": None}, 0),
            ({"$ne": 1}, len(JSON)),
            ({"$in": [1.0, "1", None]}, 4),
            ({"$nin": [1.0, "1", None]}, len(JSON) - 3),
            ({"$exists": False}, 1),
            ({"$exists": True, "$eq": None}, 1),
            ({"a": {"$exists": True}}, 3),
        ):
            found = labelled.list(config(), filter={"v": filter})
            assert len(found) == count, (filter, [item.metadata.get("v") for item in found])
        assert len(labelled.list(config(), filter={"v": {"$gt": 0}}, limit=2)) == 2

    def test_an_unknown_operator_is_told_at_once(self, saver: InMode) -> None:
        for call in (saver.raw.list, saver.raw.alist):
            with pytest.raises(ValueError, match="no operator \\$regex"):
                call(config(), filter={"v": {"$regex": "x"}})

    def test_all_entries_must_match(self, labelled: InMode) -> None:
        assert len(labelled.list(config(), filter={"v": 1, "kind": "j"})) == 1
        assert labelled.list(config(), filter={"v": 1, "kind": "bare"}) == []
        assert labelled.list(config(), filter={"nothing": 1}) == []
        assert len(labelled.list(config(), filter={})) == len(JSON) + 1

    def test_keys_are_plain_text(self, saver: InMode) -> None:
        for number, key in enumerate(KEYS):
            thread = config(f"thread {number}")
            where = put(saver, thread, **{key: "here", "a": {"b": {"c": "here"}}})
            put(saver, where, other="here")
            assert ids(saver.list(thread, filter={key: "here"})) == [where["configurable"]["checkpoint_id"]], key
            assert saver.list(thread, filter={key: "there"}) == [], key

    def test_values_are_plain_text(self, saver: InMode, part_of: Take) -> None:
        texts = part_of(TEXTS)
        where: Any = config()
        for text in texts:
            where = put(saver, where, checkpoint(), v=text)
        for text in texts:
            assert [item.metadata["v"] for item in saver.list(config(), filter={"v": text})] == [text]

    def test_filters_work_over_all_threads(self, saver: InMode) -> None:
        put(saver, config("t"), user="ann")
        put(saver, config("u", "sub"), user="ann")
        put(saver, config("v"), user="bob")
        found = saver.list(None, filter={"user": "ann"})
        assert sorted(item.config["configurable"]["thread_id"] for item in found) == ["t", "u"]

    def test_rare_matches_are_found_among_many_threads(self, saver: InMode) -> None:
        for n in range(14):
            put(saver, config(f"t{n}"), user="ann" if n in (4, 12) else "bob", nest={"n": n})
        put(saver, config("t4", "sub"), user="eve")
        saver.delete_thread("t7")
        for filter, found in (
            ({"user": "ann"}, {"t4", "t12"}),
            ({"nest.n": 12}, {"t12"}),
            ({"user": "bob", "nest": {"n": 4}}, set()),
            ({"user": {"$in": ["ann"]}, "nest": {"n": {"$exists": True}}}, {"t4", "t12"}),
        ):
            listed = [item.config["configurable"]["thread_id"] for item in saver.list(None, filter=filter)]
            assert (len(listed), set(listed)) == (len(found), found), filter
        assert len(saver.list(None, filter={"user": "ann"}, limit=1)) == 1
        anywhere: Any = {"configurable": {"checkpoint_ns": "sub"}}
        assert len(saver.list(anywhere)) == len(saver.list(anywhere, filter={"user": "eve"})) == 1
        assert saver.list(None, filter={"user": "ann"}, before=config("t4", id="0")) == []

    def test_metadata_comes_back_exactly(self, saver: InMode) -> None:
        metadata = dict(zip(TEXTS, [*JSON, *TEXTS], strict=False))
        put(saver, config(), **metadata)
        found = saver.get_tuple(config()).metadata
        assert exact({key: found[key] for key in metadata}) == exact(metadata)


class DeltaHistory(Suite):
    """`get_delta_channel_history` equals what LangGraph's own, slower one finds."""

    def compare(self, saver: InMode, where: Any, channels: list[str]) -> Any:
        """Return the history, after comparing it with that of `BaseCheckpointSaver`."""
        ours = saver.get_delta_channel_history(config=where, channels=channels)
        base, raw = BaseCheckpointSaver, saver.raw
        theirs = saver.mode.run(
            lambda: base.get_delta_channel_history(raw, config=where, channels=channels),
            lambda: base.aget_delta_channel_history(raw, config=where, channels=channels),
        )
        assert exact(dict(ours)) == exact(dict(theirs))
        return ours

    def step(self, saver: InMode, where: Any, held: dict[str, Any], *writes: tuple[str, Any]) -> Any:
        """Put a checkpoint with some of its channels' values, then writes of two tasks."""
        made = checkpoint(held)
        made["channel_versions"] |= {"a": 1, "b": 1}
        where = saver.put(where, made, {"source": "fork", "step": 0}, versions(made))
        for task in ("t2", "t1"):
            saver.put_writes(where, [(name, (task, value)) for name, value in writes], task, f"path {task}")
        return where

    def test_histories_of_a_line_and_of_forks(self, saver: InMode) -> None:
        long = values()["long"]
        root = self.step(saver, config(), {"b": long}, ("a", 0), ("b", 0))
        one = self.step(saver, root, {"a": [1]}, ("a", 1))
        two = self.step(saver, one, {}, ("b", 2), ("a", 2))
        fork = self.step(saver, one, {}, ("a", "fork"), ("a", "twice"))
        tips = [self.step(saver, two, {}), self.step(saver, fork, {"a": [], "b": long})]
        for where in (config(), root, one, two, fork, *tips):
            for channels in (["a"], ["b"], ["a", "b"], ["a", "unknown"]):
                self.compare(saver, where, channels)
        found = self.compare(saver, tips[0], ["a", "b"])
        assert found["a"]["seed"] == [1]
        assert [value for _, _, value in found["a"]["writes"]] == [("t1", 1), ("t2", 1), ("t1", 2), ("t2", 2)]
        assert found["b"]["seed"] == long

    def test_a_long_history(self, saver: InMode) -> None:
        where = self.step(saver, config(), {"a": ["seed"]})
        for n in range(BATCH + 5):
            where = self.step(saver, where, {}, ("a", n))
        found = self.compare(saver, config(), ["a"])
        assert len(found["a"]["writes"]) == 2 * (BATCH + 4)

    def test_no_channels_and_no_thread(self, saver: InMode) -> None:
        assert saver.get_delta_channel_history(config=config(), channels=[]) == {}
        assert saver.get_delta_channel_history(config=config(), channels=["a"]) == {"a": {"writes": []}}
        self.compare(saver, config(id="unknown"), ["a"])
