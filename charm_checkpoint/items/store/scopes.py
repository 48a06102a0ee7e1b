"""What a program keeps of the namespaces it searches: for each prefix an index, within the store's budget."""

from __future__ import annotations

from collections.abc import Mapping

from charm_checkpoint.contract_items import EntriesReply
from charm_checkpoint.items.ranking.index import ScopeIndex
from charm_checkpoint.runtime.cache import ENTRY, Budget, Cache


class Scopes:
    """The indexes of one store, for all who search in it."""

    def __init__(self, budget: Budget) -> None:
        self._cache: Cache[bytes, ScopeIndex] = Cache(budget, _weight, any_weight=True)

    def of(self, prefix: bytes) -> ScopeIndex:
        """Return the index of what lies below a prefix, a new one if none is kept."""
        return self._cache.get(prefix) or ScopeIndex()

    def take(self, prefix: bytes, scope: ScopeIndex, reply: EntriesReply, asked: Mapping[bytes, int]) -> bool:
        """Let an index know what has changed, and keep it if there is room; tell as `ScopeIndex.apply` does."""
        before = scope.weight
        settled = scope.apply(reply, asked)
        self._cache.put(prefix, scope, ENTRY + before)
        return settled


def _weight(prefix: bytes, scope: ScopeIndex) -> int:
    return ENTRY + scope.weight
