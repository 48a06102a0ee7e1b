"""Calls of the schema's functions as they go over the wire, and their rows as they come back.

Arguments and rows are in binary, as the server's own ``send`` and ``recv`` functions have them. The
few types there are stand in signatures.py: a cursor of psycopg would look up each of them, describe
each column and look at each element of each list, at every call.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from charm_checkpoint.stores.postgres_schema.signatures import FUNCTIONS, statement

BYTEA, BIGINT, INTEGER = 17, 20, 23
"""OIDs of the types of an array's elements; they are the same on every server."""


def exchange(connection: Any, schema: str, function: str, args: Sequence[Any]) -> PQGen[list[Any]]:
    """Call a function and return its rows, as a generator for the connection's ``wait``.

    Raises the error of psycopg's that a cursor would.
    """
    pgconn: PGconn = connection.pgconn
    writers, readers = _codecs(function)
    values = [None if value is None else write(value) for write, value in zip(writers, args, strict=True)]
    pgconn.send_query_params(
        statement(schema, function), values, param_formats=[Format.BINARY] * len(values), result_format=Format.BINARY
    )
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    results: list[PGresult] = []
    try:
        while True:
            while pgconn.is_busy():
                if (yield Wait.R):
                    pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            results.append(result)
    except psycopg.DatabaseError:
        if not any(result.status == ExecStatus.FATAL_ERROR for result in results):
            raise  # else the server said why before it closed the connection
    return _rows(results, readers)


def _rows(results: list[PGresult], readers: Sequence[Callable[[bytes], Any] | None]) -> list[Any]:
    if not results:
        raise psycopg.OperationalError("the server closed the connection")
    for result in results:
        if result.status != ExecStatus.TUPLES_OK:
            raise error_from_result(result)
    [result] = results
    columns = list(enumerate(readers))
    return [
        tuple([_read(result.get_value(row, number), read) for number, read in columns]) for row in range(result.ntuples)
    ]


def _read(data: bytes | None, read: Callable[[bytes], Any] | None) -> Any:
    return data if data is None or read is None else read(data)


# ------------------------------------------------------------------------- one value


def _write_array(values: Sequence[Any], element: int, write: Callable[[Any], bytes] | None = None) -> bytes:
    if not values:
        return struct.pack("!3i", 0, 0, element)
    parts = [struct.pack("!5i", 1, 1, element, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            item = value if write is None else write(value)
            parts += (_LENGTH(len(item)), item)
    return b"".join(parts)


_BIGINT = struct.Struct("!q").pack
_LENGTH = struct.Struct("!i").pack
_NULL = _LENGTH(-1)


def _read_array(data: bytes) -> list[Any]:
    """Read an array of bytes: dimensions, flags, element type; then size, lower bound; then elements, or NULLs."""
    items: list[Any] = []
    place, end = 20, len(data)
    while place < end:
        start = place + 4
        length = int.from_bytes(data[place:start], "big", signed=True)
        place = start + max(length, 0)
        items.append(None if length < 0 else data[start:place])
    return items


def _read_numbers(data: bytes) -> list[Any]:
    if len(data) > 20 and data[7] == 0:  # no NULLs: each has its length before it
        return [number for _, number in struct.iter_unpack("!iq", data[20:])]
    return [None if item is None else int.from_bytes(item, "big", signed=True) for item in _read_array(data)]


_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "bytea": lambda value: value,
    "bytea[]": lambda value: _write_array(value, BYTEA),
    "integer[]": lambda value: _write_array(value, INTEGER, _LENGTH),
    "bigint[]": lambda value: _write_array(value, BIGINT, _BIGINT),
    "bigint": _BIGINT,
    "text": str.encode,
    "boolean": struct.Struct("!?").pack,
}

_READERS: dict[str, Callable[[bytes], Any]] = {
    "bytea[]": _read_array,
    "bigint[]": _read_numbers,
    "bigint": lambda data: int.from_bytes(data, "big", signed=True),
    "text": bytes.decode,
    "boolean": lambda data: data == b"\1",
}
"""Types that are not here come as bytes and stay so."""


@cache
def _codecs(function: str) -> tuple[list[Callable[[Any], bytes]], list[Callable[[bytes], Any] | None]]:
    signature = FUNCTIONS[function]
    return [_WRITERS[kind] for kind in signature.takes], [_READERS.get(kind) for kind in signature.gives.values()]
