"""Which checkpoint put at a path what stands there: back along the line of its parents, by the parts that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from charm_checkpoint.contract import StoredCheckpoint
from charm_checkpoint.errors import CheckpointNotFound, NotThere, PathNotFound, format_path
from charm_checkpoint.inspection.blaming import BlameEntry
from charm_checkpoint.inspection.checkpoints import CheckpointInfo
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.history import info
from charm_checkpoint.inspection.naming import removed_meanwhile
from charm_checkpoint.inspection.outlines import CheckpointOutline
from charm_checkpoint.inspection.parts import Element, Parts, Version
from charm_checkpoint.inspection.paths import Path, at_path, parsed
from charm_checkpoint.inspection.plain_diff import key_of
from charm_checkpoint.inspection.plain_values import Damaged
from charm_checkpoint.inspection.reading import Found, Look, delta_names, inline_part
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.records import Record
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.serde.forms import VALUE

FIRST, MOST = 16, 256
"""Checkpoints of the line that are read at a time, at first and at most."""
SHOWN_TEXT, SHOWN_ITEMS = 200, 5
"""Characters of a text, and elements of a list or dict, that an entry shows."""


class _Stop(NamedTuple):
    """A checkpoint at which a channel changed: it has another value than its parent, ``lost`` if unreadable."""

    outline: CheckpointOutline
    parent: CheckpointOutline | None
    lost: bool = False

    @property
    def info(self) -> CheckpointInfo:
        return info(self.outline, self.parent, False, False)

    @property
    def is_oldest(self) -> bool:
        """Whether there is nothing older that can be read, though there was."""
        return self.lost or (self.parent is None and self.outline.row.parent is not None)


def blame(look: Look, thread: str, path: Any, name: Any, ns: str) -> Session[list[BlameEntry]]:
    """Return who wrote what stands at a path: of a list or dict, who wrote each element.

    Each part of the line, and each comparison of two versions, is a transaction of its own: a line may be long. If of
    the value itself a chunk is missing, it is looked for again: a sweep may have come between two of these.
    """
    steps = parsed(path)
    if not steps or type(steps[0]) is not str:
        raise PathNotFound("a path begins with the name of a channel, as in messages[3] or user.name")
    entries, is_sure = yield from _entries(look, thread, steps, name, ns, True)
    if not is_sure:
        entries, _ = yield from _entries(look, thread, steps, name, ns, False)
    return entries


def _entries(
    look: Look, thread: str, steps: Path, name: Any, ns: str, again: bool
) -> Session[tuple[list[BlameEntry], bool]]:
    """Return what was found, and whether the value was whole; with ``again`` nothing is raised of one that was not."""
    found: Found | None = yield Step(partial(look.find, thread, ns, name), thread)
    if found is None or found.record is None:
        raise CheckpointNotFound(f"Thread {thread!r} has no checkpoint that can be read.")
    channel = str(steps[0])
    held = (*found.record.locations, *delta_names(found.record))
    if channel not in held:
        raise PathNotFound(f"The state has no channel {channel!r}; it has {', '.join(held)}.")
    if channel not in found.record.locations:
        view = yield Step(partial(look.delta, found, channel), thread)
        last = yield from _Line(look, (thread, ns), channel, found.row.id).next()
        if last is None:
            raise removed_meanwhile(thread, found.row.id)
        return [_last_of_changes(view.plain, last, channel, steps[1:])], True
    tracing = _Blame(look, thread, ns, channel, steps[1:])
    try:
        return (yield from tracing.entries(found.row.id)), tracing.is_whole
    except NotThere:
        if tracing.is_whole or not again:
            raise
        return [], False


def _last_of_changes(plain: Any, last: _Stop, channel: str, rest: Path) -> BlameEntry:
    """Return who wrote last to a channel that is stored as changes: which of them made what, its reducer knows."""
    at_path(plain, rest, (channel,))
    if rest:
        raise PathNotFound(
            f"{format_path((channel, *rest))}: the channel is stored as changes, and only its program knows how they "
            f"go together; blame({channel!r}) tells who wrote to it last, history() which checkpoints changed it."
        )
    return _told(format_path((channel,)), last.info, plain, True)


def _told(path: str, made: CheckpointInfo, value: Any, is_oldest: bool) -> BlameEntry:
    return BlameEntry(
        path, made.checkpoint_id, made.checkpoint_ns, made.step, made.source, made.nodes, made.created_at,
        made.run_id, cut(value), is_oldest,
    )  # fmt: skip


class _Blame:
    def __init__(self, look: Look, thread: str, ns: str, channel: str, rest: Path) -> None:
        self._look = look
        self._place = (thread, ns)
        self._channel = channel
        self._rest = rest
        shelf = Shelf(look.backend, look.limits, thread)
        self._shelf = shelf
        self.is_whole = True
        self._builder = look.builder(shelf, [])
        self._parts = Parts(shelf, self._builder)

    def entries(self, id: str) -> Session[list[BlameEntry]]:
        """Go back from a checkpoint, and return what was found."""
        line = _Line(self._look, self._place, self._channel, id)
        stop = yield from line.next()
        thread = self._place[0]
        if stop is None:
            raise removed_meanwhile(thread, id)
        version: Version = yield Step(partial(self._version, stop.outline.record), thread)
        self.is_whole = not self._shelf.misses_any()
        if version.is_whole:
            value = at_path(version.whole, self._rest, (self._channel,))
            return [self._entry((self._channel, *self._rest), stop, value)]
        tracker: _Elements | _One
        elements: list[Element] = yield Step(partial(self._parts.elements, version), thread)
        self.is_whole = not self._shelf.misses_any()
        tracker = _One(self._channel, elements, version.is_dict, self._rest) if self._rest else _Elements(elements)
        while not tracker.is_done():
            older = yield from line.next()
            record = None if older is None else older.outline.record
            if older is None or record is None or self._channel not in record.locations:
                is_known = older is None or (record is not None and self._channel not in delta_names(record))
                stop = stop._replace(lost=not is_known)
                break
            before, own, gone = yield Step(partial(self._compared, version, record), thread)
            if self._is_lost(record):
                stop = stop._replace(lost=True)
                break
            tracker.step(stop, own, gone)
            stop, version = older, before
        tracker.rest(stop)
        return [self._entry(*found) for found in tracker.found((self._channel,))]

    def _is_lost(self, record: Record) -> bool:
        """Tell whether a version that was looked at cannot be read: it is damaged, or was pruned meanwhile."""
        location = record.locations.get(self._channel)
        return type(location) is bytes and self._builder.chunk(location) is None

    def _compared(self, version: Version, record: Record) -> Plan[tuple[Version, list[Element], list[Element]]]:
        """Return the version before one, what that one has and it has not, and the other way round."""
        before = yield from self._version(record)
        own, its = yield from self._parts.different(version, before)
        gone = yield from self._parts.elements(before, its)
        return before, (yield from self._parts.elements(version, own)), gone

    def _version(self, record: Record | None) -> Plan[Version]:
        location = None if record is None else record.locations.get(self._channel)
        if record is None or (location is None and self._channel not in record.locations):
            return Version((), whole=None, is_whole=True)
        if type(location) is bytes:
            return (yield from self._parts.version(location))
        if type(location) is list:
            return self._parts.whole(location[0])
        packed = inline_part(record, self._channel)
        value = Damaged("the record's values are damaged") if packed is None else self._builder.inline(VALUE + packed)
        return self._parts.whole(value)

    def _entry(self, path: Path, stop: _Stop, value: Any, count: int = 1) -> BlameEntry:
        text = format_path(path)
        if count > 1:
            text = f"{format_path(path[:-1])}[{path[-1]}:{int(path[-1]) + count}]"
        return _told(text, stop.info, value, stop.is_oldest)


class _Line:
    """Goes back along the parents of a checkpoint, to where a channel changed."""

    def __init__(self, look: Look, place: tuple[str, str], channel: str, id: str) -> None:
        self._look = look
        self._place = place
        self._channel = channel
        self._next: str | None = id
        self._seen: set[str] = set()
        self._size = FIRST
        self._held: list[CheckpointOutline] = []

    def next(self) -> Session[_Stop | None]:
        """Return the next checkpoint that has another value than its parent, or has none; None at the end."""
        while True:
            yield from self._fill(2)
            if not self._held:
                return None
            outline = self._held.pop(0)
            parent = self._held[0] if self._held else None
            if parent is None or _token(outline, self._channel) != _token(parent, self._channel):
                return _Stop(outline, parent)

    def _fill(self, count: int) -> Session[None]:
        while len(self._held) < count and self._next is not None:
            read = partial(self._look.backend.ancestors, *self._place, self._next, self._size)
            line: Sequence[StoredCheckpoint] = yield Step(read, self._place[0])
            self._size = min(2 * self._size, MOST)
            self._next = None
            for item in line:
                self._take(item)

    def _take(self, item: StoredCheckpoint) -> None:
        if item.row is not None and item.row.id not in self._seen:
            self._seen.add(item.row.id)
            self._held.append(self._look.outliner.outline(item))
            self._next = item.row.parent


def _token(outline: CheckpointOutline, channel: str) -> Any:
    """Return what is another only if a channel's value may be: where it is, or of one in changes its version."""
    record = outline.record
    if record is None:
        return outline.row.id
    if channel in record.locations:
        location = record.locations[channel]
        return location if location is not None else inline_part(record, channel)
    return "version", record.checkpoint["channel_versions"].get(channel)


