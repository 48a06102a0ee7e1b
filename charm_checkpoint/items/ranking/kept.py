"""Indexes as they are kept in a store: a table of the items, and the postings of terms in buckets; pure.

A program that begins reads the table and the buckets of the terms that it is asked for: a small part of what it would
have to read, and to reckon, to make the index from the entries. Terms stand in buckets by their hashes, not as text.

The form is no promise: what was written in another one is not read, and the index is made anew.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate, pairwise
from operator import sub
from typing import Any, Final, NamedTuple

from charm_checkpoint.items.ranking.arithmetic import numpy_for
from charm_checkpoint.items.ranking.order import Items
from charm_checkpoint.items.ranking.postings import BITS, MOST, Held, Postings
from charm_checkpoint.items.ranking.vectors import Frozen, Kind

FORM: Final = b"\x01"
"""The form of what is written; another version of this module that reads it otherwise has another one."""
BUCKET: Final = 1 << 16
"""Bytes of a bucket, on average: few enough that little is read in vain, enough that there are not too many items."""

WORD: Final = b"w"
TRIGRAM: Final = b"t"
"""What a term is."""

_HASH = 8
_TERM = struct.Struct("<8sII")
_FIRST = struct.Struct("<cI")
_COUNT = struct.Struct("<I")
_DTYPES = {"B": "<u1", "H": "<u2", "I": "<u4"}
_WIDTHS = ((1 << 8, "B"), (1 << 16, "H"), (1 << 32, "I"))


class Table(NamedTuple):
    """All of an index but its postings. ``ends`` has the slots of items that expire, and when they do."""

    known: Mapping[bytes, int]
    items: Items
    updated: array[int]
    prints: array[int]
    indexed: bytes
    ends: Mapping[int, int]
    words: array[int]
    trigrams: array[int]
    vectors: Frozen


# ------------------------------------------------------------------------------------------------------------ the table


def write_table(table: Table) -> bytes:
    """Return a table as it is kept."""
    items, vectors = table.items, table.vectors
    return _framed(
        (
            FORM,
            _framed(list(table.known)),
            _numbers("q", table.known.values()),
            _framed(items.paths),
            _numbers("I", items.spaces),
            _framed(items.keys),
            _numbers("q", table.updated),
            _numbers("I", table.prints),
            table.indexed,
            _numbers("I", table.ends),
            _numbers("q", table.ends.values()),
            _numbers("I", table.words),
            _numbers("I", table.trigrams),
            _numbers("H", vectors.kind_of),
            _numbers("I", vectors.counts),
            *(part for kind in vectors.kinds for part in _kind_parts(*kind)),
        )
    )


def read_table(data: bytes) -> Table | None:
    """Undo `write_table`; None if it is of another form."""
    parts = _unframed(data)
    if parts[0] != FORM:
        return None
    (_, used, stamps, paths, spaces, keys, updated, prints, indexed, ends, times, words, trigrams, kind_of, counts) = (
        parts[:15]
    )
    kinds = [_kind_of(*parts[at : at + 3]) for at in range(15, len(parts), 3)]
    return Table(
        dict(zip(_unframed(used), _array("q", stamps), strict=True)),
        Items(_unframed(paths), _array("I", spaces), _unframed(keys)),
        _array("q", updated),
        _array("I", prints),
        bytes(indexed),
        dict(zip(_array("I", ends), _array("q", times), strict=True)),
        _array("I", words),
        _array("I", trigrams),
        Frozen(kinds, _array("H", kind_of), _array("I", counts)),
    )


def _kind_parts(kind: Kind, slots: array[int], codes: bytes) -> tuple[bytes, bytes, bytes]:
    return struct.pack("<I?", kind.dims, kind.centred) + kind.model, _numbers("I", slots), codes


def _kind_of(head: bytes, slots: bytes, codes: bytes) -> tuple[Kind, array[int], bytes]:
    dims, centred = struct.unpack_from("<I?", head)
    return Kind(bytes(head[5:]), dims, centred), _array("I", slots), codes


# --------------------------------------------------------------------------------------------------------- the postings


def write_buckets(words: Postings, trigrams: Postings) -> list[bytes]:
    """Return the postings of all terms in buckets, as many as make them about as large as they are to be."""
    terms: list[tuple[bytes, bytes]] = []
    for kind, postings in ((WORD, words), (TRIGRAM, trigrams)):
        for term, held in postings.all():
            once, more = _slots_bytes(held.once), _more_bytes(held.more)
            hashed = term_hash(term, kind)
            terms.append((hashed, _TERM.pack(hashed, len(once), len(more)) + once + more))
    count = sum(len(data) for _, data in terms) // BUCKET + 1
    buckets: list[list[bytes]] = [[] for _ in range(count)]
    for hashed, data in terms:
        buckets[bucket_of(hashed, count)].append(data)
    return [b"".join(bucket) for bucket in buckets]


def bucket_of(hashed: bytes, count: int) -> int:
    """Return which of so many buckets the term of a hash is in."""
    return int.from_bytes(hashed[:4], "big") * count >> 32


def term_hash(term: str, kind: bytes) -> bytes:
    """Return by what a term is found in a bucket."""
    return blake2b(term.encode("utf-8", "surrogatepass"), digest_size=_HASH, person=kind).digest()


def find_terms(bucket: bytes, wanted: Iterable[bytes]) -> dict[bytes, Held]:
    """Return the postings of those of these terms that a bucket has."""
    found: dict[bytes, Held] = {}
    left, at = set(wanted), 0
    while left and at < len(bucket):
        hashed, once, more = _TERM.unpack_from(bucket, at)
        at += _TERM.size
        if hashed in left:
            left.discard(hashed)
            found[hashed] = Held(_slots(bucket[at : at + once]), _more(bucket[at + once : at + once + more]))
        at += once + more
    return found


def _slots_bytes(slots: array[int]) -> bytes:
    """Return rising numbers as the first, and by how much each is above the one before."""
    if not slots:
        return b""
    numpy = numpy_for(len(slots))
    if numpy is None:
        gaps: Any = array("I", map(sub, slots[1:], slots))
        widest = max(gaps, default=0)
    else:
        gaps = numpy.diff(slots)
        widest = gaps.max()
    width = next(width for bound, width in _WIDTHS if widest < bound)
    data = _numbers(width, gaps) if numpy is None else gaps.astype(_DTYPES[width]).tobytes()
    return _FIRST.pack(width.encode(), slots[0]) + data


def _slots(data: bytes) -> array[int]:
    if not data:
        return array("I")
    width, first = _FIRST.unpack_from(data)
    kind, gaps = width.decode(), data[_FIRST.size :]
    numpy = numpy_for(len(gaps))
    if numpy is None:
        return array("I", accumulate(_array(kind, gaps), initial=first))
    found = numpy.cumsum(numpy.frombuffer(gaps, dtype=_DTYPES[kind]), dtype=numpy.uint32)
    return array("I", (first,)) + _of_many(found + numpy.uint32(first))


def _more_bytes(more: array[int]) -> bytes:
    if not more:
        return b""
    numpy = numpy_for(len(more))
    if numpy is None:
        counts, slots = bytes([posting & MOST for posting in more]), array("I", [posting >> BITS for posting in more])
    else:
        postings = numpy.frombuffer(more, dtype=numpy.uint32)
        counts, slots = (postings & MOST).astype(numpy.uint8).tobytes(), _of_many(postings >> BITS)
    return _COUNT.pack(len(counts)) + counts + _slots_bytes(slots)


def _more(data: bytes) -> array[int]:
    if not data:
        return array("I")
    [size] = _COUNT.unpack_from(data)
    middle = _COUNT.size + size
    counts = data[_COUNT.size : middle]
    slots = _slots(data[middle:])
    numpy = numpy_for(size)
    if numpy is None:
        return array("I", [slot << BITS | count for slot, count in zip(slots, counts, strict=True)])
    return _of_many(numpy.frombuffer(slots, dtype=numpy.uint32) << BITS | numpy.frombuffer(counts, dtype=numpy.uint8))


def _of_many(numbers: Any) -> array[int]:
    made = array("I")
    made.frombytes(numbers.tobytes())
    return made


# ---------------------------------------------------------------------------------------------------------- the numbers


def _numbers(kind: str, numbers: Iterable[int]) -> bytes:
    """Return numbers of one width, the lower byte first."""
    made = array(kind, numbers)
    if sys.byteorder == "big":
        made.byteswap()
    return made.tobytes()


def _array(kind: str, data: bytes) -> array[int]:
    made = array(kind)
    made.frombytes(data)
    if sys.byteorder == "big":
        made.byteswap()
    return made


def _framed(parts: Sequence[bytes]) -> bytes:
    """Return parts with the lengths of all in front."""
    return _COUNT.pack(len(parts)) + _numbers("I", map(len, parts)) + b"".join(parts)


def _unframed(data: bytes) -> list[bytes]:
    [count] = _COUNT.unpack_from(data)
    start = _COUNT.size + count * _COUNT.size
    ends = list(accumulate(_array("I", data[_COUNT.size : start]), initial=start))
    return [data[at:end] for at, end in pairwise(ends)]
