"""Vectors and what is known of models, kept in the store so that no text is embedded twice."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from charm_checkpoint.contract_items import ItemBackend, ItemChange, ItemKey, ItemQuery, ItemRow
from charm_checkpoint.items.bounded import NOT_NOW, Bounded, Bounds, Warner, framed, now_us, seal, unseal
from charm_checkpoint.items.embedding import vectors
from charm_checkpoint.items.flow import Flow, Run
from charm_checkpoint.items.namespaces import EMBEDDINGS, path_of
from charm_checkpoint.runtime.cache import ADDRESS, ENTRY, Budget, Cache
from charm_checkpoint.runtime.clock import monotonic

DOCUMENT: Final = b"d"
QUERY: Final = b"q"

VECTORS: Final = path_of(("vectors",), EMBEDDINGS)
MODELS: Final = path_of(("models",), EMBEDDINGS)

REFRESH: Final = 3600 * 1_000_000
"""Microseconds after which a vector that is used again is put anew, so that it counts as young."""

BEHIND: Final = 64

_MANY: Final = 10
_MOST_MODELS: Final = 1000


def key_of(identity: bytes, kind: bytes, text: str) -> bytes:
    """Return under what the vector of a text is kept."""
    whole = framed(identity, kind, text.encode("utf-8", "surrogatepass"))
    return hashlib.blake2b(whole, digest_size=16).digest()


class VectorCache:
    """The vectors of texts, of all models, within bounds: in the store, and the last of them in this process.

    They are put in the store once in ``delay`` seconds at most, or when there are ``BEHIND`` of them; so a program that
    embeds one text has it kept at once, and one that embeds many does not write twice for each. What a program has not
    put when it ends is merely embedded again.
    """

    def __init__(
        self,
        items: ItemBackend,
        bounds: Bounds,
        warner: Warner,
        budget: Budget,
        delay: float,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._kept = Bounded(items, VECTORS, bounds, warner, clock)
        self._warner = warner
        self._bounds = bounds
        self._is_off = bounds.entries < 1 or bounds.size < 1
        self._near: Cache[bytes, bytes] = Cache(budget, lambda key, value: ENTRY + ADDRESS + len(value))
        self._behind: deque[ItemChange] = deque()
        self._delay = delay
        self._written = -delay

    def near(self, key: bytes) -> bytes | None:
        """Return a vector that this process remembers, or None."""
        return self._near.get(key)

    def find(self, keys: Sequence[bytes], identity: bytes, dims: int) -> Flow[dict[bytes, bytes]]:
        """Return the vectors that are kept under keys."""
        found = {key: vector for key in keys if (vector := self._near.get(key)) is not None}
        wanted = [_place(identity, key) for key in keys if key not in found]
        if self._is_off or not wanted:
            return found
        rows = yield from self._kept.fetch(wanted)
        aging = self._kept.clock() - REFRESH
        again: list[ItemChange] = []
        for item, row in rows.items():
            vector = unseal(row)
            if vector is None or vectors.dims_of(vector) != dims:
                self._warner.warn(
                    "damaged", "a vector that was kept is damaged, or was not kept by this; it is made anew"
                )
                continue
            found[item.key] = vector
            self._near.put(item.key, vector)
            if row.updated < aging:
                again.append(ItemChange(item.space, item.key, row.value))
        if again:
            self._behind += again
            yield from self._write()
        return found

    def keep(self, made: Mapping[bytes, bytes], identity: bytes, of: int) -> Flow[None]:
        """Keep vectors, some ``of`` so many that belong together."""
        # Many at once, as when data is brought in, would push out what is in use, and are not soon needed again.
        in_store = not self._is_off and of * _MANY < self._bounds.entries
        for key, vector in made.items():
            self._near.put(key, vector)
            if in_store:
                item = _place(identity, key)
                self._behind.append(ItemChange(item.space, item.key, seal(item, vector)))
        yield from self._write()

    def _write(self) -> Flow[None]:
        now = monotonic()
        if not self._behind or (len(self._behind) < BEHIND and now - self._written < self._delay):
            return
        self._written = now
        changes: dict[ItemKey, ItemChange] = {}
        with suppress(IndexError):  # another thread takes from it, too
            while True:
                change = self._behind.popleft()
                changes[change.item] = change
        yield from self._kept.change(list(changes.values()))


def _place(identity: bytes, key: bytes) -> ItemKey:
    return ItemKey(path_of(("vectors", identity.hex()), EMBEDDINGS), key)


class ModelNotes:
    """What is known of models: few, small, and not bounded. ``kind`` and ``name`` tell what and of which."""

    def __init__(self, items: ItemBackend, warner: Warner, clock: Callable[[], int] = now_us) -> None:
        self._notes = Bounded(items, MODELS, Bounds(_MOST_MODELS, 1 << 40), warner, clock)

    def read(self, kind: bytes, name: bytes) -> Flow[bytes | None]:
        """Return a note, or None."""
        item = ItemKey(MODELS, kind + name)
        rows = yield from self._notes.fetch([item])
        return unseal(rows[item]) if item in rows else None

    def all(self, kind: bytes) -> Flow[dict[bytes, bytes]]:
        """Return all notes of a kind by their names, oldest first."""
        query = ItemQuery(MODELS, self._notes.clock(), _MOST_MODELS, oldest_first=True)
        try:
            rows: Sequence[ItemRow] = yield Run(partial(self._notes.items.page, query))
        except NOT_NOW:
            return {}
        read = {row.key[len(kind) :]: unseal(row) for row in rows if row.key.startswith(kind)}
        return {name: note for name, note in read.items() if note is not None}

    def write(self, kind: bytes, name: bytes, note: bytes) -> Flow[bytes]:
        """Keep a note, unless there is one; return that which is kept."""
        item = ItemKey(MODELS, kind + name)
        reply = yield from self._notes.change([ItemChange(item.space, item.key, seal(item, note), expect=0)])
        if reply is not None and reply.outcome == "changed":
            rows = yield from self._notes.fetch([item])
            earlier = unseal(rows[item]) if item in rows else None
            if earlier is not None:
                return earlier
            yield from self._notes.change([ItemChange(item.space, item.key, seal(item, note))])
        return note
