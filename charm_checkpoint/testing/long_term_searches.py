"""Searches of items: filters, order and pages, queries, and all of it against RAM at random."""

from __future__ import annotations

import random
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp

from charm_checkpoint.errors import ConfigError, DataError, InvalidFilter
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.long_term_base import Clock, LongTermBase, OpenItems, embed, keys
from charm_checkpoint.testing.long_term_methods import NS

VALUES: dict[str, dict[str, Any]] = {
    "2": {"n": 2, "kind": "a"},
    "9": {"n": 9, "kind": "b"},
    "10": {"n": 10, "kind": "a"},
    "100": {"n": 100.0, "kind": "b"},
    "text": {"n": "10"},
    "true": {"n": True},
    "one": {"n": 1},
    "none": {"n": None},
    "missing": {"other": 1},
    "list": {"n": [1, 2]},
    "object": {"n": {"x": 1, "y": 2}},
    "part": {"n": {"x": 1}},
    "path": {"n.x": 1, "my key": 1, "größe": 1},
    "huge": {"n": 2**63 + 1},
    "huger": {"n": 2**63 + 2},
}

FILTERS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, " ".join(VALUES)),
    ({"n": {"$gt": 9}}, "10 100 huge huger"),
    ({"n": {"$gt": 1, "$lt": 10}}, "2 9"),
    ({"n": {"$gte": 9, "$lte": 10}}, "9 10"),
    ({"n": {"$gt": "1"}}, "text"),
    ({"n": 1}, "one"),
    ({"n": True}, "true"),
    ({"n": 1.0}, "one"),
    ({"n": 100}, "100"),
    ({"n": {"$ne": 2}}, " ".join(key for key in VALUES if key != "2")),
    ({"n": None}, "none missing path"),
    ({"n": {"$exists": True}}, " ".join(key for key in VALUES if key not in ("missing", "path"))),
    ({"n": {"$exists": False}}, "missing path"),
    ({"n": [1, 2]}, "list"),
    ({"n": {"$eq": [1, 2]}}, "list"),
    ({"n": [1]}, ""),
    ({"n": {"x": 1}}, "object part"),
    ({"n": {"$eq": {"x": 1}}}, "part"),
    ({"n.x": 1}, "object part path"),
    ({"n.y": {"$gte": 2}}, "object"),
    ({"my key": 1}, "path"),
    ({"größe": 1}, "path"),
    ({"n": 2**63 + 1}, "huge"),
    ({"n": {"$gt": 2**63 + 1}}, "huger"),
    ({"n": {"$in": [2, "10", [1, 2]]}}, "2 text list"),
    ({"n": {"$nin": [2, 9]}}, " ".join(key for key in VALUES if key not in ("2", "9"))),
    ({"kind": "a", "n": {"$gt": 2}}, "10"),
    ({"kind": "a", "n": 9}, ""),
)


class ItemFilters(LongTermBase):
    """What a filter matches, in a listing and with a query."""

    def test_what_filters_match(self, kept: InMode) -> None:
        kept.batch([PutOp(NS, key, value) for key, value in VALUES.items()])
        kept.put(("other",), "2", {"n": 2, "kind": "a"})
        searches = [SearchOp(NS, filter, 99, query=query) for filter, _ in FILTERS for query in (None, "word")]
        found = kept.batch(searches)
        for search, one in zip(searches, found, strict=True):
            expected = next(keys for filter, keys in FILTERS if filter is search.filter)
            assert sorted(keys(one)) == sorted(expected.split()), (search.filter, search.query)

    def test_filters_that_are_none(self, kept: InMode) -> None:
        wrong: Any = ({"a": {"$near": 1}}, {"$and": []}, {"a": {"$in": 1}}, {"a": {"$gt": 1, "b": 2}}, ["a"])
        for bad in wrong:
            with pytest.raises(InvalidFilter):
                kept.search(NS, filter=bad)
        with pytest.raises(ValueError):
            kept.count(NS, filter={"a": {"$near": 1}})
        for bad in ("a", 5, [("a", 1)], (("a", 1),)):
            for call in (kept.search, kept.count, kept.items):
                with pytest.raises(InvalidFilter, match="mapping"):
                    call(NS, filter=bad)

    def test_pages_are_exactly_the_matches(self, kept: InMode, clock: Clock) -> None:
        kept.batch([PutOp((f"n{number % 3}",), str(number), {"n": number, "odd": number % 2}) for number in range(60)])
        for settings in (
            {}, {"filter": {"odd": 1}}, {"filter": {"n": {"$gte": 20}}}, {"query": "7 12"},
            {"query": "7", "filter": {"odd": 1}},
        ):  # fmt: skip
            whole = kept.search((), limit=99, **settings)
            pages = [kept.search((), limit=7, offset=at, **settings) for at in range(0, 70, 7)]
            assert [item for page in pages for item in page] == whole
            assert (
                len({(item.namespace, item.key) for item in whole})
                == len(whole)
                == kept.count(filter=settings.get("filter"))
            )
            assert kept.items((), **settings) == whole
            ranks = [(-(item.score or 0.0), -item.revision, item.namespace, item.key) for item in whole]
            assert ranks == sorted(ranks)
            assert kept.search((), limit=0, **settings) == kept.search((), offset=99, **settings) == []
            for large in (2**31, 2**63 - 1, 2**63, 10**5000):
                assert kept.search((), limit=large, offset=1, **settings) == whole[1:]
                assert kept.search((), limit=large, offset=large, **settings) == []
        assert len(kept.search(("n1",))) == 10


