"""Entries: what is kept of an item to find it by; its words, and of its vectors the sign bits; pure.

The format, which docs/format.md describes::

    01                   version
    flags                1: its texts wait for vectors; 2: the codes are of vectors less the model's centre
    varint               number of vectors; the next three are there if it is above 0
      8 bytes            the model they are of
      varint             dimensions
      codes              sign bits of each vector, the first component the highest bit of the first byte
    varint               bytes of the words
    words                UTF-8; a line for each count, the words of it with spaces between: first those that are there
                         once, if any; then lines that begin with the count

Vectors are kept beside it: rows of float16, little-endian, at length one, end to end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from charm_checkpoint.errors import DataError, NewerFormat, StoreCorrupt
from charm_checkpoint.items.ranking.codes import ROW_ITEM, code_size, row_bytes, sign_code, unit
from charm_checkpoint.items.ranking.models import IDENTITY_SIZE, Model
from charm_checkpoint.items.ranking.words import words_of

VERSION: Final = b"\x01"
MOST_COUNTED: Final = 255
"""How often a word counts at most."""
_WAITING, _CENTRED = 1, 2
_ALL_FLAGS = _WAITING | _CENTRED


class Parsed(NamedTuple):
    """What an entry says. ``words`` are those of `words_of`, with their counts; ``codes`` are end to end."""

    words: Mapping[str, int]
    model: bytes = b""
    vectors: int = 0
    dims: int = 0
    codes: bytes = b""
    waiting: bool = False
    centred: bool = False

    @property
    def vector_bytes(self) -> int:
        """Return how long the item's vectors are."""
        return self.vectors * self.dims * ROW_ITEM


def write_entry(
    texts: Sequence[str],
    vectors: Sequence[Sequence[float]] = (),
    model: Model | bytes = b"",
    waiting: bool = False,
) -> tuple[bytes, bytes]:
    """Return an item's entry, and its vectors as they are stored beside it; both empty if it is not to be found.

    ``model`` is what made the vectors. Given as its identity alone, sign bits are those of the vectors as they are,
    which are worse at telling near from far. ``waiting``: the texts are to have vectors, which could not be made yet.
    Raises `DataError` for vectors that are none, or not of one length.
    """
    if not texts and not vectors:
        return b"", b""
    rows = [unit(vector) for vector in vectors]
    dims = len(rows[0]) if rows else 0
    known = model if isinstance(model, Model) else None
    identity = known.identity if known else bytes(model)  # type: ignore[arg-type]
    centre = known.centre if known else ()
    _check(rows, dims, identity, centre)
    parts = [VERSION, bytes([_WAITING * waiting | _CENTRED * bool(rows and centre)]), _varint(len(rows))]
    if rows:
        parts += [identity, _varint(dims), *(sign_code(row, centre) for row in rows)]
    words = _lines(words_of(texts)).encode("utf-8", "surrogatepass")
    parts += [_varint(len(words)), words]
    return b"".join(parts), b"".join(map(row_bytes, rows))


def _check(rows: Sequence[Sequence[float]], dims: int, identity: bytes, centre: Sequence[float]) -> None:
    if any(len(row) != dims for row in rows) or (rows and not dims):
        raise DataError(f"Vectors of one item have {sorted({len(row) for row in rows})} numbers: one model makes one.")
    if rows and len(identity) != IDENTITY_SIZE:
        raise DataError(f"Vectors need their model's identity, {IDENTITY_SIZE} bytes, not {len(identity)}.")
    if rows and centre and len(centre) != dims:
        raise DataError(f"The model was measured with {len(centre)} dimensions, the vectors have {dims}.")


def _lines(words: Mapping[str, int]) -> str:
    lines: dict[int, list[str]] = {1: []}
    for word, count in words.items():
        lines.setdefault(count, []).append(word)
    return "\n".join(" ".join(some if count == 1 else [str(count), *some]) for count, some in lines.items())


def read_entry(entry: bytes) -> Parsed | None:
    """Undo `write_entry`; None for an item that is not indexed."""
    if not entry:
        return None
    read = _READERS.get(entry[:1])
    if read is None:
        raise NewerFormat.of("An item's entry begins with", entry[:1])
    return read(entry)


def _read(entry: bytes) -> Parsed:
    try:
        return _parts(entry)
    except (ValueError, IndexError) as error:  # UnicodeDecodeError is a ValueError
        raise StoreCorrupt(f"An item's entry of {len(entry)} bytes is cut off or damaged.") from error


def _parts(entry: bytes) -> Parsed:
    flags, at = entry[1], 2
    if flags & ~_ALL_FLAGS:
        raise NewerFormat.of("An item's entry has the flags", flags)
    model, codes, dims = b"", b"", 0
    vectors, at = _number(entry, at)
    if vectors:
        model, at = entry[at : at + IDENTITY_SIZE], at + IDENTITY_SIZE
        dims, at = _number(entry, at)
        size = vectors * code_size(dims)
        codes, at = entry[at : at + size], at + size
        if len(codes) != size or not dims:
            raise ValueError
    size, at = _number(entry, at)
    if at + size != len(entry):
        raise ValueError
    words = _counts(entry[at:].decode("utf-8", "surrogatepass"))
    return Parsed(words, model, vectors, dims, codes, bool(flags & _WAITING), bool(flags & _CENTRED))


_READERS: dict[bytes, Callable[[bytes], Parsed]] = {VERSION: _read}


def _counts(lines: str) -> dict[str, int]:
    once, *more = lines.split("\n")
    counts = dict.fromkeys(once.split(" "), 1) if once else {}
    for line in more:
        count, *words = line.split(" ")
        counts.update(dict.fromkeys(words, min(int(count), MOST_COUNTED)))
    return counts


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    return bytes((number & 0x7F | 0x80,)) + _varint(number >> 7)


def _number(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
