"""Slash commands: their grammar, their answers, and that nothing which others wrote breaks out of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.long_term.commands import bundles
from charm_checkpoint.long_term.commands.commands import Commands
from charm_checkpoint.long_term.commands.errors import CommandError
from charm_checkpoint.long_term.commands.help import HELP
from charm_checkpoint.long_term.commands.managing import COMMANDS
from charm_checkpoint.long_term.commands.words import fields_of, words_of
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.shown import code, markdown
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

Run = Callable[[str], Any]


@pytest.fixture(params=CALL_MODES, ids=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    made = CALL_MODES[request.param]()
    yield made
    made.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "setup.py").write_text("version = 1\n")
    return folder


@pytest.fixture
def long_term(project: Path, mode: CallMode) -> Iterator[LongTermMemory]:
    memory = open_memory("memory://")
    scopes = {"global": ("everybody",), "shared": ("team",)}
    yield memory.long_term(project, scopes=scopes, trust_shared=True)
    mode.run(memory.close, memory.aclose)


@pytest.fixture
def run(long_term: LongTermMemory, mode: CallMode) -> Run:
    return InMode(long_term.commands, mode).run  # type: ignore[no-any-return]


# ---------------------------------------------------------------------------------------------------------- /remember


WRITTEN = [
    (
        "/remember lesson -- uv-lock-stale -- Run `uv lock` before.",
        "Wrote lesson memory: **uv-lock-stale** (project)",
    ),
    ("/remember rule global -- never-push -- Do not.", "Wrote rule memory: **never-push** (global)"),
    ("/REMEMBER Rule GLOBAL -- t -- b", "Wrote rule memory: **t** (global)"),
    ("  /remember\tfact charm  --  t  --  b  ", "Wrote fact memory: **t** (project)"),
    ("/remember fact shared -- t -- b", "Wrote fact memory: **t** (shared)"),
    ("/remember\nfact\n--\nt\n--\nb", "Wrote fact memory: **t** (project)"),
]


def test_a_memory_is_written(run: Run, long_term: LongTermMemory) -> None:
    for text, answer in WRITTEN:
        assert run(text) == answer
        [entry] = long_term.list()
        assert entry.source == "manual" and entry.scope in answer and entry.status == "active"
        long_term.forget(entry.title)


TYPED = [
    ("a -- b -- c -- d", "b", "c -- d"),
    ("a -- b -- - one\n- two -- three", "b", "- one\n- two -- three"),
    ('a -- "b -- c" -- d', "b -- c", "d"),
    ('a -- "b" -- c', '"b"', "c"),
    ('a -- "b -- c', '"b', "c"),
    ("a -- b--c -- d--e", "b--c", "d--e"),
    ("a -- don't -- it's \"so\"", "don't", 'it\'s "so"'),
    ("a -- b -- first\n\n    code\n", "b", "first\n\n    code"),
]


def test_titles_and_bodies_hold_any_punctuation(run: Run, long_term: LongTermMemory) -> None:
    for text, title, body in TYPED:
        assert fields_of(text) == ("a", title, body)
        run(f"/remember fact{text[1:]}")
        entry = long_term.read(title)
        assert entry is not None and entry.body == body.strip()


NO_MEMORIES = [
    ("/remember", "three fields", True),
    ("/remember fact", "three fields", True),
    ("/remember fact -- t", "three fields", True),
    ("/remember fact -- -- b", "three fields", True),
    ("/remember fact -- t -- ", "three fields", True),
    ("/remember fact - t - b", "three fields", True),
    ("/remember -- t -- b", "kind is missing", True),
    ("/remember opinion -- t -- b", "no kind 'opinion'; there are fact, rule, lesson", False),
    ("/remember fact everywhere -- t -- b", "unknown scope 'everywhere'", False),
    ("/remember fact global now -- t -- b", "too much before", False),
]


def test_what_is_wrong_with_remember_is_an_answer(run: Run, long_term: LongTermMemory) -> None:
    for text, said, helps in NO_MEMORIES:
        answer = run(text)
        assert answer.startswith("_Error: ") and said in answer and ("/memory show" in answer) == helps, text
    assert long_term.list(status=None) == []


def test_tags_stand_before_the_fields(run: Run, long_term: LongTermMemory) -> None:
    run("/remember rule #git global #ci -- t -- b")
    assert long_term.read("t").tags == ("git", "ci")  # type: ignore[union-attr]


def test_what_is_replaced_is_told(run: Run, long_term: LongTermMemory) -> None:
    run("/remember fact #x -- t -- one")
    assert run("/remember rule -- t -- two") == "Wrote rule memory: **t** (project). It replaced the one of that title."
    entry = long_term.read("t")
    assert entry is not None and (entry.kind, entry.body, entry.tags) == ("rule", "two", ("x",))


# ------------------------------------------------------------------------------------------------------------ /memory


def fill(long_term: LongTermMemory) -> None:
    long_term.remember("lesson", "uv-lock-stale", "Run `uv lock` first.", tags=["uv", "two words"])
    long_term.remember("rule", "never-push", "Do not push to main.", scope="global")
    long_term.remember("fact", "team", "There are four of us.", scope="shared")
    long_term.remember("fact", "old", "Nobody asks.", citations=["setup.py"])


def test_memories_are_listed(run: Run, long_term: LongTermMemory, project: Path) -> None:
    assert run("/memory") == "_no memories in any scope_"
    assert run("/memory charm") == "_no memories in project_"
    fill(long_term)
    assert run("/memory global") == "- **never-push** (rule, global)"
    every = run("/memory").splitlines()
    assert every[1] == "- **uv-lock-stale** (lesson, project) \\[uv, two words\\]" and len(every) == 4
    assert run("/memory project kind=lesson") == run('/memory tag="two words"') == run("/MEMORY lesson") == every[1]
    (project / "setup.py").write_text("version = 2\n")
    assert "1 quarantined now" in run("/memory revalidate")
    assert "old" not in run("/memory")
    assert run("/memory quarantined").startswith("- **old** (fact, project) — quarantined: citations: setup.py")
    assert len(run("/memory all").splitlines()) == 4 and run("/memory status=archived") == "_no memories in any scope_"


def test_kept_messages_are_not_in_the_way(run: Run, long_term: LongTermMemory) -> None:
    long_term.remember("fact", "a_b_1", "Hello there.", category="conversation", source="auto")
    assert run("/memory") == "_no memories in any scope_\n\n1 kept messages: `/memory category=conversation`"
    assert run("/memory category=conversation") == "- **a_b_1** (fact, project)"


NO_COMMANDS = [
    ("/memory everywhere", "unknown scope 'everywhere'"),
    ('/memory "global', "not closed"),
    ("/memory global shared", "given twice"),
    ("/memory status=gone", "no status 'gone'"),
    ("/memory kind=opinion", "no kind 'opinion'"),
    ("/memory show", "expected /memory show"),
    ("/memory show nothing", "no memory 'nothing'"),
    ("/memory show nothing global", "no memory 'nothing' in global"),
    ("/memory promote t", "expected /memory promote"),
    ("/memory promote t x", "expected /memory promote"),
    ("/memory promote t global", "no memory 't'"),
    ("/memory undo", "was forgotten"),
    ("/memory undo t", "was forgotten"),
    ("/memory approve", "expected /memory approve"),
    ("/memory approve t", "no memory 't'"),
    ("/memory review a b", "too many words"),
    ("/memory revalidate t", "no memory 't'"),
    ("/memory sweep soon", "number above 0"),
    ("/memory sweep -1", "number above 0"),
    ("/memory sweep nan", "number above 0"),
    ("/memory purge everything", "expected /memory purge"),
    ("/memory export", "expected /memory export"),
    ("/memory export name", "expected /memory export"),
    ("/memory export name /x everywhere", "unknown scope 'everywhere'"),
    ("/memory export name /x global now", "too many words, from 'now' on"),
    ('/memory export " " /x', "name is required"),
    ("/memory export-md", "expected /memory export-md"),
    ("/memory import", "expected /memory import"),
    ("/memory import /no/such/file.md", "/no/such/file.md"),
    ("/memory import x.md charm what", "too many words"),
    ("/memory import a\0b", "_Error: "),
    ("/memory import \ud800.md", "_Error: "),
    ("/memory export x \ud800", "_Error: "),
    ("/forget", "expected a title"),
    ("/forget t", "no memory 't'"),
    ("/forget t global", "no memory 't' in global"),
    ('/forget "t', "not closed"),
    ("/forget 'tis the season", "not closed"),
]


def test_what_is_wrong_is_an_answer(run: Run) -> None:
    for text, said in NO_COMMANDS:
        assert run(text).startswith("_Error: ") and said in run(text), text


def test_memories_are_shown_searched_moved_and_restored(run: Run, long_term: LongTermMemory) -> None:
    fill(long_term)
    shown = run("/memory show uv-lock-stale charm")
    assert "```\nRun `uv lock` first.\n```" in shown and "source: manual" in shown and "(lesson, project)" in shown
    assert "- cites `setup.py`" in run("/memory show old")
    assert run("/memory search push to main") == "- **never-push** (rule, global) — Do not push to main."
    assert run("/memory search zebra") == "_no memories match 'zebra'_"
    assert run("/memory promote uv-lock-stale global") == "Moved memory: **uv-lock-stale** (global)"
    assert run("/memory promote uv-lock-stale global charm") == "Moved memory: **uv-lock-stale** (project)"
    assert run("/memory sweep 100000") == "Archived 0 memories, kept 4"
    assert run("/memory purge") == "_no memories due for purge_"
    assert run("/forget never-push") == "Forgot memory: **never-push** (global)"
    assert run("/memory forgotten") == "- **never-push** (rule, global)"
    assert run("/memory undo") == "Restored memory: **never-push** (global)"
    assert all(entry.uses == 0 for entry in long_term.list(status=None))  # who looks at them is no agent


def test_what_others_wrote_is_looked_at(run: Run, long_term: LongTermMemory) -> None:
    assert run("/memory review") == "_nothing needs a review_"
    long_term.remember("rule", "stranger", "Obey.\n```\nme", source="import", scope="global")
    assert run("/memory") == "- **stranger** (rule, global) — needs review"
    assert "````\nObey.\n```\nme\n````" in run("/memory review global")
    assert run("/memory approve stranger") == "Approved memory: **stranger** (global)"
    assert run("/memory review") == "_nothing needs a review_"


def test_memories_go_out_and_come_in(run: Run, long_term: LongTermMemory, tmp_path: Path) -> None:
    fill(long_term)
    long_term.remember("fact", "key", "The token is ghp_abcdefghijklmnop1234567890abcdefghij.", scope="global")
    out = tmp_path / "my exports"
    target = out / "lessons" / "SKILL.md"
    answer = run(f'/memory export lessons "{out}" global')
    assert answer == f"Exported 2 memories to `{target}` (1 secret redaction)" and "ghp_" not in target.read_text()
    assert run(f'/memory export lessons "{out}" global').startswith("_Error: ")
    assert run(f'/memory export lessons "{out}" global overwrite') == answer
    assert run(f"/memory export-md {tmp_path}/dump shared") == f"Exported 1 memories under `{tmp_path}/dump`"
    assert run(f'/memory import "{target}" charm dry-run') == "Would import 2 memories into `project`."
    taken = run(f'/memory import "{target}" charm').splitlines()
    assert taken[0] == "Imported 2 memories into `project`." and "/memory review" in taken[1]
    assert {entry.title for entry in long_term.review()} == {"key", "never-push"}
    again = run(f'/memory import "{target}"').splitlines()
    assert again[0] == "Imported 0 memories into `global`." and again[1].startswith("Skipped 2: ")


# ------------------------------------------------------------------------------------------------------------ /forget


def test_titles_are_forgotten_as_they_are_typed(run: Run, long_term: LongTermMemory) -> None:
    for title in ("don't", "two words", "say it global", "charm", 'a "b" c', "it's 5 o'clock", "C:\\temp"):
        long_term.remember("fact", title, "b")
    for typed, title in [
        ("don't", "don't"),
        ("two  words", "two words"),
        ('"say it global"', "say it global"),
        ("charm", "charm"),
        ('"a \\"b\\" c" project', 'a "b" c'),
        ("it's 5 o'clock CHARM", "it's 5 o'clock"),
        ("C:\\temp", "C:\\temp"),
    ]:
        assert run(f"/forget {typed}").startswith("Forgot memory: **"), typed
        assert long_term.read(title) is None


def test_a_title_in_two_scopes_is_ambiguous(run: Run, long_term: LongTermMemory) -> None:
    for scope in ("project", "global"):
        long_term.remember("fact", "shared title", "b", scope=scope)
    assert "ambiguous" in run('/forget "shared title"') and len(long_term.list()) == 2
    assert run('/forget "shared title" charm') == "Forgot memory: **shared title** (project)"
    assert run("/forget shared title") == "Forgot memory: **shared title** (global)"


# ------------------------------------------------------------------------------------------------------------- others


@pytest.mark.parametrize(
    "text", ["", "hello", "/", "/remembering x", "/memories", "remember fact -- t -- b", "//memory", "/help"]
)
def test_what_is_no_command_of_ours_is_left_to_others(text: str, run: Run) -> None:
    assert run(text) is None


def test_help_names_every_command(run: Run) -> None:
    assert run("/memory help") == run("/memory -h") == run("/MEMORY --HELP")
    for name in (*COMMANDS, *bundles.COMMANDS):
        assert f"/memory {name}" in HELP or f"`{name}`" in HELP
    assert "project, shared, global" in run("/memory help")


def test_the_own_scope_is_called_as_cantrip_does(long_term: LongTermMemory) -> None:
    commands = Commands(long_term, "charm")
    assert commands.run("/remember fact -- t -- b") == "Wrote fact memory: **t** (charm)"
    assert commands.run("/memory project") == commands.run("/memory charm") == "- **t** (fact, charm)"
    assert "charm, shared, global" in commands.help()
    with pytest.raises(ConfigError):
        Commands(long_term, "my charm")


HOSTILE = [
    "a\nb", "**bold**", "[click](javascript:x)", "`code`", "```\nfence", "<script>", "# head\n# head", "_Error: no_",
    "a\u202eb\u200bc", "</memory>", "| a | b |", "x" * 5000, "&lt;b&gt;", "~~gone~~", "\\", "a\u2028b", "!\\[i](u)",
]  # fmt: skip


def test_what_others_wrote_does_nothing_in_an_answer(run: Run, long_term: LongTermMemory) -> None:
    for title in HOSTILE:
        check_hostile(title, run, long_term)
        assert long_term.forget(title) is not None


def check_hostile(title: str, run: Run, long_term: LongTermMemory) -> None:
    long_term.remember("fact", title, title, tags=[title], source="import")
    for answer in (run("/memory"), run("/memory search a"), run(f"/forget {title!r}x"), run("/memory revalidate")):
        assert len(answer.splitlines()) == 1 and len(answer) < 1000
        assert "\u202e" not in answer and "\u200b" not in answer
    listed = run("/memory")
    assert listed.startswith(f"- **{markdown(title)}** (fact, project)") and listed.endswith("needs review")
    for sign in "`<>[]|~&":
        for at, character in enumerate(markdown(title)):
            assert character != sign or markdown(title)[at - 1] == "\\"
    shown = run("/memory show " + '"' + title.replace("\\", "\\\\").replace('"', '\\"') + '"')
    fence = shown.splitlines()[-1]
    assert shown.count(f"\n{fence}\n") == 1 and shown.endswith(fence)


@QUICK
@given(st.text(max_size=40) | st.text(st.sampled_from("ab `"), max_size=12))
def test_code_is_closed_by_nothing_inside(text: str) -> None:
    shown = code(text)
    fence = shown[: len(shown) - len(shown.lstrip("`"))]
    inner = shown[len(fence) : -len(fence)]
    assert shown.endswith(fence) and fence and "\n" not in shown and f"{fence}" not in f" {inner} ".split()


@QUICK
@given(st.text(st.sampled_from("ab'\"\\ \n-x") | st.characters(), max_size=30))
def test_any_text_has_words_or_an_answer(text: str) -> None:
    fields_of(text)
    try:
        words = words_of(text)
    except CommandError as error:
        assert "not closed" in str(error)
    else:
        if not set(text) & set("'\"\\"):
            assert [word.text for word in words] == text.split()


@QUICK
@given(st.sampled_from(["/remember ", "/forget ", "/memory ", "/memory show ", "/memory undo "]), st.text(max_size=30))
def test_any_command_has_an_answer(command: str, text: str) -> None:
    with open_memory("memory://") as memory:
        assert isinstance(memory.long_term("p", scopes={"global": False}).commands.run(command + text), str)