class ItemQueries(LongTermBase):
    """Searches by words and by vectors."""

    def test_a_query_orders_and_leaves_nothing_out(self, kept: InMode) -> None:
        kept.put(NS, "seat", {"text": "Prefers window seats on trains", "n": 1})
        kept.put(NS, "tea", {"text": "Drinks green tea", "deep": ["with honey", {"where": "Lisbon"}]})
        kept.put(NS, "hidden", {"text": "window seats on trains"}, index=False)
        kept.put((*NS, "more"), "field", {"text": "window", "other": "honey"}, index=["other"])
        found = kept.search(NS, query="a window seat in the train")
        assert keys(found) == ["seat", "field", "tea", "hidden"]
        scores = [item.score for item in found]
        assert 0.5 < scores[0] < 1 and scores[1:] == [0.0, 0.0, None]
        assert keys(kept.search(NS, query="Lisbon"))[0] == "tea"
        assert {item.key for item in kept.search(NS, query="honey") if item.score} == {"tea", "field"}
        assert [item.score for item in kept.search(NS, query="")] == [None] * 4
        parts = kept.search(NS, query="window seat", explain=True)[0].parts
        assert parts["words"] > 0 and kept.search(NS, query="window seat")[0].parts is None
        kept.put(NS, "seat", {"text": "aisle"})
        assert [item.score for item in kept.search(NS, query="window")] == [0.0, 0.0, 0.0, None]
        kept.delete(NS, "tea")
        assert len(kept.search(NS, query="window")) == 3

    def test_vectors_as_langgraphs_stores_have_them(self, open_store: OpenItems) -> None:
        kept = open_store(index={"embed": embed, "dims": 27, "fields": ["text", "notes[*]"]})
        kept.put(NS, "a", {"text": "aaa", "secret": "zzz"})
        kept.put(NS, "b", {"text": "bbb", "notes": ["aab", "ccc"]})
        kept.put(NS, "none", {"text": "aaa"}, index=False)
        kept.put(NS, "zeta", {"text": "bbb", "secret": "zzz"}, index=["secret"])
        found = kept.search(NS, query="aaa")
        assert keys(found) == ["a", "b", "zeta", "none"]
        assert found[0].score == pytest.approx(1.0, abs=1e-3) and found[1].score == pytest.approx(0.894, abs=1e-2)
        assert found[3].score is None
        assert kept.search(NS, query="zzz")[0].key == "zeta"
        whole = open_store(index={"embed": embed, "dims": 27})
        whole.put(("w",), "k", {"text": "qqq"})
        assert whole.search(("w",), query='{"text": "qqq"}')[0].score == pytest.approx(1.0, abs=1e-3)
        whole.put(("w",), "op", {"text": "xyz"}, index=["$"])
        assert whole.search(("w",), query='{"text": "xyz"}')[0].key == "op"
        both = open_store(index={"embed": embed, "dims": 27, "search": "hybrid"})
        assert keys(both.search(NS, query="bbb"))[0] == "b"

    def test_a_model_that_fails_costs_nothing(self, open_store: OpenItems) -> None:
        failing = [True]

        def model(texts: list[str]) -> list[list[float]]:
            if failing[0]:
                raise RuntimeError("out of order")
            return embed(texts)

        index = {"embed": model, "dims": 27}
        kept = open_store(index=index, failures=99)
        kept.put(NS, "a", {"text": "aaa"})
        kept.put(NS, "b", {"text": "bbb"})
        assert keys(kept.search(NS, query="bbb")) == ["b", "a"]
        with pytest.raises(RuntimeError):
            open_store(index=index, failures=99, on_embed_error="raise").put(NS, "c", {"text": "ccc"})
        before = [(item.key, item.revision) for item in kept.search(NS)]
        failing[0] = False
        assert kept.reindex() == 2 and kept.reindex() == 0
        found = kept.search(NS, query='{"text": "aaa"}')
        assert found[0].key == "a" and found[0].score == pytest.approx(1.0, abs=1e-3)
        assert [(item.key, item.revision) for item in kept.search(NS)] == before

    def test_items_are_embedded_by_the_way(self, open_store: OpenItems) -> None:
        open_store().put(NS, "a", {"text": "aaa"})
        found = open_store(index={"embed": embed, "dims": 27, "fields": ["text"]}).search(NS, query="aaa")
        assert found[0].score == pytest.approx(1.0, abs=1e-3)

    def test_to_be_indexed_anew_puts_off_no_end(self, open_store: OpenItems, clock: Clock) -> None:
        plain = open_store()
        plain.put(NS, "brief", {"text": "aaa"}, ttl=10)
        plain.put(NS, "lasting", {"text": "bbb"})
        clock.pass_minutes(6)
        kept = open_store(index={"embed": embed, "dims": 27, "fields": ["text"]})
        assert kept.search(NS, query="aaa", refresh_ttl=False)[0].score == pytest.approx(1.0, abs=1e-3)
        clock.pass_minutes(3)
        assert kept.count(NS) == 2
        clock.pass_minutes(2)
        assert keys(kept.search(NS, refresh_ttl=False)) == ["lasting"]

    def test_vectors_of_another_model_are_left_alone(self, open_store: OpenItems) -> None:
        def other(texts: list[str]) -> list[list[float]]:
            return [vector[::-1] for vector in embed(texts)]

        one, two = (open_store(index={"embed": model, "dims": 27, "fields": ["text"]}) for model in (embed, other))
        one.put(NS, "a", {"text": "aaa"})
        two.put(NS, "b", {"text": "bbb"})
        for _ in range(2):
            assert [(item.key, item.score is None) for item in one.search(NS, query="aaa")] == [
                ("a", False),
                ("b", True),
            ]
            assert [(item.key, item.score is None) for item in two.search(NS, query="aaa")] == [
                ("b", False),
                ("a", True),
            ]
        assert two.reindex() == 1 and two.reindex() == 0
        assert [item.key for item in two.search(NS, query="aaa")] == ["a", "b"]

    def test_settings(self, open_store: OpenItems) -> None:
        index = {"embed": embed, "dims": 27}
        assert open_store(index=index).raw is open_store(index=dict(index)).raw
        assert open_store().raw is open_store(index=None).raw is not open_store(index=index).raw
        assert open_store(ttl={"default_ttl": 1}).raw is open_store(ttl={"default_ttl": 1}).raw is not open_store().raw
        for wrong in (
            {"index": {"embd": embed}}, {"index": {"search": "near"}}, {"index": {"search": "vector"}},
            {"index": {"embed": embed, "dims": 0}},
            {"index": {"distance_type": "l2"}}, {"index": {"fields": "text"}}, {"ttl": {"default": 1}},
            {"ttl": {"omit_expired": 1}}, {"ttl": {"default_ttl": -1}}, {"on_embed_error": "x"}, {"embed": embed},
        ):  # fmt: skip
            with pytest.raises((ConfigError, DataError)):
                open_store(**wrong)
        nothing = open_store(index=False)
        nothing.put(NS, "k", {"text": "word"})
        assert [item.score for item in nothing.search(NS, query="word")] == [None]


