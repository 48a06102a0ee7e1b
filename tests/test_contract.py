"""The shipped contract suite, on every store of the table in conftest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from zlib import crc32

import pytest
from markers import MODES, SLOW_ROWS
from raw_bytes import raw_of
from workers import SCALE

from charm_checkpoint.testing import ContractSuite
from charm_checkpoint.testing.base import Take, raw_files

SHARE = 4
"""Where the full set runs on another row of the same SQL or Lua, one in so many runs: in each test and mode another."""


class TestContract(ContractSuite):
    @pytest.fixture
    def part_of(self, request: pytest.FixtureRequest) -> Take:
        """Return what takes all that is to be tried; on slow rows a share of it, none of it in both modes."""
        row, mode = (request.node.callspec.params[name] for name in ("make_url", "mode"))
        if row.name not in SLOW_ROWS or SCALE > 1:
            return tuple
        first = crc32(request.node.originalname.encode()) + MODES.index(mode) * SHARE // 2

        def share(samples: Iterable[Any]) -> Sequence[Any]:
            return tuple(samples)[first % SHARE :: SHARE]

        return share

    @pytest.fixture
    def raw_bytes(self, url: str) -> Callable[[], bytes]:
        """Return what reads all bytes that the store keeps, on servers too."""
        raw = raw_of(url) or raw_files(url)
        if raw is None:
            pytest.skip("what is in this process's memory is not looked through")
        return raw


def test_no_part_hides_another_parts_test() -> None:
    names = [name for part in ContractSuite.__mro__ for name in vars(part) if name.startswith("test_")]
    assert len(names) == len(set(names)) > 100
