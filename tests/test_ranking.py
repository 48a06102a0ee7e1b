"""An index of entries: what it says is what a fresh one says, with numpy and without, whatever came before."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charm_checkpoint.contract_items import EntriesReply, Entry, ItemKey, ItemRow, SpaceEntries
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.items.ranking import (
    Model,
    Question,
    Ranked,
    ScopeIndex,
    arithmetic,
    calibrate,
    kept,
    scores,
    write_entry,
)
from charm_checkpoint.items.ranking import index as index_module
from charm_checkpoint.items.ranking.postings import Held

WORDS = "boat harbour train window seat coffee milk sugar bridge honey tomato cello garden letter winter".split()
MODEL = Model(b"model--1", 3, (0.1, 0.0, -0.1), 0.1, 0.2)
OTHER = Model(b"model--2", 3, (0.0, 0.0, 0.0), 0.1, 0.2)
NOW = 1_000


@pytest.fixture(params=["plain", "numpy"])
def arithmetics(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have everything reckoned without numpy, or all that can be with it."""
    choose(monkeypatch, request.param)
    return str(request.param)


def choose(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(arithmetic, "WORTH_IT", 0)
    if how == "plain":
        monkeypatch.setattr(arithmetic, "_installed", lambda: None)


class Contents:
    """What a store holds of a prefix, and its answers."""

    def __init__(self) -> None:
        self.spaces: dict[bytes, dict[bytes, Entry]] = {}
        self.changed: dict[tuple[bytes, bytes], int] = {}
        self.stamps: dict[bytes, int] = {}

    def put(self, space: bytes, entry: Entry) -> None:
        self.stamps[space] = max(entry.updated, self.stamps.get(space, 0) + 1)
        self.spaces.setdefault(space, {})[entry.key] = entry
        self.changed[space, entry.key] = self.stamps[space]

    def delete(self, space: bytes, key: bytes) -> None:
        if self.spaces.get(space, {}).pop(key, None):
            self.stamps[space] += 1
            if not self.spaces[space]:
                del self.spaces[space], self.stamps[space]

    def reply(self, known: Mapping[bytes, int]) -> EntriesReply:
        """Answer as a store does that always gives the keys."""
        found = []
        for space, entries in self.spaces.items():
            stamp, before = self.stamps[space], known.get(space)
            if before == stamp:
                found.append(SpaceEntries(space, stamp))
                continue
            since = -1 if before is None or before > stamp else before
            news = [entry for entry in entries.values() if self.changed[space, entry.key] > since]
            found.append(SpaceEntries(space, stamp, news, list(entries)))
        return EntriesReply(found)

    def vectors(self) -> dict[ItemKey, ItemRow]:
        return {
            ItemKey(space, key): ItemRow(space, key, VECTORS[entry.entry], 0, entry.updated)
            for space, entries in self.spaces.items()
            for key, entry in entries.items()
            if entry.entry in VECTORS
        }


VECTORS: dict[bytes, bytes] = {}


def made(texts: Sequence[str], vectors: Sequence[Sequence[float]] = (), model: Model = MODEL) -> bytes:
    entry, data = write_entry(texts, vectors, model)
    VECTORS[entry] = data
    return entry


texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
vectors = st.lists(st.tuples(*[st.integers(-2, 2).map(float)] * 3), max_size=2)
entries = st.one_of(
    st.just(b""),
    st.builds(made, st.lists(texts, min_size=1, max_size=2), vectors, st.sampled_from([MODEL, MODEL, OTHER])),
)
spaces, keys = st.sampled_from([b"is\0", b"is\0a\0", b"is\0b\0"]), st.sampled_from([b"1", b"2", b"3", b"4", b"5"])
steps = st.one_of(
    st.tuples(st.just("put"), spaces, keys, st.integers(1, 40), st.none() | st.integers(NOW - 3, NOW + 3), entries),
    st.tuples(st.just("delete"), spaces, keys),
    st.tuples(st.just("look"), st.integers(NOW - 4, NOW + 4)),
    st.tuples(st.just("keep")),
)
questions = st.builds(
    Question, texts, st.tuples(*[st.integers(-2, 2).map(float)] * 3), st.just(MODEL), st.sampled_from(
        ["hybrid", "vector", "words"]
    ),
)  # fmt: skip


BUCKETS: WeakKeyDictionary[ScopeIndex, list[bytes]] = WeakKeyDictionary()


def reopened(index: ScopeIndex) -> ScopeIndex:
    """Return an index as it is after it was written and read, but for one that was read."""
    if index in BUCKETS:
        return index
    data, buckets, mark = index.written()
    table = kept.read_table(data)
    assert table is not None
    read = ScopeIndex.kept(table, mark)
    assert (read.known, read.mark, len(read), read.behind) == (index.known, index.mark, len(index), 0)
    BUCKETS[read] = buckets
    return read


def complete(index: ScopeIndex, question: Question) -> None:
    wanted, buckets = index.missing_terms(question), BUCKETS.get(index, [])
    found: dict[bytes, Held] = {}
    for place in {kept.bucket_of(term, len(buckets)) for term in wanted}:
        found.update(kept.find_terms(buckets[place], wanted))
    index.take_terms(question, found)
    assert not index.missing_terms(question)


def ranked(index: ScopeIndex, question: Question, contents: Contents, now: int = NOW) -> list[Ranked]:
    complete(index, question)
    wanted = index.wanted_vectors(question, now)
    rows = contents.vectors()
    index.take_vectors({item: rows[item] for item in wanted})
    assert not index.wanted_vectors(question, now)
    return list(index.rank(question, now))


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=30), questions, st.integers(NOW - 4, NOW + 4))
def test_after_any_changes_an_index_says_what_a_fresh_one_says(
    done: list[tuple[Any, ...]], question: Question, now: int
) -> None:
    contents, index = Contents(), ScopeIndex()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(index_module, "MANY_REMOVED", 2)
        monkeypatch.setattr(kept, "BUCKET", 100)
        index = follow(done, question, contents, index)
    fresh = ScopeIndex()
    # In another order, so that slots differ.
    contents.spaces = {space: dict(reversed(held.items())) for space, held in reversed(contents.spaces.items())}
    assert fresh.apply(contents.reply(fresh.known))
    results = []
    for how in ("plain", "numpy"):
        with pytest.MonkeyPatch.context() as monkeypatch:
            choose(monkeypatch, how)
            results += [ranked(which, question, contents, now) for which in (index, fresh)]
    assert results[0] == results[1] == results[2] == results[3]
    for model in (MODEL, OTHER):
        assert set(index.unembedded(model, now)) == set(fresh.unembedded(model.identity, now))
    alive = [
        ItemKey(space, key)
        for space, held in contents.spaces.items()
        for key, entry in held.items()
        if entry.expires is None or entry.expires > now
    ]
    assert sorted(row.item for row in results[0]) == sorted(alive)
    assert [place(row) for row in results[0]] == sorted(place(row) for row in results[0])