class _Elements:
    """Who wrote each element: those that are more in a version than in the one before came with it."""

    def __init__(self, elements: Sequence[Element]) -> None:
        self._elements = elements
        self._open: dict[tuple[str | None, str], list[int]] = {}
        self._stops: dict[int, _Stop] = {}
        for position, element in enumerate(elements):
            self._open.setdefault(element[:2], []).append(position)

    def is_done(self) -> bool:
        """Tell whether of every element is known who wrote it."""
        return len(self._stops) == len(self._elements)

    def step(self, stop: _Stop, own: Sequence[Element], gone: Sequence[Element]) -> None:
        """Take what a version has and the one before has not, and the other way round."""
        more = Counter(element[:2] for element in own)
        more.subtract(element[:2] for element in gone)
        for key, count in more.items():
            for _ in range(min(count, len(self._open.get(key, ())))):
                self._stops[self._open[key].pop()] = stop

    def rest(self, stop: _Stop) -> None:
        """Take it that what is left came with the oldest version."""
        for position in range(len(self._elements)):
            self._stops.setdefault(position, stop)

    def found(self, path: Path) -> Iterator[tuple[Path, _Stop, Any, int]]:
        """Yield runs of elements that came together."""
        start = 0
        for position in range(1, len(self._elements) + 1):
            is_end = position == len(self._elements) or self._stops[position] is not self._stops[start]
            if not is_end and self._elements[start].name is None:
                continue
            run = self._elements[start:position]
            value = run[0].plain if len(run) == 1 else [element.plain for element in run]
            name = run[0].name
            yield (*path, start if name is None else name), self._stops[start], value, len(run)
            start = position


