"""Cantrip's page on durable memory, run from its first paragraph to its last.

Each sentence of that page which promises something stands in `PROMISES`, under the part of the page and its number
there, with a few words of it. What is asserted of it is in a ``with said(...)`` of that name. Where the real Cantrip
does not keep a promise, or keeps it badly, the comment says what, and the assertion is of what is done here.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from charm_checkpoint import open_memory
from charm_checkpoint.agents.auto_writer import AutoWriter
from charm_checkpoint.errors import AmbiguousMemory
from charm_checkpoint.long_term.commands.commands import Commands
from charm_checkpoint.long_term.markdown.places import global_folder
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode

PROMISES = {
    "remembers.1": "separate from conversation history; memory survives",
    "remembers.2": "three scopes",
    "remembers.3": "charm-scope: one charm, alongside the session",
    "remembers.4": "global-scope: Markdown with YAML frontmatter",
    "remembers.5": "override via an environment variable",
    "remembers.6": "shared: committed to git, on the next pull",
    "remembers.7": "the same format, below the charm",
    "remembers.8": "off by default",
    "remembers.9": "each memory has a kind",
    "record.1": "directly into the chat",
    "record.2": "any punctuation",
    "record.3": "a lesson, scoped to this charm",
    "record.4": "a rule, shared globally",
    "record.5": "a fact, charm-scoped by default",
    "record.6": "confirms with a line",
    "record.7": "immediately available in the next prompt",
    "writer.1": "detects, consults, writes automatically",
    "writer.2": "no need to call for every correction",
    "writer.3": "most trivial events collapse to a skip",
    "writer.4": "appear inline",
    "writer.5": "file paths are recorded as citations",
    "list.1": "across both scopes",
    "list.2": "just charm-scope",
    "list.3": "just global",
    "list.4": "title, kind, scope and tags",
    "list.5": "bodies are not included",
    "forget.1": "exact-title delete",
    "forget.2": "multi-word titles",
    "forget.3": "disambiguate",
    "forget.4": "refuses rather than guessing",
    "revalidation.1": "captured memories store hashes",
    "revalidation.2": "every citation is re-checked",
    "revalidation.3": "still matches: active",
    "revalidation.4": "drifted or gone: quarantined, not in the prompt",
    "revalidation.5": "no acting on stale guidance",
    "revalidation.6": "recover automatically",
    "ttl.1": "no activity for 60 days: archived",
    "ttl.2": "hidden from the prompt, but remain",
    "ttl.3": "after 180 days: candidates for deletion",
    "ttl.4": "override the defaults per deployment",
    "export.1": "portable, for the skills loader",
    "export.2": "every memory as a section under frontmatter",
    "export.3": "charm-specific paths are replaced",
    "export.4": "hashes are stripped",
    "export.5": "obvious secrets are scrubbed",
    "export.6": "false positives are intentional",
    "export.7": "the response notes the count",
    "export.8": "one file per memory",
    "import.1": "the default target is global",
    "import.2": "into the current charm",
    "import.3": "auto-detects the format",
    "import.4": "re-importing is safe",
    "trouble.1": "only active memories",
    "trouble.2": "the list shows a quarantined status",
    "trouble.3": "re-save it, or delete it",
    "trouble.4": "recover by importing the bundle",
    "trouble.5": "a gate on what is captured",
    "trouble.6": "forget it, and it is not captured again",
}


@contextmanager
def said(place: str) -> Iterator[None]:
    """Name the sentence that an assertion is of, should it fail."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{place} ({PROMISES[place]}): {error}") from error


def test_every_promise_of_the_page_is_kept() -> None:
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "said"]
    assert sorted(set(named)) == sorted(PROMISES) and len(PROMISES) == 58
    for part in {place.split(".")[0] for place in PROMISES}:
        numbers = [int(place.split(".")[1]) for place in PROMISES if place.startswith(f"{part}.")]
        assert numbers == list(range(1, len(numbers) + 1))


# ------------------------------------------------------------------------------------------------------- a chat's world