def follow(done: list[tuple[Any, ...]], question: Question, contents: Contents, index: ScopeIndex) -> ScopeIndex:
    for step in done:
        if step[0] == "put":
            _, space, key, updated, expires, entry = step
            contents.put(space, Entry(key, updated, expires, entry))
        elif step[0] == "delete":
            contents.delete(*step[1:])
        elif step[0] == "keep":
            index = reopened(index)
        else:
            assert index.apply(contents.reply(index.known))
            ranked(index, question, contents, step[1])
            assert len(index) == sum(map(len, contents.spaces.values()))
    assert index.apply(contents.reply(index.known))
    return index


def place(row: Ranked) -> tuple[bool, float, int, ItemKey]:
    return row.score is None, -(row.score or 0.0), -row.updated, row.item


def filled(count: int, seed: int = 0, dims: int = 0, length: int = 12) -> tuple[ScopeIndex, Contents]:
    chance = random.Random(seed)
    vocabulary = ["".join(chance.choices("abcdeilmnorst", k=chance.randint(3, 9))) for _ in range(count)]
    contents = Contents()
    model = Model(b"model--d", dims, (0.0,) * dims, 0.0, 0.1)
    for number in range(count):
        text = " ".join(vocabulary[int(len(vocabulary) * chance.random() ** 3)] for _ in range(length))
        held = [[chance.gauss(0, 1) for _ in range(dims)]] if dims else []
        contents.put(b"is\0", Entry(b"%d" % number, chance.randint(1, count), None, made([text], held, model)))
    index = ScopeIndex()
    index.apply(contents.reply({}))
    return index, contents


