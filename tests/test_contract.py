"""The shipped contract suite, on every store of the table in conftest."""

from __future__ import annotations

from charm_checkpoint.testing import PARTS, ContractSuite


class TestContract(ContractSuite):
    pass


def test_no_part_hides_another_parts_test() -> None:
    names = [name for part in PARTS for name in vars(part) if name.startswith("test_")]
    assert len(names) == len(set(names)) == len([name for name in dir(ContractSuite) if name.startswith("test_")])
