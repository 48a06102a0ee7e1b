"""The files of memories: what is written is what is read, and what others wrote is read or told to be wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charm_checkpoint.errors import DataError
from charm_checkpoint.long_term.markdown import front_matter
from charm_checkpoint.long_term.markdown.file_names import file_name, is_own, slug
from charm_checkpoint.long_term.markdown.format import MemoryFile, iso, read, read_time, write
from charm_checkpoint.long_term.records import KINDS, STATUSES

CONFLICT = b"---\ntitle: t\nkind: fact\n---\n\na\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> d1e2\n"
LINES = st.sampled_from(["---", "  ---", "---\n", "\r\n", "\r", "\n", "\u2028", "\x85", "\0", "\ufeff", "'", "#", ": "])
SIGNS = st.sampled_from(["[", "{", "- ", "? ", ": ", "!!int ", "*a", "&a ", "|\n", "'", "= ", "<<: ", "~"])
QUICK = settings(max_examples=30, deadline=None)
TEXT = st.lists(st.text(max_size=8) | LINES, max_size=6).map("".join)
WORDS = TEXT.filter(bool)
TIMES = st.none() | st.integers(0, 4_000_000_000_000_000)
CITATIONS = st.builds(
    lambda path, rest: {"path": path, **rest},
    WORDS.filter(str.strip),
    st.fixed_dictionaries(
        {}, optional={"sha": WORDS, "line_start": st.integers(1, 99), "line_end": st.integers(1, 99)}
    ),
)
MEMORIES = st.builds(
    MemoryFile,
    title=WORDS,
    kind=st.sampled_from(KINDS),
    body=TEXT.map(front_matter.normal_body),
    source=WORDS,
    created=TIMES,
    updated=TIMES,
    status=st.sampled_from(STATUSES),
    tags=st.lists(WORDS, max_size=3).map(tuple),
    citations=st.lists(CITATIONS, max_size=2).map(tuple),
    used=TIMES,
    validated=TIMES,
    archived=TIMES,
    reason=st.none() | TEXT,
    importance=st.none() | st.floats(0, 1),
    category=st.none() | TEXT,
    session=st.none() | TEXT,
)
CANTRIPS = """\
---
title: never-force-push
kind: rule
source: manual
created: '2026-01-02T03:04:05+00:00'
updated: '2026-01-02T03:04:06+00:00'
status: active
tags:
- git
citations:
- path: src/charm.py
  sha: 0a23
last_accessed: '2026-01-03T00:00:00+00:00'
---

