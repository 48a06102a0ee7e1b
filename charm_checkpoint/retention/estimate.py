"""What a dry run says of a thread: what would go, told by what would stay, which is less to read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial

from charm_checkpoint.checking.session import Session, Step
from charm_checkpoint.config.retention import Retention
from charm_checkpoint.contract import Backend, Chunk, ThreadRow, Usage
from charm_checkpoint.plan import Plan
from charm_checkpoint.retention.pruning import Tools, chosen, outlines_of
from charm_checkpoint.retention.reports import Amount
from charm_checkpoint.saver.choosing import Key
from charm_checkpoint.stores.shared.mark_and_sweep import addresses

AT_ONCE = 200
"""Chunks that are read at a time."""


def estimated(tools: Tools, row: ThreadRow, policy: Retention, now: float) -> Session[Amount]:
    """Return what a policy would have go of a thread."""
    thread = row.thread or ""
    outlines = outlines_of(tools, thread, policy)
    doomed = yield from chosen(outlines, thread, policy, now)
    if not doomed:
        return Amount()
    kept = set(outlines.found) - set(doomed)
    stays = yield Step(partial(_kept, tools.backend, thread, kept), thread)
    usage: Usage = yield Step(partial(tools.backend.usage, thread), thread)
    chunks = None if row.has_messages else max(0, usage.chunks - stays.chunks)  # a list has chunks of its own
    return Amount(1, len(doomed), chunks, None if row.size is None else max(0, row.size - stays.payload_bytes))


def _kept(backend: Backend, thread: str, keys: Collection[Key]) -> Plan[Usage]:
    """Count the chunks and bytes of what stays."""
    size, roots = 0, []
    for ns, id in keys:
        found = yield from backend.find(thread, ns, id)
        if found.row is not None:
            roots.append(found.row.roots)
            size += len(found.row.body) + sum(map(len, found.writes))
    reached = yield from _reached(backend, thread, roots)
    return Usage(chunks=len(reached), payload_bytes=size + sum(reached.values()))


def _reached(backend: Backend, thread: str, roots: Iterable[bytes]) -> Plan[dict[bytes, int]]:
    """Return the sizes of all chunks that are reached, by address."""
    sizes: dict[bytes, int] = {}
    seen: set[bytes] = set()
    waiting = [address for joined in roots for address in addresses(joined)]
    while waiting:
        wanted: list[bytes] = []
        while waiting and len(wanted) < AT_ONCE:
            address = waiting.pop()
            if address not in seen:
                seen.add(address)
                wanted.append(address)
        found = yield from backend.chunks(thread, wanted)
        sizes.update({address: len(chunk.data) for address, chunk in found.items()})
        waiting.extend(address for chunk in found.values() for address in _named(chunk))
    return sizes


def _named(chunk: Chunk) -> Iterable[bytes]:
    return addresses(chunk.refs)
