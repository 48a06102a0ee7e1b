"""Message lists from one store to another: as they are stored where that is in one piece, as lists where it is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    source: Reader, target: Reader, thread: str, wanted: Wanted, tally: Tally, there: bool | None
) -> Moving[bool]:
    """Copy a thread's messages; tell whether they were not there.

    ``there`` is False if the target is known to have none, None if it was not seen to have any: what is put then does
    not take the place of anything. Raises `ThreadExists` if the target has others, that are not the beginning of them,
    `Disturbed` if it has some after all, and `StoreCorrupt`.
    """
    copy = _Copy(source, target, thread, wanted, tally)
    if source.store.history is None and target.store.history is None:
        record = yield from source.messages(thread)
        if record.is_empty:
            return False
        is_asked = there or (there is None and record.packed is None)  # a batch alone goes behind whatever is there
        held = (yield from target.messages(thread)) if is_asked else None
        if held is not None and held.digest == record.digest:
            return False
        if held is None or held.is_empty or held.is_begun_of(record):
            yield from copy.records(record, held)
            return True
    return (yield from copy.lists(there is False))


class ListWriter:
    """Puts one thread's list as it is stored, its chunks ahead of it; ``revision`` is that of what it replaces."""

    def __init__(self, store: Store, thread: str, revision: int = 0) -> None:
        self._store = store
        self._thread = thread
        self._identities = Openers(store).identities
        self._revision = revision
        self._sweeps: int | None = None  # what the counter was when chunks were put that are left out since

    def ahead(self, part: list[Chunk]) -> Moving[None]:
        """Put chunks with a list that is empty, and so is told from the whole one."""
        yield from self.put(pack(Serializer(allowed=()).dumps([])), b"", part)

    def put(self, packed: bytes, roots: bytes, chunks: list[Chunk]) -> Moving[None]:
        """Put a list with the last of its chunks."""
        body = seal(self._identities.messages(self._thread, roots), packed)
        new = NewMessages(self._thread, body, roots, chunks, self._sweeps, self._revision, taken=0)
        reply: WriteResult = yield self._hop(partial(self._store.backend.put_messages, new))
        if reply.outcome != "stored":
            raise disturbed(self._thread)
        self._sweeps, self._revision = reply.state.sweeps, self._revision + 1

    def append(self, batches: Iterable[bytes]) -> Moving[None]:
        """Put batches behind it."""
        for packed in batches:
            body = seal(self._identities.batch(self._thread), packed)
            yield self._hop(partial(self._store.backend.append_messages, self._thread, body))

    def _hop(self, make: Any) -> Hop:
        return Hop(self._store, make, self._thread, write=True)


def read_list(source: Reader, thread: str, record: MessageRecord) -> Moving[tuple[MessageRecord, Walker, Reach]]:
    """Return a list, as it is or as it has become meanwhile, with what it reaches: all of that is there."""
    for _ in range(ATTEMPTS):
        walker = Walker(source.store, thread, messages=True)
        try:
            yield from walker.prefetch([record.roots], record.given)
            return record, walker, (yield from walker.reach(record.roots))
        except StoreCorrupt:
            again = yield from source.messages(thread)
            if again.state == record.state:
                raise
            record = again
    raise disturbed(thread)


class _Copy:
    """A copy of one list under way."""

    def __init__(self, source: Reader, target: Reader, thread: str, wanted: Wanted, tally: Tally) -> None:
        self._source, self._target = source, target
        self._thread = thread
        self._wanted = wanted
        self._tally = tally

    # ----------------------------------------------------------------------------------------------- as they are stored

    def records(self, record: MessageRecord, held: MessageRecord | None) -> Moving[None]:
        """Put a list as it is stored, and then its batches one by one: it is there as it is, or as it was earlier."""
        if held is not None and not held.is_empty:  # the list itself is there
            fresh = record.batches[len(held.batches) :]
            yield from self._finish(record, ListWriter(self._target.store, self._thread), fresh, 0, 0)
            return
        record, walker, reach = yield from read_list(self._source, self._thread, record)
        writer = ListWriter(self._target.store, self._thread, held.revision if held else 0)
        if record.packed is not None and not self._wanted.dry_run:
            last = yield from walker.send(reach, writer.ahead)
            yield from writer.put(record.packed, record.roots, last)
        size = reach.size + len(record.packed or b"")
        yield from self._finish(record, writer, record.batches, len(reach.order), size)

    def _finish(
        self, record: MessageRecord, writer: ListWriter, batches: Sequence[bytes], chunks: int, size: int
    ) -> Moving[None]:
        if not self._wanted.dry_run:
            yield from writer.append(batches)
            if self._wanted.verify:
                yield from self._verify(record)
        self._tally.messages += 1
        self._tally.chunks += chunks
        self._tally.bytes += size + sum(map(len, batches))

    def _verify(self, record: MessageRecord) -> Moving[None]:
        found = yield from self._target.messages(self._thread)
        if found.digest != record.digest:
            raise StoreCorrupt("the messages that were read back from the target are not those that were sent")
        walker = Walker(self._target.store, self._thread, messages=True)
        yield from walker.prefetch([found.roots], found.given)
        yield from walker.reach(found.roots)

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
