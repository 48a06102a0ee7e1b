"""Arrays as Postgres takes them in binary.

psycopg looks at each element of a list first, and writes bytes as hex.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import psycopg

from charm_checkpoint.backends.signatures import FUNCTIONS

BYTEA, INTEGER = 17, 23
ELEMENTS = {"bytea[]": BYTEA, "integer[]": INTEGER}
"""OIDs of the types of an array's elements; they are the same on every server."""


class PackedArray(bytes):
    """An array as the server takes it in binary."""


class PackedArrayDumper(psycopg.adapt.Dumper):
    """Sends a packed array as it is; its type is said by the statement."""

    format = psycopg.pq.Format.BINARY

    def dump(self, obj: PackedArray) -> bytes:
        """Return the array."""
        return obj


psycopg.adapters.register_dumper(PackedArray, PackedArrayDumper)


def pack_array(values: list[Any], element: int) -> PackedArray:
    """Pack bytes, or integers of 32 bits, as elements of the type with this OID, as ``array_recv`` reads them."""
    if not values:
        return PackedArray(struct.pack("!3i", 0, 0, element))
    items = [value if element == BYTEA else struct.pack("!i", value) for value in values]
    sized = [part for item in items for part in (struct.pack("!i", len(item)), item)]
    return PackedArray(b"".join([struct.pack("!5i", 1, 0, element, len(values), 1), *sized]))


def packed(function: str, args: Sequence[Any]) -> tuple[Any, ...]:
    """Return a function's arguments with the lists among them packed."""
    return tuple(
        [
            pack_array(value, ELEMENTS[kind]) if type(value) is list else value
            for kind, value in zip(FUNCTIONS[function].takes, args, strict=True)
        ]
    )
