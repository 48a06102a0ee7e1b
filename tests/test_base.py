"""The class that providers extend: Charm's own where its SDK is installed, an equal one elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SDK = """
class BaseMemoryStore:
    def __init__(self, config):
        self.config = config
"""
PROGRAM = """
from charm_checkpoint import BaseMemoryStore, SqliteMemory
memory = SqliteMemory({"url": "sqlite:///:memory:"})
print(BaseMemoryStore.__module__, isinstance(memory, BaseMemoryStore), memory.config)
"""


def run_with(folder: Path) -> str:
    """Run the program with packages of ``folder`` in reach before all others."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{PROGRAM}"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.strip()  # fmt: skip


@pytest.mark.parametrize("file", ["storage.py", "storage/__init__.py"])
def test_the_sdks_class_is_extended_where_it_is_installed(tmp_path: Path, file: str) -> None:
    storage = tmp_path / "charm" / "core" / file
    storage.parent.mkdir(parents=True)
    for package in ("charm", "charm/core"):  # regular ones: the SDK itself may be installed
        (tmp_path / package / "__init__.py").touch()
    storage.write_text(SDK)
    assert run_with(tmp_path) == "charm.core.storage True {'url': 'sqlite:///:memory:'}"


def test_another_package_called_charm_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "charm.py").write_text("raise RuntimeError('imported')")
    module, extends, _ = run_with(tmp_path).split(" ", 2)
    assert (module, extends) == ("charm_checkpoint.messages.charm_base", "True")
