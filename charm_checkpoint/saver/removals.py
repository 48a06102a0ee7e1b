"""What a prune and the deletion of runs remove: it is chosen by checkpoints without their values.

These are sessions: a thread is read in one step and what is chosen removed in another, so that nobody waits for the
choice. What others add in between only has older ones go, so what was chosen still goes; but if one of theirs follows
what was to go, or others remove something, too, it is chosen anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from charm_checkpoint.contract import Backend, CheckpointRow, Query, ThreadState, Usage, added
from charm_checkpoint.errors import Later, StoreCorrupt, StoreUnavailable, placing
from charm_checkpoint.followers import Newcomers
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.saver.history import CheckpointKey, Decode, prunable, with_delta_history, with_their_tasks
from charm_checkpoint.saver.records import Record, decode_row
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.sealing import Identities
from charm_checkpoint.values.serde import Serializer

log = logging.getLogger("charm_checkpoint")

OUTLINE = 1000
"""Checkpoints read at a time, without their values, to prune."""
MANY = 2_000
"""Checkpoints from which on an event loop does not wait for the choice."""
CHOICES = 20
"""How often it is chosen anew because the thread changed meanwhile."""
ATTEMPTS = 10
"""How often a removal is begun because the thread changes just then."""


class Outline(NamedTuple):
    """A thread's checkpoints without their values, and its state when the first of them were read."""

    rows: list[CheckpointRow]
    state: ThreadState | None

    @property
    def newest(self) -> int:
        """Return the commit number of the last checkpoint."""
        return max((row.seq for row in self.rows), default=0)


class Removals:
    """How a saver removes checkpoints."""

    def __init__(self, backend: Backend, serde: Serializer, identities: Identities) -> None:
        self._backend = backend
        self._identities = identities
        self._serde = serde

    def prune(self, thread: str, strategy: str) -> Session[None]:
        """Remove what a strategy does not keep."""
        if strategy != "keep_latest":
            yield Step(partial(self._backend.delete_thread, thread), thread, write=True)
            return
        yield from self._remove(thread, lambda rows: prunable(rows, self._outlined))

    def keep(
        self, thread: str, choose: Callable[[Sequence[CheckpointRow], Decode], set[CheckpointKey]], named: str
    ) -> Session[None]:
        """Remove all of a thread but the checkpoints that are chosen; ``named``: which thread errors are to name."""

        def doomed(rows: Sequence[CheckpointRow]) -> set[CheckpointKey]:
            return {(row.ns, row.id) for row in rows} - choose(rows, self._outlined)

        yield from self._remove(thread, doomed, named)

    def count(self, thread: str, choose: Callable[[Sequence[CheckpointRow], Decode], set[CheckpointKey]]) -> Plan[int]:
        """Tell how many checkpoints are chosen."""
        outline = yield from self._outline(thread)
        return len(choose(outline.rows, self._outlined))

    def _remove(
        self, thread: str, choose: Callable[[Sequence[CheckpointRow]], set[CheckpointKey]], named: str | None = None
    ) -> Session[None]:
        """Remove what is chosen of a thread's checkpoints."""
        named = thread if named is None else named
        tried: set[CheckpointKey] = set()
        for _ in range(CHOICES):
            outline, doomed = yield Step(partial(self._chosen, thread, choose), named)
            if not doomed:
                if tried - {(row.ns, row.id) for row in outline.rows}:
                    # What was stopped leaves the chunks of what went.
                    yield Step(partial(self._backend.remove, thread, (), None), named, write=True)
                return
            tried |= doomed
            removal = partial(removed, self._backend, thread, doomed, outline.newest, outline.state)
            is_done, _ = yield Step(removal, named, write=True)
            if is_done:
                return
        raise StoreUnavailable(f"Thread {named!r} kept changing meanwhile, and not all of it was removed; try again.")

    def _chosen(
        self, thread: str, choose: Callable[[Sequence[CheckpointRow]], set[CheckpointKey]]
    ) -> Plan[tuple[Outline, set[CheckpointKey]]]:
        """Return what `_outline` does, and which of the checkpoints are chosen."""
        outline = yield from self._outline(thread)
        rows = outline.rows
        doomed = choose(rows) if len(rows) < MANY else (yield Compute(partial(choose, rows)))
        return outline, doomed

    def _outline(self, thread: str) -> Plan[Outline]:
        """Return all checkpoints of a thread without their values."""
        rows: list[CheckpointRow] = []
        state, after = None, None
        while True:
            page = yield from self._backend.page(Query(thread), after, OUTLINE, writes=False)
            if page.items and state is None:
                state = page.items[0].state
            rows += [found.row for found in page.items if found.row is not None]
            after = page.next
            if after is None:
                return Outline(rows, state)

    def delete_for_runs(self, run_ids: Sequence[str]) -> Session[tuple[list[str], Later]]:
        """Remove what runs made; return the threads that had any, and what was damaged of them."""
        later = Later()
        doomed: dict[str, set[tuple[str, str]]] = {}
        for thread, ns, id in (yield Step(partial(self._backend.runs, list(run_ids)))):
            doomed.setdefault(thread, set()).add((ns, id))
        for thread, keys in doomed.items():
            with later, placing(thread):
                yield from self._remove(thread, partial(self._doomed_of_runs, thread, keys))
        return list(doomed), later

    def _doomed_of_runs(
        self, thread: str, keys: set[CheckpointKey], rows: Sequence[CheckpointRow]
    ) -> set[CheckpointKey]:
        by_key = {(row.ns, row.id): row for row in rows}
        keys = keys & set(by_key)
        needed = with_delta_history(set(by_key) - keys, by_key, self._outlined) & keys
        needed |= with_their_tasks(needed, by_key, self._outlined) & keys
        if needed:
            log.warning(
                "Thread %r: %d checkpoints of deleted runs stay, later ones are built on their writes.",
                thread,
                len(needed),
            )
        return keys - needed

    def _outlined(self, row: CheckpointRow) -> Record | None:
        """Decode a row without the values: this needs no class of the program. One that is damaged is None."""
        try:
            with placing(row.thread, row.ns, row.id):
                return decode_row(self._serde, self._identities, row, outline=True)
        except StoreCorrupt as error:
            log.warning("%s; what it may be built on stays.", error)
            return None


def removed(
    backend: Backend, thread: str, doomed: Collection[CheckpointKey], newest: int, state: ThreadState | None
) -> Plan[tuple[bool, Usage]]:
    """Remove checkpoints if none that came behind ``newest`` follows one of them; tell whether they are gone.

    And what the store counts of it. ``state`` is the thread's when it was chosen; see `Newcomers`.
    """
    went, newcomers = Usage(), Newcomers(backend, thread, doomed, newest, state)
    for _ in range(ATTEMPTS):
        expect = yield from newcomers.look()
        if not expect:
            return expect is not None, went
        reply = yield from backend.remove(thread, doomed, expect)
        went = went if reply.removed is None else added(went, reply.removed)
        if reply.outcome == "stored":
            return True, went
    return False, went
