"""A thread's message history as a conversation, from its end, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from charm_checkpoint.contract import MessagesRow
from charm_checkpoint.errors import ConfigError, DataError, StoreCorrupt
from charm_checkpoint.inspection.building import Builder
from charm_checkpoint.inspection.chunks import Shelf
from charm_checkpoint.inspection.conversation import Conversation
from charm_checkpoint.inspection.cursors import cursor
from charm_checkpoint.inspection.pages import Place, list_slice, place_in
from charm_checkpoint.inspection.plain_values import Damaged
from charm_checkpoint.inspection.turns import turns_of
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.packing import unpack_value
from charm_checkpoint.values.sealing import opened
from charm_checkpoint.values.serde import Serializer

if TYPE_CHECKING:
    from charm_checkpoint.inspection.reading import Look

CHANGED = "the messages were changed since that page was read: begin anew, without before."


def message_page(look: Look, thread: str, last: int, before: Any) -> Plan[Conversation]:
    """Return the last messages of a thread's history, or those before a place that an earlier page told.

    A place is good until the list is changed otherwise than by appending to it.
    """
    if look.store.history is not None:
        messages = yield from look.store.history.load(thread)
        return _of_whole(messages, last, before)
    row = yield from look.backend.messages(thread)
    return (yield from _of_row(look, thread, row, last, before))


def _of_whole(messages: list[Any], last: int, before: Any) -> Conversation:
    end = len(messages) if before is None else min(_place(before, 0).kept or 0, len(messages))
    start = max(end - last, 0)
    before = _cursor(0, Place((), start, len(messages) - start)) if start else None
    return Conversation(turns_of(messages[start:end], start), before=before)


def _of_row(look: Look, thread: str, row: MessagesRow, last: int, before: Any) -> Plan[Conversation]:
    """Return a page of a list, with what was appended to it and is not part of it yet."""
    revision = row.revision
    place = None if before is None else _place(before, revision)
    behind = 0 if place is None else place.behind
    batches = _batches(look, thread, row)
    if place is not None and place.way[:1] == (0,):  # in what was appended
        batches, place = batches[: place.kept], None
    elif place is not None:
        batches, place = [], place._replace(way=place.way[1:])
    values = batches[-last:]
    if len(values) < len(batches):
        place = Place((0,), len(batches) - len(values), behind + len(values))
        return Conversation(turns_of(values, -place.behind), before=_cursor(revision, place))
    rest, at = yield from _of_list(look, thread, row, last - len(values), place)
    found = [*rest, *values]
    behind += len(found)
    cursor = None if at is None else _cursor(revision, Place((1, *at.way), at.kept, behind))
    is_whole = at is None and before is None
    return Conversation(turns_of(found, 0 if is_whole else -behind), before=cursor)


def _of_list(
    look: Look, thread: str, row: MessagesRow, last: int, place: Place | None
) -> Plan[tuple[list[Any], Place | None]]:
    """Return the last messages of the list itself, or those before a place, and where they begin."""
    if row.body is None:
        return [], None
    shelf = Shelf(look.backend, look.limits, thread, messages=True)
    shelf.take(row.chunks.values())
    builder = Builder(Serializer(allowed=()), shelf, look.limits)
    if row.roots:
        if not last:
            return [], Place((), None)
        part = yield from list_slice(shelf, builder, row.roots, last, place)
        if part is not None:
            return part.values, part.before
        yield from shelf.reach([row.roots])
        value = builder.value(row.roots)
    else:
        value = _inline(look, thread, row, builder)
    held = value if type(value) is list else [value]
    end = len(held) if place is None or place.kept is None else place.kept
    start = max(end - last, 0)
    return held[start:end], Place((), start) if start else None


def _inline(look: Look, thread: str, row: MessagesRow, builder: Builder) -> Any:
    try:
        body = opened(look.outliner.identities.messages(thread, b""), row.body or b"")
        return builder.inline(unpack_value(body, look.limits))
    except StoreCorrupt as error:
        return Damaged(str(error))


def _batches(look: Look, thread: str, row: MessagesRow) -> list[Any]:
    """Return the messages that were appended and are not in the list yet; a batch that is damaged is one of them."""
    whose = look.outliner.identities.batch(thread)
    serde = Serializer(allowed=())
    found: list[Any] = []
    for body in row.batches:
        try:
            held = serde.loads(unpack_value(opened(whose, body), look.limits))
            found += held if type(held) is list else [Damaged("what was appended is no list of messages")]
        except (StoreCorrupt, DataError) as error:
            found.append(Damaged(str(error)))
    return found


def _place(parts: Any, revision: int) -> Place:
    if type(parts) is not list or len(parts) != 4 or parts[3] != revision:
        raise ConfigError(CHANGED)
    return place_in(parts[:3])


def _cursor(revision: int, place: Place) -> str:
    return cursor("conversation", None, None, [list(place.way), *place[1:], revision])
