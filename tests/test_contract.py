"""The shipped contract suite, on every store of the table in conftest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from raw_bytes import raw_of

from charm_checkpoint.testing import ContractSuite
from charm_checkpoint.testing.base import raw_files


class TestContract(ContractSuite):
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