Not on main.
"""


@QUICK
@given(MEMORIES)
def test_what_is_written_is_read(memory: MemoryFile) -> None:
    assert read(write(memory)) == memory


@QUICK
@given(MEMORIES)
def test_an_editor_that_saves_with_other_line_ends_and_a_mark_of_order_changes_nothing(memory: MemoryFile) -> None:
    data = write(memory)
    assert read(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")) == memory


@QUICK
@given(MEMORIES, MEMORIES)
def test_writing_again_is_the_same_bytes_and_keeps_what_is_not_known(before: MemoryFile, after: MemoryFile) -> None:
    data = write(before)
    assert write(read(data)) == data
    added = data.replace(b"---\n", b"---\nmine: [1, {a: 2026-01-01}]\n", 1)
    assert read(added) == before
    again = read(write(replace(after, written=read(added).written)))
    assert again == after
    assert again.written["mine"] == read(added).written["mine"]


def test_the_keys_have_cantrips_order_and_ours_are_behind() -> None:
    memory = MemoryFile("t", reason="drifted", importance=0.5, category="core", session="s", created=0, updated=0)
    lines = write(replace(memory, written={"mine": 1, "title": "x"})).decode().splitlines()
    keys = [line.partition(":")[0] for line in lines if ":" in line]
    assert keys == [
        *("title", "kind", "source", "created", "updated", "status", "tags", "citations"),
        *("reason", "importance", "category", "session", "mine"),
    ]


def test_a_file_of_cantrip_is_read_and_a_change_of_it_changes_that_only() -> None:
    memory = read(CANTRIPS.encode())
    assert memory == MemoryFile(
        "never-force-push",
        "rule",
        "Not on main.",
        created=read_time("2026-01-02 03:04:05"),
        updated=read_time("2026-01-02 03:04:06"),
        tags=("git",),
        citations=({"path": "src/charm.py", "sha": "0a23"},),
        used=read_time("2026-01-03"),
    )
    assert write(replace(memory, status="archived")).decode() == CANTRIPS.replace("active", "archived")


def test_what_is_written_otherwise_stays_as_it_was_written() -> None:
    theirs = "---\ntitle: t\nkind: note\nsource: x\ncreated: 2026-01-02 03:04:05\nstatus: stale\ntags: a, b\n---\nx\n"
    memory = read(theirs.encode())
    assert (memory.kind, memory.status, memory.tags) == ("fact", "quarantined", ("a", "b"))
    said = memory.unusual()
    assert said and "'note'" in said and "'stale'" in said
    assert read(CANTRIPS.encode()).unusual() is None
    kept = write(replace(memory, body="y")).decode()
    assert {"kind: note", "status: stale", "tags: a, b", "created: 2026-01-02 03:04:05"} <= set(kept.splitlines())
    assert "kind: rule" in write(replace(memory, kind="rule")).decode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no head", "no frontmatter"),
        (b"", "no frontmatter"),
        (b"---\ntitle: t\nkind: fact\n", "no frontmatter"),
        (b"---\nkind: fact\n---\n", "no title"),
        (b"---\ntitle: t\n---\n", "no kind"),
        (b"---\ntitle: [a]\nkind: fact\n---\n", "no title"),
        (b"---\ntitle: ''\nkind: fact\n---\n", "no title"),
        (b"---\n- title\n---\n", "no mapping"),
        (b"---\ntitle: t: u\n---\n", "no YAML"),
        (b"---\ntitle: \0\nkind: fact\n---\n", "no YAML"),
        (b"---\ntitle: caf\xe9\nkind: fact\n---\n", "not UTF-8"),
        ("---\ntitle: t\nkind: fact\n---\n".encode("utf-16"), "not UTF-8"),
        (b"---\ntitle: t\nkind: fact\nx: " + b"[" * 30_000 + b"\n---\n", "nest"),
        (b"---\ntitle: t\nkind: fact\nx: " + b"[" * 30 + b"]" * 30 + b"\n---\n", "nest"),
        (b"---\ntitle: t\nkind: fact\nx: " + b"a" * 70_000 + b"\n---\n", "longer than"),
        (b"---\na: &a [x, x]\nb: &b [*a, *a]\ntitle: t\nkind: fact\n---\n", "alias"),
        (b"---\ntitle: !!python/object:os.system t\nkind: fact\n---\n", "tag"),
        (b"---\ntitle: t\nkind: !!int x\n---\n", "tag"),
        (b"---\ntitle: t\nkind: fact\nx: 2026-99-99\n---\n", "cannot be"),
        (b"---\ntitle: t\nkind: fact\nx: " + b"1" * 5000 + b"\n---\n", "cannot be"),
        (b"---\n<<<<<<< HEAD\ntags: [a]\n=======\ntags: [b]\n>>>>>>> b\ntitle: t\nkind: fact\n---\n", "conflict"),
        (CONFLICT, "conflict in its text"),
        (CONFLICT.replace(b"\n", b"\r\n"), "conflict in its text"),
        (CONFLICT.replace(b"=======", b"||||||| base\nold\n======="), "conflict in its text"),
        (b"---\ntitle: t\nkind: fact\n---\n" + b"x" * (1 << 20), "1048576"),
        (b"---\ntitle: " + b"t" * 10_001 + b"\nkind: fact\n---\n", "10,000 characters"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        read(data)


@QUICK
@given(st.binary(max_size=60), st.lists(SIGNS))
def test_any_bytes_are_read_or_refused(data: bytes, signs: list[str]) -> None:
    head = b"---\ntitle: t\nkind: fact\n"
    for some in (data, head + data + b"\n---\n", head + f"x: {''.join(signs)}\n---\n".encode()):
        try:
            read(some)
        except DataError:
            continue


@pytest.mark.parametrize(
    "memory", [MemoryFile("\ud800"), MemoryFile("t", body="\udfff"), MemoryFile("t", tags=("\ud800",)), MemoryFile("")]
)
def test_what_no_file_can_hold_is_refused(memory: MemoryFile) -> None:
    with pytest.raises(DataError):
        write(memory)


def test_a_body_that_is_too_long_is_refused() -> None:
    with pytest.raises(DataError, match="shorten"):
        write(MemoryFile("t", body="x" * (1 << 20)))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02 03:04:05.250000", "2026-01-02T03:04:05.250000+00:00"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05+00:00"),
        ("0001-01-01T00:00:00+23:59", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("soon", None),
        (5, None),
    ],
)
def test_dates(value: Any, said: str | None) -> None:
    time = read_time(value)
    assert (None if time is None else iso(time)) == said


# ------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("title", "stem"),
    [
        ("Hello World", "hello_world"),
        ("../evil", "evil"),
        ("", "memory"),
        ("a.b-c", "a.b-c"),
        ("é", "memory"),
    ],
)
def test_slugs_are_cantrips(title: str, stem: str) -> None:
    assert slug(title) == stem


@pytest.mark.parametrize(
    "title",
    [
        "Über uns",
        "日本語",
        "日本語 2",
        "memory",
        "Memory",
        "SKILL",
        "CON",
        "con.notes",
        "nul",
        "lpt1.x",
        "???",
        "x" * 200,
        "\u212a",  # the sign for Kelvin, a k in small letters
    ],
)
def test_a_slug_that_is_not_the_titles_own_has_part_of_a_hash(title: str) -> None:
    name = file_name(title, lambda _: False)
    assert re.fullmatch(r"[a-z0-9._-]+-[0-9a-f]{8}\.md", name)
    assert len(name) <= 120
    assert name.split(".")[0] not in ("con", "nul", "lpt1", "memory", "skill")
    assert name == file_name(title, lambda _: False)


@QUICK
@given(st.lists(WORDS, unique=True, max_size=8))
def test_no_two_titles_share_a_file(titles: list[str]) -> None:
    taken: set[str] = set()
    for title in titles:
        name = file_name(title, taken.__contains__)
        assert name not in taken
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*\.md", name) and len(name) <= 120
        taken.add(name)


def test_titles_that_differ_by_capitals_or_by_signs_have_files_of_their_own() -> None:
    assert is_own("Foo Bar")
    assert file_name("Foo Bar", {"other.md"}.__contains__) == "foo_bar.md"
    others = {file_name(title, {"foo_bar.md"}.__contains__) for title in ("foo bar", "foo/bar", "FOO BAR")}
    assert len(others) == 3 and "foo_bar.md" not in others


def test_what_only_looks_like_a_conflict_is_a_text_and_one_is_not_written() -> None:
    for text in (b"    <<<<<<< a\n    =======\n    >>>>>>> b", b"Title\n=======\n>>>>>>> b", b"<<<<<<< a\n>>>>>>> b"):
        found = read(b"---\ntitle: t\nkind: fact\n---\n\n" + text + b"\n")
        assert read(write(found)).body == found.body == text.decode()
    with pytest.raises(DataError, match="indent its lines"):
        write(replace(found, body=CONFLICT.decode().split("---\n")[2]))
