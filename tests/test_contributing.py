"""CONTRIBUTING.md tells the truth: the files that it names are there, and so are the markers and the tests."""

from __future__ import annotations

import re
from pathlib import Path

import markers
import pytest
from pages import ROOT

from charm_checkpoint.testing import ContractSuite

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SHORT = (ROOT / ".ci" / "short").read_text().split("\n")


def defined() -> set[str]:
    """Return the names of all tests."""
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "charm_checkpoint" / "testing").glob("*.py")]
    return {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))}


def test_the_files_that_are_named_are_there() -> None:
    paths = re.findall(r"`((?:charm_checkpoint|tests|docs|notebooks|benchmarks|\.ci)/[\w/.]*)`", TEXT)
    assert len(paths) > 25
    assert [path for path in paths if not (ROOT / path).exists() and "NAME" not in path] == []
    assert [line for line in SHORT if line.startswith("tests/") and not (ROOT / line).exists()] == []


def test_every_part_of_the_package_is_on_the_map() -> None:
    package = ROOT / "charm_checkpoint"
    found = {path.parent.name for path in package.glob("*/__init__.py")}
    assert [name for name in sorted(found) if f"`charm_checkpoint/{name}/`" not in TEXT] == []


def test_markers_and_parts_of_the_suite_are_known(pytestconfig: pytest.Config) -> None:
    registered = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    named = [*re.findall(r'pytest .*?-m "([^"]+)"', TEXT), *re.findall(r"pytest -m (\w+)", TEXT)]
    assert {"sqlite", "slow", "blocking"} <= {word for words in named for word in re.findall(r"\w+", words)}
    assert {word for words in named for word in re.findall(r"\w+", words)} - {"and", "not", "or", "NAME"} <= registered
    assert {*markers.STORES, *markers.MODES, "slow"} <= registered
    assert {f"`{name}`" for name in markers.STORES} - {"`sqlite`"} <= set(re.findall(r"`\w+`", TEXT))
    assert "DeltaHistory" in {part.__name__ for part in ContractSuite.__mro__}
    assert set(re.findall(r"-k (test_\w+)", TEXT)) <= defined()


def test_what_is_slow_is_there() -> None:
    assert markers.SLOW_TESTS <= defined()
    assert {f"test_{name}.py" for name in markers.SLOW_MODULES} <= {
        path.name for path in Path(__file__).parent.rglob("test_*.py")
    }
