"""How much a value may come to: bounds that hold before anything is built, for who reads and who writes alike; pure.

A few stored bytes can stand for very many: a chunk is named as often as one likes, a compressed frame says how large
it is, and one byte is a whole empty dict. So what is to be built is counted first:

- A frame may unpack to `FREE` bytes, or to `GROWTH` times what is stored. `packing.pack` compresses nothing further.
- All chunks of a checkpoint count as often as they are named: their bytes, the addresses they name, and
  themselves, with `CHUNK` elements each. An address stands for one content, so this is a sum over the chunks.
- What is encoded as so many bytes holds no more elements than that. They are counted one by one only where there are
  more bytes than elements are allowed, and `DENSE` times as many as are stored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from charm_checkpoint.contract import ADDRESS_SIZE
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.values.codes import RAW

FREE = 64 << 20
"""Bytes to which anything may unpack."""
GROWTH = 2048
"""How many times larger than what is stored the rest may be: a piece of a value that is all zeros is not more."""
OVERHEAD = 128
"""Bytes that each chunk counts as stored at least: no store keeps one in less."""
DENSE = 64
"""How many times smaller than what it comes to is what is stored, where its elements are counted one by one."""
MARGIN = 2
"""How much sooner a writer counts: what it knows of what is stored is not exact."""
LEVELS = 128
"""Chunks that may name each other in a row; an encoder's own are a few dozen at most."""
CHUNK, OBJECT = 8, 8
"""Elements that a chunk, and an object inside a value, count as: they take as much memory, and more time."""
FEW, MANY = 8, 1 << 20
"""Chunks that are named twice: where they are few, none is reached too often; where they are many, all are weighed."""
_SHIFT = 64
VISIT, BYTES = 1 << _SHIFT, (1 << _SHIFT) - 1
"""One chunk in a weight, and the bits that count bytes: chunks stand above bytes, so that one sum adds both."""


class Named(Protocol):
    """A chunk as far as it is weighed."""

    @property
    def body(self) -> bytes:
        """Return what it holds itself."""
        ...

    @property
    def refs(self) -> tuple[bytes, ...]:
        """Return the addresses that it names."""
        ...


