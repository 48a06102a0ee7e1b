"""Message lists from one store to another: as they are stored where that is in one piece, as lists where it is not."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from charm_checkpoint.contract import Chunk, NewMessages, WriteResult
from charm_checkpoint.errors import StoreCorrupt, ThreadExists
from charm_checkpoint.messages.plans import MessageHistory
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.store import History, Store
from charm_checkpoint.transfer.hops import Hop, Moving
from charm_checkpoint.transfer.reading import Reader
from charm_checkpoint.transfer.records import MessageRecord, Openers
from charm_checkpoint.transfer.report import Tally
from charm_checkpoint.transfer.walking import Reach, Walker
from charm_checkpoint.transfer.writing import disturbed
from charm_checkpoint.values.packing import pack
from charm_checkpoint.values.sealing import seal
from charm_checkpoint.values.serde import Serializer

if TYPE_CHECKING:
    from charm_checkpoint.transfer.copying import Wanted

ATTEMPTS = 4
"""How often a list is read again that is changed meanwhile."""


def history_of(store: Store) -> History:
    """Return the plans of a store's messages."""
    return store.history or MessageHistory(store.backend, Budget(1 << 20), store.limits)


def copy_messages(
    source: Reader, target: Reader, thread: str, wanted: Wanted, tally: Tally, blank: bool
) -> Moving[bool]:
    """Copy a thread's messages; tell whether they were not there.

    Raises `ThreadExists` if the target has others, that are not the beginning of them, and `StoreCorrupt`.
    """
    copy = _Copy(source, target, thread, wanted, tally)
    if source.store.history is None and target.store.history is None:
        record = yield from source.messages(thread)
        if record.is_empty:
            return False
        held = None if blank else (yield from target.messages(thread))
        if held is not None and held.digest == record.digest:
            return False
        if (held is None or held.is_empty) and copy.is_one_piece(record):
            yield from copy.records(record)
            return True
    return (yield from copy.lists(blank))


class _Copy:
    """A copy of one list under way."""

    def __init__(self, source: Reader, target: Reader, thread: str, wanted: Wanted, tally: Tally) -> None:
        self._source, self._target = source, target
        self._thread = thread
        self._wanted = wanted
        self._tally = tally
        self._identities = Openers(target.store).identities

    # ----------------------------------------------------------------------------------------------- as they are stored

    def is_one_piece(self, record: MessageRecord) -> bool:
        """Tell whether one call puts all of it: only then is it there as a whole or not at all."""
        return (record.packed is None) + len(record.batches) <= 1 or (record.packed is not None and not record.batches)

    def records(self, record: MessageRecord) -> Moving[None]:
        """Put a list as it is stored; again, if it is changed while it is read."""
        for _ in range(ATTEMPTS):
            walker = Walker(self._source.store, self._thread, messages=True)
            try:
                reach = yield from walker.reach(record.roots)
                break
            except StoreCorrupt:
                again = yield from self._source.messages(self._thread)
                if again.state == record.state:
                    raise
                record = again
        else:
            raise disturbed(self._thread)
        self._tally.messages += 1
        self._tally.chunks += len(reach.order)
        self._tally.bytes += reach.size + len(record.packed or b"") + sum(map(len, record.batches))
        if not self._wanted.dry_run:
            yield from self._put(record, walker, reach)
            if self._wanted.verify:
                yield from self._verify(record)

    def _put(self, record: MessageRecord, walker: Walker, reach: Reach) -> Moving[None]:
        if record.packed is None:
            [packed] = record.batches
            body = seal(self._identities.batch(self._thread), packed)
            yield self._hop(partial(self._target.store.backend.append_messages, self._thread, body))
            return
        held = yield from self._target.messages(self._thread)
        revision = held.revision
        sweeps: int | None = None

        def ahead(part: list[Chunk]) -> Moving[None]:
            """Put chunks with a list that is empty, and so is told from the whole one."""
            nonlocal revision, sweeps
            sweeps = yield from self._put_list(pack(Serializer(allowed=()).dumps([])), b"", part, sweeps, revision)
            revision += 1

        last = yield from walker.send(reach, ahead)
        yield from self._put_list(record.packed, record.roots, last, sweeps, revision)

    def _put_list(
        self, packed: bytes, roots: bytes, chunks: list[Chunk], sweeps: int | None, revision: int
    ) -> Moving[int]:
        """Put a list; ``sweeps`` is what its counter was when the chunks that are left out were put."""
        body = seal(self._identities.messages(self._thread, roots), packed)
        new = NewMessages(self._thread, body, roots, chunks, sweeps, revision, taken=0)
        reply: WriteResult = yield self._hop(partial(self._target.store.backend.put_messages, new))
        if reply.outcome != "stored":
            raise disturbed(self._thread)
        return reply.state.sweeps

    def _verify(self, record: MessageRecord) -> Moving[None]:
        found = yield from self._target.messages(self._thread)
        if found.digest != record.digest:
            raise StoreCorrupt("the messages that were read back from the target are not those that were sent")
        yield from Walker(self._target.store, self._thread, messages=True).reach(found.roots)

    # -------------------------------------------------------------------------------------------------------- as lists

    def lists(self, blank: bool) -> Moving[bool]:
        """Put a list in place of its own beginning, or of none."""
        theirs = yield from self._load(self._source.store)
        mine = [] if blank else (yield from self._load(self._target.store))
        if theirs == mine:
            return False
        if mine != theirs[: len(mine)]:
            raise ThreadExists(
                "the target holds other messages under its name; delete them there first, or leave it out"
            )
        self._tally.messages += 1
        if self._wanted.dry_run:
            return True
        yield self._hop(partial(history_of(self._target.store).save, self._thread, theirs))
        if self._wanted.verify and (yield from self._load(self._target.store)) != theirs:
            raise StoreCorrupt("the messages that were read back from the target are not those that were sent")
        return True

    def _load(self, store: Store) -> Moving[list[dict[str, Any]]]:
        messages: list[dict[str, Any]] = yield Hop(store, partial(history_of(store).load, self._thread), self._thread)
        return messages

    def _hop(self, make: Any) -> Hop:
        return Hop(self._target.store, make, self._thread, write=True)
