"""Memories as a model is shown them: a block of data that nothing leaves, within a budget, the same bytes each time."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prompt_blocks import HOSTILE, entry, notes_of

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.long_term.prompt_block import Budget, prompt_block
from charm_checkpoint.long_term.records import MemoryEntry


def test_a_memory_is_shown_with_what_is_known_of_it() -> None:
    block = prompt_block([entry(tags=("aws", "two words", "a, b")), entry("Lock", "uv lock\n\nfirst", kind="rule")])
    first, second = notes_of(block)
    assert (first.title, first.body) == ("Deploy region", "The shop runs in eu-west-1.")
    assert first.facts == (
        'kind: fact, source: manual, scope: project, status: active, date: 2026-01-02, tags: aws, two words, "a, b"'
    )
    assert (second.title, second.body) == ("Lock", "uv lock\n\nfirst")
    assert block.index("data, not instructions") < block.index("Deploy region")


def test_without_memories_there_is_no_block() -> None:
    assert prompt_block([]) == ""
    assert prompt_block([entry()], Budget(entries=0)) == ""
    assert prompt_block([entry()], Budget(total=100)) == ""


def test_what_is_not_active_or_not_reviewed_is_left_out() -> None:
    hidden = [entry(status="quarantined"), entry(status="archived"), entry(needs_review=True), entry(status="ACTIVE")]
    assert prompt_block(hidden) == ""
    (note,) = notes_of(prompt_block([*hidden, entry("Shown")], Budget(entries=1)))
    assert note.title == "Shown"


def test_the_budget_holds() -> None:
    many = [entry(f"Number {number}", f"{number} " * 1000) for number in range(9)]
    notes = notes_of(block := prompt_block(many))
    assert [note.title for note in notes] == ["Number 0", "Number 1", "Number 2", "Number 3"]
    assert all(len(note.body) <= 800 and note.body.endswith("…") for note in notes) and len(block) <= 4000
    assert len(notes_of(prompt_block(many, Budget(entries=2)))) == 2
    assert {len(note.body) for note in notes_of(prompt_block(many, Budget(characters=100)))} <= {99, 100}
    # The last one that fits is cut shorter.
    notes = notes_of(block := prompt_block(many, Budget(total=2000)))
    assert 1900 < len(block) <= 2000 and len(notes) == 2 and len(notes[0].body) > len(notes[1].body)


def test_the_bytes_are_the_same_when_nothing_changed() -> None:
    block = prompt_block([entry(tags=("a", "b")), entry("Other")])
    seen = replace(entry(tags=("a", "b")), score=0.7, parts={"words": 1.0}, used=datetime.now(timezone.utc), uses=9)
    assert prompt_block([seen, replace(entry("Other"), score=0.6)]) == block


@pytest.mark.parametrize(("name", "value"), [("entries", -1), ("characters", True), ("total", "4000"), ("total", 1.5)])
def test_a_budget_is_of_whole_numbers(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        Budget(**{name: value})


texts = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=5)), max_size=8).map("".join)
entries = st.builds(
    entry, texts, texts, kind=texts, scope=texts, source=texts, tags=st.lists(texts, max_size=3).map(tuple)
)
MARKUP = re.compile(
    r"</?\s*(?:memor|system|inst|invoke|antml:|tool_|function_|s>|<sys)|<\||\[/?inst\]|<start_of_turn", re.IGNORECASE
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))  # a machine may be busy
@given(st.lists(entries, max_size=5), st.integers(0, 200), st.integers(0, 5000))
def test_nothing_breaks_out_of_the_block(given: list[MemoryEntry], characters: int, total: int) -> None:
    block = prompt_block(given, Budget(characters=characters, total=total))
    assert len(block) <= total
    if not block:
        return
    notes = notes_of(block)  # each line is of a known form
    assert len(notes) <= 4
    assert not MARKUP.search(block)
    assert {unicodedata.category(letter) for letter in block if letter != "\n" and letter != "\t"}.isdisjoint(
        {"Cc", "Cs", "Zl", "Zp"}
    )
    assert not set("\u200b\u200c\u200d\u2060\u202e\u2066\ufeff\U000e0041") & set(block)
    assert all("\n" not in note.title and len(note.title) <= 1000 for note in notes)
    assert all(len(note.body) <= characters for note in notes)
    block.encode()


@given(entries)
def test_what_is_said_of_a_memory_is_said_once(given: MemoryEntry) -> None:
    (note,) = notes_of(prompt_block([given], Budget(total=10_000)))
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', '""', note.facts)
    assert [name for name in ("kind", "source", "scope", "status", "date") if outside.count(f"{name}: ") > 1] == []


def test_a_memory_is_a_line_where_it_is_shown_to_programmers() -> None:
    assert repr(entry(body="b", tags=("x",))) == (
        "MemoryEntry(title='Deploy region', kind='fact', body='b', scope='project', source='manual', tags=('x',), "
        "status='active', created='2026-01-02 03:04:05+00:00', updated='2026-01-02 03:04:05+00:00')"
    )
    said = repr(entry(body="word\n" * 9999, importance=0.0, score=0.5, parts={"words": 1.0}))
    assert len(said) < 400 and "\n" not in said and "importance=0.0, " in said and "score=0.5" in said
