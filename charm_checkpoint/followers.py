"""What comes while checkpoints are removed: if it follows one that goes, nothing more may go by the former choice."""

from __future__ import annotations

from collections.abc import Collection

from charm_checkpoint.contract import Backend, Query, ThreadState
from charm_checkpoint.plan import Plan

AT_ONCE = 32
"""Checkpoints that are looked at in one go: few come meanwhile."""


class Newcomers:
    """The checkpoints of a thread that came behind ``newest``, looked at again and again.

    A store may give the number of a checkpoint that was removed to one that comes then, which would not be seen.
    ``since`` is the state of the thread at which ``newest`` was the newest: if something was removed later, nothing
    is told from numbers. It is left out by stores that give none out twice.
    """

    def __init__(
        self,
        backend: Backend,
        thread: str,
        doomed: Collection[tuple[str, str]],
        newest: int,
        since: ThreadState | None = None,
    ) -> None:
        self._backend = backend
        self._thread = thread
        self._doomed = frozenset(doomed)
        self._newest = newest
        self._since = since

    def look(self) -> Plan[int | None]:
        """Return the thread's ``seq`` if none that came since the last look follows one that goes, else None.

        It is 0 where the thread has no checkpoint.
        """
        expect: int | None = None
        newest, after = self._newest, None
        while True:
            page = yield from self._backend.page(Query(self._thread), after, AT_ONCE, writes=False)
            rows = [item.row for item in page.items if item.row is not None]
            if expect is None:
                state = page.items[0].state if rows else ThreadState()
                if rows and self._since is not None and state[:2] != self._since[:2]:
                    return None
                expect = state.seq
            fresh = [row for row in rows if row.seq > self._newest]
            if any((row.ns, row.parent) in self._doomed for row in fresh):
                return None
            newest = max([newest, *(row.seq for row in fresh)])
            after = page.next
            if len(fresh) < len(rows) or after is None:
                self._newest = newest
                return expect


def newcomers_of(backend: Backend, thread: str, doomed: Collection[tuple[str, str]]) -> Plan[Newcomers]:
    """Return what looks at those that come from now on."""
    page = yield from backend.page(Query(thread), None, 1, writes=False)
    newest = max((item.row.seq for item in page.items if item.row is not None), default=0)
    return Newcomers(backend, thread, doomed, newest)
