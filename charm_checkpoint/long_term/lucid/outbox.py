"""What the command is still to be told: items beside the memories, sent in order by whichever process comes next.

An entry names a memory and does not hold it: what is sent is what the memory says at that moment, and nothing of one
that was forgotten. An entry is there before its memory is written and ready after it, so none is lost if the process
dies in between; an entry that is never made ready is sent all the same, some time later. What was sent may be sent
again, if the process dies before it has noted that.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from charm_checkpoint.errors import ItemConflict
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.long_term.steps import call

log = logging.getLogger("charm_checkpoint")

GRACE: Final = 10_000_000
"""Microseconds after which an entry is sent that was never made ready: whoever wrote it has ended, most likely."""
FORGOTTEN: Final = 3_600_000_000
"""Microseconds after which an entry goes that was never made ready, and whose memory there is not."""

_LEASE = "lease"
_LONGEST: Final = 24 * 3_600_000_000
"""A lease that seems to last longer is of a clock that went wrong."""


class Entry(NamedTuple):
    """One memory that the command is to be told; ``key`` is in the order in which they came."""

    key: str
    scope: str
    title: str
    ready: bool
    attempts: int
    added: int


class Outbox:
    """The entries of one place of memories, in a store of items; all methods are flows.

    ``namespace`` is that of the entries, ``namespace + ("lease",)`` where it says who sends them.
    """

    def __init__(self, store: CharmStore, namespace: tuple[str, ...], entries: int, lease: float) -> None:
        self._store = store
        self._entries = (*namespace, "entries")
        self._leases = (*namespace, _LEASE)
        self._most = entries
        self._lease = round(lease * 1_000_000)
        self._name = uuid.uuid4().hex

    def add(self, scope: str, title: str) -> Flow[Entry]:
        """Note that a memory is about to be written; beyond the bound, the oldest entries go."""
        now = clock.now()
        entry = Entry(f"{now:020d}-{uuid.uuid4().hex[:8]}", scope, title, False, 0, now)
        yield from self._put(entry)
        over = (yield from self.count()) - self._most
        if over > 0:
            log.warning(
                "lucid: more than %d memories wait for the command; the %d that waited longest are kept here alone",
                self._most,
                over,
            )
            for oldest in (yield from self.waiting())[:over]:
                yield from self.remove(oldest)
        return entry

    def ready(self, entry: Entry) -> Flow[None]:
        """Note that the memory was written; the entry is there then, whatever others have made of it meanwhile."""
        yield from self._put(entry._replace(ready=True))

    def failed(self, entry: Entry) -> Flow[None]:
        """Note that the command could not be told."""
        yield from self._put(entry._replace(attempts=entry.attempts + 1))

    def remove(self, entry: Entry) -> Flow[None]:
        """Take out what was sent."""
        yield call(self._store, "delete", self._entries, entry.key)

    def count(self) -> Flow[int]:
        """Count the entries."""
        count: int = yield call(self._store, "count", self._entries)
        return count

    def waiting(self) -> Flow[list[Entry]]:
        """Return the entries, in the order in which they came."""
        found = yield call(self._store, "search", self._entries, limit=2 * self._most)
        return sorted(Entry(item.key, **_checked(item.value)) for item in found)

    def due(self) -> Flow[list[Entry]]:
        """Return the entries that may be sent now."""
        old = clock.now() - GRACE
        return [entry for entry in (yield from self.waiting()) if entry.ready or entry.added < old]

    def _put(self, entry: Entry) -> Flow[None]:
        value = {name: part for name, part in entry._asdict().items() if name != "key"}
        yield call(self._store, "put", self._entries, entry.key, value, False, ttl=None)

    # ---------------------------------------------------------------------------------------------------- the lease

    def take(self) -> Flow[bool]:
        """Become the one who sends, or go on being it; tell whether this worked."""
        now, me = clock.now(), self._me()

        def change(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
            if value is not None and value["holder"] != me and now < value["until"] < now + _LONGEST:
                return None
            return {"holder": me, "until": now + self._lease}

        try:
            item = yield call(self._store, "update", self._leases, _LEASE, change)
        except ItemConflict:
            return False
        return item is not None and item.value["holder"] == me

    def release(self) -> Flow[None]:
        """Let others send."""
        me = self._me()

        def change(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
            mine = value is not None and value["holder"] == me
            return {"holder": "", "until": 0} if mine else None

        yield call(self._store, "update", self._leases, _LEASE, change)

    def _me(self) -> str:
        return f"{self._name}-{os.getpid()}"  # a forked child is another one


def _checked(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[name] for name in Entry._fields[1:]}
