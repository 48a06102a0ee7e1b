"""Every row of the table of changes: version 2 on what version 1 stored, in processes of their own."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from conftest import STORES, or_skip
from conftest import Row as Store
from pages import ROOT
from workers import WorkerPool

from changes.deploying import Deployment
from changes.rows import Row, Story
from changes.table import PARTS, ROWS

DOCS: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "changes.py"))
PAGE: str = DOCS["PAGE"].read_text(encoding="utf-8")
DOCUMENTED: dict[str, tuple[str, str]] = DOCS["documented"](PAGE)
SAME_VERSIONS: bool = DOCS["versions"]() in PAGE
"""Whether the official saver here is the one that the page tells of."""
SHARED = {"files", "postgres", "supabase", "valkey"}
"""The other stores that processes share, one of each kind."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.change.replace(" ", "-"))
def test_on_sqlite(row: Row | Story, versions: WorkerPool, tmp_path: Path) -> None:
    deployment = Deployment(versions, tmp_path, f"sqlite:///{tmp_path}/charm.db", row, compare=SAME_VERSIONS)
    deployment.run()
    deployment.check()
    ours, theirs = DOCUMENTED[row.change]
    assert deployment.outcome("charm") == ours, "run: python docs/changes.py"
    if SAME_VERSIONS:
        assert deployment.outcome("official") == theirs, "run: python docs/changes.py"


def test_the_page_has_every_row() -> None:
    assert list(DOCUMENTED) == [row.change for rows in PARTS.values() for row in rows]


@pytest.mark.parametrize("row", [row for row in ROWS if row.everywhere], ids=lambda row: row.change.replace(" ", "-"))
@pytest.mark.parametrize("store", [row for row in STORES if row.name in SHARED], ids=lambda row: row.name)
def test_on_other_stores(row: Row | Story, store: Store, versions: WorkerPool, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    url = or_skip(lambda: store.make_url(tmp_path / "store"))
    deployment = Deployment(versions, tmp_path, url, row, compare=False)
    deployment.run()
    deployment.check()