WORDS = "train window seat tea honey Lisbon green travel plan night cat 電車 fenster été".split()


class ItemsAtRandom(LongTermBase):
    """The store against RAM: the same values, order and scores."""

    def test_the_same_as_ram(self, open_store: OpenItems, kept: InMode, clock: Clock) -> None:
        random_ = random.Random(13)
        settings: Any = {"index": {"embed": embed, "dims": 27, "fields": ["text"], "search": "hybrid"}}
        other = Memory({"url": "memory://"})
        pairs = [
            (kept, InMode(other.get_langgraph_store(), kept.mode)),
            (open_store(**settings), InMode(other.get_langgraph_store(**settings), kept.mode)),
        ]
        for _ in range(25):
            ops = [op for _ in range(random_.randint(1, 4)) for op in self.some(random_)]
            for ours, reference in pairs:
                found, expected = ours.batch(ops), reference.batch(ops)
                for one, two in zip(found, expected, strict=True):
                    self.check(one, two)
                ops = [op for op in ops if not isinstance(op, PutOp)]
            clock.pass_minutes(random_.choice((0.0, 0.1, 1.0, -0.5)))
        assert kept.count() == pairs[0][1].count() > 0

    def some(self, random_: random.Random) -> list[Any]:
        """Return some operations."""
        space = tuple(random_.choices("ab", k=random_.randint(1, 3)))
        key = random_.choice("xyz")
        text = " ".join(random_.choices(WORDS, k=random_.randint(1, 6)))
        value = {"text": text, "n": random_.randint(0, 3), "deep": {"kind": random_.choice("pq")}}
        filter = random_.choice(({}, None, {"n": {"$gte": 2}}, {"deep": {"kind": "p"}}, {"n": 1}))
        query = random_.choice((None, "", " ".join(random_.choices(WORDS, k=2))))
        return [
            random_.choice((
                PutOp(space, key, value, random_.choice((None, ["text"], False)), random_.choice((None, 1))),
                PutOp(space, key, value),
                PutOp(space, key, None),
                GetOp(space, key, random_.random() < 0.5),
            )),
            SearchOp(space[:1], filter, random_.choice((3, 50)), random_.choice((0, 2)), query, random_.random() < 0.5),
        ]  # fmt: skip

    def check(self, one: Any, two: Any) -> None:
        """Compare a result with RAM's."""
        if isinstance(one, list):
            assert one == two
            for item, twin in zip(one, two, strict=True):
                assert (item.score is None) == (twin.score is None)
                assert item.score is None or abs(item.score - twin.score) < 1e-9
        else:
            assert one == two
