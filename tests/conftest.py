"""The table of stores, and what every test leaves behind: nothing."""

from __future__ import annotations

import gc
import itertools
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


def pytest_collection_finish() -> None:
    """Spare `gc.collect`, which runs after every test, what is there before the first."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=STORES, ids=[row.name for row in STORES])
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Return a function that makes URLs of new, empty stores, for each kind of store."""
    row: Row = request.param
    numbers = itertools.count()

    def make() -> str:
        folder = tmp_path / f"store {next(numbers)}"
        folder.mkdir()
        try:
            return row.make_url(folder)
        except Missing as missing:
            if os.environ.get("CHARM_REQUIRE_STORES") == "1":
                raise
            pytest.skip(f"{row.name}: {missing}")

    return make


@pytest.fixture
def url(make_url: Callable[[], str]) -> str:
    """Return the URL of a new, empty store, of each kind."""
    return make_url()


@pytest.fixture(autouse=True)
def nothing_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let what a test forgot to close show up as a warning, which is an error, in that very test."""
    yield
    if "make_url" in request.fixturenames:
        gc.collect()
