"""The README and the pages of docs/: their code runs, their links lead somewhere, and what they say is true."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl

import pytest
import yaml
from conftest import or_skip
from pages import BY_NAME, PAGES, README, ROOT, Block, Page
from stores import supabase_url, tenant_url, valkey_url
from workers import child

from benchmarks import retrieval
from benchmarks.cli import parser as benchmarks_parser
from charm_checkpoint import CharmError, StorageManager, contract, errors, from_charm
from charm_checkpoint.cli import main
from charm_checkpoint.cli.app import command as whole_command
from charm_checkpoint.cli.options import without_debug
from charm_checkpoint.config import registry
from charm_checkpoint.moved import present_name
from charm_checkpoint.testing import ContractSuite

try:
    import tomllib
except ImportError:  # before Python 3.11
    tomllib = None  # type: ignore[assignment]

LANGUAGES = {"python", "sh", "console", "yaml", "json", "toml", "ini", "text", "sql"}

SERVERS: dict[str, Callable[[], dict[str, str]]] = {
    "docs/stores/postgres.md": lambda: {"DATABASE_URL": tenant_url()},
    "docs/stores/redis.md": lambda: {"REDIS_URL": valkey_url()},
    "docs/stores/supabase.md": lambda: supabase_environment(),
}
"""Pages whose code opens what the environment names, and what that is."""

NEEDS = {
    "docs/agents.md": ["deepagents"],  # needs Python 3.11
}
"""What some pages' code needs that is not installed everywhere."""

LEAVES = {
    "README.md": {"agent.db", "other.db"},
    "docs/charm.md": {"charm.yaml", "my-agent"},
    "docs/moving.md": {"agent.db", "other.db", "folder", "agents.charm", "new.db", "some.charm", "monday.db"},
    "docs/migrating.md": {"agent.db", "checkpoints.sqlite", "new.db"},
    "docs/stores/postgres.md": {"charm_checkpoint.sql"},
    "docs/stores/supabase.md": {"charm_checkpoint.sql"},
}
"""What is there after the code of some pages."""

NAMES = [page.name for page in PAGES]
OPTION_TABLES: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "options.py"))


def supabase_environment() -> dict[str, str]:
    """Return what names a project that is set up, and its key."""
    start, _, query = supabase_url().partition("?")
    return {"SUPABASE_URL": start, "SUPABASE_KEY": dict(parse_qsl(query))["key"]}


def having(*languages: str) -> list[str]:
    """Return the pages with blocks that are run in one of these languages."""
    return [page.name for page in PAGES if any(block.runs for block in page.blocks(*languages))]


# ------------------------------------------------------------------------------ code that runs


@pytest.fixture(scope="module")
def run_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Page, Path, dict[str, str]], None]]:
    """Return what runs a page's Python in a process of its own."""
    if not hasattr(os, "fork"):
        pytest.skip("each page runs in a fork")
    log = tmp_path_factory.mktemp("pages") / "log"
    with (
        log.open("w+") as errors,
        child("pages.py", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdin and process.stdout
        put, answers = process.stdin, process.stdout

        def run(page: Page, folder: Path, environment: dict[str, str]) -> None:
            blocks = [(block.line, block.code) for block in page.blocks("python") if block.runs and not block.file]
            order = {"name": page.name, "folder": str(folder), "blocks": blocks, "environment": environment}
            put.write(json.dumps(order) + "\n")
            put.flush()
            assert answers.readline() == "0\n", log.read_text()

        yield run
        put.close()
        process.wait(30)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", having("python", "sh", "console"))
def test_the_code_of_a_page_runs(name: str, run_python: Callable[..., None], tmp_path: Path) -> None:
    page = BY_NAME[name]
    # Memories for all projects are in files below the user's configuration directory, but for this.
    environment = {"CHARM_MEMORY_DIR": str(tmp_path / "memories"), **or_skip(SERVERS.get(name, dict))}
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module)
    for block in page.blocks():
        if block.file:
            (tmp_path / block.file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.file).write_text(block.code)
    if "my_app.state" in page.text:
        (tmp_path / "my_app").mkdir()
        (tmp_path / "my_app" / "state.py").touch()
    run_python(page, tmp_path, environment)
    for block in page.blocks("sh", "console"):
        if block.runs:
            run_commands(block, tmp_path, environment)
    assert LEAVES.get(name, set()) <= set(os.listdir(tmp_path))


def run_commands(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Run a block of commands; what ``console`` shows after each must be what it prints."""
    scripts: list[tuple[str, str | None]] = [(block.code, None)]
    if block.language == "console":
        scripts = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.code, re.MULTILINE)
    for script, shown in scripts:
        done = run_here(script, folder, environment) or run_script(script, folder, environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert shown is None or done.stdout == shown


def run_script(script: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script as a shell does."""
    places = [str(Path(sys.executable).parent), os.environ["PATH"]]
    added = {"PATH": os.pathsep.join(places), "PYTHONPATH": str(folder), **environment}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **added},
        capture_output=True,
        text=True,
        timeout=240,  # one runs the whole suite of a store
    )


