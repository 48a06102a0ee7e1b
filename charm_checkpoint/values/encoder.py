"""Values to content-addressed chunks; pure. decoder.py has the way back.

State is mostly a list or dict that changes a little from one checkpoint to the next. Its
elements are grouped into *leaves* whose ends are decided by the elements themselves (see elements.py),
so an edit moves no leaf but its own. Leaves are grouped the same way, and those groups again. What
has come after the last end at each level is open:

    manifest ─ group ─ leaf ─ small elements, packed
            │       └─ leaf ─ ...  ─ large element (a chunk, pieces, or a manifest of its own)
            ├─ leaf              open: no group's end has come yet
            ├─ small leaf        open: the end of a leaf of small elements has not come yet
            └─ element           open: no leaf's end has come yet

An append writes the new element, a manifest, and now and then a leaf that seals the open
elements before it. Small elements are sealed twice, a few at first and then many.

Another thread may change a value while it is encoded. What is remembered of a chunk, to know its
elements again, is therefore a fingerprint of the very bytes that the chunk was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import ormsgpack

from charm_checkpoint.contract import ADDRESS_SIZE, Chunk
from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.values.elements import FEW, Elements
from charm_checkpoint.values.known_chunks import KnownLeaves, LeafFingerprint, Tree
from charm_checkpoint.values.leaves import Leaves
from charm_checkpoint.values.limits import (
    BYTES,
    DEFAULTS,
    MARGIN,
    OVERHEAD,
    Limits,
    count_elements,
    weight_of,
)
from charm_checkpoint.values.offload import THING, TooMuch
from charm_checkpoint.values.packing import pack
from charm_checkpoint.values.pieces import cut
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.bases import plain
from charm_checkpoint.values.serde.framing import framed
from charm_checkpoint.values.serde.writer import LIGHT, weigh

MANIFOLD = 32
"""Elements that one thing is encoded as at most, as `weigh` counts things."""
INLINE = 512
"""Largest encoded value, in bytes, that stays in its checkpoint's record."""
WHOLE = 1024
"""Largest encoded list or dict, in bytes, that is kept in one piece."""
TINY = 64
"""Encoded elements up to this many bytes stay in the manifest while they are open."""
NESTED = 8
"""How often lists or dicts inside each other are split; what is deeper is kept in one piece."""
UNASKED = 1 << 20
"""Bytes of chunks left out that a value may hold before it is looked up as how many they are stored."""
PIECE = 1 << 18
"""Bytes above which a value that cannot be split by elements is cut into pieces."""

BLOB, PIECES, RAW, LEAF, GROUP, MANIFEST = (bytes((code,)) for code in range(1, 7))
"""Kinds of chunks; the first byte of a chunk's payload. Part of the storage format."""

LIST, DICT, DELTA = 0, 1, 2
"""What a manifest holds; DELTA is added for a value inside LangGraph's ``_DeltaSnapshot``."""

CONTAINERS = frozenset((LIST, DICT, LIST + DELTA, DICT + DELTA))


SMALL_TEXT = INLINE // 4
"""Text up to this many characters is inline whatever they are."""


def is_small(value: Any) -> bool:
    """Tell, without encoding it, that a plain value goes inline."""
    kind = type(value)
    return kind in _SMALL or (kind is str and len(value) <= SMALL_TEXT)


_SMALL = frozenset((type(None), bool, int, float))


class EncodedValue(NamedTuple):
    """A value encoded: ``inline``, its bytes, or ``ref``, the address of the chunk that stands for it."""

    inline: bytes | None
    ref: bytes | None = None


def address(kind: bytes, body: bytes, refs: bytes) -> bytes:
    """Return the address of a chunk: BLAKE2b-128 of its kind, refs and body."""
    digest = blake2b(kind, digest_size=ADDRESS_SIZE)
    digest.update(len(refs).to_bytes(4, "big"))
    digest.update(refs)
    digest.update(body)
    return digest.digest()


