"""The charm-checkpoint command where the locale, or a stream, is not what it should be."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from charm_checkpoint import open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.cli.app import command as whole_command
from charm_checkpoint.cli.terminal import agreed, typed
from charm_checkpoint.config.url import os_path, parse_url

ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A locale without any letter but English ones; a program that Python itself does not put right."""

IDS = ("té", "snow☃", "byte\udce9", "plain")

ALL = """
import sys
from charm_checkpoint.cli import main

words = [[]]
for word in sys.argv[1:]:
    words[-1].append(word) if word != ";" else words.append([])
codes = []
for sys.argv[1:] in words:
    codes.append(main())
sys.exit(max(codes))
"""
"""Runs commands, divided by ``;``, as the program does: so that one process, which takes a second, does for all."""


def run(
    folder: Path, *commands: tuple[str, ...], env: dict[str, str], code: str = ALL
) -> subprocess.CompletedProcess[bytes]:
    words = [word for command in commands for word in (";", *command)][1:]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **env}
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, env=environment, capture_output=True, timeout=60
    )


def fill(folder: Path, file: str) -> str:
    """Make a store with a thread of each id, and return its URL."""
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [("ai", "hé ☃")]})
    builder.add_edge(START, "answer")
    url = f"sqlite:///{folder}/{file}"
    with open_memory(url, tenant="Zoë") as memory:
        graph = builder.compile(checkpointer=memory.get_langgraph_checkpointer())
        for thread in IDS:
            start: Any = {"messages": [("user", "hi")]}
            graph.invoke(start, {"configurable": {"thread_id": thread}})
        memory.append_messages("té", [{"role": "user", "content": "hé"}])
    return f"{url}?tenant=Zoë"


@pytest.mark.skipif(os.name != "posix", reason="locales of Unix")
@pytest.mark.parametrize(
    "env",
    [{**ASCII, "PYTHONIOENCODING": "ascii:strict"}, {"PYTHONIOENCODING": "cp1252"}],
    ids=["ascii", "cp1252"],
)
def test_ids_and_paths_of_any_script_are_found_under_any_locale(tmp_path: Path, env: dict[str, str]) -> None:
    url = fill(tmp_path, "fé.db")
    at = ("--url", url)
    done = run(
        tmp_path,
        ("threads", *at),
        *(("show", thread, *at) for thread in IDS),
        ("messages", "té", *at),
        ("copy", "té", "tô", *at),
        ("prune", "snow☃", "--yes", *at),
        ("delete", "plain", "--yes", *at),
        ("init-charm", "agént"),
        env={**env, "CHARM_CHECKPOINT_URL": url},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len([line for line in done.stdout.splitlines() if line.startswith(b"step 1 ")]) == len(IDS)
    assert len([line for line in done.stdout.splitlines() if b"\tdone\t" in line]) == len(IDS)
    assert (tmp_path / "agént" / "charm.yaml").exists()
    with open_memory(url) as memory:
        found = {thread: memory.usage(thread).checkpoints for thread in (*IDS, "tô")}
    assert found == {"té": 3, "snow☃": 1, "byte\udce9": 3, "plain": 0, "tô": 3}


@pytest.mark.skipif(os.name != "posix", reason="locales of Unix")
def test_a_store_opens_at_a_path_that_the_locale_lacks_and_in_the_environment_too(tmp_path: Path) -> None:
    code = (
        "from charm_checkpoint import open_memory\n"
        "for url in ('sqlite:///t\\xe9.db', 'sqlite:///t%C3%A9.db', 'file://./f\\xe9'):\n"
        "    with open_memory(url) as memory:\n"
        "        memory.append_messages('t\\xe9', [{'role': 'user', 'content': 'h\\xe9'}])\n"
    )
    done = run(tmp_path, env=ASCII, code=code)
    assert done.stderr == b""
    with open_memory(f"sqlite:///{tmp_path}/té.db") as memory:
        assert [message["content"] for message in memory.load_messages("té")] == ["hé", "hé"]
    with open_memory(f"file://{tmp_path}/fé") as memory:
        assert [message["content"] for message in memory.load_messages("té")] == ["hé"]


def test_words_are_taken_as_they_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [typed(text) for text in (*IDS, "\ud800", "")] == [*IDS, "\ud800", ""]
    assert typed("t\udcc3\udca9") == "té"
    monkeypatch.setenv("CHARM_CHECKPOINT_URL", "t\udcc3\udca9")
    with whole_command().make_context("charm-checkpoint", []) as context:
        assert context.params["url"] == "té"


def test_a_path_that_this_system_can_say_is_left_alone() -> None:
    for path in ("té", "a\udce9", "", "/x"):
        assert os_path(path) == path
        assert parse_url(f"file:///{path}").path == f"/{path}"


def test_help_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    for command in whole_command().commands:
        assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.isascii()


@pytest.mark.skipif(os.name != "posix", reason="closed descriptors of Unix")
def test_closed_streams_are_no_error(tmp_path: Path) -> None:
    code = ALL.replace("import sys", "import sys; sys.stdout = sys.stderr = sys.stdin = None", 1)
    done = run(tmp_path, ("stores",), ("schema", "--url", "postgresql://"), env={}, code=code)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    done = run(tmp_path, ("usage", "--url", "nonsense://"), env={}, code=code)
    assert (done.returncode, done.stderr) == (2, b"")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "agrees"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_a_question_is_asked_whatever_it_names(answer: str, agrees: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert agreed("Delete té\x1b?") is agrees
    assert shown.getvalue() == b"Delete t\\xe9\\x1b? [y/N] " + (b"" if answer else b"\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    url = fill(tmp_path, "a.db")
    for command in (
        ["stores"],
        ["threads", "--url", url],
        ["--help"],
        ["--version"],
        ["schema", "--url", "postgresql://"],
    ):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "charm_checkpoint", *command], stdout=full, stderr=subprocess.PIPE, timeout=60
            )
        assert done.returncode == 1
        assert done.stderr == b"charm-checkpoint: the output cannot be written: No space left on device\n"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "charm_checkpoint", "usage"],
            stdout=full,
            stderr=full,
            env={**os.environ},
            timeout=60,
        )
    assert done.returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="closed descriptors of Unix")
