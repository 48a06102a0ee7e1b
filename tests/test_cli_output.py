"""What the command prints, in a terminal and elsewhere: tables, values, the lines of a history, questions, progress."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from charm_checkpoint import open_memory
from charm_checkpoint.cli import app, asking, completing, listing, main, output, progress
from charm_checkpoint.cli.app import command as whole_command
from charm_checkpoint.cli.graph_lines import Lanes
from charm_checkpoint.cli.groups import did_you_mean
from charm_checkpoint.cli.history import shortened
from charm_checkpoint.cli.listing import COUNTED, counted, shown_limit
from charm_checkpoint.cli.output import Column, fitted, print_json, print_table
from charm_checkpoint.cli.progress import going_on
from charm_checkpoint.cli.sizes import of_all_runs
from charm_checkpoint.cli.values import Drawn, Size, Styled, age, name_of, plural, size
from charm_checkpoint.cli.yamlish import Cut, scalar, yamlish
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.inspection.sizes import ChannelSize


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Let standard output pass for a terminal without colours; return what takes what is shown there."""
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setattr(listing, "is_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda: capsys.readouterr().out


# ----------------------------------------------------------------------------------- tables

COLUMNS = (
    Column("thread"), Column("state"), Column("checkpoints", right=True, extra=True), Column("title", gives=2)
)  # fmt: skip
ROWS: list[list[Any]] = [
    ["7f1d0c1e-0000-4000-8000-000000000000", Styled("waits", "yellow"), 1200, "名前 of a title that is rather long"],
    ["42", "done", 3, "hi\nthere\x1b[31m"],
]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_a_table_fits_the_terminal(columns: int, terminal: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(COLUMNS, ROWS)
    shown = terminal()
    head, line, *rows = shown.splitlines()
    assert head.startswith("thread") and set(line) == {"─"} and len(rows) == 2
    assert all(cell_len(each) <= columns for each in (head, line, *rows))
    assert "\x1b" not in shown
    assert ("1,200" in rows[0]) is (columns >= 80)
    assert ("7f1d0c1e-0000-4000-8000-000000000000" in rows[0]) is (columns >= 40)
    assert ("rather long" in rows[0] and "hi there\\x1b[31m" in rows[1]) is (columns == 200)


def test_ids_are_shortened_last() -> None:
    needed = [36, 5, 11, 40]
    assert fitted(COLUMNS, needed, 200) == needed
    assert fitted(COLUMNS, needed, 80) == [36, 5, 11, 22]
    assert fitted(COLUMNS, needed, 60) == [36, 5, 0, 15]
    assert fitted(COLUMNS, needed, 50) == [36, 5, 0, 0]
    assert fitted(COLUMNS, needed, 40) == [36, 0, 0, 0]
    assert fitted(COLUMNS, needed, 30) == [23, 5, 0, 0]
    assert fitted(COLUMNS, needed, 20) == [13, 5, 0, 0]


def test_one_long_id_takes_nothing_from_the_others() -> None:
    needed = [500, 5, 11, 40]
    assert fitted(COLUMNS, needed, 200) == [138, 5, 11, 40]
    assert fitted(COLUMNS, needed, 500) == [438, 5, 11, 40]
    assert fitted(COLUMNS, needed, 40) == [19, 5, 0, 12]


def test_colours_are_of_terminals_that_want_them(terminal: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    print_table(COLUMNS, ROWS)
    assert "\x1b[33mwaits\x1b[0m" in terminal()
    monkeypatch.setenv("TERM", "dumb")
    print_table(COLUMNS, ROWS)
    assert "\x1b" not in terminal()


def test_elsewhere_a_table_is_lines_with_tabs_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=1)))
    print_table(["a", "b", "c"], [[Size(1_234_567), moment, None], ["x\ty\n", 1200, Styled("z", "red")]])
    assert capsys.readouterr().out == "a\tb\tc\n1234567\t2026-03-01T11:00:00Z\t\nx\\ty\\n\t1200\tz\n"


