"""The tags of a checkpoint or an item, as a listing asks for them; pure."""

from __future__ import annotations

from charm_checkpoint.contract import NESTED, Query
from charm_checkpoint.contract_items import ItemQuery


def has_tags(tags: bytes, query: Query | ItemQuery) -> bool:
    """Tell whether ``tags`` may be as a query wants them: it may say yes for one that is not there."""
    for tag in query.tags:
        if tag not in tags:
            return False
    return not query.nested or not tags.startswith(NESTED) or all(tag in tags for tag in query.nested)
