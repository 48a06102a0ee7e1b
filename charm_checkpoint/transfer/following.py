"""A thread as of one moment, though it is written to while it is read."""

from __future__ import annotations

from collections.abc import Iterable

from charm_checkpoint.transfer.hops import Moving
from charm_checkpoint.transfer.reading import Changed, Reader, Sink, ThreadIndex
from charm_checkpoint.transfer.records import Key, Mark, lacking
from charm_checkpoint.transfer.report import Place
from charm_checkpoint.transfer.walking import Walker

ATTEMPTS = 8
"""How often a thread is looked at again that was written to meanwhile."""


class Moved(Exception):
    """A thread was written to again and again."""

    def __init__(self) -> None:
        super().__init__("it was written to again and again while it was read, so it was left as it was before")


def follow(
    reader: Reader, thread: str, outline: ThreadIndex, sink: Sink, damaged: list[Place]
) -> Moving[list[Mark] | None]:
    """Give a sink all checkpoints, and what is added meanwhile, until nothing is; return what the sink then has.

    None: something was removed or replaced, so it is to begin anew. Raises `Moved` if it does not end.
    """
    walker, broken = Walker(reader.store, thread), set[Key]()
    sent: list[Mark] = []
    for _ in range(ATTEMPTS):
        marks = [mark for mark in outline.marks if mark.key not in broken]
        lacks = lacking(sent, marks)
        if lacks is None:
            return None
        try:
            found = yield from reader.give(thread, outline, lacks, walker, sink)
        except Changed:
            return None
        if outline.is_of_one_moment and not found:
            return marks
        state = yield from reader.state(thread)
        if found and state[:2] != outline.state[:2]:  # what is missing may have been removed
            return None
        damaged += found
        broken |= keys(found)
        sent = [mark for mark in marks if mark.key not in broken]
        if state == outline.state:
            return sent
        outline = yield from reader.outline(thread)
    raise Moved


def keys(places: Iterable[Place]) -> set[Key]:
    """Return which checkpoints these places are."""
    return {(place.checkpoint_ns or "", place.checkpoint_id or "") for place in places}
