"""What a dry run says of a thread: what would go, told by what would stay, which is less to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from charm_checkpoint.config.retention import Retention
from charm_checkpoint.contract import Backend, Chunk, ThreadRow, Usage
from charm_checkpoint.plan import Plan
from charm_checkpoint.retention.pruning import Tools, chosen, outlines_of
from charm_checkpoint.retention.reports import Amount
from charm_checkpoint.saver.choosing import Key
from charm_checkpoint.session import Session, Step
from charm_checkpoint.stores.shared.mark_and_sweep import addresses

AT_ONCE = 50
"""Checkpoints that are read in one transaction."""
CHUNKS = 200
"""Chunks that are."""


def estimated(tools: Tools, row: ThreadRow, policy: Retention, now: float) -> Session[Amount]:
    """Return what a policy would have go of a thread."""
    thread = row.thread or ""
    outlines = outlines_of(tools, thread, policy)
    doomed = yield from chosen(outlines, thread, policy, now)
    if not doomed:
        return Amount()
    stays = yield from _kept(tools.backend, thread, list(outlines.found.keys() - set(doomed)))
    usage: Usage = yield Step(partial(tools.backend.usage, thread), thread)
    chunks = None if row.has_messages else max(0, usage.chunks - stays.chunks)  # a list has chunks of its own
    return Amount(1, len(doomed), chunks, None if row.size is None else max(0, row.size - stays.payload_bytes))


def _kept(backend: Backend, thread: str, keys: Sequence[Key]) -> Session[Usage]:
    """Count the chunks and bytes of what stays."""
    size, roots = 0, set[bytes]()
    for start in range(0, len(keys), AT_ONCE):
        more, named = yield Step(partial(_of_rows, backend, thread, keys[start : start + AT_ONCE]), thread)
        size += more
        roots |= named
    sizes = yield from _reached(backend, thread, roots)
    return Usage(chunks=len(sizes), payload_bytes=size + sum(sizes.values()))


def _of_rows(backend: Backend, thread: str, keys: Iterable[Key]) -> Plan[tuple[int, set[bytes]]]:
    """Return the bytes of some checkpoints with their writes, and the chunks that they name."""
    size, roots = 0, set[bytes]()
    for ns, id in keys:
        found = yield from backend.find(thread, ns, id)
        if found.row is not None:
            roots.update(addresses(found.row.roots))
            size += len(found.row.body) + sum(map(len, found.writes))
    return size, roots


def _reached(backend: Backend, thread: str, roots: Iterable[bytes]) -> Session[dict[bytes, int]]:
    """Return the sizes of all chunks that are reached, by address."""
    sizes: dict[bytes, int] = {}
    waiting = list(dict.fromkeys(roots))
    seen = set(waiting)
    while waiting:
        some = waiting[-CHUNKS:]
        del waiting[-CHUNKS:]
        found: dict[bytes, tuple[int, bytes]] = yield Step(partial(_of_chunks, backend, thread, some), thread)
        for name, (size, refs) in found.items():
            sizes[name] = size
            new = [address for address in addresses(refs) if address not in seen]
            seen.update(new)
            waiting += dict.fromkeys(new)
    return sizes


def _of_chunks(backend: Backend, thread: str, wanted: Sequence[bytes]) -> Plan[dict[bytes, tuple[int, bytes]]]:
    """Return the bytes of some chunks, and what they name."""
    found = yield from backend.chunks(thread, wanted)
    return {name: _told(chunk) for name, chunk in found.items()}


def _told(chunk: Chunk) -> tuple[int, bytes]:
    return len(chunk.data), chunk.refs
