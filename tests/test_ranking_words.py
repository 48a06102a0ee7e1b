"""Words of texts in many languages, entries of them, vectors: what goes in comes out, whatever it is."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from time import process_time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charm_checkpoint.errors import DataError, NewerFormat, StoreCorrupt
from charm_checkpoint.items.ranking import Model, codes, read_entry, words, write_entry
from charm_checkpoint.items.ranking.stop_words import STOP_WORDS

IDENTITY = b"model--1"


def stems(text: str) -> set[str]:
    return {stem for word in words.words_of([text]) for stem in words.terms_of(word).stems}


def trigrams(text: str) -> set[str]:
    return {found for word in words.words_of([text]) for found in words.terms_of(word).trigrams}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("running shoes", "Run, SHOE!"),
        ("she studied studies", "study"),
        ("stopped planning", "stop plan"),
        ("boxes, houses, buses and classes", "class bus house box"),
        ("loves loving loved", "love"),
        ("happily", "happy"),
        ("Ada's window", "ada window"),
        ("she doesn’t like it", "like"),
        ("café naïve", "CAFE NAI\u0308VE"),
        ("Straße", "STRASSE"),
        ("ﬁne ＡＢＣ１", "fine abc1"),
        ("İstanbul", "istanbul"),
        ("ёлка", "елка"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        ("co\u00adoperate", "cooperate"),
        ("test_refund_twice", "test refund twice"),
        ("❤️ 👍🏽", "❤ 👍"),
        ("हिन्दी", "हिन्दी।"),
        ("l’eau froide", "EAU froide"),
        ("ﾀﾜｰ", "タワー"),
        ("C++ and C#", "c# c++"),
    ],
)
def test_ways_of_writing_one_thing_have_the_same_stems(one: str, other: str) -> None:
    assert stems(one) == stems(other) != set()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("東京タワーに行きたい", "タワー"),
        ("我下周去北京出差", "北京"),
        ("한국어를 배워요", "한국어"),
        ("ฉันชอบอาหารทะเล", "อาหาร"),
        ("ខ្ញុំចូលចិត្តអាហារ", "អាហារ"),
        ("Zug nach 東京 um 9", "東京"),
    ],
)
def test_what_is_written_without_spaces_is_found_by_a_part_of_it(text: str, part: str) -> None:
    assert stems(part) and stems(part) <= stems(text) and trigrams(part) <= trigrams(text)


def test_a_typing_error_leaves_most_trigrams() -> None:
    for right, wrong in [("kubernetes", "kubernettes"), ("accordion", "acordion"), ("physiotherapy", "phisiotherapy")]:
        assert stems(right) != stems(wrong)
        shared = trigrams(right) & trigrams(wrong)
        assert len(shared) > len(trigrams(right)) / 2


def test_stop_words_say_nothing_and_words_with_a_meaning_are_none() -> None:
    assert stems("What is the one that I did? Où est-ce? Wer ist das?") == set()
    assert not {"war", "die", "hat", "pour", "son", "come", "don", "haven", "will you".split()[1]} & STOP_WORDS - {
        "you"
    }
    assert all(words.words_of([word]) == {word: 1} for word in STOP_WORDS)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(), max_size=3), st.booleans())
@example(["\ud800 lone \udfff", "\0\x01", "\u0301\u0301 mark", "\u200b\u200d\ufe0f"], False)
@example(["a" * 1_000, "汉" * 200, "ส" * 100], False)
@example(["word " * 300 + "once"], True)
def test_an_entry_has_the_words_of_its_texts(texts: list[str], waiting: bool) -> None:
    entry, vectors = write_entry(texts, waiting=waiting)
    assert vectors == b""
    if not texts:
        assert entry == b"" and read_entry(entry) is None
        return
    parsed = read_entry(entry)
    assert parsed is not None and parsed.waiting == waiting and parsed.vectors == 0
    found = words.words_of(texts)
    assert parsed.words == {word: min(count, 255) for word, count in found.items()}
    for word in found:
        assert 0 < len(word) <= words.LONGEST_WORD and word.split() == [word]
        for terms in words.terms_of(word):
            assert all(terms)
    # Words are words: to look for what was found finds the same.
    again = words.words_of([" ".join(found)])
    assert set(again) == set(found) or not " ".join(found).isascii()


components = st.floats(-100, 100, width=32)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 20).flatmap(lambda dims: st.lists(st.lists(components, min_size=dims, max_size=dims), max_size=3))
)
def test_vectors_come_back_at_length_one_and_codes_are_their_signs(vectors: list[list[float]]) -> None:
    dims = len(vectors[0]) if vectors else 1
    model = Model(IDENTITY, dims, (0.25,) * dims, 0.1, 0.1)
    for given_as in (model, IDENTITY):
        entry, data = write_entry(["a text"], vectors, given_as)
        parsed = read_entry(entry)
        assert parsed is not None and parsed.vectors == len(vectors) and len(data) == parsed.vector_bytes
        assert parsed.centred == (bool(vectors) and given_as is model)
        for place, vector in enumerate(vectors):
            row = codes.row_of(data[place * dims * 2 : (place + 1) * dims * 2])
            length = math.sqrt(math.fsum(component**2 for component in vector))
            expected = [component / length if length else 0.0 for component in vector]
            assert row == pytest.approx(expected, abs=1e-3)
            size = codes.code_size(dims)
            code = int.from_bytes(parsed.codes[place * size : (place + 1) * size], "big")
            middle = 0.25 if parsed.centred else 0.0
            bits = [bool(code >> (size * 8 - 1 - at) & 1) for at in range(dims)]
            assert bits == [component > middle for component in row]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(components, min_size=40, max_size=40), min_size=2, max_size=2), st.randoms())
def test_a_cosine_is_exact_in_whatever_order(vectors: list[list[float]], chance: object) -> None:
    row, other = map(codes.unit, vectors)
    exact = sum(Fraction(one) * Fraction(two) for one, two in zip(row, other, strict=True))
    places = list(range(40))
    chance.shuffle(places)  # type: ignore[attr-defined]
    assert codes.dot([row[at] for at in places], [other[at] for at in places]) == exact
    assert abs(codes.cosine(row, other, codes.squared(other))) <= 1.0 + 1e-9


@pytest.mark.parametrize("vector", [[1e300, 1e300], [1e-300, 1e-300], [5e-324, 0.0], [sys.float_info.max] * 2])
def test_a_vector_of_any_length_has_a_direction(vector: list[float]) -> None:
    row = codes.unit(vector)
    assert codes.squared(row) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("vectors", "model"),
    [
        ([[1.0, math.nan]], IDENTITY),
        ([[math.inf]], IDENTITY),
        ([[1.0], [1.0, 2.0]], IDENTITY),
        ([[]], IDENTITY),
        ([[1.0]], b"short"),
        ([[1.0]], Model(IDENTITY, 2, (0.0, 0.0), 0.0, 1.0)),
    ],
)
def test_what_is_no_vector_is_refused(vectors: list[list[float]], model: Model | bytes) -> None:
    with pytest.raises(DataError):
        write_entry(["text"], vectors, model)


def test_an_entry_that_is_cut_off_or_added_to_is_damaged() -> None:
    model = Model(IDENTITY, 9, (0.0,) * 9, 0.0, 1.0)
    entry, _ = write_entry(["words and words, once größer"], [[1.0] * 9, [2.0] * 9], model, waiting=True)
    assert read_entry(entry) is not None
    for size in range(1, len(entry)):
        with pytest.raises(StoreCorrupt):
            read_entry(entry[:size])
    with pytest.raises(StoreCorrupt):
        read_entry(entry + b"x")
    for newer in (b"\x02" + entry[1:], entry[:1] + b"\x7f" + entry[2:]):
        with pytest.raises(NewerFormat):
            read_entry(newer)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_entry_are_never_an_error_of_another_kind(data: bytes) -> None:
    try:
        read_entry(b"\x01" + data)
    except StoreCorrupt:
        pass


@pytest.mark.parametrize(
    "text",
    [
        "a" + "\u0315\u0300" * 500_000,
        "\ufdfa" * 500_000,
        "x" * 5_000_000,
        "漢" * 500_000,
        "é'" * 500_000,
        "".join(map(chr, range(0xD000))) * 5,
        " ".join(f"word{number}" for number in range(100_000)),
    ],
    ids=["marks", "expands", "long", "unspaced", "apostrophes", "all", "words"],
)
def test_huge_and_hostile_texts_take_little_time_and_room(text: str) -> None:
    start = process_time()
    entry, _ = write_entry([text, text])
    parsed = read_entry(entry)
    assert parsed is not None and len(parsed.words) <= words.MOST_WORDS
    for word in parsed.words:
        words.terms_of(word)
    assert len(entry) < 1_000_000
    assert process_time() - start < 10.0
