"""What a prune and the deletion of runs remove, as plans: it is chosen by checkpoints without their values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from charm_checkpoint.contract import Backend, CheckpointRow, Query
from charm_checkpoint.errors import Later, StoreCorrupt, StoreUnavailable, placing
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.history import CheckpointKey, Decode, prunable, with_delta_history, with_their_tasks
from charm_checkpoint.saver.records import Record, decode_row
from charm_checkpoint.values.sealing import Identities
from charm_checkpoint.values.serde import Serializer

log = logging.getLogger("charm_checkpoint")

OUTLINE = 1000
"""Checkpoints read at a time, without their values, to prune."""
ATTEMPTS = 20
"""How often a removal starts again because the thread changed under it."""


class Removals:
    """The plans by which a saver removes checkpoints."""

    def __init__(self, backend: Backend, serde: Serializer, identities: Identities) -> None:
        self._backend = backend
        self._identities = identities
        self._serde = serde

    def prune(self, thread: str, strategy: str) -> Plan[None]:
        """Remove what a strategy does not keep."""
        if strategy != "keep_latest":
            yield from self._backend.delete_thread(thread)
            return
        yield from self._remove(thread, lambda rows: prunable(rows, self._outlined))

    def keep(self, thread: str, choose: Callable[[Sequence[CheckpointRow], Decode], set[CheckpointKey]]) -> Plan[None]:
        """Remove all of a thread but the checkpoints that are chosen."""
        yield from self._remove(thread, lambda rows: {(row.ns, row.id) for row in rows} - choose(rows, self._outlined))

    def count(self, thread: str, choose: Callable[[Sequence[CheckpointRow], Decode], set[CheckpointKey]]) -> Plan[int]:
        """Tell how many checkpoints are chosen."""
        rows, _ = yield from self._outline(thread)
        return len(choose(rows, self._outlined))

    def _remove(self, thread: str, choose: Callable[[Sequence[CheckpointRow]], set[CheckpointKey]]) -> Plan[None]:
        """Remove what is chosen of a thread's checkpoints, which do not change in between."""
        tried: set[CheckpointKey] = set()
        for _ in range(ATTEMPTS):
            rows, seq = yield from self._outline(thread)
            doomed = choose(rows)
            if not doomed:
                if tried - {(row.ns, row.id) for row in rows}:  # what was stopped leaves the chunks of what went
                    yield from self._backend.remove(thread, (), None)
                return
            tried |= doomed
            reply = yield from self._backend.remove(thread, doomed, seq)
            if reply.outcome == "stored":
                return
        raise StoreUnavailable(f"Thread {thread!r} kept changing meanwhile, and not all of it was removed; try again.")

    def _outline(self, thread: str) -> Plan[tuple[list[CheckpointRow], int | None]]:
        """Return all checkpoints of a thread without their values, and the ``seq`` they were read under."""
        rows: list[CheckpointRow] = []
        seq, after = None, None
        while True:
            page = yield from self._backend.page(Query(thread), after, OUTLINE, writes=False)
            if page.items and seq is None:
                seq = page.items[0].state.seq
            rows += [found.row for found in page.items if found.row is not None]
            after = page.next
            if after is None:
                return rows, seq

    def delete_for_runs(self, run_ids: Sequence[str]) -> Plan[tuple[list[str], Later]]:
        """Remove what runs made; return the threads that had any, and what was damaged of them."""
        later = Later()
        doomed: dict[str, set[tuple[str, str]]] = {}
        for thread, ns, id in (yield from self._backend.runs(list(run_ids))):
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