def test_an_encoding_without_lines_has_others(monkeypatch: pytest.MonkeyPatch) -> None:
    made = io.BytesIO()
    stream = io.TextIOWrapper(made, encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    print_table(["thread", Column("title", gives=2)], [["té", "x" * 60]])
    assert made.getvalue().splitlines() == [b"thread  title", b"-" * 40, b"t\\xe9" + b"  " * 3 + b"x" * 31 + b"~"]


def test_sizes_ages_and_counts() -> None:
    assert [size(count) for count in (0, 999, 1000, 1_234_567, 99_960_000, 10**18)] == [
        "0 B", "999 B", "1.0 kB", "1.2 MB", "100 MB", "1000 PB"
    ]  # fmt: skip
    now = datetime.now(timezone.utc)
    ages = [age(now - timedelta(**{unit: 3})) for unit in ("minutes", "hours", "days", "weeks")]
    assert ages == ["3 min ago", "3 h ago", "3 d ago", "21 d ago"]
    assert (plural(1, "thread"), plural(1200, "thread"), plural(2, "memory", "memories")) == (
        "1 thread", "1,200 threads", "2 memories"
    )  # fmt: skip


# ------------------------------------------------------------------------------------- JSON


def test_json_is_json_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), float("inf"), 1.5], "b": "hé\x1b\ud800☃"})
    said = capsys.readouterr().out
    assert "hé\\u001b\\ud800☃" in said
    assert json.loads(said, parse_constant=pytest.fail) == {"a": ["nan", "inf", 1.5], "b": "hé\x1b\ud800☃"}


# ------------------------------------------------------------------------------------ values


def test_values_are_much_like_yaml() -> None:
    value = {
        "name": "Ann", "n": 3, "on": True, "none": None, "text": "yes", "empty": [], "words": ["a", "b"],
        "deep": {"list": [{"a": 1, "b": [[1]]}, "x"]}, "two": "lines\nof text", "odd: key": "\x1b[2J",
    }  # fmt: skip
    assert yamlish(value) == [
        "name: Ann", "n: 3", '"on": true', '"none": null', 'text: "yes"', "empty: []", "words: [a, b]",
        "deep:", "  list:", "    - a: 1", "      b:", "        - [1]", "    - x",
        "two: |", "    lines", "    of text", '"odd: key": "\\u001b[2J"',
    ]  # fmt: skip
    assert scalar({"a": [1, {"b": "x y"}]}) == "{a: [1, {b: x y}]}"


def test_what_is_long_is_cut_and_says_so() -> None:
    cut = Cut(text=5, elements=2, lines=1)
    assert yamlish("abcdefgh", cut) == ["abcde… 3 more characters"]
    assert yamlish({"a": [{"n": n} for n in range(4)]}, cut) == ["a:", "  # … 2 before", "  - n: 2", "  - n: 3"]
    assert yamlish({"a": "x\ny\nz"}, cut) == ["a: |", "    x", "    … 2 more lines"]


# ------------------------------------------------------------------------------------ history


def drawn(*checkpoints: tuple[str, str | None]) -> list[str]:
    lanes = Lanes()
    lines = []
    for key, parent in checkpoints:
        before, own = lanes.draw(key, parent, is_head=key == "h")
        lines += [*before, own]
    return lines


@pytest.mark.parametrize(
    ("checkpoints", "lines"),
    [
        ([("h", "b"), ("b", "a"), ("a", None)], ["●", "○", "○"]),
        ([("h", "a"), ("c", "b"), ("b", "a"), ("a", None)], ["●", "│ ○", "│ ○", "├─┘", "○"]),
        (
            [("h", "b"), ("d", "a"), ("c", "b"), ("b", "a"), ("a", None)],
            ["●", "│ ○", "│ │ ○", "├─┼─┘", "○ │", "├─┘", "○"],
        ),
        ([("h", "pruned"), ("c", None), ("b", None)], ["●", "│ ○", "│ ○"]),
    ],
    ids=["line", "branch", "crossing", "pruned"],
)
def test_a_history_is_drawn(checkpoints: list[tuple[str, str | None]], lines: list[str]) -> None:
    assert drawn(*checkpoints) == lines