BY_ITSELF = re.compile(r"[|<>&$`;\\]|--import|--graph| ui | migrate ")
"""What is in a command that needs a shell, or a process of its own."""


def run_here(script: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str] | None:
    """Run a script of nothing but this package's command in this process: others take a second to begin.

    Where the shell has a part in it, or what is imported matters, here by other tests, too, that is not done.
    """
    lines = script.strip().splitlines()
    if any(BY_ITSELF.search(line) or not line.startswith("charm-checkpoint ") for line in lines):
        return None
    out, err, code, was = StringIO(), StringIO(), 0, os.getcwd()
    os.chdir(folder)
    try:
        with patch.dict(os.environ, environment), redirect_stdout(out), redirect_stderr(err):
            for line in lines:
                code = code or main(shlex.split(line, comments=True)[1:])
    finally:
        os.chdir(was)
    return subprocess.CompletedProcess(script, code, out.getvalue(), err.getvalue())


# ------------------------------------------------------------------- code that is only looked at


@pytest.mark.parametrize("name", NAMES)
def test_no_block_is_forgotten(name: str) -> None:
    for block in BY_NAME[name].blocks():
        where = f"{name}:{block.line}"
        assert block.language in LANGUAGES or block.language.startswith("{"), where
        assert block.runs or block.installs or block.mark.startswith("ci:") or len(block.mark) > len("not run: "), where
        if block.language == "python" and not block.runs:
            compile(block.code, where, "exec")
        if block.language == "python" and block.file:
            used = "".join(other.code for other in BY_NAME[name].blocks() if other is not block)
            assert re.search(rf"{block.file}|(import|from) {Path(block.file).stem}\b", used), where


def test_ci_finds_its_two_commands() -> None:
    assert len(re.findall(r"^<!-- ci: (?:demo|test) -->\n```sh$", README.read_text(), re.MULTILINE)) == 2


@pytest.mark.parametrize("name", [page.name for page in PAGES if page.blocks("yaml", "json", "toml")])
def test_data_can_be_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = BY_NAME[name]
    for block in page.blocks("json"):
        json.loads(block.code)
    for block in page.blocks("toml"):
        assert tomllib is None or tomllib.loads(block.code)
    monkeypatch.setenv("REDIS_URL", "rediss://cache.example:6380/1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/agents")
    for block in page.blocks("yaml"):
        if "memory" in yaml.safe_load(block.code).get("runtime", {}):
            (tmp_path / "charm.yaml").write_text(block.code)
            location = from_charm(tmp_path).location
            assert location.host == "cache.example" or "REDIS_URL" not in block.code
            StorageManager.clear()


