"""The table of stores, and what every test leaves behind: nothing."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest


class Row(NamedTuple):
    """A store to test: its name, and how to get the URL of a new, empty one; a missing server raises `Missing`."""

    name: str
    make_url: Callable[[Path], str]


class Missing(Exception):
    """The server that a store needs is not running here."""


STORES = (
    Row("ram", lambda folder: "memory://"),
    Row("sqlite", lambda folder: f"sqlite:///{folder}/charm.db"),
    Row("sqlite-memory", lambda folder: "sqlite:///:memory:"),
)


@pytest.fixture(params=STORES, ids=[row.name for row in STORES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a new, empty store of each kind."""
    row: Row = request.param
    try:
        return row.make_url(tmp_path)
    except Missing as missing:
        if os.environ.get("CHARM_REQUIRE_STORES") == "1":
            raise
        pytest.skip(f"{row.name}: {missing}")


@pytest.fixture(autouse=True)
def nothing_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let what a test forgot to close show up as a warning, which is an error, in that very test."""
    yield
    if "url" in request.fixturenames:
        gc.collect()
