"""What a program keeps of the namespaces it searches: for each prefix an index, within the store's budget."""

from __future__ import annotations

from collections.abc import Mapping

from charm_checkpoint.contract_items import EntriesReply
from charm_checkpoint.items.ranking.index import ScopeIndex
from charm_checkpoint.runtime.cache import ENTRY, Budget, Cache


class Scopes:
    """The indexes of one store, for all who search in it."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._cache: Cache[tuple[bytes, bool], ScopeIndex] = Cache(budget, _weight, any_weight=True)

    def of(self, prefix: bytes, words: bool = True) -> ScopeIndex:
        """Return the index of what lies below a prefix, with words or without, a new one if none is kept."""
        return self._cache.get((prefix, words)) or ScopeIndex(words)

    def drop(self, prefix: bytes, scope: ScopeIndex) -> None:
        """Keep an index no longer."""
        self._cache.put((prefix, scope.words), ScopeIndex(scope.words))

    def is_heavy(self, scope: ScopeIndex) -> bool:
        """Tell whether an index leaves no room for others."""
        return scope.weight > self._budget.limit // 2

    def take(self, prefix: bytes, scope: ScopeIndex, reply: EntriesReply, asked: Mapping[bytes, int]) -> bool:
        """Let an index know what has changed, and keep it if there is room; tell as `ScopeIndex.apply` does."""
        if reply.same:
            return True
        before = scope.weight
        settled = scope.apply(reply, asked)
        self.keep(prefix, scope, before)
        return settled

    def keep(self, prefix: bytes, scope: ScopeIndex, before: int) -> None:
        """Keep an index if there is room; ``before`` is what it weighed when it was kept last."""
        self._cache.put((prefix, scope.words), scope, ENTRY + before)


def _weight(prefix: tuple[bytes, bool], scope: ScopeIndex) -> int:
    return ENTRY + scope.weight