class _One:
    """Who wrote what stands at a path inside one element, which is known again by its name, its id or its content."""

    def __init__(self, channel: str, elements: Sequence[Element], is_dict: bool, rest: Path) -> None:
        whole: Any
        if is_dict:
            whole = {element.name: element.plain for element in elements}
        else:
            whole = [element.plain for element in elements]
        self._value = at_path(whole, rest, (channel,))
        first = rest[0]
        if is_dict:
            self._path: Path = rest
            self._element = next(element for element in elements if element.name == str(first))
        else:
            position = int(first) % len(elements)
            self._path = (position, *rest[1:])
            self._element = elements[position]
        self._below = rest[1:]
        self._key = key_of(self._value)
        self._stop: _Stop | None = None

    def is_done(self) -> bool:
        """Tell whether it is known who wrote it."""
        return self._stop is not None

    def step(self, stop: _Stop, own: Sequence[Element], gone: Sequence[Element]) -> None:
        """Take what a version has and the one before has not, and the other way round."""
        if self._element[:2] not in [element[:2] for element in own]:
            return
        for element in gone:
            if self._is_it(element) and self._same(element):
                self._element = element
                return
        self._stop = stop

    def _is_it(self, element: Element) -> bool:
        mine = self._element
        if mine.name is not None or mine.key == element.key:
            return element.name == mine.name
        id = mine.plain.get("id") if type(mine.plain) is dict else None
        return id is not None and type(element.plain) is dict and element.plain.get("id") == id

    def _same(self, element: Element) -> bool:
        try:
            return key_of(at_path(element.plain, self._below)) == self._key
        except NotThere:
            return False

    def rest(self, stop: _Stop) -> None:
        """Take it that it came with the oldest version."""
        self._stop = self._stop or stop

    def found(self, path: Path) -> Iterator[tuple[Path, _Stop, Any, int]]:
        """Yield what was found."""
        assert self._stop is not None
        yield (*path, *self._path), self._stop, self._value, 1


def cut(plain: Any) -> Any:
    """Return a plain value cut short, for people to read."""
    if type(plain) is str:
        return plain if len(plain) <= SHOWN_TEXT else plain[: SHOWN_TEXT - 1] + "…"
    if type(plain) is list:
        more = [f"… {len(plain) - SHOWN_ITEMS} more"] if len(plain) > SHOWN_ITEMS else []
        return [cut(item) for item in plain[:SHOWN_ITEMS]] + more
    if type(plain) is dict:
        return {name: cut(item) for name, item in plain.items()}
    return plain
