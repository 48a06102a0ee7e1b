"""What of memories a model is shown before it answers a message."""

from __future__ import annotations

from typing import Any, Final

from charm_checkpoint.errors import ConfigError, DataError, ReadOnlyStore
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term.noise import is_copy
from charm_checkpoint.long_term.plain_text import plain
from charm_checkpoint.long_term.prompt_block import DEFAULT_BUDGET, Budget, may_be_shown, prompt_block
from charm_checkpoint.long_term.recalling import Names, Recalling
from charm_checkpoint.long_term.records import MemoryEntry
from charm_checkpoint.long_term.revalidation import Revalidating

CONVERSATION: Final = "conversation"
"""The category of turns of a conversation that were saved as they came."""
ASKED: Final = 2000
"""How many characters of a message memories are looked for by."""

OF_A_MESSAGE: Final = 0.8
"""How much of `Settings.min_score` a message must score by words: it says more than a question, so less of it fits."""

_MORE = 4


class Showing(Recalling, Revalidating):
    """Shows memories to models: those that still hold."""

    def context(
        self,
        message: str,
        *,
        session: str | None = None,
        kinds: Names = None,
        scopes: Names = None,
        min_score: float | None = None,
        turns: bool = False,
        budget: Budget = DEFAULT_BUDGET,
    ) -> str:
        """Return the block of memories to put before a message, see `charm_checkpoint.long_term.prompt_block`.

        It is empty if no memory says anything about the message. The message itself is never in it, should it have been
        saved; nor are turns of conversations, which the thread has, unless ``turns``: then those of others than
        ``session``. For the same memories it is the same text. Without ``min_score``, what memories are to score by
        words is 0.8 of `Settings.min_score`, as a message is longer than a question.
        """
        asked = self._asked_for(kinds, turns)
        return self._run(self._context(message, asked, scopes, min_score, session, budget))

    async def acontext(
        self,
        message: str,
        *,
        session: str | None = None,
        kinds: Names = None,
        scopes: Names = None,
        min_score: float | None = None,
        turns: bool = False,
        budget: Budget = DEFAULT_BUDGET,
    ) -> str:
        """Return the block of memories to put before a message; see `context`."""
        asked = self._asked_for(kinds, turns)
        return await self._arun(self._context(message, asked, scopes, min_score, session, budget))

    def _asked_for(self, kinds: Names, turns: bool) -> dict[str, Any]:
        asked = self._asked(kinds, ("active",), None, None, None, None, None)
        return asked if turns else {**asked, "category": {"$ne": CONVERSATION}}

    def _context(
        self,
        message: str,
        asked: dict[str, Any],
        scopes: Names,
        min_score: float | None,
        session: str | None,
        budget: Budget,
    ) -> Flow[str]:
        if not isinstance(message, str):
            raise DataError(f"it is text, not {type(message).__name__}", path=("message",))
        if not isinstance(budget, Budget):
            raise ConfigError(f"budget is a Budget(entries, characters, total), not {budget!r}")
        text = plain(message).strip()
        if not text or not budget.entries:
            return ""
        least = self._least(scopes) if min_score is None else min_score
        size = budget.entries
        while True:
            found = yield from self._recall(text[:ASKED], size, scopes, asked, least, False, False, False)
            shown = [entry for entry in found if may_be_shown(entry) and not _is_echo(entry, text, session)]
            if len(shown) >= budget.entries or len(found) < size:
                break
            size *= _MORE
        block = prompt_block(shown, budget)
        if block:
            try:
                yield from self._noted([entry for entry in shown[: budget.entries] if entry.scope in self.scopes])
            except ReadOnlyStore:
                pass  # what cannot be noted can be shown all the same
        return block

    def _least(self, scopes: Names) -> float:
        """Return the score to reach by a message; with vectors, one that is about something else scores more."""
        by_words = all("embed" not in (scope.store.index_config or {}) for scope in self._scopes(scopes))
        return self.settings.min_score * (OF_A_MESSAGE if by_words else 1)


def _is_echo(entry: MemoryEntry, message: str, session: str | None) -> bool:
    """Tell whether a memory is the message itself, a turn of its thread, or what was saved of one and helps nobody."""
    if _same_text(entry.body, message):
        return True
    if entry.category is None:
        return False
    of_this_thread = entry.category == CONVERSATION and entry.session is not None and entry.session == session
    return of_this_thread or is_copy(entry.title, entry.body)


def _same_text(one: str, other: str) -> bool:
    return plain(one).casefold().split() == other.casefold().split()