@pytest.mark.parametrize("how", ["hybrid", "vector"])
def test_many_items_have_one_order_with_numpy_and_without(monkeypatch: pytest.MonkeyPatch, how: Any) -> None:
    monkeypatch.setattr(scores, "EXACTLY", 100)
    monkeypatch.setattr(scores, "NEAREST", 40)
    monkeypatch.setattr(scores, "BEST_BY_WORDS", 20)
    _, contents = filled(600, dims=20)
    text = "aab mirror lemon " + next(iter(contents.spaces[b"is\0"].values())).entry[-40:].decode()
    question = Question(text, [math.sin(at) for at in range(20)], Model(b"model--d", 20, (0.0,) * 20, 0.0, 0.1), how)
    results = []
    for arithmetics in ("plain", "numpy"):
        with pytest.MonkeyPatch.context() as patch:
            choose(patch, arithmetics)
            index = ScopeIndex()
            index.apply(contents.reply({}))
            assert len(index.wanted_vectors(question, NOW)) <= 60
            results.append(ranked(index, question, contents))
            ranking = index.rank(question, NOW)
            pages = [row for start in range(0, 630, 7) for row in ranking[start : start + 7]]
            assert pages == list(ranking) and len(pages) == len(ranking) == 600
            assert ranking[-1] == pages[-1] and list(ranking[590:]) == pages[590:]
            found = [row.score for row in pages if row.score is not None]
            assert all(before >= after for before, after in pairwise(found))
    assert results[0] == results[1]
    assert sum(row.parts.cosine is not None for row in results[0]) >= 40


def test_bits_are_counted_by_a_numpy_that_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = pytest.importorskip("numpy")

    class Former:
        """A numpy before 2.0."""

        def __getattr__(self, name: str) -> Any:
            if name == "bitwise_count":
                raise AttributeError(name)
            return getattr(numpy, name)

    _, contents = filled(50, dims=64)
    model = Model(b"model--d", 64, (0.0,) * 64, 0.0, 0.1)
    question = Question("", [math.sin(at) for at in range(64)], model, "vector")
    monkeypatch.setattr(arithmetic, "WORTH_IT", 0)
    monkeypatch.setattr(scores, "EXACTLY", 10)
    monkeypatch.setattr(scores, "NEAREST", 20)
    results = []
    for module in (numpy, Former(), None):
        monkeypatch.setattr(arithmetic, "_installed", lambda module=module: module)
        index = ScopeIndex()
        index.apply(contents.reply({}))
        results.append(ranked(index, question, contents))
    assert results[0] == results[1] == results[2]


def test_a_ranking_stays_as_it_is_when_its_index_changes(arithmetics: str) -> None:
    index, contents = filled(300)
    ranking = index.rank(Question("able " + " ".join(WORDS)), NOW)
    before = list(index.rank(Question("able " + " ".join(WORDS)), NOW))
    for number in range(280):
        contents.delete(b"is\0", b"%d" % number)
    contents.put(b"is\0", Entry(b"new", 5_000, None, made(["able"])))
    index.apply(contents.reply(index.known))
    assert list(ranking) == before
    assert len(index.rank(Question("able"), NOW)) == 21
    assert index.rank(Question("able"), NOW)[0].item.key == b"new"


def test_what_is_expired_has_no_influence_until_time_goes_back(arithmetics: str) -> None:
    contents, index, fresh = Contents(), ScopeIndex(), ScopeIndex()
    contents.put(b"a", Entry(b"1", 1, None, made(["the train to Lyon"])))
    contents.put(b"a", Entry(b"2", 2, None, made(["milk and honey"])))
    fresh.apply(contents.reply({}))
    contents.put(b"a", Entry(b"3", 3, NOW, made(["train " * 9])))
    index.apply(contents.reply({}))
    question = Question("a train")
    assert [row.item.key for row in index.rank(question, NOW - 1)] == [b"3", b"1", b"2"]
    assert list(index.rank(question, NOW)) == list(fresh.rank(question, NOW))
    assert len(index.rank(question, NOW - 1)) == 3
    contents.put(b"a", contents.spaces[b"a"][b"3"]._replace(expires=NOW + 9))  # a touch
    index.apply(contents.reply(index.known))
    assert len(index.rank(question, NOW + 8)) == 3 and len(index.rank(question, NOW + 9)) == 2


