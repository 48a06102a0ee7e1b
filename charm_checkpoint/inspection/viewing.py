"""The state at a checkpoint, and its conversation, as plans."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from charm_checkpoint.errors import ConfigError, PathNotFound
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.conversation import Conversation
from charm_checkpoint.inspection.cursors import place_of
from charm_checkpoint.inspection.message_lists import message_page
from charm_checkpoint.inspection.outlines import is_internal
from charm_checkpoint.inspection.pages import Place, place_in
from charm_checkpoint.inspection.reading import (
    Found,
    Look,
    answers,
    conversation_cursor,
    delta_names,
    errors,
    metadata_of,
    questions,
    written,
)
from charm_checkpoint.inspection.states import StateView
from charm_checkpoint.inspection.turns import are_messages, turns_of
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.records import Record

T = TypeVar("T")

MESSAGES = "messages"
"""The channel that holds messages, by LangGraph's convention."""
SHOWN = 50
"""Messages that are shown of a thread that holds nothing else."""


def state(look: Look, thread: str, name: Any, ns: str, last: int | None) -> Plan[StateView]:
    """Return the state at a checkpoint."""
    _check_last(last)
    return (yield from _again_if_swept(look, thread, lambda shelf: _state(look, thread, name, ns, last, shelf)))


def _again_if_swept(look: Look, thread: str, make: Callable[[Shelf], Plan[T]]) -> Plan[T]:
    """Read again if a chunk was missing: a sweep may have come between two reads. What is missing still is noted."""
    shelf = Shelf(look.backend, look.limits, thread)
    result = yield from make(shelf)
    if shelf.misses_any():
        result = yield from make(Shelf(look.backend, look.limits, thread))
    return result


def _state(look: Look, thread: str, name: Any, ns: str, last: int | None, shelf: Shelf) -> Plan[StateView]:
    found = yield from look.find(thread, ns, name)
    if found is None:
        return StateView(thread, None, messages=(yield from message_page(look, thread, last or SHOWN, None)))
    channels = yield from look.channels(found, shelf, last)
    writes = look.writes(found)
    waiting = {write.task_id for write in found.outline.writes} - found.outline.finished()
    return StateView(
        thread,
        found.info,
        channels,
        tuple(questions(writes, waiting if found.info.is_head else set())),
        tuple(errors(writes)),
        tuple(written(writes)),
        metadata_of(found.record),
        answers=tuple(answers(writes)) if found.info.is_head else (),
    )


def _check_last(last: Any) -> None:
    if last is not None and (type(last) is not int or last < 1):
        raise ConfigError("last is how many elements of a list are read, 1 or more")


# ------------------------------------------------------------------------------ the conversation


def conversation(
    look: Look, thread: str, name: Any, ns: str, channel: str | None, last: int, before: str | None
) -> Plan[Conversation]:
    """Return the last messages of a state, or those before a place."""
    _check_last(last)
    place: Place | None = None
    if before is not None:
        id, channel, parts = place_of("conversation", before, 3)
        if id is None:
            return (yield from message_page(look, thread, last, parts))
        name, place = id, place_in(parts)
    make = partial(_conversation, look, thread, name, ns, channel, last, place)
    return (yield from _again_if_swept(look, thread, make))


def _conversation(
    look: Look, thread: str, name: Any, ns: str, channel: str | None, last: int, place: Place | None, shelf: Shelf
) -> Plan[Conversation]:
    found = yield from look.find(thread, ns, name)
    if found is None:
        return (yield from message_page(look, thread, last, None))
    record = found.record
    if record is None:
        return Conversation(checkpoint_id=found.row.id)
    held = [*record.locations, *delta_names(record)]
    if channel is not None and channel not in held:
        raise PathNotFound(f"The state has no channel {channel!r}; it has {', '.join(_of_state(record, held))}.")
    for each in [channel] if channel is not None else _of_state(record, held):
        page = yield from _page(look, found, shelf, each, last, place)
        if channel is not None or page is not None:
            return page or Conversation(channel=each, checkpoint_id=found.row.id)
    return Conversation(checkpoint_id=found.row.id)


def _of_state(record: Record, names: list[str]) -> list[str]:
    """Return the state's channels, the one first that holds messages by convention."""
    own = [name for name in names if not is_internal(name, record.checkpoint.get("v"))]
    return sorted(own, key=lambda name: name != MESSAGES)


def _page(
    look: Look, found: Found, shelf: Shelf, channel: str, last: int, place: Place | None
) -> Plan[Conversation | None]:
    """Return a page of a channel's messages, None if it holds no messages."""
    assert found.record is not None
    if channel not in found.record.locations:
        view = yield from look.delta(found, channel)
    else:
        part = yield from look.slice(found, shelf, channel, last, place)
        if part is not None:
            is_whole = place is None and part.before is None
            start = 0 if is_whole else -len(part.value) - (0 if place is None else place.behind)
            return _told(found, channel, part.value, start, part.before)
        view = look.view(found, shelf, channel)
    value = view.value
    if not are_messages(value):
        return None
    end = len(value) if place is None or place.kept is None else place.kept
    start = max(end - last, 0)
    before = conversation_cursor(found.row.id, channel, Place((), start, len(value) - start)) if start else None
    return Conversation(turns_of(value[start:end], start), channel, found.row.id, before)


def _told(found: Found, channel: str, values: list[Any], start: int, before: str | None) -> Conversation | None:
    if not are_messages(values):
        return None
    return Conversation(turns_of(values, start), channel, found.row.id, before)
