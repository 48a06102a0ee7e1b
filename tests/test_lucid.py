"""The bridge to the external command ``lucid``, tried with a command that the tests write."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workers import child

from charm_checkpoint import ConfigError, Memory, StoreUnavailable
from charm_checkpoint.items.flow import Flow, Work
from charm_checkpoint.long_term.lucid import outbox as outbox_module
from charm_checkpoint.long_term.lucid.bridge import LucidBridge
from charm_checkpoint.long_term.lucid.outbox import Outbox
from charm_checkpoint.long_term.lucid.output import MOST_BYTES, argument, new_lines, parse, type_of
from charm_checkpoint.long_term.lucid.process import call_program
from charm_checkpoint.long_term.lucid.settings import VARIABLES, LucidSettings
from charm_checkpoint.long_term.steps import arun, run

FAKE = """
import json, os, sys, time
here = os.path.dirname(os.path.abspath(__file__))
def read(name, default=""):
    try:
        with open(os.path.join(here, name), encoding="utf-8") as file: return file.read()
    except FileNotFoundError: return default
with open(os.path.join(here, "calls"), "a", encoding="utf-8", errors="surrogateescape") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
until = time.monotonic() + float(read("sleep", "0"))
while time.monotonic() < until and read("sleep"): time.sleep(0.01)
refused = read("refused")
if refused and refused in sys.argv[2]: sys.exit("refused, password=hunter2")
if read("fails"): sys.exit(3)
if sys.argv[1] == "context": print(read("answer"))
"""


class Fake:
    """The command: it notes down its calls, and does what files beside it say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.script = folder / "lucid.py"
        self.script.write_text(FAKE, "utf-8")
        self.command = (sys.executable, "-I", "-S", str(self.script))

    def executable(self) -> str:
        """Return one file that is the command."""
        file = self.folder / "lucid"
        file.write_text(f"#!{sys.executable} -IS\n{FAKE}", "utf-8")
        file.chmod(0o755)
        return str(file)

    def says(self, **files: object) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(str(text), "utf-8")

    def works_again(self) -> None:
        for name in ("fails", "refused", "sleep"):
            (self.folder / name).unlink(missing_ok=True)

    @property
    def calls(self) -> list[list[str]]:
        try:
            return [json.loads(line) for line in (self.folder / "calls").read_text("utf-8").splitlines()]
        except FileNotFoundError:
            return []

    @property
    def stored(self) -> list[str]:
        return [arguments[1] for arguments in self.calls if arguments[0] == "store"]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path / "lucid")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(url=f"sqlite:///{tmp_path}/charm.db") as memory:
        yield memory


@pytest.fixture(params=["blocking", "async"])
def drive(request: pytest.FixtureRequest, memory: Memory) -> Callable[[Flow[Any]], Any]:
    """Return what drives a flow to its result, in either way."""
    if request.param == "blocking":
        return run
    return lambda flow: asyncio.run(arun(flow))


class Place:
    """A bridge beside a store, with memories in a dict."""

    def __init__(self, memory: Memory, command: tuple[str, ...], **given: Any) -> None:
        options = {"command": command, "recall_timeout": 20.0, "store_timeout": 20.0, **given}
        self.settings = LucidSettings(**options)
        self.outbox = Outbox(
            memory.get_langgraph_store(), ("outbox",), self.settings.outbox_entries, self.settings.lease
        )
        self.known: dict[str, dict[str, Any]] = {}
        self.bridge = LucidBridge(self.settings, Path("/the project"), self.outbox, self._read)

    def _read(self, scope: str, title: str) -> Flow[Mapping[str, Any] | None]:
        yield Work(lambda: None, self._nothing)
        return self.known.get(title)

    async def _nothing(self) -> None:
        pass

    def remember(self, title: str, body: str, category: str | None = None) -> Flow[None]:
        entry = yield from self.bridge.announce("project", title)
        self.known[title] = {"body": body, "kind": "fact", "category": category}
        yield from self.bridge.confirm(entry)

    def settled(self) -> None:
        assert self.bridge.wait(60)


