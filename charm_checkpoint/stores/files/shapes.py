"""Kinds of frames, and the types of their heads, looked at before one is taken in: anybody can make a digest right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Final, TypeVar

from charm_checkpoint.errors import HOSTS, NewerFormat, corrupt
from charm_checkpoint.stores.files.log import Frame

T = TypeVar("T")

START, PUT, WRITES, CHUNKS, LIST, BATCH = range(6)
"""Kinds of frames in the log of a thread: see contents.py."""
SPACE, ITEMS = 6, 7
"""Kinds of frames in the log of a space of items: see space.py."""

_NUMBER, _BYTES, _LIST = (int,), (bytes,), (list,)
_MAYBE = (bytes, type(None))
_MAYBE_NUMBER = (int, type(None))
_MOST: Final = 1 << 63


def _shapes(least: int, *fields: tuple[type, ...]) -> frozenset[tuple[type, ...]]:
    """Return all sequences of types that there may be, with as many of the fields as ``least`` or more."""
    return frozenset(shape for count in range(least, len(fields) + 1) for shape in product(*fields[:count]))


_START_FIELDS = (_NUMBER, _MAYBE, _NUMBER, _NUMBER, _NUMBER, _NUMBER, _LIST, _LIST, _BYTES, _BYTES)
_PUT_FIELDS = (
    _MAYBE, _NUMBER, _BYTES, _BYTES, _MAYBE, _NUMBER, _MAYBE, _BYTES, _BYTES, _MAYBE, _NUMBER, _LIST, _MAYBE, _MAYBE,
)  # fmt: skip

HEADS: Mapping[int, frozenset[tuple[type, ...]]] = {
    START: _shapes(7, *_START_FIELDS),
    PUT: _shapes(12, *_PUT_FIELDS),
    WRITES: _shapes(5, _MAYBE, _NUMBER, _BYTES, _BYTES, _LIST, _MAYBE),
    CHUNKS: _shapes(1, _LIST),
    LIST: _shapes(6, _MAYBE, _NUMBER, _NUMBER, _BYTES, _NUMBER, _LIST),
    BATCH: _shapes(3, _MAYBE, _NUMBER, _NUMBER),
    SPACE: _shapes(6, _NUMBER, _BYTES, _NUMBER, _NUMBER, _NUMBER, _LIST),
    ITEMS: _shapes(3, _BYTES, _NUMBER, _LIST),
}
"""The types of what follows the kind, by the kind."""

_CHUNK = _shapes(3, _BYTES, _BYTES, _NUMBER)
_HOST = _shapes(2, _BYTES, _NUMBER)
_NOTE = frozenset(_MAYBE)
_PARTS = (list, tuple)  # what is about to be written is taken in as it is
_PLACE = (_BYTES, _NUMBER)
_PUT_OF_ITEM = (
    *_PLACE, _NUMBER, _NUMBER, _MAYBE_NUMBER, _MAYBE_NUMBER, _BYTES, _NUMBER, _NUMBER, _NUMBER,
)  # fmt: skip
_ROW = _shapes(2, *_PLACE) | _shapes(3, *_PLACE, _NUMBER) | _shapes(10, *_PUT_OF_ITEM)

CHECKED_FORMATS: Mapping[int, tuple[int, ...]] = {START: (1, 2, 3), SPACE: (1,)}
"""The formats, which the first frames of logs begin with, that these types are of."""
_CHUNKS_AT: Mapping[int, int] = {PUT: 11, CHUNKS: 0, LIST: 5}
"""Where the chunks are among what follows the kind."""


def take_in(log: T, frame: Frame, kinds: Mapping[int, Callable[..., None]]) -> None:
    """Have a log take in its next frame by what does so for each kind; raises `StoreCorrupt` for what none writes."""
    try:
        kind, *fields = frame.head
        if kind not in kinds:
            raise NewerFormat.of("A log has a frame of kind", kind)
        _check(kind, fields)
        kinds[kind](log, frame.blobs, *fields)
    except HOSTS:
        raise
    except Exception as error:
        raise corrupt("A frame of this log is damaged", error) from error


def _check(kind: int, fields: Sequence[Any]) -> None:
    """Raise TypeError for what follows a kind in the head of a frame, if no version writes it so."""
    shapes = HEADS.get(kind)
    if shapes is None or (kind in CHECKED_FORMATS and (fields[0] not in CHECKED_FORMATS[kind])):
        return  # what another version wrote, which is refused as that
    if tuple(map(type, fields)) not in shapes:
        raise TypeError(f"a frame of kind {kind} does not have the parts that it should")
    if kind in _CHUNKS_AT:
        _each(fields[_CHUNKS_AT[kind]], _CHUNK)
    elif kind == WRITES:
        _numbers(fields[4])
    elif kind == ITEMS:
        _each(fields[2], _ROW)
    elif kind in (START, SPACE):
        _each(fields[6 if kind == START else 5], _HOST)
        if len(fields) > 7 and not _NOTE.issuperset(map(type, fields[7])):
            raise TypeError("a note of a thread is bytes")


def in_range(*numbers: int | None) -> None:
    """Raise OverflowError for numbers that do not fit into 64 bits, which what was put together may not."""
    for number in numbers:
        if number is not None and not -_MOST <= number < _MOST:
            raise OverflowError(f"{number} is no time and no size")


def _each(parts: Iterable[Any], shapes: frozenset[tuple[type, ...]]) -> None:
    for part in parts:
        if type(part) not in _PARTS or tuple(map(type, part)) not in shapes:
            raise TypeError("a part of a frame is not what it should be")


def _numbers(parts: Iterable[Any]) -> None:
    if any(type(part) is not int for part in parts):
        raise TypeError("the size of a blob is a number")
