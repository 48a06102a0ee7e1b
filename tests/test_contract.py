"""The shipped contract suite, on every store of the table in conftest."""

from __future__ import annotations

from charm_checkpoint.testing import ContractSuite


class TestContract(ContractSuite):
    pass


def test_no_part_hides_another_parts_test() -> None:
    names = [name for part in ContractSuite.__mro__ for name in vars(part) if name.startswith("test_")]
    assert len(names) == len(set(names)) > 100