def test_scores_are_shares_of_what_is_asked() -> None:
    contents, index = Contents(), ScopeIndex()
    for number, text in enumerate(["Prefers window seats on trains", "Likes coffee", "", "Window cleaning on Monday"]):
        contents.put(b"a", Entry(b"%d" % number, number, None, made([text])))
    contents.put(b"a", Entry(b"not indexed", 9, None, b""))
    index.apply(contents.reply({}))
    rows = {row.item.key: row for row in index.rank(Question("a seat at the window"), NOW)}
    assert list(rows) == [b"0", b"3", b"2", b"1", b"not indexed"]
    assert 0.5 < rows[b"0"].score < 1.0 and rows[b"1"].score == 0.0 and rows[b"not indexed"].score is None  # type: ignore[operator]
    assert rows[b"0"].parts.words > rows[b"3"].parts.words > 0.0
    typing_error = index.rank(Question("windwo saets"), NOW)[0]
    assert typing_error.item.key == b"0" and typing_error.parts.words == 0.0 < typing_error.parts.trigrams
    assert {row.score for row in index.rank(Question("the of and"), NOW)} == {0.0, None}


def test_the_vector_way_is_the_plain_cosine_of_the_nearest_vector(arithmetics: str) -> None:
    contents, index = Contents(), ScopeIndex()
    contents.put(b"a", Entry(b"1", 1, None, made(["x"], [(1.0, 0.0, 0.0), (3.0, 4.0, 0.0)])))
    contents.put(b"a", Entry(b"2", 2, None, made(["x"], [(-1.0, 0.0, 0.0)])))
    contents.put(b"a", Entry(b"3", 3, None, made(["x"], [(0.0, 0.0, 0.0)])))
    contents.put(b"a", Entry(b"4", 4, None, made(["x"], [(0.0, 1.0, 0.0)], OTHER)))
    index.apply(contents.reply({}))
    question = Question("x", (0.0, 2.0, 0.0), MODEL, "vector")
    rows = ranked(index, question, contents)
    assert [row.item.key for row in rows] == [b"1", b"3", b"2", b"4"]
    assert rows[0].score == pytest.approx(0.8, abs=1e-3)
    assert [row.score for row in rows[1:]] == [0.0, 0.0, None]
    assert index.unembedded(MODEL, NOW) == [ItemKey(b"a", b"4")]
    # What was not measured has cosines, too, and no say beside words.
    plain = Model(MODEL.identity)
    assert [row.score for row in index.rank(Question("x", (0.0, 2.0, 0.0), plain, "vector"), NOW)] == [
        row.score for row in rows
    ]
    assert len({row.score for row in index.rank(Question("x", (0.0, 2.0, 0.0), plain), NOW)}) == 1


def test_vectors_of_an_item_that_was_put_anew_are_not_taken() -> None:
    contents, index = Contents(), ScopeIndex()
    contents.put(b"a", Entry(b"1", 1, None, made(["x"], [(1.0, 0.0, 0.0)])))
    old = contents.vectors()
    contents.put(b"a", Entry(b"1", 2, None, made(["x"], [(0.0, 1.0, 0.0)])))
    index.apply(contents.reply({}))
    question = Question("x", (0.0, 1.0, 0.0), MODEL, "vector")
    index.take_vectors(old)
    assert index.wanted_vectors(question, NOW) == [ItemKey(b"a", b"1")]
    assert index.rank(question, NOW)[0].score is None
    assert ranked(index, question, contents)[0].score == 1.0


def test_an_answer_that_others_overtook_changes_nothing_for_the_worse() -> None:
    contents, index = Contents(), ScopeIndex()
    contents.put(b"a", Entry(b"1", 1, None, made(["x"])))
    asked = index.known
    late = contents.reply(asked)
    contents.put(b"a", Entry(b"2", 2, None, made(["x"])))
    contents.put(b"b", Entry(b"3", 3, None, made(["x"])))
    assert index.apply(contents.reply(index.known), index.known)
    assert not index.apply(late, asked), "it lacks a space that came since"
    assert len(index) == 3 and index.known == contents.stamps
    contents.delete(b"b", b"3")
    assert index.apply(contents.reply(index.known), index.known) and len(index) == 2