def test_ids_are_shortened_as_far_as_they_differ() -> None:
    ids = ["1f1eb0c2-ac67-62b9", "1f1eb0c2-ac5c-6d23"]
    assert list(shortened(ids).values()) == ["1f1eb0c2-ac6", "1f1eb0c2-ac5"]
    assert shortened(["abc"]) == {"abc": "abc"} and shortened([]) == {}


# ----------------------------------------------------------------------------------- listings


def test_what_is_not_shown_is_counted(terminal: Callable[[], str]) -> None:
    def read(limit: int | None) -> Any:
        return iter(range(limit if limit is not None and limit < 5000 else 5000))

    assert counted(read, None) == (list(range(5000)), 0, True)
    assert counted(read, 4995) == (list(range(4995)), 5, True)
    assert counted(read, 2) == ([0, 1], COUNTED, False)
    assert shown_limit(None, False, False, 50) == 50
    assert shown_limit(None, True, False, 50) is shown_limit(None, False, True, 50) is None
    assert shown_limit(3, True, True, 50) == 3


def test_in_a_pipe_nothing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown_limit(None, False, False, 50) is None


def test_did_you_mean() -> None:
    assert did_you_mean("thrads", ["threads", "show"]) == ". Did you mean 'threads'?"
    assert did_you_mean("4", ["42", "43", "44"]) == ". Did you mean '42' or '43'?"
    assert did_you_mean("", ["a"]) == did_you_mean("zebra", ["threads"]) == ""


# ---------------------------------------------------------------------------------- questions


def test_nobody_to_ask_is_a_wrong_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(ConfigError, match="nothing was deleted; add --yes"):
        asking.confirm("Delete it?", yes=False)
    asking.confirm("Delete it?", yes=True)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_a_no_is_not_done(answer: str, terminal: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(asking.Declined, match="nothing was cut off"):
        asking.confirm("Cut it off?", yes=False, left="nothing was cut off")
    assert terminal().startswith("Cut it off? [y/N] ")


# ----------------------------------------------------------------------------------- progress


def test_progress_elsewhere_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress.progress("copying", "threads") as tell:
        tell(1, 1200, "a")
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(progress, "EVERY", 0.0)
        tell(2, 1200, "b\x1b")
        tell(3)
    assert capsys.readouterr().err.splitlines() == [
        "charm-checkpoint: copying: 2 of 1,200 threads (b\\x1b)",
        "charm-checkpoint: copying: 3 threads",
    ]


def test_progress_in_a_terminal_is_a_bar_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress("copying", "threads") as tell:
        tell(2, 1200, "a\x1b[31mb")
    shown = made.getvalue()
    assert "2/1,200 threads" in shown and "a\\x1b[31mb" in shown
    assert "\x1b[2K" in shown[shown.rindex("threads") :]


# ------------------------------------------------------------------------- as a program is run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a store with threads of messages alone, which are quickly made."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store').as_posix()}/agent.db"
    with open_memory(url) as memory:
        for thread in ("alpha", "alphabet", "beta", "sp ace", "-dash", "名前"):
            memory.append_messages(thread, [{"role": "user", "content": "hi"}])
    return url


def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **more.pop("env", {})}
    command = [sys.executable, "-m", "charm_checkpoint", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, **more)


def complete(*words: str, url: str) -> list[str]:
    env = {
        "_CHARM_CHECKPOINT_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["charm-checkpoint", *words]),
        "COMP_CWORD": str(len(words)),
        "CHARM_CHECKPOINT_URL": url,
    }
    done = run(env=env)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_a_shell_is_offered_commands_options_and_threads(store: str) -> None:
    assert complete("thr", url=store) == ["threads"]
    assert "--search" in complete("threads", "--s", url=store)
    assert complete("show", "al", url="nonsense://") == [""]


@pytest.mark.parametrize(
    ("beginning", "offered"),
    [("alp", ["alpha", "alphabet"]), ("名", ["名前"]), ("", ["-dash", "alpha", "alphabet", "beta", "sp ace", "名前"])],
    ids=["two", "any script", "all"],
)
def test_a_shell_is_offered_threads(
    beginning: str, offered: list[str], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completing, "PATIENCE", 60)
    with whole_command().make_context("charm-checkpoint", ["--url", store, "threads"]) as context:
        assert sorted(id for id, _ in completing.complete_thread(context, beginning)) == offered


