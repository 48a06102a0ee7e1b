"""What differs between two states, channel by channel, as a plan."""

from __future__ import annotations

from functools import partial
from typing import Any

from charm_checkpoint.errors import CheckpointNotFound
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.differences import Change, StateDiff
from charm_checkpoint.inspection.outlines import is_internal
from charm_checkpoint.inspection.plain_diff import differences
from charm_checkpoint.inspection.plain_values import Notes
from charm_checkpoint.inspection.reading import Found, Look, delta_names, inline_part
from charm_checkpoint.inspection.states import Note
from charm_checkpoint.inspection.tree_diff import Side, TreeDiff
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.serde.telling import Finding


def diff(look: Look, thread: str, a: Any, b: Any, ns: str, other_thread: str | None) -> Plan[StateDiff]:
    """Return what differs between the states at two checkpoints; what was swept meanwhile is looked for again."""
    make = partial(_diff, look, (thread, a), (thread if other_thread is None else other_thread, b), ns)
    found, shelves = yield from make()
    if any(shelf.misses_any() for shelf in shelves):
        found, _ = yield from make()
    return found


def _diff(look: Look, a: tuple[str, Any], b: tuple[str, Any], ns: str) -> Plan[tuple[StateDiff, tuple[Shelf, Shelf]]]:
    one, other = (yield from _found(look, *a, ns)), (yield from _found(look, *b, ns))
    left = Shelf(look.backend, look.limits, a[0])
    right = left if a[0] == b[0] else Shelf(look.backend, look.limits, b[0])
    heard: list[Finding] = []
    notes = Notes()
    tree = TreeDiff(Side(left, look.builder(left, heard)), Side(right, look.builder(right, heard)), notes)
    differ = _Channels(look, one, other, tree, notes)
    for name in differ.names():
        yield from differ.compare(name)
    told = tuple(Note(*note) for note in dict.fromkeys(notes.found))
    return StateDiff(one.info, other.info, tuple(tree.changes), told), (left, right)


def _found(look: Look, thread: str, name: Any, ns: str) -> Plan[Found]:
    found = yield from look.find(thread, ns, name)
    if found is None:
        raise CheckpointNotFound(f"Thread {thread!r} holds messages only, and no checkpoint.")
    if found.record is None:
        raise CheckpointNotFound(f"Thread {thread!r}: checkpoint {found.row.id} cannot be read: {found.info.note}")
    return found


class _Channels:
    """Compares the channels of two checkpoints."""

    def __init__(self, look: Look, a: Found, b: Found, tree: TreeDiff, notes: Notes) -> None:
        self._look = look
        self._a = a
        self._b = b
        self._tree = tree
        self._notes = notes

    def names(self) -> list[str]:
        """Return the state's channels that one of the two has."""
        names: dict[str, None] = {}
        for found in (self._b, self._a):
            assert found.record is not None
            form = found.record.checkpoint.get("v")
            held = (*found.record.locations, *delta_names(found.record))
            names.update({name: None for name in held if not is_internal(name, form)})
        return list(names)

    def compare(self, name: str) -> Plan[None]:
        """Compare one channel."""
        a, b = _location(self._a, name), _location(self._b, name)
        if type(a) is bytes and type(b) is bytes and a[:1] == b[:1] == b"@":
            yield from self._tree.compare(a[1:], b[1:], (name,))
            return
        if a == b and type(a) is bytes:
            return
        old = yield from self._plain(self._a, self._tree.left, name)
        new = yield from self._plain(self._b, self._tree.right, name)
        if old is _NOTHING or new is _NOTHING:
            kind = "added" if old is _NOTHING else "removed"
            change = Change(name, "added", new=new) if kind == "added" else Change(name, "removed", old=old)
            self._tree.changes.append(change)
        else:
            self._tree.changes += differences(old, new, (name,))

    def _plain(self, found: Found, shelf: Shelf, name: str) -> Plan[Any]:
        assert found.record is not None
        if name not in found.record.locations:
            if name not in delta_names(found.record):
                return _NOTHING
            view = yield from self._look.delta(found, name)
        else:
            location = found.record.locations[name]
            if type(location) is bytes:
                yield from shelf.reach([location])
            view = self._look.view(found, shelf, name)
        for note in view.notes:
            self._notes.found.append((note.path, note.text))
        return view.plain


_NOTHING: Any = object()
"""What is there of a channel that a state does not have."""


def _location(found: Found, name: str) -> Any:
    """Return what is the same only if a channel's value is: its address, or the bytes of its value."""
    assert found.record is not None
    location = found.record.locations.get(name, _NOTHING)
    if type(location) is bytes:
        return b"@" + location
    return location if location is not None else b"=" + (inline_part(found.record, name) or b"")
