"""LangGraph's operations on items: what is put comes back, batches, namespaces, and what is refused."""

from __future__ import annotations

import copy
import io
import pickle
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import GetOp, Item, ListNamespacesOp, MatchCondition, PutOp, SearchItem, SearchOp

from charm_checkpoint.contract_items import ItemBatch, ItemChange
from charm_checkpoint.errors import DataError, ItemConflict, NotSerializable, StoreCorrupt
from charm_checkpoint.items import clock, values
from charm_checkpoint.items.namespaces import path_of
from charm_checkpoint.items.results import StoredItem
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Take
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.long_term_base import Clock, LongTermBase, OpenItems, keys
from charm_checkpoint.testing.samples import NUMBERS, TEXTS, exact
from charm_checkpoint.values.serde import Serializer

NS = ("users", "7")

LABELS = [text for text in TEXTS if text and "." not in text and "\0" not in text and len(text) < 9_000]

SPACES = (("a",), ("a", "b"), ("a", "b", "c"), ("a", "b", "d", "e"), ("a", "c", "f"), ("ab", "b"), ("b", "a", "b"))


def condition(kind: Any, *path: str) -> MatchCondition:
    """Return a condition on namespaces."""
    return MatchCondition(kind, path)


LISTINGS: tuple[tuple[dict[str, Any], tuple[int, ...]], ...] = (
    ({}, (0, 1, 2, 3, 4, 5, 6)),
    ({"match_conditions": (condition("prefix", "a"),)}, (0, 1, 2, 3, 4)),
    ({"match_conditions": (condition("prefix", "a", "*"),)}, (1, 2, 3, 4)),
    ({"match_conditions": (condition("prefix", "*", "b"),)}, (1, 2, 3, 5)),
    ({"match_conditions": (condition("suffix", "b"),)}, (1, 5, 6)),
    ({"match_conditions": (condition("suffix", "*", "e"),)}, (3,)),
    ({"match_conditions": (condition("prefix", "a"), condition("suffix", "f"))}, (4,)),
    ({"match_conditions": (condition("prefix", "a", "b", "c", "d"),)}, ()),
    ({"match_conditions": (condition("prefix"),)}, (0, 1, 2, 3, 4, 5, 6)),
    ({"limit": 2, "offset": 3}, (3, 4)),
    ({"limit": 0}, ()),
    ({"offset": 9}, ()),
    ({"limit": 2**64, "offset": 5}, (5, 6)),
    ({"offset": 2**64}, ()),
)