class Encoder:
    """Encodes the values of one checkpoint; ``chunks`` gathers what the store may lack.

    ``leaves`` is what is remembered of values encoded before. ``known`` are addresses that the store is
    known to hold: they are left out. ``complete`` tells whether nothing was, ``reused`` how often something was.
    ``allowance``, if given, is about how many things may be looked at (see offload.py): where there are more,
    `TooMuch` is raised before much time has passed.
    """

    def __init__(
        self,
        serde: Serializer,
        leaves: KnownLeaves,
        known: frozenset[bytes] | set[bytes] = frozenset(),
        allowance: int | None = None,
        limits: Limits = DEFAULTS,
    ) -> None:
        self._serde = serde
        self._leaves = leaves
        self._known = known
        self._left = allowance
        self._limits = limits
        self._weights: dict[bytes, int] = {}
        self._stored: dict[bytes, int] = {}
        self.chunks: dict[bytes, Chunk] = {}
        self.complete = True
        self.reused = 0
        self._unpacked = 0

    def value(self, value: Any, prior: bytes | None = None) -> EncodedValue:
        """Encode one value; ``prior`` is where an earlier version of it went, of which it may share much.

        Raises `NotSerializable` with the path inside the value.
        """
        self._weights, self._stored = {}, {}
        encoded = self._value(value, prior, 0)
        if encoded.ref is not None and not self._limits.is_light(self._weights[encoded.ref]):
            self.check(value, *self.weight(encoded.ref))
        return encoded

    def weight(self, name: bytes) -> tuple[int, int]:
        """Return what a chunk of the value encoded last weighs with all it reaches, and what is stored of the value."""
        return self._weights[name], sum(self._stored.values())

    def check(self, value: Any, weight: int, stored: int, what: str = "this comes") -> None:
        """Raise `NotSerializable` for a value of some weight that could not be read back."""
        option = self._limits.excess(weight)
        if option is None and self._limits.may_be_dense(weight & BYTES, stored, MARGIN):
            most = self._limits.max_elements
            if weigh([value], most // MANIFOLD) > most // MANIFOLD:
                option = "max_elements" if count_elements(self._serde.pack(value, heavy=True), most) > most else None
        if option is not None:
            raise NotSerializable(
                f"{what} to {self._limits.told(option)}, and could not be read back. Store less in one state, or "
                "open the store with a larger one, wherever it is read."
            )

    def _value(self, value: Any, prior: bytes | None, depth: int) -> EncodedValue:
        container, inner = _container(value)
        if container is not None:
            self._spend(len(inner))
            elements = Elements(inner, self._serde, self._is_heavy)
            if not self._fits(elements):
                return self._tree(container, elements, prior, depth)
            value = elements.container() if container < DELTA else type(value)(elements.container())
        if type(value) in (bytes, str):
            self._spend(len(value) // THING)
            long = framed(value) if len(value) > PIECE else None
            if long is not None:
                return EncodedValue(None, self._pieces(*long))
        packed = self._serde.pack(value, self._is_heavy([value]))
        if len(packed) < INLINE:
            return EncodedValue(self._serde.whole(packed))
        return EncodedValue(None, self._blob(packed))

    def _is_heavy(self, values: Sequence[Any]) -> bool:
        """Tell whether there is more in some values than should be encoded by one call."""
        if self._left is None:
            return weigh(values, LIGHT) > LIGHT
        self._spend(weigh(values, self._left, THING))
        return False

    def _spend(self, things: int) -> None:
        if self._left is not None:
            self._left -= things
            if self._left < 0:
                raise TooMuch

    # ------------------------------------------------------------------ chunks

    def _chunk(self, kind: bytes, body: bytes, members: Sequence[bytes] = ()) -> bytes:
        refs = b"".join(members)
        name = address(kind, body, refs)
        if name not in self._weights:
            known = self._weights
            known[name] = weight_of(len(body), len(members)) + sum([known[member] for member in members])
            if not self._has(name) and name not in self.chunks:
                self.chunks[name] = Chunk(name, refs, pack(kind + body))
            made = self.chunks.get(name)
            self._stored[name] = OVERHEAD + (self._packed_size(kind + body) if made is None else len(made.data))
        return name

    def _packed_size(self, data: bytes) -> int:
        """Return as how many bytes a chunk is stored that is left out: of a value that is small nobody asks for it."""
        self._unpacked += len(data)
        return len(pack(data)) if self._unpacked > UNASKED else 0

    def _has(self, name: bytes) -> bool:
        """Tell whether the store is known to hold a chunk; it is then left out."""
        if name in self._known:
            self.complete = False
            self.reused += 1
            return True
        return False

    def _blob(self, packed: bytes) -> bytes:
        """Store an encoded value that is not split by elements."""
        self._spend(len(packed) // THING)
        if len(packed) < PIECE:
            return self._chunk(BLOB, self._serde.whole(packed))
        return self._pieces(b"", packed)

    def _pieces(self, head: bytes, packed: bytes) -> bytes:
        """Store an encoded value in pieces; ``head``, what it begins with, may be given apart, and is one by itself."""
        pieces = cut(packed)
        first = self._chunk(RAW, self._serde.whole(head or next(pieces)))
        levels = self._levels([first, *(self._chunk(RAW, piece) for piece in pieces)])
        return self._chunk(PIECES, b"", [name for level in levels for name in level])

    # ------------------------------------------------------------------- trees

    def _fits(self, elements: Elements) -> bool:
        """Tell whether a container's elements are small enough, together, to keep it whole."""
        room = WHOLE
        if len(elements) > room:
            return False
        for position in range(len(elements)):
            room -= len(elements.packed(position))
            if room < 0:
                return False
        return True

    def _tree(self, container: int, elements: Elements, prior: bytes | None, depth: int) -> EncodedValue:
        earlier = self._leaves.get(prior) if prior is not None else None
        tree = earlier if isinstance(earlier, Tree) else _NO_TREE
        leaves = Leaves(_Sink(self, depth + 1), self._leaves, elements, tree, splits=depth < NESTED)
        sealed, small = leaves.sealed(), leaves.small()
        tail, tail_refs, opened = self._tail(elements, leaves)
        levels = self._levels(sealed)
        levels[-1] += small
        body = ormsgpack.packb([container, [len(level) for level in levels], tail])
        ref = self._chunk(MANIFEST, body, [name for level in (*levels, tail_refs) for name in level])
        self._leaves.put(ref, Tree((*sealed, *small), opened))
        return EncodedValue(None, ref)

    def _levels(self, members: list[bytes]) -> list[list[bytes]]:
        """Group addresses, and the groups again; return what is open at each level, the highest first."""
        levels = []
        while True:
            groups, rest = self._groups(members)
            levels.append(rest)
            if not groups:
                return levels[::-1]
            members = groups

    def _groups(self, members: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Group addresses; return the closed groups' and those still open."""
        groups: list[bytes] = []
        start = 0
        for position, member in enumerate(members, 1):
            count = position - start
            if count >= FEW.longest or (count >= FEW.shortest and not member[0] & FEW.mask):
                groups.append(self._chunk(GROUP, b"", members[start:position]))
                start = position
        return groups, members[start:]

    def _tail(self, elements: Elements, leaves: Leaves) -> tuple[list[bytes | None], list[bytes], dict[int, bytes]]:
        """Encode the open elements: tiny ones as bytes, others as refs (None); return where trees went, too."""
        items: list[bytes | None] = []
        refs: list[bytes] = []
        opened: dict[int, bytes] = {}
        for position in range(leaves.start, len(elements)):
            if elements.keys is not None:
                items.append(self._serde.whole(elements.packed_key(position)))
            nested = leaves.nested(position)
            if nested is not None:
                opened[leaves.name(position)] = nested
            packed = b"" if nested is not None else elements.packed(position)
            if nested is None and len(packed) < TINY:
                items.append(self._serde.whole(packed))
            else:
                refs.append(nested or self._blob(packed))
                items.append(None)
        return items, refs, opened


class _Sink:
    """What an encoder does for the leaves of a list or dict that is so many levels deep."""

    def __init__(self, encoder: Encoder, depth: int) -> None:
        self._encoder = encoder
        self._depth = depth

    def has(self, address: bytes, leaf: LeafFingerprint) -> bool:
        if not self._encoder._has(address):
            return False
        self._encoder._weights[address], self._encoder._stored[address] = leaf.weight, leaf.stored
        return True

    def weight(self, leaf: bytes, large: Sequence[bytes]) -> tuple[int, int]:
        stored = self._encoder._stored
        return self._encoder._weights[leaf], stored[leaf] + sum([stored[name] for name in large])

    def leaf(self, body: bytes, refs: Sequence[bytes]) -> bytes:
        return self._encoder._chunk(LEAF, body, refs)

    def blob(self, packed: bytes) -> bytes:
        return self._encoder._blob(packed)

    def split(self, value: Any, prior: bytes | None) -> bytes | None:
        return self._encoder._value(value, prior, self._depth).ref


_NO_TREE = Tree((), {})


def _container(value: Any) -> tuple[int | None, Any]:
    if issubclass(type(value), (list, dict)):  # not isinstance, which would ask a proxy what it stands for
        value = plain(value)
    kind = type(value)
    if kind is list:
        return LIST, value
    if kind is dict:
        return DICT, value
    if kind.__name__ == "_DeltaSnapshot" and kind.__module__ == "langgraph.checkpoint.serde.types":
        container, inner = _container(value.value)
        return (None, value) if container is None or container >= DELTA else (container + DELTA, inner)
    return None, value
