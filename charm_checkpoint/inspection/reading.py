"""Reading a state for a look: its record, its chunks as far as they are wanted, what its tasks wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from charm_checkpoint.contract import CheckpointRow, Query, StoredCheckpoint
from charm_checkpoint.errors import DataError, StoreCorrupt, format_path
from charm_checkpoint.inspection.building import Builder
from charm_checkpoint.inspection.checkpoints import CheckpointInfo
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.cursors import cursor
from charm_checkpoint.inspection.history import info
from charm_checkpoint.inspection.naming import checkpoint_id, removed_meanwhile
from charm_checkpoint.inspection.outlines import CONTROL, NO_TASK, CheckpointOutline, Outliner, is_internal, node_of
from charm_checkpoint.inspection.packets import with_packets
from charm_checkpoint.inspection.pages import Place, list_slice
from charm_checkpoint.inspection.plain_values import Damaged, Notes, as_plain
from charm_checkpoint.inspection.states import ChannelView, Content, Note, PendingWriteView, Question, TaskError
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.history import COUNTERS
from charm_checkpoint.saver.pending_writes import decode_writes
from charm_checkpoint.saver.records import Record
from charm_checkpoint.saver.refs import CheckpointRef
from charm_checkpoint.store import Store
from charm_checkpoint.values.sealing import Identity, opened
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.forms import VALUE
from charm_checkpoint.values.serde.framing import elements
from charm_checkpoint.values.serde.raw import PlainSerializer
from charm_checkpoint.values.serde.telling import Finding

TOLD = frozenset({"lost", "changed"})
"""What is told of values that were read, beside objects that could not be restored."""


class Found(NamedTuple):
    """A checkpoint that was found: as it is stored, in outline, and as a history shows it."""

    stored: StoredCheckpoint
    outline: CheckpointOutline
    info: CheckpointInfo

    @property
    def row(self) -> CheckpointRow:
        """Return its row."""
        return self.outline.row

    @property
    def record(self) -> Record | None:
        """Return its record, None if it is damaged."""
        return self.outline.record


class Look:
    """Reads states of a store; ``serde`` is that of the program's saver."""

    def __init__(self, store: Store, serde: Serializer) -> None:
        self.store = store
        self.backend = store.backend
        self.limits = store.limits
        self.serde = serde.keeping
        self.outliner = Outliner(store, self.serde)

    # ------------------------------------------------------------------ checkpoints

    def find(self, thread: str, ns: str, name: Any) -> Plan[Found | None]:
        """Return a checkpoint, None if the thread holds messages only; raises as `checkpoint_id` does."""
        id = yield from checkpoint_id(self.backend, thread, ns, name)
        if id is None:
            return None
        line = yield from self.backend.ancestors(thread, ns, id, 2)
        if not line or line[0].row is None:
            raise removed_meanwhile(thread, id)
        outlined = {n: self.outliner.outline(item) for n, item in enumerate(line)}
        outlined = yield from with_packets(self.backend, self.limits, outlined)
        outline, parent = outlined[0], outlined.get(1)
        page = yield from self.backend.page(Query(thread, ns), None, 1, writes=False)
        is_head = any(item.row is not None and item.row.id == id for item in page.items)
        below = yield from self.backend.page(Query(thread, ns, before=id, before_thread=thread), None, 1, writes=False)
        before = [item.row.id for item in below.items if item.row is not None]
        parent_id = outline.row.parent
        is_fork = parent_id is not None and before[:1] not in ([], [parent_id])
        return Found(line[0], outline, info(outline, parent, is_head, is_fork))

    # ------------------------------------------------------------------ channels

    def builder(self, shelf: Shelf, heard: list[Finding]) -> Builder:
        """Return what builds values from a shelf's chunks; what it finds of their classes is added to ``heard``."""
        return Builder(self.serde.telling(heard.append), shelf, self.limits)

    def channels(self, found: Found, shelf: Shelf, last: int | None) -> Plan[dict[str, ChannelView]]:
        """Return a checkpoint's channels; of long lists the last elements, if so many are wanted."""
        record = found.record
        if record is None:
            return {}
        apart = [location for location in record.locations.values() if type(location) is bytes]
        if last is None:
            yield from shelf.reach(apart)
        views = {}
        for name, location in record.locations.items():
            view = None
            if type(location) is bytes and last is not None:
                view = yield from self.slice(found, shelf, name, last, None)
            views[name] = view or self.view(found, shelf, name)
        for name in delta_names(record):
            views[name] = yield from self.delta(found, name)
        return views

    def view(self, found: Found, shelf: Shelf, name: str) -> ChannelView:
        """Return one channel, whose chunks are on the shelf."""
        record = found.record
        assert record is not None
        location = record.locations[name]
        size = 0
        if type(location) is bytes:
            size = shelf.size_of([location])
        elif location is None:
            size = len(inline_part(record, name) or b"")
        decode = partial(self._content, record, shelf, name)
        return self._channel(found, name, size, decode)

    def _channel(
        self, found: Found, name: str, size: int, decode: Callable[[], Content], before: str | None = None
    ) -> ChannelView:
        checkpoint = found.record.checkpoint if found.record else {}
        internal = is_internal(name, checkpoint.get("v"))
        version = checkpoint.get("channel_versions", {}).get(name)
        return ChannelView(name, internal, size, version, before, decode)

    def _content(self, record: Record, shelf: Shelf, name: str) -> Content:
        heard: list[Finding] = []
        location = record.locations[name]
        value: Any
        if type(location) is list:
            value = location[0]
        elif type(location) is bytes:
            value = self.builder(shelf, heard).value(location)
        else:
            packed = inline_part(record, name)
            builder = self.builder(shelf, heard)
            value = Damaged("the record's values are damaged") if packed is None else builder.inline(VALUE + packed)
        return content(name, value, heard)

    def slice(self, found: Found, shelf: Shelf, name: str, last: int, place: Place | None) -> Plan[ChannelView | None]:
        """Return the last elements of a channel that is a long list, or those before a place; None for another."""
        assert found.record is not None
        location = found.record.locations[name]
        if type(location) is not bytes:
            return None
        heard: list[Finding] = []
        part = yield from list_slice(shelf, self.builder(shelf, heard), location, last, place)
        if part is None:
            yield from shelf.reach([location])
            return None
        before = None if part.before is None else conversation_cursor(found.row.id, name, part.before)
        is_whole = place is None and before is None
        decode = partial(content, name, part.values, heard, is_whole=is_whole)
        return self._channel(found, name, shelf.size_of([location]), decode, before)

    def delta(self, found: Found, name: str) -> Plan[ChannelView]:
        """Return a channel that is stored as its changes: the value stored last, and what was written since."""
        from charm_checkpoint.inspection.deltas import delta_parts  # only for it: it reads as the saver does

        value, said = yield from delta_parts(self.store, self.serde, CheckpointRef(*found.row[:3]), name)
        notes = () if said is None else (Note(format_path((name,)), said),)
        return self._channel(found, name, 0, partial(content, name, value, (), notes))

    # ------------------------------------------------------------------ writes

    def writes(self, found: Found) -> list[tuple[str, str | None, str, Any]]:
        """Return pending writes: task, node, channel, value; of a damaged body, what its outline says."""
        row = found.row
        whose = self.outliner.identities.writes(row.thread, row.ns, row.id)
        nodes = {write.task_id: node_of(write.path, found.outline.sent) for write in found.outline.writes}
        try:
            decoded = self._decoded([opened(whose, body) for body in found.stored.writes])
        except (StoreCorrupt, DataError):
            decoded = [write for body in found.stored.writes for write in self._salvaged(whose, body)]
        return [(task, nodes.get(task), channel, value) for task, channel, value in decoded]

    def _salvaged(self, whose: Identity, body: bytes) -> list[tuple[str, str, Any]]:
        """Return a task's writes by themselves, where others of the checkpoint are damaged, or these are."""
        try:
            return self._decoded([opened(whose, body)])
        except (StoreCorrupt, DataError) as error:
            return [("?", "?", Damaged(str(error)))]

    def _decoded(self, bodies: Sequence[bytes]) -> list[tuple[str, str, Any]]:
        try:
            return decode_writes(self.serde.loads, bodies, self.limits)
        except DataError:  # of a class of LangGraph's that is not loaded
            return decode_writes(PlainSerializer().loads, bodies, self.limits)


