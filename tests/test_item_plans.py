"""What `ItemPlans` makes of three plans: on the store of items that a page of the documentation writes."""

from __future__ import annotations

from typing import Any

import pytest
from pages import BY_NAME

from charm_checkpoint import register_store
from charm_checkpoint.contract_items import ItemBackend, ItemBatch, ItemChange, ItemKey
from charm_checkpoint.plan import run, step
from charm_checkpoint.testing import ItemSuite

A = ItemKey(b"s", b"a")


def my_items() -> dict[str, Any]:
    """Return what the page's module has."""
    names: dict[str, Any] = {"__name__": "my_items"}
    [block] = [block for block in BY_NAME["docs/writing-a-store.md"].blocks("python") if block.file == "my_items.py"]
    exec(block.code, names)
    return names


MODULE = my_items()
register_store("my-items", MODULE["open_store"])


class TestMyItems(ItemSuite):
    @pytest.fixture
    def url(self) -> str:
        return "my-items://"


def test_what_is_put_off_while_expire_looks_stays() -> None:
    items: ItemBackend = MODULE["MyItems"]()
    assert isinstance(items, ItemBackend)
    run(items.change(ItemBatch(1, changes=[ItemChange(*A, b"value", ttl=10)])), lambda call: call())
    plan = items.expire(11, 100)
    entries = step(plan)()
    run(items.change(ItemBatch(10, touches=[A])), lambda call: call())
    removal = step(plan, entries)
    with pytest.raises(StopIteration) as end:
        step(plan, removal())
    assert end.value.value == 0
    assert run(items.count(b"", 19), lambda call: call()) == 1
