"""Checkpoints in outline: what their records say, and which channels their tasks wrote to; no value is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import ormsgpack
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, SCHEDULED, TASKS

from charm_checkpoint.contract import CheckpointRow, StoredCheckpoint, capabilities, tenant_of
from charm_checkpoint.errors import DataError, NewerFormat, StoreCorrupt
from charm_checkpoint.saver.pending_writes import FORMS
from charm_checkpoint.saver.records import Record, decode_row
from charm_checkpoint.saver.waiting import JOIN, is_full, leads_to_node
from charm_checkpoint.store import Store
from charm_checkpoint.values.packing import unpack_value
from charm_checkpoint.values.sealing import Identities, opened
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.framing import elements

START = "__start__"
NO_TASK = "00000000-0000-0000-0000-000000000000"
"""The task of writes that are nobody's, such as the answer to an interrupt."""
PULL, PUSH = "~__pregel_pull, ", "~__pregel_push, "
"""How LangGraph's paths begin of tasks that an edge started, and of those that were sent to."""
CONTROL = frozenset({ERROR, INTERRUPT, RESUME, SCHEDULED, "__error_source_node__"})
"""What a task writes to say how it stands, and not to the state."""


class WriteOutline(NamedTuple):
    """A pending write without its value."""

    task_id: str
    path: str
    number: int
    channel: str


class CheckpointOutline(NamedTuple):
    """A checkpoint as far as it can be told: ``record`` is None if it is damaged, ``note`` then says so.

    ``sent`` are the nodes that its packets are for, in order.
    """

    row: CheckpointRow
    record: Record | None
    writes: tuple[WriteOutline, ...] = ()
    size: int = 0
    note: str | None = None
    sent: tuple[str, ...] = ()

    def finished(self) -> set[str]:
        """Return the tasks that have written what they were to write."""
        return {write.task_id for write in self.writes if write.channel not in CONTROL}

    def tasks_with(self, channel: str) -> set[str]:
        """Return the tasks that wrote to a channel."""
        return {write.task_id for write in self.writes if write.channel == channel and write.task_id != NO_TASK}


class Outliner:
    """Reads checkpoints in outline."""

    def __init__(self, store: Store, serde: Serializer) -> None:
        self.serde = serde
        self.limits = store.limits
        self.identities = Identities(tenant_of(store.backend), marks=capabilities(store.backend).marks_copies)

    def outline(self, found: StoredCheckpoint) -> CheckpointOutline:
        """Return a stored checkpoint in outline; what is damaged is noted."""
        row = found.row
        assert row is not None
        size = len(row.body) + len(row.roots) + sum(map(len, found.writes))
        notes: list[str] = []
        record = None
        try:
            record = decode_row(self.serde, self.identities, row, outline=True, limits=self.limits)
        except (StoreCorrupt, DataError) as error:
            notes.append(str(error))
        writes: tuple[WriteOutline, ...] = ()
        try:
            writes = tuple(self._writes(row, found.writes))
        except (StoreCorrupt, DataError) as error:
            notes.append(f"its pending writes: {error}")
        sent = () if record is None else tuple(_sent_to(record))
        return CheckpointOutline(row, record, writes, size, "; ".join(notes) or None, sent)

    def _writes(self, row: CheckpointRow, bodies: Sequence[bytes]) -> Iterator[WriteOutline]:
        whose = self.identities.writes(row.thread, row.ns, row.id)
        seen: set[tuple[str, int]] = set()
        for body in bodies:
            payload = unpack_value(opened(whose, body), self.limits)
            if payload[:1] not in FORMS:
                raise NewerFormat.of("The body of pending writes begins with", payload[:1])
            for write in outlined(payload[1:]):
                if write[::2] not in seen:
                    seen.add((write.task_id, write.number))
                    yield write


def outlined(packed: bytes) -> Iterator[WriteOutline]:
    """Yield the writes in a task's packed body; raises `StoreCorrupt` for another shape."""
    try:
        task_id, path, items = _skeleton(packed)
        for number, channel, *_ in items:
            if not type(task_id) is type(path) is type(channel) is str or type(number) is not int:
                raise TypeError("a task, its path and a channel are texts, and a write has a number")
            yield WriteOutline(task_id, path, number, channel)
    except (ValueError, TypeError) as error:
        raise StoreCorrupt(f"The body of pending writes has another shape than it should: {error}") from error