@pytest.fixture
def place(memory: Memory, fake: Fake) -> Iterator[Callable[..., Place]]:
    made: list[Place] = []

    def make(**given: Any) -> Place:
        made.append(Place(memory, fake.command, **given))
        return made[-1]

    yield make
    for each in made:
        each.settled()


# ------------------------------------------------------------------------------------------------------- settings


def test_without_variables_it_is_as_the_page_says() -> None:
    settings = LucidSettings.from_environment({})
    assert settings == LucidSettings(("lucid",), 200, 3, 0.12, 0.8, 15.0)


def test_the_six_variables() -> None:
    settings = LucidSettings.from_environment({
        "ZEROCLAW_LUCID_CMD": "/opt/my lucid",
        "ZEROCLAW_LUCID_BUDGET": "300",
        "ZEROCLAW_LUCID_LOCAL_HIT_THRESHOLD": "2",
        "ZEROCLAW_LUCID_RECALL_TIMEOUT_MS": "250",
        "ZEROCLAW_LUCID_STORE_TIMEOUT_MS": "900",
        "ZEROCLAW_LUCID_FAILURE_COOLDOWN_MS": "5000",
    })  # fmt: skip
    assert settings == LucidSettings(("/opt/my lucid",), 300, 2, 0.25, 0.9, 5.0)


def test_what_was_given_counts_where_no_variable_says_anything() -> None:
    env = {"ZEROCLAW_LUCID_BUDGET": "7", "ZEROCLAW_LUCID_CMD": " ", "ZEROCLAW_LUCID_RECALL_TIMEOUT_MS": ""}
    settings = LucidSettings.from_environment(env, command=("other",), budget=9, recall_timeout=3.0)
    assert (settings.command, settings.budget, settings.recall_timeout) == (("other",), 7, 3.0)


@pytest.mark.parametrize(
    ("setting", "least"),
    [("budget", 1), ("local_hit_threshold", 1), ("recall_timeout", 0.02), ("store_timeout", 0.05), ("cooldown", 0.1)],
)
def test_numbers_have_a_minimum(setting: str, least: float) -> None:
    name = VARIABLES[setting].name
    assert getattr(LucidSettings.from_environment({name: "0"}), setting) == least
    assert getattr(LucidSettings.from_environment({name: "9" * 5000}), setting) > 10_000
    for wrong in ("12s", "-5", "1.5", "²"):
        with pytest.raises(ConfigError, match=name):
            LucidSettings.from_environment({name: wrong})


# ------------------------------------------------------------------------------------------- what it is given and says


def test_only_lines_between_the_marks_count() -> None:
    output = (
        "- [decision] before\n  <lucid-context>\r\nprose\n- [decision] Use Postgres\n-[bug] no blank\n"
        "- [] nothing named\n- [Visual memory] a chart\n- [bug]   \n- [My own] x: [y] - z  \n</lucid-context>\n"
        "- [context] after\n"
    )
    found = parse(output)
    assert [(line.text, line.category) for line in found] == [
        ("Use Postgres", "core"),
        ("nothing named", ""),
        ("a chart", "visual"),
        ("x: [y] - z", "my own"),
    ]
    assert [line.rank for line in found] == [0, 1, 2, 3]
    assert [round(line.score, 2) for line in found] == [1.0, 0.95, 0.9, 0.85]
    assert parse("<lucid-context>\n" + "- [a] b\n" * 100)[-1].score == 0.1
    assert parse("") == parse("<lucid-context>\n</lucid-context>") == []


@pytest.mark.parametrize(
    ("label", "category"),
    [
        ("Decision", "core"), ("learning", "core"), ("SOLUTION", "core"), ("context", "conversation"),
        ("Conversation", "conversation"), ("bug", "daily"), ("visual-note", "visual"), ("recipe", "recipe"),
    ],
)  # fmt: skip
def test_a_label_is_a_category(label: str, category: str) -> None:
    [line] = parse(f"<lucid-context>\n- [{label}] text\n</lucid-context>")
    assert line.category == category


def test_a_category_is_a_type() -> None:
    assert [type_of(name, "fact") for name in ("core", "daily", "conversation", "recipes")] == [
        "decision", "context", "conversation", "learning",
    ]  # fmt: skip
    assert [type_of(None, kind) for kind in ("fact", "rule", "lesson")] == ["decision", "decision", "learning"]