class ItemMethods(LongTermBase):
    """Puts, gets, deletes and batches."""

    def test_what_is_put_comes_back(self, kept: InMode) -> None:
        assert kept.get(NS, "k") is None
        value = {"text": "trains", "n": 4, "deep": {"list": [1, {"a": None}], "yes": True}}
        kept.put(NS, "k", value)
        found = kept.get(NS, "k")
        assert isinstance(found, StoredItem)
        assert (found.namespace, found.key, found.value) == (NS, "k", value)
        assert found.created_at == found.updated_at and found.created_at.utcoffset() == timedelta(0)
        assert found.dict().keys() == {"namespace", "key", "value", "created_at", "updated_at"}
        assert kept.get(("users",), "k") is kept.get((*NS, "x"), "k") is kept.get(NS, "K") is None
        kept.put(NS, "k", {"n": 5})
        again = kept.get(NS, "k")
        assert again.value == {"n": 5}
        assert again.created_at == found.created_at and again.updated_at > found.updated_at
        assert again.revision > found.revision and again != found
        kept.delete(NS, "k")
        kept.delete(NS, "k")
        assert kept.get(NS, "k") is None
        assert kept.search(("users",)) == kept.list_namespaces() == []
        kept.put(NS, "k", {"n": 6})
        kept.put(NS, "k", None)
        assert kept.get(NS, "k") is None

    def test_keys_that_are_no_text_stand_for_their_text(self, kept: InMode) -> None:
        kept.put(NS, 7, {"n": 1})
        assert kept.get(NS, "7") == kept.get(NS, 7)
        kept.batch([PutOp(NS, 8, {"n": 2})])  # type: ignore[arg-type]
        assert kept.batch([GetOp(NS, "8")])[0].key == "8"

    def test_values_are_copied(self, kept: InMode) -> None:
        value: dict[str, Any] = {"list": [1]}
        kept.put(NS, "k", value)
        value["list"].append(2)
        kept.get(NS, "k").value["list"].append(3)
        kept.search(NS)[0].value["list"].append(4)
        assert kept.get(NS, "k").value == {"list": [1]}

    def test_a_batch_sees_what_was_before_it(self, kept: InMode) -> None:
        kept.put(NS, "a", {"n": 1})
        ops = [
            PutOp(NS, "a", {"n": 2}), GetOp(NS, "a"), SearchOp(NS), PutOp(NS, "b", {"n": 3}), GetOp(NS, "b"),
            PutOp(NS, "b", {"n": 4}), ListNamespacesOp(), PutOp(("x",), "c", {"n": 5}), PutOp(("x",), "c", None),
            GetOp(NS, "a"),
        ]  # fmt: skip
        found = kept.batch(ops)
        assert [found[0], found[4]] == [None, None] and len(found) == len(ops)
        assert found[1].value == found[9].value == found[2][0].value == {"n": 1}
        assert found[6] == [NS]
        assert {item.key: item.value["n"] for item in kept.search(())} == {"a": 2, "b": 4}
        assert kept.batch([]) == []

    def test_a_batch_that_is_refused_changes_nothing(self, kept: InMode) -> None:
        good = PutOp(NS, "a", {"n": 1})
        for bad in (
            PutOp(NS, "b", {"x": object()}), PutOp(("a.b",), "b", {}), PutOp((), "b", {}), GetOp(("",), "b"),
            SearchOp((), filter={"a": {"$near": 1}}), SearchOp(("a\0",)),
            PutOp(NS, "b", {}, ttl=-1), PutOp(NS, "b", {}, index="text"),  # type: ignore[arg-type]
            ListNamespacesOp((condition("prefix", "a.b"),)), SearchOp((), limit=-1), "get",
        ):  # fmt: skip
            with pytest.raises(ValueError):
                kept.batch([good, bad])
        assert kept.search(()) == []

    def test_namespaces_and_keys_that_are_refused(self, kept: InMode) -> None:
        for bad in ((), ("",), ("a", ""), ("a.b",), ("a\0b",), (1,), ("langgraph",), "text", ("x" * 10_001,)):
            with pytest.raises(ValueError):
                kept.put(bad, "k", {})
        for call in (kept.get, kept.delete):
            with pytest.raises(ValueError):
                call(("a.b",), "k")
        with pytest.raises(ValueError):
            kept.search(("a.b",))
        with pytest.raises(ValueError):
            kept.list_namespaces(prefix=("a.b",))
        kept.put(("t", "e", "x", "t"), "k", {})
        for none in ("text", b"text", 5, None, {"text"}, {"text": 1}):
            for call in (
                kept.search, kept.count, kept.items, kept.delete_namespace, kept.reindex,
                partial(kept.export, io.BytesIO()), lambda ns: kept.get(ns, "k"), lambda ns: kept.put(ns, "k", {}),
            ):  # fmt: skip
                with pytest.raises(ValueError, match="tuple of labels"):
                    call(none)
        with pytest.raises(ValueError, match="pairs"):
            kept.get_many(NS)
        assert kept.delete_namespace(("t",)) == 1
        with pytest.raises(DataError, match="key"):
            kept.put(NS, "k" * 10_001, {})
        kept.put(("n" * 9_998,), "k" * 10_000, {"n": 1})
        assert kept.get(("n" * 9_998,), "k" * 10_000).value == {"n": 1}

    def test_langgraphs_own_namespaces_are_for_operations_alone(self, kept: InMode) -> None:
        own = ("langgraph", "foo")
        for call in (kept.put, lambda ns, key, value: kept.update(ns, key, lambda _: value)):
            with pytest.raises(ValueError, match="LangGraph"):
                call(own, "k", {})
        kept.batch([PutOp(own, "k", {"n": 1})])
        assert kept.get(own, "k").value == {"n": 1} and len(kept.search(own)) == 1
        kept.delete(own, "k")
        assert kept.get(own, "k") is None

    def test_values_that_are_refused(self, kept: InMode, monkeypatch: pytest.MonkeyPatch) -> None:
        loop: dict[str, Any] = {}
        loop["loop"] = loop
        for bad, path in (
            ([1], "mapping"), ("text", "mapping"), ({1: 2}, "value"), (loop, "loop"),
            ({"a": [1, {"b c": object()}]}, r"value\.a\[1\]\['b c'\]"),
            ({"s": {1}}, r"value\.s"), ({"b": b"x"}, r"value\.b"),
        ):  # fmt: skip
            with pytest.raises(NotSerializable, match=path):
                kept.put(NS, "k", bad)
        monkeypatch.setattr(values, "VALUE_LIMIT", 1000)
        with pytest.raises(DataError, match=r"value\.a\[1\]\.b"):
            kept.put(NS, "k", {"a": [1, {"b": "x" * 1001}], "c": "x" * 100})
        assert kept.search(()) == []

    def test_what_is_damaged_is_told_with_its_place(self, kept: InMode, memory: Memory, mode: CallMode) -> None:
        items, store, space = memory.store.items, InMode(memory.store, mode), path_of(NS)
        assert items is not None
        good = b'\x01{"text":"word"}'
        for damage in (
            {"value": b"\x01["}, {"value": b"\x01" + b'{"a":' * 9999}, {"value": b'\x02[{"index":5},{}]'},
            {"created": 2**58}, {"updated": 2**58}, {"entry": b"\x01"}, {"key": b"\xffk"}, {"space": space + b"\xff\0"},
        ):  # fmt: skip
            kept.put(NS, "k", {"text": "word"})
            kept.put(NS, "j", {"text": "word"})
            assert len(kept.search((), query="word")) == 2
            change = ItemChange(**{"space": space, "key": b"k", "value": good, **damage})  # type: ignore[arg-type]
            store.run(partial(items.change, ItemBatch(clock.now(), changes=[change])), write=True)
            for call in (
                partial(kept.get, NS, "k"), partial(kept.search, NS), partial(kept.items, NS, query="word"),
                partial(kept.search, NS, query="word"), partial(kept.export, io.BytesIO()),
            ):  # fmt: skip
                if "entry" in damage and "query" not in call.keywords:
                    continue
                if "key" not in call.keywords and call.args[-1:] == ("k",) and {"key", "space"} & damage.keys():
                    continue
                with pytest.raises(StoreCorrupt, match=r"'k'|xff"):
                    call()
            if "created" in damage:  # which another put keeps
                kept.delete(NS, "k")
            kept.put(NS, "k", {"text": "word"})
            store.run(partial(items.erase, change.space if "space" in damage else b"?"), write=True)
            store.run(
                partial(items.change, ItemBatch(clock.now(), changes=[ItemChange(space, b"\xffk", None)])), write=True
            )
            assert {item.key for item in kept.search((), query="word")} == {"k", "j"}

    def test_any_text_and_any_number(self, kept: InMode, part_of: Take) -> None:
        texts, labels = part_of(TEXTS), part_of(LABELS)
        for number, text in enumerate(texts):
            kept.put(NS, text, {"n": number, text: [text, {text: text}]})
        for number, text in enumerate(texts):
            assert kept.get(NS, text).value == {"n": number, text: [text, {text: text}]}
        for number, label in enumerate(labels):
            kept.put(("t", label), "k", {"n": number})
        assert {ns[1] for ns in kept.list_namespaces(prefix=("t",), limit=1000)} == set(labels)
        for number, label in enumerate(labels):
            assert [item.value for item in kept.search(("t", label))] == [{"n": number}]
        large = {"big": -(10**5000), "\0a": [10**4400]}
        held = {"n": list(NUMBERS), "\0": {"\0": "\ud800"}}
        kept.put(NS, "numbers", {**held, **large})
        found = kept.get(NS, "numbers").value
        assert {name: found.pop(name) for name in large} == large
        assert exact(found) == exact(held)
        kept.put(NS, "pair", {"t": (1, (2,))})
        assert kept.get(NS, "pair").value == {"t": [1, [2]]}

    def test_namespaces_are_listed(self, kept: InMode) -> None:
        for space in SPACES:
            kept.put(space, "k", {})
        for settings, expected in LISTINGS:
            assert kept.batch([ListNamespacesOp(**settings)])[0] == [SPACES[number] for number in expected], settings
        assert kept.list_namespaces(max_depth=1) == [("a",), ("ab",), ("b",)]
        assert kept.list_namespaces(prefix=("a", "b"), max_depth=3, limit=2) == [("a", "b"), ("a", "b", "c")]
        assert kept.list_namespaces(max_depth=0) == [()]
        assert kept.list_namespaces(prefix=("a",), suffix=("b",)) == [("a", "b")]
        kept.delete(("ab", "b"), "k")
        assert kept.list_namespaces(prefix=("ab",)) == []

    def test_times_are_kept_to_the_microsecond(self, kept: InMode, clock: Clock) -> None:
        clock.time += 123_457
        kept.put(NS, "a", {})
        kept.put(NS, "b", {})
        a, b = kept.get(NS, "a"), kept.get(NS, "b")
        assert (a.revision, b.revision) == (clock.time, clock.time + 1)
        clock.pass_minutes(-60)
        kept.put(NS, "a", {})
        later = kept.get(NS, "a")
        assert later.updated_at > b.updated_at and later.created_at == a.created_at

    def test_items_are_stored_in_a_state_as_langgraphs(self, kept: InMode) -> None:
        kept.put(NS, "k", {"text": "a"})
        for item, kind in ((kept.get(NS, "k"), Item), (kept.search(NS, query="a", explain=True)[0], SearchItem)):
            serde = Serializer()
            revived = serde.loads_typed(serde.dumps_typed([item]))[0]
            assert type(revived) is kind and revived == item and revived.dict() == item.dict()
            other = JsonPlusSerializer()
            [revived] = other.loads_typed(other.dumps_typed([item]))
            assert type(revived) is kind and (revived.key, revived.value) == (item.key, item.value)
            for twin in (pickle.loads(pickle.dumps(item)), copy.deepcopy(item), copy.copy(item)):
                assert twin == item and twin.revision == item.revision


