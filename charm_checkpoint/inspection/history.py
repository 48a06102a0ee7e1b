"""A thread's history: its checkpoints, the last one committed first, from their records alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.serde.types import ERROR, INTERRUPT

from charm_checkpoint.contract import Backend, CheckpointRow, Query
from charm_checkpoint.errors import CheckpointNotFound, ConfigError, StoreCorrupt, ThreadNotFound
from charm_checkpoint.inspection.checkpoints import CheckpointInfo
from charm_checkpoint.inspection.cursors import cursor, digest, place_of
from charm_checkpoint.inspection.outlines import CheckpointOutline, Outliner, is_internal, next_nodes, node_of, writers
from charm_checkpoint.inspection.packets import with_packets
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.history import made_at, parents_of, with_writes
from charm_checkpoint.saver.refs import limited

PAGE = 100
"""Checkpoints read at a time."""
DEVICE = ("device", "device_id", "host", "hostname")
"""Keys of metadata that name the machine of a run, if a program gives one."""


class History:
    """A listing of a thread's checkpoints under way, a page at a time: nothing is held open between pages."""

    def __init__(
        self, backend: Backend, outliner: Outliner, thread: str, ns: str | None, limit: int | None, after: str | None
    ) -> None:
        self._backend = backend
        self._outliner = outliner
        self.thread = thread
        self._ns = ns
        self._left = limited(limit)
        self._before: str | None = None if after is None else _place(thread, after)
        self._place: Any = None
        self._is_first = self._before is None
        self._heads: dict[str, str] = {}
        self.more = self._left != 0

    def next_page(self) -> Plan[tuple[list[CheckpointInfo], Any]]:
        """Return the plan of the next page."""
        query = Query(self.thread, self._ns, before=self._before, before_thread=self.thread)
        size = PAGE if self._left is None else min(PAGE, self._left)
        page = yield from self._backend.page(query, self._place, size, writes=False)
        rows = [item.row for item in page.items if item.row is not None]
        if any(row.thread != self.thread for row in rows):
            raise StoreCorrupt("What is stored here is named as another thread's.")
        if not rows and self._is_first:
            yield from require(self._backend, self.thread, self._ns)
        heads = yield from self._heads_of(rows)
        below = yield from self._below(rows)
        outlines = yield from self._outlines(rows)
        infos = [self._info(row, outlines, heads, below) for row in rows]
        return infos, page.next

    def take(self, page: tuple[list[CheckpointInfo], Any]) -> Iterator[CheckpointInfo]:
        """Return what of a page is wanted still; ``more`` is False after the last."""
        infos, self._place = page
        self._is_first = False
        for info in infos:
            self._heads.setdefault(info.checkpoint_ns, info.checkpoint_id if info.is_head else "")
        if self._left is not None:
            self._left -= len(infos)
        self.more = self._place is not None and self._left != 0
        return iter(infos)

    def _heads_of(self, rows: Sequence[CheckpointRow]) -> Plan[Mapping[str, str]]:
        """Return the heads of namespaces that were not met before: the first that is listed, or to be looked for."""
        heads: dict[str, str] = {}
        for row in rows:
            if row.ns in heads or row.ns in self._heads:
                continue
            heads[row.ns] = row.id
            if self._before is not None:
                page = yield from self._backend.page(Query(self.thread, row.ns), None, 1, writes=False)
                heads[row.ns] = next((item.row.id for item in page.items if item.row is not None), row.id)
        return heads

    def _below(self, rows: Sequence[CheckpointRow]) -> Plan[Mapping[tuple[str, str], str]]:
        """Return, for each checkpoint that follows one, what was committed before it in its namespace."""
        below: dict[tuple[str, str], str] = {}
        last: dict[str, CheckpointRow] = {}
        for row in rows:
            if row.ns in last:
                below[row.ns, last[row.ns].id] = row.id
            last[row.ns] = row
        for row in last.values():
            if row.parent is not None:
                query = Query(self.thread, row.ns, before=row.id, before_thread=self.thread)
                page = yield from self._backend.page(query, None, 1, writes=False)
                for item in page.items:
                    if item.row is not None:
                        below[row.ns, row.id] = item.row.id
        return below

    def _outlines(self, rows: Sequence[CheckpointRow]) -> Plan[dict[tuple[str, str], CheckpointOutline]]:
        """Return checkpoints and the parents of these in outline."""
        stored = yield from with_writes(self._backend, rows, parents=True)
        outlines = {(ns, id): self._outliner.outline(item) for (_, ns, id), item in stored.items()}
        return (yield from with_packets(self._backend, self._outliner.limits, outlines))

    def _info(
        self,
        row: CheckpointRow,
        outlines: Mapping[tuple[str, str], CheckpointOutline],
        heads: Mapping[str, str],
        below: Mapping[tuple[str, str], str],
    ) -> CheckpointInfo:
        head = heads.get(row.ns) or self._heads.get(row.ns)
        parent = None if row.parent is None else outlines.get((row.ns, row.parent))
        is_fork = row.parent is not None and below.get((row.ns, row.id), row.parent) != row.parent
        return info(outlines[row.ns, row.id], parent, row.id == head, is_fork)