def test_what_is_known_is_not_told_again() -> None:
    lines = parse(
        "<lucid-context>\n- [a] DB: Use  postgres\n- [a] use Postgres\n- [b] New\n- [c] new\n</lucid-context>"
    )
    assert [line.text for line in new_lines(lines, [("db", "Use postgres")])] == ["New"]
    assert [line.text for line in new_lines(lines, [])] == ["DB: Use  postgres", "use Postgres", "New"]


@given(st.text(max_size=50), st.lists(st.text(max_size=20), max_size=6))
@settings(max_examples=100, deadline=None)
def test_whatever_is_said(text: str, lines: list[str]) -> None:
    given_over = argument(text)
    assert not given_over.startswith("-") and "\0" not in given_over
    assert given_over.encode().decode() == given_over
    assert argument(given_over) == given_over, "once is enough"
    answer = "\n".join(f"- [{text}] {line}" for line in lines)
    found = parse(f"<lucid-context>\n{answer}\n</lucid-context>")
    assert [line.rank for line in found] == list(range(len(found)))
    fresh = new_lines(found, [(text, text)])
    assert len({" ".join(line.text.lower().split()) for line in fresh}) == len(fresh)
    assert new_lines(fresh, [("", line.text) for line in fresh]) == []


@pytest.mark.parametrize("text", ["--help", "-", "/?", "a\0b", "\ud800x", "é" * MOST_BYTES, "$(id) `id` ; & |", ""])
def test_any_text_is_an_argument(text: str, fake: Fake) -> None:
    run(iter_work(call_program(fake.command, ["store", argument(text)], 20)))
    [[_, given]] = fake.calls
    assert not given.startswith("-")
    assert len(given.encode()) <= MOST_BYTES + 1
    if text.isascii() and "\0" not in text:
        assert given.strip() == text


def iter_work(work: Work) -> Flow[Any]:
    return (yield work)


# ------------------------------------------------------------------------------------------------------- processes


def test_a_program_that_is_missing(drive: Callable[[Flow[Any]], Any]) -> None:
    with pytest.raises(StoreUnavailable, match="no-such-lucid cannot be started"):
        drive(iter_work(call_program(["no-such-lucid"], [], 1)))


def test_a_failure_tells_why_and_no_secret(drive: Callable[[Flow[Any]], Any], fake: Fake) -> None:
    fake.says(refused="x")
    with pytest.raises(StoreUnavailable, match="ended with 1: refused") as failure:
        drive(iter_work(call_program(fake.command, ["store", "x"], 20)))
    assert "hunter2" not in str(failure.value)


@pytest.mark.skipif(os.name == "nt", reason="asks the system for a group of processes, as POSIX has them")
def test_a_program_that_is_late_is_killed_with_all_that_it_started(
    drive: Callable[[Flow[Any]], Any], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    # The grandchild keeps the pipes, and ends long after the time.
    code = (
        "import os, subprocess, sys, time; "
        "late = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); "
        f"open({str(pids)!r} + '.new', 'w').write(f'{{os.getpid()}} {{late.pid}}'); "
        f"os.rename({str(pids)!r} + '.new', {str(pids)!r}); time.sleep(300)"
    )
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="did not answer in"):
        drive(iter_work(call_program([sys.executable, "-I", "-S", "-c", code], [], 1.0)))
    assert time.monotonic() - began < 60
    if pids.exists():  # else the machine was too slow for it to start
        for pid in map(int, pids.read_text().split()):
            wait_for(lambda pid=pid: not is_running(pid))  # type: ignore[misc]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")  # nobody's, not ours


def wait_for(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not done():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_cancelled_call_kills_the_program(fake: Fake) -> None:
    fake.says(sleep=300)

    async def cancelled() -> None:
        task = asyncio.create_task(arun(iter_work(call_program(fake.command, ["context", "x"], 300))))
        await asyncio.to_thread(wait_for, lambda: bool(fake.calls))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())  # which waits for the thread of the call
    assert not [thread for thread in threading.enumerate() if thread.name == "charm-lucid"]


# ---------------------------------------------------------------------------------------------------------- recall