def commands(block: Block) -> Iterator[list[str]]:
    """Return the words of each command, without variables in front, redirections and what comes after a pipe."""
    code = re.sub(r"\\\n", " ", block.code)
    if block.language == "console":
        code = "".join(re.findall(r"^\$ (.*\n)", code, re.MULTILINE))
    for line in re.split(r"\n|&&|\|", code):
        words = shlex.split(re.sub(r"\s(?:2?>&?|<)\s*\S+", "", line), comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            del words[0]
        if words:
            yield words


@pytest.mark.parametrize("name", [page.name for page in PAGES if page.blocks("sh", "console")])
def test_commands_are_known(name: str) -> None:
    for block in BY_NAME[name].blocks("sh", "console"):
        for words in commands(block):
            program = Path(words[0]).name
            arguments = words[1:]
            if program.startswith("python") and words[1:2] == ["-m"]:
                program, arguments = words[2], words[3:]
            try:
                check_command(program, arguments)
            except SystemExit as stop:
                assert not stop.code, f"{name}:{block.line}: {shlex.join(words)}"


def check_command(program: str, arguments: list[str]) -> None:
    """Have a command's own parser look at its arguments: it exits where they are wrong."""
    if program == "charm-checkpoint":
        check_words(whole_command(), without_debug(arguments))
    elif program == "benchmarks":
        own = retrieval.parser() if arguments[:1] == ["retrieval"] else benchmarks_parser()
        own.parse_args(arguments[1:] if own.prog.endswith("retrieval") else arguments)
    elif program == "pip":
        check_extras([word for word in arguments if "[" in word])


def check_words(command: Any, words: list[str], parent: Any = None) -> None:
    """Have a command, or the one in it that the words name, look at the words: it raises where they are wrong."""
    rest = list(words)
    while hasattr(command, "commands") and rest != ["--help"]:
        parent = command.make_context(command.name, rest, parent=parent)
        name, command, rest = command.resolve_command(parent, [*parent._protected_args, *parent.args])
    if rest != ["--help"]:
        command.make_context(command.name, rest, parent=parent)


def check_extras(wanted: list[str]) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    known = set(re.findall(r"^(\w+) = \[", text[text.index("[project.optional-dependencies]") :], re.MULTILINE))
    for word in wanted:
        package, extras = re.fullmatch(r"([\w.-]+)\[([\w,]+)\]", word).groups()  # type: ignore[union-attr]
        assert package not in ("charm-checkpoint", ".") or set(extras.split(",")) <= known


# ------------------------------------------------------------------------------------- links


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    folder = (ROOT / name).parent
    for link in BY_NAME[name].links():
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in BY_NAME[target.relative_to(ROOT).as_posix()].anchors(), link


# -------------------------------------------------------------------------------- what is said


def test_the_readme_is_short_and_begins_with_code() -> None:
    page = BY_NAME["README.md"]
    assert page.text.count("\n") <= 200
    assert page.blocks("python")[0].line < 20


def test_the_readmes_figures_are_those_of_the_benchmarks_page() -> None:
    line = r"^\| ([\w ]+?) +\| +([\d.]+) \| +[\d.]+ \| +([\d,.]+) \|$"
    rows = re.findall(line, BY_NAME["docs/benchmarks.md"].text, re.MULTILINE)
    # Of two tables that name a contender, the first counts: it is that of the chat.
    found = {name: (float(time), float(size.replace(",", ""))) for name, time, size in reversed(rows)}
    for other, ours in (("SqliteSaver", "sqlite"), ("PostgresSaver", "postgres"), ("plain Redis", "redis")):
        (time, size), (our_time, our_size) = found[other], found[f"charm {ours}"]
        row = f"| {time:.0f} s, {size:,.0f} MB | {our_time:.0f} s, {our_size:.1f} MB | {our_time / time:.2f} |"
        assert f"({other}) {row}" in BY_NAME["README.md"].text, row


@pytest.mark.parametrize("name", [page.name for page in PAGES if "<!-- options:" in page.text])
def test_tables_of_options_are_those_of_the_code(name: str) -> None:
    text = BY_NAME[name].text
    assert text == OPTION_TABLES["renewed"](text), "run: python docs/options.py"


def test_every_store_has_a_table_of_its_options() -> None:
    tables = {scheme for page in PAGES for _, scheme, _ in OPTION_TABLES["BLOCK"].findall(page.text)}
    assert tables >= {"every", "former"}
    shown = [OPTION_TABLES["options_of"](scheme) for scheme in tables - {"former"}]
    for scheme in registry.BUILT_IN:
        assert not registry.resolve(scheme).options or registry.resolve(scheme).options in shown


@pytest.mark.parametrize("scheme", registry.BUILT_IN)
def test_every_form_of_url_is_in_the_table(scheme: str) -> None:
    assert f"`{scheme}://" in BY_NAME["docs/choose.md"].text


def names_of_commands() -> list[str]:
    """Return the names of all commands."""
    return [name for name, command in whole_command().commands.items() if not command.hidden]


@pytest.mark.parametrize("command", names_of_commands())
def test_every_command_has_its_place(command: str) -> None:
    text = BY_NAME["docs/cli.md"].text
    heading = re.search(rf"^## .*`{command}`", text, re.MULTILINE)
    assert heading, "a heading of its own, or one with others"
    section = text[heading.start() :].split("\n## ")[0]
    for option in whole_command().commands[command].params:
        if option.param_type_name == "option":
            flag = max(option.opts, key=len)
            assert f"`{flag}" in section or f"`{flag}" in text[: text.index("\n## `")], flag


def test_former_names_are_those_of_the_code() -> None:
    text = BY_NAME["docs/upgrading.md"].text
    rows = re.findall(r"^\| `charm_checkpoint\.([\w.]+)` \| `([\w.]+)` \|$", text, re.MULTILINE)
    assert len(rows) > 5
    for former, name in rows:
        assert present_name(f"charm_checkpoint.{former}") == name
        assert importlib.util.find_spec(name)
    records = re.findall(r"^\| `([A-Z]\w+)` \| `(\w+)` \|$", text, re.MULTILINE)
    assert len(records) == 3
    for former, name in records:
        with pytest.deprecated_call():
            assert getattr(contract, former) is getattr(contract, name)


def error_classes() -> list[str]:
    return [
        name
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, CharmError) and not name.startswith("_")
    ]


@pytest.mark.parametrize("error", error_classes())
def test_every_error_is_in_troubleshooting(error: str) -> None:
    assert f"## {error}\n" in BY_NAME["docs/troubleshooting.md"].text


def test_words_of_errors_are_those_of_the_code() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "charm_checkpoint").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # texts over several lines
    rows = re.findall(r"^\| (.*?) \|", BY_NAME["docs/troubleshooting.md"].text, re.MULTILINE)
    quoted = [words for row in rows for words in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 10
    for words in quoted:
        for part in re.split(r"…|\d+", words):
            assert part.strip() in code, words


def test_tests_that_are_named_are_there() -> None:
    text = BY_NAME["docs/guarantees.md"].text
    suite = {name for part in ContractSuite.__mro__ for name in vars(part)}
    files = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", text)
    assert len(named) > 40
    for name in named:
        assert name in suite or f"def {name}(" in files, name
