"""How checkpoints are removed by the schema's functions: some in a call, so that no writer of the thread waits long."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, cast

from charm_checkpoint.contract import Backend, ThreadState, WriteResult
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.followers import newcomers_of
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.pacing import resting
from charm_checkpoint.stores.postgres_schema.operations import Call
from charm_checkpoint.stores.shared.names import CHECKPOINTS, RECENT, id_bytes, identity, text_bytes

REMOVED = 100
"""Checkpoints that go in one call."""
ATTEMPTS = 100
"""How often a call is made again because somebody wrote meanwhile."""

CHUNKS_STAY = b""
"""Among the ids of a removal, which are never empty: its chunks go in calls of their own, as nothing reaches them."""

_identity = lru_cache(RECENT)(identity)


class PostgresRemoving:
    """Removing checkpoints, for one tenant; the rest of the backend is in backend.py."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self._tenant = text_bytes(tenant)

    def _identity(self, thread: str, kind: int = CHECKPOINTS) -> bytes:
        return _identity(self._tenant, kind, thread)

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[WriteResult]:
        """Remove checkpoints; see `Backend.remove`. Many go some at a time, and then their chunks."""
        keys = [(text_bytes(ns), id_bytes(id)) for ns, id in doomed]
        if not keys:
            return (yield from self._sweep(thread, expect))
        if len(keys) <= REMOVED:
            outcome, state = yield from self._remove(thread, keys, expect)
            return WriteResult("changed" if outcome == "changed" else "stored", state)
        newcomers = None if expect is None else (yield from newcomers_of(cast(Backend, self), thread, doomed))
        for start in range(0, len(keys), REMOVED):
            some = [*keys[start : start + REMOVED], (keys[start][0], CHUNKS_STAY)]
            for _ in range(ATTEMPTS):
                outcome, state = yield from self._remove(thread, some, expect)
                if outcome != "changed":
                    break
                expect = None if newcomers is None or start == 0 else (yield from newcomers.look())
                if not expect:  # of a thread that is empty by now nothing is left to go
                    return WriteResult("changed", state)
            else:
                raise StoreUnavailable(f"Thread {thread!r} kept changing, and not all of it was removed; try again.")
            expect = None if expect is None else state.seq
            yield from resting()
        return (yield from self._sweep(thread, None))

    def _sweep(self, thread: str, expect: int | None) -> Plan[WriteResult]:
        """Remove the chunks that nothing reaches, some at a time."""
        outcome, state = yield from self._remove(thread, (), expect)
        while outcome == "more":
            yield from resting()
            outcome, state = yield from self._remove(thread, (), None)
        return WriteResult("changed" if outcome == "changed" else "stored", state)

    def _remove(self, thread: str, keys: Sequence[tuple[bytes, bytes]], expect: int | None) -> Plan[tuple[str, Any]]:
        args = (self._tenant, self._identity(thread), [ns for ns, _ in keys], [id for _, id in keys], expect)
        # Done twice with nothing expected, it would count one sweep too many: that harms nobody.
        [[outcome, *state]] = yield Call("remove", args)
        return outcome, state_of(state)


def state_of(state: Sequence[int | None]) -> ThreadState:
    """Return a thread's state; one never heard of has no row, and NULLs here."""
    return ThreadState(*(number or 0 for number in state))
