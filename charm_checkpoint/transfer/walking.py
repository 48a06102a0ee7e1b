"""Following what checkpoints name from chunk to chunk: each is read once, and is what its address says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from charm_checkpoint.contract import Chunk
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Compute
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.hops import Hop, Moving
from charm_checkpoint.values.decoder import decode_chunk, split

T = TypeVar("T")

PART = 4 << 20
"""Bytes of chunks that are held, and sent, at once; a checkpoint that names more is sent in several parts."""
AT_ONCE = 128
"""Chunks asked for at once: each is 256 kB at most, and seldom more than a few."""
REMEMBERED = 1 << 20
"""Addresses remembered as sent, some 80 bytes each: if there are more, chunks are sent again, which does no harm."""


class Reach(NamedTuple):
    """What is reached from some roots and was not before: addresses, each behind all it names.

    ``chunks`` has what they hold, or is None where that is too much to be held.
    """

    order: Sequence[bytes]
    chunks: Mapping[bytes, Chunk] | None
    size: int


class Walker:
    """Follows the chunks of one thread, or of its message list."""

    def __init__(self, store: Store, thread: str, *, messages: bool = False) -> None:
        self._store = store
        self._thread = thread
        self._messages = messages
        self._seen: set[bytes] = set()
        self._pool: dict[bytes, Chunk] = {}

    def prefetch(self, roots: Iterable[bytes], given: Mapping[bytes, Chunk]) -> Moving[None]:
        """Fetch what several checkpoints reach in few round trips, up to `PART` bytes, and keep it for `reach`."""
        self._pool = dict(given)
        size = sum(len(chunk.data) for chunk in given.values())
        frontier = self._fresh(address for some in roots for address in split(some))
        while frontier and size < PART:
            for some in parts([address for address in frontier if address not in self._pool], AT_ONCE):
                found = yield from self._fetch(some)
                self._pool.update(found)
                size += sum(len(chunk.data) for chunk in found.values())
                if size >= PART:
                    return
            reached = (self._pool[address].refs for address in frontier if address in self._pool)
            frontier = [address for address in self._fresh(map(bytes, _all(reached))) if address not in self._pool]

    def reach(self, roots: bytes) -> Moving[Reach]:
        """Return what is reached and was not before; raises `StoreCorrupt` for what is missing or damaged.

        It counts as seen only after `note`.
        """
        refs: dict[bytes, tuple[bytes, ...]] = {}
        held: dict[bytes, Chunk] | None = {}
        size = 0
        frontier = self._fresh(split(roots))
        while frontier:
            for some in parts(frontier, AT_ONCE):
                chunks = yield from self._read(some)
                refs.update((chunk.address, split(chunk.refs)) for chunk in chunks)
                size += sum(len(chunk.data) for chunk in chunks)
                if held is not None:
                    held.update((chunk.address, chunk) for chunk in chunks)
                held = None if size > PART else held
            frontier = [each for each in self._fresh(_all(refs[address] for address in frontier)) if each not in refs]
        return Reach(_children_first(split(roots), refs), held, size)

    def note(self, reach: Reach) -> None:
        """Count what was reached as seen: it is sent."""
        if len(self._seen) > REMEMBERED:
            self._seen.clear()
        self._seen.update(reach.order)

    def send(self, reach: Reach, send: Callable[[list[Chunk]], Moving[None]]) -> Moving[list[Chunk]]:
        """Send chunks in parts but for the last one, which is returned."""
        if reach.chunks is not None:
            return [reach.chunks[address] for address in reach.order]
        part: list[Chunk] = []
        size = 0
        for some in parts(reach.order, AT_ONCE):
            for chunk in (yield from self._read(some)):
                part.append(chunk)
                size += len(chunk.data)
            if size > PART:
                yield from send(part)
                part, size = [], 0
        return part

    def _fresh(self, addresses: Iterable[bytes]) -> list[bytes]:
        return [address for address in dict.fromkeys(addresses) if address not in self._seen]

    def _read(self, addresses: Sequence[bytes]) -> Moving[list[Chunk]]:
        """Return chunks in this order, each of which is what its address says."""
        missing = [address for address in addresses if address not in self._pool]
        found = (yield from self._fetch(missing)) if missing else {}
        chunks: list[Chunk] = []
        for address in addresses:
            chunk = self._pool.get(address) or found.get(address)
            if chunk is None:
                raise StoreCorrupt(f"Chunk {address.hex()} is missing.")
            chunks.append(chunk)
        checked: list[Chunk] = yield Compute(partial(_checked, chunks))
        return checked

    def _fetch(self, addresses: Collection[bytes]) -> Moving[Mapping[bytes, Chunk]]:
        plan = partial(self._store.backend.chunks, self._thread, addresses, self._messages)
        found: Mapping[bytes, Chunk] = yield Hop(self._store, plan, self._thread)
        return found


def _checked(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    for chunk in chunks:
        decode_chunk(chunk)
    return chunks


def _children_first(roots: Iterable[bytes], refs: Mapping[bytes, Sequence[bytes]]) -> list[bytes]:
    """Return addresses, each behind all it names: a store may want to have what a chunk names before that."""
    order: dict[bytes, None] = {}
    stack = [(root, iter(refs[root])) for root in reversed(list(roots)) if root in refs]
    while stack:
        address, left = stack[-1]
        following = next((ref for ref in left if ref in refs and ref not in order), None)
        if following is None:
            order[address] = None
            stack.pop()
        else:
            stack.append((following, iter(refs[following])))
    return list(order)


def _all(several: Iterable[Iterable[bytes] | bytes]) -> Iterator[bytes]:
    for each in several:
        yield from split(each) if isinstance(each, bytes) else each


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield items so many at a time."""
    return (items[at : at + size] for at in range(0, len(items), size))
