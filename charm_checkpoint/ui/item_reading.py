"""What the page asks for of long-term memory: namespaces, and the items in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from charm_checkpoint.errors import NotThere
from charm_checkpoint.plain import as_json
from charm_checkpoint.ui.outline import capped, opened
from charm_checkpoint.ui.page import Page
from charm_checkpoint.ui.parameters import Parameters

if TYPE_CHECKING:
    from langgraph.store.base import Item

ROOM = 4_000
"""Characters of an item's value in a list of items."""


async def namespaces(page: Page, asked: Parameters) -> dict[str, Any]:
    """Tell which namespaces there are."""
    size, offset = asked.number("limit", 200, 1000, 1), asked.number("offset", 0, 10**9)
    store = page.memory.get_langgraph_store(index=False)
    found = await store.alist_namespaces(limit=size + 1, offset=offset)
    return {"namespaces": [list(each) for each in found[:size]], "more": len(found) > size}


async def items(page: Page, asked: Parameters) -> dict[str, Any]:
    """Tell of the items below a namespace; what is asked for keeps no item alive."""
    size, offset = asked.number("limit", 50, 500, 1), asked.number("offset", 0, 10**9)
    store = page.memory.get_langgraph_store(index=False)
    prefix = asked.namespace()
    found = await store.asearch(prefix, query=asked.maybe("search"), limit=size + 1, offset=offset, refresh_ttl=False)
    return {"items": [_item(each) for each in found[:size]], "more": len(found) > size}


def _item(item: Item) -> dict[str, Any]:
    return {
        "namespace": list(item.namespace),
        "key": item.key,
        "value": capped(as_json(item.value), ROOM)[0],
        "created_at": item.created_at.isoformat(),
        "updated_at": item.updated_at.isoformat(),
    }


async def item(page: Page, asked: Parameters) -> dict[str, Any]:
    """Return a slice of what stands at a path of an item."""
    store = page.memory.get_langgraph_store(index=False)
    namespace, key = asked.namespace(), asked.text("key")
    found = await store.aget(namespace, key, refresh_ttl=False)
    if found is None:
        raise NotThere(f"There is no item {key!r} there.")
    place = asked.path(), *asked.slice()
    value = found.value
    return await page.apart(lambda: opened(as_json(value), *place))
