"""The README's code is run, and what it says of commands and options is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from charm_checkpoint import StorageManager, from_charm, registry
from charm_checkpoint.cli import build_parser
from charm_checkpoint.memory import OPTIONS

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_code_blocks_run_in_order(tmp_path: Path) -> None:
    script = tmp_path / "readme.py"
    script.write_text("\n".join(BLOCKS))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
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