def _skeleton(packed: bytes) -> Any:
    """Return plain lists, dicts and atoms, with None in place of all else: no class is looked for."""
    return ormsgpack.unpackb(packed, ext_hook=_nothing)


def _nothing(code: int, data: bytes) -> None:
    return None


# ------------------------------------------------------------------------------ nodes


def is_internal(channel: str, version: Any) -> bool:
    """Tell whether a channel is LangGraph's own; ``version`` is that of the checkpoint's form."""
    own = (START, TASKS, "__input__", "__end__", "__previous__", "__return__", INTERRUPT, ERROR, RESUME)
    return channel in own or channel.startswith(JOIN) or leads_to_node(channel, version)


def next_nodes(outline: CheckpointOutline) -> list[str]:
    """Return the nodes that a checkpoint leads to, as LangGraph names them, with those that were sent to."""
    record = outline.record
    if record is None:
        return []
    version = record.checkpoint.get("v")
    found = []
    for name in record.locations:
        if name == START:
            found.append(START)
        elif leads_to_node(name, version):
            found.append(name.rpartition(":")[2])
        elif name.startswith(JOIN) and is_full(name, small_value(record, name)) and _is_new(record, name):
            found.append(name.rpartition(":")[2])
    return [*outline.sent, *sorted(set(found))]


def _is_new(record: Record, channel: str) -> bool:
    versions = record.checkpoint["channel_versions"]
    own = versions.get(channel)
    return all(type(other) is type(own) and other <= own for other in versions.values())


def _sent_to(record: Record) -> list[str]:
    """Return the nodes that packets are sent to, in order; none where these are too large to stand in the record."""
    packets = small_value(record, TASKS)
    return [str(name) for name in packets if type(name) is str] if type(packets) in (list, tuple) else []


def small_value(record: Record, channel: str) -> Any:
    """Return one of LangGraph's own small values: sets as lists, packets as the names of their nodes; None if apart."""
    location = record.locations.get(channel)
    if type(location) is list:
        return location[0]
    if location is not None or channel not in record.locations:
        return None
    names = [name for name, where in record.locations.items() if where is None]
    try:
        packed = elements(record.inline[1:])[names.index(channel)]
        return ormsgpack.unpackb(packed, ext_hook=small_ext)
    except (ValueError, TypeError, IndexError):  # damaged: whoever asks for the value is told
        return None


def small_ext(code: int, data: bytes) -> Any:
    """Return the members of a set, or the node that a packet is for."""
    body = ormsgpack.unpackb(data, ext_hook=_nothing)
    if type(body) is list and len(body) > 1 and type(body[0]) is str and type(body[1]) is dict:
        return body[1].get("node")
    return body


def writers(outline: CheckpointOutline, parent: CheckpointOutline | None) -> tuple[str, ...]:
    """Return the nodes whose writes a checkpoint holds.

    LangGraph notes them nowhere. They are the nodes that have seen other versions of what starts them than before,
    and those of the tasks whose writes wait at the parent, by their paths. A node that was sent to is found by the
    place of its packet, an update in a node's name not at all.
    """
    record = outline.record
    if record is None or record.metadata.get("source") in ("input", "fork"):
        return ()
    names: dict[str, None] = {}
    if parent is not None:
        done = parent.finished()
        for write in parent.writes:
            name = node_of(write.path, parent.sent) if write.task_id in done else None
            if name is not None and _is_of(record, name):
                names[name] = None
    before = {} if parent is None or parent.record is None else parent.record.checkpoint["versions_seen"]
    for node, seen in record.checkpoint["versions_seen"].items():
        if not _is_langgraphs(node) and seen != before.get(node) and (parent is not None or seen):
            names[node] = None
    return tuple(sorted(names))


def _is_langgraphs(node: str) -> bool:
    return node.startswith("__") and node != START


def _is_of(record: Record, node: str) -> bool:
    """Tell whether a node is one that ran before this checkpoint: its parent's writes may be a branch's beside it."""
    return node in record.checkpoint["versions_seen"]


def node_of(path: str, sent: Sequence[str] = ()) -> str | None:
    """Return the node of a task's path, None if that does not say it."""
    if path.startswith(PULL):
        return path[len(PULL) :]
    if path.startswith(PUSH):
        number = path[len(PUSH) :].partition(",")[0]
        return sent[int(number)] if number.isdecimal() and int(number) < len(sent) else None
    return None
