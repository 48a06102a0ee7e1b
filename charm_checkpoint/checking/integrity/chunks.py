"""The chunks that a thread's checkpoints, or its message list, reach: each is looked at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from charm_checkpoint.checking.integrity.tools import Tools
from charm_checkpoint.contract import ADDRESS_SIZE, Chunk
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.decoder import split

BATCH = 64
"""Chunks that are asked for at a time: some 16 MB where all of them are pieces of large values."""


class Reached:
    """What of a thread's chunks was reached so far. Of each stay its address, its kind and what it names."""

    def __init__(self, tools: Tools, thread: str, messages: bool = False) -> None:
        self._tools = tools
        self.thread = thread
        self.messages = messages
        self.named: dict[bytes, bytes] = {}
        """By address: the kind, and the addresses that it names, end to end."""
        self.bad: dict[bytes, str] = {}
        """By address: what is wrong with a chunk that cannot be read."""
        self.size = 0

    def walk(self, roots: Iterable[bytes], given: Mapping[bytes, Chunk] | None = None) -> Session[None]:
        """Look at all that some roots reach, but for what was looked at before; ``given`` are at hand."""
        at_hand = dict(given or {})
        frontier = self._new(roots)
        while frontier:
            batch, frontier = frontier[:BATCH], frontier[BATCH:]
            found = yield Step(partial(self._look, batch, at_hand), self.thread)
            frontier += self._new(ref for refs in found for ref in split(refs))

    def _new(self, addresses: Iterable[bytes]) -> list[bytes]:
        """Return those that were not met before, and note that they were: with an empty text until they are read."""
        fresh = [name for name in dict.fromkeys(addresses) if name not in self.named and name not in self.bad]
        self.named.update(dict.fromkeys(fresh, b""))
        return fresh

    def _look(self, batch: list[bytes], at_hand: Mapping[bytes, Chunk]) -> Plan[list[bytes]]:
        chunks = {name: at_hand[name] for name in batch if name in at_hand}
        failed: dict[bytes, str] = {}
        missing = [name for name in batch if name not in chunks]
        try:
            chunks.update((yield from self._fetch(missing)))
        except StoreCorrupt:
            for name in missing:
                try:
                    chunks.update((yield from self._fetch([name])))
                except StoreCorrupt as error:
                    failed[name] = f"it cannot be read: {error}"
        refs: list[bytes] = yield Compute(partial(self._read, batch, chunks, failed))
        return refs

    def _fetch(self, names: list[bytes]) -> Plan[Mapping[bytes, Chunk]]:
        if not names:
            return {}
        return (yield from self._tools.backend.chunks(self.thread, names, self.messages))

    def _read(self, batch: list[bytes], chunks: Mapping[bytes, Chunk], failed: Mapping[bytes, str]) -> list[bytes]:
        found = []
        for name in batch:
            chunk = chunks.get(name)
            if name in failed:
                self._fail(name, failed[name])
            elif chunk is None:
                self._fail(name, "it is missing")
            else:
                try:
                    read = self._tools.chunk(chunk)
                except StoreCorrupt as error:
                    self._fail(name, str(error))
                else:
                    self.named[name] = read.kind + chunk.refs
                    self.size += len(chunk.data)
                    found.append(chunk.refs)
        return found

    def _fail(self, name: bytes, why: str) -> None:
        self.named.pop(name, None)
        self.bad[name] = why

    # ---------------------------------------------------------------- who has it

    def refs(self, name: bytes) -> tuple[bytes, ...]:
        """Return what a chunk names."""
        return split(self.named.get(name, b"?")[1:])

    def tainted(self) -> dict[bytes, bytes]:
        """Return every address from which one that is bad is reached, and such a one."""
        above: dict[bytes, list[bytes]] = {}
        for name, kind_and_refs in self.named.items():
            for start in range(1, len(kind_and_refs), ADDRESS_SIZE):
                above.setdefault(kind_and_refs[start : start + ADDRESS_SIZE], []).append(name)
        found = {name: name for name in self.bad}
        frontier = list(found)
        while frontier:
            name = frontier.pop()
            for parent in above.get(name, ()):
                if parent not in found:
                    found[parent] = found[name]
                    frontier.append(parent)
        return found