ANSWER = "<lucid-context>\n- [decision] Deploys go out on Tuesdays\n- [bug] The lift is stuck\n</lucid-context>"


def test_it_is_asked_with_query_budget_and_project(
    drive: Callable[[Flow[Any]], Any], place: Callable[..., Place], fake: Fake
) -> None:
    fake.says(answer=ANSWER)
    found = drive(place(budget=77).bridge.recall("when do we deploy?", [], 5))
    assert [line.text for line in found] == ["Deploys go out on Tuesdays", "The lift is stuck"]
    assert fake.calls == [["context", "when do we deploy?", "--budget=77", f"--project={Path('/the project')}"]]


@pytest.mark.parametrize(
    ("hits", "limit", "asked"), [(0, 0, 0), (0, 1, 1), (1, 1, 0), (2, 5, 1), (3, 5, 0), (4, 5, 0), (2, 2, 0)]
)
def test_enough_local_hits_spare_the_command(
    hits: int, limit: int, asked: int, memory: Memory, place: Callable[..., Place], fake: Fake
) -> None:
    fake.says(answer=ANSWER)
    local = [(f"title {n}", f"body {n}") for n in range(hits)]
    found = run(place().bridge.recall("query", local, limit))
    assert len(fake.calls) == asked
    assert len(found) == min(2, limit - hits) * asked