def content(
    name: str, value: Any, heard: Sequence[Finding], said: Sequence[Note] = (), *, is_whole: bool = True
) -> Content:
    """Return a channel's content; elements of a part of a list are counted from its end."""
    notes = Notes()
    plain: Any
    if is_whole:
        plain = as_plain(value, (name,), notes.tell)
    else:
        plain = [as_plain(item, (name, at - len(value)), notes.tell) for at, item in enumerate(value)]
    told = [Note(format_path((name,)), finding.message) for finding in heard if finding.what in TOLD]
    return Content(value, plain, (*(Note(*found) for found in notes.found), *dict.fromkeys(told), *said))


def inline_part(record: Record, name: str) -> bytes | None:
    """Return the encoded value that stands in a record, None if the record's values are damaged."""
    names = [each for each, location in record.locations.items() if location is None]
    try:
        return elements(record.inline[1:])[names.index(name)]
    except (ValueError, IndexError):
        return None


def delta_names(record: Record) -> list[str]:
    """Return the channels that a checkpoint has as changes since an earlier one."""
    counters = record.metadata.get(COUNTERS)
    if type(counters) is not dict:
        return []
    return [name for name in counters if type(name) is str and name not in record.locations]


def conversation_cursor(id: str | None, channel: str | None, place: Place) -> str:
    """Return the cursor of a place in a list of messages."""
    return cursor("conversation", id, channel, [list(place.way), *place[1:]])


