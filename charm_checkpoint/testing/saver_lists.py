"""The checkpointer's `list`: order, namespaces, bounds and filters; and delta-channel history."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver

from charm_checkpoint.history import BATCH
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.half import Twin
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

    def test_a_listing_goes_from_last_to_first(self, saver: Twin) -> None:
        configs = chain(saver, 5)
        assert [item.config for item in saver.list(config())] == configs[::-1]
        assert [item.parent_config for item in saver.list(config())] == [*configs[3::-1], None]

    def test_a_namespace_of_a_thread_or_all(self, saver: Twin) -> None:
        root, sub = chain(saver, 2), chain(saver, 2, ns="sub")
        chain(saver, 2, "u")
        assert [item.config for item in saver.list(config())] == root[::-1]
        assert [item.config for item in saver.list(config(ns="sub"))] == sub[::-1]
        assert [item.config for item in saver.list(config_all("t"))] == [*sub[::-1], *root[::-1]]
        assert len(saver.list(None)) == 6
        assert saver.list(config(ns="su")) == []

    def test_a_listing_of_one_id(self, saver: Twin) -> None:
        configs = chain(saver, 3)
        assert [item.config for item in saver.list(configs[1])] == [configs[1]]
        assert saver.list(config(id="unknown")) == []

    @pytest.mark.parametrize("limit", [0, 1, 3, 60, 120, 1000])
    def test_limit(self, saver: Twin, limit: int) -> None:
        configs = chain(saver, 4) + chain(saver, 4, ns="sub")
        assert [item.config for item in saver.list(config(), limit=limit)] == configs[3::-1][:limit]

    def test_limit_counts_matches(self, saver: Twin) -> None:
        chain(saver, 6)
        assert ids(saver.list(config(), filter={"step": 0}, limit=1)) == ids(saver.list(config()))[-1:]

    def test_before_is_exclusive_and_goes_by_commits(self, saver: Twin) -> None:
        configs = chain(saver, 4)
        assert [item.config for item in saver.list(config(), before=configs[2])] == [configs[1], configs[0]]
        assert [item.config for item in saver.list(config(), before=configs[2], limit=1)] == [configs[1]]
        assert saver.list(config(), before=configs[0]) == []
        assert saver.list(config(), before=configs[3], filter={"step": 3}) == []

    def test_what_is_listed_is_whole(self, saver: Twin) -> None:
        where = put(saver, config(), checkpoint(values()))
        saver.put_writes(where, [("x", values()["long"])], "task")
        put(saver, where, checkpoint(values(), version=2))
        for item in saver.list(config()):
            assert exact(item) == exact(saver.get_tuple(item.config))

    def test_a_paused_listing_sees_no_checkpoint_twice(self, saver: Twin) -> None:
        configs = chain(saver, 3)
        stream = saver.raw.list(config())
        found = [next(stream).config]
        put(saver, configs[-1])
        found += [item.config for item in stream]
        assert found == configs[::-1]


class SaverFilters(Suite):
    """Filters on metadata: equality of JSON values."""

    @pytest.fixture
    def labelled(self, saver: Twin) -> Twin:
        """Return a saver with one checkpoint for each of `JSON`, under the key ``v``, and one without."""
        where: Any = config()
        for value in JSON:
            where = put(saver, where, v=value, kind="j")
        put(saver, where, kind="bare")
        return saver

    def test_each_value_equals_itself_alone(self, labelled: Twin) -> None:
        for value in JSON:
            found = [exact(item.metadata.get("v")) for item in labelled.list(config(), filter={"v": value})]
            assert found == [exact(value)] * (2 if value is None else 1), value

    def test_numbers_are_equal_whatever_their_type(self, labelled: Twin) -> None:
        assert [item.metadata["v"] for item in labelled.list(config(), filter={"v": 1.0})] == [1]
        assert [item.metadata["v"] for item in labelled.list(config(), filter={"v": {"a": 1.0}})] == [{"a": 1}]
        assert [item.metadata["v"] for item in labelled.list(config(), filter={"v": float(2**40)})] == [2**40]

    def test_the_order_of_keys_does_not_matter(self, saver: Twin) -> None:
        put(saver, config(), v={"a": 1, "b": {"c": 2, "d": 3}})
        assert len(saver.list(config(), filter={"v": {"b": {"d": 3, "c": 2}, "a": 1}})) == 1
        assert saver.list(config(), filter={"v": {"a": 1}}) == []

    def test_all_entries_must_match(self, labelled: Twin) -> None:
        assert len(labelled.list(config(), filter={"v": 1, "kind": "j"})) == 1
        assert labelled.list(config(), filter={"v": 1, "kind": "bare"}) == []
        assert labelled.list(config(), filter={"nothing": 1}) == []
        assert len(labelled.list(config(), filter={})) == len(JSON) + 1

    @pytest.mark.parametrize("key", KEYS)
    def test_keys_are_plain_text(self, saver: Twin, key: str) -> None:
        where = put(saver, config(), **{key: "here", "a": {"b": {"c": "here"}}})
        put(saver, where, other="here")
        assert ids(saver.list(config(), filter={key: "here"})) == [where["configurable"]["checkpoint_id"]]
        assert saver.list(config(), filter={key: "there"}) == []

    def test_values_are_plain_text(self, saver: Twin) -> None:
        where: Any = config()
        for text in TEXTS:
            where = put(saver, where, checkpoint(), v=text)
        for text in TEXTS:
            assert [item.metadata["v"] for item in saver.list(config(), filter={"v": text})] == [text]

    def test_filters_work_over_all_threads(self, saver: Twin) -> None:
        put(saver, config("t"), user="ann")
        put(saver, config("u", "sub"), user="ann")
        put(saver, config("v"), user="bob")
        found = saver.list(None, filter={"user": "ann"})
        assert sorted(item.config["configurable"]["thread_id"] for item in found) == ["t", "u"]

    def test_metadata_comes_back_exactly(self, saver: Twin) -> None:
        metadata = dict(zip(TEXTS, [*JSON, *TEXTS], strict=False))
        put(saver, config(), **metadata)
        found = saver.get_tuple(config()).metadata
        assert exact({key: found[key] for key in metadata}) == exact(metadata)


class DeltaHistory(Suite):
    """`get_delta_channel_history` equals what LangGraph's own, slower one finds."""

    def compare(self, saver: Twin, where: Any, channels: list[str]) -> Any:
        """Return the history, after comparing it with that of `BaseCheckpointSaver`."""
        ours = saver.get_delta_channel_history(config=where, channels=channels)
        base, raw = BaseCheckpointSaver, saver.raw
        theirs = saver.half.run(
            lambda: base.get_delta_channel_history(raw, config=where, channels=channels),
            lambda: base.aget_delta_channel_history(raw, config=where, channels=channels),
        )
        assert exact(dict(ours)) == exact(dict(theirs))
        return ours

    def step(self, saver: Twin, where: Any, held: dict[str, Any], *writes: tuple[str, Any]) -> Any:
        """Put a checkpoint with some of its channels' values, then writes of two tasks."""
        made = checkpoint(held)
        made["channel_versions"] |= {"a": 1, "b": 1}
        where = saver.put(where, made, {"source": "fork", "step": 0}, versions(made))
        for task in ("t2", "t1"):
            saver.put_writes(where, [(name, (task, value)) for name, value in writes], task, f"path {task}")
        return where

    def test_histories_of_a_line_and_of_forks(self, saver: Twin) -> None:
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

    def test_a_long_history(self, saver: Twin) -> None:
        where = self.step(saver, config(), {"a": ["seed"]})
        for n in range(BATCH + 5):
            where = self.step(saver, where, {}, ("a", n))
        found = self.compare(saver, config(), ["a"])
        assert len(found["a"]["writes"]) == 2 * (BATCH + 4)

    def test_no_channels_and_no_thread(self, saver: Twin) -> None:
        assert saver.get_delta_channel_history(config=config(), channels=[]) == {}
        assert saver.get_delta_channel_history(config=config(), channels=["a"]) == {"a": {"writes": []}}
        self.compare(saver, config(id="unknown"), ["a"])