def test_after_a_failure_it_is_left_alone_for_a_while(
    drive: Callable[[Flow[Any]], Any], place: Callable[..., Place], fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.says(answer=ANSWER, fails="yes")
    bridge = place(cooldown=300.0).bridge
    assert [drive(bridge.recall("query", [], 5)) for _ in range(3)] == [[], [], []]
    assert len(fake.calls) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    fake.works_again()
    bridge._recalls._until = 0.0  # the time is over
    assert len(drive(bridge.recall("query", [], 5))) == 2


def test_a_late_answer_is_none(place: Callable[..., Place], memory: Memory, fake: Fake) -> None:
    fake.says(answer=ANSWER, sleep=300)
    assert run(place(recall_timeout=0.05).bridge.recall("query", [], 5)) == []


# ----------------------------------------------------------------------------------------------------------- store


def test_what_is_remembered_is_told_in_order(
    drive: Callable[[Flow[Any]], Any], place: Callable[..., Place], fake: Fake
) -> None:
    here = place()
    drive(here.remember("db", "Use Postgres", "core"))
    here.settled()
    drive(here.remember("-rf", "dash", "recipes"))
    here.settled()
    project = f"--project={Path('/the project')}"
    assert fake.calls == [
        ["store", "db: Use Postgres", "--type=decision", project],
        ["store", " -rf: dash", "--type=learning", project],
    ]
    assert drive(here.outbox.waiting()) == []


def test_nobody_waits_for_the_command(
    drive: Callable[[Flow[Any]], Any], place: Callable[..., Place], fake: Fake
) -> None:
    fake.says(sleep=300)
    here = place(store_timeout=0.5, cooldown=300.0)
    drive(here.remember("db", "Use Postgres"))
    assert [entry.title for entry in drive(here.outbox.waiting())] == ["db"]
    assert not here.bridge.wait(0.0)
    here.settled()
    assert [entry.attempts for entry in drive(here.outbox.waiting())] == [1]


def test_what_waits_is_sent_by_whoever_comes_next(
    drive: Callable[[Flow[Any]], Any], place: Callable[..., Place], fake: Fake
) -> None:
    fake.says(fails="yes")
    here = place(cooldown=300.0)
    for n in range(4):
        drive(here.remember(f"memory {n}", f"body {n}"))
    here.settled()
    assert len(fake.stored) == 1, "the others wait for the end of the cooldown"
    fake.works_again()
    drive(here.bridge.outbox.release())
    other = place()  # as another process would
    other.known = here.known
    del other.known["memory 2"]  # forgotten meanwhile
    other.known["memory 1"]["body"] = "body changed"
    drive(other.bridge.recall("", [], 1))
    other.settled()
    assert fake.stored[1:] == ["memory 0: body 0", "memory 1: body changed", "memory 3: body 3"]
    assert drive(other.outbox.count()) == 0


def test_of_one_memory_the_last_is_sent(place: Callable[..., Place], memory: Memory, fake: Fake) -> None:
    here = place()
    here.bridge._stores.failed()
    for body in ("one", "two", "three"):
        run(here.remember("db", body))
    assert fake.stored == []
    here.bridge._stores.worked()
    assert run(here.bridge.send()) == 1
    assert fake.stored == ["db: three"]


def test_one_that_is_refused_holds_up_no_others(
    place: Callable[..., Place], memory: Memory, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.says(refused="poison")
    here = place(cooldown=0.0)
    here.bridge._look_at = float("inf")
    for title in ("poison", "fine"):
        entry = run(here.bridge.announce("project", title))
        here.known[title] = {"body": "x", "kind": "fact"}
        run(here.outbox.ready(entry))
    sent = [run(here.bridge.send()) for _ in range(5)]
    assert sent == [0, 0, 0, 0, 1]
    assert fake.stored[-1] == "fine: x"
    assert run(here.outbox.waiting()) == []
    assert "refuses 'poison'" in caplog.text


def test_only_one_sends_at_a_time(place: Callable[..., Place], memory: Memory, fake: Fake) -> None:
    one, other = place(), place(lease=0.001)
    assert run(one.outbox.take())
    assert not run(other.outbox.take())
    assert run(other.bridge.send()) == 0
    run(one.outbox.release())
    assert run(other.outbox.take())
    time.sleep(0.01)
    assert run(one.outbox.take()), "a lease that has run out is anybody's"
    run(one.outbox.release())


def test_several_that_send_at_once_send_each_once(place: Callable[..., Place], memory: Memory, fake: Fake) -> None:
    several = [place() for _ in range(3)]
    for here in several:
        here.bridge._look_at = float("inf")
        here.known = {f"memory {n}": {"body": "x", "kind": "fact"} for n in range(4)}
    for n in range(4):
        run(several[0].outbox.ready(run(several[0].bridge.announce("project", f"memory {n}"))))
    threads = [threading.Thread(target=lambda here=here: run(here.bridge.send())) for here in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fake.stored == [f"memory {n}: x" for n in range(4)]
    assert run(several[0].outbox.count()) == 0


def test_no_more_wait_than_there_is_room_for(
    place: Callable[..., Place], memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    here = place(outbox_entries=3)
    for n in range(5):
        run(here.bridge.announce("project", f"memory {n}"))
    assert [entry.title for entry in run(here.outbox.waiting())] == [
        "memory 2", "memory 3", "memory 4",
    ]  # fmt: skip
    assert "more than 3" in caplog.text


def test_what_was_never_made_ready_is_sent_later(
    place: Callable[..., Place], memory: Memory, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = place()
    for title in ("written", "never written"):
        run(here.bridge.announce("project", title))
    here.known["written"] = {"body": "before the end", "kind": "fact"}
    assert run(here.bridge.send()) == 0
    monkeypatch.setattr(outbox_module, "GRACE", -1)
    assert run(here.bridge.send()) == 1
    assert fake.stored == ["written: before the end"]
    assert [entry.title for entry in run(here.outbox.waiting())] == ["never written"]


def test_what_waits_survives_sigkill(place: Callable[..., Place], memory: Memory, fake: Fake, tmp_path: Path) -> None:
    fake.says(sleep=300)
    arguments = (f"sqlite:///{tmp_path}/charm.db", json.dumps(fake.command))
    with child("lucid_sender.py", *arguments, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout is not None and process.stdout.readline().strip() == "waiting"
        wait_for(lambda: len(fake.stored) == 1)  # it is in the midst of the first
        process.kill()
        process.wait()
    fake.works_again()
    here = place()
    here.known = {f"memory {n}": {"body": f"body {n}", "kind": "fact"} for n in range(3)}
    assert run(here.bridge.send()) == 0, "the one who died has the lease for a while"
    here.outbox._name = "later"
    memory.get_langgraph_store().delete(("outbox", "lease"), "lease")  # as if it had run out
    assert run(here.bridge.send()) == 3
    assert fake.stored == ["memory 0: body 0", *(f"memory {n}: body {n}" for n in range(3))]
