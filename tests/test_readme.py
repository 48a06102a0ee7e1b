"""The README's code is run, and what it says of commands and options is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from charm_checkpoint import StorageManager, from_charm, registry
from charm_checkpoint.cli import build_parser
from charm_checkpoint.memory import OPTIONS

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the code blocks in a language; those that CI runs by themselves are left out."""
    found = re.findall(rf"(<!-- ci: \w+ -->\n)?^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [code for by_ci, code in found if not by_ci]


def test_no_block_is_forgotten() -> None:
    assert set(re.findall(r"^```(.+)$", README, re.MULTILINE)) == {"sh", "python", "yaml", "json"}
    assert len(re.findall(r"<!-- ci: (demo|test) -->\n```sh", README)) == 2


def run(folder: Path, *command: str, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_code_and_the_commands_run_in_order(tmp_path: Path) -> None:
    (tmp_path / "readme.py").write_text("\n".join(blocks("python")))
    run(tmp_path, sys.executable, "-W", "error", "readme.py")
    (tmp_path / "agent.db").unlink()  # the commands begin on a store that is new
    (tmp_path / "my_app").mkdir()
    (tmp_path / "my_app" / "state.py").touch()
    # langgraph dev does not end by itself: it is run with what langgraph.json holds by test_langgraph_server.py.
    commands = [block for block in blocks("sh") if "langgraph dev" not in block]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run(tmp_path, "bash", "-euo", "pipefail", "-c", "".join(commands), PATH=path, PYTHONPATH=str(tmp_path))
    assert {"agent.db", "charm_checkpoint.sql", "my-agent"} <= set(os.listdir(tmp_path))


@pytest.mark.parametrize("block", blocks("yaml"))
def test_what_it_writes_into_charm_yaml_is_understood(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://cache.example:6380/1")
    (tmp_path / "charm.yaml").write_text(block)
    assert from_charm(tmp_path).location.host == "cache.example"
    StorageManager.clear()


def commands() -> list[str]:
    """Return the names that ``--help`` offers."""
    return re.findall(r"^    ([a-z-]+)  ", build_parser().format_help(), re.MULTILINE)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_mentioned(command: str) -> None:
    assert f"`{command}`" in README


@pytest.mark.parametrize("scheme", sorted({"sqlite", "memory", "file", "none", "postgresql", "redis", "supabase"}))
def test_every_option_is_in_the_table(scheme: str) -> None:
    for option in (*OPTIONS, *registry.resolve(scheme).options):
        assert f"| `{option.name}` |" in README or "handed to libpq" in option.help


def test_the_default_url_of_each_store_is_in_the_table() -> None:
    for scheme in registry.BUILT_IN:
        assert f"`{scheme}://" in README
