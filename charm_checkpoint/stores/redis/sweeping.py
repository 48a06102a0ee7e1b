"""Removing checkpoints of a large thread on Redis: in many script calls, none of which keeps the server long.

What reaches which chunk is found out here. A first look goes through all rows and chunks, a few at a time, while others
write. Checkpoints are removed if nothing changed since the last look, and so are, a few at a time, the chunks that
nothing reaches; if something did, what came is looked at, and it is tried again. A process that ends in between leaves
chunks that nothing reaches, and no harm.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from charm_checkpoint.contract import ADDRESS_SIZE, ThreadState
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.pacing import resting
from charm_checkpoint.stores.redis.rows import part
from charm_checkpoint.stores.shared.mark_and_sweep import addresses
from charm_checkpoint.stores.shared.names import id_bytes, text_bytes

AT_ONCE = 500
"""Rows or chunks that one call looks at."""
STRUCK = 100
"""Checkpoints that one call removes: a millisecond or so in which the server does nothing else."""
DROPPED = 500
"""Chunks that one call removes."""
READ_BYTES = 1 << 18
"""Bytes of chunks that one call wants to read; it may be several times as much."""
ATTEMPTS = 100
"""How often it is looked again at what came meanwhile."""


def read_refs(told: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Yield addresses of chunks and what they name, as lua/refs.lua tells it."""
    at = 0
    while at < len(told):
        address, at = told[at : at + ADDRESS_SIZE], at + ADDRESS_SIZE
        refs, at = part(told, at)
        yield address, refs


class Row(NamedTuple):
    """What is looked at of a checkpoint."""

    run: bytes
    roots: bytes


class LargeThread:
    """What is known of a thread's rows and chunks, of which checkpoints of some namespaces are to go.

    ``call`` runs a script on the thread's keys, ``fields`` returns fields of its state.
    """

    def __init__(self, call: Callable[..., Plan[Any]], fields: Callable[..., Plan[Any]], names: Iterable[str]) -> None:
        self._call, self._fields = call, fields
        self._names = [text_bytes(ns) for ns in dict.fromkeys(names)]
        self._spaces: dict[bytes, bytes] = {}
        self._rows: dict[bytes, Row] = {}
        """By member."""
        self._lines: dict[bytes, dict[bytes, None]] = {}
        """The members of each space, in commit order."""
        self._runs: Counter[bytes] = Counter()
        """How many rows each run has."""
        self._refs: dict[bytes, bytes] = {}
        """What each chunk names."""
        self._last: Any = b"0"
        self._replaced: Any = None
        self.state = ThreadState()

    # ----------------------------------------------------------------- looking

    def look(self) -> Plan[bool]:
        """Take in the rows that came since the last look; tell whether it is the same thread still.

        All are looked at if some were removed, or one was put in the place of another.
        """
        more = True
        while more:
            deletes, sweeps, seq, replaced, last, flat = yield from self._call("rows", self._last, AT_ONCE)
            state, former = ThreadState(deletes, sweeps, seq), self.state
            if former.seq and (deletes != former.deletes or seq < former.seq):
                return False
            more = bool(flat)
            if former.seq and (sweeps, replaced) != (former.sweeps, self._replaced):
                self._spaces, self._last, more = {}, b"0", True
                self._rows, self._lines, self._runs = {}, {}, Counter()
            elif flat:
                self._last = last
                self._take_in(zip(flat[::3], map(Row, flat[1::3], flat[2::3]), strict=True))
            self._replaced, self.state = replaced, state
            if more:
                yield from resting()
        if not self._spaces:
            places = yield from self._fields(*(b"n" + ns for ns in self._names))
            self._spaces = {ns: held[:3] for ns, held in zip(self._names, places, strict=True) if held}
        return True

    def _take_in(self, rows: Iterable[tuple[bytes, Row]]) -> None:
        for member, row in rows:
            self._rows[member] = row
            self._lines.setdefault(member[:3], {})[member] = None
            self._runs[row.run] += 1

    def _take_out(self, members: Iterable[bytes]) -> None:
        for member in members:
            self._lines[member[:3]].pop(member)
            self._runs[self._rows.pop(member).run] -= 1

    def look_at_chunks(self) -> Plan[None]:
        """Take in what each chunk names."""
        cursor, size = b"0", AT_ONCE
        while True:
            cursor, read, told = yield from self._call("refs", cursor, size, b"")
            self._refs.update(read_refs(told))
            size = min(AT_ONCE, size * 2) if read < READ_BYTES else max(1, size // 2)
            if cursor == b"0":
                return
            yield from resting()

    def _live(self) -> Plan[Collection[bytes]]:
        """Return the chunks that the rows reach, taking in those that came since chunks were looked at."""
        live: set[bytes] = set()
        waiting = [name for row in self._rows.values() for name in addresses(row.roots)]
        unknown: list[bytes] = []
        while waiting or unknown:
            if not waiting:
                unknown, some = unknown[AT_ONCE:], unknown[:AT_ONCE]
                tried, _, told = yield from self._call("refs", b"0", 0, b"".join(some))
                found = {**dict.fromkeys(some[: int(tried)], b""), **dict(read_refs(told))}
                unknown += some[int(tried) :]
                self._refs.update(found)
                waiting = [name for refs in found.values() for name in addresses(refs)]
                continue
            name = waiting.pop()
            if name not in live:
                live.add(name)
                refs = self._refs.get(name)
                if refs is None:
                    unknown.append(name)
                else:
                    waiting += addresses(refs)
        return live

    # ---------------------------------------------------------------- removing

    def strike(self, doomed: Iterable[tuple[str, str]]) -> Plan[Sequence[bytes] | None]:
        """Remove checkpoints with their writes; None, and nothing is done, if anything has changed.

        What is returned are the runs of which nothing is left, alternately with their tokens.
        """
        keys = ((self._spaces.get(text_bytes(ns)), id_bytes(id)) for ns, id in doomed)
        members = [space + id for space, id in keys if space is not None]
        struck, touched = set(members), {member[:3] for member in members}
        heads = {space: self._head_without(space, struck) for space in touched}
        named = [part for ns, space in self._spaces.items() if space in touched for part in (ns, heads[space])]
        known = struck & self._rows.keys()
        runs = Counter(self._rows[member].run for member in known)
        ended = {run for run, count in runs.items() if count == self._runs[run]} - {b""}
        outcome, deletes, sweeps, seq, tokens = yield from self._call(
            "strike", self.state.seq, int(time.time()), len(members), len(named) // 2, *members, *named, *ended
        )
        if outcome != b"stored":
            return None
        self._take_out(known)
        self.state = ThreadState(deletes, sweeps, seq)
        return tokens  # type: ignore[no-any-return]

    def _head_without(self, space: bytes, struck: Collection[bytes]) -> bytes:
        """Return the last member of a space but for some, empty if none is left."""
        return next((member for member in reversed(self._lines.get(space, {})) if member not in struck), b"")

    def sweep(self) -> Plan[None]:
        """Remove the chunks that nothing reaches, as far as the thread's writers let it: the rest does no harm."""
        for _ in range(ATTEMPTS):
            live = yield from self._live()
            garbage = [name for name in self._refs if name not in live]
            while garbage:
                some = garbage[-DROPPED:]
                if (yield from self._call("drop", self.state.seq, b"".join(some))) != self.state.seq:
                    break
                del garbage[-DROPPED:]
                for name in some:
                    del self._refs[name]
                yield from resting()
            else:
                return
            if not (yield from self.look()):
                return