class Chat(NamedTuple):
    """A charm's folder, its memories, and a chat about it."""

    url: str
    charm: Path
    memories: InMode
    commands: InMode
    mode: CallMode

    @property
    def raw(self) -> LongTermMemory:
        """The memories, for blocking calls."""
        return self.memories.raw  # type: ignore[no-any-return]

    def type(self, text: str) -> str:
        """Return the answer to a command."""
        answer = self.commands.run(text)
        assert isinstance(answer, str)
        return answer

    def is_in_prompt(self, words: str, message: str) -> bool:
        """Tell whether something is in what a model is shown before a message."""
        return words in self.memories.context(message, min_score=0.1)


ROWS = (
    ("sqlite", "sqlite:///{}/charm.db", "blocking"),
    ("sqlite", "sqlite:///{}/charm.db", "async"),
    ("ram", "memory://", "blocking"),
    ("files", "file://{}/store", "async"),
)

Open = Callable[..., Chat]


@pytest.fixture(params=ROWS, ids=[f"{name}-{mode}" for name, _, mode in ROWS])
def open_chat(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Return a function that opens the memories of a charm, as another process would."""
    _, url, mode_name = request.param
    monkeypatch.delenv("CHARM_MEMORY_DIR", raising=False)
    monkeypatch.setenv("CANTRIP_MEMORY_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("CHARM_STATE_DIR", str(tmp_path / "states"))
    mode = CALL_MODES[mode_name]()
    opened: list[Any] = []

    def made(charm: str = "my-charm", **settings: Any) -> Chat:
        folder = tmp_path / charm
        folder.mkdir(exist_ok=True)
        same = opened and url == "memory://"  # which is this process's alone
        memory = opened[0] if same else open_memory(url.format(tmp_path))
        opened.append(memory)
        long_term = memory.long_term(folder, **settings)
        # Cantrip calls the charm's own scope by that word.
        return Chat(
            url.format(tmp_path), folder, InMode(long_term, mode), InMode(Commands(long_term, "charm"), mode), mode
        )

    yield made
    for memory in opened:
        mode.run(memory.close, memory.aclose)
    mode.close()


@pytest.fixture
def chat(open_chat: Open) -> Chat:
    return open_chat()


EXAMPLES = (
    "/remember lesson -- uv-lock-stale -- Run `uv lock` before charmcraft pack.",
    "/remember rule global -- never-force-push -- Do not force-push to main.",
    "/remember fact -- postgres-version -- Workload pins Postgres 16.",
)


# --------------------------------------------------------------------------------------------- what Cantrip remembers


def test_what_is_remembered(open_chat: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my-charm" / ".cantrip-shared" / "memory").mkdir(parents=True)
    first = open_chat()
    for scope in ("charm", "global", "shared"):
        first.memories.remember("fact", f"in-{scope}", f"Kept in {scope}.", scope)
    with said("remembers.1"):
        again = open_chat()
        assert again.memories.read("in-charm").body == "Kept in charm."
    with said("remembers.2"):
        assert list(first.raw.scopes) == ["project", "shared", "global"]
    other = open_chat("other-charm")
    with said("remembers.3"):  # Cantrip has a database for each charm; here one store may hold those of many
        assert other.memories.read("in-charm") is None and first.raw.scope("charm") is first.raw.scope("project")
    with said("remembers.4"):
        assert other.memories.read("in-global").body == "Kept in global."
        text = (tmp_path / "global" / "in-global.md").read_text(encoding="utf-8")
        assert text.startswith("---\ntitle: in-global\nkind: fact\n") and text.endswith("---\n\nKept in global.\n")
        (tmp_path / "config" / "cantrip" / "memory").mkdir(parents=True)
        configured = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "APPDATA": str(tmp_path / "config")}
        assert global_folder(configured) == tmp_path / "config" / "cantrip" / "memory"  # ours, if there is one
    with said("remembers.5"):
        monkeypatch.setenv("CANTRIP_MEMORY_DIR", str(tmp_path / "elsewhere"))
        assert open_chat().memories.read("in-global") is None
        monkeypatch.setenv("CANTRIP_MEMORY_DIR", str(tmp_path / "global"))
    file = first.charm / ".cantrip-shared" / "memory" / "in-shared.md"
    with said("remembers.7"):
        assert file.read_text(encoding="utf-8").startswith("---\ntitle: in-shared\n")
    with said("remembers.6"):
        # A pull brings what others wrote at once; here a model is shown it once somebody looked at it, or from the
        # beginning with trust_shared=True, as in Cantrip.
        pulled = file.with_name("pulled.md")
        pulled.write_text("---\ntitle: pulled\nkind: rule\n---\n\nReview every zebra.\n", encoding="utf-8")
        assert first.memories.read("pulled").needs_review
        assert not first.is_in_prompt("Review every zebra.", "which zebra to review?")
        assert open_chat(trust_shared=True).is_in_prompt("Review every zebra.", "which zebra to review?")
        first.memories.approve("pulled")
        assert first.is_in_prompt("Review every zebra.", "which zebra to review?")
    with said("remembers.8"):
        # There it is a switch, CANTRIP_TEAM_MEMORY_WRITES, for all of a charm's memories; here who writes one says so.
        before = {path.name for path in file.parent.iterdir()}
        first.type(EXAMPLES[2])
        assert {path.name for path in file.parent.iterdir()} == before
        assert first.type("/remember fact shared -- team -- Four of us.") == "Wrote fact memory: **team** (shared)"
        assert (file.parent / "team.md").is_file()
    with said("remembers.9"):
        for kind in ("fact", "rule", "lesson"):
            assert first.memories.remember(kind, f"a {kind}", "It says so.").kind == kind
        assert "there are fact, rule, lesson" in first.type("/remember opinion -- t -- b")


# ------------------------------------------------------------------------------------------------- record, list, forget


def test_record_a_memory_manually(chat: Chat) -> None:
    answers = [chat.type(example) for example in EXAMPLES]
    with said("record.1"):
        assert all(answer.startswith("Wrote ") for answer in answers)
    with said("record.3"):
        entry = chat.memories.read("uv-lock-stale")
        assert (entry.kind, entry.scope, entry.body) == ("lesson", "project", "Run `uv lock` before charmcraft pack.")
    with said("record.4"):
        assert (chat.memories.read("never-force-push").kind, chat.memories.read("never-force-push").scope) == (
            "rule",
            "global",
        )
    with said("record.5"):
        assert chat.memories.read("postgres-version").scope == "project"
    with said("record.6"):  # the title is bold, and the line has no full stop, as in Cantrip's code
        assert answers[1] == "Wrote rule memory: **never-force-push** (global)"
    with said("record.7"):
        assert chat.is_in_prompt("Workload pins Postgres 16.", "Which Postgres does the workload pin?")
    with said("record.2"):  # Cantrip's does not take the separator itself, in titles and in bodies
        chat.type('/remember fact -- "a -- b": c; d? -- e -- f, "g" & \'h\' -- i')
        assert chat.memories.read('"a').body == 'b": c; d? -- e -- f, "g" & \'h\' -- i'
        chat.type('/remember fact -- "a -- b" -- c -- d')
        assert chat.memories.read("a -- b").body == "c -- d"


def titles(listed: str) -> set[str]:
    return {line.split("**")[1] for line in listed.splitlines()}


def test_list_and_search(chat: Chat) -> None:
    for example in EXAMPLES:
        chat.type(example)
    chat.memories.remember("rule", "tagged", "With tags.", scope="global", tags=["git", "ci"])
    with said("list.1"):
        assert len(chat.type("/memory").splitlines()) == 4
    with said("list.2"):
        assert titles(chat.type("/memory charm")) == {"uv-lock-stale", "postgres-version"}
    with said("list.3"):
        assert {line.split("**")[1] for line in chat.type("/memory global").splitlines()} == {
            "never-force-push",
            "tagged",
        }
    with said("list.4"):
        assert "- **tagged** (rule, global) \\[git, ci\\]" in chat.type("/memory").splitlines()
        assert "- **uv-lock-stale** (lesson, charm)" in chat.type("/memory").splitlines()
    with said("list.5"):
        assert "Workload" not in chat.type("/memory")
        assert chat.memories.read("postgres-version").body == "Workload pins Postgres 16."
        assert "Workload pins Postgres 16." in chat.type("/memory show postgres-version")  # which Cantrip has not


def test_forget_a_memory(chat: Chat) -> None:
    chat.type(EXAMPLES[0])
    for text in ("charm -- never force push -- a", "charm -- shared title -- b", "global -- shared title -- c"):
        chat.type(f"/remember fact {text}")
    with said("forget.1"):
        assert "no memory" in chat.type("/forget UV-lock-stale")
        assert chat.type("/forget uv-lock-stale") == "Forgot memory: **uv-lock-stale** (charm)"
        assert chat.memories.read("uv-lock-stale") is None
    with said("forget.2"):
        assert chat.type('/forget "never force push"') == "Forgot memory: **never force push** (charm)"
        # They do not really need them, there or here; an apostrophe breaks nothing here.
        chat.type("/remember fact -- don't push -- a")
        assert chat.type("/forget don't push") == "Forgot memory: **don't push** (charm)"
    with said("forget.4"):
        assert "ambiguous" in chat.type('/forget "shared title"')
        with pytest.raises(AmbiguousMemory):
            chat.memories.forget("shared title")
        assert len(chat.memories.list()) == 2
    with said("forget.3"):
        assert chat.type('/forget "shared title" charm') == "Forgot memory: **shared title** (charm)"
        assert [entry.scope for entry in chat.memories.list()] == ["global"]


# ------------------------------------------------------------------------------------------------------ the auto-writer


def turn(said: str, *edited: str) -> list[Any]:
    messages: list[Any] = [HumanMessage("Set up the charm."), AIMessage("I chose MySQL."), HumanMessage(said)]
    for number, path in enumerate(edited):
        call = {"name": "edit_file" if number == 0 else "read_file", "args": {"path": path}, "id": f"c{number}"}
        messages += [AIMessage("", tool_calls=[call]), ToolMessage("ok", tool_call_id=f"c{number}")]
    return [*messages, AIMessage("It is done.")]


def answer(title: str = "use-postgres", body: str = "This charm uses Postgres rather than MySQL.") -> str:
    memory = {"kind": "rule", "title": title, "scope": "project", "body": body, "tags": []}
    return json.dumps({"decision": "write", "reasoning": "It saves an hour.", "memory": memory})


def capture(chat: Chat, model: Callable[[str], str], *turns: list[Any], told: list[str] | None = None) -> list[Any]:
    lines = [] if told is None else told
    writer = InMode(AutoWriter(chat.raw, model, on_result=lambda result: lines.append(str(result))), chat.mode)
    for messages in turns:
        writer.observe(messages)
    assert writer.close(20)
    return list(writer.results)


def test_the_auto_writer(chat: Chat) -> None:
    (chat.charm / "charm.py").write_text("db = 'postgres'\n")
    (chat.charm / "seen.py").write_text("x")
    asked: list[str] = []
    told: list[str] = []

    def model(prompt: str) -> str:
        asked.append(prompt)
        return answer() if "postgres instead" in prompt else json.dumps({"decision": "skip", "reasoning": "A trifle."})

    results = capture(
        chat, model, turn("actually, use postgres instead", "charm.py", "seen.py"),
        turn("don\u2019t run charmcraft pack again"), turn("Thanks, that worked"), told=told,
    )  # fmt: skip
    with said("writer.1"):  # the second is typed as people type, with a curly apostrophe, which Cantrip's misses
        assert len(asked) == 2 and [result.decision for result in results] == ["written", "skipped"]
    with said("writer.2"):
        assert chat.memories.read("use-postgres").source == "auto"
    with said("writer.3"):
        assert "five minutes" in asked[0] and results[1].reasoning == "A trifle." and len(chat.memories.list()) == 1
    with said("writer.4"):  # this goes to `on_result`; what was skipped does, too, and is not silent
        assert told[0] == "Wrote rule memory: use-postgres (project)" and "A trifle." in told[1]
    with said("writer.5"):
        # There, all files that tools so much as read in the last 20 messages, by absolute paths, so that any change
        # elsewhere quarantines the memory; here those that the turn changed, relative to the charm.
        [cited] = chat.memories.read("use-postgres").citations
        assert cited.path == "charm.py" and len(cited.sha) == 64


def decisions(chat: Chat, model: Callable[[str], str], said: str) -> list[str]:
    return [result.decision for result in capture(chat, model, turn(said))]


def test_what_the_auto_writer_may_not(chat: Chat) -> None:
    asked: list[str] = []

    def model(prompt: str) -> str:
        asked.append(prompt)
        return answer()

    with said("trouble.5"):
        skip = json.dumps({"decision": "skip", "reasoning": "No."})
        assert decisions(chat, lambda _: skip, "No, the other one") == ["skipped"]
        assert chat.memories.list(status=None) == []
    with said("trouble.6"):  # the page promises this, and no code of Cantrip's does it
        assert decisions(chat, model, "actually, use postgres instead") == ["written"]
        chat.type("/forget use-postgres")
        assert decisions(chat, model, "actually, use postgres instead") == ["forgotten"]
        assert len(asked) == 1  # the same trigger does not even ask
        assert decisions(chat, model, "I said Postgres, not MySQL") == ["forgotten"]
        assert chat.memories.list(status=None) == []


# -------------------------------------------------------------------------------------------------- whether it still is


def test_revalidation(chat: Chat) -> None:
    source = chat.charm / "charm.py"
    source.write_text("db = 'postgres'\n")
    question, shown = "Postgres or MySQL?", "This charm uses Postgres"
    capture(chat, lambda _: answer(), turn("actually, use postgres instead", "charm.py"))
    with said("revalidation.1"):
        assert [len(cited.sha) for cited in chat.memories.read("use-postgres").citations] == [64]
    with said("revalidation.2"):  # and without being asked: what is shown is looked at before, which Cantrip's never is
        [found] = chat.memories.revalidate().clean
        assert [check.holds for check in found.checks] == [True]
    with said("revalidation.3"):
        assert chat.memories.read("use-postgres").status == "active" and chat.is_in_prompt(shown, question)
    source.write_text("db = 'sqlite'\n")
    with said("revalidation.5"):
        assert not chat.is_in_prompt(shown, question)
    with said("revalidation.4"):
        chat.memories.revalidate()
        entry = chat.memories.read("use-postgres")
        assert entry.status == "quarantined" and "charm.py was changed" in entry.reason
        source.unlink()
        chat.memories.revalidate("use-postgres")
        assert "charm.py is gone" in chat.memories.read("use-postgres").reason
        assert not chat.is_in_prompt(shown, question) and chat.memories.recall(question, min_score=0) == []
    with said("trouble.1"):  # there, the global part of the prompt shows the others, too
        assert chat.memories.list() == [] and len(chat.memories.list(status=None)) == 1
    with said("trouble.2"):  # there, /memory lists what is active only, and never a status
        assert chat.type("/memory quarantined").startswith("- **use-postgres** (rule, charm) — quarantined: ")
        assert chat.type("/memory") == "_no memories in any scope_"
        assert "quarantined" in chat.type("/memory show use-postgres")
    source.write_text("db = 'postgres'\n")
    with said("revalidation.6"):
        assert [found.title for found in chat.memories.revalidate().recovered] == ["use-postgres"]
        assert chat.is_in_prompt(shown, question)
    source.write_text("db = 'sqlite'\n")
    chat.memories.revalidate()
    with said("trouble.3"):  # there, its old hashes stay, and the next revalidation quarantines it again
        chat.type("/remember rule -- use-postgres -- This charm uses SQLite now.")
        assert chat.memories.revalidate().ok and chat.memories.read("use-postgres").status == "active"
        chat.type("/forget use-postgres")
        assert chat.memories.list(status=None) == []


def test_ttl(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    for title in ("unused", "used"):
        chat.memories.remember("fact", title, f"The {title} zebra.", scope="global")
    now = chat.raw.now()
    with said("ttl.1"):
        assert chat.memories.sweep(now=now + timedelta(days=59)).archived == ()
        # There, reading a global memory does not count as activity; it does here, and so does being shown.
        swept = chat.memories.sweep(now=now + timedelta(days=61))
        assert {aged.title for aged in swept.archived} == {"unused", "used"}
        chat.memories.restore("used")
    with said("ttl.2"):
        assert not chat.is_in_prompt("The unused zebra.", "the unused zebra?")
        assert chat.memories.read("unused").status == "archived" and "unused" in chat.type("/memory archived")
    with said("ttl.3"):
        archived = chat.memories.read("unused").archived
        assert chat.memories.purge_candidates(now=archived + timedelta(days=179)) == ()
        [candidate] = chat.memories.purge_candidates(now=archived + timedelta(days=181))
        assert candidate.title == "unused" and chat.memories.read("unused") is not None
        assert chat.type("/memory restore unused") == "Restored memory: **unused** (global)"
        assert chat.memories.purge_candidates(now=archived + timedelta(days=181)) == ()
    with said("ttl.4"):
        monkeypatch.setenv("CANTRIP_MEMORY_SOFT_EXPIRY_DAYS", "5")
        monkeypatch.setenv("CANTRIP_MEMORY_HARD_EXPIRY_DAYS", "7")
        later = chat.raw.now() + timedelta(days=6)
        assert len(chat.memories.sweep(now=later).archived) == 2
        archived = chat.memories.read("unused").archived
        assert len(chat.memories.purge_candidates(now=archived + timedelta(days=8))) == 2


# ---------------------------------------------------------------------------------------------------- export and import

SECRETS = (
    "ghp_" + "a1B2" * 9, "gho_" + "a1B2" * 9, "ghs_" + "a1B2" * 9, "github_pat_" + "a1B2" * 10, "AKIA" + "ABCD" * 4,
    "xoxb-" + "123456789012-abcdefABCDEF",
)  # fmt: skip
CONTEXTS = (
    "Authorization: Bearer abcdef0123456789abcdef", "password=hunter2hunter2", "password: 's3cr3t-phrase'",
)  # fmt: skip
PROSE = "The password is asked for twice; the Bearer token, too."


def test_export_a_bundle(chat: Chat, tmp_path: Path) -> None:
    (chat.charm / "charm.py").write_text("x")
    chat.type(EXAMPLES[0])
    chat.type(EXAMPLES[1])
    chat.memories.remember("fact", "cited", f"Look at {chat.charm}/charm.py.", citations=["charm.py"])
    out = tmp_path / "exports"
    text = chat.type(f"/memory export my-charmhub-lessons {out} global")
    bundle = out / "my-charmhub-lessons" / "SKILL.md"
    with said("export.1"):
        head = bundle.read_text(encoding="utf-8").split("---\n")[1]
        assert "name: my-charmhub-lessons\n" in head and "description: " in head
    with said("export.2"):
        written = bundle.read_text(encoding="utf-8")
        assert "## Memory: never-force-push\n" in written and "uv-lock-stale" not in written
        assert "*Kind:* rule" in written and "Do not force-push to main." in written
    with said("export.7"):  # "memories" is never singular, there and here
        assert text == f"Exported 1 memories to `{bundle}`"
        body = "\n".join([*SECRETS, *CONTEXTS])
        chat.memories.remember("fact", "keys", body, scope="global")
        text = chat.type(f"/memory export my-charmhub-lessons {out} global overwrite")
        assert text.startswith(f"Exported 2 memories to `{bundle}` (") and text.endswith(" secret redactions)")
    with said("export.5"):  # there, a quoted password stays, as do all tokens of later forms
        written = bundle.read_text(encoding="utf-8")
        for secret in (*SECRETS, "abcdef0123456789abcdef", "hunter2hunter2", "s3cr3t-phrase"):
            assert secret not in written
    with said("export.6"):  # but prose about a password is left as it is, here
        chat.memories.remember(
            "fact", "prose", "The password is asked for twice; the Bearer token, too.", scope="global"
        )
        assert "redaction" not in chat.type(f"/memory export prose {out / 'prose.md'} global").split("(")[0]
        assert PROSE in (out / "prose.md").read_text(encoding="utf-8")
    chat.type(f"/memory export all {out} charm")
    written = (out / "all" / "SKILL.md").read_text(encoding="utf-8")
    with said("export.3"):
        assert "<CHARM_PATH>/charm.py" in written or "<PROJECT>/charm.py" in written
        assert str(chat.charm) not in written
    with said("export.4"):
        [cited] = chat.memories.read("cited").citations
        assert cited.sha not in written
    with said("export.8"):
        assert chat.type(f"/memory export-md {out}/dump charm") == f"Exported 2 memories under `{out}/dump`"
        names = {path.name for path in (out / "dump").glob("*.md")} - {"MEMORY.md"}
        assert names == {"uv-lock-stale.md", "cited.md"}


def test_import_someone_elses_bundle(chat: Chat, open_chat: Open, tmp_path: Path) -> None:
    for example in EXAMPLES:
        chat.type(example)
    out = tmp_path / "exports"
    chat.type(f"/memory export last-good {out}")
    chat.type(f"/memory export-md {out}/dump")
    bundle = out / "last-good" / "SKILL.md"
    other = open_chat("other-charm")
    with said("import.2"):
        assert other.type(f"/memory import {bundle} charm").splitlines()[0] == "Imported 3 memories into `charm`."
        assert other.memories.read("uv-lock-stale", "project").kind == "lesson"
    with said("import.4"):
        again = other.type(f"/memory import {bundle} charm").splitlines()
        assert again[0] == "Imported 0 memories into `charm`." and again[1].startswith("Skipped 3: ")
    with said("import.1"):  # here, what strangers wrote reaches no prompt before somebody approved it
        assert other.type(f"/memory import {bundle}").splitlines()[0] == "Imported 2 memories into `global`."
        assert other.memories.read("uv-lock-stale", "global").needs_review
        assert not other.is_in_prompt("charmcraft pack", "charmcraft pack?")
    with said("import.3"):
        third = open_chat("third-charm")
        assert third.type(f"/memory import {out}/dump charm").splitlines()[0] == "Imported 3 memories into `charm`."
    with said("trouble.4"):  # or, here, by /memory undo
        chat.type("/forget uv-lock-stale charm")
        assert chat.type(f"/memory import {bundle} charm").splitlines()[0] == "Imported 2 memories into `charm`."
        assert chat.memories.read("uv-lock-stale", "project").body == "Run `uv lock` before charmcraft pack."
        chat.type("/forget postgres-version charm")
        assert chat.type("/memory undo") == "Restored memory: **postgres-version** (charm)"


def test_the_page_in_short_on_every_store(url: str, tmp_path: Path) -> None:
    calls = CALL_MODES["async"]()
    memory = open_memory(url)
    long_term = memory.long_term("my-charm", scopes={"global": ("everybody",)})
    made = InMode(Commands(long_term, "charm"), calls)
    chat = Chat(url, tmp_path, InMode(long_term, calls), made, calls)
    assert [chat.type(example) for example in EXAMPLES] == [
        "Wrote lesson memory: **uv-lock-stale** (charm)",
        "Wrote rule memory: **never-force-push** (global)",
        "Wrote fact memory: **postgres-version** (charm)",
    ]
    assert chat.type("/memory global") == "- **never-force-push** (rule, global)"
    assert "Exported 3 memories" in chat.type(f"/memory export all {tmp_path}")
    assert chat.type("/forget uv-lock-stale") == "Forgot memory: **uv-lock-stale** (charm)"
    assert chat.type("/memory undo") == "Restored memory: **uv-lock-stale** (charm)"
    model = answer("no-mysql", "Databases of this charm are never MySQL.")
    assert decisions(chat, lambda _: model, "actually, not MySQL") == ["written"]
    assert chat.type("/forget no-mysql") == "Forgot memory: **no-mysql** (charm)"
    assert decisions(chat, lambda _: model, "actually, not MySQL") == ["forgotten"]
    calls.run(memory.close, memory.aclose)
    calls.close()