class ItemUpdates(LongTermBase):
    """What LangGraph has no words for: compare and set, many at once, erasing, counting."""

    def test_compare_and_set(self, kept: InMode) -> None:
        kept.put(NS, "k", {"n": 1}, if_revision=0)
        first = kept.get(NS, "k").revision
        with pytest.raises(ItemConflict, match=r"'k'.*users"):
            kept.put(NS, "k", {"n": 2}, if_revision=0)
        kept.put(NS, "k", {"n": 2}, if_revision=first)
        with pytest.raises(ItemConflict):
            kept.put(NS, "k", {"n": 3}, if_revision=first)
        with pytest.raises(ItemConflict):
            kept.delete(NS, "k", if_revision=first)
        assert kept.get(NS, "k").value == {"n": 2}
        kept.delete(NS, "k", if_revision=kept.get(NS, "k").revision)
        with pytest.raises(ItemConflict):
            kept.put(NS, "k", {"n": 3}, if_revision=first)
        with pytest.raises(ValueError):
            kept.put(NS, "k", {"n": 3}, if_revision=-1)
        assert kept.get(NS, "k") is None

    def test_an_update_loses_nothing(self, kept: InMode, memory: Memory) -> None:
        other = memory.get_langgraph_store()
        seen: list[Any] = []

        def add(value: dict[str, Any] | None) -> dict[str, Any]:
            seen.append(value)
            if len(seen) < 3:  # another one is faster, twice
                other.put(NS, "k", {"n": 10 * len(seen)}) if kept.mode.name == "blocking" else None
            return {"n": (value or {"n": 0})["n"] + 1}

        found = kept.update(NS, "k", add)
        assert found.value == kept.get(NS, "k").value
        assert found.revision == kept.get(NS, "k").revision
        assert found.value == ({"n": 21} if kept.mode.name == "blocking" else {"n": 1})
        assert kept.update(NS, "k", lambda value: None).value == found.value
        assert kept.update(NS, "none", lambda value: None) is None

    def test_an_update_may_be_async(self, memory: Memory, mode: CallMode, open_store: OpenItems) -> None:
        if mode.name == "blocking":
            pytest.skip("what is async is awaited by async calls alone")
        kept = open_store()

        async def change(value: Any) -> Any:
            return {"n": 1}

        assert kept.update(NS, "k", change).value == {"n": 1}

    def test_updates_keep_lifetime_and_index(self, kept: InMode, clock: Clock) -> None:
        kept.put(NS, "k", {"text": "apple", "secret": "pear"}, index=["text"], ttl=10)
        kept.update(NS, "k", lambda value: {**value, "text": "plum"})
        assert [item.score > 0 for item in kept.search(NS, query="plum")] == [True]
        assert [item.score for item in kept.search(NS, query="pear")] == [0.0]
        clock.pass_minutes(11)
        assert kept.get(NS, "k") is None

    def test_many_at_once(self, kept: InMode) -> None:
        for number in range(5):
            kept.put(("n", str(number)), "k", {"n": number})
        wanted = [(("n", "3"), "k"), (("n", "9"), "k"), (("n", "0"), "k"), (("n", "3"), "k")]
        found = kept.get_many(wanted)
        assert [item and item.value["n"] for item in found] == [3, None, 0, 3]
        assert kept.count() == kept.count(("n",)) == 5
        assert kept.count(("n", "1")) == kept.count(filter={"n": 1}) == 1
        assert kept.count(("n",), filter={"n": {"$gte": 2}}) == 3
        assert kept.count(("m",)) == 0

    def test_iterators_have_no_cap(self, kept: InMode) -> None:
        kept.batch([PutOp(NS, f"{number:03}", {"n": number, "text": f"word{number % 3}"}) for number in range(450)])
        assert [item.value["n"] for item in kept.items()] == list(range(450))[::-1]
        assert [item.value["n"] for item in kept.items(NS, filter={"n": {"$lt": 250}})] == list(range(250))[::-1]
        found = kept.items(NS, query="word1")
        assert len(found) == 450 and [item.value["n"] % 3 for item in found[:150]] == [1] * 150
        assert len({item.key for item in found}) == 450

    def test_namespaces_are_erased(self, kept: InMode, memory: Memory) -> None:
        for space in SPACES:
            kept.put(space, "k", {"text": "word"})
        found = kept.search((), query="word")
        assert len(found) == len(SPACES) == InMode(memory, kept.mode).usage().items
        with pytest.raises(ValueError):
            kept.delete_namespace(())
        assert kept.delete_namespace(("a", "b")) == 3
        assert kept.list_namespaces() == [("a",), ("a", "c", "f"), ("ab", "b"), ("b", "a", "b")]
        assert len(kept.search((), query="word")) == 4
        assert kept.delete_namespace(("z",)) == 0
        assert keys(kept.search(("a",))) == ["k", "k"]