def test_a_shell_does_not_wait_for_a_store(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(completing, "_look", lambda *given: done.wait())
    monkeypatch.setattr(completing, "PATIENCE", 0.01)
    with whole_command().make_context("charm-checkpoint", ["--url", store, "threads"]) as context:
        assert completing.complete_thread(context, "") == []
    done.set()


def test_completion_is_printed_for_a_shell() -> None:
    done = run("--show-completion", "bash")
    assert done.returncode == 0 and "_CHARM_CHECKPOINT_COMPLETE=complete_bash" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
def test_ctrl_c_is_one_line_and_130(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\n"
        "from charm_checkpoint.cli import main, looking\n"
        # A signal may reach another thread first: what is interrupted is still under way then.
        "looking.open_store = lambda *given: (os.kill(os.getpid(), signal.SIGINT), time.sleep(50))\n"
        "sys.exit(main(['threads']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "charm-checkpoint: interrupted\n")


@pytest.mark.skipif(os.name != "posix", reason="terminals of Unix")
class Interrupts:
    """Has Ctrl-C come while the command is still being read, as on a slow machine."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "charm_checkpoint.cli.app":
            raise KeyboardInterrupt


@pytest.mark.parametrize("is_told", [True, False])
def test_ctrl_c_before_the_command_is_read_is_one_line_too(
    is_told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "charm_checkpoint.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupts(), *sys.meta_path])
    if not is_told:
        monkeypatch.setattr(sys, "stderr", None)
    assert main(["stores"]) == 130
    assert capsys.readouterr().err == ("charm-checkpoint: interrupted\n" if is_told else "")


def test_in_a_terminal_a_listing_ends_and_says_how_many_there_are(tmp_path: Path) -> None:
    import pty

    url = f"sqlite:///{tmp_path.as_posix()}/agent.db"
    with open_memory(url) as memory:
        for number in range(53):
            memory.append_messages(f"t{number}", [{"role": "user", "content": "hi"}])
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "70", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "charm_checkpoint", "threads", "--url", url]
    with open(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment)
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = screen.read(65536)
            except OSError:  # how Linux tells the end
                break
            if not part:
                break
            shown += part
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0 and said.decode() == "and 3 more threads; --all shows them\n"
    lines = shown.decode().splitlines()
    assert len(lines) == 52 and all(len(line) <= 70 for line in lines)


def test_the_store_may_be_named_before_the_command_and_debug_anywhere(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", "sqlite:////no/such.db")
    assert main(["--url", store, "threads", "--search", "beta"]) == 0
    assert re.search("^beta\t", capsys.readouterr().out, re.M)
    assert main(["--url", "sqlite:////no/other.db", "threads", "--url", store]) == 0
    for words in (["--debug", "threads"], ["threads", "--debug"], ["items", "list", "--debug"]):
        with pytest.raises(ConfigError, match="CHARM_CHECKPOINT_URL"):
            main(words)
    assert main(["show", "--url", store, "--", "-dash"]) == 0
    assert "thread -dash: it holds messages only" in capsys.readouterr().out


def test_a_wrong_name_is_met_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["thread"], "there is no command 'thread'. Did you mean 'threads'?"),
        (["items", "serach"], "there is no command 'serach'. Did you mean 'search'?"),
        (["threads", "--serach", "x"], "there is no option --serach. Did you mean '--search'?"),
        (["stores", "sqlit"], "there is no store 'sqlit'. Did you mean 'sqlite'?"),
        (["show", "-dash"], "there is no option -dash; if it is an id or the like, it stands last"),
        (["show", "--colour"], "after two hyphens: -- '--colour'"),
        (["diff", "42"], "Missing argument 'A': A checkpoint: the beginning of its id"),
    ):
        assert main(words) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert said in line


@pytest.mark.parametrize(
    ("words", "option", "value"),
    [
        (["threads", "--limit", "x"], "--limit", "x"),
        (["threads", "-n", "0"], "--limit", "0"),
        (["threads", "--limit=-7"], "--limit", "-7"),
        (["demo", "--delay", "soon"], "--delay", "soon"),
        (["ui", "--port", "99999"], "--port", "99999"),
        (["memory", "recall", "x", "--min-score", "3"], "--min-score", "3"),
    ],
)
def test_a_number_that_is_none_or_too_large_is_named(
    words: list[str], option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert option in line and re.search(rf"\b{value}\b" if value[0] != "-" else value, line)
    assert " --help)" in line


@pytest.mark.parametrize("words", [["list", "--kind", "x"], ["list", "--since", "x"], ["remember", "x", "t", "b"]])
def test_a_value_that_a_memory_cannot_have_is_a_wrong_command_line(
    words: list[str], store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["memory", *words, "--url", store]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "'x'" in line


def test_a_thread_may_be_typed_as_it_is_shown(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    ids = {"two\nlines": "$'two\\u000alines'", "red\x1b[31m": "$'red\\u001b[31m'"}
    with open_memory(store) as memory:
        for id in ids:
            memory.save_messages(id, [{"role": "user", "content": "hi"}])
    assert main(["threads", "--url", store]) == 0
    shown = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    for id, word in ids.items():
        assert name_of(id) in shown
        for typed in (name_of(id), name_of(id).replace("\\n", " ")):
            assert main(["history", typed, "--url", store]) == 1
            assert f"Did you mean {word}?" in capsys.readouterr().err
    with open_memory(store) as memory:
        for id in ids:
            memory.delete_thread(id)


def test_the_runs_of_a_subgraph_are_one_line() -> None:
    runs = [f"sub:{at:08x}-0000-4000-8000-000000000000" for at in range(3)]
    inner = [f"{run}|deep:{run[4:]}" for run in runs]
    channels = [ChannelSize("plan", ns, 10, 1.5, 2, 20) for ns in runs]
    channels += [ChannelSize("plan", "", 7, encoded=7), ChannelSize("note", inner[0], 1), ChannelSize("big", "", 99)]
    assert of_all_runs(channels) == [
        ["big", 99, 0, 0, ""],
        ["plan", 30, 4, 60, "sub:* (3 runs)"],
        ["plan", 7, 0, 7, ""],
        ["note", 1, 0, 0, inner[0]],
    ]
    assert of_all_runs([ChannelSize("n", ns, 1) for ns in inner])[0][-1] == "sub:*|deep:* (3 runs)"


def test_in_a_terminal_ids_with_other_than_spaces_are_told_apart(terminal: Callable[[], str]) -> None:
    print_table(["thread"], [[name_of("a b")], [name_of("a\nb")], [name_of("a\tb")], [name_of(" ")], [name_of("a  b")]])
    assert terminal().splitlines()[2:] == ["a b", "a\\nb", "a\\tb", '" "', "a  b"]


def test_ctrl_c_amid_steps_says_what_stays(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*words: str) -> None:
        with going_on("the half is done", dry_run="--dry-run" in words):
            raise KeyboardInterrupt

    monkeypatch.setattr(app, "_called", lambda words: interrupted(*words))
    assert main(["sweep"]) == 130
    assert capsys.readouterr().err == "charm-checkpoint: interrupted; the half is done\n"
    assert main(["sweep", "--dry-run"]) == 130
    assert capsys.readouterr().err == "charm-checkpoint: interrupted\n"


def test_a_folder_is_not_taken_for_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for url in (str(tmp_path), f"sqlite:///{tmp_path}"):
        assert main(["threads", "--url", url]) == 2
        assert f"as a store of local files it is file://{tmp_path}" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_one_line(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["items", "export", "/no/such/file", "--url", store]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "/no" in line and "No such file" in line


def test_drawn_text_keeps_its_spaces(terminal: Callable[[], str]) -> None:
    print_table(["", "id"], [[Drawn("│ │ ○"), "a"]])
    assert "│ │ ○  a" in terminal()