# ------------------------------------------------------------------------------ what stopped it


def questions(writes: Sequence[tuple[str, str | None, str, Any]], waiting: set[str]) -> Iterator[Question]:
    """Yield the questions that tasks asked."""
    for task, node, channel, value in writes:
        if channel != INTERRUPT or task == NO_TASK:
            continue
        for asked in value if type(value) in (list, tuple) else [value]:
            notes = Notes()
            plain = as_plain(asked, (), notes.tell)
            held = plain if type(plain) is dict and "value" in plain else {"value": plain}
            id = held.get("id") or held.get("interrupt_id")
            note = "; ".join(text for _, text in notes.found) or None
            yield Question(task, node, held["value"], id if type(id) is str else None, task in waiting, note)


def answers(writes: Sequence[tuple[str, str | None, str, Any]]) -> Iterator[Any]:
    """Yield the answers that are stored for the questions, as plain JSON."""
    for task, _, channel, value in writes:
        if channel == RESUME and task == NO_TASK:
            yield as_plain(value)


def errors(writes: Sequence[tuple[str, str | None, str, Any]]) -> Iterator[TaskError]:
    """Yield the errors that tasks ended with."""
    for task, node, channel, value in writes:
        if channel == ERROR and task != NO_TASK:
            plain = as_plain(value)
            yield TaskError(task, node, plain if type(plain) is str else str(plain))


def written(writes: Sequence[tuple[str, str | None, str, Any]], version: Any = None) -> Iterator[PendingWriteView]:
    """Yield what tasks wrote to the state's channels."""
    for task, node, channel, value in writes:
        if channel not in CONTROL and not is_internal(channel, version):
            notes = Notes()
            plain = as_plain(value, (channel,), notes.tell)
            yield PendingWriteView(task, node, channel, plain, "; ".join(text for _, text in notes.found) or None)


def metadata_of(record: Record | None) -> Mapping[str, Any]:
    """Return a record's metadata as plain JSON."""
    plain: Mapping[str, Any] = {} if record is None else as_plain(record.metadata)
    return plain