def info(outline: CheckpointOutline, parent: CheckpointOutline | None, is_head: bool, is_fork: bool) -> CheckpointInfo:
    """Return a checkpoint as a history shows it."""
    row, record = outline.row, outline.record
    known: dict[str, Any] = {
        "thread_id": row.thread, "checkpoint_ns": row.ns, "checkpoint_id": row.id, "parent_id": row.parent,
        "conflict": row.conflict, "is_head": is_head, "is_fork": is_fork, "size": outline.size, "note": outline.note,
        "interrupts": len(_asking(outline, is_head)), "error": bool(_failed(outline, is_head)),
        "cursor": cursor("history", row.id, digest(row.thread)),
    }  # fmt: skip
    if record is None:
        return CheckpointInfo(**known)
    metadata, checkpoint = record.metadata, record.checkpoint
    return CheckpointInfo(
        **known,
        created_at=made_at(checkpoint.get("ts")),
        step=metadata.get("step") if type(metadata.get("step")) is int else None,
        source=_text(metadata.get("source")),
        nodes=writers(outline, parent),
        next=_next(outline, is_head),
        run_id=_text(metadata.get("run_id")),
        device=next((found for found in map(_text, map(metadata.get, DEVICE)) if found), None),
        channels=_state_channels(record.locations, checkpoint.get("v")),
        changed=_changed(outline, parent),
        parents=parents_of(metadata),
    )


def _place(thread: str, after: str) -> str:
    """Return the checkpoint that a cursor names; raises `ConfigError` if it is one of another thread."""
    id, named = place_of("history", after, 2)
    if named != digest(thread):
        raise ConfigError(f"the cursor is one of another thread's history, not of that of {thread!r}.")
    return str(id)


def _asking(outline: CheckpointOutline, is_head: bool) -> set[str]:
    """Return the tasks that asked something, of a head those that still wait."""
    asked = outline.tasks_with(INTERRUPT)
    return asked - outline.finished() if is_head else asked


def _failed(outline: CheckpointOutline, is_head: bool) -> set[str]:
    failed = outline.tasks_with(ERROR)
    return failed - outline.finished() if is_head else failed


def _next(outline: CheckpointOutline, is_head: bool) -> tuple[str, ...]:
    """Return the nodes to run; of a head, without as many of each as have finished."""
    assert outline.record is not None
    nodes = next_nodes(outline)
    if is_head:
        done = outline.finished()
        paths = {write.task_id: write.path for write in outline.writes if write.task_id in done}
        for node in [node_of(path, outline.sent) for path in paths.values()]:
            if node in nodes:
                nodes.remove(node)
    return tuple(nodes)


def _state_channels(names: Mapping[str, Any], version: Any) -> tuple[str, ...]:
    return tuple(name for name in names if not is_internal(name, version))


def _changed(outline: CheckpointOutline, parent: CheckpointOutline | None) -> tuple[str, ...]:
    """Return the state's channels that have another version than before, or what the checkpoint itself says."""
    assert outline.record is not None
    checkpoint = outline.record.checkpoint
    versions, form = checkpoint["channel_versions"], checkpoint.get("v")
    if parent is not None and parent.record is not None:
        before = parent.record.checkpoint["channel_versions"]
        names = [name for name, version in versions.items() if before.get(name) != version]
    else:
        names = list(checkpoint.get("updated_channels") or (versions if outline.row.parent is None else ()))
    return tuple(name for name in names if type(name) is str and not is_internal(name, form))


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def require(backend: Backend, thread: str, ns: str | None = None) -> Plan[None]:
    """Raise `ThreadNotFound` if a thread is not there, `CheckpointNotFound` if a namespace of it is not.

    A thread that holds messages or writes only, and no checkpoint in any namespace, is there.
    """
    if ns is not None:
        page = yield from backend.page(Query(thread), None, 1, writes=False)
        if page.items:
            raise CheckpointNotFound(
                f"Thread {thread!r} has no checkpoint in namespace {ns!r}; history({thread!r}) shows those it has."
            )
    usage = yield from backend.usage(thread)
    if not (usage.threads or usage.damaged):
        raise no_thread(thread)


def no_thread(thread: str) -> ThreadNotFound:
    """Return the error for a thread that is not there."""
    return ThreadNotFound(f"There is no thread {thread!r}; threads() lists those that there are.")