@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_descriptors_that_are_closed(closed: str, tmp_path: Path) -> None:
    url = fill(tmp_path, "a.db")
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m charm_checkpoint threads --url "$1" {closed}', sys.executable, url],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    commands = (("threads", 0), ("delete plain", 2), ("delete nobody", 1), ("delete plain --yes", 0))
    words = " ';' ".join(f'{command} --url "$2"' for command, _ in commands)
    # Nothing can be printed where the output is closed.
    code = ALL.replace("sys.exit(max(codes))", "open('codes', 'w').write(repr(codes)); sys.exit(codes[-1])")
    line = f'exec "$0" -c "$1" {words} {closed}'
    call = ["sh", "-c", line, sys.executable, code, url]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "codes").read_text() == repr([code for _, code in commands])
    assert done.stderr.count(b"\n") == (0 if "2>" in closed else 2)


@pytest.mark.skipif(os.name != "posix", reason="terminals of Unix")
def test_the_end_of_what_is_typed_is_a_no(tmp_path: Path) -> None:
    import pty

    url = fill(tmp_path, "a.db")
    for command in (["delete", "plain"], ["prune", "plain", "--strategy", "delete"]):
        ours, theirs = pty.openpty()
        with open(ours, "wb", buffering=0) as keyboard:
            process = subprocess.Popen(
                [sys.executable, "-m", "charm_checkpoint", *command, "--url", url],
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            os.close(theirs)
            keyboard.write(b"\x04")
            out, err = process.communicate(timeout=60)
        assert (process.returncode, err.count(b"\n")) == (1, 1)
        assert b"[y/N]" in out and b"nothing was deleted" in err


def test_a_keyboard_that_fails_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Terminal):
        def readline(self, *args: Any) -> str:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdin", Broken())
    assert agreed("?") is False
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    sys.stdin.close()
    assert agreed("?") is False
