"""Programs that are packed: frozen by PyInstaller, run from a zip, without asserts and docstrings, isolated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from workers import CHILDREN

import charm_checkpoint
from charm_checkpoint import ConfigError, MissingExtra, StoreClosed
from charm_checkpoint.config import registry
from charm_checkpoint.demo.director import run_demo
from charm_checkpoint.runtime import packed_program
from charm_checkpoint.servers.process import Process
from charm_checkpoint.ui import assets

PROGRAM = CHILDREN / "packed.py"

# Beside drivers, all that only happens to be where the tests run, and is the most of what there is to analyse.
LEFT_OUT = (
    "charm", "numpy", "psycopg", "supabase",
    "IPython", "PIL", "_pytest", "anthropic", "babel", "cryptography", "debugpy", "docutils", "google", "grpc",
    "gunicorn", "hypothesis", "ipykernel", "jedi", "jinja2", "jupyter_client", "langchain_anthropic",
    "langchain_openai", "langgraph_api", "langgraph_runtime_inmem", "matplotlib", "mcp", "mypy", "nbformat",
    "openai", "opentelemetry", "prompt_toolkit", "pytest", "setuptools", "sphinx", "starlette", "tkinter",
    "tornado", "uvicorn", "uvloop", "zmq",
)  # fmt: skip
STATE = ["first", "xxxxxx", "note 1", "second", "xxxxxx", "note 4"]


def run(command: Sequence[str], path: str | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path:
        env["PYTHONPATH"] = path
    # Elsewhere than in the project, whose package ``python -c`` would take first.
    elsewhere = tempfile.gettempdir()
    return subprocess.run(list(command), capture_output=True, text=True, timeout=timeout, env=env, cwd=elsewhere)


def outcomes(command: Sequence[str], folder: Path, *more: str, path: str | None = None) -> dict[str, Any]:
    """Run the program on the stores that need no server; return what it said of each."""
    urls = ["memory://", f"sqlite:///{folder}/a.db", f"file://{folder}/files", *more]
    done = run([*command, *urls], path)
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert [said.pop(url) for url in urls[:3]] == [STATE] * 3
    return said


# -------------------------------------------------------------------------------- PyInstaller


@pytest.mark.timeout(1200)
def test_a_frozen_program_has_every_store(tmp_path: Path) -> None:
    pytest.importorskip("PyInstaller")
    # What a program does not use it may leave out; so this one is frozen sooner, and lacks a driver.
    left_out = [f"--exclude-module={name}" for name in LEFT_OUT]
    folders = [f"--{name}path={tmp_path}/{name}" for name in ("dist", "work", "spec")]
    frozen = run(
        [sys.executable, "-m", "PyInstaller", "--log-level=ERROR", *left_out, *folders, str(PROGRAM)],
        str(Path(charm_checkpoint.__file__).parent.parent),
        timeout=900,
    )
    assert frozen.returncode == 0, frozen.stderr
    program = str(tmp_path / "dist" / "packed" / "packed")
    said = outcomes([program], tmp_path, "redis://localhost:1/0?timeout=1s", "postgresql://localhost/x", "nonsense://x")
    unreachable, missing, unknown = said.values()
    assert unreachable.startswith("StoreUnavailable: ")
    assert "in the environment that packs this program, and pack it again" in missing
    assert unknown.startswith("ConfigError: no store for the scheme 'nonsense'")
    done = run([program, "cli", "init-charm", f"{tmp_path}/agent"])
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "agent" / "src" / "main.py").exists()
    assert "CREATE TABLE" in run([program, "cli", "schema", "--url", "postgresql://"]).stdout
    assert "starts Python, which this packed program has not" in run([program, "cli", "demo"]).stderr


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)


@pytest.mark.usefixtures("frozen")
def test_a_packed_program_that_lacks_a_store_is_told_how_to_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"no module 'charm_checkpoint\.gone'.*--collect-all charm_checkpoint"):
        registry.load_object("charm_checkpoint.gone:open_store")
    # A part of a store's module may be what is missing.
    monkeypatch.setitem(sys.modules, "charm_checkpoint.stores.none", None)
    with pytest.raises(ConfigError, match="packed without it"):
        registry.resolve("none")
    with pytest.raises(ConfigError, match="no module 'somebody'") as caught:
        registry.load_object("somebody.store:open_store")
    assert "charm_checkpoint" not in str(caught.value)


@pytest.mark.usefixtures("frozen")
def test_a_packed_program_that_lacks_a_file_is_told_how_to_pack() -> None:
    with pytest.raises(
        ConfigError, match=r"stores/postgres_schema/sql/gone\.sql of charm_checkpoint is missing.*--collect-all"
    ):
        packed_program.read_resource("stores", "postgres_schema", "sql", "gone.sql")


@pytest.mark.usefixtures("frozen")
def test_a_driver_is_to_be_installed_where_the_program_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "charm_checkpoint.stores.redis.store", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "charm_checkpoint.stores.redis.driver", raising=False)
    with pytest.raises(MissingExtra, match="packs this program, and pack it again"):
        registry.resolve("redis")


@pytest.mark.usefixtures("frozen")
def test_what_starts_python_says_that_there_is_none() -> None:
    job: Any = None
    with pytest.raises(ConfigError, match="the demo starts Python"):
        run_demo(None)
    with pytest.raises(ConfigError, match="keeper starts Python"):
        Process(job, Path("log"))


# ------------------------------------------------------------------------------ other packers


def test_the_package_runs_from_a_zip(tmp_path: Path) -> None:
    archive = tmp_path / "bundle.zip"
    package = Path(charm_checkpoint.__file__).parent
    with zipfile.ZipFile(archive, "w") as file:
        for path in package.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                file.write(path, f"charm_checkpoint/{path.relative_to(package)}")
        file.write(PROGRAM, "packed.py")
    command = [sys.executable, "-c", "import runpy; runpy.run_module('packed', run_name='__main__', alter_sys=True)"]
    said = outcomes(command, tmp_path, "redis://localhost:1/0?timeout=1s", path=str(archive))
    assert "StoreUnavailable" in str(said)
    done = run([*command, "cli", "init-charm", f"{tmp_path}/agent"], str(archive))
    assert (done.returncode, done.stderr) == (0, "")
    assert "CREATE TABLE" in run([*command, "cli", "schema", "--url", "postgresql://"], str(archive)).stdout
    page = "from charm_checkpoint.ui import assets; print(assets.__file__, len(assets.load()))"
    where, files = run([sys.executable, "-c", page], str(archive)).stdout.split()
    assert (where.startswith(str(archive)), int(files)) == (True, len(assets.NAMES))


@pytest.mark.parametrize("flags", [["-OO"], ["-I", "-O", "-B", "-W", "error", "-X", "utf8=0"]], ids=["-OO", "-I -O"])
def test_a_program_runs_without_asserts_and_docstrings_and_isolated(tmp_path: Path, flags: list[str]) -> None:
    # -I leaves PYTHONPATH out: the package is put into the path by the program.
    start = f"import sys, runpy; sys.path.insert(0, {str(Path(charm_checkpoint.__file__).parent.parent)!r}); "
    start += f"sys.argv.pop(0); runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
    assert not outcomes([sys.executable, *flags, "-c", start, str(PROGRAM)], tmp_path)


def test_errors_have_words_without_docstrings() -> None:
    code = (
        "from charm_checkpoint import errors; print(errors.StoreClosed(), errors.TypeNotLoaded(), errors.CharmError())"
    )
    done = run([sys.executable, "-OO", "-c", code], os.pathsep.join(sys.path))
    assert done.stdout == "Store closed. Type not loaded. Something went wrong in charm_checkpoint.\n"
    assert str(StoreClosed()) == "This store was closed; open it again with open_memory(url)."