def test_answers_may_come_in_another_order_than_they_were_given() -> None:
    contents, index = Contents(), ScopeIndex()
    contents.put(b"a", Entry(b"1", 1, None, made(["x"])))
    index.apply(contents.reply({}))
    asked = index.known
    contents.put(b"a", Entry(b"2", 2, None, made(["x"])))
    contents.delete(b"a", b"1")
    older = contents.reply(asked)
    contents.put(b"a", Entry(b"3", 4, None, made(["x"])))
    newer = contents.reply(asked)
    for replies in ((newer, older), (older, newer)):
        index = ScopeIndex()
        index.apply(EntriesReply([SpaceEntries(b"a", 1, [Entry(b"1", 1, None, made(["x"]))], [b"1"])]))
        assert all(index.apply(reply, asked) for reply in replies)
        assert index.known == contents.stamps and len(index) == 2
        assert [row.item.key for row in index.rank(Question("x"), NOW)] == [b"3", b"2"]


def test_an_entry_that_cannot_be_read_leaves_an_empty_index() -> None:
    index, contents = filled(10)
    contents.put(b"is\0", Entry(b"bad", 99, None, b"\x01\x00\x05"))
    with pytest.raises(StoreCorrupt):
        index.apply(contents.reply(index.known))
    assert len(index) == 0 and not index.known and index.mark is None
    contents.delete(b"is\0", b"bad")
    assert index.apply(contents.reply(index.known)) and len(index) == 10


def test_threads_may_use_an_index_at_once(arithmetics: str) -> None:
    index, contents = filled(200)
    replies = [contents.reply({})]
    for number in range(40):
        contents.put(b"is\0", Entry(b"n%d" % number, 1_000 + number, None, made([f"garden letter {number}"])))
        replies.append(contents.reply({}))

    def work(number: int) -> int:
        index.apply(replies[number], {})
        return len(list(index.rank(Question("garden letter"), NOW)))

    with ThreadPoolExecutor(4) as pool:
        assert all(200 <= found <= 240 for found in pool.map(work, range(1, 41)))
    while not index.apply(contents.reply(index.known), index.known):
        pass
    assert len(index) == 240 and index.rank(Question("garden letter 7"), NOW)[0].item.key == b"n7"


@pytest.mark.parametrize(("count", "dims"), [(300, 0), (1_200, 0), (300, 64)])
def test_the_weight_is_about_what_it_takes(count: int, dims: int) -> None:
    _, contents = filled(count, dims=dims, length=25)
    reply, rows = contents.reply({}), contents.vectors()
    question = Question("", [1.0] * dims, Model(b"model--d", dims, (0.0,) * dims, 0.0, 0.1), "vector")
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    index = ScopeIndex()
    index.apply(reply)
    if dims:
        index.take_vectors({item: row._replace(value=bytes(bytearray(row.value))) for item, row in rows.items()})
        index.rank(question, NOW)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.7 < index.weight / taken < 1.6, (index.weight, taken)
    for key in list(contents.spaces[b"is\0"])[: count * 9 // 10]:
        contents.delete(b"is\0", key)
    index.apply(contents.reply(index.known))
    assert index.weight < taken * 0.6


def test_a_model_is_measured_by_unrelated_texts() -> None:
    chance = random.Random(1)

    def vector() -> list[float]:
        return [3.0 + chance.gauss(0, 1) for _ in range(50)]

    model = calibrate(b"model--x", [vector() for _ in range(24)], [vector() for _ in range(24)])
    assert model.dims == 50 and model.measured
    assert model.mean == pytest.approx(0.9, abs=0.02) and 0.005 < model.deviation < 0.05
    assert Model.from_bytes(model.to_bytes()) == model
    with pytest.raises(StoreCorrupt):
        Model.from_bytes(model.to_bytes()[:20])


@pytest.fixture(autouse=True)
def _no_vectors_left() -> Iterator[None]:
    yield
    VECTORS.clear()
