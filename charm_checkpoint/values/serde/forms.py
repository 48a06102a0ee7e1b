"""What stands behind the first byte of a value, or of a run of them: read the quick way, else by the walk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from charm_checkpoint.errors import NewerFormat, TypeNotLoaded
from charm_checkpoint.values.serde.columns import run_from_state, walk_run
from charm_checkpoint.values.serde.kinds import KindChanged
from charm_checkpoint.values.serde.plain_walk import PlainWalk
from charm_checkpoint.values.serde.reader import Reader
from charm_checkpoint.values.serde.walk import BROKEN, ReadingWalk

T = TypeVar("T")

# The first byte of what is stored says its form: never change or reuse one.
VALUE, LIST, COLUMNS = b"\x01", b"\x02", b"\x03"


def read(reader: Reader, data: bytes) -> Any:
    """Return a value."""
    try:
        return reader.unpack(data)
    except BROKEN:
        pass  # with the error go the copies of the data that its frames hold
    return ReadingWalk(reader).read(data)


def read_plain(reader: Reader, data: bytes) -> Any:
    """Return a value, with plain ones in place of instances of classes that cannot be restored."""
    return PlainWalk(reader).read(data)


def read_list(reader: Reader, data: bytes) -> list[Any]:
    """Return the values of a run that were written one after the other."""
    try:
        return _listed(reader.unpack(data))
    except BROKEN:
        pass
    return _listed(ReadingWalk(reader).read(data))


def _listed(values: Any) -> list[Any]:
    if type(values) is not list:
        raise TypeError(f"a run of values is a list, not a {type(values).__name__}")
    return values


def read_columns(reader: Reader, data: bytes) -> list[Any]:
    """Return the models of a run that was written by columns."""
    try:
        return run_from_state(reader, *_listed(reader.unpack(data)))
    except (*BROKEN, KindChanged):
        pass
    except TypeNotLoaded:
        if not reader.keeps:
            raise
    return walk_run(reader, data)


VALUES = {VALUE: read}
PLAIN_VALUES = {VALUE: read_plain}
RUNS = {LIST: read_list, COLUMNS: read_columns}
"""How to read what stands behind each first byte: a value, one with plain values for its classes, a run."""


def reader_of(known: Mapping[bytes, Callable[[Reader, bytes], T]], data: bytes) -> Callable[[Reader, bytes], T]:
    """Return what reads a value or run, by its first byte; raises NewerFormat for one that is not known."""
    try:
        return known[data[:1]]
    except KeyError:
        raise NewerFormat.of("A stored value, or a run of them, begins with", data[:1]) from None
