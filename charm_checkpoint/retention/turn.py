"""The turn to sweep a store by itself: of one program at a time, noted in an item of the store's.

With it is noted how far the listing of threads was gone through, so that whoever comes next goes on there: a program
may end after a few puts, and all threads are to be looked at all the same. Where a store has no items, each program
sweeps by itself.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from charm_checkpoint.contract_items import BatchReply, ItemBackend, ItemBatch, ItemChange, ItemKey, ItemRow
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.inspection.cursors import cursor, place_of
from charm_checkpoint.items import clock
from charm_checkpoint.items.bounded import seal, unseal
from charm_checkpoint.items.namespaces import UPKEEP
from charm_checkpoint.runtime.turns import Terms, due_at, renewed, taken
from charm_checkpoint.session import Session, Step

NOTE: Final = ItemKey(UPKEEP + b"sweep", b"turn")
"""The item."""
ATTEMPTS: Final = 5

Change = Callable[["dict[str, Any] | None"], "dict[str, Any] | None"]


class Turn:
    """What is noted of sweeps, and what this program makes of it."""

    def __init__(self, items: ItemBackend | None, terms: Terms) -> None:
        self._items = items
        self._terms = terms
        self._me = uuid.uuid4().hex
        self._alone: dict[str, Any] | None = None
        self.place: Any = None
        """Where the listing goes on, by what was noted when the turn was taken; None at its start."""

    def take(self) -> Session[int | None]:
        """Take the turn: return None if it is ours, else in how many microseconds to ask again."""
        now = clock.now()
        state = yield from self._update(lambda state: taken(state, self._me, self._terms, now))
        if state is not None and state.get("holder") == self._me:
            self.place = _place(state.get("place"))
            return None
        due = due_at(state, self._terms)
        return min(max(self._terms.lifetime // 2, (due or now) - now), self._terms.interval)

    def renew(self, place: Any) -> Session[bool]:
        """Say that this program is still at it, and how far; tell whether it is still its turn."""
        text = _text(place)
        state = yield from self._update(lambda state: renewed(state, self._me, clock.now(), place=text))
        return state is not None and state.get("holder") == self._me

    def end(self, failed: bool) -> Session[None]:
        """Say that all was done, or that something failed and is to be tried again sooner."""
        now = clock.now()
        failures = {"sweep": "see the log"} if failed else {}
        changed = {"holder": None, "unfinished": False, "ended": now, "failures": failures, "place": None}
        yield from self._update(lambda state: renewed(state, self._me, now, **changed))

    def leave(self) -> Session[None]:
        """Let another program go on at once, where this one stopped."""
        yield from self._update(lambda state: renewed(state, self._me, clock.now(), holder=None))

    def _update(self, change: Change) -> Session[dict[str, Any] | None]:
        """Put what a function makes of what is noted, unless that is None; return what is noted then."""
        if self._items is None:
            self._alone = change(self._alone) or self._alone
            return self._alone
        state: dict[str, Any] | None = None
        for _ in range(ATTEMPTS):
            rows: Mapping[ItemKey, ItemRow] = yield Step(partial(self._items.fetch, [NOTE]))
            row = rows.get(NOTE)
            state = None if row is None else _read(row)
            new = change(state)
            if new is None:
                return state
            batch = ItemBatch(clock.now(), changes=[_put(new, row)])
            reply: BatchReply = yield Step(partial(self._items.change, batch), write=True)
            if reply.outcome == "stored":
                return new
        return state


def _put(state: Mapping[str, Any], row: ItemRow | None) -> ItemChange:
    value = seal(NOTE, json.dumps(state).encode())
    return ItemChange(NOTE.space, NOTE.key, value, expect=0 if row is None else row.updated)


def _read(row: ItemRow) -> dict[str, Any] | None:
    """Return what is noted; None for what is damaged, or of a form that is not known: then a sweep begins anew."""
    try:
        state = json.loads(unseal(row) or b"null")
    except ValueError:
        return None
    if not isinstance(state, dict) or not all(isinstance(state.get(name, 0), int) for name in _TIMES):
        return None
    return {"failures": {}, **state}


def _text(place: Any) -> str | None:
    """Return a place as it is noted; None for one that is of use to this process alone."""
    return cursor("sweep", place) if isinstance(place, (int, str, bytes, tuple)) else None


def _place(text: Any) -> Any:
    try:
        [place] = place_of("sweep", text, 1)
    except ConfigError:  # nothing is noted, or in a form that is not known: it begins anew
        return None
    return tuple(place) if isinstance(place, list) else place


_TIMES = ("began", "renewed", "ended")