N = TypeVar("N", bound=Named)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the values of one checkpoint, or of one list of messages, may come to."""

    max_bytes: int = 2 << 30
    max_elements: int = 10_000_000

    def excess(self, weight: int) -> str | None:
        """Return the option by which a weight is too much, None if it is not."""
        if weight & BYTES > self.max_bytes:
            return "max_bytes"
        return "max_elements" if (weight >> _SHIFT) * CHUNK > self.max_elements else None

    def is_light(self, weight: int) -> bool:
        """Tell whether a weight is no matter at all."""
        most = self.max_elements
        return weight & BYTES <= most and weight & BYTES <= self.max_bytes and (weight >> _SHIFT) * CHUNK <= most

    def told(self, option: str) -> str:
        """Say what an option allows."""
        return f"more than the {getattr(self, option):,} {option.removeprefix('max_')} of the option {option}"

    def refused(self, option: str) -> StoreCorrupt:
        """Return the error of a reader for too much."""
        return StoreCorrupt(
            f"What is stored would come to {self.told(option)}: it is damaged, or made to exhaust memory. If you "
            "stored it, open the store with a larger one."
        )

    def check_weight(self, weight: int) -> None:
        """Raise `StoreCorrupt` for what is too much."""
        option = self.excess(weight)
        if option is not None:
            raise self.refused(option)

    def may_be_dense(self, size: int, stored: int, margin: int = 1) -> bool:
        """Tell whether the elements of so many bytes have to be counted; a writer does so with a margin."""
        return size > self.max_elements and margin * size > DENSE * stored

    def check_encoded(self, data: bytes, stored: int, start: int) -> None:
        """Raise `StoreCorrupt` where encoded values, of which so many bytes are stored, come to too much."""
        if len(data) > self.max_bytes:
            raise self.refused("max_bytes")
        if self.may_be_dense(len(data), stored):
            self.spend(self.max_elements, data[start:])

    def spend(self, left: int, data: bytes) -> int:
        """Return how many elements are left of those allowed after an encoded value; raises `StoreCorrupt` if none."""
        return self.left(left - count_elements(data, left))

    def left(self, left: int) -> int:
        """Return how many elements are left; raises `StoreCorrupt` for less than none."""
        if left < 0:
            raise self.refused("max_elements")
        return left


DEFAULTS = Limits()


def unpacked_bound(stored: int) -> int:
    """Return to how many bytes so many may unpack."""
    return max(FREE, GROWTH * stored)


# ------------------------------------------------------------------------------------------- chunks


def weight_of(size: int, refs: int) -> int:
    """Return what a chunk of so many bytes weighs by itself, which names so many others."""
    return VISIT + size + ADDRESS_SIZE * refs


def weights(roots: Iterable[bytes], have: Mapping[bytes, N], own: Callable[[N], int]) -> dict[bytes, int]:
    """Return the weight of each chunk with all it reaches, each as often as it is named.

    ``own`` tells what one is by itself. Each is looked at once or twice, however often it is named. Raises
    `StoreCorrupt` where too many name each other in a row. An address tells the content, so none can reach itself.
    """
    known: dict[bytes, int] = {}
    levels: dict[bytes, int] = {}
    stack = list(roots)
    while stack:
        name = stack[-1]
        if name in known:
            stack.pop()
            continue
        chunk = have[name]
        missing = [ref for ref in chunk.refs if ref not in known]
        if missing:
            stack += dict.fromkeys(missing)
            continue
        stack.pop()
        levels[name] = 1 + max([levels[ref] for ref in chunk.refs], default=0)
        if levels[name] > LEVELS:
            raise too_deep()
        known[name] = own(chunk) + sum([known[ref] for ref in chunk.refs])
    return known


def most_namings(names: Iterable[bytes], extra: int) -> int:
    """Return how often one of some chunks can be reached at most, of which so many are named once more than needed.

    A way to a chunk takes one of its namings, and one of those of each chunk before it: there are no more ways than
    the product of these numbers, whatever names what.
    """
    if extra <= FEW:
        return 1 << extra
    most = 1
    for count in Counter(names).values():
        most *= count
        if most > MANY:
            break
    return most


def own_weight(chunk: Named) -> int:
    """Return what a chunk weighs by itself."""
    return weight_of(len(chunk.body), len(chunk.refs))


def too_deep() -> StoreCorrupt:
    """Return the error for chunks of which too many name each other in a row."""
    return StoreCorrupt(
        f"More than {LEVELS} chunks name each other in a row, which no encoder makes: they are damaged, or made to "
        "exhaust memory."
    )


# ----------------------------------------------------------------------------------------- elements

_SINGLE = re.compile(rb"[\x00-\x9f\xc0-\xc3\xe0-\xff]*")
"""Values of one byte: small integers, None, booleans, and the headers of small maps and arrays."""
_DOUBLES = re.compile(rb"(?:\xcb.{8})*", re.DOTALL)
_FIXED = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
_HEADERS = {0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5}
"""Bytes of numbers, and of the headers of larger arrays and maps, by their first byte."""
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes that tell the length of bytes and text, by the first byte."""
_OBJECTS = {0xC7: 3, 0xC8: 4, 0xC9: 6, 0xD4: 2, 0xD5: 2, 0xD6: 2, 0xD7: 2, 0xD8: 2}
"""Bytes of the header of an extension: its body is looked through, too."""


def count_elements(data: bytes, limit: int) -> int:
    """Return how many elements MessagePack of ours holds, on all levels, until there are more than a limit.

    Nothing is built. What is no MessagePack counts as something, and is refused when it is read.
    """
    count, position, end = 0, 0, len(data)
    while position < end and count <= limit:
        kind = data[position]
        if kind <= 0x9F or 0xC0 <= kind <= 0xC3 or kind >= 0xE0:
            run = _SINGLE.match(data, position).end()  # type: ignore[union-attr]
            count += run - position
            position = run
        elif kind == 0xCB and data[position + 9 : position + 10] == b"\xcb":
            run = _DOUBLES.match(data, position).end()  # type: ignore[union-attr]
            count += (run - position) // 9
            position = run
        elif kind <= 0xBF:
            count += 1
            position += 1 + (kind & 0x1F)
        elif kind in _SIZED:
            count += 1
            size = _SIZED[kind]
            position += 1 + size + int.from_bytes(data[position + 1 : position + 1 + size], "big")
        elif kind in _OBJECTS:
            count += OBJECT
            position += _object(data, position, kind)
        else:
            count += 1
            position += _FIXED.get(kind) or _HEADERS[kind]
    return count


def _object(data: bytes, position: int, kind: int) -> int:
    """Return how many bytes of an object need not be looked through: its header, and a body that is plain bytes."""
    header = _OBJECTS[kind]
    if data[position + header - 1 : position + header] not in _PLAIN_BODIES:
        return header
    return header + (
        1 << kind - 0xD4 if kind >= 0xD4 else int.from_bytes(data[position + 1 : position + header - 1], "big")
    )


_PLAIN_BODIES = frozenset(bytes((code,)) for code in RAW)
